//! `futex(2)` and `futex_waitv(2)`.

use crate::{
    abi::{FutexWait, Timespec},
    arguments::UserPtr,
    call::Call,
    clock::nanoseconds,
};
use alloc::vec::Vec;
use base::Errno;
use linux_raw_sys::general::{
    CLOCK_MONOTONIC, CLOCK_REALTIME, FUTEX_CLOCK_REALTIME, FUTEX_CMP_REQUEUE, FUTEX_CMP_REQUEUE_PI, FUTEX_LOCK_PI,
    FUTEX_LOCK_PI2, FUTEX_PRIVATE_FLAG, FUTEX_REQUEUE, FUTEX_TRYLOCK_PI, FUTEX_UNLOCK_PI, FUTEX_WAIT,
    FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_WAKE, FUTEX_WAKE_BITSET, FUTEX_WAKE_OP,
};
use process::{
    Task,
    futex_calls::{self, Word},
    priority,
};

/// `futex(2)`. The fourth argument is a time, or for some operations a number.
///
/// `ENOSYS` an operation that there is not, or the real-time clock for one that has no choice of clocks; else as the
/// operations themselves.
pub fn futex(
    call: &Call<'_>,
    address: u64,
    operation: u32,
    value: u32,
    fourth: u64,
    second: u64,
    third: u32,
) -> Result<usize, Errno> {
    const ANY: u32 = u32::MAX;
    let (private, realtime) = (operation & FUTEX_PRIVATE_FLAG != 0, operation & FUTEX_CLOCK_REALTIME != 0);
    let command = operation & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    let (word, second) = (Word { address, private }, Word { address: second, private });
    let sleeps =
        matches!(command, FUTEX_WAIT | FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI | FUTEX_LOCK_PI2);
    let time = if sleeps {
        UserPtr::<Timespec>::at(fourth).read_optional()?.map(|time| nanoseconds(&time)).transpose()?
    } else {
        None
    };
    if realtime && !matches!(command, FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI2) {
        return Err(Errno::ENOSYS);
    }
    let count = |number: u32| usize::try_from(number as i32).map_err(|_| Errno::EINVAL);
    let task = call.task;
    match command {
        FUTEX_WAIT => {
            let deadline = time.map(|time| task.deadline_after(time));
            futex_calls::wait(task, word, value, ANY, deadline).map(|()| 0)
        }
        FUTEX_WAIT_BITSET => {
            until(task, time, realtime, |end| futex_calls::wait(task, word, value, third, end)).map(|()| 0)
        }
        FUTEX_WAKE => futex_calls::wake(task, word, (value as i32).max(1) as usize, ANY),
        FUTEX_WAKE_BITSET => futex_calls::wake(task, word, (value as i32).max(1) as usize, third),
        FUTEX_REQUEUE => {
            let (woken, _) = futex_calls::requeue(task, word, second, count(value)?, count(fourth as u32)?, None)?;
            Ok(woken)
        }
        FUTEX_CMP_REQUEUE => {
            let (most, moved) = (count(value)?, count(fourth as u32)?);
            let (woken, moved) = futex_calls::requeue(task, word, second, most, moved, Some(third))?;
            Ok(woken + moved)
        }
        FUTEX_WAKE_OP => futex_calls::wake_operation(task, word, second, value as usize, fourth as u32 as usize, third),
        // This one has always had the clock that can be set.
        FUTEX_LOCK_PI => until(task, time, true, |end| priority::lock(task, word, end, false)).map(|()| 0),
        FUTEX_LOCK_PI2 => until(task, time, realtime, |end| priority::lock(task, word, end, false)).map(|()| 0),
        FUTEX_TRYLOCK_PI => priority::lock(task, word, None, true).map(|()| 0),
        FUTEX_UNLOCK_PI => priority::unlock(task, word).map(|()| 0),
        FUTEX_WAIT_REQUEUE_PI => {
            // What takes it from one word to another can't be started again: the time of day as it is now.
            let end = time.map(|time| deadline(time, realtime));
            priority::wait_to_be_requeued(task, word, value, end, second).map(|()| 0)
        }
        FUTEX_CMP_REQUEUE_PI => {
            let moved = count(fourth as u32)?;
            // Exactly one wakes up with the lock.
            if value != 1 { Err(Errno::EINVAL) } else { priority::requeue(task, word, second, moved, third) }
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// Does `wait` until a time, of the clock that can be set if `realtime` says so: then it ends with `EINTR` when that is set.
fn until<R>(task: &Task, time: Option<u64>, realtime: bool, wait: impl FnOnce(Option<u64>) -> R) -> R {
    let _follower = (realtime && time.is_some()).then(|| task.follow_wall_clock());
    wait(time.map(|time| deadline(time, realtime)))
}

/// A time of the clock since boot, or of the one that can be set, as a time since boot.
fn deadline(time: u64, realtime: bool) -> u64 {
    time.saturating_sub(if realtime { machine::time::epoch() } else { 0 })
}

/// `futex_waitv(2)`: sleeps on up to 128 words of 32 bits.
///
/// `EINVAL` none or too many, flags, sizes or clocks that there are not; `EFAULT`; and those of a single wait.
pub fn futex_waitv(
    call: &Call<'_>,
    list: UserPtr<FutexWait>,
    count: u32,
    flags: u32,
    timeout: UserPtr<Timespec>,
    clock: u32,
) -> Result<usize, Errno> {
    const MOST: u32 = 128;
    const SIZE_32: u32 = 2;
    if flags != 0 || !(1..=MOST).contains(&count) || list.is_null() {
        return Err(Errno::EINVAL);
    }
    let time = if timeout.is_null() {
        None
    } else {
        if !matches!(clock, CLOCK_MONOTONIC | CLOCK_REALTIME) {
            return Err(Errno::EINVAL);
        }
        Some(nanoseconds(&timeout.read()?)?)
    };
    let word = |wait: FutexWait| {
        if wait.flags & !FUTEX_PRIVATE_FLAG != SIZE_32 || wait.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        let private = wait.flags & FUTEX_PRIVATE_FLAG != 0;
        Ok((Word { address: wait.address, private }, wait.value as u32))
    };
    let words = list.read_array(count as usize)?.into_iter().map(word).collect::<Result<Vec<_>, _>>()?;
    until(call.task, time, clock == CLOCK_REALTIME, |end| futex_calls::wait_for_any(call.task, &words, end))
}
