//! What a sequence works on: four places to mount at, the tasks, and what is known of both. Does one operation after
//! the other and says what came of it.

use crate::actor::Actor;
use crate::clear;
use crate::errno;
use crate::names::SUBSYSTEMS;
use crate::normal;
use crate::operation::{Operation, escape, unescape};
use crate::settle;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// How many places to mount at there are: `/m/0` and so on.
pub const PLACES: usize = 4;

/// A task other than those of the system.
pub struct Task {
    /// Its number in the system.
    pub number: i32,
    /// Whether it is a process; else a thread.
    pub process: bool,
    /// Whether it has ended and was not waited for.
    pub zombie: bool,
    /// The numbers on the way to it, joined by `/`.
    route: String,
    /// The number of its process.
    leader: i32,
    /// The task that made it.
    maker: u32,
    /// A zombie that ended in a container that is no root.
    ended_inside: bool,
}

/// What is mounted at a place.
pub struct Mounted {
    /// Its subsystems.
    pub subsystems: Vec<&'static str>,
    /// Whether cpuset's files have a prefix.
    pub prefix: bool,
    /// Whether it was mounted with that option.
    pub xattr: bool,
    /// The containers that are known, without the root: `/a/b`.
    pub containers: BTreeSet<Vec<u8>>,
    /// Subsystems and name as mount takes them: what tells this hierarchy from others.
    data: String,
}

/// A file that is held open.
pub struct Held {
    /// The task that holds it.
    pub by: u32,
    /// The file's name.
    pub file: String,
    /// Whether it was read.
    pub was_read: bool,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// All of it.
pub struct World {
    actor: Actor,
    /// The tasks by our own numbers. 0 is this program.
    pub tasks: BTreeMap<u32, Task>,
    /// What is mounted.
    pub places: [Option<Mounted>; PLACES],
    /// Files that are held open, by the names that the sequence has for them.
    pub held: BTreeMap<Vec<u8>, Held>,
    /// The next task's number.
    pub next: u32,
}

/// What came of an operation.
pub struct Outcome {
    /// `ok`, with what was read; or the name of an errno; or why nothing was done.
    pub answer: String,
    /// The state of the system afterwards, a line for each thing.
    pub state: Vec<String>,
}

impl World {
    /// Nothing mounted, no task but this one.
    pub fn new() -> Self {
        let number = std::process::id().cast_signed();
        let first = Task {
            number,
            process: true,
            zombie: false,
            route: ".".to_owned(),
            leader: number,
            maker: 0,
            ended_inside: false,
        };
        Self {
            actor: Actor::default(),
            tasks: BTreeMap::from([(0, first)]),
            places: Default::default(),
            held: BTreeMap::new(),
            next: 1,
        }
    }

    /// The task that made this one.
    pub fn maker_of(&self, id: u32) -> u32 {
        self.tasks.get(&id).map_or(0, |task| task.maker)
    }

    /// Does the operation.
    pub fn perform(&mut self, operation: &Operation) -> Outcome {
        if operation.verb() == "look" {
            return Outcome { answer: "ok".to_owned(), state: self.look() };
        }
        let words = &operation.words;
        let mounting = matches!(operation.verb(), "mount");
        let place = words.iter().find_map(|word| place_of(word)).map(|(place, _)| place);
        let answer = match place {
            Some(place) if place >= PLACES => "no such place".to_owned(),
            Some(place) if self.places[place].is_some() == mounting => "not now".to_owned(),
            Some(place) if operation.verb() == "freeze" => {
                return Outcome { answer: "ok".to_owned(), state: self.freeze(place, words) };
            }
            _ => self.act(operation, place),
        };
        let mut state = self.memberships();
        if matches!(operation.verb(), "write" | "append" | "put" | "affinity" | "spawn" | "thread") {
            state.extend(self.masks());
        }
        Outcome { answer, state }
    }

