//! What the three kinds of System V objects share, `sysvipc(7)`: keys and numbers, owners and permissions, and the
//! memory of the kernel that semaphores and messages may take.

mod budget;
pub mod messages;
pub mod semaphores;

pub use budget::Budget;
pub(crate) use budget::Share;

use alloc::collections::BTreeMap;
use base::{Capabilities, Credentials, Errno, Gid, Pid, Uid};
use bitflags::bitflags;

/// The key of an object that is found by no key.
pub(crate) const PRIVATE: i32 = 0;
/// Numbers of objects run to here and start again.
const LARGEST_NUMBER: i32 = i32::MAX;

bitflags! {
    /// The flags of `shmget(2)`, `semget(2)` and `msgget(2)` above the permission bits.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct GetFlags: u32 {
        /// Make it if there is none.
        const CREATE = 0o1000;
        /// There must be none.
        const EXCLUSIVE = 0o2000;
        /// Its memory is not to count as promised (segments only).
        const NO_RESERVE = 0o10000;
    }
}

/// Whose an object is and who may use it, as `struct ipc_perm` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Permission {
    /// The key; 0 for a private one, and one that was removed.
    pub key: i32,
    /// Its owner.
    pub uid: Uid,
    /// Its owner's group.
    pub gid: Gid,
    /// Who made it.
    pub creator: (Uid, Gid),
    /// Permission bits, and what the kind of object marks above them.
    pub mode: u32,
}

impl Permission {
    /// That of a new object.
    pub(crate) fn new(key: i32, mode: u32, who: &Credentials) -> Self {
        Self { key, uid: who.euid, gid: who.egid, creator: (who.euid, who.egid), mode: mode & 0o777 }
    }

    /// Whether `who` has the permissions of `wanted`, which has them in the place of any class. `EACCES`.
    pub(crate) fn check(&self, who: &Credentials, wanted: u32) -> Result<(), Errno> {
        let wanted = (wanted >> 6 | wanted >> 3 | wanted) & 0o7;
        let granted = if self.is_owner(who) {
            self.mode >> 6
        } else if [self.gid, self.creator.1].iter().any(|&group| who.egid == group || who.groups.contains(&group)) {
            self.mode >> 3
        } else {
            self.mode
        };
        if wanted & !granted & 0o7 == 0 || who.has(Capabilities::IPC_OWNER) { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Whether `who` is owner or creator.
    pub(crate) fn is_owner(&self, who: &Credentials) -> bool {
        [self.uid, self.creator.0].contains(&who.euid)
    }

    /// Whether `who` may change or remove the object. `EPERM` neither owner nor creator, without CAP_SYS_ADMIN.
    pub(crate) fn check_owner(&self, who: &Credentials) -> Result<(), Errno> {
        if self.is_owner(who) || who.has(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// `IPC_SET`: a new owner and permission bits. `EINVAL` numbers of nobody.
    pub(crate) fn set(&mut self, uid: Uid, gid: Gid, mode: u32) -> Result<(), Errno> {
        if uid.raw() == u32::MAX || gid.raw() == u32::MAX {
            return Err(Errno::EINVAL);
        }
        (self.uid, self.gid) = (uid, gid);
        self.mode = self.mode & !0o777 | mode & 0o777;
        Ok(())
    }
}

/// All objects of a kind, by number and by key.
pub(crate) struct Objects<T> {
    entries: BTreeMap<i32, T>,
    keys: BTreeMap<i32, i32>,
    next: i32,
}

impl<T> Objects<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: BTreeMap::new(), keys: BTreeMap::new(), next: 0 }
    }

    /// The number that a `get` call means; none if it makes a new object. `EEXIST`; `ENOENT`.
    pub(crate) fn find(&self, key: i32, flags: GetFlags) -> Result<Option<i32>, Errno> {
        let found = if key == PRIVATE { None } else { self.keys.get(&key).copied() };
        match found {
            Some(_) if flags.contains(GetFlags::CREATE | GetFlags::EXCLUSIVE) => Err(Errno::EEXIST),
            None if key != PRIVATE && !flags.contains(GetFlags::CREATE) => Err(Errno::ENOENT),
            found => Ok(found),
        }
    }

    /// Enters a new object under a free number, and returns that; no number is used again soon.
    pub(crate) fn insert(&mut self, key: i32, object: T) -> i32 {
        let number = loop {
            let number = self.next;
            self.next = if number == LARGEST_NUMBER { 0 } else { number + 1 };
            if !self.entries.contains_key(&number) {
                break number;
            }
        };
        self.entries.insert(number, object);
        if key != PRIVATE {
            self.keys.insert(key, number);
        }
        number
    }

    /// The object with this number. `EINVAL` there is none.
    pub(crate) fn get(&self, number: i32) -> Result<&T, Errno> {
        self.entries.get(&number).ok_or(Errno::EINVAL)
    }

    /// The same, to change.
    pub(crate) fn get_mut(&mut self, number: i32) -> Result<&mut T, Errno> {
        self.entries.get_mut(&number).ok_or(Errno::EINVAL)
    }

    /// Has the key find nothing any more.
    pub(crate) fn forget_key(&mut self, key: i32) {
        if key != PRIVATE {
            self.keys.remove(&key);
        }
    }

    /// Takes an object out, whose key is forgotten.
    pub(crate) fn remove(&mut self, number: i32) -> Option<T> {
        self.entries.remove(&number)
    }

    /// The number of the object at a place in the order of numbers. `EINVAL` there are not so many.
    pub(crate) fn number_at(&self, place: i32) -> Result<i32, Errno> {
        let place = usize::try_from(place).map_err(|_| Errno::EINVAL)?;
        self.entries.keys().nth(place).copied().ok_or(Errno::EINVAL)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    /// All, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, &T)> {
        self.entries.iter().map(|(&number, object)| (number, object))
    }
}

/// Seconds since the epoch.
pub(crate) fn seconds() -> u64 {
    machine::time::realtime() / 1_000_000_000
}

/// The number of the calling process; 0 where no task runs.
pub(crate) fn own_pid() -> Pid {
    crate::current().map_or(Pid::new(0), |task| task.pid())
}

#[cfg(test)]
pub(crate) mod testing {
    //! Users and memory for the tests of all kinds.
    use super::*;

    /// Starts the frame allocator, which all tests of a program share.
    pub(crate) fn start_memory() {
        static STARTED: std::sync::Once = std::sync::Once::new();
        STARTED.call_once(memory::init);
    }

    /// A user without any right.
    pub(crate) fn user(uid: u32, gid: u32) -> Credentials {
        let (uid, gid) = (Uid::new(uid), Gid::new(gid));
        let none = Capabilities::empty();
        Credentials {
            uid,
            euid: uid,
            suid: uid,
            fsuid: uid,
            gid,
            egid: gid,
            sgid: gid,
            fsgid: gid,
            effective: none,
            permitted: none,
            ..Credentials::root()
        }
    }
}
