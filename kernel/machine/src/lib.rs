//! machine: all that touches the hardware, and a small second implementation of it for the host.
//!
//! Every crate above sees the same paths on both: `x86` is the real machine, `host` lets those crates compile
//! and be tested with plain `cargo test`. Types that both share stand in files of their own here; what differs
//! comes from `arch`. Locks are in [`sync`], for the machine, the host and loom. Below it is only `base`.
//! No policy lives here: no task, no file, no container.
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

#[cfg(target_os = "none")]
#[path = "x86/mod.rs"]
mod arch;
#[cfg(not(target_os = "none"))]
#[path = "host/mod.rs"]
mod arch;

// The decoders are tested on the host and used on the machine.
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
mod firmware;

pub mod boot;
pub mod breakpoints;
pub mod cpu;
// loom's locks can't stand in statics, and no model needs frames.
#[cfg(not(loom))]
pub mod frame;
pub mod interrupts;
pub mod log;
#[cfg(not(loom))]
pub mod paging;
pub mod symbols;
pub mod sync;
pub mod time;
pub mod topology;
pub mod user;
#[cfg(not(loom))]
pub mod user_memory;

pub use arch::{console, context, fpu, ipi, power, random, timer};

/// The report of a kernel panic.
#[cfg(target_os = "none")]
pub use arch::panic;

/// What only host tests use: setting this thread's CPU, clock and topology.
#[cfg(not(target_os = "none"))]
pub use arch::host;
