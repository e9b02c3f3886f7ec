//! taskset: the CPUs that a process, or a command, may use; in the words of util-linux.

use std::os::unix::process::CommandExt;
use std::process;

use clap::Parser;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{Failure, Streams};
use crate::messages::errno_text;

/// Shows or sets the CPUs that a process may use, or runs a command on some CPUs only.
#[derive(Parser)]
#[command(
    name = "taskset",
    override_usage = "taskset [-c] CPUS COMMAND [ARGUMENT]...\n       taskset [-c] -p [CPUS] PID"
)]
pub struct Options {
    /// CPUS is a list (0-2,5) instead of a mask in hexadecimal
    #[arg(short = 'c', long)]
    cpu_list: bool,
    /// Of a process that runs
    #[arg(short, long)]
    pid: bool,
    /// The CPUs, and the process or the command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    operands: Vec<String>,
}

pub fn run(arguments: &[String], streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let options = Options::try_parse_from(arguments)?;
    let parse = |text: &str| {
        let cpus = if options.cpu_list { from_list(text) } else { from_mask(text) };
        cpus.ok_or_else(|| format!("{text}: not a {} of CPUs", if options.cpu_list { "list" } else { "mask" }))
    };
    match options.operands.as_slice() {
        [pid] if options.pid => show(pid, "current", options.cpu_list, streams),
        [cpus, pid] if options.pid => {
            let cpus = parse(cpus)?;
            show(pid, "current", options.cpu_list, streams)?;
            sched_setaffinity(process(pid)?, &to_set(&cpus))
                .map_err(|errno| format!("failed to set pid {pid}'s affinity: {}", errno_text(&errno.into())))?;
            show(pid, "new", options.cpu_list, streams)
        }
        [cpus, command, rest @ ..] if !options.pid => {
            sched_setaffinity(None, &to_set(&parse(cpus)?))
                .map_err(|errno| format!("failed to set affinity: {}", errno_text(&errno.into())))?;
            let error = process::Command::new(command).args(rest).exec();
            Err(format!("failed to execute {command}: {}", errno_text(&error)).into())
        }
        _ => Err("CPUs and a command, or -p and a process, are needed".to_owned().into()),
    }
}

fn process(text: &str) -> Result<Option<Pid>, String> {
    match text.parse::<i32>() {
        Ok(0) => Ok(None),
        Ok(number) if number > 0 => Ok(Pid::from_raw(number)),
        _ => Err(format!("{text}: not the number of a process")),
    }
}

fn show(pid: &str, when: &str, as_list: bool, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let set = sched_getaffinity(process(pid)?)
        .map_err(|errno| format!("failed to get pid {pid}'s affinity: {}", errno_text(&errno.into())))?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect();
    let (kind, text) = if as_list { ("list", to_list(&cpus)) } else { ("mask", to_mask(&cpus)) };
    writeln!(streams.out, "pid {pid}'s {when} affinity {kind}: {text}")?;
    Ok(0)
}

fn to_set(cpus: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|&cpu| set.set(cpu));
    set
}

/// The CPUs of `0-2,5`, ascending; none if it is not a list or names a CPU that no set can hold.
fn from_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= CpuSet::MAX_CPU {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

fn to_list(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|one, next| one + 1 == *next);
    let parts: Vec<String> = runs
        .filter_map(|run| match run {
            [] => None,
            [only] => Some(only.to_string()),
            [first, .., last] => Some(format!("{first}-{last}")),
        })
        .collect();
    parts.join(",")
}

/// The CPUs of a mask in hexadecimal, with or without `0x` and commas.
fn from_mask(text: &str) -> Option<Vec<usize>> {
    let digits: Vec<u32> = text
        .strip_prefix("0x")
        .unwrap_or(text)
        .chars()
        .rev()
        .filter(|digit| *digit != ',')
        .map(|digit| digit.to_digit(16))
        .collect::<Option<_>>()?;
    if digits.is_empty() || digits.len() > CpuSet::MAX_CPU / 4 {
        return None;
    }
    Some((0..digits.len() * 4).filter(|cpu| digits[cpu / 4] >> (cpu % 4) & 1 == 1).collect())
}

fn to_mask(cpus: &[usize]) -> String {
    let digits = cpus.last().map_or(1, |last| last / 4 + 1);
    let digit = |place: usize| (0..4).filter(|bit| cpus.contains(&(place * 4 + bit))).map(|bit| 1 << bit).sum::<u32>();
    (0..digits).rev().filter_map(|place| char::from_digit(digit(place), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        assert_eq!(from_list("5,0-2,2"), Some(vec![0, 1, 2, 5]));
        assert_eq!(to_list(&[0, 1, 2, 5]), "0-2,5");
        for wrong in ["", "2-1", "a", "1,", "99999"] {
            assert_eq!(from_list(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn masks_are_read_and_written() {
        assert_eq!(from_mask("0x13"), Some(vec![0, 1, 4]));
        assert_eq!(to_mask(&[0, 1, 4]), "13");
        assert_eq!(from_mask("g"), None);
        assert_eq!(to_mask(&[]), "0");
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(cpus in proptest::collection::btree_set(0usize..1024, 1..50)) {
            let cpus: Vec<usize> = cpus.into_iter().collect();
            proptest::prop_assert_eq!(from_list(&to_list(&cpus)), Some(cpus.clone()));
            proptest::prop_assert_eq!(from_mask(&to_mask(&cpus)), Some(cpus));
        }
    }
}
