//! Advisory file locks: whole files (`flock`), ranges of a process (POSIX) and ranges of an open file (OFD).

use crate::{OpenFile, interrupted};
use alloc::{sync::Arc, vec::Vec};
use base::{Errno, Pid};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};
use sched::WaitQueue;

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

/// The locks of one sort on an inode. Those of one owner never overlap.
#[derive(Default)]
struct Held(Vec<RangeLock>);

impl Held {
    fn conflict(&self, wanted: &RangeLock) -> Option<&RangeLock> {
        self.0.iter().find(|held| held.conflicts(wanted))
    }

    /// Takes `range` from what `owner` holds; a lock that sticks out on both sides becomes two.
    fn release(&mut self, owner: LockOwner, range: Range) {
        let mut kept = Vec::new();
        self.0.retain(|held| {
            if held.owner != owner || !held.range.overlaps(range) {
                return true;
            }
            if held.range.start < range.start {
                kept.push(RangeLock { range: Range { end: range.start - 1, ..held.range }, ..*held });
            }
            if held.range.end > range.end {
                kept.push(RangeLock { range: Range { start: range.end + 1, ..held.range }, ..*held });
            }
            false
        });
        self.0.append(&mut kept);
    }

    /// Has room for what one more lock, or the release of a part of one, adds. `ENOLCK` there is none.
    fn reserve(&mut self) -> Result<(), Errno> {
        self.0.try_reserve(2).map_err(|_| Errno::ENOLCK)
    }

    /// Adds `wanted` in place of what its owner holds there; neighbours of the same kind become one.
    fn add(&mut self, mut wanted: RangeLock) {
        self.release(wanted.owner, wanted.range);
        self.0.retain(|held| {
            let joins = held.owner == wanted.owner && held.kind == wanted.kind && held.range.touches(wanted.range);
            if joins {
                wanted.range.start = wanted.range.start.min(held.range.start);
                wanted.range.end = wanted.range.end.max(held.range.end);
            }
            !joins
        });
        self.0.push(wanted);
    }
}

#[derive(Default)]
struct Lists {
    whole: Held,
    ranges: Held,
}

impl Lists {
    fn of(&mut self, sort: Sort) -> &mut Held {
        match sort {
            Sort::Whole => &mut self.whole,
            Sort::Ranges => &mut self.ranges,
        }
    }
}

/// The two sorts of locks, which know nothing of each other.
#[derive(Clone, Copy)]
enum Sort {
    Whole,
    Ranges,
}

/// The advisory locks held on one inode.
pub struct FileLocks {
    lists: SpinLock<Lists>,
    /// How many locks there are, so that closing a file without any costs nothing.
    count: AtomicUsize,
    released: WaitQueue,
}

impl Default for FileLocks {
    fn default() -> Self {
        Self::new()
    }
}

impl FileLocks {
    /// No locks.
    pub const fn new() -> Self {
        let none = Lists { whole: Held(Vec::new()), ranges: Held(Vec::new()) };
        Self { lists: SpinLock::new(rank::FILE_STATE, none), count: AtomicUsize::new(0), released: WaitQueue::new() }
    }

    /// Releases all that `owner` holds.
    pub fn release(&self, owner: LockOwner) {
        if self.count.load(Relaxed) != 0 {
            self.change(|lists| {
                lists.whole.release(owner, Range::ALL);
                lists.ranges.release(owner, Range::ALL);
            });
        }
    }

    fn change(&self, change: impl FnOnce(&mut Lists)) {
        let mut lists = self.lists.lock();
        change(&mut lists);
        self.count.store(lists.whole.0.len() + lists.ranges.0.len(), Relaxed);
        drop(lists);
        self.released.wake_all();
    }

    fn try_add(&self, sort: Sort, wanted: RangeLock) -> Result<(), Errno> {
        let mut lists = self.lists.lock();
        let held = lists.of(sort);
        if held.conflict(&wanted).is_some() {
            return Err(Errno::EAGAIN);
        }
        held.reserve()?;
        held.add(wanted);
        self.count.store(lists.whole.0.len() + lists.ranges.0.len(), Relaxed);
        Ok(())
    }

    fn add(&self, sort: Sort, wanted: RangeLock, wait: bool) -> Result<(), Errno> {
        if wait {
            let added = || Some(self.try_add(sort, wanted)).filter(|added| *added != Err(Errno::EAGAIN));
            self.released.wait_until_interruptible(added, None).map_err(interrupted)??;
        } else {
            self.try_add(sort, wanted)?;
        }
        // A lock that became shared, or smaller, may let others in.
        self.released.wake_all();
        Ok(())
    }
}

