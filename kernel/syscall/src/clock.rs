//! Time as programs give and get it: clocks, sleeping, and the units in between.

use crate::{
    abi::{Timespec, Timeval},
    arguments::UserPtr,
    call::Call,
};
use base::Errno;

/// `CLOCK_REALTIME`.
pub const REALTIME: i32 = 0;
/// `CLOCK_MONOTONIC`.
pub const MONOTONIC: i32 = 1;
/// `CLOCK_PROCESS_CPUTIME_ID`.
const PROCESS_CPU: i32 = 2;
/// `CLOCK_THREAD_CPUTIME_ID`.
const THREAD_CPU: i32 = 3;
/// `CLOCK_MONOTONIC_RAW`.
const MONOTONIC_RAW: i32 = 4;
/// `CLOCK_REALTIME_COARSE`.
const REALTIME_COARSE: i32 = 5;
/// `CLOCK_MONOTONIC_COARSE`.
const MONOTONIC_COARSE: i32 = 6;
/// `CLOCK_BOOTTIME`.
pub const BOOTTIME: i32 = 7;
/// `CLOCK_TAI`, which nobody has told the difference from civil time.
const TAI: i32 = 11;

pub(crate) const SECOND: u64 = 1_000_000_000;

/// A `struct timespec` as nanoseconds. `EINVAL` a negative time or a fraction out of range. What is too long to
/// count is as good as for ever.
pub fn nanoseconds(time: &Timespec) -> Result<u64, Errno> {
    let seconds = u64::try_from(time.seconds).map_err(|_| Errno::EINVAL)?;
    match time.nanoseconds {
        fraction @ 0..1_000_000_000 => Ok(seconds.saturating_mul(SECOND).saturating_add(fraction as u64)),
        _ => Err(Errno::EINVAL),
    }
}

/// A `struct timeval` as nanoseconds. `EINVAL` a negative time; a fraction over a second is carried.
pub fn nanoseconds_of_timeval(time: &Timeval) -> Result<u64, Errno> {
    let seconds = u64::try_from(time.seconds).map_err(|_| Errno::EINVAL)?;
    let micros = u64::try_from(time.microseconds).map_err(|_| Errno::EINVAL)?;
    Ok(seconds.saturating_mul(SECOND).saturating_add(micros.saturating_mul(1000)))
}

/// Nanoseconds as a `struct timespec`.
pub fn timespec(nanoseconds: u64) -> Timespec {
    Timespec { seconds: (nanoseconds / SECOND) as i64, nanoseconds: (nanoseconds % SECOND) as i64 }
}

/// Nanoseconds as a `struct timeval`, rounded down.
pub fn timeval(nanoseconds: u64) -> Timeval {
    Timeval { seconds: (nanoseconds / SECOND) as i64, microseconds: (nanoseconds % SECOND / 1000) as i64 }
}

/// What a clock says now. `EINVAL` an unknown clock. The CPU clocks of other tasks come as negative numbers.
#[inline]
pub(crate) fn reading(call: &Call<'_>, clock: i32) -> Result<u64, Errno> {
    match clock {
        REALTIME | REALTIME_COARSE | TAI => Ok(machine::time::realtime()),
        MONOTONIC | MONOTONIC_RAW | MONOTONIC_COARSE | BOOTTIME => Ok(machine::time::now()),
        _ => cpu_time(call, clock),
    }
}

/// The same for the clocks that are not read all the time.
#[cold]
fn cpu_time(call: &Call<'_>, clock: i32) -> Result<u64, Errno> {
    match clock {
        PROCESS_CPU => Ok(call.task.process().cpu_time()),
        THREAD_CPU => Ok(call.task.cpu_time()),
        clock if clock < 0 => cpu_clock(call, clock),
        _ => Err(Errno::EINVAL),
    }
}

