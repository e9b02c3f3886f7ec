//! What is refused, with which errno, and in which order it is looked at.

use super::filter::*;
use crate::{
    checks::Checks,
    tracing::tracee::{ended, fork, wait},
};
use libc::*;

const HOLE: usize = 8;
const RETURN: Instruction = (0x06, 0, 0, ALLOW);

pub fn run(checks: &mut Checks) {
    operations(checks);
    programs(checks);
    rights(checks);
    modes(checks);
}

fn operations(checks: &mut Checks) {
    checks.equal("no such operation", seccomp(4, 0, 0), Err(EINVAL));
    checks.equal("a flag for strict", seccomp(STRICT, 1, 0), Err(EINVAL));
    checks.equal("an address for strict", seccomp(STRICT, 0, HOLE), Err(EINVAL));
    checks.equal("no such flag", seccomp(FILTER, 1 << 6, HOLE), Err(EINVAL));
    checks.equal("all threads and a listener", seccomp(FILTER, TSYNC | NEW_LISTENER, HOLE), Err(EINVAL));
    let both = TSYNC | NEW_LISTENER | TSYNC_ESRCH;
    checks.equal("unless a thread makes for an error", seccomp(FILTER, both, HOLE), Err(EFAULT));
    checks.equal("a firm wait without a listener", seccomp(FILTER, WAIT_KILLABLE, HOLE), Err(EINVAL));
    checks.equal("no program", seccomp(FILTER, 0, 0), Err(EFAULT));
    checks.equal("a flag for an action", seccomp(ACTION_AVAIL, 1, HOLE), Err(EINVAL));
    checks.equal("an action in a hole", seccomp(ACTION_AVAIL, 0, HOLE), Err(EFAULT));
    for action in [KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, USER_NOTIF, TRACE, LOG, ALLOW] {
        checks.equal("an action", seccomp(ACTION_AVAIL, 0, (&raw const action).addr()), Ok(0));
    }
    for action in [0x0004_0000_u32, ERRNO | 1, 0x7fff_ffff] {
        checks.equal("none", seccomp(ACTION_AVAIL, 0, (&raw const action).addr()), Err(EOPNOTSUPP));
    }
    let mut sizes = [0_u16; 3];
    checks.equal("a flag for sizes", seccomp(NOTIF_SIZES, 1, HOLE), Err(EINVAL));
    checks.equal("sizes into a hole", seccomp(NOTIF_SIZES, 0, HOLE), Err(EFAULT));
    checks.equal("sizes", seccomp(NOTIF_SIZES, 0, sizes.as_mut_ptr().addr()), Ok(0));
    checks.equal("as Linux has them", sizes, [80, 24, 64]);
    // SAFETY: takes no address but that of the hole, which is refused.
    let set = |mode: c_ulong| crate::checks::result(unsafe { prctl(PR_SET_SECCOMP, mode, HOLE) }.into());
    checks.equal("prctl, no such mode", [set(0), set(3)], [Err(EINVAL); 2]);
    checks.equal("prctl, a hole", set(2), Err(EFAULT));
    // SAFETY: takes no address.
    checks.equal("prctl tells the mode", unsafe { prctl(PR_GET_SECCOMP) }, 0);
}

fn programs(checks: &mut Checks) {
    let words = encode(&[RETURN]);
    let head = |length: u64, address: usize| seccomp(FILTER, 0, [length, address as u64].as_ptr().addr());
    checks.equal("no instruction", head(0, words.as_ptr().addr()), Err(EINVAL));
    checks.equal("too many", head(4097, words.as_ptr().addr()), Err(EINVAL));
    checks.equal("nowhere", head(1, 0), Err(EINVAL));
    checks.equal("a hole", head(1, HOLE), Err(EFAULT));
    let refused: [(&str, &[Instruction]); 12] = [
        ("no return", &[(0x00, 0, 0, 1)]),
        ("no such code", &[(0xffff, 0, 0, 0), RETURN]),
        ("a byte", &[(0x30, 0, 0, 0), RETURN]),
        ("an indirect load", &[(0x40, 0, 0, 0), RETURN]),
        ("a remainder", &[(0x94, 0, 0, 3), RETURN]),
        ("ancillary data", &[(0x20, 0, 0, 0xffff_f000), RETURN]),
        ("a fact beyond the end", &[(0x20, 0, 0, 64), RETURN]),
        ("half a fact", &[(0x20, 0, 0, 2), RETURN]),
        ("a division by 0", &[(0x34, 0, 0, 0), RETURN]),
        ("a shift by 32", &[(0x64, 0, 0, 32), RETURN]),
        ("a jump beyond the end", &[(0x15, 1, 0, 0), RETURN]),
        ("memory that nobody wrote", &[(0x60, 0, 0, 0), RETURN]),
    ];
    for (what, program) in refused {
        checks.equal(what, install(program, 0), Err(EINVAL));
    }
}

fn rights(checks: &mut Checks) {
    let as_user = |act: fn() -> bool| {
        let child = fork(|| {
            // SAFETY: takes no address.
            let changed = unsafe { setresgid(1000, 1000, 1000) | setresuid(1000, 1000, 1000) } == 0;
            c_int::from(!(changed && act()))
        });
        wait(child, 0)
    };
    let forbidden = || {
        let hole = [1, HOLE as u64];
        let empty = [0, HOLE as u64];
        filter(CALL, ERRNO, 0) == Err(EACCES)
            && seccomp(FILTER, 0, hole.as_ptr().addr()) == Err(EACCES)
            && seccomp(FILTER, 0, empty.as_ptr().addr()) == Err(EINVAL)
    };
    checks.equal("a user that could gain rights", as_user(forbidden), ended(0));
    let allowed = || {
        // SAFETY: takes no address.
        let renounced = unsafe { prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0;
        renounced && filter(CALL, ERRNO | 7, 0) == Ok(0) && call() == Err(7)
    };
    checks.equal("and one that gave that up", as_user(allowed), ended(0));
}

fn modes(checks: &mut Checks) {
    let child = fork(|| {
        let first = filter(CALL, ERRNO, SPEC_ALLOW) == Ok(0);
        let strict = seccomp(STRICT, 0, 0) == Err(EINVAL);
        // SAFETY: takes no address.
        let mode = unsafe { prctl(PR_GET_SECCOMP) };
        c_int::from(!(first && strict && mode == 2))
    });
    checks.equal("strict after a filter", wait(child, 0), ended(0));
    let child = fork(|| {
        let mut long = vec![(0x00, 0, 0, 0); 4095];
        long.push(RETURN);
        // Linux counts instructions of its own, which are somewhat more.
        let fit = (0..10).take_while(|_| install(&long, 0) == Ok(0)).count();
        let refused = install(&long, 0) == Err(ENOMEM);
        c_int::from(!(refused && (4..8).contains(&fit) && install(&[RETURN], 0) == Ok(0)))
    });
    checks.equal("more than there may be", wait(child, 0), ended(0));
    let child = fork(|| {
        let first = filter(CALL, USER_NOTIF, NEW_LISTENER).is_ok();
        let second = filter(CALL, USER_NOTIF, NEW_LISTENER);
        c_int::from(!(first && second == Err(EBUSY) && filter(CALL, ALLOW, 0) == Ok(0)))
    });
    checks.equal("a second listener", wait(child, 0), ended(0));
}
