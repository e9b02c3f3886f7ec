//! Tracees and tracers in a container of a freezer: what is moved, frozen and killed while it is stopped.

use super::tracee::{fork, ptrace, wait, *};
use crate::checks::Checks;
use libc::*;
use std::fs;

/// The container, which has nobody in it before and after.
pub struct Place<'a>(pub &'a str);

impl Place<'_> {
    pub fn take_in(&self, pid: c_int) {
        let _ = fs::write(format!("{}/tasks", self.0), pid.to_string());
    }

    pub fn set(&self, state: &str) {
        let _ = fs::write(format!("{}/freezer.state", self.0), state);
    }

    /// Waits until the file says this.
    fn becomes(&self, file: &str, text: &str) -> bool {
        patiently(|| fs::read_to_string(format!("{}/{file}", self.0)).is_ok_and(|now| now.trim() == text))
    }

    pub fn is_frozen(&self) -> bool {
        self.becomes("freezer.state", "FROZEN")
    }

    pub fn is_empty(&self) -> bool {
        self.becomes("tasks", "")
    }
}

pub fn run(checks: &mut Checks, directory: &str) {
    let place = Place(directory);
    let child = traced(|| 7);
    place.take_in(child);
    place.set("FROZEN");
    checks.equal("who is stopped for a tracer is frozen where it is", place.is_frozen(), true);
    checks.equal("it is looked at all the same", registers(child)[CALL_NUMBER] != 0, true);
    checks.equal("told to go on", ptrace(CONT, child, 0, 0), Ok(0));
    checks.equal("it is no longer stopped for its tracer", ptrace(CONT, child, 0, 0), Err(ESRCH));
    checks.equal("nor goes on", (shown(child).0, wait(child, WNOHANG)), ('D', Err(EAGAIN)));
    place.set("THAWED");
    checks.equal("before it is thawed", wait(child, 0), ended(7));

    let child = traced(|| 0);
    place.take_in(child);
    place.set("FROZEN");
    checks.equal("another", place.is_frozen(), true);
    checks.equal("KILL reaches it", ptrace(KILL, child, 0, 0), Ok(0));
    checks.equal("as it is", wait(child, 0), Ok(SIGKILL));
    checks.equal("nobody is left", place.is_empty(), true);
    place.set("THAWED");

    let child = traced(|| 0);
    place.take_in(child);
    let _ = fs::write(format!("{directory}/cgroup.kill"), "1");
    checks.equal("the end of the container is its end", wait(child, 0), Ok(SIGKILL));
    checks.equal("nobody is left", place.is_empty(), true);

    // The tracer and its tracee, which is no child of it, end with the container in any order.
    let child = sleeper();
    let tracer = fork(|| {
        let _ = ptrace(SEIZE, child, 0, 0);
        let _ = ptrace(INTERRUPT, child, 0, 0);
        let _ = wait(child, __WALL);
        // SAFETY: takes no address.
        unsafe { pause() }
    });
    checks.equal("stopped by another", until(child, |shown| shown == ('t', tracer)), true);
    place.take_in(child);
    place.take_in(tracer);
    place.set("FROZEN");
    checks.equal("both are frozen", place.is_frozen(), true);
    let _ = fs::write(format!("{directory}/cgroup.kill"), "1");
    checks.equal("the tracer", wait(tracer, 0), Ok(SIGKILL));
    checks.equal("the tracee", wait(child, 0), Ok(SIGKILL));
    checks.equal("nobody is left", place.is_empty(), true);
    place.set("THAWED");
    frozen_tracer(checks, &place);
}

/// A tracer that is frozen ends nothing; its tracee waits for it.
fn frozen_tracer(checks: &mut Checks, place: &Place<'_>) {
    let child = sleeper();
    let tracer = fork(|| {
        let _ = ptrace(SEIZE, child, 0, 0);
        loop {
            if let Ok(status) = wait(child, __WALL)
                && WIFSTOPPED(status)
            {
                let _ = ptrace(CONT, child, 0, WSTOPSIG(status) as usize);
            }
        }
    });
    checks.equal("traced", until(child, |shown| shown.1 == tracer), true);
    place.take_in(tracer);
    place.set("FROZEN");
    checks.equal("the tracer is frozen", place.is_frozen(), true);
    // SAFETY: takes no address.
    unsafe { kill(child, SIGTERM) };
    checks.equal("its tracee stops for it", until(child, |shown| shown.0 == 't'), true);
    place.set("THAWED");
    let _ = patiently(|| shown(child).0 == 'Z');
    checks.equal("thawed it lets it go on", kill_and_reap(tracer), Ok(SIGKILL));
    checks.equal("to its end", wait(child, 0), Ok(SIGTERM));
}
