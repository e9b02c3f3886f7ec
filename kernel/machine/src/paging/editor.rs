//! Changes to page tables.

use super::table::{Entry, LEAF, ROOT, Table, index, span};
use super::walk::{LEAF_SPAN, Leaf, check, check_page, extend};
use super::{PageKind, PageTables, Permissions, TableSource};
use crate::arch;
use crate::frame::{Block, BlockStack, BorrowedFrame, Frame};
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
    /// Whether other address spaces may have it through the same table, or had it: the space can't store to it so.
    pub shares_table: bool,
    /// How many address spaces have it through this table; the frame counts them as one.
    pub table_owners: u32,
}

impl Mapping<'_> {
    /// How many have the page mapped, by the references to its frame: who gave a page that is not the space's own refers
    /// to it too.
    pub fn times_mapped(&self) -> u64 {
        let others = self.frame.reference_count() + self.table_owners - 1;
        u64::from(others.saturating_sub(u32::from(self.kind != PageKind::Anonymous)).max(1))
    }
}

/// Emptied table pages that are kept for the next need.
const SPARE_TABLES: usize = 4;

/// The right to change one set of page tables. When it is dropped, CPUs that may remember old entries have been
/// made to forget them, and only then are the frames that were unmapped given up.
///
/// All addresses and the ends of all ranges are multiples of 4096 up to [`USER_END`](super::USER_END); others panic. Where a `source` is
/// asked for, it gives table pages for leaf tables that others have too and that must become the space's own.
pub struct Editor<'a> {
    tables: &'a PageTables,
    spare: SpinGuard<'a, BlockStack>,
    /// Addresses whose old entries CPUs may remember.
    stale: Range<u64>,
    /// References that entries owned that CPUs may remember.
    unmapped: ArrayVec<Frame, 32>,
    /// Tables that CPUs may be walking. All their entries are 0.
    pub(super) unlinked: BlockStack,
    /// Leaf tables that others have too, or had, and this space no longer, but CPUs may be walking.
    given_up: ArrayVec<Table, 16>,
    /// Whether the tables are no longer needed.
    pub(super) ends: bool,
}

impl<'a> Editor<'a> {
    pub(super) fn new(tables: &'a PageTables, spare: SpinGuard<'a, BlockStack>) -> Self {
        Self {
            tables,
            spare,
            stale: 0..0,
            unmapped: ArrayVec::new(),
            unlinked: BlockStack::new(),
            given_up: ArrayVec::new(),
            ends: false,
        }
    }

