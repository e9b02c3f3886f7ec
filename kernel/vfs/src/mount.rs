//! The mount tree: which file system is seen where.

use crate::{FileSystem, Inode, Registry};
use alloc::{string::String, sync::Arc};
use base::Errno;
use bitflags::bitflags;

bitflags! {
    /// Flags of one mount, with the values of `mount(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MountFlags: u32 {
        /// `MS_RDONLY`.
        const READ_ONLY = 1;
        /// `MS_NOSUID`: set-ID bits mean nothing.
        const NO_SET_ID = 2;
        /// `MS_NODEV`: device files can't be opened.
        const NO_DEVICES = 4;
        /// `MS_NOEXEC`: nothing can be executed.
        const NO_EXECUTE = 8;
        /// `MS_NOATIME`: reading leaves the access time alone.
        const NO_ACCESS_TIMES = 1024;
    }
}

/// An inode, seen through a mount: what a path leads to.
#[derive(Clone)]
pub struct Location {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The inode.
    pub inode: Arc<dyn Inode>,
}

/// One appearance of a file system in a mount tree. Lives as long as something uses it: the tree, an open file, a
/// working directory.
pub struct Mount {
    file_system: Arc<dyn FileSystem>,
}

impl Mount {
    /// The file system.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.file_system
    }

    /// The flags now.
    pub fn flags(&self) -> MountFlags {
        todo!()
    }
}

/// A mount tree, shared by the tasks that see it.
pub struct Namespace {
    registry: Arc<Registry>,
}

impl Namespace {
    /// A tree with `root` at its root.
    pub fn new(_registry: Arc<Registry>, _root: Arc<dyn FileSystem>) -> Arc<Self> {
        todo!()
    }

    /// The file system types and drivers that mounts and device files here use.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The root directory of the tree.
    pub fn root(&self) -> Location {
        todo!()
    }

    /// The text of `/proc/<pid>/mounts` as seen from `root`.
    pub fn mounts_text(&self, _root: &Location) -> Result<String, Errno> {
        todo!()
    }

    /// The text of `/proc/<pid>/mountinfo` as seen from `root`.
    pub fn mountinfo_text(&self, _root: &Location) -> Result<String, Errno> {
        todo!()
    }
}
