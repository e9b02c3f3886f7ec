//! The locks of an inode, and the list of all inodes that have had any (`/proc/locks`).

use super::{
    FileLocks, LockKind, LockOwner, Range, RangeLock, Sort,
    held::Held,
    lease::{Lease, LeaseState},
    waits::{self, Waiting},
};
use crate::{DeviceNumber, Inode, OpenFile, interrupted, weak_list::WeakList};
use alloc::{sync::Arc, vec::Vec};
use base::{Errno, Pid};
use core::sync::atomic::Ordering::Relaxed;
use machine::sync::{SpinLock, rank};
use sched::WaitQueue;

#[derive(Default)]
pub(super) struct Lists {
    pub whole: Held,
    pub ranges: Held,
    pub leases: Vec<Lease>,
}

impl Lists {
    pub fn of(&mut self, sort: Sort) -> &mut Held {
        match sort {
            Sort::Whole => &mut self.whole,
            Sort::Ranges => &mut self.ranges,
        }
    }

    pub fn len(&self) -> usize {
        self.whole.0.len() + self.ranges.0.len() + self.leases.len()
    }
}

/// The locks of one inode; made with its first lock.
pub(super) struct LockedFile {
    device: DeviceNumber,
    inode: u64,
    pub lists: SpinLock<Lists>,
    /// Woken when a lock or a lease was given up or became weaker.
    pub released: WaitQueue,
}

/// Those of all inodes.
static FILES: WeakList<LockedFile> = WeakList::new(rank::FILE_STATE);

impl Drop for LockedFile {
    fn drop(&mut self) {
        FILES.note_gone();
    }
}

impl LockedFile {
    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Changes the lists, and has all who wait look again.
    pub fn change<R>(&self, locks: &FileLocks, change: impl FnOnce(&mut Lists) -> R) -> R {
        let mut lists = self.lists.lock();
        let result = change(&mut lists);
        locks.count.store(lists.len(), Relaxed);
        waits::forget(self.address());
        drop(lists);
        self.released.wake_all();
        result
    }

    /// `EAGAIN` somebody has it; with `waiting` that is noted: `EDEADLK`.
    fn try_add(
        &self,
        locks: &FileLocks,
        sort: Sort,
        wanted: RangeLock,
        waiting: Option<&Waiting>,
    ) -> Result<(), Errno> {
        let mut lists = self.lists.lock();
        let held = lists.of(sort);
        if let Some(conflict) = held.conflict(&wanted) {
            if let Some(waiting) = waiting {
                waiting.note(self.address(), sort, &wanted, conflict.owner)?;
            }
            return Err(Errno::EAGAIN);
        }
        held.reserve()?;
        held.add(wanted);
        locks.count.store(lists.len(), Relaxed);
        // A lock that became shared, or smaller, may let others in.
        waits::forget(self.address());
        Ok(())
    }

    pub fn add(&self, locks: &FileLocks, sort: Sort, wanted: RangeLock, wait: bool) -> Result<(), Errno> {
        if wait {
            let waiting = Waiting::new();
            let attempt = || match self.try_add(locks, sort, wanted, Some(&waiting)) {
                Err(Errno::EAGAIN) => None,
                result => Some(result),
            };
            self.released.wait_until_interruptible(attempt, None).map_err(interrupted)??;
        } else {
            self.try_add(locks, sort, wanted, None)?;
        }
        self.released.wake_all();
        Ok(())
    }

