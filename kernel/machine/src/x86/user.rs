//! User mode as a function call: [`UserContext::run`] enters ring 3 and returns when the program comes back.
//!
//! `enter` puts the callee-saved registers and the address of the program's [`Registers`] on the kernel stack
//! and makes that place the stack for entries from user mode. Every way back (`syscall`, exception, interrupt)
//! stores the program's registers, drops what is above that place and returns from `enter`.
//!
//! Interrupts are off from before the last look at `interrupted` until the program runs, and from the entry
//! until `run` has done its part. `sysret` is used only where it is safe and restores everything: back from a
//! system call to a canonical address without single step; everything else goes by `iret`.

use super::cpu::{self, KERNEL_STACK, USER_STACK};
use super::descriptors::{KERNEL_CODE, USER_BASE, USER_CODE, USER_DATA};
use super::{breakpoints, interrupts, smap, time};
use crate::paging::USER_END;
use crate::user::{Exit, Fault, Registers};
use core::arch::naked_asm;
use core::mem::offset_of;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{LStar, Msr, SFMask};
use x86_64::registers::rflags::RFlags;

/// A program's registers, and the way into it.
#[derive(Clone, Debug, Default)]
pub struct UserContext {
    /// The general registers, the instruction pointer and the flags.
    pub registers: Registers,
    /// The number of the system call that it came by, or something else: for who uses this to say.
    pub call: u64,
}

/// What the way back reports besides the registers; the C ABI returns it in two registers.
#[repr(C)]
struct Return {
    /// The vector, or [`SYSTEM_CALL`].
    cause: u64,
    error_code: u64,
}

const SYSTEM_CALL: u64 = 256;

/// Flags that a program may set as it likes; the rest is the kernel's.
const USER_FLAGS: u64 = RFlags::CARRY_FLAG.bits()
    | RFlags::PARITY_FLAG.bits()
    | RFlags::AUXILIARY_CARRY_FLAG.bits()
    | RFlags::ZERO_FLAG.bits()
    | RFlags::SIGN_FLAG.bits()
    | RFlags::TRAP_FLAG.bits()
    | RFlags::DIRECTION_FLAG.bits()
    | RFlags::OVERFLOW_FLAG.bits()
    | RFlags::RESUME_FLAG.bits()
    | RFlags::ALIGNMENT_CHECK.bits()
    | RFlags::ID.bits();
/// Always set: a reserved bit, and interrupts.
const FIXED_FLAGS: u64 = 1 << 1 | RFlags::INTERRUPT_FLAG.bits();

impl UserContext {
    /// Runs the program until it makes a system call, causes an exception or is interrupted. Interrupts are on
    /// afterwards.
    ///
    /// Also returns [`Exit::Interrupt`] without running it when an interrupt came since the last return: what
    /// the caller looked at before (a signal, the wish to reschedule) may be out of date. Whatever the
    /// registers hold, nothing but the program is in danger: flags are masked, and an address that no program
    /// can have is a protection fault (vector 13) at once.
    pub fn run(&mut self) -> Exit {
        x86_64::instructions::interrupts::disable();
        let here = cpu::here();
        if here.interrupted.replace(false) {
            x86_64::instructions::interrupts::enable();
            return Exit::Interrupt;
        }
        let registers = &mut self.registers;
        if registers.rip >= USER_END {
            x86_64::instructions::interrupts::enable();
            return Exit::Fault(Fault { vector: 13, error_code: 0, address: 0 });
        }
        registers.rflags = registers.rflags & USER_FLAGS | FIXED_FLAGS;
        let start = time::cycles();
        // SAFETY: interrupts are off and this is a task's kernel stack; `registers` stays borrowed, in place,
        // until `enter` returns. The page tables of the task are active or the program faults at its first
        // instruction; it can do nothing that its page tables and ring 3 forbid. Address and flags were checked.
        let back = unsafe { enter(registers) };
        let spent = time::cycles().wrapping_sub(start);
        // The program was interrupted on this CPU, and nothing has moved the task since.
        here.user_cycles.set(here.user_cycles.get().wrapping_add(spent));
        let exit = match back.cause {
            SYSTEM_CALL => Exit::SystemCall,
            number @ 32..256 => {
                interrupts::serve(number as u8);
                here.interrupted.set(false);
                Exit::Interrupt
            }
            number => {
                let address = match number {
                    14 => x86_64::registers::control::Cr2::read_raw(),
                    1 => breakpoints::take_status(),
                    _ => 0,
                };
                Exit::Fault(Fault { vector: number as u8, error_code: back.error_code as u32, address })
            }
        };
        x86_64::instructions::interrupts::enable();
        exit
    }
}

