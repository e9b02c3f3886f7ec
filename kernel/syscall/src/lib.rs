//! syscall: the Linux system call table of x86-64.
//!
//! Each call is a function that decodes its arguments, calls the floor below and encodes the result; `table` lists
//! them all, one line a call, and `catalogue` says what is missing. Errno, order of checks and partial results are those of the man pages, section 2.
//!
//! | file | calls |
//! |---|---|
//! | `transfer`, `cuts` | bytes between memory and files |
//! | `copying` | bytes between files |
//! | `descriptors`, `locks`, `owners` | descriptors, pipes, directories, file locks, signals from files |
//! | `opening`, `paths`, `mounts`, `mount_files`, `file_systems` | names in the file system |
//! | `selecting`, `polling` | waiting for files |
//! | `sockets`, `socket_options`, `socket_messages` | local sockets |
//! | `memory` | address spaces |
//! | `shared_memory`, `semaphores`, `messages` | System V objects |
//! | `posix_queues` | POSIX message queues |
//! | `processes`, `others`, `threads`, `futexes`, `identity`, `signals`, `scheduling` | tasks |
//! | `clock`, `system` | time and the machine |
//!
//! What a call does is not here but in the floors below: `process`, `vfs`, `memory`, `sched`, `container`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod abi;
mod advice;
mod aio;
mod arguments;
mod call;
#[cfg(test)]
mod catalogue;
mod clock;
mod clock_setting;
mod copying;
mod cuts;
mod descriptors;
mod extended;
mod file_systems;
mod futexes;
mod identity;
mod ipc;
mod locks;
mod memory;
mod messages;
mod migration;
mod mount_files;
mod mounts;
mod names;
mod namespaces;
mod opening;
mod others;
mod owners;
mod paths;
mod policy;
mod polling;
mod posix_queues;
mod processes;
mod scheduling;
mod selecting;
mod semaphores;
mod shared_memory;
mod signals;
mod socket_messages;
mod socket_options;
mod sockets;
mod system;
mod table;
mod threads;
mod timers;
mod tracing;
mod transfer;
mod unknown;
mod vectors;

pub use table::Table;
#[cfg(test)]
use table::name;
