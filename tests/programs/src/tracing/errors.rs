//! What is refused, with which errno, and in which order it is looked at.

use super::tracee::{fork, ptrace, wait, *};
use crate::checks::Checks;
use libc::*;
use std::ptr::null_mut;

const NOBODY: c_int = 4_000_000;

pub fn run(checks: &mut Checks) {
    who(checks);
    running(checks);
    arguments(checks);
    rights(checks);
}

fn who(checks: &mut Checks) {
    // SAFETY: takes no address.
    let own = unsafe { getpid() };
    checks.equal("nobody to attach", ptrace(ATTACH, NOBODY, 0, 0), Err(ESRCH));
    checks.equal("number 0", ptrace(ATTACH, 0, 0, 0), Err(ESRCH));
    checks.equal("a negative number", ptrace(SEIZE, -1, 0, 0), Err(ESRCH));
    checks.equal("itself", ptrace(ATTACH, own, 0, 0), Err(EPERM));
    checks.equal("a thread of the kernel", ptrace(SEIZE, kernel_thread(), 0, 0), Err(EPERM));
    let thread = std::thread::spawn(move || {
        // SAFETY: takes no address.
        let other = unsafe { gettid() };
        (ptrace(ATTACH, own, 0, 0), other)
    });
    checks.equal("a thread of its own process", thread.join().map(|both| both.0).unwrap_or(Ok(0)), Err(EPERM));
    checks.equal("a request before the tracee", ptrace(999, NOBODY, 0, 0), Err(ESRCH));
    let child = sleeper();
    for request in [CONT, PEEKDATA, KILL, INTERRUPT, DETACH, 999] {
        checks.equal("a child that is not traced", ptrace(request, child, 0, 0), Err(ESRCH));
    }
    checks.equal("an address for SEIZE", ptrace(SEIZE, child, 1, 0), Err(EIO));
    checks.equal("an option that there is not", ptrace(SEIZE, child, 0, 1 << 30), Err(EIO));
    checks.equal("a zombie", zombie(), Err(EPERM));
    checks.equal("killed", kill_and_reap(child), Ok(SIGKILL));
    let twice = fork(|| {
        let first = ptrace(TRACEME, 0, 0, 0) == Ok(0);
        c_int::from(!(first && ptrace(TRACEME, 0, 0, 0) == Err(EPERM)))
    });
    checks.equal("TRACEME twice", wait(twice, 0), ended(0));
}

/// The number of a thread of the kernel: nobody's child that is not the first process.
fn kernel_thread() -> c_int {
    let is_one = |pid: &c_int| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status"));
        text.is_ok_and(|text| text.contains("\nPPid:\t0\n"))
    };
    (2..1000).find(is_one).unwrap_or(NOBODY)
}

fn zombie() -> Result<i64, i32> {
    let child = fork(|| 0);
    // SAFETY: room for what is told; waits without reaping.
    unsafe {
        let mut info: siginfo_t = std::mem::zeroed();
        waitid(P_PID, child as id_t, &raw mut info, WEXITED | WNOWAIT);
    }
    let attached = ptrace(ATTACH, child, 0, 0);
    let _ = wait(child, 0);
    attached
}

fn running(checks: &mut Checks) {
    let child = sleeper();
    checks.equal("seized", ptrace(SEIZE, child, 0, 0), Ok(0));
    for request in [CONT, SYSCALL, PEEKDATA, GETREGS, SETOPTIONS, LISTEN, DETACH, 999] {
        checks.equal("a tracee that runs", ptrace(request, child, 0, 0), Err(ESRCH));
    }
    checks.equal("attached twice", ptrace(ATTACH, child, 0, 0), Err(EPERM));
    let other =
        fork(|| c_int::from(ptrace(SEIZE, child, 0, 0) != Err(EPERM) || ptrace(KILL, child, 0, 0) != Err(ESRCH)));
    checks.equal("another tracer", wait(other, 0), ended(0));
    checks.equal("interrupted", ptrace(INTERRUPT, child, 0, 0), Ok(0));
    checks.equal("it stops", wait(child, 0), stop(SIGTRAP, 128));
    checks.equal("killed", kill_and_reap(child), Ok(SIGKILL));
}

