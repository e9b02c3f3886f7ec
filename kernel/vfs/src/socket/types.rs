//! The words of the socket calls.

use super::Address;
use crate::OpenFile;
use alloc::{sync::Arc, vec::Vec};
use base::{Gid, Pid, Uid};

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
    /// The message's full length: more than `length` if the buffer was too short (`MSG_TRUNC`).
    pub full_length: usize,
    /// Files passed along (`SCM_RIGHTS`).
    pub files: Vec<Arc<OpenFile>>,
    /// The sender's name, for datagrams.
    pub from: Option<Address>,
}

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
