//! Bytes from file to file: `sendfile`, `copy_file_range`, `splice`, `tee`, and `vmsplice`.

use crate::{
    abi::IoVector,
    arguments::UserPtr,
    call::Call,
    transfer::{MOST, so_far},
    vectors::checked_vectors,
};
use base::Errno;
use machine::user_memory;
use memory::heap;
use vfs::{FileKind, OpenFile, OpenFlags, pipe, splice as pipes};

/// The size of a piece.
const PIECE: usize = 64 << 10;
/// `SPLICE_F_NONBLOCK`.
const NONBLOCK: u32 = 2;
/// All flags of the family.
const ALL: u32 = 0xf;

/// Copies up to `count` bytes between two files. Without an offset, the position of a file is used and moved.
fn between(
    source: &OpenFile,
    at: Option<u64>,
    target: &OpenFile,
    onto: Option<u64>,
    count: usize,
) -> Result<usize, Errno> {
    let count = count.min(MOST);
    let mut buffer = heap::try_zeroed(count.min(PIECE))?;
    let start = at.unwrap_or_else(|| source.position());
    let mut done = 0;
    let mut copy_piece = |done: usize| -> Result<(usize, usize), Errno> {
        let piece = buffer.len().min(count - done);
        let found = source.read_at(&mut buffer[..piece], start + done as u64)?;
        if found == 0 {
            return Ok((0, 0));
        }
        target.admit_write(found)?;
        let written = match onto {
            Some(onto) => target.write_at(&buffer[..found], onto + done as u64),
            None => target.write(&buffer[..found]),
        };
        Ok((found, written?))
    };
    let result = loop {
        if done == count {
            break Ok(done);
        }
        match copy_piece(done) {
            Ok((found, written)) => {
                done += written;
                if found == 0 || written < found {
                    break Ok(done);
                }
            }
            Err(errno) => break so_far(done, Err(errno)),
        }
        if !sched::goes_on(false) {
            break Ok(done);
        }
    };
    if at.is_none() && done > 0 {
        // What was read and found no place is read again by the next call.
        source.set_position(start + done as u64);
    }
    result
}

/// `sendfile(2)`: from a file that has positions to any other, or from any file to a pipe.
///
/// Errors, in this order: `EFAULT`; `EBADF` of the source; `ESPIPE` an offset for a stream, `EINVAL` a negative one;
/// `EBADF` of the target; `EINVAL` a target with `O_APPEND`, a source without positions.
pub fn sendfile(call: &Call<'_>, to: i32, from: i32, offset: UserPtr<i64>, count: usize) -> Result<usize, Errno> {
    let start = offset.read_optional()?;
    let source = call.file(from)?;
    if !source.flags().reads() {
        return Err(Errno::EBADF);
    }
    if start.is_some() {
        source.admit_position()?;
    }
    let at = start.map(|start| u64::try_from(start).map_err(|_| Errno::EINVAL)).transpose()?;
    let target = call.file(to)?;
    target.admit_write(0)?;
    let result = if pipe::capacity(&target).is_ok() {
        if count == 0 { Ok(0) } else { pipes::feed_pipe(&source, start, &target, count.min(MOST), false) }
    } else if target.flags().contains(OpenFlags::APPEND)
        || source.is_stream()
        || source.inode().kind() == FileKind::Directory
    {
        Err(Errno::EINVAL)
    } else {
        between(&source, at, &target, None, count)
    };
    let result = call.task.transfers().count_copy(result);
    if let Some(start) = start {
        offset.write(&(start + result.unwrap_or(0) as i64))?;
    }
    call.broken_pipe(result)
}

/// `copy_file_range(2)`, within one file system, as Linux has had it since 5.19.
///
/// Errors, in this order: `EBADF`; `EFAULT`; `EINVAL` flags; `EISDIR` a directory; `EINVAL` no regular file; `EBADF` not
/// open for reading, or for writing, or with `O_APPEND`; `EXDEV` another file system; `EOVERFLOW`, `EINVAL` offsets and a
/// count that reach too far, are negative, or overlap in one file.
pub fn copy_file_range(
    call: &Call<'_>,
    from: i32,
    from_offset: UserPtr<i64>,
    to: i32,
    to_offset: UserPtr<i64>,
    count: usize,
    flags: u32,
) -> Result<usize, Errno> {
    let (source, target) = (call.file(from)?, call.file(to)?);
    let (start, end) = (from_offset.read_optional()?, to_offset.read_optional()?);
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let kinds = [source.inode().kind(), target.inode().kind()];
    if kinds.contains(&FileKind::Directory) {
        return Err(Errno::EISDIR);
    }
    if kinds != [FileKind::Regular; 2] {
        return Err(Errno::EINVAL);
    }
    if !source.flags().reads() || !target.flags().writes() || target.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF);
    }
    let (from_data, to_data) = (source.inode().metadata(), target.inode().metadata());
    if from_data.device != to_data.device {
        return Err(Errno::EXDEV);
    }
    let place = |offset: Option<i64>, file: &OpenFile| offset.unwrap_or_else(|| file.position() as i64);
    let (at, onto) = (place(start, &source), place(end, &target));
    let reach = |offset: i64, count: usize| i64::try_from(count).ok().and_then(|count| offset.checked_add(count));
    reach(at, count).and(reach(onto, count)).ok_or(Errno::EOVERFLOW)?;
    let (at, onto) = (u64::try_from(at), u64::try_from(onto));
    let (Ok(at), Ok(onto)) = (at, onto) else { return Err(Errno::EINVAL) };
    let count = count.min(usize::try_from(from_data.size.saturating_sub(at)).unwrap_or(usize::MAX));
    if from_data.inode == to_data.inode && at < onto + count as u64 && onto < at + count as u64 {
        return Err(Errno::EINVAL);
    }
    let moved = between(&source, start.map(|_| at), &target, end.map(|_| onto), count);
    let moved = call.task.transfers().count_copy(moved)?;
    if start.is_some() {
        from_offset.write(&((at + moved as u64) as i64))?;
    }
    if end.is_some() {
        to_offset.write(&((onto + moved as u64) as i64))?;
    }
    Ok(moved)
}

