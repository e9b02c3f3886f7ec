//! Tests of the VFS as a whole.

mod copies;
mod detached;
mod extended;
mod files;
mod inotify;
mod mount_access;
mod mount_places;
mod mounts;
mod objects;
mod paths;
mod pivot;
mod propagation;
mod propagation_model;
mod splice;
mod trees;

use crate::{Caller, NodeKind, OpenFile, OpenFlags, Permissions, Start};
use alloc::{sync::Arc, vec::Vec};
use base::{Capabilities, Credentials, Errno, Gid, Uid};
use std::string::String;

pub const HERE: Start<'static> = Start::WorkingDirectory;

pub fn mode(mode: u32) -> Permissions {
    Permissions::new(mode)
}

pub fn mkdir(caller: Caller<'_>, path: &str) {
    caller.make(HERE, path.as_bytes(), NodeKind::Directory, mode(0o755)).unwrap();
}

pub fn symlink(caller: Caller<'_>, target: &str, path: &str) {
    caller.make(HERE, path.as_bytes(), NodeKind::Symlink(target.as_bytes()), mode(0)).unwrap();
}

pub fn open(caller: Caller<'_>, path: &str, flags: OpenFlags) -> Result<Arc<OpenFile>, Errno> {
    caller.open(HERE, path.as_bytes(), flags, mode(0o644))
}

pub fn write(caller: Caller<'_>, path: &str, bytes: &[u8]) {
    let flags = OpenFlags::WRITE_ONLY | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    assert_eq!(open(caller, path, flags).unwrap().write(bytes), Ok(bytes.len()));
}

pub fn names(caller: Caller<'_>, path: &str) -> Vec<String> {
    let directory = open(caller, path, OpenFlags::DIRECTORY).unwrap();
    let mut found = Vec::new();
    directory
        .read_directory(&mut |entry| {
            found.push(String::from_utf8(entry.name.to_vec()).unwrap());
            true
        })
        .unwrap();
    found
}

/// A user without capabilities.
pub fn user(uid: u32) -> Arc<Credentials> {
    let (uid, gid) = (Uid::new(uid), Gid::new(uid));
    let effective = Capabilities::empty();
    Arc::new(Credentials { uid, euid: uid, fsuid: uid, gid, egid: gid, fsgid: gid, effective, ..Credentials::root() })
}
