//! The operations on paths: each takes the caller's place in the tree and credentials.

use crate::{
    FsContext, Location, Metadata, MountFlags, NodeKind, OpenFile, OpenFlags, Permissions, RenameFlags, StatFs,
    Timestamp,
};
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno, Gid, Uid};

/// Who asks for an operation on a path, and from where.
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
    /// The link itself is not meant, and an empty path means the start itself (`AT_EMPTY_PATH`).
    YesOrEmpty,
    /// The link itself is meant, and an empty path means the start itself.
    NoOrEmpty,
}

/// Errors of every operation: `ENOENT` a name is missing or the path is empty, `ENOTDIR` something in the middle is
/// no directory, `EACCES` a directory on the way may not be searched, `ELOOP` more than 40 symbolic links,
/// `ENAMETOOLONG` a name over 255 or a path over 4095 bytes. Locks: may sleep; call with none held.
impl Caller<'_> {
    /// The location that `path` leads to.
    pub fn resolve(&self, _start: Start<'_>, _path: &[u8], _follow: Follow) -> Result<Location, Errno> {
        todo!()
    }

    /// `openat(2)`. `mode` is for a new file; the umask applies.
    pub fn open(
        &self,
        _start: Start<'_>,
        _path: &[u8],
        _flags: OpenFlags,
        _mode: Permissions,
    ) -> Result<Arc<OpenFile>, Errno> {
        todo!()
    }

    /// `statx(2)` and its elders.
    pub fn metadata(&self, start: Start<'_>, path: &[u8], follow: Follow) -> Result<Metadata, Errno> {
        Ok(self.resolve(start, path, follow)?.inode.metadata())
    }

    /// `mknodat`, `mkdirat`, `symlinkat`. `EEXIST`; `EPERM` a device without CAP_MKNOD; `EROFS`; `EACCES`.
    pub fn make(&self, _start: Start<'_>, _path: &[u8], _kind: NodeKind<'_>, _mode: Permissions) -> Result<(), Errno> {
        todo!()
    }

    /// `linkat(2)`. `EXDEV`, `EPERM` for a directory, `EEXIST`.
    pub fn link(
        &self,
        _start: Start<'_>,
        _path: &[u8],
        _new_start: Start<'_>,
        _new_path: &[u8],
        _follow: Follow,
    ) -> Result<(), Errno> {
        todo!()
    }

    /// `unlinkat(2)` without `AT_REMOVEDIR`. `EISDIR`, `EBUSY` a mount point.
    pub fn unlink(&self, _start: Start<'_>, _path: &[u8]) -> Result<(), Errno> {
        todo!()
    }

    /// `rmdir(2)`. `ENOTDIR`, `ENOTEMPTY`, `EBUSY` a mount point, `EINVAL` the last component is `.`.
    pub fn remove_directory(&self, _start: Start<'_>, _path: &[u8]) -> Result<(), Errno> {
        todo!()
    }

    /// `renameat2(2)`. `EXDEV`, `EBUSY`, `EINVAL`.
    pub fn rename(
        &self,
        _start: Start<'_>,
        _path: &[u8],
        _new_start: Start<'_>,
        _new_path: &[u8],
        _flags: RenameFlags,
    ) -> Result<(), Errno> {
        todo!()
    }

    /// `readlinkat(2)`: the text of a link. `EINVAL` for anything else.
    pub fn read_link(&self, _start: Start<'_>, _path: &[u8]) -> Result<Vec<u8>, Errno> {
        todo!()
    }

    /// `faccessat(2)`: whether the caller may do `mode` (4 read, 2 write, 1 execute, 0 exists). The syscall passes
    /// credentials with the real ids unless AT_EACCESS was given. `EACCES`, `EROFS`, `EINVAL` other bits.
    pub fn access(&self, _start: Start<'_>, _path: &[u8], _mode: u32, _follow: Follow) -> Result<(), Errno> {
        todo!()
    }

    /// `fchmodat(2)`. `EPERM` neither owner nor CAP_FOWNER.
    pub fn change_mode(
        &self,
        _start: Start<'_>,
        _path: &[u8],
        _mode: Permissions,
        _follow: Follow,
    ) -> Result<(), Errno> {
        todo!()
    }

    /// `fchownat(2)`; `None` leaves the id. Takes set-ID bits away as Linux does. `EPERM` without CAP_CHOWN.
    pub fn change_owner(
        &self,
        _start: Start<'_>,
        _path: &[u8],
        _uid: Option<Uid>,
        _gid: Option<Gid>,
        _follow: Follow,
    ) -> Result<(), Errno> {
        todo!()
    }

    /// `utimensat(2)`; `None` leaves a time, `now` says that both were given as now (then write permission is enough).
    pub fn change_times(
        &self,
        _start: Start<'_>,
        _path: &[u8],
        _times: [Option<Timestamp>; 2],
        _now: bool,
        _follow: Follow,
    ) -> Result<(), Errno> {
        todo!()
    }

    /// `truncate(2)`. `EISDIR`, `EINVAL` no regular file, `EACCES`.
    pub fn truncate(&self, _path: &[u8], _size: u64) -> Result<(), Errno> {
        todo!()
    }

    /// `statfs(2)`.
    pub fn statistics(&self, _path: &[u8]) -> Result<StatFs, Errno> {
        todo!()
    }

    /// `chdir(2)` and `fchdir(2)` (with [`Start::File`], an empty path and [`Follow::YesOrEmpty`]).
    pub fn change_directory(&self, _start: Start<'_>, _path: &[u8], _follow: Follow) -> Result<(), Errno> {
        todo!()
    }

    /// `chroot(2)`. `EPERM` without CAP_SYS_CHROOT.
    pub fn change_root(&self, _path: &[u8]) -> Result<(), Errno> {
        todo!()
    }

    /// `getcwd(2)`: the path of the working directory. `ENOENT` if it was removed.
    pub fn working_directory(&self) -> Result<Vec<u8>, Errno> {
        todo!()
    }

    /// `mount(2)` with a file system type. `EPERM` without CAP_SYS_ADMIN, `ENODEV` unknown type, `ENOTDIR`.
    pub fn mount(
        &self,
        _source: &[u8],
        _target: &[u8],
        _kind: &[u8],
        _flags: MountFlags,
        _data: &[u8],
    ) -> Result<(), Errno> {
        todo!()
    }

    /// `mount(2)` with `MS_BIND`.
    pub fn bind(&self, _source: &[u8], _target: &[u8], _recursive: bool) -> Result<(), Errno> {
        todo!()
    }

    /// `mount(2)` with `MS_MOVE`.
    pub fn move_mount(&self, _source: &[u8], _target: &[u8]) -> Result<(), Errno> {
        todo!()
    }

    /// `mount(2)` with `MS_REMOUNT`; with `only_flags` (`MS_BIND` too) the file system is not asked.
    pub fn remount(&self, _target: &[u8], _flags: MountFlags, _data: &[u8], _only_flags: bool) -> Result<(), Errno> {
        todo!()
    }

    /// `umount2(2)`. `EINVAL` no mount point, `EBUSY` in use (unless `detach`), `EPERM`.
    pub fn unmount(&self, _target: &[u8], _detach: bool, _follow: Follow) -> Result<(), Errno> {
        todo!()
    }
}