fn check_flags(flags: u32) -> Result<bool, Errno> {
    if flags & !ALL == 0 { Ok(flags & NONBLOCK != 0) } else { Err(Errno::EINVAL) }
}

/// `splice(2)`. Nothing to move is 0 before anything is looked at; then `EINVAL` flags, `EBADF`, `ESPIPE`, `EFAULT`, and
/// as [`vfs::splice::splice`].
pub fn splice(
    call: &Call<'_>,
    from: i32,
    from_offset: UserPtr<i64>,
    to: i32,
    to_offset: UserPtr<i64>,
    count: usize,
    flags: u32,
) -> Result<usize, Errno> {
    if count == 0 {
        return Ok(0);
    }
    let nonblock = check_flags(flags)?;
    let (source, target) = (call.file(from)?, call.file(to)?);
    pipes::check_offsets(&source, !from_offset.is_null(), &target, !to_offset.is_null())?;
    let onto = to_offset.read_optional()?;
    let at = from_offset.read_optional()?;
    let moved = call.broken_pipe(pipes::splice(&source, at, &target, onto, count.min(MOST), nonblock))?;
    if let Some(onto) = onto {
        to_offset.write(&(onto + moved as i64))?;
    }
    if let Some(at) = at {
        from_offset.write(&(at + moved as i64))?;
    }
    Ok(moved)
}

/// `tee(2)`. `EINVAL` flags; 0 for nothing to copy; `EBADF`; as [`vfs::splice::tee`].
pub fn tee(call: &Call<'_>, from: i32, to: i32, count: usize, flags: u32) -> Result<usize, Errno> {
    let nonblock = check_flags(flags)?;
    if count == 0 {
        return Ok(0);
    }
    let (source, target) = (call.file(from)?, call.file(to)?);
    call.broken_pipe(pipes::tee(&source, &target, count.min(MOST), nonblock))
}

/// `vmsplice(2)`: the bytes are copied, so that a program may change its memory afterwards.
///
/// Errors, in this order: `EINVAL` flags; `EBADF` not open for reading or writing; `EINVAL`, `EFAULT` the vectors; 0 if
/// they are empty; `EBADF` no pipe; then as [`vfs::splice::splice`].
pub fn vmsplice(
    call: &Call<'_>,
    descriptor: i32,
    vectors: UserPtr<IoVector>,
    count: usize,
    flags: u32,
) -> Result<usize, Errno> {
    let nonblock = check_flags(flags)?;
    let file = call.file(descriptor)?;
    let ranges = checked_vectors(vectors, count)?;
    let total: usize = ranges.iter().map(|(_, length)| length).sum();
    if total == 0 {
        return Ok(0);
    }
    if file.flags().writes() {
        let fetch = |buffer: &mut [u8], done| {
            over_ranges(&ranges, done, buffer.len(), |address, part| {
                user_memory::read_partial(address, &mut buffer[part])
            })
        };
        call.broken_pipe(pipes::feed(&file, total, nonblock, fetch))
    } else {
        let tell = |bytes: &[u8], done| {
            over_ranges(&ranges, done, bytes.len(), |address, part| user_memory::write_partial(address, &bytes[part]))
        };
        pipes::drain(&file, total, nonblock, tell)
    }
}

/// Calls `copy` for each range of addresses that `length` bytes of the vectors, `skip` bytes behind their beginning, lie
/// in, until one is not copied whole; how many bytes were. `EFAULT` none.
fn over_ranges(
    ranges: &[(u64, usize)],
    mut skip: usize,
    length: usize,
    mut copy: impl FnMut(u64, core::ops::Range<usize>) -> usize,
) -> Result<usize, Errno> {
    let mut done = 0;
    for &(address, size) in ranges {
        let before = skip.min(size);
        skip -= before;
        let part = (size - before).min(length - done);
        let copied = copy(address + before as u64, done..done + part);
        done += copied;
        if copied < part {
            break;
        }
    }
    if done == 0 && length > 0 { Err(Errno::EFAULT) } else { Ok(done) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_part_of_vectors_lies_in_some_of_their_ranges() {
        let ranges = [(100, 10), (200, 0), (300, 5), (400, 10)];
        let parts = |skip, length, most: usize| {
            let mut seen = Vec::new();
            let result = over_ranges(&ranges, skip, length, |address, part| {
                if !part.is_empty() {
                    seen.push((address, part.clone()));
                }
                part.len().min(most)
            });
            (result, seen)
        };
        assert_eq!(parts(0, 4, 99), (Ok(4), [(100, 0..4)].into()));
        assert_eq!(parts(8, 10, 99), (Ok(10), [(108, 0..2), (300, 2..7), (400, 7..10)].into()));
        assert_eq!(parts(12, 10, 3), (Ok(6), [(302, 0..3), (400, 3..10)].into()));
        assert_eq!(parts(3, 10, 0).0, Err(Errno::EFAULT));
    }
}
