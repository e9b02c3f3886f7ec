//! For whom a filter holds: children, programs that are executed, and nobody else.

use super::filter::*;
use crate::{
    checks::Checks,
    tracing::tracee::{ended, fork, wait},
};
use libc::*;
use std::process::Command;

/// Whether the call fails with this errno, for a program that was executed.
pub fn judge_exec(errno: i32) -> bool {
    call() == Err(errno)
}

pub fn run(checks: &mut Checks) {
    let child = fork(|| {
        let mut checks = Checks::default();
        let line = |name| shown(std::process::id() as c_int, name).unwrap_or_default();
        checks.equal("without", (line("Seccomp:"), line("Seccomp_filters:")), ("0".into(), "0".into()));
        checks.equal("a filter", filter(CALL, ERRNO | 7, 0), Ok(0));
        checks.equal("another", filter(SYS_getpgid, ERRNO | 8, 0), Ok(0));
        checks.equal("both are shown", (line("Seccomp:"), line("Seccomp_filters:")), ("2".into(), "2".into()));
        let grandchild = fork(|| {
            let count = shown(std::process::id() as c_int, "Seccomp_filters:");
            let own = filter(CALL, ERRNO | 6, 0) == Ok(0) && call() == Err(6);
            c_int::from(!(own && count.as_deref() == Some("2")))
        });
        checks.equal("a child has both, and one of its own", wait(grandchild, 0), ended(0));
        checks.equal("which is not its parent's", call(), Err(7));
        let program = || {
            let mut command = Command::new("/proc/self/exe");
            command.args(["filtered", "7"]);
            command
        };
        checks.equal("a program has them", program().status().ok().and_then(|status| status.code()), Some(0));
        let executed = fork(|| {
            let error = std::os::unix::process::CommandExt::exec(&mut program());
            error.raw_os_error().unwrap_or(1)
        });
        checks.equal("after exec too", wait(executed, 0), ended(0));
        let thread = std::thread::spawn(call).join().unwrap_or(Ok(0));
        checks.equal("a thread has them", thread, Err(7));
        c_int::from(!checks.all_right())
    });
    checks.equal("who has filters", wait(child, 0), ended(0));
    checks.equal("not its parent", call().is_ok(), true);
    let child = fork(|| {
        let _ = filter(SYS_execve, ERRNO | 9, 0);
        let error = std::os::unix::process::CommandExt::exec(&mut Command::new("/bin/true"));
        error.raw_os_error().unwrap_or(1)
    });
    checks.equal("to execute can be forbidden", wait(child, 0), ended(9));
}
