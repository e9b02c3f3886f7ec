//! Memory policies: from which of the nodes that a task may use its pages come (`set_mempolicy(2)`, `mbind(2)`).
//!
//! A policy is a value. A task has one or none, so has an area, and so has each page of a shared object
//! ([`SharedPolicies`]). For a page the area's or the object's counts before the task's; where there is none, pages come
//! from the nearest node.
//!
//! When other nodes are allowed than before, a policy is [rebound](MemoryPolicy::rebind). No policy brings a page to a node
//! that is not allowed: the nodes that it names are cut to those.

mod ranges;
#[cfg(test)]
mod tests;
mod text;

pub use ranges::SharedPolicies;

use crate::Placement;
use base::{Errno, NodeId, NodeSet};
use core::fmt;

/// What a policy does with its nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyMode {
    /// The lowest of them first, then the nearest to it.
    Preferred,
    /// Only them.
    Bind,
    /// Each in turn.
    Interleave,
    /// It has none: the nearest node, whatever the task's policy says.
    Local,
    /// All of them first, then the others.
    PreferredMany,
}

/// What becomes of a policy's nodes when other nodes are allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeRule {
    /// Each goes to the node of the same rank among those that are allowed now.
    Remap,
    /// They stay those that were named, as far as they are allowed.
    Static,
    /// They are ranks among those that are allowed.
    Relative,
}

/// A policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryPolicy {
    mode: PolicyMode,
    rule: NodeRule,
    /// Those in force.
    nodes: NodeSet,
    /// With [`NodeRule::Remap`] the allowed nodes that `nodes` was made for, else the nodes that were named.
    reference: NodeSet,
    /// Of the nodes, those nearest to this one come first; without one, those nearest to the CPU.
    home: Option<NodeId>,
}

impl MemoryPolicy {
    /// A policy for a task that may use the nodes `allowed`.
    ///
    /// Errors: `EINVAL` no node is named, or none of those is allowed; [`PolicyMode::Local`] with a node or a rule.
    /// [`PolicyMode::Preferred`] without a node and a rule is [`PolicyMode::Local`].
    pub fn new(mode: PolicyMode, rule: NodeRule, named: NodeSet, allowed: &NodeSet) -> Result<Self, Errno> {
        let bare = named.is_empty() && rule == NodeRule::Remap;
        let local = Self { mode: PolicyMode::Local, rule, nodes: named, reference: named, home: None };
        match mode {
            PolicyMode::Preferred | PolicyMode::Local if bare => return Ok(local),
            PolicyMode::Local => return Err(Errno::EINVAL),
            _ if named.is_empty() => return Err(Errno::EINVAL),
            _ => {}
        }
        let nodes = effective(rule, &named, allowed);
        if nodes.is_empty() {
            return Err(Errno::EINVAL);
        }
        let reference = if rule == NodeRule::Remap { *allowed } else { named };
        Ok(Self { mode, rule, nodes: mode.choose(nodes), reference, home: None })
    }

    /// What it does with its nodes.
    pub fn mode(&self) -> PolicyMode {
        self.mode
    }

    /// What becomes of them.
    pub fn rule(&self) -> NodeRule {
        self.rule
    }

    /// Its nodes as `get_mempolicy(2)` shows them: as they were named, unless they are remapped.
    pub fn shown_nodes(&self) -> NodeSet {
        if self.rule == NodeRule::Remap { self.nodes } else { self.reference }
    }

    /// The same with another home node. `None`: a policy of this mode has no home.
    pub fn with_home(self, home: NodeId) -> Option<Self> {
        let has_home = matches!(self.mode, PolicyMode::Bind | PolicyMode::PreferredMany);
        has_home.then_some(Self { home: Some(home), ..self })
    }

