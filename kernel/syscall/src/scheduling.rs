//! Calls about who runs where and with which weight.

use crate::{
    abi::Timespec,
    arguments::{Abi, UserPtr, abi_struct},
    call::Call,
    clock,
};
use alloc::{sync::Arc, vec::Vec};
use base::{CpuSet, Errno, MAX_CPUS, Pid, Uid};
use machine::user_memory;
use process::{
    Task,
    policy::{self, PolicyWish},
    scheduling::{IoPriority, PriorityTarget},
};
use sched::{Policy, Priority, Reservation};

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

/// The number of `SCHED_DEADLINE`.
const DEADLINE: i32 = 6;

/// In the number of a policy: children begin without it.
const RESET_ON_FORK: i32 = 0x4000_0000;

/// `sched_getscheduler(2)`.
pub fn sched_getscheduler(call: &Call<'_>, tid: i32) -> Result<usize, Errno> {
    let task = policy_target(call, tid)?;
    let flag = if task.resets_on_fork() { RESET_ON_FORK } else { 0 };
    Ok((policy::number(task.entity().policy()) | flag) as usize)
}

/// The task that a call about policies means: here, a negative number is bad in itself.
fn policy_target(call: &Call<'_>, tid: i32) -> Result<Arc<Task>, Errno> {
    call.task_or_self(tid)
}

/// `sched_setscheduler(2)`. The nice value stays as it is.
pub fn sched_setscheduler(call: &Call<'_>, tid: i32, policy: i32, parameter: UserPtr<i32>) -> Result<usize, Errno> {
    if policy < 0 {
        return Err(Errno::EINVAL);
    }
    let policy = (policy & !RESET_ON_FORK, policy & RESET_ON_FORK != 0);
    set_priority(call, tid, Some(policy), parameter)
}

/// `sched_setparam(2)`.
pub fn sched_setparam(call: &Call<'_>, tid: i32, parameter: UserPtr<i32>) -> Result<usize, Errno> {
    set_priority(call, tid, None, parameter)
}

fn set_priority(
    call: &Call<'_>,
    tid: i32,
    policy: Option<(i32, bool)>,
    parameter: UserPtr<i32>,
) -> Result<usize, Errno> {
    if tid < 0 || parameter.is_null() {
        return Err(Errno::EINVAL);
    }
    // A negative priority is none.
    let priority = Some(parameter.read()? as u32);
    call.task.set_policy_of(
        &policy_target(call, tid)?,
        &PolicyWish { policy, priority, nice: None, reservation: Some(None) },
    )?;
    Ok(0)
}

/// `sched_getparam(2)`: the priority, 0 for policies without.
pub fn sched_getparam(call: &Call<'_>, tid: i32, out: UserPtr<i32>) -> Result<usize, Errno> {
    if out.is_null() {
        return Err(Errno::EINVAL);
    }
    let priority = policy_target(call, tid)?.entity().policy().priority();
    out.write(&priority.map_or(0, |priority| priority.raw() as i32))?;
    Ok(0)
}

/// `sched_get_priority_max(2)`. `EINVAL` no such policy.
pub fn sched_get_priority_max(_call: &Call<'_>, policy: i32) -> Result<usize, Errno> {
    priority_of(policy, Priority::MAX)
}

/// `sched_get_priority_min(2)`. `EINVAL` no such policy.
pub fn sched_get_priority_min(_call: &Call<'_>, policy: i32) -> Result<usize, Errno> {
    priority_of(policy, Priority::MIN)
}

fn priority_of(policy: i32, bound: Priority) -> Result<usize, Errno> {
    let of = |priority| policy::from_number(policy, priority, None);
    match of(bound.raw()).or_else(|_| of(0)) {
        Ok(policy) => Ok(policy.priority().map_or(0, |priority| priority.raw() as usize)),
        Err(_) if policy == DEADLINE => Ok(0),
        Err(error) => Err(error),
    }
}

/// `sched_rr_get_interval(2)`: the turn of `SCHED_RR`; none for `SCHED_FIFO` and `SCHED_DEADLINE`; for others the time in which all have one.
pub fn sched_rr_get_interval(call: &Call<'_>, tid: i32, out: UserPtr<Timespec>) -> Result<usize, Errno> {
    let turn = match policy_target(call, tid)?.entity().policy() {
        Policy::RoundRobin(_) => sched::policy::REAL_TIME_TURN,
        Policy::Fifo(_) | Policy::Deadline(_) => 0,
        Policy::Other | Policy::Batch | Policy::Idle => sched::policy::LATENCY,
    };
    out.write(&clock::timespec(turn))?;
    Ok(0)
}

abi_struct! {
    /// `struct sched_attr`.
    SchedulingAttributes {
        /// Bytes of it that are there.
        size: u32,
        /// The policy's number.
        policy: u32,
        /// Flags.
        flags: u64,
        /// The nice value.
        nice: i32,
        /// The priority.
        priority: u32,
        /// For `SCHED_DEADLINE`, as the next two.
        runtime: u64,
        /// Nanoseconds.
        deadline: u64,
        /// Nanoseconds.
        period: u64,
        /// The least share of a CPU's speed wanted.
        least_clamp: u32,
        /// The greatest.
        greatest_clamp: u32,
    }
}

