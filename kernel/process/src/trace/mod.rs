//! Tracing, ptrace(2): a task (the tracer) is told what another (the tracee) does, and looks into and changes it meanwhile.
//!
//! | part | what |
//! |---|---|
//! | `Trace` | the tie between the two, from attach to detach; each tracee has one |
//! | `stop` | the tracee's side: it stops, on its own stack, and goes on as it is told |
//! | `requests` | the tracer's side |
//! | `ties` | who traces whom: attach, inheritance at fork, the end of either |
//! | `news` | what `wait4(2)` finds |
//! | `breakpoints` | debug registers |
//! | `record`, `debug_registers`, `options` | registers and options, plain data |
//!
//! A tracee leaves a copy of its registers where it stops, and takes it back when it goes on: whoever looks needs neither
//! its stack nor its word, and SIGKILL can take it away at any moment. A stop is a sleep that only its tracer and what ends
//! the task end; it can be frozen there like any sleeper.
//!
//! Locks: ties change under the tree's; a tracee stops with its process's lock and that of its `Trace` held, in this
//! order, after a look at whether it is to end.

pub(crate) mod breakpoints;
mod debug_registers;
pub(crate) mod news;
pub(crate) mod options;
pub mod record;
pub mod requests;
pub(crate) mod stop;
pub mod ties;

pub use options::Options;
pub use requests::{Mode, Tracee};

use crate::{
    signals::{Signal, SignalInfo},
    status::End,
    task::Task,
};
use alloc::{
    boxed::Box,
    sync::{Arc, Weak},
};
use base::Pid;
use core::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, SeqCst},
};
use debug_registers::DebugRegisters;
use machine::{
    sync::{SpinGuard, SpinLock, rank},
    user::Registers,
};
use record::{Record, TRAP_FLAG};
use sched::WaitQueue;

/// What each task has of this.
pub(crate) struct Tracing {
    /// There is a [`Trace`] of it.
    is_traced: AtomicBool,
    /// It traces others, or did.
    is_tracer: AtomicBool,
    /// Its trap flag was set for its tracer's sake.
    is_stepped: AtomicBool,
    debug_registers: SpinLock<Option<Box<DebugRegisters>>>,
    trace: SpinLock<Option<Arc<Trace>>>,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            is_traced: AtomicBool::new(false),
            is_tracer: AtomicBool::new(false),
            is_stepped: AtomicBool::new(false),
            debug_registers: SpinLock::new(rank::TASK, None),
            trace: SpinLock::new(rank::LEAF, None),
        }
    }
}

impl Tracing {
    /// Whether the task is traced.
    #[inline]
    pub(crate) fn is_traced(&self) -> bool {
        self.is_traced.load(SeqCst)
    }

    /// The tie to its tracer.
    pub(crate) fn trace(&self) -> Option<Arc<Trace>> {
        if self.is_traced() { self.trace.lock().clone() } else { None }
    }

    /// Whether it is stopped for its tracer and not told to go on yet.
    pub(crate) fn is_stopped(&self) -> bool {
        self.trace().is_some_and(|trace| trace.state().stop.as_ref().is_some_and(|stop| stop.answer.is_none()))
    }

    /// Takes the trap flag back that was set for a tracer; whether it was. For the task itself.
    pub(crate) fn end_step(&self, registers: &mut Registers) -> bool {
        let was_stepped = self.is_stepped.load(Relaxed);
        if was_stepped {
            self.is_stepped.store(false, Relaxed);
            registers.rflags &= !TRAP_FLAG;
        }
        was_stepped
    }
}

/// The tie between a tracee and its tracer.
pub(crate) struct Trace {
    tracer: Weak<Task>,
    /// The number of the tracer's process.
    tracer_process: Pid,
    /// By `PTRACE_SEIZE`, or of a parent that was.
    is_seized: bool,
    /// The tracer could trace anybody when it began.
    is_privileged: bool,
    /// The tracee sleeps here.
    changed: WaitQueue,
    state: SpinLock<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) options: Options,
    /// `PTRACE_GETEVENTMSG`.
    pub(crate) message: u64,
    pub(crate) stop: Option<Stop>,
    /// How it was last told to go on.
    pub(crate) mode: Mode,
    /// What the system call under way ends with.
    at_exit: AtExit,
    /// It is to stop for its tracer when it next can (`PTRACE_INTERRUPT`, what happens to a group stop).
    wants_trap: bool,
    /// The stop of its process that it has stopped for last, as [`crate::process::Stop`] counts them.
    round: u32,
    /// The tie is cut.
    is_over: bool,
    /// It has ended, and its number waits for the tracer; not for one whose process waits as a whole.
    pub(crate) ended: Option<End>,
}

/// What a tracer is told at the end of a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum AtExit {
    #[default]
    Nothing,
    Call,
    Step,
}

/// A tracee that has stopped.
pub(crate) struct Stop {
    pub(crate) record: Record,
    /// As `wait4(2)` tells it in the upper bytes: a signal, and an event above it.
    pub(crate) code: u32,
    /// `PTRACE_GETSIGINFO`; none for a stop of the whole process.
    pub(crate) info: Option<SignalInfo>,
    /// It stopped within a system call.
    is_in_call: bool,
    /// No wait has seen it.
    pub(crate) is_untold: bool,
    /// It waits for SIGCONT too (`PTRACE_LISTEN`).
    is_listening: bool,
    /// It may go on.
    answer: Option<Answer>,
}

/// How a tracee goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Answer {
    /// With this signal.
    signal: Option<Signal>,
}

impl Trace {
    pub(crate) fn state(&self) -> SpinGuard<'_, State> {
        self.state.lock()
    }

    /// The tracer, as long as there is one.
    pub(crate) fn tracer(&self) -> Option<Arc<Task>> {
        self.tracer.upgrade()
    }

    /// Whether this task is the tracer.
    pub(crate) fn is_by(&self, task: &Task) -> bool {
        core::ptr::eq(self.tracer.as_ptr(), task)
    }

    /// The number of the tracer's process.
    pub(crate) fn tracer_process(&self) -> Pid {
        self.tracer_process
    }

    /// Has a tracee that listens stop anew, and any other stop when it next can, to tell what has become of the stop of its
    /// process. One that was not seized is not told.
    pub(crate) fn note_group_change(&self) {
        if !self.is_seized {
            return;
        }
        let mut state = self.state();
        state.wants_trap = true;
        if let Some(stop) = &mut state.stop
            && stop.is_listening
        {
            stop.answer = Some(Answer::default());
        }
        drop(state);
        self.changed.wake_all();
    }
}

impl Stop {
    /// Whether its tracer may look at it.
    pub(crate) fn is_open(&self) -> bool {
        self.answer.is_none() && !self.is_listening
    }
}

impl Task {
    /// Who traces it.
    pub fn tracer(&self) -> Option<Pid> {
        self.tracing.trace()?.tracer().map(|tracer| tracer.tid())
    }
}