fn arguments(checks: &mut Checks) {
    let child = traced(|| 0);
    // SAFETY: takes no address.
    let page = unsafe { mmap(null_mut(), 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) }.addr();
    // SAFETY: the page was just mapped.
    unsafe { munmap(page as *mut c_void, 4096) };
    let mut word = 0_u64;
    let here = (&raw mut word).addr();
    checks.equal("INTERRUPT without SEIZE", ptrace(INTERRUPT, child, 0, 0), Err(EIO));
    checks.equal("LISTEN without SEIZE", ptrace(LISTEN, child, 0, 0), Err(EIO));
    checks.equal("no such request", ptrace(999, child, 0, 0), Err(EIO));
    checks.equal("no such signal", ptrace(CONT, child, 0, 65), Err(EIO));
    checks.equal("nor to detach with", ptrace(DETACH, child, 0, 65), Err(EIO));
    checks.equal("an option that there is not", ptrace(SETOPTIONS, child, 0, 1 << 30), Err(EINVAL));
    checks.equal("a hole", ptrace(PEEKDATA, child, page, here), Err(EIO));
    checks.equal("a hole to write", ptrace(POKEDATA, child, page, 0), Err(EIO));
    checks.equal("the kernel", ptrace(PEEKDATA, child, usize::MAX - 4095, here), Err(EIO));
    checks.equal("a hole here", ptrace(PEEKDATA, child, here, page), Err(EFAULT));
    checks.equal("registers into a hole", ptrace(GETREGS, child, 0, page), Err(EFAULT));
    checks.equal("registers of a hole", ptrace(SETREGS, child, 0, page), Err(EFAULT));
    checks.equal("FPU state into a hole", ptrace(GETFPREGS, child, 0, page), Err(EFAULT));
    checks.equal("FPU state of a hole", ptrace(SETFPREGS, child, 0, page), Err(EFAULT));
    checks.equal("a message into a hole", ptrace(GETEVENTMSG, child, 0, page), Err(EFAULT));
    checks.equal("a signal into a hole", ptrace(GETSIGINFO, child, 0, page), Err(EFAULT));
    checks.equal("a signal of a hole", ptrace(SETSIGINFO, child, 0, page), Err(EFAULT));
    checks.equal("a word between words", ptrace(PEEKUSER, child, 4, here), Err(EIO));
    checks.equal("a word beyond the end", ptrace(PEEKUSER, child, 928, here), Err(EIO));
    checks.equal("another code segment", ptrace(POKEUSER, child, 17 * 8, 0), Err(EIO));
    checks.equal("a thread pointer in the kernel", ptrace(POKEUSER, child, 21 * 8, usize::MAX), Err(EIO));
    checks.equal("a mask of another size", ptrace(GETSIGMASK, child, 4, here), Err(EINVAL));
    checks.equal("a mask of another size", ptrace(SETSIGMASK, child, 16, here), Err(EINVAL));
    let vector = |base: usize, length: usize| iovec { iov_base: base as *mut c_void, iov_len: length };
    let at = |vector: &iovec| (&raw const *vector).addr();
    checks.equal("no such set", ptrace(GETREGSET, child, 77, at(&vector(here, 8))), Err(EINVAL));
    checks.equal("half a register", ptrace(GETREGSET, child, 1, at(&vector(here, 4))), Err(EINVAL));
    checks.equal("a set into a hole", ptrace(GETREGSET, child, 1, at(&vector(page, 8))), Err(EFAULT));
    checks.equal("a set of a hole", ptrace(SETREGSET, child, 1, at(&vector(page, 8))), Err(EFAULT));
    checks.equal("a hole for a vector", ptrace(GETREGSET, child, 1, page), Err(EFAULT));
    let peek: [u32; 4] = [0, 0, 2, 1];
    checks.equal("a flag that there is not", ptrace(PEEKSIGINFO, child, peek.as_ptr().addr(), here), Err(EINVAL));
    let peek: [u32; 4] = [0, 0, 0, u32::MAX];
    checks.equal("a negative number of them", ptrace(PEEKSIGINFO, child, peek.as_ptr().addr(), here), Err(EINVAL));
    checks.equal("it goes on", ptrace(CONT, child, 0, 0), Ok(0));
    checks.equal("and ends", wait(child, 0), ended(0));
}

fn rights(checks: &mut Checks) {
    let root = sleeper();
    let user = |act: &dyn Fn() -> bool| {
        wait(
            fork(|| {
                // SAFETY: takes no address.
                let changed = unsafe { setresgid(1000, 1000, 1000) | setresuid(1000, 1000, 1000) } == 0;
                c_int::from(!(changed && act()))
            }),
            0,
        )
    };
    checks.equal("a user and root's", user(&|| ptrace(ATTACH, root, 0, 0) == Err(EPERM)), ended(0));
    checks.equal("before that the request", user(&|| ptrace(SEIZE, root, 1, 0) == Err(EIO)), ended(0));
    let own = |dumpable: c_ulong| {
        user(&move || {
            let mut told = [0; 2];
            // SAFETY: room for two descriptors.
            unsafe { pipe(told.as_mut_ptr()) };
            let child = fork(|| {
                // SAFETY: sets its own mark and tells it with a byte that is there.
                unsafe {
                    prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0);
                    write(told[1], c"x".as_ptr().cast(), 1);
                    pause();
                }
                0
            });
            let mut byte = 0_u8;
            // SAFETY: room for one byte.
            unsafe { read(told[0], (&raw mut byte).cast(), 1) };
            let expected = if dumpable == 1 { Ok(0) } else { Err(EPERM) };
            let right = ptrace(SEIZE, child, 0, 0) == expected;
            right && kill_and_reap(child) == Ok(SIGKILL)
        })
    };
    checks.equal("a user and its own", own(1), ended(0));
    checks.equal("what is not dumpable", own(0), ended(0));
    let _ = kill_and_reap(root);
    let mut told = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { pipe(told.as_mut_ptr()) };
    // A user's like the tracer, dumpable, but with root's capabilities in reserve.
    let mighty = fork(|| {
        // SAFETY: takes no address but that of a byte that is there.
        unsafe {
            prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
            setresgid(1000, 1000, 1000);
            setresuid(1000, 1000, 1000);
            prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
            write(told[1], c"x".as_ptr().cast(), 1);
            pause();
        }
        0
    });
    let mut byte = 0_u8;
    // SAFETY: room for one byte.
    unsafe { (read(told[0], (&raw mut byte).cast(), 1), close(told[0]), close(told[1])) };
    checks.equal("who could do more than the tracer", user(&|| ptrace(SEIZE, mighty, 0, 0) == Err(EPERM)), ended(0));
    let _ = kill_and_reap(mighty);
}
