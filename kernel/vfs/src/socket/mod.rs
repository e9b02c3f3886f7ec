//! Local sockets, `unix(7)`.
//!
//! Each socket has an `Inbox`; a connection is two sockets that hold each other's. Files that are passed along
//! (`SCM_RIGHTS`) are kept open by the inbox, see `flight`.

mod address;
mod flight;
mod inbox;
mod list;
mod options;
mod traffic;
mod types;

pub(crate) use address::AbstractNames;
pub use address::{Address, BoundSocket};
pub use flight::in_flight;
pub use list::{SocketRow, each_row};
pub use options::{Kept, Timeout};
pub use types::{Message, Peer, Receive, Received, SENDER, Sender, Shutdown, SocketType};

use crate::{
    Caller, FileKind, FileOps, Inode, Location, Metadata, OpenFile, OpenFlags, Permissions, PollEvents, PollTable,
    anonymous::{self, Anonymous},
    open_limits::{self, Admission},
    wait_until,
};
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use base::{Credentials, Errno};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use inbox::Inbox;
use linux_raw_sys::ioctl::{FIONREAD, TIOCOUTQ};
use machine::sync::{SpinLock, rank};
use options::Options;
use sched::WaitQueue;

/// The most connections that wait for `accept`, whatever `listen` asked for.
const LONGEST_BACKLOG: u32 = 4096;

/// What a socket is, apart from the open file. Names refer to it weakly.
pub(crate) struct Core {
    number: u64,
    /// The number of its inode; 0 before it is an open file.
    inode: AtomicU64,
    kind: SocketType,
    credentials: Arc<Credentials>,
    inbox: Arc<Inbox>,
    options: Options,
    /// It sends no more.
    muted: AtomicBool,
    link: SpinLock<Link>,
    /// Woken when a connection arrives, and when one was accepted.
    connections: WaitQueue,
    seat: flight::Seat,
}

enum Link {
    None,
    Listening {
        me: Peer,
        backlog: usize,
        queue: VecDeque<Socket>,
    },
    /// A datagram socket whose connection is no more than a default address.
    Aimed(Connection),
    Connected(Connection),
}

#[derive(Clone)]
struct Connection {
    inbox: Arc<Inbox>,
    peer: Option<Peer>,
}

/// A local socket: `file.operations::<Socket>()` (`ENOTSOCK` if that is `None`).
pub struct Socket {
    core: Arc<Core>,
}

impl Core {
    fn new(kind: SocketType, credentials: &Arc<Credentials>, link: Link, inbox: Arc<Inbox>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let core = Arc::new(Self {
            number: NEXT.fetch_add(1, Relaxed),
            inode: AtomicU64::new(0),
            kind,
            credentials: credentials.clone(),
            inbox,
            options: Options::default(),
            muted: AtomicBool::new(false),
            link: SpinLock::new(rank::FILE_STATE, link),
            connections: WaitQueue::new(),
            seat: flight::Seat::none(),
        });
        list::add(&core);
        core
    }

    fn is_stream(&self) -> bool {
        self.kind == SocketType::Stream
    }

    /// The connection, or where datagrams go.
    fn connection(&self) -> Option<Connection> {
        match &*self.link.lock() {
            Link::Connected(connection) | Link::Aimed(connection) => Some(connection.clone()),
            _ => None,
        }
    }

    fn name(&self) -> Address {
        self.inbox.name()
    }

    /// Whether a connection would be taken: `None` the backlog is full; `ECONNREFUSED` not listening, or not any more.
    fn admits(&self, link: &Link) -> Option<Result<(), Errno>> {
        match link {
            Link::Listening { backlog, queue, .. } if !self.inbox.is_deaf() => {
                (queue.len() <= *backlog).then_some(Ok(()))
            }
            _ => Some(Err(Errno::ECONNREFUSED)),
        }
    }

    /// Queues a new connection from `client`, as [`Self::admits`] says.
    fn try_connect(&self, client: &Core, client_peer: Peer) -> Option<Result<Connection, Errno>> {
        let mut link = self.link.lock();
        if let Err(error) = self.admits(&link)? {
            return Some(Err(error));
        }
        let Link::Listening { me, queue, .. } = &mut *link else {
            return Some(Err(Errno::ECONNREFUSED));
        };
        let inbox = Inbox::new();
        inbox.set_name(self.name());
        let to_client = Connection { inbox: client.inbox.clone(), peer: Some(client_peer) };
        let server = Core::new(self.kind, &self.credentials, Link::Connected(to_client), inbox);
        let connection = Connection { inbox: server.inbox.clone(), peer: Some(me.clone()) };
        queue.push_back(Socket { core: server });
        Some(Ok(connection))
    }
}

