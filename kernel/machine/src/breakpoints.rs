//! The processor's debug registers: places in a program's memory at which it is stopped by a debug exception (vector 1).
//!
//! Each CPU has one set, which is loaded for a program before it runs and may stay there while others do: who gets an
//! exception that is not for it unloads them. An access by the kernel for a program stops nobody.

pub use crate::arch::breakpoints::{load, unload};

/// How many there are.
pub const COUNT: usize = 4;

/// What the registers of a CPU hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Breakpoints {
    /// Addresses of user mode.
    pub addresses: [u64; COUNT],
    /// As DR7: which of them are in use, for what accesses, of how many bytes.
    pub control: u64,
}
