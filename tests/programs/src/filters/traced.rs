//! Filters and a tracer: it is asked, it sees the filters, it has them say nothing.

use super::filter::*;
use crate::{
    checks::Checks,
    tracing::tracee::{
        CALL_NUMBER, CONT, GET_SYSCALL_INFO, GETEVENTMSG, RESULT, SETOPTIONS, SYSCALL, SYSGOOD, ended, fork,
        kill_and_reap, ptrace, read_into, registers, set_registers, stop, traced, wait,
    },
};
use libc::*;

const GET_FILTER: c_long = 0x420c;
const GET_METADATA: c_long = 0x420d;
const TRACE_FILTER: usize = 0x80;
const SUSPEND: usize = 1 << 21;

pub fn run(checks: &mut Checks) {
    asked(checks);
    seen(checks);
    suspended(checks);
}

/// A tracee with a filter that names the call, stopped for the first such; it ends with the call's errno.
fn about_to_call(options: usize) -> c_int {
    let child = traced(|| {
        if filter(CALL, TRACE | 99, 0) != Ok(0) {
            return 255;
        }
        call().err().unwrap_or(0)
    });
    let _ = ptrace(SETOPTIONS, child, 0, options);
    let _ = ptrace(CONT, child, 0, 0);
    child
}

fn asked(checks: &mut Checks) {
    let child = about_to_call(0);
    checks.equal("a tracer that wants not to know", wait(child, 0), ended(ENOSYS));

    let child = about_to_call(TRACE_FILTER | SYSGOOD);
    checks.equal("it is asked", wait(child, 0), stop(SIGTRAP, 7));
    checks.equal("with what the filter says", read_into::<u64>(GETEVENTMSG, child, 0), Ok(99));
    let now = registers(child);
    checks.equal("about this call", now[CALL_NUMBER], CALL as u64);
    checks.equal("which has no result", now[RESULT], -i64::from(ENOSYS) as u64);
    let mut info = [0_u64; 11];
    let size = ptrace(GET_SYSCALL_INFO, child, 88, info.as_mut_ptr().addr());
    checks.equal("the call is told", (size, info[0] & 0xff, info[3], info[10] as u32), (Ok(84), 3, CALL as u64, 99));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("it is made", wait(child, 0), ended(0));

    let child = about_to_call(TRACE_FILTER | SYSGOOD);
    let _ = wait(child, 0);
    let mut now = registers(child);
    (now[CALL_NUMBER], now[RESULT]) = (u64::MAX, -i64::from(EXDEV) as u64);
    checks.equal("it is left out", set_registers(child, &now), Ok(0));
    let _ = ptrace(SYSCALL, child, 0, 0);
    checks.equal("its end is told", wait(child, 0), stop(SIGTRAP | 0x80, 0));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("with the tracer's result", wait(child, 0), ended(EXDEV));

    // Another call in its place is judged, too.
    let child = traced(|| {
        let both = filter(CALL, TRACE, 0).and(filter(SYS_getpgid, ERRNO | 33, 0));
        if both.is_ok() { call().err().unwrap_or(0) } else { 255 }
    });
    let _ = ptrace(SETOPTIONS, child, 0, TRACE_FILTER);
    let _ = ptrace(CONT, child, 0, 0);
    let _ = wait(child, 0);
    let mut now = registers(child);
    now[CALL_NUMBER] = SYS_getpgid as u64;
    let _ = set_registers(child, &now);
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("by the other filter", wait(child, 0), ended(33));

    let child = about_to_call(TRACE_FILTER);
    let _ = wait(child, 0);
    checks.equal("killed there", kill_and_reap(child), Ok(SIGKILL));
    // The beginning of the call is told before the filter asks, its end afterwards.
    let child = about_to_call(TRACE_FILTER | SYSGOOD);
    let _ = wait(child, 0);
    let _ = ptrace(SYSCALL, child, 0, 0);
    checks.equal("after it the end", wait(child, 0), stop(SIGTRAP | 0x80, 0));
    checks.equal("of the call that was made", registers(child)[RESULT] as i64 > 0, true);
    checks.equal("killed there", kill_and_reap(child), Ok(SIGKILL));
}

fn seen(checks: &mut Checks) {
    let bare = traced(|| 0);
    checks.equal("no filter", ptrace(GET_FILTER, bare, 0, 0), Err(EINVAL));
    checks.equal("killed", kill_and_reap(bare), Ok(SIGKILL));
    let child = traced(|| {
        let _ = filter(CALL, ERRNO, LOG_FLAG);
        let _ = install(&[(0x06, 0, 0, ALLOW)], 0);
        // SAFETY: takes no address.
        unsafe { raise(SIGSTOP) }
    });
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("with two filters", wait(child, 0), stop(SIGSTOP, 0));
    checks.equal("the oldest is the first", ptrace(GET_FILTER, child, 0, 0), Ok(4));
    checks.equal("the newest", ptrace(GET_FILTER, child, 1, 0), Ok(1));
    checks.equal("no more", ptrace(GET_FILTER, child, 2, 0), Err(ENOENT));
    checks.equal("nor far beyond", ptrace(GET_FILTER, child, usize::MAX, 0), Err(ENOENT));
    checks.equal("into a hole", ptrace(GET_FILTER, child, 0, 8), Err(EFAULT));
    let mut found = [0_u64; 4];
    let _ = ptrace(GET_FILTER, child, 0, found.as_mut_ptr().addr());
    checks.equal("as it was given", found.to_vec(), encode(&about(CALL, ERRNO)));
    let mut metadata = [0_u64; 2];
    let ask = |metadata: &mut [u64; 2], size| ptrace(GET_METADATA, child, size, metadata.as_mut_ptr().addr());
    checks.equal("its flags", (ask(&mut metadata, 16), metadata), (Ok(16), [0, LOG_FLAG.into()]));
    metadata = [1, 7];
    checks.equal("the other has none", (ask(&mut metadata, 100), metadata), (Ok(16), [1, 0]));
    checks.equal("no room", ask(&mut metadata, 7), Err(EINVAL));
    metadata = [1, 7];
    checks.equal("room for half", (ask(&mut metadata, 8), metadata), (Ok(8), [1, 7]));
    let _ = kill_and_reap(child);
    // Who is filtered itself may not look.
    let looker = fork(|| {
        let child = traced(|| 0);
        let _ = filter(CALL, ERRNO, 0);
        let refused = ptrace(GET_FILTER, child, 0, 0) == Err(EACCES)
            && ptrace(GET_METADATA, child, 0, 0) == Err(EACCES)
            && ptrace(SETOPTIONS, child, 0, SUSPEND) == Err(EPERM);
        let _ = kill_and_reap(child);
        c_int::from(!refused)
    });
    checks.equal("one that is filtered", wait(looker, 0), ended(0));
}

fn suspended(checks: &mut Checks) {
    let child = traced(|| {
        let _ = filter(CALL, ERRNO | 7, 0);
        // SAFETY: takes no address.
        unsafe { raise(SIGSTOP) };
        let free = call().is_ok();
        // SAFETY: takes no address.
        unsafe { raise(SIGSTOP) };
        c_int::from(!(free && call() == Err(7)))
    });
    let _ = ptrace(CONT, child, 0, 0);
    let _ = wait(child, 0);
    checks.equal("no filters", ptrace(SETOPTIONS, child, 0, SUSPEND), Ok(0));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("for a while", wait(child, 0), stop(SIGSTOP, 0));
    checks.equal("and again", ptrace(SETOPTIONS, child, 0, 0), Ok(0));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("both were seen", wait(child, 0), ended(0));
}
