//! Advisory file locks: whole files (`flock`), ranges of a process (POSIX) and ranges of an open file (OFD); and leases.

mod held;
pub mod lease;
mod table;
mod waits;

pub use lease::LeaseState;
pub use table::{LockRow, LockWhat, rows, rows_of};

use crate::OpenFile;
use alloc::sync::Arc;
use base::{Errno, Pid};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};
use table::LockedFile;

/// Who holds a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockOwner {
    /// An open file description (`flock`, `F_OFD_SETLK`), by its address.
    File(usize),
    /// A table of descriptors (`F_SETLK`), by its number.
    Table(u64),
}

impl LockOwner {
    /// The owner of `flock` and OFD locks made through `file`.
    pub fn of_file(file: &OpenFile) -> Self {
        Self::File((&raw const *file).addr())
    }
}

/// Whether others may hold the same lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockKind {
    /// They may, shared too (`LOCK_SH`, `F_RDLCK`).
    Shared,
    /// They may not (`LOCK_EX`, `F_WRLCK`).
    Exclusive,
}

/// A range of bytes, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// Last byte; `u64::MAX` is the end of the file, wherever that comes to be.
    pub end: u64,
}

impl Range {
    /// The whole file.
    pub const ALL: Self = Self { start: 0, end: u64::MAX };

    fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    fn touches(self, other: Self) -> bool {
        self.start <= other.end.saturating_add(1) && other.start <= self.end.saturating_add(1)
    }
}

/// A lock on a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeLock {
    /// Who holds it.
    pub owner: LockOwner,
    /// The process that asked, for `F_GETLK`.
    pub process: Pid,
    /// Shared or not.
    pub kind: LockKind,
    /// Which bytes.
    pub range: Range,
}

impl RangeLock {
    fn conflicts(&self, other: &Self) -> bool {
        self.owner != other.owner
            && self.range.overlaps(other.range)
            && (self.kind == LockKind::Exclusive || other.kind == LockKind::Exclusive)
    }
}

/// The two sorts of locks, which know nothing of each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Whole,
    Ranges,
}

/// The advisory locks and leases on one inode.
pub struct FileLocks {
    /// Made with the first one.
    file: SpinLock<Option<Arc<LockedFile>>>,
    /// How many there are, so that closing a file without any costs nothing.
    count: AtomicUsize,
}

impl Default for FileLocks {
    fn default() -> Self {
        Self::new()
    }
}

impl FileLocks {
    /// No locks.
    pub const fn new() -> Self {
        Self { file: SpinLock::new(rank::FILE_STATE, None), count: AtomicUsize::new(0) }
    }

    /// Releases all that `owner` holds.
    pub fn release(&self, owner: LockOwner) {
        if self.count.load(Relaxed) != 0
            && let Some(file) = self.known()
        {
            file.change(self, |lists| {
                lists.whole.release(owner, Range::ALL);
                lists.ranges.release(owner, Range::ALL);
                lists.leases.retain(|lease| lease.owner() != owner);
            });
        }
    }
}

/// `flock(2)` by `process`: takes (`Some`) or releases (`None`) the lock on the whole file. `EAGAIN` held by another and `wait` is
/// false; `EINTR`; `EBADF` for `O_PATH`; `ENOLCK` the file system keeps no locks, or no memory for
/// one more.
pub fn flock(file: &Arc<OpenFile>, process: Pid, kind: Option<LockKind>, wait: bool) -> Result<(), Errno> {
    if file.flags().contains(crate::OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    let locks = file.inode().locks().ok_or(Errno::ENOLCK)?;
    let owner = LockOwner::of_file(file);
    let release = |known: &LockedFile| known.change(locks, |lists| lists.whole.release(owner, Range::ALL));
    match kind {
        None => {
            if let Some(known) = locks.known() {
                release(&known);
            }
        }
        Some(kind) => {
            let known = locks.made(&**file.inode());
            let wanted = RangeLock { owner, process, kind, range: Range::ALL };
            // Changing the kind is not atomic: the old lock goes first, and others may come in between.
            if known.add(locks, Sort::Whole, wanted, false).is_err() {
                release(&known);
                known.add(locks, Sort::Whole, wanted, wait)?;
            }
        }
    }
    Ok(())
}

/// `F_SETLK`, `F_SETLKW` and their OFD forms: takes a lock on a range. `EBADF` not open in the mode that the kind needs;
/// `EAGAIN`, `EINTR`, `ENOLCK` as for [`flock`]; `EDEADLK` a process that waits for this one is in the way.
pub fn lock_range(file: &OpenFile, wanted: RangeLock, wait: bool) -> Result<(), Errno> {
    let flags = file.flags();
    let fits = match wanted.kind {
        LockKind::Shared => flags.reads(),
        LockKind::Exclusive => flags.writes(),
    };
    if !fits {
        return Err(Errno::EBADF);
    }
    let locks = file.inode().locks().ok_or(Errno::ENOLCK)?;
    locks.made(&**file.inode()).add(locks, Sort::Ranges, wanted, wait)
}

/// `F_SETLK` with `F_UNLCK`: releases what `owner` holds in `range`. `ENOLCK` as for [`flock`]: a lock may become two.
pub fn unlock_range(file: &OpenFile, owner: LockOwner, range: Range) -> Result<(), Errno> {
    let locks = file.inode().locks().ok_or(Errno::ENOLCK)?;
    let Some(known) = locks.known() else { return Ok(()) };
    known.change(locks, |lists| {
        // Of the whole file nothing is left over.
        if range != Range::ALL {
            lists.ranges.reserve()?;
        }
        lists.ranges.release(owner, range);
        Ok(())
    })
}

/// `F_GETLK`: a lock that stands in the way of `wanted`, if any.
pub fn conflicting_range(file: &OpenFile, wanted: RangeLock) -> Result<Option<RangeLock>, Errno> {
    let locks = file.inode().locks().ok_or(Errno::ENOLCK)?;
    Ok(locks.known().and_then(|known| known.lists.lock().ranges.conflict(&wanted).copied()))
}
