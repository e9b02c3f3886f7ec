//! /proc/buddyinfo and /proc/zoneinfo: the free frames of each node. All memory of a node is one zone, `Normal`.

use super::{System, kernel_memory, written};
use alloc::string::String;
use base::{Errno, NodeId};
use core::fmt::{self, Write};
use machine::{cpu, frame::FRAME_SIZE, topology};
use memory::frames::{self, NodeShape, NodeStatistics};

/// Calls `each` with the nodes that have memory.
fn for_each_node(mut each: impl FnMut(NodeId, NodeShape) -> fmt::Result) -> Result<(), Errno> {
    let nodes = topology::get().nodes_with_memory();
    let mut shapes = nodes.iter().filter_map(|node| Some((node, frames::shape(node)?)));
    written(shapes.try_for_each(|(node, shape)| each(node, shape)))
}

/// The text of `buddyinfo`.
pub(super) fn buddyinfo(_: &System, out: &mut String) -> Result<(), Errno> {
    for_each_node(|node, shape| blocks_line(node, &shape, out))
}

fn blocks_line(node: NodeId, shape: &NodeShape, out: &mut String) -> fmt::Result {
    write!(out, "Node {node}, zone {:>8} ", "Normal")?;
    shape.blocks.iter().try_for_each(|count| write!(out, "{count:>6} "))?;
    out.write_char('\n')
}

/// The text of `zoneinfo`, with those of Linux's rows whose values there are here.
pub(super) fn zoneinfo(_: &System, out: &mut String) -> Result<(), Errno> {
    for_each_node(|node, shape| {
        let ranges = &topology::get().nodes[node.index()].ranges;
        let traffic = kernel_memory::traffic_rows(&core::iter::once(node).collect());
        let page = FRAME_SIZE as u64;
        let start = ranges.first().map_or(0, |(start, _)| start / page);
        let end = ranges.last().map_or(0, |(start, length)| (start + length) / page);
        let present = ranges.iter().map(|(_, length)| length / page).sum();
        zone(node, &shape, frames::statistics(node), (start, end - start, present), &traffic, out)
    })
}

/// `place` is the number of the node's first frame, how many lie between its first and its last, and how many of these
/// are memory.
fn zone(
    node: NodeId,
    shape: &NodeShape,
    NodeStatistics { total, free }: NodeStatistics,
    (start, spanned, present): (u64, u64, u64),
    traffic: &[(&str, u64)],
    out: &mut String,
) -> fmt::Result {
    writeln!(out, "Node {node}, zone {:>8}\n  pages free     {free}", "Normal")?;
    // Nothing is brought back before it is wanted: one mark is all there is.
    let marks = [("boost", 0), ("min", shape.reserve), ("low", shape.reserve), ("high", shape.reserve)];
    let sizes = [("spanned", spanned), ("present", present), ("managed", total), ("cma", 0)];
    marks.iter().chain(&sizes).try_for_each(|(name, value)| writeln!(out, "        {name:<8} {value}"))?;
    writeln!(out, "        protection: (0)")?;
    writeln!(out, "      {:<12} {free}", "nr_free_pages")?;
    traffic.iter().try_for_each(|(name, value)| writeln!(out, "      {name:<12} {value}"))?;
    writeln!(out, "  pagesets")?;
    let (batch, most) = shape.cache_sizes;
    for (number, count) in shape.cached.iter().filter(|(number, _)| cpu::online().contains(*number)) {
        writeln!(
            out,
            "    cpu: {number}\n              count: {count}\n              high:  {most}\n              batch: {batch}"
        )?;
    }
    writeln!(out, "  node_unreclaimable:  0\n  start_pfn:           {start}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::CpuId;

    #[test]
    fn a_node_looks_as_on_linux() {
        let mut blocks = [0; machine::frame::MAX_ORDER as usize + 1];
        blocks[0] = 12;
        blocks[10] = 345;
        let shape = NodeShape { blocks, cached: alloc::vec![(CpuId::new(0), 7)], cache_sizes: (32, 64), reserve: 99 };
        let mut out = String::new();
        blocks_line(NodeId::new(1), &shape, &mut out).unwrap();
        assert_eq!(
            out,
            "Node 1, zone   Normal     12      0      0      0      0      0      0      0      0      0    345 \n"
        );
        out.clear();
        let statistics = NodeStatistics { total: 400, free: 300 };
        zone(NodeId::new(1), &shape, statistics, (1, 500, 450), &[("numa_hit", 5)], &mut out).unwrap();
        assert_eq!(
            out,
            "Node 1, zone   Normal\n  pages free     300\n        boost    0\n        min      99\n        low      99\n        \
             high     99\n        spanned  500\n        present  450\n        managed  400\n        cma      0\n        \
             protection: (0)\n      nr_free_pages 300\n      numa_hit     5\n  pagesets\n    cpu: 0\n              \
             count: 7\n              high:  64\n              batch: 32\n  node_unreclaimable:  0\n  \
             start_pfn:           1\n"
        );
    }
}
