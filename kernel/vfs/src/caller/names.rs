//! Operations that make, take away and change names.

use super::{Caller, Follow, Start};
use crate::{
    FileKind, Inode, Location, Mount, NewNode, NodeKind, Permissions, RenameFlags, device, permission,
    walk::{Dots, Last, Walk},
    watches::{self, Event, FileEvents},
};
use alloc::{borrow::Cow, sync::Arc};
use base::{
    Capabilities, Errno,
    device::{DeviceAccess, DeviceKind},
};
use core::{ops::Range, sync::atomic::Ordering::Relaxed};

/// A name in a directory, the end of a walk.
struct Entry<'a> {
    directory: Location,
    path: Cow<'a, [u8]>,
    name: Range<usize>,
    slash: bool,
}

/// The end of a walk that was to lead to a name.
struct Ending<'a> {
    /// Where the walk stands.
    directory: Location,
    path: Cow<'a, [u8]>,
    last: Last,
}

impl<'a> Ending<'a> {
    /// The name. A path that ended without one gives what `dots` makes of it.
    fn named(self, dots: impl FnOnce(Dots) -> Errno) -> Result<Entry<'a>, Errno> {
        let Self { directory, path, last } = self;
        match last {
            Last::Name { name, slash } => Ok(Entry { directory, path, name, slash }),
            Last::Here(which) => Err(dots(which)),
        }
    }
}

impl Entry<'_> {
    fn name(&self) -> &[u8] {
        &self.path[self.name.clone()]
    }

    fn lookup(&self) -> Result<Arc<dyn Inode>, Errno> {
        self.directory.inode.lookup(self.name())
    }

    /// `EBUSY` if something is mounted on `inode`, found under this name.
    fn check_not_mounted(&self, caller: &Caller<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        if let Some(covers) = inode.covers() {
            return if covers.load(Relaxed) == 0 { Ok(()) } else { Err(Errno::EBUSY) };
        }
        let location = Location { mount: self.directory.mount.clone(), inode: inode.clone() };
        if caller.context.namespace().has_mount_on(&location) { Err(Errno::EBUSY) } else { Ok(()) }
    }

    /// Whether the directory was removed. Some file systems forget its parent then, others count its names.
    fn is_lost(&self) -> bool {
        let inode = &self.directory.inode;
        let is_root = |mount: &Arc<Mount>| mount.file_system().root().number() == inode.number();
        let has_parent = inode.parent().is_some() || self.directory.mount.as_ref().is_some_and(is_root);
        !has_parent || inode.metadata().links == 0
    }
}

/// `EXDEV` the two are not in one mount.
fn check_same_mount(one: &Location, two: &Location) -> Result<(), Errno> {
    match (&one.mount, &two.mount) {
        (Some(one), Some(two)) if Arc::ptr_eq(one, two) => Ok(()),
        _ => Err(Errno::EXDEV),
    }
}

/// Tells those who watch the directory that something has happened to this child, or a child of this name.
pub(super) fn tell_entry(directory: &Location, name: &[u8], inode: &dyn Inode, what: FileEvents) {
    tell_entry_with(directory, name, inode, what, 0);
}

fn tell_entry_with(directory: &Location, name: &[u8], inode: &dyn Inode, what: FileEvents, cookie: u32) {
    if !watches::any() {
        return;
    }
    if let Some(key) = watches::key_of(directory, &*directory.inode) {
        let what = if inode.kind() == FileKind::Directory { what | FileEvents::IS_DIRECTORY } else { what };
        watches::post(key, &Event { what, name, cookie, linked: true });
    }
}

/// Tells those who watch this inode, which is in the same file system as `directory`.
pub(super) fn tell_inode(directory: &Location, inode: &dyn Inode, what: FileEvents) {
    if !watches::any() {
        return;
    }
    if let Some(key) = watches::key_of(directory, inode) {
        watches::post(key, &Event { what, name: &[], cookie: 0, linked: true });
    }
}

