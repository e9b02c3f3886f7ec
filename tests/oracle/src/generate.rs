//! Makes up the next operation from what is known of the world. Both systems get the same as long as both answer the
//! same.

use crate::choices::Choices;
use crate::differences;
use crate::names::{ATTRIBUTES, BAD, BAD_OF_BOTH_SIGNS, FILES, Name, Place, SUBSYSTEMS, Show, subsystem_of};
use crate::operation::Operation;
use crate::world::{Mounted, PLACES, World, directories_in};

/// So many tasks at once, at most.
const MOST_TASKS: usize = 7;

/// So many containers in one hierarchy, about.
const MOST_CONTAINERS: usize = 10;

const NAMES: &[&str] = &["a", "b", "c", "d", "x.y"];
const ODD_NAMES: &[&[u8]] =
    &[b"tasks", b"cpuset.cpus", b"a b", b"new\nline", b"\xc3\xa9\\", b".hidden", b"release_agent"];
const BAD_DATA: &[&str] = &[
    "all,cpuset",
    "none",
    "none,cpuset,name=x",
    "none,all,name=x",
    "name=",
    "name=x,name=y",
    "name=a b",
    "name=no/slash",
    "noprefix",
    "noprefix,cpuacct",
    "release_agent=",
    "release_agent=/a,release_agent=/b,cpuset",
    "unknown",
    "Cpuset",
    "all=1",
    "none=1,name=x",
    "name",
    "name=fourth",
    "release_agent",
    "cpuset,,cpuacct,",
    ",",
    "name=0123456789012345678901234567890123456789012345678901234567890123",
    "none,name=012345678901234567890123456789012345678901234567890123456789012",
];

/// The next operation.
pub fn next(world: &World, choices: &mut Choices) -> Operation {
    let by = actor(world, choices);
    let Some(place) = mounted_place(world, choices).filter(|_| !choices.one_in(12)) else {
        return mount(world, choices, by);
    };
    let Some(mounted) = &world.places[place] else { return mount(world, choices, by) };
    let target = |choices: &mut Choices| at(place, &container(mounted, choices));
    match choices.below(100) {
        0..=2 => Operation::new(by, &[b"umount".to_vec(), at(place, b"/")]),
        3 if !mounted.subsystems.is_empty() && !mounted.xattr && directories_in(&format!("/m/{place}")).is_empty() => {
            Operation::new(by, &[b"remount".to_vec(), at(place, b"/"), same_data(mounted)])
        }
        4..=15 => make(mounted, place, choices, by),
        16..=22 => Operation::new(by, &[b"rmdir".to_vec(), target(choices)]),
        23..=25 => {
            let from = container(mounted, choices);
            let parent = if choices.one_in(6) { container(mounted, choices) } else { parent_of(&from) };
            let to = below(&parent, &name(choices));
            Operation::new(by, &[b"rename".to_vec(), at(place, &from), at(place, &to)])
        }
        26..=43 => attach(world, mounted, place, choices, by),
        44..=67 => write(mounted, place, choices, by),
        68..=71 => Operation::new(by, &[b"read".to_vec(), file_in(mounted, place, choices).1]),
        72..=77 => spawn(world, choices, by),
        78..=81 => end(world, choices, by),
        82..=86 => held(world, mounted, place, choices, by),
        87..=89 => affinity(world, choices, by),
        90..=92 => own(mounted, place, choices),
        93 => never(mounted, place, choices, by),
        94 => attribute(mounted, place, choices, by),
        95..=96 if mounted.subsystems.contains(&"freezer") => Operation::new(0, &[b"freeze".to_vec(), target(choices)]),
        95..=97 => Operation::new(0, &["look"]),
        _ => mount(world, choices, by),
    }
}

fn actor(world: &World, choices: &mut Choices) -> u32 {
    let alive: Vec<u32> = world.tasks.iter().filter(|(_, task)| !task.zombie).map(|(&id, _)| id).collect();
    if choices.one_in(3) { choices.pick(&alive).unwrap_or(0) } else { 0 }
}

fn mounted_place(world: &World, choices: &mut Choices) -> Option<usize> {
    let places: Vec<usize> = (0..PLACES).filter(|&place| world.places[place].is_some()).collect();
    choices.pick(&places)
}

fn at(place: usize, path: &[u8]) -> Vec<u8> {
    [format!("{place}:").as_bytes(), path].concat()
}

fn below(container: &[u8], name: &[u8]) -> Vec<u8> {
    [if container == b"/" { b"" } else { container }, b"/", name].concat()
}

