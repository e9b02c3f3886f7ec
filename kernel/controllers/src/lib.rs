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
//! only through traits that it declares itself and that `kernel/src` fills. A new one is a file here and a line in the
//! list of `subsystems!`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(test)]
mod documented;
#[cfg(test)]
mod refusals;
pub mod resgroups;
mod task_count;
#[cfg(test)]
mod world;

use alloc::{vec, vec::Vec};
use container::{AnySubsystem, subsystem};

/// Makes of the list of subsystems their modules, their names and [`all`]: an entry is all that the rest of the
/// kernel knows of a controller.
macro_rules! subsystems {
    ($most_tasks:ident: $($file:ident::$name:ident $(:: $root:ident($($argument:ident)?))?,)*) => {
        $(
            pub mod $file;
            pub use self::$file::$name;
        )*

        /// Every subsystem of this build with the state of its root, for [`container::Framework::new`]. There can be
        /// at most `most_tasks` tasks.
        pub fn all($most_tasks: u64) -> Vec<AnySubsystem> {
            vec![$(subsystem(self::$file::$name$(::$root($($argument)?))?)),*]
        }
    };
}

// One line each: `file::Type::root(),` or, where a container keeps nothing, `file::Type,`.
subsystems! { most_tasks:
    cpuset::Cpuset::root(),
    cpu::Cpu::root(),
    cpuacct::Cpuacct::root(),
    memory::Memory::root(),
    devices::Devices::root(),
    freezer::Freezer::root(),
    pids::Pids::root(),
    numtasks::Numtasks::root(most_tasks),
    bc::Bc::root(),
    debug::Debug,
}