    fn act(&mut self, operation: &Operation, place: Option<usize>) -> String {
        let words = &operation.words;
        let Some(actor) = self.tasks.get(&operation.by).filter(|task| !task.zombie) else {
            return "no such task".to_owned();
        };
        let resolved: Vec<String> = words.iter().map(|word| escape(&self.resolved(word))).collect();
        let line = format!("{} {}", actor.route, resolved.join(" "));
        let before = match operation.verb() {
            "rmdir" => settle::counts(),
            _ => String::new(),
        };
        let lone = match (operation.verb(), place) {
            ("umount", Some(place)) => self.data_if_lone(place),
            _ => None,
        };
        let inside_before =
            operation.verb() == "stop" && self.is_inside(task_in(words.get(1).map_or(&[], Vec::as_slice)));
        let answer = self.actor.dispatch(&line);
        if !answer.starts_with("ok") {
            return answer;
        }
        let text = |index: usize| words.get(index).cloned().unwrap_or_default();
        let inside = |index: usize| place_of(&text(index)).map(|(_, path)| path.to_vec()).unwrap_or_default();
        match (operation.verb(), place.and_then(|place| Some((place, self.places[place].as_mut()?)))) {
            ("mount", None) => self.places[place.unwrap_or(0)] = mounted_at(place.unwrap_or(0)),
            ("umount", Some((place, _))) => {
                self.places[place] = None;
                if lone.is_some_and(|data| !settle::dissolved(&[(format!("/m/{place}"), data)])) {
                    return format!("{answer} but it stays");
                }
            }
            ("mkdir", Some((_, mounted))) => drop(mounted.containers.insert(inside(1))),
            ("rmdir", Some((_, mounted))) => {
                mounted.containers.remove(&inside(1));
                let counted = !mounted.subsystems.is_empty();
                self.reap_insiders();
                if counted && !settle::until(|| settle::counts() != before) {
                    return format!("{answer} but it stays");
                }
            }
            ("rename", Some((_, mounted))) => {
                let (from, to) = (inside(1), inside(2));
                let renamed = |path: &Vec<u8>| match path.strip_prefix(from.as_slice()) {
                    Some(rest) if rest.is_empty() || rest[0] == b'/' => [&to, rest].concat(),
                    _ => path.clone(),
                };
                mounted.containers = mounted.containers.iter().map(renamed).collect();
            }
            ("hold", _) => {
                let path = text(2);
                let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                let file = String::from_utf8_lossy(file).into_owned();
                self.held
                    .insert(text(1), Held { by: operation.by, file, was_read: false, is_directory: text(3) == b"d" });
            }
            ("drop", _) => drop(self.held.remove(&text(1))),
            ("read", _) => {
                let path = text(1);
                let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                return self.normal(&String::from_utf8_lossy(file), &answer);
            }
            ("get", _) => {
                let Some(held) = self.held.get_mut(&text(1)) else { return answer };
                held.was_read = true;
                let file = held.file.clone();
                return self.normal(&file, &answer);
            }
            ("spawn" | "thread", _) => self.born(operation, &answer),
            ("stop", _) => self.ended(operation, inside_before),
            ("reap", _) => drop(self.tasks.remove(&task_in(&text(1)))),
            _ => return answer,
        }
        if matches!(operation.verb(), "spawn" | "thread") { "ok".to_owned() } else { answer }
    }

    /// `ok TEXT` with what is compared of the text.
    fn normal(&self, file: &str, answer: &str) -> String {
        let Some((_, text)) = answer.split_once(' ') else { return answer.to_owned() };
        format!("ok {}", escape(&normal::contents(file, &unescape(text), &self.numbers())))
    }

    /// The word with `2:/a` as a path of the system and `{3}` as a task's number.
    fn resolved(&self, word: &[u8]) -> Vec<u8> {
        if let Some((place, path)) = place_of(word) {
            return [format!("/m/{place}").as_bytes(), path].concat();
        }
        let Some(from) = word.iter().position(|&byte| byte == b'{') else { return word.to_vec() };
        let Some(length) = word[from..].iter().position(|&byte| byte == b'}') else { return word.to_vec() };
        let task = self.tasks.get(&task_in(&word[from + 1..from + length]));
        let number = task.map_or(4_000_000, |task| task.number).to_string();
        [&word[..from], number.as_bytes(), &word[from + length + 1..]].concat()
    }

