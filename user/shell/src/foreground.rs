//! Starting processes, and waiting for the job that has the terminal.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use brush_core::sys::commands::CommandFgControlExt;
use brush_core::{ExecutionControlFlow, ExecutionResult};
use process_wrap::std::{CommandWrap, ResetSigmask};
use rustix::process::{Pid, Signal, getpgrp};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};
use tokio::signal::unix::{SignalKind, signal};

use crate::interrupt;
use crate::jobs::{self, Job, State};
use crate::session::Shell;

/// The signals whose reports nobody needs: who pressed Ctrl-C knows it, and a pipe that broke did so on purpose.
const UNTOLD: [i32; 2] = [Signal::INT.as_raw(), Signal::PIPE.as_raw()];

/// The signals that stop who uses the terminal without having it.
const FOR_TERMINAL: [i32; 2] = [Signal::TTIN.as_raw(), Signal::TTOU.as_raw()];

/// The modes of the terminal as the last job left them that ended by itself.
static MODES: Mutex<Option<Termios>> = Mutex::new(None);

/// Makes the shell a process group of its own that has the terminal; returns who had it.
pub fn take_terminal() -> Option<Pid> {
    let before = tcgetpgrp(rustix::stdio::stdin()).ok();
    // A session's leader leads its group already, and may not.
    let _ = rustix::process::setpgid(None, None);
    give_terminal(getpgrp());
    keep_modes();
    before
}

/// Gives the terminal to a group.
pub fn give_terminal(group: Pid) {
    let _ = tcsetpgrp(rustix::stdio::stdin(), group);
}

fn waits_for_terminal(state: State) -> bool {
    matches!(state, State::Stopped(signal) if FOR_TERMINAL.contains(&signal))
}

fn has_terminal(job: &Job) -> bool {
    job.group().is_some_and(|group| tcgetpgrp(rustix::stdio::stdin()) == Ok(group))
}

fn keep_modes() {
    *MODES.lock().unwrap_or_else(PoisonError::into_inner) = tcgetattr(rustix::stdio::stdin()).ok();
}

fn restore_modes() {
    if let Some(modes) = MODES.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, modes);
    }
}

/// Whether jobs of this shell are process groups that take turns at the terminal.
pub fn controls_jobs(shell: &Shell) -> bool {
    shell.options().enable_job_control && shell.options().interactive
}

/// Starts a process as the next one of a job. In the foreground, the group of the first one gets the terminal.
pub fn start(mut command: Command, job: &mut Job, text: String, foreground: bool) -> std::io::Result<Pid> {
    let first = job.members.is_empty();
    if job.grouped {
        command.process_group(job.group().map_or(0, |group| group.as_raw_nonzero().get()));
        if foreground && first {
            // So that it has the terminal before it runs.
            command.take_foreground();
        }
    }
    let child = CommandWrap::from(command).wrap(ResetSigmask).spawn()?;
    let Some(process) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return Err(std::io::Error::other("a process without a number"));
    };
    job.add(process, text);
    if job.grouped && foreground && first {
        // The child could not if its standard input is no terminal.
        give_terminal(process);
    }
    Ok(process)
}

/// Ctrl-C and Ctrl-Z that came to the shell and were meant for the job: pressed before it had the terminal. Even then
/// the kernel may just be sending them to who had it.
struct Keys {
    /// Those to come; without job control, all come to the job too.
    coming: Option<[tokio::signal::unix::Signal; 2]>,
    interrupted: bool,
    stopped: bool,
}

impl Keys {
    fn new(job: &Job) -> std::io::Result<Self> {
        let coming = if job.grouped {
            Some([signal(SignalKind::interrupt())?, signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?])
        } else {
            None
        };
        Ok(Self { coming, interrupted: false, stopped: false })
    }

