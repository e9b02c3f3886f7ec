//! The open file description, which descriptors share.

mod flags;

use crate::{
    Allocation, DirectoryEntry, FileKind, FileOps, FsContext, Inode, Location, MappedPages, Mapping, MountFlags,
    OpenFlags, PollEvents, PollTable, Seals, SeekFrom,
    entry_name::EntryName,
    execution::{Execution, TextWriter},
    lock::LockOwner,
    mount::{Named, Writer},
    mount_text,
    notice::Subscriptions,
    open_limits::{self, Admission},
    pages::{self, FilePages},
    watches::{self, FileEvents},
};
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno};
use core::{any::Any, ops::Range, sync::atomic::AtomicU32};
use machine::sync::{Mutex, rank};

/// The name that a file had when it was opened, and the directory that held it.
#[derive(Clone)]
pub(crate) struct Name {
    pub directory: Arc<dyn Inode>,
    pub name: EntryName,
}

/// The largest offset.
const MAX_OFFSET: u64 = i64::MAX as u64;

/// An open file description: shared by the descriptors that `dup` and `fork` made.
pub struct OpenFile {
    location: Location,
    /// That of its inode, which never changes.
    kind: FileKind,
    name: Option<Name>,
    operations: Arc<dyn FileOps>,
    credentials: Arc<Credentials>,
    flags: AtomicU32,
    /// What its access mode allows, which never changes.
    reads: bool,
    writes: bool,
    screens_writes: bool,
    stream: bool,
    /// Has no use for `position`.
    unpositioned: bool,
    position: Mutex<u64>,
    subscriptions: Subscriptions,
    /// Given back at the last close.
    _hold: Hold,
}

/// What an open file holds: its place among all, and that its mount and its inode have one more writer.
pub(crate) struct Hold {
    pub _admission: Admission,
    pub _writer: Option<Writer>,
    pub _text: Option<TextWriter>,
}

impl From<Admission> for Hold {
    fn from(admission: Admission) -> Self {
        Self { _admission: admission, _writer: None, _text: None }
    }
}

impl OpenFile {
    pub(crate) fn new(
        location: Location,
        kind: FileKind,
        name: Option<Name>,
        operations: Arc<dyn FileOps>,
        flags: OpenFlags,
        credentials: Arc<Credentials>,
        hold: impl Into<Hold>,
    ) -> Arc<Self> {
        Arc::new(Self {
            location,
            kind,
            name,
            screens_writes: operations.screens_writes(),
            stream: operations.is_stream(),
            unpositioned: operations.is_stream() || operations.keeps_place(),
            operations,
            credentials,
            flags: AtomicU32::new(flags.bits()),
            reads: flags.reads(),
            writes: flags.writes(),
            position: Mutex::new(rank::FILE_POSITION, 0),
            subscriptions: Subscriptions::new(),
            _hold: hold.into(),
        })
    }

    /// An open file that no path leads to, such as a pipe's end or an event file. `ENFILE` the caller's containers
    /// don't pay for it.
    pub fn anonymous(
        inode: Arc<dyn Inode>,
        operations: Arc<dyn FileOps>,
        flags: OpenFlags,
        credentials: Arc<Credentials>,
    ) -> Result<Arc<Self>, Errno> {
        let admission = open_limits::admit(&credentials)?;
        let kind = inode.kind();
        Ok(Self::new(Location { mount: None, inode }, kind, None, operations, flags, credentials, admission))
    }

    /// Tells those who watch the inode, or the directory that it was opened from.
    #[inline]
    pub(crate) fn tell(&self, what: FileEvents) {
        if watches::any() {
            watches::tell_named(&self.location, self.name.as_ref(), what);
        }
    }

