//! Setting the time of day: who may, to what, and that all that waits for a time of it follows.

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{fs, mem::zeroed, ptr::null_mut};

const HOUR: i64 = 3600;
const SECOND: i64 = 1_000_000_000;

type Outcome = Result<i64, i32>;

/// What a clock says, in ns: by the vDSO where the C library uses it, and by the system call.
fn now(clock: clockid_t) -> [i64; 2] {
    let mut times = [timespec { tv_sec: 0, tv_nsec: 0 }; 2];
    // SAFETY: both times live until the calls are over.
    unsafe {
        clock_gettime(clock, &raw mut times[0]);
        syscall(SYS_clock_gettime, clock, &raw mut times[1]);
    }
    times.map(|time| time.tv_sec * SECOND + time.tv_nsec)
}

fn time_of(nanoseconds: i64) -> timespec {
    timespec { tv_sec: nanoseconds / SECOND, tv_nsec: nanoseconds % SECOND }
}

fn set_to(clock: clockid_t, time: timespec) -> Outcome {
    // SAFETY: the time lives until the call is over.
    result(unsafe { syscall(SYS_clock_settime, clock, &raw const time) })
}

/// Moves the time of day by seconds.
fn shift(seconds: i64) -> Outcome {
    set_to(CLOCK_REALTIME, time_of(now(CLOCK_REALTIME)[0] + seconds * SECOND))
}

/// Whether the time of day is so many seconds later than it was, which was just now but for a minute.
fn is_later(before: i64, seconds: i64) -> bool {
    now(CLOCK_REALTIME).iter().all(|now| (now - before - seconds * SECOND).abs() < 60 * SECOND)
}

fn adjust(modes: u32, seconds: i64, fraction: i64) -> (Outcome, timex) {
    // SAFETY: a timex may be zeros.
    let mut wish: timex = unsafe { zeroed() };
    wish.modes = modes;
    wish.time = timeval { tv_sec: seconds, tv_usec: fraction };
    // SAFETY: it lives until the call is over.
    let outcome = result(unsafe { syscall(SYS_adjtimex, &raw mut wish) });
    (outcome, wish)
}

