//! Where the memory of a task lies: on the nodes that its containers allow, by its memory policy. What `memory` asks at
//! each page fault.

use crate::task::Task;
use base::{NodeId, NodeSet};
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::{sync::Hook, topology};
use memory::{MemoryPolicy, Placement, PlacementSource, PolicyMode};

/// Where the memory of a task may lie, as its containers have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllowedNodes {
    /// Pages of its own lie only there (`Mems_allowed`).
    pub own: NodeSet,
    /// What the kernel needs for it lies there too, if `own` has no room.
    pub kernel: NodeSet,
    /// Whether pages of files go round `own` in turn.
    pub spread_files: bool,
    /// Whether the kernel's heap grows on each of `own` in turn while it runs.
    pub spread_objects: bool,
}

impl AllowedNodes {
    /// Anywhere.
    pub const ANY: Self = Self {
        own: NodeSet::first(base::MAX_NODES),
        kernel: NodeSet::first(base::MAX_NODES),
        spread_files: false,
        spread_objects: false,
    };
}

/// What decides where the memory of a task lies. A child starts with its parent's.
#[derive(Clone, Copy)]
pub(crate) struct TaskMemory {
    allowed: AllowedNodes,
    policy: Option<MemoryPolicy>,
    /// The node of the last page that its policy interleaved without regard to an address.
    interleaved: Option<NodeId>,
    /// The nodes that the last page was to come from.
    asked: NodeSet,
}

impl TaskMemory {
    /// Anywhere.
    pub(crate) const ANYWHERE: Self =
        Self { allowed: AllowedNodes::ANY, policy: None, interleaved: None, asked: AllowedNodes::ANY.own };

    /// The nodes of `set` that a page can lie on.
    fn with_memory(set: &NodeSet) -> NodeSet {
        set.and(&topology::get().nodes_with_memory())
    }
}

/// On which nodes the kernel's heap grows while a task runs: each in turn. Read under the heap's locks, so without one.
#[derive(Default)]
pub(crate) struct ObjectNodes {
    /// A bit for each; none is anywhere.
    nodes: AtomicU64,
    turn: AtomicU64,
}

impl ObjectNodes {
    pub(crate) fn of(memory: &TaskMemory) -> Self {
        let new = Self::default();
        new.follow(&memory.allowed);
        new
    }

    fn follow(&self, allowed: &AllowedNodes) {
        let usable = TaskMemory::with_memory(&allowed.own).words()[0];
        self.nodes.store(if allowed.spread_objects { usable } else { 0 }, Relaxed);
    }

    /// The one whose turn it is.
    fn next(&self) -> Option<NodeId> {
        let nodes = self.nodes.load(Relaxed);
        if nodes == 0 {
            return None;
        }
        let turn = self.turn.fetch_add(1, Relaxed) % u64::from(nodes.count_ones());
        NodeSet::from_words([nodes]).iter().nth(turn as usize)
    }
}

impl Task {
    /// Where its memory may lie.
    pub fn allowed_nodes(&self) -> AllowedNodes {
        self.memory.lock().allowed
    }

    /// The nodes that its pages can lie on: they are allowed and have memory.
    pub fn usable_nodes(&self) -> NodeSet {
        TaskMemory::with_memory(&self.allowed_nodes().own)
    }

    /// Sets where its memory may lie; what is there already stays. Its policy follows.
    pub fn set_allowed_nodes(&self, nodes: AllowedNodes) {
        let usable = TaskMemory::with_memory(&nodes.own);
        let mut memory = self.memory.lock();
        memory.allowed = nodes;
        self.objects.follow(&nodes);
        if let Some(policy) = &mut memory.policy {
            policy.rebind(&usable);
        }
    }

    /// Its memory policy; none is the default.
    pub fn memory_policy(&self) -> Option<MemoryPolicy> {
        self.memory.lock().policy
    }

    /// `set_mempolicy(2)`, with a policy that was made for its [`usable_nodes`](Self::usable_nodes).
    pub fn set_memory_policy(&self, policy: Option<MemoryPolicy>) {
        let mut memory = self.memory.lock();
        (memory.policy, memory.interleaved) = (policy, None);
    }

    /// The node that its policy takes next for a page without an address; none if it does not interleave.
    pub fn next_interleaved(&self) -> Option<NodeId> {
        let memory = self.memory.lock();
        memory.policy?.next_interleaved(memory.interleaved)
    }

    /// The nodes that the last page was to come from.
    pub(crate) fn asked_nodes(&self) -> NodeSet {
        self.memory.lock().asked
    }

