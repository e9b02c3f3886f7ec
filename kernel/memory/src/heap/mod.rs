//! The kernel heap, and helpers that fail with `ENOMEM` where the plain ones would panic.
//!
//! Small objects come in size classes from slabs of frames; each CPU keeps some free ones for itself (`slabs`). Larger
//! ones are frames in a row. It grows on the node that the running task's containers say, else on the nearest. Before the frame allocator runs, a small static arena serves (`early`).
//!
//! The only unsafe code outside `machine` is here: a heap hands out raw memory.

#[allow(unsafe_code)]
mod class;
mod classes;
#[cfg(target_os = "none")]
mod early;
#[allow(unsafe_code)]
mod slabs;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Errno, NodeId};

pub use slabs::Heap;

/// What the heap holds now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct HeapStatistics {
    /// Frames that it has taken from the frame allocator.
    pub frames: u64,
    /// Bytes in use, rounded to size classes and frames.
    pub used_bytes: u64,
}

/// What a size class of the heap holds now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ClassStatistics {
    /// The size of its objects in bytes.
    pub size: usize,
    /// Objects in use.
    pub used: usize,
    /// Objects in all slabs.
    pub objects: usize,
    /// Objects in a slab.
    pub per_slab: usize,
    /// Frames of a slab, where they are to be had in a row.
    pub slab_frames: usize,
    /// Slabs.
    pub slabs: usize,
    /// Frames of all slabs.
    pub frames: usize,
}

/// The kernel's heap.
static HEAP: Heap = Heap::new();

/// How much the heap holds now.
pub fn statistics() -> HeapStatistics {
    HEAP.statistics()
}

/// Frames that the heap has on `node`.
pub fn frames_on(node: NodeId) -> u64 {
    HEAP.frames_on(node)
}

/// What each size class holds now, small sizes first.
pub fn classes() -> [ClassStatistics; classes::CLASSES] {
    HEAP.classes()
}

/// Gives frames that hold nothing back to the frame allocator, those that CPUs keep objects of included.
pub fn trim() {
    HEAP.trim();
}

/// Moves the heap onto the frame allocator, which runs.
pub(crate) fn init() {
    #[cfg(target_os = "none")]
    early::end();
}

/// `Box::new` that fails with `ENOMEM`.
pub fn try_box<T>(value: T) -> Result<Box<T>, Errno> {
    Box::try_new(value).map_err(|_| Errno::ENOMEM)
}

/// `Arc::new` that fails with `ENOMEM`.
pub fn try_arc<T>(value: T) -> Result<Arc<T>, Errno> {
    Arc::try_new(value).map_err(|_| Errno::ENOMEM)
}

/// A vector with room for `capacity` elements, or `ENOMEM`.
pub fn try_vec<T>(capacity: usize) -> Result<Vec<T>, Errno> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(capacity).map_err(|_| Errno::ENOMEM)?;
    Ok(vector)
}

/// A vector of `length` zero bytes, or `ENOMEM`.
pub fn try_zeroed(length: usize) -> Result<Vec<u8>, Errno> {
    let mut vector = try_vec(length)?;
    vector.resize(length, 0);
    Ok(vector)
}
