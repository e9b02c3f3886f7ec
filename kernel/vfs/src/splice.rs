//! `splice(2)`, `tee(2)` and the pipe's part of `vmsplice(2)`: bytes between pipes and files without a program's
//! memory in between.

use crate::{
    FileKind, OpenFile, OpenFlags,
    pipe::pipe_of,
    socket::{Receive, Socket, SocketType},
};
use alloc::sync::Arc;
use base::Errno;

/// An offset that a caller gave. `EINVAL` the file has no positions, or a negative offset.
fn offset_in(file: &OpenFile, offset: Option<i64>) -> Result<Option<u64>, Errno> {
    let Some(offset) = offset else { return Ok(None) };
    if file.is_stream() {
        return Err(Errno::EINVAL);
    }
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
}

fn is_nonblocking(file: &OpenFile) -> bool {
    file.flags().contains(OpenFlags::NONBLOCK)
}

/// `splice(2)`: moves up to `count` bytes, more than 0, one of the files being a pipe. Without an offset a file's own
/// position is used and moved. 0 is the end.
///
/// Errors, in this order: `ESPIPE` an offset for a pipe; `EBADF` not open for reading, or for writing; `EINVAL` neither
/// is a pipe, both are the same one, an offset that does not fit, a target with `O_APPEND`, a directory; then `EPIPE`
/// (the caller sends SIGPIPE), `EAGAIN`, `EINTR`, `ENOMEM` and the files' own.
pub fn splice(
    source: &OpenFile,
    at: Option<i64>,
    target: &OpenFile,
    onto: Option<i64>,
    count: usize,
    nonblock: bool,
) -> Result<usize, Errno> {
    check_offsets(source, at.is_some(), target, onto.is_some())?;
    if !source.flags().reads() || !target.flags().writes() {
        return Err(Errno::EBADF);
    }
    match (pipe_of(source), pipe_of(target)) {
        (Ok(from), Ok(to)) => {
            if Arc::ptr_eq(from, to) {
                return Err(Errno::EINVAL);
            }
            let nonblock = nonblock || is_nonblocking(source) || is_nonblocking(target);
            from.drain(count, nonblock, |bytes, done| to.put(bytes, nonblock || done > 0))
        }
        (Ok(from), Err(_)) => {
            let onto = offset_in(target, onto)?;
            if target.flags().contains(OpenFlags::APPEND) {
                return Err(Errno::EINVAL);
            }
            from.drain(count, nonblock || is_nonblocking(source), |bytes, done| {
                target.admit_write(bytes.len())?;
                match onto {
                    Some(onto) => target.write_at(bytes, onto.saturating_add(done as u64)),
                    None => target.write(bytes),
                }
            })
        }
        (Err(_), Ok(_)) => feed_pipe(source, at, target, count, nonblock),
        (Err(_), Err(_)) => Err(Errno::EINVAL),
    }
}

/// `ESPIPE` an offset is given for a pipe.
pub fn check_offsets(source: &OpenFile, at: bool, target: &OpenFile, onto: bool) -> Result<(), Errno> {
    if (at && pipe_of(source).is_ok()) || (onto && pipe_of(target).is_ok()) { Err(Errno::ESPIPE) } else { Ok(()) }
}

/// Moves bytes of a file that is no pipe into one, as `splice` and `sendfile` do. Errors: see [`splice()`].
pub fn feed_pipe(
    source: &OpenFile,
    at: Option<i64>,
    target: &OpenFile,
    count: usize,
    nonblock: bool,
) -> Result<usize, Errno> {
    let at = offset_in(source, at)?;
    if source.inode().kind() == FileKind::Directory {
        return Err(Errno::EINVAL);
    }
    let nonblock = nonblock || is_nonblocking(target);
    // Of all sources only stream sockets obey the flag, which is about the pipe.
    let socket = source.operations::<Socket>().filter(|socket| nonblock && socket.kind() == SocketType::Stream);
    // A stream gives what it has; asking again could sleep although there is an answer.
    let again = !source.is_stream();
    pipe_of(target)?.feed(count, nonblock, |buffer, done| match (at, socket) {
        _ if done > 0 && !again => Ok(0),
        (Some(at), _) => source.read_at(buffer, at.saturating_add(done as u64)),
        (None, Some(socket)) => {
            socket.receive(buffer, Receive { nonblock: true, ..Receive::default() }).map(|received| received.length)
        }
        (None, None) => source.read(buffer),
    })
}

/// `tee(2)`: copies up to `count` bytes, more than 0, from one pipe to another and leaves them in.
///
/// Errors: `EBADF` not open for reading, or for writing; `EINVAL` not two different pipes; then as [`splice()`].
pub fn tee(source: &OpenFile, target: &OpenFile, count: usize, nonblock: bool) -> Result<usize, Errno> {
    if !source.flags().reads() || !target.flags().writes() {
        return Err(Errno::EBADF);
    }
    let (Ok(from), Ok(to)) = (pipe_of(source), pipe_of(target)) else { return Err(Errno::EINVAL) };
    if Arc::ptr_eq(from, to) {
        return Err(Errno::EINVAL);
    }
    let nonblock = nonblock || is_nonblocking(source) || is_nonblocking(target);
    if !from.await_bytes(nonblock)? {
        return Ok(0);
    }
    to.feed(count, nonblock, |buffer, done| Ok(from.peek(buffer, done)))
}

/// Moves bytes that `source` makes into the pipe `file`: `source` is given a buffer and how many bytes went before.
/// `EBADF` no pipe; else as for [`splice()`], and the source's.
pub fn feed(
    file: &OpenFile,
    count: usize,
    nonblock: bool,
    source: impl FnMut(&mut [u8], usize) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    pipe_of(file)?.feed(count, nonblock, source)
}

/// Moves bytes of the pipe `file` out: `target` is given them and how many went before, and says how many it took.
/// `EBADF` no pipe; else as for [`splice()`], and the target's.
pub fn drain(
    file: &OpenFile,
    count: usize,
    nonblock: bool,
    target: impl FnMut(&[u8], usize) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    pipe_of(file)?.drain(count, nonblock, target)
}