/// Tells this CPU where system calls enter. Once on each CPU.
pub(super) fn init() {
    const STAR: u32 = 0xc000_0081;
    let star = u64::from(USER_BASE) << 48 | u64::from(KERNEL_CODE) << 32;
    // SAFETY: the selectors are those of the table that `descriptors::load` loaded on this CPU, in the order
    // that `syscall` and `sysret` want.
    unsafe { Msr::new(STAR).write(star) };
    LStar::write(VirtAddr::from_ptr(system_call_entry as *const ()));
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::NESTED_TASK
            | RFlags::RESUME_FLAG
            | RFlags::IOPL_LOW
            | RFlags::IOPL_HIGH,
    );
}

/// Assembly in which `{rax}` and so on are the places of the registers in [`Registers`].
macro_rules! entry_code {
    ($($code:tt)*) => {
        naked_asm!(
            $($code)*
            rax = const offset_of!(Registers, rax),
            rbx = const offset_of!(Registers, rbx),
            rcx = const offset_of!(Registers, rcx),
            rdx = const offset_of!(Registers, rdx),
            rsi = const offset_of!(Registers, rsi),
            rdi = const offset_of!(Registers, rdi),
            rbp = const offset_of!(Registers, rbp),
            rsp = const offset_of!(Registers, rsp),
            r8 = const offset_of!(Registers, r8),
            r9 = const offset_of!(Registers, r9),
            r10 = const offset_of!(Registers, r10),
            r11 = const offset_of!(Registers, r11),
            r12 = const offset_of!(Registers, r12),
            r13 = const offset_of!(Registers, r13),
            r14 = const offset_of!(Registers, r14),
            r15 = const offset_of!(Registers, r15),
            rip = const offset_of!(Registers, rip),
            rflags = const offset_of!(Registers, rflags),
        )
    };
}

/// Loads all registers from `rdi` but rsp, rdi itself and the two that `sysret` needs.
macro_rules! load_most {
    () => {
        concat!(
            "mov rax, [rdi + {rax}]\n",
            "mov rbx, [rdi + {rbx}]\n",
            "mov rdx, [rdi + {rdx}]\n",
            "mov rsi, [rdi + {rsi}]\n",
            "mov rbp, [rdi + {rbp}]\n",
            "mov r8, [rdi + {r8}]\n",
            "mov r9, [rdi + {r9}]\n",
            "mov r10, [rdi + {r10}]\n",
            "mov r12, [rdi + {r12}]\n",
            "mov r13, [rdi + {r13}]\n",
            "mov r14, [rdi + {r14}]\n",
            "mov r15, [rdi + {r15}]\n",
        )
    };
}

/// Stores what [`load_most!`] loads.
macro_rules! store_most {
    () => {
        concat!(
            "mov [rdi + {rax}], rax\n",
            "mov [rdi + {rbx}], rbx\n",
            "mov [rdi + {rdx}], rdx\n",
            "mov [rdi + {rsi}], rsi\n",
            "mov [rdi + {rbp}], rbp\n",
            "mov [rdi + {r8}], r8\n",
            "mov [rdi + {r9}], r9\n",
            "mov [rdi + {r10}], r10\n",
            "mov [rdi + {r12}], r12\n",
            "mov [rdi + {r13}], r13\n",
            "mov [rdi + {r14}], r14\n",
            "mov [rdi + {r15}], r15\n",
        )
    };
}

