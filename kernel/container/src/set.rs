//! Container sets: the places of a task in all hierarchies, as one value that tasks in the same places share.
//!
//! A set names only the containers that are not roots: in every other hierarchy its tasks are in the root. So a
//! mount or a dissolution, which concern only roots, change no set and no task. The states of the subsystems do
//! not change either, since the root state moves along with the binding.

use crate::{
    container::Container,
    framework::MAX_HIERARCHIES,
    member::Member,
    payer::{Charger, SetPayer},
    state::State,
    subsystem::MAX_SUBSYSTEMS,
};
use alloc::{boxed::Box, vec::Vec};
use base::charge::Payer;
use core::ops::Deref;
use machine::sync::{
    Arc, SpinGuard, SpinLock,
    atomic::{AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release},
    rank,
};

pub(crate) type States = [Option<Arc<State>>; MAX_SUBSYSTEMS];
pub(crate) type Places = [Option<Arc<Container>>; MAX_HIERARCHIES];

/// The places of a task in all hierarchies. Everything but the list of tasks is fixed when it is made.
pub struct ContainerSet {
    serial: u64,
    states: States,
    places: Places,
    /// Who pays for what the kernel spends for its tasks, if any subsystem asks.
    payer: Option<alloc::sync::Arc<SetPayer>>,
    /// How many [`SetReference`]s there are. At 0 the set goes, unless the table hands it out again first.
    references: AtomicUsize,
    tasks: SpinLock<Vec<Arc<dyn Member>>>,
    table: Arc<SetTable>,
}

/// The tasks of a set, locked.
type Tasks<'a> = SpinGuard<'a, Vec<Arc<dyn Member>>>;

impl ContainerSet {
    /// The number of this set, used for no other since boot.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// How many refer to it now.
    pub(crate) fn reference_count(&self) -> usize {
        self.references.load(Relaxed)
    }

    /// The state of an enabled subsystem.
    pub(crate) fn state(&self, subsystem: usize) -> &State {
        match &self.states[subsystem] {
            Some(state) => state,
            None => panic!("subsystem {subsystem} is disabled and has no state"),
        }
    }

    /// Who pays for what the kernel spends for the tasks of this set.
    pub(crate) fn payer(&self) -> Option<alloc::sync::Arc<dyn Payer>> {
        self.payer.clone().map(|payer| payer as _)
    }

    /// The container in hierarchy `number`, if it is not the root.
    pub(crate) fn place(&self, number: usize) -> Option<&Arc<Container>> {
        self.places[number].as_ref()
    }

    /// The containers that are not roots.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.places.iter().flatten()
    }

    /// The tasks in the set.
    #[track_caller]
    pub(crate) fn tasks(&self) -> SpinGuard<'_, Vec<Arc<dyn Member>>> {
        self.tasks.lock()
    }

    /// The tasks of two sets, locked in the order of their serial numbers.
    pub(crate) fn two<'a>(from: &'a ContainerSet, to: &'a ContainerSet) -> (Tasks<'a>, Tasks<'a>) {
        if from.serial < to.serial {
            let first = from.tasks.lock();
            (first, to.tasks.lock_nested())
        } else {
            let first = to.tasks.lock();
            (from.tasks.lock_nested(), first)
        }
    }
}

/// A counted reference to a set.
pub(crate) struct SetReference(Arc<ContainerSet>);

impl SetReference {
    pub(crate) fn is(&self, other: &ContainerSet) -> bool {
        core::ptr::eq(&*self.0, other)
    }
}

impl Deref for SetReference {
    type Target = ContainerSet;
    fn deref(&self) -> &ContainerSet {
        &self.0
    }
}

impl Clone for SetReference {
    fn clone(&self) -> Self {
        self.0.references.fetch_add(1, Relaxed);
        Self(self.0.clone())
    }
}

impl Drop for SetReference {
    /// Locks: when it was the last reference, those of the set table. Never drop one under the lock of a set.
    fn drop(&mut self) {
        // Release, and Acquire in `retire`: whoever takes the set apart sees all that was done with it.
        if self.0.references.fetch_sub(1, Release) == 1 {
            self.0.table.retire(&self.0);
        }
    }
}

/// How many buckets the table of sets has; few where each is one more thing to try orders of.
const BUCKETS: usize = if cfg!(loom) { 2 } else { 256 };

