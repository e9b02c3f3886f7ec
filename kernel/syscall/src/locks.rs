//! Advisory file locks and leases: `flock(2)` and the commands of `fcntl(2)` for them.

use crate::{abi::FileLock, arguments::UserPtr, call::Call};
use alloc::sync::Arc;
use base::Errno;
use linux_raw_sys::general::{
    F_GETLEASE, F_GETLK, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_SETLK, F_SETLKW, SEEK_CUR, SEEK_END, SEEK_SET,
};
use process::file_signals;
use vfs::{
    OpenFile, SeekFrom,
    lock::{self, LockKind, LockOwner, Range, RangeLock, lease},
    notice::OwnerKind,
};

const READ: i16 = 0;
const WRITE: i16 = 1;
const UNLOCK: i16 = 2;

/// `flock(2)`.
pub fn flock(call: &Call<'_>, descriptor: i32, operation: u32) -> Result<usize, Errno> {
    const SHARED: u32 = 1;
    const EXCLUSIVE: u32 = 2;
    const NO_WAIT: u32 = 4;
    const RELEASE: u32 = 8;
    let kind = match operation & !NO_WAIT {
        SHARED => Some(LockKind::Shared),
        EXCLUSIVE => Some(LockKind::Exclusive),
        RELEASE => None,
        _ => return Err(Errno::EINVAL),
    };
    lock::flock(&call.any_file(descriptor)?, call.task.pid(), kind, operation & NO_WAIT == 0)?;
    Ok(0)
}

/// The bytes that a `struct flock` means. `EINVAL` before the start of the file, `EOVERFLOW` beyond any end.
fn range(file: &OpenFile, given: &FileLock) -> Result<Range, Errno> {
    let base = match given.whence as u32 {
        SEEK_SET => 0,
        SEEK_CUR => file.seek(SeekFrom::Current(0))? as i64,
        SEEK_END => file.inode().metadata().size as i64,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(given.start).ok_or(Errno::EOVERFLOW)?;
    // A negative length means the bytes before the start.
    let (start, end) = match given.length {
        0 => (start, u64::MAX),
        length @ 1.. => (start, start.checked_add(length - 1).ok_or(Errno::EOVERFLOW)? as u64),
        length => (start.checked_add(length).ok_or(Errno::EINVAL)?, (start - 1) as u64),
    };
    Ok(Range { start: u64::try_from(start).map_err(|_| Errno::EINVAL)?, end })
}

/// The lock commands of `fcntl(2)`; `EINVAL` for a command that is none of them.
pub(crate) fn fcntl(call: &Call<'_>, file: &Arc<OpenFile>, command: u32, argument: u64) -> Result<usize, Errno> {
    if !matches!(command, F_GETLK | F_SETLK | F_SETLKW | F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW) {
        return Err(Errno::EINVAL);
    }
    let address = UserPtr::<FileLock>::at(argument);
    let given = address.read()?;
    let of_file = matches!(command, F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW);
    if of_file && given.process != 0 {
        return Err(Errno::EINVAL);
    }
    let owner = if of_file { LockOwner::of_file(file) } else { call.files()?.lock_owner() };
    let range = range(file, &given)?;
    let kind = match given.kind {
        READ => LockKind::Shared,
        WRITE => LockKind::Exclusive,
        UNLOCK if !matches!(command, F_GETLK | F_OFD_GETLK) => {
            lock::unlock_range(file, owner, range)?;
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL),
    };
    let wanted = RangeLock { owner, process: call.task.pid(), kind, range };
    match command {
        F_GETLK | F_OFD_GETLK => address.write(&found(lock::conflicting_range(file, wanted)?, given))?,
        _ => lock::lock_range(file, wanted, matches!(command, F_SETLKW | F_OFD_SETLKW))?,
    }
    Ok(0)
}

/// `F_SETLEASE` and `F_GETLEASE`. `EINVAL` no such lease; else as [`lease::set`].
pub(crate) fn leases(
    call: &Call<'_>,
    file: &Arc<OpenFile>,
    descriptor: i32,
    command: u32,
    argument: u64,
) -> Result<usize, Errno> {
    if command == F_GETLEASE {
        let kind = lease::get(file).map_or(UNLOCK, |kind| if kind == LockKind::Shared { READ } else { WRITE });
        return Ok(kind as usize);
    }
    let kind = match argument as i32 {
        0 => Some(LockKind::Shared),
        1 => Some(LockKind::Exclusive),
        2 => None,
        _ => return Err(Errno::EINVAL),
    };
    let process = call.task.pid();
    // It is there, as it asks.
    let owner = file_signals::owner(call.task, OwnerKind::Process, process)?.ok_or(Errno::ESRCH)?;
    lease::set(file, kind, descriptor, process, (&call.task.credentials(), owner))?;
    Ok(0)
}

/// The answer of `F_GETLK`.
fn found(conflict: Option<RangeLock>, given: FileLock) -> FileLock {
    let Some(conflict) = conflict else { return FileLock { kind: UNLOCK, ..given } };
    let length = match conflict.range.end {
        u64::MAX => 0,
        end => (end - conflict.range.start + 1) as i64,
    };
    FileLock {
        kind: if conflict.kind == LockKind::Shared { READ } else { WRITE },
        whence: SEEK_SET as i16,
        start: conflict.range.start as i64,
        length,
        process: if matches!(conflict.owner, LockOwner::File(_)) { -1 } else { conflict.process.raw() },
        ..given
    }
}
