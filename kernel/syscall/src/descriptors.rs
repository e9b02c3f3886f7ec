//! Calls on descriptors: close and duplicate them, move their position, control them, read directories, make pipes
//! and event files.

use crate::{
    arguments::UserPtr,
    call::Call,
    locks, namespaces,
    owners::{self, F_GETOWN_EX, F_SETOWN_EX},
};
use alloc::{sync::Arc, vec::Vec};
use base::Errno;
use core::sync::atomic::Ordering::Relaxed;
use linux_raw_sys::general::{
    F_ADD_SEALS, F_DUPFD, F_DUPFD_CLOEXEC, F_GET_RW_HINT, F_GET_SEALS, F_GETFD, F_GETFL, F_GETLEASE, F_GETOWN,
    F_GETPIPE_SZ, F_GETSIG, F_NOTIFY, F_SET_RW_HINT, F_SETFD, F_SETFL, F_SETLEASE, F_SETOWN, F_SETPIPE_SZ, F_SETSIG,
    FD_CLOEXEC, RWH_WRITE_LIFE_EXTREME, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET,
};
use linux_raw_sys::ioctl::{
    FIOASYNC, FIOCLEX, FIOGETOWN, FIONBIO, FIONCLEX, FIOSETOWN, SIOCGPGRP, SIOCSPGRP, TIOCGPTPEER,
};
use machine::user_memory;
use vfs::{DirectoryEntry, OpenFile, OpenFlags, SeekFrom, pipe, socket::Socket};

/// `close(2)`.
pub fn close(call: &Call<'_>, descriptor: i32) -> Result<usize, Errno> {
    call.files()?.close(descriptor)?;
    Ok(0)
}

/// `close_range(2)`.
pub fn close_range(call: &Call<'_>, first: u32, last: u32, flags: u32) -> Result<usize, Errno> {
    const UNSHARE: u32 = 2;
    const MARK: u32 = 4;
    if flags & !(UNSHARE | MARK) != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    if flags & UNSHARE != 0 {
        call.task.unshare_files()?;
    }
    if flags & MARK != 0 {
        call.files()?.mark_range(first, last)
    } else {
        call.files()?.close_range(first, last)
    }
    Ok(0)
}

/// `dup(2)`.
pub fn dup(call: &Call<'_>, descriptor: i32) -> Result<usize, Errno> {
    let file = call.any_file(descriptor)?;
    call.insert(file, false)
}

/// `dup2(2)`.
pub fn dup2(call: &Call<'_>, old: i32, new: i32) -> Result<usize, Errno> {
    if old == new {
        call.any_file(old)?;
        return Ok(new as usize);
    }
    duplicate_to(call, old, new, false)
}

