//! System V shared memory, `shmget(2)` and its relatives: segments of memory that are found by a key or a number and
//! live until they are removed and nobody has them attached.
//!
//! The table of segments is here, the attachments, which are what address spaces map, in `attachment`.

mod attachment;
#[cfg(test)]
mod tests;

pub use attachment::Attachment;

use crate::ipc::{GetFlags, Objects, Permission, own_pid, seconds};
use alloc::{sync::Arc, vec::Vec};
use base::{Capabilities, Credentials, Errno, Gid, Pid, Uid, charge::Refused};
use machine::sync::{SpinLock, rank};
use memory::{
    SharedPages,
    commitment::{self, Commitment, Overcommit},
};

/// The most segments (`SHMMNI`).
const MOST_SEGMENTS: i32 = 4096;
/// The largest segment (`SHMMAX`), and the most pages of all together (`SHMALL`).
const LARGEST: u64 = u64::MAX - (1 << 24);

/// `/proc/sys/kernel/shmmax`, `shmall` and `shmmni`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentLimits {
    /// The largest segment in bytes.
    pub largest: u64,
    /// The most pages of all together.
    pub pages: u64,
    /// The most segments.
    pub segments: i32,
}

impl SegmentLimits {
    /// Linux's.
    pub const DEFAULT: Self = Self { largest: LARGEST, pages: LARGEST, segments: MOST_SEGMENTS };
}

/// What is known of a segment, as `IPC_STAT` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Owners and permissions; the mode has [`Segment::REMOVED`] and [`Segment::LOCKED`] too.
    pub permission: Permission,
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
}

struct Entry {
    segment: Segment,
    pages: Arc<SharedPages>,
}

struct Table {
    objects: Objects<Entry>,
    /// Pages of all segments, touched or not.
    pages: u64,
    limits: SegmentLimits,
}

/// All segments. One value for the system; tests can have many.
pub struct SharedMemory(SpinLock<Table>);

/// Sums over all segments, for `SHM_INFO`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sums {
    /// Segments.
    pub segments: usize,
    /// Pages, touched or not.
    pub pages: u64,
    /// Pages that are there.
    pub resident: u64,
}

impl SharedMemory {
    /// No segments.
    pub fn new() -> Arc<Self> {
        let table = Table { objects: Objects::new(), pages: 0, limits: SegmentLimits::DEFAULT };
        Arc::new(Self(SpinLock::new(rank::IPC_TABLE, table)))
    }

    /// The limits now.
    pub fn limits(&self) -> SegmentLimits {
        self.0.lock().limits
    }

    /// Sets the limits; what is there already stays.
    pub fn set_limits(&self, limits: SegmentLimits) {
        self.0.lock().limits = limits;
    }

    /// `shmget(2)`: the number of the segment with this key, made if that is asked for; with key 0 always a new one.
    ///
    /// `ENOENT` there is none; `EEXIST`; `EINVAL` it is smaller than `size`, or a new one would be empty or too large; `ENOMEM` so much is not promised any more;
    /// `EACCES` the caller may not do with it what the permission bits in `mode` say; `ENOSPC` too many.
    pub fn get(&self, key: i32, size: u64, flags: GetFlags, mode: u32, who: &Credentials) -> Result<i32, Errno> {
        // Asked for here, in case it is needed: not under the lock.
        let counts = !flags.contains(GetFlags::NO_RESERVE) || commitment::mode() == Overcommit::Never;
        let commitment = Commitment::new(if counts { size.div_ceil(4096) } else { 0 });
        let mut table = self.0.lock();
        if let Some(number) = table.objects.find(key, flags)? {
            let segment = &table.objects.get(number)?.segment;
            if segment.size < size {
                return Err(Errno::EINVAL);
            }
            return segment.permission.check(who, mode).map(|()| number);
        }
        let limits = table.limits;
        if size == 0 || size > limits.largest {
            return Err(Errno::EINVAL);
        }
        let all = table.pages.checked_add(size.div_ceil(4096)).filter(|&pages| pages <= limits.pages);
        let all = all.ok_or(Errno::ENOSPC)?;
        if table.objects.count() >= limits.segments.max(0) as usize {
            return Err(Errno::ENOSPC);
        }
        let commitment = commitment.map_err(|Refused| Errno::ENOMEM)?;
        let pages = memory::heap::try_arc(SharedPages::new(commitment))?;
        let segment = Segment {
            permission: Permission::new(key, mode, who),
            size,
            attached: 0,
            times: [0, 0, seconds()],
            processes: [own_pid(), Pid::new(0)],
        };
        table.pages = all;
        Ok(table.objects.insert(key, Entry { segment, pages }))
    }

