//! The frames of three nodes that four CPUs take and give.

use super::*;
use base::{CpuId, NodeSet};
use machine::host::{even_topology, fresh_frames, set_cpu};
use proptest::prelude::*;

const NODES: u32 = 3;
const FRAMES: u64 = 128;
/// What a node keeps back.
const KEPT: u64 = FRAMES / 32;
/// What a node gives for tables.
const ALL: usize = (FRAMES - KEPT / 2) as usize;

fn allocator() -> FrameAllocator {
    let allocator = FrameAllocator::new();
    for node in 0..NODES {
        fresh_frames(FRAMES, NodeId::new(node)).into_iter().for_each(|block| allocator.add(block));
    }
    allocator.start_caches(&even_topology(4, NODES));
    allocator
}

fn nodes(numbers: &[u32]) -> NodeSet {
    numbers.iter().map(|&node| NodeId::new(node)).collect()
}

fn fill(allocator: &FrameAllocator, placement: &Placement, purpose: Purpose) -> Vec<Block> {
    core::iter::from_fn(|| allocator.take(placement, purpose).ok()).collect()
}

#[test]
fn the_nearest_allowed_node_comes_first_and_no_other_is_used() {
    let allocator = allocator();
    set_cpu(CpuId::new(0));
    let placement = Placement { preferred: Some(NodeId::new(2)), ..Placement::on(nodes(&[1, 2])) };
    let all = fill(&allocator, &placement, Purpose::Table);
    let order: Vec<u32> = all.iter().map(|block| block.node().raw()).collect();
    assert_eq!(order, [[2; ALL], [1; ALL]].concat());
    assert_eq!(allocator.statistics(NodeId::new(0)), NodeStatistics { total: FRAMES, free: FRAMES });
    all.into_iter().for_each(|block| allocator.give(block));
}

#[test]
fn some_of_the_allowed_nodes_can_come_before_nearer_ones() {
    let allocator = allocator();
    set_cpu(CpuId::new(0));
    let placement = Placement { first: nodes(&[2]), ..Placement::on(nodes(&[1, 2])) };
    let all = fill(&allocator, &placement, Purpose::Table);
    let order: Vec<u32> = all.iter().map(|block| block.node().raw()).collect();
    assert_eq!(order, [[2; ALL], [1; ALL]].concat());
    all.into_iter().for_each(|block| allocator.give(block));
}

#[test]
fn what_is_given_is_counted_by_who_wanted_it_where() {
    let allocator = allocator();
    set_cpu(CpuId::new(0));
    let all = nodes(&[0, 1, 2]);
    let on = |node| Placement { preferred: Some(NodeId::new(node)), ..Placement::on(all) };
    let rounds = ALL as u64 + 3;
    let far: Vec<Block> = (0..rounds).map(|_| allocator.take(&on(2), Purpose::Table).unwrap()).collect();
    let near = allocator.take_block(2, &on(0)).unwrap();
    let turn = allocator.take(&Placement { interleaves: true, ..on(1) }, Purpose::Page).unwrap();
    let helper = far.last().unwrap().node();
    let helped = |node: u32| if helper.raw() == node { 3 } else { 0 };
    let traffic = |node| allocator.traffic(NodeId::new(node));
    let hits = |hits, other| NodeTraffic { hits, other, ..NodeTraffic::default() };
    assert_eq!(traffic(2), NodeTraffic { foreign: 3, ..hits(ALL as u64, ALL as u64) });
    assert_eq!(traffic(0), NodeTraffic { misses: helped(0), local: 1 + helped(0), ..hits(1, 0) });
    assert_eq!(traffic(1), NodeTraffic { misses: helped(1), interleaved: 1, ..hits(1, 1 + helped(1)) });
    far.into_iter().chain([near, turn]).for_each(|block| allocator.give(block));
}

#[test]
fn frames_ahead_come_from_the_best_node_while_it_has_plenty() {
    let allocator = allocator();
    set_cpu(CpuId::new(0));
    let ahead = |placement: &Placement, most| allocator.take_ahead(placement, most);
    assert!(ahead(&Placement::on(nodes(&[1])), 8).is_empty(), "the CPU's own node is not allowed");
    assert!(ahead(&Placement { first: nodes(&[1]), ..Placement::ANY }, 8).is_empty(), "nor the best");
    let wanted = Placement { preferred: Some(NodeId::new(1)), ..Placement::ANY };
    let all: Vec<BlockStack> =
        core::iter::from_fn(|| Some(ahead(&wanted, 5)).filter(|found| !found.is_empty())).collect();
    let free = allocator.statistics(NodeId::new(1)).free;
    assert!((FRAMES / 4..FRAMES / 4 + 8).contains(&free), "{free} frames are left");
    for mut stack in all {
        assert!(stack.len() <= 5);
        core::iter::from_fn(|| stack.pop()).for_each(|block| {
            assert_eq!(block.node(), NodeId::new(1));
            allocator.give(block);
        });
    }
}

#[test]
fn pages_leave_the_last_frames_to_tables_and_tables_the_very_last_to_the_kernel() {
    let allocator = allocator();
    let nodes = u64::from(NODES);
    assert!(!allocator.is_low());
    let pages = fill(&allocator, &Placement::ANY, Purpose::Page);
    assert_eq!(pages.len() as u64, nodes * (FRAMES - KEPT));
    assert!(allocator.is_low() && !allocator.is_short());
    let tables = fill(&allocator, &Placement::ANY, Purpose::Table);
    assert_eq!(tables.len() as u64, nodes * KEPT / 2);
    assert!(allocator.is_low() && allocator.is_short());
    let rest: Vec<Block> = core::iter::from_fn(|| allocator.take_block(0, &Placement::ANY).ok()).collect();
    assert_eq!(rest.len() as u64, nodes * KEPT / 2);
    pages.into_iter().chain(tables).chain(rest).for_each(|block| allocator.give(block));
    assert!(!allocator.is_low() && !allocator.is_short());
}

#[test]
fn frames_in_the_caches_of_other_cpus_are_found_before_anything_is_refused() {
    let allocator = allocator();
    set_cpu(CpuId::new(3));
    let all = fill(&allocator, &Placement::ANY, Purpose::Table);
    let mut all = all.into_iter();
    all.by_ref().take(20).for_each(|block| allocator.give(block));
    set_cpu(CpuId::new(0));
    let found = fill(&allocator, &Placement::ANY, Purpose::Table);
    assert_eq!(found.len(), 20);
    found.into_iter().chain(all).for_each(|block| allocator.give(block));
}

proptest! {
    #[test]
    fn counts_are_exact_whatever_was_taken_where(
        steps in prop::collection::vec((0..3u8, 0..4u32, 0..4u8, any::<prop::sample::Index>()), 1..300)
    ) {
        let allocator = allocator();
        let mut taken: Vec<Block> = Vec::new();
        for (what, cpu, order, which) in steps {
            set_cpu(CpuId::new(cpu));
            let placement = Placement::on(nodes(&[u32::from(order) % NODES, 1]));
            match what {
                0 => taken.extend(allocator.take(&placement, Purpose::Page).ok()),
                1 => taken.extend(allocator.take_block(order, &placement).ok()),
                _ if taken.is_empty() => {}
                _ => allocator.give(taken.swap_remove(which.index(taken.len()))),
            }
            for node in 0..NODES {
                let out: u64 = taken.iter().filter(|block| block.node().raw() == node).map(Block::frames).sum();
                prop_assert_eq!(allocator.statistics(NodeId::new(node)).free, FRAMES - out);
            }
        }
        taken.into_iter().for_each(|block| allocator.give(block));
    }
}
