//! One table of 512 entries, and the form of an entry.

use super::{PageCounts, PageKind, Permissions};
use crate::frame::{Block, BorrowedFrame, Frame, FrameNumber};
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence};

/// The level of the tables whose entries are pages.
pub(super) const LEAF: u32 = 1;
/// The level of the root.
pub(super) const ROOT: u32 = 4;

/// Entries in a table.
const ENTRIES: usize = 512;

/// Slots that are looked for together: most tables hold few entries, side by side and far from others.
const PART: usize = 32;
/// Entries that are looked at together.
const TOGETHER: usize = 8;
/// Where the bits of the parts that may have entries in use are, above the number of these.
const PARTS_SHIFT: u32 = 16;

/// Bytes that one entry of a table of this level spans.
pub(super) const fn span(level: u32) -> u64 {
    1 << (12 + 9 * (level - 1))
}

/// Where in a table of this level the address is looked up.
pub(super) const fn index(address: u64, level: u32) -> usize {
    (address / span(level) % 512) as usize
}

/// A page table, alive as long as an entry above it or the root field of a `PageTables` names it.
///
/// Invariant: the frame was a [`Block`]'s and is a table's now. Its counters are the number of entries in use with the
/// parts of the table that may have some ([`PART`]), in a leaf table also that of the pages by kind ([`Entry::weight`]),
/// and the number of those who name it: more than one can name a leaf table (`sharing.rs`).
#[derive(Clone, Copy)]
pub(super) struct Table(FrameNumber);

impl Table {
    /// A table of a frame full of zeros.
    pub(super) fn new(zeroed: Block) -> Self {
        assert!(zeroed.order() == 0, "a table has one frame");
        let number = zeroed.into_number();
        let table = Self(number);
        table.used_counter().store(0, Relaxed);
        table.kinds_counter().store(0, Relaxed);
        table.owners_counter().store(1, Relaxed);
        table
    }

    pub(super) fn frame(self) -> FrameNumber {
        self.0
    }

    /// The table's frame as a block.
    ///
    /// # Safety
    /// No entry names the table any longer, and no CPU will walk it.
    pub(super) unsafe fn into_block(self) -> Block {
        self.owners_counter().store(0, Relaxed);
        // SAFETY: by the invariant the frame was given up for its number; the caller ends its life as a table.
        unsafe { Block::new(self.0, 0) }
    }

    fn entries(&self) -> &[AtomicU64; ENTRIES] {
        // SAFETY: the frame is mapped, aligned, and a table's by the invariant; entries are only ever used as atomics,
        // also by the hardware.
        unsafe { &*self.0.bytes().cast() }
    }

    pub(super) fn entry(&self, index: usize) -> &AtomicU64 {
        &self.entries()[index]
    }

