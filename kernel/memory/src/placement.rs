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
}

impl Placement {
    /// Any node, nearest first: what the kernel's own memory takes.
    pub const ANY: Self = Self { allowed: NodeSet::first(base::MAX_NODES), preferred: None };
}

/// Tells where pages of the running task may lie.
pub trait PlacementSource: Sync {
    /// The current task's placement, as its cpuset has it now.
    fn current(&self) -> Placement;
}

/// Who tells the placement of user pages; installed once at boot. Without it, any node.
pub static PLACEMENT: Hook<dyn PlacementSource> = Hook::new();

/// The current task's placement.
pub fn current() -> Placement {
    PLACEMENT.get().map_or(Placement::ANY, |source| source.current())
}
