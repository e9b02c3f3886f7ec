//! The real machine: x86-64.
//!
//! | files | what |
//! |---|---|
//! | `boot`, `fw_cfg`, `acpi`, `topology` | from the boot loader to `main`, what the firmware says |
//! | `physical`, `direct_map`, `kernel_map`, `stack` | memory, the kernel's half of the address space, stacks |
//! | `frame`, `paging`, `user_memory`, `bytes` | frames, user page tables, copies from and to user memory, and others |
//! | `descriptors`, `traps`, `interrupts`, `smap` | entry from the processor and what is done then |
//! | `cpu`, `identity`, `smp`, `local_apic`, `io_apic`, `ipi` | CPUs, starting them, interrupts between them |
//! | `time`, `timer`, `calendar`, `random` | clocks and chance |
//! | `context`, `fpu`, `user` | tasks: switching, FPU state, user mode |
//! | `console`, `log`, `panic`, `power` | serial ports, the log, and the ways to end |

pub mod boot;
pub mod breakpoints;
pub mod console;
pub mod context;
pub mod cpu;
pub mod fpu;
pub mod frame;
pub mod interrupts;
pub mod ipi;
pub mod log;
pub mod paging;
pub mod panic;
pub mod power;
pub mod random;
pub mod time;
pub mod timer;
pub mod topology;
pub mod user;
pub mod user_memory;

mod acpi;
mod bytes;
mod calendar;
mod descriptors;
mod direct_map;
mod fw_cfg;
mod identity;
mod io_apic;
pub(crate) mod kernel_map;
mod local_apic;
pub(crate) mod physical;
pub(crate) mod smap;
mod smp;
mod stack;
mod traps;

pub(crate) use boot::symbol_table;
pub(crate) use kernel_map::kernel_root;
