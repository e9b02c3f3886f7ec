//! The end of one task, whose process may live on.

use super::Task;
use crate::{signals::Signal, status::End};
use core::sync::atomic::Ordering::{Relaxed, SeqCst};

/// In `Task::leaving`, where numbers of signals begin. Below it is 1 + exit code, and 0 if the task does not end.
const KILLED: u32 = 0x1000;

impl Task {
    /// How the task is to end by its own wish, if it has one.
    pub(crate) fn leaving(&self) -> Option<End> {
        match self.leaving.load(Relaxed) {
            0 => None,
            code if code < KILLED => Some(End::Exited((code - 1) as u8)),
            code => Signal::new((code - KILLED) as i32).ok().map(|signal| End::Killed { signal, core: false }),
        }
    }

    /// Ends the task, and its process only if it is the last, as by this signal.
    pub(crate) fn leave_by(&self, signal: Signal) {
        self.leaving.store(KILLED + u32::from(signal.number()), Relaxed);
        self.note_attention();
    }

    pub(crate) fn leave(&self, code: u8) {
        self.leaving.store(u32::from(code) + 1, Relaxed);
        self.note_attention();
    }

    /// Whether it is on its way out or a zombie.
    pub fn is_exiting(&self) -> bool {
        self.exiting.load(Relaxed)
    }

    pub(crate) fn mark_exiting(&self) {
        self.exiting.store(true, SeqCst);
        if let Some(task) = self.schedulable() {
            sched::exempt(&task);
        }
    }
}
