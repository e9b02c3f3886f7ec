//! `container watch`: what happens to containers, told as it happens.
//!
//! The kernel tells of a change in an `events` file to whoever polls it; so these are waited for. Counts of refusals
//! that no poll tells of are read again after each interval.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use super::super::{Failure, Streams};
use super::control::{check, files, read};
use super::tree::{Node, hierarchies};
use crate::messages::errno_text;

/// What `watch` can be told.
#[derive(Args)]
pub struct Options {
    /// Prints JSON, a line for each event
    #[arg(long)]
    json: bool,
    /// Ends after so many events
    #[arg(short, long, value_name = "NUMBER")]
    count: Option<usize>,
    /// Ends after so many seconds
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Where to watch: this container and all below it; all hierarchies that are mounted if it is missing
    path: Option<PathBuf>,
}

/// How often files are read of whose changes no poll tells.
const INTERVAL: Duration = Duration::from_millis(200);

/// The last parts of the names of files that tell of events.
const FILES: &[&str] = &["events", "failcnt", "oom_control", "stat", "stats"];

/// The keys in them that do. In other lines of such files are figures that change all the time.
const KEYS: &[&str] = &[
    "populated",
    "frozen",
    "max",
    "under_oom",
    "oom_kill",
    "failcnt",
    "nr_throttled",
    "numtasks: Number of failures",
    "numtasks: Number of forkrate failures",
    "cpu: Number of throttled periods",
];

/// What is known of one container: of each file and key the value.
type Known = BTreeMap<(String, String), String>;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Made,
    Removed,
    Changed { file: String, key: String, from: String, to: String },
}

impl Event {
    /// In words.
    fn told(&self) -> String {
        match self {
            Event::Made => "made".to_owned(),
            Event::Removed => "removed".to_owned(),
            Event::Changed { key, to, .. } if key == "populated" => {
                if to == "0" { "released: no task is left here or below" } else { "populated" }.to_owned()
            }
            Event::Changed { key, to, .. } if key == "frozen" => if to == "0" { "thawed" } else { "frozen" }.to_owned(),
            Event::Changed { file, key, from, to } if key == "failcnt" => format!("{file}: {from} -> {to}"),
            Event::Changed { file, key, from, to } => {
                let subsystem = file.split('.').next().unwrap_or_default();
                let key = key.strip_prefix(&format!("{subsystem}: ")).unwrap_or(key);
                format!("{file}: {key} {from} -> {to}")
            }
        }
    }

    fn json(&self, path: &str) -> Value {
        match self {
            Event::Made => json!({"container": path, "event": "made"}),
            Event::Removed => json!({"container": path, "event": "removed"}),
            Event::Changed { file, key, from, to } => {
                json!({"container": path, "event": "changed", "file": file, "key": key, "from": from, "to": to})
            }
        }
    }
}

/// What a container's files say.
fn look(path: &std::path::Path) -> Known {
    let mut known = Known::new();
    for file in files(path).into_iter().filter(|file| file.rsplit('.').next().is_some_and(|last| FILES.contains(&last)))
    {
        let Ok(text) = read(path, &file) else { continue };
        if file.ends_with("failcnt") {
            known.insert((file, "failcnt".to_owned()), text);
            continue;
        }
        for (key, value) in text.lines().filter_map(|line| line.rsplit_once(' ')).filter(|(key, _)| KEYS.contains(key))
        {
            known.insert((file.clone(), key.to_owned()), value.to_owned());
        }
    }
    known
}

/// What has happened to one container between two looks.
fn changes(before: &Known, after: &Known) -> Vec<Event> {
    let mut events = Vec::new();
    for ((file, key), to) in after {
        let from = before.get(&(file.clone(), key.clone()));
        if let Some(from) = from.filter(|from| *from != to) {
            let (file, key, from, to) = (file.clone(), key.clone(), from.clone(), to.clone());
            events.push(Event::Changed { file, key, from, to });
        }
    }
    events
}

/// What is watched.
struct Watch {
    places: Vec<PathBuf>,
    known: BTreeMap<PathBuf, Known>,
    /// The files that tell of changes by themselves, open.
    open: BTreeMap<PathBuf, Vec<File>>,
}

impl Watch {
    fn begin(path: Option<&PathBuf>) -> Result<Self, String> {
        let places = match path {
            Some(path) => {
                check(path)?;
                vec![path.clone()]
            }
            None => hierarchies()?.into_iter().map(|hierarchy| hierarchy.directory).collect(),
        };
        if places.is_empty() {
            return Err("no hierarchy is mounted".to_owned());
        }
        let mut watch = Self { places, known: BTreeMap::new(), open: BTreeMap::new() };
        watch.look();
        Ok(watch)
    }

