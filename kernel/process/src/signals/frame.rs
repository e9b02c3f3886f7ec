//! The frame that a signal handler finds on its stack: `struct rt_sigframe` of x86-64, as bytes.
//!
//! From the stack pointer up: return address (`sa_restorer`), `ucontext_t`, `siginfo_t`; above, 64-byte aligned, the
//! FPU state as XSAVE writes it, with Linux's marks that say how long it is. Pure: reading and writing user memory is
//! done by [`super::deliver`].

use super::{AlternateStack, SignalSet, info};
use base::Errno;
use machine::user::Registers;

/// Bytes below the stack pointer that belong to the interrupted function (psABI).
const RED_ZONE: u64 = 128;
/// `struct ucontext` with x86-64's 8-byte `uc_sigmask`.
const CONTEXT_SIZE: usize = 40 + 256 + 8;
/// Return address, context, siginfo.
pub const FRAME_SIZE: usize = 8 + CONTEXT_SIZE + info::SIZE;
/// The part of the FPU state that FXSAVE writes; XSAVE's header follows.
pub const LEGACY_SIZE: usize = 512;
/// Where `struct _fpx_sw_bytes` lies in it, and how long it is.
const SOFTWARE_BYTES: usize = 464;
const SOFTWARE_SIZE: usize = 48;
const MAGIC_1: u32 = 0x4650_5853;
/// What follows an FPU state with XSAVE's part.
pub const END_MARK: [u8; 4] = 0x4650_5845u32.to_le_bytes();
/// `uc_flags`: FPU state is XSAVE's; `ss` is saved and used.
const CONTEXT_FLAGS: u64 = 0x1 | 0x2 | 0x4;
/// The segments of 64-bit user mode.
const USER_CODE: u16 = 0x33;
const USER_STACK: u16 = 0x2b;
/// Direction, trap and resume flags, which a handler starts without.
const CLEARED_FLAGS: u64 = 0x400 | 0x100 | 0x1_0000;
/// The flags that sigreturn takes from the frame: arithmetic, direction, trap, alignment check, resume.
const RESTORED_FLAGS: u64 = 0x4_0dd5 | 0x1_0000;

/// What a fault adds to the frame: `err`, `trapno`, `cr2`.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct FaultFacts {
    /// The processor's error code.
    pub error_code: u64,
    /// The exception's number.
    pub vector: u64,
    /// The faulting address.
    pub address: u64,
}

/// A frame that is ready to be written.
pub struct Frame {
    /// Where [`Self::bytes`] go; the handler's stack pointer.
    pub address: u64,
    /// The frame.
    pub bytes: [u8; FRAME_SIZE],
    /// Where the FPU state goes, and behind it, if it is longer than [`LEGACY_SIZE`], [`END_MARK`].
    pub floating_point_address: u64,
}

/// What a frame is made of.
pub struct FrameRequest<'a> {
    /// The interrupted program's registers.
    pub registers: &'a Registers,
    /// The length of its FPU state in XSAVE's standard form (or FXSAVE's, 512 bytes).
    pub floating_point_size: usize,
    /// What it had blocked.
    pub mask: SignalSet,
    /// The alternate stack as `sigaltstack(2)` would show it.
    pub stack: AlternateStack,
    /// The top of the stack to use: the alternate one's end, or none for the current one.
    pub alternate_top: Option<u64>,
    /// `siginfo_t`.
    pub info: [u8; info::SIZE],
    /// Facts of the last fault.
    pub fault: FaultFacts,
    /// `sa_restorer`.
    pub restorer: u64,
}

