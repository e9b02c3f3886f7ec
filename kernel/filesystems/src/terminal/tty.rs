//! A terminal: a line discipline over a line, with its readers, writers and job control.

use super::{
    discipline::{Chunk, Discipline, KeySignal, Reaction},
    termios::{Control, Termios, local},
};
use alloc::sync::Arc;
use base::Errno;
use core::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use machine::sync::{Mutex, SpinLock, rank};
use process::{
    POPULATION,
    signals::Signal,
    terminal::{JobControl, Terminal, signal_foreground},
};
use sched::{WaitError, WaitQueue};
use vfs::{DeviceNumber, OpenFlags, PollEvents, PollTable};

/// Where the output of a terminal goes.
pub trait Line: Send + Sync {
    /// How many bytes it takes now.
    fn room(&self) -> usize;
    /// Takes bytes, no more than `room` said. One caller at a time.
    fn write(&self, bytes: &[u8]);
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
    cut: AtomicBool,
}

struct State {
    discipline: Discipline,
    window: WindowSize,
}

/// A tenth of a second, the unit of `VTIME`.
const TENTH: u64 = 100_000_000;

impl Terminal for Tty {
    fn device(&self) -> DeviceNumber {
        self.device
    }

    fn job_control(&self) -> &JobControl {
        &self.control
    }
}

impl Tty {
    /// A terminal on this line.
    pub fn new(device: DeviceNumber, line: Arc<dyn Line>) -> Arc<Self> {
        let state = State { discipline: Discipline::default(), window: WindowSize::default() };
        Arc::new(Self {
            device,
            control: JobControl::new(),
            state: SpinLock::new(rank::BUFFER, state),
            output: Mutex::new(rank::TERMINAL, ()),
            line,
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
            cut: AtomicBool::new(false),
        })
    }

