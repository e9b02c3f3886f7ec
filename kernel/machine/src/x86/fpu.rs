//! The state of FPU, SSE and AVX. The kernel keeps nothing in these registers, so they hold what the current task
//! put there; [`super::context::switch`] saves and loads them with the task. Only `super::frame` uses one for a moment.

use super::cpu::{self, cpuid};
use super::smap::{clac, stac};
use super::user_memory::or_else;
use crate::user_memory::{is_within, load_u32};
use base::Errno;
use core::arch::asm;
use core::mem::MaybeUninit;
use core::ops::Range;
use spin::Once;
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

/// The classic area: FPU and SSE.
const LEGACY: usize = 512;
/// What follows it where there is XSAVE: says which parts are in use.
const HEADER: usize = 64;
/// The most that both and the parts that are switched on here take, up to the last of AVX-512.
const MOST: usize = 2688;
/// Where the SSE registers end, and the parts that lie side by side: FPU, SSE, the header, AVX.
const SSE_END: usize = 416;
const CLOSED: usize = 832;
/// Where the SSE control word is.
const MXCSR: usize = 24;
/// Where the processor says which of its bits may be set.
const MXCSR_MASK: usize = 28;
const MXCSR_DEFAULT: u32 = 0x1f80;
const CONTROL_WORD_DEFAULT: u16 = 0x37f;

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
        assert!(size <= MOST, "the FPU's state takes {size} bytes");
        let room = size.max(LEGACY + HEADER);
        let mut area = FpuState::of_size(room);
        // SAFETY: `area` has the 512 bytes that the instruction writes, aligned.
        unsafe { asm!("fxsave64 [{}]", in(reg) area.area(), options(nostack)) };
        // SAFETY: the word lies in the area, on 4 bytes.
        let mask = unsafe { area.area().add(MXCSR_MASK).cast::<u32>().read() };
        let mut initial = FpuState::of_size(room);
        // SAFETY: the area is large enough, aligned by `Line`, and ours.
        unsafe { write_initial(initial.area()) };
        Layout { parts, size, mxcsr_mask: if mask == 0 { 0xffbf } else { mask }, initial }
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
/// machines with XSAVE, the XSAVE header and the rest. It lies on the stack of who asks for it, and is large: lent, not
/// returned.
#[derive(Clone, Debug)]
pub struct FpuState {
    /// The first [`area_size`] bytes are there.
    lines: [MaybeUninit<Line>; MOST / size_of::<Line>()],
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl FpuState {
    /// What `work` does with a state whose bytes are 0.
    pub fn with_zeroed<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        let mut state = Self::unwritten();
        state.clear(0..area_size());
        work(&mut state)
    }

    fn of_size(size: usize) -> Self {
        let mut state = Self::unwritten();
        state.clear(0..size);
        state
    }

    #[inline(always)]
    fn unwritten() -> Self {
        Self { lines: [MaybeUninit::uninit(); MOST / size_of::<Line>()] }
    }

    fn area(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }

    /// Makes bytes 0.
    fn clear(&mut self, bytes: Range<usize>) {
        assert!(bytes.start <= bytes.end && bytes.end <= MOST);
        // SAFETY: the range lies in the array, whose elements are plain bytes.
        unsafe { self.area().add(bytes.start).write_bytes(0, bytes.len()) };
    }

