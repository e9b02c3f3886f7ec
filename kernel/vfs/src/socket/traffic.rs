//! Sending and receiving.

use super::{
    Link, Message, Receive, Received, SENDER, Socket, SocketType, address,
    inbox::{Attached, Inbox, Taking},
};
use crate::{Caller, OpenFlags, wait_until};
use alloc::sync::Arc;
use base::{Errno, Uid};
use core::sync::atomic::Ordering::Relaxed;

impl Socket {
    /// `sendmsg(2)`. `EPIPE` (the caller sends SIGPIPE) this end sends or the other receives no more, `ENOTCONN`,
    /// `ECONNREFUSED` the datagram's receiver is gone and not the peer any more, `EMSGSIZE` a packet longer than can ever wait, `EISCONN` a name on a connection, `EPERM` the receiver is
    /// connected to another socket, `EAGAIN` also after the timeout, `EINTR`; `EFAULT` a packet that is cut, or a stream's
    /// bytes that are before the first piece is whole. As on Linux a stream's bytes are copied piece by piece.
    pub fn send(&self, caller: &Caller<'_>, message: Message<'_>, nonblock: bool) -> Result<usize, Errno> {
        if self.core.kind == SocketType::Datagram && self.passes_credentials() {
            self.have_name(caller)?;
        }
        let user = caller.credentials.uid;
        match message.to {
            None => self.send_connected(message, user, nonblock),
            Some(_) if self.core.kind != SocketType::Datagram => {
                let connected = self.core.connection().is_some();
                Err(if connected { Errno::EISCONN } else { Errno::EOPNOTSUPP })
            }
            Some(address) => {
                self.check_packet(&message)?;
                let target = address::find(caller, address, SocketType::Datagram)?;
                self.check_may_send(&target)?;
                self.put(&target.inbox, message, user, nonblock)
            }
        }
    }

    pub(super) fn send_connected(&self, message: Message<'_>, user: Uid, nonblock: bool) -> Result<usize, Errno> {
        let connection = self.core.connection().ok_or(Errno::ENOTCONN)?;
        let result = self.put(&connection.inbox, message, user, nonblock);
        if result == Err(Errno::ECONNREFUSED) {
            self.lose_peer(&connection.inbox);
        }
        result
    }

    /// The peer of a datagram socket is closed: there is none any more, and what it had sent is lost.
    fn lose_peer(&self, inbox: &Arc<Inbox>) {
        let mut link = self.core.link.lock();
        if !matches!(&*link, Link::Aimed(peer) | Link::Connected(peer) if Arc::ptr_eq(&peer.inbox, inbox)) {
            return;
        }
        let old = core::mem::replace(&mut *link, Link::None);
        drop(link);
        drop(old);
        self.core.inbox.purge();
    }

    /// `EMSGSIZE` a packet longer than can ever wait, `EFAULT` a datagram that can't be read to its end.
    fn check_packet(&self, message: &Message<'_>) -> Result<(), Errno> {
        /// What of the buffer Linux keeps for itself.
        const OVERHEAD: usize = 32;
        if message.bytes.len() > self.core.options.capacity() - OVERHEAD {
            return Err(Errno::EMSGSIZE);
        }
        // Who would hear a datagram is asked after its bytes.
        if message.cut && self.core.kind == SocketType::Datagram { Err(Errno::EFAULT) } else { Ok(()) }
    }

