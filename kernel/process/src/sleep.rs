//! Sleeping in ways that the scheduler does not know: until a fatal signal only, or for a while.

use crate::task::Task;
use base::Errno;
use sched::{WaitError, WaitQueue};

/// Sleeps at `queue` until `condition` gives a value, the task's process is ended, or the deadline passes. Signals that
/// do not end the process leave it asleep.
///
/// `EINTR` the process is to end; `ETIMEDOUT`.
pub(crate) fn until_killed_or<R>(
    task: &Task,
    queue: &WaitQueue,
    mut condition: impl FnMut() -> Option<R>,
    deadline: Option<u64>,
) -> Result<R, Errno> {
    let result = loop {
        task.entity().clear_interrupt();
        if is_killed(task) {
            break condition().ok_or(Errno::EINTR);
        }
        match queue.wait_until_interruptible(&mut condition, deadline) {
            Ok(value) => break Ok(value),
            Err(WaitError::TimedOut) => break Err(Errno::ETIMEDOUT),
            Err(WaitError::Interrupted) => {}
        }
    };
    // What was cleared above may have been for a signal that still waits: look before user mode, and let the next
    // sleep of this call end at once.
    task.call_attention();
    result
}

/// Whether the task is to end, with its process or because another thread executes a program.
pub(crate) fn is_killed(task: &Task) -> bool {
    task.process().state().ends(task.tid())
}

/// The errno of an interruptible sleep that ended early, for calls that time out with `ETIMEDOUT`.
pub(crate) fn error(error: WaitError) -> Errno {
    match error {
        WaitError::Interrupted => Errno::EINTR,
        WaitError::TimedOut => Errno::ETIMEDOUT,
    }
}
