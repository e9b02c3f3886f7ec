//! The tracee's side: where it stops for its tracer, and how it goes on.

use super::{
    AtExit, Options, State, Stop, Trace,
    options::Event,
    record::{Record, TRAP_FLAG},
    requests::Mode,
    ties,
};
use crate::{
    process::ProcessState,
    signals::{
        Detail, Signal, SignalInfo, code,
        deliver::{Interrupted, InterruptedCall},
        restart::Restart,
        send,
    },
    status::{Change, End},
    task::Task,
};
use alloc::sync::Arc;
use base::{Errno, Pid};
use core::sync::atomic::Ordering::Relaxed;
use machine::{fpu, user::UserContext};

/// How a stop for a system call is told to a tracer that asked for it (`PTRACE_O_TRACESYSGOOD`).
pub(super) const CALL_GOOD: u32 = 0x80 | 5;
/// What `PTRACE_GETEVENTMSG` says in such stops.
pub(super) const AT_ENTRY: u64 = linux_raw_sys::ptrace::PTRACE_EVENTMSG_SYSCALL_ENTRY as u64;
pub(super) const AT_EXIT: u64 = linux_raw_sys::ptrace::PTRACE_EVENTMSG_SYSCALL_EXIT as u64;

/// Where a task is on its way between the program and the kernel.
pub(crate) struct Position<'a> {
    /// The registers, and the system call that it came by; all ones for none.
    pub(crate) context: &'a mut UserContext,
    /// The call that ended with `EINTR` and may be started again.
    pub(crate) interrupted: &'a mut InterruptedCall,
}

/// What a task stops for.
struct Reason {
    code: u32,
    info: Option<SignalInfo>,
    message: Option<u64>,
    is_in_call: bool,
    /// It tells with this that its process has stopped, too.
    in_group: bool,
    /// It is on its way out, and only a SIGKILL after so many ends this stop.
    at_end: Option<u32>,
}

impl Reason {
    /// What `ptrace_notify` of Linux tells: SIGTRAP, and the code as that of the signal.
    fn trap(task: &Task, code: u32, signal: Signal) -> Self {
        let detail = Detail::Sender { process: task.tid(), user: task.credentials().uid };
        let info = SignalInfo { signal, code: code as i32, detail };
        Self { code, info: Some(info), message: None, is_in_call: false, in_group: false, at_end: None }
    }
}

/// What the tracer gave along.
struct Given {
    signal: Option<Signal>,
    info: Option<SignalInfo>,
}

/// What the numbers of results are that say that a call is started again.
const RESTART_BY_HANDLER: i64 = -512;
const RESTART_ALWAYS: i64 = -513;
const RESTART_WITHOUT_HANDLER: i64 = -514;

/// The result that a tracer sees of a call that was interrupted: how it is started again.
fn shown_result(class: Restart) -> i64 {
    match class {
        Restart::Never => -i64::from(Errno::EINTR as i32),
        Restart::ByHandler => RESTART_BY_HANDLER,
        Restart::Always => RESTART_ALWAYS,
        Restart::WithoutHandler => RESTART_WITHOUT_HANDLER,
    }
}

/// How a call with this result is started again; `None` for all others.
fn restart_of(result: u64) -> Option<Restart> {
    match result as i64 {
        RESTART_BY_HANDLER => Some(Restart::ByHandler),
        RESTART_ALWAYS => Some(Restart::Always),
        RESTART_WITHOUT_HANDLER => Some(Restart::WithoutHandler),
        _ => None,
    }
}

