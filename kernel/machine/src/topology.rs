//! CPUs, memory nodes and the distances between them, as the firmware's tables tell.

use alloc::vec::Vec;
use base::{CpuId, CpuSet, NodeId, NodeSet};

pub use crate::arch::topology::get;

/// The machine as a whole. CPUs and nodes are numbered densely from 0.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// The CPUs by number.
    pub cpus: Vec<CpuInfo>,
    /// The nodes by number; at least one.
    pub nodes: Vec<NodeInfo>,
    /// Distances in the SLIT's unit (10 is local), row by row.
    pub distances: Vec<u8>,
}

/// One CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuInfo {
    /// The number of its local APIC.
    pub apic_id: u32,
    /// The node that it belongs to.
    pub node: NodeId,
    /// The physical package.
    pub package: u32,
    /// The core within the package.
    pub core: u32,
}

/// One memory node.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// Bytes of memory that the firmware says it has.
    pub memory_bytes: u64,
    /// Its physical address ranges, start and length, ascending.
    pub ranges: Vec<(u64, u64)>,
}

impl Topology {
    /// The distance from node `a` to node `b`; 10 for the same node, 20 where the firmware says nothing.
    pub fn distance(&self, a: NodeId, b: NodeId) -> u8 {
        let fallback = if a == b { 10 } else { 20 };
        if a.index() >= self.nodes.len() || b.index() >= self.nodes.len() {
            return fallback;
        }
        self.distances.get(a.index() * self.nodes.len() + b.index()).copied().unwrap_or(fallback)
    }

    /// The node of `cpu`; node 0 for a CPU that is not there.
    pub fn node_of(&self, cpu: CpuId) -> NodeId {
        self.cpus.get(cpu.index()).map_or(NodeId::new(0), |info| info.node)
    }

    /// The CPUs of `node`.
    pub fn cpus_of(&self, node: NodeId) -> CpuSet {
        let of_node = self.cpus.iter().enumerate().filter(|(_, info)| info.node == node);
        of_node.map(|(index, _)| CpuId::new(index as u32)).collect()
    }

    /// The nodes that have memory.
    pub fn nodes_with_memory(&self) -> NodeSet {
        let with_memory = self.nodes.iter().enumerate().filter(|(_, info)| info.memory_bytes > 0);
        with_memory.map(|(index, _)| NodeId::new(index as u32)).collect()
    }
}
