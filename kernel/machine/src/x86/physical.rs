//! Physical memory as the kernel sees it: the direct map, what RAM is free, and single frames for early boot.
//!
//! All physical memory (at least 4 GiB) is mapped at [`DIRECT_MAP`], writable and not executable. Until [`hand_out`]
//! is called, boot takes frames from the end of the largest free range; from then on the frames belong to the
//! allocator of `memory`.

use super::direct_map;
use crate::firmware::memory_map::{self, Range};
use crate::frame::{FRAME_SOURCE, FrameRange};
use alloc::vec::Vec;
use base::{Errno, NodeId};
use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use spin::{Mutex, Once};

/// Where physical address 0 is mapped.
pub(crate) const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

/// Bytes of a page and of a frame.
pub(crate) const PAGE_SIZE: u64 = 4096;

/// Physical memory below this is never handed out: the CPUs' start-up code needs pages there, and firmware
/// keeps things in it that its memory map does not tell.
const LOW_MEMORY_END: u64 = 0x10_0000;

/// The direct map has this much in any case: firmware keeps its tables there.
const ALWAYS_MAPPED: u64 = 1 << 32;

/// What boot still may take, and the whole map.
struct Early {
    /// Free ranges, ascending, disjoint, page-aligned; the start-up page is not in it.
    free: Vec<Range>,
    /// Index of the range from whose end frames are taken.
    source: usize,
}

static EARLY: Mutex<Option<Early>> = Mutex::new(None);
static START_UP_PAGE: Once<u64> = Once::new();
static END: Once<u64> = Once::new();

/// The direct map's address of a physical address.
#[inline]
pub(crate) fn to_virtual(physical: u64) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut((DIRECT_MAP + physical) as usize)
}

/// The physical address of a pointer into the direct map.
#[inline]
pub(crate) fn to_physical(pointer: *const u8) -> u64 {
    pointer.expose_provenance() as u64 - DIRECT_MAP
}

/// Reads the boot loader's map of memory and makes the direct map. Called once, first thing at boot.
pub(super) fn init(regions: &[MemoryRegion], recursive_index: Option<u16>) {
    assert!(recursive_index.is_some(), "the boot loader did not give access to its page tables");
    let of_kind = |usable: bool| {
        regions
            .iter()
            .filter(move |region| (region.kind == MemoryRegionKind::Usable) == usable)
            .map(|region| Range { start: region.start, end: region.end })
    };
    let all = memory_map::usable(of_kind(true).collect(), of_kind(false).collect());
    // The highest page below 640 KiB serves as the other CPUs' start-up code; page 0 is no good for that.
    let low = all.iter().filter(|range| range.start < 0xa_0000).map(|range| range.end.min(0xa_0000) - PAGE_SIZE);
    if let Some(page) = low.filter(|&page| page >= PAGE_SIZE).max() {
        START_UP_PAGE.call_once(|| page);
    }
    let mut free: Vec<Range> = all
        .into_iter()
        .map(|range| Range { start: range.start.max(LOW_MEMORY_END), ..range })
        .filter(|range| range.start < range.end)
        .collect();
    // Below 4 GiB if possible: another CPU starts with a page table that 32 bits can name.
    let rank = |&index: &usize| (free[index].end <= 1 << 32, free[index].end - free[index].start);
    let source = (0..free.len()).max_by_key(rank);
    let source = source.expect("the firmware's memory map has no usable memory above 1 MiB");
    let end = free.iter().map(|range| range.end).max().unwrap_or(0).max(ALWAYS_MAPPED);
    END.call_once(|| end);
    direct_map::build(end, &mut || {
        free[source].end -= PAGE_SIZE;
        free[source].end
    });
    *EARLY.lock() = Some(Early { free, source });
}

/// The end of what the direct map maps: at least all usable memory and the lower 4 GiB.
pub(crate) fn end() -> u64 {
    END.get().copied().unwrap_or(0)
}

/// A page below 1 MiB for the start-up code of the other CPUs, if the firmware left one.
pub(super) fn start_up_page() -> Option<u64> {
    START_UP_PAGE.get().copied()
}

/// `count` adjoining zeroed frames, given for ever; the address of the first. Before [`hand_out`] only.
/// Panics when the memory is not there: nothing can run then.
pub(crate) fn early_frames(count: u64) -> u64 {
    let mut early = EARLY.lock();
    let early = early.as_mut().expect("early_frames() is for boot: the frames belong to the allocator by now");
    let range = &mut early.free[early.source];
    let bytes = count * PAGE_SIZE;
    assert!(range.end - range.start >= bytes, "{count} frames wanted at boot, but memory is too small");
    range.end -= bytes;
    let start = range.end;
    // SAFETY: needs `bytes` writable bytes that nothing else refers to. They were cut off just now, under the
    // lock, from a range that the boot loader calls usable and that nobody else has been given; the direct map
    // covers all usable memory, writable, from before the kernel's first instruction until power-off.
    unsafe { to_virtual(start).write_bytes(0, bytes as usize) };
    start
}

/// One zeroed frame, given for ever. Before [`hand_out`] only.
pub(crate) fn early_frame() -> u64 {
    early_frames(1)
}

/// Start and length of the ranges that are free now. At boot, before [`hand_out`].
pub(super) fn free_ranges() -> Vec<(u64, u64)> {
    let early = EARLY.lock();
    let free = early.as_ref().map_or(&[][..], |early| &early.free);
    free.iter().map(|range| (range.start, range.end - range.start)).collect()
}

/// One zeroed frame for the kernel's own tables, given for ever: an early one at boot, the allocator's later.
///
/// Errors: `ENOMEM`.
pub(super) fn kernel_frame() -> Result<u64, Errno> {
    if EARLY.lock().is_some() {
        return Ok(early_frame());
    }
    let mut block = FRAME_SOURCE.get().ok_or(Errno::ENOMEM)?.block(0, None)?;
    block.zero();
    Ok(to_physical(block.into_address()))
}

/// Gives what RAM is left to [`crate::frame`], cut at the borders of nodes. No early frame can be taken after
/// this. At boot, once, after the topology is known.
pub(super) fn hand_out() {
    let early = EARLY.lock().take().expect("physical memory can be handed out only once");
    let topology = super::topology::get();
    let nodes: Vec<(Range, u32)> = (topology.nodes.iter().enumerate())
        .flat_map(|(node, info)| {
            let range = move |&(start, length): &(u64, u64)| (Range { start, end: start + length }, node as u32);
            info.ranges.iter().map(range)
        })
        .collect();
    let ranges = memory_map::by_node(&early.free, &nodes).into_iter().map(|(range, node)| FrameRange {
        first: range.start / PAGE_SIZE,
        end: range.end / PAGE_SIZE,
        node: NodeId::new(node),
    });
    // SAFETY: this is the boot CPU, once (`take` above). The ranges are what `memory_map::usable` and the early
    // frames left: usable, disjoint, used by nobody; the boot loader's direct map covers them for ever.
    let left_alone = unsafe { super::frame::start(ranges.collect(), DIRECT_MAP) };
    if left_alone > 0 {
        crate::log!("memory: {left_alone} frames far up are left alone: describing them costs too much");
    }
}