/// `flock(2)`: takes (`Some`) or releases (`None`) the lock on the whole file. `EAGAIN` held by another and `wait` is
/// false; `EINTR`; `EBADF` for `O_PATH`; `ENOLCK` the file system keeps no locks, or no memory for one more.
pub fn flock(file: &Arc<OpenFile>, kind: Option<LockKind>, wait: bool) -> Result<(), Errno> {
    if file.flags().contains(crate::OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    let locks = file.inode().locks().ok_or(Errno::ENOLCK)?;
    let owner = LockOwner::of_file(file);
    match kind {
        None => locks.change(|lists| lists.whole.release(owner, Range::ALL)),
        Some(kind) => {
            let wanted = RangeLock { owner, process: Pid::new(0), kind, range: Range::ALL };
            // Changing the kind is not atomic: the old lock goes first, and others may come in between.
            if locks.add(Sort::Whole, wanted, false).is_err() {
                locks.change(|lists| lists.whole.release(owner, Range::ALL));
                locks.add(Sort::Whole, wanted, wait)?;
            }
        }
    }
    Ok(())
}

/// `F_SETLK`, `F_SETLKW` and their OFD forms: takes a lock on a range. `EBADF` not open in the mode that the kind needs;
/// `EAGAIN`, `EINTR`, `ENOLCK` as for [`flock`].
pub fn lock_range(file: &OpenFile, wanted: RangeLock, wait: bool) -> Result<(), Errno> {
    let flags = file.flags();
    let fits = match wanted.kind {
        LockKind::Shared => flags.reads(),
        LockKind::Exclusive => flags.writes(),
    };
    if !fits {
        return Err(Errno::EBADF);
    }
    file.inode().locks().ok_or(Errno::ENOLCK)?.add(Sort::Ranges, wanted, wait)
}

/// `F_SETLK` with `F_UNLCK`: releases what `owner` holds in `range`. `ENOLCK` as for [`flock`]: a lock may become two.
pub fn unlock_range(file: &OpenFile, owner: LockOwner, range: Range) -> Result<(), Errno> {
    let locks = file.inode().locks().ok_or(Errno::ENOLCK)?;
    let mut result = Ok(());
    locks.change(|lists| {
        // Of the whole file nothing is left over.
        result = if range == Range::ALL { Ok(()) } else { lists.ranges.reserve() };
        if result.is_ok() {
            lists.ranges.release(owner, range);
        }
    });
    result
}

/// `F_GETLK`: a lock that stands in the way of `wanted`, if any.
pub fn conflicting_range(file: &OpenFile, wanted: RangeLock) -> Result<Option<RangeLock>, Errno> {
    let locks = file.inode().locks().ok_or(Errno::ENOLCK)?;
    Ok(locks.lists.lock().ranges.conflict(&wanted).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lock(owner: u64, kind: LockKind, start: u64, end: u64) -> RangeLock {
        RangeLock { owner: LockOwner::Table(owner), process: Pid::new(1), kind, range: Range { start, end } }
    }

    #[test]
    fn unlocking_the_middle_leaves_two_locks() {
        let mut held = Held::default();
        held.add(lock(1, LockKind::Exclusive, 0, 9));
        held.release(LockOwner::Table(1), Range { start: 3, end: 5 });
        let mut ranges: Vec<_> = held.0.iter().map(|held| (held.range.start, held.range.end)).collect();
        ranges.sort_unstable();
        assert_eq!(ranges, [(0, 2), (6, 9)]);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Lock(u64, bool, u64, u64),
        Unlock(u64, u64, u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let range = (0..16u64, 0..16u64).prop_map(|(a, b)| (a.min(b), a.max(b)));
        prop_oneof![
            (0..3u64, any::<bool>(), range.clone()).prop_map(|(owner, shared, (a, b))| Step::Lock(owner, shared, a, b)),
            (0..3u64, range).prop_map(|(owner, (a, b))| Step::Unlock(owner, a, b)),
        ]
    }

    proptest! {
        #[test]
        fn range_locks_agree_with_a_map_of_bytes(steps in proptest::collection::vec(any_step(), 1..60)) {
            let mut held = Held::default();
            let mut bytes: [[Option<LockKind>; 16]; 3] = [[None; 16]; 3];
            for step in steps {
                match step {
                    Step::Lock(owner, shared, start, end) => {
                        let kind = if shared { LockKind::Shared } else { LockKind::Exclusive };
                        let wanted = lock(owner, kind, start, end);
                        let free = (0..3).filter(|&other| other != owner as usize).all(|other| {
                            (start..=end).all(|byte| match bytes[other][byte as usize] {
                                None => true,
                                Some(has) => has == LockKind::Shared && shared,
                            })
                        });
                        prop_assert_eq!(held.conflict(&wanted).is_none(), free);
                        if free {
                            held.add(wanted);
                            (start..=end).for_each(|byte| bytes[owner as usize][byte as usize] = Some(kind));
                        }
                    }
                    Step::Unlock(owner, start, end) => {
                        held.release(LockOwner::Table(owner), Range { start, end });
                        (start..=end).for_each(|byte| bytes[owner as usize][byte as usize] = None);
                    }
                }
                for (owner, row) in bytes.iter().enumerate() {
                    for (byte, &kind) in row.iter().enumerate() {
                        let found: Vec<_> = held.0.iter().filter(|held| {
                            held.owner == LockOwner::Table(owner as u64)
                                && held.range.overlaps(Range { start: byte as u64, end: byte as u64 })
                        }).collect();
                        prop_assert!(found.len() <= 1);
                        prop_assert_eq!(found.first().map(|held| held.kind), kind);
                    }
                }
            }
        }
    }
}
