//! What follows when a container becomes empty, `events`, `kill`, and the flags that say so.

use super::{
    rules::{mkdir, mount, task},
    world::{Task, framework, read, write},
};
use crate::{Container, Dialect, Framework, Member, Mounted, Notice, Watcher};
use alloc::{format, string::String, vec::Vec};
use base::{Credentials, Errno};
use machine::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// A hierarchy of `apples` with more options, and a task in its root.
fn world(options: &str) -> (Arc<Framework>, Mounted, Arc<Task>) {
    let (framework, tasks, _) = framework();
    let mounted = mount(&framework, &format!("apples{options}")).unwrap();
    let one = task(&framework, 1);
    tasks.add(&one);
    (framework, mounted, one)
}

fn enter(framework: &Framework, container: &Arc<Container>, task: &Arc<Task>) {
    write(framework, container, "tasks", "1", task).unwrap();
}

/// The arguments of the agents that wait to be started.
fn starts(framework: &Arc<Framework>) -> Vec<Vec<Vec<u8>>> {
    core::iter::from_fn(|| framework.next_release()).map(|release| release.arguments.clone()).collect()
}

#[test]
fn the_last_task_out_asks_for_one_notice() {
    let (framework, mounted, one) = world(",release_agent=/sbin/agent");
    let a = mkdir(&framework, mounted.root(), "a");
    write(&framework, &a, "notify_on_release", "1", &one).unwrap();
    enter(&framework, &a, &one);
    assert!(starts(&framework).is_empty());
    enter(&framework, mounted.root(), &one);
    assert_eq!(starts(&framework), [[b"/sbin/agent".to_vec(), b"/a".to_vec()]]);
}

#[test]
fn a_container_that_filled_again_is_neither_told_of_nor_removed() {
    let (framework, mounted, one) = world(",auto_remove,release_agent=/a");
    let a = mkdir(&framework, mounted.root(), "a");
    write(&framework, &a, "notify_on_release", "1", &one).unwrap();
    enter(&framework, &a, &one);
    enter(&framework, mounted.root(), &one);
    enter(&framework, &a, &one);
    assert!(starts(&framework).is_empty());
    assert!(!a.is_removed());
}

#[test]
fn removal_climbs_and_dissolves_a_hierarchy_that_only_persisted() {
    let (framework, mounted, one) = world(",auto_remove");
    let a = mkdir(&framework, mounted.root(), "a");
    let b = mkdir(&framework, &a, "b");
    let kept = mkdir(&framework, mounted.root(), "kept");
    write(&framework, &kept, "auto_remove", "0", &one).unwrap();
    enter(&framework, &b, &one);
    let root = mounted.root().clone();
    framework.rmdir(&root, b"kept").unwrap();
    drop(mounted);
    assert!(starts(&framework).is_empty());
    assert!(!a.is_removed(), "creation and setting a flag do not make a container become empty");
    enter(&framework, &root, &one);
    assert!(starts(&framework).is_empty());
    assert!(a.is_removed() && b.is_removed() && root.is_removed());
    assert_eq!(framework.task_container(&*one).unwrap(), b"");
}

#[test]
fn removal_waits_for_the_end_of_the_agent_that_was_told() {
    let (framework, mounted, one) = world(",auto_remove,release_agent=/a");
    let a = mkdir(&framework, mounted.root(), "a");
    write(&framework, &a, "notify_on_release", "1", &one).unwrap();
    let come_and_go = || {
        enter(&framework, &a, &one);
        enter(&framework, mounted.root(), &one);
    };
    come_and_go();
    let first = framework.next_release().unwrap();
    assert!(framework.next_release().is_none());
    come_and_go();
    let second = framework.next_release().unwrap();
    drop(first);
    assert!(framework.next_release().is_none());
    assert!(!a.is_removed(), "the second agent still reads");
    assert_eq!(read(&framework, &a, "tasks"), Ok(String::new()));
    drop(second);
    assert!(framework.next_release().is_none());
    assert!(a.is_removed());
    assert_eq!(read(&framework, &a, "tasks"), Err(Errno::ENODEV));
}

#[test]
fn an_agent_that_refills_the_container_keeps_it() {
    let (framework, mounted, one) = world(",auto_remove,release_agent=/a");
    let a = mkdir(&framework, mounted.root(), "a");
    write(&framework, &a, "notify_on_release", "1", &one).unwrap();
    enter(&framework, &a, &one);
    enter(&framework, mounted.root(), &one);
    let release = framework.next_release().unwrap();
    enter(&framework, &a, &one);
    drop(release);
    assert!(framework.next_release().is_none());
    assert!(!a.is_removed());
}

