//! The metadata array, one entry a frame, and the numbers that name frames.

use super::Block;
use base::NodeId;
use core::num::NonZeroU32;

/// The number of a physical frame: its address / 4096. A number gives no right to the frame. Frame 0 is never used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrameNumber(pub(super) NonZeroU32);

impl FrameNumber {
    /// The number as such.
    pub const fn raw(self) -> u64 {
        self.0.get() as u64
    }

    /// The physical address of the frame's first byte.
    pub const fn address(self) -> u64 {
        self.raw() * super::FRAME_SIZE as u64
    }
}

/// Gives every frame that boot left free to `take`, in blocks as large as their alignment allows, once: later calls
/// give nothing. Called by the frame allocator when it starts.
pub fn hand_out(take: &mut dyn FnMut(Block)) {
    let _ = take;
    todo!()
}

/// One more than the largest frame number that has metadata.
pub fn limit() -> u64 {
    todo!()
}

pub(super) fn node_of(_number: FrameNumber) -> NodeId {
    todo!()
}
