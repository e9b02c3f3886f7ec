//! The line discipline: what typed bytes and written bytes become, `termios(3)`. Pure: it holds the state and decides;
//! [`Tty`](super::tty::Tty) locks, waits, sends signals and moves bytes.

use super::termios::{Control, Termios, input, local, output};
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
    /// Output that was stopped may go on.
    pub restarted: bool,
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
    column: usize,
    literal_next: bool,
    stopped: bool,
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
        if was && !self.is_canonical() {
            self.ready.extend(self.edit.drain(..));
            self.lines.clear();
        } else if !was && self.is_canonical() && !self.ready.is_empty() {
            self.lines.push_back(self.ready.len());
        }
        if !self.termios.has_input(input::IXON) {
            self.stopped = false;
        }
    }

    fn is_canonical(&self) -> bool {
        self.termios.has_local(local::ICANON)
    }

    /// Whether `^S` has stopped the output.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Stops the output or lets it go on (`tcflow`).
    pub fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
    }

    /// Drops what was typed and not read.
    pub fn flush_input(&mut self) {
        self.ready.clear();
        self.lines.clear();
        self.edit.clear();
    }

    /// How many bytes a read could give now (`FIONREAD`).
    pub fn readable(&self) -> usize {
        if self.is_canonical() { self.lines.front().copied().unwrap_or(0) } else { self.ready.len() }
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
        let available = self.readable();
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
        if self.literal_next {
            self.literal_next = false;
            self.accept(byte, reaction);
            return;
        }
        if termios.has_input(input::IXON) && self.flow(byte, reaction) {
            return;
        }
        if termios.has_local(local::ISIG) && self.signal(byte, reaction) {
            return;
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
        self.accept(byte, reaction);
    }

    /// `^S` and `^Q`.
    fn flow(&mut self, byte: u8, reaction: &mut Reaction) -> bool {
        if self.termios.is(Control::Start, byte) {
            reaction.restarted |= self.stopped;
            self.stopped = false;
            return true;
        }
        if self.termios.is(Control::Stop, byte) {
            self.stopped = true;
            return true;
        }
        if self.stopped && self.termios.has_input(input::IXANY) {
            self.stopped = false;
            reaction.restarted = true;
        }
        false
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
        }
        reaction.restarted |= self.stopped;
        self.stopped = false;
        self.echo(byte, reaction);
        reaction.signals.push(signal);
        true
    }

    /// Keys that edit or end a line.
    fn edit_key(&mut self, byte: u8, reaction: &mut Reaction) -> bool {
        let termios = self.termios;
        let extended = termios.has_local(local::IEXTEN);
        if termios.is(Control::Erase, byte) {
            self.erase_character(reaction);
        } else if termios.is(Control::Kill, byte) {
            self.kill(byte, reaction);
        } else if extended && termios.is(Control::WordErase, byte) {
            self.erase_word(reaction);
        } else if extended && termios.is(Control::LiteralNext, byte) {
            self.literal_next = true;
            if termios.has_local(local::ECHO | local::ECHOCTL) {
                reaction.echo.extend_from_slice(b"^\x08");
            }
        } else if extended && termios.is(Control::Reprint, byte) {
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
            self.edit.push(byte);
            self.end_line(reaction);
        } else {
            return false;
        }
        true
    }

    fn is_end(&self, byte: u8) -> bool {
        self.termios.is(Control::EndOfLine, byte)
            || (self.termios.has_local(local::IEXTEN) && self.termios.is(Control::EndOfLine2, byte))
    }

    fn end_line(&mut self, reaction: &mut Reaction) {
        self.lines.push_back(self.edit.len());
        self.ready.extend(self.edit.drain(..));
        reaction.readable = true;
    }

    /// Takes a byte as it is.
    fn accept(&mut self, byte: u8, reaction: &mut Reaction) {
        if self.ready.len() + self.edit.len() >= LARGEST {
            if self.termios.has_input(input::IMAXBEL) {
                reaction.echo.push(7);
            }
            return;
        }
        if self.is_canonical() {
            if self.edit.is_empty() {
                self.edit_column = self.column;
            }
            self.edit.push(byte);
        } else {
            self.ready.push_back(byte);
            reaction.readable = true;
        }
        self.echo(byte, reaction);
    }

    fn echo(&self, byte: u8, reaction: &mut Reaction) {
        if self.termios.has_local(local::ECHO) {
            Self::show(&self.termios, byte, &mut reaction.echo);
        }
    }

    /// A byte as echo shows it: `^C` for control characters.
    fn show(termios: &Termios, byte: u8, out: &mut Vec<u8>) {
        let control = byte < 0x20 || byte == 0x7f;
        if control && termios.has_local(local::ECHOCTL) && !matches!(byte, b'\n' | b'\t') {
            out.extend_from_slice(&[b'^', byte ^ 0x40]);
        } else {
            out.push(byte);
        }
    }

    /// Columns that typed bytes take on the screen, from column `start`.
    fn width(&self, bytes: &[u8], start: usize) -> usize {
        let end = bytes.iter().fold(start, |column, &byte| match byte {
            b'\t' => (column | 7) + 1,
            0..0x20 | 0x7f => column + if self.termios.has_local(local::ECHOCTL) { 2 } else { 0 },
            0x80..0xc0 if self.termios.has_input(input::IUTF8) => column,
            _ => column + 1,
        });
        end - start
    }

    /// Takes the last bytes off the line, down to `length`, and off the screen.
    fn shorten(&mut self, length: usize, reaction: &mut Reaction) {
        let before = self.width(&self.edit, self.edit_column);
        self.edit.truncate(length);
        let after = self.width(&self.edit, self.edit_column);
        if self.termios.has_local(local::ECHO | local::ECHOE) {
            for _ in after..before {
                reaction.echo.extend_from_slice(b"\x08 \x08");
            }
        }
    }

    /// The length of the line without its last character.
    fn before_last(&self, mut length: usize) -> usize {
        length = length.saturating_sub(1);
        if self.termios.has_input(input::IUTF8) {
            while length > 0 && self.edit[length] & 0xc0 == 0x80 {
                length -= 1;
            }
        }
        length
    }

    fn erase_character(&mut self, reaction: &mut Reaction) {
        let length = self.before_last(self.edit.len());
        self.shorten(length, reaction);
    }

    fn erase_word(&mut self, reaction: &mut Reaction) {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        let mut length = self.edit.len();
        while length > 0 && !is_word(self.edit[length - 1]) {
            length -= 1;
        }
        while length > 0 && is_word(self.edit[length - 1]) {
            length -= 1;
        }
        self.shorten(length, reaction);
    }

    fn kill(&mut self, byte: u8, reaction: &mut Reaction) {
        if self.termios.has_local(local::ECHOK | local::ECHOKE | local::ECHOE) {
            self.shorten(0, reaction);
            return;
        }
        self.edit.clear();
        self.echo(byte, reaction);
        if self.termios.has_local(local::ECHO | local::ECHOK) {
            reaction.echo.push(b'\n');
        }
    }

    /// Turns written bytes into what goes over the line, as many as `out` has room for; says how many were taken.
    pub fn output(&mut self, bytes: &[u8], out: &mut Chunk) -> usize {
        for (index, &byte) in bytes.iter().enumerate() {
            let mut piece = [byte; 8];
            let length = self.output_byte(byte, &mut piece);
            if out.room() < length {
                return index;
            }
            self.move_column(&piece[..length]);
            out.push(&piece[..length]);
        }
        bytes.len()
    }

    /// What one written byte becomes; its length.
    fn output_byte(&self, byte: u8, piece: &mut [u8; 8]) -> usize {
        let termios = &self.termios;
        if !termios.has_output(output::OPOST) {
            return 1;
        }
        match byte {
            b'\n' if termios.has_output(output::ONLCR) => {
                piece[..2].copy_from_slice(b"\r\n");
                2
            }
            b'\r' if termios.has_output(output::ONOCR) && self.column == 0 => 0,
            b'\r' if termios.has_output(output::OCRNL) => {
                piece[0] = b'\n';
                1
            }
            b'\t' if termios.output & output::TABDLY == output::XTABS => {
                piece.fill(b' ');
                8 - self.column % 8
            }
            _ => 1,
        }
    }

    fn move_column(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.column = match byte {
                b'\r' => 0,
                b'\n' if self.termios.has_output(output::ONLRET) => 0,
                8 => self.column.saturating_sub(1),
                b'\t' => (self.column | 7) + 1,
                0..0x20 | 0x7f => self.column,
                0x80..0xc0 if self.termios.has_input(input::IUTF8) => self.column,
                _ => self.column.saturating_add(1),
            };
        }
    }
}

