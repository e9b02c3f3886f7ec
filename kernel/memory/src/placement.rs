//! Where pages may lie: the nodes that are allowed, and the one that is liked best.

use crate::MemoryPolicy;
use base::{NodeId, NodeSet};
use machine::sync::Hook;

/// A wish for the node of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Nodes that may be used. No other is, even if these are full.
    pub allowed: NodeSet,
    /// The node to try first, then those nearest to it; without one, the nearest to the current CPU.
    pub preferred: Option<NodeId>,
    /// Those of the allowed nodes that are tried before the others; if it is empty there are no others.
    pub first: NodeSet,
    /// Whether the preferred node is one of several in turn; for the statistics.
    pub interleaves: bool,
}

impl Placement {
    /// Any node, nearest first: what the kernel's own memory takes.
    pub const ANY: Self =
        Self { allowed: NodeSet::first(base::MAX_NODES), preferred: None, first: NodeSet::EMPTY, interleaves: false };

    /// Only these nodes, nearest first.
    pub const fn on(allowed: NodeSet) -> Self {
        Self { allowed, preferred: None, first: NodeSet::EMPTY, interleaves: false }
    }

    /// Whether the node is one of those that are tried before the others.
    pub(crate) fn prefers(&self, node: NodeId) -> bool {
        self.allowed.contains(node) && (self.first.is_empty() || self.first.contains(node))
    }
}

/// Tells where pages of the running task may lie.
pub trait PlacementSource: Sync {
    /// Where the page should lie that is the `index`th of its area or object, by `policy`; without one by the task's own.
    fn current(&self, policy: Option<&MemoryPolicy>, index: u64) -> Placement;

    /// Where the page of a file should lie that it reads or writes, by the file's policy; without one by the task's.
    fn files(&self, policy: Option<&MemoryPolicy>, index: u64) -> Placement;

    /// Where memory that the kernel needs for it should lie. Asked under locks.
    fn kernel(&self) -> Placement;

    /// The node that the kernel's heap should grow on while it runs; without one, the nearest. Asked in interrupts and
    /// under the heap's own locks: it may neither allocate nor free, nor take more than a leaf.
    fn objects(&self) -> Option<NodeId>;

    /// The kernel's heap had to grow while it runs although memory is short: it is to make room before it goes on. Told
    /// under the heap's own locks, as [`objects`](Self::objects).
    fn is_short(&self);

    /// The current task has to have pages reclaimed, since there is none free. Called with no spinning lock held.
    fn reclaims(&self);
}

/// Who tells the placement of user pages; installed once at boot. Without it, any node.
pub static PLACEMENT: Hook<dyn PlacementSource> = Hook::new();

/// Where a page of a file should lie that the current task reads or writes.
pub fn files(policy: Option<&MemoryPolicy>, index: u64) -> Placement {
    let anywhere = || policy.map_or(Placement::ANY, |policy| policy.placement(&Placement::ANY.allowed, index));
    PLACEMENT.get().map_or_else(anywhere, |source| source.files(policy, index))
}

/// Where memory should lie that the kernel needs for the current task.
pub fn kernel() -> Placement {
    PLACEMENT.get().map_or(Placement::ANY, |source| source.kernel())
}

/// Where the kernel's heap should grow. Nothing is forbidden: whoever needs an object must get it.
pub(crate) fn objects() -> Placement {
    Placement { preferred: PLACEMENT.get().and_then(|source| source.objects()), ..Placement::ANY }
}

/// Where a page should lie that the current task brings in, the `index`th of its area or object.
pub fn current(policy: Option<&MemoryPolicy>, index: u64) -> Placement {
    let anywhere = || policy.map_or(Placement::ANY, |policy| policy.placement(&Placement::ANY.allowed, index));
    PLACEMENT.get().map_or_else(anywhere, |source| source.current(policy, index))
}
