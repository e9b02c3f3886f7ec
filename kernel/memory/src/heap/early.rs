//! The allocator of the kernel, and the static arena that serves it before the frame allocator runs.

#![allow(unsafe_code)]

use super::HEAP;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use linked_list_allocator::Heap as Arena;
use machine::sync::{IrqLock, rank};

/// Bytes for what boot needs: tables of the firmware, data of each CPU.
const BYTES: usize = 512 << 10;

#[repr(align(4096))]
struct Bytes(UnsafeCell<[u8; BYTES]>);

// SAFETY: the bytes are only ever reached through the arena, which is behind a lock, and by who got them from it.
unsafe impl Sync for Bytes {}

static MEMORY: Bytes = Bytes(UnsafeCell::new([0; BYTES]));
static ARENA: IrqLock<Arena> = IrqLock::new(rank::HEAP, Arena::empty());
static ENDED: AtomicBool = AtomicBool::new(false);

/// From now on memory comes from frames. What the arena gave stays.
pub(super) fn end() {
    ENDED.store(true, Relaxed);
}

/// The kernel's global allocator.
struct KernelAllocator;

#[global_allocator]
static ALLOCATOR: KernelAllocator = KernelAllocator;

fn is_early(pointer: *mut u8) -> bool {
    let start = MEMORY.0.get().addr();
    (start..start + BYTES).contains(&pointer.addr())
}

// SAFETY: memory comes from the arena or from the heap, both of which hand out each byte once until it is given back;
// the address tells which of the two a pointer came from.
unsafe impl GlobalAlloc for KernelAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ENDED.load(Relaxed) {
            return HEAP.allocate(layout);
        }
        let mut arena = ARENA.lock();
        if arena.size() == 0 {
            // SAFETY: the bytes are static and, as nothing was allocated yet, nobody's; this happens once.
            unsafe { arena.init(MEMORY.0.get().cast(), BYTES) };
        }
        arena.allocate_first_fit(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if !is_early(pointer) {
            // SAFETY: it is not the arena's, so it came from the heap, with this layout, as the caller promises.
            return unsafe { HEAP.free(pointer, layout) };
        }
        if let Some(pointer) = NonNull::new(pointer) {
            // SAFETY: it came from the arena, with this layout.
            unsafe { ARENA.lock().deallocate(pointer, layout) };
        }
    }
}