fn errors(checks: &mut Checks) {
    let fine = time_of(now(CLOCK_REALTIME)[0]);
    checks.equal("another clock", set_to(CLOCK_MONOTONIC, fine), Err(EINVAL));
    checks.equal("no fraction", set_to(CLOCK_REALTIME, timespec { tv_nsec: SECOND, ..fine }), Err(EINVAL));
    checks.equal("negative", set_to(CLOCK_REALTIME, timespec { tv_sec: -1, ..fine }), Err(EINVAL));
    checks.equal("before the boot", set_to(CLOCK_REALTIME, timespec { tv_sec: 0, tv_nsec: 1 }), Err(EINVAL));
    checks.equal(
        "the end of time",
        set_to(CLOCK_REALTIME, timespec { tv_sec: i64::MAX / SECOND, ..fine }),
        Err(EINVAL),
    );
    let day = |time: timeval, minutes: c_int| {
        // SAFETY: both live until the call is over.
        result(unsafe { syscall(SYS_settimeofday, &raw const time, &raw const *&[minutes, 0]) })
    };
    let now = timeval { tv_sec: fine.tv_sec, tv_usec: 0 };
    checks.equal("settimeofday", day(timeval { tv_usec: 1_000_001, ..now }, 0), Err(EINVAL));
    checks.equal("a zone", day(now, 15 * 60 + 1), Err(EINVAL));
    let (told, state) = adjust(0, 0, 0);
    checks.equal("adjtimex", (told, state.tick, state.status & STA_UNSYNC), (Ok(5), 10_000, STA_UNSYNC));
    let (told, state) = adjust(ADJ_OFFSET_SS_READ, 7, 7);
    checks.equal("nothing is left to adjust", (told, state.offset, state.tick), (Ok(5), 0, 10_000));
    checks.equal("a slow change of nothing", adjust(ADJ_OFFSET_SINGLESHOT, 0, 0).0, Ok(5));
    checks.equal("half a question", adjust(ADJ_OFFSET_SS_READ & !1, 0, 0).0, Err(EINVAL));
    checks.equal("a fraction too large", adjust(ADJ_SETOFFSET, 0, 1_000_000).0, Err(EINVAL));
    checks.equal("a negative one", adjust(ADJ_SETOFFSET | ADJ_NANO, 0, -1).0, Err(EINVAL));
    let mut buffer = state;
    let mut of = |clock: clockid_t| {
        buffer.modes = 0;
        // SAFETY: it lives until the call is over.
        result(unsafe { syscall(SYS_clock_adjtime, clock, &raw mut buffer) })
    };
    let told = [of(CLOCK_REALTIME), of(CLOCK_MONOTONIC), of(99)];
    checks.equal("clock_adjtime", told, [Ok(5), Err(EOPNOTSUPP), Err(EINVAL)]);
    // SAFETY: nothing lies at the addresses, which is to be told.
    let nowhere = unsafe {
        [
            result(syscall(SYS_settimeofday, 0, 8)),
            result(syscall(SYS_adjtimex, 8)),
            result(syscall(SYS_clock_adjtime, CLOCK_REALTIME, 8)),
        ]
    };
    checks.equal("addresses of nobody", nowhere, [Err(EFAULT); 3]);
    let found = child::status(|| {
        // SAFETY: takes no address.
        unsafe { setresuid(1000, 1000, 1000) };
        let refused = [set_to(CLOCK_REALTIME, fine), day(now, 0), adjust(ADJ_SETOFFSET, 1, 0).0];
        let slow = adjust(ADJ_OFFSET_SINGLESHOT, 0, 0).0 != Err(EPERM);
        let told = [0, ADJ_OFFSET_SS_READ].map(|modes| adjust(modes, 0, 0).0);
        i32::from(refused != [Err(EPERM); 3] || slow || told != [Ok(5); 2])
    });
    checks.equal("without the right", found, 0);
}

fn settings(checks: &mut Checks) {
    let (before, up) = (now(CLOCK_REALTIME)[0], now(CLOCK_MONOTONIC)[0]);
    checks.equal("forward", shift(HOUR), Ok(0));
    checks.check("it is an hour later", is_later(before, HOUR));
    checks.check("but not since boot", now(CLOCK_MONOTONIC)[1] - up < 60 * SECOND);
    let files = fs::metadata("/proc/self").and_then(|facts| facts.modified());
    let of_file = files.ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let of_file = of_file.map_or(0, |time| time.as_nanos() as i64);
    checks.check("for files too", (of_file - before - HOUR * SECOND).abs() < 60 * SECOND);
    checks.equal("back", adjust(ADJ_SETOFFSET, -HOUR, 5).0, Ok(5));
    checks.check("as it was", is_later(before, 0));
    let day = timeval { tv_sec: before / SECOND + HOUR, tv_usec: 0 };
    // SAFETY: the time lives until the call is over.
    let set = result(unsafe { syscall(SYS_settimeofday, &raw const day, 0) });
    checks.check("settimeofday", set == Ok(0) && is_later(before, HOUR));
    checks.equal("back again", adjust(ADJ_SETOFFSET | ADJ_NANO, -HOUR, 0).0, Ok(5));
}

/// Whether a task sleeps.
fn sleeps(task: pid_t) -> bool {
    fs::read_to_string(format!("/proc/{task}/stat")).is_ok_and(|text| text.contains(") S "))
}

