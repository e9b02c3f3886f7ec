//! How a sleeping lock puts its task to sleep: the scheduler's part, seen from below.

use crate::sync::Hook;

/// Sleeping and waking at an address, filled by the scheduler.
pub trait Parker: Sync {
    /// Sleeps until `done` says true. `done` is first called after the task is registered at `address`, and again
    /// after each wake-up, so that a wake-up between a failed check and the sleep is never lost. `done` must not
    /// block.
    fn wait_until(&self, address: usize, done: &mut dyn FnMut() -> bool);
    /// Wakes one task that sleeps at `address`, the longest waiting first.
    fn wake_one(&self, address: usize);
    /// Wakes all tasks that sleep at `address`.
    fn wake_all(&self, address: usize);
}

/// Filled once at boot. Before, sleeping locks spin: one task runs and nobody can be waited for.
pub static PARKER: Hook<dyn Parker> = Hook::new();
