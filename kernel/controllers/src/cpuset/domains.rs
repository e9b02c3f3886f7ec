//! Balancing domains: the connected groups of overlapping cpusets that have `sched_load_balance`.
//!
//! While the root has it there is one domain, since the root overlaps all. A CPU in no group is not balanced at all.
//! `sched_relax_domain_level` says how far a search goes that must be quick: 0 not at all, 1 the threads of a core, 2
//! the cores of a package, 3 the node, 4 the nearest nodes, 5 the whole domain; -1 has no wish. Of the wishes in one
//! group the largest holds, 5 if there is none.

use super::{Cpuset, TASKS};
use alloc::vec::Vec;
use base::{CpuSet, Errno, number};
use container::Node;
use machine::sync::{Mutex, atomic::Ordering::Relaxed, rank};

/// The level of a container without a wish.
pub(super) const NO_WISH: i8 = -1;
/// The farthest level.
const FARTHEST: i8 = 5;

/// A group of CPUs that are balanced among each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Domain {
    /// The CPUs.
    pub cpus: CpuSet,
    /// How far quick searches go, 0 to 5.
    pub level: u8,
}

/// The domains that sets with the flag make, each given with its wish.
fn connected(sets: impl IntoIterator<Item = (CpuSet, i8)>) -> Vec<Domain> {
    let mut groups: Vec<(CpuSet, i8)> = Vec::new();
    for (mut cpus, mut level) in sets {
        // Whatever the new set overlaps becomes one group with it.
        groups.retain(|group| {
            let apart = !group.0.intersects(&cpus);
            if !apart {
                cpus = cpus.or(&group.0);
                level = level.max(group.1);
            }
            apart
        });
        if !cpus.is_empty() {
            groups.push((cpus, level));
        }
    }
    let level = |wish: i8| if wish == NO_WISH { FARTHEST as u8 } else { wish as u8 };
    groups.into_iter().map(|(cpus, wish)| Domain { cpus, level: level(wish) }).collect()
}

/// Whether the domains are the same with and without `node`: a container above holds all its CPUs together, and it has no
/// wish that might be the largest.
fn is_of_no_account(node: &Node<'_, Cpuset>) -> bool {
    let above = core::iter::successors(node.parent(), Node::parent);
    node.state().relax_level.load(Relaxed) == NO_WISH
        && above.into_iter().any(|node| node.state().load_balance.load(Relaxed))
}

/// Makes the domains anew from the tree that `node` belongs to, after it has come, gone or changed its CPUs or its flag,
/// if that changes any. Locks: takes one of rank `CONTROLLER_RULE`.
pub(super) fn follow(node: &Node<'_, Cpuset>) {
    if !is_of_no_account(node) {
        rebuild(node);
    }
}

/// Makes the domains anew from the tree that `node` belongs to. Locks: takes one of rank `CONTROLLER_RULE`.
pub(super) fn rebuild(node: &Node<'_, Cpuset>) {
    // One at a time: who comes last has seen all changes.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(rank::CONTROLLER_RULE, ());
    let _one = ONE_AT_A_TIME.lock();
    let mut root = node.clone();
    while let Some(parent) = root.parent() {
        root = parent;
    }
    let mut sets = Vec::new();
    let mut add = |node: &Node<'_, Cpuset>| {
        let state = node.state();
        if state.load_balance.load(Relaxed) {
            let cpus = if node.is_root() { machine::cpu::possible() } else { state.cpus() };
            sets.push((cpus, state.relax_level.load(Relaxed)));
        }
    };
    root.for_each_below(&mut add);
    // A container that is just being made is not in its parent's list yet; twice does no harm.
    add(node);
    if let Some(tasks) = TASKS.get() {
        tasks.set_domains(&connected(sets));
    }
}

/// Writes `sched_load_balance`.
pub(super) fn store_balance(node: &Node<'_, Cpuset>, text: &str) -> Result<(), Errno> {
    let flag = number::parse_flag(text)?;
    if node.state().load_balance.swap(flag, Relaxed) != flag {
        follow(node);
    }
    Ok(())
}

