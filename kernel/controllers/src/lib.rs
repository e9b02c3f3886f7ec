//! controllers: the subsystems of containers, one file each.
//!
//! | file | subsystem | what it does to tasks |
//! |---|---|---|
//! | [`cpuset`] | `cpuset` | says on which CPUs they run and on which nodes their memory lies |
//! | [`cpuacct`] | `cpuacct` | counts the CPU time that they use, to the nanosecond |
//! | [`mod@memory`] | `memory` | limits the memory that they use |
//! | [`devices`] | `devices` | says which device files they may open and make |
//! | [`freezer`] | `freezer` | stops them all, and lets them go on |
//! | [`pids`] | `pids` | limits how many there are, those not yet reaped included |
//! | [`numtasks`] | `numtasks` | limits how many there are, and divides them by shares |
//! | [`bc`] | `bc` | counts and limits what the kernel spends for them |
//! | [`debug`] | `debug` | nothing; shows what the framework knows |
//!
//! [`resgroups`] is no subsystem but a library for those that divide something by shares.
//!
//! Below it are `container` (the framework), `memory` (the floor), `machine` and `base`. A controller reaches the scheduler and the tasks
//! only through traits that it declares itself and that `kernel/src` fills. A new one is a file here and a line in
//! [`all`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bc;
pub mod cpuacct;
pub mod cpuset;
pub mod debug;
pub mod devices;
pub mod freezer;
pub mod memory;
pub mod numtasks;
pub mod pids;
pub mod resgroups;
mod task_count;
#[cfg(test)]
mod world;

pub use self::memory::Memory;
pub use bc::Bc;
pub use cpuacct::Cpuacct;
pub use cpuset::Cpuset;
pub use debug::Debug;
pub use devices::Devices;
pub use freezer::Freezer;
pub use numtasks::Numtasks;
pub use pids::Pids;

use alloc::{vec, vec::Vec};
use container::{AnySubsystem, subsystem};

/// Every subsystem of this build with the state of its root, for [`container::Framework::new`]. There can be at most
/// `most_tasks` tasks.
pub fn all(most_tasks: u64) -> Vec<AnySubsystem> {
    vec![
        subsystem(Cpuset::root()),
        subsystem(Cpuacct::root()),
        subsystem(Memory::root()),
        subsystem(Devices::root()),
        subsystem(Freezer::root()),
        subsystem(Pids::root()),
        subsystem(Numtasks::root(most_tasks)),
        subsystem(Bc::root()),
        subsystem(Debug),
    ]
}
