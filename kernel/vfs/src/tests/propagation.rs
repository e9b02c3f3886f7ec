//! Mount propagation, compared with a model that follows Linux's document on shared subtrees word by word.

use super::{
    mounts::with_mounts,
    propagation_model::{Kind, Model},
    *,
};
use crate::{Propagation, Unmount};
use alloc::{collections::BTreeMap, format, string::ToString};
use proptest::prelude::*;
use std::{println, string::String};

/// What is done; places are numbers of paths that there are at that moment.
#[derive(Clone, Debug)]
enum Step {
    Make(usize, Kind, bool),
    Mount(usize),
    Bind(usize, usize, bool),
    Move(usize, usize),
    Unmount(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        4 => Just(Kind::Shared), 1 => Just(Kind::Private), 3 => Just(Kind::Slave), 1 => Just(Kind::Unbindable)
    ];
    prop_oneof![
        3 => (any::<usize>(), kind, any::<bool>()).prop_map(|(at, kind, all)| Step::Make(at, kind, all)),
        2 => any::<usize>().prop_map(Step::Mount),
        4 => (any::<usize>(), any::<usize>(), any::<bool>()).prop_map(|(from, to, all)| Step::Bind(from, to, all)),
        2 => (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Step::Move(from, to)),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(at, lazy)| Step::Unmount(at, lazy)),
    ]
}

/// All mounts by where they are: for each what is seen, and the mounts that it is a peer and a slave of, by the first of them.
fn found(caller: Caller<'_>) -> BTreeMap<String, String> {
    let text = caller.context.namespace().mountinfo_text(&caller.context.root()).unwrap();
    let rows: BTreeMap<&str, Vec<&str>> =
        text.lines().map(|line| (line.split(' ').next().unwrap(), line.split(' ').collect())).collect();
    let name = |number: &str| {
        let mut parts = Vec::new();
        let mut at = number;
        loop {
            parts.push(rows[at][4]);
            if rows[at][1] == at {
                break;
            }
            at = rows[at][1];
        }
        parts.reverse();
        parts.join("|")
    };
    let field = |row: &[&str], word: &str| row.iter().find_map(|field| field.strip_prefix(word)).map(String::from);
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for (number, row) in &rows {
        if let Some(group) = field(row, "shared:") {
            let name = name(number);
            let known = first.entry(group).or_insert(name.clone());
            *known = name.min(known.clone());
        }
    }
    let line = |row: &[&str]| {
        let of = |word| field(row, word).map_or("-".to_string(), |group| first[&group].clone());
        let fixed = row.contains(&"unbindable");
        format!("{} peers {} master {}{}", row[3], of("shared:"), of("master:"), if fixed { " unbindable" } else { "" })
    };
    rows.iter().map(|(number, row)| (name(number), line(row))).collect()
}

fn perform(caller: Caller<'_>, model: &mut Model, step: &Step) -> (Result<(), Errno>, Result<(), Errno>) {
    let paths = model.paths();
    let path = |index: usize| paths[index % paths.len()].as_str();
    match *step {
        Step::Make(at, kind, all) => {
            let to = match kind {
                Kind::Shared => Propagation::Shared,
                Kind::Private => Propagation::Private,
                Kind::Slave => Propagation::Slave,
                Kind::Unbindable => Propagation::Unbindable,
            };
            (caller.set_propagation(path(at).as_bytes(), Some(to), all), model.make(path(at), kind, all))
        }
        Step::Mount(at) => {
            let path = path(at);
            (caller.mount(b"", path.as_bytes(), Some(b"filled"), Default::default(), b""), model.mount(path))
        }
        Step::Bind(from, to, all) => {
            (caller.bind(path(from).as_bytes(), path(to).as_bytes(), all), model.bind(path(from), path(to), all))
        }
        Step::Move(from, to) => {
            (caller.move_mount(path(from).as_bytes(), path(to).as_bytes()), model.move_mount(path(from), path(to)))
        }
        Step::Unmount(at, lazy) => {
            let how = if lazy { Unmount::DETACH } else { Unmount::empty() };
            (caller.unmount(path(at).as_bytes(), how), model.unmount(path(at), lazy))
        }
    }
}