    /// Whether it may have pages on one of these nodes, by its own policy.
    pub(crate) fn may_use_any_of(&self, nodes: &NodeSet) -> bool {
        let memory = self.memory.lock();
        let bound = memory.policy.filter(|policy| policy.mode() == PolicyMode::Bind);
        let own = bound.map_or(memory.allowed.own, |policy| policy.placement(&memory.allowed.own, 0).allowed);
        own.intersects(nodes)
    }

    /// Where a page should lie; see [`PlacementSource::current`].
    fn place(&self, policy: Option<&MemoryPolicy>, index: u64) -> Placement {
        let mut memory = self.memory.lock();
        let own = memory.allowed.own;
        let placement = match policy.or(memory.policy.as_ref()) {
            Some(policy) => policy.placement(&own, index),
            None => Placement::on(own),
        };
        memory.asked = placement.allowed;
        placement
    }

    /// Where a page of a file should lie; see [`PlacementSource::files`].
    fn place_of_file(&self, policy: Option<&MemoryPolicy>, index: u64) -> Placement {
        let mut memory = self.memory.lock();
        let own = memory.allowed.own;
        let anywhere = Placement::on(own);
        let placement = if let Some(policy) = policy {
            policy.placement(&own, index)
        } else if memory.allowed.spread_files {
            let turn = self.turn.fetch_add(1, Relaxed) as usize % own.count().max(1);
            Placement { preferred: own.iter().nth(turn), ..anywhere }
        } else if let Some(policy) = memory.policy {
            match policy.next_interleaved(memory.interleaved) {
                Some(next) => {
                    memory.interleaved = Some(next);
                    Placement { preferred: Some(next), interleaves: true, ..anywhere }
                }
                None => policy.placement(&own, index),
            }
        } else {
            anywhere
        };
        memory.asked = placement.allowed;
        placement
    }
}

/// Told when a task has to have pages reclaimed; installed at boot if anybody wants to know.
pub static RECLAIMS: Hook<dyn Fn(&Task) + Sync> = Hook::new();

/// The placement that the running task's containers allow; anywhere for the kernel itself.
pub struct TaskPlacement;

/// Asks the running task, if there is one.
fn ask<R>(question: impl FnOnce(&Task) -> R) -> Option<R> {
    let answer = sched::with_current(|task| {
        let task: &dyn Any = &**task;
        task.downcast_ref::<Task>().map(question)
    });
    answer.flatten()
}

impl PlacementSource for TaskPlacement {
    fn current(&self, policy: Option<&MemoryPolicy>, index: u64) -> Placement {
        ask(|task| task.place(policy, index)).unwrap_or(Placement::ANY)
    }

    fn files(&self, policy: Option<&MemoryPolicy>, index: u64) -> Placement {
        ask(|task| task.place_of_file(policy, index)).unwrap_or(Placement::ANY)
    }

    fn kernel(&self) -> Placement {
        let place = ask(|task| {
            let allowed = task.allowed_nodes();
            // Whoever ends gives memory back, and must not be held up.
            if task.is_exiting() {
                return Placement::ANY;
            }
            Placement { first: allowed.own, ..Placement::on(allowed.own.or(&allowed.kernel)) }
        });
        place.unwrap_or(Placement::ANY)
    }

    fn objects(&self) -> Option<NodeId> {
        let next = sched::glance(|task| {
            let task: &dyn Any = &**task;
            task.downcast_ref::<Task>().and_then(|task| task.objects.next())
        });
        next.flatten()
    }

    fn is_short(&self) {
        sched::glance(|task| {
            let task: &dyn Any = &**task;
            if let Some(task) = task.downcast_ref::<Task>() {
                task.note_attention();
            }
        });
    }

    fn reclaims(&self) {
        if let Some(hook) = RECLAIMS.get()
            && let Some(task) = crate::task::current()
        {
            hook(&task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn objects_go_round_the_nodes_if_they_are_to_be_spread() {
        let own: NodeSet = [1, 3].into_iter().map(NodeId::new).collect();
        let nodes = ObjectNodes::default();
        let grown = |nodes: &ObjectNodes| (0..4).map(|_| nodes.next().map(NodeId::raw)).collect::<Vec<_>>();
        assert_eq!(grown(&nodes), [None; 4]);
        nodes.nodes.store(own.words()[0], Relaxed);
        assert_eq!(grown(&nodes), [1, 3, 1, 3].map(Some));
        nodes.follow(&AllowedNodes { own, ..AllowedNodes::ANY });
        assert_eq!(grown(&nodes), [None; 4]);
    }
}
