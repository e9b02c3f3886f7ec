//! Setting the time of day: `clock_settime(2)`, `settimeofday(2)`, `adjtimex(2)`.

use crate::{
    abi::{Timespec, Timeval},
    arguments::{UserPtr, abi_struct},
    call::Call,
    clock::{self, REALTIME, SECOND, nanoseconds, nanoseconds_of_timeval},
};
use base::{Capabilities, Errno};
use machine::time;
use process::wall_clock;

/// `EPERM` without CAP_SYS_TIME.
fn check_right(call: &Call<'_>) -> Result<(), Errno> {
    if call.task.credentials().has(Capabilities::SYS_TIME) { Ok(()) } else { Err(Errno::EPERM) }
}

/// Sets the time of day. `EINVAL` a time more than a running machine's age before now, or in the last 30 years that can be
/// counted.
fn set(call: &Call<'_>, time: u64) -> Result<(), Errno> {
    const LATEST: u64 = i64::MAX as u64 / SECOND - 30 * 365 * 24 * 3600;
    if time / SECOND >= LATEST {
        return Err(Errno::EINVAL);
    }
    wall_clock::set(call.task.population(), time)
}

/// `clock_settime(2)`. Errors, in this order: `EINVAL` a clock other than that of the time of day; `EFAULT`; `EINVAL` no
/// time; `EPERM` without CAP_SYS_TIME; those of [`set`].
pub fn clock_settime(call: &Call<'_>, clock: i32, new: UserPtr<Timespec>) -> Result<usize, Errno> {
    if clock != REALTIME {
        return Err(Errno::EINVAL);
    }
    let time = nanoseconds(&new.read()?)?;
    check_right(call)?;
    set(call, time).map(|()| 0)
}

/// `settimeofday(2)`. A time zone is checked and forgotten. Errors, in this order: `EFAULT`; `EINVAL` no time; `EPERM` without
/// CAP_SYS_TIME; `EINVAL` no time zone; those of [`set`].
pub fn settimeofday(call: &Call<'_>, new: UserPtr<Timeval>, zone: UserPtr<[i32; 2]>) -> Result<usize, Errno> {
    /// Minutes west of Greenwich.
    const FARTHEST: u32 = 15 * 60;
    let new = new.read_optional()?;
    if new.as_ref().is_some_and(|time| !(0..=1_000_000).contains(&time.microseconds)) {
        return Err(Errno::EINVAL);
    }
    let zone = zone.read_optional()?;
    let time = new.map(|time| nanoseconds_of_timeval(&time)).transpose()?;
    check_right(call)?;
    if zone.is_some_and(|[minutes, _]| minutes.unsigned_abs() > FARTHEST) {
        return Err(Errno::EINVAL);
    }
    time.map_or(Ok(()), |time| set(call, time)).map(|()| 0)
}

abi_struct! {
    /// `struct timex`.
    Timex {
        modes: u32,
        gap: u32,
        offset: i64,
        frequency: i64,
        largest_error: i64,
        estimated_error: i64,
        status: i32,
        gap_2: u32,
        constant: i64,
        precision: i64,
        tolerance: i64,
        time: Timeval,
        tick: i64,
        pulses: [i64; 8],
        atomic_time: i32,
        rest: [u32; 11],
    }
}

/// A clock that nothing outside steers is in no state to be trusted.
const TIME_ERROR: usize = 5;

/// `adjtimex(2)`: tells of the clock, and moves it by `ADJ_SETOFFSET`. Its rate is fixed, so there is no slow change
/// (`ADJ_OFFSET_SINGLESHOT`) but one of nothing, and never is anything left of one (`ADJ_OFFSET_SS_READ`). `EFAULT`;
/// `EPERM` to change it without CAP_SYS_TIME; `EINVAL` another change, or no such time.
pub fn adjtimex(call: &Call<'_>, buffer: UserPtr<Timex>) -> Result<usize, Errno> {
    const MICROSECONDS: u32 = 0x1000;
    const NANOSECONDS: u32 = 0x2000;
    const SET_OFFSET: u32 = 0x100;
    const SINGLE_SHOT: u32 = 0x8001;
    const SINGLE_SHOT_READ: u32 = 0xa001;
    let wish = buffer.read()?;
    match wish.modes {
        0 | SINGLE_SHOT_READ => {}
        modes => {
            check_right(call)?;
            match modes & !(MICROSECONDS | NANOSECONDS) {
                SET_OFFSET => {
                    let unit = if modes & NANOSECONDS != 0 { 1 } else { 1000 };
                    let time = moved(time::realtime(), wish.time.seconds, wish.time.microseconds, unit);
                    set(call, time.ok_or(Errno::EINVAL)?)?;
                }
                SINGLE_SHOT if wish.offset == 0 => {}
                _ => return Err(Errno::EINVAL),
            }
        }
    }
    buffer.write(&state(wish.modes))?;
    Ok(TIME_ERROR)
}

/// `clock_adjtime(2)`. `EINVAL` no such clock; `EOPNOTSUPP` one that can't be moved; else as [`adjtimex`].
pub fn clock_adjtime(call: &Call<'_>, clock: i32, buffer: UserPtr<Timex>) -> Result<usize, Errno> {
    if clock != REALTIME {
        buffer.read()?;
        clock::reading(call, clock)?;
        return Err(Errno::EOPNOTSUPP);
    }
    adjtimex(call, buffer)
}

/// A time in ns that is moved by seconds and a fraction, which counts `unit` ns and is not negative.
fn moved(time: u64, seconds: i64, fraction: i64, unit: u64) -> Option<u64> {
    let fraction = u64::try_from(fraction).ok()?.checked_mul(unit).filter(|&fraction| fraction < SECOND)?;
    let seconds = seconds.checked_mul(SECOND as i64)?;
    time.checked_add_signed(seconds)?.checked_add(fraction)
}

/// What there is to tell of the clock.
fn state(modes: u32) -> Timex {
    const UNSYNCHRONIZED: i32 = 0x40;
    /// Microseconds: the most that is counted.
    const UNKNOWN: i64 = 16_000_000;
    let now = time::realtime();
    Timex {
        modes,
        gap: 0,
        offset: 0,
        frequency: 0,
        largest_error: UNKNOWN,
        estimated_error: UNKNOWN,
        status: UNSYNCHRONIZED,
        gap_2: 0,
        constant: 2,
        precision: 1,
        tolerance: 500 << 16,
        time: clock::timeval(now),
        tick: 10_000,
        pulses: [0; 8],
        atomic_time: 0,
        rest: [0; 11],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_moved_forward_and_back() {
        assert_eq!(size_of::<Timex>(), 208);
        assert_eq!(moved(10 * SECOND, 2, 5, 1000), Some(12 * SECOND + 5000));
        assert_eq!(moved(10 * SECOND, -2, 5, 1), Some(8 * SECOND + 5));
        assert_eq!(moved(10 * SECOND, -11, 0, 1), None);
        assert_eq!(moved(0, 0, -1, 1), None);
        assert_eq!(moved(0, 0, 1_000_000, 1000), None, "a whole second");
        assert_eq!(moved(0, i64::MAX, 0, 1), None);
    }
}
