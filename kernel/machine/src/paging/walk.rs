//! Ways through tables: which leaf tables a range touches, and where.

use super::table::{Entry, LEAF, ROOT, Table, index, span};
use super::{Mapping, PageTables, USER_END};
use core::ops::Range;

/// Bytes that a leaf table spans.
pub(super) const LEAF_SPAN: u64 = span(LEAF + 1);

/// A table above leaf tables, where it was found, and the slots that were asked for.
pub(super) struct Middle {
    pub(super) table: Table,
    /// The address of the first slot of its first leaf table.
    pub(super) base: u64,
    pub(super) slots: Range<usize>,
}

impl Middle {
    /// The slots whose leaf tables lie in the range, which touches all that were asked for, with all that they can hold.
    pub(super) fn covered(&self, range: &Range<u64>) -> Range<usize> {
        let whole = |slot: usize| covers(range, self.base + slot as u64 * LEAF_SPAN);
        let Range { start, end } = self.slots;
        let start = if whole(start) { start } else { start + 1 };
        start..if end > start && !whole(end - 1) { end - 1 } else { end }
    }

    /// The leaf table in a slot; `range` touches it.
    pub(super) fn leaf(&self, slot: usize, range: &Range<u64>) -> Option<Leaf> {
        let base = self.base + slot as u64 * LEAF_SPAN;
        let table = self.table.child(slot)?;
        Some(Leaf { table, base, slots: slots(range, LEAF, base), above: (self.table, slot) })
    }

    /// The leaf tables in the slots that were asked for, where the range touches all of them.
    #[inline]
    pub(super) fn leaves(&self, range: &Range<u64>) -> impl Iterator<Item = Leaf> {
        self.table.used_slots(self.slots.clone()).filter_map(|slot| self.leaf(slot, range))
    }
}

/// A leaf table, where it was found, and the slots that were asked for.
pub(super) struct Leaf {
    pub(super) table: Table,
    /// The address of its first slot.
    pub(super) base: u64,
    pub(super) slots: Range<usize>,
    /// The table with the entry that names it, and which one that is.
    pub(super) above: (Table, usize),
}

impl Leaf {
    /// Whether the address space has it alone for certain.
    pub(super) fn is_alone(&self) -> bool {
        self.above.0.load(self.above.1).has_alone()
    }

    /// The page in a slot, as it works for the address space.
    pub(super) fn mapping<'a>(&self, slot: usize) -> Option<Mapping<'a>> {
        let entry = self.table.load(slot);
        if entry.is_empty() {
            return None;
        }
        let alone = self.is_alone();
        Some(Mapping {
            // SAFETY: leaf entries stay as they are under the lock of the tables; who calls either returns the mapping
            // bounded by the editor that has the lock, or uses it at once.
            frame: unsafe { entry.borrow() },
            permissions: if alone { entry } else { entry.without_write() }.permissions(),
            kind: entry.kind(),
            accessed: entry.0 & Entry::ACCESSED != 0,
            dirty: entry.0 & Entry::DIRTY != 0,
            shares_table: !alone,
            table_owners: if alone { 1 } else { self.table.owners().max(1) },
        })
    }

    /// The slots that were asked for and are in use; see [`Table::used_slots`].
    pub(super) fn used_slots(&self) -> impl Iterator<Item = usize> + use<> {
        self.table.used_slots(self.slots.clone())
    }

    /// The address of a slot.
    pub(super) fn address(&self, slot: usize) -> u64 {
        self.base + slot as u64 * span(LEAF)
    }
}

impl PageTables {
    /// The leaf table for the address, with its slot.
    #[inline]
    pub(super) fn leaf(&self, address: u64) -> Option<Leaf> {
        check_page(address);
        let above = self.root.child(index(address, ROOT))?.child(index(address, 3))?;
        let table = above.child(index(address, 2))?;
        let slot = index(address, LEAF);
        let base = address / LEAF_SPAN * LEAF_SPAN;
        Some(Leaf { table, base, slots: slot..slot + 1, above: (above, index(address, 2)) })
    }

    /// Calls `each` with every leaf table that the range touches.
    pub(super) fn for_each_leaf(&self, range: &Range<u64>, each: &mut impl FnMut(Leaf)) {
        self.for_each_middle(range, &mut |middle| middle.leaves(range).for_each(&mut *each));
    }

    /// Calls `each` with every table above leaf tables that the range touches.
    pub(super) fn for_each_middle(&self, range: &Range<u64>, each: &mut impl FnMut(Middle)) {
        check(range);
        if !range.is_empty() {
            walk(self.root, ROOT, 0, range, each);
        }
    }
}

fn walk(table: Table, level: u32, base: u64, range: &Range<u64>, each: &mut impl FnMut(Middle)) {
    let slots = slots(range, level, base);
    if level == LEAF + 1 {
        each(Middle { table, base, slots });
        return;
    }
    for slot in table.used_slots(slots) {
        if let Some(child) = table.child(slot) {
            walk(child, level - 1, base + slot as u64 * span(level), range, each);
        }
    }
}

/// The slots of a table that a range, which is not empty and touches the table, covers.
pub(super) fn slots(range: &Range<u64>, level: u32, base: u64) -> Range<usize> {
    let end = base + 511 * span(level) + (span(level) - 1);
    index(range.start.max(base), level)..index((range.end - 1).min(end), level) + 1
}

/// Whether all that can be in the leaf table at `base` lies in the range.
pub(super) fn covers(range: &Range<u64>, base: u64) -> bool {
    range.start <= base && range.end >= (base + LEAF_SPAN).min(USER_END)
}

/// Adds pages to a range of stale ones.
pub(super) fn extend(stale: &mut Range<u64>, more: Range<u64>) {
    *stale = if stale.is_empty() { more } else { stale.start.min(more.start)..stale.end.max(more.end) };
}

/// Panics if the range is none of user pages.
pub(super) fn check(range: &Range<u64>) {
    assert!(
        range.end <= USER_END && range.start.is_multiple_of(span(LEAF)) && range.end.is_multiple_of(span(LEAF)),
        "{range:x?} is no range of user pages"
    );
}

/// Panics if the address is none of a user page.
pub(super) fn check_page(address: u64) {
    assert!(address < USER_END && address.is_multiple_of(span(LEAF)), "{address:#x} is no user page");
}
