//! System V semaphores.

use crate::{
    abi::Timespec,
    arguments::{UserPtr, abi_struct},
    call::Call,
    clock,
    ipc::{IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, Ipc64Perm, highest},
};
use alloc::vec::Vec;
use base::{Errno, Gid, Uid};
use process::ipc::{
    GetFlags,
    semaphores::{LARGEST_VALUE, Operation, Operator, Question, Semaphores, SetStatus},
};

const GETPID: i32 = 11;
const GETVAL: i32 = 12;
const GETALL: i32 = 13;
const GETNCNT: i32 = 14;
const GETZCNT: i32 = 15;
const SETVAL: i32 = 16;
const SETALL: i32 = 17;
const SEM_STAT: i32 = 18;
const SEM_INFO: i32 = 19;
const SEM_STAT_ANY: i32 = 20;

const SEM_UNDO: u16 = 0x1000;

abi_struct! {
    /// `struct sembuf`.
    SemaphoreOperation { index: u16, change: i16, flags: u16 }
}

abi_struct! {
    /// `struct semid64_ds`.
    SemaphoreSetStatus {
        permission: Ipc64Perm,
        operated: u64,
        unused1: u64,
        changed: u64,
        unused2: u64,
        count: u64,
        unused3: [u64; 2],
    }
}

impl From<&SetStatus> for SemaphoreSetStatus {
    fn from(status: &SetStatus) -> Self {
        Self {
            permission: (&status.permission).into(),
            operated: status.operated,
            unused1: 0,
            changed: status.changed,
            unused2: 0,
            count: status.count as u64,
            unused3: [0; 2],
        }
    }
}

fn all<'a>(call: &'a Call<'_>) -> &'a Semaphores {
    &call.population().semaphores
}

/// `semget(2)`. Errors as [`Semaphores::get`].
pub fn semget(call: &Call<'_>, key: i32, count: i32, flags: u32) -> Result<usize, Errno> {
    let (more, who) = (GetFlags::from_bits_truncate(flags), call.task.credentials());
    Ok(all(call).get(key, count, more, flags & 0o777, &who)? as usize)
}

/// `semop(2)`.
pub fn semop(
    call: &Call<'_>,
    number: i32,
    operations: UserPtr<SemaphoreOperation>,
    count: u32,
) -> Result<usize, Errno> {
    operate(call, number, operations, count, None)
}

/// `semtimedop(2)`; the address of the timeout is looked at first.
pub fn semtimedop(
    call: &Call<'_>,
    number: i32,
    operations: UserPtr<SemaphoreOperation>,
    count: u32,
    timeout: UserPtr<Timespec>,
) -> Result<usize, Errno> {
    let timeout = timeout.read_optional()?;
    operate(call, number, operations, count, timeout)
}

/// `E2BIG` too many operations; `EINVAL` none, a negative number or a bad timeout; `EFAULT`; `ENOMEM`; those of
/// [`Semaphores::operate`].
fn operate(
    call: &Call<'_>,
    number: i32,
    operations: UserPtr<SemaphoreOperation>,
    count: u32,
    timeout: Option<Timespec>,
) -> Result<usize, Errno> {
    let all = all(call);
    if u64::from(count) > all.limits().per_call.max(0) as u64 {
        return Err(Errno::E2BIG);
    }
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    let operations: Vec<Operation> = operations.read_array(count as usize)?.iter().map(operation).collect();
    if number < 0 {
        return Err(Errno::EINVAL);
    }
    let timeout = timeout.map(|timeout| clock::nanoseconds(&timeout)).transpose()?;
    let deadline = timeout.map(|timeout| machine::time::now().saturating_add(timeout));
    let undone = operations.iter().any(|operation| operation.undo);
    let who = Operator {
        credentials: &call.task.credentials(),
        pid: call.task.pid(),
        list: undone.then(|| call.task.undo_list()),
    };
    all.operate(number, operations, deadline, &who).map(|()| 0)
}

fn operation(given: &SemaphoreOperation) -> Operation {
    Operation {
        index: given.index,
        change: given.change,
        no_wait: u32::from(given.flags) & IPC_NOWAIT != 0,
        undo: given.flags & SEM_UNDO != 0,
    }
}

/// `semctl(2)`. `EINVAL` no such set, semaphore or command; `EACCES` it may not be read or altered; `EPERM` it may not be
/// changed; `ERANGE` a value that none can have; `EFAULT`; `EIDRM`; `ENOMEM`.
pub fn semctl(call: &Call<'_>, number: i32, index: i32, command: i32, argument: u64) -> Result<usize, Errno> {
    let (all, who) = (all(call), call.task.credentials());
    if number < 0 {
        return Err(Errno::EINVAL);
    }
    let status = UserPtr::<SemaphoreSetStatus>::at(argument);
    let values = UserPtr::<u16>::at(argument);
    let ask = |question| all.ask(number, index, question, &who).map(|answer| answer as usize);
    match command {
        IPC_RMID => all.remove(number, &who)?,
        IPC_SET => {
            let Ipc64Perm { uid, gid, mode, .. } = status.read()?.permission;
            all.set(number, Uid::new(uid), Gid::new(gid), mode, &who)?;
        }
        IPC_STAT => status.write(&(&all.status(number, false, &who)?).into())?,
        SEM_STAT | SEM_STAT_ANY => {
            let number = all.number_at(number)?;
            status.write(&(&all.status(number, command == SEM_STAT_ANY, &who)?).into())?;
            return Ok(number as usize);
        }
        IPC_INFO | SEM_INFO => {
            UserPtr::<[i32; 10]>::at(argument).write(&limits(all, command == SEM_INFO))?;
            return Ok(highest(all.sums().sets));
        }
        GETVAL => return ask(Question::Value),
        GETPID => return ask(Question::LastProcess),
        GETNCNT => return ask(Question::WaitingForMore),
        GETZCNT => return ask(Question::WaitingForZero),
        GETALL => values.write_array(&all.values(number, &who)?)?,
        SETVAL => all.set_value(number, index, argument as i32, &who)?,
        SETALL => {
            let count = all.count(number, &who)?;
            all.set_values(number, &values.read_array(count)?, &who)?;
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `struct seminfo`, with what is in use in place of two sizes if `used` is true.
fn limits(all: &Semaphores, used: bool) -> [i32; 10] {
    const STRUCTURE_SIZE: i32 = 20;
    /// What Linux says of the map and of the structures, which it no longer has either.
    const UNUSED: i32 = 1_024_000_000;
    let limits = all.limits();
    let sums = all.sums();
    let (sets, semaphores) = match used {
        true => (sums.sets as i32, sums.semaphores as i32),
        false => (STRUCTURE_SIZE, LARGEST_VALUE),
    };
    // Entries of a map, sets, semaphores, structures of what is undone, semaphores of a set, operations, entries and size
    // of such a structure, the largest value, the largest adjustment.
    [
        UNUSED,
        limits.sets,
        limits.all,
        UNUSED,
        limits.per_set,
        limits.per_call,
        limits.per_call,
        sets,
        LARGEST_VALUE,
        semaphores,
    ]
}
