//! The host's frames: a large arena of which the host's system commits only what is touched. Two nodes; most of
//! the arena is kept for tests that want frames of their own.

use crate::frame::{Block, Entry, FRAME_SIZE, FrameRange, MAX_ORDER, blocks, initialize};
use base::NodeId;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::alloc::{Layout, alloc_zeroed};
use std::sync::Once;

/// Frames of each of the two nodes: 256 MiB.
const NODE_FRAMES: u64 = 1 << 16;
/// Frames for [`fresh`]: 2 GiB.
const FRESH_FRAMES: u64 = 1 << 19;
const FRAMES: u64 = 2 * NODE_FRAMES + FRESH_FRAMES;

/// Makes the arena, once.
pub fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let layout = Layout::from_size_align(FRAMES as usize * FRAME_SIZE, FRAME_SIZE << MAX_ORDER);
        let layout = layout.expect("the arena's size is a constant");
        // SAFETY: the layout has a size.
        let base = unsafe { alloc_zeroed(layout) };
        assert!(!base.is_null(), "the host has no address space for the arena");
        let layout = Layout::array::<Entry>(FRAMES as usize).expect("the number of entries is a constant");
        // SAFETY: the layout has a size, and zero is a valid entry. Not made one by one, so that the host commits what
        // is used only.
        let entries = unsafe {
            let entries = alloc_zeroed(layout).cast::<Entry>();
            assert!(!entries.is_null(), "the host has no memory for the frames' entries");
            core::slice::from_raw_parts(entries, FRAMES as usize)
        };
        let range = |node: u32| FrameRange {
            first: u64::from(node) * NODE_FRAMES,
            end: u64::from(node + 1) * NODE_FRAMES,
            node: NodeId::new(node),
        };
        // SAFETY: `Once` makes it the only call, before any other use; the arena is as large as the entries say, new,
        // and never freed.
        unsafe { initialize(entries, base, vec![range(0), range(1)]) };
    });
}

/// Frames that no allocator has seen, on a node of the test's choice, in blocks as large as they come.
pub fn fresh(frames: u64, node: NodeId) -> Vec<Block> {
    static NEXT: AtomicU64 = AtomicU64::new(2 * NODE_FRAMES);
    start();
    let first = NEXT.fetch_add(frames, Relaxed);
    assert!(first + frames <= FRAMES, "the arena has no more fresh frames");
    let mut fresh = Vec::new();
    // SAFETY: `NEXT` gives each frame once, and `initialize` was not told of them.
    unsafe { blocks(FrameRange { first, end: first + frames, node }, &mut |block| fresh.push(block)) };
    fresh
}

/// Copies bytes that others may read and write meanwhile.
///
/// # Safety
/// Both ranges are mapped, and nobody has a Rust reference that this access would break.
pub unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    let mut at = 0;
    if to.addr().is_multiple_of(8) && from.addr().is_multiple_of(8) {
        while at + 8 <= length {
            // SAFETY: inside the ranges, aligned as checked; the caller answers for the rest.
            unsafe {
                let word = AtomicU64::from_ptr(from.cast_mut().add(at).cast()).load(Relaxed);
                AtomicU64::from_ptr(to.add(at).cast()).store(word, Relaxed);
            }
            at += 8;
        }
    }
    while at < length {
        // SAFETY: as above, and a byte is always aligned.
        unsafe {
            let byte = AtomicU8::from_ptr(from.cast_mut().add(at)).load(Relaxed);
            AtomicU8::from_ptr(to.add(at)).store(byte, Relaxed);
        }
        at += 1;
    }
}

/// Sets bytes to zero that others may read and write meanwhile.
///
/// # Safety
/// As for [`copy`].
pub unsafe fn zero(to: *mut u8, length: usize) {
    static ZEROS: [u64; FRAME_SIZE / 8] = [0; FRAME_SIZE / 8];
    let mut at = 0;
    while at < length {
        let part = (length - at).min(FRAME_SIZE);
        // SAFETY: inside the range; the caller answers for the rest.
        unsafe { copy(to.add(at), ZEROS.as_ptr().cast(), part) };
        at += part;
    }
}

/// Copies whole frames that others may read and write meanwhile.
///
/// # Safety
/// As for [`copy`]; both ranges lie on frames.
pub unsafe fn copy_frames(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller's promise.
    unsafe { copy(to, from, length) }
}

/// Sets whole frames to zero that others may read and write meanwhile.
///
/// # Safety
/// As for [`copy_frames`].
pub unsafe fn zero_frames(to: *mut u8, length: usize) {
    // SAFETY: the caller's promise.
    unsafe { zero(to, length) }
}
