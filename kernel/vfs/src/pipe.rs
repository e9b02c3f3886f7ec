//! Pipes and FIFOs.

use crate::{OpenFile, OpenFlags};
use alloc::sync::Arc;
use base::{Credentials, Errno};

/// `pipe2(2)`: the reading and the writing end. `flags` may hold `NONBLOCK`, `DIRECT` (`EINVAL` for others but
/// `CLOSE_ON_EXEC`).
pub fn pipe(_flags: OpenFlags, _credentials: &Arc<Credentials>) -> Result<[Arc<OpenFile>; 2], Errno> {
    todo!()
}

/// The capacity of a pipe's end, `F_GETPIPE_SZ`; `EBADF` for another file.
pub fn capacity(_file: &OpenFile) -> Result<usize, Errno> {
    todo!()
}

/// Sets the capacity, `F_SETPIPE_SZ`: rounded up to a power of two of pages; the new value. `EBUSY` more is in it,
/// `EPERM` over 1 MiB without CAP_SYS_RESOURCE, `EBADF`.
pub fn set_capacity(_file: &OpenFile, _bytes: u64, _credentials: &Credentials) -> Result<usize, Errno> {
    todo!()
}
