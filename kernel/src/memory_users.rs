//! What the memory controller and the reclaiming of pages need of tasks, filled in once at boot.

use crate::wiring::task_of;
use container::Member;
use controllers::{
    Memory,
    memory::{Kill, TASKS, TaskControl},
};
use core::any::Any;
use machine::{frame::Frame, paging::PageKind};
use memory::{
    charge,
    reclaim::{self, Spaces},
};
use process::{
    POPULATION, Population, Task,
    oom::{self, Killed},
};

/// Memory that can be had back, and who pays for what.
pub fn install(population: &'static Population) {
    reclaim::FILE_COPIES.install(&vfs::ramfs::ALL_COPIES);
    reclaim::SPACES.install(&oom::AllSpaces);
    TASKS.install(&MemoryUsers);
    if let Some(root) = population.framework().root_state::<Memory>() {
        machine::frame::FRAME_NOTES.install(root.ledger());
        charge::CHARGER.install(root.ledger());
    }
}

/// Tasks as the memory controller needs them.
struct MemoryUsers;

impl TaskControl for MemoryUsers {
    fn with_current(&self, f: &mut dyn FnMut(&dyn Member)) {
        sched::with_current(|task| {
            let task: &dyn Any = &**task;
            if let Some(task) = task.downcast_ref::<Task>() {
                f(task);
            }
        });
    }

    fn is_signalled(&self) -> bool {
        process::current().is_some_and(|task| task.entity().interrupt_pending())
    }

    fn kill_largest(&self, inside: &dyn Fn(&dyn Member) -> bool, limit: u64) -> Kill {
        let Some(population) = POPULATION.get() else { return Kill::Nobody };
        match oom::kill_largest(population, &|task| inside(task), limit) {
            Killed::Task(task) => Kill::Killed(task),
            Killed::Earlier => Kill::Dying,
            Killed::Nobody => Kill::Nobody,
        }
    }

    fn sleep(&self, ready: &mut dyn FnMut() -> bool, longest: u64) -> bool {
        oom::sleep(ready, longest)
    }

    fn wake(&self) {
        oom::wake();
    }

    fn for_each_page(&self, member: &dyn Member, each: &mut dyn FnMut(PageKind, &Frame)) {
        if let Some(space) = task_of(member).and_then(|task| task.space().ok()) {
            space.for_each_mapped(each);
            process::release_space(space);
        }
    }

    fn for_each_locked_page(&self, each: &mut dyn FnMut(&Frame)) {
        oom::AllSpaces.for_each(&mut |space| {
            space.for_each_locked(each);
            true
        });
    }

    fn for_each_mapped_page(&self, each: &mut dyn FnMut(&Frame)) {
        oom::AllSpaces.for_each(&mut |space| {
            space.for_each_mapped(&mut |_, frame| each(frame));
            true
        });
    }
}