    /// The slots of the range that are in use, under the lock of the tables. Who gets one may empty it; all others stay
    /// as they are meanwhile.
    pub(super) fn used_slots(self, mut slots: Range<usize>) -> impl Iterator<Item = usize> {
        let mut left = self.used();
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let mut slot = slots.start;
            if slot >= slots.end || self.load(slot).is_empty() {
                slot = self.next_used(slots.clone())?;
            }
            slots.start = slot + 1;
            Some(slot)
        })
    }

    /// Shows the entries of the range that are in use, each with its slot and place; as [`used_slots`](Table::used_slots), but
    /// quicker where many are.
    #[inline]
    pub(super) fn for_each_used(self, slots: Range<usize>, mut each: impl FnMut(usize, &AtomicU64, Entry)) {
        const GROUPS: usize = PART / TOGETHER;
        let (groups, _) = self.entries().as_chunks::<TOGETHER>();
        let mut parts = self.used_counter().load(Relaxed) >> PARTS_SHIFT;
        while parts != 0 {
            let part = parts.trailing_zeros() as usize;
            parts &= parts - 1;
            for (group, some) in (part * GROUPS..).zip(&groups[part * GROUPS..(part + 1) * GROUPS]) {
                if some.iter().fold(0, |all, entry| all | entry.load(Relaxed)) == 0 {
                    continue;
                }
                let first = group * TOGETHER;
                let mut show = |slot: usize, place: &AtomicU64| {
                    let entry = Entry(place.load(Relaxed));
                    if !entry.is_empty() {
                        each(slot, place, entry);
                    }
                };
                if slots.start <= first && first + TOGETHER <= slots.end {
                    some.iter().enumerate().for_each(|(at, place)| show(first + at, place));
                } else {
                    let inside = slots.start.max(first)..slots.end.min(first + TOGETHER);
                    inside.for_each(|slot| show(slot, &some[slot - first]));
                }
            }
        }
    }

    /// The first slot of the range that is in use.
    #[inline(never)]
    fn next_used(self, slots: Range<usize>) -> Option<usize> {
        let entries = self.entries();
        let parts = self.used_counter().load(Relaxed) >> PARTS_SHIFT;
        let mut part = slots.start / PART;
        loop {
            let left = parts >> part;
            if left == 0 {
                return None;
            }
            part += left.trailing_zeros() as usize;
            let (start, end) = (slots.start.max(part * PART), slots.end.min((part + 1) * PART));
            let mut at = start;
            while at + TOGETHER <= end {
                let some = &entries[at..at + TOGETHER];
                if some.iter().fold(0, |all, entry| all | entry.load(Relaxed)) != 0 {
                    break;
                }
                at += TOGETHER;
            }
            if let Some(slot) = (at..end).find(|&slot| entries[slot].load(Relaxed) != 0) {
                return Some(slot);
            }
            if end == slots.end || start >= end {
                return None;
            }
            part += 1;
        }
    }

    pub(super) fn load(&self, index: usize) -> Entry {
        Entry(self.entry(index).load(Relaxed))
    }

    /// Changes an entry in use.
    pub(super) fn store(&self, index: usize, entry: Entry) {
        self.entry(index).store(entry.0, Relaxed);
    }

    /// Puts an entry where none was in use, to be counted by [`add_used`](Table::add_used).
    pub(super) fn fill(&self, index: usize, entry: Entry) {
        let used = self.used_counter();
        used.store(used.load(Relaxed) | 1 << (PARTS_SHIFT as usize + index / PART), Relaxed);
        self.entry(index).store(entry.0, Relaxed);
    }

    /// The table that the entry names, if it names one.
    pub(super) fn child(&self, index: usize) -> Option<Table> {
        let entry = self.load(index);
        // SAFETY: above the leaf level, a present entry has the number of a table's frame (`Editor::make_child`).
        (entry.0 & Entry::PRESENT != 0).then(|| Table(unsafe { entry.number() }))
    }

    /// The table that an entry names which was seen in use in a table above the leaf level.
    ///
    /// # Safety
    /// The lock of the tables is held since.
    pub(super) unsafe fn named(entry: Entry) -> Table {
        // SAFETY: as in `child`: above the leaf level every entry in use is present.
        Table(unsafe { entry.number() })
    }

    /// One entry more names the leaf table, under the lock of another that does, unless it has no entry in use: the sum of
    /// the weights of these.
    #[inline]
    pub(super) fn add_owner_if_used(self) -> Option<u32> {
        let [used, kinds, owners] = Block::counters(self.0);
        if used.load(Relaxed) & ((1 << PARTS_SHIFT) - 1) == 0 {
            return None;
        }
        owners.fetch_add(1, Relaxed);
        Some(kinds.load(Relaxed))
    }

    fn used_counter(self) -> &'static AtomicU32 {
        Block::counters(self.0)[0]
    }

    fn kinds_counter(self) -> &'static AtomicU32 {
        Block::counters(self.0)[1]
    }

    fn owners_counter(self) -> &'static AtomicU32 {
        Block::counters(self.0)[2]
    }

    /// The number of entries in use.
    pub(super) fn used(self) -> u32 {
        self.used_counter().load(Relaxed) & ((1 << PARTS_SHIFT) - 1)
    }

    /// The sum of the weights of a leaf table's entries.
    pub(super) fn weights(self) -> u32 {
        self.kinds_counter().load(Relaxed)
    }

    /// Counts entries that came into use, and the sum of their weights. Under the lock of the tables, like all changes.
    pub(super) fn add_used(self, entries: u32, weights: u32) {
        let (used, kinds) = (self.used_counter(), self.kinds_counter());
        used.store(used.load(Relaxed) + entries, Relaxed);
        kinds.store(kinds.load(Relaxed) + weights, Relaxed);
    }

    /// Puts entries where none are in use, of a table above the leaf level, in slots that `other` uses too: `put` is given
    /// them and says how many.
    pub(super) fn fill_like(self, other: Table, put: impl FnOnce(&[AtomicU64; ENTRIES]) -> u32) {
        let entries = put(self.entries());
        let parts = other.used_counter().load(Relaxed) >> PARTS_SHIFT << PARTS_SHIFT;
        let used = self.used_counter();
        used.store((used.load(Relaxed) | parts) + entries, Relaxed);
    }

    /// Counts entries that went out of use. Only with the last one, the parts of the table are known to have none.
    pub(super) fn remove_used(self, entries: u32, weights: u32) {
        let (used, kinds) = (self.used_counter(), self.kinds_counter());
        let left = self.used() - entries;
        used.store(if left == 0 { 0 } else { used.load(Relaxed) - entries }, Relaxed);
        kinds.store(kinds.load(Relaxed) - weights, Relaxed);
    }

    /// How many entries name the table. If it is one, nobody but who has the lock of that entry can make it more.
    pub(super) fn owners(self) -> u32 {
        // Acquire: what those did with the table who gave it up has happened before.
        self.owners_counter().load(Acquire)
    }

    /// One entry less names the table; `true`: it was the last.
    pub(super) fn remove_owner(self) -> bool {
        let last = self.owners_counter().fetch_sub(1, Release) == 1;
        if last {
            fence(Acquire);
        }
        last
    }
}

