//! The frame that a signal handler finds on its stack: `struct rt_sigframe` of x86-64, as bytes.
//!
//! From the stack pointer up: return address (`sa_restorer`), `ucontext_t`, `siginfo_t`; above, 64-byte aligned, the
//! FPU state as XSAVE writes it, with Linux's marks that say how long it is. Pure: reading and writing user memory is
//! done by [`super::deliver`].

use super::{AlternateStack, SignalSet, info};
use machine::user::Registers;

/// Bytes below the stack pointer that belong to the interrupted function (psABI).
const RED_ZONE: u64 = 128;
/// `struct ucontext` with x86-64's 8-byte `uc_sigmask`, in words of 8 bytes.
pub const CONTEXT_WORDS: usize = 5 + 32 + 1;
/// The same with the return address below it.
const WORDS: usize = 1 + CONTEXT_WORDS;
/// Where `siginfo_t` is, from the frame's address.
const INFO: u64 = (WORDS * 8) as u64;
/// Return address, context, siginfo.
pub const FRAME_SIZE: usize = WORDS * 8 + info::SIZE;
/// The part of the FPU state that FXSAVE writes; XSAVE's header follows.
pub const LEGACY_SIZE: usize = 512;
const HEADER_SIZE: usize = 64;
/// Where `struct _fpx_sw_bytes` lies in an FPU state, just before the header.
pub const MARKS: u64 = 464;
/// Its length in words.
pub const MARK_WORDS: usize = 6;
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
    /// Where [`Self::words`] go; the handler's stack pointer.
    pub address: u64,
    /// The return address and the context.
    pub words: [u64; WORDS],
    /// Where the FPU state goes, and behind it, if it is longer than [`LEGACY_SIZE`], [`END_MARK`].
    pub floating_point_address: u64,
}

impl Frame {
    /// Where `siginfo_t` goes.
    pub const fn info_address(&self) -> u64 {
        self.address + INFO
    }
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
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        request.mask.bits(),
    ];
    Frame { address, words, floating_point_address }
}

/// Linux's marks in an FPU state of `size` bytes: how long it is and which components (XCR0) it can hold. A state without
/// XSAVE's part has none.
pub const fn marks(size: usize, features: u64) -> [u64; MARK_WORDS] {
    if size > LEGACY_SIZE {
        let whole = (size + END_MARK.len()) as u64;
        [MAGIC_1 as u64 | whole << 32, features, size as u64, 0, 0, 0]
    } else {
        [0; MARK_WORDS]
    }
}

/// The same with the header that follows: XSAVE writes only what is in use into it.
pub fn marks_and_header(size: usize, features: u64) -> [u64; MARK_WORDS + HEADER_SIZE / 8] {
    let [sizes, features, size, ..] = marks(size, features);
    [sizes, features, size, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Sets the registers of a handler's first instruction. `frame` was built from them.
pub fn enter_handler(registers: &mut Registers, signal: u8, handler: u64, frame: &Frame) {
    registers.rdi = signal.into();
    registers.rsi = frame.info_address();
    registers.rdx = frame.address + 8;
    registers.rax = 0;
    registers.rsp = frame.address;
    registers.rip = handler;
    registers.rflags &= !CLEARED_FLAGS;
}

/// Where the FPU state of a `ucontext_t` lies; 0 is none.
pub const fn floating_point_address(words: &[u64; CONTEXT_WORDS]) -> u64 {
    words[28]
}

/// Takes the registers from a `ucontext_t`, which lies at the stack pointer of the sigreturn call. Of the flags only those
/// that a program may set are taken. Besides: what was blocked, and the alternate stack.
pub fn restore(words: &[u64; CONTEXT_WORDS], registers: &mut Registers) -> (SignalSet, AlternateStack) {
    let r = registers;
    r.r8 = words[5];
    r.r9 = words[6];
    r.r10 = words[7];
    r.r11 = words[8];
    r.r12 = words[9];
    r.r13 = words[10];
    r.r14 = words[11];
    r.r15 = words[12];
    r.rdi = words[13];
    r.rsi = words[14];
    r.rbp = words[15];
    r.rbx = words[16];
    r.rdx = words[17];
    r.rax = words[18];
    r.rcx = words[19];
    r.rsp = words[20];
    r.rip = words[21];
    r.rflags = words[22] & RESTORED_FLAGS | r.rflags & !RESTORED_FLAGS;
    let mask = SignalSet::from_bits(words[37]).without(SignalSet::UNSTOPPABLE);
    (mask, AlternateStack { base: words[2], flags: words[3] as u32, size: words[4] })
}

/// How long the FPU state in a frame is, and which components may be in it, from the first of its [marks](MARKS);
/// `available` is what the processor's state takes. `None`: the marks make no sense, and the state is FXSAVE's, as on Linux.
pub fn marked_state(marks: [u64; 3], available: usize) -> Option<(usize, u64)> {
    let [sizes, features, size] = marks;
    let (whole, size) = ((sizes >> 32) as usize, size as u32 as usize);
    let makes_sense =
        sizes as u32 == MAGIC_1 && (LEGACY_SIZE + HEADER_SIZE..=available).contains(&size) && size <= whole;
    makes_sense.then_some((size, features))
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
            fault: FaultFacts { error_code: 6, vector: 14, address: 0xdead },
            restorer: 0x1234,
        })
    }

    proptest! {
        #[test]
        fn sigreturn_finds_what_the_frame_was_built_from(seed: u64) {
            let before = registers(seed);
            let frame = request(&before, None);
            let context = frame.words[1..].try_into().unwrap();
            let mut restored = Registers { rflags: before.rflags, ..registers(!seed) };
            let (mask, stack) = restore(context, &mut restored);
            prop_assert_eq!(restored, before);
            prop_assert_eq!(mask, SignalSet::from_bits(0x55));
            prop_assert_eq!(stack, AlternateStack { base: 0x1000, flags: 0, size: 0x2000 });
            prop_assert_eq!(floating_point_address(context), frame.floating_point_address);
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
        let [sizes, features, size, rest @ ..] = marks_and_header(STATE_SIZE, 7);
        assert_eq!(sizes >> 32, 836, "the mark at the end is counted");
        assert_eq!(rest, [0; 11], "the software's other bytes, and the header");
        let marked = [sizes, features, size];
        assert_eq!(marked_state(marked, STATE_SIZE), Some((STATE_SIZE, 7)));
        assert_eq!(marked_state(marked, STATE_SIZE - 1), None, "longer than the processor's");
        assert_eq!(marked_state([sizes, 7, 575], STATE_SIZE), None, "no room for the header");
        assert_eq!(marked_state([sizes, 7, 576], STATE_SIZE), Some((576, 7)));
        let short = u64::from(MAGIC_1) | 600 << 32;
        assert_eq!(marked_state([short, 7, 601], STATE_SIZE), None, "longer than the whole");
        assert_eq!(marked_state([0, 7, size], STATE_SIZE), None, "no mark");
        assert_eq!(marks(LEGACY_SIZE, 0), [0; MARK_WORDS]);
    }

    #[test]
    fn a_program_can_not_give_itself_system_flags() {
        let before = registers(1);
        let mut frame = request(&before, None);
        frame.words[1 + 22] = u64::MAX;
        let mut restored = before;
        restore(frame.words[1..].try_into().unwrap(), &mut restored);
        let flags = restored.rflags;
        assert_eq!(flags & 0x3000, 0, "I/O privilege level");
        assert_eq!(flags & 0x200, 0x200, "interrupts stay on");
    }
}
