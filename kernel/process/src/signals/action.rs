//! What a process does about each signal: the table behind `sigaction(2)`.

use super::{Default, LARGEST, Signal, SignalSet};
use base::Errno;
use bitflags::bitflags;

bitflags! {
    /// `sa_flags`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct ActionFlags: u64 {
        /// No SIGCHLD when a child stops or goes on.
        const NO_CHILD_STOP = 0x1;
        /// Children that end leave no zombie.
        const NO_CHILD_WAIT = 0x2;
        /// The handler takes three arguments; the frame is the same either way.
        const INFO = 0x4;
        /// `sa_restorer` is set.
        const RESTORER = 0x0400_0000;
        /// Run on the alternate stack.
        const ON_STACK = 0x0800_0000;
        /// An interrupted call is started again.
        const RESTART = 0x1000_0000;
        /// The signal itself isn't blocked in its handler.
        const NO_DEFER = 0x4000_0000;
        /// Back to the default when the handler starts.
        const RESET_HAND = 0x8000_0000;
        const _ = !0;
    }
}

/// `SIG_DFL`.
pub const SIG_DFL: u64 = 0;
/// `SIG_IGN`.
pub const SIG_IGN: u64 = 1;

/// One entry: `struct sigaction` as the kernel sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, core::default::Default)]
pub struct Action {
    /// `SIG_DFL`, `SIG_IGN` or the handler's address.
    pub handler: u64,
    /// The flags.
    pub flags: ActionFlags,
    /// Where the handler returns to.
    pub restorer: u64,
    /// What is blocked besides while the handler runs.
    pub mask: SignalSet,
}

/// The whole table; shared by processes made with `CLONE_SIGHAND`.
#[derive(Clone)]
pub struct ActionTable {
    entries: [Action; LARGEST as usize],
}

impl ActionTable {
    /// Every signal has its default.
    pub fn new() -> Self {
        Self { entries: [Action::default(); LARGEST as usize] }
    }

    /// The entry of `signal`.
    pub fn get(&self, signal: Signal) -> Action {
        self.entries[signal.index()]
    }

    /// Replaces the entry of `signal` and returns the old one. `EINVAL` for SIGKILL and SIGSTOP.
    pub fn set(&mut self, signal: Signal, mut action: Action) -> Result<Action, Errno> {
        if SignalSet::UNSTOPPABLE.contains(signal) {
            return Err(Errno::EINVAL);
        }
        action.mask = action.mask.without(SignalSet::UNSTOPPABLE);
        Ok(core::mem::replace(&mut self.entries[signal.index()], action))
    }

    /// Puts the entry of `signal` back to the default.
    pub fn reset(&mut self, signal: Signal) {
        self.entries[signal.index()] = Action::default();
    }

    /// Whether a signal that arrives has no effect at all.
    pub fn ignores(&self, signal: Signal) -> bool {
        match self.get(signal).handler {
            SIG_IGN => true,
            SIG_DFL => signal.default_action() == Default::Ignore,
            _ => false,
        }
    }

    /// What exec does: handlers go back to the default, ignored signals stay ignored.
    pub fn reset_handlers(&mut self) {
        for entry in &mut self.entries {
            let handler = if entry.handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            *entry = Action { handler, ..Action::default() };
        }
    }

    /// What `CLONE_CLEAR_SIGHAND` does: the same as [`Self::reset_handlers`].
    pub fn cleared(&self) -> Self {
        let mut table = self.clone();
        table.reset_handlers();
        table
    }

    /// Whether children that end leave no zombie: SIGCHLD is ignored or has `SA_NOCLDWAIT`.
    pub fn reaps_children(&self) -> bool {
        let child = self.get(Signal::CHLD);
        child.handler == SIG_IGN || child.flags.contains(ActionFlags::NO_CHILD_WAIT)
    }
}

impl core::default::Default for ActionTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught() -> Action {
        Action { handler: 0x40_0000, flags: ActionFlags::RESTART, ..Action::default() }
    }

    #[test]
    fn kill_and_stop_keep_their_actions() {
        let mut table = ActionTable::new();
        assert_eq!(table.set(Signal::KILL, caught()), Err(Errno::EINVAL));
        assert_eq!(table.set(Signal::STOP, caught()), Err(Errno::EINVAL));
    }

    #[test]
    fn exec_forgets_handlers_and_keeps_ignoring() {
        let mut table = ActionTable::new();
        table.set(Signal::USR1, caught()).unwrap();
        table.set(Signal::USR2, Action { handler: SIG_IGN, ..Action::default() }).unwrap();
        table.reset_handlers();
        assert_eq!(table.get(Signal::USR1), Action::default());
        assert_eq!(table.get(Signal::USR2).handler, SIG_IGN);
    }

    #[test]
    fn a_handler_can_not_block_kill() {
        let mut table = ActionTable::new();
        let all = Action { mask: SignalSet::from_bits(!0), ..caught() };
        table.set(Signal::USR1, all).unwrap();
        assert!(!table.get(Signal::USR1).mask.contains(Signal::KILL));
    }
}
