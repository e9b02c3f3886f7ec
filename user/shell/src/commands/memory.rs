//! free: the memory of the machine and of each node.

use std::fs;

use clap::Parser;

use super::{Failure, Streams};
use crate::messages::errno_text;

/// Shows the memory of the machine and of each node, in KiB.
#[derive(Parser)]
#[command(name = "free")]
pub struct Options {}

pub fn run(arguments: &[String], streams: &mut Streams<'_>) -> Result<u8, Failure> {
    Options::try_parse_from(arguments)?;
    let path = "/proc/meminfo";
    let whole = fs::read_to_string(path).map_err(|error| format!("{path}: {}", errno_text(&error)))?;
    writeln!(streams.out, "{:<8} {:>12} {:>12} {:>12}", "", "total", "used", "free")?;
    line("memory", &whole, streams)?;
    for (node, text) in nodes() {
        line(&format!("node {node}"), &text, streams)?;
    }
    Ok(0)
}

fn line(name: &str, meminfo: &str, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let (total, free) = (kilobytes(meminfo, "MemTotal"), kilobytes(meminfo, "MemFree"));
    writeln!(streams.out, "{name:<8} {total:>12} {:>12} {free:>12}", total.saturating_sub(free))?;
    Ok(())
}

/// The nodes and their `meminfo`, ascending.
pub fn nodes() -> Vec<(u32, String)> {
    let mut nodes: Vec<(u32, String)> = fs::read_dir("/sys/devices/system/node")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()?;
            Some((number, fs::read_to_string(entry.path().join("meminfo")).ok()?))
        })
        .collect();
    nodes.sort_unstable_by_key(|(number, _)| *number);
    nodes
}

/// The figure of a line of `meminfo`, a node's or the machine's; 0 if there is none.
pub fn kilobytes(meminfo: &str, name: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| {
            let (before, after) = line.split_once(':')?;
            (before.split(' ').next_back() == Some(name)).then_some(after)
        })
        .and_then(|after| after.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::kilobytes;

    #[test]
    fn figures_of_the_machine_and_of_a_node_are_found() {
        assert_eq!(kilobytes("MemTotal:       16 kB\nMemFree:   7 kB\n", "MemFree"), 7);
        assert_eq!(kilobytes("Node 1 MemTotal:  16 kB\nNode 1 MemFree:  9 kB\n", "MemFree"), 9);
        assert_eq!(kilobytes("nonsense", "MemFree"), 0);
    }
}
