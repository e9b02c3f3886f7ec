//! What has been sent to a socket and not been received.

use super::{
    Address, Received, Sender,
    flight::{FLIGHT, Flight},
};
use crate::{OpenFile, ring::Ring};
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use base::{Errno, Uid};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};
use sched::WaitQueue;

/// How many packets may wait.
const MOST_PACKETS: usize = 512;

/// The receiving side of a socket; its peers hold it to send.
pub(super) struct Inbox {
    state: SpinLock<State>,
    /// Woken when there is something to receive, or never will be again.
    pub readable: WaitQueue,
    /// Woken when there is room, or never will be again.
    pub writable: WaitQueue,
    /// The owner wants to know who sends (`SO_PASSCRED`).
    pub asks_sender: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The name of the socket, which its peers are told.
    name: Address,
    bytes: Ring,
    /// The packets in `bytes`; of a stream only those bytes that files came with, see `Packet::length`.
    packets: VecDeque<Packet>,
    /// Nobody will receive any more.
    deaf: bool,
    /// The socket is closed.
    closed: bool,
    /// Nobody will send any more.
    ended: bool,
    /// The peer went away and left unread what was sent to it.
    reset: bool,
    /// Its files are to be closed, and then those in the next.
    listed: bool,
    next: Option<Arc<Inbox>>,
}

/// A packet, or in a stream the bytes of one sending that brought files.
pub(super) struct Packet {
    /// Its bytes. In a stream, bytes without files merge into the packet before them if that has none either.
    length: usize,
    files: Vec<Arc<OpenFile>>,
    /// Who has sent the files.
    user: Uid,
    from: Option<Address>,
    sender: Option<Sender>,
}

/// What comes with the bytes of a sending.
pub(super) struct Attached<'a> {
    pub files: Vec<Arc<OpenFile>>,
    pub user: Uid,
    pub from: &'a Option<Address>,
    pub sender: Option<Sender>,
}

/// How taking something out went on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taking {
    /// The call is over.
    Over,
    /// It may go on.
    More,
    /// Files are next, and the caller has not locked [`FLIGHT`].
    Files,
}

/// What can be sent or received now.
#[derive(Clone, Copy)]
pub(super) struct Readiness {
    pub something: bool,
    pub room: bool,
    pub deaf: bool,
    pub ended: bool,
    pub reset: bool,
}

impl State {
    /// Why nothing can be sent: `ECONNREFUSED` the socket is closed, `EPIPE` it receives no more or was told the end.
    fn shut(&self) -> Option<Errno> {
        if self.closed { Some(Errno::ECONNREFUSED) } else { (self.deaf || self.ended).then_some(Errno::EPIPE) }
    }

    /// Whether an error comes before what is there: of packets it does.
    fn errs_first(&self, stream: bool) -> bool {
        self.reset && !stream
    }
}

