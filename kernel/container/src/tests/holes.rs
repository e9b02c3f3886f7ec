//! What v1 let through, births into other containers, and trees and names at their limits.

use super::{
    rules::{mkdir, mount, task},
    world::{Task, attributes, framework, read, write},
};
use crate::{Container, Framework, Member, Writer};
use alloc::{string::String, vec::Vec};
use base::{Capabilities, Credentials, Errno, Uid};
use machine::sync::Arc;

fn write_as(
    framework: &Framework,
    container: &Arc<Container>,
    file: &str,
    text: &str,
    writer: &Arc<Task>,
    opener: &Credentials,
) -> Result<(), Errno> {
    let file = container.file(file.as_bytes()).unwrap();
    let task = || Some(writer.clone() as Arc<dyn Member>);
    framework.write_file(container, file, text.as_bytes(), &Writer::new(&task, opener))
}

/// Somebody without any capability.
fn user() -> Credentials {
    let (uid, none) = (Uid::new(1000), Capabilities::empty());
    Credentials { uid, euid: uid, suid: uid, fsuid: uid, effective: none, permitted: none, ..Credentials::root() }
}

/// CVE-2022-0492. Fails on a version in which `store_agent` does not ask for the opener's CAP_SYS_ADMIN, or asks for
/// the writer's.
#[test]
fn the_agent_is_set_by_the_capability_of_the_opener() {
    let (framework, ..) = framework();
    let mounted = mount(&framework, "apples").unwrap();
    let root = task(&framework, 1);
    let weak_superuser = Credentials { effective: Capabilities::empty(), ..Credentials::root() };
    for opener in [&user(), &weak_superuser] {
        let written = write_as(&framework, mounted.root(), "release_agent", "/evil", &root, opener);
        assert_eq!(written, Err(Errno::EPERM));
    }
    assert_eq!(read(&framework, mounted.root(), "release_agent"), Ok("\n".into()));
    write_as(&framework, mounted.root(), "release_agent", "/good", &root, &Credentials::root()).unwrap();
    assert_eq!(read(&framework, mounted.root(), "release_agent"), Ok("/good\n".into()));
}

/// CVE-2021-4197. Fails on a version in which `move_by_text` looks at the credentials of the writer: a privileged
/// program is made to write to a descriptor that somebody else opened.
#[test]
fn a_move_is_judged_by_who_opened_the_file() {
    let (framework, tasks, _) = framework();
    let mounted = mount(&framework, "apples").unwrap();
    let root = task(&framework, 1);
    tasks.add(&root);
    let a = mkdir(&framework, mounted.root(), "a");
    for file in ["tasks", "procs"] {
        for text in ["1", "0"] {
            assert_eq!(write_as(&framework, &a, file, text, &root, &user()), Err(Errno::EACCES), "{file} {text}");
        }
    }
    assert_eq!(read(&framework, &a, "tasks"), Ok(String::new()));
}

/// Fails on a version in which reading, writing, moving, mkdir or clone does not ask whether the container is removed, or
/// `dissolve_if_unused` does not mark the root.
#[test]
fn a_dissolved_hierarchy_only_refuses_under_an_open_file() {
    let (framework, tasks, _) = framework();
    let mounted = mount(&framework, "apples").unwrap();
    let one = task(&framework, 1);
    tasks.add(&one);
    let a = mkdir(&framework, mounted.root(), "a");
    let root = mounted.root().clone();
    framework.rmdir(&root, b"a").unwrap();
    drop(mounted);
    for container in [&a, &root] {
        assert_eq!(read(&framework, container, "apples.count"), Err(Errno::ENODEV));
        assert_eq!(write(&framework, container, "tasks", "1", &one), Err(Errno::ENODEV));
        assert_eq!(framework.mkdir(container, b"b", attributes()).err(), Some(Errno::ENOENT));
    }
    let member: Arc<dyn Member> = one;
    assert_eq!(framework.can_fork_into(&member, &a).err(), Some(Errno::ENODEV));
}