/// All sets, found by a hash of their places.
pub(crate) struct SetTable {
    buckets: Box<[SpinLock<Vec<Arc<ContainerSet>>>]>,
    chargers: Vec<Charger>,
    serials: AtomicU64,
    count: AtomicUsize,
}

impl SetTable {
    /// No sets yet. `chargers` are the subsystems that ask for charges.
    pub(crate) fn new(chargers: Vec<Charger>) -> Arc<Self> {
        let bucket = |_| SpinLock::new(rank::SET_TABLE, Vec::new());
        let buckets = (0..BUCKETS).map(bucket).collect();
        Arc::new(Self { buckets, chargers, serials: AtomicU64::new(1), count: AtomicUsize::new(0) })
    }

    /// The number of sets.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Makes the set of those who are in the root everywhere.
    pub(crate) fn root_set(self: &Arc<Self>, states: States) -> SetReference {
        self.find_or_make(|_| None, || states)
    }

    /// The set that differs from `base` in hierarchy `number`, where it is in `container` (`None`: the root).
    /// `states` are those of the hierarchy's subsystems there.
    pub(crate) fn moved(
        self: &Arc<Self>,
        base: &ContainerSet,
        number: usize,
        container: Option<&Arc<Container>>,
        states: &States,
        subsystems: impl Iterator<Item = usize>,
    ) -> SetReference {
        let place = |slot: usize| if slot == number { container } else { base.place(slot) };
        self.find_or_make(place, || {
            let mut all = base.states.clone();
            subsystems.for_each(|subsystem| all[subsystem] = states[subsystem].clone());
            all
        })
    }

    fn find_or_make<'a>(
        self: &Arc<Self>,
        place: impl Fn(usize) -> Option<&'a Arc<Container>>,
        states: impl FnOnce() -> States,
    ) -> SetReference {
        let mut bucket = self.bucket(&place).lock();
        let found = bucket.iter().find(|set| {
            (0..MAX_HIERARCHIES).all(|slot| match (set.place(slot), place(slot)) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (None, None) => true,
                _ => false,
            })
        });
        if let Some(set) = found {
            // From 0 too: `retire` looks again under this lock.
            set.references.fetch_add(1, Relaxed);
            return SetReference(set.clone());
        }
        let states = states();
        let set = Arc::new(ContainerSet {
            serial: self.serials.fetch_add(1, Relaxed),
            payer: SetPayer::of(&self.chargers, &states),
            states,
            places: core::array::from_fn(|slot| place(slot).cloned()),
            references: AtomicUsize::new(1),
            tasks: SpinLock::new(rank::SET, Vec::new()),
            table: self.clone(),
        });
        for container in set.places() {
            container.lists.lock().sets.push(set.clone());
        }
        bucket.push(set.clone());
        self.count.fetch_add(1, Relaxed);
        SetReference(set)
    }

    /// Takes the set out of the table and its containers, if nobody refers to it.
    fn retire(&self, set: &Arc<ContainerSet>) {
        // `set` itself keeps the value until all locks are open again: dropping states may sleep.
        let mut bucket = self.bucket(&|slot| set.place(slot)).lock();
        if set.references.load(Acquire) > 0 {
            return;
        }
        let Some(index) = bucket.iter().position(|other| Arc::ptr_eq(other, set)) else {
            return;
        };
        bucket.swap_remove(index);
        self.count.fetch_sub(1, Relaxed);
        for container in set.places() {
            let mut lists = container.lists.lock();
            if let Some(index) = lists.sets.iter().position(|other| Arc::ptr_eq(other, set)) {
                lists.sets.swap_remove(index);
            }
        }
    }

    /// All sets that are in the root of hierarchy `number`.
    pub(crate) fn in_root_of(&self, number: usize) -> Vec<Arc<ContainerSet>> {
        let mut sets = Vec::new();
        for bucket in &self.buckets {
            sets.extend(bucket.lock().iter().filter(|set| set.place(number).is_none()).cloned());
        }
        sets
    }

    fn bucket<'a>(&self, place: &impl Fn(usize) -> Option<&'a Arc<Container>>) -> &SpinLock<Vec<Arc<ContainerSet>>> {
        let hash = (0..MAX_HIERARCHIES).filter_map(place).fold(0u64, |hash, container| {
            (hash ^ container.serial()).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
        });
        &self.buckets[hash as usize % BUCKETS]
    }
}
