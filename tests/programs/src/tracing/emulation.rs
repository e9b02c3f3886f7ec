//! Calls that the tracer does itself (`PTRACE_SYSEMU`), step by step or not.

use super::tracee::{ptrace, wait, *};
use crate::checks::Checks;
use libc::*;

const SYSEMU: c_long = 31;
const SYSEMU_SINGLESTEP: c_long = 32;

pub fn run(checks: &mut Checks) {
    calls(checks);
    steps(checks);
    checks.equal("who is not stopped", ptrace(SYSEMU, 4_000_000, 0, 0), Err(ESRCH));
}

/// A tracee that makes a call and ends with its result.
fn tracee() -> c_int {
    let child = traced(|| {
        // SAFETY: takes no address.
        unsafe { syscall(SYS_getpgrp) as c_int }
    });
    let _ = ptrace(SETOPTIONS, child, 0, SYSGOOD);
    child
}

/// Answers calls until the wanted one begins, by requests of this kind. The last stop.
fn until_call(child: c_int, request: c_long) -> Result<c_int, i32> {
    loop {
        let _ = ptrace(request, child, 0, 0);
        let status = wait(child, 0)?;
        if Ok(status) != stop(SIGTRAP | 0x80, 0) {
            return Ok(status);
        }
        let mut now = registers(child);
        if now[CALL_NUMBER] == SYS_getpgrp as u64 {
            return Ok(status);
        }
        // What raise(3) still does.
        now[RESULT] = 0;
        let _ = set_registers(child, &now);
    }
}

fn set_result(child: c_int, value: u64) {
    let mut now = registers(child);
    now[RESULT] = value;
    let _ = set_registers(child, &now);
}

fn calls(checks: &mut Checks) {
    let child = tracee();
    checks.equal("no such signal", ptrace(SYSEMU, child, 0, 65), Err(EIO));
    checks.equal("a call begins", until_call(child, SYSEMU), stop(SIGTRAP | 0x80, 0));
    checks.equal("without a result", registers(child)[RESULT], -i64::from(ENOSYS) as u64);
    set_result(child, 55);
    checks.equal(
        "the next one is the end",
        (ptrace(SYSEMU, child, 0, 0), wait(child, 0)),
        (Ok(0), stop(SIGTRAP | 0x80, 0)),
    );
    checks.equal("of the process", registers(child)[CALL_NUMBER], SYS_exit_group as u64);
    // That one is not made, either; then it tries anew.
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("with the tracer's result", wait(child, 0), ended(55));
    let child = tracee();
    let _ = until_call(child, SYSEMU);
    set_result(child, 56);
    let _ = ptrace(SYSCALL, child, 0, 0);
    checks.equal("its end is told if asked for", wait(child, 0), stop(SIGTRAP | 0x80, 0));
    let now = registers(child);
    checks.equal("and it was not made", (now[CALL_NUMBER], now[RESULT]), (SYS_getpgrp as u64, 56));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("the rest is as ever", wait(child, 0), ended(56));
}

fn steps(checks: &mut Checks) {
    let child = tracee();
    let mut steps = 0;
    let status = loop {
        match until_call(child, SYSEMU_SINGLESTEP) {
            Ok(status) if Ok(status) == stop(SIGTRAP, 0) => steps += 1,
            status => break status,
        }
    };
    checks.equal("step by step a call begins", status, stop(SIGTRAP | 0x80, 0));
    checks.equal("after steps", steps > 0, true);
    set_result(child, 57);
    let before = registers(child)[INSTRUCTION];
    let _ = ptrace(SYSEMU_SINGLESTEP, child, 0, 0);
    checks.equal("the next stop is a step", wait(child, 0), stop(SIGTRAP, 0));
    let now = registers(child);
    checks.equal("behind the call", now[INSTRUCTION] > before && now[INSTRUCTION] < before + 16, true);
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("which was not made", wait(child, 0), ended(57));
}
