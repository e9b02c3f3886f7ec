//! The kernel heap, and helpers that fail with `ENOMEM` where the plain ones would panic.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;

/// Bytes that the heap has taken from the frame allocator, and bytes handed out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct HeapStatistics {
    /// Frames held by the heap.
    pub frames: u64,
    /// Bytes in use, as asked for and rounded to size classes.
    pub used_bytes: u64,
}

/// How much the heap holds now.
pub fn statistics() -> HeapStatistics {
    todo!()
}

/// Gives frames that hold nothing back to the frame allocator, of all CPUs.
pub fn trim() {
    todo!()
}

pub(crate) fn init() {
    todo!()
}

/// `Box::new` that fails with `ENOMEM`.
pub fn try_box<T>(value: T) -> Result<Box<T>, Errno> {
    let _ = value;
    todo!()
}

/// `Arc::new` that fails with `ENOMEM`.
pub fn try_arc<T>(value: T) -> Result<Arc<T>, Errno> {
    let _ = value;
    todo!()
}

/// A vector with room for `capacity` elements, or `ENOMEM`.
pub fn try_vec<T>(capacity: usize) -> Result<Vec<T>, Errno> {
    let _ = capacity;
    todo!()
}

/// A vector of `length` zero bytes, or `ENOMEM`.
pub fn try_zeroed(length: usize) -> Result<Vec<u8>, Errno> {
    let _ = length;
    todo!()
}
