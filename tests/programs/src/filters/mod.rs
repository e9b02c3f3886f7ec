//! Filters of system calls, seccomp(2): what is refused, what each action does, for whom a filter holds, and who may answer for
//! it.

mod containers;
mod effects;
mod errors;
mod filter;
mod heirs;
mod notices;
mod supervised;
mod threads;
mod traced;

use crate::checks::Checks;

pub use filter::install;
pub use heirs::judge_exec;

/// The name of a part, and what it does.
type Part = (&'static str, fn(&mut Checks));

/// Runs one part, or all. Whether all was right.
pub fn run(part: &str) -> bool {
    let parts: [Part; 7] = [
        ("errors", errors::run),
        ("effects", effects::run),
        ("heirs", heirs::run),
        ("threads", threads::run),
        ("tracers", traced::run),
        ("answers", supervised::run),
        ("signals", notices::run),
    ];
    let mut checks = Checks::default();
    parts.iter().filter(|one| part == "all" || part == one.0).for_each(|one| one.1(&mut checks));
    checks.tell()
}

/// What becomes of calls that wait for an answer in the container of a freezer.
pub fn run_in(container: &str) -> bool {
    let mut checks = Checks::default();
    containers::run(&mut checks, container);
    checks.tell()
}
