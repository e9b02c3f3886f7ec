//! Local sockets, `unix(7)`.

use crate::{Caller, OpenFile, OpenFlags};
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno, Gid, Pid, Uid};

/// The type of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketType {
    /// `SOCK_STREAM`.
    Stream,
    /// `SOCK_DGRAM`.
    Datagram,
    /// `SOCK_SEQPACKET`.
    SequencedPacket,
}

/// The name of a local socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// None.
    Unnamed,
    /// A path.
    Path(Vec<u8>),
    /// A name of the abstract kind (without its leading NUL).
    Abstract(Vec<u8>),
}

/// Who is at the other end, `SO_PEERCRED`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Process.
    pub pid: Pid,
    /// Effective user.
    pub uid: Uid,
    /// Effective group.
    pub gid: Gid,
}

/// A message as `recvmsg` gets it, besides its bytes.
#[derive(Default)]
pub struct Received {
    /// Bytes put into the buffer.
    pub length: usize,
    /// The message was longer than the buffer (`MSG_TRUNC`); its full length.
    pub full_length: usize,
    /// Files passed along (`SCM_RIGHTS`).
    pub files: Vec<Arc<OpenFile>>,
    /// The sender's name, for datagrams.
    pub from: Option<Address>,
}

/// `socket(2)`.
pub fn socket(_kind: SocketType, _flags: OpenFlags, _who: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
    todo!()
}

/// `socketpair(2)`.
pub fn pair(
    _kind: SocketType,
    _flags: OpenFlags,
    _who: &Arc<Credentials>,
    _peer: Peer,
) -> Result<[Arc<OpenFile>; 2], Errno> {
    todo!()
}

/// A local socket: `file.operations::<Socket>()` (`ENOTSOCK` if that is `None`).
pub struct Socket {}

impl crate::FileOps for Socket {}

/// Which directions `shutdown(2)` closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// `SHUT_RD`.
    Read,
    /// `SHUT_WR`.
    Write,
    /// `SHUT_RDWR`.
    Both,
}

impl Socket {
    /// `bind(2)`. `EADDRINUSE`, `EINVAL` bound already.
    pub fn bind(&self, _caller: &Caller<'_>, _address: &Address) -> Result<(), Errno> {
        todo!()
    }
    /// `listen(2)`. `EOPNOTSUPP` a datagram socket, `EINVAL` not bound or connected.
    pub fn listen(&self, _backlog: u32, _me: Peer) -> Result<(), Errno> {
        todo!()
    }
    /// `accept4(2)`: the new connection. `EINVAL` not listening, `EAGAIN`, `EINTR`.
    pub fn accept(&self, _nonblocking: bool, _new_flags: OpenFlags) -> Result<Arc<OpenFile>, Errno> {
        todo!()
    }
    /// `connect(2)`. `ECONNREFUSED`, `EAGAIN`, `EISCONN`, `EPROTOTYPE`, `ENOENT`.
    pub fn connect(&self, _caller: &Caller<'_>, _address: &Address, _nonblock: bool, _me: Peer) -> Result<(), Errno> {
        todo!()
    }
    /// `sendmsg(2)`. `EPIPE` (the caller sends SIGPIPE), `ENOTCONN`, `EMSGSIZE`, `EISCONN`, `EAGAIN`.
    pub fn send(
        &self,
        _caller: &Caller<'_>,
        _bytes: &[u8],
        _to: Option<&Address>,
        _files: Vec<Arc<OpenFile>>,
        _nonblock: bool,
    ) -> Result<usize, Errno> {
        todo!()
    }
    /// `recvmsg(2)`. With `peek` nothing is taken.
    pub fn receive(&self, _buffer: &mut [u8], _peek: bool, _nonblock: bool) -> Result<Received, Errno> {
        todo!()
    }
    /// `shutdown(2)`. `ENOTCONN`.
    pub fn shutdown(&self, _how: Shutdown) -> Result<(), Errno> {
        todo!()
    }
    /// `getsockname(2)`.
    pub fn name(&self) -> Address {
        todo!()
    }
    /// `getpeername(2)`. `ENOTCONN`.
    pub fn peer_name(&self) -> Result<Address, Errno> {
        todo!()
    }
    /// `SO_PEERCRED`; `None` when not connected.
    pub fn peer(&self) -> Option<Peer> {
        todo!()
    }
    /// `SO_TYPE`.
    pub fn kind(&self) -> SocketType {
        todo!()
    }
}

/// The socket that is bound to a name in a file system.
#[derive(Default)]
pub struct BoundSocket {}
