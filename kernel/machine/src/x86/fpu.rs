//! The state of FPU, SSE and AVX. The kernel keeps nothing in these registers, so they hold what the current task
//! put there; [`super::context::switch`] saves and loads them with the task. Only `super::frame` uses one for a moment.

use super::cpu::{self, cpuid};
use alloc::boxed::Box;
use base::Errno;
use core::arch::asm;
use spin::Once;
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

/// The classic area: FPU and SSE.
const LEGACY: usize = 512;
/// What follows it where there is XSAVE: says which parts are in use.
const HEADER: usize = 64;
/// Where the SSE control word is.
const MXCSR: usize = 24;
const MXCSR_DEFAULT: u32 = 0x1f80;
const CONTROL_WORD_DEFAULT: u16 = 0x37f;

/// The 48 bytes of the classic area that the processor leaves to software.
const SOFTWARE: core::ops::Range<usize> = 464..512;

/// How this machine saves state.
#[derive(Debug)]
struct Layout {
    /// Parts that are saved (XCR0), 0 without XSAVE.
    parts: u64,
    /// Bytes of the area.
    size: usize,
    /// Bits of MXCSR that may be set.
    mxcsr_mask: u32,
    /// The state of a new program.
    initial: FpuState,
}

static LAYOUT: Once<Layout> = Once::new();

fn layout() -> &'static Layout {
    LAYOUT.get().expect("the FPU is set up before the first task")
}

/// Switches the FPU's parts on. Once on each CPU; the first fixes what is saved.
pub(super) fn init() {
    let mut parts = 0;
    if cpu::features().xsave {
        let has = cpuid(0xd, 0).eax;
        let avx512 = XCr0Flags::OPMASK | XCr0Flags::ZMM_HI256 | XCr0Flags::HI16_ZMM;
        let mut wanted = XCr0Flags::X87 | XCr0Flags::SSE;
        if has & XCr0Flags::AVX.bits() as u32 != 0 {
            wanted |= XCr0Flags::AVX;
            if has & avx512.bits() as u32 == avx512.bits() as u32 {
                wanted |= avx512;
            }
        }
        // SAFETY: only parts that the processor says it has, in a combination that it allows; the saved area is
        // sized for them below.
        unsafe { XCr0::write(wanted) };
        parts = wanted.bits();
    }
    LAYOUT.call_once(|| {
        let size = if parts != 0 { cpuid(0xd, 0).ebx as usize } else { LEGACY };
        let mut area = Area::zeroed(size);
        // SAFETY: `area` has the 512 bytes that the instruction writes, aligned.
        unsafe { asm!("fxsave64 [{}]", in(reg) area.bytes_mut().as_mut_ptr(), options(nostack)) };
        let mask = u32::from_le_bytes([area.bytes()[28], area.bytes()[29], area.bytes()[30], area.bytes()[31]]);
        let mut initial = Area::zeroed(size);
        // SAFETY: the area is large enough, aligned by `Line`, and ours.
        unsafe { write_initial(initial.bytes_mut().as_mut_ptr()) };
        Layout { parts, size, mxcsr_mask: if mask == 0 { 0xffbf } else { mask }, initial: FpuState(initial) }
    });
    reset_current();
}

/// Bytes that a saved state takes; the area wants to be on 64 bytes.
pub(super) fn area_size() -> usize {
    layout().size.max(LEGACY + HEADER).next_multiple_of(64)
}

