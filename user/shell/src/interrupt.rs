//! The signals that reach the shell itself: Ctrl-C, Ctrl-Z, and those that a script traps.
//!
//! brush has no way to be interrupted from outside. So handlers here only set flags, and every builtin first looks at
//! them: after an interrupt it ends the loops, functions and lists around it instead of running. `rewrite` turns
//! every command into such a builtin and puts one into each loop.
//!
//! A shell without a person at it dies of Ctrl-C and stops at Ctrl-Z at once, as any program does; only while it waits
//! for a child does it leave the decision to that child.

use std::future::poll_fn;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::task::Poll;

use brush_core::traps::TrapSignal;
use brush_core::{ExecutionControlFlow, ExecutionExitCode, ExecutionResult};
use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::{flag, low_level::pipe};
use tokio::signal::unix::{SignalKind, signal};

use crate::session::Shell;

type Flag = LazyLock<Arc<AtomicBool>>;

/// There was a Ctrl-C.
static INTERRUPTED: Flag = LazyLock::new(Arc::default);
/// There was a Ctrl-Z.
static STOP_ASKED: Flag = LazyLock::new(Arc::default);
/// What the handlers of Ctrl-C and Ctrl-Z wrote down. A child has the terminal before it becomes another program, and has
/// the shell's handlers until then: a flag that it sets is its own, but what it writes here arrives.
static WRITTEN: [OnceLock<UnixStream>; 2] = [const { OnceLock::new() }; 2];
/// The places in it.
const INTERRUPT: usize = 0;
const STOP: usize = 1;
/// An interrupt is to end the process, in its handler.
static AT_ONCE: Flag = LazyLock::new(Arc::default);
/// Signals that are trapped, or were: whether each has come.
static TRAPPED: Mutex<Vec<(i32, Arc<AtomicBool>)>> = Mutex::new(Vec::new());

/// Watches for the signals from now on.
pub fn watch(interactive: bool) {
    let _ = flag::register(SIGINT, INTERRUPTED.clone());
    if interactive {
        let ignored = Arc::new(AtomicBool::new(false));
        let _ = (flag::register(SIGQUIT, ignored.clone()), flag::register(SIGTERM, ignored));
        let _ = flag::register(SIGTSTP, STOP_ASKED.clone());
        write_down(SIGINT, INTERRUPT);
        write_down(SIGTSTP, STOP);
        // Blocked, it does not keep the shell from giving the terminal away; whoever is started has it unblocked.
        let mut terminal_output = SigSet::empty();
        terminal_output.add(Signal::SIGTTOU);
        let _ = terminal_output.thread_block();
    } else {
        AT_ONCE.store(true, Ordering::SeqCst);
        let _ = flag::register_conditional_default(SIGINT, AT_ONCE.clone());
        // brush catches it to notice that a child has stopped; the shell is to stop with it.
        let _ = flag::register_conditional_default(SIGTSTP, Arc::new(AtomicBool::new(true)));
    }
}

fn write_down(signal: i32, place: usize) {
    if let Ok((read, write)) = UnixStream::pair()
        && read.set_nonblocking(true).is_ok()
        && WRITTEN[place].set(read).is_ok()
    {
        let _ = pipe::register(signal, write);
    }
}

/// Takes out what was written down; says whether there was anything.
fn was_written(place: usize) -> bool {
    let mut was = false;
    while let Some(Ok(1..)) = WRITTEN[place].get().map(|mut read| read.read(&mut [0; 64])) {
        was = true;
    }
    was
}

/// Notes what was meant for a child that has just become its program and came while it had the shell's handlers.
pub fn note_for_child() {
    if was_written(INTERRUPT) {
        note();
    }
    if was_written(STOP) {
        STOP_ASKED.store(true, Ordering::SeqCst);
    }
}

/// Whether there was an interrupt since it was last forgotten.
pub fn happened() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Forgets an interrupt: the next command is a new one.
pub fn forget() {
    forget_interrupt();
    forget_stop();
}

fn forget_interrupt() {
    was_written(INTERRUPT);
    INTERRUPTED.store(false, Ordering::SeqCst);
}

/// Forgets a Ctrl-Z: it was meant for what ran until now.
pub fn forget_stop() {
    was_written(STOP);
    STOP_ASKED.store(false, Ordering::SeqCst);
}

/// Whether there was a Ctrl-Z since it was last forgotten.
pub fn stop_asked() -> bool {
    STOP_ASKED.load(Ordering::SeqCst)
}

