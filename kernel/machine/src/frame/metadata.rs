//! The metadata array, one entry a frame, and the numbers that name frames.

use super::{Block, FRAME_SIZE, MAX_ORDER};
use crate::sync::{SpinLock, rank};
use alloc::vec::Vec;
use base::NodeId;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

/// The number of a physical frame: its address / 4096. A number gives no right to the frame. Frame 0 is never used.
///
/// Invariant: there is a metadata entry for the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrameNumber(NonZeroU32);

impl FrameNumber {
    /// The number as such.
    pub const fn raw(self) -> u64 {
        self.0.get() as u64
    }

    /// The physical address of the frame's first byte.
    pub const fn address(self) -> u64 {
        self.raw() * FRAME_SIZE as u64
    }

    /// The frame with this number, if it has metadata.
    pub(crate) fn new(raw: u64) -> Option<Self> {
        (raw < u64::from(LIMIT.load(Relaxed))).then(|| NonZeroU32::new(raw as u32).map(Self)).flatten()
    }

    /// The frame with this number.
    ///
    /// # Safety
    /// The number was taken from a `FrameNumber`.
    pub(crate) unsafe fn new_unchecked(raw: u64) -> Self {
        // SAFETY: the caller says that it was a `FrameNumber`'s, so it is not 0.
        Self(unsafe { NonZeroU32::new_unchecked(raw as u32) })
    }

    pub(super) fn bits(self) -> u32 {
        self.0.get()
    }

    /// The frame's bytes in the kernel's direct map.
    pub(crate) fn bytes(self) -> *mut u8 {
        direct_map(self.address())
    }

    pub(super) fn entry(self) -> &'static Entry {
        // SAFETY: `ENTRIES` points to `LIMIT` entries that live forever (`initialize` got them as such), and the
        // invariant of `FrameNumber` is that the number lies below that limit.
        unsafe { &*ENTRIES.load(Relaxed).add(self.0.get() as usize) }
    }

    pub(super) fn node(self) -> NodeId {
        NodeId::new(self.entry().info.load(Relaxed) & NODE)
    }
}

/// What is known of one frame. 16 bytes, so that 1 GiB costs 4 MiB.
#[derive(Default)]
#[repr(C, align(16))]
pub(crate) struct Entry {
    /// The number of [`super::Frame`]s, or of those who refer to a page table; 0 in a block or a list.
    pub(super) count: AtomicU32,
    /// Bits 0 to 7: the node. Bit 8: [`SEALED`]. In the first frame of a block that is in a list, also bits 12 to
    /// 15: its order, and bits 16 to 31: the list's number.
    pub(super) info: AtomicU32,
    /// In a list or stack: the next one's number, or 0. In a page table: the number of entries in use. While there
    /// are [`super::Frame`]s: the note that was left with it.
    pub(super) next: AtomicU32,
    /// In a list: the number of the one before, or 0. In a page table: its pages by kind.
    pub(super) previous: AtomicU32,
}

pub(super) const NODE: u32 = 0xff;
/// The bytes belong to a `&'static` slice and are never written.
pub(super) const SEALED: u32 = 1 << 8;
/// What stays when a frame changes hands.
pub(super) const KEPT: u32 = NODE | SEALED;

/// Usable frames in a row, on one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameRange {
    /// The first frame's number.
    pub(crate) first: u64,
    /// One more than the last frame's number.
    pub(crate) end: u64,
    /// The node.
    pub(crate) node: NodeId,
}

static ENTRIES: AtomicPtr<Entry> = AtomicPtr::new(core::ptr::null_mut());
static BASE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static LIMIT: AtomicU32 = AtomicU32::new(0);
/// Ranges that nobody has asked for yet.
static UNCLAIMED: SpinLock<Vec<FrameRange>> = SpinLock::new(rank::PAGE_TABLE, Vec::new());

/// Sets up the metadata: `entries` zeroed entries for the frames from 0 on, `base` the address at which frame 0 would
/// lie in the direct map, `ranges` the frames that are free.
///
/// # Safety
/// Called once, before anything else of this module, with `entries` used for nothing else; all bytes of all ranges,
/// and of every other frame that has an entry and lies in usable memory, are mapped writable at `base` + physical
/// address for ever; nothing else uses the ranges' bytes.
pub(crate) unsafe fn initialize(entries: &'static [Entry], base: *mut u8, ranges: Vec<FrameRange>) {
    ENTRIES.store(entries.as_ptr().cast_mut(), Relaxed);
    BASE.store(base, Relaxed);
    LIMIT.store(entries.len() as u32, Relaxed);
    *UNCLAIMED.lock() = ranges;
}

/// Gives every frame that boot left free to `take`, in blocks as large as their alignment allows, once: later calls
/// give nothing. Called by the frame allocator when it starts.
pub fn hand_out(take: &mut dyn FnMut(Block)) {
    #[cfg(not(target_os = "none"))]
    crate::arch::frame::start();
    let ranges = core::mem::take(&mut *UNCLAIMED.lock());
    for range in ranges {
        // SAFETY: `initialize` was told that these frames are nobody's, and they were just taken out of the list
        // of unclaimed ones.
        unsafe { blocks(range, take) };
    }
}

/// Where a physical address lies in the direct map.
pub(crate) fn direct_map(address: u64) -> *mut u8 {
    BASE.load(Relaxed).wrapping_add(address as usize)
}

/// Cuts a range into blocks.
///
/// # Safety
/// The frames of the range are the caller's to give and free.
pub(crate) unsafe fn blocks(range: FrameRange, take: &mut dyn FnMut(Block)) {
    let mut at = range.first.max(1);
    while at < range.end {
        let aligned = at.trailing_zeros().min(u32::from(MAX_ORDER));
        let fits = (range.end - at).ilog2();
        let order = aligned.min(fits) as u8;
        let Some(first) = FrameNumber::new(at) else { return };
        (at..at + (1 << order)).filter_map(FrameNumber::new).for_each(|number| {
            number.entry().info.store(range.node.raw(), Relaxed);
        });
        // SAFETY: the caller gives these frames, and each is in one block only; the order fits alignment and range.
        take(unsafe { Block::new(first, order) });
        at += 1 << order;
    }
}

/// One more than the largest frame number that has metadata.
pub fn limit() -> u64 {
    LIMIT.load(Relaxed).into()
}

/// The number of the frame at `address` in the direct map, if it has metadata.
pub(super) fn at_address(address: *const u8) -> Option<FrameNumber> {
    let offset = address.addr().checked_sub(BASE.load(Relaxed).addr())?;
    FrameNumber::new((offset / FRAME_SIZE) as u64)
}
