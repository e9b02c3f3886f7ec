//! The frame allocator: the free frames of each node, with caches for each CPU.
//!
//! A frame comes from the cache of the current CPU; an empty cache takes a batch from its node's blocks (`buddy`), a
//! full one gives a batch back. If the first node has none, the others follow by distance, inside the nodes that the
//! [`Placement`] allows. Before anything is refused, the caches of all CPUs are emptied. Pages of user programs leave
//! the last frames of a node alone, so that memory that one program fills does not stop the kernel (`shortage`).

mod buddy;
mod cache;
mod shortage;

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
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use machine::cpu::PerCpu;
use machine::frame::{self, Block, BlockStack, FRAME_SINK, FRAME_SOURCE, Frame, FrameSink, FrameSource};
use machine::sync::{Hook, IrqLock, rank};
use machine::topology::{self, Topology};
use shortage::Purpose;

pub(crate) use shortage::heap_has_grown;
pub use shortage::{are_low, are_short, describe};

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

/// All free frames of a machine.
pub struct FrameAllocator {
    nodes: [NodeFrames; MAX_NODES],
    /// What needs the heap and the topology; until it is there, frames come from the nodes in their order.
    caches: Hook<Caches>,
    /// A node had little left when something was taken of it.
    low: AtomicBool,
    /// The frames of all nodes, free or not.
    installed: AtomicU64,
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
            low: AtomicBool::new(false),
            installed: AtomicU64::new(0),
        }
    }

    /// Gives the allocator frames that it has not had before.
    pub fn add(&self, block: Block) {
        let node = &self.nodes[block.node().index()];
        node.total.fetch_add(block.frames(), Relaxed);
        self.installed.fetch_add(block.frames(), Relaxed);
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
        let Some(frames) = self.nodes.get(node.index()).filter(|frames| frames.total.load(Relaxed) > 0) else {
            return NodeStatistics::default();
        };
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
            reserve: frames.reserve(Purpose::Page),
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
    #[inline]
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
                let mut buddy = frames.buddy.lock();
                cache.refill(node, &mut buddy, frames.reserve(purpose));
                self.note_left(frames, &buddy);
                drop(buddy);
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
        let take = |node: NodeId| {
            let frames = self.nodes.get(node.index())?;
            let mut buddy = frames.buddy.lock();
            let found = buddy.take(order);
            self.note_left(frames, &buddy);
            found
        };
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
#[inline]
fn take_for_user(placement: &Placement) -> Result<Block, Errno> {
    loop {
        let found = ALLOCATOR.take(placement, Purpose::Page);
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

/// One frame for a page table of a program, of any bytes; may use up half of what is kept back.
///
/// Errors: `ENOMEM`.
pub fn allocate_table(placement: &Placement) -> Result<Block, Errno> {
    ALLOCATOR.take(placement, Purpose::Table)
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
    ALLOCATOR.sum().0
}

/// The frames that there are, free or not: the `total` of [`total`], for those who ask often.
pub fn installed() -> u64 {
    ALLOCATOR.installed.load(Relaxed)
}

/// Frames that pages of programs leave to the kernel, on all nodes together.
pub fn reserve() -> u64 {
    ALLOCATOR.sum().1
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
mod tests;
