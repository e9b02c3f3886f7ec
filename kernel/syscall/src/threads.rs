//! Calls of a program's threads among themselves: restartable sequences, memory barriers, robust lists.

use crate::{arguments::UserPtr, call::Call};
use base::Errno;
use process::{AccessAs, barriers, may_inspect, restartable};

/// `rseq(2)`.
pub fn rseq(call: &Call<'_>, area: u64, length: u32, flags: u32, signature: u32) -> Result<usize, Errno> {
    restartable::register(call.task, area, length, flags, signature)?;
    Ok(0)
}

/// `membarrier(2)`.
pub fn membarrier(call: &Call<'_>, command: u32, flags: u32, cpu: i32) -> Result<usize, Errno> {
    const ONE_CPU: u32 = 1;
    let of_sequences = command == barriers::Command::PRIVATE_EXPEDITED_RSEQ.bits();
    let cpu = match flags {
        0 => None,
        ONE_CPU if of_sequences => Some(cpu),
        _ => return Err(Errno::EINVAL),
    };
    // As on Linux, a negative one means all.
    let cpu = cpu.and_then(|cpu| u32::try_from(cpu).ok());
    barriers::command(call.task, command, cpu).map(|answer| answer as usize)
}

/// `set_robust_list(2)`.
pub fn set_robust_list(call: &Call<'_>, head: u64, length: u64) -> Result<usize, Errno> {
    call.task.set_robust_list(head, length)?;
    Ok(0)
}

/// `get_robust_list(2)`. `ESRCH` no such task; `EPERM` the caller may not look into it.
pub fn get_robust_list(call: &Call<'_>, tid: i32, head: UserPtr<u64>, length: UserPtr<u64>) -> Result<usize, Errno> {
    let task = call.task_or_self(tid).map_err(|_| Errno::ESRCH)?;
    if !may_inspect(call.task, &task, AccessAs::RealUser) {
        return Err(Errno::EPERM);
    }
    length.write(&24)?;
    head.write(&task.robust_list())?;
    Ok(0)
}
