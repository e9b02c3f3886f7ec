//! Children that do one thing and end with its result.

use libc::{WEXITSTATUS, WIFSIGNALED, WTERMSIG, fork, waitpid};

/// Starts `act` in a child; what is returned waits for its exit status, which for a signal is 128 and its number.
pub fn start(act: impl FnOnce() -> i32) -> impl FnOnce() -> i32 {
    // SAFETY: this process has one thread, so the child may do anything.
    let child = unsafe { fork() };
    if child == 0 {
        std::process::exit(act());
    }
    move || {
        let mut status = 0;
        // SAFETY: the status lives until the call is over.
        unsafe { waitpid(child, &raw mut status, 0) };
        if WIFSIGNALED(status) { 128 + WTERMSIG(status) } else { WEXITSTATUS(status) }
    }
}

/// What a child that does `act` ends with.
pub fn status(act: impl FnOnce() -> i32) -> i32 {
    start(act)()
}
