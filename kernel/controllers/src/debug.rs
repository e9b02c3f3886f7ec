//! debug: what the framework knows of itself.
//!
//! `debug.taskcount`: live tasks in the container. `debug.cgroup_refcount`: one, its child containers and the sets that
//! name it. `debug.releasable`: 1 where neither a task here or below nor a child container holds it up. Only on the root:
//! `debug.current_css_set`, the set of the reader with its states; `debug.current_css_set_refcount`; `debug.callbacks`, how
//! often each subsystem was called on the paths of tasks since boot: 0 for what it did not ask for.
//!
//! It has no state and no callbacks. All files are read-only. Rule: interfaces.md, section 20.

use base::Errno;
use container::{ControlFile, Counted, Node, Subsystem};
use core::fmt::{self, Write};

/// What is kept for a container: nothing.
pub struct Debug;

type Place<'a> = Node<'a, Debug>;

impl Subsystem for Debug {
    const NAME: &'static str = "debug";
    const INDEX: usize = 9;
    const FILES: &'static [ControlFile<Self>] = &[
        ControlFile::read_node("taskcount", |node: &Place<'_>, out| writeln!(out, "{}", node.tasks().len())),
        ControlFile::read_node("cgroup_refcount", |node: &Place<'_>, out| {
            writeln!(out, "{}", 1 + node.children().count() + node.set_count())
        }),
        ControlFile::read_node("current_css_set", show_set).only_on_root(),
        ControlFile::read_node("current_css_set_refcount", |node: &Place<'_>, out| {
            writeln!(out, "{}", node.current_set().map_or(0, |set| set.references))
        })
        .only_on_root(),
        ControlFile::read_node("releasable", |node: &Place<'_>, out| {
            let held_up = node.is_populated() || node.children().next().is_some();
            writeln!(out, "{}", u8::from(!held_up))
        }),
        ControlFile::read_node("callbacks", show_callbacks).only_on_root(),
    ];

    fn create(_parent: &Self) -> Result<Self, Errno> {
        Ok(Self)
    }
}

fn show_set(node: &Place<'_>, out: &mut dyn Write) -> fmt::Result {
    let Some(set) = node.current_set() else { return Ok(()) };
    write!(out, "css_set {:016x} {}", set.serial, set.references)?;
    if set.references > set.tasks {
        write!(out, " +{}", set.references - set.tasks)?;
    }
    writeln!(out)?;
    set.states.iter().try_for_each(|state| {
        writeln!(out, "{:2}: {:<4}\t- {:x}[{}]", state.index, state.name, state.serial, state.hierarchy)
    })
}

fn show_callbacks(node: &Place<'_>, out: &mut dyn Write) -> fmt::Result {
    const KINDS: [(&str, Counted); 5] = [
        ("can_fork", Counted::CanFork),
        ("cancel_fork", Counted::CancelFork),
        ("fork", Counted::Fork),
        ("exit", Counted::Exit),
        ("release", Counted::Release),
    ];
    let (forks, exits) = node.births_and_exits();
    writeln!(out, "tasks forks {forks} exits {exits}")?;
    node.subsystems().iter().try_for_each(|subsystem| {
        let (name, _) = node.calls(subsystem, Counted::Fork);
        out.write_str(name)?;
        KINDS.iter().try_for_each(|&(word, kind)| write!(out, " {word} {}", node.calls(subsystem, kind).1))?;
        writeln!(out)
    })
}

#[cfg(test)]
mod tests {
    use crate::world::World;
    use base::Errno;
    use std::{collections::BTreeMap, string::String, string::ToString, vec::Vec};

