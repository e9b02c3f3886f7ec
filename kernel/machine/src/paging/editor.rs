//! Changes to page tables.

use super::table::{Entry, LEAF, ROOT, Table, index, span};
use super::{PageCounts, PageKind, PageTables, Permissions, TableSource, USER_END};
use crate::arch;
use crate::frame::{BlockStack, BorrowedFrame, Frame};
use crate::sync::SpinGuard;
use arrayvec::ArrayVec;
use base::Errno;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst, fence};

/// One mapped page as its entry tells.
#[derive(Debug)]
pub struct Mapping<'a> {
    /// The frame.
    pub frame: BorrowedFrame<'a>,
    /// What user mode may do.
    pub permissions: Permissions,
    /// What it is.
    pub kind: PageKind,
    /// Whether a CPU has used the entry.
    pub accessed: bool,
    /// Whether a CPU has stored through the entry.
    pub dirty: bool,
}

/// Emptied table pages that are kept for the next need.
const SPARE_TABLES: usize = 4;

/// The right to change one set of page tables. When it is dropped, CPUs that may remember old entries have been
/// made to forget them, and only then are the frames that were unmapped given up.
///
/// All addresses and the ends of all ranges are multiples of 4096 up to [`USER_END`]; others panic.
pub struct Editor<'a> {
    tables: &'a PageTables,
    spare: SpinGuard<'a, BlockStack>,
    /// Addresses whose old entries CPUs may remember.
    stale: Range<u64>,
    /// References that entries owned that CPUs may remember.
    unmapped: ArrayVec<Frame, 32>,
    /// Tables that CPUs may be walking. All their entries are 0.
    unlinked: BlockStack,
}

impl<'a> Editor<'a> {
    pub(super) fn new(tables: &'a PageTables, spare: SpinGuard<'a, BlockStack>) -> Self {
        Self { tables, spare, stale: 0..0, unmapped: ArrayVec::new_const(), unlinked: BlockStack::new() }
    }

