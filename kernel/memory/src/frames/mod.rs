//! The frame allocator: the free frames of each node, with caches for each CPU.
//!
//! A frame comes from the cache of the current CPU; an empty cache takes a batch from its node's blocks (`buddy`), a
//! full one gives a batch back. If the first node has none, the others follow by distance, inside the nodes that the
//! [`Placement`] allows. Before anything is refused, the caches of all CPUs are emptied. Pages of user programs leave
//! the last frames of a node alone, so that memory that one program fills does not stop the kernel.

mod buddy;
mod cache;

use crate::{
    Placement,
    placement::{self, PLACEMENT},
    reclaim,
};
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::{CpuId, Errno, MAX_NODES, NodeId};
use buddy::{Buddy, ORDERS};
use cache::CpuCache;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::cpu::PerCpu;
use machine::frame::{self, Block, BlockStack, FRAME_SINK, FRAME_SOURCE, Frame, FrameSink, FrameSource};
use machine::sync::{Hook, IrqLock, rank};
use machine::topology::{self, Topology};

/// The frames of one node, exact when nobody allocates at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NodeStatistics {
    /// Frames that the allocator was given at boot.
    pub total: u64,
    /// Frames that are free, those in the caches of CPUs included.
    pub free: u64,
}

/// The free frames of one node in detail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeShape {
    /// Blocks of 2^n frames that lie side by side, by n; frames in the caches of CPUs are in none.
    pub blocks: [u64; ORDERS],
    /// Frames in the cache of each CPU.
    pub cached: Vec<(CpuId, u64)>,
    /// Frames that go between a cache and the node at once, and those that a cache may hold.
    pub cache_sizes: (u64, u64),
    /// Frames that pages of programs leave to the kernel.
    pub reserve: u64,
}

/// How often frames of one node were given since boot, and for whom, in the terms of `numastat(8)`. A block counts once.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NodeTraffic {
    /// Given, and no other node was wanted more.
    pub hits: u64,
    /// Given to who wanted another node first.
    pub misses: u64,
    /// Wanted first, but another node had to give.
    pub foreign: u64,
    /// Of the hits, those of who goes round several nodes in turn.
    pub interleaved: u64,
    /// Given on a CPU of the node.
    pub local: u64,
    /// Given on a CPU of another node.
    pub other: u64,
}

/// Copies of files that are dropped at once when a program's page can't be had.
const RECLAIMED: usize = 64;

/// Who wants frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// A page of a program: may not take the node's last frames.
    User,
    /// The kernel's own need.
    Kernel,
}

/// All free frames of a machine.
pub struct FrameAllocator {
    nodes: [NodeFrames; MAX_NODES],
    /// What needs the heap and the topology; until it is there, frames come from the nodes in their order.
    caches: Hook<Caches>,
}

struct NodeFrames {
    buddy: IrqLock<Buddy>,
    total: AtomicU64,
}

struct Caches {
    cpus: PerCpu<IrqLock<CpuCache>>,
    /// For each node, all that have memory, nearest first.
    nearest: Vec<Vec<NodeId>>,
}

/// The frames of this machine.
static ALLOCATOR: FrameAllocator = FrameAllocator::new();

impl FrameAllocator {
    /// An allocator without frames.
    pub const fn new() -> Self {
        Self {
            nodes: [const { NodeFrames { buddy: IrqLock::new(rank::FRAMES, Buddy::new()), total: AtomicU64::new(0) } };
                MAX_NODES],
            caches: Hook::new(),
        }
    }

    /// Gives the allocator frames that it has not had before.
    pub fn add(&self, block: Block) {
        let node = &self.nodes[block.node().index()];
        node.total.fetch_add(block.frames(), Relaxed);
        node.buddy.lock().give(block);
    }

    /// Starts the caches of the CPUs. Called once.
    pub fn start_caches(&self, topology: &Topology) {
        let nodes = topology.nodes.len().max(1);
        let caches = Caches {
            cpus: PerCpu::new(|cpu| IrqLock::new(rank::FRAME_CACHE, CpuCache::new(topology.node_of(cpu), nodes))),
            nearest: (0..nodes).map(|node| self.nearest(topology, NodeId::new(node as u32))).collect(),
        };
        self.caches.install(Box::leak(Box::new(caches)));
    }

    fn nearest(&self, topology: &Topology, from: NodeId) -> Vec<NodeId> {
        let nodes = (0..topology.nodes.len().max(1)).filter(|&node| self.nodes[node].total.load(Relaxed) > 0);
        let mut nodes: Vec<NodeId> = nodes.map(|node| NodeId::new(node as u32)).collect();
        nodes.sort_by_key(|&node| (topology.distance(from, node), node != from));
        nodes
    }

