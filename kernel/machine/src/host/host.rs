//! The levers of the host's implementation, for tests: this thread's CPU, clock, topology; what was asked of the
//! hardware.

use crate::topology::{CpuInfo, NodeInfo, Topology};
use base::{CpuId, CpuSet, MAX_CPUS, NodeId};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::{cell::Cell, sync::OnceLock};

#[cfg(not(loom))]
pub use super::frame::fresh as fresh_frames;
#[cfg(not(loom))]
pub use super::paging::flushed as flushed_pages;
pub use super::parking::Parking;

thread_local! {
    pub(super) static CPU: Cell<u32> = const { Cell::new(0) };
    pub(super) static OFFLINE: Cell<CpuSet> = const { Cell::new(CpuSet::EMPTY) };
    pub(super) static CLOCK: Cell<Option<u64>> = const { Cell::new(None) };
    pub(super) static DEADLINE: Cell<Option<u64>> = const { Cell::new(None) };
    pub(super) static INTERRUPTS_OFF: Cell<u32> = const { Cell::new(0) };
    pub(super) static TOPOLOGY: Cell<Option<&'static Topology>> = const { Cell::new(None) };
    pub(super) static USER_CYCLES: Cell<u64> = const { Cell::new(0) };
}

pub(super) static WANTED: [AtomicBool; MAX_CPUS] = [const { AtomicBool::new(false) }; MAX_CPUS];
pub(super) static RESCHEDULES: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Makes this thread stand for `cpu`.
pub fn set_cpu(cpu: CpuId) {
    CPU.with(|current| current.set(cpu.raw()));
}

/// Sets this thread's clock to `now`, where it stays until set again; `None` goes back to the host's clock.
pub fn set_clock(now: Option<u64>) {
    CLOCK.with(|clock| clock.set(now));
}

/// Sets what `cpu::take_user_cycles` gives to this thread next.
pub fn set_user_cycles(cycles: u64) {
    USER_CYCLES.with(|current| current.set(cycles));
}

/// Sets the topology that this thread sees.
pub fn set_topology(topology: Topology) {
    TOPOLOGY.with(|current| current.set(Some(Box::leak(Box::new(topology)))));
}

/// The deadline that this thread last gave to the timer.
pub fn deadline() -> Option<u64> {
    DEADLINE.with(|deadline| deadline.get())
}

/// How often `cpu` was asked to reschedule, by all threads.
pub fn reschedules(cpu: CpuId) -> u64 {
    RESCHEDULES[cpu.index()].load(Relaxed)
}

/// A machine of `nodes` nodes with the CPUs and 1 GiB of memory spread evenly, distances 10 and 20.
pub fn even_topology(cpus: u32, nodes: u32) -> Topology {
    const GIB: u64 = 1 << 30;
    let node_bytes = GIB / u64::from(nodes);
    let cpu = |cpu: u32| CpuInfo { apic_id: cpu, node: NodeId::new(cpu * nodes / cpus), package: 0, core: cpu };
    let node =
        |node: u32| NodeInfo { memory_bytes: node_bytes, ranges: vec![(u64::from(node) * node_bytes, node_bytes)] };
    let distance = |index: u32| if index / nodes == index % nodes { 10 } else { 20 };
    Topology {
        cpus: (0..cpus).map(cpu).collect(),
        nodes: (0..nodes).map(node).collect(),
        distances: (0..nodes * nodes).map(distance).collect(),
    }
}

pub(super) fn default_topology() -> &'static Topology {
    static DEFAULT: OnceLock<Topology> = OnceLock::new();
    DEFAULT.get_or_init(|| even_topology(4, 2))
}
