//! /proc/vmstat and /proc/slabinfo: pages by what they are for, and the kernel's heap by sizes of objects.

use super::{System, written};
use alloc::{format, string::String};
use base::{Errno, NodeId, NodeSet};
use core::fmt::Write;
use machine::topology;
use memory::{ChargeKind, charge, frames, frames::NodeTraffic, heap};

/// Linux's names for what is counted here too. There is no disk and no swap, so nothing is ever paged in or out.
pub(super) fn vmstat(_: &System, out: &mut String) -> Result<(), Errno> {
    let [anonymous, copies, shared] = [ChargeKind::Anonymous, ChargeKind::Cache, ChargeKind::Shared].map(charge::pages);
    let traffic = traffic_rows(&topology::get().nodes_with_memory());
    let rows = [
        ("nr_anon_pages", anonymous),
        ("nr_file_pages", copies + shared),
        ("nr_dirty", 0),
        ("nr_writeback", 0),
        ("nr_shmem", shared),
        ("nr_kernel_stack", machine::context::stack_bytes() >> 10),
        ("nr_slab_unreclaimable", heap::statistics().frames),
        ("pgpgin", 0),
        ("pgpgout", 0),
        ("pswpin", 0),
        ("pswpout", 0),
    ];
    let free = [("nr_free_pages", frames::total().free)];
    let all = free.iter().chain(&traffic).chain(&rows);
    all.into_iter().try_for_each(|(name, value)| written(writeln!(out, "{name} {value}")))
}

/// The rows of what was given of some nodes.
pub(super) fn traffic_rows(nodes: &NodeSet) -> [(&'static str, u64); 6] {
    let sum = |of: fn(&NodeTraffic) -> u64| nodes.iter().map(|node| of(&frames::traffic(node))).sum();
    [
        ("numa_hit", sum(|node| node.hits)),
        ("numa_miss", sum(|node| node.misses)),
        ("numa_foreign", sum(|node| node.foreign)),
        ("numa_interleave", sum(|node| node.interleaved)),
        ("numa_local", sum(|node| node.local)),
        ("numa_other", sum(|node| node.other)),
    ]
}

/// The text of a node's `numastat` in /sys.
pub(crate) fn numastat(node: NodeId, out: &mut String) -> Result<(), Errno> {
    let NodeTraffic { hits, misses, foreign, interleaved, local, other } = frames::traffic(node);
    written(writeln!(
        out,
        "numa_hit {hits}\nnuma_miss {misses}\nnuma_foreign {foreign}\ninterleave_hit {interleaved}\nlocal_node {local}\n\
         other_node {other}"
    ))
}

/// Version 2.1 of `slabinfo(5)`; no size can be tuned.
pub(super) fn slabinfo(_: &System, out: &mut String) -> Result<(), Errno> {
    out.push_str(
        "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables \
         <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n",
    );
    heap::classes().iter().try_for_each(|class| {
        let name = format!("kmalloc-{}", class.size);
        let heap::ClassStatistics { size, used, objects, per_slab, slab_frames, slabs, .. } = class;
        written(writeln!(
            out,
            "{name:<17} {used:6} {objects:6} {size:6} {per_slab:4} {slab_frames:4} : tunables {:4} {:4} {:4} : slabdata \
             {slabs:6} {slabs:6} {:6}",
            0, 0, 0, 0,
        ))
    })
}
