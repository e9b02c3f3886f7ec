//! Sessions and process groups: the system calls.

use crate::{process::Process, task::Task};
use alloc::sync::Arc;
use base::{Errno, Pid};

fn process_or_self(task: &Task, pid: i32) -> Result<Arc<Process>, Errno> {
    match pid {
        0 => Ok(task.process().clone()),
        pid => {
            let task = task.population().task(Pid::new(pid)).ok_or(Errno::ESRCH)?;
            Ok(task.process().clone())
        }
    }
}

/// `setsid(2)`: the caller leads a new session without a terminal. `EPERM` it leads a group already.
pub fn set_session(task: &Task) -> Result<Pid, Errno> {
    task.population().tree().new_session(task.pid())
}

/// `setpgid(2)`. Errors as [`crate::tree::Tree::set_group`].
pub fn set_group(task: &Task, target: i32, group: i32) -> Result<(), Errno> {
    task.population().tree().set_group(task.pid(), Pid::new(target), Pid::new(group))
}

/// `getpgid(2)`; 0 is the caller. `ESRCH`.
pub fn group(task: &Task, pid: i32) -> Result<Pid, Errno> {
    Ok(process_or_self(task, pid)?.kinship().group())
}

/// `getsid(2)`; 0 is the caller. `ESRCH`.
pub fn session(task: &Task, pid: i32) -> Result<Pid, Errno> {
    Ok(process_or_self(task, pid)?.kinship().session())
}
