//! filesystems: what shows the kernel as files.
//!
//! * [`container`]: hierarchies of containers (types `container`, `cgroup`, `cpuset`).
//!
//! Below it are all floors up to `process`. A file system here decides nothing: it shows what lives below, and hands
//! on what is written.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod container;
