//! Kernel stacks: 32 KiB each (more in debug builds), with a page below that is never mapped, so that an overflow is
//! a fault and not a silent overwrite.
//!
//! A stack that is given back stays mapped in a small pool of its CPU, for the next task. What overflows the
//! pool is unmapped, many stacks at a time, because every CPU must forget the addresses before the memory can
//! serve anything else.

use super::kernel_map::{self, STACKS};
use super::physical::{self, PAGE_SIZE};
use super::{cpu, interrupts, ipi};
use crate::frame::{Block, FRAME_SOURCE};
use crate::sync::{IrqLock, rank};
use alloc::vec::Vec;
use base::{Errno, MAX_CPUS};
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::VirtAddr;

/// Bytes of a stack. Without optimisation every temporary has a place of its own on it.
pub const STACK_SIZE: u64 = if cfg!(debug_assertions) { 128 * 1024 } else { 32 * 1024 };
/// Pages of a stack.
const PAGES: usize = (STACK_SIZE / PAGE_SIZE) as usize;
/// A stack and its guard page.
const SLOT: u64 = STACK_SIZE + PAGE_SIZE;
/// Stacks that a CPU keeps.
const KEPT: usize = 8;
/// Stacks that are unmapped in one go.
const BATCH: usize = 32;

/// The end of the slots that were ever used.
static USED: AtomicU64 = AtomicU64::new(STACKS);

/// Stacks that are mapped, those that are kept for later included.
static MAPPED: AtomicU64 = AtomicU64::new(0);

/// Bytes of all stacks that are mapped.
pub(super) fn mapped_bytes() -> u64 {
    MAPPED.load(Ordering::Relaxed) * STACK_SIZE
}

/// Slots that are not mapped, and stacks that wait to be unmapped.
struct Free {
    slots: Vec<u64>,
    waiting: Vec<Stack>,
}

static FREE: IrqLock<Free> = IrqLock::new(rank::KERNEL_MAPPINGS, Free { slots: Vec::new(), waiting: Vec::new() });

/// The pools of the CPUs: the slots, 0 for none. Each is used by its CPU only, interrupts off.
static POOLS: [[AtomicU64; KEPT]; MAX_CPUS] = [const { [const { AtomicU64::new(0) }; KEPT] }; MAX_CPUS];

/// A mapped stack that belongs to whoever has this value.
#[derive(Debug)]
pub(super) struct Stack {
    /// The lowest address of the slot: the guard page.
    slot: u64,
}

impl Stack {
    /// A stack, from this CPU's pool or newly mapped from this CPU's memory.
    ///
    /// Errors: `ENOMEM`.
    pub(super) fn new() -> Result<Self, Errno> {
        {
            let _off = interrupts::off();
            for kept in &POOLS[cpu::current().index()] {
                let slot = kept.load(Ordering::Relaxed);
                if slot != 0 {
                    kept.store(0, Ordering::Relaxed);
                    return Ok(Self { slot });
                }
            }
        }
        if let Some(stack) = FREE.lock().waiting.pop() {
            return Ok(stack);
        }
        Self::map()
    }

    /// A stack in a slot that is not mapped.
    fn map() -> Result<Self, Errno> {
        let mut frames = [0; PAGES];
        for page in 0..PAGES {
            match frame() {
                Ok(frame) => frames[page] = frame,
                Err(error) => {
                    frames[..page].iter().copied().for_each(give_back);
                    return Err(error);
                }
            }
        }
        let free = FREE.lock().slots.pop();
        let slot = free.unwrap_or_else(|| USED.fetch_add(SLOT, Ordering::Relaxed));
        // SAFETY: the slot is this stack's alone (taken from the list, or never used before), and so is each frame,
        // which the allocator gave up.
        match unsafe { kernel_map::map_pages(slot + PAGE_SIZE, &frames) } {
            Ok(()) => {
                MAPPED.fetch_add(1, Ordering::Relaxed);
                Ok(Self { slot })
            }
            Err(mapped) => {
                // SAFETY: mapped just now, and nobody knows of them.
                unsafe { kernel_map::unmap_pages(slot + PAGE_SIZE, mapped as u64, |_| ()) };
                forget(&[slot]);
                frames.into_iter().for_each(give_back);
                FREE.lock().slots.push(slot);
                Err(Errno::ENOMEM)
            }
        }
    }

    /// The address after the last byte, on 64 bytes.
    pub(super) fn top(&self) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut((self.slot + SLOT) as usize)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        {
            let _off = interrupts::off();
            for kept in &POOLS[cpu::current().index()] {
                if kept.load(Ordering::Relaxed) == 0 {
                    kept.store(self.slot, Ordering::Relaxed);
                    return;
                }
            }
        }
        let batch = {
            let mut free = FREE.lock();
            free.waiting.push(Self { slot: self.slot });
            if free.waiting.len() < BATCH { Vec::new() } else { core::mem::take(&mut free.waiting) }
        };
        if !batch.is_empty() {
            unmap(batch);
        }
    }
}

/// Unmaps stacks that nobody uses, and frees their memory once no CPU remembers them.
fn unmap(batch: Vec<Stack>) {
    let slots: Vec<u64> = batch.into_iter().map(|stack| core::mem::ManuallyDrop::new(stack).slot).collect();
    let mut frames = Vec::with_capacity(slots.len() * PAGES);
    for slot in &slots {
        // SAFETY: mapped by `Stack::new`, and the owner gave it up.
        unsafe { kernel_map::unmap_pages(slot + PAGE_SIZE, PAGES as u64, |frame| frames.push(frame)) };
    }
    MAPPED.fetch_sub(slots.len() as u64, Ordering::Relaxed);
    forget(&slots);
    frames.into_iter().for_each(give_back);
    FREE.lock().slots.extend(slots);
}

/// Makes all CPUs forget the pages of the stacks in `slots`.
fn forget(slots: &[u64]) {
    // The pages must be seen gone by a CPU that is not among those asked here: see `cpu::unpark`.
    core::sync::atomic::fence(Ordering::SeqCst);
    ipi::call(&cpu::attentive(), &|| {
        for page in slots.iter().flat_map(|slot| (1..SLOT / PAGE_SIZE).map(move |page| slot + page * PAGE_SIZE)) {
            x86_64::instructions::tlb::flush(VirtAddr::new(page));
        }
    });
}

/// One frame of this CPU's node; its bytes may be anything.
fn frame() -> Result<u64, Errno> {
    let node = super::topology::get().node_of(cpu::current());
    let block = FRAME_SOURCE.get().ok_or(Errno::ENOMEM)?.block(0, Some(node))?;
    Ok(physical::to_physical(block.into_address()))
}

/// Takes back what `frame` gave.
fn give_back(frame: u64) {
    // SAFETY: `frame` gave it up with `into_address`; its page was unmapped and every TLB has forgotten it (or
    // it was never mapped), and the direct map's pointer was not kept.
    drop(unsafe { Block::from_address(physical::to_virtual(frame), 0) });
}

/// Whether `address` lies in the guard page of a kernel stack.
pub(super) fn is_guard(address: u64) -> bool {
    (STACKS..USED.load(Ordering::Relaxed)).contains(&address) && (address - STACKS) % SLOT < PAGE_SIZE
}