    fn born(&mut self, operation: &Operation, answer: &str) {
        let id = task_in(&operation.words[1]);
        let Some(number) = answer.split(' ').nth(1).and_then(|number| number.parse().ok()) else { return };
        let parent = &self.tasks[&operation.by];
        let process = operation.verb() == "spawn";
        let route = if parent.route == "." { id.to_string() } else { format!("{}/{id}", parent.route) };
        let leader = if process { number } else { parent.leader };
        self.tasks.insert(
            id,
            Task { number, process, zombie: false, route, leader, maker: operation.by, ended_inside: false },
        );
        self.next = self.next.max(id + 1);
    }

    /// A task was stopped: with it go those that it made.
    fn ended(&mut self, operation: &Operation, inside: bool) {
        let id = task_in(&operation.words[1]);
        let Some(route) = self.tasks.get(&id).map(|task| task.route.clone()) else { return };
        self.tasks.retain(|_, task| !task.route.starts_with(&format!("{route}/")));
        match self.tasks.get_mut(&id) {
            Some(task) if task.process => (task.zombie, task.ended_inside) = (true, inside),
            _ => drop(self.tasks.remove(&id)),
        }
        let alive: BTreeSet<u32> = self.tasks.iter().filter(|(_, task)| !task.zombie).map(|(&id, _)| id).collect();
        self.held.retain(|_, held| alive.contains(&held.by));
    }

    /// Whether a task is in a container that is no root.
    fn is_inside(&self, id: u32) -> bool {
        let Some(task) = self.tasks.get(&id) else { return false };
        let text = fs::read_to_string(format!("/proc/{}/task/{}/cgroup", task.leader, task.number)).unwrap_or_default();
        text.lines().any(|line| !line.ends_with(":/"))
    }

    /// After an rmdir: reaps the zombies that may have ended in the container. On Linux a zombie keeps the removed
    /// container, and that the hierarchy.
    fn reap_insiders(&mut self) {
        let zombies: Vec<u32> = self.tasks.iter().filter(|(_, task)| task.ended_inside).map(|(&id, _)| id).collect();
        for id in zombies {
            let maker = self.tasks.get(&self.maker_of(id)).map_or(".", |maker| maker.route.as_str());
            let line = format!("{maker} reap {id}");
            if self.actor.dispatch(&line).starts_with("ok") {
                self.tasks.remove(&id);
            }
        }
    }

    /// Our tasks by their numbers in the system.
    fn numbers(&self) -> BTreeMap<i32, u32> {
        self.tasks.iter().map(|(&id, task)| (task.number, id)).collect()
    }

    /// What to mount this hierarchy with, if umount of this place lets it go.
    fn data_if_lone(&self, place: usize) -> Option<String> {
        let mounted = self.places[place].as_ref()?;
        let equals = self.places.iter().flatten().filter(|other| other.data == mounted.data).count();
        (equals == 1 && directories_in(&format!("/m/{place}")).is_empty()).then(|| mounted.data.clone())
    }

    fn memberships(&self) -> Vec<String> {
        let mut state = vec![normal::cgroups(&fs::read_to_string("/proc/cgroups").unwrap_or_default())];
        for (id, task) in &self.tasks {
            let text = fs::read_to_string(format!("/proc/{}/task/{}/cgroup", task.leader, task.number));
            let shown = text.map_or_else(|error| error.kind().to_string(), |text| normal::membership(&text));
            state.push(format!("task {id}: {shown}"));
        }
        state
    }

    fn masks(&self) -> Vec<String> {
        let alive = self.tasks.iter().filter(|(_, task)| !task.zombie);
        let line = |(id, task): (&u32, &Task)| {
            let text = fs::read_to_string(format!("/proc/{}/task/{}/status", task.leader, task.number));
            format!("task {id}: {}", normal::status(&text.unwrap_or_default()))
        };
        alive.map(line).collect()
    }

