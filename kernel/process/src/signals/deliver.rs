//! What a task does on its way back to user mode: ends, stops, takes signals and enters handlers.

use super::{
    Action, ActionFlags, Default, SIG_DFL, SIG_IGN, Signal, SignalInfo, SignalSet,
    frame::{self, FrameRequest},
    restart, send,
};
use crate::{
    core_dump, oom,
    process::Stop,
    restartable,
    status::{Change, End},
    task::Task,
};
use alloc::sync::Arc;
use base::Errno;
use core::sync::atomic::Ordering::Relaxed;
use machine::{
    fpu,
    user::{Registers, UserContext},
    user_memory,
};

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

/// A system call that ended with `EINTR` and might be started again: its number.
pub type InterruptedCall = Option<u64>;

/// The number of no system call: the program came from somewhere else.
pub const NO_CALL: u64 = u64::MAX;

/// What there is to do next.
enum Next {
    Nothing,
    End,
    /// Another thread writes a core.
    Rest,
    /// This one is to write it.
    Dump(SignalInfo),
    Stop,
    Handle(SignalInfo, Action),
}

/// Does what there is to do for `task`, the current one, before it goes back to user mode. It came by the system call
/// `call`, if it did; `interrupted` names one that ended with `EINTR`; whether it is started again is decided here. `restarting` then says whether the next call
/// is that one, with no handler in between.
pub fn before_user_mode(
    task: &Arc<Task>,
    context: &mut UserContext,
    call: u64,
    mut interrupted: InterruptedCall,
    restarting: &mut bool,
) -> Fate {
    if interrupted.is_none() {
        restore_mask(task);
    }
    loop {
        task.begin_attention();
        if task.entity().should_freeze() {
            task.stay_frozen();
            // Signals may have come meanwhile.
            continue;
        }
        oom::make_room(task);
        task.process().timers.check_processor_time(task);
        match next(task) {
            Next::End => return Fate::Ends,
            Next::Rest => core_dump::rest(task, context, call),
            Next::Dump(info) => core_dump::write(task, context, call, &info),
            Next::Stop => stop(task),
            Next::Nothing => break,
            Next::Handle(info, action) => {
                *restarting = false;
                if let Some(call) = interrupted.take() {
                    let restarts = action.flags.contains(ActionFlags::RESTART);
                    rewind_if(class(call, &context.registers).again(Some(restarts)), call, context);
                }
                if enter(task, context, &info, &action).is_err() {
                    if info.signal == Signal::SEGV {
                        task.process().signal_actions().lock().reset(Signal::SEGV);
                    }
                    send::force(task, SignalInfo::kernel(Signal::SEGV));
                }
            }
        }
    }
    if let Some(call) = interrupted.take() {
        *restarting = rewind_if(class(call, &context.registers).again(None), call, context);
    }
    restore_mask(task);
    Fate::GoesOn
}

/// Ends what [`super::calls::block_for_call`] began. A signal that is blocked again and came meanwhile stays pending.
fn restore_mask(task: &Arc<Task>) {
    let saved = task.signals.lock().saved_mask.take();
    if let Some(mask) = saved {
        super::calls::set_mask(task, mask);
    }
}

fn class(call: u64, registers: &Registers) -> restart::Restart {
    restart::class(call, registers.rsi, registers.r10)
}

fn rewind_if(again: bool, call: u64, context: &mut UserContext) -> bool {
    if again {
        context.registers.rip = context.registers.rip.wrapping_sub(CALL_INSTRUCTION);
        context.registers.rax = call;
    }
    again
}

fn next(task: &Arc<Task>) -> Next {
    let process = task.process();
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
        if state.stop.is_some() {
            return Next::Stop;
        }
        let blocked = task.mask();
        let own = task.signals.lock().pending.take(blocked);
        let Some(info) = own.or_else(|| state.pending.take(blocked)) else { return Next::Nothing };
        let signal = info.signal;
        let mut actions = state.actions.lock();
        let action = actions.get(signal);
        match (action.handler, signal.default_action()) {
            (SIG_IGN, _) | (SIG_DFL, Default::Ignore | Default::Continue) => {}
            (SIG_DFL, Default::Stop) => {
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
                if !state.is_over() && state.stop.is_none() {
                    state.stop = Some(Stop { signal, running: state.threads.len() });
                    let others = state.threads.iter().filter(|thread| !Arc::ptr_eq(thread, task));
                    others.for_each(|thread| thread.call_attention());
                }
            }
            (SIG_DFL, default) => {
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
                return Next::Handle(info, action);
            }
        }
    }
}

