//! What becomes of the other when tracer or tracee ends.

use super::tracee::{fork, ptrace, wait, *};
use crate::checks::Checks;
use libc::*;

pub fn run(checks: &mut Checks) {
    tracers(checks);
    kills(checks);
}

/// A child that this process does not trace, and a process between that does and ends.
fn tracers(checks: &mut Checks) {
    let child = sleeper();
    let tracer = fork(|| {
        let right = ptrace(SEIZE, child, 0, 0) == Ok(0) && ptrace(INTERRUPT, child, 0, 0) == Ok(0);
        c_int::from(!(right && wait(child, __WALL) == stop(SIGTRAP, 128)))
    });
    checks.equal("a tracer that is not the parent", wait(tracer, 0), ended(0));
    checks.equal("its end lets the tracee go", until(child, |shown| shown == ('S', 0)), true);
    let tracer = fork(|| c_int::from(ptrace(SEIZE, child, 0, EXITKILL) != Ok(0)));
    checks.equal("with EXITKILL", wait(tracer, 0), ended(0));
    checks.equal("it takes it along", wait(child, 0), Ok(SIGKILL));
    let child = sleeper();
    let tracer = fork(|| {
        let right = ptrace(SEIZE, child, 0, 0) == Ok(0);
        // SAFETY: takes no address.
        unsafe { kill(child, SIGKILL) };
        let mut info = [0_u8; 128];
        // SAFETY: room for what is told; waits without reaping.
        let seen = unsafe { waitid(P_PID, child as id_t, info.as_mut_ptr().cast(), WEXITED | WNOWAIT) };
        c_int::from(!(right && seen == 0))
    });
    checks.equal("a tracer that leaves a zombie", wait(tracer, 0), ended(0));
    checks.equal("leaves it to the parent", wait(child, 0), Ok(SIGKILL));
}

fn kills(checks: &mut Checks) {
    let child = traced(|| 0);
    checks.equal("KILL of one that is stopped", ptrace(KILL, child, 0, 0), Ok(0));
    checks.equal("ends it", wait(child, 0), Ok(SIGKILL));
    let child = traced(|| 0);
    let _ = ptrace(SETOPTIONS, child, 0, EXIT | SYSGOOD);
    let _ = ptrace(SYSCALL, child, 0, 0);
    let _ = wait(child, 0);
    checks.equal("SIGKILL at the beginning of a call", kill_and_reap(child), Ok(SIGKILL));
    let child = traced(|| 5);
    let _ = ptrace(SETOPTIONS, child, 0, EXIT);
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("about to end", wait(child, 0), stop(SIGTRAP, 6));
    checks.equal("SIGKILL takes it out, its end stays", kill_and_reap(child), ended(5));
}
