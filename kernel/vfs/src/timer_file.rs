//! Timer files, `timerfd_create(2)`.

use crate::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable, anonymous::AnonymousInode, interrupted};
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use base::{Credentials, Errno};
use machine::{
    sync::{IrqLock, SpinLock, rank},
    time,
};
use sched::{Timer, TimerCall, WaitQueue};

/// The clock of a timer file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME`.
    Monotonic,
    /// `CLOCK_REALTIME`.
    Realtime,
}

/// What the time of a setting means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerKind {
    /// From now on.
    Relative,
    /// `TFD_TIMER_ABSTIME`: a time of the file's clock.
    Absolute,
    /// With `TFD_TIMER_CANCEL_ON_SET` too: of no use any more when the time of day is set.
    Canceled,
}

/// `struct itimerspec` in nanoseconds; `value` 0 is disarmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TimerSetting {
    /// Time between expirations after the first; 0 for one only.
    pub interval: u64,
    /// Time to the first, or left until the next.
    pub value: u64,
}

/// Timer files that are set to a time of day.
static BY_WALL_CLOCK: SpinLock<Vec<Weak<TimerFile>>> = SpinLock::new(rank::TASK, Vec::new());

struct TimerFile {
    this: Weak<TimerFile>,
    clock: Clock,
    timer: Timer,
    state: IrqLock<TimerState>,
    expired: WaitQueue,
}

/// Deadlines are nanoseconds since boot, or since 1970.
#[derive(Clone, Copy, Default)]
struct TimerState {
    deadline: Option<u64>,
    interval: u64,
    expirations: u64,
    /// The deadline is a time of day.
    by_wall_clock: bool,
    /// It is of no use once the time of day is set (`TFD_TIMER_CANCEL_ON_SET`).
    may_cancel: bool,
    /// That has happened.
    canceled: bool,
}

impl TimerState {
    /// What the clock says that it follows.
    fn now(&self) -> u64 {
        if self.by_wall_clock { time::realtime() } else { time::now() }
    }

    /// Counts what has expired.
    fn advance(&mut self) {
        self.advance_to(self.now());
    }

    /// Counts what has expired by `now`.
    fn advance_to(&mut self, now: u64) {
        let Some(deadline) = self.deadline.filter(|&deadline| deadline <= now) else { return };
        // Without an interval (a division by 0) there is one expiration only.
        let more = (now - deadline).checked_div(self.interval);
        self.expirations += more.unwrap_or(0) + 1;
        self.deadline = more.map(|more| deadline.saturating_add((more + 1).saturating_mul(self.interval)));
    }

    fn setting(&self) -> TimerSetting {
        let now = self.now();
        let value = self.deadline.map_or(0, |deadline| deadline.saturating_sub(now).max(1));
        TimerSetting { interval: self.interval, value }
    }
}

impl TimerCall for TimerFile {
    fn expired(&self) {
        let mut state = self.state.lock();
        state.advance();
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
            let epoch = if state.by_wall_clock { time::epoch() } else { 0 };
            self.timer.set(deadline.saturating_sub(epoch));
        }
    }

    /// The expirations since it was last asked, if there are any. `ECANCELED` the time of day was set.
    fn try_take(&self) -> Option<Result<u64, Errno>> {
        let mut state = self.state.lock();
        if core::mem::take(&mut state.canceled) {
            state.expirations = 0;
            return Some(Err(Errno::ECANCELED));
        }
        state.advance();
        let count = core::mem::take(&mut state.expirations);
        if count > 0 {
            self.arm(&state);
        }
        (count > 0).then_some(Ok(count))
    }

    fn set(&self, setting: TimerSetting, kind: TimerKind) -> TimerSetting {
        let by_wall_clock = kind != TimerKind::Relative && self.clock == Clock::Realtime;
        if by_wall_clock {
            self.follow_wall_clock();
        }
        let deadline = match (setting.value, kind) {
            (0, _) => None,
            (value, TimerKind::Relative) => Some(time::now().saturating_add(value)),
            (value, _) => Some(value),
        };
        let mut state = self.state.lock();
        state.advance();
        let old = state.setting();
        *state = TimerState {
            deadline,
            interval: setting.interval,
            expirations: 0,
            by_wall_clock,
            may_cancel: by_wall_clock && kind == TimerKind::Canceled,
            canceled: false,
        };
        self.timer.cancel();
        self.arm(&state);
        old
    }

    /// Has it told when the time of day is set.
    fn follow_wall_clock(&self) {
        let mut all = BY_WALL_CLOCK.lock();
        all.retain(|file| file.strong_count() > 0);
        if !all.iter().any(|file| core::ptr::eq(file.as_ptr(), self)) {
            all.push(self.this.clone());
        }
    }

    fn wall_clock_was_set(&self) {
        let mut state = self.state.lock();
        if !state.by_wall_clock {
            return;
        }
        state.canceled |= state.may_cancel;
        let tells = state.canceled;
        self.timer.cancel();
        self.arm(&state);
        drop(state);
        if tells {
            self.expired.wake_all();
        }
    }
}

