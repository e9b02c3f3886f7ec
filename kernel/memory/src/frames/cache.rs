//! The free frames that one CPU keeps for itself, by node: most frames are taken and given without a lock that
//! another CPU wants.

use super::buddy::Buddy;
use alloc::boxed::Box;
use base::NodeId;
use machine::frame::{Block, BlockStack};

/// Frames that go between a cache and its node at once.
const BATCH: usize = 32;
/// Frames of one node that a cache may hold; more go back.
const MOST: usize = 2 * BATCH;

/// The cache of one CPU.
pub(super) struct CpuCache {
    /// The CPU's node.
    pub(super) node: NodeId,
    nodes: Box<[BlockStack]>,
}

impl CpuCache {
    pub(super) fn new(node: NodeId, nodes: usize) -> Self {
        Self { node, nodes: (0..nodes).map(|_| BlockStack::default()).collect() }
    }

    /// The number of frames of `node`.
    pub(super) fn len(&self, node: NodeId) -> usize {
        self.nodes.get(node.index()).map_or(0, BlockStack::len)
    }

    /// Takes a frame of `node`.
    pub(super) fn take(&mut self, node: NodeId) -> Option<Block> {
        self.nodes.get_mut(node.index())?.pop()
    }

    /// Takes a batch from the node's free frames, all but `reserve`.
    pub(super) fn refill(&mut self, node: NodeId, buddy: &mut Buddy, reserve: u64) {
        let Some(stack) = self.nodes.get_mut(node.index()) else { return };
        let spare = buddy.free().saturating_sub(reserve);
        buddy.take_frames(spare.min(BATCH as u64), stack);
    }

    /// Puts a frame in. `true`: there are so many now that [`CpuCache::drain`] is due.
    pub(super) fn give(&mut self, block: Block) -> bool {
        let stack = &mut self.nodes[block.node().index()];
        stack.push(block);
        stack.len() > MOST
    }

    /// Gives a batch back to the node.
    pub(super) fn drain(&mut self, node: NodeId, buddy: &mut Buddy) {
        let Some(stack) = self.nodes.get_mut(node.index()) else { return };
        (0..BATCH).map_while(|_| stack.pop()).for_each(|block| buddy.give(block));
    }

    /// Gives everything back to the node.
    pub(super) fn empty(&mut self, node: NodeId, buddy: &mut Buddy) {
        let Some(stack) = self.nodes.get_mut(node.index()) else { return };
        core::iter::from_fn(|| stack.pop()).for_each(|block| buddy.give(block));
    }
}
