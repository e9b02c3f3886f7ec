//! What a file can do once it is open.

use crate::{Inode, OpenFlags, PollEvents, PollTable, SeekFrom};
use alloc::sync::Arc;
use base::Errno;
use core::any::Any;
use memory::PageSource;

/// What `mmap` finds behind a file.
pub enum Mapping {
    /// Pages of a file.
    Pages(Arc<dyn PageSource>),
    /// Fresh zeroed memory, as behind `/dev/zero`.
    Anonymous,
}

/// Where the pages of an open file come from.
pub enum MappedPages {
    /// From `Inode::page`.
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

    /// Whether [`admit_write`](Self::admit_write) is to be asked. Asked itself once, when the file is opened.
    fn screens_writes(&self) -> bool {
        false
    }

    /// Whether a write of `length` bytes may be tried, asked before the bytes are fetched from the caller.
    fn admit_write(&self, _length: usize) -> Result<(), Errno> {
        Ok(())
    }

    /// Whether it has no position: pipes, sockets, terminals. `lseek` and `pread` then give `ESPIPE`.
    fn is_stream(&self) -> bool {
        false
    }

    /// Whether it keeps a place of its own and ignores the position: its reads, writes and seeks don't take turns.
    fn keeps_place(&self) -> bool {
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
            SeekFrom::Data(_) | SeekFrom::Hole(_) => i64::try_from(self.seek_sparse(target)?).ok(),
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

    /// The terminal that a master leads to, as a file of its file system; `None` for all others.
    fn other_end(&self) -> Option<Arc<dyn Inode>> {
        None
    }

    /// `ioctl(2)`. Pointers in `argument` are the calling task's. `ENOTTY` for what it does not know.
    fn ioctl(&self, _request: u32, _argument: u64) -> Result<i64, Errno> {
        Err(Errno::ENOTTY)
    }

    /// What can be done now without sleeping; asks `table` to watch the queues that tell of a change.
    fn poll(&self, _table: &mut PollTable<'_>) -> PollEvents {
        PollEvents::ALWAYS
    }

    /// What [`poll`](Self::poll) would say, where a short look tells that takes no lock but spinning ones that rank after
    /// the table of descriptors, and frees nothing. `None`: `poll` is to be asked.
    fn glance(&self) -> Option<PollEvents> {
        None
    }

    /// Whether `poll` means anything here; epoll refuses the rest with `EPERM`.
    fn can_poll(&self) -> bool {
        self.is_stream()
    }

    /// Whether its owner can be told by a signal when it can be read or written (`O_ASYNC`).
    fn tells_changes(&self) -> bool {
        false
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