    /// The tables under change.
    pub fn tables(&self) -> &'a PageTables {
        self.tables
    }

    /// The page at `address`, if one is mapped.
    pub fn get(&self, address: u64) -> Option<Mapping<'_>> {
        let leaf = self.leaf(address)?;
        mapping(leaf.load(index(address, LEAF)))
    }

    /// Maps `frame` at `address`, where nothing is mapped.
    ///
    /// Errors, nothing changed: `EEXIST` a page is mapped there; `EACCES` a sealed frame to be writable; `ENOMEM` no
    /// table page.
    pub fn map(
        &mut self,
        address: u64,
        frame: Frame,
        permissions: Permissions,
        kind: PageKind,
        source: &dyn TableSource,
    ) -> Result<(), Errno> {
        if permissions.contains(Permissions::WRITE) && frame.is_sealed() {
            return Err(Errno::EACCES);
        }
        let leaf = self.make_leaf(address, source)?;
        let index = index(address, LEAF);
        if !leaf.load(index).is_empty() {
            return Err(Errno::EEXIST);
        }
        leaf.store(index, Entry::page(frame, permissions, kind));
        leaf.add_used(1);
        Ok(())
    }

    /// Puts `frame` in place of the page that is mapped at `address`; says the kind of the one that was there. `None`
    /// and nothing changed: no page is there, or a sealed frame would be writable.
    pub fn replace(
        &mut self,
        address: u64,
        frame: Frame,
        permissions: Permissions,
        kind: PageKind,
    ) -> Option<PageKind> {
        let leaf = self.leaf(address)?;
        let index = index(address, LEAF);
        if leaf.load(index).is_empty() || permissions.contains(Permissions::WRITE) && frame.is_sealed() {
            return None;
        }
        let old = Entry(leaf.entry(index).swap(Entry::page(frame, permissions, kind).0, Relaxed));
        // SAFETY: it was in use, as just checked under the lock, and the swap took it out.
        let old_frame = unsafe { old.into_frame() };
        self.retire(address, old_frame);
        Some(old.kind())
    }

    /// Sets the permissions of the page at `address`. `false` and nothing changed: no page is there, or a sealed frame
    /// would be writable.
    pub fn set_permissions(&mut self, address: u64, permissions: Permissions) -> bool {
        let Some(leaf) = self.leaf(address) else { return false };
        let index = index(address, LEAF);
        let old = leaf.load(index);
        let Some(mapping) = mapping(old) else { return false };
        if permissions.contains(Permissions::WRITE) && mapping.frame.is_sealed() {
            return false;
        }
        // A CPU may set accessed or dirty in between; neither is counted on for pages whose permissions change.
        leaf.store(index, old.with_permissions(permissions));
        // A CPU that remembers less than is allowed faults, looks again and goes on.
        if !permissions.contains(old.permissions()) {
            self.mark_stale(address, address + span(LEAF));
        }
        true
    }

    /// Sets the permissions of each page in the range. A page that is not writable stays so: the next store decides.
    pub fn protect(&mut self, range: Range<u64>, permissions: Permissions) {
        let mut stale = 0..0;
        for_each_leaf(self.tables.root, ROOT, 0, &range, &mut |leaf, base, slots| {
            for slot in leaf.used_slots(slots) {
                let old = leaf.load(slot);
                let new = permissions.difference(Permissions::WRITE) | (permissions & old.permissions());
                leaf.store(slot, old.with_permissions(new));
                if !new.contains(old.permissions()) {
                    extend(&mut stale, base + slot as u64 * span(LEAF));
                }
            }
        });
        self.mark_stale(stale.start, stale.end);
    }

    /// Unmaps all pages in the range; says how many there were of each kind.
    pub fn unmap(&mut self, range: Range<u64>) -> PageCounts {
        check(&range);
        let mut counts = PageCounts::default();
        if !range.is_empty() {
            self.unmap_below(self.tables.root, ROOT, 0, &range, &mut counts);
        }
        counts
    }

    /// Moves all pages in the range so that the first address becomes `to`, where nothing is mapped. The two must not
    /// overlap.
    ///
    /// Errors, nothing moved: `ENOMEM` no table page; `EEXIST` something is mapped at the target.
    pub fn relocate(&mut self, range: Range<u64>, to: u64, source: &dyn TableSource) -> Result<(), Errno> {
        check(&range);
        check(&(to..to + (range.end - range.start)));
        let target = |address: u64| to + (address - range.start);
        // Everything that can fail comes first.
        let mut at = range.start;
        while let Some(address) = self.next_mapped(at..range.end) {
            let leaf = self.make_leaf(target(address), source)?;
            if !leaf.load(index(target(address), LEAF)).is_empty() {
                return Err(Errno::EEXIST);
            }
            at = address + span(LEAF);
        }
        at = range.start;
        while let Some(address) = self.next_mapped(at..range.end) {
            let (Some(from), Some(into)) = (self.leaf(address), self.leaf(target(address))) else { break };
            let entry = Entry(from.entry(index(address, LEAF)).swap(0, Relaxed));
            from.remove_used(1);
            into.store(index(target(address), LEAF), entry);
            into.add_used(1);
            self.mark_stale(address, address + span(LEAF));
            at = address + span(LEAF);
        }
        // What is empty now goes.
        self.unmap(range);
        Ok(())
    }

    /// Maps in `child`, whose range is empty, all pages of the range; with `copy_on_write` they are no longer
    /// writable in either. Says how many of each kind.
    ///
    /// Errors: `ENOMEM` no table page; `EEXIST` the child's range is not empty. Some pages may be mapped then.
    pub fn share(
        &mut self,
        child: &mut Editor<'_>,
        range: Range<u64>,
        copy_on_write: bool,
        source: &dyn TableSource,
    ) -> Result<PageCounts, Errno> {
        let mut counts = PageCounts::default();
        let mut stale = 0..0;
        let mut result = Ok(());
        for_each_leaf(self.tables.root, ROOT, 0, &range, &mut |leaf, base, slots| {
            if result.is_err() || leaf.used() == 0 {
                return;
            }
            match child.make_leaf(base, source) {
                Ok(into) => {
                    let shared = share_leaf(leaf, into, base, slots, copy_on_write, &mut counts, &mut stale);
                    result = shared.then_some(()).ok_or(Errno::EEXIST);
                }
                Err(error) => result = Err(error),
            }
        });
        self.mark_stale(stale.start, stale.end);
        result.map(|()| counts)
    }

    /// Unmaps up to `most` pages of the range that `choose` picks; says how many there were of each kind. Pages that it
    /// does not pick count as not used since, if it says so.
    pub fn unmap_some(
        &mut self,
        range: Range<u64>,
        most: usize,
        choose: &mut dyn FnMut(Mapping<'_>) -> Choice,
    ) -> PageCounts {
        let mut chosen = ArrayVec::<u64, CHOSEN>::new();
        let mut counts = PageCounts::default();
        let mut at = range.start;
        let mut left = most;
        loop {
            let room = left.min(CHOSEN);
            chosen.clear();
            for_each_leaf(self.tables.root, ROOT, 0, &(at..range.end), &mut |leaf, base, slots| {
                for slot in slots {
                    let entry = leaf.load(slot);
                    let Some(mapping) = mapping(entry).filter(|_| chosen.len() < room) else { continue };
                    match choose(mapping) {
                        Choice::Unmap => chosen.push(base + slot as u64 * span(LEAF)),
                        // A CPU whose TLB has the page does not note its next use: it is no more than a hint.
                        Choice::Forget => drop(leaf.entry(slot).fetch_and(!Entry::ACCESSED, Relaxed)),
                        Choice::Keep => {}
                    }
                }
            });
            for &address in &chosen {
                let one = self.unmap(address..address + span(LEAF));
                counts.anonymous += one.anonymous;
                counts.file += one.file;
                counts.shared += one.shared;
            }
            left -= chosen.len();
            match chosen.last() {
                Some(last) if left > 0 && chosen.len() == room => at = last + span(LEAF),
                _ => return counts,
            }
        }
    }

    /// Shows each mapped page of the range.
    pub fn scan(&self, range: Range<u64>, each: &mut dyn FnMut(u64, Mapping<'_>)) {
        for_each_leaf(self.tables.root, ROOT, 0, &range, &mut |leaf, base, slots| {
            for slot in leaf.used_slots(slots) {
                if let Some(mapping) = mapping(leaf.load(slot)) {
                    each(base + slot as u64 * span(LEAF), mapping);
                }
            }
        });
    }

    /// What a CPU does before it uses a page: looks whether it may, and notes that it did.
    #[cfg(not(target_os = "none"))]
    pub(super) fn touch(&mut self, address: u64, write: bool) -> Option<Frame> {
        let leaf = self.leaf(address)?;
        let index = index(address, LEAF);
        let entry = leaf.load(index);
        let needed = if write { Permissions::WRITE } else { Permissions::READ };
        if !entry.permissions().contains(needed) {
            return None;
        }
        let noted = if write { Entry::ACCESSED | Entry::DIRTY } else { Entry::ACCESSED };
        leaf.store(index, Entry(entry.0 | noted));
        mapping(entry).map(|mapping| Frame::clone(&mapping.frame))
    }

    fn next_mapped(&self, range: Range<u64>) -> Option<u64> {
        let mut found = None;
        for_each_leaf(self.tables.root, ROOT, 0, &range, &mut |leaf, base, slots| {
            if found.is_none() {
                found = leaf.used_slots(slots).next().map(|slot| base + slot as u64 * span(LEAF));
            }
        });
        found
    }

    fn leaf(&self, address: u64) -> Option<Table> {
        check(&(address..address + span(LEAF)));
        let table = self.tables.root.child(index(address, ROOT))?;
        let table = table.child(index(address, 3))?;
        table.child(index(address, 2))
    }

    fn make_leaf(&mut self, address: u64, source: &dyn TableSource) -> Result<Table, Errno> {
        check(&(address..address + span(LEAF)));
        let table = self.make_child(self.tables.root, index(address, ROOT), source)?;
        let table = self.make_child(table, index(address, 3), source)?;
        self.make_child(table, index(address, 2), source)
    }

    fn make_child(&mut self, table: Table, index: usize, source: &dyn TableSource) -> Result<Table, Errno> {
        if let Some(child) = table.child(index) {
            return Ok(child);
        }
        self.tables.add_table()?;
        let made = match self.spare.pop() {
            Some(block) => Ok(block),
            None => source.table().map(|mut block| {
                block.zero();
                block
            }),
        };
        let block = made.inspect_err(|_| self.tables.remove_table())?;
        let child = Table::new(block);
        // The zeros come before the entry that makes them reachable: x86 keeps stores in order.
        table.store(index, Entry::table(child));
        table.add_used(1);
        Ok(child)
    }

    fn unmap_below(&mut self, table: Table, level: u32, base: u64, range: &Range<u64>, counts: &mut PageCounts) {
        for slot in table.used_slots(slots(range, level, base)) {
            if level == LEAF {
                self.unmap_page(table, slot, base + slot as u64 * span(LEAF), counts);
                continue;
            }
            let Some(child) = table.child(slot) else { continue };
            let child_base = base + slot as u64 * span(level);
            self.unmap_below(child, level - 1, child_base, range, counts);
            if child.used() == 0 {
                table.store(slot, Entry::EMPTY);
                table.remove_used(1);
                self.tables.remove_table();
                self.mark_stale(child_base.max(range.start), child_base.max(range.start) + span(LEAF));
                // SAFETY: its entry is gone; CPUs may still walk it, and see only zeros, until `flush`, before which
                // nobody takes it out of `unlinked`.
                self.unlinked.push(unsafe { child.into_block() });
            }
        }
    }

    /// Takes out an entry that is in use.
    fn unmap_page(&mut self, leaf: Table, slot: usize, address: u64, counts: &mut PageCounts) {
        let old = Entry(leaf.entry(slot).swap(0, Relaxed));
        leaf.remove_used(1);
        counts.add(old.kind());
        // SAFETY: it was in use, as the caller has found under the lock, and the swap took it out.
        let frame = unsafe { old.into_frame() };
        self.retire(address, frame);
    }

    /// Keeps the reference of an entry that is gone until CPUs have forgotten it.
    fn retire(&mut self, address: u64, frame: Frame) {
        if self.unmapped.is_full() {
            self.flush();
        }
        self.mark_stale(address, address + span(LEAF));
        self.unmapped.push(frame);
    }

    fn mark_stale(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        if self.stale.is_empty() {
            self.stale = start..end;
        } else {
            self.stale = self.stale.start.min(start)..self.stale.end.max(end);
        }
    }

    /// Makes CPUs forget what is stale, then gives up what they could reach through it.
    fn flush(&mut self) {
        if !self.stale.is_empty() {
            // The changed entries are visible before the set is read; see `ActiveSet`.
            fence(SeqCst);
            let cpus = self.tables.active_on();
            if !cpus.is_empty() {
                arch::paging::flush(&cpus, self.stale.clone());
            }
            self.stale = 0..0;
        }
        self.unmapped.clear();
        while let Some(table) = self.unlinked.pop() {
            // Still full of zeros, whatever its level was.
            if self.spare.len() < SPARE_TABLES {
                self.spare.push(table);
            }
        }
    }
}

impl Drop for Editor<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for Editor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Editor").field("tables", self.tables).field("stale", &self.stale).finish()
    }
}

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

