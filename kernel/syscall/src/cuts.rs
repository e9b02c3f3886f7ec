//! Transfers to and from buffers of which only the first part can be used: what each kind of file makes of that.
//!
//! Most files move what they can. A pipe moves whole pages and keeps the rest; a local socket moves nothing, and a packet is
//! whole or is not. Rule: what Linux 6.1 does.

use crate::transfer::{MESSAGE_MOST, PIECE, Position};
use base::Errno;
use vfs::{
    FileKind, OpenFile, pipe,
    socket::{Received, Socket, SocketType},
};

/// What a read gives that found `bytes`, of which only the first `copied` found a place. `EFAULT` nothing.
#[cold]
pub(crate) fn read(file: &OpenFile, bytes: &[u8], copied: usize) -> Result<usize, Errno> {
    if let Some(socket) = file.operations::<Socket>() {
        return Err(socket.put_back(bytes, Received::default()));
    }
    let mut given = copied;
    if file.inode().kind() == FileKind::Fifo {
        given = pipe::whole_pages(copied);
        pipe::put_back(file, &bytes[given..])?;
    }
    if given == 0 { Err(Errno::EFAULT) } else { Ok(given) }
}

/// What a write does of whose buffer only `bytes` could be read. `EFAULT` nothing.
#[cold]
pub(crate) fn write(file: &OpenFile, bytes: &[u8], position: Position) -> Result<usize, Errno> {
    if let Some(socket) = file.operations::<Socket>() {
        return socket.write_cut(bytes, file.flags());
    }
    let taken = if file.inode().kind() == FileKind::Fifo { pipe::whole_pages(bytes.len()) } else { bytes.len() };
    if taken == 0 { Err(Errno::EFAULT) } else { position.write(file, &bytes[..taken]) }
}

/// How much of a write of so many bytes is written at a time: a packet is written whole. `EMSGSIZE`.
pub(crate) fn piece_of(file: &OpenFile, length: usize) -> Result<usize, Errno> {
    if length <= PIECE || file.operations::<Socket>().is_none_or(|socket| socket.kind() == SocketType::Stream) {
        return Ok(PIECE);
    }
    if length > MESSAGE_MOST { Err(Errno::EMSGSIZE) } else { Ok(length) }
}
