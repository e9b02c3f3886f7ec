//! Blocks: frames in a row that one owner has, and the lists in which the allocator keeps free ones.

use super::metadata::{KEPT, at_address};
use super::{FRAME_SINK, FRAME_SIZE, Frame, FrameNumber, MAX_ORDER};
use crate::arch;
use base::NodeId;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// 2^order frames in a row, aligned to their size, that belong to whoever holds this value and to nobody else. They
/// are mapped nowhere but in the kernel's direct map. Dropped, they go to [`super::FRAME_SINK`].
#[derive(Debug)]
pub struct Block {
    first: FrameNumber,
    order: u8,
}

impl Block {
    /// A block made of a number.
    ///
    /// # Safety
    /// The 2^order frames from `first` on have metadata, are free and become this block's alone; `first` is a
    /// multiple of 2^order.
    pub(crate) unsafe fn new(first: FrameNumber, order: u8) -> Self {
        Self { first, order }
    }

    /// The number of the first frame.
    pub fn first(&self) -> FrameNumber {
        self.first
    }

    /// The order: the block has 2^order frames.
    pub fn order(&self) -> u8 {
        self.order
    }

    /// The number of frames.
    pub fn frames(&self) -> u64 {
        1 << self.order
    }

    /// The node whose memory this is.
    pub fn node(&self) -> NodeId {
        self.first.node()
    }

    /// The bytes of the block, whatever they are.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the frames lie in a row in the direct map, initialised as far as the machine is concerned (all of
        // memory is), and belong to this block alone, which is borrowed for as long as the slice lives.
        unsafe { core::slice::from_raw_parts_mut(self.first.bytes(), FRAME_SIZE << self.order) }
    }

    /// Sets all bytes to zero.
    pub fn zero(&mut self) {
        // SAFETY: the bytes are mapped for ever and this block's alone.
        unsafe { arch::frame::zero_frames(self.first.bytes(), FRAME_SIZE << self.order) }
    }

    /// The lower and the upper half. Panics for a block of order 0.
    pub fn split(self) -> (Block, Block) {
        let whole = ManuallyDrop::new(self);
        assert!(whole.order > 0, "a block of one frame has no halves");
        let order = whole.order - 1;
        // SAFETY: the upper half's first frame is one of the block's own, so it has metadata; `whole` is forgotten,
        // so each frame is again in one block only.
        unsafe { (Block::new(whole.first, order), Block::new(offset(whole.first, 1 << order), order)) }
    }

    /// The block of the next order that has `low` and `high` as its halves. Panics if they are no such pair.
    pub fn merge(low: Block, high: Block) -> Block {
        let (low, high) = (ManuallyDrop::new(low), ManuallyDrop::new(high));
        let size = 1 << low.order;
        assert!(
            low.order == high.order
                && low.order < MAX_ORDER
                && low.first.bits().is_multiple_of(2 * size)
                && high.first.bits() == low.first.bits() + size,
            "{low:?} and {high:?} are not the halves of a block"
        );
        // SAFETY: both halves are forgotten; together they are aligned frames in a row, as just checked.
        unsafe { Block::new(low.first, low.order + 1) }
    }

    /// A block of one frame as a counted reference. Panics for any other order.
    pub fn into_frame(self) -> Frame {
        let block = ManuallyDrop::new(self);
        assert!(block.order == 0, "{block:?} is more than one frame");
        block.first.entry().next.store(0, Relaxed);
        block.first.entry().count.store(1, Relaxed);
        // SAFETY: the one reference that was just counted.
        unsafe { Frame::from_number(block.first) }
    }

    /// Gives up the block for the address of its bytes in the kernel's direct map. Nothing is freed until
    /// [`Block::from_address`].
    pub fn into_address(self) -> *mut u8 {
        ManuallyDrop::new(self).first.bytes()
    }

    /// The block that [`Block::into_address`] gave up, or an aligned part of it.
    ///
    /// # Safety
    /// The 2^order frames at `address` were given up by `into_address`, were not taken back since, and no pointer
    /// into them is used any longer; their first number is a multiple of 2^order.
    pub unsafe fn from_address(address: *mut u8, order: u8) -> Block {
        let first = at_address(address).expect("the address of a block lies in the direct map");
        // SAFETY: as the caller says.
        unsafe { Block::new(first, order) }
    }

    /// Gives up the block for its number.
    pub(crate) fn into_number(self) -> FrameNumber {
        ManuallyDrop::new(self).first
    }

    /// Numbers of this frame's own, for as long as the block (of one frame) is given up for its number: page tables
    /// count in them. The third must be 0 again before the block is taken back.
    pub(crate) fn counters(number: FrameNumber) -> [&'static AtomicU32; 3] {
        let entry = number.entry();
        [&entry.next, &entry.previous, &entry.count]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(sink) = FRAME_SINK.get() {
            // SAFETY: this value ends here, so the copy is again the only one.
            sink.take(unsafe { Block::new(self.first, self.order) });
        }
    }
}

/// # Safety
/// There is metadata for the frame with this distance too.
unsafe fn offset(number: FrameNumber, frames: u32) -> FrameNumber {
    // SAFETY: the caller says that the number has metadata; it is larger than one that is not 0.
    unsafe { FrameNumber::new_unchecked(number.raw() + u64::from(frames)) }
}

