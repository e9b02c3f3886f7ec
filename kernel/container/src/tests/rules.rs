//! Single rules of interfaces.md.

use super::world::{Task, attributes, framework, read, write};
use crate::{Container, Dialect, Framework, Member, Mounted};
use alloc::string::String;
use base::{Capabilities, Credentials, Errno};
use machine::sync::Arc;

pub(super) fn mount(framework: &Arc<Framework>, data: &str) -> Result<Mounted, Errno> {
    framework.mount(Dialect::Container, data.as_bytes(), &Credentials::root())
}

pub(super) fn task(framework: &Framework, tid: i32) -> Arc<Task> {
    let task = Task::new(tid, false);
    framework.can_start().unwrap().admit(&(task.clone() as Arc<dyn Member>));
    task
}

pub(super) fn mkdir(framework: &Framework, parent: &Arc<Container>, name: &str) -> Arc<Container> {
    framework.mkdir(parent, name.as_bytes(), attributes()).unwrap()
}

#[test]
fn a_root_directory_is_for_reading_as_on_linux() {
    let (framework, ..) = framework();
    assert_eq!(mount(&framework, "apples").unwrap().root().attributes().mode, 0o555);
}

#[test]
fn a_new_name_with_a_newline_is_refused_before_anything_else() {
    let (framework, ..) = framework();
    let mounted = mount(&framework, "apples").unwrap();
    let (root, other) = (mounted.root(), mkdir(&framework, mounted.root(), "other"));
    for (name, to) in [("tasks", root), ("other", &other)] {
        assert_eq!(framework.rename(root, name.as_bytes(), to, b"a\nb"), Err(Errno::EINVAL), "{name}");
    }
    assert_eq!(framework.rename(root, b"none", root, b"a\nb"), Err(Errno::ENOENT));
}

#[test]
fn each_wrong_mount_has_its_errno_in_both_dialects() {
    for dialect in [Dialect::Container, Dialect::Cgroup] {
        let (framework, ..) = framework();
        let root = Credentials::root();
        let weak = Credentials { effective: Capabilities::empty(), ..Credentials::root() };
        let mount = |data: &str, who| framework.mount(dialect, data.as_bytes(), who);
        // Who asks is looked at before what is asked for.
        for data in ["apples", "plums", "", "name=nobody"] {
            assert_eq!(mount(data, &weak).err(), Some(Errno::EPERM), "{data}");
        }
        let long = alloc::format!("none,name={}", "x".repeat(64));
        let wrong = [
            "plums,apples,APPLES,apple,apples ,apples=1,cpuset_v2_mode,favordynmods,rw,name,release_agent".split(','),
            "all=1,none=1,noprefix=1,xattr=1,auto_remove=1,clone_children=1,release_agent=,name=,none".split(','),
        ];
        let wrong = wrong.into_iter().flatten().filter(|&word| word != "apples");
        let more = ["all,apples", "apples,all", "none,apples,name=x", "none,all,name=x", "name=a b", "name=a/b", &long];
        let twice =
            ["name=x,name=y", "release_agent=/a,release_agent=/a", "name=nobody", "noprefix", "apples,noprefix"];
        for data in wrong.chain(more).chain(twice) {
            assert_eq!(mount(data, &root).err(), Some(Errno::EINVAL), "{data}");
        }
        let both = mount("", &root).unwrap();
        let named = mount("none,name=x", &root).unwrap();
        for data in ["apples", "pears", "apples,name=y", "pears,name=x", "all,name=x"] {
            assert_eq!(mount(data, &root).err(), Some(Errno::EBUSY), "{data}");
        }
        for data in ["name=x", "none,name=x", "all", ",,apples,,pears,apples,"] {
            assert!(mount(data, &root).is_ok(), "{data}");
        }
        for (data, errno) in [
            ("plums", Errno::EINVAL),
            ("apples", Errno::EBUSY),
            ("apples,pears,name=z", Errno::EBUSY),
            ("none,name=x", Errno::EBUSY),
        ] {
            assert_eq!(both.remount(data.as_bytes(), &root), Err(errno), "{data}");
        }
        assert_eq!(named.remount(b"noprefix,name=x", &root), Err(Errno::EINVAL));
        assert_eq!(both.remount(b"", &weak), Err(Errno::EPERM));
        assert_eq!(both.remount(b"", &root), Ok(()));
    }
}

