//! System V shared memory, `shmget(2)` and its relatives: segments of memory that are found by a key or a number and
//! live until they are removed and nobody has them attached.
//!
//! The table of segments is here, the attachments, which are what address spaces map, in `attachment`.

mod attachment;
#[cfg(test)]
mod tests;

pub use attachment::Attachment;

use alloc::{collections::BTreeMap, sync::Arc};
use base::{Capabilities, Credentials, Errno, Gid, Pid, Uid};
use bitflags::bitflags;
use machine::sync::{SpinLock, rank};
use memory::SharedPages;

/// The most segments (`SHMMNI`).
pub const MOST_SEGMENTS: usize = 4096;
/// The largest segment (`SHMMAX`), and the most pages of all together (`SHMALL`), as on Linux.
pub const LARGEST: u64 = u64::MAX - (1 << 24);
/// The key of a segment that is found by no key.
const PRIVATE: i32 = 0;
/// Numbers of segments run to here and start again.
const LARGEST_NUMBER: i32 = i32::MAX;

bitflags! {
    /// The flags of `shmget(2)` above the permission bits.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct GetFlags: u32 {
        /// Make it if there is none.
        const CREATE = 0o1000;
        /// There must be none.
        const EXCLUSIVE = 0o2000;
        /// Do not reserve memory; nothing is reserved in any case.
        const NO_RESERVE = 0o10000;
    }
}

/// What is known of a segment, as `IPC_STAT` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The key; 0 for a private one, and one that was removed.
    pub key: i32,
    /// Its owner.
    pub uid: Uid,
    /// Its owner's group.
    pub gid: Gid,
    /// Who made it.
    pub creator: (Uid, Gid),
    /// Permission bits, [`Segment::REMOVED`] and [`Segment::LOCKED`].
    pub mode: u32,
    /// Its bytes.
    pub size: u64,
    /// How often it is attached.
    pub attached: u64,
    /// When it was last attached, detached and changed, in seconds since the epoch; 0 never.
    pub times: [u64; 3],
    /// The process that made it, and the last one that attached or detached it.
    pub processes: [Pid; 2],
}

impl Segment {
    /// It is to go with its last attachment.
    pub const REMOVED: u32 = 0o1000;
    /// It stays in memory.
    pub const LOCKED: u32 = 0o2000;

    /// Whether `who` has the permissions of `wanted`, which has them in the place of any class. `EACCES`.
    fn check(&self, who: &Credentials, wanted: u32) -> Result<(), Errno> {
        let wanted = (wanted >> 6 | wanted >> 3 | wanted) & 0o7;
        let granted = if [self.uid, self.creator.0].contains(&who.euid) {
            self.mode >> 6
        } else if [self.gid, self.creator.1].iter().any(|&group| who.egid == group || who.groups.contains(&group)) {
            self.mode >> 3
        } else {
            self.mode
        };
        if wanted & !granted & 0o7 == 0 || who.has(Capabilities::IPC_OWNER) { Ok(()) } else { Err(Errno::EACCES) }
    }

    fn is_owner(&self, who: &Credentials) -> bool {
        [self.uid, self.creator.0].contains(&who.euid)
    }
}

struct Entry {
    segment: Segment,
    pages: Arc<SharedPages>,
}

struct Table {
    entries: BTreeMap<i32, Entry>,
    keys: BTreeMap<i32, i32>,
    next: i32,
}

/// All segments. One value for the system; tests can have many.
pub struct SharedMemory(SpinLock<Table>);

/// Sums over all segments, for `SHM_INFO`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sums {
    /// Segments.
    pub segments: u32,
    /// The highest place of one in the order of numbers.
    pub highest: u32,
    /// Pages, touched or not.
    pub pages: u64,
    /// Pages that are there.
    pub resident: u64,
}

fn seconds() -> u64 {
    machine::time::realtime() / 1_000_000_000
}

fn own_pid() -> Pid {
    crate::current().map_or(Pid::new(0), |task| task.pid())
}

impl SharedMemory {
    /// No segments.
    pub fn new() -> Arc<Self> {
        let table = Table { entries: BTreeMap::new(), keys: BTreeMap::new(), next: 0 };
        Arc::new(Self(SpinLock::new(rank::SEGMENTS, table)))
    }

    /// `shmget(2)`: the number of the segment with this key, made if that is asked for; with key 0 always a new one.
    ///
    /// `ENOENT` there is none; `EEXIST`; `EINVAL` it is smaller than `size`, or a new one would be empty or too large;
    /// `EACCES` the caller may not do with it what the permission bits in `mode` say; `ENOSPC` too many.
    pub fn get(&self, key: i32, size: u64, flags: GetFlags, mode: u32, who: &Credentials) -> Result<i32, Errno> {
        // Made here, in case it is needed: not under the lock.
        let pages = Arc::new(SharedPages::new());
        let mut table = self.0.lock();
        if key != PRIVATE
            && let Some(&number) = table.keys.get(&key)
            && let Some(entry) = table.entries.get(&number)
        {
            if flags.contains(GetFlags::CREATE | GetFlags::EXCLUSIVE) {
                return Err(Errno::EEXIST);
            }
            if entry.segment.size < size {
                return Err(Errno::EINVAL);
            }
            return entry.segment.check(who, mode).map(|()| number);
        }
        if key != PRIVATE && !flags.contains(GetFlags::CREATE) {
            return Err(Errno::ENOENT);
        }
        if size == 0 || size > LARGEST {
            return Err(Errno::EINVAL);
        }
        if table.entries.len() >= MOST_SEGMENTS {
            return Err(Errno::ENOSPC);
        }
        let number = table.next_number();
        let segment = Segment {
            key,
            uid: who.euid,
            gid: who.egid,
            creator: (who.euid, who.egid),
            mode: mode & 0o777,
            size,
            attached: 0,
            times: [0, 0, seconds()],
            processes: [own_pid(), Pid::new(0)],
        };
        table.entries.insert(number, Entry { segment, pages });
        if key != PRIVATE {
            table.keys.insert(key, number);
        }
        Ok(number)
    }