    /// What is known of a segment. `EINVAL` there is none; `EACCES` the caller may not read it, unless `anybody` may.
    pub fn status(&self, number: i32, anybody: bool, who: &Credentials) -> Result<Segment, Errno> {
        let table = self.0.lock();
        let segment = &table.objects.get(number)?.segment;
        if !anybody {
            segment.permission.check(who, 0o444)?;
        }
        Ok(segment.clone())
    }

    /// All segments by number with the pages that are there, for /proc/sysvipc/shm.
    pub fn all(&self) -> Vec<(i32, Segment, u64)> {
        let table = self.0.lock();
        table.objects.iter().map(|(number, entry)| (number, entry.segment.clone(), entry.pages.count())).collect()
    }

    /// The number of the segment at a place in the order of numbers. `EINVAL` there are not so many.
    pub fn number_at(&self, place: i32) -> Result<i32, Errno> {
        self.0.lock().objects.number_at(place)
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

    /// `IPC_SET`: a new owner and permission bits. Errors as [`remove`](Self::remove), and `EINVAL` numbers of nobody.
    pub fn set(&self, number: i32, uid: Uid, gid: Gid, mode: u32, who: &Credentials) -> Result<(), Errno> {
        let mut table = self.0.lock();
        let segment = table.owned(number, who)?;
        segment.permission.set(uid, gid, mode)?;
        segment.times[2] = seconds();
        Ok(())
    }

    /// `SHM_LOCK` and `SHM_UNLOCK`: as nothing is ever moved out of memory, only the mark. `EINVAL` there is none; `EPERM`
    /// neither owner nor creator, or `may_lock` is false, without CAP_IPC_LOCK.
    pub fn set_locked(&self, number: i32, lock: bool, may_lock: bool, who: &Credentials) -> Result<(), Errno> {
        let mut table = self.0.lock();
        let permission = &mut table.objects.get_mut(number)?.segment.permission;
        let allowed = permission.is_owner(who) && (may_lock || !lock);
        if !allowed && !who.has(Capabilities::IPC_LOCK) {
            return Err(Errno::EPERM);
        }
        let mode = permission.mode;
        permission.mode = if lock { mode | Segment::LOCKED } else { mode & !Segment::LOCKED };
        Ok(())
    }

    /// Sums over all segments.
    pub fn sums(&self) -> Sums {
        let table = self.0.lock();
        let resident = table.objects.iter().map(|(_, entry)| entry.pages.count()).sum();
        Sums { segments: table.objects.count(), pages: table.pages, resident }
    }
}

impl Table {
    /// A segment that `who` may change. `EINVAL`, `EPERM`.
    fn owned(&mut self, number: i32, who: &Credentials) -> Result<&mut Segment, Errno> {
        let segment = &mut self.objects.get_mut(number)?.segment;
        segment.permission.check_owner(who)?;
        Ok(segment)
    }

    /// Removes a segment, now or with its last attachment. What is gone is dropped after the lock.
    fn remove(&mut self, number: i32) -> Option<Entry> {
        let segment = &mut self.objects.get_mut(number).ok()?.segment;
        let key = core::mem::take(&mut segment.permission.key);
        segment.permission.mode |= Segment::REMOVED;
        let unused = segment.attached == 0;
        self.objects.forget_key(key);
        if unused { self.take_out(number) } else { None }
    }

    /// Takes a segment out that nobody has attached any more.
    fn take_out(&mut self, number: i32) -> Option<Entry> {
        let entry = self.objects.remove(number)?;
        self.pages -= entry.segment.size.div_ceil(4096);
        Some(entry)
    }
}
