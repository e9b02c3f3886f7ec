//! Brings what a system shows into a form that both share: see the lines `SameForm` of [`crate::differences`].

use crate::names::{FILES, SUBSYSTEMS, Show};
use std::collections::BTreeMap;

/// What of a control file's text is compared. `tasks` are our own by their numbers.
pub fn contents(file: &str, text: &[u8], tasks: &BTreeMap<i32, u32>) -> Vec<u8> {
    let full = |name: &&crate::names::Name| name.name == file || name.name.strip_prefix("cpuset.") == Some(file);
    match FILES.iter().find(full).map(|name| name.show) {
        Some(Show::Tasks) => numbers_of_tasks(text, tasks),
        Some(Show::Shape) if file == "memory.stat" => shape(&without_swap(text)),
        Some(Show::Shape) => shape(text),
        _ => text.to_vec(),
    }
}

/// Which of our tasks are listed; a word more where the list is not ascending or names one twice.
fn numbers_of_tasks(text: &[u8], tasks: &BTreeMap<i32, u32>) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let listed: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let mut ours: Vec<u32> = listed.iter().filter_map(|number| tasks.get(number).copied()).collect();
    ours.sort_unstable();
    let order = if listed.is_sorted_by(|one, other| one < other) { "" } else { " out of order" };
    format!("{ours:?}{order}").into_bytes()
}

/// The lines that are not about swap.
fn without_swap(text: &[u8]) -> Vec<u8> {
    let about = |line: &&str| line.contains("swap ") || line.starts_with("hierarchical_memsw_limit ");
    let text = String::from_utf8_lossy(text);
    text.lines().filter(|line| !about(line)).flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

/// Each number as `#`.
fn shape(text: &[u8]) -> Vec<u8> {
    let mut shape: Vec<u8> = Vec::new();
    for &byte in text {
        match (byte.is_ascii_digit(), shape.last()) {
            (true, Some(b'#')) => {}
            (true, _) => shape.push(b'#'),
            (false, _) => shape.push(byte),
        }
    }
    shape
}

/// `/proc/<pid>/cgroup`: `names:path` in the order of the alphabet.
pub fn membership(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(':')?.1)).collect();
    lines.sort_unstable();
    lines.join(" ")
}

/// `/proc/cgroups`: the rows of the compared subsystems; a hierarchy is called after the first of them in it.
pub fn cgroups(text: &str) -> String {
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let ours: Vec<&Vec<&str>> = rows.iter().filter(|row| SUBSYSTEMS.contains(&row[0])).collect();
    let hierarchy = |number: &str| match number {
        "0" => "-",
        _ => ours.iter().find(|row| row.get(1) == Some(&number)).map_or("?", |row| row[0]),
    };
    let shown = ours.iter().map(|row| match row[..] {
        [name, number, count, enabled] => format!("{name}:{}:{count}:{enabled}", hierarchy(number)),
        _ => format!("{row:?}"),
    });
    let head = rows.first().map(|row| row.join(",")).unwrap_or_default();
    format!("{head} {}", shown.collect::<Vec<_>>().join(" "))
}

/// Of `/proc/<pid>/status` the sets of CPUs and nodes.
pub fn status(text: &str) -> String {
    let wanted = |line: &&str| line.starts_with("Cpus_allowed") || line.starts_with("Mems_allowed_list");
    text.lines().filter(wanted).map(|line| line.replace('\t', "")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_tasks_and_foreign_ones_are_left_out() {
        let tasks = BTreeMap::from([(100, 1), (70, 2)]);
        assert_eq!(contents("tasks", b"2\n70\n100\n", &tasks), b"[1, 2]");
        assert_eq!(contents("cgroup.procs", b"100\n70\n", &tasks), b"[1, 2] out of order");
    }

    #[test]
    fn a_measure_keeps_its_shape() {
        let none = BTreeMap::new();
        assert_eq!(contents("cpuacct.stat", b"user 12\nsystem 3\n", &none), b"user #\nsystem #\n");
        let stat = b"cache 1\nswap 0\nhierarchical_memory_limit 1\nhierarchical_memsw_limit 1\ntotal_swap 0\n";
        assert_eq!(contents("memory.stat", stat, &none), b"cache #\nhierarchical_memory_limit #\n");
        assert_eq!(contents("cpuset.cpus", b"0-3\n", &none), b"0-3\n");
    }

    #[test]
    fn numbers_of_hierarchies_do_not_matter() {
        assert_eq!(membership("7:cpuacct:/\n3:cpuset,name=x:/a\n"), "cpuacct:/ cpuset,name=x:/a");
        let text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t9\t2\t1\nblkio\t0\t1\t0\ncpuacct\t9\t2\t1\n";
        assert!(cgroups(text).ends_with(" cpuset:cpuset:2:1 cpuacct:cpuset:2:1"));
    }
}
