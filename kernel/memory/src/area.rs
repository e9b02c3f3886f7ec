//! Areas: the ranges of an address space and what each is for.
//!
//! `Areas` is the map of them: ordered, without overlap; neighbours that differ in nothing are one. It knows nothing
//! of page tables.

use crate::MemoryPolicy;
use crate::source::{PageSource, SourceDescription};
use alloc::collections::{BTreeMap, LinkedList};
use alloc::sync::Arc;
use bitflags::bitflags;
use core::ops::Range;
use machine::frame::FRAME_SIZE;

/// Bytes in a page, as addresses count them.
pub(crate) const PAGE: u64 = FRAME_SIZE as u64;

bitflags! {
    /// What user mode may do with the pages of an area; the bits are those of `mmap(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Protection: u8 {
        /// Load from it.
        const READ = 1;
        /// Store to it.
        const WRITE = 2;
        /// Run code in it.
        const EXECUTE = 4;
    }
}

/// Whether stores are seen by others that map the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sharing {
    /// Stores stay in this address space.
    Private,
    /// Stores go to the source.
    Shared,
}

/// One area as `/proc/<pid>/maps` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AreaInfo {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// What is allowed.
    pub protection: Protection,
    /// What it may ever become.
    pub most: Protection,
    /// Private or shared.
    pub sharing: Sharing,
    /// What else holds.
    pub flags: AreaFlags,
    /// Offset in the file, bytes; 0 for anonymous memory.
    pub offset: u64,
    /// The file, if there is one.
    pub source: Option<SourceDescription>,
    /// The policy of its first page, if that has one.
    pub policy: Option<MemoryPolicy>,
    /// A name in brackets (`[heap]`, `[stack]`), if it has one.
    pub name: Option<&'static str>,
}

bitflags! {
    /// What else holds for an area.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct AreaFlags: u16 {
        /// A stack: a fault below it makes it longer.
        const GROWS_DOWN = 1;
        /// A child doesn't get it.
        const DONT_FORK = 2;
        /// A child gets it without its pages.
        const WIPE_ON_FORK = 4;
        /// Private memory that is, or was, writable: the program may fill it with pages of its own.
        const PROMISED = 8;
        /// Its pages stay in memory once they are there.
        const LOCKED = 16;
        /// Locking it, and whatever else is mapped in it, brings no page in.
        const LOCK_ON_FAULT = 32;
        /// The program wants a fault to bring in several pages.
        const LARGE = 64;
        /// The program does not want that.
        const SMALL = 128;
        /// A core dump leaves it out.
        const DONT_DUMP = 256;
        /// It does not count as promised to the program (MAP_NORESERVE).
        const NO_RESERVE = 512;
    }
}

/// Where the pages of an area that are not there yet come from.
#[derive(Clone)]
pub(crate) enum Backing {
    /// They are zero.
    Anonymous,
    /// From a source; the first page of the area is the source's page `index`.
    Source {
        /// The source.
        source: Arc<dyn PageSource>,
        /// The source's page at the start of the area.
        index: u64,
    },
}

/// A range of pages that are all of a kind.
#[derive(Clone)]
pub(crate) struct Area {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) protection: Protection,
    /// What the protection may ever become.
    pub(crate) most: Protection,
    pub(crate) sharing: Sharing,
    pub(crate) backing: Backing,
    pub(crate) flags: AreaFlags,
    /// Where its pages come from; of shared memory that has policies itself, those count.
    pub(crate) policy: Option<MemoryPolicy>,
    pub(crate) name: Option<&'static str>,
}

impl Area {
    pub(crate) fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    pub(crate) fn pages(&self) -> u64 {
        (self.end - self.start) / PAGE
    }

    /// The number that the page at this address has in its object; in memory without one, in the address space.
    #[inline]
    pub(crate) fn page_index(&self, page: u64) -> u64 {
        match &self.backing {
            Backing::Anonymous => page / PAGE,
            Backing::Source { index, .. } => index + (page - self.start) / PAGE,
        }
    }

    /// The policy for the page at this address, of its own or the source's.
    pub(crate) fn policy_at(&self, page: u64) -> Option<MemoryPolicy> {
        match &self.backing {
            Backing::Source { source, .. } if self.sharing == Sharing::Shared => match source.policies() {
                Some(policies) => policies.get(self.page_index(page)),
                None => self.policy,
            },
            _ => self.policy,
        }
    }

    /// Whether its pages are promised to the program (`crate::commitment`).
    pub(crate) fn is_committed(&self) -> bool {
        self.flags.intersection(AreaFlags::PROMISED | AreaFlags::NO_RESERVE) == AreaFlags::PROMISED
    }

