//! Sleeping until something has happened.

use crate::{Observer, Registration};
use alloc::sync::Arc;

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitError {
    /// The task was interrupted (a signal is pending): `EINTR` or a restart.
    Interrupted,
    /// The deadline has passed.
    TimedOut,
}

/// Tasks that wait for an event, and observers of it.
///
/// Who makes a condition true does so first and wakes after; who waits gives the condition as a closure. No wake-up is
/// lost between its check and the sleep. Waking is allowed from interrupts and under any lock that ranks below
/// `WAIT_QUEUE`. The closure may take such locks too, but must not sleep.
pub struct WaitQueue {}

impl WaitQueue {
    /// A queue where nobody waits.
    pub const fn new() -> Self {
        Self {}
    }

    /// Sleeps until `condition` gives a value; signals don't end it.
    pub fn wait_until<R>(&self, _condition: impl FnMut() -> Option<R>) -> R {
        todo!()
    }

    /// Sleeps until `condition` gives a value, the task is interrupted, or `deadline` (nanoseconds since boot) has
    /// passed. A condition that is true wins over both.
    pub fn wait_until_interruptible<R>(
        &self,
        _condition: impl FnMut() -> Option<R>,
        _deadline: Option<u64>,
    ) -> Result<R, WaitError> {
        todo!()
    }

    /// Wakes the task that has waited longest, and tells all observers.
    pub fn wake_one(&self) {
        todo!()
    }

    /// Wakes all tasks that wait, and tells all observers.
    pub fn wake_all(&self) {
        todo!()
    }

    /// Has `observer` told at each wake-up until the registration is dropped.
    pub fn register(&self, _observer: Arc<dyn Observer>) -> Registration {
        todo!()
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}