/// The sum of the weights of the leaf tables below one table.
#[derive(Default)]
pub(super) struct WeightSum {
    /// Anonymous pages and, twenty bits above, shared ones: at most 2^18 of a kind.
    even: u64,
    /// Ten bits up, pages of files.
    odd: u64,
}

impl WeightSum {
    #[inline]
    pub(super) fn add(&mut self, weights: u32) {
        const ODD: u32 = 1023 << 10;
        self.even += u64::from(weights & !ODD);
        self.odd += u64::from(weights & ODD);
    }

    pub(super) fn counts(&self) -> PageCounts {
        PageCounts { anonymous: self.even & ((1 << 20) - 1), file: self.odd >> 10, shared: self.even >> 20 }
    }
}

/// An entry. In use if it is not 0; then, in a leaf table, it owns a reference to its frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(pub(super) u64);

impl Entry {
    pub(super) const EMPTY: Self = Self(0);
    pub(super) const PRESENT: u64 = 1;
    pub(super) const WRITE: u64 = 1 << 1;
    const USER: u64 = 1 << 2;
    pub(super) const ACCESSED: u64 = 1 << 5;
    pub(super) const DIRTY: u64 = 1 << 6;
    /// Ours: the frame is kept, but the entry is not present.
    const HIDDEN: u64 = 1 << 8;
    /// Ours, two bits: the kind.
    const KIND_SHIFT: u32 = 9;
    const NO_EXECUTE: u64 = 1 << 63;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

    /// An entry above the leaf level.
    pub(super) fn table(child: Table) -> Self {
        Self(child.frame().address() | Self::PRESENT | Self::WRITE | Self::USER | Self::ACCESSED)
    }

