//! Open files: what a file can do once it is open, and the open file description that descriptors share.

use crate::{
    DirectoryEntry, FileKind, FsContext, Inode, Location, MountFlags, PollEvents, PollTable, lock::LockOwner,
    pages::FilePages,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use base::{Credentials, Errno};
use bitflags::bitflags;
use core::{
    any::Any,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};
use machine::sync::{Mutex, rank};
use memory::PageSource;

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

/// Where the pages of an open file come from.
pub enum MappedPages {
    /// From [`Inode::page`].
    OfInode,
    /// From a source of its own.
    Of(Arc<dyn PageSource>),
    /// There are none: the mapping is fresh zeroed memory.
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
        let size = i64::try_from(self.size()).map_err(|_| Errno::EOVERFLOW)?;
        let current = i64::try_from(*position).map_err(|_| Errno::EOVERFLOW)?;
        let new = match target {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(offset) => current.checked_add(offset),
            SeekFrom::End(offset) => size.checked_add(offset),
            // A file without holes: all is data, and the only hole is at the end.
            SeekFrom::Data(offset) | SeekFrom::Hole(offset) if offset < 0 || offset >= size => {
                return Err(Errno::ENXIO);
            }
            SeekFrom::Data(offset) => Some(offset),
            SeekFrom::Hole(_) => Some(size),
        };
        let new = u64::try_from(new.ok_or(Errno::EOVERFLOW)?).map_err(|_| Errno::EINVAL)?;
        *position = new;
        Ok(new)
    }

    /// Where data or a hole begins, for [`SeekFrom::Data`] and [`SeekFrom::Hole`]. `ENXIO` no such before the end. The
    /// default is for files without holes: all is data, and the only hole is at the end.
    fn seek_sparse(&self, target: SeekFrom) -> Result<u64, Errno> {
        let size = self.size();
        let inside = |offset: i64| u64::try_from(offset).ok().filter(|&offset| offset < size).ok_or(Errno::ENXIO);
        match target {
            SeekFrom::Data(offset) => inside(offset),
            SeekFrom::Hole(offset) => inside(offset).map(|_| size),
            _ => Err(Errno::EINVAL),
        }
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

    /// Whether `mmap` finds pages behind the file, and where they come from. `ENODEV` for what can't be mapped.
    fn mapped(&self) -> Result<MappedPages, Errno> {
        Err(Errno::ENODEV)
    }

    /// `fsync(2)`. `EINVAL` where there is nothing to write back.
    fn sync(&self) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}

/// What a descriptor of `O_PATH` can do: nothing.
pub(crate) struct PathOnly;

impl FileOps for PathOnly {}

/// An open directory: its entries are read through the inode, the position is their cookie.
pub(crate) struct DirectoryFile;

impl FileOps for DirectoryFile {
    fn read(&self, _buffer: &mut [u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }

    fn seek(&self, target: SeekFrom, position: &mut u64) -> Result<u64, Errno> {
        let new = match target {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(offset) => i64::try_from(*position).ok().and_then(|now| now.checked_add(offset)),
            _ => None,
        };
        *position = new.and_then(|new| u64::try_from(new).ok()).ok_or(Errno::EINVAL)?;
        Ok(*position)
    }

    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// The name that a file had when it was opened, and the directory that held it.
pub(crate) struct Name {
    pub directory: Arc<dyn Inode>,
    pub name: Box<[u8]>,
}

/// The largest offset.
const MAX_OFFSET: u64 = i64::MAX as u64;

/// The flags that `F_SETFL` changes.
const STATUS_FLAGS: OpenFlags = OpenFlags::APPEND
    .union(OpenFlags::NONBLOCK)
    .union(OpenFlags::ASYNC)
    .union(OpenFlags::DIRECT)
    .union(OpenFlags::NO_ACCESS_TIME);

/// An open file description: shared by the descriptors that `dup` and `fork` made.
pub struct OpenFile {
    location: Location,
    name: Option<Name>,
    operations: Arc<dyn FileOps>,
    credentials: Arc<Credentials>,
    flags: AtomicU32,
    stream: bool,
    position: Mutex<u64>,
}

impl OpenFile {
    pub(crate) fn new(
        location: Location,
        name: Option<Name>,
        operations: Arc<dyn FileOps>,
        flags: OpenFlags,
        credentials: Arc<Credentials>,
    ) -> Arc<Self> {
        Arc::new(Self {
            location,
            name,
            stream: operations.is_stream(),
            operations,
            credentials,
            flags: AtomicU32::new(flags.bits()),
            position: Mutex::new(rank::FILE_POSITION, 0),
        })
    }

    /// An open file that no path leads to, such as a pipe's end or an event file.
    pub fn anonymous(
        inode: Arc<dyn Inode>,
        operations: Arc<dyn FileOps>,
        flags: OpenFlags,
        credentials: Arc<Credentials>,
    ) -> Arc<Self> {
        Self::new(Location { mount: None, inode }, None, operations, flags, credentials)
    }

    /// Reads from the position and moves it. `EBADF` not open for reading, `EISDIR` a directory, else the file's own.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let flags = self.flags();
        if !flags.reads() {
            return Err(Errno::EBADF);
        }
        if self.stream {
            return self.operations.read(buffer, &mut 0, flags);
        }
        self.operations.read(buffer, &mut self.position.lock(), flags)
    }

    /// Reads at `offset`, `pread`. Besides `read`'s errors: `ESPIPE` for a stream, `EINVAL` an offset over `i64::MAX`.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let flags = self.flags();
        if !flags.reads() {
            return Err(Errno::EBADF);
        }
        self.check_offset(offset)?;
        self.operations.read(buffer, &mut { offset }, flags)
    }

    /// Whether it may be read at all; called before the buffer is looked at. `EBADF` not open for reading, `EISDIR`.
    pub fn admit_read(&self) -> Result<(), Errno> {
        if !self.flags().reads() {
            Err(Errno::EBADF)
        } else if self.inode().kind() == FileKind::Directory {
            Err(Errno::EISDIR)
        } else {
            Ok(())
        }
    }

    /// Whether it has no position.
    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// Whether it has a position, as `pread` and `pwrite` ask first. `ESPIPE` for a stream.
    pub fn admit_position(&self) -> Result<(), Errno> {
        if self.stream { Err(Errno::ESPIPE) } else { Ok(()) }
    }

    /// Whether a write of `length` bytes may be tried; called before the bytes are fetched from the task, so that
    /// `EBADF`, `E2BIG` and the like come before `EFAULT`.
    pub fn admit_write(&self, length: usize) -> Result<(), Errno> {
        if !self.flags().writes() {
            return Err(Errno::EBADF);
        }
        self.operations.admit_write(length)
    }

    /// Writes at the position (at the end with `O_APPEND`) and moves it. `EBADF` not open for writing; `EPIPE` nobody
    /// can read (the caller sends SIGPIPE); else the file's own.
    pub fn write(&self, buffer: &[u8]) -> Result<usize, Errno> {
        let flags = self.flags();
        if !flags.writes() {
            return Err(Errno::EBADF);
        }
        if self.stream {
            return self.operations.write(buffer, &mut 0, flags);
        }
        let written = self.operations.write(buffer, &mut self.position.lock(), flags)?;
        self.after_write()?;
        Ok(written)
    }

    /// Writes at `offset`, `pwrite`. `ESPIPE` for a stream.
    pub fn write_at(&self, buffer: &[u8], offset: u64) -> Result<usize, Errno> {
        let flags = self.flags();
        if !flags.writes() {
            return Err(Errno::EBADF);
        }
        self.check_offset(offset)?;
        let written = self.operations.write(buffer, &mut { offset }, flags)?;
        self.after_write()?;
        Ok(written)
    }

    fn check_offset(&self, offset: u64) -> Result<(), Errno> {
        if self.stream {
            Err(Errno::ESPIPE)
        } else if offset > MAX_OFFSET {
            Err(Errno::EINVAL)
        } else {
            Ok(())
        }
    }

    fn after_write(&self) -> Result<(), Errno> {
        if self.inode().kind() == FileKind::Regular { self.location.drop_set_id(&self.credentials) } else { Ok(()) }
    }

    /// `lseek(2)`. `ESPIPE` for a stream, `EINVAL` for a negative result.
    pub fn seek(&self, target: SeekFrom) -> Result<u64, Errno> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        if self.stream {
            return Err(Errno::ESPIPE);
        }
        self.operations.seek(target, &mut self.position.lock())
    }

    /// The position now, for `/proc/<pid>/fdinfo`.
    pub fn position(&self) -> u64 {
        *self.position.lock()
    }

    /// Hands the directory's entries from the position on to `each`, and moves the position past those for which it
    /// said true. `ENOTDIR`, `EBADF`, `ENOENT` removed directory.
    pub fn read_directory(&self, each: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<(), Errno> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        let mut position = self.position.lock();
        let from = *position;
        self.inode().read_directory(from, &mut |entry| {
            let taken = each(entry);
            if taken {
                *position = entry.next;
            }
            taken
        })
    }

    /// `ftruncate(2)`. `EINVAL` not open for writing or no regular file.
    pub fn truncate(&self, size: u64) -> Result<(), Errno> {
        let flags = self.flags();
        if flags.contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        if !flags.writes() || self.inode().kind() != FileKind::Regular {
            return Err(Errno::EINVAL);
        }
        self.inode().truncate(size)?;
        self.after_write()
    }

    /// `ioctl(2)`; `EBADF` for `O_PATH`.
    pub fn ioctl(&self, request: u32, argument: u64) -> Result<i64, Errno> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        self.operations.ioctl(request, argument)
    }

    /// `fsync(2)` and `fdatasync(2)`. `EINVAL` where there is nothing to write back.
    pub fn sync(&self) -> Result<(), Errno> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        self.operations.sync()
    }

    /// What can be done now, see [`FileOps::poll`].
    pub fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        self.operations.poll(table)
    }

    /// Whether `poll` means anything here, see [`FileOps::can_poll`].
    pub fn can_poll(&self) -> bool {
        self.operations.can_poll()
    }

    /// What `mmap` gets. `EACCES` not open for reading, or shared and writable but not open for writing; `ENODEV`.
    pub fn mapping(self: &Arc<Self>, shared_writable: bool) -> Result<Mapping, Errno> {
        let flags = self.flags();
        if flags.contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        if !flags.reads() || (shared_writable && !flags.writes()) {
            return Err(Errno::EACCES);
        }
        self.program_pages()
    }

    /// [`OpenFile::mapping`] for exec, which may map what it may not read. `ENODEV`.
    pub fn program_pages(self: &Arc<Self>) -> Result<Mapping, Errno> {
        Ok(match self.operations.mapped()? {
            MappedPages::OfInode => Mapping::Pages(Arc::new(FilePages::new(self.clone()))),
            MappedPages::Of(pages) => Mapping::Pages(pages),
            MappedPages::Anonymous => Mapping::Anonymous,
        })
    }

    /// Reads at `offset` whatever the access mode: for exec. Errors as `read_at`.
    pub fn read_program(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        self.check_offset(offset)?;
        self.operations.read(buffer, &mut { offset }, self.flags())
    }

    /// The inode.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.location.inode
    }

    /// Inode and mount; no mount for what no path led to.
    pub fn location(&self) -> Location {
        self.location.clone()
    }

    /// The flags of its mount.
    pub fn mount_flags(&self) -> MountFlags {
        self.location.mount_flags()
    }

    /// The path as `/proc/<pid>/fd` shows it, seen from `context`'s root (without one, from the top of the tree);
    /// ` (deleted)` follows when the name is gone. A file without a path is shown by its inode ([`Inode::label`]).
    pub fn path(&self, context: Option<&FsContext>) -> Vec<u8> {
        let seen = |directory: &Location| match context {
            Some(context) => context.path_of(directory),
            None => crate::mount_text::path_from(directory, None).map(Option::unwrap_or_default),
        };
        if let Some(label) = self.inode().label() {
            return label;
        }
        let Some(Name { directory, name }) = &self.name else {
            return seen(&self.location).unwrap_or_else(|_| Vec::from(*b"(deleted)"));
        };
        if self.inode().kind() == FileKind::Directory
            && let Ok(path) = seen(&self.location)
        {
            return path;
        }
        let holder = Location { mount: self.location.mount.clone(), inode: directory.clone() };
        let mut path = seen(&holder).unwrap_or_default();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        if !directory.lookup(name).is_ok_and(|inode| inode.number() == self.inode().number()) {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }

    /// The flags now: access mode, and those that `open` and `fcntl` set.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Relaxed))
    }

    /// `F_SETFL`: `O_APPEND`, `O_NONBLOCK`, `O_DIRECT`, `O_NOATIME`, `O_ASYNC` become as given, the rest stays.
    /// `EBADF` for `O_PATH`.
    pub fn set_status_flags(&self, flags: OpenFlags) -> Result<(), Errno> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        let set = |old: u32| Some(old & !STATUS_FLAGS.bits() | (flags & STATUS_FLAGS).bits());
        // The closure always answers, so the result is always the old value.
        let _old = self.flags.fetch_update(Relaxed, Relaxed, set);
        Ok(())
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

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(locks) = self.location.inode.locks() {
            locks.release(LockOwner::of_file(self));
        }
    }
}