#[test]
fn each_wrong_change_of_the_tree_has_its_errno_in_both_dialects() {
    for dialect in [Dialect::Container, Dialect::Cgroup] {
        let (framework, ..) = framework();
        let mounted = framework.mount(dialect, b"apples", &Credentials::root()).unwrap();
        let root = mounted.root();
        let one = task(&framework, 1);
        let [a, b] = ["a", "b"].map(|name| mkdir(&framework, root, name));
        let inner = mkdir(&framework, &a, "inner");
        let long = [b'n'; 256];
        let taken: [&[u8]; 5] = [b"a", b"tasks", b"apples.count", b"notify_on_release", b"cgroup.procs"];
        for name in taken {
            assert_eq!(framework.mkdir(root, name, attributes()).err(), Some(Errno::EEXIST));
            assert_eq!(framework.rename(root, b"b", root, name), Err(Errno::EEXIST));
        }
        for (name, errno) in [(&b"x\ny"[..], Errno::EINVAL), (&long, Errno::ENAMETOOLONG)] {
            assert_eq!(framework.mkdir(root, name, attributes()).err(), Some(errno));
            assert_eq!(framework.rename(root, b"b", root, name), Err(errno));
        }
        assert_eq!(framework.rmdir(root, b"tasks"), Err(Errno::ENOTDIR));
        assert_eq!(framework.rmdir(root, b"none"), Err(Errno::ENOENT));
        assert_eq!(framework.rmdir(root, b"a"), Err(Errno::EBUSY), "a child");
        assert_eq!(framework.rename(root, b"tasks", root, b"c"), Err(Errno::ENOTDIR));
        assert_eq!(framework.rename(root, b"none", root, b"c"), Err(Errno::ENOENT));
        assert_eq!(framework.rename(&a, b"inner", root, b"inner"), Err(Errno::EIO));
        write(&framework, &b, "tasks", "0", &one).unwrap();
        assert_eq!(framework.rmdir(root, b"b"), Err(Errno::EBUSY), "a task");
        framework.exit(&*one);
        assert_eq!(framework.rmdir(root, b"b"), Ok(()), "a zombie");
        framework.rmdir(&a, b"inner").unwrap();
        assert_eq!(framework.mkdir(&inner, b"c", attributes()).err(), Some(Errno::ENOENT));
        assert_eq!(framework.rmdir(&inner, b"c"), Err(Errno::ENOENT));
    }
}

#[test]
fn numbers_are_given_lowest_first_and_run_out() {
    let (framework, ..) = framework();
    let mut mounts: alloc::vec::Vec<Mounted> = (1..crate::MAX_HIERARCHIES)
        .map(|number| mount(&framework, &alloc::format!("none,name=n{number}")).unwrap())
        .collect();
    assert_eq!(mount(&framework, "apples").err(), Some(Errno::ENOSPC));
    let middle = mounts.len() / 2;
    drop(mounts.remove(middle));
    assert_eq!(mount(&framework, "apples").unwrap().hierarchy().number(), middle + 1);
}

#[test]
fn a_hierarchy_with_children_persists_and_dissolves_with_the_last() {
    let (framework, ..) = framework();
    let mounted = mount(&framework, "apples").unwrap();
    let root = mounted.root().clone();
    mkdir(&framework, &root, "a");
    drop(mounted);
    assert!(framework.proc_containers().contains("1: topcount=1 bits=1 containers=2 (apples) s_active=1"));
    assert_eq!(mount(&framework, "apples,pears").err(), Some(Errno::EBUSY));
    framework.rmdir(&root, b"a").unwrap();
    assert_eq!(mount(&framework, "apples,pears").unwrap().hierarchy().number(), 1);
}

#[test]
fn a_root_state_survives_binding_and_dissolution() {
    let (framework, ..) = framework();
    let first = task(&framework, 1);
    let write_root = |text| {
        let mounted = mount(&framework, "apples").unwrap();
        write(&framework, mounted.root(), "apples.refuse", text, &first).unwrap();
    };
    write_root("1");
    assert_eq!(framework.can_fork(&*first).err(), Some(Errno::EDOM));
    write_root("0");
    assert!(framework.can_fork(&*first).is_ok());
}

