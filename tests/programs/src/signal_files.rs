//! signalfd: what is read, polled and taken, for this process and for a child that has the same file.

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{os::fd::RawFd, ptr::null};

fn set(signals: &[c_int]) -> u64 {
    signals.iter().fold(0, |set, signal| set | 1 << (signal - 1))
}

fn file(descriptor: RawFd, set: u64, flags: c_int) -> Result<RawFd, i32> {
    // SAFETY: the set lives until the call is over.
    result(unsafe { syscall(SYS_signalfd4, descriptor, &raw const set, 8, flags) }).map(|file| file as RawFd)
}

/// Reads up to two records: for each the signal, its code, and the value sent with it.
fn read_two(file: RawFd) -> Result<Vec<(u32, i32, u64)>, i32> {
    // SAFETY: all zeros are two records, and both have room there.
    let mut records: [signalfd_siginfo; 2] = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let count = result(unsafe { read(file, records.as_mut_ptr().cast(), 256) } as i64)?;
    Ok(records[..count as usize / 128].iter().map(|one| (one.ssi_signo, one.ssi_code, one.ssi_ptr)).collect())
}

fn readable(file: RawFd) -> bool {
    let mut asked = pollfd { fd: file, events: POLLIN, revents: 0 };
    // SAFETY: one entry that lives until the call is over.
    unsafe { poll(&raw mut asked, 1, 0) == 1 && asked.revents == POLLIN }
}

fn send(signal: c_int, value: usize) {
    // SAFETY: takes no address.
    unsafe { sigqueue(getpid(), signal, sigval { sival_ptr: value as *mut c_void }) };
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    let (one, real) = (SIGUSR1, SIGRTMIN());
    let blocked = set(&[one, SIGUSR2, real, SIGCHLD]);
    // SAFETY: the set lives until the call is over.
    unsafe { syscall(SYS_rt_sigprocmask, SIG_BLOCK, &raw const blocked, null::<u64>(), 8) };
    // SAFETY: addresses are null, or those of what lives until the call is over.
    unsafe {
        let bits = blocked;
        checks.equal("size", result(syscall(SYS_signalfd4, -1, &raw const bits, 4, 0)), Err(EINVAL));
        checks.equal("address", result(syscall(SYS_signalfd4, -1, 8, 8, 99)), Err(EFAULT));
        checks.equal("flags", result(syscall(SYS_signalfd4, -1, &raw const bits, 8, 1)), Err(EINVAL));
        checks.equal("not open", result(syscall(SYS_signalfd4, 99, &raw const bits, 8, 0)), Err(EBADF));
        checks.equal("another file", result(syscall(SYS_signalfd, 0, &raw const bits, 8)), Err(EINVAL));
    }
    let Ok(signals) = file(-1, set(&[one, real, SIGCHLD]), SFD_NONBLOCK | SFD_CLOEXEC) else { return false };
    checks.equal("nothing waits", (read_two(signals), readable(signals)), (Err(EAGAIN), false));
    // SAFETY: the buffer is shorter than a record on purpose.
    checks.equal("no room", result(unsafe { read(signals, [0_u8; 64].as_mut_ptr().cast(), 64) } as i64), Err(EINVAL));
    send(real, 7);
    send(real, 8);
    send(SIGUSR2, 1);
    // SAFETY: takes no address.
    unsafe { raise(one) };
    checks.check("something waits", readable(signals));
    checks.equal("the first two", read_two(signals), Ok(vec![(one as u32, -6, 0), (real as u32, -1, 7)]));
    checks.equal("and the rest", read_two(signals), Ok(vec![(real as u32, -1, 8)]));
    checks.equal("not that of another set", (read_two(signals), readable(signals)), (Err(EAGAIN), false));
    checks.equal("another set", file(signals, set(&[SIGUSR2]), 0), Ok(signals));
    checks.equal("which has it", read_two(signals).map(|list| list[0].0), Ok(SIGUSR2 as u32));

    // A signal for the parent is not one for the child, whoever opened the file.
    send(SIGUSR2, 2);
    let inherited = child::status(|| {
        let before = read_two(signals) == Err(EAGAIN);
        send(SIGUSR2, 3);
        i32::from(!(before && read_two(signals) == Ok(vec![(SIGUSR2 as u32, -1, 3)])))
    });
    checks.equal("a child reads its own", (inherited, read_two(signals)), (0, Ok(vec![(SIGUSR2 as u32, -1, 2)])));
    checks.equal("its end", file(signals, set(&[SIGCHLD]), 0), Ok(signals));
    checks.equal("tells", read_two(signals).map(|list| (list[0].0, list[0].1)), Ok((SIGCHLD as u32, CLD_EXITED)));

    // A reader that sleeps, and one that waits by epoll.
    let Ok(blocking) = file(-1, set(&[one, SIGUSR2]), 0) else { return false };
    // SAFETY: the event lives until the calls are over.
    let epoll = unsafe {
        let (epoll, mut event) = (epoll_create1(0), epoll_event { events: EPOLLIN as u32, u64: 5 });
        epoll_ctl(epoll, EPOLL_CTL_ADD, blocking, &raw mut event);
        epoll
    };
    // SAFETY: takes no address.
    let parent = unsafe { getpid() };
    let ring = |signal: c_int| {
        child::start(move || {
            // SAFETY: takes no address.
            unsafe { kill(parent, signal) }
        })
    };
    let sender = ring(one);
    checks.equal("a reader is woken", read_two(blocking).map(|list| list[0].0), Ok(one as u32));
    checks.equal("by a child", sender(), 0);
    let sender = ring(SIGUSR2);
    let mut event = epoll_event { events: 0, u64: 0 };
    // SAFETY: one event has place there.
    let count = unsafe { epoll_wait(epoll, &raw mut event, 1, -1) };
    checks.equal("epoll is told", (count, { event.u64 }, sender()), (1, 5, 0));
    checks.equal("and it is there", read_two(blocking).map(|list| list[0].0), Ok(SIGUSR2 as u32));
    checks.tell()
}
