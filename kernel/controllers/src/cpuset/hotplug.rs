//! What CPUs that go offline and come back do to the sets.

use super::{CHANGES, Cpuset, Sets, TASKS, domains};
use alloc::vec::Vec;
use container::{Framework, Node};
use machine::cpu;
use machine::sync::atomic::Ordering::SeqCst;

/// The CPUs that are online have changed: those that have left leave every set. Tasks of a container that has none left
/// move to the nearest one above that has both CPUs and nodes; so do tasks of the root forget their own wish if it
/// names no other CPU. A CPU that comes back is in the root's set only. Locks: takes *manage*, exclusively.
pub fn follow_machine(framework: &Framework) {
    framework.with_tree(|root: &Node<'_, Cpuset>| {
        let mut changed = Vec::new();
        root.for_each_below(|node| {
            let Some(own) = &node.state().sets else { return };
            let sets = own.get();
            if !sets.cpus.is_subset_of(&cpu::online()) {
                own.set(Sets { cpus: sets.cpus.and(&cpu::online()), ..sets });
                changed.push(node.clone());
            }
        });
        for node in changed {
            let state = node.state();
            state.change.store(CHANGES.fetch_add(1, SeqCst), SeqCst);
            if !state.cpus().is_empty() {
                node.tasks().iter().for_each(|task| state.confine(&**task));
            } else if node.has_tasks() {
                flee(&node);
            }
        }
        if let Some(tasks) = TASKS.get() {
            let lost = root.tasks().into_iter().filter(|task| !tasks.has_cpu(&**task));
            lost.for_each(|task| root.state().confine(&*task));
        }
        domains::rebuild(root);
    });
}

/// Moves the tasks of a container whose set has become empty.
fn flee(node: &Node<'_, Cpuset>) {
    let mut refuge = node.parent();
    while let Some(above) = refuge {
        if above.state().sets().are_complete() {
            if let Err(errno) = node.transfer_tasks(&above) {
                machine::log!(
                    "cpuset: {} has no CPU left, and its tasks can't go to {}: {errno}",
                    node.path(),
                    above.path()
                );
            }
            return;
        }
        refuge = above.parent();
    }
}
