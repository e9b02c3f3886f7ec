//! In-kernel suites: what needs real CPUs, traps, page tables or running tasks.
//!
//! A suite is a file with a table `TESTS`; [`run`] goes through all tables in order, in a task of the kernel, after
//! the whole bring-up. A test is a function that panics if what its name says does not hold. `cargo xtask test`
//! reads the lines that are logged here, and boots again behind a test that panicked or hung.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod machine;
mod memory;
mod sched;

use ::machine::{boot, cpu, log, power, time, topology};
use alloc::vec::Vec;

/// A test.
pub struct KernelTest {
    /// `suite::what_holds`.
    pub name: &'static str,
    /// The fewest CPUs that it makes sense with.
    pub cpus: usize,
    /// The fewest memory nodes that it makes sense with.
    pub nodes: usize,
    /// Panics if it does not hold.
    pub run: fn(),
}

impl KernelTest {
    /// A test for any machine.
    pub const fn new(name: &'static str, run: fn()) -> Self {
        Self { name, cpus: 1, nodes: 1, run }
    }

    /// A test for machines with at least so many CPUs and nodes.
    pub const fn on(name: &'static str, cpus: usize, nodes: usize, run: fn()) -> Self {
        Self { name, cpus, nodes, run }
    }
}

/// All suites.
const SUITES: &[&[KernelTest]] = &[machine::TESTS, memory::TESTS, sched::TESTS];

/// The words of the kernel's command line that choose tests.
struct Choice<'a> {
    filter: &'a str,
    from: usize,
}

impl<'a> Choice<'a> {
    /// From `test`, `test=FILTER` and `test-from=K`; `None` if no test is asked for.
    fn parse(command_line: &'a str) -> Option<Self> {
        let mut choice = None;
        let mut from = 0;
        for word in command_line.split_whitespace() {
            match word.split_once('=') {
                None if word == "test" => choice = Some(""),
                Some(("test", filter)) => choice = Some(filter),
                Some(("test-from", index)) => from = index.parse().unwrap_or(0),
                _ => {}
            }
        }
        choice.map(|filter| Self { filter, from })
    }
}

/// Whether the command line asks for tests instead of init.
pub fn wanted() -> bool {
    Choice::parse(boot::info().command_line).is_some()
}

/// Runs the tests that the command line chooses, reports each, and switches the machine off.
pub fn run() {
    let Some(choice) = Choice::parse(boot::info().command_line) else { return };
    let chosen: Vec<&KernelTest> =
        SUITES.iter().flat_map(|suite| suite.iter()).filter(|test| test.name.contains(choice.filter)).collect();
    log!("test: {} tests", chosen.len());
    let (cpus, nodes) = (cpu::online().count(), topology::get().nodes.len());
    for test in chosen.iter().skip(choice.from) {
        log!("test {} ...", test.name);
        if cpus < test.cpus || nodes < test.nodes {
            log!("test {}: skipped: needs {} CPUs and {} nodes", test.name, test.cpus, test.nodes);
            continue;
        }
        let begin = time::now();
        (test.run)();
        log!("test {}: ok ({} ms)", test.name, (time::now() - begin) / 1_000_000);
    }
    log!("test: end");
    power::off()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_chooses_tests() {
        assert!(Choice::parse("log=ttyS1 quiet").is_none());
        let choice = Choice::parse("log=ttyS1 test=memory test-from=3").unwrap();
        assert_eq!((choice.filter, choice.from), ("memory", 3));
        assert_eq!(Choice::parse("test").unwrap().filter, "");
    }

    #[test]
    fn names_of_tests_are_unique_and_without_blanks() {
        let mut names: Vec<_> = SUITES.iter().flat_map(|suite| suite.iter()).map(|test| test.name).collect();
        assert!(names.iter().all(|name| name.contains("::") && !name.contains(' ')));
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
