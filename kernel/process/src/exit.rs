//! The end of a task and of a process: what it gives back, who is told, what is left to reap.

use crate::{
    futex_calls,
    process::Process,
    signals::{Signal, SignalInfo, send},
    status::{Change, End},
    task::{Belongings, Task},
    terminal,
    trace::ties,
};
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::Ordering::Relaxed;

/// `exit(2)`: the calling task ends before it goes back to user mode.
pub fn exit(task: &Task, code: i32) {
    task.leave(code as u8);
}

/// `exit_group(2)`: all threads of the process end.
pub fn exit_group(task: &Task, code: i32) {
    let process = task.process();
    send::end_group(process, &mut process.state(), End::Exited(code as u8));
    task.note_attention();
}

/// The last that a task does, on its own stack.
pub(crate) fn finish(task: Arc<Task>) -> ! {
    leave(&task);
    drop(task);
    sched::exit_current()
}

/// Ends `task`, the current one, in the order that Linux has: its memory, its files, its containers, its relatives.
pub(crate) fn leave(task: &Arc<Task>) {
    let process = task.process();
    task.mark_exiting();
    ties::end_of_tracer(task);
    task.entity().release_reservation();
    if process.is_init() && process.thread_count() == 1 {
        last_of_init(task);
    }
    futex_calls::exit(task);
    leave_memory(task);
    let take = |own: &mut Belongings| (own.undo.take(), own.files.take(), own.context.take(), own.share.take());
    let (undo, files, context, share) = task.with_belongings(take);
    if let Some(list) = undo {
        list.leave(task.pid());
    }
    drop((files, context));
    if task.filters.are_on() {
        task.filters.release();
    }
    let last = take_out_of_process(task);
    if last {
        process.timers.stop();
        process.forget_program();
        terminal::leave_session(process);
    }
    task.population().framework().exit(&**task);
    if task.is_leader() {
        // The user's count keeps a zombie until it is reaped.
        task.with_belongings(|own| own.share = share);
    } else {
        let end = process.state().exit.or(task.leaving()).unwrap_or(End::Exited(0));
        let mut tree = task.population().tree();
        if ties::keep_ended(task, end) {
            drop(tree);
            task.with_belongings(|own| own.share = share);
            ties::tell_end(task, end);
        } else {
            let gone = tree.remove_task(task.tid());
            drop(tree);
            // What it runs after that is nobody's but the roots'.
            sched::account();
            task.population().framework().release(&**task);
            drop((gone, share));
        }
    }
    // Another thread may have left the list earlier and still be on its way out of its containers.
    let has_ended = process.state().departed();
    if has_ended {
        notify(process);
    } else {
        // A thread that executes a program waits here for the others.
        process.news.wake_all();
    }
}

/// Lets go of the address space; a parent in vfork goes on.
pub(crate) fn leave_memory(task: &Arc<Task>) {
    if let Some(space) = task.replace_space(None) {
        task.process().note_resident(space.space.resident().peak * 4);
        machine::paging::deactivate();
        drop(space);
    }
    task.finish_vfork();
}

/// Takes the task out of its process's threads and says whether it was the last.
fn take_out_of_process(task: &Arc<Task>) -> bool {
    let process = task.process();
    sched::account();
    let usage = task.usage();
    let mut state = process.state();
    state.threads.retain(|thread| !Arc::ptr_eq(thread, task));
    state.ended_threads.add(&usage);
    let own_end = task.leaving().unwrap_or(End::Exited(0));
    if task.is_leader() {
        state.leader_end = Some(own_end);
    }
    let dumps = match &mut state.dump {
        Some(dump) if dump.writer != task.tid() => {
            dump.running -= 1;
            true
        }
        _ => false,
    };
    let mut stopped = None;
    if let Some(stop) = &mut state.stop
        && !task.counted_stopped.load(Relaxed)
        && stop.running > 0
    {
        stop.running -= 1;
        if stop.running == 0 && !state.threads.is_empty() {
            stopped = state.stop.map(|stop| Change::Stopped(stop.signal));
            state.change = stopped;
        }
    }
    // Signals for the whole process that this thread was to take are another's now.
    if !state.pending.set().is_empty()
        && let Some(other) = state.threads.first()
    {
        other.call_attention();
    }
    let last = state.threads.is_empty();
    state.departing += 1;
    drop(state);
    if dumps {
        process.news.wake_all();
    }
    if let Some(change) = stopped {
        send::tell_parent(process, change);
    }
    last
}