    /// Whether an entry above a leaf table, which is in use, has it alone for certain.
    pub(super) fn has_alone(self) -> bool {
        self.0 & Self::WRITE != 0
    }

    /// The same entry as one that can't be stored through. Above a leaf table: for somebody who has the table not alone.
    pub(super) fn without_write(self) -> Self {
        Self(self.0 & !Self::WRITE)
    }

    /// A leaf entry that takes over the reference. The accessed bit is set: whoever maps a page is about to use it.
    pub(super) fn page(frame: Frame, permissions: Permissions, kind: PageKind) -> Self {
        let kept = frame.into_number().address() | (kind as u64) << Self::KIND_SHIFT | Self::ACCESSED;
        Self(kept | Self::permission_bits(permissions))
    }

    /// The same entry before a CPU has used it.
    pub(super) fn not_used(self) -> Self {
        Self(self.0 & !Self::ACCESSED)
    }

    /// The same page for another table, which takes over the reference, another one to its frame; not to be stored to.
    pub(super) fn for_other(self, reference: Frame) -> Self {
        let address = reference.into_number().address();
        Self(self.0 & !(Self::ADDRESS | Self::DIRTY | Self::WRITE) | address | Self::ACCESSED)
    }

    fn permission_bits(permissions: Permissions) -> u64 {
        if permissions.is_empty() {
            return Self::HIDDEN | Self::NO_EXECUTE;
        }
        let write = if permissions.contains(Permissions::WRITE) { Self::WRITE } else { 0 };
        let no_execute = if permissions.contains(Permissions::EXECUTE) { 0 } else { Self::NO_EXECUTE };
        Self::PRESENT | Self::USER | write | no_execute
    }

    pub(super) fn with_permissions(self, permissions: Permissions) -> Self {
        let changed = Self::PRESENT | Self::USER | Self::WRITE | Self::HIDDEN | Self::NO_EXECUTE;
        Self(self.0 & !changed | Self::permission_bits(permissions))
    }

    pub(super) fn permissions(self) -> Permissions {
        if self.0 & Self::PRESENT == 0 {
            return Permissions::empty();
        }
        let mut permissions = Permissions::READ;
        permissions.set(Permissions::WRITE, self.0 & Self::WRITE != 0);
        permissions.set(Permissions::EXECUTE, self.0 & Self::NO_EXECUTE == 0);
        permissions
    }

    pub(super) fn kind(self) -> PageKind {
        match self.0 >> Self::KIND_SHIFT & 3 {
            0 => PageKind::Anonymous,
            1 => PageKind::File,
            2 => PageKind::Shared,
            _ => PageKind::Zero,
        }
    }

    /// What a leaf entry adds to the sum of weights of its table: ten bits for each kind that is counted.
    pub(super) fn weight(self) -> u32 {
        const COUNTED: u32 = (1 << 30) - 1;
        1 << (10 * (self.0 >> Self::KIND_SHIFT & 3)) & COUNTED
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// # Safety
    /// The entry is in use.
    unsafe fn number(self) -> FrameNumber {
        // SAFETY: an entry in use was made of a `FrameNumber`'s address.
        unsafe { FrameNumber::new_unchecked((self.0 & Self::ADDRESS) >> 12) }
    }

    /// The frame, for as long as the entry stays as it is.
    ///
    /// # Safety
    /// A leaf entry in use that stays so for `'a`.
    pub(super) unsafe fn borrow<'a>(self) -> BorrowedFrame<'a> {
        // SAFETY: the entry owns a reference, as long as the caller says.
        unsafe { BorrowedFrame::new(self.number()) }
    }

    /// The reference that the entry owned.
    ///
    /// # Safety
    /// A leaf entry that was in use and has just been taken out of its table.
    pub(super) unsafe fn into_frame(self) -> Frame {
        // SAFETY: the reference was the entry's, and the entry is gone.
        unsafe { Frame::from_number(self.number()) }
    }
}
