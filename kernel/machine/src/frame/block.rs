//! Blocks: frames in a row that one owner has, and the lists in which the allocator keeps free ones.

use super::{Frame, FrameNumber, metadata};
use base::NodeId;

/// 2^order frames in a row, aligned to their size, that belong to whoever holds this value and to nobody else. They
/// are mapped nowhere. Dropped, they go to [`super::FRAME_SINK`].
#[derive(Debug)]
pub struct Block {
    first: FrameNumber,
    order: u8,
}

impl Block {
    /// The number of the first frame.
    pub fn first(&self) -> FrameNumber {
        self.first
    }

    /// The order: the block has 2^order frames.
    pub fn order(&self) -> u8 {
        self.order
    }

    /// The node whose memory this is.
    pub fn node(&self) -> NodeId {
        metadata::node_of(self.first)
    }

    /// The bytes of the block, whatever they are.
    pub fn bytes(&mut self) -> &mut [u8] {
        todo!()
    }

    /// Sets all bytes to zero.
    pub fn zero(&mut self) {
        todo!()
    }

    /// The lower and the upper half. Panics for a block of order 0.
    pub fn split(self) -> (Block, Block) {
        todo!()
    }

    /// The block of the next order that has `low` and `high` as its halves. Panics if they are no such pair.
    pub fn merge(low: Block, high: Block) -> Block {
        let _ = (low, high);
        todo!()
    }

    /// A block of one frame as a counted reference. Panics for any other order.
    pub fn into_frame(self) -> Frame {
        todo!()
    }

    /// Gives up the block for the address of its bytes in the kernel's direct map. Nothing is freed until
    /// [`Block::from_address`].
    pub fn into_address(self) -> *mut u8 {
        todo!()
    }

    /// The block that [`Block::into_address`] gave up, or an aligned part of it.
    ///
    /// # Safety
    /// The 2^order frames at `address` were given up by `into_address`, were not taken back since, and no pointer
    /// into them is used any longer.
    pub unsafe fn from_address(address: *mut u8, order: u8) -> Block {
        let _ = (address, order);
        todo!()
    }
}

/// A list of free blocks of one order that can give up the neighbour of a given block.
#[derive(Debug)]
pub struct BlockList {
    _head: u32,
}

impl BlockList {
    /// An empty list for blocks of `order`.
    pub const fn new(order: u8) -> Self {
        let _ = order;
        Self { _head: 0 }
    }

    /// The number of blocks.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a block in. Panics if it is of another order.
    pub fn push(&mut self, block: Block) {
        let _ = block;
        todo!()
    }

    /// Takes a block out.
    pub fn pop(&mut self) -> Option<Block> {
        todo!()
    }

    /// Takes out the block that [`Block::merge`] can join with `block`, if it is in this list.
    pub fn take_buddy(&mut self, block: &Block) -> Option<Block> {
        let _ = block;
        todo!()
    }
}

/// A stack of free blocks of one frame each.
#[derive(Debug)]
pub struct BlockStack {
    _head: u32,
}

impl BlockStack {
    /// An empty stack.
    pub const fn new() -> Self {
        Self { _head: 0 }
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a block on top. Panics unless it is of order 0.
    pub fn push(&mut self, block: Block) {
        let _ = block;
        todo!()
    }

    /// Takes the one that was put last.
    pub fn pop(&mut self) -> Option<Block> {
        todo!()
    }
}

impl Default for BlockStack {
    fn default() -> Self {
        Self::new()
    }
}
