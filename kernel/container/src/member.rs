//! A task as the framework sees it, and the part of a task that the framework owns.

use crate::{
    set::{ContainerSet, SetReference},
    subsystem::MAX_SUBSYSTEMS,
};
use alloc::vec::Vec;
use base::{Credentials, Pid};
use core::any::Any;
use machine::sync::{
    Arc, IrqLock, ReadGuard, RwLock, WriteGuard,
    atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    rank,
};

/// A task that can be in containers. Every method is called without spinning locks of the framework held, except
/// `membership` and `as_any`; none may sleep.
pub trait Member: Any + Send + Sync {
    /// The framework's part of the task.
    fn membership(&self) -> &Membership;
    /// The task's own number.
    fn tid(&self) -> Pid;
    /// The number of its process, which is that of the leader.
    fn process_id(&self) -> Pid;
    /// Whether it is a thread of the kernel; these don't move.
    fn is_kernel_thread(&self) -> bool;
    /// Its credentials now.
    fn credentials(&self) -> Arc<Credentials>;
    /// The threads of its process that have not left yet, itself included if it has not.
    fn threads(&self) -> Vec<Arc<dyn Member>>;
    /// Sends SIGKILL to its process, from no particular sender. May take locks of rank `TASK_TABLE` and above.
    fn kill(&self);
    /// The gate of its process.
    fn gate(&self) -> &Gate;
    /// The task itself, for those who installed the hooks of a controller.
    fn as_any(&self) -> &dyn Any;
}

/// The tasks of the system by number.
pub trait TaskTable: Send + Sync {
    /// The task with this number, live or not yet reaped.
    fn find(&self, tid: Pid) -> Option<Arc<dyn Member>>;

    /// The task that runs on this CPU; `None` where none does, as in a test.
    fn current(&self) -> Option<Arc<dyn Member>> {
        None
    }
}

/// What keeps forks and moves of one process apart: a fork reads it from `can_fork` until the child is visible, a
/// move writes it. Locks: rank `GATE`, sleeping.
pub struct Gate(RwLock<()>);

impl Gate {
    /// An open gate.
    pub fn new() -> Self {
        Self(RwLock::new(rank::GATE, ()))
    }

    pub(crate) fn fork(&self) -> ReadGuard<'_, ()> {
        self.0.read()
    }

    pub(crate) fn close(&self) -> WriteGuard<'_, ()> {
        self.0.write()
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// How far a task's life in containers has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Fork has not made it visible.
    Unborn,
    /// In its containers.
    Live,
    /// Still in them, but no move takes it any more.
    Exiting,
    /// A zombie: in none; only what it left is remembered.
    Left,
}

/// The framework's part of a task: its place in all hierarchies, which is one pointer.
pub struct Membership {
    // A leaf: read at every switch and tick, with the run queue locked. Written with the set's tasks locked too.
    place: IrqLock<TaskPlace>,
    /// Its fork is not over: it may be in its containers, and subsystems are still being told.
    is_arriving: AtomicBool,
    words: [AtomicU64; MAX_SUBSYSTEMS],
}

pub(crate) struct TaskPlace {
    pub(crate) set: Option<SetReference>,
    /// Where the task stands in the list of its set.
    pub(crate) index: usize,
    pub(crate) phase: Phase,
}

impl Membership {
    /// The membership of a task that is just being made; [`Admission::admit`](crate::Admission::admit) fills it.
    pub fn new() -> Self {
        Self {
            place: IrqLock::new(rank::LEAF, TaskPlace { set: None, index: 0, phase: Phase::Unborn }),
            is_arriving: AtomicBool::new(true),
            words: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Whether the task is in containers: from the admission on until its exit begins.
    pub fn is_live(&self) -> bool {
        self.phase() == Phase::Live
    }

    /// Whether its fork goes on, which its parent's gate can be waited for with.
    pub(crate) fn is_arriving(&self) -> bool {
        self.is_arriving.load(Acquire)
    }

    pub(crate) fn has_arrived(&self) {
        self.is_arriving.store(false, Release);
    }

    /// A subsystem's own word in this task. A child is born with a copy of its parent's, taken before `can_fork`.
    pub fn word(&self, subsystem: usize) -> &AtomicU64 {
        &self.words[subsystem]
    }

    pub(crate) fn words(&self) -> [u64; MAX_SUBSYSTEMS] {
        core::array::from_fn(|index| self.words[index].load(Relaxed))
    }

    pub(crate) fn set_words(&self, words: &[u64; MAX_SUBSYSTEMS]) {
        for (word, value) in self.words.iter().zip(words) {
            word.store(*value, Relaxed);
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.place.lock().phase
    }

    /// The set that the task is in, or that it left and was not reaped since.
    pub(crate) fn set(&self) -> Option<SetReference> {
        self.place.lock().set.clone()
    }

    /// Looks at the set without counting a reference. `f` takes no lock and does not allocate.
    pub(crate) fn with_set<R>(&self, f: impl FnOnce(&ContainerSet) -> R) -> Option<R> {
        self.place.lock().set.as_deref().map(f)
    }

    pub(crate) fn with_place<R>(&self, f: impl FnOnce(&mut TaskPlace) -> R) -> R {
        f(&mut self.place.lock())
    }
}

impl Default for Membership {
    fn default() -> Self {
        Self::new()
    }
}
