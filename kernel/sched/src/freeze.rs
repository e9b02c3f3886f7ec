//! Freezing: a task that is wanted frozen runs no further until it is thawed.
//!
//! A task that sleeps interruptibly is frozen where it is: nothing wakes it any more, and its place in a wait queue lets
//! wake-ups pass to the next. Any other goes on to its next interruptible sleep, or to the edge of user mode, and stays
//! there; the [`FreezeKeeper`] is told. Sleeps are not ended by this: after the thaw the task looks at its condition
//! again. A task that is to end is exempt and can't be frozen, or is frozen no more.

use crate::{
    cpu::{self, Reason, TaskRef},
    entity::Entity,
    rest::{Activity, Freezing},
    wake,
};
use machine::sync::Hook;

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
        self.rest.is_frozen()
    }

    /// Whether it is to end.
    pub(crate) fn is_exempt(&self) -> bool {
        self.rest.is_exempt()
    }

    /// Whether the task is to stay where it is next.
    pub fn should_freeze(&self) -> bool {
        self.rest.should_freeze()
    }
}

/// Wishes the task frozen. `have_look` makes it look for work before it next goes to user mode; it is called when the wish
/// can be seen, with the task's state locked. Then the task, if it is in user mode, is brought out.
pub fn freeze(task: &TaskRef, have_look: impl FnOnce()) -> Freezing {
    let entity = task.entity();
    let state = entity.lock();
    let freezing = entity.rest.freeze(state.queued, have_look);
    if freezing != Freezing::Soon {
        return freezing;
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
    let (wished, frozen) = {
        let _state = entity.lock();
        entity.rest.thaw()
    };
    if frozen {
        wake::wake(task);
    }
    wished.then_some(frozen)
}

/// Whether the task is wanted frozen, and whether it is. `None`: not wanted.
pub fn progress(task: &TaskRef) -> Option<bool> {
    task.entity().rest.progress()
}

/// Makes the running task frozen, if it still should be; it then stays where it is. Whether it is.
pub fn mark_frozen(task: &TaskRef) -> bool {
    let entity = task.entity();
    let _state = entity.lock();
    entity.rest.mark_frozen()
}

/// The task is to end: it is never frozen from here on, and no limit of a group holds it. If it is frozen or may be about to, the keeper lets it go.
///
/// Locks: those of the keeper; call with none of rank `SET` or higher.
pub fn exempt(task: &TaskRef) {
    let was_wanted = task.entity().rest.exempt();
    wake::unpark(task);
    if was_wanted && let Some(keeper) = FREEZE_KEEPER.get() {
        keeper.release(task);
    }
}

/// Has a task that is exempt go on. Whether it was frozen.
pub fn let_end(task: &TaskRef) -> bool {
    let entity = task.entity();
    let was_frozen = {
        let _state = entity.lock();
        entity.rest.let_end()
    };
    if was_frozen {
        wake::wake(task);
    }
    was_frozen
}

/// Keeps the running task here as long as it should be frozen.
///
/// Locks: may sleep; call with no spinning lock held.
pub fn stay_if_wanted(task: &TaskRef) {
    let entity = task.entity();
    while entity.should_freeze() {
        let Some(keeper) = FREEZE_KEEPER.get() else { return };
        keeper.settle(task);
        while entity.rest.stays_frozen(|| cpu::reschedule(Reason::Blocks)) {}
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
