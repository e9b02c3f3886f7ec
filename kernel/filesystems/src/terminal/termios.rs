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
    pub const PARMRK: u32 = 0o10;
    pub const ISTRIP: u32 = 0o40;
    pub const INLCR: u32 = 0o100;
    pub const IGNCR: u32 = 0o200;
    pub const ICRNL: u32 = 0o400;
    pub const IUCLC: u32 = 0o1000;
    pub const IXON: u32 = 0o2000;
    pub const IXANY: u32 = 0o4000;
    pub const IMAXBEL: u32 = 0o20000;
    pub const IUTF8: u32 = 0o40000;
}

/// Flags of `c_oflag`.
pub mod output {
    #![allow(missing_docs)]
    pub const OPOST: u32 = 0o1;
    pub const OLCUC: u32 = 0o2;
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
    pub const ECHOPRT: u32 = 0o2000;
    pub const ECHOKE: u32 = 0o4000;
    pub const IEXTEN: u32 = 0o100000;
    pub const EXTPROC: u32 = 0o200000;
}

/// Flags of `c_cflag`.
pub mod control {
    #![allow(missing_docs)]
    pub const CBAUD: u32 = 0o10017;
    pub const BOTHER: u32 = 0o10000;
    pub const CSIZE: u32 = 0o60;
    pub const CS8: u32 = 0o60;
    pub const CREAD: u32 = 0o200;
    pub const PARENB: u32 = 0o400;
    pub const CLOCAL: u32 = 0o4000;
    /// How far the flags of the input's speed lie above those of the output's.
    pub const IBSHIFT: u32 = 16;
}

/// The speeds that `c_cflag` has a number for: the first by `B0` to `B38400`, the rest from `B57600` on.
const SPEEDS: [u32; 31] = [
    0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400,
    460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000, 2_500_000, 3_000_000, 3_500_000,
    4_000_000,
];

/// 8 bits, reading enabled, speed 38400 (the value of a new terminal).
const CONTROL_FLAGS: u32 = control::CS8 | control::CREAD | 0o17;
/// 38400 baud.
const SPEED: u32 = 38400;

/// The settings of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Termios {
    /// `c_iflag`.
    pub input: u32,
    /// `c_oflag`.
    pub output: u32,
    /// `c_cflag`: kept; a line that is emulated or none has no bits and speeds to set.
    pub control: u32,
    /// `c_lflag`.
    pub local: u32,
    /// `c_line`: kept; there is one discipline.
    pub line: u8,
    /// `c_cc`, by [`Control`].
    pub characters: [u8; CONTROLS],
    /// `c_ispeed` and `c_ospeed`, by `c_cflag` unless that says that they are other ones (`BOTHER`).
    pub speeds: [u32; 2],
}

/// Bytes of `struct termios`.
pub const SIZE: usize = 36;
/// Bytes of `struct termios2`, which has the speeds too.
pub const SIZE2: usize = 44;
/// Bytes of `struct termio`, the form of System V: flags of 16 bits, 8 characters, a byte that nobody uses.
pub const OLD_SIZE: usize = 18;

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

    /// Takes the settings of a `struct termios` or `termios2`.
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
        self.with_speeds()
    }

    /// The speeds as `c_cflag` says; an input that has none of its own has the output's.
    fn with_speeds(mut self) -> Self {
        let speed = |flags: u32, other: u32| match flags & control::CBAUD {
            control::BOTHER => other,
            flags if flags & control::BOTHER != 0 => {
                SPEEDS.get((flags & 0o17) as usize + 15).copied().unwrap_or_default()
            }
            flags => SPEEDS[flags as usize],
        };
        let output = speed(self.control, self.speeds[1]);
        let input = self.control >> control::IBSHIFT;
        let input = if input & control::CBAUD == 0 { output } else { speed(input, self.speeds[0]) };
        self.speeds = [input, output];
        self
    }

    /// `struct termio`.
    pub fn to_old_bytes(self) -> [u8; OLD_SIZE] {
        let mut bytes = [0; OLD_SIZE];
        for (index, word) in [self.input, self.output, self.control, self.local].into_iter().enumerate() {
            bytes[2 * index..2 * index + 2].copy_from_slice(&(word as u16).to_ne_bytes());
        }
        bytes[8] = self.line;
        bytes[9..17].copy_from_slice(&self.characters[..8]);
        bytes
    }

    /// Takes the settings of a `struct termio`; the higher flags and the other characters stay.
    pub fn with_old_bytes(mut self, bytes: &[u8; OLD_SIZE]) -> Self {
        let fields = [&mut self.input, &mut self.output, &mut self.control, &mut self.local];
        for (field, low) in fields.into_iter().zip(bytes.chunks_exact(2)) {
            *field = *field & !0xffff | u32::from(u16::from_ne_bytes([low[0], low[1]]));
        }
        self.line = bytes[8];
        self.characters[..8].copy_from_slice(&bytes[9..17]);
        self.with_speeds()
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
        assert_eq!(Termios::default().with_old_bytes(&settings.to_old_bytes()), settings);
    }

    #[test]
    fn the_old_form_leaves_what_it_has_no_place_for() {
        let settings = Termios { local: 0x5_1234, ..Termios::default() };
        let settings = settings.with_old_bytes(&Termios { local: 8, ..settings }.to_old_bytes());
        assert_eq!((settings.local, settings.character(Control::WordErase)), (0x5_0008, 23));
    }

    #[test]
    fn speeds_are_what_the_flags_say() {
        let speeds = |flags: u32, speeds: [u32; 2]| {
            let settings = Termios { control: flags, speeds, ..Termios::default() };
            Termios::default().with_bytes(&settings.to_bytes()).speeds
        };
        assert_eq!(speeds(0o15, [1, 2]), [9600, 9600]);
        assert_eq!(speeds(0o10002, [1, 2]), [115_200, 115_200]);
        assert_eq!(speeds(0o17 | 0o15 << 16, [1, 2]), [9600, 38_400]);
        assert_eq!(speeds(control::BOTHER, [1, 2]), [2, 2]);
        assert_eq!(speeds(control::BOTHER | control::BOTHER << 16, [1, 2]), [1, 2]);
        assert_eq!(speeds(0o10017, [1, 2]), [4_000_000, 4_000_000]);
    }
}
