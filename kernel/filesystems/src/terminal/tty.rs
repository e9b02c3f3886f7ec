//! A terminal: a line discipline over a line, with its readers, writers and job control.

use super::{
    discipline::{Discipline, KeySignal, LARGEST, Reaction},
    openings::{Opening, Openings},
    output::Chunk,
    termios::{Control, Termios, input, local},
};
use alloc::{sync::Arc, vec::Vec};
use base::Errno;
use bitflags::bitflags;
use machine::sync::{Mutex, SpinLock, rank};
use process::{
    POPULATION,
    signals::Signal,
    terminal::{JobControl, Terminal, signal_foreground},
};
use sched::{WaitError, WaitQueue};
use vfs::{DeviceNumber, OpenFlags, PollEvents, PollTable};

bitflags! {
    /// What happened at a terminal, as its line is told: `TIOCPKT` of `ioctl_tty(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Status: u8 {
        /// What was typed and not read was dropped.
        const FLUSH_READ = 1;
        /// What was written and still on its way was dropped.
        const FLUSH_WRITE = 2;
        /// The output was stopped.
        const STOP = 4;
        /// It goes on.
        const START = 8;
        /// `^S` and `^Q` do not stop the output any more.
        const NO_STOP = 16;
        /// They do again.
        const DO_STOP = 32;
        /// The settings were changed where the other side edits lines (`EXTPROC`).
        const SETTINGS = 64;
    }
}

/// Where the output of a terminal goes.
pub trait Line: Send + Sync {
    /// How many bytes it takes now.
    fn room(&self) -> usize;
    /// Takes bytes, no more than `room` said. One caller at a time.
    fn write(&self, bytes: &[u8]);
    /// Drops what is still on its way.
    fn flush(&self) {}
    /// Learns what happened at the terminal.
    fn tell(&self, _status: Status) {}
    /// Learns that nobody has the terminal open any more.
    fn left(&self) {}
    /// The settings that it can have, of those asked for.
    fn settle(&self, termios: Termios) -> Termios {
        termios
    }
}

/// `struct winsize`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WindowSize {
    /// Rows, columns, and both in pixels.
    pub fields: [u16; 4],
}

/// A terminal.
pub struct Tty {
    device: DeviceNumber,
    control: JobControl,
    state: SpinLock<State>,
    /// Held while bytes go to the line, so that two writers don't mix inside a piece.
    output: Mutex<()>,
    line: Arc<dyn Line>,
    /// Woken when there may be something to read, also when the line was cut.
    pub readable: WaitQueue,
    /// Woken when the line may take more.
    pub writable: WaitQueue,
    openings: Openings,
}

struct State {
    discipline: Discipline,
    window: WindowSize,
    /// Echo that waits until the output goes on, or the line takes more.
    echo: Vec<u8>,
}

/// A tenth of a second, the unit of `VTIME`.
const TENTH: u64 = 100_000_000;
/// What one byte may need on the line: a tab becomes 8 blanks.
const ROOM: usize = 8;

/// Whether `^S` and `^Q` stop the output and let it go on.
fn is_usual_flow(termios: &Termios) -> bool {
    termios.has_input(input::IXON) && termios.is(Control::Start, 0x11) && termios.is(Control::Stop, 0x13)
}

impl Terminal for Tty {
    fn device(&self) -> DeviceNumber {
        self.device
    }

    fn job_control(&self) -> &JobControl {
        &self.control
    }

    fn hang_up(&self) {
        self.cut(false);
    }
}

impl Tty {
    /// A terminal on this line.
    pub fn new(device: DeviceNumber, line: Arc<dyn Line>) -> Arc<Self> {
        let state = State { discipline: Discipline::default(), window: WindowSize::default(), echo: Vec::new() };
        Arc::new(Self {
            device,
            control: JobControl::new(),
            state: SpinLock::new(rank::BUFFER, state),
            output: Mutex::new(rank::TERMINAL, ()),
            line,
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
            openings: Openings::new(),
        })
    }

    /// Who has it open.
    pub fn openings(&self) -> &Openings {
        &self.openings
    }

    /// Closes it again; the line learns when nobody has it open any more.
    pub fn close(&self, opening: Opening) {
        if self.openings.remove(opening) {
            self.line.left();
        }
    }

