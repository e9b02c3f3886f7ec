//! Event counters (`eventfd`) and timer files (`timerfd`).

use crate::{OpenFile, OpenFlags};
use alloc::sync::Arc;
use base::{Credentials, Errno};

/// `eventfd2(2)`. `flags` may hold `NONBLOCK`.
pub fn eventfd(
    _initial: u32,
    _semaphore: bool,
    _flags: OpenFlags,
    _credentials: &Arc<Credentials>,
) -> Result<Arc<OpenFile>, Errno> {
    todo!()
}

/// The clock of a timer file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME`.
    Monotonic,
    /// `CLOCK_REALTIME`.
    Realtime,
}

/// `struct itimerspec` in nanoseconds; `value` 0 is disarmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TimerSetting {
    /// Time between expirations after the first; 0 for one only.
    pub interval: u64,
    /// Time to the first, or left until the next.
    pub value: u64,
}

/// `timerfd_create(2)`.
pub fn timerfd(_clock: Clock, _flags: OpenFlags, _credentials: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
    todo!()
}

/// `timerfd_settime(2)`; the old setting. `EINVAL` no timer file.
pub fn timerfd_set(_file: &OpenFile, _setting: TimerSetting, _absolute: bool) -> Result<TimerSetting, Errno> {
    todo!()
}

/// `timerfd_gettime(2)`.
pub fn timerfd_get(_file: &OpenFile) -> Result<TimerSetting, Errno> {
    todo!()
}
