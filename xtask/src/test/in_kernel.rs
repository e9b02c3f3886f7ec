//! Suites inside the test kernel: boots it, reads the protocol from its log, and boots again past a test that took
//! the kernel with it.
//!
//! The kernel writes to its log: `test: N tests` (how many match the filter); for each test `test NAME ... ` when it begins (the line may end
//! here) and `test NAME: ok (12 ms)`, `test NAME: FAILED: reason` or `test NAME: skipped: reason` when it ends (the
//! name may be left out on the same line); `test: end`.
//! `test-from=K` on its command line leaves out the first K of those that match the filter.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::report::Report;
use super::{USUAL, Workshop, shape};
use crate::command_line::Test;
use crate::emulator;

const SUITE: &str = "kernel";

/// A kernel that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the tests whose names contain `filter`.
pub fn run(filter: &str, options: &Test, report: &mut Report) -> Result<()> {
    let workshop = Workshop::open(options, true)?;
    let shape = shape(options, USUAL);
    report.heading(&format!("In-kernel suites ({shape})"));
    let mut from = 0;
    loop {
        let words = match filter {
            "" => format!("log=ttyS1 test test-from={from}"),
            _ => format!("log=ttyS1 test={filter} test-from={from}"),
        };
        let machine = workshop.machine("in-kernel-tests", shape, words)?;
        // QEMU truncates the file, but an old one must not be read before that.
        File::create(&machine.log).with_context(|| format!("cannot write {}", machine.log.display()))?;
        let mut guest = machine.start(&workshop.run, Stdio::null(), Stdio::null(), Stdio::inherit())?;
        let mut reading = Reading::default();
        let mut log = Follower::open(&machine.log)?;
        let mut heard = Instant::now();
        let status = loop {
            let ended = guest.child().try_wait()?;
            for line in log.new_lines()? {
                heard = Instant::now();
                reading.line(&line, report);
            }
            match ended {
                Some(status) => break Some(status),
                None if heard.elapsed() > PATIENCE => break None,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        guest.kill();
        reading.line(&log.partial_line(), report);
        if reading.complete {
            return Ok(());
        }
        let why = match status {
            None => format!("nothing was heard for {} s", PATIENCE.as_secs()),
            Some(status) => format!("the machine ended ({status})"),
        };
        let tail = emulator::end_of_log(&machine.log, 40);
        let Some(running) = reading.running.take() else {
            bail!("{why} while no test ran; the end of {}:\n{tail}", machine.log.display());
        };
        report.failed(SUITE, &running, &format!("{why}; the end of the log:\n{tail}"));
        from += reading.ended + 1;
        if reading.announced.is_some_and(|announced| from >= announced) {
            return Ok(());
        }
    }
}

/// What has been read of the protocol in this boot.
#[derive(Default)]
struct Reading {
    announced: Option<u32>,
    running: Option<String>,
    ended: u32,
    complete: bool,
}

impl Reading {
    fn line(&mut self, line: &str, report: &mut Report) {
        let Some(words) = without_time(line) else { return };
        if words == "test: end" {
            self.complete = true;
        } else if let Some(count) = words.strip_prefix("test: ").and_then(|rest| rest.strip_suffix(" tests")) {
            self.announced = count.parse().ok();
        } else if let Some((name, rest)) = words.strip_prefix("test ").and_then(|rest| rest.split_once(" ...")) {
            self.running = Some(name.to_owned());
            let rest = rest.trim_start();
            self.result(name, rest.strip_prefix(&format!("test {name}: ")).unwrap_or(rest), report);
        } else if let Some((name, result)) = words.strip_prefix("test ").and_then(|rest| rest.split_once(": ")) {
            self.result(name, result, report);
        }
    }

    fn result(&mut self, name: &str, result: &str, report: &mut Report) {
        if let Some(time) = result.strip_prefix("ok") {
            report.passed(SUITE, name, milliseconds(time));
        } else if let Some(reason) = result.strip_prefix("FAILED: ") {
            report.failed(SUITE, name, reason);
        } else if let Some(reason) = result.strip_prefix("skipped: ") {
            report.skipped(SUITE, name, reason);
        } else {
            return;
        }
        self.running = None;
        self.ended += 1;
    }
}

/// The words of the protocol in a line of the log, which may carry a time (`[    1.234567] `) or follow other text.
fn without_time(line: &str) -> Option<&str> {
    let at = line.find("test")?;
    let before = line[..at].trim_end();
    (before.is_empty() || before.ends_with(']')).then(|| line[at..].trim_end())
}

/// ` (12 ms)`
fn milliseconds(text: &str) -> Option<Duration> {
    text.trim().strip_prefix('(')?.strip_suffix(" ms)")?.parse().ok().map(Duration::from_millis)
}

/// Reads a file that somebody else still writes.
struct Follower {
    file: File,
    partial: Vec<u8>,
}

impl Follower {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { file, partial: Vec::new() })
    }

    /// The lines that were completed since the last call.
    fn new_lines(&mut self) -> Result<Vec<String>> {
        self.file.read_to_end(&mut self.partial)?;
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let rest = self.partial.split_off(end + 1);
        let complete = std::mem::replace(&mut self.partial, rest);
        Ok(String::from_utf8_lossy(&complete).lines().map(str::to_owned).collect())
    }

    /// What was written after the last line that was completed.
    fn partial_line(&self) -> String {
        String::from_utf8_lossy(&self.partial).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> (Reading, u8) {
        let (mut reading, mut report) = (Reading::default(), Report::to(std::io::sink()));
        for line in lines {
            reading.line(line, &mut report);
        }
        (reading, report.end())
    }

    #[test]
    fn a_whole_run_is_complete() {
        let (reading, status) = read(&[
            "[    0.500000] machine: 4 CPUs",
            "[    0.600000] test: 2 tests",
            "[    0.610000] test paging::a ... ",
            "[    0.620000] test paging::a: ok (10 ms)",
            "test ipi::b ...",
            "test ipi::b: skipped: needs 8 CPUs",
            "test: end",
        ]);
        assert!(reading.complete);
        assert_eq!((reading.announced, reading.ended, status), (Some(2), 2, 0));
    }

    #[test]
    fn the_test_that_was_running_when_the_kernel_died_is_known() {
        let (reading, _) = read(&["test: 3 tests", "test a ... ", "test a: ok (1 ms)", "test b ... ", "panic: no"]);
        assert_eq!(reading.running.as_deref(), Some("b"));
        assert_eq!(reading.ended, 1);
        assert!(!reading.complete);
    }

    #[test]
    fn a_result_may_come_on_the_line_of_its_test() {
        let (reading, status) =
            read(&["test a ... ok (3 ms)", "test b ... test b: ok (3 ms)", "test c ... FAILED: no"]);
        assert_eq!((reading.ended, reading.running, status), (3, None, 1));
    }

    #[test]
    fn a_failure_keeps_its_reason_and_the_run_goes_on() {
        let (reading, status) = read(&["test a ... ", "test a: FAILED: 1 is not 2: really"]);
        assert_eq!((reading.ended, status), (1, 1));
        assert_eq!(reading.running, None);
    }

    #[test]
    fn times_are_read() {
        assert_eq!(milliseconds(" (12 ms)"), Some(Duration::from_millis(12)));
        assert_eq!(milliseconds(""), None);
    }
}
