//! Operations on the mount tree. All ask for CAP_SYS_ADMIN (`EPERM`), once they have found the target.

use super::{Caller, Follow, Start};
use crate::{
    FileKind, Location, Mount, MountFlags, MountRequest, Propagation, SystemFlags, mount::Named, namespace::Graft,
    walk::Walk,
};
use alloc::sync::Arc;
use base::{Capabilities, Errno};
use bitflags::bitflags;

bitflags! {
    /// How `umount2(2)` unmounts, with its values.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Unmount: u32 {
        /// `MNT_FORCE`: a file system that waits for somebody stops waiting. None does.
        const FORCE = 1;
        /// `MNT_DETACH`: hidden now, it goes with its last user.
        const DETACH = 2;
        /// `MNT_EXPIRE`: only if nobody has used it since this was asked last.
        const EXPIRE = 4;
        /// `UMOUNT_NOFOLLOW`: a link at the end of the path is not followed.
        const NO_FOLLOW = 8;
    }
}

/// What `MS_REMOUNT` changes.
#[derive(Clone, Copy, Debug)]
pub struct Remount<'a> {
    /// The new flags of the mount; without those of the access times they stay as they are.
    pub flags: MountFlags,
    /// Whether flags of the access times were given.
    pub times: bool,
    /// The new flags and options of the file system; `None` (`MS_BIND`) leaves it alone.
    pub system: Option<(SystemFlags, &'a [u8])>,
}

