//! process: the life of a task, from fork to the reaping.
//!
//! | type | what |
//! |---|---|
//! | [`Task`] | a thread: owns one part from each floor below (`sched::Entity`, `container::Membership`, address space, files) |
//! | [`Process`] | a thread group: what its threads share, and what its parent learns |
//! | [`Population`] | all tasks: numbers, relations, futex queues, the container framework |
//! | [`trace`] | tracing, ptrace(2) |
//! | [`filters`] | filters of system calls, seccomp(2) |
//! | [`tree::Tree`], [`identity`], [`signals`], [`exec::image`], [`futex`] … | the rules, plain data without tasks, tested on the host |
//!
//! A task's kernel stack runs [`run`]'s loop: user mode, the reason for coming back, what there is to do before going
//! there again. System calls come through the hook [`SYSTEM_CALLS`]; their decoded forms are the functions here, which
//! take the calling task and typed arguments. Below: `base`, `machine`, `memory`, `sched`, `vfs`, `container`. Not here:
//! numbers and layouts of system calls (`syscall`), what shows tasks as files and terminals (`filesystems`), policy of
//! controllers.
//!
//! Locks: the tree (rank `TASK_TABLE`), then a process, then a task's belongings, signal actions, a task's signals. A
//! process lock is never held while another is taken.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod access;
pub mod accounts;
pub mod aio;
pub mod barriers;
mod bases;
pub mod clocks;
pub mod clone;
mod completion;
pub mod core_dump;
pub mod credentials;
pub mod exec;
pub mod exit;
pub mod faults;
mod file_limits;
pub mod file_signals;
pub mod filters;
pub mod futex;
pub mod futex_calls;
pub mod identity;
pub mod ipc;
pub mod kernel_log;
pub mod limits;
mod names;
pub mod namespaces;
mod numbered;
pub mod oom;
mod open_files;
mod payers;
pub mod persona;
mod placement;
pub mod policy;
mod population;
pub mod posix_queues;
pub mod power;
pub mod prctl;
pub mod priority;
mod process;
pub mod process_file;
pub mod restartable;
pub mod run;
pub mod scheduling;
pub mod session;
pub mod shared_memory;
pub mod signals;
mod sleep;
pub mod spawn;
pub mod status;
mod task;
pub mod terminal;
pub mod timers;
pub mod trace;
pub mod transfers;
pub mod tree;
pub mod usage_calls;
mod view;
pub mod wait;
pub mod wall_clock;

pub use access::{AccessAs, may_inspect};
pub use completion::Completion;
pub use file_limits::OwnLimits;
pub use kernel_log::KERNEL_LOG;
pub use limits::{Limit, Limits, Resource};
pub use names::{MACHINE, Names, RELEASE, RELEASE_26, SYSTEM, VERSION};
pub use open_files::TaskFiles;
pub use payers::{TaskPayers, TaskPrivilege};
pub use placement::{AllowedNodes, RECLAIMS, TaskPlacement};
pub use population::{LARGEST_PID, POPULATION, Population, TaskTree};
pub use power::off as power_off;
pub use process::{Process, Program, SharedActions};
pub use run::{SYSTEM_CALLS, SystemCalls};
pub use task::{NAME_MAX, Name, NumberedSpace, Task, current, release_space};
pub use view::{SignalView, StateName};
