//! The system calls about signals, with decoded arguments.

use super::{Action, AlternateStack, Detail, Signal, SignalInfo, SignalSet, code, send};
use crate::{process::Process, sleep, task::Task};
use alloc::{sync::Arc, vec::Vec};
use base::{Errno, Pid};
use sched::WaitQueue;

/// How `rt_sigprocmask(2)` changes what is blocked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MaskChange {
    /// `SIG_BLOCK`.
    Block,
    /// `SIG_UNBLOCK`.
    Unblock,
    /// `SIG_SETMASK`.
    Set,
}

impl MaskChange {
    /// From the first argument of the call; `EINVAL` for anything else.
    pub fn new(how: i32) -> Result<Self, Errno> {
        match how {
            0 => Ok(Self::Block),
            1 => Ok(Self::Unblock),
            2 => Ok(Self::Set),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// `rt_sigprocmask(2)` of the current task; returns what was blocked before.
pub fn change_mask(task: &Arc<Task>, how: MaskChange, set: SignalSet) -> SignalSet {
    let old = task.mask();
    set_mask(
        task,
        match how {
            MaskChange::Block => old.or(set),
            MaskChange::Unblock => old.without(set),
            MaskChange::Set => set,
        },
    );
    old
}

/// Blocks exactly `mask`. Signals that are no longer blocked are looked for before user mode; signals of the process
/// that are blocked now are left to another thread that takes them.
pub(crate) fn set_mask(task: &Arc<Task>, mask: SignalSet) {
    let old = task.mask();
    if old == mask {
        return;
    }
    task.store_mask(mask);
    let state = task.process().state();
    let newly_blocked = state.pending.set().and(mask.without(old));
    if !newly_blocked.is_empty() {
        let takes = |thread: &&Arc<Task>| !newly_blocked.without(thread.mask()).is_empty();
        if let Some(other) = state.threads.iter().find(takes) {
            other.call_attention();
        }
    }
    let waiting = task.signals.lock().pending.set().or(state.pending.set());
    drop(state);
    if !waiting.without(mask).is_empty() {
        task.call_attention();
    }
}

/// `rt_sigaction(2)`: replaces the action if `new` is given, and returns the old one. `EINVAL` for SIGKILL and SIGSTOP.
pub fn action(task: &Task, signal: Signal, new: Option<Action>) -> Result<Action, Errno> {
    let mut state = task.process().state();
    let mut actions = state.actions.lock();
    let Some(new) = new else { return Ok(actions.get(signal)) };
    let old = actions.set(signal, new)?;
    let ignored = actions.ignores(signal);
    drop(actions);
    if ignored {
        // Ignoring a signal forgets those that wait (POSIX).
        let set = SignalSet::of(&[signal]);
        state.pending.discard(set);
        state.threads.iter().for_each(|thread| thread.signals.lock().pending.discard(set));
    }
    Ok(old)
}

/// `sigaltstack(2)` of the current task, whose stack pointer is `pointer`. Errors as [`AlternateStack::replace`].
pub fn alternate_stack(task: &Task, new: Option<AlternateStack>, pointer: u64) -> Result<AlternateStack, Errno> {
    let mut signals = task.signals.lock();
    let old = signals.stack.shown(pointer);
    if let Some(new) = new {
        signals.stack.replace(new, pointer)?;
    }
    Ok(old)
}

fn sender_info(sender: &Task, signal: Signal, code: i32) -> SignalInfo {
    let detail = Detail::Sender { process: sender.pid(), user: sender.with_belongings(|own| own.credentials.uid) };
    SignalInfo { signal, code, detail }
}

/// `kill(2)`; without a signal only the permission is checked.
///
/// `ESRCH` nobody there; `EPERM` nobody that the caller may signal; `EAGAIN` see [`send::to_process`].
pub fn kill(sender: &Arc<Task>, target: i32, signal: Option<Signal>) -> Result<(), Errno> {
    let population = sender.population();
    let members: Vec<Arc<Process>> = match target {
        i32::MIN => return Err(Errno::ESRCH),
        own if own == sender.pid().raw() => return kill_one(sender, sender.process(), signal),
        1.. => {
            return kill_one(
                sender,
                &population
                    .process(Pid::new(target))
                    .or_else(|| {
                        // The number of a thread stands for its process, as on Linux.
                        population.task(Pid::new(target)).map(|task| task.process().clone())
                    })
                    .ok_or(Errno::ESRCH)?,
                signal,
            );
        }
        0 => population.tree().group(sender.process().kinship().group()).to_vec(),
        -1 => {
            let all = population.processes();
            all.into_iter().filter(|one| !one.is_init() && one.pid() != sender.pid() && !is_kernel(one)).collect()
        }
        group => population.tree().group(Pid::new(-group)).to_vec(),
    };
    let mut result = Err(Errno::ESRCH);
    for member in members {
        match kill_one(sender, &member, signal) {
            Ok(()) => result = Ok(()),
            Err(error) if result.is_err() => result = Err(error),
            Err(_) => {}
        }
    }
    result
}

fn is_kernel(process: &Process) -> bool {
    process.leader().is_some_and(|leader| leader.is_kernel_thread())
}

fn kill_one(sender: &Arc<Task>, target: &Arc<Process>, signal: Option<Signal>) -> Result<(), Errno> {
    send::check_permission(sender, target, signal)?;
    match signal {
        None => Ok(()),
        Some(_) if !Arc::ptr_eq(target, sender.process()) && is_kernel(target) => Ok(()),
        Some(signal) => send::from_task(sender, target, sender_info(sender, signal, code::USER)),
    }
}

/// `tgkill(2)`, and `tkill(2)` without `process`. `EINVAL` numbers that are not positive; `ESRCH`; `EPERM`; `EAGAIN`.
pub fn kill_thread(sender: &Arc<Task>, process: Option<i32>, thread: i32, signal: Option<Signal>) -> Result<(), Errno> {
    send_to_thread(sender, process, thread, signal, |signal| sender_info(sender, signal, code::TKILL))
}

fn send_to_thread(
    sender: &Arc<Task>,
    process: Option<i32>,
    thread: i32,
    signal: Option<Signal>,
    info: impl FnOnce(Signal) -> SignalInfo,
) -> Result<(), Errno> {
    if thread <= 0 || process.is_some_and(|process| process <= 0) {
        return Err(Errno::EINVAL);
    }
    let target = sender.population().task(Pid::new(thread)).ok_or(Errno::ESRCH)?;
    if process.is_some_and(|process| target.pid().raw() != process) {
        return Err(Errno::ESRCH);
    }
    send::check_permission(sender, target.process(), signal)?;
    match signal {
        Some(signal) if !target.is_exiting() && !target.is_kernel_thread() => send::to_task(&target, info(signal)),
        _ => Ok(()),
    }
}

/// What a program may claim in `rt_sigqueueinfo(2)`: nothing that only the kernel says, except about itself.
fn check_claim(sender: &Task, target: i32, info: &SignalInfo) -> Result<(), Errno> {
    let claims = info.code >= 0 || info.code == code::TKILL;
    if claims && target != sender.pid().raw() { Err(Errno::EPERM) } else { Ok(()) }
}

/// `rt_sigqueueinfo(2)`. `EPERM` also for a code that only the kernel uses; else as [`kill`] of one process.
pub fn queue(sender: &Arc<Task>, target: i32, info: SignalInfo) -> Result<(), Errno> {
    check_claim(sender, target, &info)?;
    let process = sender.population().process(Pid::new(target)).ok_or(Errno::ESRCH)?;
    send::check_permission(sender, &process, Some(info.signal))?;
    send::to_process(&process, info)
}

/// `pidfd_send_signal(2)`: [`kill`] of this process, or with `info` [`queue`]. `ESRCH` it was reaped.
pub fn signal_process(
    sender: &Arc<Task>,
    process: &Arc<Process>,
    signal: Option<Signal>,
    info: Option<SignalInfo>,
) -> Result<(), Errno> {
    if let Some(info) = &info {
        check_claim(sender, process.pid().raw(), info)?;
    }
    if !sender.population().process(process.pid()).is_some_and(|there| Arc::ptr_eq(&there, process)) {
        return Err(Errno::ESRCH);
    }
    match info {
        None => kill_one(sender, process, signal),
        Some(info) => {
            send::check_permission(sender, process, signal)?;
            send::to_process(process, info)
        }
    }
}

/// `rt_tgsigqueueinfo(2)`. Errors as [`queue`] and [`kill_thread`].
pub fn queue_to_thread(sender: &Arc<Task>, process: i32, thread: i32, info: SignalInfo) -> Result<(), Errno> {
    check_claim(sender, process, &info)?;
    let signal = info.signal;
    send_to_thread(sender, Some(process), thread, Some(signal), |_| info)
}

/// The signals that wait for the task or its process.
pub(crate) fn pending(task: &Task) -> SignalSet {
    let state = task.process().state();
    task.signals.lock().pending.set().or(state.pending.set())
}

/// Takes a signal of `set` that waits for the task or its process.
pub(crate) fn take(task: &Task, set: SignalSet) -> Option<SignalInfo> {
    let mut state = task.process().state();
    let mut signals = task.signals.lock();
    let unwanted = SignalSet::from_bits(!set.bits());
    let own = signals.pending.take(unwanted);
    own.or_else(|| state.pending.take(unwanted))
}

/// `rt_sigtimedwait(2)`: takes the first signal of `set` that comes, handler or not.
///
/// `EAGAIN` none came in `timeout` ns; `EINTR` another signal came.
pub fn wait_for(task: &Arc<Task>, set: SignalSet, timeout: Option<u64>) -> Result<SignalInfo, Errno> {
    let set = set.without(SignalSet::UNSTOPPABLE);
    let take = || take(task, set);
    if let Some(info) = take() {
        return Ok(info);
    }
    if timeout == Some(0) {
        return Err(Errno::EAGAIN);
    }
    // While it waits the signals count as not blocked, so that senders choose and wake this thread.
    let blocked = task.mask();
    task.store_mask(blocked.without(set));
    let deadline = timeout.map(|timeout| task.deadline_after(timeout));
    let result = WaitQueue::new().wait_until_interruptible(take, deadline);
    task.store_mask(blocked);
    let result = result.map_err(sleep::error).or_else(|error| take().ok_or(error));
    match result {
        Err(Errno::ETIMEDOUT) => Err(Errno::EAGAIN),
        // The mark that woke it was for the signal that it took; look whether there is more.
        Ok(info) => {
            task.entity().clear_interrupt();
            set_attention_if_pending(task);
            Ok(info)
        }
        other => other,
    }
}

fn set_attention_if_pending(task: &Arc<Task>) {
    let waiting = pending(task);
    let state = task.process().state();
    let must_look = state.is_over() || state.stop.is_some() || state.executing.is_some();
    drop(state);
    if must_look || !waiting.without(task.mask()).is_empty() {
        task.call_attention();
    }
}

/// `rt_sigsuspend(2)`: blocks `mask` instead and sleeps until a signal was handled; always `EINTR`.
pub fn suspend(task: &Arc<Task>, mask: SignalSet) -> Errno {
    block_for_call(task, mask);
    pause(task)
}

/// `pause(2)`: sleeps until a signal comes; always `EINTR`.
pub fn pause(_task: &Arc<Task>) -> Errno {
    match WaitQueue::new().wait_until_interruptible(|| None::<()>, None) {
        Ok(()) | Err(_) => Errno::EINTR,
    }
}

/// Blocks `mask` for the duration of a call such as `ppoll`. What was blocked before comes back when the call returns to
/// user mode; if a signal ended the call, after its handler.
pub fn block_for_call(task: &Arc<Task>, mask: SignalSet) {
    let old = task.mask();
    task.saved_mask.set(old);
    set_mask(task, mask);
    task.note_attention();
}