    /// Reads from the position and moves it. `EBADF` not open for reading, `EISDIR` a directory, else the file's own.
    #[inline(always)]
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        if !self.reads {
            return Err(Errno::EBADF);
        }
        if !self.unpositioned {
            return self.read_with(buffer, None, OpenFlags::empty());
        }
        let count = self.operations.read(buffer, &mut 0, self.flags())?;
        if self.stream { Ok(count) } else { self.after_read(count) }
    }

    /// Reads at `offset`, `pread`. Besides `read`'s errors: `ESPIPE` for a stream, `EINVAL` an offset over `i64::MAX`.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let flags = self.flags();
        if !flags.reads() {
            return Err(Errno::EBADF);
        }
        self.check_offset(offset)?;
        let count = self.operations.read(buffer, &mut { offset }, flags)?;
        self.note_access(flags);
        self.after_read(count)
    }

    /// Whether it may be read at all; called before the buffer is looked at. `EBADF` not open for reading, `EISDIR`.
    #[inline]
    pub fn admit_read(&self) -> Result<(), Errno> {
        if !self.reads {
            Err(Errno::EBADF)
        } else if self.kind == FileKind::Directory {
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
    #[inline]
    pub fn admit_write(&self, length: usize) -> Result<(), Errno> {
        if !self.writes {
            return Err(Errno::EBADF);
        }
        if self.screens_writes { self.operations.admit_write(length) } else { Ok(()) }
    }

    /// Writes at the position (at the end with `O_APPEND`) and moves it. `EBADF` not open for writing; `EPIPE` nobody
    /// can read (the caller sends SIGPIPE); else the file's own.
    #[inline(always)]
    pub fn write(&self, buffer: &[u8]) -> Result<usize, Errno> {
        if !self.writes {
            return Err(Errno::EBADF);
        }
        self.write_admitted(buffer)
    }

    /// [`OpenFile::write`] for whom [`OpenFile::admit_write`] has let in.
    #[inline(always)]
    pub fn write_admitted(&self, buffer: &[u8]) -> Result<usize, Errno> {
        if !self.unpositioned {
            return self.write_with(buffer, None, OpenFlags::empty());
        }
        let written = self.operations.write(buffer, &mut 0, self.flags())?;
        if !self.stream {
            self.after_write()?;
        }
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

    /// Notes a read in the inode's times, unless the file was opened so that it leaves them alone.
    #[inline]
    fn note_access(&self, flags: OpenFlags) {
        if !flags.contains(OpenFlags::NO_ACCESS_TIME) {
            self.location.note_access();
        }
    }

    fn after_read(&self, count: usize) -> Result<usize, Errno> {
        if count > 0 {
            self.tell(FileEvents::ACCESS);
        }
        Ok(count)
    }

    #[inline(always)]
    fn after_write(&self) -> Result<(), Errno> {
        self.tell(FileEvents::MODIFY);
        if self.kind == FileKind::Regular { self.drop_set_id() } else { Ok(()) }
    }

    #[inline(never)]
    fn drop_set_id(&self) -> Result<(), Errno> {
        self.location.drop_set_id(&self.credentials)
    }

    /// `lseek(2)`. `ESPIPE` for a stream, `EINVAL` for a negative result.
    pub fn seek(&self, target: SeekFrom) -> Result<u64, Errno> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        if self.stream {
            return Err(Errno::ESPIPE);
        }
        if self.unpositioned {
            return self.operations.seek(target, &mut 0);
        }
        self.operations.seek(target, &mut self.position.lock())
    }

    /// The position now, for `/proc/<pid>/fdinfo`.
    pub fn position(&self) -> u64 {
        *self.position.lock()
    }

    /// Moves the position, for a call that has worked with offsets. A file without one has no use for it.
    pub fn set_position(&self, position: u64) {
        *self.position.lock() = position;
    }

    /// Hands the directory's entries from the position on to `each`, and moves the position past those for which it
    /// said true. `ENOTDIR`, `EBADF`, `ENOENT` removed directory.
    pub fn read_directory(&self, each: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<(), Errno> {
        let flags = self.flags();
        if flags.contains(OpenFlags::PATH) {
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
        })?;
        drop(position);
        self.tell(FileEvents::ACCESS);
        self.note_access(flags);
        Ok(())
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
        pages::set_size(self.inode(), size)?;
        self.after_write()
    }

    /// `fallocate(2)`. `EBADF` not open for writing, `ESPIPE` a pipe, `EISDIR` a directory, `ENODEV` no regular file;
    /// those of [`Inode::allocate`](crate::Inode::allocate).
    pub fn allocate(&self, range: Range<u64>, how: Allocation) -> Result<(), Errno> {
        let flags = self.flags();
        if flags.contains(OpenFlags::PATH) || !flags.writes() {
            return Err(Errno::EBADF);
        }
        match self.inode().kind() {
            FileKind::Regular => {}
            FileKind::Fifo => return Err(Errno::ESPIPE),
            FileKind::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::ENODEV),
        }
        self.inode().allocate(range, how)?;
        self.after_write()
    }

    /// `ioctl(2)`; `EBADF` for `O_PATH`.
    pub fn ioctl(&self, request: u32, argument: u64) -> Result<i64, Errno> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        self.operations.ioctl(request, argument)
    }

    /// The terminal that a master leads to, see [`FileOps::other_end`].
    pub(crate) fn other_end(&self) -> Option<Arc<dyn Inode>> {
        self.operations.other_end()
    }

    /// `fsync(2)` and `fdatasync(2)`. `EINVAL` where there is nothing to write back.
    pub fn sync(&self) -> Result<(), Errno> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        self.operations.sync()
    }

    /// What can be done now, if a short look tells, see [`FileOps::glance`].
    #[inline]
    pub(crate) fn glance(&self) -> Option<PollEvents> {
        self.operations.glance()
    }

    /// What can be done now, see [`FileOps::poll`].
    pub fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        self.operations.poll(table)
    }

    /// Whether `poll` means anything here, see [`FileOps::can_poll`].
    pub fn can_poll(&self) -> bool {
        self.operations.can_poll()
    }

    /// What `mmap` gets. `EACCES` not open for reading, or shared and `writes` but not open for writing; `ENODEV`; `EPERM` a
    /// seal.
    pub fn mapping(self: &Arc<Self>, shared: bool, writes: bool) -> Result<Mapping, Errno> {
        let flags = self.flags();
        if flags.contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        if !flags.reads() || (shared && writes && !flags.writes()) {
            return Err(Errno::EACCES);
        }
        let mapping = match self.operations.mapped()? {
            MappedPages::OfInode if shared && flags.writes() => {
                Mapping::Pages(Arc::new(FilePages::shared(self.clone(), writes)?))
            }
            _ => self.program_pages()?,
        };
        self.note_access(flags);
        Ok(mapping)
    }

    /// Whether a shared mapping made now may be made writable later.
    pub fn may_become_writable(&self) -> bool {
        let sealed = self.inode().sealing().is_some_and(|sealing| sealing.seals().intersects(Seals::NO_WRITE));
        self.flags().writes() && !sealed
    }

    /// `F_GET_SEALS`. `EINVAL` a file that can have none.
    pub fn seals(&self) -> Result<Seals, Errno> {
        self.inode().sealing().map(|sealing| sealing.seals()).ok_or(Errno::EINVAL)
    }

    /// `F_ADD_SEALS`. `EPERM` not open for writing, or no more may be added; `EINVAL` unknown seals, or a file that can have
    /// none; `EBUSY` somebody can write through a mapping.
    pub fn add_seals(&self, bits: u32) -> Result<(), Errno> {
        if !self.flags().writes() {
            return Err(Errno::EPERM);
        }
        self.inode().add_seals(Seals::from_bits(bits).ok_or(Errno::EINVAL)?)
    }

    /// [`OpenFile::mapping`] for exec, which may map what it may not read. `ENODEV`.
    pub fn program_pages(self: &Arc<Self>) -> Result<Mapping, Errno> {
        Ok(match self.operations.mapped()? {
            MappedPages::OfInode => Mapping::Pages(Arc::new(FilePages::read_only(self.clone()))),
            MappedPages::Of(pages) => Mapping::Pages(pages),
            MappedPages::Anonymous => Mapping::Anonymous,
        })
    }

    /// It is executed from now on, until the result is dropped. `ETXTBSY` somebody has it open for writing.
    pub fn begin_execution(&self) -> Result<Execution, Errno> {
        Execution::begin(self.inode())
    }

    /// Reads at `offset` whatever the access mode: for exec. Errors as `read_at`.
    pub fn read_program(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        self.check_offset(offset)?;
        let count = self.operations.read(buffer, &mut { offset }, self.flags())?;
        self.location.note_access();
        Ok(count)
    }

    /// The inode.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.location.inode
    }

    /// Inode and mount; no mount for what no path led to.
    pub fn location(&self) -> Location {
        self.location.clone()
    }

    /// The location, and the name by which it was found, where it has one.
    pub fn named(&self) -> Named {
        Named { location: self.location(), name: self.entry() }
    }

    /// The name by which it was found, where it has one.
    pub(crate) fn entry(&self) -> Option<Name> {
        self.name.clone()
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
            None => mount_text::path_from(directory, None).map(Option::unwrap_or_default),
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
        let leads_here = |directory: &Arc<dyn Inode>, name: &[u8]| {
            directory.lookup(name).is_ok_and(|inode| inode.number() == self.inode().number())
        };
        let is_lost = !leads_here(directory, name);
        let renamed = self.inode().new_name().filter(|(directory, name)| is_lost && leads_here(directory, name));
        let (directory, name) = renamed.as_ref().map_or((directory, &**name), |(directory, name)| (directory, &**name));
        let holder = Location { mount: self.location.mount.clone(), inode: directory.clone() };
        let mut path = seen(&holder).unwrap_or_default();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        if is_lost && renamed.is_none() {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }

    pub(crate) fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Whether its owner can be told when it can be read or written, see [`FileOps::tells_changes`].
    pub(crate) fn tells_changes(&self) -> bool {
        self.operations.tells_changes()
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
        let flags = self.flags();
        if self.subscriptions.watches_directory() {
            watches::remove_owner(self);
        }
        if !flags.contains(OpenFlags::PATH) {
            self.tell(if flags.writes() { FileEvents::CLOSE_WRITE } else { FileEvents::CLOSE_NO_WRITE });
        }
        if let Some(locks) = self.location.inode.locks() {
            locks.release(LockOwner::of_file(self));
        }
    }
}