/// `dup3(2)`. `EINVAL` both numbers are the same, or a flag other than `O_CLOEXEC`.
pub fn dup3(call: &Call<'_>, old: i32, new: i32, flags: u32) -> Result<usize, Errno> {
    let flags = OpenFlags::from_bits_retain(flags);
    if old == new || !OpenFlags::CLOSE_ON_EXEC.contains(flags) {
        return Err(Errno::EINVAL);
    }
    duplicate_to(call, old, new, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

fn duplicate_to(call: &Call<'_>, old: i32, new: i32, close_on_exec: bool) -> Result<usize, Errno> {
    let descriptor = call.files()?.duplicate_to(old, new, close_on_exec, call.descriptor_limit())?;
    Ok(descriptor.index())
}

/// `lseek(2)`.
pub fn lseek(call: &Call<'_>, descriptor: i32, offset: i64, whence: u32) -> Result<usize, Errno> {
    let file = call.file(descriptor)?;
    let target = match whence {
        SEEK_SET => SeekFrom::Start(offset),
        SEEK_CUR => SeekFrom::Current(offset),
        SEEK_END => SeekFrom::End(offset),
        SEEK_DATA => SeekFrom::Data(offset),
        SEEK_HOLE => SeekFrom::Hole(offset),
        _ => return Err(Errno::EINVAL),
    };
    Ok(file.seek(target)? as usize)
}

/// `fcntl(2)`: duplicates, flags, pipe sizes and seals; locks, leases and owners are in rooms of their own. `EINVAL` for
/// the rest.
pub fn fcntl(call: &Call<'_>, descriptor: i32, command: u32, argument: u64) -> Result<usize, Errno> {
    let files = call.files()?;
    let file = call.any_file(descriptor)?;
    let path_only = file.flags().contains(OpenFlags::PATH);
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => {
            let minimum = argument as i32;
            if minimum < 0 || minimum as u64 >= call.descriptor_limit() {
                return Err(Errno::EINVAL);
            }
            let slot = files.reserve(minimum as u32, call.descriptor_limit())?;
            let number = slot.descriptor().index();
            slot.fill(file, command == F_DUPFD_CLOEXEC);
            Ok(number)
        }
        F_GETFD => Ok(if files.is_close_on_exec(descriptor)? { FD_CLOEXEC as usize } else { 0 }),
        F_SETFD => files.set_close_on_exec(descriptor, argument as u32 & FD_CLOEXEC != 0).map(|()| 0),
        F_GETFL => Ok((file.flags() - OpenFlags::CLOSE_ON_EXEC).bits() as usize),
        _ if path_only => Err(Errno::EBADF),
        F_SETFL => {
            let flags = OpenFlags::from_bits_truncate(argument as u32);
            owners::set_flags(call, &file, descriptor, flags).map(|()| 0)
        }
        F_SETOWN | F_GETOWN | F_SETOWN_EX | F_GETOWN_EX | F_SETSIG | F_GETSIG => {
            owners::fcntl(call, &file, command, argument)
        }
        F_SETLEASE | F_GETLEASE => locks::leases(call, &file, descriptor, command, argument),
        F_NOTIFY => owners::notify(call, &file, descriptor, argument),
        F_GETPIPE_SZ => pipe::capacity(&file),
        F_SETPIPE_SZ => pipe::set_capacity(&file, argument as u32 as u64, &call.task.credentials()),
        F_GET_SEALS => Ok(file.seals()?.bits() as usize),
        F_ADD_SEALS => {
            file.add_seals(u32::try_from(argument).map_err(|_| Errno::EINVAL)?)?;
            Ok(0)
        }
        F_GET_RW_HINT | F_SET_RW_HINT => write_hint(&file, command, UserPtr::at(argument)),
        _ => locks::fcntl(call, &file, command, argument),
    }
}

/// `F_GET_RW_HINT` and `F_SET_RW_HINT`: how long what is written is expected to last. Nothing here depends on it, as on Linux in
/// memory. `EFAULT`; `EINVAL` there is no such hint, or the file keeps none.
fn write_hint(file: &OpenFile, command: u32, value: UserPtr<u64>) -> Result<usize, Errno> {
    let hint = file.inode().write_hint();
    if command == F_GET_RW_HINT {
        value.write(&hint.map_or(0, |hint| hint.load(Relaxed)).into())?;
        return Ok(0);
    }
    let new = value.read()?;
    if new > RWH_WRITE_LIFE_EXTREME.into() {
        return Err(Errno::EINVAL);
    }
    hint.ok_or(Errno::EINVAL)?.store(new as u8, Relaxed);
    Ok(0)
}

/// `ioctl(2)`: what every file knows is answered here, the rest by the file.
pub fn ioctl(call: &Call<'_>, descriptor: i32, request: u32, argument: u64) -> Result<usize, Errno> {
    let file = call.file(descriptor)?;
    match request {
        FIOCLEX => call.files()?.set_close_on_exec(descriptor, true).map(|()| 0),
        FIONCLEX => call.files()?.set_close_on_exec(descriptor, false).map(|()| 0),
        FIONBIO => {
            let on = UserPtr::<i32>::at(argument).read()? != 0;
            let mut flags = file.flags();
            flags.set(OpenFlags::NONBLOCK, on);
            file.set_status_flags(flags).map(|()| 0)
        }
        TIOCGPTPEER => {
            let flags = OpenFlags::from_bits_truncate(argument as u32);
            match call.with_caller(|caller| caller.open_other_end(&file, flags))? {
                Some(terminal) => call.insert(terminal, flags.contains(OpenFlags::CLOSE_ON_EXEC)),
                None => file.ioctl(request, argument).map(|value| value as usize),
            }
        }
        FIOASYNC => owners::set_async(&file, descriptor, argument),
        FIOSETOWN | SIOCSPGRP | FIOGETOWN | SIOCGPGRP if file.operations::<Socket>().is_some() => {
            owners::of_socket(call, &file, request, argument)
        }
        _ => match namespaces::control(call, &file, request, argument) {
            Some(result) => result,
            None => file.ioctl(request, argument).map(|value| value as usize),
        },
    }
}

/// `pipe2(2)`; any flag but `O_CLOEXEC`, `O_NONBLOCK` and `O_DIRECT` is `EINVAL`. No error leaves a file open.
pub fn pipe2(call: &Call<'_>, descriptors: UserPtr<[i32; 2]>, flags: u32) -> Result<usize, Errno> {
    let allowed = OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT;
    let flags = OpenFlags::from_bits(flags).filter(|flags| allowed.contains(*flags)).ok_or(Errno::EINVAL)?;
    let ends = pipe::pipe(flags, &call.task.credentials())?;
    publish_pair(call, descriptors, ends, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

/// `pipe(2)`.
pub fn pipe(call: &Call<'_>, descriptors: UserPtr<[i32; 2]>) -> Result<usize, Errno> {
    pipe2(call, descriptors, 0)
}

/// Opens two files at once: numbers are reserved and told before anything can be seen under them.
pub(crate) fn publish_pair(
    call: &Call<'_>,
    descriptors: UserPtr<[i32; 2]>,
    [first, second]: [Arc<OpenFile>; 2],
    close_on_exec: bool,
) -> Result<usize, Errno> {
    let files = call.files()?;
    let first_slot = files.reserve(0, call.descriptor_limit())?;
    let second_slot = files.reserve(0, call.descriptor_limit())?;
    descriptors.write(&[first_slot.descriptor().raw(), second_slot.descriptor().raw()])?;
    first_slot.fill(first, close_on_exec);
    second_slot.fill(second, close_on_exec);
    Ok(0)
}

/// `eventfd2(2)`.
pub fn eventfd2(call: &Call<'_>, initial: u32, flags: u32) -> Result<usize, Errno> {
    const SEMAPHORE: u32 = 1;
    let allowed = OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK;
    if flags & !(SEMAPHORE | allowed.bits()) != 0 {
        return Err(Errno::EINVAL);
    }
    let open = OpenFlags::from_bits_truncate(flags) & allowed;
    let file =
        vfs::eventfd(initial, flags & SEMAPHORE != 0, open - OpenFlags::CLOSE_ON_EXEC, &call.task.credentials())?;
    call.insert(file, open.contains(OpenFlags::CLOSE_ON_EXEC))
}

/// `eventfd(2)`.
pub fn eventfd(call: &Call<'_>, initial: u32) -> Result<usize, Errno> {
    eventfd2(call, initial, 0)
}

/// `ftruncate(2)`.
pub fn ftruncate(call: &Call<'_>, descriptor: i32, size: i64) -> Result<usize, Errno> {
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    call.file(descriptor)?.truncate(size)?;
    Ok(0)
}

/// `fallocate(2)`, of which reserving and making holes are offered, as Linux's tmpfs offers them.
///
/// Errors: `EINVAL` an offset below 0, a length below 1; `EOPNOTSUPP` another mode; `EFBIG` beyond the largest offset;
/// those of [`vfs::OpenFile::allocate`].
pub fn fallocate(call: &Call<'_>, descriptor: i32, mode: u32, offset: i64, length: i64) -> Result<usize, Errno> {
    use linux_raw_sys::general::{FALLOC_FL_KEEP_SIZE as KEEP_SIZE, FALLOC_FL_PUNCH_HOLE as PUNCH_HOLE};
    const HOLE: u32 = PUNCH_HOLE | KEEP_SIZE;
    let file = call.file(descriptor)?;
    let start = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let length = u64::try_from(length).ok().filter(|&length| length > 0).ok_or(Errno::EINVAL)?;
    let how = match mode {
        0 => vfs::Allocation::Reserve { grow: true },
        KEEP_SIZE => vfs::Allocation::Reserve { grow: false },
        HOLE => vfs::Allocation::Punch,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    // Two numbers of 63 bits each.
    let end = start + length;
    if end > i64::MAX as u64 {
        return Err(Errno::EFBIG);
    }
    file.allocate(start..end, how)?;
    Ok(0)
}

/// `fsync(2)` and `fdatasync(2)`.
pub fn fsync(call: &Call<'_>, descriptor: i32) -> Result<usize, Errno> {
    call.file(descriptor)?.sync()?;
    Ok(0)
}

/// `sync(2)`: nothing lies on a disk.
pub fn sync(_call: &Call<'_>) -> Result<usize, Errno> {
    Ok(0)
}

/// `getdents64(2)`. `EINVAL` the first entry does not fit.
pub fn getdents64(call: &Call<'_>, descriptor: i32, buffer: UserPtr<u8>, size: u32) -> Result<usize, Errno> {
    read_entries(call, descriptor, buffer, size, append_entry)
}

/// `getdents(2)`, whose entries have their type at the end. `EINVAL` the first entry does not fit.
pub fn getdents(call: &Call<'_>, descriptor: i32, buffer: UserPtr<u8>, size: u32) -> Result<usize, Errno> {
    read_entries(call, descriptor, buffer, size, append_old_entry)
}

fn read_entries(
    call: &Call<'_>,
    descriptor: i32,
    buffer: UserPtr<u8>,
    size: u32,
    append: fn(&mut Vec<u8>, usize, &DirectoryEntry<'_>) -> bool,
) -> Result<usize, Errno> {
    /// More than this is never filled at once.
    const MOST: usize = 64 << 10;
    let file = call.file(descriptor)?;
    let size = (size as usize).min(MOST);
    let mut bytes: Vec<u8> = memory::heap::try_vec(size)?;
    let mut cut = false;
    file.read_directory(&mut |entry| {
        let fits = append(&mut bytes, size, entry);
        cut |= !fits;
        fits
    })?;
    if bytes.is_empty() && cut {
        return Err(Errno::EINVAL);
    }
    user_memory::write(buffer.address(), &bytes)?;
    Ok(bytes.len())
}

/// Adds a `struct linux_dirent64`, if there is room for it.
fn append_entry(bytes: &mut Vec<u8>, size: usize, entry: &DirectoryEntry<'_>) -> bool {
    // The type, and a NUL.
    let Some(end) = begin_entry(bytes, size, entry, 2) else { return false };
    bytes.push(entry.kind.entry_type());
    bytes.extend_from_slice(entry.name);
    bytes.resize(end, 0);
    true
}

/// Adds a `struct linux_dirent`, if there is room for it.
fn append_old_entry(bytes: &mut Vec<u8>, size: usize, entry: &DirectoryEntry<'_>) -> bool {
    // A NUL, and the type.
    let Some(end) = begin_entry(bytes, size, entry, 2) else { return false };
    bytes.extend_from_slice(entry.name);
    bytes.resize(end - 1, 0);
    bytes.push(entry.kind.entry_type());
    true
}

/// Adds what both structures begin with, if there is room for an entry with so many bytes behind that beside its name;
/// where the entry ends.
fn begin_entry(bytes: &mut Vec<u8>, size: usize, entry: &DirectoryEntry<'_>, beside: usize) -> Option<usize> {
    const HEAD: usize = 18;
    let length = (HEAD + beside + entry.name.len()).next_multiple_of(8);
    let end = bytes.len() + length;
    if end > size {
        return None;
    }
    bytes.extend_from_slice(&entry.inode.to_le_bytes());
    bytes.extend_from_slice(&entry.next.to_le_bytes());
    bytes.extend_from_slice(&(length as u16).to_le_bytes());
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfs::FileKind;

    #[test]
    fn a_directory_entry_is_laid_out_as_linux_does() {
        let entry = DirectoryEntry { name: b"tasks", inode: 7, kind: FileKind::Regular, next: 3 };
        let mut bytes = Vec::new();
        assert!(append_entry(&mut bytes, 64, &entry));
        assert_eq!(bytes.len(), 32);
        assert_eq!(&bytes[..19], [7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 32, 0, 8]);
        assert_eq!(&bytes[19..25], b"tasks\0");
        assert!(!append_entry(&mut bytes, 63, &entry));
        bytes.clear();
        assert!(append_old_entry(&mut bytes, 32, &entry));
        assert_eq!(bytes[16..], *b"\x20\0tasks\0\0\0\0\0\0\0\0\x08");
    }
}
