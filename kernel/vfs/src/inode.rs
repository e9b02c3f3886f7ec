//! The inode: something that a name can stand for. Every file system implements this trait.

use crate::{
    BoundSocket, DeviceNumber, FileKind, FileOps, Location, Metadata, MetadataChange, Mount, OpenFile, OpenFlags,
    Ownership, Permissions, Sealing, Seals, lock::FileLocks,
};
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno, Gid, Uid, extended::ExtendedAttributes};
use bitflags::bitflags;
use core::{
    any::Any,
    ops::Range,
    sync::atomic::{AtomicU8, AtomicU32, AtomicUsize},
};
use machine::frame::Frame;
use memory::PageUse;

bitflags! {
    /// Flags of `renameat2(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct RenameFlags: u32 {
        /// `RENAME_NOREPLACE`: EEXIST if the new name is taken.
        const NO_REPLACE = 1;
        /// `RENAME_EXCHANGE`: both names exist and change places.
        const EXCHANGE = 2;
    }
}

/// What `fallocate(2)` does to a range of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allocation {
    /// Memory for all of it, now.
    Reserve {
        /// Whether the file reaches to the end of the range afterwards.
        grow: bool,
    },
    /// A hole: zeros, and no memory for whole pages.
    Punch,
}

/// What a new inode is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeKind<'a> {
    /// An empty regular file.
    Regular,
    /// An empty directory.
    Directory,
    /// A symbolic link to this text.
    Symlink(&'a [u8]),
    /// A named pipe.
    Fifo,
    /// The name of a local socket.
    Socket,
    /// A character device.
    CharDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
}

/// A request to make an inode. The umask has been applied, the group of a set-group-ID directory has not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewNode<'a> {
    /// What it is.
    pub kind: NodeKind<'a>,
    /// Its permissions.
    pub permissions: Permissions,
    /// Its owner: the creator's fsuid.
    pub uid: Uid,
    /// Its group: the creator's fsgid, unless the directory has the set-group-ID bit.
    pub gid: Gid,
}

/// Where a symbolic link leads.
pub enum Link {
    /// To a path, walked from the link's directory.
    Path(Vec<u8>),
    /// Straight to a location, like `/proc/self/cwd`; the text of `readlink` is only for people.
    Jump(Location),
    /// To where a file lies that is open, like `/proc/self/fd/1`; opened again, it keeps its name.
    File(Arc<OpenFile>),
}

/// One entry of a directory.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryEntry<'a> {
    /// The name, without slash or NUL.
    pub name: &'a [u8],
    /// The number of the inode.
    pub inode: u64,
    /// What the inode is.
    pub kind: FileKind,
    /// The position from which reading goes on after this entry (`d_off`).
    pub next: u64,
}

/// A request to open an inode. Permissions have been checked against `flags`.
pub struct OpenRequest<'a> {
    /// Access mode and status flags.
    pub flags: OpenFlags,
    /// Who opens.
    pub credentials: &'a Credentials,
}

/// Something that a name can stand for. Methods of directories answer `ENOTDIR` by default, those that change
/// `EPERM`, so that a file system writes only what it supports. Permissions, read-only mounts, name lengths,
/// `.` and `..` are the caller's business; that a name is still there (or still free) at the moment of the change
/// is the file system's.
///
/// Locks: every method may sleep; none is called with a spin lock held.
pub trait Inode: Any + Send + Sync {
    /// What it is. Never changes.
    fn kind(&self) -> FileKind;

    /// Its number in its file system. Never changes, costs nothing, takes no lock.
    fn number(&self) -> u64;

    /// All that `stat` shows.
    fn metadata(&self) -> Metadata;

    /// Owner and permissions, asked at every step of a walk.
    fn ownership(&self) -> Ownership {
        let metadata = self.metadata();
        Ownership { permissions: metadata.permissions, uid: metadata.uid, gid: metadata.gid }
    }

    /// Changes owner, permissions or times. `EPERM` where the file system has none of its own.
    fn change_metadata(&self, _change: &MetadataChange) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Somebody has read it through `mount`, whose flags say whether and when that is noted. Nothing happens where there is no
    /// time of access.
    fn note_access(&self, _mount: &Mount) {}

