//! The check that locks are taken in order; only in debug and test builds, and not under loom.
//!
//! Each CPU (each thread, on the host) keeps the list of locks that are held on it. A lock taken against the
//! order panics and names both places. A task switch takes the list along: [`save`] before, [`restore`] after.
//! An interrupt sees the list of what it interrupted, as it must: a handler that waits for a lock waits under all
//! those that the interrupted code holds.

#[cfg(all(debug_assertions, not(loom)))]
#[path = "order_checked.rs"]
mod implementation;
#[cfg(not(all(debug_assertions, not(loom))))]
#[path = "order_unchecked.rs"]
mod implementation;

pub(super) use implementation::{Held, Place};
pub use implementation::{HeldLocks, restore, save, start_checking};