    /// The task may use the nodes `allowed` from now on.
    ///
    /// Rule: "Memory Policies and cpusets" in Linux's numa_memory_policy. A policy that must have a node and has none any
    /// longer has all that are allowed; one that prefers some then prefers none.
    pub fn rebind(&mut self, allowed: &NodeSet) {
        let nodes = match self.rule {
            _ if self.mode == PolicyMode::Local => return,
            NodeRule::Remap if self.reference == *allowed => return,
            NodeRule::Remap => {
                let nodes = self.nodes.iter().filter_map(|node| remap(node, &self.reference, allowed).or(Some(node)));
                let nodes = nodes.collect();
                self.reference = *allowed;
                nodes
            }
            NodeRule::Static | NodeRule::Relative => effective(self.rule, &self.reference, allowed),
        };
        self.nodes = match self.mode {
            PolicyMode::Bind | PolicyMode::Interleave if nodes.is_empty() => *allowed,
            mode => mode.choose(nodes),
        };
    }

    /// Where the page lies that is the `index`th of its object, for a task that may use `allowed`.
    pub fn placement(&self, allowed: &NodeSet, index: u64) -> Placement {
        let own = self.nodes.and(allowed);
        let anywhere = Placement::on(*allowed);
        match self.mode {
            _ if own.is_empty() => anywhere,
            PolicyMode::Local => anywhere,
            PolicyMode::Preferred => Placement { preferred: own.lowest(), ..anywhere },
            PolicyMode::Bind => Placement { preferred: self.home, ..Placement::on(own) },
            PolicyMode::PreferredMany => Placement { preferred: self.home, first: own, ..anywhere },
            PolicyMode::Interleave => Placement { preferred: nth(&own, index), interleaves: true, ..anywhere },
        }
    }

    /// Of a policy that interleaves, the node that comes after `last`.
    pub fn next_interleaved(&self, last: Option<NodeId>) -> Option<NodeId> {
        if self.mode != PolicyMode::Interleave {
            return None;
        }
        let after = self.nodes.iter().find(|node| last.is_some_and(|last| *node > last));
        after.or(self.nodes.lowest())
    }
}

impl PolicyMode {
    /// Those of the nodes that it uses.
    fn choose(self, nodes: NodeSet) -> NodeSet {
        match self {
            Self::Preferred => nodes.lowest().map_or(NodeSet::EMPTY, NodeSet::only),
            _ => nodes,
        }
    }
}

impl fmt::Display for MemoryPolicy {
    /// As `/proc/<pid>/numa_maps` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.mode {
            PolicyMode::Preferred => "prefer",
            PolicyMode::Bind => "bind",
            PolicyMode::Interleave => "interleave",
            PolicyMode::Local => "local",
            PolicyMode::PreferredMany => "prefer (many)",
        })?;
        f.write_str(match self.rule {
            NodeRule::Remap => "",
            NodeRule::Static => "=static",
            NodeRule::Relative => "=relative",
        })?;
        if self.nodes.is_empty() { Ok(()) } else { write!(f, ":{}", self.nodes) }
    }
}

/// What the nodes `named` are where `allowed` may be used, at first.
pub fn effective(rule: NodeRule, named: &NodeSet, allowed: &NodeSet) -> NodeSet {
    match rule {
        NodeRule::Relative => named.iter().filter_map(|node| nth(allowed, node.index() as u64)).collect(),
        NodeRule::Remap | NodeRule::Static => named.and(allowed),
    }
}

/// The node of `to` that has the rank of `node` in `from`, modulo how many there are; none if it is not in `from`.
pub(crate) fn remap(node: NodeId, from: &NodeSet, to: &NodeSet) -> Option<NodeId> {
    if !from.contains(node) {
        return None;
    }
    let rank = from.iter().take_while(|other| *other != node).count();
    nth(to, rank as u64)
}

/// The node with this rank, modulo how many there are.
fn nth(nodes: &NodeSet, rank: u64) -> Option<NodeId> {
    nodes.iter().nth((rank % nodes.count().max(1) as u64) as usize)
}