    /// Hands each on, once.
    fn pass_on(&mut self, job: &Job) {
        if !self.interrupted && interrupt::happened() {
            self.interrupted = true;
            let _ = job.signal(Signal::INT);
        }
        if job.grouped && !self.stopped && interrupt::stop_asked() {
            self.stopped = true;
            let _ = job.signal(Signal::TSTP);
        }
        // What comes later without job control is the job's, too.
        self.interrupted |= self.coming.is_none();
    }

    /// Returns when one has come.
    async fn pressed(&mut self) {
        match &mut self.coming {
            Some([interrupts, stops]) => tokio::select! {
                _ = interrupts.recv() => {}
                _ = stops.recv() => {}
            },
            None => std::future::pending().await,
        }
    }
}

/// What has come of a job in the foreground.
pub struct Ended {
    /// Of the command.
    pub result: ExecutionResult,
    /// Of each of its processes.
    pub states: Vec<State>,
}

/// Waits until `job` ends or stops, and takes the terminal back; `loops` are those around the command. A job that has
/// stopped goes into the table.
pub async fn wait(shell: &Shell, mut job: Job, loops: usize, err: &mut impl Write) -> std::io::Result<Ended> {
    let interactive = controls_jobs(shell);
    let mut changes = signal(SignalKind::child())?;
    let mut keys = Keys::new(&job)?;
    {
        let _child_decides = interrupt::LeftToChild::begin();
        // brush takes the terminal back after each step of a pipeline.
        if let Some(group) = job.group() {
            give_terminal(group);
        }
        // What was pressed before the job was its program was meant for it.
        interrupt::note_for_child();
        loop {
            keys.pass_on(&job);
            job.look();
            if has_terminal(&job) && job.members.iter().any(|member| waits_for_terminal(member.state)) {
                // It wanted the terminal before it had it.
                let _ = job.resume();
            }
            match job.state() {
                State::Running => {}
                // In a substitution, Ctrl-Z means nothing.
                State::Stopped(_) if interactive && !job.grouped => drop(job.resume()),
                // Without job control nobody but who stopped it could let it go on.
                State::Stopped(_) if !interactive => {}
                _ => break,
            }
            tokio::select! {
                _ = changes.recv() => {}
                () = keys.pressed() => {}
            }
        }
    }
    if job.grouped {
        give_terminal(getpgrp());
    }
    interrupt::forget_stop();
    let states = job.members.iter().map(|member| member.state).collect();
    Ok(Ended { result: conclude(shell, job, loops, err)?, states })
}

/// Tells what is to be told of a job that no longer runs, and puts it away if it has stopped.
fn conclude(shell: &Shell, mut job: Job, loops: usize, err: &mut impl Write) -> std::io::Result<ExecutionResult> {
    let interactive = controls_jobs(shell);
    let state = job.state();
    match state {
        State::Killed { signal, core } => {
            if interactive {
                restore_modes();
            }
            if signal == Signal::INT.as_raw() && (interactive || interrupt::happened()) {
                interrupt::note();
                return Ok(interrupt::unwind(shell));
            }
            if interactive && !UNTOLD.contains(&signal) {
                writeln!(err, "{state}{}", if core { " (core dumped)" } else { "" })?;
            }
        }
        State::Stopped(_) => {
            restore_modes();
            job.told = state;
            job.hidden = false;
            let mut table = jobs::table();
            let id = table.insert(job);
            let mark = table.mark(id);
            if let Some(job) = table.get(id) {
                writeln!(err, "\n{}", job.line(mark))?;
            }
            let leave_loops = loops.checked_sub(1).map(|levels| ExecutionControlFlow::BreakLoop { levels });
            return Ok(ExecutionResult {
                next_control_flow: leave_loops.unwrap_or_default(),
                exit_code: state.status().into(),
            });
        }
        _ if interactive => keep_modes(),
        _ => {
            // A child that caught the interrupt and ended as it liked has dealt with it.
            if interrupt::happened() && !shell.options().interactive {
                interrupt::forget();
            }
        }
    }
    Ok(ExecutionResult::new(state.status()))
}