    /// Whether the line was cut since: reads give nothing and writes `EIO`.
    pub fn is_cut(&self, opening: Opening) -> bool {
        self.openings.is_over(opening)
    }

    /// Cuts the line: the session learns it by SIGHUP, everybody who waits comes back, and who has the
    /// terminal open has to open it anew; nobody can if the line is `gone`.
    pub fn cut(&self, gone: bool) {
        self.openings.end_all(gone);
        {
            let mut state = self.state.lock();
            state.discipline.hang_up();
            state.echo.clear();
        }
        if let Some(population) = POPULATION.get() {
            process::terminal::hang_up(population, self);
        }
        self.readable.wake_all();
        self.writable.wake_all();
        self.line.left();
    }

    /// The settings.
    pub fn termios(&self) -> Termios {
        *self.state.lock().discipline.termios()
    }

    /// Changes the settings; with `flush` what was typed and not read is dropped.
    pub fn set_termios(&self, change: impl FnOnce(Termios) -> Termios, flush: bool) {
        if flush {
            self.flush_input();
        }
        let (mut old, mut new) = (Termios::default(), Termios::default());
        let _reaction = self.change(|discipline, _| {
            old = *discipline.termios();
            new = self.line.settle(change(old));
            discipline.set_termios(new);
        });
        if is_usual_flow(&old) != is_usual_flow(&new) {
            self.line.tell(if is_usual_flow(&new) { Status::DO_STOP } else { Status::NO_STOP });
        }
        if old.has_local(local::EXTPROC) || new.has_local(local::EXTPROC) {
            self.line.tell(Status::SETTINGS);
        }
        self.readable.wake_all();
        self.writable.wake_all();
    }

    /// Changes the discipline, shows the echo of that, and lets the output go on if nothing stops it any more. Nobody
    /// writes until the echo is out: who reads a line at once must not answer before it is seen.
    fn change(&self, act: impl FnOnce(&mut Discipline, &mut Reaction)) -> Reaction {
        let mut reaction = Reaction::default();
        let _output = self.output.lock();
        let mut state = self.state.lock();
        let was_stopped = state.discipline.is_stopped();
        act(&mut state.discipline, &mut reaction);
        let is_stopped = state.discipline.is_stopped();
        if reaction.flushed {
            state.echo.clear();
        }
        let room = LARGEST.saturating_sub(state.echo.len());
        state.echo.extend(reaction.echo.iter().take(room));
        drop(state);
        if reaction.flushed {
            self.line.flush();
            self.line.tell(Status::FLUSH_READ | Status::FLUSH_WRITE);
        }
        if was_stopped != is_stopped {
            self.line.tell(if is_stopped { Status::STOP } else { Status::START });
            self.writable.wake_all();
        }
        while self.push(&[]) > 0 {}
        reaction
    }

    /// Drops what was typed and not read.
    pub fn flush_input(&self) {
        self.state.lock().discipline.flush_input();
        self.line.tell(Status::FLUSH_READ);
        self.writable.wake_all();
    }

    /// Drops what was written and is still on its way.
    pub fn flush_output(&self) {
        self.state.lock().echo.clear();
        self.line.flush();
        self.line.tell(Status::FLUSH_WRITE);
        self.writable.wake_all();
    }

    /// Holds the output or lets it go on (`TCOOFF`, `TCOON`).
    pub fn hold(&self, held: bool) {
        let _reaction = self.change(|discipline, _| discipline.hold(held));
    }

    /// Asks the other side to stop or to go on (`TCIOFF`, `TCION`): sends it the character for that.
    pub fn send_flow(&self, stop: bool) {
        let _output = self.output.lock();
        let character = self.termios().character(if stop { Control::Stop } else { Control::Start });
        if character != 0 && self.line.room() > 0 {
            self.line.write(&[character]);
        }
    }

    /// The size of the window.
    pub fn window(&self) -> WindowSize {
        self.state.lock().window
    }

    /// Sets the size of the window; a change tells the foreground group by SIGWINCH.
    pub fn set_window(&self, window: WindowSize) {
        let old = core::mem::replace(&mut self.state.lock().window, window);
        if old != window {
            self.signal(Signal::WINCH);
        }
    }

