//! The kernel's half of every address space.
//!
//! | top-level entry of | what | made by |
//! |---|---|---|
//! | `DIRECT_MAP` | all physical memory, writable, not executable | `direct_map` |
//! | `STACKS` | kernel stacks with their guard pages | here |
//! | `DEVICES` | registers of devices, uncached | here |
//! | from `LOADER` on | boot information, the boot CPU's stack, the ramdisk | boot loader |
//! | `KERNEL_IMAGE` | the kernel: code, constants, data | boot loader |
//!
//! The top-level entries are complete after [`init`] and never change, so each address space has copies of
//! them and sees every later change below them.

use super::direct_map::RECURSIVE;
use super::physical::{self, DIRECT_MAP, PAGE_SIZE, to_virtual};
use crate::sync::{IrqLock, rank};
use base::Errno;
use spin::Once;
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr3, Cr3Flags};
use x86_64::structures::paging::{PageTableFlags as Flags, PhysFrame};

/// Kernel stacks: 512 GiB of addresses.
pub(super) const STACKS: u64 = 0xffff_a000_0000_0000;
/// Device registers.
const DEVICES: u64 = 0xffff_b000_0000_0000;
/// Where the boot loader puts what it hands over; it takes a top-level entry (512 GiB) for each piece.
pub(super) const LOADER: u64 = 0xffff_c000_0000_0000;
/// The end of that region.
pub(super) const LOADER_END: u64 = LOADER + (8 << 39);
/// Where the boot loader puts the kernel.
pub(super) const KERNEL_IMAGE: u64 = 0xffff_ffff_8000_0000;

const ADDRESS_BITS: u64 = 0x000f_ffff_ffff_f000;
const ENTRIES: usize = 512;

static ROOT: Once<u64> = Once::new();

/// Guards changes below `STACKS` and `DEVICES`; the value is the next free address of `DEVICES`.
static CHANGES: IrqLock<u64> = IrqLock::new(rank::KERNEL_MAPPINGS, DEVICES);

/// The physical address of the top-level table that has the kernel's half and nothing else. Its upper 256
/// entries never change: every address space starts with copies of them.
pub(crate) fn kernel_root() -> u64 {
    *ROOT.get().expect("the kernel's page tables are set up first thing at boot")
}

/// One entry of the table at physical address `table`.
fn entry(table: u64, index: usize) -> *mut u64 {
    debug_assert!(index < ENTRIES);
    to_virtual(table).cast::<u64>().wrapping_add(index)
}

fn read(table: u64, index: usize) -> u64 {
    // SAFETY: tables come from the boot loader's own or from `physical::early_frame`/the allocator, are reached
    // by walking from the root, and are never freed; the direct map covers them. Entries are whole words.
    unsafe { entry(table, index).read_volatile() }
}

/// # Safety
/// The new entry gives no access that safe code does not have already: see the callers.
unsafe fn write(table: u64, index: usize, value: u64) {
    // SAFETY: as in `read`; what the entry then maps is the caller's promise.
    unsafe { entry(table, index).write_volatile(value) };
}

fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * (level - 1)) & 0x1ff) as usize
}

/// Takes over the boot loader's tables: drops its identity maps in the lower half and its recursive entry, makes the
/// kernel's pages global, checks every one of them for write-or-execute, and prepares the regions of this module.
/// Boot CPU, once. Panics if a page is both writable and executable or open to user mode.
pub(super) fn init() -> Counts {
    let (root, _) = Cr3::read();
    let root = root.start_address().as_u64();
    ROOT.call_once(|| root);
    for region in [STACKS, DEVICES] {
        let table = physical::early_frame();
        // SAFETY: a fresh zeroed table: it maps nothing yet.
        unsafe { write(root, index(region, 4), table | (Flags::PRESENT | Flags::WRITABLE).bits()) };
    }
    for slot in (0..ENTRIES / 2).chain([index(RECURSIVE, 4)]) {
        // SAFETY: the recursive entry has done its duty, and nothing of the kernel lies in the lower half: descriptor
        // tables, stack and code were moved or asked for in the upper half (`boot::CONFIG`, `cpu::init_boot_cpu`).
        unsafe { write(root, slot, 0) };
    }
    let mut counts = Counts::default();
    for slot in ENTRIES / 2..ENTRIES {
        check(root, slot, 4, &mut counts);
    }
    // SAFETY: the same tables again; loading them drops the TLB's memory of the old entries.
    unsafe { Cr3::write(PhysFrame::containing_address(PhysAddr::new(root)), Cr3Flags::empty()) };
    counts
}

