//! Where frames and their metadata lie on the real machine, and how their bytes are copied.
//!
//! Whole frames go by the widest registers that are switched on, since not every processor (and no emulated one) is fast
//! at string instructions. The registers are the current task's: what is in them is put aside and back. An interrupt in
//! between leaves them as they are, and a switch in between saves and loads them with the task.

use super::fpu::{self, Width};
use crate::frame::{Entry, FRAME_SIZE, FrameRange, initialize};
use alloc::vec::Vec;
use core::arch::asm;

/// Sets up the metadata of all frames, in memory that it takes from the ranges: 16 bytes for each frame up to the
/// last. Ranges so far up that the metadata would take more than an eighth of all memory are left alone; says how
/// many frames that were.
///
/// # Safety
/// Called once, on the boot CPU, before anything of `machine::frame`. The ranges are usable memory that nothing uses,
/// without overlap; all usable memory is mapped writable, at `direct_map` + physical address, for ever.
pub(crate) unsafe fn start(mut ranges: Vec<FrameRange>, direct_map: u64) -> u64 {
    ranges.sort_unstable_by_key(|range| range.first);
    let entry_bytes = size_of::<Entry>() as u64;
    let all: u64 = ranges.iter().map(|range| range.end - range.first).sum();
    let mut left = 0;
    while let Some(last) = ranges.last()
        && last.end * entry_bytes > all * FRAME_SIZE as u64 / 8
    {
        left += last.end - last.first;
        ranges.pop();
    }
    let limit = ranges.last().map_or(0, |range| range.end);
    let frames = (limit * entry_bytes).div_ceil(FRAME_SIZE as u64);
    // From the end of a range, so that low memory stays for those who need it.
    let home = ranges.iter_mut().rev().find(|range| range.end - range.first > frames);
    let home = home.expect("no range of memory is large enough for the frames' metadata");
    home.end -= frames;
    let address = (direct_map + home.end * FRAME_SIZE as u64) as *mut Entry;
    // SAFETY: the bytes were just taken out of a usable range, so they are mapped and nobody's; zero is a valid entry.
    let entries = unsafe {
        zero(address.cast(), frames as usize * FRAME_SIZE);
        core::slice::from_raw_parts(address, limit as usize)
    };
    // SAFETY: the caller's promises, and the metadata's own frames are no longer in a range.
    unsafe { initialize(entries, direct_map as *mut u8, ranges) };
    left
}

/// Copies bytes that others may read and write meanwhile.
///
/// # Safety
/// Both ranges are mapped, and nobody has a Rust reference that this access would break.
pub unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller answers for the ranges. Assembly, because the compiler may assume nothing about bytes that
    // user mode or another CPU changes; the direction flag is clear by the calling convention.
    unsafe {
        asm!(
            "rep movsq",
            "mov ecx, {rest:e}",
            "rep movsb",
            rest = in(reg) length % 8,
            inout("rcx") length / 8 => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Sets bytes to zero that others may read and write meanwhile.
///
/// # Safety
/// As for [`copy`].
pub unsafe fn zero(to: *mut u8, length: usize) {
    // SAFETY: as in `copy`.
    unsafe {
        asm!(
            "rep stosq",
            "mov ecx, {rest:e}",
            "rep stosb",
            rest = in(reg) length % 8,
            inout("rcx") length / 8 => _,
            inout("rdi") to => _,
            in("rax") 0u64,
            options(nostack, preserves_flags)
        );
    }
}

/// Bytes that one turn of the loops over whole frames does, or over even parts of one.
const TURN: usize = 512;

/// The loops over such pieces: `rdi` and, for copies, `rsi` are the ends of the ranges, `rcx` is minus the length, and
/// `$step` is what is done for the `$size` bytes at `[… + rcx + at]`. `$aside` and `$back` keep what the register held.
macro_rules! whole_frames {
    ($size:literal, $aside:literal, $back:literal, $first:literal, [$($step:literal),*], $length:expr, $($operand:tt)*) => {
        asm!(
            "sub rsp, 32",
            $aside,
            $first,
            "2:",
            ".set at, 0",
            ".rept {turn} / {size}",
            $($step,)*
            ".set at, at + {size}",
            ".endr",
            "add rcx, {turn}",
            "jnz 2b",
            $back,
            "add rsp, 32",
            turn = const TURN,
            size = const $size,
            inout("rcx") ($length as u64).wrapping_neg() => _,
            $($operand)*
        )
    };
}

/// Copies whole frames, or even parts of one, that others may read and write meanwhile.
///
/// # Safety
/// As for [`copy`]; both ranges begin at multiples of 512 bytes, and `length` is such a multiple other than 0.
pub unsafe fn copy_frames(to: *mut u8, from: *const u8, length: usize) {
    let (to_end, from_end) = (to.wrapping_add(length), from.wrapping_add(length));
    // SAFETY: as in `copy`. Loops over aligned pieces of 512 bytes, so each ends where the range does; the registers
    // that they use are switched on (`fpu::widest`), and hold afterwards what they held before.
    unsafe {
        match fpu::widest() {
            Some(Width::Avx) => whole_frames!(32, "vmovdqu [rsp], ymm0", "vmovdqu ymm0, [rsp]", "",
                ["vmovdqa ymm0, [rsi + rcx + at]", "vmovdqa [rdi + rcx + at], ymm0"], length,
                in("rdi") to_end, in("rsi") from_end),
            Some(Width::Sse) => whole_frames!(16, "movups [rsp], xmm0", "movups xmm0, [rsp]", "",
                ["movaps xmm0, [rsi + rcx + at]", "movaps [rdi + rcx + at], xmm0"], length,
                in("rdi") to_end, in("rsi") from_end),
            None => copy(to, from, length),
        }
    }
}

/// Sets whole frames to zero that others may read and write meanwhile.
///
/// # Safety
/// As for [`copy_frames`].
pub unsafe fn zero_frames(to: *mut u8, length: usize) {
    let end = to.wrapping_add(length);
    // SAFETY: as in `copy_frames`.
    unsafe {
        match fpu::widest() {
            Some(Width::Avx) => {
                whole_frames!(32, "vmovdqu [rsp], ymm0", "vmovdqu ymm0, [rsp]", "vpxor xmm0, xmm0, xmm0",
                ["vmovdqa [rdi + rcx + at], ymm0"], length, in("rdi") end)
            }
            Some(Width::Sse) => whole_frames!(16, "movups [rsp], xmm0", "movups xmm0, [rsp]", "pxor xmm0, xmm0",
                ["movaps [rdi + rcx + at], xmm0"], length, in("rdi") end),
            None => zero(to, length),
        }
    }
}