    /// The bytes, [`state_size`] of them.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes are there, and `Line` is plain bytes without padding.
        unsafe { core::slice::from_raw_parts(self.lines.as_ptr().cast(), layout().size) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`.
        unsafe { core::slice::from_raw_parts_mut(self.area(), layout().size) }
    }

    /// Takes a state from bytes that a program may have changed: `fill` puts them in place of those that are there,
    /// [`state_size`] of them.
    ///
    /// Errors: those of `fill`; `EINVAL` the processor would refuse the contents. Then all bytes are 0.
    pub fn fill(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<(), Errno>) -> Result<(), Errno> {
        let result = fill(self.bytes_mut()).and_then(|()| self.check());
        if result.is_err() {
            self.clear(0..area_size());
        }
        result
    }

    fn check(&self) -> Result<(), Errno> {
        let (layout, bytes) = (layout(), self.bytes());
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
        Ok(())
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

/// What `work` does with a copy of the current task's registers.
pub fn with_current<R>(work: impl FnOnce(&mut FpuState) -> R) -> R {
    let mut state = FpuState::unwritten();
    // The processor leaves out what follows the SSE registers and most of the header; other parts may have gaps.
    state.clear(SSE_END..LEGACY + HEADER);
    if area_size() > CLOSED {
        state.clear(CLOSED..area_size());
    }
    // SAFETY: the area is large enough, aligned by `Line`, and ours. All of its bytes are there then: those that are
    // not written were cleared.
    unsafe { save(state.area()) };
    work(&mut state)
}

/// Gives the current task these registers.
pub fn load_current(state: &FpuState) {
    // SAFETY: an `FpuState` holds what `save` or `write_initial` wrote, zeros, or what `check` has looked at.
    unsafe { load(state.lines.as_ptr().cast()) };
}

/// Gives the current task the registers of a new program.
#[inline]
pub fn reset_current() {
    load_current(&layout().initial);
}

/// Saves the current task's registers in user memory, in the format of [`FpuState::bytes`]. What the processor leaves as it
/// is must be right already: the software's bytes and, with XSAVE, zeros for the header.
///
/// Errors: `EFAULT`, also for an address that is not on 64 bytes; part may have been written.
#[inline]
pub fn save_to_user(address: u64) -> Result<(), Errno> {
    if !is_within(address, layout().size) {
        return Err(Errno::EFAULT);
    }
    // SAFETY: the instruction writes as many bytes as were found to be user addresses.
    let done =
        unsafe { if cpu::features().xsave { xsave_user(address, u64::MAX) } else { fxsave_user(address, u64::MAX) } };
    if done { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Gives the current task the registers that lie in user memory, of the `parts` that the state may have; the others as a
/// new program has them. On an error all are as a new program has them.
///
/// Errors: `EFAULT`, also for what the processor refuses: contents, and an address that is not on 64 bytes.
#[inline]
pub fn load_from_user(address: u64, parts: u64) -> Result<(), Errno> {
    let own = layout().parts;
    if parts & own != own {
        reset_current();
    }
    load_user(address, || {
        // SAFETY: the instruction reads as many bytes as were found to be user addresses.
        unsafe { xrstor_user(address, parts & own) }
    })
}

/// The same from a state that has only what FXSAVE writes; the address is on 16 bytes.
///
/// Errors: as for that.
pub fn load_legacy_from_user(address: u64) -> Result<(), Errno> {
    reset_current();
    load_user(address, || {
        // SAFETY: as above.
        unsafe { fxrstor_user(address, u64::MAX) }
    })
}

fn load_user(address: u64, load: impl FnOnce() -> bool) -> Result<(), Errno> {
    let layout = layout();
    // QEMU's emulation of the instructions takes any control word.
    let is_control = |word: u32| word & !layout.mxcsr_mask == 0;
    let loaded =
        is_within(address, layout.size) && load_u32(address.wrapping_add(MXCSR as u64)).is_ok_and(is_control) && load();
    if !loaded {
        reset_current();
        return Err(Errno::EFAULT);
    }
    Ok(())
}

/// Declares a function that saves or loads all registers of the current task in user memory; false if the memory can't be
/// reached or the processor refuses what is in it.
macro_rules! user_access {
    ($name:ident, $instruction:literal) => {
        /// # Safety
        /// What the instruction accesses has user addresses.
        #[inline]
        unsafe fn $name(address: u64, parts: u64) -> bool {
            let failed: u32;
            // SAFETY: only the caller's user addresses are accessed, with user access allowed; the kernel keeps nothing in
            // the registers. A fault that can't be resolved goes on at 4, with part of the work done.
            unsafe {
                asm!(
                    "xor ecx, ecx",
                    stac!(),
                    concat!("2: ", $instruction, " [{address}]"),
                    "3:",
                    clac!(),
                    ".pushsection .text.fixup,\"ax\",@progbits",
                    "4: mov ecx, 1",
                    "jmp 3b",
                    ".popsection",
                    or_else!("2b", "4b"),
                    address = in(reg) address,
                    in("eax") parts as u32,
                    in("edx") (parts >> 32) as u32,
                    out("ecx") failed,
                    options(nostack)
                );
            }
            failed == 0
        }
    };
}

user_access!(xsave_user, "xsave64");
user_access!(fxsave_user, "fxsave64");
user_access!(xrstor_user, "xrstor64");
user_access!(fxrstor_user, "fxrstor64");
