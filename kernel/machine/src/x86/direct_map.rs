//! The direct map: all physical memory at one place of the kernel's address space.
//!
//! The boot loader could make it, but it maps up to the last address that the firmware mentions in whatever
//! connection: a reserved range of QEMU's q35 machine at 1 TiB costs 4 MiB of page tables and a tenth of a second.
//! So it is made here, up to the end of memory, through the boot loader's recursive entry, which `kernel_map`
//! removes afterwards.

use super::cpu;
use super::physical::DIRECT_MAP;
use x86_64::structures::paging::PageTableFlags as Flags;

/// The top-level entry that the boot loader is asked to make point to the top-level table itself.
pub(super) const RECURSIVE: u64 = 0xffff_fe00_0000_0000;

const GIGABYTE: u64 = 1 << 30;
const LARGE_PAGE: u64 = 2 << 20;
const ENTRIES: usize = 512;

/// The number of a top-level entry.
const fn slot(address: u64) -> usize {
    (address >> 39 & 0x1ff) as usize
}

/// The address at which the recursive entry shows the table that is reached by the top-level entry `first`, then
/// `second`, then `third`; the recursive entry itself among them stands for one step less.
fn table(first: usize, second: usize, third: usize) -> *mut u64 {
    let indices = [slot(RECURSIVE), first, second, third];
    let address = indices.iter().fold(0xffff, |address: u64, &index| address << 9 | index as u64) << 12;
    core::ptr::with_exposed_provenance_mut(address as usize)
}

/// Maps physical memory from 0 to `end`, writable and not executable, in the largest pages that the processor has.
/// Once, before anything uses the direct map; each call of `frame` gives a frame of free memory for a table.
pub(super) fn build(end: u64, frame: &mut dyn FnMut() -> u64) {
    let own = slot(RECURSIVE);
    let branch = (Flags::PRESENT | Flags::WRITABLE).bits();
    let leaf = branch | (Flags::HUGE_PAGE | Flags::NO_EXECUTE | Flags::GLOBAL).bits();
    let huge = cpu::features().gigabyte_pages;
    for gigabyte in 0..end.div_ceil(GIGABYTE) {
        let (top, third) = (slot(DIRECT_MAP) + gigabyte as usize / ENTRIES, gigabyte as usize % ENTRIES);
        let start = gigabyte * GIGABYTE;
        // SAFETY: the recursive entry is there (asked for in `boot::CONFIG`, checked by the caller), so `table`
        // gives the tables that are active now. The entries written were empty: the boot loader was told of no
        // other use of these addresses. Each new table is a frame of nobody else's and filled before the next
        // step uses it. What they map is memory that only this module's users reach there.
        unsafe {
            if third == 0 {
                table(own, own, own).add(top).write_volatile(frame() | branch);
                (0..ENTRIES).for_each(|index| table(own, own, top).add(index).write_volatile(0));
            }
            let entry = table(own, own, top).add(third);
            if huge {
                entry.write_volatile(start | leaf);
            } else {
                entry.write_volatile(frame() | branch);
                let large = |index: usize| start + index as u64 * LARGE_PAGE;
                let below = table(own, top, third);
                (0..ENTRIES).for_each(|index| below.add(index).write_volatile(large(index) | leaf));
            }
        }
    }
}
