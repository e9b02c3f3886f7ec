//! memory: page frames per node, the kernel heap, and address spaces.
//!
//! * [`frames`]: the frame allocator, with caches for each CPU and exact counts for each node.
//! * [`heap`]: the kernel heap over it, and fallible helpers for where outside data sets a size.
//! * [`space`]: [`AddressSpace`], made of [`area`]s, filled by page faults, from nothing or from a [`PageSource`].
//! * [`placement`]: where pages may lie; a hook, so that cpusets decide.
//! * [`policy`]: from which of these nodes programs want their pages.
//! * [`commitment`]: how much is promised to programs, and may be.
//! * [`payer`]: who pays for objects of the kernel; a hook, so that controllers decide.
//! * [`charge`]: who pays for pages; a hook, so that containers limit them.
//! * [`mod@reclaim`]: getting back pages whose bytes can be read again.
//!
//! Below it are `machine` (frames, page tables, copies from and to user memory, locks) and `base`. Tasks, files and
//! containers are not here: they come in through the traits [`PageSource`] and [`PlacementSource`].
//!
//! Unsafe code is only in [`heap`].
#![no_std]
#![deny(unsafe_code)]
// For `Box::try_new` and `Arc::try_new`.
#![feature(allocator_api)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod area;
pub mod charge;
pub mod commitment;
pub mod frames;
pub mod heap;
pub mod payer;
pub mod placement;
pub mod policy;
pub mod reclaim;
pub mod source;
pub mod space;

pub use area::{AreaFlags, AreaInfo, Protection, Sharing};
pub use charge::ChargeKind;
pub use placement::{Placement, PlacementSource};
pub use policy::{MemoryPolicy, NodeRule, PolicyMode, SharedPolicies, effective as effective_nodes};
pub use source::{PageSource, PageUse, SharedPages, SourceDescription};
pub use space::{
    Access, AddressSpace, Advice, AheadMode, BindRequest, Companion, FaultError, LOWEST, Limits, Location, LockAll,
    MapRequest, Movable, Moved, Place, RangePages, RangeWeights, Resident, SHARE_UNITS, ahead_mode, cut, most_areas,
    policy_range, set_ahead_mode, set_most_areas,
};

/// Starts the frame allocator on all frames that boot left free, and moves the heap onto it. Called once, on the
/// boot CPU, before other CPUs run.
pub fn init() {
    frames::init();
    heap::init();
    frames::start_caches();
}

#[cfg(test)]
pub(crate) mod tests {
    /// Starts the frame allocator for the tests of this process.
    pub(crate) fn start() {
        static STARTED: std::sync::Once = std::sync::Once::new();
        STARTED.call_once(crate::init);
    }
}