    /// The counts of one node.
    pub fn statistics(&self, node: NodeId) -> NodeStatistics {
        let Some(frames) = self.nodes.get(node.index()) else { return NodeStatistics::default() };
        let cached = self
            .caches
            .get()
            .map_or(0, |caches| caches.cpus.iter().map(|(_, cache)| cache.lock().len(node) as u64).sum());
        NodeStatistics { total: frames.total.load(Relaxed), free: frames.buddy.lock().free() + cached }
    }

    /// How the free frames of one node lie. `None` for a node that there can't be.
    pub fn shape(&self, node: NodeId) -> Option<NodeShape> {
        let frames = self.nodes.get(node.index())?;
        let cached =
            |caches: &Caches| caches.cpus.iter().map(|(cpu, cache)| (cpu, cache.lock().len(node) as u64)).collect();
        Some(NodeShape {
            blocks: frames.buddy.lock().blocks(),
            cached: self.caches.get().map(cached).unwrap_or_default(),
            cache_sizes: (cache::BATCH as u64, cache::MOST as u64),
            reserve: frames.reserve(Purpose::User),
        })
    }

    /// What was given of one node.
    pub fn traffic(&self, node: NodeId) -> NodeTraffic {
        let mut sum = NodeTraffic::default();
        if let Some(caches) = self.caches.get() {
            caches.cpus.iter().for_each(|(_, cache)| cache.lock().add_to(node, &mut sum));
        }
        sum
    }

    /// Takes one frame.
    fn take(&self, placement: &Placement, purpose: Purpose) -> Result<Block, Errno> {
        let Some(caches) = self.caches.get() else {
            return self.take_block(0, placement);
        };
        let mut first = None;
        let mut take = |node: NodeId| {
            let first = *first.get_or_insert(node);
            let mut cache = caches.cpus.here().lock();
            let found = cache.take(node).or_else(|| {
                let frames = &self.nodes[node.index()];
                cache.refill(node, &mut frames.buddy.lock(), frames.reserve(purpose));
                cache.take(node)
            })?;
            cache.note(node, first, placement.interleaves);
            Some(found)
        };
        let local = {
            let mut cache = caches.cpus.here().lock();
            let local = cache.node;
            // Mostly the best node may be used and has one here. Every node is the nearest to itself.
            let best = placement.preferred.unwrap_or(local);
            if placement.prefers(best)
                && let Some(found) = cache.take(best)
            {
                cache.note(best, best, placement.interleaves);
                return Ok(found);
            }
            local
        };
        caches
            .order(placement, local)
            .find_map(&mut take)
            .or_else(|| {
                self.empty_caches(caches);
                caches.order(placement, local).find_map(take)
            })
            .ok_or(Errno::ENOMEM)
    }

    /// Takes up to `most` frames from the best node that is allowed, and leaves it a quarter of its frames.
    fn take_ahead(&self, placement: &Placement, most: usize) -> BlockStack {
        let mut taken = BlockStack::new();
        let Some(caches) = self.caches.get() else { return taken };
        let mut cache = caches.cpus.here().lock();
        let best = placement.preferred.unwrap_or(cache.node);
        if !placement.prefers(best) {
            return taken;
        }
        let frames = &self.nodes[best.index()];
        while taken.len() < most {
            if cache.len(best) == 0 {
                cache.refill(best, &mut frames.buddy.lock(), frames.total.load(Relaxed) / 4);
            }
            let Some(block) = cache.take(best) else { break };
            cache.note(best, best, placement.interleaves);
            taken.push(block);
        }
        taken
    }

    /// Takes 2^order frames in a row, for the kernel.
    fn take_block(&self, order: u8, placement: &Placement) -> Result<Block, Errno> {
        let take = |node: NodeId| self.nodes.get(node.index())?.buddy.lock().take(order);
        let Some(caches) = self.caches.get() else {
            return placement.allowed.iter().find_map(take).ok_or(Errno::ENOMEM);
        };
        let local = caches.cpus.here().lock().node;
        let mut first = None;
        let mut take = |node: NodeId| {
            let first = *first.get_or_insert(node);
            let found = take(node)?;
            let mut cache = caches.cpus.here().lock();
            cache.count(node);
            cache.note(node, first, placement.interleaves);
            Some(found)
        };
        caches
            .order(placement, local)
            .find_map(&mut take)
            .or_else(|| {
                self.empty_caches(caches);
                caches.order(placement, local).find_map(take)
            })
            .ok_or(Errno::ENOMEM)
    }

