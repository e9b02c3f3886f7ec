//! Pages of an address space as those see them who look for memory that can be had back, or count it.

use super::{AddressSpace, Tables};
use crate::area::AreaFlags;
use crate::charge::is_copy;
use crate::reclaim::Used;
use base::MAX_NODES;
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;
use machine::frame::Frame;
use machine::paging::{Choice, Mapping, PageKind, USER_END};

/// The pages that are mapped in a range, for `/proc/<pid>/numa_maps`. The page of zeros is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangePages {
    /// All.
    pub pages: u64,
    /// Those of the program's own.
    pub anonymous: u64,
    /// Those that may differ from what they came from.
    pub dirty: u64,
    /// How often the one is mapped that most have mapped.
    pub most_mapped: u64,
    /// By node.
    pub nodes: [u64; MAX_NODES],
}

impl AddressSpace {
    /// Counts the pages that are mapped in a range. Locks: the page tables'.
    pub fn count_pages(&self, range: Range<u64>) -> RangePages {
        let mut sum = RangePages { pages: 0, anonymous: 0, dirty: 0, most_mapped: 0, nodes: [0; MAX_NODES] };
        self.tables.edit().scan(range, &mut |_, mapping| {
            if mapping.kind == PageKind::Zero {
                return;
            }
            let own = mapping.kind == PageKind::Anonymous;
            sum.pages += 1;
            sum.anonymous += u64::from(own);
            sum.dirty += u64::from(own || mapping.dirty);
            sum.most_mapped = sum.most_mapped.max(mapping.times_mapped());
            sum.nodes[mapping.frame.node().index()] += 1;
        });
        sum
    }

    /// Unmaps up to `most` clean copies of files that are `wanted`; says how many. They come back by page faults. Nothing
    /// is unmapped in a space that has locked pages: which they are is known only under the areas' lock.
    ///
    /// Locks: the page tables'.
    pub fn unmap_copies(&self, wanted: &dyn Fn(&Frame) -> bool, used: Used, most: usize) -> usize {
        if most == 0 || self.locked_pages() > 0 {
            return 0;
        }
        let choose = &mut |mapping: Mapping<'_>| {
            let frame: &Frame = &mapping.frame;
            if mapping.kind != PageKind::File || !is_copy(frame.note()) || !wanted(frame) {
                return Choice::Keep;
            }
            if used == Used::NotLately && mapping.accessed {
                return Choice::Forget;
            }
            Choice::Unmap
        };
        let counts = self.tables.edit().unmap_some(0..USER_END, most, choose, &Tables);
        self.counts.remove(counts);
        counts.file as usize
    }

    /// Shows all pages that are mapped in locked areas.
    ///
    /// Locks: the areas', then the page tables'.
    pub fn for_each_locked(&self, each: &mut dyn FnMut(&Frame)) {
        if self.locked_pages() == 0 {
            return;
        }
        let state = self.read_state();
        for area in state.areas.iter().filter(|area| area.flags.contains(AreaFlags::LOCKED)) {
            self.tables.edit().scan(area.range(), &mut |_, mapping| each(&mapping.frame));
        }
    }

    /// Pages in memory: those that are mapped and those of the page tables. Takes no lock.
    pub fn size_in_memory(&self) -> u64 {
        let counts = [&self.counts.anonymous, &self.counts.file, &self.counts.shared];
        counts.iter().map(|count| count.load(Relaxed)).sum::<u64>() + self.tables.table_pages()
    }

    /// Shows all pages that are mapped, with the lock of the page tables held.
    pub fn for_each_mapped(&self, each: &mut dyn FnMut(PageKind, &Frame)) {
        self.tables.edit().scan(0..USER_END, &mut |_, mapping| each(mapping.kind, &mapping.frame));
    }
}