/// The link of a list or stack, or 0.
fn link(first: Option<FrameNumber>) -> u32 {
    first.map_or(0, FrameNumber::bits)
}

/// # Safety
/// `link` is 0 or was made by [`link()`].
unsafe fn follow(link: u32) -> Option<FrameNumber> {
    // SAFETY: the caller says that it came from a `FrameNumber`.
    (link != 0).then(|| unsafe { FrameNumber::new_unchecked(link.into()) })
}

/// A list of free blocks of one order that can give up the neighbour of a given block. Blocks that are in it when it
/// is dropped are lost.
///
/// Invariant: the blocks whose metadata carries this list's number and order are those in the list, linked both ways
/// from `head`; each was pushed, so the list owns it.
#[derive(Debug)]
pub struct BlockList {
    head: Option<FrameNumber>,
    length: usize,
    order: u8,
    /// Tells the list's blocks from those of all others. 0 until the first push; `u16::MAX` when numbers ran out,
    /// then `take_buddy` finds nothing.
    number: u16,
}

impl BlockList {
    /// An empty list for blocks of `order`.
    pub const fn new(order: u8) -> Self {
        Self { head: None, length: 0, order, number: 0 }
    }

    /// The number of blocks.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Puts a block in. Panics if it is of another order.
    pub fn push(&mut self, block: Block) {
        assert!(block.order == self.order, "{block:?} in a list of order {}", self.order);
        if self.number == 0 {
            static NEXT: AtomicU32 = AtomicU32::new(1);
            self.number = NEXT.fetch_add(1, Relaxed).min(u16::MAX.into()) as u16;
        }
        let first = block.into_number();
        let entry = first.entry();
        entry.info.store(entry.info.load(Relaxed) & KEPT | self.mark(), Relaxed);
        entry.next.store(link(self.head), Relaxed);
        entry.previous.store(0, Relaxed);
        if let Some(head) = self.head {
            head.entry().previous.store(first.bits(), Relaxed);
        }
        self.head = Some(first);
        self.length += 1;
    }

    /// Takes a block out.
    pub fn pop(&mut self) -> Option<Block> {
        let first = self.head?;
        // SAFETY: the head is in this list.
        Some(unsafe { self.remove(first) })
    }

    /// Takes out the block that [`Block::merge`] can join with `block`, if it is in this list.
    pub fn take_buddy(&mut self, block: &Block) -> Option<Block> {
        if block.order != self.order || self.number == u16::MAX {
            return None;
        }
        let buddy = FrameNumber::new((block.first.bits() ^ (1 << self.order)).into())?;
        // Another list may change the entry meanwhile, but only this one, borrowed here, writes this mark.
        let info = buddy.entry().info.load(Relaxed);
        if self.number == 0 || info & !KEPT != self.mark() {
            return None;
        }
        // SAFETY: the mark says that it is in this list.
        Some(unsafe { self.remove(buddy) })
    }

    fn mark(&self) -> u32 {
        u32::from(self.number) << 16 | u32::from(self.order) << 12
    }

    /// # Safety
    /// The block at `first` is in this list.
    unsafe fn remove(&mut self, first: FrameNumber) -> Block {
        let entry = first.entry();
        // SAFETY: the links of a block in the list are those that `push` and `remove` of this list stored.
        let (previous, next) = unsafe { (follow(entry.previous.load(Relaxed)), follow(entry.next.load(Relaxed))) };
        match previous {
            Some(previous) => previous.entry().next.store(link(next), Relaxed),
            None => self.head = next,
        }
        if let Some(next) = next {
            next.entry().previous.store(link(previous), Relaxed);
        }
        entry.info.store(entry.info.load(Relaxed) & KEPT, Relaxed);
        self.length -= 1;
        // SAFETY: by the list's invariant it owned the block, and no longer does.
        unsafe { Block::new(first, self.order) }
    }
}

/// A stack of free blocks of one frame each. What is in it when it is dropped goes to [`super::FRAME_SINK`].
///
/// Invariant: the frames linked from `head` were pushed, so the stack owns them.
#[derive(Debug, Default)]
pub struct BlockStack {
    head: Option<FrameNumber>,
    length: usize,
}

impl BlockStack {
    /// An empty stack.
    pub const fn new() -> Self {
        Self { head: None, length: 0 }
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Puts a block on top. Panics unless it is of order 0.
    pub fn push(&mut self, block: Block) {
        assert!(block.order == 0, "{block:?} is more than one frame");
        let first = block.into_number();
        first.entry().next.store(link(self.head), Relaxed);
        self.head = Some(first);
        self.length += 1;
    }

    /// Takes the one that was put last.
    pub fn pop(&mut self) -> Option<Block> {
        let first = self.head?;
        // SAFETY: the link of a frame in the stack is the one that `push` stored.
        self.head = unsafe { follow(first.entry().next.load(Relaxed)) };
        self.length -= 1;
        // SAFETY: by the stack's invariant it owned the frame, and no longer does.
        Some(unsafe { Block::new(first, 0) })
    }
}

impl Drop for BlockStack {
    fn drop(&mut self) {
        while let Some(block) = self.pop() {
            drop(block);
        }
    }
}
