//! Taking pages out of page tables: a range, all, or those that somebody picks.

use super::editor::{Editor, Mapping};
use super::table::{Entry, LEAF, ROOT, Table, WeightSum, span};
use super::walk::{LEAF_SPAN, Middle, check, covers, slots};
use super::{PageCounts, TableSource, USER_END};
use arrayvec::ArrayVec;
use base::Errno;
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;

/// How many pages [`Editor::unmap_some`] picks before it unmaps them.
const CHOSEN: usize = 64;

/// What becomes of a page that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// It stays.
    Keep,
    /// It stays, and counts as not used until a CPU uses it again.
    Forget,
    /// It is unmapped.
    Unmap,
}

impl Editor<'_> {
    /// Unmaps all pages in the range; says how many there were of each kind.
    ///
    /// Errors, nothing changed: `ENOMEM` no table page for what stays of a leaf table that others have too.
    pub fn unmap(&mut self, range: Range<u64>, source: &dyn TableSource) -> Result<PageCounts, Errno> {
        check(&range);
        let mut counts = PageCounts::default();
        if !range.is_empty() {
            self.own_ends(&range, source)?;
            self.unmap_below(self.tables().root, ROOT, 0, &range, &mut counts);
        }
        Ok(counts)
    }

    /// Unmaps all pages for good; says how many there were of each kind. Nobody pays for the tables afterwards.
    pub fn end(&mut self) -> PageCounts {
        self.ends = true;
        self.clear()
    }

    /// Unmaps all pages; says how many there were of each kind.
    pub fn clear(&mut self) -> PageCounts {
        /// Most programs have two: one at each end of user space.
        const TREES: usize = 8;
        let mut counts = PageCounts::default();
        let root = self.tables().root;
        loop {
            let mut trees = ArrayVec::<Table, TREES>::new();
            for slot in root.used_slots(slots(&(0..USER_END), ROOT, 0)).take(TREES) {
                trees.extend(root.child(slot));
                root.store(slot, Entry::EMPTY);
                let base = slot as u64 * span(ROOT);
                self.mark_stale(base..(base + span(ROOT)).min(USER_END));
            }
            if trees.is_empty() {
                return counts;
            }
            root.remove_used(trees.len() as u32, 0);
            self.flush();
            for tree in trees {
                self.free_tree(tree, ROOT - 1, &mut counts);
            }
        }
    }

    /// Frees a table above leaf tables that nobody names and no CPU walks any longer, with all that is below.
    fn free_tree(&mut self, table: Table, level: u32, counts: &mut PageCounts) {
        let mut freed = 1;
        if level > LEAF + 1 {
            table.for_each_used(0..512, |_, place, entry| {
                place.store(0, Relaxed);
                // SAFETY: seen just now under the lock of the tables.
                self.free_tree(unsafe { Table::named(entry) }, level - 1, counts);
            });
        } else {
            freed += self.free_leaves(table, counts);
        }
        self.tables().remove_tables(freed);
        // SAFETY: as the caller says; all its entries are 0 by now.
        self.keep_spare(unsafe { table.into_block() });
    }

    /// Gives up all leaf tables below a table that nobody names and no CPU walks any longer; says how many.
    fn free_leaves(&mut self, table: Table, counts: &mut PageCounts) -> u64 {
        let mut weights = WeightSum::default();
        table.for_each_used(0..512, |_, place, entry| {
            place.store(0, Relaxed);
            // SAFETY: seen just now under the lock of the tables.
            let leaf = unsafe { Table::named(entry) };
            weights.add(leaf.weights());
            if leaf.remove_owner() {
                self.free_leaf(leaf);
            }
        });
        *counts += weights.counts();
        table.used().into()
    }

    /// Unmaps up to `most` pages of the range that `choose` picks; says how many there were of each kind. Pages that it
    /// does not pick count as not used since, if it says so. Pages stay whose leaf table others have too if there is no
    /// table page for a copy.
    pub fn unmap_some(
        &mut self,
        range: Range<u64>,
        most: usize,
        choose: &mut dyn FnMut(Mapping<'_>) -> Choice,
        source: &dyn TableSource,
    ) -> PageCounts {
        let mut chosen = ArrayVec::<u64, CHOSEN>::new();
        let mut counts = PageCounts::default();
        let mut at = range.start;
        let mut left = most;
        loop {
            let room = left.min(CHOSEN);
            chosen.clear();
            self.tables().for_each_leaf(&(at..range.end), &mut |leaf| {
                for slot in leaf.slots.clone() {
                    let Some(mapping) = leaf.mapping(slot).filter(|_| chosen.len() < room) else { continue };
                    match choose(mapping) {
                        Choice::Unmap => chosen.push(leaf.address(slot)),
                        // A CPU whose TLB has the page does not note its next use: it is no more than a hint.
                        Choice::Forget => drop(leaf.table.entry(slot).fetch_and(!Entry::ACCESSED, Relaxed)),
                        Choice::Keep => {}
                    }
                }
            });
            for &address in &chosen {
                if let Ok(one) = self.unmap(address..address + span(LEAF), source) {
                    counts += one;
                }
            }
            left -= chosen.len();
            match chosen.last() {
                Some(last) if left > 0 && chosen.len() == room => at = last + span(LEAF),
                _ => return counts,
            }
        }
    }

    fn unmap_below(&mut self, table: Table, level: u32, base: u64, range: &Range<u64>, counts: &mut PageCounts) {
        let slots = slots(range, level, base);
        let mut gone = 0;
        if level == LEAF + 1 {
            gone = self.unmap_leaves(&Middle { table, base, slots }, range, counts);
        } else {
            for slot in table.used_slots(slots) {
                let Some(child) = table.child(slot) else { continue };
                let child_base = base + slot as u64 * span(level);
                self.unmap_below(child, level - 1, child_base, range, counts);
                gone += u32::from(self.unlink_if_empty(table, slot, child, child_base.max(range.start)));
            }
        }
        if gone > 0 {
            table.remove_used(gone, 0);
            self.tables().remove_tables(gone.into());
        }
    }

    /// Unmaps the pages of the range below a table; says how many of its entries went, which still count.
    fn unmap_leaves(&mut self, middle: &Middle, range: &Range<u64>, counts: &mut PageCounts) -> u32 {
        let mut gone = 0;
        for leaf in middle.leaves(range) {
            let (above, slot) = leaf.above;
            if leaf.is_alone() || leaf.table.owners() == 1 {
                self.unmap_pages(leaf.table, leaf.base, range, counts);
                gone += u32::from(self.unlink_if_empty(above, slot, leaf.table, leaf.base.max(range.start)));
            } else if covers(range, leaf.base) {
                // Tables that hold other pages too are the space's own by now (`unmap`).
                *counts += PageCounts::of(leaf.table.weights());
                above.store(slot, Entry::EMPTY);
                gone += 1;
                self.give_up(leaf.table, leaf.base..(leaf.base + LEAF_SPAN).min(USER_END));
            }
        }
        gone
    }

    /// Takes out the entry for a table that has none in use, and says so. `page`: an address below the entry.
    fn unlink_if_empty(&mut self, above: Table, slot: usize, table: Table, page: u64) -> bool {
        let is_empty = table.used() == 0;
        if is_empty {
            above.store(slot, Entry::EMPTY);
            self.mark_stale(page..page + span(LEAF));
            // SAFETY: its entry is gone; CPUs may still walk it, and see only zeros, until `flush`, before which
            // nobody takes it out of `unlinked`.
            self.unlinked.push(unsafe { table.into_block() });
        }
        is_empty
    }

    /// Unmaps the pages of the range in a leaf table that the space has alone.
    fn unmap_pages(&mut self, leaf: Table, base: u64, range: &Range<u64>, counts: &mut PageCounts) {
        let (mut entries, mut weights) = (0, 0);
        for slot in leaf.used_slots(slots(range, LEAF, base)) {
            let old = Entry(leaf.entry(slot).swap(0, Relaxed));
            entries += 1;
            weights += old.weight();
            // SAFETY: it was in use, under the lock, and the swap took it out.
            let frame = unsafe { old.into_frame() };
            self.retire(base + slot as u64 * span(LEAF), frame);
        }
        leaf.remove_used(entries, weights);
        *counts += PageCounts::of(weights);
    }
}
