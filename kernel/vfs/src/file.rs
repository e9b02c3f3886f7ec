//! Open files: what a file can do once it is open, and the open file description that descriptors share.

use crate::pending::PageSource;
use crate::{DirectoryEntry, FsContext, Inode, Location, Mount, PollEvents, PollTable};
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno};
use bitflags::bitflags;
use core::{
    any::Any,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

bitflags! {
    /// Flags of `open(2)`, with the values of the Linux ABI on x86-64. The access mode is in the low two bits.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OpenFlags: u32 {
        /// `O_WRONLY`.
        const WRITE_ONLY = 0o1;
        /// `O_RDWR`.
        const READ_WRITE = 0o2;
        /// `O_CREAT`.
        const CREATE = 0o100;
        /// `O_EXCL`.
        const EXCLUSIVE = 0o200;
        /// `O_NOCTTY`.
        const NO_CONTROLLING_TERMINAL = 0o400;
        /// `O_TRUNC`.
        const TRUNCATE = 0o1000;
        /// `O_APPEND`.
        const APPEND = 0o2000;
        /// `O_NONBLOCK`.
        const NONBLOCK = 0o4000;
        /// `O_DSYNC`.
        const DATA_SYNC = 0o10000;
        /// `O_ASYNC`.
        const ASYNC = 0o20000;
        /// `O_DIRECT`.
        const DIRECT = 0o40000;
        /// `O_LARGEFILE`.
        const LARGE_FILE = 0o100000;
        /// `O_DIRECTORY`.
        const DIRECTORY = 0o200000;
        /// `O_NOFOLLOW`.
        const NO_FOLLOW = 0o400000;
        /// `O_NOATIME`.
        const NO_ACCESS_TIME = 0o1000000;
        /// `O_CLOEXEC`.
        const CLOSE_ON_EXEC = 0o2000000;
        /// `__O_SYNC`; `O_SYNC` is this with `O_DSYNC`.
        const SYNC = 0o4000000;
        /// `O_PATH`.
        const PATH = 0o10000000;
        /// `__O_TMPFILE`; `O_TMPFILE` is this with `O_DIRECTORY`.
        const TEMPORARY = 0o20000000;
    }
}

impl OpenFlags {
    /// Whether the access mode allows reading.
    pub const fn reads(self) -> bool {
        self.bits() & 3 != 1 && !self.contains(Self::PATH)
    }

    /// Whether the access mode allows writing.
    pub const fn writes(self) -> bool {
        matches!(self.bits() & 3, 1 | 2) && !self.contains(Self::PATH)
    }
}

/// Where to move a file position, `lseek(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeekFrom {
    /// `SEEK_SET`.
    Start(i64),
    /// `SEEK_CUR`.
    Current(i64),
    /// `SEEK_END`.
    End(i64),
    /// `SEEK_DATA`.
    Data(i64),
    /// `SEEK_HOLE`.
    Hole(i64),
}

/// What `mmap` finds behind a file.
pub enum Mapping {
    /// Pages of a file.
    Pages(Arc<dyn PageSource>),
    /// Fresh zeroed memory, as behind `/dev/zero`.
    Anonymous,
}

