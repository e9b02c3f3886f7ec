//! Something that others wait for and that happens once: a vforked child's exec or end.

use core::sync::atomic::{AtomicBool, Ordering::SeqCst};
use sched::WaitQueue;

/// Something that happens once.
pub struct Completion {
    done: AtomicBool,
    queue: WaitQueue,
}

impl Completion {
    /// It has not happened.
    pub const fn new() -> Self {
        Self { done: AtomicBool::new(false), queue: WaitQueue::new() }
    }

    /// It has happened now.
    pub fn complete(&self) {
        self.done.store(true, SeqCst);
        self.queue.wake_all();
    }

    /// Whether it has happened.
    pub fn is_done(&self) -> bool {
        self.done.load(SeqCst)
    }

    /// Where those sleep who wait for it.
    pub fn queue(&self) -> &WaitQueue {
        &self.queue
    }
}

impl Default for Completion {
    fn default() -> Self {
        Self::new()
    }
}
