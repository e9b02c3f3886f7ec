//! execve's EAGAIN: who has become a user that has too many tasks is refused a program, as long as it has them.

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::ptr::null;

const USER: uid_t = 1007;

/// Becomes that user.
fn become_user() -> Result<i64, i32> {
    // SAFETY: takes no address.
    result(unsafe { setresuid(USER, USER, USER) }.into())
}

/// A sleeping child of that user.
fn sleeper() -> pid_t {
    // SAFETY: this process has one thread, so the child may do anything.
    unsafe {
        let child = fork();
        if child == 0 {
            let _ = become_user();
            loop {
                pause();
            }
        }
        child
    }
}

fn limit(most: rlim_t) {
    let limit = rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the limit lives until the call is over.
    unsafe { setrlimit(RLIMIT_NPROC, &raw const limit) };
}

/// Executes a program that is not there: `ENOENT` once nothing else is wrong.
fn execute() -> i32 {
    let arguments = [null()];
    // SAFETY: a path with its NUL, and an empty list.
    result(unsafe { execve(c"/nowhere/at/all".as_ptr(), arguments.as_ptr(), arguments.as_ptr()) }.into())
        .err()
        .unwrap_or(0)
}

fn end(child: pid_t) {
    // SAFETY: takes no address but null.
    unsafe {
        kill(child, SIGKILL);
        waitpid(child, std::ptr::null_mut(), 0);
    }
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    let sleepers = [sleeper(), sleeper()];
    let all_sleep = || {
        sleepers.iter().all(|child| {
            std::fs::read_to_string(format!("/proc/{child}/status"))
                .is_ok_and(|text| text.contains(&format!("Uid:\t{USER}\t")))
        })
    };
    while !all_sleep() {
        std::thread::yield_now();
    }
    let too_many = child::status(|| {
        limit(1);
        let became = become_user();
        i32::from(became != Ok(0)) + 2 * i32::from(execute() != EAGAIN) + 4 * i32::from(execute() != EAGAIN)
    });
    checks.equal("too many", too_many, 0);
    let as_many = child::status(|| {
        limit(3);
        i32::from(become_user() != Ok(0)) + 2 * i32::from(execute() != ENOENT)
    });
    checks.equal("as many as may be", as_many, 0);
    let since_then = child::status(|| {
        limit(3);
        let became = become_user();
        limit(1);
        i32::from(became != Ok(0)) + 2 * i32::from(execute() != ENOENT)
    });
    checks.equal("a limit that came later", since_then, 0);
    let (mut refused, mut gone) = ([0; 2], [0; 2]);
    // SAFETY: room for two descriptors each.
    unsafe {
        pipe(refused.as_mut_ptr());
        pipe(gone.as_mut_ptr());
    }
    let tell = |pipe: &[c_int; 2]| {
        // SAFETY: a byte lies there.
        unsafe { write(pipe[1], [0_u8].as_ptr().cast(), 1) };
    };
    let wait = |pipe: &[c_int; 2]| {
        // SAFETY: a byte has room there.
        unsafe { read(pipe[0], [0_u8].as_mut_ptr().cast(), 1) };
    };
    let later = child::start(|| {
        limit(1);
        let became = become_user();
        let first = execute();
        tell(&refused);
        wait(&gone);
        i32::from(became != Ok(0)) + 2 * i32::from(first != EAGAIN) + 4 * i32::from(execute() != ENOENT)
    });
    wait(&refused);
    sleepers.into_iter().for_each(end);
    tell(&gone);
    checks.equal("until they are gone", later(), 0);
    let root = child::status(|| {
        limit(1);
        i32::from(execute() != ENOENT)
    });
    checks.equal("root", root, 0);
    checks.tell()
}
