//! Who traces whom: ties are made and cut here, under the lock of the tree.

use super::{Answer, Options, State, Trace};
use crate::{
    access::{AccessAs, may_inspect},
    clone::CloneFlags,
    exit,
    population::TaskTree,
    signals::{Signal, SignalInfo, code, send},
    status::{Change, End},
    task::Task,
};
use alloc::sync::Arc;
use base::{Capabilities, Errno, charge::Refused};
use core::sync::atomic::Ordering::SeqCst;
use machine::sync::{SpinLock, rank};
use sched::WaitQueue;

/// What a tie begins with.
struct Terms {
    is_seized: bool,
    is_privileged: bool,
    options: Options,
}

/// Ties a task that is not traced to a tracer.
fn tie(tree: &mut TaskTree, tracee: &Arc<Task>, tracer: &Arc<Task>, terms: Terms) {
    let trace = Trace {
        tracer: Arc::downgrade(tracer),
        tracer_process: tracer.pid(),
        is_seized: terms.is_seized,
        is_privileged: terms.is_privileged,
        changed: WaitQueue::new(),
        state: SpinLock::new(rank::TRACE, State { options: terms.options, ..State::default() }),
    };
    tracer.tracing.is_tracer.store(true, SeqCst);
    *tracee.tracing.trace.lock() = Some(Arc::new(trace));
    tracee.tracing.is_traced.store(true, SeqCst);
    tree.add_tracee(tracer.pid(), tracee.clone());
    note_leader(tracee);
}

/// Notes in its process who traces the leader: that one is told of the end before the parent.
pub(crate) fn note_leader(task: &Task) {
    if task.is_leader() {
        let tracer = task.tracing.trace().map(|trace| trace.tracer_process);
        task.process().state().tracer = tracer;
    }
}

/// Cuts the tie of a task to its tracer, if there is one. If it is stopped it goes on; the caller drops what is given back
/// without the lock.
pub(crate) fn cut(tree: &mut TaskTree, tracee: &Arc<Task>) -> Option<Arc<Trace>> {
    let trace = tracee.tracing.trace()?;
    cut_with(tree, tracee, &trace, None);
    Some(trace)
}

/// Cuts a tie; if the tracee is stopped it goes on with this signal.
pub(super) fn cut_with(tree: &mut TaskTree, tracee: &Arc<Task>, trace: &Trace, signal: Option<Signal>) {
    tracee.tracing.is_traced.store(false, SeqCst);
    let old = tracee.tracing.trace.lock().take();
    tree.remove_tracee(trace.tracer_process, |other| Arc::ptr_eq(other, tracee));
    note_leader(tracee);
    let mut state = trace.state();
    state.is_over = true;
    if let Some(stop) = &mut state.stop {
        stop.answer.get_or_insert(Answer { signal });
    }
    drop(state);
    trace.changed.wake_all();
    // It takes its trap flag back; if its process is stopped it stops now like the others.
    if tracee.process().state().stop.is_some() {
        tracee.call_attention();
    } else {
        tracee.note_attention();
    }
    // The caller has another reference.
    drop(old);
}

/// `PTRACE_TRACEME`: the parent becomes the tracer. `EPERM` there is a tracer, or the parent has not the capabilities of the
/// caller, nor CAP_SYS_PTRACE.
pub fn trace_me(task: &Arc<Task>) -> Result<(), Errno> {
    let mut tree = task.population().tree();
    if task.tracing.is_traced() {
        return Err(Errno::EPERM);
    }
    let kinship = task.process().kinship();
    let parent = tree.process(kinship.parent()).cloned();
    let maker = tree.task(kinship.maker()).cloned();
    let is_of = |maker: &Arc<Task>| parent.as_ref().is_some_and(|parent| Arc::ptr_eq(maker.process(), parent));
    let tracer = maker.filter(is_of).filter(|maker| !maker.is_exiting());
    let tracer = tracer.or_else(|| parent.and_then(|parent| parent.threads().into_iter().next()));
    let Some(tracer) = tracer else { return Ok(()) };
    let (own, parents) = (task.credentials(), tracer.credentials());
    let is_privileged = parents.has(Capabilities::SYS_PTRACE);
    if !is_privileged && !parents.permitted.contains(own.permitted) {
        return Err(Errno::EPERM);
    }
    // Set before the look: either this sees that the tracer ends, or its end sees that it traces.
    tracer.tracing.is_tracer.store(true, SeqCst);
    if !tracer.is_exiting() {
        tie(&mut tree, task, &tracer, Terms { is_seized: false, is_privileged, options: Options::default() });
    }
    Ok(())
}

