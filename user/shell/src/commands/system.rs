//! uptime: how long the machine has run, and how busy it was.

use std::fs;

use clap::Parser;

use super::{Failure, Streams};
use crate::messages::errno_text;

/// Tells how long the machine has run and its load averages.
#[derive(Parser)]
#[command(name = "uptime")]
pub struct Options {}

pub fn uptime(arguments: &[String], streams: &mut Streams<'_>) -> Result<u8, Failure> {
    Options::try_parse_from(arguments)?;
    let seconds = read("/proc/uptime")?.split(['.', ' ']).next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let load = read("/proc/loadavg")?;
    let averages: Vec<&str> = load.split(' ').take(3).collect();
    writeln!(streams.out, "up {}, load average: {}", duration(seconds), averages.join(", "))?;
    Ok(0)
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {}", errno_text(&error)))
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) if minutes == 0 => format!("{seconds} s"),
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours}:{minutes:02}"),
        _ => format!("{days} days, {hours}:{minutes:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_are_told_in_their_largest_units() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(61), "1 min");
        assert_eq!(duration(7500), "2:05");
        assert_eq!(duration(2 * 86400 + 60), "2 days, 0:01");
    }
}
