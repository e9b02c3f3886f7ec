//! What a task does on its way back to user mode: ends, stops, takes signals and enters handlers.

use super::{
    Action, ActionFlags, Default, SIG_DFL, SIG_IGN, Signal, SignalInfo, SignalSet,
    frame::{self, FrameRequest},
    restart::Restart,
    send,
};
use crate::{
    core_dump,
    filters::entry,
    oom,
    process::{ProcessState, Stop},
    restartable,
    status::{Change, End},
    task::Task,
    trace,
};
use alloc::sync::Arc;
use base::Errno;
use bitflags::bitflags;
use core::sync::atomic::Ordering::Relaxed;
use machine::{fpu, user::UserContext, user_memory};

/// The length of the `syscall` instruction.
const CALL_INSTRUCTION: u64 = 2;

/// Whether the task goes back to user mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It does.
    GoesOn,
    /// It is to end.
    Ends,
}

/// A system call that ended with `EINTR` and might be started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupted {
    /// Its number.
    pub call: u64,
    /// How it takes that.
    pub class: Restart,
}

/// Such a call, if there is one.
pub type InterruptedCall = Option<Interrupted>;

/// Where a task is on its way between the program and the kernel.
pub(crate) use crate::trace::stop::Position;

/// The number of no system call: the program came from somewhere else.
pub const NO_CALL: u64 = u64::MAX;

bitflags! {
    /// What is to be done at the next system call, besides making it.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) struct NextCall: u8 {
        /// It is one that was interrupted and begins again.
        const RESTARTS = 1;
        /// A tracer may want to know of it.
        const WATCHED = 2;
        /// Filters decide about it.
        const FILTERED = 4;
    }
}

/// What there is to do next.
enum Next {
    Nothing,
    End,
    /// Another thread writes a core.
    Rest,
    /// This one is to write it.
    Dump(SignalInfo),
    Stop,
    /// Besides the signal and what is done about it: whether more wait.
    Handle(SignalInfo, Action, bool),
    /// The tracer is to hear that the process has stopped, or wants the task stopped.
    Trap,
    /// The tracer decides about this signal.
    Ask(SignalInfo),
}

/// Does what there is to do for `task`, the current one, before it goes back to user mode. `position` says by which system
/// call it came, and which one ended with `EINTR`; whether that is started again is decided here. `next_call` then says what
/// there is about the next one.
pub(crate) fn before_user_mode(task: &Arc<Task>, position: &mut Position<'_>, next_call: &mut NextCall) -> Fate {
    if task.tracing.is_traced() {
        trace::stop::at_exit(task, position);
    }
    if position.interrupted.is_none() {
        restore_mask(task);
    }
    let mut decided = None;
    loop {
        task.begin_attention();
        if task.entity().should_freeze() {
            task.stay_frozen();
            // Signals may have come meanwhile.
            continue;
        }
        oom::make_room(task);
        task.process().timers.check_processor_time(task);
        match next(task, &mut decided) {
            Next::End => return Fate::Ends,
            Next::Rest => core_dump::rest(task, position.context),
            Next::Dump(info) => core_dump::write(task, position.context, &info),
            Next::Stop => stop(task),
            Next::Trap => trace::stop::for_group(task, position),
            Next::Ask(info) => decided = trace::stop::for_signal(task, position, info),
            Next::Nothing => break,
            Next::Handle(info, action, more) => {
                next_call.remove(NextCall::RESTARTS);
                if let Some(call) = position.interrupted.take() {
                    let restarts = action.flags.contains(ActionFlags::RESTART);
                    rewind_if(call.class.again(Some(restarts)), call.call, position.context);
                }
                let was_stepped = task.tracing.end_step(&mut position.context.registers);
                if enter(task, position.context, &info, &action).is_err() {
                    if info.signal == Signal::SEGV {
                        task.process().signal_actions().lock().reset(Signal::SEGV);
                    }
                    send::force(task, SignalInfo::kernel(Signal::SEGV));
                } else if was_stepped {
                    trace::stop::after_handler(task, position);
                } else if !more && !task.needs_attention() {
                    break;
                }
            }
        }
    }
    if let Some(call) = position.interrupted.take() {
        next_call.set(NextCall::RESTARTS, rewind_if(call.class.again(None), call.call, position.context));
    }
    restore_mask(task);
    if task.tracing.is_traced() {
        next_call.set(NextCall::WATCHED, trace::stop::watches_calls(task));
    } else {
        next_call.remove(NextCall::WATCHED);
        task.tracing.end_step(&mut position.context.registers);
    }
    if task.filters.are_on() {
        next_call.insert(NextCall::FILTERED);
    }
    Fate::GoesOn
}