    /// Does something to the extended attributes that this inode keeps, with its lock held. `EOPNOTSUPP` where it can
    /// have none.
    fn with_extended(
        &self,
        _action: &mut dyn FnMut(&mut ExtendedAttributes) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The inode that `name` stands for in this directory. `ENOENT` if there is none.
    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::ENOTDIR)
    }

    /// The directory that this directory is in; `None` for the root of the file system and for what is no directory. Of
    /// a removed directory it may be either.
    fn parent(&self) -> Option<Arc<dyn Inode>> {
        None
    }

    /// The name under which this directory holds `child`, for `getcwd`. `ENOENT` if it does not. The default looks
    /// through the entries for the inode's number.
    fn name_of(&self, child: &dyn Inode) -> Result<Vec<u8>, Errno> {
        let number = child.number();
        let mut found = None;
        self.read_directory(0, &mut |entry| {
            let hit = entry.inode == number && entry.name != b"." && entry.name != b"..";
            if hit {
                found = Some(entry.name.to_vec());
            }
            !hit
        })?;
        found.ok_or(Errno::ENOENT)
    }

    /// Makes an inode and gives it `name`. `EEXIST` if the name is taken, `ENOENT` if this directory was removed,
    /// `ENOSPC`, `ENOMEM`.
    fn create(&self, _name: &[u8], _node: &NewNode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::EPERM)
    }

    /// Gives `target`, no directory and of this file system, one more name. `EEXIST`, `EMLINK`, `ENOENT`.
    fn link(&self, _name: &[u8], _target: &Arc<dyn Inode>) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Takes away a name of `victim`, which is no directory. `ENOENT` if the name is gone or means another inode.
    fn unlink(&self, _name: &[u8], _victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Removes the empty directory `victim`. `ENOTEMPTY`, `EBUSY`, `ENOENT` as for `unlink`.
    fn remove_directory(&self, _name: &[u8], _victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Renames `source`, known here as `name`, to `new_name` in `new_directory` of the same file system. What had that
    /// name is replaced, unless `flags` says otherwise: a directory only by a directory (`ENOTDIR`, `EISDIR`) and
    /// only if it is empty (`ENOTEMPTY`). `EINVAL` if a directory would come to lie in itself.
    fn rename(
        &self,
        _name: &[u8],
        _source: &Arc<dyn Inode>,
        _new_directory: &Arc<dyn Inode>,
        _new_name: &[u8],
        _flags: RenameFlags,
    ) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Where this symbolic link leads; `EINVAL` for anything else.
    fn follow(&self) -> Result<Link, Errno> {
        self.read_link().map(Link::Path)
    }

    /// The text of this symbolic link; `EINVAL` for anything else.
    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        Err(Errno::EINVAL)
    }

    /// How `/proc/<pid>/fd` shows an inode that no path leads to: `pipe:[7]`, `anon_inode:[eventfd]`. `None` for all
    /// others.
    fn label(&self) -> Option<Vec<u8>> {
        None
    }

    /// Hands the entries from position `from` on (0 is the start) to `each` until that says false. `.` and `..` are
    /// the first two entries and come from here. An entry that is there all the time is seen exactly once, whatever
    /// else comes and goes meanwhile. An entry for which `each` said false counts as not read.
    fn read_directory(&self, _from: u64, _each: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<(), Errno> {
        Err(Errno::ENOTDIR)
    }

    /// Opens a regular file, symbolic link or FIFO. Directories and device files are opened by the VFS itself, unless
    /// `open_directory` or the driver says otherwise. May return the inode itself when an open file needs no state.
    fn open(self: Arc<Self>, _request: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Err(Errno::ENXIO)
    }

    /// Sets the size of a regular file. Says whether any of its bytes were cut off. `EINVAL` for what has none, `EFBIG`, `ENOSPC`.
    fn truncate(&self, _size: u64) -> Result<bool, Errno> {
        Err(Errno::EINVAL)
    }

    /// Reserves the range of a regular file, or makes a hole of it. `EOPNOTSUPP` where that is not offered, `EFBIG`,
    /// `ENOSPC`, `ENOMEM`.
    fn allocate(&self, _range: Range<u64>, _how: Allocation) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Makes a regular file that has no name, for `O_TMPFILE`; only if it is `linkable` it can get one. `EOPNOTSUPP` where
    /// that is not offered, `ENOENT` if this directory was removed, `ENOSPC`, `ENOMEM`.
    fn create_unnamed(&self, _node: &NewNode<'_>, _linkable: bool) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The directory and the name that its only name was changed to, of what is no directory and of which that is kept. It may be old itself.
    fn new_name(&self) -> Option<(Arc<dyn Inode>, Vec<u8>)> {
        None
    }

    /// How many mounts lie on it, or will in a moment. Where that is counted, [`Inode::unlink`], [`Inode::remove_directory`] and
    /// [`Inode::rename`] give `EBUSY` for an inode on which there is one, and look with the directory locked, so that no name goes
    /// away between a look and a mount. `None`, the default: the caller looks before, and that is all.
    fn covers(&self) -> Option<&AtomicU32> {
        None
    }

    /// The seals of its content; `None` (the default) where it can have none.
    fn sealing(&self) -> Option<&Sealing> {
        None
    }

    /// Adds seals, when no write is under way. `EINVAL` where there can be none; `EPERM`, `EBUSY`.
    fn add_seals(&self, _seals: Seals) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// How many mappings there are of its pages, counted by who makes them; `None` if it loses no pages while it is mapped.
    fn mappings(&self) -> Option<&AtomicUsize> {
        None
    }

    /// Whether the page with this index is in memory; see [`memory::PageSource::has_page`].
    fn has_page(&self, _index: u64) -> bool {
        false
    }

    /// The page of this file with this index, for mappings; see [`memory::PageSource::page`].
    fn page(&self, _index: u64, _usage: PageUse) -> Result<Frame, Errno> {
        Err(Errno::EFAULT)
    }

    /// Gives those of the pages from this index on that are in memory; see [`memory::PageSource::pages_there`].
    fn pages_there(&self, _first: u64, _usage: PageUse, _frames: &mut [Option<Frame>]) {}

    /// Puts another frame in place of a page; see [`memory::PageSource::exchange`].
    fn exchange_page(&self, _index: u64, _make: &mut dyn FnMut(&Frame, u32) -> Option<Frame>) -> bool {
        false
    }

    /// The memory policies of its pages; see [`memory::PageSource::policies`].
    fn policies(&self) -> Option<&memory::SharedPolicies> {
        None
    }

    /// What this inode shows as a file, for floors above that know its type: the container behind its directory.
    fn subject(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    /// Somebody watches this inode with inotify from now on: what changes by itself begins to [`tell`](crate::tell).
    fn watched(&self) {}

    /// Where advisory locks on this inode are kept; `None` (the default) where none can be held (`ENOLCK`).
    fn locks(&self) -> Option<&FileLocks> {
        None
    }

    /// Where it is kept how long what is written is expected to last (`F_SET_RW_HINT`); `None` (the default) where it is not.
    fn write_hint(&self) -> Option<&AtomicU8> {
        None
    }

    /// Which socket is bound to this name; `None` for what is no socket.
    fn bound_socket(&self) -> Option<&BoundSocket> {
        None
    }
}