fn parent_of(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    if end == 0 { b"/".to_vec() } else { path[..end].to_vec() }
}

/// The root or a container; seldom one that there is not.
fn container(mounted: &Mounted, choices: &mut Choices) -> Vec<u8> {
    let all: Vec<Vec<u8>> = mounted.containers.iter().cloned().collect();
    match choices.below(12) {
        0 => b"/".to_vec(),
        1 if choices.one_in(3) => below(b"/", &name(choices)),
        _ => choices.pick(&all).unwrap_or_else(|| b"/".to_vec()),
    }
}

fn name(choices: &mut Choices) -> Vec<u8> {
    match choices.below(40) {
        0 | 1 => choices.pick(ODD_NAMES).unwrap_or_default().to_vec(),
        2 => vec![b'l'; 255],
        _ => choices.pick(NAMES).unwrap_or_default().as_bytes().to_vec(),
    }
}

fn mount(world: &World, choices: &mut Choices, by: u32) -> Operation {
    let free: Vec<usize> = (0..PLACES).filter(|&place| world.places[place].is_none()).collect();
    let place = choices.pick(&free).unwrap_or(0);
    let mut words: Vec<String> = Vec::new();
    match choices.below(20) {
        0 | 1 => words.extend(["none".to_owned(), format!("name={}", choices.pick(NAMES).unwrap_or_default())]),
        2 => words.push(format!("name={}", choices.pick(NAMES).unwrap_or_default())),
        3 => words.push("all".to_owned()),
        4 => {}
        5 | 6 => words.push(choices.pick(BAD_DATA).unwrap_or_default().to_owned()),
        _ => {
            let first = choices.pick(SUBSYSTEMS).unwrap_or_default();
            // Memory seldom: where it is, no task moves.
            let more = SUBSYSTEMS
                .iter()
                .filter(|name| **name != first && choices.one_in(3) && (**name != "memory" || choices.one_in(3)));
            words.extend(more.map(|name| (*name).to_owned()).collect::<Vec<_>>());
            words.insert(choices.below(words.len() + 1), first.to_owned());
            if choices.one_in(8) {
                words.push(format!("name={}", choices.pick(NAMES).unwrap_or_default()));
            }
            for option in ["release_agent=/nothing", "xattr", "clone_children"] {
                if choices.one_in(8) {
                    words.push(option.to_owned());
                }
            }
            if words.first().is_some_and(|word| word == "cpuset") && choices.one_in(4) {
                words.push("noprefix".to_owned());
            }
        }
    }
    Operation::new(by, &[b"mount".to_vec(), b"cgroup".to_vec(), at(place, b"/"), words.join(",").into_bytes()])
}

/// What a remount may say without asking for another set.
fn same_data(mounted: &Mounted) -> Vec<u8> {
    let mut words: Vec<&str> = mounted.subsystems.clone();
    if words.is_empty() {
        words.push("none");
    }
    if !mounted.prefix {
        words.push("noprefix");
    }
    words.push("release_agent=/other");
    words.join(",").into_bytes()
}

fn make(mounted: &Mounted, place: usize, choices: &mut Choices, by: u32) -> Operation {
    let parent = container(mounted, choices);
    if mounted.containers.len() > MOST_CONTAINERS {
        return Operation::new(by, &[b"rmdir".to_vec(), at(place, &parent)]);
    }
    Operation::new(by, &[b"mkdir".to_vec(), at(place, &below(&parent, &name(choices)))])
}

fn attach(world: &World, mounted: &Mounted, place: usize, choices: &mut Choices, by: u32) -> Operation {
    let file = if choices.one_in(2) { "tasks" } else { "cgroup.procs" };
    let tasks: Vec<u32> = world.tasks.keys().copied().collect();
    let who = match choices.below(12) {
        0 => "0".to_owned(),
        1 => "{99}".to_owned(),
        2 => choices.pick(BAD).unwrap_or_default().to_owned(),
        3 => format!("{{{}}}\n", choices.pick(&tasks).unwrap_or(0)),
        _ => format!("{{{}}}", choices.pick(&tasks).unwrap_or(0)),
    };
    let chosen = container(mounted, choices);
    let here = if mounted.subsystems.contains(&"memory") { b"/" } else { chosen.as_slice() };
    let target = below(here, file.as_bytes());
    Operation::new(by, &[b"write".to_vec(), at(place, &target), who.into_bytes()])
}

/// What is tried in a directory that is held open.
const INSIDE: &[&str] = &["mkdir", "mknod", "symlink", "link", "create", "open", "unlink", "rmdir", "rename"];