/// Returns from `enter`, from the place on the stack that it named.
macro_rules! leave {
    () => {
        "pop rdi\npop r15\npop r14\npop r13\npop r12\npop rbx\npop rbp\nret"
    };
}

/// Enters user mode with `registers` and returns, registers stored, when it comes back.
///
/// # Safety
/// Interrupts are off; this runs on a kernel stack of this CPU; `registers.rip` is below [`USER_END`] and the
/// flags are masked.
#[unsafe(naked)]
unsafe extern "C" fn enter(registers: *mut Registers) -> Return {
    entry_code!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdi",
        // Entries from user mode find their stack here. With the return address, 8 words are pushed: aligned.
        "mov gs:[{kernel_stack}], rsp",
        // sysret takes the address from rcx and the flags from r11: right if the program's are the same, as
        // after a system call. It can't restore the resume flag, and a trap flag would strike too early.
        "mov rcx, [rdi + {rip}]",
        "mov r11, [rdi + {rflags}]",
        "cmp rcx, [rdi + {rcx}]",
        "jne 2f",
        "cmp r11, [rdi + {r11}]",
        "jne 2f",
        "test r11d, 0x10100",
        "jnz 2f",
        load_most!(),
        "mov rsp, [rdi + {rsp}]",
        "mov rdi, [rdi + {rdi}]",
        "swapgs",
        "sysretq",
        "2:",
        "push {user_data}",
        "push qword ptr [rdi + {rsp}]",
        "push r11",
        "push {user_code}",
        "push rcx",
        load_most!(),
        "mov rcx, [rdi + {rcx}]",
        "mov r11, [rdi + {r11}]",
        "mov rdi, [rdi + {rdi}]",
        "swapgs",
        "iretq",
        kernel_stack = const KERNEL_STACK,
        user_data = const USER_DATA,
        user_code = const USER_CODE,
    )
}

/// Where the processor goes for `syscall`: interrupts off (the flag mask), on the user's stack and GS.
///
/// # Safety
/// For the processor only.
#[unsafe(naked)]
unsafe extern "C" fn system_call_entry() {
    entry_code!(
        "swapgs",
        "mov gs:[{user_stack}], rsp",
        "mov rsp, gs:[{kernel_stack}]",
        "push rdi",
        "mov rdi, [rsp + 8]",
        "mov [rdi + {rip}], rcx",
        "mov [rdi + {rcx}], rcx",
        "mov [rdi + {rflags}], r11",
        "mov [rdi + {r11}], r11",
        "mov rcx, gs:[{user_stack}]",
        "mov [rdi + {rsp}], rcx",
        "pop rcx",
        "mov [rdi + {rdi}], rcx",
        store_most!(),
        "mov eax, {system_call}",
        leave!(),
        kernel_stack = const KERNEL_STACK,
        user_stack = const USER_STACK,
        system_call = const SYSTEM_CALL,
    )
}

/// Where `trap_entry` goes when the trap came from user mode: the stack is the one that `enter` named, with the
/// processor's five words, the error code and the vector on it; GS is the user's.
///
/// # Safety
/// For the entry code only.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn trap_from_user() {
    entry_code!(
        "swapgs",
        "push rdi",
        "mov rdi, [rsp + 64]",
        store_most!(),
        "mov [rdi + {rcx}], rcx",
        "mov [rdi + {r11}], r11",
        "pop rcx",
        "mov [rdi + {rdi}], rcx",
        "pop rax", // the vector
        "pop rdx", // the error code
        "pop rcx",
        "mov [rdi + {rip}], rcx",
        "add rsp, 8",
        "pop rcx",
        "mov [rdi + {rflags}], rcx",
        "pop rcx",
        "mov [rdi + {rsp}], rcx",
        "add rsp, 8",
        "cld",
        smap::clac!(),
        leave!(),
    )
}
