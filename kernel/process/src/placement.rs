//! Where the memory of the running task may lie: what `memory` asks at each page fault.

use crate::task::Task;
use base::NodeSet;
use core::any::Any;
use machine::sync::Hook;
use memory::{Placement, PlacementSource};

/// Where the memory of a task may lie, as its containers have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllowedNodes {
    /// Pages of its own lie only there (`Mems_allowed`).
    pub own: NodeSet,
    /// What the kernel needs for it lies there too, if `own` has no room.
    pub kernel: NodeSet,
    /// Whether pages of files go round `own` in turn.
    pub spread_files: bool,
}

impl AllowedNodes {
    /// Anywhere.
    pub const ANY: Self =
        Self { own: NodeSet::first(base::MAX_NODES), kernel: NodeSet::first(base::MAX_NODES), spread_files: false };
}

/// Told when a task has to have pages reclaimed; installed at boot if anybody wants to know.
pub static RECLAIMS: Hook<dyn Fn(&Task) + Sync> = Hook::new();

/// The placement that the running task's containers allow; anywhere for the kernel itself.
pub struct TaskPlacement;

/// Asks the running task, if there is one.
fn ask<R>(question: impl FnOnce(&Task) -> R) -> Option<R> {
    let answer = sched::with_current(|task| {
        let task: &dyn Any = &**task;
        task.downcast_ref::<Task>().map(question)
    });
    answer.flatten()
}

impl PlacementSource for TaskPlacement {
    fn current(&self) -> Placement {
        ask(|task| Placement::on(task.allowed_nodes().own)).unwrap_or(Placement::ANY)
    }

    fn files(&self) -> Placement {
        let place = ask(|task| {
            let allowed = task.allowed_nodes();
            let turn =
                if allowed.spread_files { allowed.own.iter().nth(task.next_turn(allowed.own.count())) } else { None };
            Placement { preferred: turn, ..Placement::on(allowed.own) }
        });
        place.unwrap_or(Placement::ANY)
    }

    fn kernel(&self) -> Placement {
        let place = ask(|task| {
            let allowed = task.allowed_nodes();
            // Whoever ends gives memory back, and must not be held up.
            if task.is_exiting() {
                return Placement::ANY;
            }
            Placement { first: allowed.own, ..Placement::on(allowed.own.or(&allowed.kernel)) }
        });
        place.unwrap_or(Placement::ANY)
    }

    fn reclaims(&self) {
        if let Some(hook) = RECLAIMS.get()
            && let Some(task) = crate::task::current()
        {
            hook(&task);
        }
    }
}