    /// What is known of a segment. `EINVAL` there is none; `EACCES` the caller may not read it, unless `anybody` may.
    pub fn status(&self, number: i32, anybody: bool, who: &Credentials) -> Result<Segment, Errno> {
        let table = self.0.lock();
        let segment = &table.entries.get(&number).ok_or(Errno::EINVAL)?.segment;
        if !anybody {
            segment.check(who, 0o444)?;
        }
        Ok(segment.clone())
    }

    /// The number of the segment at a place in the order of numbers. `EINVAL` there are not so many.
    pub fn number_at(&self, place: i32) -> Result<i32, Errno> {
        let place = usize::try_from(place).map_err(|_| Errno::EINVAL)?;
        self.0.lock().entries.keys().nth(place).copied().ok_or(Errno::EINVAL)
    }

    /// `IPC_RMID`: it can no longer be found by its key, and goes when nobody has it attached. `EINVAL` there is none;
    /// `EPERM` neither owner nor creator, without CAP_SYS_ADMIN.
    pub fn remove(&self, number: i32, who: &Credentials) -> Result<(), Errno> {
        let mut table = self.0.lock();
        table.owned(number, who)?;
        let gone = table.remove(number);
        drop(table);
        drop(gone);
        Ok(())
    }

    /// `IPC_SET`: a new owner and permission bits. Errors as [`remove`](Self::remove).
    pub fn set(&self, number: i32, uid: Uid, gid: Gid, mode: u32, who: &Credentials) -> Result<(), Errno> {
        let mut table = self.0.lock();
        let segment = table.owned(number, who)?;
        (segment.uid, segment.gid) = (uid, gid);
        segment.mode = segment.mode & !0o777 | mode & 0o777;
        segment.times[2] = seconds();
        Ok(())
    }

    /// `SHM_LOCK` and `SHM_UNLOCK`: as nothing is ever moved out of memory, only the mark. `EINVAL` there is none; `EPERM`
    /// neither owner nor creator, or `may_lock` is false, without CAP_IPC_LOCK.
    pub fn set_locked(&self, number: i32, lock: bool, may_lock: bool, who: &Credentials) -> Result<(), Errno> {
        let mut table = self.0.lock();
        let segment = &mut table.entries.get_mut(&number).ok_or(Errno::EINVAL)?.segment;
        let allowed = segment.is_owner(who) && (may_lock || !lock);
        if !allowed && !who.has(Capabilities::IPC_LOCK) {
            return Err(Errno::EPERM);
        }
        segment.mode = if lock { segment.mode | Segment::LOCKED } else { segment.mode & !Segment::LOCKED };
        Ok(())
    }

    /// Sums over all segments.
    pub fn sums(&self) -> Sums {
        let table = self.0.lock();
        let mut sums = Sums { highest: table.entries.len().saturating_sub(1) as u32, ..Sums::default() };
        for entry in table.entries.values() {
            sums.segments += 1;
            sums.pages += entry.segment.size.div_ceil(4096);
            sums.resident += entry.pages.count();
        }
        sums
    }
}

impl Table {
    /// A number that is free; none is used again soon.
    fn next_number(&mut self) -> i32 {
        loop {
            let number = self.next;
            self.next = if number == LARGEST_NUMBER { 0 } else { number + 1 };
            if !self.entries.contains_key(&number) {
                return number;
            }
        }
    }

    /// A segment that `who` may change. `EINVAL`, `EPERM`.
    fn owned(&mut self, number: i32, who: &Credentials) -> Result<&mut Segment, Errno> {
        let segment = &mut self.entries.get_mut(&number).ok_or(Errno::EINVAL)?.segment;
        let allowed = segment.is_owner(who) || who.has(Capabilities::SYS_ADMIN);
        if allowed { Ok(segment) } else { Err(Errno::EPERM) }
    }

    /// Removes a segment, now or with its last attachment. What is gone is dropped after the lock.
    fn remove(&mut self, number: i32) -> Option<Entry> {
        let segment = &mut self.entries.get_mut(&number)?.segment;
        if segment.key != PRIVATE {
            self.keys.remove(&segment.key);
            segment.key = PRIVATE;
        }
        segment.mode |= Segment::REMOVED;
        if segment.attached == 0 { self.entries.remove(&number) } else { None }
    }
}