    /// Private memory without a file.
    pub(crate) fn is_private_anonymous(&self) -> bool {
        self.sharing == Sharing::Private && matches!(self.backing, Backing::Anonymous)
    }

    /// The part of the area inside the range, which overlaps it.
    pub(crate) fn part(&self, range: &Range<u64>) -> Area {
        let start = self.start.max(range.start);
        let mut part = Area { start, end: self.end.min(range.end), ..self.clone() };
        if let Backing::Source { index, .. } = &mut part.backing {
            *index += (start - self.start) / PAGE;
        }
        part
    }

    /// Whether `next`, which starts where this one ends, differs in nothing.
    fn continues_in(&self, next: &Area) -> bool {
        let backed_alike = match (&self.backing, &next.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::Source { source, index }, Backing::Source { source: next_source, index: next_index }) => {
                Arc::ptr_eq(source, next_source) && index + self.pages() == *next_index
            }
            _ => false,
        };
        self.end == next.start
            && backed_alike
            && self.protection == next.protection
            && self.most == next.most
            && self.sharing == next.sharing
            && self.flags == next.flags
            && self.policy == next.policy
            && self.name == next.name
    }

    pub(crate) fn info(&self) -> AreaInfo {
        let (offset, source) = match &self.backing {
            Backing::Anonymous => (0, None),
            Backing::Source { source, index } => (index * PAGE, Some(source.describe())),
        };
        AreaInfo {
            start: self.start,
            end: self.end,
            protection: self.protection,
            most: self.most,
            sharing: self.sharing,
            flags: self.flags,
            offset,
            source,
            policy: self.policy_at(self.start),
            name: self.name,
        }
    }
}

/// Pages in areas, by use.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Totals {
    pub(crate) mapped: u64,
    /// Private, writable, no stack: what RLIMIT_DATA counts.
    pub(crate) data: u64,
    pub(crate) stack: u64,
    /// Executable, not writable, from a file.
    pub(crate) text: u64,
    /// Areas with [`AreaFlags::PROMISED`].
    pub(crate) promised: u64,
    /// Those of them without [`AreaFlags::NO_RESERVE`].
    pub(crate) committed: u64,
    /// Areas with [`AreaFlags::LOCKED`].
    pub(crate) locked: u64,
}

impl Totals {
    fn of(area: &Area) -> Self {
        let pages = |counted: bool| if counted { area.pages() } else { 0 };
        let stack = area.flags.contains(AreaFlags::GROWS_DOWN);
        let writable = area.protection.contains(Protection::WRITE);
        Self {
            mapped: area.pages(),
            data: pages(area.sharing == Sharing::Private && writable && !stack),
            stack: pages(stack),
            text: pages(
                area.protection.contains(Protection::EXECUTE)
                    && !writable
                    && matches!(area.backing, Backing::Source { .. }),
            ),
            promised: pages(area.flags.contains(AreaFlags::PROMISED)),
            committed: pages(area.is_committed()),
            locked: pages(area.flags.contains(AreaFlags::LOCKED)),
        }
    }

    fn combine(&mut self, other: Self, with: fn(u64, u64) -> u64) {
        self.mapped = with(self.mapped, other.mapped);
        self.data = with(self.data, other.data);
        self.stack = with(self.stack, other.stack);
        self.text = with(self.text, other.text);
        self.promised = with(self.promised, other.promised);
        self.committed = with(self.committed, other.committed);
        self.locked = with(self.locked, other.locked);
    }
}

/// Areas that were taken out. A list: there may be as many as an address space can have, and the kernel's heap has no piece
/// of memory for that.
pub(crate) type Taken = LinkedList<Area>;

/// The areas of an address space.
#[derive(Clone, Default)]
pub(crate) struct Areas {
    by_start: BTreeMap<u64, Area>,
    totals: Totals,
}

impl Areas {
    pub(crate) fn len(&self) -> usize {
        self.by_start.len()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Area> {
        self.by_start.values()
    }

    /// The areas, for changes after which they still differ from their neighbours, and are of the same use.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Area> {
        self.by_start.values_mut()
    }

    /// The area that contains the address.
    #[inline]
    pub(crate) fn find(&self, address: u64) -> Option<&Area> {
        self.below(address).filter(|area| address < area.end)
    }

    /// The last area that starts at or below the address.
    #[inline]
    pub(crate) fn below(&self, address: u64) -> Option<&Area> {
        self.by_start.range(..=address).next_back().map(|(_, area)| area)
    }

    /// The first area that starts above the address.
    pub(crate) fn above(&self, address: u64) -> Option<&Area> {
        self.by_start.range(address + 1..).next().map(|(_, area)| area)
    }