    /// The tables under change.
    pub fn tables(&self) -> &'a PageTables {
        self.tables
    }

    /// The page at `address`, if one is mapped.
    #[inline]
    pub fn get(&self, address: u64) -> Option<Mapping<'_>> {
        let leaf = self.tables.leaf(address)?;
        leaf.mapping(leaf.slots.start)
    }

    /// Maps `frame` at `address`, where nothing is mapped.
    ///
    /// Errors, nothing changed: `EEXIST` a page is mapped there; `EACCES` a sealed frame to be writable; `ENOMEM` no
    /// table page.
    #[inline]
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
        // Mostly there is a table, and nobody else has it.
        let table = match self.tables.leaf(address).filter(Leaf::is_alone) {
            Some(leaf) if leaf.table.load(leaf.slots.start).is_empty() => leaf.table,
            _ => self.make_empty_slot(address, source)?,
        };
        let entry = Entry::page(frame, permissions, kind);
        table.fill(index(address, LEAF), entry);
        table.add_used(1, entry.weight());
        Ok(())
    }

    /// Maps frames beside the page that is mapped at `page`, where nothing is mapped: at addresses in the same leaf table,
    /// if the space has that alone; says how many. They count as not used. All others are dropped, sealed ones too if they
    /// would be writable.
    pub fn map_beside(
        &mut self,
        page: u64,
        others: impl Iterator<Item = (u64, Frame)>,
        permissions: Permissions,
        kind: PageKind,
    ) -> u64 {
        let Some(leaf) = self.tables.leaf(page).filter(Leaf::is_alone) else { return 0 };
        let (mut added, mut weights) = (0, 0);
        for (address, frame) in others {
            let slot = index(address, LEAF);
            let is_sealed = permissions.contains(Permissions::WRITE) && frame.is_sealed();
            if address / LEAF_SPAN * LEAF_SPAN == leaf.base && leaf.table.load(slot).is_empty() && !is_sealed {
                let entry = Entry::page(frame, permissions, kind).not_used();
                leaf.table.fill(slot, entry);
                added += 1;
                weights += entry.weight();
            }
        }
        leaf.table.add_used(added, weights);
        added.into()
    }

    /// Puts `frame` in place of the page that is mapped at `address`; says the kind of the one that was there.
    ///
    /// Errors, nothing changed: `ENOENT` no page is there; `EACCES` a sealed frame would be writable; `ENOMEM` no table
    /// page.
    pub fn replace(
        &mut self,
        address: u64,
        frame: Frame,
        permissions: Permissions,
        kind: PageKind,
        source: &dyn TableSource,
    ) -> Result<PageKind, Errno> {
        let leaf = self.tables.leaf(address).ok_or(Errno::ENOENT)?;
        let slot = leaf.slots.start;
        if leaf.table.load(slot).is_empty() {
            return Err(Errno::ENOENT);
        }
        if permissions.contains(Permissions::WRITE) && frame.is_sealed() {
            return Err(Errno::EACCES);
        }
        let table = self.own_leaf(leaf, source)?;
        let new = Entry::page(frame, permissions, kind);
        let old = Entry(table.entry(slot).swap(new.0, Relaxed));
        table.add_used(1, new.weight());
        table.remove_used(1, old.weight());
        // SAFETY: it was in use, as just checked under the lock, and the swap took it out.
        let old_frame = unsafe { old.into_frame() };
        self.retire(address, old_frame);
        Ok(old.kind())
    }

    /// Sets the permissions of the page at `address`.
    ///
    /// Errors, nothing changed: `ENOENT` no page is there; `EACCES` a sealed frame would be writable; `ENOMEM` no table
    /// page.
    pub fn set_permissions(
        &mut self,
        address: u64,
        permissions: Permissions,
        source: &dyn TableSource,
    ) -> Result<(), Errno> {
        let leaf = self.tables.leaf(address).ok_or(Errno::ENOENT)?;
        let slot = leaf.slots.start;
        let page = leaf.mapping(slot).ok_or(Errno::ENOENT)?;
        if permissions.contains(Permissions::WRITE) && page.frame.is_sealed() {
            return Err(Errno::EACCES);
        }
        let table = self.own_leaf(leaf, source)?;
        let old = table.load(slot);
        // A CPU may set accessed or dirty in between; neither is counted on for pages whose permissions change.
        table.store(slot, old.with_permissions(permissions));
        // A CPU that remembers less than is allowed faults, looks again and goes on.
        if !permissions.contains(old.permissions()) {
            self.mark_stale(address..address + span(LEAF));
        }
        Ok(())
    }

    /// Sets the permissions of each page in the range. A page that is not writable stays so: the next store decides.
    ///
    /// Errors, nothing changed: `ENOMEM` no table page.
    pub fn protect(
        &mut self,
        range: Range<u64>,
        permissions: Permissions,
        source: &dyn TableSource,
    ) -> Result<(), Errno> {
        self.own(range.clone(), source)?;
        let mut stale = 0..0;
        self.tables.for_each_leaf(&range, &mut |leaf| {
            for slot in leaf.used_slots() {
                let old = leaf.table.load(slot);
                let new = permissions.difference(Permissions::WRITE) | (permissions & old.permissions());
                leaf.table.store(slot, old.with_permissions(new));
                if !new.contains(old.permissions()) {
                    extend(&mut stale, leaf.address(slot)..leaf.address(slot + 1));
                }
            }
        });
        self.mark_stale(stale);
        Ok(())
    }

    /// Has the payer pay for what it does not pay for yet: of new tables the root and all that [`share`](Self::share) made.
    ///
    /// Errors: `ENOMEM` it refuses; then it goes on paying for what it paid for.
    pub fn pay(&mut self) -> Result<(), Errno> {
        self.tables.pay_for(self.tables.table_pages())
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
        self.own(range.clone(), source)?;
        let mut at = range.start;
        while let Some(address) = self.next_mapped(at..range.end) {
            self.make_empty_slot(target(address), source)?;
            at = address + span(LEAF);
        }
        at = range.start;
        while let Some(address) = self.next_mapped(at..range.end) {
            let (Some(from), Some(into)) = (self.tables.leaf(address), self.tables.leaf(target(address))) else {
                break;
            };
            let entry = Entry(from.table.entry(from.slots.start).swap(0, Relaxed));
            from.table.remove_used(1, entry.weight());
            into.table.fill(into.slots.start, entry);
            into.table.add_used(1, entry.weight());
            self.mark_stale(address..address + span(LEAF));
            at = address + span(LEAF);
        }
        // What is empty now goes.
        self.unmap(range, source).map(drop)
    }

    /// Whether nothing is mapped in the range.
    pub fn is_empty(&self, range: Range<u64>) -> bool {
        self.next_mapped(range).is_none()
    }

    /// Shows each mapped page of the range.
    pub fn scan(&self, range: Range<u64>, each: &mut dyn FnMut(u64, Mapping<'_>)) {
        self.tables.for_each_leaf(&range, &mut |leaf| {
            for slot in leaf.used_slots() {
                if let Some(mapping) = leaf.mapping(slot) {
                    each(leaf.address(slot), mapping);
                }
            }
        });
    }

    /// What a CPU does before it uses a page: looks whether it may, and notes that it did.
    #[cfg(not(target_os = "none"))]
    pub(super) fn touch(&mut self, address: u64, write: bool) -> Option<Frame> {
        let leaf = self.tables.leaf(address)?;
        let slot = leaf.slots.start;
        let page = leaf.mapping(slot)?;
        let needed = if write { Permissions::WRITE } else { Permissions::READ };
        if !page.permissions.contains(needed) {
            return None;
        }
        let noted = if write { Entry::ACCESSED | Entry::DIRTY } else { Entry::ACCESSED };
        leaf.table.entry(slot).fetch_or(noted, Relaxed);
        Some(Frame::clone(&page.frame))
    }

    fn next_mapped(&self, range: Range<u64>) -> Option<u64> {
        let mut found = None;
        self.tables.for_each_leaf(&range, &mut |leaf| {
            if found.is_none() {
                found = leaf.used_slots().next().map(|slot| leaf.address(slot));
            }
        });
        found
    }

    /// The leaf table for the address, the space's own, in which the address's slot is empty. `EEXIST` it is not.
    fn make_empty_slot(&mut self, address: u64, source: &dyn TableSource) -> Result<Table, Errno> {
        let above = self.make_middle(address, source)?;
        let Some(table) = above.0.child(above.1) else { return self.make_child(above.0, above.1, source) };
        let slot = index(address, LEAF);
        if !table.load(slot).is_empty() {
            return Err(Errno::EEXIST);
        }
        self.own_leaf(Leaf { table, base: address / LEAF_SPAN * LEAF_SPAN, slots: slot..slot + 1, above }, source)
    }

    /// The leaf table for the address, of tables that share none.
    pub(super) fn make_leaf(&mut self, address: u64, source: &dyn TableSource) -> Result<Table, Errno> {
        let (table, slot) = self.make_middle(address, source)?;
        self.make_child(table, slot, source)
    }

    /// The table with the entry for the address's leaf table, and which one that is.
    pub(super) fn make_middle(&mut self, address: u64, source: &dyn TableSource) -> Result<(Table, usize), Errno> {
        check_page(address);
        let table = self.make_child(self.tables.root, index(address, ROOT), source)?;
        Ok((self.make_child(table, index(address, 3), source)?, index(address, 2)))
    }

    #[inline]
    fn make_child(&mut self, table: Table, index: usize, source: &dyn TableSource) -> Result<Table, Errno> {
        match table.child(index) {
            Some(child) => Ok(child),
            None => self.make_first_child(table, index, source),
        }
    }

    #[inline(never)]
    fn make_first_child(&mut self, table: Table, index: usize, source: &dyn TableSource) -> Result<Table, Errno> {
        self.tables.add_table()?;
        let child = self.make_table(source).inspect_err(|_| self.tables.remove_tables(1))?;
        // The zeros come before the entry that makes them reachable: x86 keeps stores in order.
        table.fill(index, Entry::table(child));
        table.add_used(1, 0);
        Ok(child)
    }

    /// A table that is not in use yet.
    pub(super) fn make_table(&mut self, source: &dyn TableSource) -> Result<Table, Errno> {
        if let Some(block) = self.spare.pop() {
            return Ok(Table::new(block));
        }
        let mut block = source.table()?;
        block.zero();
        Ok(Table::new(block))
    }

    /// Keeps the reference of an entry that is gone until CPUs have forgotten it.
    pub(super) fn retire(&mut self, address: u64, frame: Frame) {
        if self.unmapped.is_full() {
            self.flush();
        }
        self.mark_stale(address..address + span(LEAF));
        self.unmapped.push(frame);
    }

    /// Keeps a leaf table that the space no longer has until CPUs have forgotten it.
    pub(super) fn give_up(&mut self, table: Table, span: Range<u64>) {
        if self.given_up.is_full() {
            self.flush();
        }
        self.mark_stale(span);
        self.given_up.push(table);
    }

    pub(super) fn mark_stale(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            extend(&mut self.stale, range);
        }
    }

    /// Makes CPUs forget what is stale, then gives up what they could reach through it.
    pub(super) fn flush(&mut self) {
        // The changed entries are visible before the set is read; see `ActiveSet`.
        fence(SeqCst);
        let cpus = self.tables.active_on();
        if !cpus.is_empty() {
            arch::paging::flush(&cpus, self.stale.clone());
        }
        self.stale = 0..0;
        self.unmapped.clear();
        while let Some(table) = self.given_up.pop() {
            if table.remove_owner() {
                self.free_leaf(table);
            }
        }
        while let Some(table) = self.unlinked.pop() {
            self.keep_spare(table);
        }
    }

    /// Keeps a table page for the next need, if few are kept. It is still full of zeros, whatever its level was.
    pub(super) fn keep_spare(&mut self, table: Block) {
        if self.spare.len() < SPARE_TABLES {
            self.spare.push(table);
        }
    }
}

impl Drop for Editor<'_> {
    fn drop(&mut self) {
        // Whatever waits to be given up was reached through something stale.
        if !self.stale.is_empty() {
            self.flush();
        }
        self.tables.settle(if self.ends { 0 } else { self.tables.table_pages() });
    }
}

impl fmt::Debug for Editor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Editor").field("tables", self.tables).field("stale", &self.stale).finish()
    }
}
