//! Timers: a call at a deadline, from the timer interrupt.

use crate::WaitError;
use alloc::sync::Weak;

/// What a timer calls.
pub trait TimerCall: Send + Sync {
    /// The deadline has passed. In an interrupt: only `IrqLock`s, no sleeping. It may set the timer again.
    fn expired(&self);
}

/// A timer that can be set, set again and cancelled; cancelled when dropped.
pub struct Timer {}

impl Timer {
    /// A timer that is not set. The target is held weakly, so it may own the timer.
    pub fn new(_target: Weak<dyn TimerCall>) -> Self {
        todo!()
    }

    /// Has the target called once at `deadline` (nanoseconds since boot; at once if that has passed), and not at an
    /// earlier set deadline any more.
    pub fn set(&self, _deadline: u64) {
        todo!()
    }

    /// Cancels it. A call that has begun on another CPU may still be running.
    pub fn cancel(&self) {
        todo!()
    }

    /// The deadline that is set.
    pub fn deadline(&self) -> Option<u64> {
        todo!()
    }
}

/// Sleeps until `deadline` (nanoseconds since boot); `Err(Interrupted)` if the task is interrupted before.
pub fn sleep_until(_deadline: u64) -> Result<(), WaitError> {
    todo!()
}
