//! The free frames that one CPU keeps for itself, by node: most frames are taken and given without a lock that
//! another CPU wants. What it gave of each node is counted here too.

use super::{NodeTraffic, buddy::Buddy};
use alloc::boxed::Box;
use base::NodeId;
use machine::frame::{Block, BlockStack};

/// Frames that go between a cache and its node at once.
pub(super) const BATCH: usize = 32;
/// Frames of one node that a cache may hold; more go back.
pub(super) const MOST: usize = 2 * BATCH;

/// The cache of one CPU.
pub(super) struct CpuCache {
    /// The CPU's node.
    pub(super) node: NodeId,
    nodes: Box<[Share]>,
}

/// What a CPU has of one node, and what was given through it since boot.
#[derive(Default)]
struct Share {
    free: BlockStack,
    given: u64,
    /// Of those, where another node was asked first.
    missed: u64,
    /// How often another node had to help out.
    foreign: u64,
    /// Of those given that were asked for here, those of who goes round several nodes.
    interleaved: u64,
}

impl CpuCache {
    pub(super) fn new(node: NodeId, nodes: usize) -> Self {
        Self { node, nodes: (0..nodes).map(|_| Share::default()).collect() }
    }

    /// The number of frames of `node`.
    pub(super) fn len(&self, node: NodeId) -> usize {
        self.nodes.get(node.index()).map_or(0, |share| share.free.len())
    }

    /// Takes a frame of `node`, and counts it.
    pub(super) fn take(&mut self, node: NodeId) -> Option<Block> {
        let share = self.nodes.get_mut(node.index())?;
        let found = share.free.pop()?;
        share.given += 1;
        Some(found)
    }

    /// Counts a block that was taken from `node` itself.
    pub(super) fn count(&mut self, node: NodeId) {
        if let Some(share) = self.nodes.get_mut(node.index()) {
            share.given += 1;
        }
    }

    /// Notes whether what was given of `node` was wanted there, or would rather have been had from `first`.
    pub(super) fn note(&mut self, node: NodeId, first: NodeId, interleaves: bool) {
        if node != first {
            let [given, wanted] = [node, first].map(NodeId::index);
            self.nodes[given].missed += 1;
            self.nodes[wanted].foreign += 1;
        } else if interleaves {
            self.nodes[node.index()].interleaved += 1;
        }
    }

    /// Adds what was given here of `node`, and not given though it was asked for.
    pub(super) fn add_to(&self, node: NodeId, sum: &mut NodeTraffic) {
        let Some(share) = self.nodes.get(node.index()) else { return };
        sum.hits += share.given - share.missed;
        sum.misses += share.missed;
        sum.foreign += share.foreign;
        sum.interleaved += share.interleaved;
        *if node == self.node { &mut sum.local } else { &mut sum.other } += share.given;
    }

    /// Takes a batch from the node's free frames, all but `reserve`.
    pub(super) fn refill(&mut self, node: NodeId, buddy: &mut Buddy, reserve: u64) {
        let Some(Share { free: stack, .. }) = self.nodes.get_mut(node.index()) else { return };
        let spare = buddy.free().saturating_sub(reserve);
        buddy.take_frames(spare.min(BATCH as u64), stack);
    }

    /// Puts a frame in. `true`: there are so many now that [`CpuCache::drain`] is due.
    pub(super) fn give(&mut self, block: Block) -> bool {
        let stack = &mut self.nodes[block.node().index()].free;
        stack.push(block);
        stack.len() > MOST
    }

    /// Gives a batch back to the node.
    pub(super) fn drain(&mut self, node: NodeId, buddy: &mut Buddy) {
        let Some(Share { free: stack, .. }) = self.nodes.get_mut(node.index()) else { return };
        (0..BATCH).map_while(|_| stack.pop()).for_each(|block| buddy.give(block));
    }

    /// Gives everything back to the node.
    pub(super) fn empty(&mut self, node: NodeId, buddy: &mut Buddy) {
        let Some(Share { free: stack, .. }) = self.nodes.get_mut(node.index()) else { return };
        core::iter::from_fn(|| stack.pop()).for_each(|block| buddy.give(block));
    }
}
