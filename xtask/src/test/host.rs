//! Tests on the host: `cargo test` for every default member, then the models that run under loom.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::report::Report;
use crate::tied::Tied;
use crate::{setup, workspace};

const SUITE: &str = "host";

/// Crates with loom models, which all lie in modules named `loom`. They are built apart, with `--cfg loom`.
const UNDER_LOOM: &[&str] = &["container", "machine", "sched"];

/// Runs the tests whose names contain `filter`.
pub fn run(filter: &str, report: &mut Report) -> Result<()> {
    setup::for_building()?;
    let mut cargo = crate::cargo();
    cargo.args(["test", "--no-fail-fast", "--color", "never", "--", filter]);
    cargo_test(SUITE, &mut cargo, report)?;
    for package in UNDER_LOOM {
        let mut cargo = crate::cargo();
        let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        cargo.env("RUSTFLAGS", format!("{flags} --cfg loom").trim());
        cargo.env("CARGO_TARGET_DIR", workspace::target().join("loom"));
        cargo.args(["test", "--no-fail-fast", "--color", "never", "--release", "--tests", "--package", package]);
        // Only the names with `loom` in them are models; a filter chooses among them afterwards.
        cargo.args(["--", "loom::"]);
        if !filter.is_empty() && !"loom::".contains(filter) {
            continue;
        }
        cargo_test(SUITE, &mut cargo, report)?;
    }
    Ok(())
}

/// Runs a `cargo test` and reports each test that it names as one of `suite`.
pub(super) fn cargo_test(suite: &'static str, cargo: &mut Command, report: &mut Report) -> Result<()> {
    // Both streams in one pipe keep the order: cargo names the crate on the one, the tests come on the other.
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    cargo.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = Tied::new(cargo.spawn().context("cannot start cargo")?);
    // The command keeps the pipe's other end open; without this the reader would wait for itself.
    cargo.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reading = Reading::of(suite);
    for line in BufReader::new(reader).split(b'\n') {
        reading.line(&String::from_utf8_lossy(&line?), report);
    }
    let status = child.wait_until(None)?;
    reading.end(status == Some(0), report);
    Ok(())
}

/// What has been read of cargo's words so far.
struct Reading {
    suite: &'static str,
    package: String,
    failed: u32,
    /// Tests of this program that failed; their reasons come when all have run.
    unexplained: Vec<String>,
    /// Everything since the crate was named that is no result: the reasons of failures.
    rest: Vec<String>,
}

impl Reading {
    fn of(suite: &'static str) -> Self {
        Self { suite, package: String::new(), failed: 0, unexplained: Vec::new(), rest: Vec::new() }
    }

    fn line(&mut self, line: &str, report: &mut Report) {
        if let Some(package) = package_named_by(line) {
            self.explain(report);
            self.package = package;
            self.rest.clear();
        } else if let Some((name, result)) = result_in(line) {
            let name = format!("{}::{name}", self.package);
            match result {
                "ok" => report.passed(self.suite, &name, None),
                "FAILED" => {
                    self.failed += 1;
                    self.unexplained.push(name);
                }
                _ => report.skipped(self.suite, &name, result),
            }
        } else if line.starts_with("test result: FAILED") {
            self.explain(report);
        } else {
            self.rest.push(line.to_owned());
        }
    }

    /// Reports the failures of one test program, each with what it printed.
    fn explain(&mut self, report: &mut Report) {
        for name in std::mem::take(&mut self.unexplained) {
            report.failed(self.suite, &name, &printed_by(&name, &self.package, &self.rest));
        }
    }

    /// cargo has ended; an end that the tests do not explain (a crate that cannot be built, a crash) is a failure.
    fn end(mut self, well: bool, report: &mut Report) {
        self.explain(report);
        if !well && self.failed == 0 {
            report.failed(self.suite, &format!("{} (cargo test)", self.package), &self.rest.join("\n"));
        }
    }
}

/// What stands under `---- TEST stdout ----` in `lines`; all of them where there is no such heading (a crash).
fn printed_by(name: &str, package: &str, lines: &[String]) -> String {
    let test = name.strip_prefix(&format!("{package}::")).unwrap_or(name);
    let heading = format!("---- {test} stdout ----");
    let Some(at) = lines.iter().position(|line| *line == heading) else { return lines.join("\n") };
    let ends = |line: &&String| !(line.starts_with("---- ") && line.ends_with(" stdout ----") || *line == "failures:");
    lines[at + 1..].iter().take_while(ends).cloned().collect::<Vec<_>>().join("\n")
}

/// `   Running unittests src/lib.rs (target/debug/deps/base-0123)` or `   Doc-tests base`.
fn package_named_by(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(package) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{package} (doc)"));
    }
    let (_, program) = line.strip_prefix("Running ")?.rsplit_once('(')?;
    let file = program.trim_end_matches(')').rsplit('/').next()?;
    Some(file.rsplit_once('-').map_or(file, |(package, _)| package).to_owned())
}

/// `test NAME ... ok`, with the result apart.
fn result_in(line: &str) -> Option<(&str, &str)> {
    let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    // `ignored, reason` and doc tests' `- should panic` keep their words.
    matches!(result.split([',', ' ']).next(), Some("ok" | "FAILED" | "ignored")).then_some((name, result.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_read_from_the_name_of_the_test_program() {
        let line = "     Running unittests src/lib.rs (target/debug/deps/kernel_tests-0f1e2d3c4b5a6978)";
        assert_eq!(package_named_by(line).as_deref(), Some("kernel_tests"));
        assert_eq!(package_named_by("   Doc-tests base").as_deref(), Some("base (doc)"));
        assert_eq!(package_named_by("running 3 tests"), None);
    }

    #[test]
    fn only_lines_of_results_are_results() {
        assert_eq!(result_in("test list::tests::a ... ok"), Some(("list::tests::a", "ok")));
        assert_eq!(result_in("test a ... FAILED"), Some(("a", "FAILED")));
        assert_eq!(result_in("test a ... ignored, slow"), Some(("a", "ignored, slow")));
        assert_eq!(result_in("test result: ok. 3 passed; 0 failed"), None);
    }

    #[test]
    fn a_failure_comes_with_what_the_test_printed() {
        let lines =
            ["failures:", "", "---- a stdout ----", "1 is not 2", "---- b stdout ----", "no", "failures:", "    a"];
        let lines = lines.map(str::to_owned);
        assert_eq!(printed_by("base::a", "base", &lines), "1 is not 2");
        assert_eq!(printed_by("base::b", "base", &lines), "no");
        assert_eq!(printed_by("base::c", "base", &lines[..1]), "failures:");
    }

    #[test]
    fn a_crate_that_cannot_be_built_is_a_failure() {
        let mut report = Report::to(std::io::sink());
        let mut reading = Reading::of(SUITE);
        reading.line("error: cannot find value `x`", &mut report);
        reading.end(false, &mut report);
        assert_eq!(report.end(), 1);
    }
}
