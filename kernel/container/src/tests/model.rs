//! The framework against a model that keeps each task's place in a plain map.

use super::world::{Task, Tasks, attributes, framework, read, write};
use crate::{Container, Dialect, Framework, Member, Mounted};
use base::{Credentials, Errno};
use machine::sync::Arc;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::string::{String, ToString};
use std::{format, vec::Vec};

const NAMES: [&str; 2] = ["apples", "pears"];
const PATHS: [&str; 6] = ["/", "/a", "/b", "/a/a", "/a/b", "/a/b/c"];

/// What can happen. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Mount { subsystems: u8 },
    Umount { which: usize },
    Mkdir { hierarchy: usize, path: usize },
    Rmdir { hierarchy: usize, path: usize },
    Attach { hierarchy: usize, path: usize, task: usize },
    Refuse { hierarchy: usize, path: usize, subsystem: usize, value: u8 },
    Fork { parent: usize },
    Exit { task: usize },
}

fn any_step() -> impl Strategy<Value = Step> {
    let (hierarchy, path, task) = (0usize..3, 0..PATHS.len(), 0usize..12);
    prop_oneof![
        (1u8..4).prop_map(|subsystems| Step::Mount { subsystems }),
        (0usize..4).prop_map(|which| Step::Umount { which }),
        (hierarchy.clone(), path.clone()).prop_map(|(hierarchy, path)| Step::Mkdir { hierarchy, path }),
        (hierarchy.clone(), path.clone()).prop_map(|(hierarchy, path)| Step::Mkdir { hierarchy, path }),
        (hierarchy.clone(), path.clone()).prop_map(|(hierarchy, path)| Step::Rmdir { hierarchy, path }),
        (hierarchy.clone(), path.clone(), task.clone()).prop_map(|(hierarchy, path, task)| Step::Attach {
            hierarchy,
            path,
            task
        }),
        (hierarchy.clone(), path.clone(), task.clone()).prop_map(|(hierarchy, path, task)| Step::Attach {
            hierarchy,
            path,
            task
        }),
        (hierarchy, path, 0usize..2, 0u8..2).prop_map(|(hierarchy, path, subsystem, value)| Step::Refuse {
            hierarchy,
            path,
            subsystem,
            value
        }),
        task.clone().prop_map(|parent| Step::Fork { parent }),
        task.prop_map(|task| Step::Exit { task }),
    ]
}

/// The parent's path and the name.
fn split(path: &str) -> (&str, &str) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    (if parent.is_empty() { "/" } else { parent }, name)
}

fn is_child(path: &str, parent: &str) -> bool {
    path != "/" && split(path).0 == parent
}

#[derive(Default)]
struct Hierarchy {
    subsystems: u8,
    mounts: usize,
    /// All but the root.
    containers: BTreeSet<&'static str>,
    refusing: BTreeSet<(&'static str, usize)>,
}

/// What there should be.
#[derive(Default)]
struct Model {
    hierarchies: BTreeMap<usize, Hierarchy>,
    /// The mounts in order, each with its hierarchy.
    mounts: Vec<usize>,
    /// Live tasks and where they are; the root where nothing is said.
    tasks: BTreeMap<i32, BTreeMap<usize, &'static str>>,
    /// The subsystems' flags in the roots stay with the root states, mounted or not.
    refusing_roots: BTreeSet<usize>,
    next: i32,
}

impl Model {
    fn place(&self, task: i32, hierarchy: usize) -> &'static str {
        self.tasks[&task].get(&hierarchy).copied().unwrap_or("/")
    }

    fn exists(&self, hierarchy: usize, path: &str) -> bool {
        self.hierarchies.get(&hierarchy).is_some_and(|found| path == "/" || found.containers.contains(path))
    }

    fn refuses(&self, hierarchy: usize, path: &'static str) -> bool {
        let found = &self.hierarchies[&hierarchy];
        (0..2).filter(|index| found.subsystems >> index & 1 != 0).any(|index| {
            if path == "/" { self.refusing_roots.contains(&index) } else { found.refusing.contains(&(path, index)) }
        })
    }

