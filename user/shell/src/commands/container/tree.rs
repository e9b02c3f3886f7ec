//! The hierarchies and their containers as trees, and `container list`, which shows them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::super::mount::{Entry, mounts};
use super::super::{Failure, Streams};
use super::control::{check, children};
use super::figures::Figures;

/// A hierarchy that is mounted.
pub struct Hierarchy {
    /// Where.
    pub directory: PathBuf,
    /// Its dialect, which is the type of the mount.
    pub dialect: String,
    /// The subsystems that are bound to it, and `name=…` if it has a name.
    pub subsystems: Vec<String>,
}

/// The hierarchies that are mounted, each once.
pub fn hierarchies() -> Result<Vec<Hierarchy>, String> {
    let known = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let known: Vec<&str> = known.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
    let (mut hierarchies, mut seen) = (Vec::new(), Vec::new());
    for entry in mounts()?.into_iter().filter(|entry| matches!(entry.kind.as_str(), "container" | "cgroup")) {
        let device = fs::metadata(&entry.directory).map(|metadata| metadata.dev()).ok();
        if device.is_some() && seen.contains(&device) {
            continue;
        }
        seen.push(device);
        hierarchies.push(hierarchy(entry, &known));
    }
    Ok(hierarchies)
}

fn hierarchy(entry: Entry, known: &[&str]) -> Hierarchy {
    let is_subsystem = |word: &&str| known.contains(word) || word.starts_with("name=");
    let subsystems = entry.options.split(',').filter(is_subsystem).map(str::to_owned).collect();
    Hierarchy { directory: entry.directory.into(), dialect: entry.kind, subsystems }
}

/// A container and those below it, as they were at one time.
pub struct Node {
    /// Its directory.
    pub path: PathBuf,
    /// The last part of the path, or `/` for a root.
    pub name: String,
    /// What there is to tell.
    pub figures: Figures,
    /// The containers in it.
    pub children: Vec<Node>,
}

impl Node {
    /// Reads the container at `path` and all below it.
    pub fn read(path: &Path, name: &str) -> Self {
        let below = children(path).into_iter().map(|child| {
            let name = child.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Node::read(&child, &name)
        });
        Self { path: path.to_owned(), name: name.to_owned(), figures: Figures::of(path), children: below.collect() }
    }

    /// The paths of the container at `path` and of all below it, parents first.
    pub fn paths(path: &Path) -> Vec<PathBuf> {
        let below = children(path).into_iter().flat_map(|child| Node::paths(&child));
        std::iter::once(path.to_owned()).chain(below).collect()
    }

    /// Tasks here and below.
    pub fn all_tasks(&self) -> usize {
        self.figures.tasks + self.children.iter().map(Node::all_tasks).sum::<usize>()
    }

    /// Calls `look` for this container and each below it, with its depth.
    pub fn walk(&self, depth: usize, look: &mut impl FnMut(&Node, usize)) {
        look(self, depth);
        self.children.iter().for_each(|child| child.walk(depth + 1, look));
    }

    fn json(&self) -> Value {
        let mut object = self.figures.json();
        object.insert("name".to_owned(), self.name.as_str().into());
        object.insert("path".to_owned(), self.path.to_string_lossy().into());
        object.insert("children".to_owned(), self.children.iter().map(Node::json).collect());
        Value::Object(object)
    }

    fn show(&self, depth: usize, streams: &mut Streams<'_>) -> io::Result<()> {
        let mut outcome = Ok(());
        self.walk(depth, &mut |node, depth| {
            if outcome.is_ok() {
                outcome =
                    writeln!(streams.out, "{:depth$}{}  {}", "", node.name, node.figures.line(), depth = depth * 2);
            }
        });
        outcome
    }
}

/// Lists the container at `path` and all below it, or every mounted hierarchy.
pub fn list(path: Option<&Path>, json: bool, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    if let Some(path) = path {
        check(path)?;
        let node = Node::read(path, &path.display().to_string());
        if json {
            writeln!(streams.out, "{}", node.json())?
        } else {
            node.show(0, streams)?
        }
        return Ok(0);
    }
    let hierarchies = hierarchies()?;
    if json {
        let all: Value = hierarchies.iter().map(hierarchy_json).collect();
        writeln!(streams.out, "{all}")?;
        return Ok(0);
    }
    for hierarchy in &hierarchies {
        let subsystems = match hierarchy.subsystems.as_slice() {
            [] => "no subsystem".to_owned(),
            names => names.join(", "),
        };
        writeln!(streams.out, "{}: {subsystems} ({})", hierarchy.directory.display(), hierarchy.dialect)?;
        Node::read(&hierarchy.directory, "/").show(1, streams)?;
    }
    let persisting = persisting();
    persisting.iter().try_for_each(|line| writeln!(streams.out, "not mounted: {line}"))?;
    if hierarchies.is_empty() && persisting.is_empty() {
        writeln!(
            streams.out,
            "no hierarchy is mounted; try `mount -t container -o cpuset,numtasks container DIRECTORY`"
        )?;
    }
    Ok(0)
}

fn hierarchy_json(hierarchy: &Hierarchy) -> Value {
    Value::Object(Map::from_iter([
        ("mount".to_owned(), hierarchy.directory.to_string_lossy().into()),
        ("dialect".to_owned(), hierarchy.dialect.as_str().into()),
        ("subsystems".to_owned(), hierarchy.subsystems.iter().map(String::as_str).collect()),
        ("root".to_owned(), Node::read(&hierarchy.directory, "/").json()),
    ]))
}

/// The rows of `/proc/containers` whose hierarchy persists without a mount.
fn persisting() -> Vec<String> {
    let text = fs::read_to_string("/proc/containers").unwrap_or_default();
    let rows = text.lines().skip(1).take_while(|line| *line != "Subsystems:");
    rows.filter(|line| line.contains(" mounts=0") && !line.starts_with("0:")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsystems_are_told_from_other_options() {
        let entry = |options: &str| Entry {
            device: "x".into(),
            directory: "/foo".into(),
            kind: "container".into(),
            options: options.into(),
        };
        let known = ["cpuset", "numtasks"];
        let found = hierarchy(entry("rw,relatime,cpuset,numtasks,name=x"), &known);
        assert_eq!(found.subsystems, ["cpuset", "numtasks", "name=x"]);
    }
}
