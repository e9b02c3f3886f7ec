//! Locks for all targets, their order, and the hooks by which lower floors call up.
//!
//! | type | waits by | use |
//! |---|---|---|
//! | [`SpinLock`] | spinning | short sections that never block; kernel mode is not preempted, so nothing else is needed |
//! | [`IrqLock`] | spinning, interrupts off | what an interrupt handler also takes: run queues, wait queues, timers |
//! | [`Mutex`], [`RwLock`] | sleeping | sections that may block or take long; never in an interrupt |
//! | [`CrowdLock`] | sleeping | the same, where very many read and few write |
//!
//! Every lock has a [`Rank`]; a thread takes locks in ascending rank only (see [`rank`] and [`order`]). Under
//! `cfg(loom)` the locks and [`atomic`] are loom's.

#[cfg(all(not(target_os = "none"), not(loom)))]
#[path = "primitive_host.rs"]
mod primitive;
#[cfg(loom)]
#[path = "primitive_loom.rs"]
mod primitive;
#[cfg(target_os = "none")]
#[path = "primitive_machine.rs"]
mod primitive;

mod crowd;
mod hook;
mod irq;
pub mod order;
mod parker;
pub mod rank;
mod sleeping;
mod spinning;

// loom's `Arc` can neither hold a `dyn Trait` made from a sized one nor be weak, so loom runs see the plain one.
pub use alloc::sync::{Arc, Weak};
#[cfg(not(loom))]
pub use core::sync::atomic;
#[cfg(loom)]
pub use loom::sync::atomic;

pub use crowd::{CrowdLock, CrowdReadGuard, CrowdWriteGuard};
pub use hook::Hook;
pub use irq::{IrqGuard, IrqLock};
pub use parker::{PARKER, Parker};
pub use rank::Rank;
pub use sleeping::{Mutex, MutexGuard, ReadGuard, RwLock, WriteGuard};
pub use spinning::{SpinGuard, SpinLock};

/// Makes a constructor `const` where the lock beneath allows it: everywhere but under loom.
macro_rules! const_unless_loom {
    ($(#[$attribute:meta])* pub fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty $body:block) => {
        $(#[$attribute])*
        #[cfg(not(loom))]
        pub const fn $name($($argument: $type),*) -> $result $body
        $(#[$attribute])*
        #[cfg(loom)]
        pub fn $name($($argument: $type),*) -> $result $body
    };
}
use const_unless_loom;