    fn mount(&mut self, subsystems: u8) -> Result<usize, Errno> {
        let equal =
            self.hierarchies.iter().find(|(_, found)| found.subsystems == subsystems).map(|(number, _)| *number);
        let number = match equal {
            Some(number) => number,
            None if self.hierarchies.values().any(|found| found.subsystems & subsystems != 0) => {
                return Err(Errno::EBUSY);
            }
            None => (1..).find(|number| !self.hierarchies.contains_key(number)).unwrap(),
        };
        let found = self.hierarchies.entry(number).or_default();
        found.subsystems = subsystems;
        found.mounts += 1;
        self.mounts.push(number);
        Ok(number)
    }

    fn umount(&mut self, which: usize) {
        let number = self.mounts.remove(which);
        self.hierarchies.get_mut(&number).unwrap().mounts -= 1;
        self.dissolve_if_unused(number);
    }

    fn dissolve_if_unused(&mut self, number: usize) {
        let found = &self.hierarchies[&number];
        if found.mounts == 0 && found.containers.is_empty() {
            self.hierarchies.remove(&number);
        }
    }

    fn mkdir(&mut self, hierarchy: usize, path: &'static str) -> Result<(), Errno> {
        let (parent, _) = split(path);
        if !self.exists(hierarchy, parent) {
            return Err(Errno::ENOENT);
        }
        let new = self.hierarchies.get_mut(&hierarchy).unwrap().containers.insert(path);
        if new { Ok(()) } else { Err(Errno::EEXIST) }
    }

    fn rmdir(&mut self, hierarchy: usize, path: &'static str) -> Result<(), Errno> {
        if !self.exists(hierarchy, path) {
            return Err(Errno::ENOENT);
        }
        let occupied = self.tasks.keys().any(|&task| self.place(task, hierarchy) == path);
        let found = self.hierarchies.get_mut(&hierarchy).unwrap();
        if occupied || found.containers.iter().any(|other| is_child(other, path)) {
            return Err(Errno::EBUSY);
        }
        found.containers.remove(path);
        found.refusing.retain(|(other, _)| *other != path);
        self.dissolve_if_unused(hierarchy);
        Ok(())
    }

    fn attach(&mut self, hierarchy: usize, path: &'static str, task: i32) -> Result<(), Errno> {
        if self.place(task, hierarchy) != path && self.refuses(hierarchy, path) {
            return Err(Errno::EDOM);
        }
        self.tasks.get_mut(&task).unwrap().insert(hierarchy, path);
        Ok(())
    }

    fn fork(&mut self, parent: i32) -> Result<i32, Errno> {
        let bound: u8 = self.hierarchies.values().map(|found| found.subsystems).sum();
        let unbound_refuses = self.refusing_roots.iter().any(|index| bound >> index & 1 == 0);
        if unbound_refuses || self.hierarchies.keys().any(|&number| self.refuses(number, self.place(parent, number))) {
            return Err(Errno::EDOM);
        }
        let places = self.tasks[&parent].clone();
        self.next += 1;
        self.tasks.insert(self.next, places);
        Ok(self.next)
    }
}

/// The framework, driven the same way.
struct Real {
    framework: Arc<Framework>,
    table: Tasks,
    mounts: Vec<Mounted>,
    roots: BTreeMap<usize, Arc<Container>>,
    tasks: BTreeMap<i32, Arc<Task>>,
    /// Writes to files; in the root of everything, and never moved.
    writer: Arc<Task>,
    next: i32,
}

impl Real {
    fn new() -> Self {
        let (framework, table, _) = framework();
        let (writer, first) = (Task::new(1_000_000, true), Task::new(1, false));
        for task in [&writer, &first] {
            framework.can_start().unwrap().admit(&(task.clone() as Arc<dyn Member>));
            table.add(task);
        }
        let tasks = BTreeMap::from([(1, first)]);
        Self { framework, table, mounts: Vec::new(), roots: BTreeMap::new(), tasks, writer, next: 1 }
    }

