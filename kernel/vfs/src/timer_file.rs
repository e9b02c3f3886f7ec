//! Timer files, `timerfd_create(2)`.

use crate::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable, anonymous::AnonymousInode, interrupted};
use alloc::sync::{Arc, Weak};
use base::{Credentials, Errno};
use machine::sync::{IrqLock, rank};
use sched::{Timer, TimerCall, WaitQueue};

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

struct TimerFile {
    clock: Clock,
    timer: Timer,
    state: IrqLock<TimerState>,
    expired: WaitQueue,
}

/// Deadlines are nanoseconds since boot.
#[derive(Clone, Copy, Default)]
struct TimerState {
    deadline: Option<u64>,
    interval: u64,
    expirations: u64,
}

impl TimerState {
    /// Counts what has expired by `now`.
    fn advance(&mut self, now: u64) {
        let Some(deadline) = self.deadline.filter(|&deadline| deadline <= now) else { return };
        // Without an interval (a division by 0) there is one expiration only.
        let more = (now - deadline).checked_div(self.interval);
        self.expirations += more.unwrap_or(0) + 1;
        self.deadline = more.map(|more| deadline.saturating_add((more + 1).saturating_mul(self.interval)));
    }

    fn setting(&self, now: u64) -> TimerSetting {
        let value = self.deadline.map_or(0, |deadline| deadline.saturating_sub(now).max(1));
        TimerSetting { interval: self.interval, value }
    }
}

impl TimerCall for TimerFile {
    fn expired(&self) {
        let mut state = self.state.lock();
        state.advance(machine::time::now());
        self.arm(&state);
        drop(state);
        self.expired.wake_all();
    }
}

impl TimerFile {
    /// Sets the timer for the next expiration, unless one waits to be read: nobody has to be told again before, and an
    /// interval shorter than its interrupt would keep the CPU in it for ever.
    fn arm(&self, state: &TimerState) {
        if let Some(deadline) = state.deadline.filter(|_| state.expirations == 0) {
            self.timer.set(deadline);
        }
    }

    fn try_take(&self) -> Option<u64> {
        let mut state = self.state.lock();
        state.advance(machine::time::now());
        let count = core::mem::take(&mut state.expirations);
        if count > 0 {
            self.arm(&state);
        }
        (count > 0).then_some(count)
    }

    fn set(&self, setting: TimerSetting, absolute: bool) -> TimerSetting {
        let now = machine::time::now();
        let deadline = match (setting.value, absolute, self.clock) {
            (0, _, _) => None,
            (value, false, _) => Some(now.saturating_add(value)),
            (value, true, Clock::Monotonic) => Some(value),
            (value, true, Clock::Realtime) => Some(now.saturating_add(value.saturating_sub(machine::time::realtime()))),
        };
        let mut state = self.state.lock();
        state.advance(now);
        let old = state.setting(now);
        *state = TimerState { deadline, interval: setting.interval, expirations: 0 };
        self.timer.cancel();
        self.arm(&state);
        old
    }
}

impl FileOps for TimerFile {
    fn read(&self, buffer: &mut [u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let out = buffer.first_chunk_mut::<8>().ok_or(Errno::EINVAL)?;
        let count = match self.try_take() {
            Some(count) => count,
            None if flags.contains(OpenFlags::NONBLOCK) => return Err(Errno::EAGAIN),
            None => self.expired.wait_until_interruptible(|| self.try_take(), None).map_err(interrupted)?,
        };
        *out = count.to_ne_bytes();
        Ok(8)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.expired);
        let mut state = self.state.lock();
        state.advance(machine::time::now());
        if state.expirations > 0 { PollEvents::READABLE } else { PollEvents::empty() }
    }
}

/// `timerfd_create(2)`. `flags` may hold `NONBLOCK`; the rest is ignored.
pub fn timerfd(clock: Clock, flags: OpenFlags, credentials: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
    let file = Arc::new_cyclic(|this: &Weak<TimerFile>| TimerFile {
        clock,
        timer: Timer::new(this.clone()),
        state: IrqLock::new(rank::OBSERVER, TimerState::default()),
        expired: WaitQueue::new(),
    });
    let inode = Arc::new(AnonymousInode::new("timerfd", credentials));
    let flags = flags & OpenFlags::NONBLOCK;
    OpenFile::anonymous(inode, file, flags, credentials.clone())
}

fn timer_of(file: &OpenFile) -> Result<&TimerFile, Errno> {
    file.operations::<TimerFile>().ok_or(Errno::EINVAL)
}

/// `timerfd_settime(2)`; the old setting. `EINVAL` no timer file.
pub fn timerfd_set(file: &OpenFile, setting: TimerSetting, absolute: bool) -> Result<TimerSetting, Errno> {
    Ok(timer_of(file)?.set(setting, absolute))
}

/// `timerfd_gettime(2)`. `EINVAL` no timer file.
pub fn timerfd_get(file: &OpenFile) -> Result<TimerSetting, Errno> {
    let timer = timer_of(file)?;
    let now = machine::time::now();
    let mut state = timer.state.lock();
    state.advance(now);
    Ok(state.setting(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_look_counts_every_expiration() {
        let mut state = TimerState { deadline: Some(100), interval: 10, expirations: 0 };
        state.advance(99);
        assert_eq!(state.expirations, 0);
        state.advance(135);
        assert_eq!((state.expirations, state.deadline), (4, Some(140)));
    }

    #[test]
    fn an_interval_without_end_leaves_a_deadline_that_never_comes() {
        let mut state = TimerState { deadline: Some(100), interval: u64::MAX, expirations: 0 };
        state.advance(150);
        assert_eq!((state.expirations, state.deadline), (1, Some(u64::MAX)));
    }
}
