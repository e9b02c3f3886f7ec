//! Counted references to a frame.

use super::{Block, FrameNumber, metadata};
use base::NodeId;

/// A counted reference to one physical frame: a clone counts one more, a drop one less, and the last drop gives the
/// frame to [`super::FRAME_SINK`]. The bytes may be changed by others at any moment.
#[derive(Debug)]
pub struct Frame {
    number: FrameNumber,
}

impl Frame {
    /// The number of the frame.
    pub fn number(&self) -> FrameNumber {
        self.number
    }

    /// The node whose memory this is.
    pub fn node(&self) -> NodeId {
        metadata::node_of(self.number)
    }

    /// How many references there are, this one included: 1 means that nobody else can reach the frame.
    pub fn reference_count(&self) -> u32 {
        todo!()
    }

    /// The frame as a block, if this is its only reference.
    pub fn into_block(self) -> Result<Block, Frame> {
        todo!()
    }

    /// Copies bytes out, from `offset` on. Panics if they don't all lie in the frame.
    pub fn read(&self, offset: usize, out: &mut [u8]) {
        let _ = (offset, out);
        todo!()
    }

    /// Copies bytes in, from `offset` on. Panics if they don't all lie in the frame.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let _ = (offset, bytes);
        todo!()
    }

    /// Sets `length` bytes from `offset` on to zero. Panics if they don't all lie in the frame.
    pub fn zero(&self, offset: usize, length: usize) {
        let _ = (offset, length);
        todo!()
    }

    /// Copies all bytes of `other`.
    pub fn copy_from(&self, other: &Frame) {
        let _ = other;
        todo!()
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        todo!()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        todo!()
    }
}
