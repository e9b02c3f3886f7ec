//! Sending signals: to a thread, a process, a group; from programs, from the kernel, and by faults.

use super::{ActionTable, Default, Detail, Place, Signal, SignalInfo, SignalSet, code};
use crate::{
    accounts::SignalShare,
    limits::Resource,
    population::Population,
    process::{Process, ProcessState},
    status::{Change, End, ticks},
    task::{Belongings, Task},
};
use alloc::{sync::Arc, vec::Vec};
use base::{Capabilities, Credentials, Errno, Pid, charge::Refused};
use core::sync::atomic::Ordering::Relaxed;

/// Who is to get a signal.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// Any thread of the process.
    Process,
    /// This thread of it.
    Thread(&'a Arc<Task>),
}

/// What has to be told to the parent once the process lock is free.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Continued(bool);

/// Sends `info` to a process. A signal that it ignores and does not block is dropped.
///
/// `EAGAIN`: it is a real-time signal with facts and the receiver's user has too many (`RLIMIT_SIGPENDING`), or a program
/// queued it by `rt_sigqueueinfo(2)` and its containers don't pay for that. Others that are not paid for, or are too many,
/// come without their facts.
/// Locks: takes the process's; call without one of its rank.
pub fn to_process(process: &Arc<Process>, info: SignalInfo) -> Result<(), Errno> {
    send(process, info, Target::Process, None)
}

/// The same for `sender`, the running task.
pub(crate) fn from_task(sender: &Task, process: &Arc<Process>, info: SignalInfo) -> Result<(), Errno> {
    send(process, info, Target::Process, Some(sender))
}

/// Sends `info` to one thread. Errors and locks as [`to_process`].
pub fn to_task(task: &Arc<Task>, info: SignalInfo) -> Result<(), Errno> {
    send(task.process(), info, Target::Thread(task), None)
}

/// Sends a signal of the kernel's own to all of a process group; nobody is refused.
pub fn to_group(population: &Population, group: Pid, signal: Signal) {
    let members: Vec<Arc<Process>> = population.tree().group(group).to_vec();
    for member in members {
        // The kernel's own signals are never refused: limits are for programs.
        let _ = to_process(&member, SignalInfo::kernel(signal));
    }
}

fn send(process: &Arc<Process>, info: SignalInfo, target: Target<'_>, sender: Option<&Task>) -> Result<(), Errno> {
    let limit = if is_limited(&info) { process.limit(Resource::PendingSignals) } else { u64::MAX };
    let mut state = process.state();
    let continued = prepare(process, &mut state, info.signal);
    let result = enqueue(process, &mut state, info, target, sender, limit);
    drop(state);
    process.signalled.wake_all();
    if continued.0 {
        tell_parent(process, Change::Continued);
    }
    result
}

/// What sending does whether the signal is ignored or not: a stop signal and SIGCONT undo each other.
fn prepare(process: &Process, state: &mut ProcessState, signal: Signal) -> Continued {
    let discard = |state: &mut ProcessState, set: SignalSet| {
        state.pending.discard(set);
        state.threads.iter().for_each(|thread| thread.signals.lock().pending.discard(set));
    };
    if signal == Signal::CONT {
        discard(state, SignalSet::STOPS);
        if let Some(stop) = state.stop.take() {
            for thread in &state.threads {
                thread.counted_stopped.store(false, Relaxed);
                if let Some(trace) = thread.tracing.trace() {
                    trace.note_group_change();
                    thread.call_attention();
                }
            }
            process.stopped.wake_all();
            if stop.running == 0 {
                state.change = Some(Change::Continued);
                return Continued(true);
            }
        }
    } else if SignalSet::STOPS.contains(signal) {
        discard(state, SignalSet::of(&[Signal::CONT]));
    }
    Continued(false)
}

