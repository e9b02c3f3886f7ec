//! The settings of a terminal, `termios(3)`: flags, control characters, and their form in the Linux ABI.

/// Characters that mean something when they are typed, by their index in `c_cc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
#[allow(missing_docs)]
pub enum Control {
    Interrupt = 0,
    Quit = 1,
    Erase = 2,
    Kill = 3,
    EndOfFile = 4,
    Time = 5,
    Minimum = 6,
    Start = 8,
    Stop = 9,
    Suspend = 10,
    EndOfLine = 11,
    Reprint = 12,
    WordErase = 14,
    LiteralNext = 15,
    EndOfLine2 = 16,
}

/// Number of control characters.
const CONTROLS: usize = 19;

/// Flags of `c_iflag`.
pub mod input {
    #![allow(missing_docs)]
    pub const ISTRIP: u32 = 0o40;
    pub const INLCR: u32 = 0o100;
    pub const IGNCR: u32 = 0o200;
    pub const ICRNL: u32 = 0o400;
    pub const IXON: u32 = 0o2000;
    pub const IXANY: u32 = 0o4000;
    pub const IMAXBEL: u32 = 0o20000;
    pub const IUTF8: u32 = 0o40000;
}

/// Flags of `c_oflag`.
pub mod output {
    #![allow(missing_docs)]
    pub const OPOST: u32 = 0o1;
    pub const ONLCR: u32 = 0o4;
    pub const OCRNL: u32 = 0o10;
    pub const ONOCR: u32 = 0o20;
    pub const ONLRET: u32 = 0o40;
    pub const TABDLY: u32 = 0o14000;
    pub const XTABS: u32 = 0o14000;
}

/// Flags of `c_lflag`.
pub mod local {
    #![allow(missing_docs)]
    pub const ISIG: u32 = 0o1;
    pub const ICANON: u32 = 0o2;
    pub const ECHO: u32 = 0o10;
    pub const ECHOE: u32 = 0o20;
    pub const ECHOK: u32 = 0o40;
    pub const ECHONL: u32 = 0o100;
    pub const NOFLSH: u32 = 0o200;
    pub const TOSTOP: u32 = 0o400;
    pub const ECHOCTL: u32 = 0o1000;
    pub const ECHOKE: u32 = 0o4000;
    pub const IEXTEN: u32 = 0o100000;
}

/// 8 bits, reading enabled, speed 38400 (the value of a new terminal).
const CONTROL_FLAGS: u32 = 0o60 | 0o200 | 0o17;
/// 38400 baud.
const SPEED: u32 = 38400;

/// The settings of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Termios {
    /// `c_iflag`.
    pub input: u32,
    /// `c_oflag`.
    pub output: u32,
    /// `c_cflag`: kept, without effect.
    pub control: u32,
    /// `c_lflag`.
    pub local: u32,
    /// `c_line`: kept, without effect.
    pub line: u8,
    /// `c_cc`, by [`Control`].
    pub characters: [u8; CONTROLS],
    /// `c_ispeed` and `c_ospeed`: kept, without effect.
    pub speeds: [u32; 2],
}

/// Bytes of `struct termios`.
pub const SIZE: usize = 36;
/// Bytes of `struct termios2`, which has the speeds too.
pub const SIZE2: usize = 44;

impl Default for Termios {
    fn default() -> Self {
        let mut characters = [0; CONTROLS];
        for (control, value) in [
            (Control::Interrupt, 3),
            (Control::Quit, 28),
            (Control::Erase, 127),
            (Control::Kill, 21),
            (Control::EndOfFile, 4),
            (Control::Minimum, 1),
            (Control::Start, 17),
            (Control::Stop, 19),
            (Control::Suspend, 26),
            (Control::Reprint, 18),
            (Control::WordErase, 23),
            (Control::LiteralNext, 22),
        ] {
            characters[control as usize] = value;
        }
        Self {
            input: input::ICRNL | input::IXON,
            output: output::OPOST | output::ONLCR,
            control: CONTROL_FLAGS,
            local: local::ISIG
                | local::ICANON
                | local::ECHO
                | local::ECHOE
                | local::ECHOK
                | local::ECHOCTL
                | local::ECHOKE
                | local::IEXTEN,
            line: 0,
            characters,
            speeds: [SPEED; 2],
        }
    }
}

impl Termios {
    /// A control character; 0 is disabled (`_POSIX_VDISABLE`), for `Minimum` and `Time` a number.
    pub const fn character(&self, control: Control) -> u8 {
        self.characters[control as usize]
    }

    /// Whether `byte` is this control character.
    pub const fn is(&self, control: Control, byte: u8) -> bool {
        byte != 0 && self.character(control) == byte
    }

    /// Whether all of `flags` are set in `c_iflag`.
    pub const fn has_input(&self, flags: u32) -> bool {
        self.input & flags == flags
    }

    /// Whether all of `flags` are set in `c_oflag`.
    pub const fn has_output(&self, flags: u32) -> bool {
        self.output & flags == flags
    }

    /// Whether all of `flags` are set in `c_lflag`.
    pub const fn has_local(&self, flags: u32) -> bool {
        self.local & flags == flags
    }

    /// `struct termios2`; its first [`SIZE`] bytes are `struct termios`.
    pub fn to_bytes(self) -> [u8; SIZE2] {
        let mut bytes = [0; SIZE2];
        for (index, word) in [self.input, self.output, self.control, self.local].into_iter().enumerate() {
            bytes[4 * index..4 * index + 4].copy_from_slice(&word.to_ne_bytes());
        }
        bytes[16] = self.line;
        bytes[17..17 + CONTROLS].copy_from_slice(&self.characters);
        for (index, speed) in self.speeds.into_iter().enumerate() {
            bytes[SIZE + 4 * index..SIZE + 4 * index + 4].copy_from_slice(&speed.to_ne_bytes());
        }
        bytes
    }

    /// Takes the settings of a `struct termios` (then the speeds stay) or `termios2`.
    pub fn with_bytes(mut self, bytes: &[u8]) -> Self {
        let word = |index: usize| {
            let found = bytes.get(index..index + 4).and_then(|word| word.first_chunk::<4>());
            found.map(|word| u32::from_ne_bytes(*word))
        };
        self.input = word(0).unwrap_or(self.input);
        self.output = word(4).unwrap_or(self.output);
        self.control = word(8).unwrap_or(self.control);
        self.local = word(12).unwrap_or(self.local);
        if let Some(rest) = bytes.get(16..SIZE) {
            self.line = rest[0];
            self.characters.copy_from_slice(&rest[1..]);
        }
        self.speeds = [word(SIZE).unwrap_or(self.speeds[0]), word(SIZE + 4).unwrap_or(self.speeds[1])];
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_form_of_the_abi() {
        let settings = Termios { local: 0x1234, ..Termios::default() };
        assert_eq!(Termios::default().with_bytes(&settings.to_bytes()), settings);
        assert_eq!(Termios::default().with_bytes(&settings.to_bytes()[..SIZE]), settings);
    }
}
