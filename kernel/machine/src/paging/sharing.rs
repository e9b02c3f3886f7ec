//! Leaf tables that several address spaces have together: a fork then costs one entry for each 2 MiB of pages.
//!
//! The entry above a leaf table can be stored through only if the address space has the table alone for certain; without
//! that, the hardware lets nobody store to any page below. Each of those who have a table together holds it under the lock
//! of its own tables, so nobody changes it, but for bits that all of them may lose: accessed, and the right to store,
//! which none has in effect. Whoever wants to change something makes the table its own first: by a copy, whose pages are
//! then no longer writable in either; or as it is, if all others have given it up. It is given up only when no CPU
//! can walk it for that address space any longer, so the last one may free it at once.
//!
//! Each address space counts the table as its own, and pays for it.

use super::editor::Editor;
use super::table::{Entry, LEAF, Table, WeightSum};
use super::walk::{LEAF_SPAN, Leaf, Middle, covers, extend, slots};
use super::{PageCounts, TableSource, USER_END};
use crate::frame::{FRAME_SIZE, Frame};
use base::Errno;
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;

impl Editor<'_> {
    /// Maps in `child`, whose range is empty, all pages of the range; they are no longer writable in either. Says how
    /// many of each kind. Pages outside the range that lie in leaf tables which the range covers only in part stay as
    /// they are. What the child's tables cost is paid for by its [`pay`](Self::pay), to be called afterwards.
    ///
    /// Errors: `ENOMEM` no table page; `EEXIST` the child's range is not empty. Some pages may be mapped then.
    pub fn share(
        &mut self,
        child: &mut Editor<'_>,
        range: Range<u64>,
        source: &dyn TableSource,
    ) -> Result<PageCounts, Errno> {
        let mut counts = PageCounts::default();
        let mut stale = 0..0;
        let mut result = Ok(());
        self.tables().for_each_middle(&range, &mut |middle| {
            if result.is_ok() {
                result = share_leaves(&middle, &range, child, source, &mut stale, &mut counts);
            }
        });
        self.mark_stale(stale);
        result.map(|()| counts)
    }

    /// Makes all leaf tables that hold pages of the range this address space's own; then nothing that is done to these
    /// pages needs a table page until the next [`share`](Editor::share).
    ///
    /// Errors: `ENOMEM` no table page.
    pub fn own(&mut self, range: Range<u64>, source: &dyn TableSource) -> Result<(), Errno> {
        let mut result = Ok(());
        self.tables().for_each_leaf(&range, &mut |leaf| {
            if result.is_ok() {
                result = self.own_pages(leaf, source);
            }
        });
        result
    }

    /// Makes the leaf tables its own that hold pages of the range and, if others have them too, other pages as well.
    /// `ENOMEM` no table page.
    pub(super) fn own_ends(&mut self, range: &Range<u64>, source: &dyn TableSource) -> Result<(), Errno> {
        for (end, page) in [(range.start, range.start), (range.end, range.end - FRAME_SIZE as u64)] {
            if !end.is_multiple_of(LEAF_SPAN)
                && let Some(leaf) = self.tables().leaf(page)
                && !covers(range, leaf.base)
            {
                self.own_pages(Leaf { slots: slots(range, LEAF, leaf.base), ..leaf }, source)?;
            }
        }
        Ok(())
    }

    /// Makes a leaf table its own if it holds pages in the slots that were asked for.
    fn own_pages(&mut self, leaf: Leaf, source: &dyn TableSource) -> Result<(), Errno> {
        if leaf.is_alone() || leaf.used_slots().next().is_none() {
            return Ok(());
        }
        self.own_leaf(leaf, source).map(drop)
    }

    /// Makes a leaf table this address space's own.
    #[inline]
    pub(super) fn own_leaf(&mut self, leaf: Leaf, source: &dyn TableSource) -> Result<Table, Errno> {
        if leaf.is_alone() { Ok(leaf.table) } else { self.take_over(leaf, source) }
    }

    /// Makes a leaf table its own that others have, or had, too.
    #[inline(never)]
    fn take_over(&mut self, leaf: Leaf, source: &dyn TableSource) -> Result<Table, Errno> {
        let (above, slot) = leaf.above;
        if leaf.table.owners() == 1 {
            // Who remembers that it can't store looks again.
            above.store(slot, Entry::table(leaf.table));
            return Ok(leaf.table);
        }
        let copy = self.make_table(source)?;
        let wanted = leaf.address(leaf.slots.start);
        let whole = Leaf { slots: 0..512, ..leaf };
        // Nobody can store through the old one, so no CPU has to forget that it could.
        share_pages(&whole, copy, &mut (0..0))?;
        above.store(slot, Entry::table(copy));
        // What CPUs remember of its pages is still true. To forget one page makes them forget the table too.
        self.give_up(whole.table, wanted..wanted + FRAME_SIZE as u64);
        Ok(copy)
    }

    /// Frees a leaf table that nobody names any longer, and the references of its entries.
    #[inline(never)]
    pub(super) fn free_leaf(&mut self, table: Table) {
        table.for_each_used(0..512, |_, place, entry| {
            place.store(0, Relaxed);
            // SAFETY: it was in use; nobody else has the table, and it no longer has the entry.
            drop(unsafe { entry.into_frame() });
        });
        // SAFETY: no entry names it, and whoever had it gave it up after its CPUs had forgotten it.
        self.keep_spare(unsafe { table.into_block() });
    }
}