/// A child that waits by `wait` for a time of day in an hour, which comes by setting it; what it ended with.
fn woken(wait: impl FnOnce(timespec) -> i32) -> i32 {
    let end = time_of(now(CLOCK_REALTIME)[0] + HOUR * SECOND);
    // SAFETY: this process has one thread, so the child may do anything.
    let child = unsafe { fork() };
    if child == 0 {
        std::process::exit(wait(end));
    }
    while !sleeps(child) {
        std::thread::yield_now();
    }
    let _ = shift(HOUR + 1);
    let mut status = 0;
    // SAFETY: the status lives until the call is over.
    unsafe { waitpid(child, &raw mut status, 0) };
    let _ = shift(-HOUR - 1);
    if WIFEXITED(status) { WEXITSTATUS(status) } else { -1 }
}

fn sleepers(checks: &mut Checks) {
    let slept = woken(|end| {
        // SAFETY: the time lives until the call is over.
        unsafe { clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &raw const end, null_mut()) }
    });
    checks.equal("a sleep", slept, 0);
    let timed_out = woken(|end| {
        let word = 0_u32;
        let operation = FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME;
        // SAFETY: word and time live until the call is over.
        result(unsafe { syscall(SYS_futex, &raw const word, operation, 0, &raw const end, 0, u32::MAX) })
            .err()
            .unwrap_or(0)
    });
    checks.equal("a futex", timed_out, ETIMEDOUT);
    let expired = woken(|end| {
        // SAFETY: setting and count live until the calls are over.
        unsafe {
            let file = timerfd_create(CLOCK_REALTIME, 0);
            let setting = itimerspec { it_interval: time_of(0), it_value: end };
            timerfd_settime(file, TFD_TIMER_ABSTIME, &raw const setting, null_mut());
            let mut count = 0_u64;
            read(file, (&raw mut count).cast(), 8);
            count as i32
        }
    });
    checks.equal("a timer file", expired, 1);
    let canceled = woken(|end| {
        // SAFETY: as above.
        unsafe {
            let file = timerfd_create(CLOCK_REALTIME, 0);
            let later = timespec { tv_sec: end.tv_sec + 10 * HOUR, ..end };
            let setting = itimerspec { it_interval: time_of(0), it_value: later };
            timerfd_settime(file, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &raw const setting, null_mut());
            let mut count = 0_u64;
            result(read(file, (&raw mut count).cast(), 8) as i64).err().unwrap_or(0)
        }
    });
    checks.equal("one that is canceled", canceled, ECANCELED);
}

/// What is left of timers when the clock goes an hour on.
fn timers(checks: &mut Checks) {
    let left = |flags: c_int, clock: clockid_t| {
        let base = if flags == 0 { 0 } else { now(clock)[0] };
        let setting = itimerspec { it_interval: time_of(0), it_value: time_of(base + 3 * HOUR * SECOND) };
        // SAFETY: all live until the calls are over.
        unsafe {
            let file = timerfd_create(clock, 0);
            timerfd_settime(file, flags, &raw const setting, null_mut());
            let (mut event, mut timer): (sigevent, timer_t) = (zeroed(), null_mut());
            event.sigev_notify = SIGEV_NONE;
            timer_create(clock, &raw mut event, &raw mut timer);
            timer_settime(timer, flags, &raw const setting, null_mut());
            let _ = shift(HOUR);
            let mut left = [setting; 2];
            timerfd_gettime(file, &raw mut left[0]);
            timer_gettime(timer, &raw mut left[1]);
            let _ = shift(-HOUR);
            timer_delete(timer);
            close(file);
            // Rounded up to hours.
            left.map(|setting| (setting.it_value.tv_sec + HOUR - 1) / HOUR)
        }
    };
    checks.equal("to a time of day", left(TIMER_ABSTIME, CLOCK_REALTIME), [2, 2]);
    checks.equal("for a while", left(0, CLOCK_REALTIME), [3, 3]);
    checks.equal("since boot", left(TIMER_ABSTIME, CLOCK_MONOTONIC), [3, 3]);
}

/// Tries everything; says what is not as it should be. The time of day is as it was afterwards.
pub fn run() -> bool {
    let mut checks = Checks::default();
    errors(&mut checks);
    settings(&mut checks);
    sleepers(&mut checks);
    timers(&mut checks);
    checks.tell()
}