/// Sleeps until the process goes on or ends. The last thread to stop tells the parent.
fn stop(task: &Arc<Task>) {
    let process = task.process();
    let mut state = process.state();
    let mut told = None;
    if let Some(stop) = &mut state.stop
        && !task.counted_stopped.swap(true, Relaxed)
    {
        stop.running = stop.running.saturating_sub(1);
        if stop.running == 0 {
            told = Some(Change::Stopped(stop.signal));
        }
    }
    if told.is_some() {
        state.change = told;
    }
    drop(state);
    if let Some(change) = told {
        send::tell_parent(process, change);
    }
    let goes_on = || {
        let state = process.state();
        (state.stop.is_none() || state.is_over()).then_some(())
    };
    crate::sleep::until_killed_or(task, &process.stopped, goes_on, None).ok();
    task.counted_stopped.store(false, Relaxed);
}

/// Puts a frame onto the stack and sets the registers for the handler. Any error means that the stack can't be written,
/// or that the action has no way back.
fn enter(task: &Arc<Task>, context: &mut UserContext, info: &SignalInfo, action: &Action) -> Result<(), Errno> {
    if !action.flags.contains(ActionFlags::RESTORER) {
        return Err(Errno::EFAULT);
    }
    restartable::before_handler(task, context)?;
    let mask = task.mask();
    let (stack, saved, fault) = {
        let mut signals = task.signals.lock();
        (signals.stack, signals.saved_mask.take(), signals.fault)
    };
    let pointer = context.registers.rsp;
    let alternate = action.flags.contains(ActionFlags::ON_STACK).then(|| stack.top_for(pointer)).flatten();
    let state_size = fpu::state_size();
    let frame = frame::build(FrameRequest {
        registers: &context.registers,
        floating_point_size: state_size,
        mask: saved.unwrap_or(mask),
        stack: stack.shown(pointer),
        alternate_top: alternate,
        info: info.to_bytes(),
        fault,
        restorer: action.restorer,
    });
    if alternate.is_some() && frame.address < stack.base {
        return Err(Errno::EFAULT);
    }
    fpu::with_current(|state| {
        state.set_software_bytes(&frame::marks(state_size, fpu::state_parts()));
        user_memory::write(frame.floating_point_address, state.bytes())
    })?;
    if state_size > frame::LEGACY_SIZE {
        user_memory::write(frame.floating_point_address.wrapping_add(state_size as u64), &frame::END_MARK)?;
    }
    user_memory::write(frame.address, &frame.bytes)?;
    fpu::reset_current();
    frame::enter_handler(&mut context.registers, info.signal.number(), action.handler, &frame);
    let mut blocked = mask.or(action.mask);
    if !action.flags.contains(ActionFlags::NO_DEFER) {
        blocked.insert(info.signal);
    }
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
    let mut bytes = [0; frame::PARSE_SIZE];
    // The handler's return has taken the return address off the stack already.
    user_memory::read(context.registers.rsp, &mut bytes)?;
    let restored = frame::parse(&bytes, &context.registers);
    match restored.floating_point_address {
        0 => fpu::reset_current(),
        // What the frame leaves out stays as a new program has it.
        address => fpu::FpuState::with_zeroed(|state| {
            state.fill(|state| {
                let available = state.len();
                let (legacy, rest) = state.split_first_chunk_mut().ok_or(Errno::EINVAL)?;
                user_memory::read(address, legacy)?;
                let more = frame::floating_point_size(legacy, available)? - frame::LEGACY_SIZE;
                user_memory::read(address.wrapping_add(frame::LEGACY_SIZE as u64), &mut rest[..more])?;
                if more == 0 {
                    frame::mark_legacy_only(state);
                }
                Ok(())
            })?;
            fpu::load_current(state);
            Ok(())
        })?,
    }
    context.registers = restored.registers;
    // A stack that can't be set again stays as it is, as on Linux.
    let _ = task.signals.lock().stack.replace(restored.stack, restored.registers.rsp);
    super::calls::set_mask(task, restored.mask);
    Ok(())
}

/// The signals that wait for `task` and that it blocks: what `rt_sigpending(2)` tells.
pub fn pending(task: &Task) -> SignalSet {
    let state = task.process().state();
    let own = task.signals.lock().pending.set();
    own.or(state.pending.set()).and(task.mask())
}
