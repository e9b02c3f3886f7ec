//! Births beside moves of processes, and moves of all tasks of a container.

use super::{
    rules::mkdir,
    world::{Task, Tasks, framework, write},
};
use crate::{Callbacks, ControlFile, Dialect, Framework, Lineage, Member, Move, ReleaseWorker, Subsystem, subsystem};
use alloc::{boxed::Box, string::String, vec};
use base::{Credentials, Errno};
use machine::sync::Arc;
use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex},
    thread,
    time::Duration,
};

/// The task whose birth takes long.
const SLOW: i32 = 3;

/// Where each task is, as the subsystem was last told; and whether the slow one's birth has come so far.
static TOLD: Mutex<(BTreeMap<i32, String>, bool)> = Mutex::new((BTreeMap::new(), false));
static CHANGED: Condvar = Condvar::new();

struct Herald;

impl Subsystem for Herald {
    const NAME: &'static str = "herald";
    const INDEX: usize = 0;
    const CALLBACKS: Callbacks = Callbacks::FORK.union(Callbacks::ATTACH);
    const FILES: &'static [ControlFile<Self>] = &[];

    fn create(_parent: &Self) -> Result<Self, Errno> {
        Ok(Self)
    }

    fn fork(child: &dyn Member, place: Lineage<'_, Self>) {
        let tid = child.tid().raw();
        let mut told = TOLD.lock().unwrap();
        if tid == SLOW {
            told.1 = true;
            CHANGED.notify_all();
            // Time for a move that must not come in between.
            told = CHANGED
                .wait_timeout_while(told, Duration::from_millis(200), |told| !told.0.contains_key(&SLOW))
                .unwrap()
                .0;
        }
        told.0.insert(tid, place.path());
    }

    fn attach(task: &dyn Member, _from: Lineage<'_, Self>, to: Lineage<'_, Self>) {
        TOLD.lock().unwrap().0.insert(task.tid().raw(), to.path());
        CHANGED.notify_all();
    }
}

struct NoWorker;

impl ReleaseWorker for NoWorker {
    fn wake(&self) {}
}

/// Fails on a version in which `transfer` moves a child before its fork is over: the subsystem is told of the new place first.
#[test]
fn who_moves_all_tasks_waits_for_those_that_are_being_born() {
    let tasks = Tasks::default();
    let framework = Framework::new(vec![subsystem(Herald)], "", Box::new(tasks.clone()), Box::new(NoWorker));
    let mounted = framework.mount(Dialect::Cgroup, b"herald", &Credentials::root()).unwrap();
    let [from, to] = ["from", "to"].map(|name| mkdir(&framework, mounted.root(), name));
    let [other, parent] = [1, 2].map(|tid| {
        let task = Task::new(tid, false);
        tasks.add(&task);
        framework.can_start().unwrap().admit(&(task.clone() as Arc<dyn Member>));
        write(&framework, &from, "tasks", "0", &task).unwrap();
        task
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            let child: Arc<dyn Member> = Task::new(SLOW, false);
            framework.can_fork(&*parent).unwrap().admit(&child);
        });
        drop(CHANGED.wait_while(TOLD.lock().unwrap(), |told| !told.1).unwrap());
        // The child takes its place in the list, before the parent.
        framework.exit(&*other);
        let _alone = framework.manage.write();
        framework.transfer(&from, &to).unwrap();
    });
    assert_eq!((framework.count_tasks(&from), framework.count_tasks(&to)), (0, 2));
    let told = &TOLD.lock().unwrap().0;
    assert_eq!([2, SLOW].map(|tid| told[&tid].as_str()), ["/to", "/to"]);
}

/// Fails on a version that lets moves of the process go on before its new thread is among its threads.
#[test]
fn a_move_of_a_process_takes_the_thread_that_is_being_born() {
    let (framework, tasks, _) = framework();
    let mounted = framework.mount(Dialect::Cgroup, b"apples", &Credentials::root()).unwrap();
    let to = mkdir(&framework, mounted.root(), "to");
    let leader = Task::new(1, false);
    tasks.add(&leader);
    framework.can_start().unwrap().admit(&(leader.clone() as Arc<dyn Member>));
    let born = Task::new(2, false);
    thread::scope(|scope| {
        let member: Arc<dyn Member> = born.clone();
        framework.can_fork(&*leader).unwrap().admit_and(&member, || {
            let moving = scope.spawn(|| write(&framework, &to, "cgroup.procs", "1", &leader).unwrap());
            // Time for what must not happen.
            thread::sleep(Duration::from_millis(50));
            assert!(!moving.is_finished());
            leader.add_thread(&born);
        });
    });
    assert_eq!((framework.count_tasks(mounted.root()), framework.count_tasks(&to)), (0, 2));
}

/// Lets task 1 come nowhere.
struct Picky;

impl Subsystem for Picky {
    const NAME: &'static str = "picky";
    const INDEX: usize = 0;
    const CALLBACKS: Callbacks = Callbacks::CAN_ATTACH;
    const FILES: &'static [ControlFile<Self>] = &[];

    fn create(_parent: &Self) -> Result<Self, Errno> {
        Ok(Self)
    }

    fn can_attach(change: &Move<'_, Self>) -> Result<(), Errno> {
        let is_first = change.tasks().any(|(task, _)| task.tid().raw() == 1);
        if is_first { Err(Errno::EBUSY) } else { Ok(()) }
    }
}

/// Fails on a version that stops at the first process that a subsystem refuses.
#[test]
fn who_cannot_leave_a_container_that_loses_all_tasks_keeps_nobody_else_there() {
    let tasks = Tasks::default();
    let framework = Framework::new(vec![subsystem(Picky)], "", Box::new(tasks.clone()), Box::new(NoWorker));
    let mounted = framework.mount(Dialect::Cgroup, b"picky", &Credentials::root()).unwrap();
    let to = mkdir(&framework, mounted.root(), "to");
    for tid in 1..=3 {
        let task = Task::new(tid, false);
        tasks.add(&task);
        framework.can_start().unwrap().admit(&(task as Arc<dyn Member>));
    }
    let _alone = framework.manage.write();
    assert_eq!(framework.transfer(mounted.root(), &to), Err(Errno::EBUSY));
    assert_eq!((framework.walk_tasks(mounted.root()).len(), framework.walk_tasks(&to).len()), (1, 2));
}