/// What an open file can do. The end of life of the value is the last close.
///
/// `position` is where to start and is to be moved by what was done; a stream ignores it. `flags` are the file's at
/// this moment, for `O_NONBLOCK` and `O_APPEND`. Access mode and a zero length have been checked.
///
/// Errors of every blocking method: `EINTR` a signal came before anything was done, `EAGAIN` with `O_NONBLOCK`.
/// Locks: may sleep; the position of a seekable file is locked meanwhile.
pub trait FileOps: Any + Send + Sync {
    /// Reads into `buffer`; 0 is the end.
    fn read(&self, _buffer: &mut [u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// Writes from `buffer`. `EPIPE` when nobody can read: the caller sends SIGPIPE.
    fn write(&self, _buffer: &[u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// Whether a write of `length` bytes may be tried, asked before the bytes are fetched from the caller.
    fn admit_write(&self, _length: usize) -> Result<(), Errno> {
        Ok(())
    }

    /// Whether it has no position: pipes, sockets, terminals. `lseek` and `pread` then give `ESPIPE`.
    fn is_stream(&self) -> bool {
        false
    }

    /// Moves the position and returns it. The default knows the start, the current position, and the end by
    /// [`FileOps::size`]. `EINVAL` a negative result, `ENXIO` data or hole beyond the end.
    fn seek(&self, target: SeekFrom, position: &mut u64) -> Result<u64, Errno> {
        let _ = (target, position);
        todo!()
    }

    /// The number of bytes, for `SEEK_END`; 0 where that means nothing.
    fn size(&self) -> u64 {
        0
    }

    /// `ioctl(2)`. Pointers in `argument` are the calling task's. `ENOTTY` for what it does not know.
    fn ioctl(&self, _request: u32, _argument: u64) -> Result<i64, Errno> {
        Err(Errno::ENOTTY)
    }

    /// What can be done now without sleeping; asks `table` to watch the queues that tell of a change.
    fn poll(&self, _table: &mut PollTable<'_>) -> PollEvents {
        PollEvents::ALWAYS
    }

    /// Whether `poll` means anything here; epoll refuses the rest with `EPERM`.
    fn can_poll(&self) -> bool {
        self.is_stream()
    }

    /// What `mmap` gets; `ENODEV` for what can't be mapped.
    fn mapping(&self) -> Result<Mapping, Errno> {
        Err(Errno::ENODEV)
    }

    /// `fsync(2)`. `EINVAL` where there is nothing to write back.
    fn sync(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}

/// An open file description: shared by the descriptors that `dup` and `fork` made.
pub struct OpenFile {
    inode: Arc<dyn Inode>,
    place: Option<Place>,
    operations: Arc<dyn FileOps>,
    credentials: Arc<Credentials>,
    flags: AtomicU32,
    position: AtomicU64,
    stream: bool,
}

/// Where an open file was found: its mount, and for what is no directory also the directory and the name.
pub struct Place {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The directory that held it when it was opened, and its name there.
    pub entry: Option<(Arc<dyn Inode>, Vec<u8>)>,
}

impl OpenFile {
    /// An open file that no path leads to, such as a pipe's end or an event file.
    pub fn anonymous(
        _inode: Arc<dyn Inode>,
        _operations: Arc<dyn FileOps>,
        _flags: OpenFlags,
        _credentials: Arc<Credentials>,
    ) -> Arc<Self> {
        todo!()
    }

    /// Reads from the position and moves it. `EBADF` not open for reading, `EISDIR` a directory, else the file's own.
    pub fn read(&self, _buffer: &mut [u8]) -> Result<usize, Errno> {
        todo!()
    }

    /// Reads at `offset`, `pread`. Besides `read`'s errors: `ESPIPE` for a stream, `EINVAL` an offset over `i64::MAX`.
    pub fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> Result<usize, Errno> {
        todo!()
    }

    /// Whether a write of `length` bytes may be tried; called before the bytes are fetched from the task, so that
    /// `EBADF`, `E2BIG` and the like come before `EFAULT`.
    pub fn admit_write(&self, _length: usize) -> Result<(), Errno> {
        todo!()
    }

    /// Writes at the position (at the end with `O_APPEND`) and moves it. `EBADF` not open for writing; `EPIPE` nobody
    /// can read (the caller sends SIGPIPE); else the file's own.
    pub fn write(&self, _buffer: &[u8]) -> Result<usize, Errno> {
        todo!()
    }

    /// Writes at `offset`, `pwrite`. `ESPIPE` for a stream.
    pub fn write_at(&self, _buffer: &[u8], _offset: u64) -> Result<usize, Errno> {
        todo!()
    }

    /// `lseek(2)`. `ESPIPE` for a stream, `EINVAL` for a negative result.
    pub fn seek(&self, _target: SeekFrom) -> Result<u64, Errno> {
        todo!()
    }

    /// Hands the directory's entries from the position on to `each`, and moves the position past those for which it
    /// said true. `ENOTDIR`, `ENOENT` removed directory.
    pub fn read_directory(&self, _each: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<(), Errno> {
        todo!()
    }

    /// `ftruncate(2)`. `EINVAL` not open for writing or no regular file.
    pub fn truncate(&self, _size: u64) -> Result<(), Errno> {
        todo!()
    }

    /// `ioctl(2)`; `EBADF` for `O_PATH`.
    pub fn ioctl(&self, _request: u32, _argument: u64) -> Result<i64, Errno> {
        todo!()
    }

    /// What can be done now, see [`FileOps::poll`].
    pub fn poll(&self, _table: &mut PollTable<'_>) -> PollEvents {
        todo!()
    }

    /// What `mmap` gets. `EACCES` not open for reading, or shared and writable but not open for writing; `ENODEV`.
    pub fn mapping(&self, _shared_writable: bool) -> Result<Mapping, Errno> {
        todo!()
    }

    /// The inode.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// Mount and inode, for what was opened by a path.
    pub fn location(&self) -> Option<Location> {
        todo!()
    }

    /// The path as `/proc/<pid>/fd` shows it, seen from `context`'s root; ` (deleted)` follows when the name is gone.
    pub fn path(&self, _context: &FsContext) -> Vec<u8> {
        todo!()
    }

    /// The flags now: access mode, and those that `open` and `fcntl` set.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Relaxed))
    }

    /// `F_SETFL`: `O_APPEND`, `O_NONBLOCK`, `O_DIRECT`, `O_NOATIME`, `O_ASYNC` become as given, the rest stays.
    pub fn set_status_flags(&self, _flags: OpenFlags) -> Result<(), Errno> {
        todo!()
    }

    /// Who opened it.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// The operations, if they are of type `T` (a pipe's end, a socket, an epoll file, …).
    pub fn operations<T: FileOps>(&self) -> Option<&T> {
        let any: &dyn Any = &*self.operations;
        any.downcast_ref()
    }
}