    /// Looks again; returns what has happened since.
    fn look(&mut self) -> Vec<(PathBuf, Event)> {
        let mut now = BTreeMap::new();
        for place in self.places.iter().filter(|place| place.exists()) {
            Node::paths(place).into_iter().for_each(|path| drop(now.insert(path.clone(), look(&path))));
        }
        let mut events = Vec::new();
        let gone: Vec<PathBuf> = self.known.keys().filter(|path| !now.contains_key(*path)).cloned().collect();
        for path in gone {
            self.open.remove(&path);
            events.push((path, Event::Removed));
        }
        for (path, after) in &now {
            match self.known.get(path) {
                Some(before) => events.extend(changes(before, after).into_iter().map(|event| (path.clone(), event))),
                None => {
                    let telling = files(path).into_iter().filter(|file| file.rsplit('.').next() == Some("events"));
                    let open = telling.filter_map(|file| File::open(path.join(file)).ok());
                    self.open.insert(path.clone(), open.collect());
                    events.push((path.clone(), Event::Made));
                    let fresh = after.iter().map(|(name, value)| {
                        let begins_with_nobody = matches!(name.1.as_str(), "populated" | "frozen");
                        (name.clone(), if begins_with_nobody { "0".to_owned() } else { value.clone() })
                    });
                    let since = changes(&fresh.collect(), after);
                    events.extend(since.into_iter().map(|event| (path.clone(), event)));
                }
            }
        }
        self.known = now;
        events
    }

    /// Waits until a file tells of a change, or the time is over.
    fn wait(&self, time: Duration) -> Result<(), String> {
        let mut told: Vec<PollFd<'_>> =
            self.open.values().flatten().map(|file| PollFd::new(file, PollFlags::PRI)).collect();
        let time = Timespec::try_from(time).map_err(|error| error.to_string())?;
        match poll(&mut told, Some(&time)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => {
                // Read again from the start, each is silent until its next change.
                let changed = self.open.values().flatten().zip(&told).filter(|(_, poll)| !poll.revents().is_empty());
                changed.for_each(|(file, _)| {
                    let _ = rustix::io::pread(file, &mut [0; 256], 0);
                });
            }
            Err(errno) => return Err(errno_text(&errno.into())),
        }
        Ok(())
    }
}

/// Watches until a signal, the number of events or the time ends it.
pub fn run(options: &Options, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let deadline = options.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut watch = Watch::begin(options.path.as_ref())?;
    let mut left = options.count;
    loop {
        let now = Instant::now();
        if left == Some(0) || deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(0);
        }
        let time = deadline.map_or(INTERVAL, |deadline| INTERVAL.min(deadline - now));
        watch.wait(time)?;
        for (path, event) in watch.look() {
            if left == Some(0) {
                break;
            }
            left = left.map(|left| left - 1);
            let path = path.display().to_string();
            if options.json {
                writeln!(streams.out, "{}", event.json(&path))?;
            } else {
                writeln!(streams.out, "{path}: {}", event.told())?;
            }
        }
        streams.out.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(values: &[(&str, &str, &str)]) -> Known {
        let entry =
            |(file, key, value): &(&str, &str, &str)| (((*file).to_owned(), (*key).to_owned()), (*value).to_owned());
        values.iter().map(entry).collect()
    }

    #[test]
    fn a_change_is_told_in_words() {
        let before = known(&[("events", "populated", "1"), ("pids.events", "max", "0"), ("x.failcnt", "failcnt", "0")]);
        let after = known(&[("events", "populated", "0"), ("pids.events", "max", "2"), ("x.failcnt", "failcnt", "1")]);
        let told: Vec<String> = changes(&before, &after).iter().map(Event::told).collect();
        let expected = ["released: no task is left here or below", "pids.events: max 0 -> 2", "x.failcnt: 0 -> 1"];
        assert_eq!(told, expected);
        assert!(changes(&after, &after).is_empty());
    }

    #[test]
    fn containers_that_come_and_go_are_told_and_figures_are_not() {
        let root = std::env::temp_dir().join(format!("container-watch-{}", std::process::id()));
        let child = root.join("child");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("tasks"), "").unwrap();
        std::fs::write(root.join("numtasks.stats"), "numtasks: Current usage 1\nnumtasks: Number of failures 0\n")
            .unwrap();
        let mut watch = Watch::begin(Some(&root)).unwrap();
        assert!(watch.look().is_empty());
        std::fs::create_dir(&child).unwrap();
        assert_eq!(watch.look(), [(child.clone(), Event::Made)]);
        std::fs::write(root.join("numtasks.stats"), "numtasks: Current usage 2\nnumtasks: Number of failures 3\n")
            .unwrap();
        let events = watch.look();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].1.told(), "numtasks.stats: Number of failures 0 -> 3");
        std::fs::remove_dir(&child).unwrap();
        assert_eq!(watch.look(), [(child, Event::Removed)]);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