impl SchedulingAttributes {
    /// The size of its first version.
    const FIRST: usize = 48;
    const RESET_ON_FORK: u64 = 1 << 0;
    const RECLAIM: u64 = 1 << 1;
    const TELL_OVERRUNS: u64 = 1 << 2;
    const KEEP_POLICY: u64 = 1 << 3;
    const KEEP_PARAMETERS: u64 = 1 << 4;
    /// The clamps count: this kernel does not set a CPU's speed.
    const CLAMPS: u64 = 3 << 5;
    const KNOWN: u64 = 0x7f;

    /// Copies it from user memory. `EFAULT`; `E2BIG` of a size that cannot be, or of a later version with something in it:
    /// the size that is known is then written back.
    fn read(at: UserPtr<u8>) -> Result<Self, Errno> {
        const PAGE: usize = 4096;
        let told = UserPtr::<u32>::at(at.address());
        let size = match told.read()? as usize {
            0 => Self::FIRST,
            size => size,
        };
        let bytes = if (Self::FIRST..=PAGE).contains(&size) { at.read_array(size)? } else { Vec::new() };
        if bytes.is_empty() || bytes.iter().skip(Self::SIZE).any(|&byte| byte != 0) {
            told.write(&(Self::SIZE as u32))?;
            return Err(Errno::E2BIG);
        }
        let mut whole = bytes;
        whole.resize(Self::SIZE, 0);
        let own = Self::decode(&whole);
        if own.flags & Self::CLAMPS != 0 && size < Self::SIZE { Err(Errno::EINVAL) } else { Ok(own) }
    }

    /// What is to be reserved; `None` that can't be.
    fn reservation(&self) -> Option<Reservation> {
        let mut reservation = policy::reservation(self.runtime, self.deadline, self.period)?;
        reservation.reclaims = self.flags & Self::RECLAIM != 0;
        reservation.tells_overruns = self.flags & Self::TELL_OVERRUNS != 0;
        Some(reservation)
    }
}

/// `sched_setattr(2)`.
pub fn sched_setattr(call: &Call<'_>, tid: i32, attributes: UserPtr<u8>, flags: u32) -> Result<usize, Errno> {
    if attributes.is_null() || tid < 0 || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let wanted = SchedulingAttributes::read(attributes)?;
    if (wanted.policy as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let task = policy_target(call, tid)?;
    let has = |flag| wanted.flags & flag != 0;
    if wanted.flags & !SchedulingAttributes::KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    if has(SchedulingAttributes::CLAMPS) {
        return Err(Errno::EOPNOTSUPP);
    }
    let keeps_policy = has(SchedulingAttributes::KEEP_POLICY);
    let keeps_parameters = has(SchedulingAttributes::KEEP_PARAMETERS);
    let policy = (!keeps_policy).then_some((wanted.policy as i32, has(SchedulingAttributes::RESET_ON_FORK)));
    // Kept is only what counts for the policy that the task has.
    let current = task.entity().policy();
    let has_reservation = matches!(current, Policy::Deadline(_));
    let is_fair = !has_reservation && current.priority().is_none();
    let wish = PolicyWish {
        policy,
        priority: (!keeps_parameters || is_fair).then_some(wanted.priority),
        nice: (!keeps_parameters || !is_fair).then(|| sched::Nice::new(wanted.nice)),
        reservation: (!keeps_parameters || !has_reservation).then(|| wanted.reservation()),
    };
    call.task.set_policy_of(&task, &wish)?;
    Ok(0)
}

/// `sched_getattr(2)`: as much of the structure as there is room for.
pub fn sched_getattr(call: &Call<'_>, tid: i32, out: UserPtr<u8>, size: u32, flags: u32) -> Result<usize, Errno> {
    const PAGE: u32 = 4096;
    if out.is_null() || tid < 0 || size > PAGE || (size as usize) < SchedulingAttributes::FIRST || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let task = policy_target(call, tid)?;
    let policy = task.entity().policy();
    let reservation = if let Policy::Deadline(reservation) = policy { Some(reservation) } else { None };
    let is_fair = policy.priority().is_none() && reservation.is_none();
    let size = (size as usize).min(SchedulingAttributes::SIZE);
    let attributes = SchedulingAttributes {
        size: size as u32,
        policy: policy::number(policy) as u32,
        flags: [
            (task.resets_on_fork(), SchedulingAttributes::RESET_ON_FORK),
            (reservation.is_some_and(|own| own.reclaims), SchedulingAttributes::RECLAIM),
            (reservation.is_some_and(|own| own.tells_overruns), SchedulingAttributes::TELL_OVERRUNS),
        ]
        .iter()
        .filter(|(is_set, _)| *is_set)
        .fold(0, |flags, (_, flag)| flags | flag),
        nice: if is_fair { task.entity().nice().raw() } else { 0 },
        priority: policy.priority().map_or(0, Priority::raw),
        runtime: reservation.map_or(0, |own| own.runtime()),
        deadline: reservation.map_or(0, |own| own.deadline()),
        period: reservation.map_or(0, |own| own.period()),
        least_clamp: 0,
        greatest_clamp: 0,
    };
    let mut bytes = [0; SchedulingAttributes::SIZE];
    attributes.encode(&mut bytes);
    out.write_array(&bytes[..size])?;
    Ok(0)
}