/// The time of day was set: timer files that follow it expire sooner or later, or are canceled.
pub fn wall_clock_was_set() {
    let all = BY_WALL_CLOCK.lock().clone();
    all.iter().filter_map(Weak::upgrade).for_each(|file| file.wall_clock_was_set());
}

impl FileOps for TimerFile {
    fn read(&self, buffer: &mut [u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let out = buffer.first_chunk_mut::<8>().ok_or(Errno::EINVAL)?;
        let count = match self.try_take() {
            Some(count) => count?,
            None if flags.contains(OpenFlags::NONBLOCK) => return Err(Errno::EAGAIN),
            None => self.expired.wait_until_interruptible(|| self.try_take(), None).map_err(interrupted)??,
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
        state.advance();
        if state.expirations > 0 || state.canceled { PollEvents::READABLE } else { PollEvents::empty() }
    }
}

/// `timerfd_create(2)`. `flags` may hold `NONBLOCK`; the rest is ignored.
pub fn timerfd(clock: Clock, flags: OpenFlags, credentials: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
    let file = Arc::new_cyclic(|this: &Weak<TimerFile>| TimerFile {
        this: this.clone(),
        clock,
        timer: Timer::new(this.clone()),
        state: IrqLock::new(rank::OBSERVER, TimerState::default()),
        expired: WaitQueue::new(),
    });
    let inode = Arc::new(AnonymousInode::new("timerfd", credentials));
    let flags = OpenFlags::READ_WRITE | flags & OpenFlags::NONBLOCK;
    OpenFile::anonymous(inode, file, flags, credentials.clone())
}

fn timer_of(file: &OpenFile) -> Result<&TimerFile, Errno> {
    file.operations::<TimerFile>().ok_or(Errno::EINVAL)
}

/// `timerfd_settime(2)`; the old setting. `EINVAL` no timer file.
pub fn timerfd_set(file: &OpenFile, setting: TimerSetting, kind: TimerKind) -> Result<TimerSetting, Errno> {
    Ok(timer_of(file)?.set(setting, kind))
}

/// `timerfd_gettime(2)`. `EINVAL` no timer file.
pub fn timerfd_get(file: &OpenFile) -> Result<TimerSetting, Errno> {
    let timer = timer_of(file)?;
    let mut state = timer.state.lock();
    state.advance();
    Ok(state.setting())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_look_counts_every_expiration() {
        let mut state = TimerState { deadline: Some(100), interval: 10, ..TimerState::default() };
        state.advance_to(99);
        assert_eq!(state.expirations, 0);
        state.advance_to(135);
        assert_eq!((state.expirations, state.deadline), (4, Some(140)));
    }

    #[test]
    fn an_interval_without_end_leaves_a_deadline_that_never_comes() {
        let mut state = TimerState { deadline: Some(100), interval: u64::MAX, ..TimerState::default() };
        state.advance_to(150);
        assert_eq!((state.expirations, state.deadline), (1, Some(u64::MAX)));
    }
}
