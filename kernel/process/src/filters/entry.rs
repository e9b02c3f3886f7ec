//! The beginning of a call by a task whose calls are filtered.

use super::{
    action::{Action, LOGGED, Verdict},
    chain::{self, Mode},
    facts, log,
};
use crate::{
    core_dump,
    signals::{
        Detail, Signal, SignalInfo, code,
        deliver::{Interrupted, InterruptedCall},
        restart::Restart,
        send,
    },
    status::End,
    task::Task,
    trace,
};
use alloc::sync::Arc;
use base::Errno;
use linux_raw_sys::{general as number, ptrace::SECCOMP_RET_KILL_THREAD};
use machine::user::UserContext;

/// The largest errno that a filter can give.
const MOST_ERRNO: u16 = 4095;

/// Whether the call is made that `context` describes; if not, its result is in `rax`, or `interrupted` says that a signal came.
pub(crate) fn at_entry(task: &Arc<Task>, context: &mut UserContext, interrupted: &mut InterruptedCall) -> bool {
    if trace::stop::suspends_filters(task) {
        return true;
    }
    match task.filters.mode() {
        Mode::Off => true,
        Mode::Strict => strict(task, context),
        Mode::Filter => filtered(task, context, interrupted, false),
    }
}

fn strict(task: &Arc<Task>, context: &UserContext) -> bool {
    const ALLOWED: [u32; 4] = [number::__NR_read, number::__NR_write, number::__NR_exit, number::__NR_rt_sigreturn];
    let is_allowed = u32::try_from(context.call).is_ok_and(|call| ALLOWED.contains(&call));
    if !is_allowed {
        if LOGGED.contains(Action::KillThread) {
            log::write(task, context, Signal::KILL.number(), SECCOMP_RET_KILL_THREAD);
        }
        task.leave_by(Signal::KILL);
    }
    is_allowed
}

/// `is_again`: the tracer was asked about this call.
fn filtered(task: &Arc<Task>, context: &mut UserContext, interrupted: &mut InterruptedCall, is_again: bool) -> bool {
    let chain = task.filters.chain();
    let call = facts::of(context);
    // There is one. If not, nothing is allowed.
    let judged = chain.as_ref().map(|chain| chain.judge(&call));
    let (verdict, filter) = judged.unwrap_or((Verdict::new(0x8000_0000), None));
    let action = verdict.action();
    let is_made = match action {
        Action::Allow | Action::Log => true,
        Action::Error => {
            context.registers.rax = -i64::from(verdict.data().min(MOST_ERRNO)) as u64;
            false
        }
        Action::Trap => {
            context.registers.rax = context.call;
            send::force(task, signal(context, verdict));
            false
        }
        Action::Trace if is_again => return true,
        Action::Trace => {
            if trace::stop::for_filter(task, context, verdict.data()) {
                return filtered(task, context, interrupted, true);
            }
            false
        }
        Action::Notify => {
            let listener = filter.and_then(|filter| filter.listener.as_ref());
            match listener.map_or(Err(Errno::ENOSYS), |listener| listener.ask(task, call)) {
                Ok(None) => return true,
                Ok(Some(result)) => context.registers.rax = result as u64,
                Err(error) => {
                    context.registers.rax = -i64::from(error as i32) as u64;
                    if error == Errno::EINTR {
                        task.note_attention();
                        *interrupted = Some(Interrupted { call: context.call, class: Restart::ByHandler });
                    }
                }
            }
            false
        }
        Action::KillThread | Action::KillProcess => {
            context.registers.rax = context.call;
            false
        }
    };
    if (!is_made || action == Action::Log) && chain::is_logged(verdict, filter) {
        let kills = matches!(action, Action::KillThread | Action::KillProcess);
        log::write(task, context, if kills { Signal::SYS.number() } else { 0 }, verdict.code());
    }
    if matches!(action, Action::KillThread | Action::KillProcess) {
        kill(task, context, verdict);
    }
    is_made
}

/// SIGSYS, as it tells of this call.
fn signal(context: &UserContext, verdict: Verdict) -> SignalInfo {
    let detail = Detail::Call {
        address: context.registers.rip,
        number: context.call as i32,
        architecture: facts::ARCHITECTURE,
        error: verdict.data().into(),
    };
    SignalInfo { signal: Signal::SYS, code: code::SYS_SECCOMP, detail }
}

/// Ends the thread, or with [`Action::KillProcess`], and if there is no other, its process: by SIGSYS, whatever is done about
/// that, with a core.
fn kill(task: &Arc<Task>, context: &UserContext, verdict: Verdict) {
    let process = task.process();
    let mut state = process.state();
    if state.ends(task.tid()) {
        drop(state);
        task.note_attention();
    } else if verdict.action() == Action::KillThread && state.threads.len() > 1 {
        drop(state);
        task.leave_by(Signal::SYS);
    } else if core_dump::begin(task, &mut state) {
        drop(state);
        core_dump::write(task, context, &signal(context, verdict));
    } else {
        send::end_group(process, &mut state, End::Killed { signal: Signal::SYS, core: false });
    }
}
