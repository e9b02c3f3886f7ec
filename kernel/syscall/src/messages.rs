//! System V message queues.

use crate::{
    arguments::{UserPtr, abi_struct},
    call::Call,
    ipc::{IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, Ipc64Perm, highest},
};
use base::{Errno, Gid, Uid};
use machine::user_memory;
use memory::heap;
use process::ipc::{
    GetFlags,
    messages::{MessageQueues, QueueStatus, Wanted},
};

const MSG_STAT: i32 = 11;
const MSG_INFO: i32 = 12;
const MSG_STAT_ANY: i32 = 13;

const MSG_NOERROR: u32 = 0o10000;
const MSG_EXCEPT: u32 = 0o20000;
const MSG_COPY: u32 = 0o40000;

/// The bytes of a message's type, in front of its text.
const KIND_SIZE: u64 = 8;

abi_struct! {
    /// `struct msqid64_ds`.
    MessageQueueStatus {
        permission: Ipc64Perm,
        times: [u64; 3],
        bytes: u64,
        count: u64,
        most_bytes: u64,
        processes: [i32; 2],
        unused: [u64; 2],
    }
}

abi_struct! {
    /// `struct msginfo`.
    MessageInfo {
        pool: i32,
        map: i32,
        message: i32,
        queue: i32,
        queues: i32,
        segment_size: i32,
        headers: i32,
        segments: u16,
        hole: [u8; 2],
    }
}

impl From<&QueueStatus> for MessageQueueStatus {
    fn from(status: &QueueStatus) -> Self {
        Self {
            permission: (&status.permission).into(),
            times: status.times,
            bytes: status.bytes,
            count: status.count,
            most_bytes: status.most_bytes,
            processes: status.processes.map(|pid| pid.raw()),
            unused: [0; 2],
        }
    }
}

fn all<'a>(call: &'a Call<'_>) -> &'a MessageQueues {
    &call.population().messages
}

/// `msgget(2)`. Errors as [`MessageQueues::get`].
pub fn msgget(call: &Call<'_>, key: i32, flags: u32) -> Result<usize, Errno> {
    let (more, who) = (GetFlags::from_bits_truncate(flags), call.task.credentials());
    Ok(all(call).get(key, more, flags & 0o777, &who)? as usize)
}

/// `msgsnd(2)`. `EFAULT`; `EINVAL` too long, a negative number, or a type that is not positive; `ENOMEM`; those of
/// [`MessageQueues::send`].
pub fn msgsnd(call: &Call<'_>, number: i32, message: u64, length: usize, flags: u32) -> Result<usize, Errno> {
    let kind = UserPtr::<i64>::at(message).read()?;
    let all = all(call);
    if length > all.limits().message.max(0) as usize || number < 0 || kind < 1 {
        return Err(Errno::EINVAL);
    }
    let mut text = heap::try_zeroed(length)?;
    user_memory::read(message.wrapping_add(KIND_SIZE), &mut text)?;
    let message = all.message(kind, text)?;
    all.send(number, message, flags & IPC_NOWAIT == 0, &call.task.credentials())?;
    Ok(0)
}

/// `msgrcv(2)`. `EINVAL` a negative number or length, or `MSG_COPY` with `MSG_EXCEPT` or without `IPC_NOWAIT`; those of
/// [`MessageQueues::receive`]; `EFAULT`, and the message is gone, as on Linux.
pub fn msgrcv(call: &Call<'_>, number: i32, out: u64, room: usize, kind: i64, flags: u32) -> Result<usize, Errno> {
    if number < 0 || room > isize::MAX as usize {
        return Err(Errno::EINVAL);
    }
    let (all, who) = (all(call), call.task.credentials());
    let (wait, room) = (flags & IPC_NOWAIT == 0, (room, flags & MSG_NOERROR != 0));
    let (kind, text) = if flags & MSG_COPY != 0 {
        if flags & MSG_EXCEPT != 0 || wait {
            return Err(Errno::EINVAL);
        }
        all.copy(number, kind, room, &who)?
    } else {
        let wanted = match kind {
            0 => Wanted::First,
            ..0 => Wanted::UpToType(kind.checked_neg().unwrap_or(i64::MAX)),
            _ if flags & MSG_EXCEPT != 0 => Wanted::ExceptType(kind),
            _ => Wanted::OfType(kind),
        };
        let message = all.receive(number, wanted, room, wait, &who)?;
        (message.kind, message.text)
    };
    UserPtr::<i64>::at(out).write(&kind)?;
    let part = &text[..text.len().min(room.0)];
    user_memory::write(out.wrapping_add(KIND_SIZE), part)?;
    Ok(part.len())
}

/// `msgctl(2)`. `EINVAL` no such queue or command; `EACCES` it may not be read; `EPERM` it may not be changed; `EFAULT`;
/// `EIDRM`.
pub fn msgctl(call: &Call<'_>, number: i32, command: i32, argument: u64) -> Result<usize, Errno> {
    let (all, who) = (all(call), call.task.credentials());
    if number < 0 || command < 0 {
        return Err(Errno::EINVAL);
    }
    let status = UserPtr::<MessageQueueStatus>::at(argument);
    match command {
        IPC_RMID => all.remove(number, &who)?,
        IPC_SET => {
            let MessageQueueStatus { permission: Ipc64Perm { uid, gid, mode, .. }, most_bytes, .. } = status.read()?;
            all.set(number, (Uid::new(uid), Gid::new(gid), mode), most_bytes, &who)?;
        }
        IPC_STAT => status.write(&(&all.status(number, false, &who)?).into())?,
        MSG_STAT | MSG_STAT_ANY => {
            let number = all.number_at(number)?;
            status.write(&(&all.status(number, command == MSG_STAT_ANY, &who)?).into())?;
            return Ok(number as usize);
        }
        IPC_INFO | MSG_INFO => {
            UserPtr::<MessageInfo>::at(argument).write(&info(all, command == MSG_INFO))?;
            return Ok(highest(all.sums().queues));
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `struct msginfo`, with what is in use in place of three limits if `used` is true.
fn info(all: &MessageQueues, used: bool) -> MessageInfo {
    let (limits, sums) = (all.limits(), all.sums());
    let number = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
    let (pool, map, headers) = match used {
        true => (sums.queues as i32, number(sums.messages), number(sums.bytes)),
        // What Linux says of a pool that it no longer has: KiB of all queues, and bytes of one.
        false => (number(limits.queues.max(0) as u64 * limits.queue.max(0) as u64 / 1024), limits.queue, limits.queue),
    };
    MessageInfo {
        pool,
        map,
        message: limits.message,
        queue: limits.queue,
        queues: limits.queues,
        segment_size: 16,
        headers,
        segments: u16::MAX,
        hole: [0; 2],
    }
}
