//! The operations on paths: each takes the caller's place in the tree and credentials.

mod attributes;
mod configuring;
mod extended;
mod mounts;
mod names;
mod opening;
mod trees;

pub use attributes::TimeChange;
pub use configuring::{ConfigurationStep, check_configuration};
pub use mounts::{Remount, Unmount};
pub use trees::MountChange;

use crate::{FsContext, Location, Metadata, MountFlags, Named, OpenFile, StatFs, permission, walk::Walk};
use alloc::{sync::Arc, vec::Vec};
use base::{Capabilities, Credentials, Errno};

/// Who asks for an operation on a path, and from where.
///
/// Errors of every operation: `ENOENT` a name is missing or the path is empty, `ENOTDIR` something in the middle is
/// no directory, `EACCES` a directory on the way may not be searched, `ELOOP` more than 40 symbolic links,
/// `ENAMETOOLONG` a name over 255 or a path over 4095 bytes. Locks: may sleep; call with none held.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Root, working directory, umask, mount tree.
    pub context: &'a FsContext,
    /// Whose permissions count (fsuid, fsgid, groups, effective capabilities).
    pub credentials: &'a Arc<Credentials>,
}

/// Where a relative path starts.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// At the working directory (`AT_FDCWD`).
    WorkingDirectory,
    /// At an open file or directory.
    File(&'a OpenFile),
}

/// Whether a symbolic link at the end of the path is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follow {
    /// It is.
    Yes,
    /// The link itself is meant.
    No,
    /// It is followed, and an empty path means the start itself (`AT_EMPTY_PATH`).
    YesOrEmpty,
    /// The link itself is meant, and an empty path means the start itself.
    NoOrEmpty,
}

impl Follow {
    /// What two answers mean: whether a link at the end is followed, and whether an empty path means the start.
    pub fn new(follows: bool, allows_empty: bool) -> Self {
        match (follows, allows_empty) {
            (true, false) => Self::Yes,
            (false, false) => Self::No,
            (true, true) => Self::YesOrEmpty,
            (false, true) => Self::NoOrEmpty,
        }
    }
}

impl Caller<'_> {
    /// The location that `path` leads to.
    pub fn resolve(&self, start: Start<'_>, path: &[u8], follow: Follow) -> Result<Location, Errno> {
        Walk::new(*self, start, path, follow.allows_empty())?.finish(follow.follows())
    }

    /// The same, with what it is called there.
    pub fn resolve_named(&self, start: Start<'_>, path: &[u8], follow: Follow) -> Result<Named, Errno> {
        Walk::new(*self, start, path, follow.allows_empty())?.finish_named(follow.follows())
    }

    /// `statx(2)` and its elders.
    pub fn metadata(&self, start: Start<'_>, path: &[u8], follow: Follow) -> Result<Metadata, Errno> {
        Ok(self.resolve(start, path, follow)?.inode.metadata())
    }

    /// `readlinkat(2)`: the text of a link. `EINVAL` for anything else.
    pub fn read_link(&self, start: Start<'_>, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let empty = matches!(start, Start::File(_));
        let location = self.resolve(start, path, if empty { Follow::NoOrEmpty } else { Follow::No })?;
        let text = location.inode.read_link()?;
        location.note_access();
        Ok(text)
    }

    /// `faccessat(2)`: whether the caller may do `mode` (4 read, 2 write, 1 execute, 0 exists). For `access(2)` proper
    /// the credentials are ones whose fsuid and fsgid are the real ids. `EACCES`, `EROFS`, `EINVAL` other bits.
    pub fn access(&self, start: Start<'_>, path: &[u8], mode: u32, follow: Follow) -> Result<(), Errno> {
        let wanted = u16::try_from(mode).ok().filter(|mode| mode & !7 == 0).ok_or(Errno::EINVAL)?;
        let location = self.resolve(start, path, follow)?;
        if wanted & permission::EXECUTE != 0
            && location.inode.kind() == crate::FileKind::Regular
            && location.mount_flags().contains(MountFlags::NO_EXECUTE)
        {
            return Err(Errno::EACCES);
        }
        permission::check_inode(&*location.inode, self.credentials, wanted)?;
        if wanted & permission::WRITE != 0 { location.check_writable() } else { Ok(()) }
    }

    /// `statfs(2)`.
    pub fn statistics(&self, path: &[u8]) -> Result<StatFs, Errno> {
        Ok(self.resolve(Start::WorkingDirectory, path, Follow::Yes)?.statistics())
    }

    /// `chdir(2)` and `fchdir(2)` (with [`Start::File`], an empty path and [`Follow::YesOrEmpty`]).
    pub fn change_directory(&self, start: Start<'_>, path: &[u8], follow: Follow) -> Result<(), Errno> {
        let location = self.searchable(start, path, follow)?;
        self.context.set_working_directory(location);
        Ok(())
    }

    /// `chroot(2)`. `EPERM` without CAP_SYS_CHROOT.
    pub fn change_root(&self, path: &[u8]) -> Result<(), Errno> {
        let location = self.searchable(Start::WorkingDirectory, path, Follow::Yes)?;
        if !self.credentials.has(Capabilities::SYS_CHROOT) {
            return Err(Errno::EPERM);
        }
        self.context.set_root(location);
        Ok(())
    }

    /// `getcwd(2)`: the path of the working directory. `ENOENT` if it was removed.
    pub fn working_directory(&self) -> Result<Vec<u8>, Errno> {
        self.path_of(&self.context.working_directory())
    }

    /// The path of a directory as the caller sees it, behind `(unreachable)` if it does not lie below the caller's
    /// root. `ENOENT` if it was removed.
    pub fn path_of(&self, directory: &Location) -> Result<Vec<u8>, Errno> {
        self.context.path_of(directory)
    }

    /// The directory that `path` leads to, which the caller may search.
    fn searchable(&self, start: Start<'_>, path: &[u8], follow: Follow) -> Result<Location, Errno> {
        let location = self.resolve(start, path, follow)?;
        if location.inode.kind() != crate::FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        permission::check_inode(&*location.inode, self.credentials, permission::EXECUTE)?;
        Ok(location)
    }
}
