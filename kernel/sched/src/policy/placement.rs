//! Where a task goes that wakes up or is new.

use super::{balance::CpuState, class::Urgency};
use base::{CpuId, CpuSet};
use machine::topology::Topology;

/// The CPU for a task that wakes up: where it last ran if that is idle, else an idle CPU near it, else the less laden
/// of where it last ran and where it is woken. Always one of `allowed`; `None` only if that is empty.
pub fn wake_up(
    allowed: &CpuSet,
    last: CpuId,
    waker: CpuId,
    topology: &Topology,
    state: impl Fn(CpuId) -> CpuState,
) -> Option<CpuId> {
    let last_allowed = allowed.contains(last);
    if last_allowed && state(last).is_idle() {
        return Some(last);
    }
    if let Some(idle) = nearest_idle(allowed, last, topology, &state) {
        return Some(idle);
    }
    match (last_allowed, allowed.contains(waker)) {
        (true, true) if state(waker).load < state(last).load => Some(waker),
        (true, _) => Some(last),
        _ => least_laden(allowed, last, topology, &state),
    }
}

/// The CPU for a task of real time or with a reservation that wakes up or is new: an idle one near where it last ran, else
/// the one whose tasks are of the least urgency, if that is below `urgency`; else where it last ran. Always one of `allowed`; `None` only if
/// that is empty.
pub fn urgent(
    allowed: &CpuSet,
    last: CpuId,
    urgency: Urgency,
    topology: &Topology,
    state: impl Fn(CpuId) -> CpuState,
) -> Option<CpuId> {
    if allowed.contains(last) && state(last).is_idle() {
        return Some(last);
    }
    let node = topology.node_of(last);
    let key = |&cpu: &CpuId| {
        let CpuState { tasks, urgency, load } = state(cpu);
        (urgency, tasks > 0, cpu != last, topology.distance(node, topology.node_of(cpu)), load)
    };
    let least = allowed.iter().min_by_key(key)?;
    let yields = state(least).urgency < Some(urgency);
    Some(if yields || !allowed.contains(last) { least } else { last })
}

/// The CPU for a new task: an idle one near its parent's, else the least laden.
pub fn new_task(
    allowed: &CpuSet,
    parent: CpuId,
    topology: &Topology,
    state: impl Fn(CpuId) -> CpuState,
) -> Option<CpuId> {
    nearest_idle(allowed, parent, topology, &state).or_else(|| least_laden(allowed, parent, topology, &state))
}

fn nearest_idle(
    allowed: &CpuSet,
    near: CpuId,
    topology: &Topology,
    state: &impl Fn(CpuId) -> CpuState,
) -> Option<CpuId> {
    let node = topology.node_of(near);
    let idle = allowed.iter().filter(|&cpu| state(cpu).is_idle());
    idle.min_by_key(|&cpu| topology.distance(node, topology.node_of(cpu)))
}

fn least_laden(
    allowed: &CpuSet,
    near: CpuId,
    topology: &Topology,
    state: &impl Fn(CpuId) -> CpuState,
) -> Option<CpuId> {
    let node = topology.node_of(near);
    allowed.iter().min_by_key(|&cpu| (state(cpu).load, cpu != near, topology.distance(node, topology.node_of(cpu))))
}
