//! Entry from the processor: exceptions, interrupts and non-maskable interrupts, from kernel and user mode.
//!
//! All 256 vectors have a small stub that makes one shape of frame and goes on to `trap_entry`. What comes
//! from kernel mode is served in [`kernel_trap`] and returns to where it came from. What comes from user mode
//! stores the registers and *returns from* `user::enter`: see there.

use super::cpu::KERNEL_STACK;
use super::interrupts::{self, vector};
use super::{breakpoints, panic, smap, user, user_memory};
use core::arch::global_asm;

/// What the entry code pushes for a trap in kernel mode, lowest address first. The callee-saved registers are
/// in their places: Rust code keeps them.
#[repr(C)]
pub(super) struct KernelFrame {
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rax: u64,
    /// The trap's number.
    vector: u64,
    /// The processor's error code, 0 where it has none.
    error_code: u64,
    /// Where it happened.
    pub rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

const STUB_SIZE: u64 = 16;

global_asm!(
    // The vectors for which the processor pushes an error code: 8, 10-14, 17, 21, 29, 30.
    ".set ERROR_CODES, 0x60227d00",
    ".p2align 4",
    ".global trap_stubs",
    "trap_stubs:",
    ".set number, 0",
    ".rept 256",
    ".p2align 4",
    ".if number > 31",
    "push $0",
    ".elseif (ERROR_CODES >> number) & 1 == 0",
    "push $0",
    ".endif",
    ".byte 0x68", // push of a 32-bit constant: the number
    ".long number",
    ".if number == 1",
    "jmp debug_entry",
    ".elseif number == 2",
    "jmp paranoid_entry",
    ".elseif number == 8",
    "jmp paranoid_entry",
    ".elseif number == 18",
    "jmp paranoid_entry",
    ".else",
    "jmp trap_entry",
    ".endif",
    ".set number, number + 1",
    ".endr",
    options(att_syntax)
);

global_asm!(
    ".p2align 4",
    "trap_entry:",
    "test byte ptr [rsp + 24], 3", // the interrupted code segment's privilege
    "jnz {from_user}",
    "push rax",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "cld",
    smap::clac!(),
    "mov rdi, rsp",
    // The processor aligned the stack before it pushed; with 16 words on it, it is aligned again.
    "call {kernel_trap}",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rax",
    "add rsp, 16",
    "iretq",
    // A debug exception is of this kind in kernel mode only. From user mode the seven words go to the stack where
    // exceptions of programs are expected.
    "debug_entry:",
    "test byte ptr [rsp + 24], 3",
    "jz paranoid_entry",
    "swapgs",
    "push rax",
    "mov rax, rsp",
    "mov rsp, gs:[{kernel_stack}]",
    "push qword ptr [rax + 56]",
    "push qword ptr [rax + 48]",
    "push qword ptr [rax + 40]",
    "push qword ptr [rax + 32]",
    "push qword ptr [rax + 24]",
    "push qword ptr [rax + 16]",
    "push qword ptr [rax + 8]",
    "mov rax, [rax]",
    "swapgs",
    "jmp {from_user}",
    // Traps that may come anywhere, also between the first instruction of an entry and its `swapgs`: they have
    // a stack of their own, and look whether GS is the kernel's.
    "paranoid_entry:",
    "push rax",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "cld",
    smap::clac!(),
    "mov ecx, 0xc0000101", // the GS base: kernel addresses have the top bit
    "rdmsr",
    "push rbx",
    "push rbp",
    "mov rbp, rsp",
    "xor ebx, ebx",
    "test edx, edx",
    "js 2f",
    "swapgs",
    "mov ebx, 1",
    "2:",
    "lea rdi, [rsp + 16]",
    "and rsp, -16",
    "call {paranoid_trap}",
    "mov rsp, rbp",
    "test ebx, ebx",
    "jz 3f",
    "swapgs",
    "3:",
    "pop rbp",
    "pop rbx",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rax",
    "add rsp, 16",
    "iretq",
    from_user = sym user::trap_from_user,
    kernel_stack = const KERNEL_STACK,
    kernel_trap = sym kernel_trap,
    paranoid_trap = sym paranoid_trap,
);

unsafe extern "C" {
    #[link_name = "trap_stubs"]
    static STUBS: u8;
}

/// The address of the entry code of `vector`.
pub(super) fn stub(vector: u8) -> u64 {
    core::ptr::addr_of!(STUBS).addr() as u64 + STUB_SIZE * u64::from(vector)
}

/// Names of the exceptions, for panics.
pub(super) fn name(vector: u64) -> &'static str {
    const NAMES: [&str; 22] = [
        "division error",
        "debug exception",
        "non-maskable interrupt",
        "breakpoint",
        "overflow",
        "bound range exceeded",
        "invalid opcode",
        "no FPU",
        "double fault",
        "coprocessor overrun",
        "invalid task state",
        "segment not present",
        "stack fault",
        "general protection fault",
        "page fault",
        "exception 15",
        "FPU error",
        "alignment check",
        "machine check",
        "SIMD error",
        "virtualization exception",
        "control protection exception",
    ];
    usize::try_from(vector).ok().and_then(|vector| NAMES.get(vector)).copied().unwrap_or("exception")
}