/// Pages of the kernel's half, of whatever size.
#[derive(Default)]
pub(super) struct Counts {
    code: u64,
    constant: u64,
    writable: u64,
}

impl Counts {
    pub(super) fn log(&self) {
        let Self { code, constant, writable } = self;
        crate::log!(
            "memory: kernel mappings checked: {code} pages of code, {constant} read-only, {writable} writable, none both"
        );
    }
}

/// Checks and completes the entry `slot` of `table`, which is of `level` (4 is the top), and all below it.
fn check(table: u64, slot: usize, level: u32, counts: &mut Counts) {
    let value = read(table, slot);
    let flags = Flags::from_bits_truncate(value);
    if !flags.contains(Flags::PRESENT) {
        return;
    }
    assert!(!flags.contains(Flags::USER_ACCESSIBLE), "the boot loader opened kernel memory to user mode");
    let leaf = level == 1 || flags.contains(Flags::HUGE_PAGE);
    if !leaf {
        let below = value & ADDRESS_BITS;
        (0..ENTRIES).for_each(|slot| check(below, slot, level - 1, counts));
        return;
    }
    let executable = !flags.contains(Flags::NO_EXECUTE);
    match (flags.contains(Flags::WRITABLE), executable) {
        (true, true) => panic!("the boot loader made a kernel page both writable and executable: {value:#x}"),
        (true, false) => counts.writable += 1,
        (false, true) => counts.code += 1,
        (false, false) => counts.constant += 1,
    }
    // SAFETY: the same page with the same rights; global only says that all address spaces share it, which is
    // so for the kernel's half.
    unsafe { write(table, slot, value | Flags::GLOBAL.bits()) };
}

/// The physical address that `address` of the kernel's half is mapped to.
pub(super) fn translate(address: u64) -> Option<u64> {
    let &root = ROOT.get().filter(|_| address >= DIRECT_MAP)?;
    let mut table = root;
    for level in [4, 3, 2, 1] {
        let value = read(table, index(address, level));
        let flags = Flags::from_bits_truncate(value);
        if !flags.contains(Flags::PRESENT) {
            return None;
        }
        let offset_bits = 12 + 9 * (level - 1);
        if level == 1 || (level < 4 && flags.contains(Flags::HUGE_PAGE)) {
            let offset = address & ((1 << offset_bits) - 1);
            return Some((value & ADDRESS_BITS) >> offset_bits << offset_bits | offset);
        }
        table = value & ADDRESS_BITS;
    }
    None
}

/// The table of `level - 1` that the entry for `address` leads to; made if it is not there.
fn descend(table: u64, address: u64, level: u32) -> Result<u64, Errno> {
    let slot = index(address, level);
    let value = read(table, slot);
    if value & Flags::PRESENT.bits() != 0 {
        return Ok(value & ADDRESS_BITS);
    }
    let below = physical::kernel_frame()?;
    // SAFETY: a fresh zeroed table: it maps nothing yet.
    unsafe { write(table, slot, below | (Flags::PRESENT | Flags::WRITABLE).bits()) };
    Ok(below)
}

/// The lowest-level table for `address`, made with all above it. The caller holds the lock.
fn last_table(address: u64) -> Result<u64, Errno> {
    let mut table = kernel_root();
    for level in [4, 3, 2] {
        table = descend(table, address, level)?;
    }
    Ok(table)
}