#[test]
fn each_wrong_move_has_its_errno_in_both_dialects() {
    for (dialect, procs, kill) in
        [(Dialect::Container, "procs", "kill"), (Dialect::Cgroup, "cgroup.procs", "cgroup.kill")]
    {
        let (framework, tasks, _) = framework();
        let mounted = framework.mount(dialect, b"apples", &Credentials::root()).unwrap();
        let (one, kernel) = (task(&framework, 1), Task::new(2, true));
        framework.can_start().unwrap().admit(&(kernel.clone() as Arc<dyn Member>));
        tasks.add(&one);
        tasks.add(&kernel);
        let a = mkdir(&framework, mounted.root(), "a");
        for (text, errno) in [
            ("x", Errno::EINVAL),
            ("-1", Errno::EINVAL),
            ("1 2", Errno::EINVAL),
            ("1,2", Errno::EINVAL),
            ("2147483648", Errno::EINVAL),
            ("99999999999999999999", Errno::EINVAL),
            (" ", Errno::EINVAL),
            ("\x001", Errno::EINVAL),
            ("99", Errno::ESRCH),
            ("2", Errno::EINVAL),
        ] {
            for file in ["tasks", procs] {
                assert_eq!(write(&framework, &a, file, text, &one), Err(errno), "{file} {text:?}");
            }
        }
        for (text, errno) in [("0", Errno::ERANGE), ("2", Errno::ERANGE), ("x", Errno::EINVAL), ("-1", Errno::ERANGE)] {
            assert_eq!(write(&framework, &a, kill, text, &one), Err(errno), "{text:?}");
        }
        assert_eq!(read(&framework, &a, kill), Err(Errno::EINVAL));
        assert!(mounted.root().file(kill.as_bytes()).is_none());
        assert_eq!(write(&framework, &a, "tasks", "", &one), Ok(()));
        assert_eq!(read(&framework, &a, "tasks"), Ok(String::new()));
        write(&framework, &a, "apples.refuse", "1", &one).unwrap();
        assert_eq!(write(&framework, &a, "tasks", "0", &one), Err(Errno::EDOM));
        write(&framework, &a, "apples.refuse", "0", &one).unwrap();
        assert_eq!(write(&framework, &a, "tasks", "0\n", &one), Ok(()));
        assert_eq!(read(&framework, &a, procs), Ok("1\n".into()));
        framework.exit(&*one);
        assert_eq!(write(&framework, mounted.root(), "tasks", "1", &kernel), Ok(()), "a zombie is skipped");
    }
}

#[test]
fn a_failed_fork_gives_back_what_was_charged() {
    let (framework, ..) = framework();
    let first = task(&framework, 1);
    let mounted = mount(&framework, "apples").unwrap();
    drop(framework.can_fork(&*first).unwrap());
    assert_eq!(read(&framework, mounted.root(), "apples.count"), Ok("1\n".into()));
}

#[test]
fn a_task_shows_one_line_for_each_hierarchy() {
    let (framework, tasks, _) = framework();
    let (apples, pears) = (mount(&framework, "apples").unwrap(), mount(&framework, "pears,name=p").unwrap());
    let one = task(&framework, 1);
    tasks.add(&one);
    let a = mkdir(&framework, apples.root(), "a");
    let b = mkdir(&framework, &a, "b");
    write(&framework, &b, "tasks", "1", &one).unwrap();
    assert_eq!(framework.task_container(&*one).unwrap(), b"apples:/a/b\npears,name=p:/\n");
    assert_eq!(framework.task_cgroup(&*one).unwrap(), b"2:pears,name=p:/\n1:apples:/a/b\n");
    framework.rename(apples.root(), b"a", apples.root(), b"z").unwrap();
    assert_eq!(framework.task_container(&*one).unwrap(), b"apples:/z/b\npears,name=p:/\n");
    drop(pears);
    assert_eq!(
        framework.proc_cgroups(),
        "#subsys_name\thierarchy\tnum_cgroups\tenabled\napples\t1\t3\t1\npears\t0\t1\t1\n"
    );
}

#[test]
fn longer_writes_than_a_file_takes_are_refused_first() {
    let (framework, ..) = framework();
    let mounted = mount(&framework, "apples").unwrap();
    let one = task(&framework, 1);
    let long = "1".repeat(4097);
    assert_eq!(write(&framework, mounted.root(), "apples.count", &long, &one), Err(Errno::E2BIG));
    assert_eq!(write(&framework, mounted.root(), "apples.count", "1", &one), Err(Errno::EINVAL));
}
