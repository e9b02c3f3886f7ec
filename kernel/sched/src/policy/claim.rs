//! What a group claims beside its siblings: what its weight says, but no more than its tasks can use, for a task runs on one
//! CPU at a time.
//!
//! Of `due` CPUs the members of a group have parts by weight. If that is more than a member has tasks, it has one CPU for
//! each of these, and the rest is the others', by weight, and so on (water-filling), at each level. Whoever claims no more
//! than it can use needs no special case anywhere else: a claim that is one CPU's part of all claims is one CPU. So each group
//! looks now and then what the others in its parent claim, and claims as much less than it could as it can't use:
//! `claim / (claim + others) = tasks / due`. One after another they come near the claims at which this holds for all.
//!
//! All that is known is a few milliseconds old, and no two CPUs look at the same moment.

use super::weight::UNIT;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// One CPU, as what is due to groups is counted.
pub(super) const CPU: u64 = 1 << 12;

/// What a group claims, and what its members do.
pub(super) struct Claims {
    /// What it counts beside its siblings, as a load.
    own: AtomicU64,
    /// What of that its parent knows: nothing while it has no tasks.
    known: AtomicU64,
    /// How many tasks run or wait in it.
    tasks: AtomicUsize,
    /// The sum of its own tasks' loads.
    of_tasks: AtomicU64,
    /// The sum of what the groups in it claim.
    of_groups: AtomicU64,
    /// How many CPUs are due to it, in parts of [`CPU`]; for the whole, all that there are.
    due: AtomicU64,
}

impl Claims {
    /// Those of a group without members.
    pub(super) fn new(weight: u32) -> Self {
        Self {
            own: AtomicU64::new(u64::from(weight) * UNIT),
            known: AtomicU64::new(0),
            tasks: AtomicUsize::new(0),
            of_tasks: AtomicU64::new(0),
            of_groups: AtomicU64::new(0),
            due: AtomicU64::new(0),
        }
    }

    /// What the group counts beside its siblings.
    pub(super) fn own(&self) -> u64 {
        self.own.load(Relaxed)
    }

    /// It has another weight; what it can use of that is seen later.
    pub(super) fn set_weight(&self, weight: u32) {
        self.own.store(u64::from(weight) * UNIT, Relaxed);
    }

    /// The sum of its own tasks' loads.
    pub(super) fn of_tasks(&self) -> u64 {
        self.of_tasks.load(Relaxed)
    }

    /// What all its members claim.
    pub(super) fn of_members(&self) -> u64 {
        self.of_tasks() + self.of_groups.load(Relaxed)
    }

    /// How many CPUs are due to it, in parts of [`CPU`].
    pub(super) fn due(&self) -> u64 {
        self.due.load(Relaxed)
    }

    /// The same, as far as its tasks can use that.
    fn usable(&self) -> u64 {
        self.due().min(self.tasks.load(Relaxed) as u64 * CPU)
    }

    /// So much more is there for the whole, modulo 2^64.
    pub(super) fn add_due(&self, change: u64) {
        self.due.fetch_add(change, Relaxed);
    }

    /// One CPU tells by how much the load of the group's own tasks on it, and the number of all tasks, have changed, modulo
    /// 2^64. Whether none is left.
    pub(super) fn tell(&self, load: u64, tasks: usize) -> bool {
        if load != 0 {
            self.of_tasks.fetch_add(load, Relaxed);
        }
        tasks != 0 && self.tasks.fetch_add(tasks, Relaxed).wrapping_add(tasks) == 0
    }

    /// Whether the parent knows of this claim.
    pub(super) fn is_known(&self, claim: u64) -> bool {
        self.known.load(Relaxed) == claim
    }

    /// The parent, whose claims these are, is to know of this claim. One after another.
    pub(super) fn set_known(&self, claim: u64, parent: &Self) {
        let before = self.known.swap(claim, Relaxed);
        parent.of_groups.fetch_add(claim.wrapping_sub(before), Relaxed);
    }

    /// Looks at what the group, which weighs `whole` as a load, claims beside the others in its parent. What the parent is
    /// to know of it.
    pub(super) fn look(&self, whole: u64, parent: &Self) -> u64 {
        let tasks = self.tasks.load(Relaxed) as u64;
        if tasks == 0 {
            return 0;
        }
        let (usable, most) = (parent.usable(), tasks * CPU);
        let others = parent.of_members().saturating_sub(self.known.load(Relaxed));
        let claim = if others == 0 || most >= usable {
            whole
        } else {
            (most.saturating_mul(others) / (usable - most)).clamp(UNIT.min(whole), whole)
        };
        self.own.store(claim, Relaxed);
        self.due.store(claim.saturating_mul(usable) / (others + claim).max(1), Relaxed);
        claim
    }

    /// How much of the load of one of its own tasks counts: that which is one CPU beside what the members claim.
    pub(super) fn most_of_task(&self) -> u64 {
        let usable = self.usable();
        if usable <= CPU { u64::MAX } else { (self.of_members().saturating_mul(CPU) / usable).max(UNIT) }
    }
}