/// Writes `sched_relax_domain_level`. `EINVAL` unless it is -1 to 5.
pub(super) fn store_level(node: &Node<'_, Cpuset>, text: &str) -> Result<(), Errno> {
    let level = i8::try_from(number::parse_signed(text)?).map_err(|_| Errno::EINVAL)?;
    if !(NO_WISH..=FARTHEST).contains(&level) {
        return Err(Errno::EINVAL);
    }
    if node.state().relax_level.swap(level, Relaxed) != level {
        rebuild(node);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::follow_machine;
    use super::*;
    use crate::world::{World, domains, times_domains_were_set};
    use alloc::string::{String, ToString};
    use base::CpuId;
    use proptest::prelude::*;
    use std::{collections::BTreeSet, format};

    fn set(cpus: &[u32]) -> CpuSet {
        cpus.iter().map(|&cpu| CpuId::new(cpu)).collect()
    }

    #[test]
    fn a_set_that_bridges_two_groups_makes_one() {
        let domains = connected([(set(&[0, 1]), -1), (set(&[4, 5]), 1), (set(&[2]), 0), (set(&[1, 4]), 3)]);
        assert_eq!(domains.len(), 2);
        assert!(domains.contains(&Domain { cpus: set(&[0, 1, 4, 5]), level: 3 }));
        assert!(domains.contains(&Domain { cpus: set(&[2]), level: 0 }));
    }

    #[test]
    fn a_child_within_a_balanced_container_comes_and_goes_without_new_domains() {
        let world = World::with("cpuset");
        world.write("/", "cgroup.clone_children", "1").unwrap();
        let before = times_domains_were_set();
        for child in 0..1000 {
            world.try_mkdir(&format!("/{child}")).unwrap();
        }
        world.write("/7", "cpuset.cpus", "1-2").unwrap();
        world.write("/8", "cpuset.sched_load_balance", "0").unwrap();
        world.try_mkdir("/8/a").unwrap();
        for gone in ["/8/a", "/7", "/8", "/9"] {
            world.rmdir(gone).unwrap();
        }
        assert_eq!(times_domains_were_set(), before);
        // A wish counts, and the domain of a container that has none above it.
        world.write("/1", "cpuset.sched_relax_domain_level", "3").unwrap();
        assert_eq!((times_domains_were_set(), domains().as_str()), (before + 1, "0-3 to 3"));
        world.rmdir("/1").unwrap();
        assert_eq!((times_domains_were_set(), domains().as_str()), (before + 2, "0-3 to 5"));
        world.write("/", "cpuset.sched_load_balance", "0").unwrap();
        world.try_mkdir("/1").unwrap();
        assert_eq!(times_domains_were_set(), before + 4);
    }

    /// What a step does to one of four containers: two below the root, and one below each.
    #[derive(Clone, Debug)]
    enum Step {
        Make,
        Remove,
        Write(&'static str, String),
    }

    fn step() -> impl Strategy<Value = (usize, Step)> {
        let flag = |file| (0..2u8).prop_map(move |flag| Step::Write(file, flag.to_string()));
        let level = (-1..6i8).prop_map(|level| Step::Write("cpuset.sched_relax_domain_level", level.to_string()));
        let cpus = prop_oneof![Just(""), Just("0-3"), Just("0-1"), Just("1-2"), Just("3")];
        let cpus = cpus.prop_map(|cpus| Step::Write("cpuset.cpus", cpus.into()));
        let flags =
            prop_oneof![flag("cpuset.sched_load_balance"), flag("cgroup.clone_children"), flag("cpuset.cpu_exclusive")];
        (0..5usize, prop_oneof![Just(Step::Make), Just(Step::Remove), cpus, level, flags])
    }

    proptest! {
        /// Whatever is left out because it changes nothing does change nothing; a sibling that is alone on its CPUs is
        /// counted whatever happens.
        #[test]
        fn domains_are_always_those_of_the_tree(steps in prop::collection::vec(step(), 1..60)) {
            let world = World::with("cpuset");
            follow_machine(world.framework());
            for (place, step) in steps {
                let path = ["/", "/a", "/b", "/a/c", "/b/d"][place];
                let alone = |path: &str| world.exists(path) && world.read(path, "cpuset.cpu_exclusive") == "1\n";
                let (parent, siblings): (&str, &[&str]) = match place {
                    1 | 2 => ("/", &["/a", "/b"]),
                    3 => ("/a", &[]),
                    _ => ("/b", &[]),
                };
                match step {
                    Step::Make if place > 0 && world.exists(parent) && !world.exists(path) => {
                        let copies = world.read(parent, "cgroup.clone_children") == "1\n"
                            && !siblings.iter().any(|sibling| alone(sibling));
                        world.try_mkdir(path).unwrap();
                        let cpus = if copies { world.read(parent, "cpuset.cpus") } else { "\n".into() };
                        prop_assert_eq!(world.read(path, "cpuset.cpus"), cpus);
                    }
                    Step::Remove if place > 0 && world.exists(path) => drop(world.rmdir(path)),
                    Step::Write(file, text) if world.exists(path) => drop(world.write(path, file, &text)),
                    _ => {}
                }
                let shown = domains();
                follow_machine(world.framework());
                prop_assert_eq!(shown, domains());
            }
        }

        /// Two CPUs are in one domain exactly if a chain of overlapping sets leads from one to the other.
        #[test]
        fn domains_are_the_connected_groups(sets in prop::collection::vec(prop::collection::btree_set(0u32..12, 0..4), 0..8)) {
            let domains = connected(sets.iter().map(|cpus| (cpus.iter().map(|&cpu| CpuId::new(cpu)).collect(), -1)));
            let mut reached: Vec<BTreeSet<u32>> = (0..12).map(|cpu| BTreeSet::from([cpu])).collect();
            for _ in 0..12 {
                for group in &mut reached {
                    let more: BTreeSet<u32> = sets.iter().filter(|set| !set.is_disjoint(group)).flatten().copied().collect();
                    group.extend(more);
                }
            }
            for cpu in 0..12 {
                let domain = domains.iter().find(|domain| domain.cpus.contains(CpuId::new(cpu)));
                let in_a_set = sets.iter().any(|set| set.contains(&cpu));
                prop_assert_eq!(domain.is_some(), in_a_set);
                if let Some(domain) = domain {
                    let members: BTreeSet<u32> = domain.cpus.iter().map(|cpu| cpu.raw()).collect();
                    prop_assert_eq!(&members, &reached[cpu as usize]);
                }
            }
        }
    }
}
