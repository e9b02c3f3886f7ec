//! base: the words that every floor uses.
//!
//! Error numbers, numbers of CPUs, nodes, tasks and users, sets of them, names, credentials, devices, what is charged to whom, and how
//! numbers and sets are written as text. It depends on nothing of ours, touches no hardware and holds no state.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod charge;
mod credentials;
pub mod device;
mod errno;
pub mod extended;
mod ids;
pub mod list;
mod names;
pub mod number;
pub mod radix;
mod sets;

pub use credentials::{Capabilities, Credentials};
pub use errno::Errno;
pub use ids::{CpuId, Gid, NodeId, Pid, Uid};
pub use names::Names;
pub use sets::{CpuSet, MAX_CPUS, MAX_NODES, NodeSet};