/// The clock that `clock_getcpuclockid(3)` names: the complement of a number over three bits of kind.
fn cpu_clock(call: &Call<'_>, clock: i32) -> Result<u64, Errno> {
    const THREAD: i32 = 4;
    const KIND: i32 = 3;
    if clock & KIND == KIND {
        return Err(Errno::EINVAL);
    }
    let number = !(clock >> 3);
    call.task.cpu_clock_of(number, clock & THREAD != 0)
}

/// `clock_gettime(2)`.
pub fn clock_gettime(call: &Call<'_>, clock: i32, out: UserPtr<Timespec>) -> Result<usize, Errno> {
    out.write(&timespec(reading(call, clock)?))?;
    Ok(0)
}

/// `clock_getres(2)`: all clocks count nanoseconds.
pub fn clock_getres(call: &Call<'_>, clock: i32, out: UserPtr<Timespec>) -> Result<usize, Errno> {
    reading(call, clock)?;
    out.write_optional(&timespec(1))?;
    Ok(0)
}

/// `gettimeofday(2)`.
pub fn gettimeofday(_call: &Call<'_>, out: UserPtr<Timeval>, zone: UserPtr<[i32; 2]>) -> Result<usize, Errno> {
    out.write_optional(&timeval(machine::time::realtime()))?;
    zone.write_optional(&[0, 0])?;
    Ok(0)
}

/// `time(2)`.
pub fn time(_call: &Call<'_>, out: UserPtr<i64>) -> Result<usize, Errno> {
    let seconds = machine::time::realtime() / SECOND;
    out.write_optional(&(seconds as i64))?;
    Ok(seconds as usize)
}

/// `nanosleep(2)`.
pub fn nanosleep(call: &Call<'_>, wanted: UserPtr<Timespec>, rest: UserPtr<Timespec>) -> Result<usize, Errno> {
    let end = machine::time::now().saturating_add(nanoseconds(&wanted.read()?)?);
    sleep_until(call, end, rest)
}

/// `clock_nanosleep(2)`.
pub fn clock_nanosleep(
    call: &Call<'_>,
    clock: i32,
    flags: u32,
    wanted: UserPtr<Timespec>,
    rest: UserPtr<Timespec>,
) -> Result<usize, Errno> {
    const ABSOLUTE: u32 = 1;
    let wanted = nanoseconds(&wanted.read()?)?;
    let now = machine::time::now();
    match clock {
        MONOTONIC | BOOTTIME | REALTIME => {}
        PROCESS_CPU => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    }
    if flags & ABSOLUTE == 0 {
        return sleep_until(call, now.saturating_add(wanted), rest);
    }
    if clock == REALTIME {
        let _follower = call.task.follow_wall_clock();
        return call.task.sleep_until_exactly(wanted.saturating_sub(machine::time::epoch())).map(|()| 0);
    }
    sleep_until(call, wanted, UserPtr::at(0))
}

/// Sleeps; a signal ends it with `EINTR` and tells the time that was left.
fn sleep_until(call: &Call<'_>, end: u64, rest: UserPtr<Timespec>) -> Result<usize, Errno> {
    let result = call.task.sleep_until(end);
    if result == Err(Errno::EINTR) {
        rest.write_optional(&timespec(end.saturating_sub(machine::time::now())))?;
    }
    result.map(|()| 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_of_a_whole_second_is_invalid() {
        assert_eq!(nanoseconds(&Timespec { seconds: 1, nanoseconds: 1_000_000_000 }), Err(Errno::EINVAL));
        assert_eq!(nanoseconds(&Timespec { seconds: -1, nanoseconds: 0 }), Err(Errno::EINVAL));
        assert_eq!(nanoseconds(&Timespec { seconds: 1, nanoseconds: 5 }), Ok(1_000_000_005));
    }

    #[test]
    fn a_time_beyond_counting_is_as_good_as_never() {
        assert_eq!(nanoseconds(&Timespec { seconds: i64::MAX, nanoseconds: 0 }), Ok(u64::MAX));
    }
}
