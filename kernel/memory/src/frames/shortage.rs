//! When frames run short: what may still be taken, and who is told.
//!
//! A node keeps some frames back from pages of programs, and half of those from page tables; the rest is for objects of
//! the kernel's heap, most of which can't be refused. So that programs don't use it up with what the kernel keeps for
//! them, nothing is made any more that stays when its maker ends (names, files) where memory is *low*; and where it is
//! *short*, a task for which the heap had to grow makes room, by the end of another, before it runs on.

use super::{ALLOCATOR, FrameAllocator, NodeFrames, NodeStatistics, buddy::Buddy};
use crate::{placement::PLACEMENT, reclaim};
use base::{MAX_NODES, NodeId, NodeSet};
use core::fmt::{self, Write};
use core::sync::atomic::Ordering::Relaxed;

/// Copies of files that are dropped at once where memory is low.
const RECLAIMED: usize = 64;

/// Who wants frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// A page of a program.
    Page,
    /// A page table of a program.
    Table,
}

impl NodeFrames {
    /// Frames that must stay.
    pub(super) fn reserve(&self, purpose: Purpose) -> u64 {
        let pages = (self.total.load(Relaxed) / 32).min(1024);
        match purpose {
            Purpose::Page => pages,
            Purpose::Table => pages / 2,
        }
    }
}

impl FrameAllocator {
    /// Notes what a node has left after something was taken.
    pub(super) fn note_left(&self, node: &NodeFrames, left: &Buddy) {
        // Mostly it has plenty, and nothing is written.
        if left.free() < 2 * node.reserve(Purpose::Page) {
            self.low.store(true, Relaxed);
        }
    }

    /// The counts of all nodes together, and what they keep back.
    pub(super) fn sum(&self) -> (NodeStatistics, u64) {
        let mut sum = NodeStatistics::default();
        for number in 0..MAX_NODES as u32 {
            let node = self.statistics(NodeId::new(number));
            sum = NodeStatistics { total: sum.total + node.total, free: sum.free + node.free };
        }
        (sum, self.nodes.iter().map(|node| node.reserve(Purpose::Page)).sum())
    }

    /// Whether less than twice of what is kept back is left.
    pub(super) fn is_low(&self) -> bool {
        if !self.low.load(Relaxed) {
            return false;
        }
        let (sum, reserve) = self.sum();
        let low = sum.free < 2 * reserve;
        self.low.store(low, Relaxed);
        low
    }

    /// Whether a good part of what is kept back is gone.
    pub(super) fn is_short(&self) -> bool {
        self.low.load(Relaxed) && {
            let (sum, reserve) = self.sum();
            sum.free < reserve * 3 / 4
        }
    }
}

/// Whether memory is low, even without the copies of files that can be dropped: then nothing is to be made that stays when
/// its maker ends. Call with no spinning lock held.
pub fn are_low() -> bool {
    ALLOCATOR.is_low() && reclaim::for_shortage(NodeSet::first(MAX_NODES), RECLAIMED) == 0
}

/// Whether memory is so short that room must be made.
pub fn are_short() -> bool {
    ALLOCATOR.is_short()
}

/// Writes the free frames of each node, in blocks of 1, 2, 4, … frames, for the report of a panic: waits for no lock.
pub fn describe(out: &mut dyn Write) -> fmt::Result {
    for (number, node) in ALLOCATOR.nodes.iter().enumerate() {
        let total = node.total.load(Relaxed);
        if total > 0
            && let Some(buddy) = node.buddy.try_lock()
        {
            let (free, blocks) = (buddy.free(), buddy.blocks());
            writeln!(out, "memory: node {number}: {free} of {total} frames free, in blocks of 1, 2, 4, …: {blocks:?}")?;
        }
    }
    Ok(())
}

/// The heap has grown: if memory is short, the running task is told.
pub(crate) fn heap_has_grown() {
    if ALLOCATOR.is_short()
        && let Some(source) = PLACEMENT.get()
    {
        source.is_short();
    }
}
