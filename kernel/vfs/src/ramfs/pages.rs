//! The pages of a file in memory: its own, over bytes borrowed from the initramfs.

use super::copies::Copies;
use alloc::sync::Arc;
use base::radix::{self, RadixTree};
use core::cell::LazyCell;
use machine::frame::{FRAME_SIZE, Frame};
use memory::{PageUse, charge, payer::SharedPage};

/// The pages of a file. Borrowed ones count as the file's like its own: an own page over a borrowed one is no page more.
pub(super) struct Pages {
    /// What lies beneath pages that nobody has written; bytes behind it are zero.
    borrowed: &'static [u8],
    /// Pages of its own.
    own: RadixTree<SharedPage>,
    /// How many of its own lie over borrowed bytes.
    covering: u64,
    /// Copies of borrowed pages that can be dropped.
    pub copies: Option<Arc<Copies>>,
}

/// Where the bytes of a page are.
pub(super) enum Source {
    Own(Frame),
    Borrowed(&'static [u8]),
    Hole,
}

impl Source {
    /// Whether a page made from this one's bytes can still stand for what is there `now`.
    pub fn is_still(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::Borrowed(bytes), Self::Borrowed(now)) => bytes.len() == now.len(),
            (Self::Hole, Self::Hole) => true,
            _ => false,
        }
    }
}

impl Pages {
    pub fn new(borrowed: &'static [u8]) -> Self {
        Self { borrowed, own: RadixTree::default(), covering: 0, copies: None }
    }

    #[inline]
    pub fn source(&self, index: u64) -> Source {
        match self.own.get(index) {
            Some(page) => Source::Own(page.frame.clone()),
            None => self.borrowed_at(index).map_or(Source::Hole, Source::Borrowed),
        }
    }

    /// What the page with this index has of the borrowed bytes, if any.
    fn borrowed_at(&self, index: u64) -> Option<&'static [u8]> {
        let start = usize::try_from(index.checked_mul(FRAME_SIZE as u64)?).ok()?;
        let rest = self.borrowed.get(start..)?;
        (!rest.is_empty()).then(|| &rest[..rest.len().min(FRAME_SIZE)])
    }

    /// How many pages have borrowed bytes: those with the first indices.
    pub fn borrowed(&self) -> u64 {
        (self.borrowed.len() as u64).div_ceil(FRAME_SIZE as u64)
    }

    /// How many pages there are that are no holes.
    pub fn count(&self) -> u64 {
        self.borrowed() + self.own.len() as u64 - self.covering
    }

    /// Gives a file without pages its borrowed bytes.
    pub fn fill(&mut self, borrowed: &'static [u8]) {
        self.borrowed = borrowed;
    }

    /// Puts in a page where the file has none of its own.
    pub fn insert(&mut self, index: u64, page: SharedPage) {
        self.covering += u64::from(index < self.borrowed());
        self.own.insert(index, page);
    }

    /// A page of its own.
    pub fn get_mut(&mut self, index: u64) -> Option<&mut SharedPage> {
        self.own.get_mut(index)
    }

    /// Takes out a page of its own that covers no borrowed bytes.
    pub fn remove(&mut self, index: u64) -> Option<SharedPage> {
        if index < self.borrowed() { None } else { self.own.remove(index) }
    }

    /// The index of the first page of its own from `from` on.
    pub fn next(&self, from: u64) -> Option<u64> {
        self.own.first_from(from).map(|(index, _)| index)
    }

    /// Cuts off what lies behind the first `size` bytes, and makes the rest of the last page zeros. Gives the pages that go,
    /// to be freed without the lock.
    pub fn cut(&mut self, size: u64) -> impl Sized + use<> {
        let borrowed = self.borrowed();
        let kept = self.borrowed.len().min(usize::try_from(size).unwrap_or(usize::MAX));
        self.borrowed = &self.borrowed[..kept];
        let gone = self.own.split_off(size.div_ceil(FRAME_SIZE as u64));
        let mut at = 0;
        while let Some((index, _)) = gone.first_from(at).filter(|&(index, _)| index < borrowed) {
            self.covering -= 1;
            at = index + 1;
        }
        let (last, offset) = (size / FRAME_SIZE as u64, (size % FRAME_SIZE as u64) as usize);
        if offset > 0
            && let Some(page) = self.own.get(last)
        {
            page.frame.zero(offset, FRAME_SIZE - offset);
        }
        gone
    }

    /// Gives the pages that can be mapped as they are; see [`memory::PageSource::pages_there`].
    pub fn there(&self, first: u64, usage: PageUse, frames: &mut [Option<Frame>]) {
        // Asked for only where there is a page that may be a copy.
        let copies = LazyCell::new(charge::copies_files);
        let mut own = self.own.leaf(first);
        for (index, frame) in (first..).zip(frames) {
            let slot = index as usize % radix::LEAF;
            if slot == 0 {
                own = self.own.leaf(index);
            }
            *frame = match own.and_then(|own| own[slot].as_ref()) {
                Some(page) => Some(page.frame.clone()),
                // Who shares a page with others must have one of the file's own.
                None if usage != PageUse::Private => None,
                None => self.borrowed_at(index).and_then(|bytes| match *copies {
                    true => self.copies.as_ref()?.get(index),
                    false => frame_of(bytes),
                }),
            };
        }
    }
}

/// The frame that borrowed bytes fill, if they do.
pub(super) fn frame_of(bytes: &'static [u8]) -> Option<Frame> {
    Frame::of_static(bytes.try_into().ok()?)
}

/// Copies `bytes` and pads with zeros.
pub(super) fn copy_padded(bytes: &[u8], out: &mut [u8]) {
    let count = bytes.len().min(out.len());
    out[..count].copy_from_slice(&bytes[..count]);
    out[count..].fill(0);
}