impl Caller<'_> {
    pub(super) fn may_mount(&self) -> Result<(), Errno> {
        if self.credentials.has(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
    }

    fn named(&self, path: &[u8]) -> Result<Named, Errno> {
        Walk::new(*self, Start::WorkingDirectory, path, false)?.finish_named(true)
    }

    /// Where something is to be mounted.
    fn mount_target(&self, target: &[u8]) -> Result<Named, Errno> {
        let place = self.named(target)?;
        self.may_mount()?;
        Ok(place)
    }

    /// The mount whose root `location` is; `EINVAL` if it is none.
    pub(super) fn mount_of(location: Location) -> Result<Arc<Mount>, Errno> {
        if !location.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        location.mount.ok_or(Errno::EINVAL)
    }

    /// `mount(2)` with a file system type. `EINVAL` none was given, `ENODEV` unknown type, `ENOTDIR` no directory, `ENOENT` it was removed, `EINVAL` it
    /// is in no mount of the tree, `EBUSY` the very same file system is mounted there already, as in Linux, `ENOSPC` too many
    /// mounts, else the type's own.
    pub fn mount(
        &self,
        source: &[u8],
        target: &[u8],
        kind: Option<&[u8]>,
        (flags, system_flags): (MountFlags, SystemFlags),
        data: &[u8],
    ) -> Result<(), Errno> {
        let place = self.mount_target(target)?;
        let namespace = self.context.namespace();
        let kind = namespace.registry().find_type(kind.ok_or(Errno::EINVAL)?)?;
        if place.location.inode.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let file_system = kind.mount(&MountRequest { source, data, flags, credentials: self.credentials })?;
        let mut change = namespace.change();
        // Somebody may have mounted here meanwhile: then this one goes on top.
        let place = change.free_place(place)?;
        let system = change.system(&*file_system, system_flags);
        // If it can't be mounted, the file system goes when the right to change the tree has been given back.
        let mount = Mount::new(file_system.clone(), source, flags, system);
        if mount.is_seen_at(&place.location) {
            return Err(Errno::EBUSY);
        }
        change.graft(Graft::New(mount), &place)
    }

    /// `mount(2)` with `MS_BIND`: what `source` names is seen at `target` too; with `recursive` (`MS_REC`) also what
    /// is mounted below it. `EINVAL` no source, or one that may not be bound; `ENOTDIR` a directory on a file or the other
    /// way round; `ENOENT`; `ENOSPC` too many mounts.
    pub fn bind(&self, source: &[u8], target: &[u8], recursive: bool) -> Result<(), Errno> {
        let place = self.mount_target(target)?;
        if source.is_empty() {
            return Err(Errno::EINVAL);
        }
        let from = self.named(source)?;
        let mut change = self.context.namespace().change();
        let place = change.free_place(place)?;
        change.check_bindable(&from)?;
        if is_directory(&from.location) != is_directory(&place.location) {
            return Err(Errno::ENOTDIR);
        }
        change.graft(Graft::Copy { from: &from, recursive }, &place)
    }

    /// `mount(2)` with `MS_MOVE`: the mount at `source` goes to `target`. `EINVAL` no source, or it is no mount point, the
    /// top of the tree, on a shared mount, of another kind than `target`, or has something unbindable in it that would come
    /// to a shared place; `ELOOP` `target` lies in what is moved; `ENOENT`; `ENOSPC` too many mounts.
    pub fn move_mount(&self, source: &[u8], target: &[u8]) -> Result<(), Errno> {
        let place = self.mount_target(target)?;
        if source.is_empty() {
            return Err(Errno::EINVAL);
        }
        let from = self.named(source)?.location;
        self.move_to(from, place)
    }

    /// Moves the mount at a location to a place: [`Caller::move_mount`].
    pub(super) fn move_to(&self, from: Location, place: Named) -> Result<(), Errno> {
        let mut change = self.context.namespace().change();
        let place = change.free_place(place)?;
        let is_alike = is_directory(&from) == is_directory(&place.location);
        let mount = Self::mount_of(from)?;
        change.check_movable(&mount, &place)?;
        if !is_alike {
            return Err(Errno::EINVAL);
        }
        if place.location.is_within(&mount) {
            return Err(Errno::ELOOP);
        }
        change.graft(Graft::Moved(mount), &place)
    }

    /// `mount(2)` with `MS_REMOUNT`: new flags and options. `EINVAL` no mount point, or not in the tree; `EBUSY` it would become
    /// read-only and has files that are open for writing; the file system's own.
    pub fn remount(&self, target: &[u8], wish: &Remount<'_>) -> Result<(), Errno> {
        let location = self.mount_target(target)?.location;
        let mount = Self::mount_of(location)?;
        let namespace = self.context.namespace();
        let change = namespace.change();
        if !change.holds(&mount) {
            return Err(Errno::EINVAL);
        }
        if let Some((flags, data)) = wish.system {
            let file_system = mount.file_system();
            namespace
                .registry()
                .find_type(file_system.kind().as_bytes())
                .map_or(Ok(()), |kind| kind.check_options(data))?;
            let apply = || file_system.remount(data, self.credentials);
            mount.system().reconfigure(&**file_system, flags, apply)?;
        }
        let kept = if wish.times { MountFlags::empty() } else { mount.flags() & MountFlags::TIMES };
        mount.change_flags(if wish.times { wish.flags } else { wish.flags.difference(MountFlags::TIMES) | kept })?;
        drop(change);
        namespace.tell_of_change();
        Ok(())
    }

    /// `mount(2)` with a propagation flag, and with `recursive` (`MS_REC`) for all that is mounted below. `EINVAL` no mount
    /// point, or not in the tree, or there is no such flag (`None`).
    pub fn set_propagation(&self, target: &[u8], to: Option<Propagation>, recursive: bool) -> Result<(), Errno> {
        let location = self.mount_target(target)?.location;
        let (mount, to) = (Self::mount_of(location)?, to.ok_or(Errno::EINVAL)?);
        let mut change = self.context.namespace().change();
        if !change.holds(&mount) {
            return Err(Errno::EINVAL);
        }
        change.set_propagation(&mount, to, recursive);
        Ok(())
    }

    /// `umount2(2)`. `EINVAL` no mount point, the top of the tree, or `EXPIRE` together with `FORCE` or `DETACH` or of what the
    /// caller's root is in; `EBUSY` something is open, a working directory or another mount in it or in what goes with it,
    /// unless `DETACH`; `EAGAIN` it was not about to expire. The file system that the caller's root is in becomes read-only
    /// instead, unless `DETACH`; `EBUSY` it has files that are open for writing.
    pub fn unmount(&self, target: &[u8], how: Unmount) -> Result<(), Errno> {
        let follow = if how.contains(Unmount::NO_FOLLOW) { Follow::No } else { Follow::Yes };
        // What is mounted on the place is meant, also where the path ends with a dot.
        let location = self.resolve(Start::WorkingDirectory, target, follow)?.cross_mounts();
        self.may_mount()?;
        let mount = Self::mount_of(location)?;
        let mut change = self.context.namespace().change();
        // No other mount is held from here on: its parent may be a copy that goes too.
        if mount.parent().is_none() || !change.holds(&mount) {
            return Err(Errno::EINVAL);
        }
        let is_own_root = self.context.root().mount.is_some_and(|root| Arc::ptr_eq(&root, &mount));
        if how.contains(Unmount::EXPIRE) && (is_own_root || how.intersects(Unmount::FORCE | Unmount::DETACH)) {
            return Err(Errno::EINVAL);
        }
        if is_own_root && !how.intersects(Unmount::EXPIRE | Unmount::DETACH) {
            // As on Linux, for those who shut down.
            let flags = mount.system_flags() | SystemFlags::READ_ONLY;
            return mount.system().reconfigure(&**mount.file_system(), flags, || Ok(()));
        }
        if !how.contains(Unmount::DETACH) && change.is_busy(&mount, 1) {
            return Err(Errno::EBUSY);
        }
        if how.contains(Unmount::EXPIRE) && !mount.parent().is_some_and(|parent| parent.expires(&mount)) {
            return Err(Errno::EAGAIN);
        }
        let gone = change.remove(&mount);
        drop(change);
        // What the file system does when it goes is done before umount returns, and under no lock.
        drop((mount, gone));
        Ok(())
    }

    /// `pivot_root(2)`: the mount at `new_root` becomes the root, and the old root goes to `put_old`. Gives the old root directory
    /// and the new one; who has the old one is to get the new one by [`crate::FsContext::exchange_root`]. `ENOTDIR`;
    /// `EBUSY` one of them lies in the root's own mount; `EINVAL` one of the places is no mount point or not in the tree,
    /// the old root is its top, `put_old` is not below `new_root` or that not below the root, or one of them lies in
    /// a shared mount; `ENOENT` one of them was removed.
    pub fn pivot_root(&self, new_root: &[u8], put_old: &[u8]) -> Result<(Location, Location), Errno> {
        self.may_mount()?;
        let directory = |path: &[u8]| {
            let place = self.named(path)?;
            if is_directory(&place.location) { Ok(place) } else { Err(Errno::ENOTDIR) }
        };
        let new = directory(new_root)?.location;
        let put_old = directory(put_old)?;
        let root = self.context.root();
        let mut change = self.context.namespace().change();
        let put_old = change.free_place(put_old)?;
        change.exchange_root(&root, &new, &put_old)?;
        Ok((root, new))
    }
}

fn is_directory(location: &Location) -> bool {
    location.inode.kind() == FileKind::Directory
}
