//! An open terminal: reads, writes and `ioctl_tty(2)`, with job control.

use super::{
    termios::{SIZE, SIZE2, local},
    tty::{Tty, WindowSize},
};
use alloc::sync::Arc;
use base::Errno;
use machine::user_memory;
use process::{Task, terminal};
use vfs::{FileOps, OpenFlags, PollEvents, PollTable};

/// Requests of `ioctl_tty(2)`.
mod request {
    pub const TCGETS: u32 = 0x5401;
    pub const TCSETS: u32 = 0x5402;
    pub const TCSETSW: u32 = 0x5403;
    pub const TCSETSF: u32 = 0x5404;
    pub const TCSBRK: u32 = 0x5409;
    pub const TCXONC: u32 = 0x540a;
    pub const TCFLSH: u32 = 0x540b;
    pub const TIOCSCTTY: u32 = 0x540e;
    pub const TIOCGPGRP: u32 = 0x540f;
    pub const TIOCSPGRP: u32 = 0x5410;
    pub const TIOCOUTQ: u32 = 0x5411;
    pub const TIOCGWINSZ: u32 = 0x5413;
    pub const TIOCSWINSZ: u32 = 0x5414;
    pub const FIONREAD: u32 = 0x541b;
    pub const TIOCNOTTY: u32 = 0x5422;
    pub const TCSBRKP: u32 = 0x5425;
    pub const TIOCGSID: u32 = 0x5429;
    pub const TCGETS2: u32 = 0x802c_542a;
    pub const TCSETS2: u32 = 0x402c_542b;
    pub const TCSETSW2: u32 = 0x402c_542c;
    pub const TCSETSF2: u32 = 0x402c_542d;
}

/// An open terminal.
pub struct TtyFile {
    tty: Arc<Tty>,
}

impl TtyFile {
    /// Opens a terminal; unless `flags` have `O_NOCTTY`, it becomes the controlling terminal of a session leader that has
    /// none.
    pub fn open(tty: &Arc<Tty>, flags: OpenFlags) -> Arc<Self> {
        if !flags.contains(OpenFlags::NO_CONTROLLING_TERMINAL)
            && let Some(task) = process::current()
        {
            let terminal: Arc<dyn terminal::Terminal> = tty.clone();
            terminal::acquire_on_open(&task, &terminal);
        }
        Arc::new(Self { tty: tty.clone() })
    }

    /// The terminal and the calling task, for job control.
    fn with_task<R>(
        &self,
        act: impl FnOnce(&Task, &Arc<dyn terminal::Terminal>) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let task = process::current().ok_or(Errno::ENOTTY)?;
        let terminal: Arc<dyn terminal::Terminal> = self.tty.clone();
        act(&task, &terminal)
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
        self.tty.read(buffer, flags)
    }

    fn write(&self, buffer: &[u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        if self.tty.termios().has_local(local::TOSTOP) {
            self.check_change()?;
        }
        self.tty.write(buffer, flags)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn tells_changes(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        self.tty.poll(table)
    }

    fn ioctl(&self, request: u32, argument: u64) -> Result<i64, Errno> {
        if self.tty.is_cut() {
            return Err(Errno::EIO);
        }
        match request {
            request::TIOCSCTTY => self.with_task(|task, tty| terminal::acquire(task, tty, argument == 1))?,
            request::TIOCNOTTY => self.with_task(terminal::release)?,
            request::TIOCGPGRP => {
                let group = self.with_task(terminal::foreground)?;
                user_memory::write(argument, &group.raw().to_ne_bytes())?;
            }
            request::TIOCSPGRP => {
                self.check_change()?;
                let mut group = [0; 4];
                user_memory::read(argument, &mut group)?;
                self.with_task(|task, tty| terminal::set_foreground(task, tty, i32::from_ne_bytes(group)))?;
            }
            request::TIOCGSID => {
                let session = self.with_task(terminal::session)?;
                user_memory::write(argument, &session.raw().to_ne_bytes())?;
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

/// Whether a request changes the terminal, which the background may not.
fn changes(request: u32) -> bool {
    use request::*;
    matches!(request, TCSETS | TCSETSW | TCSETSF | TCSETS2 | TCSETSW2 | TCSETSF2 | TCSBRK | TCSBRKP | TCXONC | TCFLSH)
}

/// The requests that both sides of a pseudo-terminal answer. `EFAULT`, `EINVAL`, `ENOTTY` unknown.
pub fn common(tty: &Tty, request: u32, argument: u64) -> Result<i64, Errno> {
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
        request::TCSBRK | request::TCSBRKP => {}
        request::TCFLSH => match argument {
            0 | 2 => tty.flush_input(),
            1 => {}
            _ => return Err(Errno::EINVAL),
        },
        request::TCXONC => match argument {
            0 => tty.set_stopped(true),
            1 => tty.set_stopped(false),
            2 | 3 => {}
            _ => return Err(Errno::EINVAL),
        },
        _ => return Err(Errno::ENOTTY),
    }
    Ok(0)
}

fn answer(argument: u64, count: usize) -> Result<(), Errno> {
    user_memory::write(argument, &i32::try_from(count).unwrap_or(i32::MAX).to_ne_bytes())
}