fn tell_difference(word: &str, ones: &BTreeMap<String, String>, others: &BTreeMap<String, String>) {
    for (place, one) in ones.iter().filter(|(place, one)| others.get(*place) != Some(one)) {
        println!("{word} {place}: {one}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn mounts_are_handed_on_as_the_model_says(steps in prop::collection::vec(step(), 1..40)) {
        with_mounts(|caller| {
            let mut model = Model::new(200);
            caller.context.namespace().set_most_mounts(200);
            ["/a", "/a/b", "/c"].into_iter().for_each(|path| mkdir(caller, path));
            for (index, step) in steps.iter().enumerate() {
                let (real, expected) = perform(caller, &mut model, step);
                let state = (found(caller), model.shown());
                if (real, &state.0) != (expected, &state.1) {
                    println!("step {index} {step:?}: {real:?}, expected {expected:?}");
                    tell_difference("found", &state.0, &state.1);
                    tell_difference("expected", &state.1, &state.0);
                    panic!("differs from the model");
                }
            }
        });
    }
}

fn make(caller: Caller<'_>, path: &str, to: Propagation) {
    caller.set_propagation(path.as_bytes(), Some(to), false).unwrap();
}

/// The optional fields of what is mounted at `path`, the last one there.
fn fields(caller: Caller<'_>, path: &str) -> String {
    let text = caller.context.namespace().mountinfo_text(&caller.context.root()).unwrap();
    let line = text.lines().rev().find(|line| line.split(' ').nth(4) == Some(path)).unwrap();
    let fields: Vec<&str> = line.split(' ').skip(6).take_while(|field| *field != "-").collect();
    fields.join(" ")
}

#[test]
fn mountinfo_says_who_is_told_by_whom() {
    with_mounts(|caller| {
        for path in ["/m", "/s", "/u", "/jail", "/jail/m", "/jail/t"] {
            mkdir(caller, path);
        }
        let bind = |from: &str, to: &str| caller.bind(from.as_bytes(), to.as_bytes(), false).unwrap();
        mounts::mount(caller, "/m");
        make(caller, "/m", Propagation::Shared);
        bind("/m", "/jail/m");
        bind("/m", "/s");
        make(caller, "/s", Propagation::Slave);
        assert_eq!(fields(caller, "/s"), "master:1");
        make(caller, "/s", Propagation::Shared);
        bind("/s", "/jail/t");
        make(caller, "/jail/t", Propagation::Slave);
        mounts::mount(caller, "/u");
        make(caller, "/u", Propagation::Unbindable);
        assert_eq!(caller.bind(b"/u", b"/u", false), Err(Errno::EINVAL));
        let places = ["/m", "/jail/m", "/s", "/jail/t", "/u"];
        let all = places.map(|path| fields(caller, path));
        assert_eq!(all, ["shared:1", "shared:1", "shared:2 master:1", "master:2", "unbindable"]);
        caller.change_root(b"/jail").unwrap();
        assert_eq!(fields(caller, "/t"), "master:2 propagate_from:1");
    });
}

#[test]
fn busy_copies_hold_an_unmount_up_unless_something_else_is_on_them() {
    with_mounts(|caller| {
        for path in ["/m", "/n"] {
            mkdir(caller, path);
        }
        mounts::mount(caller, "/m");
        make(caller, "/m", Propagation::Shared);
        mkdir(caller, "/m/x");
        caller.bind(b"/m", b"/n", false).unwrap();
        mounts::mount(caller, "/m/x");
        let file = open(caller, "/n/x", OpenFlags::DIRECTORY).unwrap();
        let unmount = || caller.unmount(b"/m/x", Unmount::empty());
        assert_eq!(unmount(), Err(Errno::EBUSY));
        mkdir(caller, "/m/x/y");
        make(caller, "/n/x", Propagation::Private);
        mounts::mount(caller, "/n/x/y");
        assert_eq!(unmount(), Ok(()));
        assert_eq!(fields(caller, "/n/x"), "", "what carries something stays");
        drop(file);
    });
}
