//! Where a mount lies: on an inode that keeps its names meanwhile.

use super::{Mount, Named};
use crate::{FileKind, Inode, open_file::Name};
use alloc::sync::{Arc, Weak};
use base::Errno;
use core::{ops::Deref, sync::atomic::Ordering::Relaxed};

/// Where a mount is mounted.
pub(super) struct Place {
    pub parent: Weak<Mount>,
    pub name: Option<Name>,
    covered: Covered,
}

impl Place {
    pub fn new(parent: &Arc<Mount>, inode: &Arc<dyn Inode>, name: Option<Name>) -> Self {
        Self { parent: Arc::downgrade(parent), name, covered: Covered::new(inode) }
    }

    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.covered.0
    }
}

/// An inode on which a mount lies, or will in a moment: its file system takes no name away from it, see [`Inode::covers`].
pub(crate) struct Covered(Arc<dyn Inode>);

impl Covered {
    pub fn new(inode: &Arc<dyn Inode>) -> Self {
        // Who takes a name away looks at this with the directory locked in which the name was found, or will be.
        if let Some(covers) = inode.covers() {
            covers.fetch_add(1, Relaxed);
        }
        Self(inode.clone())
    }
}

impl Drop for Covered {
    fn drop(&mut self) {
        if let Some(covers) = self.0.covers() {
            covers.fetch_sub(1, Relaxed);
        }
    }
}

/// Where a mount may come to lie. It keeps its name while this is held.
pub(crate) struct FreePlace {
    named: Named,
    _covered: Covered,
}

impl FreePlace {
    /// Keeps the name of a place. `ENOENT` it has lost it since it was found.
    pub fn hold(named: Named) -> Result<Self, Errno> {
        let covered = Covered::new(&named.location.inode);
        if named.location.is_removed() || !named.has_name() {
            return Err(Errno::ENOENT);
        }
        Ok(Self { named, _covered: covered })
    }
}

impl Deref for FreePlace {
    type Target = Named;

    fn deref(&self) -> &Named {
        &self.named
    }
}

impl Named {
    /// Whether its name leads to it, if there is one that could be lost.
    fn has_name(&self) -> bool {
        let inode = &self.location.inode;
        if self.location.is_mount_root() || inode.covers().is_none() {
            return true;
        }
        if inode.kind() != FileKind::Directory {
            let leads_here = |name: &Name| {
                let found = name.directory.lookup(&name.name);
                found.is_ok_and(|found| found.number() == inode.number())
            };
            return self.name.as_ref().is_none_or(leads_here);
        }
        // One that moves just now has its name in the other directory a moment later.
        loop {
            let Some(directory) = inode.parent() else { return true };
            if directory.name_of(&**inode).is_ok() {
                return true;
            }
            if inode.parent().is_none_or(|now| now.number() == directory.number()) {
                return false;
            }
        }
    }
}
