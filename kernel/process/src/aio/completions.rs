//! The events of a context: requests take their places, end as events, and are reaped.

use super::{
    poll::Ready,
    ring::Ring,
    room::{self, Room, UNIT},
};
use alloc::sync::Arc;
use base::Errno;
use core::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Relaxed, SeqCst},
};
use machine::{
    sync::{Mutex, SpinLock, rank},
    user_memory,
};
use sched::{WaitError, WaitQueue};
use vfs::EventBell;

/// `struct io_event`: what has come of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// The word that the program gave with the request.
    pub data: u64,
    /// The address of its `struct iocb`.
    pub object: u64,
    /// What the call of its kind would have returned: a count, a mask of events, or an error below 0.
    pub result: i64,
}

impl Event {
    fn to_bytes(self) -> [u8; UNIT as usize] {
        let mut bytes = [0; UNIT as usize];
        bytes[..8].copy_from_slice(&self.data.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.object.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.result.to_le_bytes());
        bytes
    }
}

/// What a caller waits for.
#[derive(Clone, Copy, Debug)]
pub struct Reaping {
    /// So many events end the wait.
    pub least: u64,
    /// So many are taken at most.
    pub most: u64,
    /// Where they go in the caller's memory.
    pub out: u64,
    /// Nanoseconds since boot; 0 is no wait, `None` one without end.
    pub deadline: Option<u64>,
}

/// The ring of a context, and who waits at it.
pub(super) struct Completions {
    ring: Arc<Ring>,
    room: SpinLock<Room>,
    /// Held by who reaps, so that nothing is reaped twice.
    turn: Mutex<()>,
    /// Requests that hold a place and have not ended.
    under_way: AtomicU32,
    is_closed: AtomicBool,
    /// Woken by an event, by a request that may have become one, and by the end.
    changed: WaitQueue,
    ready: Arc<Ready>,
}

impl Completions {
    pub(super) fn new(ring: Arc<Ring>, ready: Arc<Ready>) -> Arc<Self> {
        let room = SpinLock::new(rank::FILE_STATE, Room::new(ring.places()));
        Arc::new(Self {
            ring,
            room,
            turn: Mutex::new(rank::EVENT_TURN, ()),
            under_way: AtomicU32::new(0),
            is_closed: AtomicBool::new(false),
            changed: WaitQueue::new(),
            ready,
        })
    }

    pub(super) fn ready(&self) -> &Arc<Ready> {
        &self.ready
    }

    /// A place for a request. `EAGAIN` there is none.
    pub(super) fn take_place(self: &Arc<Self>) -> Result<Place, Errno> {
        if !self.room.lock().take(|| self.ring.head()) {
            return Err(Errno::EAGAIN);
        }
        self.under_way.fetch_add(1, Relaxed);
        Ok(Place { completions: self.clone(), bell: None, is_filled: false })
    }

    fn put(&self, event: Event) {
        let mut room = self.room.lock();
        self.ring.put(room.next(), &event.to_bytes());
        let tail = room.put(self.ring.head());
        self.ring.set_tail(tail);
    }

    /// A request has ended, one way or the other.
    fn ended(&self) {
        self.under_way.fetch_sub(1, SeqCst);
        self.changed.wake_all();
    }

    /// Who waits is told that there will be no more.
    pub(super) fn close(&self) {
        self.is_closed.store(true, SeqCst);
        self.changed.wake_all();
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(SeqCst)
    }

    /// Where requests end, and how many still have to.
    pub(super) fn under_way(&self) -> (&WaitQueue, &AtomicU32) {
        (&self.changed, &self.under_way)
    }

    /// `io_getevents(2)`: takes events to the caller's memory and says how many.
    ///
    /// Errors, only if it has none: `EINVAL` the context has ended; `EFAULT`; `EINTR`.
    pub(super) fn reap(&self, reaping: &Reaping) -> Result<u64, Errno> {
        let mut taken = 0;
        let result = loop {
            self.ready.settle(self.ring.places() as usize);
            let more = self.take(reaping.out.wrapping_add(taken * UNIT), reaping.most - taken);
            taken += more.unwrap_or(0);
            if self.is_closed() {
                break Err(Errno::EINVAL);
            }
            if more.is_err() || taken >= reaping.least || reaping.deadline == Some(0) {
                break more;
            }
            let has_news = || (self.has_events() || !self.ready.is_empty() || self.is_closed()).then_some(());
            match self.changed.wait_until_interruptible(has_news, reaping.deadline) {
                Ok(()) => {}
                Err(WaitError::TimedOut) => break Ok(0),
                Err(WaitError::Interrupted) => break Err(Errno::EINTR),
            }
        };
        if taken > 0 { Ok(taken) } else { result }
    }

    fn has_events(&self) -> bool {
        room::run(self.ring.head(), self.ring.tail(), self.ring.places(), 1).is_some()
    }

    /// Takes up to `most` events that are there. `EFAULT`, and nothing is taken.
    fn take(&self, out: u64, most: u64) -> Result<u64, Errno> {
        /// So many go through the stack at once.
        const FEW: u64 = 16;
        let _turn = self.turn.lock();
        let (head, tail, places) = (self.ring.head(), self.ring.tail(), self.ring.places());
        let (mut at, mut taken) = (head, 0);
        while let Some((place, count)) = room::run(at, tail, places, (most - taken).min(FEW)) {
            let mut bytes = [0; (FEW * UNIT) as usize];
            let bytes = &mut bytes[..count as usize * UNIT as usize];
            self.ring.copy(place, bytes);
            user_memory::write(out.wrapping_add(taken * UNIT), bytes)?;
            taken += u64::from(count);
            at = (place + count) % places;
        }
        if taken > 0 {
            self.ring.set_head(at);
        }
        Ok(taken)
    }
}

/// A request's place in the ring; dropped without an event, it is free again.
pub struct Place {
    completions: Arc<Completions>,
    bell: Option<EventBell>,
    is_filled: bool,
}

impl Place {
    /// Has the event told by an event file too.
    pub fn set_bell(&mut self, bell: EventBell) {
        self.bell = Some(bell);
    }

    /// The request has ended, with this.
    pub fn fill(mut self, event: Event) {
        self.is_filled = true;
        self.completions.put(event);
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }

    pub(super) fn ready(&self) -> &Arc<Ready> {
        self.completions.ready()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_filled {
            self.completions.room.lock().give_back();
        }
        self.completions.ended();
    }
}
