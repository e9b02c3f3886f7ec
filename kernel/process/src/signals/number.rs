//! Signal numbers, sets of them, and what each does by default, as `signal(7)` has it.

use base::Errno;
use core::fmt;

/// The largest signal number; 32 to 64 are the real-time signals.
pub const LARGEST: u8 = 64;

/// The number of one signal, 1 to 64. As long as what lies beside it in a [`SignalInfo`](super::SignalInfo).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u32);

macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident = $number:expr;)*) => {
        impl Signal {
            $($(#[$doc])* pub const $name: Self = Self($number);)*
        }
    };
}

signals! {
    /// The terminal hung up.
    HUP = 1;
    /// Interrupt from the keyboard.
    INT = 2;
    /// Quit from the keyboard.
    QUIT = 3;
    /// Illegal instruction.
    ILL = 4;
    /// Trace or breakpoint trap.
    TRAP = 5;
    /// `abort(3)`.
    ABRT = 6;
    /// Bad memory access.
    BUS = 7;
    /// Arithmetic fault.
    FPE = 8;
    /// Kill; can't be caught, blocked or ignored.
    KILL = 9;
    /// For the user's own purposes.
    USR1 = 10;
    /// Invalid memory reference.
    SEGV = 11;
    /// For the user's own purposes.
    USR2 = 12;
    /// A pipe without readers was written.
    PIPE = 13;
    /// The timer of `alarm(2)`.
    ALRM = 14;
    /// A request to end.
    TERM = 15;
    /// A child stopped, went on or ended.
    CHLD = 17;
    /// Go on after a stop.
    CONT = 18;
    /// Stop; can't be caught, blocked or ignored.
    STOP = 19;
    /// Stop typed at the terminal.
    TSTP = 20;
    /// Terminal input wanted by a background process.
    TTIN = 21;
    /// Terminal output by a background process.
    TTOU = 22;
    /// Urgent data on a socket.
    URG = 23;
    /// The limit of CPU time was passed.
    XCPU = 24;
    /// The limit of file size was passed.
    XFSZ = 25;
    /// The timer of user CPU time.
    VTALRM = 26;
    /// The timer of user and system CPU time.
    PROF = 27;
    /// The window changed its size.
    WINCH = 28;
    /// Input or output is possible.
    IO = 29;
    /// Power failure.
    PWR = 30;
    /// Bad system call.
    SYS = 31;
    /// The first real-time signal.
    REAL_TIME = 32;
}

/// What a signal does when its action is `SIG_DFL`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Default {
    /// Nothing.
    Ignore,
    /// The process ends.
    Terminate,
    /// The process ends; its status says that a core could have been written.
    Core,
    /// The process stops.
    Stop,
    /// The process goes on.
    Continue,
}

impl Signal {
    /// The signal with this number; `EINVAL` unless it is 1 to 64.
    pub fn new(number: i32) -> Result<Self, Errno> {
        match u8::try_from(number) {
            Ok(number @ 1..=LARGEST) => Ok(Self(number.into())),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0 as u8
    }

    /// The number as an index from 0.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// Whether each sending is queued, in order, instead of being merged with one that waits.
    pub const fn is_real_time(self) -> bool {
        self.0 >= Self::REAL_TIME.0
    }

    /// What it does when its action is `SIG_DFL`.
    pub const fn default_action(self) -> Default {
        match self {
            Self::CHLD | Self::URG | Self::WINCH => Default::Ignore,
            Self::CONT => Default::Continue,
            Self::STOP | Self::TSTP | Self::TTIN | Self::TTOU => Default::Stop,
            Self::QUIT
            | Self::ILL
            | Self::TRAP
            | Self::ABRT
            | Self::BUS
            | Self::FPE
            | Self::SEGV
            | Self::XCPU
            | Self::XFSZ
            | Self::SYS => Default::Core,
            _ => Default::Terminate,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({})", self.0)
    }
}

/// A set of signals; bit *n* − 1 is signal *n*, as in `sigset_t`.
#[derive(Clone, Copy, PartialEq, Eq, core::default::Default)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// The two that nobody can catch, block or ignore.
    pub const UNSTOPPABLE: Self = Self::of(&[Signal::KILL, Signal::STOP]);
    /// Those that stop a process by default.
    pub const STOPS: Self = Self::of(&[Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU]);
    /// Those that an instruction causes; they are delivered before others.
    pub const SYNCHRONOUS: Self =
        Self::of(&[Signal::SEGV, Signal::BUS, Signal::ILL, Signal::TRAP, Signal::FPE, Signal::SYS]);

    /// The set of the signals listed.
    pub const fn of(signals: &[Signal]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < signals.len() {
            bits |= 1 << signals[index].index();
            index += 1;
        }
        Self(bits)
    }

    /// The set with these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether it has no member.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `signal` is a member.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & 1 << signal.index() != 0
    }

    /// Adds `signal`.
    pub const fn insert(&mut self, signal: Signal) {
        self.0 |= 1 << signal.index();
    }

    /// Takes `signal` out.
    pub const fn remove(&mut self, signal: Signal) {
        self.0 &= !(1 << signal.index());
    }

    /// The members of either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The members of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The members that `other` lacks.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The signal that is delivered first: a synchronous one, else the lowest number.
    pub fn first(self) -> Option<Signal> {
        let synchronous = self.and(Self::SYNCHRONOUS);
        let bits = if synchronous.is_empty() { self.0 } else { synchronous.0 };
        (bits != 0).then(|| Signal(bits.trailing_zeros() + 1))
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignalSet({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_to_sixty_four_are_signals() {
        assert_eq!(Signal::new(0), Err(Errno::EINVAL));
        assert_eq!(Signal::new(65), Err(Errno::EINVAL));
        assert_eq!(Signal::new(-1), Err(Errno::EINVAL));
        assert_eq!(Signal::new(64).map(Signal::number), Ok(64));
    }

    #[test]
    fn a_fault_is_delivered_before_a_lower_number() {
        assert_eq!(SignalSet::of(&[Signal::HUP, Signal::SEGV]).first(), Some(Signal::SEGV));
        assert_eq!(SignalSet::of(&[Signal::TERM, Signal::USR1]).first(), Some(Signal::USR1));
        assert_eq!(SignalSet::EMPTY.first(), None);
    }

    #[test]
    fn bits_are_those_of_sigset_t() {
        assert_eq!(SignalSet::of(&[Signal::HUP]).bits(), 1);
        assert_eq!(SignalSet::of(&[Signal::new(64).unwrap()]).bits(), 1 << 63);
    }
}
