//! Operations on the mount tree. All ask for CAP_SYS_ADMIN (`EPERM`).

use super::{Caller, Follow, Start};
use crate::{FileKind, Location, Mount, MountFlags, MountRequest};
use alloc::sync::Arc;
use base::{Capabilities, Errno};

impl Caller<'_> {
    fn may_mount(&self) -> Result<(), Errno> {
        if self.credentials.has(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
    }

    fn mount_target(&self, target: &[u8]) -> Result<Location, Errno> {
        self.resolve(Start::WorkingDirectory, target, Follow::Yes)
    }

    /// The root of the mount that `target` names; `EINVAL` if `target` is no mount point.
    fn mounted_at(&self, target: &[u8], follow: Follow) -> Result<Arc<Mount>, Errno> {
        let location = self.resolve(Start::WorkingDirectory, target, follow)?;
        let mount = location.mount.ok_or(Errno::EINVAL)?;
        if mount.root().number() == location.inode.number() { Ok(mount) } else { Err(Errno::EINVAL) }
    }

    /// `mount(2)` with a file system type. `ENODEV` unknown type, `ENOTDIR` no directory, `EBUSY` the very same file
    /// system is mounted there already, as in Linux, else the type's own.
    pub fn mount(
        &self,
        source: &[u8],
        target: &[u8],
        kind: &[u8],
        flags: MountFlags,
        data: &[u8],
    ) -> Result<(), Errno> {
        let place = self.mount_target(target)?;
        self.may_mount()?;
        let namespace = self.context.namespace();
        let kind = namespace.registry().find_type(kind)?;
        if place.inode.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let file_system = kind.mount(&MountRequest { source, data, flags, credentials: self.credentials })?;
        let root = file_system.root();
        let mount = Mount::new(file_system, root, source, flags);
        let change = namespace.change();
        // Somebody may have mounted here meanwhile: then this one goes on top.
        let place = place.cross_mounts();
        if mount.is_seen_at(&place) {
            return Err(Errno::EBUSY);
        }
        change.attach(mount, &place)
    }

    /// `mount(2)` with `MS_BIND`: what `source` names is seen at `target` too; with `recursive` (`MS_REC`) also what
    /// is mounted below it. `ENOTDIR` a directory on a file or the other way round.
    pub fn bind(&self, source: &[u8], target: &[u8], recursive: bool) -> Result<(), Errno> {
        let place = self.mount_target(target)?;
        self.may_mount()?;
        let from = self.mount_target(source)?;
        if (from.inode.kind() == FileKind::Directory) != (place.inode.kind() == FileKind::Directory) {
            return Err(Errno::ENOTDIR);
        }
        let change = self.context.namespace().change();
        let mount = change.copy(&from, recursive)?;
        change.attach(mount, &place.cross_mounts())
    }

    /// `mount(2)` with `MS_MOVE`: the mount at `source` goes to `target`. `EINVAL` `source` is no mount point or the
    /// top of the tree; `ELOOP` `target` lies in what is moved.
    pub fn move_mount(&self, source: &[u8], target: &[u8]) -> Result<(), Errno> {
        let place = self.mount_target(target)?;
        self.may_mount()?;
        let mount = self.mounted_at(source, Follow::Yes)?;
        if (mount.root().kind() == FileKind::Directory) != (place.inode.kind() == FileKind::Directory) {
            return Err(Errno::ENOTDIR);
        }
        let change = self.context.namespace().change();
        let place = place.cross_mounts();
        if place.is_within(&mount) {
            return Err(Errno::ELOOP);
        }
        let mount = change.detach(&mount)?;
        change.attach(mount, &place)
    }

    /// `mount(2)` with `MS_REMOUNT`: new flags and options; with `only_flags` (`MS_BIND` too) the file system is not
    /// asked. `EINVAL` no mount point.
    pub fn remount(&self, target: &[u8], flags: MountFlags, data: &[u8], only_flags: bool) -> Result<(), Errno> {
        let mount = self.mounted_at(target, Follow::Yes);
        self.may_mount()?;
        let mount = mount?;
        if !only_flags {
            mount.file_system().remount(data, self.credentials)?;
        }
        mount.set_flags(flags);
        Ok(())
    }

    /// `umount2(2)`. `EINVAL` no mount point or the top of the tree; `EBUSY` something is open, a working directory or
    /// another mount in it, unless `detach` (`MNT_DETACH`), which hides it now and lets it go with its last user.
    pub fn unmount(&self, target: &[u8], detach: bool, follow: Follow) -> Result<(), Errno> {
        let mount = self.mounted_at(target, follow);
        self.may_mount()?;
        let mount = mount?;
        let change = self.context.namespace().change();
        if !detach && mount.place().is_some() && change.is_busy(&mount, 1) {
            return Err(Errno::EBUSY);
        }
        let detached = change.detach(&mount)?;
        drop(change);
        // What the file system does when it goes is done before umount returns, and under no lock.
        drop((mount, detached));
        Ok(())
    }
}
