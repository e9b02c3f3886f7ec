//! Ctrl-C while the shell itself is at work, as in `while true; do :; done`.
//!
//! brush has no way to be interrupted from outside. So every builtin first gives way to the runtime, which takes in
//! signals, and when one was an interrupt it ends the loops and functions around it instead of running. `rewrite`
//! puts such a builtin into each loop.

use std::sync::atomic::{AtomicBool, Ordering};

use brush_core::{ExecutionControlFlow, ExecutionExitCode, ExecutionResult};

use crate::session::Shell;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Watches for interrupts from now on; must be called inside the runtime. The signal no longer ends the process.
pub fn watch() {
    tokio::spawn(async {
        while tokio::signal::ctrl_c().await.is_ok() {
            INTERRUPTED.store(true, Ordering::Relaxed);
        }
    });
}

/// Takes Ctrl-Z and Ctrl-\ away from the shell itself; its children have them again.
pub fn hold_stops() {
    use tokio::signal::unix::{SignalKind, signal};
    // tokio never takes a handler back, and exec does.
    let _ = (signal(SignalKind::quit()), signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw())));
}

/// Whether there was an interrupt since it was last forgotten.
pub fn happened() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Forgets an interrupt: the next command is a new one.
pub fn forget() {
    INTERRUPTED.store(false, Ordering::Relaxed);
}

/// Notes that a child was interrupted, and with it what the shell was doing.
pub fn note() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Gives way to the runtime; when there was an interrupt, returns the result that unwinds what `shell` is doing.
pub async fn check(shell: &Shell) -> Option<ExecutionResult> {
    tokio::task::yield_now().await;
    happened().then(|| ExecutionResult {
        next_control_flow: if shell.options().interactive {
            ExecutionControlFlow::ReturnFromFunctionOrScript
        } else {
            ExecutionControlFlow::ExitShell
        },
        exit_code: ExecutionExitCode::Interrupted,
    })
}