/// A file and its path.
fn file_in(mounted: &Mounted, place: usize, choices: &mut Choices) -> (&'static Name, Vec<u8>) {
    let container = container(mounted, choices);
    let root = container == b"/";
    let here = |file: &&Name| {
        let bound = subsystem_of(file.name).is_none_or(|subsystem| mounted.subsystems.contains(&subsystem));
        let placed = file.place == Place::All || root == (file.place == Place::Root);
        let moves = file.show == Show::Tasks && !root && mounted.subsystems.contains(&"memory");
        bound && placed && !moves && !differences::is_absent(file.name)
    };
    let files: Vec<&'static Name> = FILES.iter().filter(here).collect();
    // Nothing goes into a cpuset before it has both.
    let important: Vec<_> =
        files.iter().copied().filter(|file| file.name.ends_with("s") && file.name.len() == 11).collect();
    let from = if choices.one_in(3) && !important.is_empty() { &important } else { &files };
    let file = choices.pick(from).unwrap_or(&FILES[0]);
    let shown = if mounted.prefix { file.name } else { file.name.strip_prefix("cpuset.").unwrap_or(file.name) };
    (file, at(place, &below(&container, shown.as_bytes())))
}

fn write(mounted: &Mounted, place: usize, choices: &mut Choices, by: u32) -> Operation {
    let (file, path) = file_in(mounted, place, choices);
    let verb: &[u8] = if choices.one_in(10) { b"append" } else { b"write" };
    Operation::new(by, &[verb.to_vec(), path, value(file, choices)])
}

fn value(file: &Name, choices: &mut Choices) -> Vec<u8> {
    let good = choices.pick(file.values).map(|value| value.as_bytes().to_vec());
    let bad = if file.name == "pids.max" { &BAD[..BAD_OF_BOTH_SIGNS] } else { BAD };
    let decimal = file.name.ends_with("limit_in_bytes");
    match choices.below(30) {
        0..=5 if decimal => b"garbage".to_vec(),
        0 if !file.name.ends_with("mems") && !file.name.ends_with("cpus") => vec![b'1'; 4096 + choices.below(2)],
        0..=5 if !file.name.ends_with("agent") && !file.name.ends_with("mems") => {
            choices.pick(bad).unwrap_or_default().as_bytes().to_vec()
        }
        _ => good.unwrap_or_else(|| b"x".to_vec()),
    }
}

fn spawn(world: &World, choices: &mut Choices, by: u32) -> Operation {
    if world.tasks.len() >= MOST_TASKS {
        return end(world, choices, by);
    }
    let id = world.next.to_string();
    match choices.below(4) {
        0 => Operation::new(by, &["thread", &id]),
        1 => Operation::new(by, &["spawn", &id, "1000"]),
        _ => Operation::new(by, &["spawn", &id, "0"]),
    }
}

fn end(world: &World, choices: &mut Choices, by: u32) -> Operation {
    let tasks: Vec<u32> = world.tasks.keys().copied().filter(|&id| id != 0).collect();
    let Some(id) = choices.pick(&tasks) else { return Operation::new(by, &["look"]) };
    let verb = if world.tasks[&id].zombie { "reap" } else { "stop" };
    let maker = world.maker_of(id);
    Operation::new(maker, &[verb.to_owned(), id.to_string()])
}

fn held(world: &World, mounted: &Mounted, place: usize, choices: &mut Choices, by: u32) -> Operation {
    let names: Vec<Vec<u8>> = world.held.keys().cloned().collect();
    let Some((name, held)) = choices
        .pick(&names)
        .and_then(|name| Some((name.clone(), world.held.get(&name)?)))
        .filter(|_| !choices.one_in(3))
    else {
        let mode = choices.pick(&["r", "w", "rw", "d"]).unwrap_or_default();
        let path = match mode {
            "d" => at(place, &container(mounted, choices)),
            _ => file_in(mounted, place, choices).1,
        };
        let name = format!("h{}", choices.below(4));
        return match world.held.contains_key(name.as_bytes()) {
            true => Operation::new(by, &[b"read".to_vec(), path]),
            false => Operation::new(by, &[b"hold".to_vec(), name.into_bytes(), path, mode.into()]),
        };
    };
    let known = FILES.iter().find(|known| known.name.ends_with(&held.file)).unwrap_or(&FILES[0]);
    match choices.below(5) {
        0 => Operation::new(held.by, &[b"drop".to_vec(), name]),
        1 | 2 if held.is_directory => Operation::new(held.by, &[b"list".to_vec(), name]),
        _ if held.is_directory => {
            let what = choices.pick(INSIDE).unwrap_or_default().into();
            let from = file_in(mounted, place, choices).1;
            Operation::new(held.by, &[b"inside".to_vec(), name, what, from])
        }
        // Of an empty list of tasks Linux does not notice that it was read.
        1 if known.show != Show::Tasks && choices.one_in(2) => {
            let how: &[u8] = if known.name == "pids.events" { b"soon" } else { b"now" };
            Operation::new(held.by, &[b"poll".to_vec(), name, how.to_vec()])
        }
        1 | 2 if known.show == Show::Tasks && held.was_read => Operation::new(held.by, &[b"drop".to_vec(), name]),
        1 | 2 => Operation::new(held.by, &[b"get".to_vec(), name]),
        _ if known.values.is_empty() => Operation::new(held.by, &[b"put".to_vec(), name, b"{1}".to_vec()]),
        _ => Operation::new(held.by, &[b"put".to_vec(), name, value(known, choices)]),
    }
}

