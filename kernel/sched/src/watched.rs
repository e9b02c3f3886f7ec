//! Whether anybody waits in a queue, for those who wake: they look without the queue's lock, and most often nobody does.
//!
//! Who wakes makes a condition true and then looks here; who comes to wait says so here and then looks at the condition. A
//! fence stands between the two on either side, so that one of them sees the other.
//!
//! It stands alone, so that loom can try every order of steps (`tests/watched.rs`).

use machine::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, SeqCst},
    fence,
};

/// Whether anybody waits in a queue, or observes it.
pub(crate) struct Watched {
    somebody: AtomicBool,
}

impl Watched {
    /// Nobody does.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { somebody: AtomicBool::new(false) }
    }

    /// Nobody does.
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { somebody: AtomicBool::new(false) }
    }

    /// Somebody comes; the queue is locked. [`before_look`](Self::before_look) is to follow.
    #[inline]
    pub(crate) fn set(&self) {
        self.somebody.store(true, Relaxed);
    }

    /// Nobody is left; the queue is locked.
    #[inline]
    pub(crate) fn clear(&self) {
        self.somebody.store(false, Relaxed);
    }

    /// For who has come, before it looks at the condition.
    #[inline]
    pub(crate) fn before_look(&self) {
        fence(SeqCst);
    }

    /// Whether somebody may wait, for who has made a condition true.
    #[inline]
    pub(crate) fn may_be(&self) -> bool {
        fence(SeqCst);
        self.somebody.load(Relaxed)
    }
}
