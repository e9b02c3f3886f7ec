//! What a filter says is to become of a call (`SECCOMP_RET_*`), and which of that is logged.

use base::Errno;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use linux_raw_sys::ptrace as number;

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The process ends by SIGSYS.
    KillProcess,
    /// The thread ends.
    KillThread,
    /// The thread gets SIGSYS.
    Trap,
    /// The call fails.
    Error,
    /// Somebody else answers.
    Notify,
    /// The tracer is asked.
    Trace,
    /// The call is made, and logged.
    Log,
    /// The call is made.
    Allow,
}

/// Each with its number and its name, from the one that goes before all others on.
const ALL: [(Action, u32, &str); 8] = [
    (Action::KillProcess, number::SECCOMP_RET_KILL_PROCESS, "kill_process"),
    (Action::KillThread, number::SECCOMP_RET_KILL_THREAD, "kill_thread"),
    (Action::Trap, number::SECCOMP_RET_TRAP, "trap"),
    (Action::Error, number::SECCOMP_RET_ERRNO, "errno"),
    (Action::Notify, number::SECCOMP_RET_USER_NOTIF, "user_notif"),
    (Action::Trace, number::SECCOMP_RET_TRACE, "trace"),
    (Action::Log, number::SECCOMP_RET_LOG, "log"),
    (Action::Allow, number::SECCOMP_RET_ALLOW, "allow"),
];

/// What a filter returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict(u32);

impl Verdict {
    /// The call is made: what holds if no filter says otherwise.
    pub const ALLOW: Self = Self(number::SECCOMP_RET_ALLOW);

    /// What a filter's program returned.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// Whether it goes before another.
    pub fn precedes(self, other: Self) -> bool {
        let order = |verdict: Self| (verdict.0 & number::SECCOMP_RET_ACTION_FULL) as i32;
        order(self) < order(other)
    }

    /// What is done. One that there is not ends the process.
    pub fn action(self) -> Action {
        Action::from_number(self.0 & number::SECCOMP_RET_ACTION_FULL).unwrap_or(Action::KillProcess)
    }

    /// The 16 bits that the filter gave along.
    pub fn data(self) -> u16 {
        self.0 as u16
    }

    /// The action as a number, known or not.
    pub fn code(self) -> u32 {
        self.0 & number::SECCOMP_RET_ACTION_FULL
    }
}

impl Action {
    /// The action with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        ALL.iter().find(|line| line.1 == number).map(|line| line.0)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The names of all actions, as /proc lists them.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|line| line.2)
}

/// Actions of which root wants a line in the log.
pub struct Logged(AtomicU32);

/// Those that are logged: all but `ALLOW` at first.
pub static LOGGED: Logged = Logged(AtomicU32::new(Action::Allow.bit() - 1));

impl Logged {
    /// Whether one is among them.
    pub fn contains(&self, action: Action) -> bool {
        self.0.load(Relaxed) & action.bit() != 0
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        ALL.iter().filter(|line| self.contains(line.0)).map(|line| line.2)
    }

    /// Sets them by their names, with one space between two. `EINVAL` there is no such, or it is `allow`.
    pub fn set(&self, names: &str) -> Result<(), Errno> {
        let mut bits = 0;
        // As on Linux nothing counts behind two spaces.
        for name in names.split(' ').take_while(|name| !name.is_empty()) {
            let action = ALL.iter().find(|line| line.2 == name).map(|line| line.0);
            bits |= action.filter(|&action| action != Action::Allow).ok_or(Errno::EINVAL)?.bit();
        }
        self.0.store(bits, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_list_is_in_the_order_of_precedence() {
        for pair in ALL.windows(2) {
            let [first, second] = [pair[0].1, pair[1].1].map(|value| Verdict::new(value | 0xffff));
            assert!(first.precedes(second) && !second.precedes(first));
        }
        assert!(!Verdict::new(0x0005_0001).precedes(Verdict::new(0x0005_0002)), "data does not count");
    }

    #[test]
    fn what_is_no_action_ends_the_process_and_is_ranked_by_its_number() {
        let unknown = Verdict::new(0x0004_0007);
        assert_eq!((unknown.action(), unknown.data(), unknown.code()), (Action::KillProcess, 7, 0x0004_0000));
        assert!(Verdict::new(number::SECCOMP_RET_TRAP).precedes(unknown));
        assert!(unknown.precedes(Verdict::new(number::SECCOMP_RET_ERRNO)));
    }

    #[test]
    fn what_is_logged_is_set_by_names() {
        let logged = Logged(AtomicU32::new(Action::Allow.bit() - 1));
        let shown = |logged: &Logged| logged.names().collect::<Vec<_>>().join(" ");
        assert_eq!(shown(&logged), "kill_process kill_thread trap errno user_notif trace log");
        assert_eq!(logged.set("trap errno"), Ok(()));
        assert_eq!(shown(&logged), "trap errno");
        assert_eq!(logged.set("trap nothing"), Err(Errno::EINVAL));
        assert_eq!(logged.set("allow"), Err(Errno::EINVAL));
        assert_eq!(shown(&logged), "trap errno");
        assert_eq!(logged.set(""), Ok(()));
        assert_eq!(shown(&logged), "");
    }
}
