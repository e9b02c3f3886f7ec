//! Policies against Linux's rules written down for sets of numbers.

use super::ranges::PolicyRanges;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::string::ToString;
use std::vec::Vec;

type Numbers = BTreeSet<u32>;

fn set(numbers: &Numbers) -> NodeSet {
    numbers.iter().map(|&number| NodeId::new(number)).collect()
}

fn numbers(set: &NodeSet) -> Numbers {
    set.iter().map(NodeId::raw).collect()
}

fn any_nodes() -> impl Strategy<Value = Numbers> {
    prop::collection::btree_set(0..6u32, 0..6)
}

fn some_nodes() -> impl Strategy<Value = Numbers> {
    prop::collection::btree_set(0..6u32, 1..6)
}

fn any_mode() -> impl Strategy<Value = PolicyMode> {
    use PolicyMode::*;
    prop::sample::select(std::vec![Preferred, Bind, Interleave, Local, PreferredMany])
}

fn any_rule() -> impl Strategy<Value = NodeRule> {
    prop::sample::select(std::vec![NodeRule::Remap, NodeRule::Static, NodeRule::Relative])
}

fn at(sorted: &Numbers, rank: usize) -> u32 {
    *sorted.iter().nth(rank % sorted.len()).unwrap()
}

/// What a program has asked for and what has come of it, in numbers.
struct Model {
    mode: PolicyMode,
    rule: NodeRule,
    named: Numbers,
    allowed: Numbers,
    nodes: Numbers,
}

impl Model {
    fn new(mode: PolicyMode, rule: NodeRule, named: &Numbers, allowed: &Numbers) -> Option<Self> {
        let mut model = Self { mode, rule, named: named.clone(), allowed: allowed.clone(), nodes: Numbers::new() };
        if matches!(mode, PolicyMode::Local | PolicyMode::Preferred) && named.is_empty() && rule == NodeRule::Remap {
            model.mode = PolicyMode::Local;
            return Some(model);
        }
        if mode == PolicyMode::Local {
            return None;
        }
        model.nodes = match rule {
            NodeRule::Relative => named.iter().map(|&number| at(allowed, number as usize)).collect(),
            _ => named & allowed,
        };
        model.cut();
        (!model.nodes.is_empty()).then_some(model)
    }

    fn cut(&mut self) {
        if self.mode == PolicyMode::Preferred {
            self.nodes = self.nodes.iter().take(1).copied().collect();
        }
    }

    fn rebind(&mut self, allowed: &Numbers) {
        if self.mode == PolicyMode::Local {
            return;
        }
        self.nodes = match self.rule {
            NodeRule::Static => &self.named & allowed,
            NodeRule::Relative => self.named.iter().map(|&number| at(allowed, number as usize)).collect(),
            NodeRule::Remap => {
                let rank = |number| self.allowed.iter().position(|&other| other == number);
                self.nodes.iter().map(|&number| rank(number).map_or(number, |rank| at(allowed, rank))).collect()
            }
        };
        self.allowed = allowed.clone();
        if self.nodes.is_empty() && matches!(self.mode, PolicyMode::Bind | PolicyMode::Interleave) {
            self.nodes = allowed.clone();
        }
        self.cut();
    }

    /// The nodes that a page may come from, and the one that it comes from if all have room.
    fn place(&self, allowed: &Numbers, index: usize, nearest: u32) -> (Numbers, u32) {
        let own = &self.nodes & allowed;
        let near = |nodes: &Numbers| if nodes.contains(&nearest) { nearest } else { *nodes.first().unwrap() };
        match self.mode {
            PolicyMode::Bind if !own.is_empty() => (own.clone(), near(&own)),
            PolicyMode::Preferred if !own.is_empty() => (allowed.clone(), *own.first().unwrap()),
            PolicyMode::Interleave if !own.is_empty() => (allowed.clone(), at(&own, index)),
            PolicyMode::PreferredMany if !own.is_empty() => (allowed.clone(), near(&own)),
            _ => (allowed.clone(), near(allowed)),
        }
    }
}

/// The node that comes first by this placement where the other nodes are all equally far from `nearest`.
fn first(placement: &Placement, nearest: u32) -> u32 {
    let within = if placement.first.is_empty() { placement.allowed } else { placement.first };
    let origin = placement.preferred.map_or(nearest, NodeId::raw);
    if within.contains(NodeId::new(origin)) { origin } else { within.lowest().unwrap().raw() }
}

