//! /proc/PID/ns: the namespaces of a task (namespaces(7)). There is one of each kind, in which all tasks are; the files tell
//! that two tasks are in the same one.

use super::{check_inspection, task::TaskFiles};
use crate::table::{Directory, Line};
use alloc::{format, sync::Arc, vec::Vec};
use base::{Credentials, Errno, Gid, Uid};
use vfs::{
    DeviceNumber, FileKind, FileOps, Inode, Link, Metadata, OpenFile, OpenFlags, OpenRequest, Permissions, Timestamp,
};

/// A kind of namespace and the number of the first one, which is Linux's.
struct Namespace {
    kind: &'static str,
    number: u64,
}

macro_rules! namespaces {
    ($($name:literal: $kind:literal $number:literal),* $(,)?) => {
        &[$(Line::link(
            $name,
            |files| follow(files, &Namespace { kind: $kind, number: $number }),
            |files| inspected(files).map(|()| Namespace { kind: $kind, number: $number }.label()),
        )),*]
    };
}

pub(super) static NAMESPACES: Directory<TaskFiles> = Directory {
    id: 5,
    lines: namespaces![
        "cgroup": "cgroup" 4_026_531_835,
        "ipc": "ipc" 4_026_531_839,
        "mnt": "mnt" 4_026_531_841,
        "net": "net" 4_026_531_840,
        "pid": "pid" 4_026_531_836,
        "pid_for_children": "pid" 4_026_531_836,
        "time": "time" 4_026_531_834,
        "time_for_children": "time" 4_026_531_834,
        "user": "user" 4_026_531_837,
        "uts": "uts" 4_026_531_838,
    ],
    children: None,
};

impl Namespace {
    fn label(&self) -> Vec<u8> {
        format!("{}:[{}]", self.kind, self.number).into_bytes()
    }
}

fn inspected(files: &TaskFiles) -> Result<(), Errno> {
    check_inspection(&*files.task()?)
}

fn follow(files: &TaskFiles, namespace: &'static Namespace) -> Result<Link, Errno> {
    inspected(files)?;
    let inode = Arc::new(NamespaceInode(namespace));
    let root = Arc::new(Credentials::root());
    OpenFile::anonymous(inode, Arc::new(Nothing), OpenFlags::empty(), root).map(Link::File)
}

struct NamespaceInode(&'static Namespace);

/// A file that can neither be read nor written.
struct Nothing;

impl FileOps for Nothing {}

impl Inode for NamespaceInode {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }

    fn number(&self) -> u64 {
        self.0.number
    }

    fn metadata(&self) -> Metadata {
        let device = DeviceNumber::new(0, 4);
        let owner = (Uid::ROOT, Gid::ROOT);
        Metadata::empty(device, self.0.number, self.kind(), Permissions::new(0o444), owner, Timestamp::now())
    }

    fn open(self: Arc<Self>, request: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        if request.flags.writes() { Err(Errno::EPERM) } else { Ok(Arc::new(Nothing)) }
    }

    fn label(&self) -> Option<Vec<u8>> {
        Some(self.0.label())
    }
}
