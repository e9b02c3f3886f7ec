//! Asynchronous input and output: decoding of requests, and those that end before the call does.

use crate::{
    abi::{ControlBlock, Timespec},
    arguments::{UserPtr, abi_struct},
    call::Call,
    clock::SECOND,
    transfer::{self, MOST, Position},
    vectors::checked_vectors,
};
use alloc::{sync::Arc, vec, vec::Vec};
use base::Errno;
use process::{
    aio::{self, Context, Event, Place, PollRequest, Reaping},
    scheduling::IoPriority,
};
use vfs::{EventBell, OpenFile, PollEvents};

abi_struct! {
    /// `struct io_event`.
    IoEvent { data: u64, object: u64, result: i64, second: i64 }
}

/// What `aio_key` of a request that was made is (`KIOCB_KEY`).
const KEY: u32 = 0;

/// `IOCB_FLAG_RESFD`: an event file is told too.
const WITH_EVENT_FILE: u32 = 1;
/// `IOCB_FLAG_IOPRIO`: the priority counts.
const WITH_PRIORITY: u32 = 2;

/// The operations (`IOCB_CMD_*`).
mod operation {
    pub(super) const READ: u16 = 0;
    pub(super) const WRITE: u16 = 1;
    pub(super) const SYNC: u16 = 2;
    pub(super) const SYNC_DATA: u16 = 3;
    pub(super) const POLL: u16 = 5;
    pub(super) const READ_VECTORS: u16 = 7;
    pub(super) const WRITE_VECTORS: u16 = 8;
}

/// `io_setup(2)`. `EFAULT`; `EINVAL` there is a context already, or it would be for no request; those of [`aio::set_up`].
pub fn io_setup(call: &Call<'_>, requests: u32, out: UserPtr<u64>) -> Result<usize, Errno> {
    if out.read()? != 0 || requests == 0 {
        return Err(Errno::EINVAL);
    }
    let context = aio::set_up(call.task, requests)?;
    if let Err(fault) = out.write(&context) {
        aio::destroy(call.task, context)?;
        return Err(fault);
    }
    Ok(0)
}

/// `io_destroy(2)`. `EINVAL`.
pub fn io_destroy(call: &Call<'_>, context: u64) -> Result<usize, Errno> {
    aio::destroy(call.task, context)?;
    Ok(0)
}

/// `io_submit(2)`: how many of the requests were made; an error only of the first. `EINVAL` no such context, or a negative
/// count; those of [`submit`].
pub fn io_submit(call: &Call<'_>, context: u64, count: i64, list: UserPtr<u64>) -> Result<usize, Errno> {
    let count = u64::try_from(count).map_err(|_| Errno::EINVAL)?;
    let context = aio::find(call.task, context)?;
    let count = count.min(context.places().into()) as usize;
    for made in 0..count {
        let result = list.item(made).read().and_then(|block| submit(call, &context, UserPtr::at(block)));
        if let Err(error) = result {
            return if made == 0 { Err(error) } else { Ok(made) };
        }
        if !sched::goes_on(false) {
            return Ok(made + 1);
        }
    }
    Ok(count)
}

