//! The line discipline: what typed bytes and written bytes become, `termios(3)`. Pure: it holds the state and decides;
//! [`Tty`](super::tty::Tty) locks, waits, sends signals and moves bytes.

mod editing;
#[cfg(test)]
mod tests;

use super::{
    output::{Chunk, Screen},
    termios::{Control, Termios, input, local},
};
use alloc::{collections::VecDeque, vec::Vec};

/// The most bytes that wait to be read, and the longest line.
pub const LARGEST: usize = 4095;

/// A signal that a key sends to the foreground group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeySignal {
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGTSTP.
    Suspend,
}

/// What typed bytes make the terminal do.
#[derive(Default, Debug)]
pub struct Reaction {
    /// To be written, through output processing.
    pub echo: Vec<u8>,
    /// To be sent, in order.
    pub signals: Vec<KeySignal>,
    /// There is something new to read.
    pub readable: bool,
    /// What was typed and not read is dropped, and so is what was written and is still on its way.
    pub flushed: bool,
}

/// State of one terminal line.
#[derive(Default)]
pub struct Discipline {
    termios: Termios,
    /// Bytes that can be read.
    ready: VecDeque<u8>,
    /// Lengths of the lines in `ready`; a 0 is an end of file. Empty outside canonical mode.
    lines: VecDeque<usize>,
    /// The line that is being typed.
    edit: Vec<u8>,
    /// Where the cursor was when it began.
    edit_column: usize,
    screen: Screen,
    literal_next: bool,
    /// The screen shows erased characters, since a backslash (`ECHOPRT`).
    erasing: bool,
    /// `^S` was typed.
    stopped: bool,
    /// A program holds the output (`tcflow`); what is typed does not let it go on.
    held: bool,
}

impl Discipline {
    /// The settings.
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Changes the settings. What is half typed becomes readable when lines end to matter, and what can be read becomes
    /// a line when they begin to.
    pub fn set_termios(&mut self, termios: Termios) {
        let was = self.is_canonical();
        self.termios = termios;
        if was != self.is_canonical() {
            self.ready.extend(self.edit.drain(..));
            self.lines.clear();
            if !was && !self.ready.is_empty() {
                self.lines.push_back(self.ready.len());
            }
            (self.literal_next, self.erasing) = (false, false);
        }
        if !self.termios.has_input(input::IXON) {
            self.stopped = false;
        }
    }

    /// Whether input comes in lines. Where the other side edits them (`EXTPROC`), it does not.
    fn is_canonical(&self) -> bool {
        self.termios.has_local(local::ICANON) && !self.termios.has_local(local::EXTPROC)
    }

    /// Whether the output is stopped, by `^S` or by a program.
    pub fn is_stopped(&self) -> bool {
        self.stopped || self.held
    }

    /// Holds the output or lets it go on, also after `^S` (`tcflow`).
    pub fn hold(&mut self, held: bool) {
        if self.held || held {
            self.stopped = false;
        }
        self.held = held;
    }

    /// What a new hold of the line begins with: nothing typed, nothing stopped.
    pub fn hang_up(&mut self) {
        self.flush_input();
        (self.stopped, self.held) = (false, false);
    }

    /// Drops what was typed and not read.
    pub fn flush_input(&mut self) {
        self.ready.clear();
        self.lines.clear();
        self.edit.clear();
        (self.literal_next, self.erasing) = (false, false);
    }

    /// How many bytes reads could give now, of all lines that have ended (`FIONREAD`).
    pub fn readable(&self) -> usize {
        self.ready.len()
    }

    /// How many more typed bytes are taken before some are read. A line without an end takes one more always: it may be
    /// the one that ends it.
    pub fn room(&self) -> usize {
        let room = LARGEST.saturating_sub(self.ready.len() + self.edit.len());
        if self.is_canonical() && self.lines.is_empty() { room.max(1) } else { room }
    }

    /// Whether a read finds something: a line, or at least `minimum` bytes outside canonical mode.
    pub fn is_ready(&self, minimum: usize) -> bool {
        if self.is_canonical() { !self.lines.is_empty() } else { self.ready.len() >= minimum }
    }

    /// How many bytes there must be for `poll` to say readable.
    pub fn poll_minimum(&self) -> usize {
        let timed = self.termios.character(Control::Time) != 0;
        if timed { 1 } else { usize::from(self.termios.character(Control::Minimum)).max(1) }
    }

