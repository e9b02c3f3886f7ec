//! Where pages may lie: the nodes that are allowed, and the one that is liked best.

use base::{NodeId, NodeSet};
use machine::sync::Hook;

/// A wish for the node of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Nodes that may be used. No other is, even if these are full.
    pub allowed: NodeSet,
    /// The node to try first; without one, or if it is not allowed, the nearest to the current CPU.
    pub preferred: Option<NodeId>,
    /// Those of the allowed nodes that are tried before the others; if it is empty there are no others.
    pub first: NodeSet,
}

impl Placement {
    /// Any node, nearest first: what the kernel's own memory takes.
    pub const ANY: Self = Self { allowed: NodeSet::first(base::MAX_NODES), preferred: None, first: NodeSet::EMPTY };

    /// Only these nodes, nearest first.
    pub const fn on(allowed: NodeSet) -> Self {
        Self { allowed, preferred: None, first: NodeSet::EMPTY }
    }
}

/// Tells where pages of the running task may lie.
pub trait PlacementSource: Sync {
    /// The current task's placement, as its cpuset has it now.
    fn current(&self) -> Placement;

    /// Where the next page of a file that it reads or writes should lie.
    fn files(&self) -> Placement;

    /// Where memory that the kernel needs for it should lie. Asked under locks.
    fn kernel(&self) -> Placement;

    /// The current task has to have pages reclaimed, since there is none free. Called with no spinning lock held.
    fn reclaims(&self);
}

/// Who tells the placement of user pages; installed once at boot. Without it, any node.
pub static PLACEMENT: Hook<dyn PlacementSource> = Hook::new();

/// Where the next page of a file should lie that the current task reads or writes.
pub fn files() -> Placement {
    PLACEMENT.get().map_or(Placement::ANY, |source| source.files())
}

/// Where memory should lie that the kernel needs for the current task.
pub fn kernel() -> Placement {
    PLACEMENT.get().map_or(Placement::ANY, |source| source.kernel())
}

/// The current task's placement.
pub fn current() -> Placement {
    PLACEMENT.get().map_or(Placement::ANY, |source| source.current())
}