impl Inbox {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: SpinLock::new(rank::BUFFER, State::default()),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
            asks_sender: AtomicBool::new(false),
        })
    }

    /// What can be done; there is room for senders that may have `capacity` bytes wait.
    pub fn readiness(&self, capacity: usize) -> Readiness {
        let state = self.state.lock();
        Readiness {
            something: !state.packets.is_empty(),
            // A quarter must be free, so that a waker finds room worth the switch.
            room: state.bytes.len() <= capacity / 4 * 3 && state.packets.len() < MOST_PACKETS,
            deaf: state.deaf,
            ended: state.ended,
            reset: state.reset,
        }
    }

    /// Nobody will receive any more.
    pub fn is_deaf(&self) -> bool {
        self.state.lock().deaf
    }

    /// The name of the socket.
    pub fn name(&self) -> Address {
        self.state.lock().name.clone()
    }

    /// Names the socket.
    pub fn set_name(&self, name: Address) {
        self.state.lock().name = name;
    }

    /// How many bytes wait.
    pub fn length(&self) -> usize {
        self.state.lock().bytes.len()
    }

    /// Whether the peer left unread what was sent to it; told once.
    pub fn take_reset(&self) -> bool {
        core::mem::take(&mut self.state.lock().reset)
    }

    /// How many bytes a receive could give now.
    pub fn available(&self, stream: bool) -> usize {
        let state = self.state.lock();
        if stream { state.bytes.len() } else { state.packets.front().map_or(0, |packet| packet.length) }
    }

    /// Puts bytes in, up to `capacity` in all: of a stream what there is room for, of a packet all. `None` no room now;
    /// `ECONNREFUSED` closed, `EPIPE` nobody receives, `ENOMEM`. Takes the attached files if anything was put in.
    pub fn try_put(
        &self,
        bytes: &[u8],
        stream: bool,
        capacity: usize,
        attached: &mut Attached<'_>,
    ) -> Option<Result<usize, Errno>> {
        if attached.files.is_empty() {
            return self.try_put_noted(bytes, stream, capacity, attached);
        }
        let mut flight = FLIGHT.lock();
        if let Err(error) = flight.note(&attached.files, attached.user) {
            return Some(Err(error));
        }
        let result = self.try_put_noted(bytes, stream, capacity, attached);
        flight.forget(&attached.files, attached.user);
        result
    }

    /// [`Self::try_put`] of files that are noted already.
    fn try_put_noted(
        &self,
        bytes: &[u8],
        stream: bool,
        capacity: usize,
        attached: &mut Attached<'_>,
    ) -> Option<Result<usize, Errno>> {
        let mut state = self.state.lock();
        if let Some(error) = state.shut() {
            return Some(Err(error));
        }
        let room = capacity.saturating_sub(state.bytes.len());
        let fits = if stream { room > 0 } else { room >= bytes.len() };
        if !fits || state.packets.len() >= MOST_PACKETS {
            return None;
        }
        let count = bytes.len().min(room);
        if let Err(error) = state.bytes.push(&bytes[..count]) {
            return Some(Err(error));
        }
        match state.packets.back_mut() {
            Some(last)
                if stream && attached.files.is_empty() && last.files.is_empty() && last.sender == attached.sender =>
            {
                last.length += count;
            }
            _ => {
                let files = core::mem::take(&mut attached.files);
                let (from, sender) = (attached.from.clone(), attached.sender);
                state.packets.push_back(Packet { length: count, files, user: attached.user, from, sender });
            }
        }
        Some(Ok(count))
    }

    /// What a receive finds where no packet is: an error, the end, or nothing yet.
    fn nothing(state: &mut State) -> Option<Result<Taking, Errno>> {
        if core::mem::take(&mut state.reset) {
            return Some(Err(Errno::ECONNRESET));
        }
        (state.deaf || state.ended).then_some(Ok(Taking::Over))
    }

    /// Takes out one packet, or what a stream has, and adds it to what was `received`. Bytes of a stream that came with
    /// files end the call, and so do those of another sender where that is asked for. `None` nothing is there but may come.
    pub fn try_take(&self, buffer: &mut [u8], stream: bool, received: &mut Received) -> Option<Result<Taking, Errno>> {
        match self.try_take_noted(buffer, stream, received, None) {
            Some(Ok(Taking::Files)) => {
                let mut flight = FLIGHT.lock();
                let result = self.try_take_noted(buffer, stream, received, Some(&mut flight));
                // Somebody else may have been faster.
                result.or((received.length > 0).then_some(Ok(Taking::More)))
            }
            result => result,
        }
    }

    /// [`Self::try_take`]; files only if `flight` is there to forget them.
    fn try_take_noted(
        &self,
        buffer: &mut [u8],
        stream: bool,
        received: &mut Received,
        mut flight: Option<&mut Flight>,
    ) -> Option<Result<Taking, Errno>> {
        let mut state = self.state.lock();
        if state.packets.is_empty() || state.errs_first(stream) {
            return Self::nothing(&mut state);
        }
        let asks_sender = self.asks_sender.load(Relaxed);
        let State { bytes, packets, .. } = &mut *state;
        while let Some(packet) = packets.front_mut() {
            if received.length > 0 && asks_sender && packet.sender != received.sender {
                return Some(Ok(Taking::Over));
            }
            if !packet.files.is_empty() {
                let Some(flight) = &mut flight else { return Some(Ok(Taking::Files)) };
                flight.forget(&packet.files, packet.user);
            }
            let end = buffer.len().min(received.length + packet.length);
            let count = bytes.pop(&mut buffer[received.length..end]);
            received.found = true;
            if received.length == 0 {
                (received.from, received.sender) = (packet.from.clone(), packet.sender);
            }
            received.files.append(&mut packet.files);
            received.length += count;
            received.full_length += if stream { count } else { packet.length };
            packet.length -= count;
            if !stream {
                // What of a packet finds no room is lost.
                bytes.discard(packet.length);
            } else if packet.length > 0 {
                return Some(Ok(Taking::Over));
            }
            packets.pop_front();
            if !stream || !received.files.is_empty() || received.length == buffer.len() {
                return Some(Ok(Taking::Over));
            }
        }
        Some(Ok(Taking::More))
    }

    /// Whether a sender to a stream that may have `capacity` bytes wait could put something in; `None` not now.
    /// `ECONNREFUSED`, `EPIPE`.
    pub fn has_room(&self, capacity: usize) -> Option<Result<(), Errno>> {
        let state = self.state.lock();
        if let Some(error) = state.shut() {
            return Some(Err(error));
        }
        (state.bytes.len() < capacity && state.packets.len() < MOST_PACKETS).then_some(Ok(()))
    }

    /// Puts back in front what was taken out of a stream and found no place; its files count as sent by `user`. `ENOMEM`,
    /// then it is lost.
    pub fn put_back(&self, bytes: &[u8], received: Received, user: Uid) -> Result<(), Errno> {
        let Received { files, from, sender, .. } = received;
        let mut flight = FLIGHT.lock();
        let mut state = self.state.lock();
        if !files.is_empty() {
            flight.note(&files, user)?;
        }
        if let Err(error) = state.bytes.push_front(bytes) {
            drop(state);
            flight.forget(&files, user);
            return Err(error);
        }
        state.packets.push_front(Packet { length: bytes.len(), files, user, from, sender });
        drop((state, flight));
        self.readable.wake_all();
        Ok(())
    }

    /// Looks at the first bytes from `skip` on, of one packet or of a stream, and leaves all as it is. `None` there are
    /// none but they may come.
    pub fn try_peek(&self, buffer: &mut [u8], stream: bool, skip: usize) -> Option<Result<Received, Errno>> {
        let mut state = self.state.lock();
        if state.errs_first(stream) {
            return Self::nothing(&mut state).map(|end| end.map(|_| Received::default()));
        }
        let (mut start, mut skip) = (0, skip);
        let State { bytes, packets, .. } = &mut *state;
        let found = packets.iter().find(|packet| {
            let passed = skip > 0 && skip >= packet.length;
            if passed {
                (start, skip) = (start + packet.length, skip - packet.length);
            }
            !passed
        });
        let Some(packet) = found else {
            return Self::nothing(&mut state).map(|end| end.map(|_| Received::default()));
        };
        let most = if stream { bytes.len() - start } else { packet.length };
        let wanted = buffer.len().min(most - skip);
        let length = bytes.peek(start + skip, &mut buffer[..wanted]);
        Some(Ok(Received {
            found: true,
            length,
            full_length: if stream { length } else { most - skip },
            files: packet.files.clone(),
            from: packet.from.clone(),
            sender: packet.sender,
        }))
    }

    /// The socket is closed, and nobody will receive. Says whether anything was in it. What came with files stays until the
    /// inbox is [emptied](Self::empty).
    pub fn deafen(&self) -> bool {
        let mut state = self.state.lock();
        (state.deaf, state.closed) = (true, true);
        let left = !state.packets.is_empty();
        state.bytes.clear();
        state.packets.retain(|packet| !packet.files.is_empty());
        drop(state);
        self.wake();
        left
    }

    /// Takes out all packets; their files are closed when they are dropped, with no lock held.
    pub fn empty(&self, flight: &mut Flight) -> VecDeque<Packet> {
        let mut state = self.state.lock();
        state.bytes.clear();
        let packets = core::mem::take(&mut state.packets);
        drop(state);
        for packet in packets.iter().filter(|packet| !packet.files.is_empty()) {
            flight.forget(&packet.files, packet.user);
        }
        packets
    }

    /// Loses all that is in it, for an owner that goes on.
    pub fn purge(&self) {
        let packets = self.empty(&mut FLIGHT.lock());
        drop(packets);
        self.writable.wake_all();
    }

    /// Gives each file in it.
    pub fn each_file(&self, each: impl FnMut(&Arc<OpenFile>)) {
        self.state.lock().packets.iter().flat_map(|packet| &packet.files).for_each(each);
    }

    /// Puts it in front of a list, if it is in none and there are files in it; whether it did.
    pub fn list(&self, first: &mut Option<Arc<Inbox>>) -> bool {
        let mut state = self.state.lock();
        let wanted = !state.listed && !state.packets.is_empty();
        if wanted {
            (state.listed, state.next) = (true, first.take());
        }
        wanted
    }

    /// Takes it off the front of its list; the next.
    pub fn unlist(&self) -> Option<Arc<Inbox>> {
        let mut state = self.state.lock();
        state.listed = false;
        state.next.take()
    }

    /// The owner stops to receive but may still get what is there.
    pub fn stop_receiving(&self) {
        self.state.lock().deaf = true;
        self.wake();
    }

    /// Nobody will send: what is there can be received, then it is the end (`reset`: an error first).
    pub fn end(&self, reset: bool) {
        let mut state = self.state.lock();
        state.ended = true;
        state.reset |= reset;
        drop(state);
        self.wake();
    }

    /// Has all look again who wait to receive or to send.
    pub fn wake(&self) {
        self.readable.wake_all();
        self.writable.wake_all();
    }
}
