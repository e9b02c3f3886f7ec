//! One set of semaphores: its values, who sleeps for them, and what is undone at the end of a process. Plain data; the
//! lock around it is its owner's.

use crate::ipc::{Permission, Share};
use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};
use base::{Errno, Pid};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use machine::sync::{IrqLock, rank};
use sched::WaitQueue;

/// The largest value of a semaphore (`SEMVMX`).
pub const LARGEST_VALUE: i32 = 32767;

/// One operation of `semop(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Which semaphore of the set.
    pub index: u16,
    /// What is added; 0 waits until the value is 0.
    pub change: i16,
    /// `IPC_NOWAIT`.
    pub no_wait: bool,
    /// `SEM_UNDO`.
    pub undo: bool,
}

/// A semaphore.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Semaphore {
    pub(super) value: u16,
    /// The process that last operated on it.
    pub(super) last: i32,
}

/// Operations that wait until all of them can be done at once.
pub(super) struct Sleeper {
    operations: Vec<Operation>,
    pid: Pid,
    /// The number of the list that undoes them.
    list: Option<u64>,
    /// The operation that can't be done.
    blocked: AtomicUsize,
    outcome: IrqLock<Option<Result<(), Errno>>>,
    pub(super) woken: WaitQueue,
}

impl Sleeper {
    pub(super) fn outcome(&self) -> Option<Result<(), Errno>> {
        *self.outcome.lock()
    }

    fn finish(&self, outcome: Result<(), Errno>) {
        *self.outcome.lock() = Some(outcome);
        self.woken.wake_all();
    }
}

/// What an attempt to do operations gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Attempt {
    /// All are done.
    Done,
    /// None is, because of the one at this place.
    Blocked(usize),
}

/// A process's adjustments of one set: by semaphore, ascending.
struct Adjustments {
    list: Vec<(u16, i16)>,
    _shares: Vec<Share>,
}

/// The state of a set.
pub(super) struct Set {
    pub(super) permission: Permission,
    pub(super) removed: bool,
    pub(super) semaphores: Vec<Semaphore>,
    /// When it was last operated on and changed, in seconds since the epoch; 0 never.
    pub(super) operated: u64,
    pub(super) changed: u64,
    sleepers: VecDeque<Arc<Sleeper>>,
    undo: BTreeMap<u64, Adjustments>,
    pub(super) _share: Share,
}

impl Set {
    pub(super) fn new(permission: Permission, semaphores: Vec<Semaphore>, now: u64, share: Share) -> Self {
        Self {
            permission,
            removed: false,
            semaphores,
            operated: 0,
            changed: now,
            sleepers: VecDeque::new(),
            undo: BTreeMap::new(),
            _share: share,
        }
    }

    /// Makes room for what `operations` leave to the list `list`, so that doing them later can't fail for memory.
    /// `share` is taken for each semaphore that is new to the list. `ENOMEM`.
    pub(super) fn prepare_undo(
        &mut self,
        list: u64,
        operations: &[Operation],
        mut share: impl FnMut() -> Result<Share, Errno>,
    ) -> Result<(), Errno> {
        let entry = self.undo.entry(list).or_insert_with(|| Adjustments { list: Vec::new(), _shares: Vec::new() });
        for operation in operations.iter().filter(|operation| operation.undo) {
            if let Err(place) = entry.list.binary_search_by_key(&operation.index, |(index, _)| *index) {
                entry.list.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                entry._shares.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                entry._shares.push(share()?);
                entry.list.insert(place, (operation.index, 0));
            }
        }
        Ok(())
    }

    fn adjustment(&mut self, list: u64, index: u16) -> Option<&mut i16> {
        let adjustments = &mut self.undo.get_mut(&list)?.list;
        let place = adjustments.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        adjustments.get_mut(place).map(|(_, adjustment)| adjustment)
    }

    /// Does all operations, one after the other, or none. Every index is one of the set. `EAGAIN` one of them must not
    /// wait; `ERANGE` a value, or what is undone, gets too large.
    pub(super) fn attempt(
        &mut self,
        operations: &[Operation],
        pid: Pid,
        list: Option<u64>,
        now: u64,
    ) -> Result<Attempt, Errno> {
        let mut done = 0;
        let stopped = loop {
            let Some(operation) = operations.get(done) else { break None };
            if let Some(stopped) =
                self.step(operation, list).map(|wait| wait.then_some(Attempt::Blocked(done))).transpose()
            {
                break Some(stopped);
            }
            done += 1;
        };
        if let Some(stopped) = stopped {
            for operation in operations[..done].iter().rev() {
                self.add(operation, list, -i32::from(operation.change));
            }
            return stopped;
        }
        for operation in operations {
            self.semaphores[usize::from(operation.index)].last = pid.raw();
        }
        self.operated = now;
        Ok(Attempt::Done)
    }