#[test]
fn flags_start_by_the_options_and_go_on_to_children() {
    let (framework, ..) = framework();
    let cgroup = |data: &str| framework.mount(Dialect::Cgroup, data.as_bytes(), &Credentials::root());
    let one = task(&framework, 1);
    let mounted = cgroup("apples,clone_children,xattr,name=x,auto_remove,release_agent=/a b").unwrap();
    let options = |mounted: &Mounted| String::from_utf8(mounted.options()).unwrap();
    assert_eq!(options(&mounted), "apples,xattr,release_agent=/a\\040b,clone_children,auto_remove,name=x");
    let a = mkdir(&framework, mounted.root(), "a");
    for (file, value) in [("cgroup.clone_children", "1\n"), ("cgroup.auto_remove", "1\n"), ("notify_on_release", "0\n")]
    {
        assert_eq!(read(&framework, &a, file), Ok(value.into()), "{file}");
        write(&framework, mounted.root(), file, "0", &one).unwrap();
    }
    assert_eq!(options(&mounted), "apples,xattr,release_agent=/a\\040b,name=x");
    assert_eq!(read(&framework, mounted.root(), "cgroup.sane_behavior"), Ok("0\n".into()));
    assert_eq!(write(&framework, mounted.root(), "cgroup.sane_behavior", "0", &one), Err(Errno::EINVAL));

    let root = &Credentials::root();
    assert_eq!(mounted.remount(b"apples,clone_children", root), Ok(()));
    assert_eq!(mounted.remount(b"apples,auto_remove,release_agent=/c,name=x", root), Ok(()));
    assert_eq!(options(&mounted), "apples,xattr,release_agent=/c,clone_children,auto_remove,name=x");
    for (data, errno) in [
        (&b"pears"[..], Errno::EBUSY),
        (b"apples,name=y", Errno::EBUSY),
        (b"apples,noprefix", Errno::EINVAL),
        (b"nonsense", Errno::EINVAL),
    ] {
        assert_eq!(mounted.remount(data, root), Err(errno));
    }
    assert_eq!(mounted.remount(b"", root), Ok(()));
    let again = cgroup("apples").unwrap();
    assert_eq!(options(&again), options(&mounted), "a reuse changes nothing");
}

#[derive(Default)]
struct Changes(AtomicU64);

impl Watcher for Changes {
    fn changed(&self) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn watch(notice: &Notice) -> Arc<Changes> {
    let watcher: Arc<dyn core::any::Any + Send + Sync> = notice.watch(|| Arc::new(Changes::default()));
    watcher.downcast().unwrap()
}

#[test]
fn events_tell_of_tasks_here_and_below() {
    let (framework, mounted, one) = world("");
    let a = mkdir(&framework, mounted.root(), "a");
    let b = mkdir(&framework, &a, "b");
    let (above, below) = (watch(a.events()), watch(b.events()));
    let told = || (above.0.load(SeqCst), below.0.load(SeqCst));
    assert_eq!(read(&framework, mounted.root(), "events"), Ok("populated 1\nfrozen 0\n".into()));
    assert_eq!(read(&framework, &a, "events"), Ok("populated 0\nfrozen 0\n".into()));
    enter(&framework, &b, &one);
    assert_eq!(told(), (1, 1));
    assert_eq!(read(&framework, &a, "events"), Ok("populated 1\nfrozen 0\n".into()));
    enter(&framework, &a, &one);
    assert_eq!(told().1, 2);
    assert_eq!(read(&framework, &a, "events"), Ok("populated 1\nfrozen 0\n".into()));
    framework.exit(&*one);
    assert_eq!(read(&framework, &a, "events"), Ok("populated 0\nfrozen 0\n".into()));
    assert_eq!(write(&framework, &a, "events", "1", &one), Err(Errno::EINVAL));
}

#[test]
fn what_a_subsystem_says_of_frozen_is_told() {
    let (framework, mounted, one) = world("");
    let a = mkdir(&framework, mounted.root(), "a");
    enter(&framework, &a, &one);
    let changes = watch(a.events());
    let freeze = |frozen| {
        framework.with_states(&*one, |state: crate::Lineage<'_, super::world::Count<0>>| state.set_frozen(frozen))
    };
    freeze(true);
    assert_eq!(read(&framework, &a, "events"), Ok("populated 1\nfrozen 1\n".into()));
    freeze(true);
    assert_eq!(changes.0.load(SeqCst), 1);
    freeze(false);
    assert_eq!(changes.0.load(SeqCst), 2);
    assert_eq!(read(&framework, &a, "events"), Ok("populated 1\nfrozen 0\n".into()));
}

#[test]
fn kill_reaches_every_task_here_and_below_and_no_other() {
    let (framework, mounted, one) = world("");
    let a = mkdir(&framework, mounted.root(), "a");
    let b = mkdir(&framework, &a, "b");
    enter(&framework, &b, &one);
    let child = Task::new(2, false);
    framework.can_fork(&*one).unwrap().admit(&(child.clone() as Arc<dyn Member>));
    let outside = task(&framework, 3);
    for (text, errno) in [
        ("0", Errno::ERANGE),
        ("2", Errno::ERANGE),
        ("-1", Errno::ERANGE),
        ("99999999999999999999", Errno::ERANGE),
        ("x", Errno::EINVAL),
        ("1 1", Errno::EINVAL),
        (" ", Errno::EINVAL),
    ] {
        assert_eq!(write(&framework, &a, "kill", text, &one), Err(errno), "{text:?}");
    }
    assert_eq!(write(&framework, &a, "kill", "0x1\n", &one), Ok(()));
    assert_eq!([one.kills(), child.kills(), outside.kills()], [1, 1, 0]);
    assert_eq!(read(&framework, &a, "kill"), Err(Errno::EINVAL));
    assert_eq!(read(&framework, mounted.root(), "kill"), Err(Errno::ENOENT), "roots have no such file");
}

#[test]
fn containers_that_come_and_go_leave_no_room_in_the_table_of_sets() {
    let (framework, mounted, one) = world("");
    for _ in 0..500 {
        let a = mkdir(&framework, mounted.root(), "a");
        enter(&framework, &a, &one);
        enter(&framework, mounted.root(), &one);
        framework.rmdir(mounted.root(), b"a").unwrap();
    }
    assert!(framework.sets.room() <= 8, "room for {} sets", framework.sets.room());
}
