//! /proc: tasks, the system and its settings as files, in Linux's formats.
//!
//! `activity` has what a task has done, `system` and `processor` have the files of the root, `task` those of a task, `status` the two long texts about one, `links` the
//! links to files, `reports` the files that controllers fill. All are lines of tables (`crate::table`).

mod activity;
mod bytes;
mod config;
mod core_dump;
mod files;
mod filters;
mod ipc_limits;
mod kernel_memory;
mod links;
mod locks;
mod log;
mod mounts;
mod mqueue;
mod namespaces;
mod net;
mod numa;
mod oom;
mod overcommit;
mod process_memory;
mod processor;
mod random;
mod reports;
mod settings;
mod smaps;
mod status;
mod system;
mod sysvipc;
mod task;
mod timers;
mod waiting;
mod zones;

pub(crate) use kernel_memory::numastat;
pub(crate) use system::node_meminfo;

use crate::table::{Subject, TreeType};
use alloc::sync::Arc;
use base::Errno;
use process::{AccessAs, POPULATION, Population, Task};
use vfs::{FileSystemType, FsContext};

/// `f_type` of `statfs`.
const MAGIC: u64 = 0x9fa0;

/// The type, for the registry of file systems.
pub fn file_system_type() -> Arc<dyn FileSystemType> {
    TreeType::of_several("proc", MAGIC, System, &system::ROOT)
}

/// The system as a whole.
#[derive(Clone, Copy)]
pub(crate) struct System;

impl Subject for System {
    fn base(&self) -> u64 {
        1
    }
}

/// The tasks that there are; `ENOENT` before there are any.
fn population() -> Result<&'static Population, Errno> {
    POPULATION.get().ok_or(Errno::ENOENT)
}

/// The place in the mount tree of whoever asks.
fn own_context() -> Result<Arc<FsContext>, Errno> {
    process::current().ok_or(Errno::ENOENT)?.context()
}

/// Whether whoever asks may look into `task`. `EACCES`.
fn check_inspection(task: &Task) -> Result<(), Errno> {
    let asker = process::current().ok_or(Errno::EACCES)?;
    if process::may_inspect(&asker, task, AccessAs::FileUser) { Ok(()) } else { Err(Errno::EACCES) }
}

/// An error of formatting can only mean that there is no memory for the text.
fn written(result: core::fmt::Result) -> Result<(), Errno> {
    result.map_err(|_| Errno::ENOMEM)
}

/// Clock ticks (1/100 s) of a time in ns.
fn ticks(nanoseconds: u64) -> u64 {
    nanoseconds / 10_000_000
}