/// Lays a frame out.
pub fn build(request: FrameRequest<'_>) -> Frame {
    let registers = request.registers;
    let top = request.alternate_top.unwrap_or_else(|| registers.rsp.wrapping_sub(RED_ZONE));
    let end = if request.floating_point_size > LEGACY_SIZE { END_MARK.len() } else { 0 };
    let floating_point_address = top.wrapping_sub((request.floating_point_size + end) as u64) & !63;
    let address = (floating_point_address.wrapping_sub(FRAME_SIZE as u64) & !15).wrapping_sub(8);
    let r = registers;
    let words = [
        request.restorer,
        CONTEXT_FLAGS,
        0,
        request.stack.base,
        request.stack.flags.into(),
        request.stack.size,
        r.r8,
        r.r9,
        r.r10,
        r.r11,
        r.r12,
        r.r13,
        r.r14,
        r.r15,
        r.rdi,
        r.rsi,
        r.rbp,
        r.rbx,
        r.rdx,
        r.rax,
        r.rcx,
        r.rsp,
        r.rip,
        r.rflags,
        u64::from(USER_CODE) | u64::from(USER_STACK) << 48,
        request.fault.error_code,
        request.fault.vector,
        request.mask.bits(),
        request.fault.address,
        floating_point_address,
    ];
    /// Where the mask lies, behind eight words that are 0.
    const MASK: usize = FRAME_SIZE - info::SIZE - 8;
    let mut bytes = [0; FRAME_SIZE];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes[MASK..MASK + 8].copy_from_slice(&request.mask.bits().to_le_bytes());
    bytes[MASK + 8..].copy_from_slice(&request.info);
    Frame { address, bytes, floating_point_address }
}

/// Linux's marks in an FPU state of `size` bytes: how long it is and which components (XCR0) it can hold. A state without
/// XSAVE's part has none.
pub fn marks(size: usize, features: u64) -> [u8; SOFTWARE_SIZE] {
    let mut bytes = [0; SOFTWARE_SIZE];
    if size > LEGACY_SIZE {
        bytes[..4].copy_from_slice(&MAGIC_1.to_le_bytes());
        bytes[4..8].copy_from_slice(&((size + END_MARK.len()) as u32).to_le_bytes());
        bytes[8..16].copy_from_slice(&features.to_le_bytes());
        bytes[16..20].copy_from_slice(&(size as u32).to_le_bytes());
    }
    bytes
}

/// Sets the registers of a handler's first instruction. `frame` was built from them.
pub fn enter_handler(registers: &mut Registers, signal: u8, handler: u64, frame: &Frame) {
    registers.rdi = signal.into();
    registers.rsi = frame.address + (8 + CONTEXT_SIZE) as u64;
    registers.rdx = frame.address + 8;
    registers.rax = 0;
    registers.rsp = frame.address;
    registers.rip = handler;
    registers.rflags &= !CLEARED_FLAGS;
}

/// What sigreturn finds in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The registers to go on with.
    pub registers: Registers,
    /// What was blocked.
    pub mask: SignalSet,
    /// The alternate stack.
    pub stack: AlternateStack,
    /// Where the FPU state lies; 0 is none.
    pub floating_point_address: u64,
}

/// How many bytes [`parse`] wants, from 8 below the stack pointer of the sigreturn call, less those 8.
pub const PARSE_SIZE: usize = CONTEXT_SIZE;

/// Reads a `ucontext_t`. Flags are taken from the frame as far as a program may set them, the rest from `current`.
pub fn parse(bytes: &[u8; PARSE_SIZE], current: &Registers) -> Restored {
    let word = |index: usize| {
        let mut value = [0; 8];
        value.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
        u64::from_le_bytes(value)
    };
    let rflags = word(22) & RESTORED_FLAGS | current.rflags & !RESTORED_FLAGS;
    let registers = Registers {
        r8: word(5),
        r9: word(6),
        r10: word(7),
        r11: word(8),
        r12: word(9),
        r13: word(10),
        r14: word(11),
        r15: word(12),
        rdi: word(13),
        rsi: word(14),
        rbp: word(15),
        rbx: word(16),
        rdx: word(17),
        rax: word(18),
        rcx: word(19),
        rsp: word(20),
        rip: word(21),
        rflags,
    };
    Restored {
        registers,
        mask: SignalSet::from_bits(word(37)).without(SignalSet::UNSTOPPABLE),
        stack: AlternateStack { base: word(2), flags: word(3) as u32, size: word(4) },
        floating_point_address: word(28),
    }
}

/// How long the FPU state in a frame is, from its first 512 bytes; `available` is what the processor's state takes.
/// State without marks is FXSAVE's 512 bytes, as on Linux; `EINVAL` for a length that can't be.
pub fn floating_point_size(legacy: &[u8; LEGACY_SIZE], available: usize) -> Result<usize, Errno> {
    let word = |at: usize| u32::from_le_bytes([legacy[at], legacy[at + 1], legacy[at + 2], legacy[at + 3]]);
    if word(SOFTWARE_BYTES) != MAGIC_1 {
        return Ok(LEGACY_SIZE);
    }
    let size = word(SOFTWARE_BYTES + 16) as usize;
    if size < LEGACY_SIZE + 64 || size > available {
        return Err(Errno::EINVAL);
    }
    Ok(size)
}

