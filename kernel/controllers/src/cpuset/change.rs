//! A change of a container's sets or of its exclusive flags: whether the rules allow it, and whom it reaches.

use super::{CHANGES, Cpuset, TASKS, TaskControl, Trial, domains, move_pages, rebind_space, renew_wall};
use base::Errno;
use container::Node;
use machine::sync::atomic::Ordering::{Relaxed, SeqCst};

/// Makes a change if the rules allow what comes out. The caller holds *manage* exclusively: neither the tree nor the
/// place of a task changes meanwhile; tasks may be born and end.
pub(super) fn change(node: &Node<'_, Cpuset>, make: impl FnOnce(&mut Trial)) -> Result<(), Errno> {
    let state = node.state();
    let now = state.trial();
    let mut trial = now;
    make(&mut trial);
    if trial == now {
        return Ok(());
    }
    check(node, &now, &trial)?;
    let was_exclusive = state.is_exclusive();
    state.cpu_exclusive.store(trial.cpu_exclusive, Relaxed);
    state.mem_exclusive.store(trial.mem_exclusive, Relaxed);
    state.mem_hardwall.store(trial.mem_hardwall, Relaxed);
    if state.is_exclusive() != was_exclusive {
        note_exclusive(node, !was_exclusive);
    }
    let walls = trial.is_walled() != now.is_walled() || trial.sets.mems != now.sets.mems;
    if let Some(sets) = state.sets.as_ref().filter(|_| trial.sets != now.sets) {
        sets.set(trial.sets);
        // Before the walk: a child that the walk misses is born with a word that is older.
        let before = state.change.swap(CHANGES.fetch_add(1, SeqCst), SeqCst);
        let tasks = node.tasks();
        let same_cpus = trial.sets.cpus == now.sets.cpus;
        tasks.iter().for_each(|task| {
            if same_cpus {
                state.confine_memory(&**task, before);
            } else {
                state.confine(&**task);
            }
        });
        if trial.sets.mems != now.sets.mems {
            tasks.iter().for_each(|task| rebind_space(&**task, &trial.sets.mems));
        }
        if state.memory_migrate.load(Relaxed) {
            tasks.iter().for_each(|task| move_pages(&**task, &now.sets.mems, &trial.sets.mems));
        }
        if trial.sets.cpus != now.sets.cpus {
            domains::follow(node);
        }
    }
    if walls {
        node.for_each_below(|below| {
            if renew_wall(below) {
                below.state().place(below);
            }
        });
    }
    Ok(())
}

/// Tells the parent that a container has become exclusive, or is so no longer.
pub(super) fn note_exclusive(node: &Node<'_, Cpuset>, is_exclusive: bool) {
    if let Some(parent) = node.parent() {
        let count = &parent.state().exclusive_children;
        let _ = if is_exclusive { count.fetch_add(1, Relaxed) } else { count.fetch_sub(1, Relaxed) };
    }
}

/// The rules of section 10.3, from the fifth on, in their order.
fn check(node: &Node<'_, Cpuset>, now: &Trial, trial: &Trial) -> Result<(), Errno> {
    if node.children().any(|child| !child.state().trial().is_within(trial)) {
        return Err(Errno::EBUSY);
    }
    let Some(parent) = node.parent() else { return Ok(()) };
    if !trial.is_within(&parent.state().trial()) {
        return Err(Errno::EACCES);
    }
    let mut siblings = parent.children().filter(|sibling| !sibling.is(node));
    if siblings.any(|sibling| trial.disturbs(&sibling.state().trial())) {
        return Err(Errno::EINVAL);
    }
    let loses_cpus = trial.sets.cpus.is_empty() && !now.sets.cpus.is_empty();
    let loses_mems = trial.sets.mems.is_empty() && !now.sets.mems.is_empty();
    if (loses_cpus || loses_mems) && node.has_tasks() {
        return Err(Errno::ENOSPC);
    }
    let may_shrink = |tasks: &dyn TaskControl| tasks.may_shrink(&now.sets.cpus, &trial.sets.cpus);
    if now.cpu_exclusive && !TASKS.get().is_none_or(may_shrink) {
        return Err(Errno::EBUSY);
    }
    Ok(())
}
