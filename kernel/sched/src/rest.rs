//! Falling asleep and being woken: what a task that sleeps and those who wake, interrupt and freeze it tell each other,
//! and in which order.
//!
//! The sleeper says that it will sleep, then looks whether it has to, then gives its CPU away; there, with its run state
//! locked, what it said is looked at once more ([`Rest::goes_on`]). Who wakes it makes true what it waits for, and then,
//! with the same lock, takes back what it said ([`Rest::wake`]). Whichever comes second sees the other. An interrupt and
//! a wish to freeze are things to wait for like any other.
//!
//! It stands alone, so that loom can try every order of steps (`tests/rest.rs`).

use machine::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};

/// Between what one has said and the look at what another says. The words are SeqCst, so there is nothing to do but for
/// loom, which takes that for AcqRel and knows only fences of that kind.
fn then_look() {
    #[cfg(loom)]
    machine::sync::atomic::fence(SeqCst);
}

/// What a task is doing, as `/proc/<pid>/stat` tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// Runs or waits for a CPU.
    Runnable,
    /// Sleeps until an event, a deadline or a signal.
    Sleeping,
    /// Sleeps until an event; signals don't wake it.
    Uninterruptible,
    /// Will never run again.
    Dead,
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitError {
    /// The task was interrupted (a signal is pending): `EINTR` or a restart.
    Interrupted,
    /// The deadline has passed.
    TimedOut,
}

/// What has come of the wish to freeze a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freezing {
    /// It had been wished before.
    Before,
    /// The task will be frozen soon, unless it ends.
    Soon,
    /// It is frozen.
    Done,
}

/// Whether signals end a sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Interruptible,
    Uninterruptible,
}

/// What a sleeper should do next.
pub(crate) enum Round<R> {
    /// Go on with this.
    Ends(Result<R, WaitError>),
    /// Stay where it is as long as it is wanted frozen, then look again.
    Freezes,
    /// Look again: it was woken.
    Again,
}

/// What has come of waking a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    /// It goes on.
    Yes,
    /// It did not sleep so.
    NotAsleep,
    /// It is frozen and sleeps on; when it is thawed it looks for itself.
    Frozen,
}

/// Somebody wants the task frozen.
const WANTED: u8 = 1 << 0;
/// It is. Said with the run state locked.
const FROZEN: u8 = 1 << 1;
/// It is to end.
const EXEMPT: u8 = 1 << 2;

/// The words of one task. Its run state is the caller's, and so is the lock of that.
pub(crate) struct Rest {
    /// [`Activity`]. The task itself says that it will sleep; who wakes it says that it runs, with the run state locked.
    activity: AtomicU8,
    interrupted: AtomicBool,
    freeze: AtomicU8,
}

impl Rest {
    /// Of a task that runs.
    pub(crate) fn new() -> Self {
        Self {
            activity: AtomicU8::new(Activity::Runnable as u8),
            interrupted: AtomicBool::new(false),
            freeze: AtomicU8::new(0),
        }
    }

    /// What the task is doing.
    pub(crate) fn activity(&self) -> Activity {
        match self.activity.load(SeqCst) {
            0 => Activity::Runnable,
            1 => Activity::Sleeping,
            2 => Activity::Uninterruptible,
            _ => Activity::Dead,
        }
    }

    fn set_activity(&self, activity: Activity) {
        self.activity.store(activity as u8, SeqCst);
    }

    /// One round of a sleep: says that the task will sleep, has a `look`, asks whether the deadline `has_passed`, and
    /// calls `block`, which gives the CPU away, if nothing speaks against it.
    pub(crate) fn round<R>(
        &self,
        kind: Kind,
        look: impl FnOnce() -> Option<R>,
        has_passed: impl FnOnce() -> bool,
        block: impl FnOnce(),
    ) -> Round<R> {
        let interruptible = kind == Kind::Interruptible;
        self.set_activity(if interruptible { Activity::Sleeping } else { Activity::Uninterruptible });
        then_look();
        if interruptible && self.should_freeze() {
            self.set_activity(Activity::Runnable);
            return Round::Freezes;
        }
        let found = look();
        let error = if interruptible && self.interrupt_pending() {
            Some(WaitError::Interrupted)
        } else if has_passed() {
            Some(WaitError::TimedOut)
        } else {
            None
        };
        if found.is_none() && error.is_none() {
            block();
            return Round::Again;
        }
        self.set_activity(Activity::Runnable);
        Round::Ends(match (found, error) {
            (Some(value), _) => Ok(value),
            (None, error) => Err(error.unwrap_or(WaitError::TimedOut)),
        })
    }

    /// Whether a task that gives its CPU away because it sleeps stays in its run queue after all. Its run state is locked.
    pub(crate) fn goes_on(&self) -> bool {
        self.activity() == Activity::Runnable
    }

