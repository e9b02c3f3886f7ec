//! `container list`: the hierarchies and their containers as trees.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::mount::{Entry, mounts};
use super::super::{Failure, Streams};
use super::control_file;

/// Lists the container at `path` and all below it, or every mounted hierarchy.
pub fn list(path: Option<&Path>, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    if let Some(path) = path {
        if !path.join("tasks").exists() {
            return Err(format!("{} is not a container", path.display()).into());
        }
        show(path, &path.display().to_string(), 0, streams)?;
        return Ok(0);
    }
    let mounts = mounts()?;
    let hierarchies = mounts.iter().filter(|entry| matches!(entry.kind.as_str(), "container" | "cgroup"));
    let mut any = false;
    for entry in hierarchies {
        any = true;
        writeln!(streams.out, "{}: {} ({})", entry.directory, subsystems(entry), entry.kind)?;
        show(Path::new(&entry.directory), "/", 1, streams)?;
    }
    for line in persisting() {
        any = true;
        writeln!(streams.out, "not mounted: {line}")?;
    }
    if !any {
        writeln!(
            streams.out,
            "no hierarchy is mounted; try `mount -t container -o cpuset,numtasks container DIRECTORY`"
        )?;
    }
    Ok(0)
}

/// The names among a mount's options that are subsystems.
fn subsystems(entry: &Entry) -> String {
    let known = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let known: Vec<&str> = known.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
    let names: Vec<&str> =
        entry.options.split(',').filter(|word| known.contains(word) || word.starts_with("name=")).collect();
    if names.is_empty() { "no subsystem".to_owned() } else { names.join(", ") }
}

/// The rows of `/proc/containers` whose hierarchy persists without a mount.
fn persisting() -> Vec<String> {
    let text = fs::read_to_string("/proc/containers").unwrap_or_default();
    let rows = text.lines().skip(1).take_while(|line| *line != "Subsystems:");
    rows.filter(|line| line.contains(" mounts=0") && !line.starts_with("0:")).map(str::to_owned).collect()
}

/// Shows a container and those below it, `depth` steps to the right.
fn show(path: &Path, name: &str, depth: usize, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let tasks = fs::read_to_string(path.join("tasks")).unwrap_or_default().lines().count();
    let mut line = format!("{:depth$}{name}  tasks {tasks}", "", depth = depth * 2);
    for (subsystem, file, word) in
        [("cpuset", "cpus", "cpus"), ("cpuset", "mems", "mems"), ("numtasks", "limit", "limit")]
    {
        let value = control_file(path, subsystem, file).and_then(|file| fs::read_to_string(path.join(file)).ok());
        if let Some(value) = value {
            let value = value.trim_end();
            line.push_str(&format!("  {word} {}", if value.is_empty() { "none" } else { value }));
        }
    }
    writeln!(streams.out, "{line}")?;
    let mut children: Vec<PathBuf> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    children.sort_unstable();
    for child in children {
        let name = child.file_name().unwrap_or_default().to_string_lossy().into_owned();
        show(&child, &name, depth + 1, streams)?;
    }
    Ok(())
}
