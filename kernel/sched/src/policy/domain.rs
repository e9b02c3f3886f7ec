//! Balancing domains: which CPUs take tasks from each other, and how far a quick search goes.

use base::{CpuId, CpuSet};
use machine::topology::Topology;

/// CPUs among which tasks are balanced. Nobody is placed or pulled across its border, unless the CPUs that a task may
/// use leave nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Domain {
    /// The CPUs.
    pub cpus: CpuSet,
    /// How far a search goes that must be quick.
    pub reach: Reach,
}

/// How far from its last CPU a task that wakes up may find an idle one, and from how far a CPU that has just become
/// idle takes work. Each level contains those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Reach {
    /// The CPU itself: no search.
    Itself,
    /// The threads of its core.
    Core,
    /// The cores of its package.
    Package,
    /// The CPUs of its memory node.
    Node,
    /// The nodes that are nearest to its own.
    NearNodes,
    /// Every CPU of the domain.
    Everywhere,
}

impl Reach {
    /// From its number, 0 to 5; more is everywhere.
    pub fn from_raw(number: u8) -> Self {
        match number {
            0 => Self::Itself,
            1 => Self::Core,
            2 => Self::Package,
            3 => Self::Node,
            4 => Self::NearNodes,
            _ => Self::Everywhere,
        }
    }

    /// The CPUs of `candidates` that are near enough to `from`.
    pub fn within(self, candidates: &CpuSet, from: CpuId, topology: &Topology) -> CpuSet {
        if self == Self::Everywhere {
            return *candidates;
        }
        candidates.iter().filter(|&cpu| cpu == from || nearness(from, cpu, topology) <= self).collect()
    }
}

/// The first level that contains both.
fn nearness(one: CpuId, other: CpuId, topology: &Topology) -> Reach {
    let place = |cpu: CpuId| topology.cpus.get(cpu.index()).copied().unwrap_or_default();
    let (one, other) = (place(one), place(other));
    if (one.package, one.core) == (other.package, other.core) {
        return Reach::Core;
    }
    if one.package == other.package && one.node == other.node {
        return Reach::Package;
    }
    if one.node == other.node {
        return Reach::Node;
    }
    let nodes = (0..topology.nodes.len() as u32).map(base::NodeId::new);
    let nearest = nodes.filter(|&node| node != one.node).map(|node| topology.distance(one.node, node)).min();
    if nearest == Some(topology.distance(one.node, other.node)) { Reach::NearNodes } else { Reach::Everywhere }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::topology::{CpuInfo, NodeInfo};

    /// 12 CPUs: two threads a core, two cores a package, a package a node; node 2 is farther from node 0 than node 1.
    fn topology() -> Topology {
        let cpu = |number: u32| CpuInfo {
            apic_id: number,
            node: base::NodeId::new(number / 4),
            package: number / 4,
            core: number / 2 % 2,
        };
        let distances = std::vec![10, 20, 30, 20, 10, 20, 30, 20, 10];
        Topology { cpus: (0..12).map(cpu).collect(), nodes: std::vec![NodeInfo::default(); 3], distances }
    }

    #[test]
    fn each_level_reaches_farther() {
        let all = CpuSet::first(12);
        let counts: std::vec::Vec<usize> =
            (0..6).map(|level| Reach::from_raw(level).within(&all, CpuId::new(1), &topology()).count()).collect();
        assert_eq!(counts, [1, 2, 4, 4, 8, 12]);
    }

    #[test]
    fn nobody_outside_the_candidates_is_reached() {
        let some: CpuSet = [0, 5, 9].map(CpuId::new).into_iter().collect();
        assert_eq!(Reach::NearNodes.within(&some, CpuId::new(1), &topology()).count(), 2);
        assert_eq!(Reach::Everywhere.within(&some, CpuId::new(1), &topology()), some);
    }
}
