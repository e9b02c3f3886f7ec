//! User mode as a function call: registers in, the reason for coming back out.

pub use crate::arch::user::UserContext;

/// The general registers of a task in user mode.
#[allow(missing_docs)] // the names are those of the processor's manual
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// Why user mode was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The `syscall` instruction: number in `rax`, arguments in `rdi`, `rsi`, `rdx`, `r10`, `r8`, `r9`.
    SystemCall,
    /// An exception that the program caused.
    Fault(Fault),
    /// An interrupt, which has been handled by now.
    Interrupt,
}

/// A processor exception in user mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The exception's number, 14 for a page fault.
    pub vector: u8,
    /// The error code that the processor pushed, 0 if none.
    pub error_code: u32,
    /// The faulting address (CR2) of a page fault; of a debug exception what it is about (DR6); else 0.
    pub address: u64,
}
