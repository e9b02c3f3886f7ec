//! `semctl(2)`: looking at sets, setting values, changing owners, removing.

use super::{LARGEST_VALUE, SemaphoreSet, Semaphores, Set, own_pid, seconds};
use crate::ipc::Permission;
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno, Gid, Uid};
use machine::sync::SpinGuard;

/// What is known of a set, as `IPC_STAT` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetStatus {
    /// Owners and permissions.
    pub permission: Permission,
    /// When it was last operated on, in seconds since the epoch; 0 never.
    pub operated: u64,
    /// When it was made or last changed by `semctl`.
    pub changed: u64,
    /// How many semaphores it has.
    pub count: usize,
}

/// Sums over all sets, for `SEM_INFO`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SemaphoreSums {
    /// Sets.
    pub sets: usize,
    /// Semaphores of all sets.
    pub semaphores: usize,
}

impl SemaphoreSet {
    /// Locks it for one who may do with it what `wanted` says. `EACCES`; `EIDRM`.
    fn lock(&self, who: &Credentials, wanted: u32) -> Result<SpinGuard<'_, Set>, Errno> {
        let state = self.state.lock();
        state.permission.check(who, wanted)?;
        if state.removed { Err(Errno::EIDRM) } else { Ok(state) }
    }

    fn status(&self, state: &Set) -> SetStatus {
        let permission = state.permission.clone();
        SetStatus { permission, operated: state.operated, changed: state.changed, count: self.count }
    }
}

impl Semaphores {
    /// `IPC_STAT`. `EINVAL` no such set; `EACCES` the caller may not read it, unless `anybody` may; `EIDRM`.
    pub fn status(&self, number: i32, anybody: bool, who: &Credentials) -> Result<SetStatus, Errno> {
        let set = self.find(number)?;
        let state = set.lock(who, if anybody { 0 } else { 0o444 })?;
        Ok(set.status(&state))
    }

    /// All sets by number, for /proc/sysvipc/sem.
    pub fn all(&self) -> Vec<(i32, SetStatus)> {
        let sets: Vec<_> = self.table.lock().sets.iter().map(|(number, set)| (number, set.clone())).collect();
        sets.into_iter().map(|(number, set)| (number, set.status(&set.state.lock()))).collect()
    }

    /// The number of the set at a place in the order of numbers. `EINVAL` there are not so many.
    pub fn number_at(&self, place: i32) -> Result<i32, Errno> {
        self.table.lock().sets.number_at(place)
    }

    /// Sums over all sets.
    pub fn sums(&self) -> SemaphoreSums {
        let table = self.table.lock();
        SemaphoreSums { sets: table.sets.count(), semaphores: table.used }
    }

    /// `GETALL`. `EINVAL` no such set; `EACCES`; `EIDRM`; `ENOMEM`.
    pub fn values(&self, number: i32, who: &Credentials) -> Result<Vec<u16>, Errno> {
        let set = self.find(number)?;
        let mut values = Vec::new();
        values.try_reserve_exact(set.count).map_err(|_| Errno::ENOMEM)?;
        values.extend(set.lock(who, 0o444)?.semaphores.iter().map(|semaphore| semaphore.value));
        Ok(values)
    }

    /// How many semaphores a set has, for one who may write it (`SETALL` asks first). `EINVAL`; `EACCES`; `EIDRM`.
    pub fn count(&self, number: i32, who: &Credentials) -> Result<usize, Errno> {
        let set = self.find(number)?;
        set.lock(who, 0o222).map(|_| set.count)
    }

    /// `SETALL`, with a value for each. Errors of [`count`](Self::count); `ERANGE` a value is too large.
    pub fn set_values(&self, number: i32, values: &[u16], who: &Credentials) -> Result<(), Errno> {
        let set = self.find(number)?;
        let mut state = set.lock(who, 0o222)?;
        if values.iter().any(|&value| i32::from(value) > LARGEST_VALUE) {
            return Err(Errno::ERANGE);
        }
        let pid = own_pid();
        (0..set.count).zip(values).for_each(|(index, &value)| state.set_value(index, value, pid));
        state.changed = seconds();
        state.settle(seconds());
        Ok(())
    }

    /// `GETVAL`, `GETPID`, `GETNCNT`, `GETZCNT`: what `ask` finds for the semaphore at `index`. `EINVAL` no such set or
    /// semaphore; `EACCES`; `EIDRM`.
    pub fn ask(&self, number: i32, index: i32, question: Question, who: &Credentials) -> Result<i32, Errno> {
        let set = self.find(number)?;
        let state = set.lock(who, 0o444)?;
        let index = set.place(index)?;
        Ok(match question {
            Question::Value => state.semaphores[index].value.into(),
            Question::LastProcess => state.semaphores[index].last,
            Question::WaitingForMore => state.waiting(index, false) as i32,
            Question::WaitingForZero => state.waiting(index, true) as i32,
        })
    }

    /// `SETVAL`. `ERANGE` a value that none can have; `EINVAL` no such set or semaphore; `EACCES`; `EIDRM`.
    pub fn set_value(&self, number: i32, index: i32, value: i32, who: &Credentials) -> Result<(), Errno> {
        let value =
            u16::try_from(value).ok().filter(|&value| i32::from(value) <= LARGEST_VALUE).ok_or(Errno::ERANGE)?;
        let set = self.find(number)?;
        let index = set.place(index)?;
        let mut state = set.lock(who, 0o222)?;
        state.set_value(index, value, own_pid());
        state.changed = seconds();
        state.settle(seconds());
        Ok(())
    }

    /// `IPC_SET`. `EINVAL` no such set, or numbers of nobody; `EPERM` neither owner nor creator, without CAP_SYS_ADMIN.
    pub fn set(&self, number: i32, uid: Uid, gid: Gid, mode: u32, who: &Credentials) -> Result<(), Errno> {
        let set = self.find(number)?;
        let mut state = set.state.lock();
        state.permission.check_owner(who)?;
        state.permission.set(uid, gid, mode)?;
        state.changed = seconds();
        Ok(())
    }

    /// `IPC_RMID`: who sleeps gets `EIDRM`. `EINVAL` no such set; `EPERM` neither owner nor creator, without
    /// CAP_SYS_ADMIN.
    pub fn remove(&self, number: i32, who: &Credentials) -> Result<(), Errno> {
        let mut table = self.table.lock();
        let set: Arc<SemaphoreSet> = table.sets.get(number)?.clone();
        let mut state = set.state.lock();
        state.permission.check_owner(who)?;
        let key = core::mem::take(&mut state.permission.key);
        state.remove();
        drop(state);
        table.sets.forget_key(key);
        let gone = table.sets.remove(number);
        table.used -= set.count;
        drop(table);
        drop(gone);
        Ok(())
    }
}

/// What can be asked of a semaphore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Its value.
    Value,
    /// The process that last operated on it.
    LastProcess,
    /// How many wait for it to grow.
    WaitingForMore,
    /// How many wait for it to be 0.
    WaitingForZero,
}

impl SemaphoreSet {
    fn place(&self, index: i32) -> Result<usize, Errno> {
        usize::try_from(index).ok().filter(|&index| index < self.count).ok_or(Errno::EINVAL)
    }
}
