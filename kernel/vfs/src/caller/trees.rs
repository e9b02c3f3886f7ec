//! Trees of mounts as open files: `open_tree(2)`, `move_mount(2)`, `mount_setattr(2)`.

use super::{Caller, Follow, Start};
use crate::{
    FileOps, Mount, MountFlags, Namespace, OpenFile, OpenFlags, Propagation, file::PathOnly, mount::Named, open_limits,
};
use alloc::sync::Arc;
use base::Errno;

/// What is behind a descriptor of `open_tree(2)` with `OPEN_TREE_CLONE` and of `fsmount(2)`: a tree of mounts that has no place
/// until `move_mount(2)` gives it one. If nobody does, it goes with its last descriptor.
struct DetachedTree {
    namespace: Arc<Namespace>,
    top: Arc<Mount>,
}

impl FileOps for DetachedTree {}

impl Drop for DetachedTree {
    fn drop(&mut self) {
        let mut change = self.namespace.change();
        let gone = change.dissolve(&self.top);
        drop(change);
        // What the file systems do when they go is done under no lock.
        drop(gone);
    }
}

/// What `mount_setattr(2)` changes.
#[derive(Clone, Copy, Debug)]
pub struct MountChange {
    /// Flags that are taken away first.
    pub clear: MountFlags,
    /// Flags that are set then.
    pub set: MountFlags,
    /// How the mount is to take part in what happens elsewhere.
    pub propagation: Option<Propagation>,
    /// All that is mounted below too.
    pub recursive: bool,
}

impl Caller<'_> {
    /// Opens a tree that is in no place.
    pub(super) fn open_detached(&self, top: Arc<Mount>) -> Result<Arc<OpenFile>, Errno> {
        // First, so that it goes if there may be no more files.
        let tree = DetachedTree { namespace: self.context.namespace().clone(), top: top.clone() };
        let admission = open_limits::admit(self.credentials)?;
        let (location, kind) = (top.clone().top(), top.root().kind());
        Ok(OpenFile::new(location, kind, None, Arc::new(tree), OpenFlags::PATH, self.credentials.clone(), admission))
    }

    /// `open_tree(2)` without `OPEN_TREE_CLONE`: what `O_PATH` opens. The errors of a walk and of a new file.
    pub fn open_place(&self, start: Start<'_>, path: &[u8], follow: Follow) -> Result<Arc<OpenFile>, Errno> {
        let admission = open_limits::admit(self.credentials)?;
        let Named { location, name } = self.resolve_named(start, path, follow)?;
        let kind = location.inode.kind();
        Ok(OpenFile::new(
            location,
            kind,
            name,
            Arc::new(PathOnly),
            OpenFlags::PATH,
            self.credentials.clone(),
            admission,
        ))
    }

    /// `open_tree(2)`, with `OPEN_TREE_CLONE`: a copy of what is seen at a path, and with `recursive` of what is mounted below,
    /// that is in no place yet. `EPERM`; `EINVAL` it may not be bound; `ENOSPC` too many mounts; those of a walk and of a new file.
    pub fn clone_tree(
        &self,
        start: Start<'_>,
        path: &[u8],
        follow: Follow,
        recursive: bool,
    ) -> Result<Arc<OpenFile>, Errno> {
        self.may_mount()?;
        let from = self.resolve_named(start, path, follow)?;
        let mut change = self.context.namespace().change();
        change.check_bindable(&from)?;
        let top = change.copy_detached(&from, recursive)?;
        drop(change);
        self.open_detached(top)
    }

    /// `move_mount(2)`: the mount at one path goes to another; it may come from [`Caller::clone_tree`] or
    /// [`Caller::mount_configured`]. `EPERM`; as [`Caller::move_mount`] else.
    pub fn move_tree(
        &self,
        (from_start, from, from_follow): (Start<'_>, &[u8], Follow),
        (to_start, to, to_follow): (Start<'_>, &[u8], Follow),
    ) -> Result<(), Errno> {
        self.may_mount()?;
        let from = self.resolve_named(from_start, from, from_follow)?.location;
        let place = self.resolve_named(to_start, to, to_follow)?;
        self.move_to(from, place)
    }

    /// `move_mount(2)` with `MOVE_MOUNT_SET_GROUP`: the private mount at `to` takes part in what happens elsewhere as the one at
    /// `from` does. `EPERM`; `EINVAL` one of them is no mount point or not in the tree, they are of different file systems, the
    /// first shows less than the second, the first is private or the second is not.
    pub fn share_group(
        &self,
        (from_start, from, from_follow): (Start<'_>, &[u8], Follow),
        (to_start, to, to_follow): (Start<'_>, &[u8], Follow),
    ) -> Result<(), Errno> {
        self.may_mount()?;
        let from = self.resolve_named(from_start, from, from_follow)?;
        let to = self.resolve_named(to_start, to, to_follow)?;
        let (from, to_mount) = (Self::mount_of(from.location)?, Self::mount_of(to.location)?);
        self.context.namespace().change().share_group(&from, &to_mount)
    }

    /// `mount_setattr(2)`: of one mount, or of a whole tree, or of nothing. `EPERM`; `EINVAL` no mount point, or one that is neither
    /// in the tree nor waiting for a place; `EBUSY` one would become read-only and has files that are open for writing.
    pub fn change_mount(&self, start: Start<'_>, path: &[u8], follow: Follow, wish: &MountChange) -> Result<(), Errno> {
        self.may_mount()?;
        let mount = Self::mount_of(self.resolve(start, path, follow)?)?;
        let namespace = self.context.namespace();
        namespace.change().change_mount(&mount, wish)?;
        namespace.tell_of_change();
        Ok(())
    }
}