/// One request. What fails here leaves no event behind; what fails later is told by its event.
///
/// Errors, in this order: `EFAULT`; `EINVAL` reserved fields, a length that can't be; `EAGAIN` no place; `EBADF` no such file;
/// `EBADF` and `EINVAL` no such event file; `EFAULT` the key can't be written; those of the operation.
fn submit(call: &Call<'_>, context: &Arc<Context>, address: UserPtr<ControlBlock>) -> Result<(), Errno> {
    let block = address.read()?;
    if block.reserved != 0 || block.length > i64::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    let mut place = context.take_place()?;
    let file = call.file(block.descriptor)?;
    if block.flags & WITH_EVENT_FILE != 0 {
        place.set_bell(EventBell::of(call.file(block.event_file)?)?);
    }
    let key = UserPtr::<u32>::at(address.address().wrapping_add(8));
    key.write(&KEY)?;
    let object = address.address();
    let fill = |place: Place, result: Result<usize, Errno>| {
        let result = result.map_or_else(|error| -i64::from(error.code()), |count| count as i64);
        place.fill(Event { data: block.data, object, result });
        Ok(())
    };
    match block.operation {
        operation::READ | operation::READ_VECTORS => {
            let (ranges, at) = read_wish(call, &file, &block)?;
            fill(place, transfer::read_into(&file, &ranges, at))
        }
        operation::WRITE | operation::WRITE_VECTORS => {
            let (ranges, at) = write_wish(call, &file, &block)?;
            fill(place, call.broken_write(&file, transfer::write_from(&file, &ranges, at)))
        }
        operation::SYNC | operation::SYNC_DATA => {
            let is_plain = block.buffer == 0 && block.offset == 0 && block.length == 0 && block.transfer_flags == 0;
            match if is_plain { file.sync() } else { Err(Errno::EINVAL) } {
                Err(Errno::EINVAL) => Err(Errno::EINVAL),
                result => fill(place, result.map(|()| 0)),
            }
        }
        operation::POLL => {
            let events = u16::try_from(block.buffer).map_err(|_| Errno::EINVAL)?;
            if block.offset != 0 || block.length != 0 || block.transfer_flags != 0 {
                return Err(Errno::EINVAL);
            }
            let events = PollEvents::from_bits_truncate(events.into());
            context.poll(place, PollRequest { file, events, data: block.data, object })
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Where in memory and in the file a transfer is to happen.
type Wish = (Vec<(u64, usize)>, Position);

/// Errors: those of [`position`]; `EBADF` not open for reading; `EINVAL` a directory; those of [`ranges`].
fn read_wish(call: &Call<'_>, file: &OpenFile, block: &ControlBlock) -> Result<Wish, Errno> {
    let at = position(call, file, block)?;
    match file.admit_read() {
        Err(Errno::EISDIR) => return Err(Errno::EINVAL),
        result => result?,
    }
    ranges(block, block.operation == operation::READ_VECTORS).map(|ranges| (ranges, at))
}

/// Errors: those of [`position`]; `EBADF` not open for writing; those of [`ranges`].
fn write_wish(call: &Call<'_>, file: &OpenFile, block: &ControlBlock) -> Result<Wish, Errno> {
    let at = position(call, file, block)?;
    if !file.flags().writes() {
        return Err(Errno::EBADF);
    }
    ranges(block, block.operation == operation::WRITE_VECTORS).map(|ranges| (ranges, at))
}

/// Where and how a request transfers. A stream has no place for its offset. `EINVAL` no such priority; `EPERM` the caller may
/// not have it; `EOPNOTSUPP` no such flag.
fn position(call: &Call<'_>, file: &OpenFile, block: &ControlBlock) -> Result<Position, Errno> {
    if block.flags & WITH_PRIORITY != 0 {
        IoPriority::from_raw((block.priority as i16).into())?.check(&call.task.credentials())?;
    }
    let flags = transfer::transfer_flags(block.transfer_flags)?;
    let offset = block.offset as u64;
    Ok(if file.is_stream() { Position::CurrentWith(flags) } else { Position::AtWith(offset, flags) })
}

/// `EFAULT`, `EINVAL` the vectors can't be read, or are none; `EFAULT` a range that reaches beyond user space; `EINVAL` an
/// offset below 0, or bytes behind the largest one.
fn ranges(block: &ControlBlock, are_vectors: bool) -> Result<Vec<(u64, usize)>, Errno> {
    let ranges = if are_vectors {
        // Linux reads so many bits of the count.
        checked_vectors(UserPtr::at(block.buffer), block.length as u32 as usize)?
    } else {
        let length = (block.length as usize).min(MOST);
        transfer::check_range(block.buffer, length)?;
        vec![(block.buffer, length)]
    };
    let total: usize = ranges.iter().map(|(_, length)| length).sum();
    let fits = block.offset >= 0 && block.offset.checked_add(total as i64).is_some();
    if fits { Ok(ranges) } else { Err(Errno::EINVAL) }
}

/// `io_cancel(2)`: an event tells of the end. `EFAULT`; `EINVAL` no request that was made, no such context, or it is under way
/// no more; `EINPROGRESS` it ends.
pub fn io_cancel(
    call: &Call<'_>,
    context: u64,
    block: UserPtr<ControlBlock>,
    _result: UserPtr<IoEvent>,
) -> Result<usize, Errno> {
    if UserPtr::<u32>::at(block.address().wrapping_add(8)).read()? != KEY {
        return Err(Errno::EINVAL);
    }
    aio::find(call.task, context)?.cancel(block.address())?;
    Err(Errno::EINPROGRESS)
}

/// When a wait ends. Linux does not look whether the time is one, and a wait of less than none has no end.
fn deadline(timeout: Option<Timespec>) -> Option<u64> {
    let Timespec { seconds, nanoseconds } = timeout?;
    let wait = i128::from(seconds) * i128::from(SECOND) + i128::from(nanoseconds);
    match u64::try_from(wait).ok()? {
        0 => Some(0),
        wait => Some(machine::time::now().saturating_add(wait)),
    }
}

fn reap(
    call: &Call<'_>,
    context: u64,
    (least, most): (i64, i64),
    out: UserPtr<IoEvent>,
    deadline: Option<u64>,
) -> Result<usize, Errno> {
    let context = aio::find(call.task, context)?;
    if least < 0 || least > most {
        return Err(Errno::EINVAL);
    }
    let reaping = Reaping { least: least as u64, most: most as u64, out: out.address(), deadline };
    let taken = context.reap(&reaping)?;
    if taken == 0 && !sched::goes_on(true) { Err(Errno::EINTR) } else { Ok(taken as usize) }
}

/// `io_getevents(2)`. `EFAULT`; `EINVAL` no such context, or counts that can't be; those of [`Context::reap`].
pub fn io_getevents(
    call: &Call<'_>,
    context: u64,
    least: i64,
    most: i64,
    out: UserPtr<IoEvent>,
    timeout: UserPtr<Timespec>,
) -> Result<usize, Errno> {
    reap(call, context, (least, most), out, deadline(timeout.read_optional()?))
}

/// `io_pgetevents(2)`: with a signal mask for the time of the wait, which comes as a pair of its address and size.
pub fn io_pgetevents(
    call: &Call<'_>,
    context: u64,
    least: i64,
    most: i64,
    out: UserPtr<IoEvent>,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<[u64; 2]>,
) -> Result<usize, Errno> {
    let deadline = deadline(timeout.read_optional()?);
    let [address, size] = mask.read_optional()?.unwrap_or_default();
    call.with_mask(UserPtr::at(address), size as usize, || reap(call, context, (least, most), out, deadline))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Abi;

    #[test]
    fn requests_and_events_have_the_sizes_of_linux() {
        assert_eq!((ControlBlock::SIZE, IoEvent::SIZE), (64, 32));
    }

    #[test]
    fn a_wait_of_nothing_is_none_and_times_that_are_none_have_no_end() {
        let deadline = |seconds, nanoseconds| deadline(Some(Timespec { seconds, nanoseconds }));
        assert_eq!([deadline(0, 0), deadline(1, -1_000_000_000)], [Some(0); 2]);
        assert_eq!([deadline(i64::MAX, 0), deadline(-1, 0), deadline(0, -1)], [None; 3]);
        assert!(deadline(0, 2_000_000_000).is_some_and(|end| end >= 2_000_000_000));
    }

    #[test]
    fn offsets_that_no_file_has_are_refused() {
        let block = |offset, length| ControlBlock {
            data: 0,
            key: 0,
            transfer_flags: 0,
            operation: operation::READ,
            priority: 0,
            descriptor: 0,
            buffer: 0x1000,
            length,
            offset,
            reserved: 0,
            flags: 0,
            event_file: 0,
        };
        let refusal = |offset, length| ranges(&block(offset, length), false).err();
        assert_eq!([refusal(0, 1), refusal(i64::MAX - 1, 1)], [None, None]);
        assert_eq!([refusal(-1, 1), refusal(i64::MAX, 1)], [Some(Errno::EINVAL); 2]);
        assert_eq!(ranges(&block(0, u64::MAX >> 1), false), Ok(vec![(0x1000, MOST)]), "cut as in every transfer");
    }
}
