//! Calls that wait for an answer in the container of a freezer: frozen, answered meanwhile, killed with it.

use super::supervised::{code, supervised};
use crate::{
    checks::Checks,
    tracing::{
        containers::Place,
        tracee::{ended, wait},
    },
};
use libc::*;

pub fn run(checks: &mut Checks, directory: &str) {
    let place = Place(directory);
    let (child, listener) = supervised(0, code);
    let id = listener.receive().unwrap_or_default().id;
    place.take_in(child);
    place.set("FROZEN");
    checks.equal("who waits for an answer is frozen where it is", place.is_frozen(), true);
    checks.equal("its call waits", listener.is_valid(id), Ok(0));
    checks.equal("it is answered", listener.send(id, 12, 0, 0), Ok(0));
    checks.equal("it does not go on", wait(child, WNOHANG), Err(EAGAIN));
    place.set("THAWED");
    checks.equal("before it is thawed", wait(child, 0), ended(12));
    listener.close();

    let (child, listener) = supervised(0, code);
    place.take_in(child);
    let id = listener.receive().unwrap_or_default().id;
    place.set("FROZEN");
    checks.equal("another", place.is_frozen(), true);
    let _ = std::fs::write(format!("{directory}/cgroup.kill"), "1");
    checks.equal("is killed with its container", wait(child, 0), Ok(SIGKILL));
    checks.equal("its call is gone", listener.send(id, 1, 0, 0), Err(ENOENT));
    checks.equal("nobody is left", (listener.poll(-1), place.is_empty()), (POLLHUP, true));
    place.set("THAWED");
    listener.close();
}