impl Record {
    /// What `task`, the current one, has in its registers.
    fn of(task: &Task, position: &Position<'_>) -> Self {
        let floating_point = memory::heap::try_vec(fpu::state_size()).map(|mut bytes| {
            fpu::with_current(|state| bytes.extend_from_slice(state.bytes()));
            bytes
        });
        let mut registers = position.context.registers;
        if let Some(call) = *position.interrupted {
            registers.rax = shown_result(call.class) as u64;
        }
        Self {
            registers,
            call: position.context.call,
            bases: (task.fs_base(), task.gs_base()),
            floating_point: floating_point.unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Takes over what the tracer has changed.
    fn apply(&self, task: &Task, position: &mut Position<'_>) {
        if self.has_new_floating_point {
            self.load_floating_point();
        }
        if !self.has_new_registers {
            return;
        }
        task.entity().context().set_user_bases(self.bases.0, self.bases.1, true);
        position.context.registers = self.registers;
        position.context.call = self.call;
        let class = restart_of(self.registers.rax).filter(|_| self.call as i64 >= 0);
        *position.interrupted = class.map(|class| Interrupted { call: self.call, class });
        if class.is_some() {
            position.context.registers.rax = -i64::from(Errno::EINTR as i32) as u64;
        }
    }
}

/// Stops `task`, the current one, until its tracer lets it go on or it is to end. `None`: it did not stop, or was ended.
fn stay(task: &Arc<Task>, position: &mut Position<'_>, reason: Reason) -> Option<Given> {
    let trace = task.tracing.trace()?;
    task.tracing.end_step(&mut position.context.registers);
    let record = Record::of(task, position);
    let process = task.process();
    let must_leave = |state: &ProcessState| match reason.at_end {
        Some(kills) => state.kills != kills,
        None => state.ends(task.tid()),
    };
    let stopped_group = {
        let mut group = process.state();
        if must_leave(&group) {
            return None;
        }
        let mut state = trace.state();
        if state.is_over {
            return None;
        }
        if let Some(message) = reason.message {
            state.message = message;
        }
        state.stop = Some(Stop {
            record,
            code: reason.code,
            info: reason.info,
            is_in_call: reason.is_in_call,
            is_untold: true,
            is_listening: false,
            answer: None,
        });
        drop(state);
        if reason.in_group { crate::signals::deliver::count_stopped(task, &mut group) } else { None }
    };
    let told = if reason.in_group { code::CLD_STOPPED } else { code::CLD_TRAPPED };
    ties::tell(task, &trace, told, (reason.code & 0x7f) as i32);
    if let Some(change) = stopped_group
        && process.kinship().parent() != trace.tracer_process()
    {
        send::tell_parent(process, change);
    }
    let is_free = || trace.state().stop.as_ref().is_none_or(|stop| stop.answer.is_some()).then_some(());
    loop {
        task.entity().clear_interrupt();
        if must_leave(&process.state()) {
            break;
        }
        if trace.changed.wait_until_interruptible(is_free, None).is_ok() {
            break;
        }
    }
    // What was cleared above may have been for something that still waits: then the call under way, if there is one, does not
    // sleep.
    task.note_attention();
    if has_work(task) {
        task.call_attention();
    }
    let mut state = trace.state();
    let (mode, is_over) = (state.mode, state.is_over);
    let stop = state.stop.take();
    drop(state);
    let stop = stop?;
    stop.record.apply(task, position);
    let answer = stop.answer?;
    if mode.steps() && !is_over && position.context.registers.rflags & TRAP_FLAG == 0 {
        position.context.registers.rflags |= TRAP_FLAG;
        task.tracing.is_stepped.store(true, Relaxed);
    }
    Some(Given { signal: answer.signal, info: stop.info })
}

/// Whether there is more to do for a task than to go on.
fn has_work(task: &Task) -> bool {
    let group = task.process().state();
    let waiting = task.signals.lock().pending.set().or(group.pending.set());
    !waiting.without(task.mask()).is_empty()
        || group.ends(task.tid())
        || if task.tracing.is_traced() { wants_stop(task, &group) } else { group.stop.is_some() }
}

/// Lets the tracer decide about a signal that is about to be delivered; what is to be delivered now.
pub(crate) fn for_signal(task: &Arc<Task>, position: &mut Position<'_>, info: SignalInfo) -> Option<SignalInfo> {
    let signal = info.signal;
    let reason = Reason {
        code: signal.number().into(),
        info: Some(info),
        message: None,
        is_in_call: false,
        in_group: false,
        at_end: None,
    };
    let given = stay(task, position, reason)?;
    let wanted = given.signal?;
    let info = match given.info {
        Some(info) if info.signal == wanted => info,
        _ => SignalInfo { signal: wanted, code: code::USER, detail: sender_of(task) },
    };
    if task.mask().contains(wanted) {
        // It waits; the kernel's own signals are never refused.
        let _ = send::to_task(task, info);
        return None;
    }
    Some(info)
}

/// As if the tracer had sent it.
fn sender_of(task: &Task) -> Detail {
    let tracer = task.tracing.trace().and_then(|trace| trace.tracer());
    let facts = tracer.map(|tracer| (tracer.pid(), tracer.credentials().uid));
    let (process, user) = facts.unwrap_or((Pid::new(0), base::Uid::ROOT));
    Detail::Sender { process, user }
}

/// Whether a traced task has to stop because its process has, or because its tracer wants that.
pub(crate) fn wants_stop(task: &Task, group: &ProcessState) -> bool {
    task.tracing.trace().is_some_and(|trace| {
        let state = trace.state();
        state.wants_trap || group.stop.is_some_and(|stop| stop.round != state.round)
    })
}

/// That stop.
pub(crate) fn for_group(task: &Arc<Task>, position: &mut Position<'_>) {
    let Some(trace) = task.tracing.trace() else { return };
    let stop = {
        let group = task.process().state();
        let mut state = trace.state();
        state.wants_trap = false;
        state.round = group.stop.map_or(state.round, |stop| stop.round);
        group.stop
    };
    let signal = stop.map_or(Signal::TRAP, |stop| stop.signal);
    let mut reason = if trace.is_seized {
        Reason::trap(task, Event::Stop.code(signal.number()), signal)
    } else {
        Reason { info: None, ..Reason::trap(task, signal.number().into(), signal) }
    };
    reason.in_group = stop.is_some();
    // A signal given along means nothing here.
    stay(task, position, reason);
}

/// Stops for an event, if there is a tracer that asked for it.
fn event(task: &Arc<Task>, position: &mut Position<'_>, event: Event, message: u64, at_end: Option<u32>) -> bool {
    let Some(trace) = task.tracing.trace() else { return false };
    if !event.is_wanted(trace.state().options) {
        return false;
    }
    let reason = Reason {
        message: Some(message),
        is_in_call: at_end.is_none(),
        at_end,
        ..Reason::trap(task, event.code(Signal::TRAP.number()), Signal::TRAP)
    };
    stay(task, position, reason);
    true
}

/// Stops within the call that `context` describes. It has no result yet.
fn event_in_call(task: &Arc<Task>, context: &mut UserContext, what: Event, message: u64) -> bool {
    let mut interrupted = None;
    let mut position = Position { context, interrupted: &mut interrupted };
    let told = event(task, &mut position, what, message, None);
    if told {
        // The end of the call may be to be told.
        task.note_attention();
    }
    told
}

/// Whether the task's tracer wants no filters (`PTRACE_O_SUSPEND_SECCOMP`).
pub(crate) fn suspends_filters(task: &Task) -> bool {
    task.tracing.trace().is_some_and(|trace| trace.state().options.contains(Options::SUSPEND_FILTERS))
}

/// Asks the tracer about a call that a filter names, if there is one that wants to know. Whether the call is to be judged
/// again, as it then is; else its result is in `rax`: `-ENOSYS` if nobody was asked.
pub(crate) fn for_filter(task: &Arc<Task>, context: &mut UserContext, data: u16) -> bool {
    context.registers.rax = NO_RESULT;
    let goes_on =
        event_in_call(task, context, Event::Filter, data.into()) && !task.is_to_end() && context.call as i32 >= 0;
    if goes_on {
        context.registers.rax = context.call;
    }
    goes_on
}

/// The event that a tracer of `maker` hears of a clone, if it hears of one.
pub(crate) fn event_of_clone(maker: &Task, is_vfork: bool, exit_signal: Option<Signal>) -> Option<Event> {
    let options = maker.tracing.trace()?.state().options;
    let event = match exit_signal {
        _ if is_vfork => Event::Vfork,
        Some(Signal::CHLD) => Event::Fork,
        _ => Event::Clone,
    };
    event.is_wanted(options).then_some(event)
}

/// After the birth of `child`, and for a vfork after that has ended.
pub(crate) fn for_birth(task: &Arc<Task>, context: &mut UserContext, what: Event, child: Pid) {
    context.registers.rax = NO_RESULT;
    event_in_call(task, context, what, child.raw() as u64);
}

/// What a tracer sees as the result while a call has none: `-ENOSYS`.
const NO_RESULT: u64 = -(Errno::ENOSYS as i64) as u64;

/// After an exec, by a thread that had the number `before`.
pub(crate) fn for_exec(task: &Arc<Task>, context: &mut UserContext, before: Pid) {
    let Some(trace) = task.tracing.trace() else { return };
    if event_in_call(task, context, Event::Exec, before.raw() as u64) || trace.is_seized {
        return;
    }
    let detail = Detail::Sender { process: task.pid(), user: task.credentials().uid };
    // The kernel's own signals are never refused.
    let _ = send::to_task(task, SignalInfo { signal: Signal::TRAP, code: code::USER, detail });
}

/// Before the end of a task, by SIGKILL too; a SIGKILL that comes later ends the stop.
pub(crate) fn for_end(task: &Arc<Task>, position: &mut Position<'_>) {
    let (end, kills) = {
        let group = task.process().state();
        let killed = End::Killed { signal: Signal::KILL, core: false };
        (group.exit.or(task.leaving()).unwrap_or(killed), group.kills)
    };
    event(task, position, Event::Exit, Change::Ended(end).wait_status() as u64, Some(kills));
}

/// What a stop at the beginning or end of a call is told with.
fn call_code(state: &State) -> u32 {
    if state.options.contains(Options::CALLS_GOOD) { CALL_GOOD } else { u32::from(Signal::TRAP.number()) }
}

fn for_call(task: &Arc<Task>, trace: &Trace, position: &mut Position<'_>, message: u64) {
    let code = call_code(&trace.state());
    let reason =
        Reason { message: Some(message), is_in_call: message == AT_ENTRY, ..Reason::trap(task, code, Signal::TRAP) };
    if let Some(signal) = stay(task, position, reason).and_then(|given| given.signal) {
        // The kernel's own signals are never refused.
        let _ = send::to_task(task, SignalInfo::kernel(signal));
    }
}

/// At the beginning of a call that the task's tracer may want to know of. Whether the call is made.
pub(crate) fn at_entry(task: &Arc<Task>, context: &mut UserContext) -> bool {
    let Some(trace) = task.tracing.trace() else { return true };
    let mode = trace.state().mode;
    if mode == Mode::Step {
        trace.state().at_exit = AtExit::Step;
    }
    if mode != Mode::Continue {
        task.note_attention();
    }
    if mode != Mode::Calls && !mode.emulates() {
        return true;
    }
    context.registers.rax = NO_RESULT;
    for_call(task, &trace, &mut Position { context, interrupted: &mut None }, AT_ENTRY);
    if mode.emulates() || task.is_to_end() || context.call as i32 == -1 {
        return false;
    }
    context.registers.rax = context.call;
    true
}

/// At the end of a call, if its tracer wants to know.
pub(crate) fn at_exit(task: &Arc<Task>, position: &mut Position<'_>) {
    let Some(trace) = task.tracing.trace() else { return };
    let what = core::mem::take(&mut trace.state().at_exit);
    match what {
        AtExit::Nothing => {}
        AtExit::Call => for_call(task, &trace, position, AT_EXIT),
        AtExit::Step => {
            task.tracing.end_step(&mut position.context.registers);
            send::force(task, SignalInfo::fault(Signal::TRAP, code::TRAP_BRKPT, position.context.registers.rip));
        }
    }
}

/// After the entry into a handler by a task that was stepped.
pub(crate) fn after_handler(task: &Arc<Task>, position: &mut Position<'_>) {
    let reason = Reason::trap(task, Signal::TRAP.number().into(), Signal::TRAP);
    stay(task, position, reason);
}

/// Whether the task's tracer is to be asked at its next call.
pub(crate) fn watches_calls(task: &Task) -> bool {
    task.tracing.trace().is_some_and(|trace| trace.state().mode != Mode::Continue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_call_shows_how_it_is_started_again() {
        assert_eq!(shown_result(Restart::Never), -4);
        for class in [Restart::ByHandler, Restart::Always, Restart::WithoutHandler] {
            assert_eq!(restart_of(shown_result(class) as u64), Some(class));
        }
        assert_eq!([restart_of(-4i64 as u64), restart_of(-515i64 as u64)], [None, None]);
    }
}