/// Tells that a name of `inode` is gone, and the inode itself if it was the last.
fn tell_lost_name(directory: &Location, inode: &dyn Inode) {
    if watches::any() {
        let is_gone = inode.kind() == FileKind::Directory || inode.metadata().links == 0;
        tell_inode(directory, inode, if is_gone { FileEvents::DELETE_SELF } else { FileEvents::ATTRIBUTES });
    }
}

/// Whether `outer` is the directory `inner` or lies above it in their file system.
fn is_or_contains(outer: &Arc<dyn Inode>, inner: &Arc<dyn Inode>) -> bool {
    let mut levels = core::iter::successors(Some(inner.clone()), |directory| directory.parent());
    levels.any(|directory| directory.number() == outer.number())
}

impl Caller<'_> {
    /// Walks to the end of `path`, and stops before what is there.
    fn ending<'p>(&'p self, start: Start<'_>, path: &'p [u8]) -> Result<Ending<'p>, Errno> {
        let mut walk = Walk::new(*self, start, path, false)?;
        let last = walk.advance()?;
        let (directory, path) = walk.into_parts();
        Ok(Ending { directory, path, last })
    }

    /// Walks to the last name of `path`. A path that ends without one gives what `dots` makes of it.
    fn entry<'p>(
        &'p self,
        start: Start<'_>,
        path: &'p [u8],
        dots: impl FnOnce(Dots) -> Errno,
    ) -> Result<Entry<'p>, Errno> {
        self.ending(start, path)?.named(dots)
    }

    /// A new inode's owner and permissions, by the creator and the directory that it comes to lie in.
    pub(super) fn new_node<'n>(&self, directory: &dyn Inode, kind: NodeKind<'n>, mode: Permissions) -> NewNode<'n> {
        let holder = directory.ownership();
        let inherits = holder.permissions.any(Permissions::SET_GID);
        let mut permissions = match kind {
            NodeKind::Symlink(_) => Permissions::new(0o777),
            _ => mode.masked(self.context.umask()),
        };
        if inherits && kind == NodeKind::Directory {
            permissions = permissions.with(Permissions::SET_GID);
        }
        let gid = if inherits { holder.gid } else { self.credentials.fsgid };
        NewNode { kind, permissions, uid: self.credentials.fsuid, gid }
    }

    /// `mknodat`, `mkdirat`, `symlinkat`. `EEXIST`; `EPERM` a device without CAP_MKNOD, or one that a container forbids;
    /// `EROFS`; `EACCES`.
    pub fn make(&self, start: Start<'_>, path: &[u8], kind: NodeKind<'_>, mode: Permissions) -> Result<(), Errno> {
        self.make_inode(start, path, kind, mode).map(|_| ())
    }

    /// [`Caller::make`], with the inode made and its mount.
    pub(crate) fn make_inode(
        &self,
        start: Start<'_>,
        path: &[u8],
        kind: NodeKind<'_>,
        mode: Permissions,
    ) -> Result<Location, Errno> {
        if kind == NodeKind::Symlink(b"") {
            return Err(Errno::ENOENT);
        }
        let entry = self.entry(start, path, |_| Errno::EEXIST)?;
        let directory = &entry.directory;
        if entry.lookup().is_ok() {
            return Err(Errno::EEXIST);
        }
        if entry.slash && kind != NodeKind::Directory {
            return Err(Errno::ENOENT);
        }
        directory.check_writable()?;
        permission::check_inode(&*directory.inode, self.credentials, permission::WRITE | permission::EXECUTE)?;
        let is_device = matches!(kind, NodeKind::CharDevice(_) | NodeKind::BlockDevice(_));
        if is_device && !self.credentials.has(Capabilities::MKNOD) {
            return Err(Errno::EPERM);
        }
        match kind {
            NodeKind::CharDevice(number) => device::check(DeviceKind::Character, number, DeviceAccess::MAKE)?,
            NodeKind::BlockDevice(number) => device::check(DeviceKind::Block, number, DeviceAccess::MAKE)?,
            _ => {}
        }
        let node = self.new_node(&*directory.inode, kind, mode);
        let inode = directory.inode.create(entry.name(), &node)?;
        tell_entry(directory, entry.name(), &*inode, FileEvents::CREATE);
        Ok(Location { mount: directory.mount.clone(), inode })
    }

    /// `linkat(2)`. `ENOENT` also in a directory that was removed, `EXDEV`, `EPERM` for a directory and for what its owner alone may link, `EEXIST`.
    pub fn link(
        &self,
        start: Start<'_>,
        path: &[u8],
        new_start: Start<'_>,
        new_path: &[u8],
        follow: Follow,
    ) -> Result<(), Errno> {
        let source = self.resolve(start, path, follow)?;
        let entry = self.entry(new_start, new_path, |_| Errno::EEXIST)?;
        if entry.lookup().is_ok() {
            return Err(Errno::EEXIST);
        }
        if entry.slash {
            return Err(Errno::ENOENT);
        }
        let directory = &entry.directory;
        directory.check_writable()?;
        check_same_mount(&source, directory).map_err(|errno| if entry.is_lost() { Errno::ENOENT } else { errno })?;
        permission::check_link(&*source.inode, self.credentials)?;
        permission::check_inode(&*directory.inode, self.credentials, permission::WRITE | permission::EXECUTE)?;
        if source.inode.kind() == FileKind::Directory {
            return Err(Errno::EPERM);
        }
        directory.inode.link(entry.name(), &source.inode)?;
        tell_inode(directory, &*source.inode, FileEvents::ATTRIBUTES);
        tell_entry(directory, entry.name(), &*source.inode, FileEvents::CREATE);
        Ok(())
    }

    /// `unlinkat(2)` without `AT_REMOVEDIR`. `EISDIR`, `EBUSY` a mount point.
    pub fn unlink(&self, start: Start<'_>, path: &[u8]) -> Result<(), Errno> {
        let entry = self.entry(start, path, |_| Errno::EISDIR)?;
        entry.directory.check_writable()?;
        let victim = entry.lookup()?;
        if entry.slash {
            return Err(if victim.kind() == FileKind::Directory { Errno::EISDIR } else { Errno::ENOTDIR });
        }
        permission::check_removal(&*entry.directory.inode, &*victim, self.credentials)?;
        if victim.kind() == FileKind::Directory {
            return Err(Errno::EISDIR);
        }
        entry.check_not_mounted(self, &victim)?;
        entry.directory.inode.unlink(entry.name(), &victim)?;
        tell_entry(&entry.directory, entry.name(), &*victim, FileEvents::DELETE);
        tell_lost_name(&entry.directory, &*victim);
        Ok(())
    }

    /// `rmdir(2)`. `ENOTDIR`, `ENOTEMPTY`, `EBUSY` a mount point, `EINVAL` the last component is `.`.
    pub fn remove_directory(&self, start: Start<'_>, path: &[u8]) -> Result<(), Errno> {
        let entry = self.entry(start, path, |dots| match dots {
            Dots::Start => Errno::EBUSY,
            Dots::One => Errno::EINVAL,
            Dots::Two => Errno::ENOTEMPTY,
        })?;
        entry.directory.check_writable()?;
        let victim = entry.lookup()?;
        permission::check_removal(&*entry.directory.inode, &*victim, self.credentials)?;
        if victim.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        entry.check_not_mounted(self, &victim)?;
        entry.directory.inode.remove_directory(entry.name(), &victim)?;
        tell_lost_name(&entry.directory, &*victim);
        tell_entry(&entry.directory, entry.name(), &*victim, FileEvents::DELETE);
        Ok(())
    }

    /// `renameat2(2)`. `EXDEV`, `EBUSY`, `EINVAL`, `EACCES` also for a directory that is to lie elsewhere and may not be written, and the file system's, see [`Inode::rename`].
    pub fn rename(
        &self,
        start: Start<'_>,
        path: &[u8],
        new_start: Start<'_>,
        new_path: &[u8],
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        if flags.contains(RenameFlags::NO_REPLACE | RenameFlags::EXCHANGE) {
            return Err(Errno::EINVAL);
        }
        let (from, to) = (self.ending(start, path)?, self.ending(new_start, new_path)?);
        check_same_mount(&from.directory, &to.directory)?;
        let no_replace = flags.contains(RenameFlags::NO_REPLACE);
        let from = from.named(|_| Errno::EBUSY)?;
        let to = to.named(|_| if no_replace { Errno::EEXIST } else { Errno::EBUSY })?;
        from.directory.check_writable()?;
        let source = from.lookup()?;
        let target = match to.lookup() {
            Ok(target) => Some(target),
            Err(Errno::ENOENT) => None,
            Err(error) => return Err(error),
        };
        if target.is_some() && no_replace {
            return Err(Errno::EEXIST);
        }
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        if exchange && target.is_none() {
            return Err(Errno::ENOENT);
        }
        let directory = source.kind() == FileKind::Directory;
        let other_directory = target.as_ref().is_some_and(|target| target.kind() == FileKind::Directory);
        if exchange && to.slash && !other_directory {
            return Err(Errno::ENOTDIR);
        }
        if !directory && (from.slash || (to.slash && !exchange)) {
            return Err(Errno::ENOTDIR);
        }
        // Before any right and any kind is looked at, as on Linux.
        if directory && is_or_contains(&source, &to.directory.inode) {
            return Err(Errno::EINVAL);
        }
        if target.as_ref().is_some_and(|target| is_or_contains(target, &from.directory.inode)) {
            return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        // Two names of one inode: nothing to do, and nobody has to be allowed to.
        if target.as_ref().is_some_and(|target| target.number() == source.number()) {
            return Ok(());
        }
        permission::check_removal(&*from.directory.inode, &*source, self.credentials)?;
        let holder = &*to.directory.inode;
        match &target {
            Some(target) => {
                permission::check_removal(holder, &**target, self.credentials)?;
                match (directory, other_directory) {
                    _ if exchange => {}
                    (true, false) => return Err(Errno::ENOTDIR),
                    (false, true) => return Err(Errno::EISDIR),
                    _ => {}
                }
            }
            None => permission::check_inode(holder, self.credentials, permission::WRITE | permission::EXECUTE)?,
        }
        if from.directory.inode.number() != holder.number() {
            // What is called `..` in them is another directory then.
            let moved = [(&source, directory), (target.as_ref().unwrap_or(&source), exchange && other_directory)];
            for (inode, _) in moved.iter().filter(|(_, changes)| *changes) {
                permission::check_inode(&***inode, self.credentials, permission::WRITE)?;
            }
        }
        if let Some(target) = &target {
            to.check_not_mounted(self, target)?;
        }
        from.check_not_mounted(self, &source)?;
        from.directory.inode.rename(from.name(), &source, &to.directory.inode, to.name(), flags)?;
        if watches::any() {
            let tell = |from: &Entry, to: &Entry, inode: &dyn Inode| {
                let cookie = watches::cookie();
                tell_entry_with(&from.directory, from.name(), inode, FileEvents::MOVED_FROM, cookie);
                tell_entry_with(&to.directory, to.name(), inode, FileEvents::MOVED_TO, cookie);
                tell_inode(&to.directory, inode, FileEvents::MOVE_SELF);
            };
            tell(&from, &to, &*source);
            match &target {
                Some(target) if exchange => tell(&to, &from, &**target),
                Some(target) => tell_lost_name(&to.directory, &**target),
                None => {}
            }
        }
        Ok(())
    }
}