    /// What of a stream's bytes that are cut is whole: they are copied in pieces of half the buffer, and at most this many.
    fn whole_pieces<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        /// The data of one of Linux's socket buffers: its pages, and what is left of the page of its head.
        const LONGEST: usize = (32 << 10) + 3776;
        const HEAD: usize = 64;
        let piece = (self.core.options.capacity() / 2 - HEAD).min(LONGEST);
        &bytes[..bytes.len() / piece * piece]
    }

    fn put(&self, inbox: &Inbox, message: Message<'_>, user: Uid, nonblock: bool) -> Result<usize, Errno> {
        let stream = self.core.is_stream();
        if !stream {
            self.check_packet(&message)?;
        }
        if self.core.muted.load(Relaxed) {
            return Err(Errno::EPIPE);
        }
        let datagram = self.core.kind == SocketType::Datagram;
        // Only who sends datagrams learns the difference.
        let told = |error| if error == Errno::ECONNREFUSED && !datagram { Errno::EPIPE } else { error };
        let capacity = self.core.options.capacity();
        let Message { mut bytes, cut, files, sender, .. } = message;
        if cut {
            bytes = if stream { self.whole_pieces(bytes) } else { &[] };
            if bytes.is_empty() {
                // Room is looked for before the bytes.
                let deadline = self.core.options.send_deadline();
                wait_until(&inbox.writable, nonblock, deadline, || inbox.has_room(capacity)).map_err(told)?;
                return Err(Errno::EFAULT);
            }
        }
        if stream && bytes.is_empty() {
            return inbox.has_room(capacity).unwrap_or(Ok(())).map(|()| 0).map_err(told);
        }
        let from = if datagram { Some(self.core.name()) } else { None };
        let asked = self.passes_credentials() || inbox.asks_sender.load(Relaxed);
        let running = || if asked { SENDER.get().and_then(|sender| sender()) } else { None };
        let mut attached = Attached { files, user, from: &from, sender: sender.or_else(running) };
        let deadline = self.core.options.send_deadline();
        let mut done = 0;
        loop {
            let rest = &bytes[done..];
            let attempt = || {
                let muted = self.core.muted.load(Relaxed);
                if muted { Some(Err(Errno::EPIPE)) } else { inbox.try_put(rest, stream, capacity, &mut attached) }
            };
            match wait_until(&inbox.writable, nonblock, deadline, attempt) {
                Ok(count) => {
                    done += count;
                    inbox.readable.wake_all();
                }
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(told(error)),
            }
            if done == bytes.len() {
                return Ok(done);
            }
        }
    }

    /// `recvmsg(2)`. 0 bytes are the end of a connection. `ENOTCONN`, `ECONNRESET` the peer went away without having read
    /// everything, `EAGAIN` also after the timeout, `EINTR`.
    pub fn receive(&self, buffer: &mut [u8], how: Receive) -> Result<Received, Errno> {
        let core = &*self.core;
        if core.kind != SocketType::Datagram && core.connection().is_none() {
            return Err(if core.is_stream() { Errno::EINVAL } else { Errno::ENOTCONN });
        }
        let stream = core.is_stream();
        // A datagram socket has no end: one that was shut gives nothing, and says so only to who waits.
        let check_end = |received: &Received| {
            let hurries = core.kind == SocketType::Datagram && how.nonblock && !received.found;
            if hurries { Err(Errno::EAGAIN) } else { Ok(()) }
        };
        let deadline = core.options.receive_deadline();
        if how.peek {
            let start = core.options.peek_start();
            let attempt = || core.inbox.try_peek(buffer, stream, start);
            let received = wait_until(&core.inbox.readable, how.nonblock, deadline, attempt)?;
            check_end(&received)?;
            core.options.peeked(received.length);
            return Ok(received);
        }
        let least = if how.whole { buffer.len() } else { core.options.least(buffer.len()) };
        let mut received = Received::default();
        loop {
            let attempt = || core.inbox.try_take(buffer, stream, &mut received);
            let result = wait_until(&core.inbox.readable, how.nonblock, deadline, attempt);
            core.inbox.writable.wake_all();
            match result {
                Ok(taken) if taken == Taking::Over || received.length >= least => break,
                Ok(_) => {}
                Err(_) if received.length > 0 => break,
                Err(error) => return Err(error),
            }
        }
        check_end(&received)?;
        core.options.taken(if stream { received.length } else { received.full_length });
        Ok(received)
    }

    /// Says that the place for what was received faulted: what was taken out of a stream goes back in front. `EFAULT`;
    /// `ENOMEM`, then it is lost, as a packet always is.
    pub fn put_back(&self, bytes: &[u8], received: Received) -> Errno {
        let back = if self.core.is_stream() {
            self.core.inbox.put_back(bytes, received, self.core.credentials.uid)
        } else {
            Ok(())
        };
        back.err().unwrap_or(Errno::EFAULT)
    }

    /// `write(2)` of bytes of which not all can be read. As [`Self::send`].
    pub fn write_cut(&self, bytes: &[u8], flags: OpenFlags) -> Result<usize, Errno> {
        let message = Message { bytes, cut: true, ..Message::default() };
        self.send_connected(message, self.core.credentials.uid, flags.contains(OpenFlags::NONBLOCK))
    }
}
