//! The CPUs and nodes of one container, and what they would be after a change.

use base::{CpuSet, NodeSet};
use machine::sync::{
    SpinLock,
    atomic::{AtomicBool, Ordering::Relaxed},
    rank,
};

/// CPUs and nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sets {
    pub(super) cpus: CpuSet,
    pub(super) mems: NodeSet,
}

impl Sets {
    /// Whether there are both CPUs and nodes: only then can a task come in.
    pub(super) fn are_complete(&self) -> bool {
        !self.cpus.is_empty() && !self.mems.is_empty()
    }
}

/// The sets of a container that is not a root. They change with *manage* held exclusively.
pub(super) struct OwnSets {
    sets: SpinLock<Sets>,
    /// Whether they are complete, for those who ask only that.
    are_complete: AtomicBool,
    /// Whether there are CPUs, likewise.
    has_cpus: AtomicBool,
}

impl OwnSets {
    /// Nothing.
    pub(super) fn empty() -> Self {
        let empty = Sets { cpus: CpuSet::EMPTY, mems: NodeSet::EMPTY };
        let [are_complete, has_cpus] = [AtomicBool::new(false), AtomicBool::new(false)];
        Self { sets: SpinLock::new(rank::CONTROLLER, empty), are_complete, has_cpus }
    }

    pub(super) fn get(&self) -> Sets {
        *self.sets.lock()
    }

    pub(super) fn set(&self, sets: Sets) {
        let mut own = self.sets.lock();
        *own = sets;
        self.are_complete.store(sets.are_complete(), Relaxed);
        self.has_cpus.store(!sets.cpus.is_empty(), Relaxed);
    }

    /// With *manage* held: whether a task can come in.
    pub(super) fn are_complete(&self) -> bool {
        self.are_complete.load(Relaxed)
    }

    /// With *manage* held: whether there are CPUs.
    pub(super) fn has_cpus(&self) -> bool {
        self.has_cpus.load(Relaxed)
    }

    /// With *manage* held: whether these and `other` are the same.
    pub(super) fn equal(&self, other: &Self) -> bool {
        let sets = self.get();
        *other.sets.lock() == sets
    }
}

/// What a container would have after a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Trial {
    pub(super) sets: Sets,
    pub(super) cpu_exclusive: bool,
    pub(super) mem_exclusive: bool,
    pub(super) mem_hardwall: bool,
}

impl Trial {
    /// Whether memory for the kernel's needs comes from these nodes only.
    pub(super) fn is_walled(&self) -> bool {
        self.mem_exclusive || self.mem_hardwall
    }

    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.sets.cpus.is_subset_of(&other.sets.cpus)
            && self.sets.mems.is_subset_of(&other.sets.mems)
            && self.cpu_exclusive <= other.cpu_exclusive
            && self.mem_exclusive <= other.mem_exclusive
    }

    pub(super) fn disturbs(&self, sibling: &Self) -> bool {
        let cpus = self.cpu_exclusive || sibling.cpu_exclusive;
        let mems = self.mem_exclusive || sibling.mem_exclusive;
        cpus && self.sets.cpus.intersects(&sibling.sets.cpus) || mems && self.sets.mems.intersects(&sibling.sets.mems)
    }
}
