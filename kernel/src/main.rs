//! kernel: the binary. The order of bring-up, the wiring of the floors, panic, and the entry of the in-kernel tests.
//!
//! Nothing else is here: what the kernel does lives on the floors below, one crate each.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(any(target_os = "none", test))]
extern crate alloc;

#[cfg(target_os = "none")]
mod bring_up;
#[cfg(any(target_os = "none", test))]
mod command_line;
#[cfg(target_os = "none")]
mod first_program;
#[cfg(target_os = "none")]
mod memory_users;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
mod releases;
#[cfg(target_os = "none")]
mod wiring;

#[cfg(target_os = "none")]
machine::entry!(bring_up::kernel_main);

/// The kernel runs on the bare machine; this stands in on the host, so that the whole workspace builds there.
#[cfg(not(target_os = "none"))]
fn main() {}
