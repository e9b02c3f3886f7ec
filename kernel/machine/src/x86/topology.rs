//! CPUs and nodes, from the firmware's tables.

use super::acpi::Firmware;
use super::cpu::cpuid;
use super::physical;
use crate::firmware::slit::{LOCAL, Slit};
use crate::firmware::srat::Affinity;
use crate::topology::{CpuInfo, NodeInfo, Topology};
use alloc::{format, string::String, vec::Vec};
use base::{MAX_CPUS, MAX_NODES, NodeId};
use spin::Once;

static TOPOLOGY: Once<Topology> = Once::new();

/// The machine as the firmware describes it. Panics before boot has read the tables.
pub fn get() -> &'static Topology {
    TOPOLOGY.get().expect("the topology is asked for before boot has read the firmware's tables")
}

/// Works out the topology and logs it. `most_cpus` is what `maxcpus=` allows. Boot CPU, once.
pub(super) fn init(firmware: &Firmware, most_cpus: usize) -> &'static Topology {
    let topology = TOPOLOGY.call_once(|| build(firmware, most_cpus));
    for (number, node) in topology.nodes.iter().enumerate() {
        let cpus = topology.cpus_of(NodeId::new(number as u32));
        let row = topology.distances[number * topology.nodes.len()..][..topology.nodes.len()].iter();
        crate::log!(
            "topology: node {number}: {} MiB, CPUs {}, distances{}",
            (node.memory_bytes + (1 << 19)) >> 20,
            if cpus.is_empty() { String::from("none") } else { format!("{cpus}") },
            row.map(|distance| format!(" {distance}")).collect::<String>(),
        );
    }
    topology
}

fn build(firmware: &Firmware, most_cpus: usize) -> Topology {
    let domains = domains(firmware);
    let node_of = |domain: u32| match domains.binary_search(&domain) {
        Ok(node) if node < MAX_NODES => NodeId::new(node as u32),
        _ => NodeId::new(0),
    };
    let cpus = cpus(firmware, most_cpus, &node_of);
    let mut nodes: Vec<NodeInfo> = Vec::new();
    nodes.resize_with(domains.len().clamp(1, MAX_NODES), NodeInfo::default);
    for affinity in &firmware.affinities {
        if let Affinity::Memory { start, length, domain } = *affinity {
            nodes[node_of(domain).index()].ranges.push((start, length));
        }
    }
    if nodes.iter().all(|node| node.ranges.is_empty()) {
        nodes[0].ranges = physical::free_ranges();
    }
    for node in &mut nodes {
        node.ranges.sort_unstable();
        node.memory_bytes = node.ranges.iter().map(|&(_, length)| length).sum();
    }
    let distances = distances(firmware, &domains, nodes.len());
    Topology { cpus, nodes, distances }
}

/// The proximity domains in ascending order: their places are the numbers of our nodes.
fn domains(firmware: &Firmware) -> Vec<u32> {
    let domain = |affinity: &Affinity| match *affinity {
        Affinity::Cpu { domain, .. } | Affinity::Memory { domain, .. } => domain,
    };
    let mut domains: Vec<u32> = firmware.affinities.iter().map(domain).collect();
    domains.sort_unstable();
    domains.dedup();
    if domains.is_empty() {
        crate::log!("topology: the firmware says nothing of nodes (no SRAT): one node");
    } else if domains.len() > MAX_NODES {
        crate::log!("topology: {} nodes, but this build knows {MAX_NODES}: the rest counts as node 0", domains.len());
    }
    domains
}

fn cpus(firmware: &Firmware, most: usize, node_of: &dyn Fn(u32) -> NodeId) -> Vec<CpuInfo> {
    let boot = own_apic_id();
    let others = firmware.apic_ids.iter().copied().filter(|&id| id != boot);
    let apic_ids: Vec<u32> = core::iter::once(boot).chain(others).collect();
    let most = most.clamp(1, MAX_CPUS);
    if apic_ids.len() > most {
        crate::log!("topology: {} CPUs, {most} of them are used", apic_ids.len());
    }
    if firmware.disabled_cpus > 0 {
        crate::log!("topology: {} more CPUs are switched off in the firmware's table", firmware.disabled_cpus);
    }
    let (core_shift, package_shift) = id_shifts();
    let info = |apic_id: u32| {
        let domain = firmware.affinities.iter().find_map(|affinity| match *affinity {
            Affinity::Cpu { apic_id: id, domain } if id == apic_id => Some(domain),
            _ => None,
        });
        let part = |shift: u32| apic_id.checked_shr(shift).unwrap_or(0);
        CpuInfo {
            apic_id,
            node: domain.map_or(NodeId::new(0), node_of),
            package: part(package_shift),
            core: (apic_id & !(u32::MAX.checked_shl(package_shift).unwrap_or(0))).checked_shr(core_shift).unwrap_or(0),
        }
    };
    apic_ids.into_iter().take(most).map(info).collect()
}

/// The number of this CPU's local APIC.
fn own_apic_id() -> u32 {
    let extended = if cpuid(0, 0).eax >= 0xb { Some(cpuid(0xb, 0)) } else { None };
    match extended {
        Some(leaf) if leaf.ebx != 0 => leaf.edx,
        _ => cpuid(1, 0).ebx >> 24,
    }
}

/// How far an APIC number is shifted to give the core, and to give the package.
fn id_shifts() -> (u32, u32) {
    if cpuid(0, 0).eax >= 0xb && cpuid(0xb, 0).ebx != 0 {
        return (cpuid(0xb, 0).eax & 0x1f, cpuid(0xb, 1).eax & 0x1f);
    }
    let threads = (cpuid(1, 0).ebx >> 16 & 0xff).max(1);
    (0, threads.next_power_of_two().trailing_zeros())
}

fn distances(firmware: &Firmware, domains: &[u32], count: usize) -> Vec<u8> {
    const REMOTE: u8 = 20;
    let slit = firmware.slit.and_then(Slit::new);
    if slit.is_none() && count > 1 {
        crate::log!("topology: no table of distances (SLIT): {LOCAL} within a node, {REMOTE} between two");
    }
    let distance = |from: usize, to: usize| {
        let told = slit.and_then(|slit| slit.distance(*domains.get(from)?, *domains.get(to)?));
        told.unwrap_or(if from == to { LOCAL } else { REMOTE })
    };
    (0..count).flat_map(|from| (0..count).map(move |to| (from, to))).map(|(from, to)| distance(from, to)).collect()
}