/// Maps `frames` as writable pages from `address` (below `STACKS`) on.
///
/// Errors: how many pages were mapped before memory for a page table was missing.
///
/// # Safety
/// The addresses are the caller's and unmapped; each frame is the caller's and reached in no other way that
/// anybody uses.
pub(super) unsafe fn map_pages(address: u64, frames: &[u64]) -> Result<(), usize> {
    let flags = (Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE | Flags::GLOBAL).bits();
    let _changes = CHANGES.lock();
    for (page, frame) in frames.iter().enumerate() {
        let at = address + page as u64 * PAGE_SIZE;
        let table = last_table(at).map_err(|_| page)?;
        debug_assert_eq!(read(table, index(at, 1)), 0, "a kernel page is mapped twice");
        // SAFETY: the caller gives address and frame. The entry was empty, so no TLB has it.
        unsafe { write(table, index(at, 1), frame | flags) };
    }
    Ok(())
}

/// Unmaps `count` pages from `address` on and gives the frames to `freed`. TLBs are the caller's business,
/// before a frame is used for anything else.
///
/// # Safety
/// `map_pages` mapped them and nobody uses them any longer.
pub(super) unsafe fn unmap_pages(address: u64, count: u64, mut freed: impl FnMut(u64)) {
    for page in 0..count {
        let at = address + page * PAGE_SIZE;
        let frame = {
            let _changes = CHANGES.lock();
            let table = last_table(at).expect("the tables of mapped pages are there");
            let value = read(table, index(at, 1));
            // SAFETY: an empty entry gives access to nothing; the caller says that nobody uses the page.
            unsafe { write(table, index(at, 1), 0) };
            value & ADDRESS_BITS
        };
        freed(frame);
    }
}

/// Maps `bytes` of device registers at `physical`, uncached and for ever; the address of the first.
pub(super) fn map_device(physical: u64, bytes: u64) -> *mut u8 {
    let mut next = CHANGES.lock();
    let first = physical / PAGE_SIZE * PAGE_SIZE;
    let pages = (physical + bytes - first).div_ceil(PAGE_SIZE);
    let start = *next;
    *next += pages * PAGE_SIZE;
    let flags = Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE | Flags::GLOBAL | Flags::NO_CACHE;
    for page in 0..pages {
        let at = start + page * PAGE_SIZE;
        let table = last_table(at).expect("memory for a page table at boot");
        let value = (first + page * PAGE_SIZE) | (flags | Flags::WRITE_THROUGH).bits();
        // SAFETY: the address was unused until now. The page is a device's: callers take it from the firmware's
        // tables, and no memory that anybody has lies there.
        unsafe { write(table, index(at, 1), value) };
    }
    core::ptr::with_exposed_provenance_mut((start + physical - first) as usize)
}

/// A top-level table like the kernel's that also maps the page at `page` to itself, executable: the start-up
/// code of another CPU runs there while it turns paging on. Below 4 GiB, if the kernel's early frames are.
pub(super) fn start_up_root(page: u64) -> u64 {
    let root = physical::early_frame();
    for slot in ENTRIES / 2..ENTRIES {
        // SAFETY: the kernel's own entries in a table that only a starting CPU loads.
        unsafe { write(root, slot, read(kernel_root(), slot)) };
    }
    let table = [4, 3, 2].into_iter().fold(root, |table, level| {
        let below = physical::early_frame();
        // SAFETY: a fresh zeroed table.
        unsafe { write(table, index(page, level), below | (Flags::PRESENT | Flags::WRITABLE).bits()) };
        below
    });
    // SAFETY: the start-up page holds nothing but start-up code and its few words, written before through the
    // direct map; through this mapping it is read and executed only.
    unsafe { write(table, index(page, 1), page | Flags::PRESENT.bits()) };
    root
}

/// Runs `change` while the kernel may write to its read-only pages on this CPU. For boot, with interrupts off.
pub(super) fn with_writable_text(change: impl FnOnce()) {
    // SAFETY: only weakens what the kernel itself may do, on this CPU, for the time of `change`.
    unsafe { Cr0::update(|flags| flags.remove(Cr0Flags::WRITE_PROTECT)) };
    change();
    // SAFETY: sets it as it was.
    unsafe { Cr0::update(|flags| flags.insert(Cr0Flags::WRITE_PROTECT)) };
}