fn enqueue(
    process: &Process,
    state: &mut ProcessState,
    info: SignalInfo,
    target: Target<'_>,
    sender: Option<&Task>,
    limit: u64,
) -> Result<(), Errno> {
    let signal = info.signal;
    if state.threads.is_empty() || state.is_over() && signal != Signal::KILL {
        return Ok(());
    }
    let blocked = match target {
        Target::Thread(task) => task.mask(),
        Target::Process => state.threads[0].mask(),
    };
    if !blocked.contains(signal) && is_dropped(process, &state.actions.lock(), &info) {
        // A tracer sees what the program itself ignores.
        let is_traced = match target {
            Target::Thread(task) => task.tracing.is_traced(),
            Target::Process => state.threads[0].tracing.is_traced(),
        };
        if !is_traced || signal == Signal::KILL {
            return Ok(());
        }
    }
    if signal == Signal::KILL {
        // Nothing can come between: the process ends now, stopped or not.
        end_group(process, state, End::Killed { signal, core: false });
        return Ok(());
    }
    let merges = match target {
        Target::Process => state.pending.merges(signal),
        Target::Thread(task) => task.signals.lock().pending.merges(signal),
    };
    if merges {
        return Ok(());
    }
    let owner: &Task = match target {
        Target::Process => &state.threads[0],
        Target::Thread(task) => task,
    };
    let share = share(owner, limit);
    if share.is_err() && signal.is_real_time() && info.code != code::USER && info.detail != Detail::None {
        return Err(Errno::EAGAIN);
    }
    // Who sends pays, which is the running task.
    let payer = match sender {
        Some(sender) => sender.population().framework().payer(sender),
        None => memory::payer::current(),
    };
    let paid = Place::paid(payer);
    if paid.is_err() && info.code == code::QUEUE {
        return Err(Errno::EAGAIN);
    }
    let place = share.and_then(|share| Ok(paid?.with_share(share)));
    match target {
        Target::Thread(task) => {
            if task.signals.lock().pending.push(info, place) && !task.mask().contains(signal) {
                task.call_attention();
            }
        }
        Target::Process => {
            if state.pending.push(info, place) {
                let takes = |thread: &&Arc<Task>| !thread.mask().contains(signal);
                let is_free = |thread: &&Arc<Task>| !thread.tracing.is_traced() || !thread.tracing.is_stopped();
                let mut takers = state.threads.iter().filter(takes);
                if let Some(taker) = takers.clone().find(is_free).or_else(|| takers.next()) {
                    taker.call_attention();
                }
            }
        }
    }
    Ok(())
}

/// Whether there can be too many of this signal. Of standard signals of the kernel and of `kill(2)` there never are.
fn is_limited(info: &SignalInfo) -> bool {
    info.signal.is_real_time() || info.code < 0
}

/// A place among the signals of the user whose task it is for; refused if there are `limit` already.
fn share(owner: &Task, limit: u64) -> Result<Option<SignalShare>, Refused> {
    let share = |own: &mut Belongings| own.share.as_ref().map(|share| share.signal(limit).ok_or(Refused));
    owner.with_belongings(share).transpose()
}

/// Whether a signal has no effect: ignored, or not wanted by pid 1, which only its own handlers and the kernel's faults
/// touch.
fn is_dropped(process: &Process, actions: &ActionTable, info: &SignalInfo) -> bool {
    let signal = info.signal;
    if process.is_init() && actions.get(signal).handler == super::SIG_DFL && signal != Signal::CONT {
        return true;
    }
    // SIGCONT has done its work already; without a handler nothing is left to deliver.
    signal.default_action() != Default::Stop && actions.ignores(signal)
        || signal.default_action() == Default::Stop && actions.get(signal).handler == super::SIG_IGN
}