/// The inode of a socket.
struct SocketInode(Anonymous);

impl Inode for SocketInode {
    fn kind(&self) -> FileKind {
        FileKind::Socket
    }

    fn number(&self) -> u64 {
        self.0.number()
    }

    fn metadata(&self) -> Metadata {
        self.0.metadata(FileKind::Socket, Permissions::new(0o777))
    }

    fn label(&self) -> Option<Vec<u8>> {
        Some(self.0.label_numbered("socket"))
    }
}

fn open(socket: Socket, flags: OpenFlags, admission: Admission) -> Arc<OpenFile> {
    let credentials = socket.core.credentials.clone();
    let inode = Arc::new(SocketInode(Anonymous::new(&credentials)));
    socket.core.inode.store(inode.number(), Relaxed);
    let flags = OpenFlags::READ_WRITE | flags & OpenFlags::NONBLOCK;
    OpenFile::new(
        Location { mount: None, inode },
        FileKind::Socket,
        None,
        Arc::new(socket),
        flags,
        credentials,
        admission,
    )
}

/// `socket(2)`. `flags` may hold `NONBLOCK`.
pub fn socket(kind: SocketType, flags: OpenFlags, who: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
    let admission = open_limits::admit(who)?;
    let core = Core::new(kind, who, Link::None, Inbox::new());
    Ok(open(Socket { core }, flags, admission))
}

/// `socketpair(2)`: two sockets that are connected to each other.
pub fn pair(
    kind: SocketType,
    flags: OpenFlags,
    who: &Arc<Credentials>,
    peer: Peer,
) -> Result<[Arc<OpenFile>; 2], Errno> {
    let admissions = [open_limits::admit(who)?, open_limits::admit(who)?];
    let inboxes = [Inbox::new(), Inbox::new()];
    let end = |own: usize, admission| {
        let link = Link::Connected(Connection { inbox: inboxes[1 - own].clone(), peer: Some(peer.clone()) });
        let core = Core::new(kind, who, link, inboxes[own].clone());
        open(Socket { core }, flags, admission)
    };
    let [first, second] = admissions;
    Ok([end(0, first), end(1, second)])
}

impl Socket {
    /// `bind(2)`; without a name the kernel chooses one, if the socket has none. `EADDRINUSE`; `EINVAL` bound already; for a
    /// path the errors of making a file.
    pub fn bind(&self, caller: &Caller<'_>, address: &Address) -> Result<(), Errno> {
        if *address == Address::Unnamed {
            return self.have_name(caller);
        }
        if self.core.name() != Address::Unnamed {
            return Err(Errno::EINVAL);
        }
        address::bind(&self.core, caller, address)?;
        self.core.inbox.set_name(address.clone());
        Ok(())
    }

    fn have_name(&self, caller: &Caller<'_>) -> Result<(), Errno> {
        if self.core.name() == Address::Unnamed {
            let name = address::bind_automatically(&self.core, caller)?;
            self.core.inbox.set_name(name);
        }
        Ok(())
    }

