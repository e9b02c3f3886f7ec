//! The main loop of a task: user mode, what made it come back, what there is to do before it goes there again.

use crate::{
    exit, faults, restartable,
    signals::{
        deliver::{self, Fate, Interrupted, InterruptedCall, NextCall, Position},
        restart,
    },
    spawn,
    task::{Start, Task, current},
    trace,
};
use alloc::{boxed::Box, sync::Arc};
use base::Errno;
use linux_raw_sys::general as number;
use machine::{
    sync::Hook,
    user::{Exit, UserContext},
    user_memory,
};

/// The system calls; filled by `kernel/syscall`.
pub trait SystemCalls: Sync {
    /// Does the call that `context`'s registers describe for `task`, the current one, and puts the result into `rax`.
    /// A blocking call that a signal ended puts `-EINTR` there; whether it is started again is decided afterwards.
    fn dispatch(&self, task: &Arc<Task>, context: &mut UserContext);
}

/// Installed once at boot.
pub static SYSTEM_CALLS: Hook<dyn SystemCalls> = Hook::new();

/// The first function on the kernel stack of every task.
pub(crate) fn begin() -> ! {
    let Some(task) = current() else {
        // The scheduler has just switched to the task, so it is the current one.
        panic!("process: a task began that the scheduler does not know");
    };
    match task.take_start() {
        Some(Start::User(context)) => {
            let address = task.take_set_child_tid();
            if address != 0 {
                // As on Linux, an address that can't be written is not an error.
                let _ = user_memory::write(address, &task.tid().raw().to_le_bytes());
            }
            user_loop(&task, context);
        }
        Some(Start::Program(program)) => {
            let context = spawn::execute_first(&task, &program);
            drop(program);
            if let Some(context) = context {
                user_loop(&task, context);
            }
        }
        Some(Start::Kernel(function)) => function(),
        None => {}
    }
    exit::finish(task)
}

/// Runs user mode until the task is to end. A signal that comes after the look at `needs_attention` interrupts this CPU,
/// and [`UserContext::run`] then comes back without having run the program.
fn user_loop(task: &Arc<Task>, context: Box<UserContext>) {
    let Some(calls) = SYSTEM_CALLS.get() else { panic!("process: a program runs before there are system calls") };
    let mut shown = task.entity().context().show_user(context);
    let context: &mut UserContext = &mut shown;
    let mut interrupted = None;
    let mut next_call = NextCall::empty();
    context.call = deliver::NO_CALL;
    loop {
        if task.needs_attention() {
            let mut position = Position { context, interrupted: &mut interrupted };
            if deliver::before_user_mode(task, &mut position, &mut next_call) == Fate::Ends {
                if task.tracing.is_traced() {
                    trace::stop::for_end(task, &mut position);
                }
                return;
            }
        }
        if sched::need_resched() {
            sched::before_user_mode();
            // Others ran meanwhile and may have sent something.
            continue;
        }
        if task.sequence.is_marked() {
            restartable::before_user_mode(task, context);
            continue;
        }
        match context.run() {
            Exit::SystemCall => {
                context.call = context.registers.rax;
                if next_call.is_empty() {
                    task.forget_deadline();
                } else if !deliver::begin_call(task, context, &mut next_call, &mut interrupted) {
                    continue;
                }
                calls.dispatch(task, context);
                if context.registers.rax as i64 == -i64::from(Errno::EINTR as i32) {
                    interrupted = that_may_start_again(task, context);
                }
            }
            Exit::Fault(fault) => {
                context.call = deliver::NO_CALL;
                faults::handle(task, context, fault);
            }
            Exit::Interrupt => context.call = deliver::NO_CALL,
        }
    }
}

/// A call that gave `EINTR`, if it may be started again; that is looked at before user mode.
#[cold]
fn that_may_start_again(task: &Task, context: &UserContext) -> InterruptedCall {
    task.note_attention();
    let call = context.call;
    let class = restart::class(call, context.registers.rsi, context.registers.r10);
    // sigreturn puts back a result of long ago, which may be EINTR too.
    (call != u64::from(number::__NR_rt_sigreturn)).then_some(Interrupted { call, class })
}