    /// Wakes the task if it sleeps as `wanted` says: `lock` locks its run state, and `go_on` puts it into a run queue if it is
    /// in none.
    pub(crate) fn wake<G>(
        &self,
        wanted: impl Fn(Activity) -> bool,
        lock: impl FnOnce() -> G,
        go_on: impl FnOnce(&mut G),
    ) -> Woken {
        then_look();
        if !wanted(self.activity()) {
            return Woken::NotAsleep;
        }
        let mut state = lock();
        if !wanted(self.activity()) {
            return Woken::NotAsleep;
        }
        if self.is_frozen() {
            return Woken::Frozen;
        }
        self.set_activity(Activity::Runnable);
        go_on(&mut state);
        Woken::Yes
    }

    /// It will never run again.
    pub(crate) fn end(&self) {
        self.set_activity(Activity::Dead);
    }

    /// Interrupts the task: from now on interruptible sleeps end at once, and so does one that it is in. `have_look` makes it
    /// look for work before it next goes to user mode; the rest is as for [`Rest::wake`].
    pub(crate) fn interrupt<G>(
        &self,
        have_look: impl FnOnce(),
        lock: impl FnOnce() -> G,
        go_on: impl FnOnce(&mut G),
    ) -> Woken {
        self.interrupted.store(true, SeqCst);
        // A look takes the mark back: one that came before it would leave the mark behind, to end a later sleep for nothing.
        have_look();
        self.wake(|activity| activity == Activity::Sleeping, lock, go_on)
    }

    /// Whether it was interrupted and that has not been cleared.
    pub(crate) fn interrupt_pending(&self) -> bool {
        self.interrupted.load(SeqCst)
    }

    pub(crate) fn clear_interrupt(&self) {
        self.interrupted.store(false, SeqCst);
    }

    /// Whether the task is frozen.
    pub(crate) fn is_frozen(&self) -> bool {
        self.freeze.load(SeqCst) & FROZEN != 0
    }

    /// Whether it is to end.
    pub(crate) fn is_exempt(&self) -> bool {
        self.freeze.load(SeqCst) & EXEMPT != 0
    }

    /// Whether the task is to stay where it is next.
    pub(crate) fn should_freeze(&self) -> bool {
        self.freeze.load(SeqCst) & (WANTED | EXEMPT) == WANTED
    }

    /// Whether it is wanted frozen, and whether it is. `None`: not wanted.
    pub(crate) fn progress(&self) -> Option<bool> {
        let now = self.freeze.load(SeqCst);
        (now & WANTED != 0).then_some(now & FROZEN != 0)
    }

    /// Wishes the task frozen. Its run state is locked; `queued` says whether it is in a run queue. `have_look` is called
    /// when the wish can be seen, if it is new.
    pub(crate) fn freeze(&self, queued: bool, have_look: impl FnOnce()) -> Freezing {
        let before = self.freeze.fetch_or(WANTED, SeqCst);
        then_look();
        if before & WANTED != 0 {
            return Freezing::Before;
        }
        // A look that came before the wish would find nothing, and there would be no other.
        have_look();
        if before & EXEMPT != 0 || self.activity() != Activity::Sleeping {
            return Freezing::Soon;
        }
        if !queued {
            self.freeze.fetch_or(FROZEN, SeqCst);
            return Freezing::Done;
        }
        // It has said that it will sleep but is still on its CPU: it is to look again.
        self.set_activity(Activity::Runnable);
        Freezing::Soon
    }

    /// Withdraws the wish; says whether it was wished and whether the task was frozen: who asked wakes it then. Its run state
    /// is locked.
    pub(crate) fn thaw(&self) -> (bool, bool) {
        let before = self.freeze.fetch_and(!(WANTED | FROZEN), SeqCst);
        (before & WANTED != 0, before & FROZEN != 0)
    }

    /// Makes the task frozen, if it still should be; says whether it is. Its run state is locked, and the task is the caller.
    pub(crate) fn mark_frozen(&self) -> bool {
        let should = self.should_freeze();
        if should {
            self.freeze.fetch_or(FROZEN, SeqCst);
        }
        should
    }

    /// The task is to end. Whether it was wanted frozen and not exempt before.
    pub(crate) fn exempt(&self) -> bool {
        self.freeze.fetch_or(EXEMPT, SeqCst) & (WANTED | EXEMPT) == WANTED
    }

    /// It is frozen no more; whether it was. Its run state is locked.
    pub(crate) fn let_end(&self) -> bool {
        self.freeze.fetch_and(!FROZEN, SeqCst) & FROZEN != 0
    }

    /// One round of staying frozen: `block` gives the CPU away. `false`: it is frozen no more.
    pub(crate) fn stays_frozen(&self, block: impl FnOnce()) -> bool {
        self.set_activity(Activity::Sleeping);
        // After the activity: who thaws does the opposite, and one of the two sees the other.
        then_look();
        if !self.is_frozen() {
            self.set_activity(Activity::Runnable);
            return false;
        }
        block();
        true
    }
}
