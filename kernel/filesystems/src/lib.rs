//! filesystems: what shows the kernel as files.
//!
//! * [`container`]: hierarchies of containers (types `container`, `cgroup`, `cpuset`).
//! * [`dev`]: `/dev` with the memory devices (type `devtmpfs`).
//! * [`mqueue`]: POSIX message queues (type `mqueue`).
//! * [`proc`]: tasks and the system (type `proc`).
//! * [`sys`]: the machine's topology (type `sysfs`).
//! * [`table`]: directories that are tables, which the two are made of.
//! * [`terminal`]: the serial console, pseudo-terminals (type `devpts`) and their line discipline.
//! * [`tmpfs`]: files in memory with limits.
//!
//! [`add_devices`] puts devices, terminals, queues and tmpfs into a registry. Below it are all floors up to `process`. A file system here
//! decides nothing: it shows what lives below, and hands on what is written.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod container;
pub mod dev;
pub mod mqueue;
pub mod proc;
mod registry;
pub mod sys;
pub mod table;
pub mod terminal;
pub mod tmpfs;

pub use registry::add_devices;