/// Saves the registers.
///
/// # Safety
/// `area` has [`area_size`] bytes, on 64 bytes, that are the caller's to write.
pub(super) unsafe fn save(area: *mut u8) {
    // SAFETY: the caller gives the room; the instruction is one that the processor has, and asks for the parts
    // that `init` switched on.
    unsafe {
        if cpu::features().xsave {
            asm!("xsave64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
        } else {
            asm!("fxsave64 [{}]", in(reg) area, options(nostack));
        }
    }
}

/// Saves the registers into the area that they were loaded from when their task was switched to; parts that have
/// not changed since may be skipped by the processor.
///
/// # Safety
/// As for [`save`]. If the last [`load`] on this CPU was from `area`, nothing has written to it since.
#[inline]
pub(super) unsafe fn save_again(area: *mut u8) {
    if cpu::features().xsaveopt {
        // SAFETY: as in `save`; what is skipped is still in the area, by the caller's second promise.
        unsafe { asm!("xsaveopt64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack)) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { save(area) };
    }
}

/// Loads the registers.
///
/// # Safety
/// `area` has [`area_size`] bytes, on 64 bytes, that [`save`], [`write_initial`] or [`FpuState::filled`]
/// filled: others could make the instruction fault.
#[inline]
pub(super) unsafe fn load(area: *const u8) {
    // SAFETY: the caller's promise; the kernel keeps nothing in these registers.
    unsafe {
        if cpu::features().xsave {
            asm!("xrstor64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
        } else {
            asm!("fxrstor64 [{}]", in(reg) area, options(nostack));
        }
    }
}

/// Writes the state of a new program.
///
/// # Safety
/// As for [`save`].
pub(super) unsafe fn write_initial(area: *mut u8) {
    // SAFETY: the caller gives the room. With XSAVE the parts' header says "nothing in use", which means initial
    // values, and only SSE's control word is read besides; without it all of the classic area is.
    unsafe {
        if cpu::features().xsave {
            area.add(LEGACY).write_bytes(0, HEADER);
        } else {
            area.write_bytes(0, LEGACY);
        }
        area.cast::<u16>().write(CONTROL_WORD_DEFAULT);
        area.add(MXCSR).cast::<u32>().write(MXCSR_DEFAULT);
    }
}

/// The width of registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Width {
    /// 16 bytes.
    Sse,
    /// 32 bytes.
    Avx,
}

/// The widest registers that are switched on and can be put aside whole; `None` early at boot.
///
/// An AVX instruction clears the parts of a register that only AVX-512 knows (Intel SDM volume 2, 2.3.10), an SSE
/// instruction leaves them: with AVX-512 it is SSE.
#[inline]
pub(super) fn widest() -> Option<Width> {
    let parts = LAYOUT.get()?.parts;
    let avx = parts & (XCr0Flags::AVX | XCr0Flags::ZMM_HI256).bits() == XCr0Flags::AVX.bits();
    Some(if avx { Width::Avx } else { Width::Sse })
}

/// Saved registers, in the format that the processor defines and signal frames show: the FXSAVE area, then, on
/// machines with XSAVE, the XSAVE header and the rest.
#[derive(Clone, Debug)]
pub struct FpuState(Area);

/// Memory on 64 bytes.
#[derive(Clone, Debug)]
struct Area(Box<[Line]>);

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Area {
    fn zeroed(size: usize) -> Self {
        let lines = Box::new_zeroed_slice(size.div_ceil(64).max((LEGACY + HEADER) / 64));
        // SAFETY: `Line` is plain bytes, which may be 0.
        Self(unsafe { lines.assume_init() })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: `Line` is 64 plain bytes without padding, so a row of them is so many bytes.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 64) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let length = self.0.len() * 64;
        // SAFETY: as in `bytes`.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), length) }
    }
}

impl FpuState {
    /// The bytes, [`state_size`] of them.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes()[..layout().size]
    }

    /// Leaves these bytes where the processor looks at none.
    pub fn set_software_bytes(&mut self, bytes: &[u8; SOFTWARE.end - SOFTWARE.start]) {
        self.0.bytes_mut()[SOFTWARE].copy_from_slice(bytes);
    }

    /// A state from bytes that a program may have changed: `fill` puts them in place of zeros, [`state_size`] of them.
    ///
    /// Errors: those of `fill`; `EINVAL` the processor would refuse the contents.
    pub fn filled(fill: impl FnOnce(&mut [u8]) -> Result<(), Errno>) -> Result<Self, Errno> {
        let layout = layout();
        let mut area = Area::zeroed(layout.size);
        fill(&mut area.bytes_mut()[..layout.size])?;
        let bytes = area.bytes();
        let word = |at: usize| {
            bytes.get(at..at + 4).map_or(0, |word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        };
        if word(MXCSR) & !layout.mxcsr_mask != 0 {
            return Err(Errno::EINVAL);
        }
        if layout.parts != 0 {
            // XSTATE_BV may name only parts that are on; the compact format and reserved bytes must be unused.
            let used = u64::from(word(LEGACY)) | u64::from(word(LEGACY + 4)) << 32;
            let reserved = (LEGACY + 8..LEGACY + HEADER).step_by(4).fold(0, |all, at| all | word(at));
            if used & !layout.parts != 0 || reserved != 0 {
                return Err(Errno::EINVAL);
            }
        }
        Ok(Self(area))
    }
}

/// Bytes of a saved state on this machine.
pub fn state_size() -> usize {
    layout().size
}

/// The parts that a saved state has (the XCR0 of signal frames); 0 on machines without XSAVE.
pub fn state_parts() -> u64 {
    layout().parts
}

/// A copy of the current task's registers.
pub fn save_current() -> FpuState {
    let mut area = Area::zeroed(layout().size);
    // SAFETY: the area is large enough, aligned by `Line`, and ours.
    unsafe { save(area.bytes_mut().as_mut_ptr()) };
    FpuState(area)
}

/// Gives the current task these registers.
pub fn load_current(state: &FpuState) {
    // SAFETY: an `FpuState` holds what `save` or `write_initial` wrote, or what `filled` checked.
    unsafe { load(state.0.bytes().as_ptr()) };
}

/// Gives the current task the registers of a new program.
pub fn reset_current() {
    load_current(&layout().initial);
}
