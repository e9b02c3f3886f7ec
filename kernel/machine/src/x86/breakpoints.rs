//! This CPU's debug registers.

use super::{cpu, interrupts};
use crate::{breakpoints::Breakpoints, paging::USER_END};
use core::arch::asm;
use x86_64::registers::debug::{DebugAddressRegister, Dr0, Dr1, Dr2, Dr3, Dr6, Dr7, Dr7Value};

/// What may be set in DR7: the marks of use, kinds and lengths; not the detection of accesses to these registers.
const CONTROL: u64 = 0xffff_00ff;
/// DR6 when nothing has happened.
const NO_STATUS: u64 = 0xffff_0ff0;

/// Has programs on this CPU stopped there from now on, until [`unload`]. Panics for an address that is not user mode's: the
/// kernel's entries don't expect that.
pub fn load(wanted: &Breakpoints) {
    assert!(wanted.addresses.iter().all(|&address| address < USER_END), "a breakpoint in the kernel: {wanted:x?}");
    let off = interrupts::off();
    Dr7::write(Dr7Value::from_bits_truncate(0));
    let [first, second, third, fourth] = wanted.addresses;
    Dr0::write(first);
    Dr1::write(second);
    Dr2::write(third);
    Dr3::write(fourth);
    Dr7::write(Dr7Value::from_bits_truncate(wanted.control & CONTROL));
    cpu::here().has_breakpoints.set(true);
    drop(off);
}

/// Stops no program on this CPU any longer.
pub fn unload() {
    let off = interrupts::off();
    if cpu::here().has_breakpoints.replace(false) {
        Dr7::write(Dr7Value::from_bits_truncate(0));
    }
    drop(off);
}

/// What a debug exception is about (DR6); forgets it. Interrupts are off.
pub(super) fn take_status() -> u64 {
    let status = Dr6::read_raw();
    // SAFETY: the register only tells what has happened; nothing depends on what it holds.
    unsafe { asm!("mov dr6, {}", in(reg) NO_STATUS, options(nomem, nostack, preserves_flags)) };
    status
}