/// Serves a trap in kernel mode; interrupts are off. Returning resumes at `frame.rip`.
extern "C" fn kernel_trap(frame: &mut KernelFrame) {
    const PAGE_FAULT: u64 = 14;
    const PROTECTION_FAULT: u64 = 13;
    match frame.vector {
        number @ 32.. => interrupts::serve(number as u8),
        PAGE_FAULT => {
            let address = x86_64::registers::control::Cr2::read_raw();
            if !copy_fault(frame, address) {
                fatal(frame, Some(address));
            }
        }
        PROTECTION_FAULT => match user_memory::fixup(frame.rip) {
            Some(fixup) => frame.rip = fixup,
            None => fatal(frame, None),
        },
        _ => fatal(frame, None),
    }
}

/// Serves a page fault at `address` if the faulting instruction is a copy from or to user memory; says whether
/// it was.
///
/// The task's fault handler runs with interrupts on, as the copy did. A copy made with interrupts off (under a
/// lock) can't wait for pages and fails at once.
fn copy_fault(frame: &mut KernelFrame, address: u64) -> bool {
    const INTERRUPT_FLAG: u64 = 1 << 9;
    let Some(fixup) = user_memory::fixup(frame.rip) else { return false };
    if address >= 1 << 47 {
        return false; // the kernel's own half: no copy is meant to go there
    }
    let mut resolved = false;
    if frame.rflags & INTERRUPT_FLAG != 0 {
        x86_64::instructions::interrupts::enable();
        resolved = user_memory::kernel_fault(address, frame.error_code as u32);
        x86_64::instructions::interrupts::disable();
    }
    if !resolved {
        frame.rip = fixup;
    }
    true
}

/// Serves what came on an emergency stack.
extern "C" fn paranoid_trap(frame: &mut KernelFrame) {
    const DEBUG: u64 = 1;
    const NON_MASKABLE: u64 = 2;
    if frame.vector == DEBUG {
        // The kernel touched for a program what that is watched for, or a program tried to have the kernel stopped.
        breakpoints::take_status();
        return;
    }
    if frame.vector == NON_MASKABLE {
        panic::halt_if_stopping();
        crate::log!("interrupts: a non-maskable interrupt at {:#x}; going on", frame.rip);
        return;
    }
    fatal(frame, None);
}

fn fatal(frame: &KernelFrame, address: Option<u64>) -> ! {
    const DOUBLE_FAULT: u64 = 8;
    panic::set_origin(frame.rip);
    let (name, rip, rsp, code) = (name(frame.vector), frame.rip, frame.rsp, frame.error_code);
    // The first fault of a double one is mostly a page fault that found no room on the stack.
    let overflow = frame.vector == DOUBLE_FAULT;
    let address = address.or_else(|| overflow.then(x86_64::registers::control::Cr2::read_raw));
    match address {
        Some(address) => {
            let guard = if super::stack::is_guard(address) { " (the guard page of a kernel stack)" } else { "" };
            panic!("{name} in the kernel at {rip:#x}: address {address:#x}{guard}, error {code:#x}, stack {rsp:#x}")
        }
        None => panic!("{name} in the kernel at {rip:#x}: error {code:#x}, stack {rsp:#x}"),
    }
}

const _: () = assert!(vector::SERIAL_2 >= 32, "vectors below 32 are exceptions");
