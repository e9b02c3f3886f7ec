//! One line for each test, and the line at the end.

use std::io::Write;
use std::time::Duration;

/// So much of each failure's reason is told again at the end.
const REPEATED_LINES: usize = 40;

/// Counts results and prints them as they come.
pub struct Report {
    out: Box<dyn Write>,
    passed: u32,
    failed: u32,
    skipped: u32,
    failures: Vec<String>,
}

impl Report {
    /// Nothing counted yet; the lines go to `out`.
    pub fn to(out: impl Write + 'static) -> Self {
        Self { out: Box::new(out), passed: 0, failed: 0, skipped: 0, failures: Vec::new() }
    }

    /// A line about what comes next.
    pub fn heading(&mut self, text: &str) {
        self.say(&format!("\n{text}"));
    }

    /// The test did what it should, in `time` if that is known.
    pub fn passed(&mut self, suite: &str, name: &str, time: Option<Duration>) {
        self.passed += 1;
        match time {
            Some(time) => self.say(&format!("{suite}: {name} ... ok ({})", readable(time))),
            None => self.say(&format!("{suite}: {name} ... ok")),
        }
    }

    /// The test did not; `reason` may have many lines.
    pub fn failed(&mut self, suite: &str, name: &str, reason: &str) {
        self.failed += 1;
        let reason = reason.trim_end();
        self.say(&format!("{suite}: {name} ... FAILED: {}", reason.replace('\n', "\n    ")));
        self.failures.push(format!("{suite}: {name}: {}", last_lines(reason).replace('\n', "\n        ")));
    }

    /// The test does not apply here.
    pub fn skipped(&mut self, suite: &str, name: &str, reason: &str) {
        self.skipped += 1;
        self.say(&format!("{suite}: {name} ... skipped: {reason}"));
    }

    /// Prints the failures once more, shortened, and the last line `N passed, N failed`; returns the status to end with.
    pub fn end(mut self) -> u8 {
        self.say("");
        if !self.failures.is_empty() {
            self.say("Failed:");
            for failure in std::mem::take(&mut self.failures) {
                self.say(&format!("    {failure}"));
            }
        }
        if self.skipped > 0 {
            self.say(&format!("{} skipped, for the reasons above", self.skipped));
        }
        self.say(&format!("{} passed, {} failed", self.passed, self.failed));
        u8::from(self.failed > 0)
    }

    /// Prints a line at once, and goes on if nobody reads it any more.
    fn say(&mut self, line: &str) {
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }
}

/// The end of a long reason: in a console's words it is the end that tells.
fn last_lines(reason: &str) -> &str {
    let long = reason.rmatch_indices('\n').nth(REPEATED_LINES - 1);
    long.map_or(reason, |(at, _)| &reason[at..])
}

fn readable(time: Duration) -> String {
    match time.as_millis() {
        milliseconds @ 0..1000 => format!("{milliseconds} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_makes_the_whole_fail() {
        let mut report = Report::to(std::io::sink());
        report.passed("host", "a", None);
        report.skipped("host", "b", "no reason");
        assert_eq!(report.failed, 0);
        report.failed("host", "c", "1 is not 2");
        assert_eq!((report.passed, report.failed, report.skipped), (1, 1, 1));
        assert_eq!(report.end(), 1);
    }

    #[test]
    fn of_a_long_reason_the_end_is_repeated() {
        assert_eq!(last_lines("a\nb"), "a\nb");
        let long: Vec<String> = (0..100).map(|line| line.to_string()).collect();
        let end = last_lines(&long.join("\n")).to_owned();
        assert_eq!(end.trim_start().lines().count(), REPEATED_LINES);
        assert!(end.ends_with("\n99"));
    }

    #[test]
    fn short_times_are_shown_in_milliseconds() {
        assert_eq!(readable(Duration::from_millis(12)), "12 ms");
        assert_eq!(readable(Duration::from_millis(1250)), "1.2 s");
    }
}
