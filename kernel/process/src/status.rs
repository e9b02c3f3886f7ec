//! How a process ended or stopped, as `wait4(2)`, `waitid(2)` and SIGCHLD tell it; and what it used.

use crate::signals::{Signal, code};
use crate::transfers::TransferCounts;
use base::{Errno, Pid};
use bitflags::bitflags;
use core::fmt;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It called exit with this code.
    Exited(u8),
    /// A signal ended it.
    Killed {
        /// The signal.
        signal: Signal,
        /// Whether it has left a core.
        core: bool,
    },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Killed { signal, .. } => write!(f, "signal {signal}"),
        }
    }
}

/// A change of a child that its parent can wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It ended.
    Ended(End),
    /// A signal stopped it.
    Stopped(Signal),
    /// It went on after a stop.
    Continued,
    /// It is traced and has stopped for its tracer, for this signal, with the event in the bits above it (ptrace(2)).
    Trapped(u32),
}

impl Change {
    /// The status of `wait4(2)`.
    pub const fn wait_status(self) -> i32 {
        match self {
            Self::Ended(End::Exited(code)) => (code as i32) << 8,
            Self::Ended(End::Killed { signal, core }) => signal.number() as i32 | if core { 0x80 } else { 0 },
            Self::Stopped(signal) => (signal.number() as i32) << 8 | 0x7f,
            Self::Continued => 0xffff,
            Self::Trapped(code) => (code as i32) << 8 | 0x7f,
        }
    }

    /// `si_code` and `si_status` of `waitid(2)` and SIGCHLD.
    pub const fn code_and_status(self) -> (i32, i32) {
        match self {
            Self::Ended(End::Exited(status)) => (code::CLD_EXITED, status as i32),
            Self::Ended(End::Killed { signal, core }) => {
                (if core { code::CLD_DUMPED } else { code::CLD_KILLED }, signal.number() as i32)
            }
            Self::Stopped(signal) => (code::CLD_STOPPED, signal.number() as i32),
            Self::Continued => (code::CLD_CONTINUED, Signal::CONT.number() as i32),
            Self::Trapped(code) => (code::CLD_TRAPPED, code as i32),
        }
    }
}

bitflags! {
    /// Options of `wait4(2)` and `waitid(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct WaitOptions: u32 {
        /// `WNOHANG`: don't sleep.
        const NO_HANG = 1;
        /// `WUNTRACED`, `WSTOPPED`: children that stopped.
        const STOPPED = 2;
        /// `WEXITED`: children that ended; always on in `wait4`.
        const EXITED = 4;
        /// `WCONTINUED`: children that went on.
        const CONTINUED = 8;
        /// `WNOWAIT`: leave the child as it is.
        const NO_WAIT = 0x0100_0000;
        /// `__WNOTHREAD`: tracees of this thread only; all children belong to the process here.
        const NO_THREAD = 0x2000_0000;
        /// `__WALL`: whatever signal they send when they end.
        const ALL = 0x4000_0000;
        /// `__WCLONE`: only those that don't send SIGCHLD.
        const CLONE = 0x8000_0000;
    }
}

impl WaitOptions {
    /// The options of `wait4(2)`; `EINVAL` for unknown ones.
    pub fn for_wait4(raw: u32) -> Result<Self, Errno> {
        let options = Self::from_bits(raw).filter(|options| !options.intersects(Self::EXITED | Self::NO_WAIT));
        Ok(options.ok_or(Errno::EINVAL)? | Self::EXITED)
    }

    /// The options of `waitid(2)`; `EINVAL` for unknown ones or none of the three changes.
    pub fn for_waitid(raw: u32) -> Result<Self, Errno> {
        Self::from_bits(raw)
            .filter(|options| options.intersects(Self::EXITED | Self::STOPPED | Self::CONTINUED))
            .ok_or(Errno::EINVAL)
    }
}

/// Which children are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitTarget {
    /// Any child.
    Any,
    /// The one with this number.
    Process(Pid),
    /// Those in this process group.
    Group(Pid),
}

