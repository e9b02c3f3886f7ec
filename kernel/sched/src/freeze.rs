//! Freezing: a task that is wanted frozen runs no further until it is thawed.
//!
//! A task that sleeps interruptibly is frozen where it is: nothing wakes it any more, and its place in a wait queue lets
//! wake-ups pass to the next. Any other goes on to its next interruptible sleep, or to the edge of user mode, and stays
//! there; the [`FreezeKeeper`] is told. Sleeps are not ended by this: after the thaw the task looks at its condition
//! again. A task that is to end is exempt and can't be frozen, or is frozen no more.

use crate::{
    Activity,
    cpu::{self, Reason, TaskRef},
    entity::Entity,
    wake,
};
use core::sync::atomic::Ordering::SeqCst;
use machine::sync::Hook;

/// Somebody wants the task frozen.
const WANTED: u8 = 1 << 0;
/// It is.
const FROZEN: u8 = 1 << 1;
/// It is to end.
const EXEMPT: u8 = 1 << 2;

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

/// Who counts frozen tasks. Both methods are called without spinning locks of rank `SET` or higher.
pub trait FreezeKeeper: Sync {
    /// `task`, the running one, is about to stay where it is. Calls [`mark_frozen`], or withdraws the wish with [`thaw`].
    fn settle(&self, task: &TaskRef);
    /// `task` is wanted frozen but is to end. Calls [`let_end`].
    fn release(&self, task: &TaskRef);
}

/// Installed once at boot.
pub static FREEZE_KEEPER: Hook<dyn FreezeKeeper> = Hook::new();

impl Entity {
    /// Whether the task is frozen.
    pub fn is_frozen(&self) -> bool {
        self.freeze.load(SeqCst) & FROZEN != 0
    }

    /// Whether it is to end.
    pub(crate) fn is_exempt(&self) -> bool {
        self.freeze.load(SeqCst) & EXEMPT != 0
    }

    /// Whether the task is to stay where it is next.
    pub fn should_freeze(&self) -> bool {
        self.freeze.load(SeqCst) & (WANTED | EXEMPT) == WANTED
    }
}

/// Wishes the task frozen. `have_look` makes it look for work before it next goes to user mode; it is called when the wish
/// can be seen, with the task's state locked. Then the task, if it is in user mode, is brought out.
pub fn freeze(task: &TaskRef, have_look: impl FnOnce()) -> Freezing {
    let entity = task.entity();
    let state = entity.lock();
    let before = entity.freeze.fetch_or(WANTED, SeqCst);
    if before & WANTED != 0 {
        return Freezing::Before;
    }
    // A look that came before the wish would find nothing, and there would be no other.
    have_look();
    if before & EXEMPT != 0 {
        return Freezing::Soon;
    }
    if entity.activity() == Activity::Sleeping {
        if !state.queued {
            entity.freeze.fetch_or(FROZEN, SeqCst);
            return Freezing::Done;
        }
        // It has said that it will sleep but is still on its CPU: it is to look again.
        entity.set_activity(Activity::Runnable);
        return Freezing::Soon;
    }
    drop(state);
    let number = entity.cpu();
    if number != machine::cpu::current() && entity.activity() == Activity::Runnable {
        machine::ipi::reschedule(number);
    }
    Freezing::Soon
}

/// Withdraws the wish; a frozen task goes on. `None`: it was not wished; else whether the task was frozen.
pub fn thaw(task: &TaskRef) -> Option<bool> {
    let entity = task.entity();
    let before = {
        let _state = entity.lock();
        entity.freeze.fetch_and(!(WANTED | FROZEN), SeqCst)
    };
    if before & FROZEN != 0 {
        wake::wake(task);
    }
    (before & WANTED != 0).then_some(before & FROZEN != 0)
}

/// Whether the task is wanted frozen, and whether it is. `None`: not wanted.
pub fn progress(task: &TaskRef) -> Option<bool> {
    let now = task.entity().freeze.load(SeqCst);
    (now & WANTED != 0).then_some(now & FROZEN != 0)
}

/// Makes the running task frozen, if it still should be; it then stays where it is. Whether it is.
pub fn mark_frozen(task: &TaskRef) -> bool {
    let entity = task.entity();
    let _state = entity.lock();
    let should = entity.should_freeze();
    if should {
        entity.freeze.fetch_or(FROZEN, SeqCst);
    }
    should
}

/// The task is to end: it is never frozen from here on, and no limit of a group holds it. If it is frozen or may be about to, the keeper lets it go.
///
/// Locks: those of the keeper; call with none of rank `SET` or higher.
pub fn exempt(task: &TaskRef) {
    let before = task.entity().freeze.fetch_or(EXEMPT, SeqCst);
    wake::unpark(task);
    if before & (WANTED | EXEMPT) == WANTED
        && let Some(keeper) = FREEZE_KEEPER.get()
    {
        keeper.release(task);
    }
}

/// Has a task that is exempt go on. Whether it was frozen.
pub fn let_end(task: &TaskRef) -> bool {
    let entity = task.entity();
    let before = {
        let _state = entity.lock();
        entity.freeze.fetch_and(!FROZEN, SeqCst)
    };
    if before & FROZEN != 0 {
        wake::wake(task);
    }
    before & FROZEN != 0
}

/// Keeps the running task here as long as it should be frozen.
///
/// Locks: may sleep; call with no spinning lock held.
pub fn stay_if_wanted(task: &TaskRef) {
    let entity = task.entity();
    while entity.should_freeze() {
        let Some(keeper) = FREEZE_KEEPER.get() else { return };
        keeper.settle(task);
        loop {
            entity.set_activity(Activity::Sleeping);
            // After the activity: who thaws does the opposite, and one of the two sees the other.
            if !entity.is_frozen() {
                entity.set_activity(Activity::Runnable);
                break;
            }
            cpu::reschedule(Reason::Blocks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Nice, Policy, Schedulable};
    use alloc::sync::Arc;
    use base::{CpuId, CpuSet};
    use core::cell::Cell;

    struct Sleeper(Entity);

    impl Schedulable for Sleeper {
        fn entity(&self) -> &Entity {
            &self.0
        }

        fn charge_time(&self, _: CpuId, _: u64, _: u64) {}
    }

    fn task() -> TaskRef {
        let entity = Entity::new(
            || unreachable!("it is never started"),
            CpuSet::only(machine::cpu::current()),
            Policy::Other,
            Nice::default(),
        );
        Arc::new(Sleeper(entity.unwrap()))
    }

    #[test]
    fn a_task_that_looks_because_of_a_wish_finds_it() {
        let task = task();
        let looks = Cell::new(0);
        let look = || {
            assert!(task.entity().should_freeze());
            looks.set(looks.get() + 1);
        };
        assert_eq!(freeze(&task, look), Freezing::Soon);
        assert_eq!((looks.get(), progress(&task)), (1, Some(false)));
        assert_eq!(freeze(&task, || unreachable!("wished before")), Freezing::Before);
        assert_eq!(thaw(&task), Some(false));
        assert_eq!((freeze(&task, look), looks.get()), (Freezing::Soon, 2));
    }

    #[test]
    fn a_task_that_is_to_end_cannot_be_frozen() {
        let task = task();
        exempt(&task);
        assert_eq!(freeze(&task, || ()), Freezing::Soon);
        assert!(!task.entity().should_freeze());
        assert!(!mark_frozen(&task));
    }
}