    /// Takes back a block of any order.
    fn give(&self, block: Block) {
        let node = block.node();
        let frames = &self.nodes[node.index()];
        match self.caches.get() {
            Some(caches) if block.order() == 0 && node.index() < caches.nearest.len() => {
                let mut cache = caches.cpus.here().lock();
                if cache.give(block) {
                    cache.drain(node, &mut frames.buddy.lock());
                }
            }
            _ => frames.buddy.lock().give(block),
        }
    }

    fn empty_caches(&self, caches: &Caches) {
        for (_, cache) in caches.cpus.iter() {
            let mut cache = cache.lock();
            for (node, frames) in self.nodes.iter().enumerate().take(caches.nearest.len()) {
                let node = NodeId::new(node as u32);
                if cache.len(node) > 0 {
                    cache.empty(node, &mut frames.buddy.lock());
                }
            }
        }
    }
}

impl Default for FrameAllocator {
    fn default() -> Self {
        Self::new()
    }
}

impl NodeFrames {
    /// Frames that must stay.
    fn reserve(&self, purpose: Purpose) -> u64 {
        match purpose {
            Purpose::User => (self.total.load(Relaxed) / 64).min(1024),
            Purpose::Kernel => 0,
        }
    }
}

impl Caches {
    /// The allowed nodes in the order in which they are tried.
    fn order<'a>(&'a self, placement: &'a Placement, local: NodeId) -> impl Iterator<Item = NodeId> + 'a {
        let origin = placement.preferred.unwrap_or(local);
        let nearest = self.nearest.get(origin.index()).or(self.nearest.first());
        let allowed = nearest.into_iter().flatten().copied().filter(|node| placement.allowed.contains(*node));
        allowed.clone().filter(|node| placement.prefers(*node)).chain(allowed.filter(|node| !placement.prefers(*node)))
    }
}

impl FrameSink for FrameAllocator {
    fn take(&self, block: Block) {
        self.give(block);
    }
}

impl FrameSource for FrameAllocator {
    fn block(&self, order: u8, node: Option<NodeId>) -> Result<Block, Errno> {
        self.take_block(order, &Placement { preferred: node, ..placement::kernel() })
    }
}

/// A frame whose bytes may be anything, on the best node that `placement` allows.
///
/// Errors: `ENOMEM` no allowed node has one to spare (some are kept back for the kernel's own needs).
pub fn allocate(placement: &Placement) -> Result<Frame, Errno> {
    Ok(take_for_user(placement)?.into_frame())
}

/// A frame for a page of a program. Where none is left, copies of files are dropped: first those of who has
/// more than its soft limit.
fn take_for_user(placement: &Placement) -> Result<Block, Errno> {
    loop {
        let found = ALLOCATOR.take(placement, Purpose::User);
        if found.is_ok() {
            return found;
        }
        if let Some(source) = PLACEMENT.get() {
            source.reclaims();
        }
        if reclaim::for_shortage(placement.allowed, RECLAIMED) == 0 {
            return found;
        }
    }
}

/// A frame of zero bytes; else like [`allocate`].
///
/// Errors: `ENOMEM`.
pub fn allocate_zeroed(placement: &Placement) -> Result<Frame, Errno> {
    let mut block = take_for_user(placement)?;
    block.zero();
    Ok(block.into_frame())
}

/// Up to `most` frames of any bytes for pages of programs that nobody has asked for yet, on the best node that `placement`
/// allows; fewer or none where less than a quarter of the node's frames is free.
pub(crate) fn allocate_ahead(placement: &Placement, most: usize) -> BlockStack {
    ALLOCATOR.take_ahead(placement, most)
}

/// One frame for the kernel's own use, of any bytes; may use up what is kept back.
///
/// Errors: `ENOMEM`.
pub fn allocate_kernel(placement: &Placement) -> Result<Block, Errno> {
    ALLOCATOR.take(placement, Purpose::Kernel)
}

/// 2^order frames in a row for the kernel's own use; may use up what is kept back.
///
/// Errors: `ENOMEM`.
pub fn allocate_block(order: u8, placement: &Placement) -> Result<Block, Errno> {
    ALLOCATOR.take_block(order, placement)
}

/// The counts of one node; zero for a node that has no memory.
pub fn statistics(node: NodeId) -> NodeStatistics {
    ALLOCATOR.statistics(node)
}

/// How the free frames of one node lie.
pub fn shape(node: NodeId) -> Option<NodeShape> {
    ALLOCATOR.shape(node)
}

