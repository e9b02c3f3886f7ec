//! An open terminal: reads, writes and `ioctl_tty(2)`, with job control.

use super::{
    openings::Opening,
    termios::{OLD_SIZE, SIZE, SIZE2, Termios, control, local},
    tty::{Tty, WindowSize},
};
use alloc::sync::Arc;
use base::{Capabilities, Errno};
use linux_raw_sys::ioctl as request;
use machine::user_memory;
use process::{
    Task,
    terminal::{self, Terminal as _},
};
use vfs::{FileOps, OpenFlags, PollEvents, PollTable};

/// An open terminal.
pub struct TtyFile {
    tty: Arc<Tty>,
    opening: Opening,
}

impl TtyFile {
    /// Opens a terminal; unless `flags` have `O_NOCTTY`, it becomes the controlling terminal of a session leader that has
    /// none and may read from it. `EBUSY` somebody has it for himself (`TIOCEXCL`) and the caller has no CAP_SYS_ADMIN;
    /// `EIO` its line is gone.
    pub fn open(tty: &Arc<Tty>, flags: OpenFlags) -> Result<Arc<Self>, Errno> {
        let task = process::current();
        let force = task.as_ref().is_none_or(|task| task.credentials().has(Capabilities::SYS_ADMIN));
        let opening = tty.openings().add(force)?;
        if !flags.contains(OpenFlags::NO_CONTROLLING_TERMINAL)
            && flags.reads()
            && let Some(task) = task
        {
            let terminal: Arc<dyn terminal::Terminal> = tty.clone();
            terminal::acquire_on_open(&task, &terminal);
        }
        Ok(Arc::new(Self { tty: tty.clone(), opening }))
    }

    fn with_task<R>(
        &self,
        act: impl FnOnce(&Task, &Arc<dyn terminal::Terminal>) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        with_task(&self.tty, act)
    }

    /// The calling task may change the terminal: it is not in the background, or does not care.
    fn check_change(&self) -> Result<(), Errno> {
        if process::current().is_none() { Ok(()) } else { self.with_task(terminal::check_change) }
    }
}