    /// Does one operation; true if it has to wait.
    fn step(&mut self, operation: &Operation, list: Option<u64>) -> Result<bool, Errno> {
        let value = i32::from(self.semaphores[usize::from(operation.index)].value);
        let new = value + i32::from(operation.change);
        if operation.change == 0 && value != 0 || new < 0 {
            return if operation.no_wait { Err(Errno::EAGAIN) } else { Ok(true) };
        }
        if new > LARGEST_VALUE {
            return Err(Errno::ERANGE);
        }
        if operation.undo
            && let Some(list) = list
            && let Some(adjustment) = self.adjustment(list, operation.index)
            && adjustment.checked_sub(operation.change).is_none()
        {
            return Err(Errno::ERANGE);
        }
        self.add(operation, list, operation.change.into());
        Ok(false)
    }

    /// Adds to a value, and takes from what is undone. Both were found to stay in range.
    fn add(&mut self, operation: &Operation, list: Option<u64>, change: i32) {
        let semaphore = &mut self.semaphores[usize::from(operation.index)];
        semaphore.value = (i32::from(semaphore.value) + change) as u16;
        if operation.undo
            && let Some(list) = list
            && let Some(adjustment) = self.adjustment(list, operation.index)
        {
            *adjustment = (i32::from(*adjustment) - change) as i16;
        }
    }

    /// Does what sleepers wait for, as far as it can be done by now: those that wait for zeros first, then the others in
    /// their order, until nobody can go on.
    pub(super) fn settle(&mut self, now: u64) {
        while self.settle_some(false, now) | self.settle_some(true, now) {}
    }

    /// One pass over those that change values, or those that don't. True if a value was changed.
    fn settle_some(&mut self, altering: bool, now: u64) -> bool {
        let mut next = 0;
        while let Some(sleeper) = self.sleepers.get(next).cloned() {
            if alters(&sleeper.operations) != altering {
                next += 1;
                continue;
            }
            match self.attempt(&sleeper.operations, sleeper.pid, sleeper.list, now) {
                Ok(Attempt::Blocked(place)) => {
                    sleeper.blocked.store(place, Relaxed);
                    next += 1;
                }
                outcome => {
                    self.sleepers.remove(next);
                    sleeper.finish(outcome.map(drop));
                    if altering && outcome.is_ok() {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Has operations wait, the one at `blocked` being what can't be done.
    pub(super) fn sleep(
        &mut self,
        operations: Vec<Operation>,
        pid: Pid,
        list: Option<u64>,
        blocked: usize,
    ) -> Arc<Sleeper> {
        let sleeper = Arc::new(Sleeper {
            operations,
            pid,
            list,
            blocked: AtomicUsize::new(blocked),
            outcome: IrqLock::new(rank::LEAF, None),
            woken: WaitQueue::new(),
        });
        self.sleepers.push_back(sleeper.clone());
        sleeper
    }

    /// A sleeper goes without what it waited for.
    pub(super) fn leave(&mut self, sleeper: &Arc<Sleeper>) {
        self.sleepers.retain(|other| !Arc::ptr_eq(other, sleeper));
    }

    /// How many wait for the semaphore at `index`: that it is 0, or that it grows.
    pub(super) fn waiting(&self, index: usize, for_zero: bool) -> usize {
        let waits = |sleeper: &&Arc<Sleeper>| {
            let operation = sleeper.operations.get(sleeper.blocked.load(Relaxed));
            operation.is_some_and(|it| usize::from(it.index) == index && (it.change == 0) == for_zero)
        };
        self.sleepers.iter().filter(waits).count()
    }

    /// Ends all waits with `EIDRM`.
    pub(super) fn remove(&mut self) {
        self.removed = true;
        self.undo.clear();
        self.sleepers.drain(..).for_each(|sleeper| sleeper.finish(Err(Errno::EIDRM)));
    }

    /// Sets a value; nobody's end changes it any more.
    pub(super) fn set_value(&mut self, index: usize, value: u16, pid: Pid) {
        self.semaphores[index] = Semaphore { value, last: pid.raw() };
        for adjustments in self.undo.values_mut() {
            let list = &mut adjustments.list;
            if let Ok(place) = list.binary_search_by_key(&index, |(index, _)| usize::from(*index)) {
                list[place].1 = 0;
            }
        }
    }

    /// Undoes what is in the list `list`; what would leave the range stops at its end.
    pub(super) fn undo(&mut self, list: u64, pid: Pid, now: u64) {
        let Some(adjustments) = self.undo.remove(&list) else { return };
        for (index, change) in adjustments.list.into_iter().filter(|(_, change)| *change != 0) {
            let semaphore = &mut self.semaphores[usize::from(index)];
            semaphore.value = (i32::from(semaphore.value) + i32::from(change)).clamp(0, LARGEST_VALUE) as u16;
            semaphore.last = pid.raw();
        }
        self.operated = now;
        self.settle(now);
    }
}

/// Whether one of the operations changes a value.
pub(super) fn alters(operations: &[Operation]) -> bool {
    operations.iter().any(|operation| operation.change != 0)
}
