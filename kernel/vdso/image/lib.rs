//! The code of the vDSO: calls that a program can answer for itself, because the kernel lends it the page of the clock,
//! which lies just before this object in memory. What can't be answered here goes to the system call.
//!
//! It runs in user mode with the rights of the program that calls it: a bad pointer is the program's own fault, literally.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

#[path = "../src/clock.rs"]
mod clock;

use clock::{Clock, PLACE_SELECTOR, SECOND, place};
use core::arch::asm;

/// `struct timespec`.
#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// `struct timeval`.
#[repr(C)]
pub struct Timeval {
    seconds: i64,
    microseconds: i64,
}

/// `clock_gettime(2)`.
///
/// # Safety
/// `out` is as the manual page wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_clock_gettime(number: i32, out: *mut Timespec) -> i32 {
    const CALL: usize = 228;
    let clock = shared_clock();
    let Some(now) = clock.reading(number, cycles) else {
        return system_call(CALL, number as usize, out.addr(), 0);
    };
    // SAFETY: as the caller promises.
    unsafe { out.write(Timespec { seconds: (now / SECOND) as i64, nanoseconds: (now % SECOND) as i64 }) };
    0
}

/// `clock_getres(2)`: all clocks that are read here count nanoseconds.
///
/// # Safety
/// `out` is null or as the manual page wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_clock_getres(number: i32, out: *mut Timespec) -> i32 {
    const CALL: usize = 229;
    if shared_clock().reading(number, || 0).is_none() {
        return system_call(CALL, number as usize, out.addr(), 0);
    }
    if !out.is_null() {
        // SAFETY: as the caller promises.
        unsafe { out.write(Timespec { seconds: 0, nanoseconds: 1 }) };
    }
    0
}

/// `gettimeofday(2)`; the time zone is always that of Greenwich.
///
/// # Safety
/// `out` and `zone` are null or as the manual page wants them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_gettimeofday(out: *mut Timeval, zone: *mut [i32; 2]) -> i32 {
    if !out.is_null() {
        let now = shared_clock().realtime(cycles());
        let microseconds = (now % SECOND / 1000) as i64;
        // SAFETY: as the caller promises.
        unsafe { out.write(Timeval { seconds: (now / SECOND) as i64, microseconds }) };
    }
    if !zone.is_null() {
        // SAFETY: as the caller promises.
        unsafe { zone.write([0, 0]) };
    }
    0
}

/// `time(2)`.
///
/// # Safety
/// `out` is null or as the manual page wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_time(out: *mut i64) -> i64 {
    let seconds = (shared_clock().realtime(cycles()) / SECOND) as i64;
    if !out.is_null() {
        // SAFETY: as the caller promises.
        unsafe { out.write(seconds) };
    }
    seconds
}

/// `getcpu(2)`; the third argument has no meaning any more.
///
/// # Safety
/// `cpu` and `node` are null or as the manual page wants them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_getcpu(cpu: *mut u32, node: *mut u32, _unused: *mut u8) -> i32 {
    let limit: u32;
    // SAFETY: asks for the limit of a segment that the kernel has made for this; touches no memory.
    unsafe {
        asm!("lsl {0:e}, {1:e}", out(reg) limit, in(reg) u32::from(PLACE_SELECTOR), options(nomem, nostack));
    }
    let (own_cpu, own_node) = place::decode(limit);
    for (out, value) in [(cpu, own_cpu), (node, own_node)] {
        if !out.is_null() {
            // SAFETY: as the caller promises.
            unsafe { out.write(value) };
        }
    }
    0
}

/// The clock that the kernel shares with all programs.
fn shared_clock() -> &'static Clock {
    let object: *const u8;
    // SAFETY: only makes the address of the linker's name for the first byte of this object. (As a static of Rust it would be
    // found through a table of addresses, which somebody would have to fill.)
    unsafe { asm!("lea {}, [rip + __ehdr_start]", out(reg) object, options(pure, nomem, nostack, preserves_flags)) };
    let page = object.wrapping_sub(clock::PAGE_SIZE).cast::<Clock>();
    // SAFETY: the kernel maps its page of the clock just before this object and keeps it as long as the object. It is made of
    // atomics, which the kernel alone writes.
    unsafe { &*page }
}

/// The time stamp counter, after everything that the program did before.
fn cycles() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading the counter has no effect, and the kernel never forbids it. The fence keeps the processor from reading
    // ahead of a load that saw what another CPU stored at a later time.
    unsafe { asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// A system call with up to three arguments; what it returns is the negative errno, if it fails.
fn system_call(number: usize, first: usize, second: usize, third: usize) -> i32 {
    let result: usize;
    // SAFETY: the calls made here write only where their arguments say, as the caller of the function above wants it; the
    // instruction overwrites the two registers that are named.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") first, in("rsi") second, in("rdx") third,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result as i32
}
