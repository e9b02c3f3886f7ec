//! Calls by which a program says what it will read, or waits until what it wrote is on a disk: all files lie in memory, so
//! that what is left of them is to check.

use crate::call::Call;
use base::Errno;
use vfs::FileKind;

/// `posix_fadvise(2)`. `ESPIPE` a pipe; `EINVAL` a negative length, no such advice.
pub fn fadvise64(call: &Call<'_>, descriptor: i32, _offset: i64, length: i64, advice: i32) -> Result<usize, Errno> {
    /// `POSIX_FADV_NOREUSE`, the last.
    const LAST: i32 = 5;
    if call.file(descriptor)?.inode().kind() == FileKind::Fifo {
        return Err(Errno::ESPIPE);
    }
    if length < 0 || !(0..=LAST).contains(&advice) { Err(Errno::EINVAL) } else { Ok(0) }
}

/// `readahead(2)`. `EBADF` not open for reading; `EINVAL` no regular file.
pub fn readahead(call: &Call<'_>, descriptor: i32, _offset: i64, _length: usize) -> Result<usize, Errno> {
    let file = call.file(descriptor)?;
    file.admit_read().map_err(|_| Errno::EBADF)?;
    if file.inode().kind() == FileKind::Regular { Ok(0) } else { Err(Errno::EINVAL) }
}

/// `sync_file_range(2)`. `EINVAL` unknown flags, a range that can't be; `ESPIPE` neither file nor directory nor device.
pub fn sync_file_range(call: &Call<'_>, descriptor: i32, offset: i64, length: i64, flags: u32) -> Result<usize, Errno> {
    const KNOWN: u32 = 7;
    let kind = call.file(descriptor)?.inode().kind();
    let end = offset.checked_add(length);
    if flags & !KNOWN != 0 || offset < 0 || length < 0 || end.is_none() {
        return Err(Errno::EINVAL);
    }
    match kind {
        FileKind::Regular | FileKind::Directory | FileKind::BlockDevice | FileKind::Symlink => Ok(0),
        _ => Err(Errno::ESPIPE),
    }
}

/// `syncfs(2)`.
pub fn syncfs(call: &Call<'_>, descriptor: i32) -> Result<usize, Errno> {
    call.file(descriptor)?;
    Ok(0)
}