/// A piece of output on its way to the line.
pub struct Chunk {
    bytes: [u8; 256],
    length: usize,
    limit: usize,
}

impl Chunk {
    /// An empty piece that takes up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { bytes: [0; 256], length: 0, limit: limit.min(256) }
    }

    fn room(&self) -> usize {
        self.limit - self.length
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;

    fn typed(discipline: &mut Discipline, bytes: &[u8]) -> Reaction {
        let mut reaction = Reaction::default();
        discipline.feed(bytes, &mut reaction);
        reaction
    }

    fn line(discipline: &mut Discipline) -> String {
        let mut buffer = [0; 100];
        let count = discipline.read(&mut buffer);
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    fn without(flags: u32) -> Discipline {
        let mut discipline = Discipline::default();
        let termios = Termios { local: Termios::default().local & !flags, ..Termios::default() };
        discipline.set_termios(termios);
        discipline
    }

    #[test]
    fn a_line_can_be_read_when_it_has_ended() {
        let mut discipline = Discipline::default();
        let reaction = typed(&mut discipline, b"echo hi");
        assert!(!reaction.readable && !discipline.is_ready(1));
        assert_eq!(reaction.echo, b"echo hi");
        assert_eq!(typed(&mut discipline, b"\rnext").echo, b"\nnext");
        assert_eq!(line(&mut discipline), "echo hi\n");
        assert!(!discipline.is_ready(1));
    }

    #[test]
    fn one_read_gives_one_line() {
        let mut discipline = Discipline::default();
        typed(&mut discipline, b"a\nb\n");
        assert_eq!((line(&mut discipline), line(&mut discipline)), ("a\n".into(), "b\n".into()));
    }

    #[test]
    fn erase_word_and_kill_edit_the_line_and_the_screen() {
        let mut discipline = Discipline::default();
        assert_eq!(typed(&mut discipline, b"ab\x7f").echo, b"ab\x08 \x08");
        assert_eq!(typed(&mut discipline, b" word\x17").echo, b" word\x08 \x08\x08 \x08\x08 \x08\x08 \x08");
        typed(&mut discipline, b"c\n");
        assert_eq!(line(&mut discipline), "a c\n");
        typed(&mut discipline, b"gone\x15kept\n");
        assert_eq!(line(&mut discipline), "kept\n");
    }

    #[test]
    fn end_of_file_ends_a_line_without_a_byte() {
        let mut discipline = Discipline::default();
        typed(&mut discipline, b"\x04");
        assert!(discipline.is_ready(1));
        assert_eq!(line(&mut discipline), "");
        assert!(!discipline.is_ready(1));
        typed(&mut discipline, b"ab\x04");
        assert_eq!(line(&mut discipline), "ab");
    }

    #[test]
    fn keys_send_signals_and_drop_the_line() {
        let mut discipline = Discipline::default();
        let reaction = typed(&mut discipline, b"abc\x03\x1a\x1c");
        assert_eq!(reaction.signals, [KeySignal::Interrupt, KeySignal::Suspend, KeySignal::Quit]);
        assert_eq!(reaction.echo, b"abc^C^Z^\\");
        typed(&mut discipline, b"x\n");
        assert_eq!(line(&mut discipline), "x\n");
    }

    #[test]
    fn a_literal_key_means_itself() {
        let mut discipline = Discipline::default();
        assert!(typed(&mut discipline, b"\x16\x03\n").signals.is_empty());
        assert_eq!(line(&mut discipline), "\x03\n");
    }

    #[test]
    fn raw_bytes_pass_unchanged() {
        let mut discipline = without(local::ICANON | local::ECHO | local::ISIG | local::IEXTEN);
        discipline.set_termios(Termios { input: 0, ..*discipline.termios() });
        let reaction = typed(&mut discipline, b"\x03\r\x13\x7f");
        assert!(reaction.readable && reaction.echo.is_empty() && reaction.signals.is_empty());
        assert!(discipline.is_ready(4) && !discipline.is_ready(5));
        assert_eq!(line(&mut discipline), "\x03\r\x13\x7f");
    }

    #[test]
    fn what_is_half_typed_is_readable_when_lines_stop_to_matter() {
        let mut discipline = Discipline::default();
        typed(&mut discipline, b"half");
        discipline.set_termios(*without(local::ICANON).termios());
        assert_eq!(line(&mut discipline), "half");
    }

    #[test]
    fn newlines_get_a_carriage_return_and_tabs_blanks() {
        let mut discipline = Discipline::default();
        let mut chunk = Chunk::new(256);
        assert_eq!(discipline.output(b"a\nb", &mut chunk), 3);
        assert_eq!(chunk.bytes(), b"a\r\nb");
        let output = discipline.termios().output | output::XTABS;
        discipline.set_termios(Termios { output, ..*discipline.termios() });
        let mut chunk = Chunk::new(256);
        discipline.output(b"\tc", &mut chunk);
        assert_eq!(chunk.bytes(), b"       c");
    }

    #[test]
    fn output_stops_where_the_line_has_no_room() {
        let mut chunk = Chunk::new(4);
        assert_eq!(Discipline::default().output(b"ab\n\n", &mut chunk), 3);
        assert_eq!(chunk.bytes(), b"ab\r\n");
    }

    #[test]
    fn stop_and_start_hold_the_output() {
        let mut discipline = Discipline::default();
        typed(&mut discipline, b"\x13");
        assert!(discipline.is_stopped());
        assert!(typed(&mut discipline, b"\x11").restarted);
        assert!(!discipline.is_stopped());
    }

    proptest! {
        #[test]
        fn any_keys_leave_the_books_right(keys: Vec<u8>, raw: bool, switch in 0..200usize) {
            let mut discipline = if raw { without(local::ICANON) } else { Discipline::default() };
            for (index, key) in keys.iter().enumerate() {
                typed(&mut discipline, &[*key]);
                if index == switch {
                    let local = discipline.termios().local ^ local::ICANON;
                    discipline.set_termios(Termios { local, ..*discipline.termios() });
                }
                if discipline.termios().has_local(local::ICANON) {
                    prop_assert_eq!(discipline.lines.iter().sum::<usize>(), discipline.ready.len());
                } else {
                    prop_assert!(discipline.lines.is_empty() && discipline.edit.is_empty());
                }
            }
        }
    }
}
