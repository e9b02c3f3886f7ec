//! Which CPU may take a task from which other.
//!
//! A CPU takes a task when that brings the two nearer to each other. Now and then also when it leaves them as far
//! apart the other way round: three equal tasks on two CPUs then change places in turn, so that in the long run each
//! has two thirds of a CPU. What no move can make equal is made so over time.

use super::Weight;
use base::{CpuId, CpuSet};

/// What is seen of another CPU without its lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuState {
    /// The sum of the weights of its runnable tasks.
    pub weight: u64,
    /// How many tasks run or wait there.
    pub tasks: usize,
}

impl CpuState {
    /// Whether nothing runs or waits there.
    pub const fn is_idle(&self) -> bool {
        self.tasks == 0
    }
}

/// The most laden of `candidates` from which `here` may take a task.
pub fn busiest(here: CpuId, candidates: &CpuSet, state: impl Fn(CpuId) -> CpuState) -> Option<CpuId> {
    let own = state(here).weight;
    let laden = |&cpu: &CpuId| cpu != here && state(cpu).tasks > 1 && state(cpu).weight > own;
    candidates.iter().filter(laden).max_by_key(|&cpu| state(cpu).weight)
}

/// Whether a task of weight `task` may go from a CPU of weight `from` to a less laden one of weight `to`: that must make
/// them less unequal. If they are to `rotate`, it may leave them as unequal, or tip over what is small beside the whole.
pub fn may_move(task: Weight, from: u64, to: u64, rotate: bool) -> bool {
    to + task.raw() < from || (rotate && to < from && (to + task.raw() == from || 2 * task.raw() <= from))
}
