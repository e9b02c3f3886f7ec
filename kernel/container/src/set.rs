//! Container sets: the places of a task in all hierarchies, as one value that tasks in the same places share.
//!
//! A set names only the containers that are not roots: in every other hierarchy its tasks are in the root. So a
//! mount or a dissolution, which concern only roots, change no set and no task. The states of the subsystems do
//! not change either, since the root state moves along with the binding.

use crate::{
    container::Container,
    member::Member,
    payer::{Charger, payer_of},
    state::State,
    subsystem::MAX_SUBSYSTEMS,
};
use alloc::{boxed::Box, vec::Vec};
use base::charge::Payer;
use core::ops::Deref;
use machine::sync::{
    Arc, SpinGuard, SpinLock,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    rank,
};

pub(crate) type States = [Option<Arc<dyn State>>; MAX_SUBSYSTEMS];

/// A container that is not a root, with the number of its hierarchy.
type Placed = (usize, Arc<Container>);

/// The places of a task in all hierarchies. Everything but the list of tasks is fixed when it is made.
pub struct ContainerSet {
    serial: u64,
    /// That of its places; see [`SetTable::moved`].
    hash: u64,
    pub(crate) states: States,
    /// By hierarchy number; those where it is in the root are left out.
    places: Box<[Placed]>,
    /// Who pays for what the kernel spends for its tasks, if any subsystem asks.
    payer: Option<Arc<dyn Payer>>,
    /// How many [`SetReference`]s there are. At 0 the set may go, unless the table hands it out again first.
    references: AtomicUsize,
    /// Names a removed container: nobody will want it again, and it goes with the last reference.
    stale: AtomicBool,
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
    pub(crate) fn state(&self, subsystem: usize) -> &dyn State {
        match &self.states[subsystem] {
            Some(state) => &**state,
            None => panic!("subsystem {subsystem} is disabled and has no state"),
        }
    }

    /// Who pays for what the kernel spends for the tasks of this set.
    pub(crate) fn payer(&self) -> Option<Arc<dyn Payer>> {
        self.payer.clone()
    }

    /// The container in hierarchy `number`, if it is not the root.
    pub(crate) fn place(&self, number: usize) -> Option<&Arc<Container>> {
        self.places.iter().find(|(slot, _)| *slot == number).map(|(_, container)| container)
    }

    /// Whether anybody refers to it.
    pub(crate) fn is_referenced(&self) -> bool {
        self.references.load(SeqCst) > 0
    }

    /// The containers that are not roots.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.places.iter().map(|(_, container)| container)
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
    /// Locks: when it was the last reference, those of the set table. Never drop one under the lock of a set, unless
    /// it is surely not the last.
    fn drop(&mut self) {
        // SeqCst, as in `forget`: either that sees this reference gone, or the mark that it left is seen here. A set
        // whose containers are still there stays for the next task that comes to these places.
        if self.0.references.fetch_sub(1, SeqCst) == 1 && self.0.stale.load(SeqCst) {
            self.0.table.retire(&self.0);
        }
    }
}

/// How many buckets the table of sets has; few where each is one more thing to try orders of.
const BUCKETS: usize = if cfg!(loom) { 2 } else { 256 };

/// So many sets without a reference a bucket keeps for those who may want them again.
const KEPT_UNUSED: usize = 4;

type Bucket = Vec<Arc<ContainerSet>>;

/// All sets, found by a hash of their places.
pub(crate) struct SetTable {
    buckets: Box<[SpinLock<Bucket>]>,
    chargers: Vec<Charger>,
    serials: AtomicU64,
}

