//! container: the framework of multi-hierarchy process containers.
//!
//! A *hierarchy* is a tree of containers with a set of *subsystems* (controllers) bound to it; every live task is in
//! exactly one container of each active hierarchy. The places of a task are one pointer, its [`ContainerSet`], which
//! it shares with all tasks in the same places: a fork costs the same with no hierarchy as with many.
//!
//! Main types: [`Framework`] (the whole, one value), [`Hierarchy`], [`Container`], [`Membership`] (the part of each
//! task), [`Subsystem`] (what a controller implements), [`Node`] and [`Lineage`] (how a controller sees its tree).
//!
//! Below it are only `base` and `machine`: tasks are seen through the [`Member`] trait, and what the framework needs
//! of the rest comes through [`TaskTable`] and [`ReleaseWorker`]. Not here: the controllers themselves
//! (`kernel/controllers`) and the directories and files that show all this (`kernel/filesystems`).
//!
//! Rules: interfaces.md, sections 1 to 9, 21 and 22. Order of locks: *manage*, *container*, *gate*, hierarchy table,
//! set table, lists of a container, *set*, a controller's own (see `machine::sync::rank`).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod container;
mod control;
mod directory;
mod files;
mod framework;
mod hierarchy;
mod inspect;
mod kill;
mod member;
mod mount;
mod moves;
mod notice;
mod options;
mod parameters;
mod payer;
mod proc;
mod release;
mod report;
mod set;
mod state;
mod subsystem;
mod task;
#[cfg(test)]
mod tests;
mod tree;

pub use container::{Attributes, Container};
pub use control::{ControlFile, Parameter, Placement};
pub use files::{File, Writer};
pub use framework::{Framework, MAX_HIERARCHIES};
pub use hierarchy::{Dialect, Hierarchy, Subsystems};
pub use inspect::{Counted, SetFacts, StateFacts};
pub use member::{Gate, Member, Membership, TaskTable};
pub use mount::Mounted;
pub use moves::Move;
pub use notice::{Notice, Watcher};
pub use parameters::ParameterId;
pub use release::{AgentRun, Release, ReleaseWorker};
pub use report::{Report, ReportTraits};
pub use set::ContainerSet;
pub use state::Lineage;
pub use subsystem::{AnySubsystem, Callbacks, MAX_SUBSYSTEMS, Subsystem, subsystem};
pub use task::Admission;
pub use tree::Node;
