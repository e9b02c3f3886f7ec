//! What the framework knows of itself, for a subsystem that shows it: sets, references, how often callbacks ran.

use crate::{
    framework::Framework,
    hierarchy::Subsystems,
    subsystem::{MAX_SUBSYSTEMS, Subsystem},
    tree::Node,
};
use alloc::vec::Vec;
use machine::{cpu, cpu::PerCpu};
// Never loom's: nobody waits for these counts.
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What runs on the paths of tasks and is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// [`Subsystem::can_fork`].
    CanFork,
    /// [`Subsystem::cancel_fork`].
    CancelFork,
    /// [`Subsystem::fork`].
    Fork,
    /// [`Subsystem::exit`].
    Exit,
    /// [`Subsystem::release`].
    Release,
}

/// How many kinds of [`Counted`] there are.
const KINDS: usize = 5;

/// How often callbacks ran since boot, counted on each CPU by itself.
pub(crate) struct CallbackCounts(PerCpu<Counts>);

#[derive(Default)]
struct Counts {
    forks: AtomicU64,
    exits: AtomicU64,
    calls: [[AtomicU64; KINDS]; MAX_SUBSYSTEMS],
}

impl CallbackCounts {
    pub(crate) fn new() -> Self {
        Self(PerCpu::default())
    }

    /// A task was born.
    pub(crate) fn count_fork(&self) {
        self.0.get(cpu::current()).forks.fetch_add(1, Relaxed);
    }

    /// A task left its containers.
    pub(crate) fn count_exit(&self) {
        self.0.get(cpu::current()).exits.fetch_add(1, Relaxed);
    }

    /// The subsystem was called.
    pub(crate) fn count(&self, subsystem: usize, kind: Counted) {
        self.0.get(cpu::current()).calls[subsystem][kind as usize].fetch_add(1, Relaxed);
    }

    fn sum(&self, of: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        self.0.iter().map(|(_, counts)| of(counts).load(Relaxed)).sum()
    }
}

/// A container set as it is at one moment.
pub struct SetFacts {
    /// Its number, used for no other since boot.
    pub serial: u64,
    /// How many refer to it: each of its tasks, its zombies, forks and moves under way.
    pub references: usize,
    /// The live tasks in it.
    pub tasks: usize,
    /// What it has of each enabled subsystem.
    pub states: Vec<StateFacts>,
}

/// A state of a subsystem.
pub struct StateFacts {
    /// The index of the subsystem.
    pub index: usize,
    /// Its name.
    pub name: &'static str,
    /// The number of the state, used for no other since boot.
    pub serial: u64,
    /// The number of the hierarchy that the subsystem is bound to.
    pub hierarchy: usize,
}

impl<S: Subsystem> Node<'_, S> {
    /// How many sets name this container.
    pub fn set_count(&self) -> usize {
        self.framework().sets_of(self.container()).iter().filter(|set| set.is_referenced()).count()
    }

    /// Whether a live task is here or below.
    pub fn is_populated(&self) -> bool {
        self.container().is_populated()
    }

    /// The set of the task that runs. `None` where none does.
    pub fn current_set(&self) -> Option<SetFacts> {
        let framework = self.framework();
        let set = framework.tasks.current()?.membership().set()?;
        let facts = |index| StateFacts {
            index,
            name: framework.subsystem(index).name(),
            serial: set.state(index).serial(),
            hierarchy: framework.hierarchy_of(index).map_or(0, |active| active.hierarchy.number()),
        };
        let states = framework.enabled().iter().map(facts).collect();
        let tasks = set.tasks().len();
        // Without the reference by which this looks.
        Some(SetFacts { serial: set.serial(), references: set.reference_count() - 1, tasks, states })
    }

    /// How many tasks were born and how many left their containers since boot.
    pub fn births_and_exits(&self) -> (u64, u64) {
        let counts = &self.framework().counts;
        (counts.sum(|counts| &counts.forks), counts.sum(|counts| &counts.exits))
    }

    /// The enabled subsystems.
    pub fn subsystems(&self) -> Subsystems {
        self.framework().enabled()
    }

    /// The name of an enabled subsystem, and how often its callback of this kind ran since boot.
    pub fn calls(&self, subsystem: usize, kind: Counted) -> (&'static str, u64) {
        let framework: &Framework = self.framework();
        let calls = framework.counts.sum(|counts| &counts.calls[subsystem][kind as usize]);
        (framework.subsystem(subsystem).name(), calls)
    }
}
