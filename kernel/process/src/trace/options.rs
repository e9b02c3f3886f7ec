//! What a tracer asks for besides system calls and signals: options, events, and how a stop is told to `wait4(2)`.

use crate::{filters::calls, task::Task};
use base::Errno;
use bitflags::bitflags;
use linux_raw_sys::ptrace as number;

bitflags! {
    /// `PTRACE_SETOPTIONS`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Options: u32 {
        /// Stops of system calls are told with bit 7 set, to be known from SIGTRAP.
        const CALLS_GOOD = number::PTRACE_O_TRACESYSGOOD;
        /// Stop at fork, and trace the child.
        const FORK = number::PTRACE_O_TRACEFORK;
        /// The same for vfork.
        const VFORK = number::PTRACE_O_TRACEVFORK;
        /// The same for clone.
        const CLONE = number::PTRACE_O_TRACECLONE;
        /// Stop after exec.
        const EXEC = number::PTRACE_O_TRACEEXEC;
        /// Stop when a vfork returns.
        const VFORK_DONE = number::PTRACE_O_TRACEVFORKDONE;
        /// Stop before the end.
        const EXIT = number::PTRACE_O_TRACEEXIT;
        /// Stop at calls that a filter names.
        const FILTER = number::PTRACE_O_TRACESECCOMP;
        /// The tracer's end is the tracee's.
        const EXIT_KILL = number::PTRACE_O_EXITKILL;
        /// The tracee's filters say nothing.
        const SUSPEND_FILTERS = number::PTRACE_O_SUSPEND_SECCOMP;
    }
}

impl Options {
    /// The options of a call's argument; `None` for others than these.
    pub fn from_argument(value: u64) -> Option<Self> {
        u32::try_from(value).ok().and_then(Self::from_bits)
    }

    /// `EPERM`: `tracer` may not take filters away, being without CAP_SYS_ADMIN or filtered itself.
    pub fn check(self, tracer: &Task) -> Result<(), Errno> {
        if self.contains(Self::SUSPEND_FILTERS) {
            calls::check_sees_filters(tracer).map_err(|_| Errno::EPERM)?;
        }
        Ok(())
    }
}

/// What a tracee stops for that is neither a call nor a signal (`PTRACE_EVENT_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Fork = number::PTRACE_EVENT_FORK as isize,
    Vfork = number::PTRACE_EVENT_VFORK as isize,
    Clone = number::PTRACE_EVENT_CLONE as isize,
    Exec = number::PTRACE_EVENT_EXEC as isize,
    VforkDone = number::PTRACE_EVENT_VFORK_DONE as isize,
    Exit = number::PTRACE_EVENT_EXIT as isize,
    Filter = number::PTRACE_EVENT_SECCOMP as isize,
    Stop = number::PTRACE_EVENT_STOP as isize,
}

impl Event {
    /// Whether a tracer with these options is told.
    pub(crate) fn is_wanted(self, options: Options) -> bool {
        self != Self::Stop && options.bits() & 1 << self as u32 != 0
    }

    /// How it is told, with this signal.
    pub(crate) const fn code(self, signal: u8) -> u32 {
        (self as u32) << 8 | signal as u32
    }
}

/// A signal that a tracer gives along; `None` for none. `EIO` there is no such.
pub(crate) fn given_signal(data: u64) -> Result<Option<crate::signals::Signal>, Errno> {
    match i32::try_from(data) {
        Ok(0) => Ok(None),
        Ok(number) => crate::signals::Signal::new(number).map(Some).map_err(|_| Errno::EIO),
        Err(_) => Err(Errno::EIO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_wanted_by_the_option_with_its_number() {
        assert!(Event::Fork.is_wanted(Options::FORK));
        assert!(Event::Exit.is_wanted(Options::EXIT) && Event::VforkDone.is_wanted(Options::VFORK_DONE));
        assert!(!Event::Exec.is_wanted(Options::all().difference(Options::EXEC)));
        assert!(!Event::Stop.is_wanted(Options::all()), "it has no option");
        assert_eq!(Event::Exec.code(5), 0x405);
    }

    #[test]
    fn options_and_signals_that_there_are_not_are_refused() {
        assert_eq!(Options::from_argument(0x7f), Some(Options::from_bits_truncate(0x7f)));
        assert_eq!(Options::from_argument(1 << 22), None);
        assert_eq!(Options::from_argument(1 << 40), None);
        assert_eq!(given_signal(0), Ok(None));
        assert_eq!(given_signal(65), Err(Errno::EIO));
        assert_eq!(given_signal(1 << 32 | 9), Err(Errno::EIO));
    }
}
