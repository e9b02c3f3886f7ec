//! The end of a kernel that has broken a promise: stop the others, say what and where, end the machine.
//!
//! Nothing here allocates or waits for a lock that a stopped CPU may hold.

use super::fw_cfg;
use super::interrupts;
use super::log::Output;
use super::{cpu, kernel_map, local_apic, power};
use base::CpuId;
use core::arch::asm;
use core::fmt::{self, Write};
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
    let mut frames = [Symbol::EMPTY; MOST_FRAMES];
    let mut count = 0;
    let mut add = |address: u64| {
        if count < MOST_FRAMES {
            frames[count].address = address;
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
    let frames = &mut frames[..count];
    find_symbols(frames);
    for (number, frame) in frames.iter().enumerate() {
        let _ = writeln!(out, "{number:4}: {:#018x} {}", frame.address, frame.name());
    }
}

/// Whether 16 bytes at `address` can be read.
fn is_stack(address: u64) -> bool {
    kernel_map::translate(address).is_some() && kernel_map::translate(address + 15).is_some()
}

/// An address and the function that it lies in.
#[derive(Clone, Copy)]
struct Symbol {
    address: u64,
    length: u8,
    text: [u8; 120],
}

impl Symbol {
    const EMPTY: Self = Self { address: 0, length: 0, text: [0; 120] };

    fn name(&self) -> &str {
        let text = &self.text[..self.length.into()];
        core::str::from_utf8(text).unwrap_or("?")
    }

    fn set(&mut self, name: &[u8]) {
        let length = name.len().min(self.text.len());
        self.text[..length].copy_from_slice(&name[..length]);
        self.length = length as u8;
    }
}

/// Names the addresses from the file of symbols that the host may give: lines of `<hex address> <name>`, the
/// addresses counted from the kernel's base, ascending. It is read once, line by line, and nothing is kept.
fn find_symbols(frames: &mut [Symbol]) {
    let Some(mut device) = fw_cfg::device().and_then(|device| device.try_lock()) else { return };
    let Some(file) = device.find("opt/menagerie/symbols") else { return };
    device.open(file);
    let mut left = file.size as usize;
    let mut chunk = [0; 512];
    let mut line = Line::default();
    while left > 0 {
        let now = left.min(chunk.len());
        device.next_bytes(&mut chunk[..now]);
        left -= now;
        for &byte in &chunk[..now] {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            if let Some((address, name)) = line.parse() {
                let start = kernel_map::KERNEL_IMAGE + address;
                // A return address may be the first byte of the next function, if the call never returns.
                frames.iter_mut().filter(|frame| start < frame.address).for_each(|frame| frame.set(name));
            }
            line = Line::default();
        }
    }
}

/// A line as it comes in; what is too long is cut.
struct Line {
    bytes: [u8; 160],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { bytes: [0; 160], length: 0 }
    }
}

impl Line {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn parse(&self) -> Option<(u64, &[u8])> {
        let bytes = &self.bytes[..self.length];
        let space = bytes.iter().position(|&byte| byte == b' ')?;
        let digits = core::str::from_utf8(&bytes[..space]).ok()?;
        Some((u64::from_str_radix(digits.trim_start_matches("0x"), 16).ok()?, &bytes[space + 1..]))
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} {}", self.address, self.name())
    }
}

/// The CPU that panics, if one does.
pub fn panicking() -> Option<CpuId> {
    STOPPING.load(Ordering::Relaxed).checked_sub(1).map(|cpu| CpuId::new(cpu as u32))
}
