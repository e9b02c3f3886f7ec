//! The decisions of the scheduler as pure values: no clock, no lock, no CPU of their own.
//!
//! [`Runnable`] orders the runnable tasks of one CPU (and [`Queue`] those that share by virtual time), [`placement`] says where a task goes that wakes up or is new,
//! [`balance`] which CPU may take a task from which other, [`Domain`] among which CPUs. The scheduler proper calls them under its locks; the
//! simulator at the end of this folder calls the same functions for thousands of tasks.

pub mod balance;
mod claim;
mod class;
mod deadline;
mod domain;
mod group;
mod level;
mod limit;
mod offer;
pub mod placement;
mod queue;
mod real_time;
mod runnable;
mod server;
mod share;
#[cfg(test)]
mod simulation;
mod throttle;
mod tree;
mod weight;

pub use class::{Class, Policy, Priority, Urgency};
pub use domain::{Domain, Reach};
pub use group::{DEFAULT_GROUP_WEIGHT, Group, Roots};
pub use level::Standing;
pub use limit::{Limit, LimitStatistics};
pub use queue::Queue;
pub use real_time::RealTimeLimit;
pub use runnable::Runnable;
pub use server::{Reservation, Server, WHOLE_CPU, portion};
pub use weight::{Nice, Weight};

/// The span in which each runnable task of a CPU should run once, while there are few of them.
pub const LATENCY: u64 = 12_000_000;
/// The least that a task runs before another takes its turn.
pub const GRANULARITY: u64 = 1_500_000;
/// How far a waking task must be behind the running one to take its place at once.
pub const WAKE_UP_GRANULARITY: u64 = 1_000_000;
/// How much a task that has slept may be behind those that ran meanwhile.
pub const SLEEPER_CREDIT: u64 = 3_000_000;
/// How often a CPU with work looks whether another has more.
pub const BALANCE_INTERVAL: u64 = 16_000_000;
/// Every how many looks at other CPUs equal tasks may change places.
pub const ROTATION: u64 = 8;
/// How often a CPU looks what part of its groups' weights it has.
pub const SHARE_INTERVAL: u64 = 4_000_000;
/// How long a task of `SCHED_RR` runs before the next of its priority: Linux's.
pub const REAL_TIME_TURN: u64 = 100_000_000;