/// What one place adds to the hash of a set.
fn hash_of(container: &Container) -> u64 {
    let mixed = container.serial().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

impl SetTable {
    /// No sets yet. `chargers` are the subsystems that ask for charges.
    pub(crate) fn new(chargers: Vec<Charger>) -> Arc<Self> {
        let bucket = |_| SpinLock::new(rank::SET_TABLE, Vec::new());
        let buckets = (0..BUCKETS).map(bucket).collect();
        Arc::new(Self { buckets, chargers, serials: AtomicU64::new(1) })
    }

    /// The number of sets that somebody refers to.
    pub(crate) fn count(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.lock().iter().filter(|set| set.is_referenced()).count()).sum()
    }

    /// For how many sets there is room in the lists.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.lock().capacity()).sum()
    }

    /// Makes the set of those who are in the root everywhere.
    pub(crate) fn root_set(self: &Arc<Self>, states: States) -> SetReference {
        let (set, _) = self.add(&mut self.bucket(0).lock(), 0, states, Box::default());
        set
    }

    /// The set that differs from `base` in hierarchy `number`, where it is in `container` (`None`: the root), and not in `old`.
    /// `states` are those of the hierarchy's subsystems there.
    pub(crate) fn moved(
        self: &Arc<Self>,
        base: &ContainerSet,
        number: usize,
        [old, container]: [Option<&Arc<Container>>; 2],
        states: &States,
        subsystems: impl Iterator<Item = usize>,
    ) -> SetReference {
        let hash = [old, container].into_iter().flatten().fold(base.hash, |hash, place| hash ^ hash_of(place));
        let count = base.places.len() - usize::from(old.is_some()) + usize::from(container.is_some());
        let is_it = |set: &&Arc<ContainerSet>| {
            set.hash == hash
                && set.places.len() == count
                && set.places.iter().all(|(slot, place)| {
                    let wanted = if *slot == number { container } else { base.place(*slot) };
                    wanted.is_some_and(|wanted| Arc::ptr_eq(wanted, place))
                })
        };
        let mut bucket = self.bucket(hash).lock();
        if let Some(set) = bucket.iter().find(is_it) {
            // From 0 too: whoever takes it out looks again under this lock.
            set.references.fetch_add(1, SeqCst);
            return SetReference(set.clone());
        }
        let mut all = base.states.clone();
        subsystems.for_each(|subsystem| all[subsystem] = states[subsystem].clone());
        let mut places: Vec<Placed> = Vec::with_capacity(count);
        places.extend(base.places.iter().filter(|(slot, _)| *slot != number).cloned());
        if let Some(container) = container {
            let index = places.partition_point(|(slot, _)| *slot < number);
            places.insert(index, (number, container.clone()));
        }
        let (set, evicted) = self.add(&mut bucket, hash, all, places.into());
        drop(bucket);
        // Without a lock: it may be the end of states.
        drop(evicted);
        set
    }

    /// Adds a new set, and takes out an unused one where there are many.
    fn add(
        self: &Arc<Self>,
        bucket: &mut Bucket,
        hash: u64,
        states: States,
        places: Box<[Placed]>,
    ) -> (SetReference, Option<Arc<ContainerSet>>) {
        let mut unused = bucket.iter().enumerate().filter(|(_, set)| !set.is_referenced());
        let oldest = unused.next().map(|(index, _)| index);
        let many = unused.count() + 1 >= KEPT_UNUSED;
        let evicted = oldest.filter(|_| many).map(|index| take(bucket, index));
        let set = Arc::new(ContainerSet {
            serial: self.serials.fetch_add(1, Relaxed),
            hash,
            payer: payer_of(&self.chargers, &states),
            states,
            places,
            references: AtomicUsize::new(1),
            stale: AtomicBool::new(false),
            tasks: SpinLock::new(rank::SET, Vec::new()),
            table: self.clone(),
        });
        for container in set.places() {
            container.lists.lock().sets.push(set.clone());
            // A task that exits meanwhile may have been the last in a place that it keeps. SeqCst, as in `forget`:
            // either that finds the set in the list, or the removal is seen here.
            if container.is_removed() {
                set.stale.store(true, SeqCst);
            }
        }
        bucket.push(set.clone());
        (SetReference(set), evicted)
    }

    /// Takes out the sets that name a removed container: those that nobody refers to at once, the others with their
    /// last reference.
    pub(crate) fn forget(&self, container: &Container) {
        let sets = container.lists.lock().sets.clone();
        for set in sets {
            set.stale.store(true, SeqCst);
            self.retire(&set);
        }
    }

    /// Takes the set out of the table and its containers, if nobody refers to it.
    fn retire(&self, set: &Arc<ContainerSet>) {
        // `set` itself keeps the value until all locks are open again: dropping states may sleep.
        let mut bucket = self.bucket(set.hash).lock();
        if set.is_referenced() {
            return;
        }
        if let Some(index) = bucket.iter().position(|other| Arc::ptr_eq(other, set)) {
            drop(take(&mut bucket, index));
        }
    }

    /// Takes out all sets, when the framework ends.
    pub(crate) fn clear(&self) {
        for bucket in &self.buckets {
            loop {
                let mut bucket = bucket.lock();
                let set = if bucket.is_empty() { break } else { take(&mut bucket, 0) };
                drop(bucket);
                drop(set);
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

    fn bucket(&self, hash: u64) -> &SpinLock<Bucket> {
        &self.buckets[(hash >> 32) as usize % BUCKETS]
    }
}

/// Takes a set out of its bucket and the lists of its containers. The order of those that stay is that of age.
fn take(bucket: &mut Bucket, index: usize) -> Arc<ContainerSet> {
    let set = bucket.remove(index);
    if bucket.is_empty() {
        // Containers that come and go pass through all buckets in time: none keeps room for what was there once.
        *bucket = Vec::new();
    }
    for container in set.places() {
        let mut lists = container.lists.lock();
        if let Some(index) = lists.sets.iter().position(|other| Arc::ptr_eq(other, &set)) {
            lists.sets.swap_remove(index);
        }
    }
    set
}