    /// How many bytes reads could give now.
    pub fn readable_bytes(&self) -> usize {
        self.state.lock().discipline.readable()
    }

    /// How many typed bytes are taken now.
    pub fn input_room(&self) -> usize {
        self.state.lock().discipline.room()
    }

    fn signal(&self, signal: Signal) {
        if let Some(population) = POPULATION.get() {
            signal_foreground(population, self, signal);
        }
    }

    /// Takes bytes that were typed. In a task, with no lock held.
    pub fn receive(&self, bytes: &[u8]) {
        let reaction = self.change(|discipline, reaction| discipline.feed(bytes, reaction));
        for key in reaction.signals {
            self.signal(match key {
                KeySignal::Interrupt => Signal::INT,
                KeySignal::Quit => Signal::QUIT,
                KeySignal::Suspend => Signal::TSTP,
            });
        }
        if reaction.readable {
            self.readable.wake_all();
        }
    }

    /// The line takes more again: echo that waited goes first, then who waits to write.
    pub fn resume(&self) {
        if self.has_echo() {
            let _reaction = self.change(|_, _| {});
        }
        self.writable.wake_all();
    }

    /// Sends one piece to the line, unless the output is stopped: of the echo that waits, then of `bytes`. How many were
    /// taken, of `bytes` or of the echo if there is any. `output` is held.
    fn push(&self, bytes: &[u8]) -> usize {
        let mut chunk = Chunk::new(self.line.room());
        let mut state = self.state.lock();
        if state.discipline.is_stopped() {
            return 0;
        }
        let State { discipline, echo, .. } = &mut *state;
        let count = if echo.is_empty() {
            discipline.output(bytes, &mut chunk)
        } else {
            let count = discipline.output(echo, &mut chunk);
            echo.drain(..count);
            count
        };
        drop(state);
        self.line.write(chunk.bytes());
        count
    }

    /// Sends a piece of what a task writes: how many bytes were taken.
    fn push_written(&self, bytes: &[u8]) -> usize {
        let _output = self.output.lock();
        while self.has_echo() {
            if self.push(&[]) == 0 {
                return 0;
            }
        }
        self.push(bytes)
    }

    fn has_echo(&self) -> bool {
        !self.state.lock().echo.is_empty()
    }

    /// Writes; sleeps while the line takes nothing, unless it must not. `EIO` the line was cut, `EAGAIN`, `EINTR`.
    pub fn write(&self, opening: Opening, buffer: &[u8], flags: OpenFlags) -> Result<usize, Errno> {
        let mut done = 0;
        let end = |done: usize, errno: Errno| if done > 0 { Ok(done) } else { Err(errno) };
        if buffer.is_empty() && self.is_cut(opening) {
            return Err(Errno::EIO);
        }
        while done < buffer.len() {
            if self.is_cut(opening) {
                return end(done, Errno::EIO);
            }
            let count = self.push_written(&buffer[done..]);
            done += count;
            if count > 0 {
                continue;
            }
            if flags.contains(OpenFlags::NONBLOCK) {
                return end(done, Errno::EAGAIN);
            }
            let may_go_on = || {
                let stopped = self.state.lock().discipline.is_stopped();
                (self.is_cut(opening) || (!stopped && self.line.room() >= ROOM)).then_some(())
            };
            if self.writable.wait_until_interruptible(may_go_on, None).is_err() {
                return end(done, Errno::EINTR);
            }
        }
        Ok(done)
    }

