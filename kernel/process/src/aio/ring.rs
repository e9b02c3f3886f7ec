//! The memory of a ring of events, which the kernel and the program share: `struct aio_ring` and the events behind it.
//!
//! The program may write anything in it at any moment. What the kernel reads there is only ever believed as `room` says.

use super::room::{PER_PAGE, UNIT, places_in};
use alloc::sync::Arc;
use base::{Errno, charge::Refused};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::{frame::Frame, paging::PageKind};
use memory::{PageSource, PageUse, SharedPages, SharedPolicies, SourceDescription, commitment::Commitment};

/// What marks a ring that a program may read by itself.
const MAGIC: u32 = 0xa10a_10a1;

/// Where the words of the head lie.
mod word {
    pub(super) const NUMBER: usize = 0;
    pub(super) const PLACES: usize = 4;
    pub(super) const HEAD: usize = 8;
    pub(super) const TAIL: usize = 12;
    pub(super) const MAGIC: usize = 16;
    pub(super) const COMPATIBLE: usize = 20;
    pub(super) const HEADER_LENGTH: usize = 28;
}

/// The memory of a ring, and where it is mapped.
pub(super) struct Ring {
    pages: Arc<SharedPages>,
    count: u32,
    address: AtomicU64,
}

impl Ring {
    /// A ring without events. All its pages are there, and stay. `ENOMEM`, also if they are not paid for.
    pub(super) fn new(count: u32, number: u32) -> Result<Arc<Self>, Errno> {
        let commitment = Commitment::new(0).map_err(|Refused| Errno::ENOMEM)?;
        let pages = memory::heap::try_arc(SharedPages::new(commitment))?;
        for index in 0..count.into() {
            pages.page(index, PageUse::SharedWrite).map_err(|_| Errno::ENOMEM)?;
        }
        let ring = Self { pages, count, address: AtomicU64::new(0) };
        for (word, value) in [
            (word::NUMBER, number),
            (word::PLACES, places_in(count)),
            (word::MAGIC, MAGIC),
            (word::COMPATIBLE, 1),
            (word::HEADER_LENGTH, UNIT as u32),
        ] {
            ring.store(word, value);
        }
        Ok(Arc::new(ring))
    }

    /// Where it was mapped last, which is what the program knows it by.
    pub(super) fn address(&self) -> u64 {
        self.address.load(Relaxed)
    }

    /// Its bytes.
    pub(super) fn length(&self) -> u64 {
        u64::from(self.count) * 4096
    }

    /// It is mapped there.
    pub(super) fn set_address(&self, address: u64) {
        self.address.store(address, Relaxed);
    }

    /// How many events it has room for.
    pub(super) fn places(&self) -> u32 {
        places_in(self.count)
    }

    /// Where the program, or who reads for it, goes on to reap.
    pub(super) fn head(&self) -> u32 {
        self.load(word::HEAD)
    }

    pub(super) fn set_head(&self, head: u32) {
        self.store(word::HEAD, head);
    }

    /// Behind the last event, if the program has left that alone.
    pub(super) fn tail(&self) -> u32 {
        self.load(word::TAIL)
    }

    /// All that was put in before is seen by who sees the new tail.
    pub(super) fn set_tail(&self, tail: u32) {
        self.store(word::TAIL, tail);
    }

    /// Puts an event in its place.
    pub(super) fn put(&self, place: u32, event: &[u8; UNIT as usize]) {
        self.with(page_of(place), |frame| frame.write(offset_of(place), event));
    }

    /// Copies events out that lie in one page, from `place` on.
    pub(super) fn copy(&self, place: u32, out: &mut [u8]) {
        self.with(page_of(place), |frame| frame.read(offset_of(place), out));
    }

    fn load(&self, word: usize) -> u32 {
        self.with(0, |frame| frame.load_word(word)).unwrap_or(0)
    }

    fn store(&self, word: usize, value: u32) {
        self.with(0, |frame| frame.store_word(word, value));
    }

    /// The page is there since the ring was made, and nobody can take it out.
    fn with<R>(&self, page: u64, then: impl FnOnce(&Frame) -> R) -> Option<R> {
        self.pages.page(page, PageUse::SharedWrite).ok().map(|frame| then(&frame))
    }
}

/// The head of the ring has the room of one event.
fn page_of(place: u32) -> u64 {
    u64::from((place + 1) / PER_PAGE)
}

fn offset_of(place: u32) -> usize {
    ((place + 1) % PER_PAGE) as usize * UNIT as usize
}

impl PageSource for Ring {
    fn page(&self, index: u64, usage: PageUse) -> Result<Frame, Errno> {
        if index >= self.count.into() { Err(Errno::EFAULT) } else { self.pages.page(index, usage) }
    }

    fn exchange(&self, index: u64, make: &mut dyn FnMut(&Frame, u32) -> Option<Frame>) -> bool {
        self.pages.exchange(index, make)
    }

    fn has_page(&self, index: u64) -> bool {
        self.pages.has_page(index)
    }

    fn policies(&self) -> Option<&SharedPolicies> {
        self.pages.policies()
    }

    fn for_child(&self) -> Option<Arc<dyn PageSource>> {
        // The same memory, but where a child has it is nothing to the context.
        Some(Arc::new(Self { pages: self.pages.clone(), count: self.count, address: AtomicU64::new(0) }))
    }

    fn keeps_length(&self) -> bool {
        true
    }

    fn moved(&self, to: u64) {
        self.set_address(to);
    }

    fn kind(&self) -> PageKind {
        PageKind::Shared
    }

    fn describe(&self) -> SourceDescription {
        let inode = self.pages.describe().inode;
        SourceDescription { path: b"/[aio] (deleted)".to_vec(), device: (0, 11), inode }
    }

    fn identity(&self) -> u64 {
        self.pages.identity()
    }
}
