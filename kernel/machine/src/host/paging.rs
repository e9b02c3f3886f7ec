//! What the host has in place of a root register and TLBs: each thread remembers its address space, and counts
//! how often it was told to forget entries.

use crate::frame::FrameNumber;
use crate::paging::PageTables;
use base::{CpuId, CpuSet};
use core::cell::Cell;
use core::ops::Range;

thread_local! {
    /// The address space of this thread. A thread that ends in one never gives up its reference.
    static CURRENT: Cell<*const PageTables> = const { Cell::new(core::ptr::null()) };
    static FLUSHED: Cell<u64> = const { Cell::new(0) };
}

/// The tables that [`exchange_current`] put last, or null.
pub fn current() -> *const PageTables {
    CURRENT.get()
}

/// Puts a pointer to tables in the thread's slot and gives the one that was there.
pub fn exchange_current(_this: CpuId, tables: *const PageTables) -> *const PageTables {
    CURRENT.replace(tables)
}

/// How many pages this thread's changes have made CPUs forget, each counted once whatever the number of CPUs.
pub fn flushed() -> u64 {
    FLUSHED.get()
}

/// Nothing: there is no kernel half.
pub fn fill_kernel_half(_root: FrameNumber) {}

/// Nothing: there is no root register.
///
/// # Safety
/// None needed; unsafe as on the machine.
pub unsafe fn load_root(_root: FrameNumber) {}

/// Nothing: there is no root register.
///
/// # Safety
/// None needed; unsafe as on the machine.
pub unsafe fn load_kernel_root() {}

/// Counts the pages.
pub fn flush(_cpus: &CpuSet, range: Range<u64>) {
    FLUSHED.set(FLUSHED.get() + (range.end - range.start) / 4096);
}
