//! What a tracer asks for: to look at a stopped tracee, to change it, to let it go on.

use super::{
    Answer, AtExit, Options, Stop, Trace, breakpoints,
    options::{Event, given_signal},
    record::{self, Record},
    ties,
};
use crate::{
    filters::calls,
    signals::{Signal, SignalInfo, SignalSet, info, send},
    task::Task,
};
use alloc::{sync::Arc, vec::Vec};
use base::{Errno, Pid};
use memory::AddressSpace;

/// How a tracee goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// `PTRACE_CONT`.
    #[default]
    Continue,
    /// `PTRACE_SYSCALL`: until a system call begins or ends.
    Calls,
    /// `PTRACE_SINGLESTEP`: for one instruction.
    Step,
    /// `PTRACE_SYSEMU`: until a system call begins, which is then not made.
    Emulate,
    /// `PTRACE_SYSEMU_SINGLESTEP`: that, or for one instruction.
    EmulateStep,
}

impl Mode {
    /// Whether it goes on for one instruction at most.
    pub(super) fn steps(self) -> bool {
        matches!(self, Self::Step | Self::EmulateStep)
    }

    /// Whether system calls are the tracer's to do.
    pub(super) fn emulates(self) -> bool {
        matches!(self, Self::Emulate | Self::EmulateStep)
    }
}

/// What a tracee has stopped for, as far as system calls are concerned (`PTRACE_GET_SYSCALL_INFO`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallStop {
    /// Something else.
    None,
    /// A call begins: its number and arguments.
    Entry(u64, [u64; 6]),
    /// A call has ended: its result.
    Exit(i64),
    /// A filter asks about a call: its number and arguments, and what the filter gave along.
    Filter(u64, [u64; 6], u32),
}

/// A tracee of the current task.
pub struct Tracee {
    task: Arc<Task>,
    trace: Arc<Trace>,
}

/// The tracee of `tracer`, the current task, with this number. `ESRCH` no such task, or another's or nobody's tracee.
fn own(tracer: &Task, tid: i32) -> Result<Tracee, Errno> {
    let task = (tid > 0).then(|| tracer.population().task(Pid::new(tid))).flatten().ok_or(Errno::ESRCH)?;
    let trace = task.tracing.trace().filter(|trace| trace.is_by(tracer)).ok_or(Errno::ESRCH)?;
    Ok(Tracee { task, trace })
}

/// The same, stopped. `ESRCH` also if it is not.
pub fn stopped(tracer: &Task, tid: i32) -> Result<Tracee, Errno> {
    let tracee = own(tracer, tid)?;
    tracee.with_stop(|_| Ok(()))?;
    Ok(tracee)
}

/// `PTRACE_KILL`. `ESRCH` it is no tracee of this tracer.
pub fn kill(tracer: &Task, tid: i32) -> Result<(), Errno> {
    let tracee = own(tracer, tid)?;
    send::to_process(tracee.task.process(), SignalInfo::bare(Signal::KILL))
}

/// `PTRACE_INTERRUPT`: the tracee stops. `ESRCH` it is no tracee of this tracer; `EIO` it was not seized.
pub fn interrupt(tracer: &Task, tid: i32) -> Result<(), Errno> {
    let tracee = own(tracer, tid)?;
    if !tracee.trace.is_seized {
        return Err(Errno::EIO);
    }
    tracee.trace.note_group_change();
    tracee.task.call_attention();
    Ok(())
}

impl Tracee {
    /// Its address space. `EIO` it has none.
    pub fn space(&self) -> Result<Arc<AddressSpace>, Errno> {
        self.task.space().map_err(|_| Errno::EIO)
    }

    /// Looks at its stop. `ESRCH` it is not stopped, or it is to end.
    fn with_stop<R>(&self, look: impl FnOnce(&mut Stop) -> Result<R, Errno>) -> Result<R, Errno> {
        let mut state = self.trace.state();
        if state.is_over {
            return Err(Errno::ESRCH);
        }
        look(state.stop.as_mut().filter(|stop| stop.is_open()).ok_or(Errno::ESRCH)?)
    }

    /// Looks at or changes its registers. `ESRCH` it is not stopped any more; else what `look` says.
    pub fn with_record<R>(&self, look: impl FnOnce(&mut Record) -> Result<R, Errno>) -> Result<R, Errno> {
        self.with_stop(|stop| look(&mut stop.record))
    }

    /// The word at `offset` of `struct user`. `EIO` it lies outside, or at no multiple of 8; `ESRCH`.
    pub fn user_word(&self, offset: u64) -> Result<u64, Errno> {
        let word = self.with_record(|record| record.user_word(offset))?;
        Ok(record::debug_register(offset).map_or(word, |index| breakpoints::register(&self.task, index)))
    }

    /// Sets it. `EIO` also if it can't be set; `EINVAL` of a debug register; `ESRCH`.
    pub fn set_user_word(&self, offset: u64, value: u64) -> Result<(), Errno> {
        match record::debug_register(offset) {
            // It is stopped, and who ends it meanwhile does not mind.
            Some(index) => breakpoints::set_register(&self.task, index, value),
            None => self.with_record(|record| record.set_user_word(offset, value)),
        }
    }