proptest! {
    #[test]
    fn policies_name_the_nodes_that_linux_names(
        mode in any_mode(), rule in any_rule(), named in any_nodes(), start in some_nodes(),
        changes in prop::collection::vec((some_nodes(), 0..20u64, 0..6u32), 0..6)
    ) {
        let made = MemoryPolicy::new(mode, rule, set(&named), &set(&start));
        let model = Model::new(mode, rule, &named, &start);
        prop_assert_eq!(made.is_ok(), model.is_some());
        let (Ok(mut policy), Some(mut model)) = (made, model) else { return Ok(()) };
        for (allowed, index, nearest) in changes {
            policy.rebind(&set(&allowed));
            model.rebind(&allowed);
            prop_assert_eq!(numbers(&policy.nodes), model.nodes.clone());
            let shown = if rule == NodeRule::Remap || model.mode == PolicyMode::Local { &model.nodes } else { &named };
            prop_assert_eq!(&numbers(&policy.shown_nodes()), shown);
            let placement = policy.placement(&set(&allowed), index);
            let (may, does) = model.place(&allowed, index as usize, nearest);
            prop_assert_eq!((numbers(&placement.allowed), first(&placement, nearest)), (may, does));
        }
    }

    #[test]
    fn ranges_are_a_map_of_pages(
        steps in prop::collection::vec((0..30u64, 0..12u64, prop::option::of(0..3u32)), 1..40)
    ) {
        let mut ranges = PolicyRanges::new();
        let mut model = [None; 42];
        let bind = |node| {
            MemoryPolicy::new(PolicyMode::Bind, NodeRule::Static, NodeSet::only(NodeId::new(node)), &NodeSet::first(3)).unwrap()
        };
        for (start, length, node) in steps {
            ranges.set(start..start + length, node.map(bind)).unwrap();
            model[start as usize..(start + length) as usize].fill(node);
            for (index, node) in model.iter().enumerate() {
                prop_assert_eq!(ranges.get(index as u64), node.map(bind));
            }
        }
    }
}

#[test]
fn a_task_that_interleaves_takes_one_node_after_the_other() {
    let nodes: NodeSet = [0, 2, 5].map(NodeId::new).into_iter().collect();
    let policy = MemoryPolicy::new(PolicyMode::Interleave, NodeRule::Remap, nodes, &NodeSet::first(6)).unwrap();
    let mut last = None;
    let taken: Vec<u32> = (0..5)
        .map(|_| {
            last = policy.next_interleaved(last);
            last.unwrap().raw()
        })
        .collect();
    assert_eq!(taken, [0, 2, 5, 0, 2]);
}

#[test]
fn only_policies_that_choose_among_nodes_have_a_home() {
    let new = |mode| MemoryPolicy::new(mode, NodeRule::Remap, NodeSet::first(2), &NodeSet::first(3)).unwrap();
    for mode in [PolicyMode::Preferred, PolicyMode::Interleave] {
        assert_eq!(new(mode).with_home(NodeId::new(1)), None);
    }
    for mode in [PolicyMode::Bind, PolicyMode::PreferredMany] {
        let homed = new(mode).with_home(NodeId::new(2)).unwrap();
        assert_eq!(homed.placement(&NodeSet::first(3), 0).preferred, Some(NodeId::new(2)));
    }
}

#[test]
fn policies_are_shown_as_numa_maps_shows_them() {
    let all = NodeSet::first(4);
    let show = |mode, rule, nodes: NodeSet| MemoryPolicy::new(mode, rule, nodes, &all).unwrap().to_string();
    let some: NodeSet = [1, 2].map(NodeId::new).into_iter().collect();
    assert_eq!(show(PolicyMode::Bind, NodeRule::Remap, some), "bind:1-2");
    assert_eq!(show(PolicyMode::Interleave, NodeRule::Static, all), "interleave=static:0-3");
    assert_eq!(show(PolicyMode::PreferredMany, NodeRule::Relative, some), "prefer (many)=relative:1-2");
    assert_eq!(show(PolicyMode::Preferred, NodeRule::Remap, some), "prefer:1");
    assert_eq!(show(PolicyMode::Preferred, NodeRule::Remap, NodeSet::EMPTY), "local");
}