/// Notes that a child was interrupted, and with it what the shell was doing.
pub fn note() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// Leaves it to a child what an interrupt does, as long as it lives.
pub struct LeftToChild(bool);

impl LeftToChild {
    /// From now on.
    pub fn begin() -> Self {
        Self(AT_ONCE.swap(false, Ordering::SeqCst))
    }
}

impl Drop for LeftToChild {
    fn drop(&mut self) {
        AT_ONCE.store(self.0, Ordering::SeqCst);
    }
}

/// Ends the process as an interrupt does, if it was one that ended the shell.
pub fn die_of_it(interactive: bool) {
    if !interactive && happened() {
        let _ = signal_hook::low_level::emulate_default_handler(SIGINT);
    }
}

/// After `trap`: catches what is trapped, and lets an interrupt wait where a trap must run first.
pub fn catch_trapped(shell: &Shell) {
    let mut trapped = TRAPPED.lock().unwrap_or_else(PoisonError::into_inner);
    for (signal, _) in shell.traps().iter_handlers() {
        let Some(number) = number_of(signal) else { continue };
        if !trapped.iter().any(|(known, _)| *known == number) {
            let flag = Arc::new(AtomicBool::new(false));
            if flag::register(number, flag.clone()).is_ok() {
                trapped.push((number, flag));
            }
        }
    }
    let handles = |signal| shell.traps().handles(signal);
    if !shell.options().interactive && !shell.is_subshell() {
        let waits = handles(TrapSignal::Exit) || handles(TrapSignal::Signal(Signal::SIGINT));
        AT_ONCE.store(!waits, Ordering::SeqCst);
    }
}

fn number_of(signal: TrapSignal) -> Option<i32> {
    matches!(signal, TrapSignal::Signal(_)).then(|| i32::try_from(signal).ok()).flatten()
}

/// The signals that have come and have, or had, a trap.
fn come() -> Vec<i32> {
    let trapped = TRAPPED.lock().unwrap_or_else(PoisonError::into_inner);
    trapped.iter().filter(|(_, flag)| flag.swap(false, Ordering::SeqCst)).map(|(number, _)| *number).collect()
}

/// A signal whose trap waits to be run.
pub fn trap_waits() -> Option<i32> {
    let trapped = TRAPPED.lock().unwrap_or_else(PoisonError::into_inner);
    trapped.iter().find(|(_, flag)| flag.load(Ordering::SeqCst)).map(|(number, _)| *number)
}

/// Returns once a trap waits to be run.
pub async fn trap_comes() {
    let numbers: Vec<i32> = {
        let trapped = TRAPPED.lock().unwrap_or_else(PoisonError::into_inner);
        trapped.iter().map(|(number, _)| *number).collect()
    };
    let mut streams: Vec<_> =
        numbers.into_iter().filter_map(|number| signal(SignalKind::from_raw(number)).ok()).collect();
    // One that came before the streams were there has set its flag.
    poll_fn(|context| {
        let come = trap_waits().is_some() || streams.iter_mut().any(|stream| stream.poll_recv(context).is_ready());
        if come { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Runs the traps of the signals that have come.
pub async fn run_traps(shell: &mut Shell) {
    for number in come() {
        let Ok(signal) = TrapSignal::try_from(number) else { continue };
        let Some(handler) = shell.traps().get_handler(signal).cloned() else {
            if number != SIGINT && !shell.options().interactive {
                let _ = signal_hook::low_level::emulate_default_handler(number);
            }
            continue;
        };
        if number == SIGINT {
            forget_interrupt();
        }
        let status = shell.last_exit_status();
        let parameters = shell.default_exec_params();
        if let Err(error) = shell.run_string(handler.command, &handler.source_info, &parameters).await {
            let _ = shell.display_error(&mut shell.stderr(), &error);
        }
        shell.set_last_exit_status(status);
    }
}

/// Runs traps; when there was an interrupt, returns the result that unwinds what `shell` is doing.
pub async fn check(shell: &mut Shell) -> Option<ExecutionResult> {
    if trap_waits().is_some() {
        run_traps(shell).await;
    }
    happened().then(|| unwind(shell))
}

/// The result that ends the loops, functions and lists around a command; the shell too, if nobody is at it.
pub fn unwind(shell: &Shell) -> ExecutionResult {
    ExecutionResult {
        next_control_flow: if shell.options().interactive {
            ExecutionControlFlow::ReturnFromFunctionOrScript
        } else {
            ExecutionControlFlow::ExitShell
        },
        exit_code: ExecutionExitCode::Interrupted,
    }
}
