//! Calls about who runs where and with which weight.

use crate::{arguments::UserPtr, call::Call};
use alloc::sync::Arc;
use base::{CpuSet, Errno, MAX_CPUS, Pid, Uid};
use machine::user_memory;
use process::{
    Task,
    scheduling::{IoPriority, Policy, PriorityTarget},
};

/// `sched_yield(2)`.
pub fn sched_yield(_call: &Call<'_>) -> Result<usize, Errno> {
    sched::sched_yield();
    Ok(0)
}

/// `getcpu(2)`.
pub fn getcpu(_call: &Call<'_>, cpu: UserPtr<u32>, node: UserPtr<u32>) -> Result<usize, Errno> {
    let current = machine::cpu::current();
    cpu.write_optional(&current.raw())?;
    node.write_optional(&machine::topology::get().node_of(current).raw())?;
    Ok(0)
}

/// `sched_setaffinity(2)`: the mask is cut to the task's cpuset. `EINVAL` if nothing is left.
pub fn sched_setaffinity(call: &Call<'_>, tid: i32, size: u32, mask: UserPtr<u8>) -> Result<usize, Errno> {
    let mut bytes = [0; MAX_CPUS / 8];
    let length = (size as usize).min(bytes.len());
    user_memory::read(mask.address(), &mut bytes[..length])?;
    let mut words = [0; MAX_CPUS / 64];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(core::array::from_fn(|index| chunk[index]));
    }
    let task = scheduled_task(call, tid)?;
    call.task.set_affinity_of(&task, &CpuSet::from_words(words))?;
    Ok(0)
}

/// `sched_getaffinity(2)`: the bytes of the mask, without CPUs that are offline. `EINVAL` the buffer is too small for the CPUs that are possible, or
/// no multiple of 8.
pub fn sched_getaffinity(call: &Call<'_>, tid: i32, size: u32, out: UserPtr<u64>) -> Result<usize, Errno> {
    let words = machine::cpu::possible().iter().last().map_or(1, |last| last.index() / 64 + 1);
    if (size as usize) < words * 8 || !size.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let allowed = scheduled_task(call, tid)?.entity().allowed().and(&machine::cpu::online());
    out.write_array(&allowed.words()[..words])?;
    Ok(words * 8)
}

/// The task that a call of the `sched_` family means: a negative number is no task.
fn scheduled_task(call: &Call<'_>, tid: i32) -> Result<Arc<Task>, Errno> {
    call.task_or_self(tid).map_err(|_| Errno::ESRCH)
}

/// The target of `getpriority` and `setpriority`.
fn priority_target(which: i32, who: u32) -> Result<PriorityTarget, Errno> {
    const PROCESS: i32 = 0;
    const GROUP: i32 = 1;
    const USER: i32 = 2;
    let number = (who != 0).then_some(Pid::new(who as i32));
    Ok(match which {
        PROCESS => PriorityTarget::Task(number),
        GROUP => PriorityTarget::Group(number),
        USER => PriorityTarget::User((who != 0).then_some(Uid::new(who))),
        _ => return Err(Errno::EINVAL),
    })
}

/// `getpriority(2)`: 20 minus the nice value, so that it is never negative.
pub fn getpriority(call: &Call<'_>, which: i32, who: u32) -> Result<usize, Errno> {
    let nice = call.task.nice_of(priority_target(which, who)?)?;
    Ok((20 - nice.raw()) as usize)
}

/// `setpriority(2)`; a value out of range is cut.
pub fn setpriority(call: &Call<'_>, which: i32, who: u32, nice: i32) -> Result<usize, Errno> {
    call.task.set_nice_of(priority_target(which, who)?, sched::Nice::new(nice))?;
    Ok(0)
}

/// The target of `ioprio_get` and `ioprio_set`, which number them from 1.
fn io_target(which: i32, who: i32) -> Result<PriorityTarget, Errno> {
    priority_target(which.wrapping_sub(1), who as u32)
}

/// `ioprio_get(2)`.
pub fn ioprio_get(call: &Call<'_>, which: i32, who: i32) -> Result<usize, Errno> {
    Ok(call.task.io_priority_of(io_target(which, who)?)?.raw().into())
}

/// `ioprio_set(2)`. The priority is checked before the target.
pub fn ioprio_set(call: &Call<'_>, which: i32, who: i32, priority: i32) -> Result<usize, Errno> {
    let priority = IoPriority::from_raw(priority)?;
    call.task.set_io_priority_of(io_target(which, who)?, priority)?;
    Ok(0)
}

/// `sched_getscheduler(2)`.
pub fn sched_getscheduler(call: &Call<'_>, tid: i32) -> Result<usize, Errno> {
    if tid < 0 {
        return Err(Errno::EINVAL);
    }
    Ok(scheduled_task(call, tid)?.policy() as usize)
}

/// `sched_setscheduler(2)`: `SCHED_OTHER` and `SCHED_BATCH`, with priority 0. `EINVAL` for what is not offered.
pub fn sched_setscheduler(call: &Call<'_>, tid: i32, policy: i32, parameter: UserPtr<i32>) -> Result<usize, Errno> {
    if tid < 0 || parameter.is_null() {
        return Err(Errno::EINVAL);
    }
    let priority = parameter.read()?;
    let task = scheduled_task(call, tid)?;
    let policy = Policy::from_raw(policy).filter(|_| priority == 0).ok_or(Errno::EINVAL)?;
    call.task.set_policy_of(&task, policy)?;
    Ok(0)
}

/// `sched_getparam(2)`: always priority 0.
pub fn sched_getparam(call: &Call<'_>, tid: i32, out: UserPtr<i32>) -> Result<usize, Errno> {
    if tid < 0 || out.is_null() {
        return Err(Errno::EINVAL);
    }
    scheduled_task(call, tid)?;
    out.write(&0)?;
    Ok(0)
}

/// `sched_setparam(2)`: only priority 0 fits the policies that there are.
pub fn sched_setparam(call: &Call<'_>, tid: i32, parameter: UserPtr<i32>) -> Result<usize, Errno> {
    if tid < 0 || parameter.is_null() || parameter.read()? != 0 {
        return Err(Errno::EINVAL);
    }
    scheduled_task(call, tid)?;
    Ok(0)
}

/// `sched_get_priority_max(2)` and `sched_get_priority_min(2)`: 0 and 0 for the policies that are offered.
pub fn sched_get_priority_range(_call: &Call<'_>, policy: i32) -> Result<usize, Errno> {
    Policy::from_raw(policy).map(|_| 0).ok_or(Errno::EINVAL)
}
