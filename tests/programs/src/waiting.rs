//! What waits: signals, and how many a user may have; timers; tasks, and where in the kernel they sleep.

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{
    fs,
    ptr::{null, null_mut},
};

/// A real-time signal that waits here.
const SIGNAL: c_int = 40;

fn become_user(uid: uid_t) {
    // SAFETY: takes no address.
    unsafe { setresuid(uid, uid, uid) };
}

/// Queues a signal for this process by `sigqueue`.
fn queue(signal: c_int) -> Result<i64, i32> {
    let value = sigval { sival_ptr: null_mut() };
    // SAFETY: takes no address.
    result(unsafe { sigqueue(getpid(), signal, value) }.into())
}

/// The number before the slash of SigQ.
fn queued() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let row = text.lines().find_map(|line| line.strip_prefix("SigQ:\t"))?;
    row.split('/').next()?.parse().ok()
}

/// Whether SIGIO, which is blocked, comes instead of a signal for which there is no room.
fn is_replaced() -> bool {
    const F_SETSIG: c_int = 10;
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors, a byte, and a set that lives until the call is over.
    unsafe {
        let mut set: sigset_t = std::mem::zeroed();
        sigaddset(&raw mut set, SIGIO);
        pipe(ends.as_mut_ptr());
        fcntl(ends[0], F_SETOWN, getpid());
        fcntl(ends[0], F_SETSIG, SIGNAL);
        fcntl(ends[0], F_SETFL, O_ASYNC);
        write(ends[1], b"x".as_ptr().cast(), 1);
        sigtimedwait(&raw const set, null_mut(), null()) == SIGIO
    }
}

/// What is wrong with the limit on signals, for a user of its own.
fn signals() -> i32 {
    become_user(1005);
    let limit = rlimit { rlim_cur: 3, rlim_max: 3 };
    // SAFETY: zeros are a set; it and the limit live until the calls are over.
    unsafe {
        let mut set: sigset_t = std::mem::zeroed();
        sigaddset(&raw mut set, SIGNAL);
        sigaddset(&raw mut set, SIGIO);
        sigaddset(&raw mut set, SIGUSR1);
        sigaddset(&raw mut set, SIGUSR2);
        sigprocmask(SIG_BLOCK, &raw const set, null_mut());
        setrlimit(RLIMIT_SIGPENDING, &raw const limit);
        let four = [queue(SIGNAL), queue(SIGNAL), queue(SIGNAL), queue(SIGNAL)];
        // The user has three, whichever process it is; standard signals come nevertheless.
        let other = child::status(|| i32::from(queue(SIGNAL) != Err(EAGAIN)) + 2 * i32::from(queue(SIGUSR2) != Ok(0)));
        let standard = kill(getpid(), SIGUSR1) == 0;
        let full = queued() == Some(4);
        let replaced = is_replaced();
        let taken = sigtimedwait(&raw const set, null_mut(), null()) > 0
            && sigtimedwait(&raw const set, null_mut(), null()) > 0;
        let again = queue(SIGNAL);
        i32::from(four != [Ok(0), Ok(0), Ok(0), Err(EAGAIN)])
            + 2 * i32::from(other != 0)
            + 4 * i32::from(!standard || !full)
            + 8 * i32::from(!taken || again != Ok(0) || queued() != Some(3))
            + 16 * i32::from(!replaced)
    }
}

/// What the kernel clears at a task's end, which a debugger that saves the task asks for.
fn cleared(checks: &mut Checks) {
    const PR_GET_TID_ADDRESS: c_int = 40;
    let ask = |address: u64| {
        // SAFETY: the address is one of a word that lives until the call is over, or refused.
        result(unsafe { syscall(SYS_prctl, PR_GET_TID_ADDRESS, address, 0, 0, 0) })
    };
    checks.equal("a bad address", ask(8), Err(EFAULT));
    let told = child::status(|| {
        let (mut cleared, mut word) = (0_u64, 0_i32);
        // SAFETY: the word lives until the child ends.
        unsafe { syscall(SYS_set_tid_address, &raw mut word) };
        i32::from(ask(&raw mut cleared as u64) != Ok(0) || cleared != &raw mut word as u64)
    });
    checks.equal("what is cleared at the end", told, 0);
}