/// Has `child` use the leaf tables of the range too, or have what lies in the range of those that it covers only in part.
/// Large processes have many leaf tables: here each costs some twenty instructions.
fn share_leaves(
    middle: &Middle,
    range: &Range<u64>,
    child: &mut Editor<'_>,
    source: &dyn TableSource,
    stale: &mut Range<u64>,
    counts: &mut PageCounts,
) -> Result<(), Errno> {
    let whole = middle.covered(range);
    for slot in (middle.slots.start..whole.start).chain(whole.end..middle.slots.end) {
        if let Some(leaf) = middle.leaf(slot, range).filter(|leaf| leaf.used_slots().next().is_some()) {
            let into = child.make_leaf(leaf.base, source)?;
            *counts += PageCounts::of(share_pages(&leaf, into, stale)?);
        }
    }
    let from = middle.table;
    if from.used_slots(whole.clone()).next().is_none() {
        return Ok(());
    }
    let (into, _) = child.make_middle(middle.base, source)?;
    if into.used_slots(whole.clone()).next().is_some() {
        return Err(Errno::EEXIST);
    }
    let (mut tables, mut weights, mut alone) = (0, WeightSum::default(), false);
    into.fill_like(from, |entries| {
        from.for_each_used(whole.clone(), |slot, place, entry| {
            // SAFETY: seen just now under the lock of the tables.
            let Some(more) = unsafe { Table::named(entry) }.add_owner_if_used() else { return };
            alone |= entry.has_alone();
            let shared = entry.without_write();
            place.store(shared.0, Relaxed);
            entries[slot].store(shared.0, Relaxed);
            tables += 1;
            weights.add(more);
        });
        tables
    });
    if alone {
        // More than a few pages in any case, so that which of them makes no difference.
        let address = |slot: usize| middle.base + slot as u64 * LEAF_SPAN;
        extend(stale, address(whole.start)..address(whole.end).min(USER_END));
    }
    child.tables().add_shared_tables(tables.into());
    *counts += weights.counts();
    Ok(())
}

/// Copies the entries of a leaf table; none can be stored through afterwards. Gives the weights of the copied ones.
///
/// Errors: `EEXIST` one of the target's was in use; those before it are copied.
fn share_pages(leaf: &Leaf, into: Table, stale: &mut Range<u64>) -> Result<u32, Errno> {
    let (mut added, mut weights) = (0, 0);
    let mut result = Ok(());
    for slot in leaf.used_slots() {
        let entry = leaf.table.load(slot);
        if !into.load(slot).is_empty() {
            result = Err(Errno::EEXIST);
            break;
        }
        if entry != entry.without_write() {
            leaf.table.entry(slot).fetch_and(!Entry::WRITE, Relaxed);
            extend(stale, leaf.address(slot)..leaf.address(slot + 1));
        }
        // SAFETY: a leaf entry in use; the table stays as it is under the lock of an address space that has it.
        let frame = unsafe { entry.borrow() };
        into.fill(slot, entry.for_other(Frame::clone(&frame)));
        added += 1;
        weights += entry.weight();
    }
    into.add_used(added, weights);
    result.map(|()| weights)
}
