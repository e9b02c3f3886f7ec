//! Having a task look for what there is to do, and keeping it where it is.

use super::Task;
use core::sync::atomic::Ordering::SeqCst;
use sched::Freezing;

impl Task {
    /// Makes the task look for work before it next goes back to user mode, and ends an interruptible sleep.
    pub fn call_attention(&self) {
        sched::interrupt(&self.entity, || self.schedulable(), || self.note_attention());
    }

    /// Has a task that is to end see that: frozen or not, it goes on for the last time. The sign of the end is set already.
    pub(crate) fn call_to_end(&self) {
        if let Some(task) = self.schedulable() {
            sched::exempt(&task);
        }
        self.call_attention();
    }

    /// Whether it is to end, with its process or because another thread executes a program.
    pub fn is_to_end(&self) -> bool {
        crate::sleep::is_killed(self)
    }

    /// Wishes the task frozen: it stays at its next interruptible sleep or at the edge of user mode, if not where it is.
    pub fn freeze(&self) -> Freezing {
        self.schedulable().map_or(Freezing::Soon, |task| sched::freeze(&task, || self.note_attention()))
    }

    /// The running task stays here until it is thawed, unless it is to end.
    #[cold]
    pub(crate) fn stay_frozen(&self) {
        let Some(task) = self.schedulable() else { return };
        if crate::sleep::is_killed(self) {
            // A thread that was born when the others had been told.
            sched::exempt(&task);
        } else {
            sched::stay_if_wanted(&task);
        }
    }

    /// Has the task itself look before it goes back to user mode.
    pub(crate) fn note_attention(&self) {
        self.attention.store(true, SeqCst);
    }

    /// Whether there may be something to do before going back to user mode.
    pub fn needs_attention(&self) -> bool {
        self.attention.load(SeqCst)
    }

    pub(crate) fn begin_attention(&self) {
        self.attention.store(false, SeqCst);
        self.entity.clear_interrupt();
    }
}