    /// Whether the line was cut: reads give nothing and writes `EIO`.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Acquire)
    }

    /// Cuts the line: the session learns it by SIGHUP, everybody who waits comes back.
    pub fn hang_up(&self) {
        self.cut.store(true, Release);
        if let Some(population) = POPULATION.get() {
            process::terminal::hang_up(population, self);
        }
        self.readable.wake_all();
        self.writable.wake_all();
    }

    /// The settings.
    pub fn termios(&self) -> Termios {
        *self.state.lock().discipline.termios()
    }

    /// Changes the settings; with `flush` what was typed and not read is dropped.
    pub fn set_termios(&self, change: impl FnOnce(Termios) -> Termios, flush: bool) {
        let mut state = self.state.lock();
        if flush {
            state.discipline.flush_input();
        }
        let termios = change(*state.discipline.termios());
        state.discipline.set_termios(termios);
        drop(state);
        self.readable.wake_all();
        self.writable.wake_all();
    }

    /// Drops what was typed and not read.
    pub fn flush_input(&self) {
        self.state.lock().discipline.flush_input();
        self.writable.wake_all();
    }

    /// Stops the output or lets it go on.
    pub fn set_stopped(&self, stopped: bool) {
        self.state.lock().discipline.set_stopped(stopped);
        self.writable.wake_all();
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

    /// How many bytes a read could give now.
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
        let mut reaction = Reaction::default();
        {
            // Nobody writes until the echo is out: who reads the line at once must not answer before it is seen.
            let _output = self.output.lock();
            self.state.lock().discipline.feed(bytes, &mut reaction);
            self.echo(&reaction.echo);
        }
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
        if reaction.restarted {
            self.writable.wake_all();
        }
    }

    /// Writes an echo. What the line does not take is lost, as with a real one. `output` is held.
    fn echo(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.push(rest);
            if count == 0 {
                return;
            }
            rest = &rest[count..];
        }
    }

    /// Sends one piece to the line; how many bytes were taken. `output` is held.
    fn push(&self, bytes: &[u8]) -> usize {
        let mut chunk = Chunk::new(self.line.room());
        let count = self.state.lock().discipline.output(bytes, &mut chunk);
        self.line.write(chunk.bytes());
        count
    }

    /// Writes; sleeps while the line takes nothing, unless it must not. `EIO` the line was cut, `EAGAIN`, `EINTR`.
    pub fn write(&self, buffer: &[u8], flags: OpenFlags) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buffer.len() {
            if self.is_cut() {
                return if done > 0 { Ok(done) } else { Err(Errno::EIO) };
            }
            let count = {
                let _output = self.output.lock();
                if self.state.lock().discipline.is_stopped() { 0 } else { self.push(&buffer[done..]) }
            };
            done += count;
            if count > 0 {
                continue;
            }
            if flags.contains(OpenFlags::NONBLOCK) {
                return if done > 0 { Ok(done) } else { Err(Errno::EAGAIN) };
            }
            // A newline may need two places.
            let may_go_on = || {
                let stopped = self.state.lock().discipline.is_stopped();
                (self.is_cut() || (!stopped && self.line.room() >= 8)).then_some(())
            };
            if self.writable.wait_until_interruptible(may_go_on, None).is_err() {
                return if done > 0 { Ok(done) } else { Err(Errno::EINTR) };
            }
        }
        Ok(done)
    }

    /// Reads by the rules of the mode: a line, or what `VMIN` and `VTIME` say. 0 the line was cut or the end of file was
    /// typed; `EAGAIN`, `EINTR`.
    pub fn read(&self, buffer: &mut [u8], flags: OpenFlags) -> Result<usize, Errno> {
        let nonblocking = flags.contains(OpenFlags::NONBLOCK);
        let (canonical, minimum, time) = {
            let state = self.state.lock();
            let termios = state.discipline.termios();
            let minimum = usize::from(termios.character(Control::Minimum));
            let time = u64::from(termios.character(Control::Time)) * TENTH;
            (termios.has_local(local::ICANON), minimum, time)
        };
        if canonical {
            return self.take(buffer, 1, nonblocking, None);
        }
        let wanted = minimum.min(buffer.len());
        match (minimum, time) {
            (0, 0) => match self.take(buffer, 1, true, None) {
                Err(Errno::EAGAIN) if !nonblocking => Ok(0),
                result => result,
            },
            (0, time) => self.take(buffer, 1, nonblocking, Some(machine::time::now() + time)),
            (_, 0) => self.take(buffer, if nonblocking { 1 } else { wanted }, nonblocking, None),
            (_, time) => {
                // The first byte may take as long as it likes, those behind it have `time` each.
                let mut done = self.take(buffer, 1, nonblocking, None)?;
                while done > 0 && done < wanted && !nonblocking {
                    match self.take(&mut buffer[done..], 1, false, Some(machine::time::now() + time)) {
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
            self.is_cut().then_some(0)
        };
        let result = match attempt() {
            Some(count) => Ok(count),
            None if nonblocking => return Err(Errno::EAGAIN),
            None => self.readable.wait_until_interruptible(attempt, deadline),
        };
        let count = match result {
            Ok(count) => count,
            Err(WaitError::TimedOut) => self.state.lock().discipline.read(buffer),
            Err(WaitError::Interrupted) => return Err(Errno::EINTR),
        };
        // The other side of a pseudo-terminal may wait for room.
        self.writable.wake_all();
        Ok(count)
    }

    /// What can be done now.
    pub fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.readable);
        table.watch(&self.writable);
        let mut events = PollEvents::empty();
        if self.is_cut() {
            return PollEvents::ALWAYS | PollEvents::HANG_UP;
        }
        let has_room = self.line.room() >= 8;
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
                let mut line = [0; 8];
                for _ in 0..ROUNDS {
                    while tty.read(&mut line, OpenFlags::NONBLOCK).is_err() {}
                    tty.write(b"$ ", OpenFlags::empty()).unwrap();
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