    fn find(&self, hierarchy: usize, path: &str) -> Option<Arc<Container>> {
        let root = self.roots.get(&hierarchy).filter(|root| !root.is_removed())?.clone();
        path.split('/')
            .filter(|name| !name.is_empty())
            .try_fold(root, |container, name| container.child(name.as_bytes()))
    }

    fn mount(&mut self, subsystems: u8) -> Result<usize, Errno> {
        let chosen = (0..2).filter(|index| subsystems >> index & 1 != 0).map(|index| NAMES[index]);
        let data = chosen.collect::<Vec<_>>().join(",");
        let mounted = self.framework.mount(Dialect::Cgroup, data.as_bytes(), &Credentials::root())?;
        let number = mounted.hierarchy().number();
        self.roots.insert(number, mounted.root().clone());
        self.mounts.push(mounted);
        Ok(number)
    }

    fn mkdir(&self, hierarchy: usize, path: &str) -> Result<(), Errno> {
        let (parent, name) = split(path);
        let parent = self.find(hierarchy, parent).ok_or(Errno::ENOENT)?;
        self.framework.mkdir(&parent, name.as_bytes(), attributes()).map(drop)
    }

    fn rmdir(&self, hierarchy: usize, path: &str) -> Result<(), Errno> {
        let (parent, name) = split(path);
        let parent = self.find(hierarchy, parent).ok_or(Errno::ENOENT)?;
        self.framework.rmdir(&parent, name.as_bytes())
    }

    fn write(&self, hierarchy: usize, path: &str, file: &str, text: &str) -> Result<(), Errno> {
        let container = self.find(hierarchy, path).ok_or(Errno::ENOENT)?;
        write(&self.framework, &container, file, text, &self.writer)
    }

    fn fork(&mut self, parent: i32) -> Result<i32, Errno> {
        let parent = self.tasks[&parent].clone();
        let admission = self.framework.can_fork(&*parent)?;
        self.next += 1;
        let child = Task::new(self.next, false);
        admission.admit(&(child.clone() as Arc<dyn Member>));
        self.table.add(&child);
        self.tasks.insert(self.next, child);
        Ok(self.next)
    }

    fn exit(&mut self, task: i32) {
        let gone = self.tasks.remove(&task).unwrap();
        self.framework.exit(&*gone);
        self.framework.release(&*gone);
        self.table.remove(task);
    }
}

/// Does a step to both; they agree on what comes out.
fn apply(step: &Step, model: &mut Model, real: &mut Real) -> Result<(), TestCaseError> {
    let pick = |hierarchy: usize, model: &Model| {
        let numbers: Vec<usize> = model.hierarchies.keys().copied().collect();
        (!numbers.is_empty()).then(|| numbers[hierarchy % numbers.len()])
    };
    let who = |task: usize, model: &Model| *model.tasks.keys().nth(task % model.tasks.len()).unwrap();
    match *step {
        Step::Mount { subsystems } => prop_assert_eq!(real.mount(subsystems), model.mount(subsystems)),
        Step::Umount { which } if which < model.mounts.len() => {
            model.umount(which);
            drop(real.mounts.remove(which));
        }
        Step::Mkdir { hierarchy, path } if PATHS[path] != "/" => {
            if let Some(number) = pick(hierarchy, model) {
                prop_assert_eq!(real.mkdir(number, PATHS[path]), model.mkdir(number, PATHS[path]));
            }
        }
        Step::Rmdir { hierarchy, path } if PATHS[path] != "/" => {
            if let Some(number) = pick(hierarchy, model) {
                prop_assert_eq!(real.rmdir(number, PATHS[path]), model.rmdir(number, PATHS[path]));
            }
        }
        Step::Attach { hierarchy, path, task } => {
            let (path, task) = (PATHS[path], who(task, model));
            if let Some(number) = pick(hierarchy, model).filter(|&number| model.exists(number, path)) {
                let moved = real.write(number, path, "tasks", &task.to_string());
                prop_assert_eq!(moved, model.attach(number, path, task));
            }
        }
        Step::Refuse { hierarchy, path, subsystem, value } => {
            let path = PATHS[path];
            let bound = |number: &usize| model.hierarchies[number].subsystems >> subsystem & 1 != 0;
            let number = pick(hierarchy, model).filter(|number| model.exists(*number, path)).filter(bound);
            if let Some(number) = number {
                real.write(number, path, &format!("{}.refuse", NAMES[subsystem]), &value.to_string()).unwrap();
                if path == "/" {
                    model.refusing_roots.remove(&subsystem);
                    model.refusing_roots.extend((value == 1).then_some(subsystem));
                } else {
                    let refusing = &mut model.hierarchies.get_mut(&number).unwrap().refusing;
                    refusing.remove(&(path, subsystem));
                    refusing.extend((value == 1).then_some((path, subsystem)));
                }
            }
        }
        Step::Fork { parent } => {
            let parent = who(parent, model);
            prop_assert_eq!(real.fork(parent), model.fork(parent));
        }
        Step::Exit { task } if model.tasks.len() > 1 => {
            let task = who(task, model);
            model.tasks.remove(&task);
            real.exit(task);
        }
        _ => {}
    }
    // A place in a hierarchy that is gone means nothing to the next one of that number.
    let numbers: BTreeSet<usize> = model.hierarchies.keys().copied().collect();
    model.tasks.values_mut().for_each(|places| places.retain(|number, _| numbers.contains(number)));
    Ok(())
}