/// Does what [`NextCall`] says. Whether the call is made; `interrupted` says if it is not because a signal came.
#[cold]
pub(crate) fn begin_call(
    task: &Arc<Task>,
    context: &mut UserContext,
    next_call: &mut NextCall,
    interrupted: &mut InterruptedCall,
) -> bool {
    if next_call.contains(NextCall::RESTARTS) {
        next_call.remove(NextCall::RESTARTS);
    } else {
        task.forget_deadline();
    }
    (!next_call.contains(NextCall::WATCHED) || trace::stop::at_entry(task, context))
        && (!next_call.contains(NextCall::FILTERED) || entry::at_entry(task, context, interrupted))
}

/// Ends what [`super::calls::block_for_call`] began. A signal that is blocked again and came meanwhile stays pending.
fn restore_mask(task: &Arc<Task>) {
    if let Some(mask) = task.saved_mask.get() {
        task.saved_mask.forget();
        super::calls::set_mask(task, mask);
    }
}

fn rewind_if(again: bool, call: u64, context: &mut UserContext) -> bool {
    if again {
        context.registers.rip = context.registers.rip.wrapping_sub(CALL_INSTRUCTION);
        context.registers.rax = call;
    }
    again
}

/// What there is to do. `decided` is a signal that the task's tracer lets through.
#[inline(never)]
fn next(task: &Arc<Task>, decided: &mut Option<SignalInfo>) -> Next {
    let process = task.process();
    let is_traced = task.tracing.is_traced();
    let mut state = process.state();
    loop {
        if state.dump.as_ref().is_some_and(|dump| dump.writer != task.tid()) {
            return Next::Rest;
        }
        if state.exit.is_some() || task.leaving().is_some() {
            return Next::End;
        }
        if state.executing.is_some_and(|tid| tid != task.tid()) {
            return Next::End;
        }
        let (info, more) = match decided.take() {
            Some(info) => (info, true),
            None => {
                if is_traced {
                    if trace::stop::wants_stop(task, &state) {
                        return Next::Trap;
                    }
                } else if state.stop.is_some() {
                    return Next::Stop;
                }
                let blocked = task.mask();
                let mut signals = task.signals.lock();
                let taken = signals.pending.take(blocked).or_else(|| state.pending.take(blocked));
                let more = !signals.pending.set().or(state.pending.set()).without(blocked).is_empty();
                drop(signals);
                match taken {
                    None => return Next::Nothing,
                    Some(info) if is_traced => return Next::Ask(info),
                    Some(info) => (info, more),
                }
            }
        };
        let signal = info.signal;
        let mut actions = state.actions.lock();
        let action = actions.get(signal);
        let default = (action.handler == SIG_DFL).then(|| signal.default_action());
        match (action.handler, default) {
            (SIG_IGN, _) | (_, Some(Default::Ignore | Default::Continue)) => {}
            (_, Some(Default::Stop)) => {
                drop(actions);
                if signal != Signal::STOP {
                    // The tree ranks before the process: look without the lock, then look again for the end.
                    drop(state);
                    let orphaned = process.population().tree().is_orphaned(process.kinship().group(), None);
                    state = process.state();
                    if orphaned {
                        continue;
                    }
                }
                // Untraced threads come here only while their process runs.
                if !state.is_over() {
                    state.rounds = state.rounds.wrapping_add(1);
                    let running = state.stop.map_or(state.threads.len(), |stop| stop.running);
                    state.stop = Some(Stop { signal, running, round: state.rounds });
                    let others = state.threads.iter().filter(|thread| !Arc::ptr_eq(thread, task));
                    others.for_each(|thread| {
                        if let Some(trace) = thread.tracing.trace() {
                            trace.note_group_change();
                        }
                        thread.call_attention();
                    });
                }
            }
            (_, Some(default)) => {
                if process.is_init() && !info.is_from_kernel() {
                    continue;
                }
                drop(actions);
                if default == Default::Core && core_dump::begin(task, &mut state) {
                    return Next::Dump(info);
                }
                send::end_group(process, &mut state, End::Killed { signal, core: false });
            }
            _ => {
                if action.flags.contains(ActionFlags::RESET_HAND) {
                    actions.reset(signal);
                }
                drop(actions);
                return Next::Handle(info, action, more);
            }
        }
    }
}

/// Sleeps until the process goes on or ends, or the task is traced. The last thread to stop tells the parent.
#[cold]
fn stop(task: &Arc<Task>) {
    let process = task.process();
    let told = count_stopped(task, &mut process.state());
    if let Some(change) = told {
        send::tell_parent(process, change);
    }
    let goes_on = || {
        let state = process.state();
        (state.stop.is_none() || state.is_over() || task.tracing.is_traced()).then_some(())
    };
    crate::sleep::until_killed_or(task, &process.stopped, goes_on, None).ok();
    if process.state().stop.is_none() {
        task.counted_stopped.store(false, Relaxed);
    }
}