/// Decides that the process ends, unless that was decided before, and calls all its threads. Of a process that leaves a core
/// that was decided, and SIGKILL cuts the core off.
pub(crate) fn end_group(process: &Process, state: &mut ProcessState, end: End) {
    if state.dump.is_some() && !matches!(end, End::Killed { signal: Signal::KILL, .. }) {
        return;
    }
    state.exit.get_or_insert(end);
    if matches!(end, End::Killed { signal: Signal::KILL, .. }) {
        state.kills = state.kills.wrapping_add(1);
    }
    state.threads.iter().for_each(|thread| thread.call_to_end());
    process.stopped.wake_all();
}

/// A fault of `task` itself: the signal can be neither blocked nor ignored; if it was, the task ends by it.
pub fn force(task: &Arc<Task>, info: SignalInfo) {
    let signal = info.signal;
    let state = task.process().state();
    let mut actions = state.actions.lock();
    if task.mask().contains(signal) || actions.get(signal).handler == super::SIG_IGN {
        actions.reset(signal);
        let mut mask = task.mask();
        mask.remove(signal);
        task.store_mask(mask);
    }
    drop(actions);
    // It is taken before the task goes on, and never refused.
    task.signals.lock().pending.push(info, Ok(Place::default()));
    drop(state);
    task.note_attention();
}

/// Ends the task's process by `signal`, whatever is done about it: no memory, no stack for a handler.
pub fn kill_by(task: &Arc<Task>, signal: Signal) {
    let process = task.process();
    end_group(process, &mut process.state(), End::Killed { signal, core: false });
    task.note_attention();
}

/// Whether `sender` may signal a process with these credentials.
pub fn may_signal(sender: &Credentials, target: &Credentials) -> bool {
    sender.has(Capabilities::KILL)
        || [target.uid, target.suid].contains(&sender.euid)
        || [target.uid, target.suid].contains(&sender.uid)
}

/// Checks that `sender` may send `signal` to `target`. `EPERM`; SIGCONT may go to anybody in the same session.
pub(crate) fn check_permission(sender: &Task, target: &Process, signal: Option<Signal>) -> Result<(), Errno> {
    if core::ptr::eq(Arc::as_ptr(sender.process()), target) {
        return Ok(());
    }
    let same_session = sender.process().kinship().session() == target.kinship().session();
    let allowed = target.leader().is_none_or(|leader| may_signal(&sender.credentials(), &leader.credentials()));
    if allowed || signal == Some(Signal::CONT) && same_session { Ok(()) } else { Err(Errno::EPERM) }
}

/// Tells the parent of `child` that it has stopped or gone on: SIGCHLD, unless it wants none, and its waits look again.
/// Locks: takes the tree's, then the parent's; call with none of a process.
pub(crate) fn tell_parent(child: &Arc<Process>, change: Change) {
    let Some(parent) = child.population().process(child.kinship().parent()) else { return };
    let quiet = parent.state().actions.lock().get(Signal::CHLD).flags.contains(super::ActionFlags::NO_CHILD_STOP);
    if !quiet {
        // The kernel's own signals are never refused.
        let _ = to_process(&parent, child_info(child, Signal::CHLD, change));
    }
    parent.news.wake_all();
}

/// What SIGCHLD says to the tracer of `task`.
pub(crate) fn child_info_of(task: &Task, code: i32, status: i32) -> SignalInfo {
    let usage = task.usage();
    let detail = Detail::Child {
        process: task.tid(),
        user: task.credentials().uid,
        status,
        user_ticks: ticks(usage.user),
        system_ticks: ticks(usage.system),
    };
    SignalInfo { signal: Signal::CHLD, code, detail }
}

/// What a parent's SIGCHLD (or other exit signal) says.
pub(crate) fn child_info(child: &Process, signal: Signal, change: Change) -> SignalInfo {
    let (code, status) = change.code_and_status();
    let usage = child.usage();
    let detail = Detail::Child {
        process: child.pid(),
        user: child.leader().map(|leader| leader.credentials().uid).unwrap_or_default(),
        status,
        user_ticks: ticks(usage.user),
        system_ticks: ticks(usage.system),
    };
    SignalInfo { signal, code, detail }
}
