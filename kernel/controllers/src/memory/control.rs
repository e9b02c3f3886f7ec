//! What the controller asks of tasks; filled by `kernel/src`.

use container::Member;
use machine::frame::Frame;
use machine::paging::PageKind;
use machine::sync::{Arc, Hook};

/// What came of the wish to kill a process.
pub enum Kill {
    /// This one is to die now.
    Killed(Arc<dyn Member>),
    /// One of them was dying already: its memory will come back.
    Dying,
    /// There is none that may be killed.
    Nobody,
}

/// Reaches tasks and their memory.
pub trait TaskControl: Sync {
    /// Calls `f` with the running task; not in an idle CPU's loop and before there are tasks.
    fn with_current(&self, f: &mut dyn FnMut(&dyn Member));

    /// Whether the running task's process is to die, or a signal waits for it.
    fn is_signalled(&self) -> bool;

    /// Kills the process with the highest score among those with a thread that is `inside`. `limit` is the size, in
    /// pages, that scores are relative to.
    fn kill_largest(&self, inside: &dyn Fn(&dyn Member) -> bool, limit: u64) -> Kill;

    /// Has the running task sleep until `ready`; it looks again after each [`TaskControl::wake`], and after so many
    /// nanoseconds without. `false`: the task is to die.
    fn sleep(&self, ready: &mut dyn FnMut() -> bool, look_again: u64) -> bool;

    /// Has all that sleep look again. Called wherever a page is freed, also with interrupts off.
    fn wake(&self);

    /// Shows all pages that a task's address space maps now, with the lock of its page tables held.
    fn for_each_page(&self, task: &dyn Member, each: &mut dyn FnMut(PageKind, &Frame));

    /// Shows all pages that any task has locked; those that several have more than once.
    fn for_each_locked_page(&self, each: &mut dyn FnMut(&Frame));

    /// Shows all pages that any task maps now; those that are mapped more than once more than once.
    fn for_each_mapped_page(&self, each: &mut dyn FnMut(&Frame));
}

/// Who reaches tasks; installed once at boot.
pub static TASKS: Hook<dyn TaskControl> = Hook::new();
