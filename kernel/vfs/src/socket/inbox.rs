//! What has been sent to a socket and not been received.

use super::{Address, Received};
use crate::{OpenFile, ring::Ring};
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use base::Errno;
use machine::sync::{SpinLock, rank};
use sched::WaitQueue;

/// How many bytes may wait (Linux's `wmem_default`).
pub(super) const CAPACITY: usize = 212_992;
/// How many packets may wait.
const MOST_PACKETS: usize = 512;

/// The receiving side of a socket; its peers hold it to send.
pub(super) struct Inbox {
    state: SpinLock<State>,
    /// Woken when there is something to receive, or never will be again.
    pub readable: WaitQueue,
    /// Woken when there is room, or never will be again.
    pub writable: WaitQueue,
}

#[derive(Default)]
struct State {
    bytes: Ring,
    /// The packets in `bytes`; of a stream only those bytes that files came with, see `Packet::length`.
    packets: VecDeque<Packet>,
    /// Nobody will receive any more.
    deaf: bool,
    /// Nobody will send any more.
    ended: bool,
    /// The peer went away and left unread what was sent to it.
    reset: bool,
}

/// A packet, or in a stream the bytes of one sending that brought files.
struct Packet {
    /// Its bytes. In a stream, bytes without files merge into the packet before them if that has none either.
    length: usize,
    files: Vec<Arc<OpenFile>>,
    from: Option<Address>,
}

/// What can be sent or received now.
#[derive(Clone, Copy)]
pub(super) struct Readiness {
    pub something: bool,
    pub room: bool,
    pub deaf: bool,
    pub ended: bool,
}

impl Inbox {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: SpinLock::new(rank::BUFFER, State::default()),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
        })
    }

    pub fn readiness(&self) -> Readiness {
        let state = self.state.lock();
        Readiness {
            something: !state.packets.is_empty(),
            // A quarter must be free, so that a waker finds room worth the switch.
            room: state.bytes.len() <= CAPACITY / 4 * 3 && state.packets.len() < MOST_PACKETS,
            deaf: state.deaf,
            ended: state.ended,
        }
    }

    /// How many bytes a receive could give now.
    pub fn available(&self, stream: bool) -> usize {
        let state = self.state.lock();
        if stream { state.bytes.len() } else { state.packets.front().map_or(0, |packet| packet.length) }
    }

    /// Puts bytes in: of a stream what there is room for, of a packet all. `None` no room now; `EPIPE` nobody receives.
    /// Takes `files` and `from` if anything was put in.
    pub fn try_put(
        &self,
        bytes: &[u8],
        stream: bool,
        files: &mut Vec<Arc<OpenFile>>,
        from: &Option<Address>,
    ) -> Option<Result<usize, Errno>> {
        let mut state = self.state.lock();
        if state.deaf || state.ended {
            return Some(Err(Errno::EPIPE));
        }
        let room = CAPACITY.saturating_sub(state.bytes.len());
        let fits = if stream { room > 0 } else { room >= bytes.len() };
        if !fits || state.packets.len() >= MOST_PACKETS {
            return None;
        }
        let count = bytes.len().min(room);
        if let Err(error) = state.bytes.push(&bytes[..count]) {
            return Some(Err(error));
        }
        match state.packets.back_mut() {
            Some(last) if stream && files.is_empty() && last.files.is_empty() => last.length += count,
            _ => {
                let files = core::mem::take(files);
                state.packets.push_back(Packet { length: count, files, from: from.clone() });
            }
        }
        Some(Ok(count))
    }

    /// Takes out bytes of one packet, or of a stream as many as came with the same files. With `peek` they stay. `None`
    /// nothing is there but may come.
    pub fn try_take(&self, buffer: &mut [u8], stream: bool, peek: bool) -> Option<Result<Received, Errno>> {
        let mut state = self.state.lock();
        let State { bytes, packets, deaf, ended, reset } = &mut *state;
        let Some(packet) = packets.front_mut() else {
            if core::mem::take(reset) {
                return Some(Err(Errno::ECONNRESET));
            }
            return (*deaf || *ended).then(|| Ok(Received::default()));
        };
        let full_length = packet.length;
        let mut received = Received { full_length, from: packet.from.clone(), ..Received::default() };
        if peek {
            let wanted = buffer.len().min(if stream { bytes.len() } else { full_length });
            received.length = bytes.peek(0, &mut buffer[..wanted]);
            if stream {
                received.full_length = received.length;
            }
            received.files = packet.files.clone();
            return Some(Ok(received));
        }
        let wanted = buffer.len().min(full_length);
        received.length = bytes.pop(&mut buffer[..wanted]);
        received.files = core::mem::take(&mut packet.files);
        if stream {
            received.full_length = received.length;
            packet.length -= received.length;
        } else {
            bytes.discard(full_length - received.length);
            packet.length = 0;
        }
        if packet.length == 0 {
            packets.pop_front();
        }
        // Bytes behind those that came with files go out by the same call, as far as there is room.
        while stream
            && received.length < buffer.len()
            && let Some(next) = packets.front_mut()
            && next.files.is_empty()
        {
            let end = buffer.len().min(received.length + next.length);
            let count = bytes.pop(&mut buffer[received.length..end]);
            received.length += count;
            next.length -= count;
            if next.length > 0 {
                break;
            }
            packets.pop_front();
        }
        if stream {
            received.full_length = received.length;
        }
        Some(Ok(received))
    }

    /// Nobody will receive: who sends gets `EPIPE`. Gives what was in it and says whether that was anything.
    pub fn deafen(&self) -> bool {
        let mut state = self.state.lock();
        state.deaf = true;
        let left = core::mem::take(&mut state.packets);
        state.bytes.clear();
        drop(state);
        self.wake();
        // Files among what is left are closed here, with no lock held.
        !left.is_empty()
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

    fn wake(&self) {
        self.readable.wake_all();
        self.writable.wake_all();
    }
}