fn affinity(world: &World, choices: &mut Choices, by: u32) -> Operation {
    let tasks: Vec<u32> = world.tasks.iter().filter(|(_, task)| !task.zombie).map(|(&id, _)| id).collect();
    let list = choices.pick(&["0,1,2,3", "0", "1", "2,3", "1,2", "3", "9"]).unwrap_or_default();
    let id = choices.pick(&tasks).unwrap_or(0);
    Operation::new(by, &["affinity".to_owned(), format!("{{{id}}}"), list.to_owned()])
}

/// Gives a directory or a file to another user, or other permissions.
fn own(mounted: &Mounted, place: usize, choices: &mut Choices) -> Operation {
    let container = container(mounted, choices);
    let path = match choices.below(4) {
        0 => container,
        1 => below(&container, b"cgroup.procs"),
        2 => below(&container, b"tasks"),
        _ => file_in(mounted, place, choices).1[2..].to_vec(),
    };
    let path = at(place, &path);
    if choices.one_in(4) {
        let mode = choices.pick(&["384", "493", "438", "0"]).unwrap_or_default();
        return Operation::new(0, &[b"chmod".to_vec(), path, mode.into()]);
    }
    let owner = choices.pick(&["1000", "1000", "0"]).unwrap_or_default();
    Operation::new(0, &[b"chown".to_vec(), path, owner.into()])
}

/// An extended attribute of a directory or a file.
fn attribute(mounted: &Mounted, place: usize, choices: &mut Choices, by: u32) -> Operation {
    let path =
        if choices.one_in(3) { file_in(mounted, place, choices).1 } else { at(place, &container(mounted, choices)) };
    // More often one that can be there.
    let names = if choices.one_in(2) { &ATTRIBUTES[..2] } else { ATTRIBUTES };
    let name = choices.pick(names).unwrap_or_default().as_bytes().to_vec();
    let by = if name.starts_with(b"security.") { 0 } else { by };
    match choices.below(6) {
        0 => Operation::new(by, &[b"getxattr".to_vec(), path, name]),
        1 => Operation::new(by, &[b"listxattr".to_vec(), path]),
        2 => Operation::new(by, &[b"removexattr".to_vec(), path, name]),
        _ => {
            let value = choices.pick(&["one", "two", ""]).unwrap_or_default().as_bytes().to_vec();
            let how = choices.pick(&["any", "any", "create", "replace"]).unwrap_or_default().as_bytes().to_vec();
            Operation::new(by, &[b"setxattr".to_vec(), path, name, value, how])
        }
    }
}

/// What a hierarchy never allows.
fn never(mounted: &Mounted, place: usize, choices: &mut Choices, by: u32) -> Operation {
    let container = container(mounted, choices);
    let odd = at(place, &below(&container, &name(choices)));
    let file = file_in(mounted, place, choices).1;
    match choices.below(8) {
        0 => Operation::new(by, &[b"create".to_vec(), odd]),
        1 => Operation::new(by, &[b"unlink".to_vec(), file]),
        2 => Operation::new(by, &[b"symlink".to_vec(), odd]),
        3 => Operation::new(by, &[b"link".to_vec(), file, odd]),
        4 => Operation::new(by, &[b"mknod".to_vec(), odd]),
        5 => Operation::new(by, &[b"rmdir".to_vec(), file]),
        6 => Operation::new(by, &[b"rename".to_vec(), file, odd]),
        _ => Operation::new(by, &[b"unlink".to_vec(), at(place, &container)]),
    }
}
