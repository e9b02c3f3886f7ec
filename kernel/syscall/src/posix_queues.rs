//! POSIX message queues.

use crate::{
    abi::Timespec,
    arguments::{UserPtr, abi_struct},
    call::Call,
    clock,
};
use alloc::sync::Arc;
use base::Errno;
use machine::{time, user_memory};
use memory::heap;
use process::{
    posix_queues::{Notice, OpenQueue, PRIORITIES, PosixQueues, Queue, queue_of},
    signals::Signal,
};
use vfs::{FileKind, OpenFile, OpenFlags, Permissions};

abi_struct! {
    /// `struct mq_attr`.
    MessageQueueAttributes { flags: i64, most_messages: i64, most_bytes: i64, count: i64, reserved: [i64; 4] }
}

fn all<'a>(call: &'a Call<'_>) -> &'a PosixQueues {
    &call.population().posix_queues
}

/// The queue open under `descriptor`. `EBADF` it is none.
fn queue(file: &Arc<OpenFile>) -> Result<&Arc<Queue>, Errno> {
    queue_of(file).ok_or(Errno::EBADF)
}

/// `mq_open(2)`. `EFAULT`; `EMFILE` no descriptor is free; those of [`PosixQueues::open`].
pub fn mq_open(
    call: &Call<'_>,
    name: UserPtr<u8>,
    flags: u32,
    mode: u32,
    attributes: UserPtr<MessageQueueAttributes>,
) -> Result<usize, Errno> {
    let attributes = attributes.read_optional()?;
    let name = call.path(name)?;
    let slot_files = call.files()?;
    let slot = slot_files.reserve(0, call.descriptor_limit())?;
    let wish = OpenQueue {
        name: &name,
        flags: OpenFlags::from_bits_retain(flags),
        permissions: Permissions::new(mode & 0o777).masked(call.task.context()?.umask()),
        attributes: attributes.map(|it| (it.most_messages, it.most_bytes)),
        limit: call.task.message_queue_limit(),
    };
    let file = all(call).open(&wish, &call.task.credentials())?;
    let number = slot.descriptor().index();
    slot.fill(file, true);
    Ok(number)
}

/// `mq_unlink(2)`. `EFAULT`; those of [`PosixQueues::unlink`].
pub fn mq_unlink(call: &Call<'_>, name: UserPtr<u8>) -> Result<usize, Errno> {
    all(call).unlink(&call.path(name)?, &call.task.credentials())?;
    Ok(0)
}

/// A time of the day as one since boot. `EFAULT`; `EINVAL` there is no such time.
fn deadline(timeout: UserPtr<Timespec>) -> Result<Option<u64>, Errno> {
    let Some(timeout) = timeout.read_optional()? else { return Ok(None) };
    Ok(Some(clock::nanoseconds(&timeout)?.saturating_sub(time::epoch())))
}

/// `mq_timedsend(2)`. `EINVAL` a priority that there is not; `EBADF` no queue, or not open for writing; `EMSGSIZE` the
/// message is too long; `EFAULT`; `ENOMEM`; those of [`Queue::send`].
pub fn mq_timedsend(
    call: &Call<'_>,
    descriptor: i32,
    text: UserPtr<u8>,
    length: usize,
    priority: u32,
    timeout: UserPtr<Timespec>,
) -> Result<usize, Errno> {
    let _follower = (!timeout.is_null()).then(|| call.task.follow_wall_clock());
    let deadline = deadline(timeout)?;
    if priority >= PRIORITIES {
        return Err(Errno::EINVAL);
    }
    let file = call.file(descriptor)?;
    let (queue, flags) = (queue(&file)?, file.flags());
    if !flags.writes() {
        return Err(Errno::EBADF);
    }
    if length as u64 > queue.attributes().most_bytes {
        return Err(Errno::EMSGSIZE);
    }
    let mut bytes = heap::try_zeroed(length)?;
    user_memory::read(text.address(), &mut bytes)?;
    let sender = (call.task.pid(), call.task.credentials().uid);
    queue.send(bytes, priority, !flags.contains(OpenFlags::NONBLOCK), deadline, sender)?;
    Ok(0)
}

