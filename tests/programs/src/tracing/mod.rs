//! Tracing, ptrace(2): what a tracer is refused, what it is told, what it can change, and that nothing is left behind when
//! tracer and tracee end in any order.

pub mod containers;
mod emulation;
mod ends;
mod errors;
mod stops;
mod stress;
mod threads;
pub mod tracee;
mod watch;

use crate::checks::Checks;

/// Runs one part, or all. Whether all was right.
pub fn run(part: &str) -> bool {
    let mut checks = Checks::default();
    let all = part == "all";
    if all || part == "errors" {
        errors::run(&mut checks);
    }
    if all || part == "stops" {
        stops::run(&mut checks);
    }
    if all || part == "emulation" {
        emulation::run(&mut checks);
    }
    if all || part == "watch" {
        watch::run(&mut checks);
    }
    if all || part == "ends" {
        ends::run(&mut checks);
    }
    if all || part == "threads" {
        threads::run(&mut checks);
    }
    if all || part == "stress" {
        stress::run(&mut checks, 4);
    }
    checks.tell()
}

/// What becomes of tracees in the container of a freezer.
pub fn run_in(container: &str) -> bool {
    let mut checks = Checks::default();
    containers::run(&mut checks, container);
    checks.tell()
}