/// What was given of one node since the caches of the CPUs started, early at boot.
pub fn traffic(node: NodeId) -> NodeTraffic {
    ALLOCATOR.traffic(node)
}

/// The counts of all nodes together.
pub fn total() -> NodeStatistics {
    let nodes = (0..MAX_NODES as u32).map(|node| statistics(NodeId::new(node)));
    nodes.fold(NodeStatistics::default(), |sum, node| NodeStatistics {
        total: sum.total + node.total,
        free: sum.free + node.free,
    })
}

/// Frames that pages of programs leave to the kernel, on all nodes together.
pub fn reserve() -> u64 {
    ALLOCATOR.nodes.iter().map(|node| node.reserve(Purpose::User)).sum()
}

/// Takes all frames that boot left, and becomes the one that gives and takes frames.
pub(crate) fn init() {
    frame::hand_out(&mut |block| ALLOCATOR.add(block));
    FRAME_SINK.install(&ALLOCATOR);
    FRAME_SOURCE.install(&ALLOCATOR);
}

/// Starts the CPUs' caches, when there is a heap to hold them.
pub(crate) fn start_caches() {
    ALLOCATOR.start_caches(topology::get());
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{CpuId, NodeSet};
    use machine::host::{even_topology, fresh_frames, set_cpu};
    use proptest::prelude::*;

    const NODES: u32 = 3;
    const FRAMES: u64 = 128;

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
        let all = fill(&allocator, &placement, Purpose::Kernel);
        let order: Vec<u32> = all.iter().map(|block| block.node().raw()).collect();
        assert_eq!(order, [[2; FRAMES as usize], [1; FRAMES as usize]].concat());
        assert_eq!(allocator.statistics(NodeId::new(0)), NodeStatistics { total: FRAMES, free: FRAMES });
        all.into_iter().for_each(|block| allocator.give(block));
    }

    #[test]
    fn some_of_the_allowed_nodes_can_come_before_nearer_ones() {
        let allocator = allocator();
        set_cpu(CpuId::new(0));
        let placement = Placement { first: nodes(&[2]), ..Placement::on(nodes(&[1, 2])) };
        let all = fill(&allocator, &placement, Purpose::Kernel);
        let order: Vec<u32> = all.iter().map(|block| block.node().raw()).collect();
        assert_eq!(order, [[2; FRAMES as usize], [1; FRAMES as usize]].concat());
        all.into_iter().for_each(|block| allocator.give(block));
    }

    #[test]
    fn what_is_given_is_counted_by_who_wanted_it_where() {
        let allocator = allocator();
        set_cpu(CpuId::new(0));
        let all = nodes(&[0, 1, 2]);
        let on = |node| Placement { preferred: Some(NodeId::new(node)), ..Placement::on(all) };
        let rounds = FRAMES + 3;
        let far: Vec<Block> = (0..rounds).map(|_| allocator.take(&on(2), Purpose::Kernel).unwrap()).collect();
        let near = allocator.take_block(2, &on(0)).unwrap();
        let turn = allocator.take(&Placement { interleaves: true, ..on(1) }, Purpose::User).unwrap();
        let helper = far.last().unwrap().node();
        let helped = |node: u32| if helper.raw() == node { 3 } else { 0 };
        let traffic = |node| allocator.traffic(NodeId::new(node));
        let hits = |hits, other| NodeTraffic { hits, other, ..NodeTraffic::default() };
        assert_eq!(traffic(2), NodeTraffic { foreign: 3, ..hits(FRAMES, FRAMES) });
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
    fn programs_leave_the_last_frames_to_the_kernel() {
        let allocator = allocator();
        let pages = fill(&allocator, &Placement::ANY, Purpose::User);
        assert_eq!(pages.len() as u64, u64::from(NODES) * (FRAMES - FRAMES / 64));
        let rest = fill(&allocator, &Placement::ANY, Purpose::Kernel);
        assert_eq!(rest.len() as u64, u64::from(NODES) * FRAMES / 64);
        pages.into_iter().chain(rest).for_each(|block| allocator.give(block));
    }

    #[test]
    fn frames_in_the_caches_of_other_cpus_are_found_before_anything_is_refused() {
        let allocator = allocator();
        set_cpu(CpuId::new(3));
        let all = fill(&allocator, &Placement::ANY, Purpose::Kernel);
        let mut all = all.into_iter();
        all.by_ref().take(20).for_each(|block| allocator.give(block));
        set_cpu(CpuId::new(0));
        let found = fill(&allocator, &Placement::ANY, Purpose::Kernel);
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
                    0 => taken.extend(allocator.take(&placement, Purpose::User).ok()),
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
}
