//! One line for each test, and the line at the end.

use std::io::Write;
use std::time::Duration;

/// So many lines of the beginning of each failure's reason are told again at the end: what was expected.
const FIRST_LINES: usize = 12;
/// And so many of its end: in a console's words it is the end that tells.
const LAST_LINES: usize = 40;

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
        self.failures.push(format!("{suite}: {name}: {}", shortened(reason).replace('\n', "\n        ")));
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

/// A long reason without its middle.
fn shortened(reason: &str) -> String {
    let lines: Vec<&str> = reason.lines().collect();
    match lines.len().checked_sub(FIRST_LINES + LAST_LINES) {
        None | Some(0) => reason.to_owned(),
        Some(left_out) => {
            let (first, last) = (&lines[..FIRST_LINES], &lines[FIRST_LINES + left_out..]);
            format!("{}\n({left_out} lines are left out here)\n{}", first.join("\n"), last.join("\n"))
        }
    }
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
    fn of_a_long_reason_beginning_and_end_are_repeated() {
        assert_eq!(shortened("a\nb"), "a\nb");
        let long: Vec<String> = (0..100).map(|line| line.to_string()).collect();
        let short = shortened(&long.join("\n"));
        assert_eq!(short.lines().count(), FIRST_LINES + 1 + LAST_LINES);
        assert!(short.starts_with("0\n1\n") && short.ends_with("\n98\n99"));
        assert!(short.contains("\n11\n(48 lines are left out here)\n60\n"));
    }

    #[test]
    fn short_times_are_shown_in_milliseconds() {
        assert_eq!(readable(Duration::from_millis(12)), "12 ms");
        assert_eq!(readable(Duration::from_millis(1250)), "1.2 s");
    }
}