    /// Reads by the rules of the mode: a line, or what `VMIN` and `VTIME` say. 0 the line was cut or the end of file was
    /// typed; `EAGAIN`, `EINTR`.
    pub fn read(&self, opening: Opening, buffer: &mut [u8], flags: OpenFlags) -> Result<usize, Errno> {
        let nonblocking = flags.contains(OpenFlags::NONBLOCK);
        let (canonical, minimum, time) = {
            let state = self.state.lock();
            let termios = state.discipline.termios();
            let minimum = usize::from(termios.character(Control::Minimum));
            let time = u64::from(termios.character(Control::Time)) * TENTH;
            (termios.has_local(local::ICANON), minimum, time)
        };
        if canonical {
            return self.take(opening, buffer, 1, nonblocking, None);
        }
        let wanted = minimum.min(buffer.len());
        match (minimum, time) {
            (0, 0) => match self.take(opening, buffer, 1, true, None) {
                Err(Errno::EAGAIN) if !nonblocking => Ok(0),
                result => result,
            },
            (0, time) => self.take(opening, buffer, 1, nonblocking, Some(machine::time::now() + time)),
            (_, 0) => self.take(opening, buffer, if nonblocking { 1 } else { wanted }, nonblocking, None),
            (_, time) => {
                // The first byte may take as long as it likes, those behind it have `time` each.
                let mut done = self.take(opening, buffer, 1, nonblocking, None)?;
                while done > 0 && done < wanted && !nonblocking {
                    match self.take(opening, &mut buffer[done..], 1, false, Some(machine::time::now() + time)) {
                        Ok(0) | Err(_) => break,
                        Ok(count) => done += count,
                    }
                }
                Ok(done)
            }
        }
    }

    /// Waits for a line or `minimum` bytes and takes them; at the deadline what is there.
    fn take(
        &self,
        opening: Opening,
        buffer: &mut [u8],
        minimum: usize,
        nonblocking: bool,
        deadline: Option<u64>,
    ) -> Result<usize, Errno> {
        let mut attempt = || {
            let mut state = self.state.lock();
            if state.discipline.is_ready(minimum) {
                return Some(state.discipline.read(buffer));
            }
            self.is_cut(opening).then_some(0)
        };
        let result = match attempt() {
            Some(count) => Ok(count),
            None if nonblocking => return Err(Errno::EAGAIN),
            None => self.readable.wait_until_interruptible(attempt, deadline),
        };
        let count = match result {
            Ok(count) => count,
            Err(WaitError::TimedOut) => self.state.lock().discipline.read(buffer),
            // What is there is given before the signal is handled, though it is less than `VMIN` asks for.
            Err(WaitError::Interrupted) => match self.state.lock().discipline.read(buffer) {
                0 => return Err(Errno::EINTR),
                count => count,
            },
        };
        // The other side of a pseudo-terminal may wait for room.
        self.writable.wake_all();
        Ok(count)
    }

    /// What can be done now.
    pub fn poll(&self, opening: Opening, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.readable);
        table.watch(&self.writable);
        let mut events = PollEvents::empty();
        if self.is_cut(opening) {
            return PollEvents::ALWAYS | PollEvents::ERROR | PollEvents::HANG_UP;
        }
        let has_room = self.line.room() >= ROOM;
        let state = self.state.lock();
        if state.discipline.is_ready(state.discipline.poll_minimum()) {
            events |= PollEvents::READABLE;
        }
        if !state.discipline.is_stopped() && has_room {
            events |= PollEvents::WRITABLE;
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::Mutex as HostMutex, thread, vec::Vec};

    #[derive(Default)]
    struct Paper(HostMutex<Vec<u8>>);

    impl Line for Paper {
        fn room(&self) -> usize {
            usize::MAX
        }

        fn write(&self, bytes: &[u8]) {
            self.0.lock().unwrap().extend(bytes);
        }
    }

    #[test]
    fn what_a_reader_answers_comes_after_the_echo() {
        const ROUNDS: usize = 5_000;
        let paper = Arc::new(Paper::default());
        let tty = Tty::new(DeviceNumber::new(4, 64), paper.clone());
        let reader = {
            let tty = tty.clone();
            thread::spawn(move || {
                let (mut line, opening) = ([0; 8], tty.openings().add(false).unwrap());
                for _ in 0..ROUNDS {
                    while tty.read(opening, &mut line, OpenFlags::NONBLOCK).is_err() {}
                    tty.write(opening, b"$ ", OpenFlags::empty()).unwrap();
                }
            })
        };
        for round in 1..=ROUNDS {
            tty.receive(b"x\n");
            // The next is typed when the answer is there.
            while paper.0.lock().unwrap().len() < round * 5 {}
        }
        reader.join().unwrap();
        let paper = paper.0.lock().unwrap();
        assert!(paper.chunks(5).all(|line| line == b"x\r\n$ "), "an answer came before the echo");
    }
}