/// The last thread of the process is gone: children go to who adopts them, the parent is told.
fn notify(process: &Arc<Process>) {
    let population = process.population();
    let mut tree = population.tree();
    process.kinship().exiting.store(true, Relaxed);
    // Stopped groups that nobody in their session could start again get SIGHUP and SIGCONT (POSIX).
    let mut orphaned = Vec::new();
    let own_group = process.kinship().group();
    let parent_elsewhere = tree.process(process.kinship().parent()).is_some_and(|parent| {
        parent.kinship().group() != own_group && parent.kinship().session() == process.kinship().session()
    });
    if parent_elsewhere && tree.is_orphaned(own_group, Some(process.pid())) {
        orphaned.push(own_group);
    }
    // What becomes of a child from now on its new parent is told, by SIGCHLD, whatever the first parent wanted: with
    // the tree locked, so that a child that ends meanwhile sees both or neither.
    let adopted = tree.orphan(process.pid()).into_iter().map(|(child, parent)| {
        let mut state = child.state();
        state.exit_signal = Some(Signal::CHLD);
        // A tracer that is not the parent is told first.
        let ended = state.zombie.filter(|_| state.tracer.is_none());
        drop(state);
        Adopted { child, parent, ended }
    });
    let adopted: Vec<Adopted> = adopted.collect();
    for Adopted { child, .. } in &adopted {
        let group = child.kinship().group();
        let was_held = group != own_group && child.kinship().session() == process.kinship().session();
        if was_held && !orphaned.contains(&group) && tree.is_orphaned(group, None) {
            orphaned.push(group);
        }
    }
    orphaned
        .retain(|&group| tree.group(group).iter().any(|member| member.pid() != process.pid() && member.is_stopped()));
    let (end, exit_signal, tracer, ending) = {
        let mut state = process.state();
        let end = state.exit.or(state.leader_end).unwrap_or(End::Exited(0));
        state.zombie = Some(end);
        (end, state.exit_signal, state.tracer, state.ending.take())
    };
    let parent = tree.process(process.kinship().parent()).cloned();
    let tracee =
        tracer.filter(|&tracer| tracer != process.kinship().parent()).and_then(|_| tree.task(process.pid()).cloned());
    drop(tree);
    // Without a lock: they may tell others.
    drop(ending);
    process.ended.wake_all();

    for group in orphaned {
        send::to_group(population, group, Signal::HUP);
        send::to_group(population, group, Signal::CONT);
    }
    for child in adopted {
        adopt(&child);
    }
    match tracee {
        Some(tracee) => ties::tell_end(&tracee, end),
        None => tell_end(process, parent, end, exit_signal),
    }
}

/// Tells the parent of a zombie, which its tracer has held back until now.
pub(crate) fn tell_parent_of_end(process: &Arc<Process>) {
    let (end, exit_signal) = {
        let state = process.state();
        (state.zombie, state.exit_signal)
    };
    let parent = process.population().process(process.kinship().parent());
    if let Some(end) = end {
        tell_end(process, parent, end, exit_signal);
    }
}

/// A child that has a new parent because its old one ended, and how it had ended before that, if it had.
struct Adopted {
    child: Arc<Process>,
    parent: Arc<Process>,
    ended: Option<End>,
}

/// What follows an adoption, without the lock of the tree.
fn adopt(adopted: &Adopted) {
    let Adopted { child, parent, ended } = adopted;
    for thread in child.threads() {
        let wish = thread.parent_death_signal.load(Relaxed) as i32;
        if let Ok(signal) = Signal::new(wish) {
            // The kernel's own signals are never refused.
            let _ = send::to_process(child, SignalInfo::kernel(signal));
        }
    }
    if let Some(end) = ended {
        tell_end(child, Some(parent.clone()), *end, Some(Signal::CHLD));
    }
}

/// Tells a parent of the end of `child`; if it does not want to know, the child is reaped at once.
fn tell_end(child: &Arc<Process>, parent: Option<Arc<Process>>, end: End, exit_signal: Option<Signal>) {
    let Some(parent) = parent else {
        // A thread of the kernel, or pid 1 itself: nobody waits for it.
        reap(child);
        return;
    };
    let reaps = exit_signal == Some(Signal::CHLD) && parent.state().actions.lock().reaps_children();
    if let Some(signal) = exit_signal {
        let ignored = reaps && parent.state().actions.lock().ignores(signal);
        if !ignored {
            // The kernel's own signals are never refused.
            let _ = send::to_process(&parent, send::child_info(child, signal, Change::Ended(end)));
        }
    }
    if reaps {
        reap(child);
    }
    parent.news.wake_all();
}

/// Takes a zombie out of the system; its number is free afterwards.
pub(crate) fn reap(process: &Arc<Process>) {
    let population = process.population();
    let (leader, gone, trace) = {
        let mut tree = population.tree();
        // Its parent may have been faster, and the number may be another's by now.
        if !tree.process(process.pid()).is_some_and(|known| Arc::ptr_eq(known, process)) {
            return;
        }
        let leader = tree.remove_task(process.pid());
        let trace = leader.as_ref().and_then(|leader| ties::cut(&mut tree, leader));
        (leader, tree.remove_process(process.pid()), trace)
    };
    released(leader);
    drop((gone, trace));
}

/// What follows the removal of a zombie from the tree, without its lock.
pub(crate) fn released(leader: Option<Arc<Task>>) {
    if let Some(leader) = leader {
        let share = leader.with_belongings(|own| own.share.take());
        leader.population().framework().release(&*leader);
        drop(share);
    }
}

/// Pid 1 ends: the machine is switched off. Its own status is logged.
fn last_of_init(task: &Arc<Task>) {
    let process = task.process();
    let end = process.state().exit.or(task.leaving()).unwrap_or(End::Exited(0));
    machine::log_urgent!("process: pid 1 ended ({end}); powering off");
    crate::power::off()
}