/// Copies the entries of some slots of a leaf table; `false`: one of the target's was in use.
fn share_leaf(
    leaf: Table,
    into: Table,
    base: u64,
    slots: Range<usize>,
    copy_on_write: bool,
    counts: &mut PageCounts,
    stale: &mut Range<u64>,
) -> bool {
    let mut added = 0;
    let mut complete = true;
    for slot in leaf.used_slots(slots) {
        let entry = leaf.load(slot);
        if !into.load(slot).is_empty() {
            complete = false;
            break;
        }
        if copy_on_write && entry.0 & Entry::WRITE != 0 {
            leaf.entry(slot).fetch_and(!Entry::WRITE, Relaxed);
            extend(stale, base + slot as u64 * span(LEAF));
        }
        // SAFETY: a leaf entry in use, under the lock of the tables.
        let frame = unsafe { entry.borrow() };
        into.store(slot, entry.for_other(Frame::clone(&frame), copy_on_write));
        counts.add(entry.kind());
        added += 1;
    }
    into.add_used(added);
    complete
}

fn mapping<'a>(entry: Entry) -> Option<Mapping<'a>> {
    if entry.is_empty() {
        return None;
    }
    Some(Mapping {
        // SAFETY: callers give entries of leaf tables, which stay as they are under the lock of the tables; each
        // either returns the mapping bounded by the editor that has the lock, or uses it at once.
        frame: unsafe { entry.borrow() },
        permissions: entry.permissions(),
        kind: entry.kind(),
        accessed: entry.0 & Entry::ACCESSED != 0,
        dirty: entry.0 & Entry::DIRTY != 0,
    })
}

