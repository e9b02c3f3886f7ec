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
/// Zeroed frames that an idle CPU keeps ready.
const ZEROED: usize = 64;

/// The cache of one CPU.
pub(super) struct CpuCache {
    /// The CPU's node.
    pub(super) node: NodeId,
    nodes: Box<[Stacks]>,
}

#[derive(Default)]
struct Stacks {
    any: BlockStack,
    zeroed: BlockStack,
}

/// A frame, and whether its bytes are known to be zero.
pub(super) struct Found {
    pub(super) block: Block,
    pub(super) zeroed: bool,
}

impl CpuCache {
    pub(super) fn new(node: NodeId, nodes: usize) -> Self {
        Self { node, nodes: (0..nodes).map(|_| Stacks::default()).collect() }
    }

    /// The number of frames of `node`.
    pub(super) fn len(&self, node: NodeId) -> usize {
        self.nodes.get(node.index()).map_or(0, |stacks| stacks.any.len() + stacks.zeroed.len())
    }

    /// Takes a frame of `node`; prefers a zeroed one if `zeroed`, else keeps those for others.
    pub(super) fn take(&mut self, node: NodeId, zeroed: bool) -> Option<Found> {
        let stacks = self.nodes.get_mut(node.index())?;
        let known = |block| Found { block, zeroed: true };
        let unknown = |block| Found { block, zeroed: false };
        if zeroed {
            return stacks.zeroed.pop().map(known).or_else(|| stacks.any.pop().map(unknown));
        }
        stacks.any.pop().map(unknown).or_else(|| stacks.zeroed.pop().map(known))
    }

    /// Takes a batch from the node's free frames, all but `reserve`.
    pub(super) fn refill(&mut self, node: NodeId, buddy: &mut Buddy, reserve: u64) {
        let Some(stacks) = self.nodes.get_mut(node.index()) else { return };
        for _ in 0..BATCH {
            if buddy.free() <= reserve {
                return;
            }
            let Some(block) = buddy.take(0) else { return };
            stacks.any.push(block);
        }
    }

    /// Puts a frame in. `true`: there are so many now that [`CpuCache::drain`] is due.
    pub(super) fn give(&mut self, block: Block) -> bool {
        let stacks = &mut self.nodes[block.node().index()];
        stacks.any.push(block);
        stacks.any.len() > MOST
    }

    /// Gives a batch back to the node.
    pub(super) fn drain(&mut self, node: NodeId, buddy: &mut Buddy) {
        let Some(stacks) = self.nodes.get_mut(node.index()) else { return };
        (0..BATCH).map_while(|_| stacks.any.pop()).for_each(|block| buddy.give(block));
    }

    /// Gives everything back to the node.
    pub(super) fn empty(&mut self, node: NodeId, buddy: &mut Buddy) {
        let Some(stacks) = self.nodes.get_mut(node.index()) else { return };
        core::iter::from_fn(|| stacks.any.pop().or_else(|| stacks.zeroed.pop())).for_each(|block| buddy.give(block));
    }

    /// Takes a frame of the CPU's own node to be zeroed, if there are few that are.
    pub(super) fn take_to_zero(&mut self) -> Option<Block> {
        let stacks = self.nodes.get_mut(self.node.index())?;
        if stacks.zeroed.len() < ZEROED { stacks.any.pop() } else { None }
    }

    /// Puts a frame in whose bytes are zero.
    pub(super) fn give_zeroed(&mut self, block: Block) {
        self.nodes[block.node().index()].zeroed.push(block);
    }
}
