//! Changes of groups that the queues of all CPUs must hear of.

use crate::{
    cpu::{self, Cpu},
    policy::{Group, Limit, Roots},
};
use alloc::sync::Arc;
use machine::time;

/// The groups at the top.
pub fn roots() -> &'static Roots {
    match cpu::roots() {
        Some(roots) => roots,
        None => panic!("sched: a group is asked for before there are run queues"),
    }
}

/// A group without members below `parent`.
pub fn new_group(parent: &Arc<Group>) -> Arc<Group> {
    Group::new(Some(parent.clone()))
}

/// Puts `group` with all that is in it below `parent`, which must not be in it. Locks: run queues, one after another.
pub fn set_parent(group: &Arc<Group>, parent: &Arc<Group>) {
    // A CPU that meets the group for the first time between this line and its turn below finds the new parent.
    group.store_parent(parent.clone());
    each(|cpu| {
        let mut queue = cpu.queue.lock();
        queue.members.reparent(group);
        cpu.publish(&queue);
        drop(queue);
        cpu.kick();
    });
}

/// Gives `group` a limit, or none. It begins with the whole quota; whoever waited for the next period goes on. Locks: run
/// queues, one after another.
pub fn set_limit(group: &Arc<Group>, limit: Option<Limit>) {
    group.store_limit(limit, time::now());
    each(|cpu| {
        let mut queue = cpu.queue.lock();
        queue.members.limits_changed(time::now());
        cpu.publish(&queue);
        drop(queue);
        cpu.kick();
    });
}

fn each(f: impl Fn(&'static Cpu)) {
    if let Some(cpus) = cpu::all() {
        cpus.iter().for_each(|(_, cpu)| f(cpu));
    }
}
