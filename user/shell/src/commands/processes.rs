//! ps: the processes, with their CPUs and containers.

use std::fs;
use std::path::Path;

use clap::Parser;

use super::{Failure, Streams};
use crate::messages::errno_text;

/// Lists all processes.
#[derive(Parser)]
#[command(name = "ps")]
pub struct Options {
    /// Shows their containers too, in all hierarchies
    #[arg(short, long)]
    containers: bool,
    /// Shows each thread
    #[arg(short = 'T', long)]
    threads: bool,
    /// Accepted, since all are listed anyway
    #[arg(hide = true)]
    ignored: Vec<String>,
}

/// What a line shows of a task.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    name: String,
    state: char,
    parent: u32,
    /// In clock ticks.
    time: u64,
    cpu: u32,
}

pub fn run(arguments: &[String], streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let options =
        Options::try_parse_from(arguments.iter().filter(|word| !matches!(word.as_str(), "-e" | "-A" | "-ef")))?;
    let header = if options.containers { "  CONTAINERS" } else { "" };
    writeln!(streams.out, "{:>7} {:>7} STAT CPU {:>9} COMMAND{header}", "PID", "PPID", "TIME")?;
    for process in numbers(Path::new("/proc"))? {
        let directory = format!("/proc/{process}");
        if !options.threads {
            show(&directory, process, options.containers, streams)?;
            continue;
        }
        // A process that ends meanwhile has no threads.
        for thread in numbers(&Path::new(&directory).join("task")).unwrap_or_default() {
            show(&format!("{directory}/task/{thread}"), thread, options.containers, streams)?;
        }
    }
    Ok(0)
}

/// The entries of a directory that are numbers, ascending.
fn numbers(directory: &Path) -> Result<Vec<u32>, String> {
    let entries =
        fs::read_dir(directory).map_err(|error| format!("{}: {}", directory.display(), errno_text(&error)))?;
    let mut numbers: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn show(directory: &str, number: u32, containers: bool, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let Some(status) = fs::read_to_string(format!("{directory}/stat")).ok().as_deref().and_then(parse) else {
        return Ok(());
    };
    let words = fs::read(format!("{directory}/cmdline")).unwrap_or_default();
    let command = if words.is_empty() { format!("[{}]", status.name) } else { command_line(&words) };
    let time = clock(status.time);
    write!(streams.out, "{number:>7} {:>7} {:<4} {:>3} {time:>9} {command}", status.parent, status.state, status.cpu)?;
    if containers {
        let text = fs::read_to_string(format!("{directory}/container")).unwrap_or_default();
        write!(streams.out, "  {}", text.lines().collect::<Vec<_>>().join(" "))?;
    }
    writeln!(streams.out)?;
    Ok(())
}

/// Reads a line of `stat`; the name in parentheses may hold anything.
fn parse(stat: &str) -> Option<Status> {
    let (before, after) = stat.trim_end().rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    // Field 3 of proc(5) is the first one after the name.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Status {
        name: before.split_once('(')?.1.to_owned(),
        state: fields.first()?.chars().next()?,
        parent: u32::try_from(number(4)?).ok()?,
        time: number(14)? + number(15)?,
        cpu: number(39).and_then(|cpu| u32::try_from(cpu).ok()).unwrap_or(0),
    })
}

/// The words of `cmdline`, which a NUL ends each.
fn command_line(words: &[u8]) -> String {
    let words: Vec<_> = words.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
    words.join(" ").trim_end().to_owned()
}

/// The ticks of `/proc`, of which Linux's x86-64 ABI has 100 in a second.
fn clock(ticks: u64) -> String {
    let (seconds, hundredths) = (ticks / 100, ticks % 100);
    format!("{}:{:02}.{hundredths:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let stat = "7 (a) b) R 1 7 7 0 -1 0 0 0 0 0 120 30 0 0 20 0 1 0 5 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 3 0 0\n";
        let status = parse(stat).unwrap();
        assert_eq!(status, Status { name: "a) b".into(), state: 'R', parent: 1, time: 150, cpu: 3 });
        assert_eq!(parse("7 (a"), None);
    }

    #[test]
    fn times_and_command_lines_are_readable() {
        assert_eq!(clock(6150), "1:01.50");
        assert_eq!(command_line(b"sh\0-c\0true\0"), "sh -c true");
    }
}
