//! Where the pages of a mapped file come from, and the pages of shared memory without a file.

use crate::commitment::Commitment;
use crate::payer::SharedPage;
use crate::{ChargeKind, SharedPolicies, charge, placement};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;
use base::radix::RadixTree;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::frame::{FRAME_SIZE, Frame};
use machine::paging::PageKind;
use machine::sync::{SpinLock, rank};

/// What a page is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageUse {
    /// To be read, or to be copied before it is written: later changes of the file need not show.
    Private,
    /// To be seen by all who share the file: the frame must stay the file's page as long as the file has it.
    Shared,
    /// Like [`PageUse::Shared`], and about to be written through the mapping.
    SharedWrite,
}

/// What `/proc/<pid>/maps` shows of a source.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SourceDescription {
    /// Path as seen by the mounter, or empty.
    pub path: Vec<u8>,
    /// Major and minor number of the file system.
    pub device: (u32, u32),
    /// Inode number.
    pub inode: u64,
}

/// A file, or something like one, that gives pages to mappings. The mapping keeps the source alive (and with it the
/// open file).
pub trait PageSource: Send + Sync {
    /// The page with this index (offset / 4096). A page that the end of the file cuts is zero behind the end.
    /// Called with the address space's lock held; may sleep.
    ///
    /// Errors: `EFAULT` the page lies wholly beyond the end (the task gets SIGBUS); `ENOMEM`; `EIO` (SIGBUS);
    /// `ENOSPC` no room for it, or not paid for (SIGBUS).
    fn page(&self, index: u64, usage: PageUse) -> Result<Frame, Errno>;

    /// Gives those of the pages from this index on that are in memory, and that [`page`](Self::page) would give for `usage`
    /// at once: nothing is made, read or charged. Called like `page`, with no frames yet; never for
    /// [`PageUse::SharedWrite`].
    fn pages_there(&self, _first: u64, _usage: PageUse, _frames: &mut [Option<Frame>]) {}

    /// Puts another frame in place of the page with this index: `make` is shown the one that is there, and how many
    /// references to it the source itself has, and gives the other one. It is asked while nobody can get a new reference
    /// from the source. `false`: it gave none, or the source can't.
    fn exchange(&self, _index: u64, _make: &mut dyn FnMut(&Frame, u32) -> Option<Frame>) -> bool {
        false
    }

    /// Whether the page with this index is in memory, so that nobody has to wait for it.
    fn has_page(&self, _index: u64) -> bool {
        false
    }

    /// Makes zeros of the pages with these indexes, for all who share them, and gives back their memory where it can. Called
    /// with no lock held.
    ///
    /// Errors: `EOPNOTSUPP` it can't; those of `fallocate(2)` of a hole.
    fn punch(&self, _pages: Range<u64>) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The memory policies of its pages, which hold for all who share them; if they can have some.
    fn policies(&self) -> Option<&SharedPolicies> {
        None
    }

    /// The bytes of the System V segment that it is an attachment of, if it is one.
    fn attachment(&self) -> Option<u64> {
        None
    }

    /// What a forked child maps in its place, if not the same.
    fn for_child(&self) -> Option<Arc<dyn PageSource>> {
        None
    }

    /// Whether a mapping of it keeps the length that it was made with: `mremap(2)` makes it no longer, nor a second one.
    fn keeps_length(&self) -> bool {
        false
    }

    /// The mapping of its first page lies at this address now. Called with the address space locked; must not sleep.
    fn moved(&self, _to: u64) {}

    /// How its pages are counted.
    fn kind(&self) -> PageKind {
        PageKind::File
    }

    /// For `/proc/<pid>/maps`.
    fn describe(&self) -> SourceDescription;

    /// A number that is the same for two sources if they share their pages (the inode's, say), for futexes.
    fn identity(&self) -> u64;
}

/// The pages of shared anonymous memory: zero until somebody writes, there as long as somebody maps them.
pub struct SharedPages {
    identity: u64,
    pages: SpinLock<RadixTree<SharedPage>>,
    policies: SharedPolicies,
    _commitment: Commitment,
}

/// Identities from here on are given to [`SharedPages`]; file systems take theirs from below.
pub const FIRST_SHARED_IDENTITY: u64 = 1 << 63;

impl SharedPages {
    /// No pages yet. `commitment`: what is promised of them.
    pub fn new(commitment: Commitment) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(FIRST_SHARED_IDENTITY);
        let pages = SpinLock::new(rank::PAGE_TABLE, RadixTree::default());
        Self { identity: NEXT.fetch_add(1, Relaxed), pages, policies: SharedPolicies::new(), _commitment: commitment }
    }
}

impl SharedPages {
    /// How many pages there are.
    pub fn count(&self) -> u64 {
        self.pages.lock().len() as u64
    }
}

impl PageSource for SharedPages {
    fn page(&self, index: u64, _usage: PageUse) -> Result<Frame, Errno> {
        if let Some(page) = self.pages.lock().get(index) {
            return Ok(page.frame.clone());
        }
        let policy = self.policies.get(index);
        let make = || charge::allocate_zeroed(&placement::current(policy.as_ref(), index), ChargeKind::Shared);
        let page = SharedPage::new(Errno::ENOSPC, make)?;
        let frame = page.frame.clone();
        let mut pages = self.pages.lock();
        // Another space may have been faster; then its page is the one.
        if let Some(there) = pages.get(index) {
            let there = there.frame.clone();
            drop(pages);
            return Ok(there);
        }
        pages.insert(index, page);
        Ok(frame)
    }

    fn exchange(&self, index: u64, make: &mut dyn FnMut(&Frame, u32) -> Option<Frame>) -> bool {
        let mut pages = self.pages.lock();
        let old = pages.get_mut(index).and_then(|page| page.exchange(make));
        drop(pages);
        old.is_some()
    }

    fn has_page(&self, index: u64) -> bool {
        self.pages.lock().get(index).is_some()
    }

    fn punch(&self, pages: Range<u64>) -> Result<(), Errno> {
        let mut from = pages.start;
        loop {
            let mut there = self.pages.lock();
            let Some((index, page)) = there.first_from(from).filter(|next| next.0 < pages.end) else { return Ok(()) };
            from = index + 1;
            // A page that somebody has mapped stays.
            let mapped = page.frame.reference_count() > 1;
            if mapped {
                page.frame.zero(0, FRAME_SIZE);
            }
            let gone = if mapped { None } else { there.remove(index) };
            drop(there);
            drop(gone);
        }
    }

    fn policies(&self) -> Option<&SharedPolicies> {
        Some(&self.policies)
    }

    fn kind(&self) -> PageKind {
        PageKind::Shared
    }

    fn describe(&self) -> SourceDescription {
        SourceDescription {
            path: b"/dev/zero (deleted)".to_vec(),
            device: (0, 1),
            inode: self.identity ^ FIRST_SHARED_IDENTITY,
        }
    }

    fn identity(&self) -> u64 {
        self.identity
    }
}