#[test]
fn a_child_is_born_where_clone_says() {
    let (framework, ..) = framework();
    let (apples, pears) = (mount(&framework, "apples").unwrap(), mount(&framework, "pears").unwrap());
    let one = task(&framework, 1);
    let a = mkdir(&framework, apples.root(), "a");
    let p = mkdir(&framework, pears.root(), "p");
    write(&framework, &p, "tasks", "0", &one).unwrap();
    let parent: Arc<dyn Member> = one.clone();
    let child = Task::new(2, false);
    framework.can_fork_into(&parent, &a).unwrap().admit(&(child.clone() as Arc<dyn Member>));
    assert_eq!(framework.task_container(&*child).unwrap(), b"apples:/a\npears:/p\n");
    assert_eq!(framework.task_container(&*one).unwrap(), b"apples:/\npears:/p\n");
    let counts = |container: &Arc<Container>, file| read(&framework, container, file).unwrap();
    assert_eq!(counts(&a, "apples.count"), "1\n");
    assert_eq!(counts(apples.root(), "apples.count"), "1\n");
    assert_eq!(counts(&p, "pears.count"), "2\n");

    let a_failed_fork = framework.can_fork_into(&parent, &a).unwrap();
    drop(a_failed_fork);
    assert_eq!(counts(&a, "apples.count"), "1\n");
    write(&framework, &a, "apples.refuse", "1", &one).unwrap();
    assert_eq!(framework.can_fork_into(&parent, &a).err(), Some(Errno::EDOM));
    assert!(framework.can_fork(&*parent).is_ok(), "elsewhere nobody refuses");
    framework.exit(&*child);
    framework.rmdir(apples.root(), b"a").unwrap();
}

#[test]
fn names_have_every_byte_but_newline_and_slash() {
    let (framework, ..) = framework();
    let mounted = mount(&framework, "apples").unwrap();
    // The slash and NUL never come here from a path.
    for byte in (1..=255).filter(|&byte| byte != b'/') {
        let name = [b'x', byte, b'y'];
        let made = framework.mkdir(mounted.root(), &name, attributes());
        if byte == b'\n' {
            assert_eq!(made.err(), Some(Errno::EINVAL));
        } else {
            assert_eq!(made.unwrap().path(), [b"/", &name[..]].concat());
        }
    }
    assert_eq!(framework.mkdir(mounted.root(), &[b'n'; 256], attributes()).err(), Some(Errno::ENAMETOOLONG));
    assert!(framework.mkdir(mounted.root(), &[b'n'; 255], attributes()).is_ok());
}

#[test]
fn a_tree_may_be_deep_and_wide() {
    let (framework, ..) = framework();
    let mounted = mount(&framework, "apples").unwrap();
    let one = task(&framework, 1);
    let mut line = Vec::from([mounted.root().clone()]);
    for _ in 0..256 {
        line.push(mkdir(&framework, line.last().unwrap(), "d"));
    }
    write(&framework, line.last().unwrap(), "tasks", "0", &one).unwrap();
    assert!(line.iter().all(|container| container.is_populated()));
    assert_eq!(framework.task_container(&*one).unwrap(), [&b"apples:"[..], &b"/d".repeat(256), b"\n"].concat());
    write(&framework, mounted.root(), "tasks", "0", &one).unwrap();
    assert!(line[1..].iter().all(|container| !container.is_populated()));
    for parent in line[..256].iter().rev() {
        framework.rmdir(parent, b"d").unwrap();
    }
    drop(line);

    let names = || (0..10_000).map(|number| alloc::format!("c{number}"));
    for name in names() {
        mkdir(&framework, mounted.root(), &name);
    }
    assert_eq!(mounted.root().children().len(), 10_000);
    for name in names() {
        framework.rmdir(mounted.root(), name.as_bytes()).unwrap();
    }
    assert_eq!(mounted.hierarchy().container_count(), 1);
}

#[test]
#[should_panic(expected = "a task is reaped before it has ended")]
fn nobody_is_reaped_who_is_still_in_containers() {
    let (framework, ..) = framework();
    framework.release(&*task(&framework, 1));
}

/// Fails on a version in which `rmdir` does not call `SetTable::forget`, or `retire` does not look at the mark.
#[test]
fn a_removed_container_is_kept_by_no_set() {
    let (framework, ..) = framework();
    let mounted = mount(&framework, "apples").unwrap();
    let (one, zombie) = (task(&framework, 1), task(&framework, 2));
    let a = mkdir(&framework, mounted.root(), "a");
    write(&framework, &a, "tasks", "0", &one).unwrap();
    write(&framework, mounted.root(), "tasks", "0", &one).unwrap();
    write(&framework, &a, "tasks", "0", &zombie).unwrap();
    framework.exit(&*zombie);
    framework.rmdir(mounted.root(), b"a").unwrap();
    let weak = Arc::downgrade(&a);
    drop(a);
    assert!(weak.upgrade().is_some(), "the zombie's");
    framework.release(&*zombie);
    assert!(weak.upgrade().is_none());
}