/// Everything that a user can see is what the model says.
fn compare(model: &Model, real: &Real, step: &Step) -> Result<(), TestCaseError> {
    let lines = |mut tasks: Vec<i32>| {
        tasks.sort_unstable();
        tasks.iter().map(|task| format!("{task}\n")).collect::<String>()
    };
    for (&number, hierarchy) in &model.hierarchies {
        for path in ["/"].iter().chain(&hierarchy.containers) {
            let container = real.find(number, path);
            prop_assert!(container.is_some(), "{path} is missing in {number} after {step:?}");
            let container = container.unwrap();
            let mut inside: Vec<i32> =
                model.tasks.keys().copied().filter(|&task| model.place(task, number) == *path).collect();
            inside.extend((*path == "/").then_some(1_000_000));
            let count = format!("{}\n", inside.len());
            prop_assert_eq!(read(&real.framework, &container, "tasks"), Ok(lines(inside)), "{} after {:?}", path, step);
            for index in (0..2).filter(|index| hierarchy.subsystems >> index & 1 != 0) {
                let counted = read(&real.framework, &container, &format!("{}.count", NAMES[index]));
                prop_assert_eq!(counted, Ok(count.clone()), "{} of {} after {:?}", NAMES[index], path, step);
            }
        }
    }
    for (&tid, task) in &real.tasks {
        let places = model.hierarchies.iter().map(|(&number, hierarchy)| {
            let chosen = (0..2).filter(|index| hierarchy.subsystems >> index & 1 != 0).map(|index| NAMES[index]);
            format!("{}:{}\n", chosen.collect::<Vec<_>>().join(","), model.place(tid, number))
        });
        let shown = real.framework.task_container(&**task).unwrap();
        prop_assert_eq!(String::from_utf8(shown).unwrap(), places.collect::<String>(), "{} after {:?}", tid, step);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn framework_and_model_agree(steps in proptest::collection::vec(any_step(), 1..120)) {
        let mut model = Model { tasks: BTreeMap::from([(1, BTreeMap::new())]), next: 1, ..Model::default() };
        let mut real = Real::new();
        for step in &steps {
            apply(step, &mut model, &mut real)?;
            compare(&model, &real, step)?;
        }
        // all goes: sets are left only for the root
        let tasks: Vec<i32> = real.tasks.keys().copied().collect();
        tasks.into_iter().for_each(|task| real.exit(task));
        prop_assert_eq!(real.framework.set_count(), 1);
    }
}