    fn rows(&self, each: &mut dyn FnMut(LockOwner, LockRow) -> Result<(), Errno>) -> Result<(), Errno> {
        let row = |what, kind, process, range, waits| LockRow {
            what,
            kind,
            process,
            device: self.device,
            inode: self.inode,
            range,
            waits,
        };
        let lists = self.lists.lock();
        let waits = waits::of_file(self.address());
        for (sort, held) in [(Sort::Whole, &lists.whole), (Sort::Ranges, &lists.ranges)] {
            for lock in &held.0 {
                let shown = |sort: Sort, lock: &RangeLock, waits| {
                    let (what, process) = match (sort, lock.owner) {
                        (Sort::Whole, _) => (LockWhat::Whole, lock.process),
                        (Sort::Ranges, LockOwner::Table(_)) => (LockWhat::OfProcess, lock.process),
                        (Sort::Ranges, LockOwner::File(_)) => (LockWhat::OfFile, Pid::new(-1)),
                    };
                    row(what, Some(lock.kind), process, lock.range, waits)
                };
                each(lock.owner, shown(sort, lock, false))?;
                let mut behind = waits.iter().filter(|(other, wanted, blocker)| {
                    *other == sort && *blocker == lock.owner && wanted.conflicts(lock)
                });
                behind.try_for_each(|(sort, wanted, _)| each(wanted.owner, shown(*sort, wanted, true)))?;
            }
        }
        for lease in &lists.leases {
            let what = LockWhat::Lease(lease.state());
            each(lease.owner(), row(what, lease.target(), lease.process(), Range::ALL, false))?;
        }
        Ok(())
    }
}

impl FileLocks {
    /// The locks, if there have been any.
    pub(super) fn known(&self) -> Option<Arc<LockedFile>> {
        self.file.lock().clone()
    }

    /// The locks of `inode`, whose this is.
    pub(super) fn made(&self, inode: &dyn Inode) -> Arc<LockedFile> {
        if let Some(file) = self.known() {
            return file;
        }
        let metadata = inode.metadata();
        let fresh = Arc::new(LockedFile {
            device: metadata.device,
            inode: metadata.inode,
            lists: SpinLock::new(rank::FILE_STATE, Lists::default()),
            released: WaitQueue::new(),
        });
        let made = self.file.lock().get_or_insert_with(|| fresh.clone()).clone();
        if Arc::ptr_eq(&made, &fresh) {
            FILES.add(&made);
        }
        made
    }
}

/// What a row of `/proc/locks` is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockWhat {
    /// A whole file (`flock`).
    Whole,
    /// A range, of a process.
    OfProcess,
    /// A range, of an open file.
    OfFile,
    /// A lease.
    Lease(LeaseState),
}

/// A row of `/proc/locks`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockRow {
    /// What it is about.
    pub what: LockWhat,
    /// Shared or not; none for a lease that is to be given up.
    pub kind: Option<LockKind>,
    /// Who asked for it; -1 where it belongs to an open file.
    pub process: Pid,
    /// The file system.
    pub device: DeviceNumber,
    /// The inode.
    pub inode: u64,
    /// Which bytes.
    pub range: Range,
    /// Somebody waits for it, who waits for the one of the last row that does not.
    pub waits: bool,
}

/// Adds a row. `ENOMEM`.
fn push(rows: &mut Vec<LockRow>, row: LockRow) -> Result<(), Errno> {
    rows.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    rows.push(row);
    Ok(())
}

/// All locks, file by file. `ENOMEM`.
pub fn rows() -> Result<Vec<LockRow>, Errno> {
    let mut rows = Vec::new();
    FILES.all()?.iter().try_for_each(|file| file.rows(&mut |_, row| push(&mut rows, row)))?;
    Ok(rows)
}

/// The locks that were taken through an open file, or through the table of descriptors `table`. `ENOMEM`.
pub fn rows_of(file: &OpenFile, table: LockOwner) -> Result<Vec<LockRow>, Errno> {
    let mut rows = Vec::new();
    if let Some(known) = file.inode().locks().and_then(FileLocks::known) {
        let own = [LockOwner::of_file(file), table];
        let is_own = |owner, row: &LockRow| own.contains(&owner) && !row.waits;
        known.rows(&mut |owner, row| if is_own(owner, &row) { push(&mut rows, row) } else { Ok(()) })?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpenFlags, Permissions, Start, testing::with_caller};

    #[test]
    fn files_that_are_gone_leave_the_list() {
        with_caller(|caller| {
            let file = caller.open(Start::WorkingDirectory, b"/", OpenFlags::empty(), Permissions::default()).unwrap();
            let mut many: Vec<FileLocks> = (0..1000).map(|_| FileLocks::new()).collect();
            many.iter().for_each(|locks| drop(locks.made(&**file.inode())));
            many.clear();
            // Other tests have locks too, and may have used the list just now.
            assert!(FILES.gone() <= 500, "{}", FILES.gone());
        });
    }
}
