//! Clean copies of the bytes that files borrow from the initramfs, for tasks that pay for their pages.
//!
//! The bytes lie in memory anyway; a copy is what the task's container is charged for, and what can be dropped and made
//! again when that is at its limit.

use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use machine::{
    frame::Frame,
    sync::{SpinLock, rank},
};
use memory::reclaim::FileCopies;

/// The copies of one file, by page.
pub(super) struct Copies {
    pages: SpinLock<BTreeMap<u64, Frame>>,
}

/// All files that have had copies.
pub struct AllCopies {
    files: SpinLock<VecDeque<Arc<Copies>>>,
}

/// All copies: what is installed as [`memory::reclaim::FILE_COPIES`].
pub static ALL_COPIES: AllCopies = AllCopies { files: SpinLock::new(rank::FILE_COPIES, VecDeque::new()) };

impl Copies {
    /// No copies yet; known to those who look for memory.
    pub fn new() -> Arc<Self> {
        let copies = Arc::new(Self { pages: SpinLock::new(rank::PAGE_TABLE, BTreeMap::new()) });
        ALL_COPIES.files.lock().push_back(copies.clone());
        copies
    }

    /// The copy of a page.
    pub fn get(&self, index: u64) -> Option<Frame> {
        self.pages.lock().get(&index).cloned()
    }

    /// Puts a copy in, unless there is one; gives the one that is there then.
    pub fn insert(&self, index: u64, frame: Frame) -> Frame {
        self.pages.lock().entry(index).or_insert(frame).clone()
    }

    /// Puts another frame in place of a copy.
    pub fn exchange(&self, index: u64, make: &mut dyn FnMut(&Frame, u32) -> Option<Frame>) -> bool {
        let mut pages = self.pages.lock();
        let old = pages.get_mut(&index).and_then(|frame| make(frame, 1).map(|new| core::mem::replace(frame, new)));
        drop(pages);
        old.is_some()
    }

    /// Lets go of the copy of one page.
    pub fn remove(&self, index: u64) {
        let gone = self.pages.lock().remove(&index);
        drop(gone);
    }

    /// Lets go of the copies of this page and all behind it.
    pub fn cut(&self, index: u64) {
        let gone = self.pages.lock().split_off(&index);
        drop(gone);
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.pages.lock().len() as u64
    }

    fn drop_unused(&self, wanted: &dyn Fn(&Frame) -> bool, most: usize) -> usize {
        let mut dropped = 0;
        // The lock is held while frames are looked at: a new reference could come only from here.
        self.pages.lock().retain(|_, frame| {
            let goes = dropped < most && frame.reference_count() == 1 && wanted(frame);
            dropped += usize::from(goes);
            !goes
        });
        dropped
    }
}

impl AllCopies {
    /// Forgets a file that is gone.
    pub(super) fn forget(&self, copies: &Arc<Copies>) {
        self.files.lock().retain(|other| !Arc::ptr_eq(other, copies));
    }

    /// How many copies there are, pages.
    pub fn pages(&self) -> u64 {
        self.files.lock().iter().map(|copies| copies.len()).sum()
    }
}

impl FileCopies for AllCopies {
    fn drop_unused(&self, wanted: &dyn Fn(&Frame) -> bool, most: usize) -> usize {
        let files = self.files.lock().len();
        let mut dropped = 0;
        for _ in 0..files {
            if dropped >= most {
                break;
            }
            // Files take turns. What becomes of a file that is forgotten meanwhile: its copies are dropped with it.
            let Some(copies) = ({
                let mut files = self.files.lock();
                let first = files.pop_front();
                first.inspect(|copies| files.push_back(copies.clone()))
            }) else {
                break;
            };
            dropped += copies.drop_unused(wanted, most - dropped);
        }
        dropped
    }
}
