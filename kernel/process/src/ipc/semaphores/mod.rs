//! System V semaphores, `semget(2)` and its relatives: sets of counters that are changed together or not at all.
//!
//! `set` has the rules of one set, `undo` what is taken back when a process ends.

mod control;
mod set;
#[cfg(test)]
mod tests;
mod undo;

pub use control::{Question, SemaphoreSums, SetStatus};
pub use set::{LARGEST_VALUE, Operation};
pub use undo::UndoList;

use super::{Budget, GetFlags, Objects, Permission, own_pid, seconds};
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno, Pid};
use machine::sync::{SpinLock, rank};
use sched::WaitError;
use set::{Attempt, Semaphore, Set, alters};

/// The numbers of `/proc/sys/kernel/sem`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SemaphoreLimits {
    /// The most semaphores of a set (`SEMMSL`).
    pub per_set: i32,
    /// The most semaphores of all sets (`SEMMNS`).
    pub all: i32,
    /// The most operations of a call (`SEMOPM`).
    pub per_call: i32,
    /// The most sets (`SEMMNI`).
    pub sets: i32,
}

impl SemaphoreLimits {
    /// Linux's.
    pub const DEFAULT: Self = Self { per_set: 32_000, all: 1_024_000_000, per_call: 500, sets: 32_000 };
}

/// What a set takes of the budget besides its semaphores.
const SET_BYTES: usize = 256;
/// What a semaphore takes in a process's list of what is undone.
const UNDO_BYTES: usize = 32;

/// All sets. One value for the system; tests can have many.
pub struct Semaphores {
    table: SpinLock<Table>,
    budget: Arc<Budget>,
}

struct Table {
    sets: Objects<Arc<SemaphoreSet>>,
    /// Semaphores of all sets.
    used: usize,
    limits: SemaphoreLimits,
}

/// A set, as the table and the lists of what is undone share it.
pub(crate) struct SemaphoreSet {
    count: usize,
    state: SpinLock<Set>,
}

/// Who operates on semaphores.
pub struct Operator<'a> {
    /// With whose rights.
    pub credentials: &'a Credentials,
    /// The process.
    pub pid: Pid,
    /// Where it is noted what is undone at the end of the process; needed for operations with `SEM_UNDO`.
    pub list: Option<Arc<UndoList>>,
}

impl Semaphores {
    /// No sets.
    pub fn new(budget: Arc<Budget>) -> Self {
        let table = Table { sets: Objects::new(), used: 0, limits: SemaphoreLimits::DEFAULT };
        Self { table: SpinLock::new(rank::IPC_TABLE, table), budget }
    }

    /// The limits now.
    pub fn limits(&self) -> SemaphoreLimits {
        self.table.lock().limits
    }

    /// Sets the limits; what is there already stays.
    pub fn set_limits(&self, limits: SemaphoreLimits) {
        self.table.lock().limits = limits;
    }

    /// `semget(2)`: the number of the set with this key, made with zeros if that is asked for; with key 0 always a new
    /// one.
    ///
    /// `EINVAL` `count` is below 0 or above the limit, more than the set has, or 0 for a new one; `ENOENT` there is none;
    /// `EEXIST`; `EACCES` the caller may not do with it what the permission bits in `mode` say; `ENOSPC` too many sets or
    /// semaphores; `ENOMEM`.
    pub fn get(&self, key: i32, count: i32, flags: GetFlags, mode: u32, who: &Credentials) -> Result<i32, Errno> {
        if count < 0 || count > self.limits().per_set {
            return Err(Errno::EINVAL);
        }
        let wanted = count as usize;
        // Made here, in case it is needed: not under the lock.
        let made = (wanted > 0).then(|| self.make(key, wanted, mode, who)).transpose();
        let mut table = self.table.lock();
        if let Some(number) = table.sets.find(key, flags)? {
            let set = table.sets.get(number)?.clone();
            drop(table);
            if wanted > set.count {
                return Err(Errno::EINVAL);
            }
            return set.state.lock().permission.check(who, mode).map(|()| number);
        }
        let limits = table.limits;
        if wanted == 0 {
            return Err(Errno::EINVAL);
        }
        if (table.used + wanted) as u64 > limits.all.max(0) as u64 || table.sets.count() >= limits.sets.max(0) as usize
        {
            return Err(Errno::ENOSPC);
        }
        let Some(set) = made? else { return Err(Errno::EINVAL) };
        table.used += wanted;
        Ok(table.sets.insert(key, set))
    }

    fn make(&self, key: i32, count: usize, mode: u32, who: &Credentials) -> Result<Arc<SemaphoreSet>, Errno> {
        let share = self.budget.take(SET_BYTES + count * size_of::<Semaphore>())?;
        let mut semaphores = Vec::new();
        semaphores.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        semaphores.resize(count, Semaphore::default());
        let set = Set::new(Permission::new(key, mode, who), semaphores, seconds(), share);
        Ok(Arc::new(SemaphoreSet { count, state: SpinLock::new(rank::IPC_OBJECT, set) }))
    }

    fn find(&self, number: i32) -> Result<Arc<SemaphoreSet>, Errno> {
        self.table.lock().sets.get(number).cloned()
    }

    /// `semtimedop(2)`: does all operations at once; sleeps until that can be done, or until `deadline` (nanoseconds since
    /// boot).
    ///
    /// `EINVAL` no such set; `EFBIG` no such semaphore; `EACCES`; `ENOMEM`; `ERANGE` a value gets too large; `EAGAIN` it
    /// would wait and must not, or the deadline has passed; `EIDRM` the set was removed; `EINTR`.
    pub fn operate(
        &self,
        number: i32,
        operations: Vec<Operation>,
        deadline: Option<u64>,
        who: &Operator<'_>,
    ) -> Result<(), Errno> {
        let set = self.find(number)?;
        if operations.iter().any(|operation| usize::from(operation.index) >= set.count) {
            return Err(Errno::EFBIG);
        }
        let undone = operations.iter().any(|operation| operation.undo);
        let list = if undone { who.list.as_ref() } else { None };
        let mut state = set.state.lock();
        state.permission.check(who.credentials, if alters(&operations) { 0o222 } else { 0o444 })?;
        if state.removed {
            return Err(Errno::EIDRM);
        }
        if let Some(list) = list {
            state.prepare_undo(list.number(), &operations, || self.budget.take(UNDO_BYTES))?;
        }
        let list_number = list.map(|list| list.number());
        let attempt = state.attempt(&operations, who.pid, list_number, seconds());
        let sleeper = match attempt {
            Ok(Attempt::Done) => {
                if alters(&operations) {
                    state.settle(seconds());
                }
                None
            }
            Ok(Attempt::Blocked(place)) => Some(state.sleep(operations, who.pid, list_number, place)),
            Err(_) => None,
        };
        drop(state);
        if let Some(list) = list {
            list.note(&set);
        }
        let Some(sleeper) = sleeper else { return attempt.map(drop) };
        match sleeper.woken.wait_until_interruptible(|| sleeper.outcome(), deadline) {
            Ok(outcome) => outcome,
            Err(error) => {
                let mut state = set.state.lock();
                state.leave(&sleeper);
                sleeper.outcome().unwrap_or(Err(match error {
                    WaitError::Interrupted => Errno::EINTR,
                    WaitError::TimedOut => Errno::EAGAIN,
                }))
            }
        }
    }
}
