//! POSIX timers: `timer_create(2)` and its kin.

use crate::{
    abi::IntervalSpec,
    arguments::UserPtr,
    call::Call,
    clock::{self, nanoseconds},
};
use base::{Errno, Pid};
use process::{
    signals::Signal,
    timers::{Notify, Setting, TimerClock},
};

fn spec(setting: Setting) -> IntervalSpec {
    IntervalSpec { interval: clock::timespec(setting.interval), value: clock::timespec(setting.value) }
}

/// Whom a `struct sigevent`, given as its first three words, names; `EINVAL` for what is not offered. The thread must
/// be one of the caller's process.
fn notify(call: &Call<'_>, [value, numbers, thread]: [u64; 3]) -> Result<Notify, Errno> {
    const SIGNAL: u32 = 0;
    const NONE: u32 = 1;
    const THREAD: u32 = 4;
    let (number, kind) = (numbers as u32 as i32, (numbers >> 32) as u32);
    match kind {
        NONE => Ok(Notify::Nobody { number, value }),
        SIGNAL => Ok(Notify::Process { signal: Signal::new(number)?, value }),
        kind if kind == SIGNAL | THREAD => {
            let thread = Pid::new(thread as u32 as i32);
            let own = call.task.process().threads().iter().any(|task| task.tid() == thread);
            if !own {
                return Err(Errno::EINVAL);
            }
            Ok(Notify::Thread { signal: Signal::new(number)?, value, thread })
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `timer_create(2)`: without an event, SIGALRM with the timer's number. `EOPNOTSUPP` clocks of CPU time.
pub fn timer_create(call: &Call<'_>, clock: i32, event: UserPtr<[u64; 3]>, out: UserPtr<i32>) -> Result<usize, Errno> {
    const PROCESS_CPU: i32 = 2;
    const THREAD_CPU: i32 = 3;
    let clock = match clock {
        clock::REALTIME => TimerClock::RealTime,
        clock::MONOTONIC => TimerClock::Monotonic,
        clock::BOOTTIME => TimerClock::BootTime,
        PROCESS_CPU | THREAD_CPU => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    };
    let wish = event.read_optional()?.map(|event| notify(call, event)).transpose()?;
    let default = |id: i32| Notify::Process { signal: Signal::ALRM, value: id as u64 };
    let timers = &call.task.process().timers;
    let id = timers.create(clock, |id| wish.unwrap_or_else(|| default(id)))?;
    if let Err(error) = out.write(&id) {
        timers.delete(id)?;
        return Err(error);
    }
    Ok(0)
}

/// `timer_settime(2)`. `EINVAL` no such timer.
pub fn timer_settime(
    call: &Call<'_>,
    id: i32,
    flags: u32,
    new: UserPtr<IntervalSpec>,
    old: UserPtr<IntervalSpec>,
) -> Result<usize, Errno> {
    const ABSOLUTE: u32 = 1;
    if new.is_null() {
        return Err(Errno::EINVAL);
    }
    let new = new.read()?;
    let setting = Setting { interval: nanoseconds(&new.interval)?, value: nanoseconds(&new.value)? };
    let before = call.task.process().timers.set(id, flags & ABSOLUTE != 0, setting)?;
    old.write_optional(&spec(before))?;
    Ok(0)
}

/// `timer_gettime(2)`. `EINVAL` no such timer.
pub fn timer_gettime(call: &Call<'_>, id: i32, out: UserPtr<IntervalSpec>) -> Result<usize, Errno> {
    out.write(&spec(call.task.process().timers.get(id)?))?;
    Ok(0)
}

/// `timer_getoverrun(2)`. `EINVAL` no such timer.
pub fn timer_getoverrun(call: &Call<'_>, id: i32) -> Result<usize, Errno> {
    Ok(call.task.process().timers.overrun(id)? as usize)
}

/// `timer_delete(2)`. `EINVAL` no such timer.
pub fn timer_delete(call: &Call<'_>, id: i32) -> Result<usize, Errno> {
    call.task.process().timers.delete(id)?;
    Ok(0)
}