    /// Lets it go on, with a signal unless `data` is 0. `EIO` no such signal; `ESRCH`.
    pub fn resume(&self, mode: Mode, data: u64) -> Result<(), Errno> {
        let signal = given_signal(data)?;
        let mut state = self.trace.state();
        let state = &mut *state;
        let stop = state.stop.as_mut().filter(|stop| stop.is_open() && !state.is_over).ok_or(Errno::ESRCH)?;
        stop.answer = Some(Answer { signal });
        state.at_exit = match mode {
            _ if !stop.is_in_call => AtExit::Nothing,
            Mode::Continue | Mode::Emulate | Mode::EmulateStep => AtExit::Nothing,
            Mode::Calls => AtExit::Call,
            Mode::Step => AtExit::Step,
        };
        state.mode = mode;
        self.trace.changed.wake_all();
        Ok(())
    }

    /// `PTRACE_DETACH`: it goes on untraced, with a signal unless `data` is 0. `EIO` no such signal; `ESRCH`.
    pub fn detach(&self, data: u64) -> Result<(), Errno> {
        let signal = given_signal(data)?;
        let mut tree = self.task.population().tree();
        // Its end may have been faster.
        self.with_stop(|_| Ok(()))?;
        ties::cut_with(&mut tree, &self.task, &self.trace, signal);
        Ok(())
    }

    /// `PTRACE_LISTEN`: it stays stopped with its process, and the tracer hears when that goes on. `EIO` it was not seized,
    /// or has not stopped for its process or an interruption; `ESRCH`.
    pub fn listen(&self) -> Result<(), Errno> {
        let mut state = self.trace.state();
        let state = &mut *state;
        let stop = state.stop.as_mut().filter(|stop| stop.is_open()).ok_or(Errno::ESRCH)?;
        if !self.trace.is_seized || stop.code >> 8 != Event::Stop as u32 {
            return Err(Errno::EIO);
        }
        stop.is_listening = true;
        if state.wants_trap {
            // Something has happened since it stopped.
            stop.answer = Some(Answer::default());
            self.trace.changed.wake_all();
        }
        Ok(())
    }

    /// `PTRACE_SETOPTIONS`, for `tracer`. `EINVAL` an option that there is not; `EPERM` one that it may not set; `ESRCH`.
    pub fn set_options(&self, tracer: &Task, data: u64) -> Result<(), Errno> {
        let options = Options::from_argument(data).ok_or(Errno::EINVAL)?;
        options.check(tracer)?;
        self.trace.state().options = options;
        Ok(())
    }

    /// `PTRACE_GETEVENTMSG`.
    pub fn message(&self) -> u64 {
        self.trace.state().message
    }

    /// `PTRACE_GETSIGINFO`. `EINVAL` its process has stopped, without one; `ESRCH`.
    pub fn info(&self) -> Result<[u8; info::SIZE], Errno> {
        self.with_stop(|stop| stop.info.as_ref().map(SignalInfo::to_bytes).ok_or(Errno::EINVAL))
    }

    /// `PTRACE_SETSIGINFO`. `EINVAL` as for [`Self::info`], or no signal has this number; `ESRCH`.
    pub fn set_info(&self, bytes: &[u8; info::SIZE]) -> Result<(), Errno> {
        let number = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let new = Signal::new(number).map(|signal| SignalInfo::from_bytes(signal, bytes));
        self.with_stop(|stop| {
            let place = stop.info.as_mut().ok_or(Errno::EINVAL)?;
            *place = new?;
            Ok(())
        })
    }

    /// `PTRACE_GETSIGMASK`: what it has blocked; during a call that blocks something else, what will be blocked after it.
    pub fn mask(&self) -> SignalSet {
        self.task.saved_mask.get().unwrap_or_else(|| self.task.mask())
    }

    /// `PTRACE_SETSIGMASK`.
    pub fn set_mask(&self, mask: SignalSet) {
        self.task.saved_mask.forget();
        crate::signals::calls::set_mask(&self.task, mask);
    }

    /// `PTRACE_PEEKSIGINFO`: signals that wait for it, or with `shared` for any thread of its process, from the one with
    /// number `from` in the queue on, `most` of them.
    pub fn pending(&self, shared: bool, from: usize, most: usize) -> Vec<[u8; info::SIZE]> {
        let process = self.task.process().state();
        let own = self.task.signals.lock();
        let queue = if shared { &process.pending } else { &own.pending };
        queue.shown().skip(from).take(most).map(SignalInfo::to_bytes).collect()
    }

    /// `PTRACE_SECCOMP_GET_FILTER` and `PTRACE_SECCOMP_GET_METADATA`, for `tracer`: a filter's instructions as they lie in memory, and
    /// its flags. `EACCES` it may not see filters; `EINVAL` there are none; `ENOENT` not so many.
    pub fn filter(&self, tracer: &Task, index: u64) -> Result<(Vec<u8>, u64), Errno> {
        calls::shown(tracer, &self.task, index)
    }

    /// `PTRACE_GET_SYSCALL_INFO`, with the instruction and stack pointers. `ESRCH`.
    pub fn call_stop(&self) -> Result<(CallStop, u64, u64), Errno> {
        let message = self.message();
        self.with_stop(|stop| {
            let r = &stop.record.registers;
            let code = stop.info.as_ref().map(|info| info.code as u32);
            let is_call = code == Some(super::stop::CALL_GOOD);
            let arguments = [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9];
            let what = match message {
                super::stop::AT_ENTRY if is_call => CallStop::Entry(stop.record.call, arguments),
                super::stop::AT_EXIT if is_call => CallStop::Exit(r.rax as i64),
                data if code == Some(Event::Filter.code(Signal::TRAP.number())) => {
                    CallStop::Filter(stop.record.call, arguments, data as u32)
                }
                _ => CallStop::None,
            };
            Ok((what, r.rip, r.rsp))
        })
    }
}
