//! Which CPU may take a task from which other.
//!
//! A CPU takes a task when that brings the two nearer to each other. Now and then also when it leaves them as far
//! apart the other way round: three equal tasks on two CPUs then change places in turn, so that in the long run each
//! has two thirds of a CPU. What no move can make equal is made so over time.

use super::class::Urgency;
use base::{CpuId, CpuSet};

/// What is seen of another CPU without its lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuState {
    /// The sum of the loads of its runnable tasks.
    pub load: u64,
    /// How many tasks run or wait there.
    pub tasks: usize,
    /// The greatest urgency among them.
    pub urgency: Option<Urgency>,
}

impl CpuState {
    /// Whether nothing runs or waits there.
    pub const fn is_idle(&self) -> bool {
        self.tasks == 0
    }
}

/// The most laden of `candidates` from which `here` may take a task.
pub fn busiest(here: CpuId, candidates: &CpuSet, state: impl Fn(CpuId) -> CpuState) -> Option<CpuId> {
    let own = state(here).load;
    let laden = |&cpu: &CpuId| cpu != here && state(cpu).tasks > 1 && state(cpu).load > own;
    candidates.iter().filter(laden).max_by_key(|&cpu| state(cpu).load)
}

/// Whether a task that is `task` of a CPU's load `from` may go to a less laden one of load `to`: that must make them
/// less unequal. If they are to `rotate`, it may leave them as unequal, or tip over what is small beside the whole.
pub fn may_move(task: u64, from: u64, to: u64, rotate: bool) -> bool {
    to + task < from || (rotate && to < from && (to + task == from || 2 * task <= from))
}
