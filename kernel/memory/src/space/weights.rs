//! How the pages of a range weigh on memory, for `/proc/<pid>/smaps`.

use super::AddressSpace;
use core::ops::{AddAssign, Range};
use machine::frame::FRAME_SIZE;
use machine::paging::PageKind;

/// The unit of proportional sizes: this many are a byte.
pub const SHARE_UNITS: u64 = 1 << 12;

/// The pages that are mapped in a range, as those see them who ask what a process costs. The page of zeros is none.
///
/// A page that several have mapped belongs to each in part. Who maps it is known from who refers to it: a moment's
/// reference, of a call that copies it, counts as one who maps it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RangeWeights {
    /// Pages that others have mapped too and that are as they came.
    pub shared_clean: u64,
    /// Pages that others have mapped too and that may have been stored to.
    pub shared_dirty: u64,
    /// Pages that nobody else has mapped and that are as they came.
    pub private_clean: u64,
    /// Pages that nobody else has mapped and that may have been stored to.
    pub private_dirty: u64,
    /// Pages that a CPU has used since that was last looked at.
    pub referenced: u64,
    /// Pages of the program's own.
    pub anonymous: u64,
    /// The part of the program's own pages, in [`SHARE_UNITS`].
    pub part_anonymous: u64,
    /// The part of pages of files, in [`SHARE_UNITS`].
    pub part_file: u64,
    /// The part of pages of shared memory, in [`SHARE_UNITS`].
    pub part_shared: u64,
    /// The part of all pages that may have been stored to, in [`SHARE_UNITS`].
    pub part_dirty: u64,
}

impl RangeWeights {
    /// All pages.
    pub fn resident(&self) -> u64 {
        self.shared_clean + self.shared_dirty + self.private_clean + self.private_dirty
    }

    /// The part of all pages, in [`SHARE_UNITS`].
    pub fn part(&self) -> u64 {
        self.part_anonymous + self.part_file + self.part_shared
    }
}

impl AddAssign for RangeWeights {
    fn add_assign(&mut self, other: Self) {
        self.shared_clean += other.shared_clean;
        self.shared_dirty += other.shared_dirty;
        self.private_clean += other.private_clean;
        self.private_dirty += other.private_dirty;
        self.referenced += other.referenced;
        self.anonymous += other.anonymous;
        self.part_anonymous += other.part_anonymous;
        self.part_file += other.part_file;
        self.part_shared += other.part_shared;
        self.part_dirty += other.part_dirty;
    }
}

impl AddressSpace {
    /// Weighs the pages that are mapped in a range. Locks: the page tables'.
    pub fn weigh_pages(&self, range: Range<u64>) -> RangeWeights {
        let mut sum = RangeWeights::default();
        self.tables.edit().scan(range, &mut |_, mapping| {
            let part_of_kind = match mapping.kind {
                PageKind::Zero => return,
                PageKind::Anonymous => &mut sum.part_anonymous,
                PageKind::File => &mut sum.part_file,
                PageKind::Shared => &mut sum.part_shared,
            };
            let own = mapping.kind == PageKind::Anonymous;
            let mapped = mapping.times_mapped();
            let part = FRAME_SIZE as u64 * SHARE_UNITS / mapped;
            *part_of_kind += part;
            let dirty = own || mapping.dirty;
            let count = match (mapped > 1, dirty) {
                (true, false) => &mut sum.shared_clean,
                (true, true) => &mut sum.shared_dirty,
                (false, false) => &mut sum.private_clean,
                (false, true) => &mut sum.private_dirty,
            };
            *count += 1;
            sum.referenced += u64::from(mapping.accessed);
            sum.anonymous += u64::from(own);
            sum.part_dirty += if dirty { part } else { 0 };
        });
        sum
    }
}
