//! The words of the socket calls.

use super::Address;
use crate::OpenFile;
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Gid, Pid, Uid};
use machine::sync::Hook;

/// The type of a socket, as `socket(2)` takes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SocketType {
    /// `SOCK_STREAM`.
    Stream = 1,
    /// `SOCK_DGRAM`.
    Datagram = 2,
    /// `SOCK_SEQPACKET`.
    SequencedPacket = 5,
}

/// Who is at the other end, `SO_PEERCRED` and `SO_PEERGROUPS`.
#[derive(Clone)]
pub struct Peer {
    /// Process.
    pub pid: Pid,
    /// What it was when it connected or began to listen.
    pub credentials: Arc<Credentials>,
}

/// Who sent a message, `SCM_CREDENTIALS`: as the sender said, or its process, real user and real group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender {
    /// Process.
    pub pid: Pid,
    /// User.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
}

/// Says who the running task is. Installed once at boot by the floor that knows tasks.
pub static SENDER: Hook<dyn Fn() -> Option<Sender> + Sync> = Hook::new();

/// How to receive.
#[derive(Clone, Copy, Default)]
pub struct Receive {
    /// `MSG_PEEK`: nothing is taken.
    pub peek: bool,
    /// `MSG_DONTWAIT`, or `O_NONBLOCK`.
    pub nonblock: bool,
    /// `MSG_WAITALL`: of a stream as much as there is place for, unless something ends that.
    pub whole: bool,
}

/// A message to send.
#[derive(Default)]
pub struct Message<'a> {
    /// Its bytes, as far as they can be read.
    pub bytes: &'a [u8],
    /// More was to follow that can't be read. A packet is then `EFAULT`; a stream takes what is whole of it, see
    /// [`Socket::send`](super::Socket::send).
    pub cut: bool,
    /// To whom, unless to the peer.
    pub to: Option<&'a Address>,
    /// Files to pass along (`SCM_RIGHTS`).
    pub files: Vec<Arc<OpenFile>>,
    /// Who sends it (`SCM_CREDENTIALS`), if that was said.
    pub sender: Option<Sender>,
}

/// A message as `recvmsg` gets it, besides its bytes.
#[derive(Default)]
pub struct Received {
    /// There was something, and be it an empty packet: it is not the end.
    pub found: bool,
    /// Bytes put into the buffer.
    pub length: usize,
    /// The message's full length: more than `length` if the buffer was too short (`MSG_TRUNC`).
    pub full_length: usize,
    /// Files passed along (`SCM_RIGHTS`).
    pub files: Vec<Arc<OpenFile>>,
    /// The name of a datagram's sender, see [`Socket::sender_name`](super::Socket::sender_name).
    pub from: Option<Address>,
    /// Who sent it, if that is known.
    pub sender: Option<Sender>,
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