impl WaitTarget {
    /// The first argument of `wait4(2)`, for a caller in process group `own`. `ESRCH` for a number that has no negative.
    pub fn for_wait4(raw: i32, own: Pid) -> Result<Self, Errno> {
        match raw {
            i32::MIN => Err(Errno::ESRCH),
            -1 => Ok(Self::Any),
            0 => Ok(Self::Group(own)),
            group @ ..-1 => Ok(Self::Group(Pid::new(-group))),
            pid => Ok(Self::Process(Pid::new(pid))),
        }
    }

    /// Whether a child of this number and group is meant.
    pub fn includes(self, pid: Pid, group: Pid) -> bool {
        match self {
            Self::Any => true,
            Self::Process(wanted) => wanted == pid,
            Self::Group(wanted) => wanted == group,
        }
    }
}

/// What tasks have used, `getrusage(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// User time in ns.
    pub user: u64,
    /// System time in ns.
    pub system: u64,
    /// Page faults without input or output.
    pub minor_faults: u64,
    /// Page faults with input or output.
    pub major_faults: u64,
    /// Switches because the task waited.
    pub voluntary_switches: u64,
    /// Switches because its time was over.
    pub involuntary_switches: u64,
    /// The largest resident size in KiB.
    pub max_resident: u64,
    /// What was read and written.
    pub transfers: TransferCounts,
}

impl Usage {
    /// Adds what others have used; the resident size is the larger of the two.
    pub fn add(&mut self, other: &Self) {
        self.user += other.user;
        self.system += other.system;
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.max_resident = self.max_resident.max(other.max_resident);
        self.transfers.add(&other.transfers);
    }

    /// `struct rusage` as a program sees it.
    pub fn to_bytes(&self) -> [u8; 144] {
        let micros = |ns: u64| [ns / 1_000_000_000, ns % 1_000_000_000 / 1000];
        let [user, system] = [micros(self.user), micros(self.system)];
        let words = [
            user[0],
            user[1],
            system[0],
            system[1],
            self.max_resident,
            0,
            0,
            0,
            self.minor_faults,
            self.major_faults,
            0,
            0,
            0,
            0,
            0,
            0,
            self.voluntary_switches,
            self.involuntary_switches,
        ];
        let mut bytes = [0; 144];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// Clock ticks (1/100 s) of a time in ns, for `times(2)` and SIGCHLD.
pub const fn ticks(ns: u64) -> i64 {
    (ns / 10_000_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_the_wait_macros() {
        assert_eq!(Change::Ended(End::Exited(3)).wait_status(), 0x300);
        assert_eq!(Change::Ended(End::Killed { signal: Signal::SEGV, core: true }).wait_status(), 0x8b);
        assert_eq!(Change::Ended(End::Killed { signal: Signal::SEGV, core: false }).wait_status(), 11);
        assert_eq!(Change::Stopped(Signal::TSTP).wait_status(), 0x147f);
        assert_eq!(Change::Continued.wait_status(), 0xffff);
        assert_eq!(Change::Trapped(0x405).wait_status(), 0x4057f, "an exec");
        assert_eq!(Change::Trapped(0x85).wait_status(), 0x857f, "a system call");
    }

    #[test]
    fn wait_arguments_mean_what_the_manual_says() {
        let own = Pid::new(50);
        assert_eq!(WaitTarget::for_wait4(-1, own), Ok(WaitTarget::Any));
        assert_eq!(WaitTarget::for_wait4(0, own), Ok(WaitTarget::Group(own)));
        assert_eq!(WaitTarget::for_wait4(-7, own), Ok(WaitTarget::Group(Pid::new(7))));
        assert_eq!(WaitTarget::for_wait4(7, own), Ok(WaitTarget::Process(Pid::new(7))));
        assert_eq!(WaitTarget::for_wait4(i32::MIN, own), Err(Errno::ESRCH));
        assert_eq!(WaitOptions::for_wait4(0x0100_0000), Err(Errno::EINVAL));
        assert_eq!(WaitOptions::for_wait4(64), Err(Errno::EINVAL));
        assert!(WaitOptions::for_wait4(1).unwrap().contains(WaitOptions::EXITED));
        assert_eq!(WaitOptions::for_waitid(1), Err(Errno::EINVAL));
    }
}