    /// Freezes a container until all in it stand still, looks, and thaws it: nobody in it could obey meanwhile.
    fn freeze(&self, place: usize, words: &[Vec<u8>]) -> Vec<String> {
        let Some((_, path)) = words.get(1).and_then(|word| place_of(word)) else { return Vec::new() };
        let path = String::from_utf8_lossy(path);
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let inside = |line: &str| {
            let (names, own) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':')).unwrap_or_default();
            names.split(',').any(|name| name == "freezer") && (own == path || own.starts_with(&format!("{path}/")))
        };
        if path == "/" || own.lines().any(inside) {
            return vec!["not this one".to_owned()];
        }
        let top = format!("/m/{place}{path}");
        let write = |text: &str| {
            let file = fs::OpenOptions::new().write(true).open(format!("{top}/freezer.state"));
            let written = file.and_then(|mut file| std::io::Write::write(&mut file, text.as_bytes()));
            written.map_or_else(|error| errno::name(error.raw_os_error().unwrap_or(0)), |_| "ok".to_owned())
        };
        let mut state = vec![write("FROZEN")];
        let frozen = || fs::read_to_string(format!("{top}/freezer.state")).map_or(true, |text| text == "FROZEN\n");
        state.push(format!("frozen {}", settle::soon(frozen)));
        crate::look::directory(&top, &self.numbers(), &mut state);
        state.push(write("THAWED"));
        state
    }

    /// Everything that can be seen: each file of each container, modes and owners, mounts, tasks.
    pub fn look(&self) -> Vec<String> {
        let mut state = self.memberships();
        state.extend(self.masks());
        let cpuset = fs::read_to_string("/proc/self/cpuset").unwrap_or_default();
        state.push(format!("cpuset {}", cpuset.trim_end()));
        let numbers = self.numbers();
        for (place, _) in self.places.iter().enumerate().filter(|(_, mounted)| mounted.is_some()) {
            state.push(format!("{place}: {}", mount_line(place)));
            crate::look::directory(&format!("/m/{place}"), &numbers, &mut state);
        }
        state
    }

    /// Ends every task, removes every container, puts the roots in order, unmounts everything; and says whether all
    /// of that was possible.
    pub fn clear(&mut self) -> Vec<String> {
        self.actor.end_all();
        let mut troubles = Vec::new();
        let places = std::mem::take(&mut self.places);
        let mounted = places.iter().enumerate().filter_map(|(place, mounted)| {
            let Mounted { subsystems, data, .. } = mounted.as_ref()?;
            Some(clear::Mounted { top: format!("/m/{place}"), subsystem: subsystems.first().copied(), data })
        });
        clear::mounted(&mounted.collect::<Vec<_>>(), &mut troubles);
        clear::persisting(&mut troubles);
        if !settle::until(|| settle::hierarchies().is_empty()) {
            troubles.push("a hierarchy stays".to_owned());
        }
        troubles
    }
}

/// `2:/a` as 2 and `/a`.
pub fn place_of(word: &[u8]) -> Option<(usize, &[u8])> {
    match word {
        [digit @ b'0'..=b'9', b':', path @ ..] if path.first() == Some(&b'/') => {
            Some((usize::from(digit - b'0'), path))
        }
        _ => None,
    }
}

fn task_in(word: &[u8]) -> u32 {
    std::str::from_utf8(word).ok().and_then(|text| text.parse().ok()).unwrap_or(u32::MAX)
}

/// The names of the directories in a directory.
pub fn directories_in(path: &str) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The line of `/proc/mounts` for a place.
fn mount_line(place: usize) -> String {
    let text = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let here = format!(" /m/{place} ");
    text.lines().rev().find(|line| line.contains(&here)).unwrap_or("nothing").to_owned()
}

fn mounted_at(place: usize) -> Option<Mounted> {
    let line = mount_line(place);
    let options: Vec<&str> = line.split(' ').nth(3)?.split(',').collect();
    let subsystems: Vec<_> = SUBSYSTEMS.iter().copied().filter(|name| options.contains(name)).collect();
    let name = options.iter().copied().find(|option| option.starts_with("name="));
    let none = subsystems.is_empty().then_some("none");
    let data = none.into_iter().chain(subsystems.iter().copied()).chain(name).collect::<Vec<_>>().join(",");
    let mut containers = BTreeSet::new();
    let mut waiting = vec![String::new()];
    while let Some(path) = waiting.pop() {
        for child in directories_in(&format!("/m/{place}{path}")) {
            let child = format!("{path}/{child}");
            containers.insert(child.clone().into_bytes());
            waiting.push(child);
        }
    }
    let (prefix, xattr) = (!options.contains(&"noprefix"), options.contains(&"xattr"));
    Some(Mounted { subsystems, prefix, xattr, containers, data })
}