    #[test]
    fn tasks_children_and_sets_are_counted() {
        let world = World::with("debug").mkdir("/a").mkdir("/a/b");
        let show = |path: &str| {
            ["taskcount", "cgroup_refcount", "releasable"].map(|file| world.read(path, &("debug.".to_string() + file)))
        };
        assert_eq!(show("/"), ["1\n", "3\n", "0\n"]);
        assert_eq!(show("/a"), ["0\n", "2\n", "0\n"]);
        assert_eq!(show("/a/b"), ["0\n", "1\n", "1\n"]);
        let first = world.spawn_in("/a/b");
        let second = world.fork(&first).unwrap();
        assert_eq!(show("/a/b"), ["2\n", "2\n", "0\n"]);
        assert_eq!(show("/a"), ["0\n", "2\n", "0\n"]);
        for task in [&first, &second] {
            world.exit(task);
        }
        assert_eq!(show("/a/b"), ["0\n", "2\n", "1\n"]);
        [&first, &second].into_iter().for_each(|task| world.reap(task));
        assert_eq!(show("/a/b"), ["0\n", "1\n", "1\n"]);
    }

    #[test]
    fn the_readers_set_is_shown_with_its_states() {
        let world = World::with("debug").mkdir("/a");
        // One more reference: that of the framework to the set of all roots.
        assert_eq!(world.read("/", "debug.current_css_set_refcount"), "2\n");
        let text = world.read("/", "debug.current_css_set");
        let mut lines = text.lines();
        let head: Vec<_> = lines.next().unwrap().split(' ').collect();
        assert_eq!((head[0], head[1].len(), &head[2..]), ("css_set", 16, &["2", "+1"][..]), "{text}");
        let debug = lines.find(|line| line.starts_with(" 9: debug\t- ")).unwrap();
        assert!(debug.ends_with("[1]"), "{debug}");
        assert!(text.lines().any(|line| line.starts_with(" 2: cpuacct\t- ") && line.ends_with("[0]")), "{text}");
        assert!(!world.has_file("/a", "debug.current_css_set") && !world.has_file("/a", "debug.callbacks"));
    }

    #[test]
    fn nothing_is_written() {
        let world = World::with("debug");
        for file in ["taskcount", "cgroup_refcount", "current_css_set", "releasable", "callbacks"] {
            assert_eq!(world.write("/", &("debug.".to_string() + file), "0"), Err(Errno::EINVAL), "{file}");
        }
    }

    fn calls(world: &World) -> BTreeMap<String, BTreeMap<String, u64>> {
        let text = world.read("/", "debug.callbacks");
        let row = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            let numbers = words[1..].chunks(2).map(|pair| (pair[0].to_string(), pair[1].parse().unwrap()));
            (words[0].to_string(), numbers.collect())
        };
        text.lines().map(row).collect()
    }

    /// The table of section 1, as far as this file shows it.
    #[test]
    fn a_hook_that_nobody_asked_for_does_not_run() {
        let world = World::with("debug");
        let before = calls(&world);
        let first = world.spawn_in("/");
        let second = world.fork(&first).unwrap();
        world.fail_to_fork(&second);
        for task in [&first, &second] {
            world.exit(task);
            world.reap(task);
        }
        let after = calls(&world);
        let ran = |who: &str, what: &str| after[who][what] - before[who][what];
        assert_eq!((ran("tasks", "forks"), ran("tasks", "exits")), (2, 2));
        let asks = |who: &str, what: &str| match what {
            "can_fork" => ["numtasks", "pids", "bc"].contains(&who).then_some(3),
            "cancel_fork" => ["numtasks", "pids", "bc"].contains(&who).then_some(1),
            "fork" => ["cpuset", "cpu", "freezer"].contains(&who).then_some(2),
            "exit" => ["numtasks", "freezer", "bc"].contains(&who).then_some(2),
            _ => ["pids"].contains(&who).then_some(2),
        };
        for (who, row) in after.iter().filter(|(who, _)| *who != "tasks") {
            for what in row.keys() {
                assert_eq!(ran(who, what), asks(who, what).unwrap_or(0), "{who} {what}");
            }
        }
    }
}
