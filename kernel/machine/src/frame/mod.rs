//! Physical frames of 4 KiB: who owns each, and safe access to their bytes.
//!
//! Every frame of usable memory has an entry in one metadata array: a reference count, its node and two links. A
//! frame is always in one of three hands, and safe code can't make a handle out of a number:
//! * a [`Block`]: 2^order frames in a row, owned by one, with plain access to their bytes;
//! * [`Frame`]s: counted references to one frame whose bytes may be shared with user mode, other CPUs and devices,
//!   so access copies in and out;
//! * a [`BlockList`] or [`BlockStack`] of the frame allocator (crate `memory`), linked through the metadata.
//!
//! When the last reference of a frame goes, the frame is given to [`FRAME_SINK`].
//!
//! This file is the same on the hardware and on the host; where the bytes and the metadata lie is told by
//! `x86/frame.rs` and `host/frame.rs`.

mod block;
mod counted;
mod metadata;
#[cfg(test)]
mod tests;

pub use block::{Block, BlockList, BlockStack};
pub use counted::{BorrowedFrame, Frame};
#[cfg(not(target_os = "none"))]
pub(crate) use metadata::blocks;
#[cfg(target_os = "none")]
pub(crate) use metadata::direct_map;
pub(crate) use metadata::{Entry, FrameRange, initialize};
pub use metadata::{FrameNumber, hand_out, limit};

use crate::sync::Hook;
use base::{Errno, NodeId};

/// Bytes in a frame.
pub const FRAME_SIZE: usize = 4096;

/// The largest order of a [`Block`]: 2^10 frames, 4 MiB.
pub const MAX_ORDER: u8 = 10;

/// Gives frames for the machine's own needs: kernel stacks and the like.
pub trait FrameSource: Sync {
    /// 2^order frames in a row, on `node` if it has them, else on the nearest that has.
    ///
    /// Errors: `ENOMEM`.
    fn block(&self, order: u8, node: Option<NodeId>) -> Result<Block, Errno>;
}

/// Who gives the machine frames; installed once at boot.
pub static FRAME_SOURCE: Hook<dyn FrameSource> = Hook::new();

/// Takes back frames that nobody refers to any longer: the frame allocator.
pub trait FrameSink: Sync {
    /// Takes `block` back. Called wherever the last reference goes, also with interrupts off and under locks.
    fn take(&self, block: Block);
}

/// Where freed frames go; installed once at boot. Frames freed before that are lost.
pub static FRAME_SINK: Hook<dyn FrameSink> = Hook::new();

/// Keeps accounts of frames by the notes that it left with them ([`Frame::exchange_note`]).
pub trait FrameNotes: Sync {
    /// The last reference to a frame of `node` with this note, which is not 0, has gone. Called wherever that happens,
    /// also with interrupts off and under locks.
    fn freed(&self, note: u32, node: NodeId);
}

/// Who is told of freed frames that have a note; installed once at boot.
pub static FRAME_NOTES: Hook<dyn FrameNotes> = Hook::new();