/// `PTRACE_ATTACH`, or with options `PTRACE_SEIZE`, of a task by another, the current one.
///
/// `EPERM` a thread of the kernel or of the same process; the tracer may not look into it; it has ended or is traced.
pub fn attach(tracer: &Arc<Task>, tracee: &Arc<Task>, seizes: Option<Options>) -> Result<(), Errno> {
    if tracee.is_kernel_thread() || tracee.pid() == tracer.pid() {
        return Err(Errno::EPERM);
    }
    let mut tree = tracer.population().tree();
    // With the tree locked: an exec that gives other rights looks for a tie after it has changed them.
    let is_there = tree.task(tracee.tid()).is_some_and(|known| Arc::ptr_eq(known, tracee)) && !tracee.is_exiting();
    if !may_inspect(tracer, tracee, AccessAs::RealUser) || !is_there || tracee.tracing.is_traced() {
        return Err(Errno::EPERM);
    }
    let is_privileged = tracer.credentials().has(Capabilities::SYS_PTRACE);
    let terms = Terms { is_seized: seizes.is_some(), is_privileged, options: seizes.unwrap_or_default() };
    tie(&mut tree, tracee, tracer, terms);
    drop(tree);
    let process = tracee.process();
    if process.state().stop.is_some() {
        // It leaves the stop of its process for one of its own.
        tracee.call_attention();
        process.stopped.wake_all();
    }
    if seizes.is_none() {
        // The kernel's own signals are never refused.
        let _ = send::to_task(tracee, SignalInfo::kernel(Signal::STOP));
    }
    Ok(())
}

/// Ties a new task to the tracer of the one that made it, if it is to be: `flags` are those of the clone, and
/// `is_wanted` says that the tracer asked for such children. It begins with a stop.
pub(crate) fn inherit(tree: &mut TaskTree, child: &Arc<Task>, maker: &Task, flags: CloneFlags, is_wanted: bool) {
    let Some(trace) = maker.tracing.trace() else { return };
    if flags.contains(CloneFlags::UNTRACED) || !(is_wanted || flags.contains(CloneFlags::PTRACE)) {
        return;
    }
    let Some(tracer) = trace.tracer() else { return };
    let options = trace.state().options;
    let terms = Terms { is_seized: trace.is_seized, is_privileged: trace.is_privileged, options };
    tie(tree, child, &tracer, terms);
    if trace.is_seized {
        if let Some(own) = child.tracing.trace() {
            own.state().wants_trap = true;
        }
    } else {
        child.signals.lock().pending.push(SignalInfo::bare(Signal::STOP), Err(Refused));
    }
    child.note_attention();
}

/// The current task, which may trace others, ends: their ties are cut, or they end with it.
pub(crate) fn end_of_tracer(tracer: &Arc<Task>) {
    if !tracer.tracing.is_tracer.load(SeqCst) {
        return;
    }
    loop {
        let mut tree = tracer.population().tree();
        let own = tree.tracees(tracer.pid()).iter().find(|tracee| is_traced_by(tracee, tracer)).cloned();
        let Some(tracee) = own else { return };
        let Some(trace) = cut(&mut tree, &tracee) else { continue };
        let (kills, ended) = {
            let state = trace.state();
            (state.options.contains(Options::EXIT_KILL), state.ended.is_some())
        };
        if ended {
            let gone = tree.remove_task(tracee.tid());
            drop(tree);
            exit::released(gone);
            continue;
        }
        drop(tree);
        if kills {
            // SIGKILL is never refused.
            let _ = send::to_process(tracee.process(), SignalInfo::kernel(Signal::KILL));
        }
        // The parent was not told of an end that the tracer had not seen.
        let process = tracee.process();
        if tracee.is_leader() && process.is_zombie() && process.kinship().parent() != tracer.pid() {
            exit::tell_parent_of_end(process);
        }
    }
}

fn is_traced_by(tracee: &Task, tracer: &Task) -> bool {
    tracee.tracing.trace().is_some_and(|trace| trace.is_by(tracer))
}

/// Whether a thread that has ended stays, under its number, until its tracer has waited for it. Called with the tree locked;
/// [`tell_end`] has to follow.
pub(crate) fn keep_ended(task: &Task, end: End) -> bool {
    let Some(trace) = task.tracing.trace() else { return false };
    trace.state().ended = Some(end);
    true
}

/// Tells its tracer that `task` has ended: SIGCHLD, and its waits look again.
pub(crate) fn tell_end(task: &Task, end: End) {
    if let Some(trace) = task.tracing.trace() {
        let (code, status) = Change::Ended(end).code_and_status();
        tell(task, &trace, code, status);
    }
}

/// Tells the tracer, unless it wants no SIGCHLD, that something has become of its tracee.
pub(super) fn tell(task: &Task, trace: &Trace, code: i32, status: i32) {
    let Some(tracer) = trace.tracer() else { return };
    let process = tracer.process();
    let is_stop = [code::CLD_TRAPPED, code::CLD_STOPPED].contains(&code);
    let action = process.state().actions.lock().get(Signal::CHLD);
    if !is_stop || !action.flags.contains(crate::signals::ActionFlags::NO_CHILD_STOP) {
        let info = send::child_info_of(task, code, status);
        // The kernel's own signals are never refused.
        let _ = send::to_process(process, info);
    }
    process.news.wake_all();
}

/// Whether an exec of `task` may give it no rights that it does not have: its tracer could use them.
pub(crate) fn forbids_rights(task: &Task) -> bool {
    task.tracing.trace().is_some_and(|trace| !trace.is_privileged)
}

/// An exec has given `task` other rights: a tracer that came meanwhile and may not have them loses it.
pub(crate) fn after_rights(task: &Arc<Task>) {
    if !task.tracing.is_traced() {
        return;
    }
    let mut tree = task.population().tree();
    let cut = if forbids_rights(task) { cut(&mut tree, task) } else { None };
    drop(tree);
    drop(cut);
}