    /// The areas that overlap the range, in order.
    pub(crate) fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = &Area> {
        let first = self.find(range.start).map_or(range.start, |area| area.start);
        // An empty range overlaps nothing.
        self.by_start.range(first..range.end.max(first)).map(|(_, area)| area)
    }

    /// Where the first area starts that overlaps the range.
    fn first_overlapping(&self, range: &Range<u64>) -> Option<u64> {
        if range.is_empty() {
            return None;
        }
        let first = self.find(range.start).or_else(|| self.above(range.start).filter(|area| area.start < range.end));
        first.map(|area| area.start)
    }

    pub(crate) fn is_free(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.below(range.end - 1).is_none_or(|last| last.end <= range.start)
    }

    /// Whether every page of the range is in an area.
    pub(crate) fn covers(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        for area in self.overlapping(range.clone()) {
            if area.start > at {
                return false;
            }
            at = area.end;
        }
        at >= range.end
    }

    /// Puts an area in whose range is free; it may join its neighbours.
    pub(crate) fn insert(&mut self, mut area: Area) {
        debug_assert!(self.is_free(area.range()), "areas overlap");
        if let Some(after) = self.by_start.get(&area.end).filter(|after| area.continues_in(after)) {
            let after = after.start;
            if let Some(after) = self.remove(after) {
                area.end = after.end;
            }
        }
        self.totals.combine(Totals::of(&area), |a, b| a + b);
        match self.by_start.range_mut(..area.start).next_back() {
            Some((_, before)) if before.continues_in(&area) => before.end = area.end,
            _ => drop(self.by_start.insert(area.start, area)),
        }
    }

    /// Takes out all that lies in the range, cutting areas that reach out of it.
    pub(crate) fn take(&mut self, mut range: Range<u64>) -> Taken {
        let mut taken = Taken::new();
        while let Some(area) = self.take_first(&range) {
            range.start = area.end;
            taken.push_back(area);
        }
        taken
    }

    /// Takes out the first of what lies in the range, cut if it reaches out of it.
    fn take_first(&mut self, range: &Range<u64>) -> Option<Area> {
        let start = self.first_overlapping(range)?;
        let area = self.remove(start)?;
        if area.start < range.start {
            self.put_back(area.part(&(area.start..range.start)));
        }
        if area.end > range.end {
            self.put_back(area.part(&(range.end..area.end)));
        }
        let is_cut = area.start < range.start || area.end > range.end;
        Some(if is_cut { area.part(range) } else { area })
    }

    /// How many more areas there would be after [`Areas::take`] of the range, if more.
    pub(crate) fn pieces_added_by_take(&self, range: &Range<u64>) -> usize {
        usize::from(self.find(range.start).is_some_and(|area| area.start < range.start && area.end > range.end))
    }

    /// Changes all that lies in the range; parts of areas become areas of their own if they differ now.
    pub(crate) fn change(&mut self, mut range: Range<u64>, mut change: impl FnMut(&mut Area)) {
        while let Some(mut area) = self.take_first(&range) {
            // What follows may become one with it before it is changed itself, and is cut off again.
            range.start = area.end;
            change(&mut area);
            self.insert(area);
        }
    }

    /// Has all policies of areas follow a change.
    pub(crate) fn change_policies(&mut self, change: impl Fn(&mut MemoryPolicy)) {
        self.by_start.values_mut().filter_map(|area| area.policy.as_mut()).for_each(change);
    }

    /// The start of the highest free range of `length` bytes inside `within` that leaves `guard` bytes free below each
    /// stack that can grow.
    pub(crate) fn highest_gap(&self, length: u64, within: Range<u64>, guard: u64) -> Option<u64> {
        let mut top = within.end;
        // A stack just above the range may want its gap inside it.
        let reach = within.end.saturating_add(guard);
        for area in self.by_start.range(..reach).rev().map(|(_, area)| area) {
            let start = top.checked_sub(length).filter(|&start| start >= within.start)?;
            if start >= area.end {
                return Some(start);
            }
            let gap = if area.flags.contains(AreaFlags::GROWS_DOWN) { guard } else { 0 };
            top = top.min(area.start.saturating_sub(gap));
        }
        top.checked_sub(length).filter(|&start| start >= within.start)
    }

    fn remove(&mut self, start: u64) -> Option<Area> {
        let area = self.by_start.remove(&start)?;
        self.totals.combine(Totals::of(&area), |a, b| a - b);
        Some(area)
    }

    fn put_back(&mut self, area: Area) {
        self.totals.combine(Totals::of(&area), |a, b| a + b);
        self.by_start.insert(area.start, area);
    }
}

#[cfg(test)]
mod tests;