/// Calls `each` with every leaf table that the range touches, the address of its first slot, and the slots.
fn for_each_leaf(
    table: Table,
    level: u32,
    base: u64,
    range: &Range<u64>,
    each: &mut impl FnMut(Table, u64, Range<usize>),
) {
    check(range);
    if range.is_empty() {
        return;
    }
    let slots = slots(range, level, base);
    if level == LEAF {
        each(table, base, slots);
        return;
    }
    for slot in table.used_slots(slots) {
        if let Some(child) = table.child(slot) {
            for_each_leaf(child, level - 1, base + slot as u64 * span(level), range, each);
        }
    }
}

/// The slots of a table that a range, which is not empty and touches the table, covers.
fn slots(range: &Range<u64>, level: u32, base: u64) -> Range<usize> {
    let end = base + 511 * span(level) + (span(level) - 1);
    index(range.start.max(base), level)..index((range.end - 1).min(end), level) + 1
}

fn extend(stale: &mut Range<u64>, address: u64) {
    let start = if stale.is_empty() { address } else { stale.start.min(address) };
    *stale = start..stale.end.max(address + span(LEAF));
}

fn check(range: &Range<u64>) {
    assert!(
        range.end <= USER_END && range.start.is_multiple_of(span(LEAF)) && range.end.is_multiple_of(span(LEAF)),
        "{range:x?} is no range of user pages"
    );
}
