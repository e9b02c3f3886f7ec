//! /proc/PID/ns: the namespaces of a task (namespaces(7)). There is one of each kind, in which all tasks are; the files tell
//! that two tasks are in the same one.

use super::{check_inspection, task::TaskFiles};
use crate::table::{Directory, Line};
use base::Errno;
use process::namespaces::{self, NamespaceKind};
use vfs::Link;

macro_rules! namespaces {
    ($($name:literal: $kind:ident),* $(,)?) => {
        &[$(Line::link(
            $name,
            |files| follow(files, NamespaceKind::$kind),
            |files| inspected(files).map(|()| NamespaceKind::$kind.label()),
        )),*]
    };
}

pub(super) static NAMESPACES: Directory<TaskFiles> = Directory {
    id: 5,
    lines: namespaces![
        "cgroup": Cgroup,
        "ipc": Ipc,
        "mnt": Mount,
        "net": Network,
        "pid": Pid,
        "pid_for_children": Pid,
        "time": Time,
        "time_for_children": Time,
        "user": User,
        "uts": Uts,
    ],
    children: None,
};

fn inspected(files: &TaskFiles) -> Result<(), Errno> {
    check_inspection(&*files.task()?)
}

fn follow(files: &TaskFiles, kind: NamespaceKind) -> Result<Link, Errno> {
    inspected(files)?;
    namespaces::open(kind).map(Link::File)
}