    /// `listen(2)`. `EOPNOTSUPP` a datagram socket, `EINVAL` not bound or connected.
    pub fn listen(&self, backlog: u32, me: Peer) -> Result<(), Errno> {
        if self.core.kind == SocketType::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let longest = backlog.min(LONGEST_BACKLOG) as usize;
        let named = self.core.name() != Address::Unnamed;
        let mut link = self.core.link.lock();
        match &mut *link {
            Link::Listening { backlog, .. } => *backlog = longest,
            Link::None if named => {
                *link = Link::Listening { me, backlog: longest, queue: VecDeque::new() };
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// `accept4(2)`: the new connection, open with `new_flags` (`NONBLOCK`). `EINVAL` not listening, or
    /// not any more, `EOPNOTSUPP` a datagram socket, `EAGAIN`, `EINTR`.
    pub fn accept(&self, nonblocking: bool, new_flags: OpenFlags) -> Result<Arc<OpenFile>, Errno> {
        if self.core.kind == SocketType::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let admission = open_limits::admit(&self.core.credentials)?;
        let attempt = || match &mut *self.core.link.lock() {
            Link::Listening { queue, .. } => {
                let over = !nonblocking && self.core.inbox.is_deaf();
                queue.pop_front().map(Ok).or(over.then_some(Err(Errno::EINVAL)))
            }
            _ => Some(Err(Errno::EINVAL)),
        };
        let deadline = self.core.options.receive_deadline();
        let socket = wait_until(&self.core.connections, nonblocking, deadline, attempt)?;
        // Those who wait for a place in the backlog.
        self.core.connections.wake_all();
        Ok(open(socket, new_flags, admission))
    }

    /// `connect(2)`. `ECONNREFUSED` nobody listens, `EAGAIN` the backlog is full and the socket does not block, `EISCONN`,
    /// `EPROTOTYPE` another type of socket, `EINVAL` listening itself, `EINTR`, and the errors of a walk.
    pub fn connect(&self, caller: &Caller<'_>, address: &Address, nonblock: bool, me: Peer) -> Result<(), Errno> {
        if self.passes_credentials() {
            self.have_name(caller)?;
        }
        let target = address::find(caller, address, self.core.kind)?;
        if self.core.kind == SocketType::Datagram {
            self.check_may_send(&target)?;
            let connection = Connection { inbox: target.inbox.clone(), peer: None };
            self.aim(Link::Aimed(connection));
            return Ok(());
        }
        let attempt = || {
            if let Err(error) = target.admits(&target.link.lock())? {
                return Some(Err(error));
            }
            match *self.core.link.lock() {
                Link::None => {}
                Link::Listening { .. } => return Some(Err(Errno::EINVAL)),
                Link::Aimed(_) | Link::Connected(_) => return Some(Err(Errno::EISCONN)),
            }
            target.try_connect(&self.core, me.clone())
        };
        let deadline = self.core.options.send_deadline();
        let connection = wait_until(&target.connections, nonblock, deadline, attempt)?;
        target.connections.wake_all();
        let mut link = self.core.link.lock();
        if !matches!(*link, Link::None) {
            // Another thread was faster; what was queued finds its peer gone.
            drop(link);
            connection.inbox.end(true);
            return Err(Errno::EISCONN);
        }
        *link = Link::Connected(connection);
        Ok(())
    }

    /// A datagram socket without a peer again, as `connect(2)` with `AF_UNSPEC` makes it. `EINVAL` another kind of socket.
    pub fn disconnect(&self) -> Result<(), Errno> {
        if self.core.kind != SocketType::Datagram {
            return Err(Errno::EINVAL);
        }
        self.aim(Link::None);
        Ok(())
    }

    /// Gives a datagram socket another peer, or none; what the one before had sent is lost.
    fn aim(&self, link: Link) {
        let old = core::mem::replace(&mut *self.core.link.lock(), link);
        if let (Link::Aimed(old) | Link::Connected(old), new) = (old, self.core.connection())
            && new.is_none_or(|new| !Arc::ptr_eq(&new.inbox, &old.inbox))
        {
            self.core.inbox.purge();
        }
    }

    /// `EPERM` the target hears another socket only.
    fn check_may_send(&self, target: &Core) -> Result<(), Errno> {
        match target.connection() {
            Some(connection) if !Arc::ptr_eq(&connection.inbox, &self.core.inbox) => Err(Errno::EPERM),
            _ => Ok(()),
        }
    }

    /// `shutdown(2)`. The peer on a connection learns of it. What has no peer is shut too: a listening socket that receives
    /// no more takes no connections.
    pub fn shutdown(&self, how: Shutdown) {
        let core = &*self.core;
        if how != Shutdown::Write {
            core.inbox.stop_receiving();
            core.connections.wake_all();
        }
        if how != Shutdown::Read {
            core.muted.store(true, Relaxed);
            core.inbox.wake();
            match core.connection() {
                Some(connection) if core.kind == SocketType::Datagram => connection.inbox.writable.wake_all(),
                Some(connection) => connection.inbox.end(false),
                None => {}
            }
        }
    }

    /// `getsockname(2)`.
    pub fn name(&self) -> Address {
        self.core.name()
    }

    /// `getpeername(2)`. `ENOTCONN`.
    pub fn peer_name(&self) -> Result<Address, Errno> {
        Ok(self.core.connection().ok_or(Errno::ENOTCONN)?.inbox.name())
    }

    /// The name of who sent what was received, if it has one: a datagram's sender, or the peer.
    pub fn sender_name(&self, received: &Received) -> Option<Address> {
        let name = match self.core.kind {
            SocketType::Datagram => received.from.clone()?,
            _ if received.found => self.core.connection()?.inbox.name(),
            _ => return None,
        };
        (name != Address::Unnamed).then_some(name)
    }

    /// `SO_PEERCRED`; `None` when not connected.
    pub fn peer(&self) -> Option<Peer> {
        self.core.connection()?.peer
    }

    /// `SO_TYPE`.
    pub fn kind(&self) -> SocketType {
        self.core.kind
    }

    /// `SO_ACCEPTCONN`: whether it listens.
    pub fn is_listening(&self) -> bool {
        matches!(*self.core.link.lock(), Link::Listening { .. })
    }
}

impl FileOps for Socket {
    fn read(&self, buffer: &mut [u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let how = Receive { nonblock: flags.contains(OpenFlags::NONBLOCK), ..Receive::default() };
        Ok(self.receive(buffer, how)?.length)
    }

    fn write(&self, buffer: &[u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let message = Message { bytes: buffer, ..Message::default() };
        self.send_connected(message, self.core.credentials.uid, flags.contains(OpenFlags::NONBLOCK))
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn tells_changes(&self) -> bool {
        true
    }

    fn ioctl(&self, request: u32, argument: u64) -> Result<i64, Errno> {
        match request {
            FIONREAD | TIOCOUTQ if self.is_listening() => Err(Errno::EINVAL),
            FIONREAD => anonymous::answer_length(self.core.inbox.available(self.core.is_stream()), argument),
            TIOCOUTQ => {
                let sent = self.core.connection().map_or(0, |connection| connection.inbox.length());
                anonymous::answer_length(sent, argument)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        let core = &*self.core;
        let mut events = PollEvents::empty();
        table.watch(&core.inbox.readable);
        let incoming = core.inbox.readiness(core.options.capacity());
        let ended = incoming.ended || incoming.deaf;
        events.set(PollEvents::READABLE, incoming.something || ended);
        events.set(PollEvents::READ_HANG_UP, ended);
        events.set(PollEvents::ERROR, incoming.reset);
        let muted = core.muted.load(Relaxed);
        if self.is_listening() {
            table.watch(&core.connections);
            if let Link::Listening { queue, .. } = &*core.link.lock()
                && !queue.is_empty()
            {
                events |= PollEvents::READABLE;
            }
            events.set(PollEvents::HANG_UP, muted && ended);
            return events;
        }
        let connection = core.connection();
        let outgoing = connection.as_ref().map(|connection| {
            table.watch(&connection.inbox.writable);
            connection.inbox.readiness(core.options.capacity())
        });
        let connects = core.kind != SocketType::Datagram;
        let cut = outgoing.is_some_and(|outgoing| outgoing.deaf || outgoing.ended);
        // A send that would fail at once does not sleep either.
        let sends = cut || outgoing.is_none_or(|outgoing| outgoing.room);
        events.set(PollEvents::WRITABLE | PollEvents::WRITE_BAND, sends);
        let over = ended && (muted || connects && cut);
        events.set(PollEvents::HANG_UP, over || connects && outgoing.is_none());
        events
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let link = core::mem::replace(&mut *self.core.link.lock(), Link::None);
        let unread = self.core.inbox.deafen();
        list::note_closed();
        match link {
            Link::Connected(connection) if self.core.kind != SocketType::Datagram => {
                connection.inbox.end(unread);
                // Who waits for room to send here is told by `deafen`; who polls for it watches this queue.
                connection.inbox.writable.wake_all();
            }
            // Connections that nobody accepted are dropped, and so closed, which is an error for who made them.
            Link::Listening { queue, .. } => {
                for connection in queue.iter().filter_map(|waiting| waiting.core.connection()) {
                    connection.inbox.end(true);
                }
                drop(queue);
                self.core.connections.wake_all();
            }
            _ => {}
        }
        flight::close(&self.core.inbox);
    }
}

#[cfg(test)]
mod tests;