/// Counts `task` among the stopped threads of its process, whose `state` it is. What the parent is to be told if it is the
/// last.
pub(crate) fn count_stopped(task: &Task, state: &mut ProcessState) -> Option<Change> {
    let stop = state.stop.as_mut()?;
    if task.counted_stopped.swap(true, Relaxed) || stop.running == 0 {
        return None;
    }
    stop.running -= 1;
    let told = (stop.running == 0).then_some(Change::Stopped(stop.signal));
    if told.is_some() {
        state.change = told;
    }
    told
}

/// Puts a frame onto the stack and sets the registers for the handler. Any error means that the stack can't be written,
/// or that the action has no way back.
#[inline(never)]
fn enter(task: &Arc<Task>, context: &mut UserContext, info: &SignalInfo, action: &Action) -> Result<(), Errno> {
    if !action.flags.contains(ActionFlags::RESTORER) {
        return Err(Errno::EFAULT);
    }
    restartable::before_handler(task, context)?;
    let mask = task.mask();
    let (stack, fault) = {
        let signals = task.signals.lock();
        (signals.stack, signals.fault)
    };
    let pointer = context.registers.rsp;
    let alternate = action.flags.contains(ActionFlags::ON_STACK).then(|| stack.top_for(pointer)).flatten();
    let state_size = fpu::state_size();
    let frame = frame::build(FrameRequest {
        registers: &context.registers,
        floating_point_size: state_size,
        mask: task.saved_mask.get().unwrap_or(mask),
        stack: stack.shown(pointer),
        alternate_top: alternate,
        fault,
        restorer: action.restorer,
    });
    if alternate.is_some() && frame.address < stack.base {
        return Err(Errno::EFAULT);
    }
    let marks = frame.floating_point_address.wrapping_add(frame::MARKS);
    if state_size > frame::LEGACY_SIZE {
        user_memory::write_words(marks, &frame::marks_and_header(state_size, fpu::state_parts()))?;
        user_memory::write(frame.floating_point_address.wrapping_add(state_size as u64), &frame::END_MARK)?;
    } else {
        user_memory::write_words(marks, &frame::marks(state_size, 0))?;
    }
    fpu::save_to_user(frame.floating_point_address)?;
    user_memory::write_words(frame.address, &frame.words)?;
    if action.flags.contains(ActionFlags::INFO) {
        user_memory::write(frame.info_address(), &info.to_bytes())?;
    }
    fpu::reset_current();
    frame::enter_handler(&mut context.registers, info.signal.number(), action.handler, &frame);
    let mut blocked = mask.or(action.mask);
    if !action.flags.contains(ActionFlags::NO_DEFER) {
        blocked.insert(info.signal);
    }
    task.saved_mask.forget();
    task.store_mask(blocked);
    if alternate.is_some() && stack.flags & super::stack::AUTODISARM != 0 {
        task.signals.lock().stack = super::AlternateStack::NONE;
    }
    Ok(())
}

/// `rt_sigreturn(2)`: takes everything back from the frame at the stack pointer. A frame that can't be read or makes no
/// sense ends the process with SIGSEGV.
pub fn sigreturn(task: &Arc<Task>, context: &mut UserContext) {
    if restore(task, context).is_err() {
        send::force(task, SignalInfo::kernel(Signal::SEGV));
    }
}

fn restore(task: &Arc<Task>, context: &mut UserContext) -> Result<(), Errno> {
    // The handler's return has taken the return address off the stack already.
    let words = user_memory::read_array(context.registers.rsp)?;
    // As on Linux, what was blocked and the registers are back even if the rest can't be read.
    let (mask, stack) = frame::restore(&words, &mut context.registers);
    super::calls::set_mask(task, mask);
    match frame::floating_point_address(&words) {
        0 => fpu::reset_current(),
        address => restore_state(address)?,
    }
    // A stack that can't be set again stays as it is, as on Linux.
    let _ = task.signals.lock().stack.replace(stack, context.registers.rsp);
    Ok(())
}

/// Takes the FPU state that lies at `address`. What it leaves out is as a new program has it, and all of it on an error.
fn restore_state(address: u64) -> Result<(), Errno> {
    let marks = user_memory::read_array(address.wrapping_add(frame::MARKS))?;
    if let Some((size, parts)) = frame::marked_state(marks, fpu::state_size()) {
        let mut end = [0; frame::END_MARK.len()];
        user_memory::read(address.wrapping_add(size as u64), &mut end)?;
        if end == frame::END_MARK {
            return fpu::load_from_user(address, parts);
        }
    }
    fpu::load_legacy_from_user(address)
}

/// The signals that wait for `task` and that it blocks: what `rt_sigpending(2)` tells.
pub fn pending(task: &Task) -> SignalSet {
    let state = task.process().state();
    let own = task.signals.lock().pending.set();
    own.or(state.pending.set()).and(task.mask())
}