/// `mq_timedreceive(2)`. `EBADF` no queue, or not open for reading; `EMSGSIZE` less room than a message may need; those of
/// [`Queue::receive`]; `EFAULT`, and the message is gone, as on Linux.
pub fn mq_timedreceive(
    call: &Call<'_>,
    descriptor: i32,
    out: UserPtr<u8>,
    room: usize,
    priority: UserPtr<u32>,
    timeout: UserPtr<Timespec>,
) -> Result<usize, Errno> {
    let _follower = (!timeout.is_null()).then(|| call.task.follow_wall_clock());
    let deadline = deadline(timeout)?;
    let file = call.file(descriptor)?;
    let (queue, flags) = (queue(&file)?, file.flags());
    if !flags.reads() {
        return Err(Errno::EBADF);
    }
    if (room as u64) < queue.attributes().most_bytes {
        return Err(Errno::EMSGSIZE);
    }
    let (text, found) = queue.receive(!flags.contains(OpenFlags::NONBLOCK), deadline)?;
    priority.write_optional(&found)?;
    user_memory::write(out.address(), &text)?;
    Ok(text.len())
}

/// `mq_notify(2)`, with the first two words of `struct sigevent`. `EFAULT`; `EINVAL` no such way to be told, or no such
/// signal; `EBADF` no queue; `EBUSY`. Threads are started through a network socket, of which there are none: `EBADF`,
/// `ENOTSOCK` or `EINVAL`, by what the number is of.
pub fn mq_notify(call: &Call<'_>, descriptor: i32, event: UserPtr<[u64; 2]>) -> Result<usize, Errno> {
    const SIGNAL: u32 = 0;
    const NONE: u32 = 1;
    const THREAD: u32 = 2;
    let notice = match event.read_optional()? {
        None => None,
        Some([value, numbers]) => {
            let (number, kind) = (numbers as u32 as i32, (numbers >> 32) as u32);
            Some(match kind {
                SIGNAL if number == 0 => Notice::Signal(None, value),
                SIGNAL => Notice::Signal(Some(Signal::new(number)?), value),
                NONE => Notice::Nothing,
                THREAD => {
                    let is_socket = call.any_file(number)?.inode().kind() == FileKind::Socket;
                    return Err(if is_socket { Errno::EINVAL } else { Errno::ENOTSOCK });
                }
                _ => return Err(Errno::EINVAL),
            })
        }
    };
    let file = call.file(descriptor)?;
    queue(&file)?.set_notice(&file, call.task.process(), notice)?;
    Ok(0)
}

/// `mq_getsetattr(2)`. `EFAULT`; `EINVAL` a flag other than `O_NONBLOCK`; `EBADF` no queue.
pub fn mq_getsetattr(
    call: &Call<'_>,
    descriptor: i32,
    new: UserPtr<MessageQueueAttributes>,
    old: UserPtr<MessageQueueAttributes>,
) -> Result<usize, Errno> {
    let nonblock = i64::from(OpenFlags::NONBLOCK.bits());
    let new = new.read_optional()?;
    if new.is_some_and(|new| new.flags & !nonblock != 0) {
        return Err(Errno::EINVAL);
    }
    let file = call.file(descriptor)?;
    let attributes = queue(&file)?.attributes();
    let mut flags = file.flags();
    let before = MessageQueueAttributes {
        flags: i64::from((flags & OpenFlags::NONBLOCK).bits()),
        most_messages: attributes.most_messages as i64,
        most_bytes: attributes.most_bytes as i64,
        count: attributes.count as i64,
        reserved: [0; 4],
    };
    if let Some(new) = new {
        flags.set(OpenFlags::NONBLOCK, new.flags & nonblock != 0);
        file.set_status_flags(flags)?;
    }
    old.write_optional(&before)?;
    Ok(0)
}
