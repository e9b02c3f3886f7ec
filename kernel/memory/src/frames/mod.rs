//! The frame allocator: the free frames of each node, with caches for each CPU.

use crate::Placement;
use base::{Errno, NodeId};
use machine::frame::{Block, Frame};

/// The frames of one node, exact when nobody allocates at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NodeStatistics {
    /// Frames that the allocator was given at boot.
    pub total: u64,
    /// Frames that are free, those in the caches of CPUs included.
    pub free: u64,
}

/// A frame whose bytes may be anything, on the best node that `placement` allows.
///
/// Errors: `ENOMEM` no allowed node has one to spare (some are kept back for the kernel's own needs).
pub fn allocate(placement: &Placement) -> Result<Frame, Errno> {
    let _ = placement;
    todo!()
}

/// A frame of zero bytes; else like [`allocate`].
///
/// Errors: `ENOMEM`.
pub fn allocate_zeroed(placement: &Placement) -> Result<Frame, Errno> {
    let _ = placement;
    todo!()
}

/// 2^order frames in a row for the kernel's own use; may use up what is kept back.
///
/// Errors: `ENOMEM`.
pub fn allocate_block(order: u8, placement: &Placement) -> Result<Block, Errno> {
    let _ = (order, placement);
    todo!()
}

/// The counts of one node; zero for a node that has no memory.
pub fn statistics(node: NodeId) -> NodeStatistics {
    let _ = node;
    todo!()
}

/// The counts of all nodes together.
pub fn total() -> NodeStatistics {
    todo!()
}

pub(crate) fn init() {
    todo!()
}