impl FileOps for TtyFile {
    fn read(&self, buffer: &mut [u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        if process::current().is_some() {
            self.with_task(terminal::check_read)?;
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        self.tty.read(self.opening, buffer, flags)
    }

    fn write(&self, buffer: &[u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        if self.tty.termios().has_local(local::TOSTOP) {
            self.check_change()?;
        }
        self.tty.write(self.opening, buffer, flags)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn tells_changes(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        self.tty.poll(self.opening, table)
    }

    fn ioctl(&self, request: u32, argument: u64) -> Result<i64, Errno> {
        if self.tty.is_cut(self.opening) {
            return Err(if request == request::TIOCSPGRP { Errno::ENOTTY } else { Errno::EIO });
        }
        let may_administer = |task: &Task| task.credentials().has(Capabilities::SYS_ADMIN);
        match request {
            // Only a master has a terminal at its other end.
            request::TIOCGPTPEER => return Err(Errno::EIO),
            request::TIOCNOTTY => self.with_task(terminal::release)?,
            request::TIOCGPGRP => {
                let group = self.with_task(terminal::foreground)?;
                user_memory::write(argument, &group.raw().to_ne_bytes())?;
            }
            request::TIOCGSID => {
                let session = self.with_task(terminal::session)?;
                user_memory::write(argument, &session.raw().to_ne_bytes())?;
            }
            request::TIOCSTI => {
                let may = |task: &Task, tty: &_| Ok(terminal::is_own(task, tty) || may_administer(task));
                if !self.with_task(may)? {
                    return Err(Errno::EPERM);
                }
                let mut byte = [0];
                user_memory::read(argument, &mut byte)?;
                self.tty.receive(&byte);
            }
            request::TIOCVHANGUP => {
                if !self.with_task(|task, _| Ok(may_administer(task)))? {
                    return Err(Errno::EPERM);
                }
                self.tty.hang_up();
            }
            _ => {
                if changes(request) {
                    self.check_change()?;
                }
                return common(&self.tty, request, argument);
            }
        }
        Ok(0)
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        self.tty.close(self.opening);
    }
}

/// The terminal and the calling task, for job control. `ENOTTY` there is none.
fn with_task<R>(
    tty: &Arc<Tty>,
    act: impl FnOnce(&Task, &Arc<dyn terminal::Terminal>) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let task = process::current().ok_or(Errno::ENOTTY)?;
    let terminal: Arc<dyn terminal::Terminal> = tty.clone();
    act(&task, &terminal)
}

/// Whether a request changes the terminal, which the background may not.
fn changes(request: u32) -> bool {
    use request::*;
    matches!(request, TCSETS | TCSETSW | TCSETSF | TCSETS2 | TCSETSW2 | TCSETSF2 | TCSETA | TCSETAW | TCSETAF)
        || matches!(request, TIOCSETD | TCSBRK | TCSBRKP | TIOCSBRK | TIOCCBRK | TCXONC | TCFLSH)
}

/// `TIOCSPGRP`. `ENOTTY` also where nobody could start the caller's group again if it were stopped.
fn set_foreground(task: &Task, tty: &Arc<dyn terminal::Terminal>, argument: u64) -> Result<(), Errno> {
    terminal::check_change(task, tty).map_err(|errno| if errno == Errno::EIO { Errno::ENOTTY } else { errno })?;
    let mut group = [0; 4];
    user_memory::read(argument, &mut group)?;
    terminal::set_foreground(task, tty, i32::from_ne_bytes(group))
}

/// The requests that both sides of a pseudo-terminal answer. `EFAULT`, `EINVAL`, `ENOTTY` unknown, and job control's.
pub fn common(tty: &Arc<Tty>, request: u32, argument: u64) -> Result<i64, Errno> {
    let length_of = |request| match request {
        request::TCSETS2 | request::TCSETSW2 | request::TCSETSF2 => SIZE2,
        _ => SIZE,
    };
    match request {
        request::TCGETS => user_memory::write(argument, &tty.termios().to_bytes()[..SIZE])?,
        request::TCGETS2 => user_memory::write(argument, &tty.termios().to_bytes())?,
        request::TCSETS
        | request::TCSETSW
        | request::TCSETSF
        | request::TCSETS2
        | request::TCSETSW2
        | request::TCSETSF2 => {
            let mut bytes = [0; SIZE2];
            let bytes = &mut bytes[..length_of(request)];
            user_memory::read(argument, bytes)?;
            let flush = matches!(request, request::TCSETSF | request::TCSETSF2);
            tty.set_termios(|old| old.with_bytes(bytes), flush);
        }
        request::TCGETA => user_memory::write(argument, &tty.termios().to_old_bytes())?,
        request::TCSETA | request::TCSETAW | request::TCSETAF => {
            let mut bytes = [0; OLD_SIZE];
            user_memory::read(argument, &mut bytes)?;
            tty.set_termios(|old| old.with_old_bytes(&bytes), request == request::TCSETAF);
        }
        request::TIOCGSOFTCAR => answer(argument, (tty.termios().control & control::CLOCAL != 0).into())?,
        request::TIOCSSOFTCAR => {
            let local = if number(argument)? == 0 { 0 } else { control::CLOCAL };
            let change = |flags: u32| flags & !control::CLOCAL | local;
            tty.set_termios(|old| Termios { control: change(old.control), ..old }, false);
        }
        request::TIOCSCTTY => with_task(tty, |task, tty| terminal::acquire(task, tty, argument == 1))?,
        request::TIOCSPGRP => with_task(tty, |task, tty| set_foreground(task, tty, argument))?,
        request::TIOCEXCL => tty.openings().set_exclusive(true),
        request::TIOCNXCL => tty.openings().set_exclusive(false),
        request::TIOCGEXCL => answer(argument, tty.openings().is_exclusive().into())?,
        request::TIOCGDEV => answer(argument, tty.device().encoded() as usize)?,
        // There is one line discipline, that of terminals.
        request::TIOCGETD => answer(argument, 0)?,
        request::TIOCSETD if number(argument)? == 0 => {}
        request::TIOCSETD => return Err(Errno::EINVAL),
        request::TIOCGWINSZ => {
            let mut bytes = [0; 8];
            for (slot, field) in bytes.chunks_mut(2).zip(tty.window().fields) {
                slot.copy_from_slice(&field.to_ne_bytes());
            }
            user_memory::write(argument, &bytes)?;
        }
        request::TIOCSWINSZ => {
            let mut bytes = [0; 8];
            user_memory::read(argument, &mut bytes)?;
            let field = |index: usize| u16::from_ne_bytes([bytes[2 * index], bytes[2 * index + 1]]);
            tty.set_window(WindowSize { fields: core::array::from_fn(field) });
        }
        request::FIONREAD => answer(argument, tty.readable_bytes())?,
        // Whatever was written has gone over the line already.
        request::TIOCOUTQ => answer(argument, 0)?,
        request::TCSBRK | request::TCSBRKP | request::TIOCSBRK | request::TIOCCBRK => {}
        request::TCFLSH => {
            if argument > 2 {
                return Err(Errno::EINVAL);
            }
            if argument != 1 {
                tty.flush_input();
            }
            if argument != 0 {
                tty.flush_output();
            }
        }
        request::TCXONC => match argument {
            0 | 1 => tty.hold(argument == 0),
            2 | 3 => tty.send_flow(argument == 2),
            _ => return Err(Errno::EINVAL),
        },
        _ => return Err(Errno::ENOTTY),
    }
    Ok(0)
}

fn number(argument: u64) -> Result<i32, Errno> {
    let mut number = [0; 4];
    user_memory::read(argument, &mut number)?;
    Ok(i32::from_ne_bytes(number))
}

fn answer(argument: u64, count: usize) -> Result<(), Errno> {
    user_memory::write(argument, &i32::try_from(count).unwrap_or(i32::MAX).to_ne_bytes())
}
