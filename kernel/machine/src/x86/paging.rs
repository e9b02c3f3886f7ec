//! The root register and the TLBs of the real machine.

use crate::frame::{FRAME_SIZE, FrameNumber, direct_map};
use crate::paging::PageTables;
use crate::{arch, cpu};
use base::{CpuId, CpuSet, MAX_CPUS};
use core::arch::asm;
use core::ops::Range;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// More stale pages than this are forgotten all at once: reloading the root then costs less.
const SINGLE_PAGES: u64 = 33;

/// The tables that each CPU's root register names, or null. Written by that CPU only.
static CURRENT: [Slot; MAX_CPUS] = [const { Slot(AtomicPtr::new(core::ptr::null_mut())) }; MAX_CPUS];

#[repr(align(64))]
struct Slot(AtomicPtr<PageTables>);

/// The tables that [`exchange_current`] put last on this CPU, or null.
#[inline]
pub fn current() -> *const PageTables {
    CURRENT[cpu::current().index()].0.load(Relaxed)
}

/// Puts a pointer to tables in the slot of `this` CPU and gives the one that was there.
#[inline]
pub fn exchange_current(this: CpuId, tables: *const PageTables) -> *const PageTables {
    let slot = &CURRENT[this.index()].0;
    let old = slot.load(Relaxed);
    slot.store(tables.cast_mut(), Relaxed);
    old
}

/// Copies the kernel's top-level entries, which never change after boot, into a new root table.
pub fn fill_kernel_half(root: FrameNumber) {
    const HALF: usize = FRAME_SIZE / 2;
    let kernel = direct_map(arch::kernel_root());
    // SAFETY: both are tables in the direct map, and halves of frames; the new one is nobody else's yet, and CPUs that walk
    // the kernel's change no more than the bits that say so.
    unsafe { arch::frame::copy_frames(root.bytes().wrapping_add(HALF), kernel.wrapping_add(HALF), HALF) };
}

/// Loads the root register, which makes this CPU forget all user entries.
///
/// # Safety
/// The table has the kernel's half, its user half refers only to frames that it owns, and it lives until another
/// one is loaded.
#[inline]
pub unsafe fn load_root(root: FrameNumber) {
    // SAFETY: the kernel's mappings stay as they are; the caller answers for the user's.
    unsafe { write_root(root.address()) }
}

/// Loads the root register with the kernel's own table, whose user half is empty.
///
/// # Safety
/// Boot is over.
pub unsafe fn load_kernel_root() {
    // SAFETY: the kernel's own table lives for ever and has the kernel's half.
    unsafe { write_root(arch::kernel_root()) }
}

/// Makes CPUs forget the entries for a range of the address space that is active on them.
pub fn flush(cpus: &CpuSet, range: Range<u64>) {
    let here = cpu::current();
    let only_here = *cpus == CpuSet::only(here);
    if only_here || cpus.contains(here) {
        flush_here(range.clone());
    }
    if !only_here {
        let mut others = *cpus;
        others.remove(here);
        arch::ipi::call(&others, &|| flush_here(range.clone()));
    }
}

fn flush_here(range: Range<u64>) {
    if (range.end - range.start) / FRAME_SIZE as u64 > SINGLE_PAGES {
        // SAFETY: the register keeps its value.
        unsafe {
            let root: u64;
            asm!("mov {}, cr3", out(reg) root, options(nomem, nostack, preserves_flags));
            write_root(root);
        }
        return;
    }
    for address in range.step_by(FRAME_SIZE) {
        // SAFETY: forgetting an entry only makes the CPU look again.
        unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
    }
}

/// # Safety
/// As for [`load_root`].
unsafe fn write_root(root: u64) {
    // SAFETY: as the caller says.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}