fn sleepers(checks: &mut Checks) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors; the child only waits for a byte.
    let sleeper = unsafe {
        pipe(ends.as_mut_ptr());
        let child = fork();
        if child == 0 {
            let mut byte = 0_u8;
            read(ends[0], (&raw mut byte).cast(), 1);
            _exit(0);
        }
        child
    };
    let text = |name: &str| fs::read_to_string(format!("/proc/{sleeper}/{name}"));
    let sleeps = (0..1000).any(|_| {
        // SAFETY: takes no address.
        unsafe { usleep(10_000) };
        text("wchan").is_ok_and(|name| name.contains("pipe"))
    });
    checks.check("it sleeps in a pipe", sleeps);
    let stack = text("stack").unwrap_or_default();
    checks.check("its stack", stack.lines().all(|row| row.starts_with("[<0>] ")) && stack.contains("pipe"));
    let own = fs::read_to_string("/proc/self/wchan").unwrap_or_default();
    checks.equal("who runs does not wait", own.as_str(), "0");
    // SAFETY: takes nothing.
    checks.equal("nothing to start again", result(unsafe { syscall(SYS_restart_syscall) }), Err(EINTR));
    let refused = child::status(|| {
        become_user(1000);
        let stack = fs::read_to_string(format!("/proc/{sleeper}/stack")).err().and_then(|error| error.raw_os_error());
        i32::from(stack != Some(EACCES)) + 2 * i32::from(text("wchan").ok().as_deref() != Some("0"))
    });
    checks.equal("a stranger is not told", refused, 0);
    // SAFETY: a byte, and no status is asked for.
    unsafe { (write(ends[1], b"x".as_ptr().cast(), 1), waitpid(sleeper, null_mut(), 0)) };
    // SAFETY: takes no address.
    unsafe { (close(ends[0]), close(ends[1])) };
}

/// Two wait at one epoll file for what stays ready: both are told. If one is not, this does not end.
fn waiters_of_one(checks: &mut Checks) {
    // SAFETY: an event that lives until the call is over.
    let (set, counter) = unsafe {
        let (set, counter) = (epoll_create1(0), eventfd(0, 0));
        let mut event = epoll_event { events: EPOLLIN as u32, u64: 7 };
        epoll_ctl(set, EPOLL_CTL_ADD, counter, &raw mut event);
        (set, counter)
    };
    let wait = move || {
        let mut event = epoll_event { events: 0, u64: 0 };
        // SAFETY: room for one event.
        let count = unsafe { epoll_wait(set, &raw mut event, 1, -1) };
        count == 1 && event.u64 == 7
    };
    let mut word = 1_u64;
    let told = (0..200).filter(|_| {
        std::thread::scope(|scope| {
            let waiters = [(); 2].map(|()| scope.spawn(wait));
            // SAFETY: the word lives until the call is over.
            unsafe { write(counter, (&raw const word).cast(), 8) };
            waiters.map(|waiter| waiter.join().unwrap_or(false)) == [true; 2]
        }) && {
            // SAFETY: the same.
            unsafe { read(counter, (&raw mut word).cast(), 8) == 8 }
        }
    });
    checks.equal("rounds in which both were told", told.count(), 200);
    let mut event = epoll_event { events: 0, u64: 0 };
    let ask = |address: u64, most: c_int| {
        // SAFETY: room for one event, or an address that is refused.
        result(unsafe { syscall(SYS_epoll_wait, set, address, most, 0) })
    };
    let room = &raw mut event as u64;
    checks.equal("none", ask(room, 0), Err(EINVAL));
    checks.equal("more than can be counted", ask(room, c_int::MAX / 12 + 1), Err(EINVAL));
    checks.equal("more than there is room for in user space", ask(u64::MAX / 2 - 100, 1), Err(EFAULT));
    word = 1;
    // SAFETY: the word lives until the call is over.
    unsafe { write(counter, (&raw const word).cast(), 8) };
    checks.equal("no room", ask(8, 1), Err(EFAULT));
    checks.equal("what was refused is there", ask(room, 1), Ok(1));
    // SAFETY: takes no address.
    unsafe { (close(set), close(counter)) };
}

fn timers(checks: &mut Checks) {
    // SAFETY: zeros are an event; it and the number live until the calls are over.
    let timer = unsafe {
        let mut event: sigevent = std::mem::zeroed();
        (event.sigev_signo, event.sigev_notify) = (SIGNAL, SIGEV_SIGNAL);
        event.sigev_value.sival_ptr = std::ptr::without_provenance_mut(0xabc);
        let mut timer = null_mut();
        timer_create(CLOCK_MONOTONIC, &raw mut event, &raw mut timer);
        timer
    };
    let text = fs::read_to_string("/proc/self/timers").unwrap_or_default();
    // SAFETY: takes no address.
    let own = unsafe { getpid() };
    let expected = format!("signal: {SIGNAL}/0000000000000abc\nnotify: signal/pid.{own}\nClockID: 1\n");
    checks.check("a timer is told", text.starts_with("ID: ") && text.ends_with(&expected));
    // SAFETY: the timer was made here.
    unsafe { timer_delete(timer) };
    checks.equal("and then no more", fs::read_to_string("/proc/self/timers").ok(), Some(String::new()));
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    checks.equal("signals by user", child::status(signals), 0);
    cleared(&mut checks);
    sleepers(&mut checks);
    waiters_of_one(&mut checks);
    timers(&mut checks);
    checks.tell()
}
