//! What can be told of a container in a line: tasks, CPU time, memory, and what it was set to. All is read from the
//! control files that are there, whichever subsystem they belong to.

use std::path::Path;

use serde_json::{Map, Value};

use super::control::{as_json, files, read};

/// The figures of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Tasks in the container itself.
    pub tasks: usize,
    /// CPU time used here and below, in nanoseconds, where it is accounted.
    pub cpu: Option<u64>,
    /// Memory used here and below, in bytes, where it is accounted.
    pub memory: Option<u64>,
    /// Files that set something, and their values, where they do set something.
    pub settings: Vec<(String, String)>,
}

/// The last parts of the names of files that set where or how much tasks may run, and the values with which they say
/// nothing.
const SETTINGS: &[(&str, &[&str])] = &[
    ("cpus", &[]),
    ("mems", &[]),
    ("limit", &["max", "9223372036854775807"]),
    ("max", &["max"]),
    ("limit_in_bytes", &["9223372036854771712"]),
    ("cfs_quota_us", &["-1"]),
    ("shares", &["1024"]),
    ("state", &["THAWED"]),
];

impl Figures {
    /// Reads them; what can't be read, because the container goes away for example, is left out.
    pub fn of(path: &Path) -> Self {
        let number = |file: &str| read(path, file).ok()?.parse().ok();
        let settings = files(path).into_iter().filter_map(|file| {
            let last = file.rsplit('.').next()?;
            let (_, silent) = SETTINGS.iter().find(|(name, _)| *name == last)?;
            let value = setting(&read(path, &file).ok()?)?;
            (!silent.contains(&value.as_str())).then_some((file, value))
        });
        Self {
            tasks: read(path, "tasks").map_or(0, |text| text.lines().count()),
            cpu: number("cpuacct.usage").or_else(|| cpu_of_stats(&read(path, "cpu.stats").ok()?)),
            memory: number("memory.usage_in_bytes"),
            settings: settings.collect(),
        }
    }

    /// The figures in a line.
    pub fn line(&self) -> String {
        let mut line = format!("tasks {}", self.tasks);
        if let Some(nanoseconds) = self.cpu {
            line += &format!("  cpu {}", seconds(nanoseconds));
        }
        if let Some(bytes) = self.memory {
            line += &format!("  memory {}", size(bytes));
        }
        for (file, value) in &self.settings {
            line += &format!("  {file} {}", if value.is_empty() { "none" } else { value });
        }
        line
    }

    /// The figures as members of a JSON object.
    pub fn json(&self) -> Map<String, Value> {
        let settings: Map<String, Value> =
            self.settings.iter().map(|(file, value)| (file.clone(), as_json(value))).collect();
        Map::from_iter([
            ("tasks".to_owned(), Value::from(self.tasks)),
            ("cpu_ns".to_owned(), Value::from(self.cpu)),
            ("memory_bytes".to_owned(), Value::from(self.memory)),
            ("settings".to_owned(), Value::Object(settings)),
        ])
    }
}

/// The value of a file that sets something; of shares with names, the guarantee and the cap that there are.
fn setting(text: &str) -> Option<String> {
    if text.contains('\n') {
        return None;
    }
    if !text.contains("_shares=") {
        return Some(text.to_owned());
    }
    let set: Vec<&str> = text
        .split(',')
        .filter(|pair| (pair.starts_with("min_") || pair.starts_with("max_")) && !pair.ends_with("=-3"))
        .collect();
    (!set.is_empty()).then(|| set.join(","))
}

/// The CPU time that the statistics of the cpu controller tell.
fn cpu_of_stats(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("cpu: Usage ")).and_then(|number| number.parse().ok())
}

/// Nanoseconds as seconds.
pub fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:03} s", nanoseconds / 1_000_000_000, nanoseconds / 1_000_000 % 1000)
}

/// Bytes in the largest unit that leaves at least one, with one digit after the point.
pub fn size(bytes: u64) -> String {
    let units = ["K", "M", "G", "T", "P", "E"];
    let (mut unit, mut whole, mut rest) = ("", bytes, 0);
    for next in units {
        if whole < 1024 {
            break;
        }
        (unit, rest, whole) = (next, whole % 1024, whole / 1024);
    }
    if unit.is_empty() { format!("{whole}") } else { format!("{whole}.{}{unit}", rest * 10 / 1024) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sets_nothing_is_left_out() {
        let path = std::env::temp_dir().join(format!("container-figures-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        for (file, text) in [
            ("tasks", "1\n2\n"),
            ("cpus", "\n"),
            ("numtasks.limit", "max\n"),
            ("pids.max", "7\n"),
            ("memory.usage_in_bytes", "5242880\n"),
            ("memory.soft_limit_in_bytes", "1\n"),
            ("cpu.stats", "cpu: Usage 1234567890\ncpu: Number of periods 0\n"),
            ("numtasks.shares", "res=numtasks,min_shares=-3,max_shares=50,child_shares_divisor=100\n"),
        ] {
            std::fs::write(path.join(file), text).unwrap();
        }
        let mut figures = Figures::of(&path);
        figures.settings.sort();
        assert_eq!(
            figures.line(),
            "tasks 2  cpu 1.234 s  memory 5.0M  cpus none  numtasks.shares max_shares=50  pids.max 7"
        );
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [(0, "0"), (1023, "1023"), (1024, "1.0K"), (1536, "1.5K"), (5 << 30, "5.0G")] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "15.9E");
    }
}
