//! The end of a kernel that has broken a promise: stop the others, say what and where, end the machine.
//!
//! Nothing here allocates or waits for a lock that a stopped CPU may hold.

use super::interrupts;
use super::log::Output;
use super::{cpu, kernel_map, local_apic, power};
use crate::symbols;
use base::CpuId;
use core::arch::asm;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU64, Ordering};

/// The CPU that panics, plus 1; 0 if none does.
static STOPPING: AtomicU64 = AtomicU64::new(0);
/// Where the trap happened that is the reason, if a trap is.
static ORIGIN: AtomicU64 = AtomicU64::new(0);
/// How many panics this was: a panic within the report of another one ends it.
static DEPTH: AtomicU64 = AtomicU64::new(0);

/// What `isa-debug-exit` gets: QEMU's status is 101 then, as that of a Rust program that panics.
const PANIC_CODE: u8 = 50;
/// The most frames that a backtrace shows.
const MOST_FRAMES: usize = 32;

/// Remembers the address of the instruction that trapped, for the backtrace of the panic that follows.
pub(super) fn set_origin(rip: u64) {
    ORIGIN.store(rip, Ordering::Relaxed);
}

/// Stands still if another CPU is panicking.
pub(super) fn halt_if_stopping() {
    let stopping = STOPPING.load(Ordering::Relaxed);
    if stopping != 0 && stopping != u64::from(cpu::current().raw()) + 1 {
        power::stand_still();
    }
}

/// Makes all other CPUs stand still.
pub(super) fn stop_others() {
    let off = interrupts::off();
    let own = cpu::current();
    let first = STOPPING.compare_exchange(0, u64::from(own.raw()) + 1, Ordering::AcqRel, Ordering::Relaxed);
    if first.is_err() {
        halt_if_stopping();
        return;
    }
    for target in cpu::started().without(&base::CpuSet::only(own)).iter().filter_map(cpu::local) {
        local_apic::send_non_maskable(&off, target.apic_id.get());
    }
    // They have a stack of their own for this and no lock to wait for; give them time to get there.
    (0..100_000).for_each(|_| core::hint::spin_loop());
}

/// Reports a panic on the log ports and ends QEMU with status 101. For the kernel's panic handler. On a machine that
/// is not QEMU, or has no `isa-debug-exit` device, `panic=SECONDS` on the command line says when to reset; without
/// it the machine stands still.
///
/// `describe` adds what the floors above know: the task, its containers. It may panic itself; then the report
/// goes on without it.
pub fn report(info: &PanicInfo<'_>, describe: impl FnOnce(&mut dyn Write)) -> ! {
    x86_64::instructions::interrupts::disable();
    let depth = DEPTH.fetch_add(1, Ordering::Relaxed);
    stop_others();
    let mut out = Output::in_panic();
    // Writing to the ports can't fail.
    let _ = match info.location() {
        Some(at) => writeln!(out, "panic: CPU {}: {} ({}:{})", cpu::current(), info.message(), at.file(), at.line()),
        None => writeln!(out, "panic: CPU {}: {}", cpu::current(), info.message()),
    };
    if depth == 0 {
        describe(&mut out);
    }
    if depth <= 1 {
        backtrace(&mut out);
    }
    power::leave_qemu(PANIC_CODE);
    if let Some(seconds @ 1..) = reset_after() {
        super::time::spin(seconds * 1_000_000_000);
        power::reset();
    }
    power::stand_still()
}

/// `panic=SECONDS` of the command line: 0, or nothing, is for ever, so that a person can read what is on the screen.
fn reset_after() -> Option<u64> {
    super::boot::word("panic")?.parse().ok()
}

/// Writes the chain of callers, one a line: number, address, function if the symbols are there.
fn backtrace(out: &mut dyn Write) {
    let mut frames = [0; MOST_FRAMES];
    let mut count = 0;
    let mut add = |address: u64| {
        if count < MOST_FRAMES {
            frames[count] = address;
            count += 1;
        }
    };
    let origin = ORIGIN.load(Ordering::Relaxed);
    if origin != 0 {
        add(origin);
    }
    let mut frame: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    // The chain may lead from an emergency stack to the one before: only its length is sure to end it.
    for _ in 0..2 * MOST_FRAMES {
        if frame == 0 || !frame.is_multiple_of(8) || !is_stack(frame) {
            break;
        }
        let words: *const [u64; 2] = core::ptr::with_exposed_provenance(frame as usize);
        // SAFETY: aligned, and in a page that is mapped (`is_stack` asks the page tables); the frame pointers of
        // all code chain through there.
        let [next, address] = unsafe { words.read_volatile() };
        if address >= kernel_map::KERNEL_IMAGE {
            add(address);
        }
        frame = next;
    }
    for (number, &address) in frames[..count].iter().enumerate() {
        let name = symbols::find(address).map_or("", |symbol| symbol.name);
        let _ = writeln!(out, "{number:4}: {address:#018x} {name}");
    }
}

/// Whether 16 bytes at `address` can be read.
fn is_stack(address: u64) -> bool {
    kernel_map::translate(address).is_some() && kernel_map::translate(address + 15).is_some()
}

/// The CPU that panics, if one does.
pub fn panicking() -> Option<CpuId> {
    STOPPING.load(Ordering::Relaxed).checked_sub(1).map(|cpu| CpuId::new(cpu as u32))
}