/// Tells XRSTOR that a state holds only what FXSAVE writes: x87 and SSE in use, the rest initial.
pub fn mark_legacy_only(state: &mut [u8]) {
    if let Some(used) = state.get_mut(LEGACY_SIZE..LEGACY_SIZE + 8) {
        used.copy_from_slice(&3u64.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATE_SIZE: usize = 832;

    fn registers(seed: u64) -> Registers {
        Registers {
            rax: seed,
            rbx: seed ^ 1,
            rcx: seed ^ 2,
            rdx: seed ^ 3,
            rsi: seed ^ 4,
            rdi: seed ^ 5,
            rbp: seed ^ 6,
            rsp: 0x7fff_0000_1238,
            r8: seed ^ 8,
            r9: seed ^ 9,
            r10: seed ^ 10,
            r11: seed ^ 11,
            r12: seed ^ 12,
            r13: seed ^ 13,
            r14: seed ^ 14,
            r15: seed ^ 15,
            rip: seed ^ 16,
            rflags: 0x246,
        }
    }

    fn request(registers: &Registers, alternate_top: Option<u64>) -> Frame {
        build(FrameRequest {
            registers,
            floating_point_size: STATE_SIZE,
            mask: SignalSet::from_bits(0x55),
            stack: AlternateStack { base: 0x1000, flags: 0, size: 0x2000 },
            alternate_top,
            info: [9; info::SIZE],
            fault: FaultFacts { error_code: 6, vector: 14, address: 0xdead },
            restorer: 0x1234,
        })
    }

    proptest! {
        #[test]
        fn sigreturn_finds_what_the_frame_was_built_from(seed: u64) {
            let before = registers(seed);
            let frame = request(&before, None);
            let context: &[u8; PARSE_SIZE] = frame.bytes[8..8 + PARSE_SIZE].try_into().unwrap();
            let restored = parse(context, &before);
            prop_assert_eq!(restored.registers, before);
            prop_assert_eq!(restored.mask, SignalSet::from_bits(0x55));
            prop_assert_eq!(restored.stack, AlternateStack { base: 0x1000, flags: 0, size: 0x2000 });
            prop_assert_eq!(restored.floating_point_address, frame.floating_point_address);
        }
    }

    #[test]
    fn the_frame_keeps_the_red_zone_and_the_alignment_of_a_call() {
        let before = registers(1);
        let frame = request(&before, None);
        assert_eq!(frame.address % 16, 8);
        assert_eq!(frame.floating_point_address % 64, 0);
        let room = STATE_SIZE as u64 + 4;
        assert!(frame.floating_point_address + room <= before.rsp - 128);
        assert!(frame.address + FRAME_SIZE as u64 <= frame.floating_point_address);
        let frame = request(&before, Some(0x9000));
        assert!(frame.floating_point_address + room <= 0x9000);
    }

    #[test]
    fn linux_marks_say_how_long_the_state_is() {
        let mut legacy = [0; LEGACY_SIZE];
        legacy[SOFTWARE_BYTES..].copy_from_slice(&marks(832, 7));
        assert_eq!(floating_point_size(&legacy, 832), Ok(832));
        assert_eq!(floating_point_size(&legacy, 831), Err(Errno::EINVAL));
        assert_eq!(floating_point_size(&[0; 512], 832), Ok(512));
        assert_eq!(legacy[SOFTWARE_BYTES + 4..][..4], 836u32.to_le_bytes(), "the mark at the end is counted");
        assert_eq!(legacy[SOFTWARE_BYTES + 8..][..8], 7u64.to_le_bytes());
        assert_eq!(marks(LEGACY_SIZE, 0), [0; SOFTWARE_SIZE]);
    }

    #[test]
    fn a_program_can_not_give_itself_system_flags() {
        let before = registers(1);
        let mut frame = request(&before, None);
        frame.bytes[8 + 22 * 8..8 + 23 * 8].copy_from_slice(&u64::MAX.to_le_bytes());
        let context: &[u8; PARSE_SIZE] = frame.bytes[8..8 + PARSE_SIZE].try_into().unwrap();
        let flags = parse(context, &before).registers.rflags;
        assert_eq!(flags & 0x3000, 0, "I/O privilege level");
        assert_eq!(flags & 0x200, 0x200, "interrupts stay on");
    }
}
