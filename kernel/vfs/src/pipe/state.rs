//! The state of a pipe, and what polls see of it without its lock.

use super::ATOMIC;
use crate::{PollEvents, by_user::Share, ring::Ring};
use alloc::collections::VecDeque;
use base::{
    Errno,
    charge::{Amount, Refused, Resource, Severity},
};
use core::{
    ops::{Deref, DerefMut},
    sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Release},
    },
};
use machine::sync::{SpinGuard, SpinLock, rank};

/// What is in a pipe, and who has it open.
pub(super) struct State {
    pub(super) ring: Ring,
    /// What the ring's buffer costs, paid by who made it grow.
    pub(super) buffer: Option<Amount>,
    /// Lengths of the packets in `ring`, if ends were opened with `O_DIRECT`; 0 is never one.
    pub(super) packets: VecDeque<usize>,
    pub(super) capacity: usize,
    /// The capacity in pages, as its user has it; none while it has no ends.
    pub(super) pages: Option<Share>,
    /// Room that is promised to what is on its way in, or may have to come back.
    pub(super) held: usize,
    /// The first bytes are on their way elsewhere and may come back: nobody else reads meanwhile.
    pub(super) lent: bool,
    pub(super) readers: usize,
    pub(super) writers: usize,
    /// How often it was opened for reading and for writing: a FIFO's opener waits for the other count to move.
    pub(super) reader_opens: u64,
    pub(super) writer_opens: u64,
}

impl State {
    /// For so many bytes more. As on Linux, a packet takes the place of a page, however short it is.
    pub(super) fn room(&self) -> usize {
        let is_full = self.packets.len() >= self.capacity / ATOMIC;
        if is_full { 0 } else { self.capacity.saturating_sub(self.ring.len() + self.held) }
    }

    /// Makes the ring's buffer large enough for so many bytes more, besides those that room is held for; the running
    /// task's containers pay for a new one. `ENOMEM` there is no memory, or they don't.
    #[inline]
    pub(super) fn grow(&mut self, more: usize) -> Result<(), Errno> {
        let needed = self.held + more;
        match self.ring.growth(needed) {
            Some(size) => self.enlarge(size as u64, needed),
            None => Ok(()),
        }
    }

    #[cold]
    fn enlarge(&mut self, size: u64, needed: usize) -> Result<(), Errno> {
        let payer = memory::payer::current();
        let paid = payer.map(|payer| Amount::take(payer, Resource::KernelMemory, size, Severity::Barrier));
        let paid = paid.transpose().map_err(|Refused| Errno::ENOMEM)?;
        self.ring.reserve(needed)?;
        self.buffer = paid;
        Ok(())
    }

    /// Puts bytes into the ring. Errors: see [`State::grow`].
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.grow(bytes.len())?;
        self.ring.push(bytes)
    }

    /// What a reader finds if it can't have bytes now: the end, or nothing yet (`None`).
    pub(super) fn end_for_readers(&self) -> Option<usize> {
        (self.writers == 0 && !self.lent).then_some(0)
    }

    /// What can be done at either end. Without writers that is a hang-up, though there may not have been one yet.
    #[inline]
    fn readiness(&self) -> PollEvents {
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, !self.ring.is_empty());
        events.set(PollEvents::HANG_UP, self.writers == 0);
        events.set(PollEvents::WRITABLE, self.room() >= ATOMIC);
        events.set(PollEvents::ERROR, self.readers == 0);
        events
    }
}

/// The state behind its lock.
pub(super) struct Shared {
    state: SpinLock<State>,
    /// Its readiness. Whoever changes the state writes it before the lock is free, and wakes who waits after; whoever polls
    /// enters the queue first and reads it then.
    readiness: AtomicU32,
}

impl Shared {
    /// Of a pipe without ends.
    pub(super) fn new() -> Self {
        let state = State {
            ring: Ring::new(),
            buffer: None,
            packets: VecDeque::new(),
            capacity: 0,
            pages: None,
            held: 0,
            lent: false,
            readers: 0,
            writers: 0,
            reader_opens: 0,
            writer_opens: 0,
        };
        Self { state: SpinLock::new(rank::BUFFER, state), readiness: AtomicU32::new(0) }
    }

    /// What can be done, as it was last written; takes no lock.
    #[inline]
    pub(super) fn readiness(&self) -> PollEvents {
        PollEvents::from_bits_retain(self.readiness.load(Acquire))
    }

    /// The state to look at. Locks it.
    #[inline]
    pub(super) fn look(&self) -> Look<'_> {
        Look { shared: self, state: self.state.lock() }
    }

    /// The state to be changed. Locks it.
    #[inline]
    pub(super) fn change(&self) -> Change<'_> {
        self.look().change()
    }
}

/// The locked state.
pub(super) struct Look<'a> {
    shared: &'a Shared,
    state: SpinGuard<'a, State>,
}

impl<'a> Look<'a> {
    /// The same to be changed.
    #[inline]
    pub(super) fn change(self) -> Change<'a> {
        Change { shared: self.shared, state: self.state }
    }
}

impl Deref for Look<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

/// The locked state while it changes; its readiness is written when this is dropped.
pub(super) struct Change<'a> {
    shared: &'a Shared,
    // Unlocked after `drop` has run.
    state: SpinGuard<'a, State>,
}

impl Deref for Change<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Change<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shared.readiness.store(self.state.readiness().bits(), Release);
    }
}
