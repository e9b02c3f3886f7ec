//! Pages of an address space as those see them who look for memory that can be had back, or count it.

use super::{AddressSpace, Tables};
use crate::area::AreaFlags;
use crate::charge::is_copy;
use crate::reclaim::Used;
use core::sync::atomic::Ordering::Relaxed;
use machine::frame::Frame;
use machine::paging::{Choice, Mapping, PageKind, USER_END};

impl AddressSpace {
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