    /// Takes out what can be read: of one line at most in canonical mode.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let available = if self.is_canonical() { self.lines.front().copied().unwrap_or(0) } else { self.ready.len() };
        let count = buffer.len().min(available);
        for (slot, byte) in buffer.iter_mut().zip(self.ready.drain(..count)) {
            *slot = byte;
        }
        if let Some(line) = self.lines.front_mut() {
            *line -= count;
            if *line == 0 {
                self.lines.pop_front();
            }
        }
        count
    }

    /// Takes typed bytes.
    pub fn feed(&mut self, bytes: &[u8], reaction: &mut Reaction) {
        for &byte in bytes {
            self.feed_byte(byte, reaction);
        }
    }

    fn feed_byte(&mut self, byte: u8, reaction: &mut Reaction) {
        let termios = self.termios;
        let mut byte = if termios.has_input(input::ISTRIP) { byte & 0x7f } else { byte };
        if termios.has_input(input::IUCLC) && termios.has_local(local::IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if termios.has_local(local::EXTPROC) {
            self.accept(byte, reaction);
            return;
        }
        if self.literal_next {
            self.literal_next = false;
            self.accept_and_echo(byte, reaction);
            return;
        }
        if termios.has_input(input::IXON) && self.flow(byte) {
            return;
        }
        if termios.has_local(local::ISIG) && self.signal(byte, reaction) {
            return;
        }
        if termios.has_input(input::IXON | input::IXANY) {
            self.stopped = false;
        }
        match byte {
            b'\r' if termios.has_input(input::IGNCR) => return,
            b'\r' if termios.has_input(input::ICRNL) => byte = b'\n',
            b'\n' if termios.has_input(input::INLCR) => byte = b'\r',
            _ => {}
        }
        if self.is_canonical() && self.edit_key(byte, reaction) {
            return;
        }
        self.accept_and_echo(byte, reaction);
    }

    /// `^S` and `^Q`.
    fn flow(&mut self, byte: u8) -> bool {
        let starts = self.termios.is(Control::Start, byte);
        let stops = self.termios.is(Control::Stop, byte);
        if starts || stops {
            self.stopped = !starts;
        }
        starts || stops
    }

    /// `^C`, `^\` and `^Z`.
    fn signal(&mut self, byte: u8, reaction: &mut Reaction) -> bool {
        let signal = if self.termios.is(Control::Interrupt, byte) {
            KeySignal::Interrupt
        } else if self.termios.is(Control::Quit, byte) {
            KeySignal::Quit
        } else if self.termios.is(Control::Suspend, byte) {
            KeySignal::Suspend
        } else {
            return false;
        };
        if !self.termios.has_local(local::NOFLSH) {
            self.flush_input();
            reaction.flushed = true;
        }
        if self.termios.has_input(input::IXON) {
            self.stopped = false;
        }
        self.echo(byte, reaction);
        reaction.signals.push(signal);
        true
    }

    /// Keys that edit or end a line.
    fn edit_key(&mut self, byte: u8, reaction: &mut Reaction) -> bool {
        let termios = self.termios;
        let extended = termios.has_local(local::IEXTEN);
        if termios.is(Control::Erase, byte) {
            self.erase_character(byte, reaction);
        } else if termios.is(Control::Kill, byte) {
            self.kill(byte, reaction);
        } else if extended && termios.is(Control::WordErase, byte) {
            self.erase_word(reaction);
        } else if extended && termios.is(Control::LiteralNext, byte) {
            self.literal_next = true;
            if termios.has_local(local::ECHO | local::ECHOCTL) {
                self.finish_erasing(reaction);
                reaction.echo.extend_from_slice(b"^\x08");
            }
        } else if extended && termios.is(Control::Reprint, byte) && termios.has_local(local::ECHO) {
            self.echo(byte, reaction);
            reaction.echo.push(b'\n');
            for &typed in &self.edit {
                Self::show(&termios, typed, &mut reaction.echo);
            }
        } else if termios.is(Control::EndOfFile, byte) {
            self.end_line(reaction);
        } else if byte == b'\n' || self.is_end(byte) {
            if byte == b'\n' && termios.has_local(local::ECHONL) && !termios.has_local(local::ECHO) {
                reaction.echo.push(byte);
            }
            self.echo(byte, reaction);
            if byte == 0xff && termios.has_input(input::PARMRK) {
                self.edit.push(byte);
            }
            self.edit.push(byte);
            self.end_line(reaction);
        } else {
            return false;
        }
        true
    }

    fn end_line(&mut self, reaction: &mut Reaction) {
        self.lines.push_back(self.edit.len());
        self.ready.extend(self.edit.drain(..));
        reaction.readable = true;
    }

    /// Takes a byte as it is, and shows it.
    fn accept_and_echo(&mut self, byte: u8, reaction: &mut Reaction) {
        if self.is_canonical() && self.edit.is_empty() {
            self.edit_column = self.screen.column();
        }
        // What marks other bytes is marked itself.
        if byte == 0xff && self.termios.has_input(input::PARMRK) && !self.accept(byte, reaction) {
            return;
        }
        if self.accept(byte, reaction) {
            self.echo(byte, reaction);
        }
    }

    /// Takes a byte, if there is room.
    fn accept(&mut self, byte: u8, reaction: &mut Reaction) -> bool {
        if self.ready.len() + self.edit.len() >= LARGEST {
            if self.termios.has_input(input::IMAXBEL) {
                reaction.echo.push(7);
            }
            return false;
        }
        if self.is_canonical() {
            self.edit.push(byte);
        } else {
            self.ready.push_back(byte);
            reaction.readable = true;
        }
        true
    }

    /// Turns written bytes into what goes over the line, see [`Screen::output`].
    pub fn output(&mut self, bytes: &[u8], out: &mut Chunk) -> usize {
        self.screen.output(&self.termios, bytes, out)
    }
}
