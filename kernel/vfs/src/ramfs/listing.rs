//! The names in a directory of a file system in memory.

use super::inode::RamInode;
use alloc::sync::{Arc, Weak};
use base::{Errno, Names};
use machine::sync::{RwLock, SpinLock};

/// What a directory has beside its attributes.
pub(super) struct Directory {
    pub(super) listing: RwLock<Listing>,
    pub(super) parent: SpinLock<Weak<RamInode>>,
}

/// The names, each with its inode.
pub(super) struct Listing {
    pub(super) names: Names<Arc<RamInode>>,
    /// No name can be added any more.
    pub(super) removed: bool,
}

impl Listing {
    /// Checks that a name can be added: `EEXIST`, `ENOENT` the directory was removed.
    pub(super) fn check_free(&self, name: &[u8]) -> Result<(), Errno> {
        if self.removed {
            Err(Errno::ENOENT)
        } else if self.names.get(name).is_some() {
            Err(Errno::EEXIST)
        } else {
            Ok(())
        }
    }

    /// Checks that `name` still means `inode`, and that it may lose it: `EBUSY` something is mounted on it.
    pub(super) fn check_is(&self, name: &[u8], inode: &RamInode) -> Result<(), Errno> {
        match self.names.get(name) {
            Some(found) if found.number == inode.number => found.check_bare(),
            _ => Err(Errno::ENOENT),
        }
    }
}
