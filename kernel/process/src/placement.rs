//! Where the memory of the running task may lie: what `memory` asks at each page fault.

use crate::task::Task;
use core::any::Any;
use memory::{Placement, PlacementSource};

/// The placement that the running task's containers allow; anywhere for the kernel itself.
pub struct TaskPlacement;

impl PlacementSource for TaskPlacement {
    fn current(&self) -> Placement {
        let allowed = sched::with_current(|task| {
            let task: &dyn Any = &**task;
            task.downcast_ref::<Task>().map(Task::allowed_nodes)
        });
        match allowed.flatten() {
            Some(allowed) => Placement { allowed, preferred: None },
            None => Placement::ANY,
        }
    }
}
