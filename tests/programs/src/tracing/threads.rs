//! Threads as tracees and as tracers.

use super::tracee::{ptrace, wait, *};
use crate::checks::Checks;
use libc::*;
use std::ptr::null_mut;

pub fn run(checks: &mut Checks) {
    births(checks);
    exec(checks);
    own(checks);
}

/// The number that an event tells.
fn message(pid: c_int) -> c_int {
    read_into::<u64>(GETEVENTMSG, pid, 0).unwrap_or_default() as c_int
}

fn births(checks: &mut Checks) {
    let child = traced(|| {
        let code = std::thread::spawn(|| 5).join().unwrap_or(1);
        // Until the thread has been waited for: it would be told with what the process ends with, on Linux too.
        // SAFETY: takes no address.
        unsafe { raise(SIGSTOP) };
        code
    });
    let _ = ptrace(SETOPTIONS, child, 0, CLONE | EXIT);
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("a thread", wait(child, 0), stop(SIGTRAP, 3));
    let thread = message(child);
    checks.equal("begins stopped", wait(thread, __WALL), stop(SIGSTOP, 0));
    let _ = ptrace(CONT, child, 0, 0);
    let _ = ptrace(CONT, thread, 0, 0);
    checks.equal("is about to end", wait(thread, __WALL), stop(SIGTRAP, 6));
    let _ = ptrace(CONT, thread, 0, 0);
    checks.equal("its end is told", wait(thread, __WALL), ended(0));
    checks.equal("the other one stops then", wait(child, 0), stop(SIGSTOP, 0));
    checks.equal("once", wait(thread, __WALL | WNOHANG), Err(ECHILD));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("then the process", wait(child, 0), stop(SIGTRAP, 6));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("ends", wait(child, 0), ended(5));
}

/// A thread that is not the first one executes a program.
fn exec(checks: &mut Checks) {
    let child = traced(|| {
        let thread = std::thread::spawn(|| {
            // SAFETY: the program and its name are constants.
            unsafe { execl(c"/bin/true".as_ptr(), c"true".as_ptr(), null_mut::<c_char>()) }
        });
        thread.join().unwrap_or(1)
    });
    let _ = ptrace(SETOPTIONS, child, 0, CLONE | EXEC);
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("a thread", wait(child, 0), stop(SIGTRAP, 3));
    let thread = message(child);
    checks.equal("begins stopped", wait(thread, __WALL), stop(SIGSTOP, 0));
    let _ = ptrace(CONT, child, 0, 0);
    let _ = ptrace(CONT, thread, 0, 0);
    checks.equal("an exec is told for the process", wait(child, __WALL), stop(SIGTRAP, 4));
    checks.equal("with the number of the thread", message(child), thread);
    checks.equal("which is nobody's now", ptrace(CONT, thread, 0, 0), Err(ESRCH));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("the end is that of the program", wait(child, 0), ended(0));
}

/// Only the thread that traces may ask; all of its process may wait.
fn own(checks: &mut Checks) {
    let child = sleeper();
    let (told, tracer) = std::sync::mpsc::channel();
    let (done, end) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let seized = ptrace(SEIZE, child, 0, 0);
        let _ = told.send(seized.and(ptrace(INTERRUPT, child, 0, 0)));
        let _ = end.recv();
    });
    checks.equal("a thread traces", tracer.recv().unwrap_or(Ok(-1)), Ok(0));
    checks.equal("another waits", wait(child, 0), stop(SIGTRAP, 128));
    checks.equal("but does not ask", ptrace(CONT, child, 0, 0), Err(ESRCH));
    drop(done);
    let _ = thread.join();
    checks.equal("the end of the thread lets it go", until(child, |shown| shown == ('S', 0)), true);
    checks.equal("killed", kill_and_reap(child), Ok(SIGKILL));
}
