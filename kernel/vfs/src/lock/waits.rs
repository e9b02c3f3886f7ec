//! Who waits for which lock: so that nobody waits for somebody who waits for him (`EDEADLK`), and for /proc/locks.

use super::{LockOwner, RangeLock, Sort};
use alloc::{vec, vec::Vec};
use base::Errno;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};

/// A lock that is waited for.
struct Wait {
    /// Whose wait it is.
    number: u64,
    /// The address of the file's locks.
    file: usize,
    sort: Sort,
    wanted: RangeLock,
    /// Who has what is in the way.
    blocker: LockOwner,
}

/// All waits. Each is there only while its blocker stands in the way: who gives up a lock removes those of its file, and
/// those who wait look again.
static WAITS: SpinLock<Vec<Wait>> = SpinLock::new(rank::BUFFER, Vec::new());

/// The place of one who waits; dropped, he waits no more.
pub(super) struct Waiting(u64);

impl Waiting {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Relaxed))
    }

    /// Notes what is waited for. `EDEADLK` the blocker waits, perhaps through others, for who wants the lock. Only locks
    /// of processes on ranges are looked at, as on Linux. Locks: call with those of the file held.
    pub fn note(&self, file: usize, sort: Sort, wanted: &RangeLock, blocker: LockOwner) -> Result<(), Errno> {
        let mut waits = WAITS.lock();
        waits.retain(|wait| wait.number != self.0);
        let of_process = matches!((sort, wanted.owner), (Sort::Ranges, LockOwner::Table(_)));
        if of_process && leads_to(&waits, blocker, wanted.owner) {
            return Err(Errno::EDEADLK);
        }
        waits.push(Wait { number: self.0, file, sort, wanted: *wanted, blocker });
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITS.lock().retain(|wait| wait.number != self.0);
    }
}

/// Whether `from` waits, perhaps through others, for `to`.
fn leads_to(waits: &[Wait], from: LockOwner, to: LockOwner) -> bool {
    let mut chain = vec![from];
    let mut next = 0;
    while let Some(&owner) = chain.get(next) {
        if owner == to {
            return true;
        }
        for wait in waits.iter().filter(|wait| wait.wanted.owner == owner && matches!(wait.sort, Sort::Ranges)) {
            if matches!(owner, LockOwner::Table(_)) && !chain.contains(&wait.blocker) {
                chain.push(wait.blocker);
            }
        }
        next += 1;
    }
    false
}

/// Nobody is in the way at this file any more, as far as is known. Locks: call with those of the file held, and have all who
/// wait there look again.
pub(super) fn forget(file: usize) {
    let mut waits = WAITS.lock();
    if !waits.is_empty() {
        waits.retain(|wait| wait.file != file);
    }
}

/// What is waited for at this file: its sort, the lock that is wanted, and who is in the way.
pub(super) fn of_file(file: usize) -> Vec<(Sort, RangeLock, LockOwner)> {
    let waits = WAITS.lock();
    waits.iter().filter(|wait| wait.file == file).map(|wait| (wait.sort, wait.wanted, wait.blocker)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{LockKind, Range};
    use base::Pid;

    #[test]
    fn a_ring_of_waits_is_refused_where_it_would_close() {
        let owner = |number: u64| LockOwner::Table(1_000_000 + number);
        let wanted = |number| RangeLock {
            owner: owner(number),
            process: Pid::new(1),
            kind: LockKind::Exclusive,
            range: Range::ALL,
        };
        let [first, second, third] = [Waiting::new(), Waiting::new(), Waiting::new()];
        assert_eq!(first.note(1, Sort::Ranges, &wanted(1), owner(2)), Ok(()));
        assert_eq!(second.note(2, Sort::Ranges, &wanted(2), owner(3)), Ok(()));
        assert_eq!(third.note(3, Sort::Ranges, &wanted(3), owner(1)), Err(Errno::EDEADLK));
        // Locks on whole files and of open files are not looked at.
        assert_eq!(third.note(3, Sort::Whole, &wanted(3), owner(1)), Ok(()));
        assert_eq!(third.note(3, Sort::Ranges, &wanted(3), owner(4)), Ok(()));
        // Once the second's way is free, the ring is open.
        forget(2);
        assert_eq!(third.note(3, Sort::Ranges, &wanted(3), owner(1)), Ok(()));
        drop(first);
        assert!(of_file(1).is_empty() && of_file(3).len() == 1);
    }
}
