//! `mmap(2)`, `munmap(2)`, `mprotect(2)`.

use super::ahead::LARGE_BYTES;
use super::fault::permissions_of;
use super::lock::brings_in;
use super::payment::{Pages, is_promised};
use super::request::{Limits, MapRequest, Place};
use super::{Access, AddressSpace, LOWEST, STACK_GUARD, State, Tables, most_areas, page_range};
use crate::area::{Area, AreaFlags, Areas, Backing, PAGE, Protection, Sharing, Taken};
use crate::commitment::{self, Commitment, Overcommit};
use crate::source::SharedPages;
use alloc::collections::LinkedList;
use alloc::sync::Arc;
use base::Errno;
use base::charge::{Refused, Severity};
use core::ops::Range;
use machine::paging::USER_END;

impl AddressSpace {
    /// `mmap(2)`: the address of the new area.
    ///
    /// Errors: `EINVAL` length 0, an address or offset that is no multiple of 4096; `ENOMEM` no room, beyond the
    /// user half, over a limit, not paid for; `EPERM` fixed below [`LOWEST`], or locked where nothing may be; `EAGAIN`
    /// more would be locked than may be; `EEXIST` see [`Place`]; `EOVERFLOW` offset and length; `EACCES` more than `most`.
    pub fn map(&self, request: MapRequest, limits: &Limits) -> Result<u64, Errno> {
        if request.length == 0 {
            return Err(Errno::EINVAL);
        }
        let length = request.length.checked_next_multiple_of(PAGE).filter(|&length| length <= USER_END);
        let length = length.ok_or(Errno::ENOMEM)?;
        let backing = backing(&request, length)?;
        if !request.most.contains(request.protection) {
            return Err(Errno::EACCES);
        }
        let mut flags = AreaFlags::empty();
        flags.set(AreaFlags::GROWS_DOWN, request.grows_down);
        flags.set(AreaFlags::PROMISED, is_promised(request.sharing, request.protection));
        flags.set(AreaFlags::LOCKED, request.locked);
        flags.set(AreaFlags::NO_RESERVE, request.no_reserve && commitment::mode() != Overcommit::Never);
        if request.locked && limits.locked == 0 {
            return Err(Errno::EPERM);
        }
        let mut area = Area {
            start: 0,
            end: length,
            protection: request.protection,
            most: request.most,
            sharing: request.sharing,
            backing,
            flags,
            policy: None,
            name: request.name,
        };
        let mut state = self.write_state();
        area.flags |= state.later;
        let range = place(&state, &request, length)?;
        let (mut replaced, mut paid) = (0, Pages::default());
        // Mostly it is free, which is quicker to see.
        if !state.areas.is_free(range.clone()) {
            for part in state.areas.overlapping(range.clone()).map(|area| area.part(&range)) {
                replaced += part.pages();
                paid += Pages::of(&part);
            }
        }
        check_limits(&state.areas, &area, replaced, limits)?;
        let more = Pages::of(&area).without(paid);
        self.pay(more, state.areas.totals().mapped, Severity::Barrier).map_err(|Refused| Errno::ENOMEM)?;
        (area.start, area.end) = (range.start, range.end);
        let populate = request.populate || brings_in(area.flags);
        let taken = (replaced > 0).then(|| self.take_range(&mut state, range.clone())).transpose();
        let taken = taken.inspect_err(|_| self.settle(&state))?;
        state.areas.insert(area);
        self.settle(&state);
        drop(state);
        drop(taken);
        if populate {
            // As far as it goes: the pages that can't be had now fault later.
            let _ = self.populate(range.clone(), request.protection.contains(Protection::WRITE));
        }
        Ok(range.start)
    }

    /// Lets `mmap` look for room from so many bytes lower on (once, by exec).
    pub fn lower_top(&self, bytes: u64) {
        let mut state = self.write_state();
        state.top = state.top.saturating_sub(bytes).max(LOWEST) / PAGE * PAGE;
    }

    /// `munmap(2)`.
    ///
    /// Errors: `EINVAL` address no multiple of 4096, length 0, beyond the user half; `ENOMEM` too many areas, or no memory
    /// for what stays of pages that a child shares.
    pub fn unmap(&self, address: u64, length: u64) -> Result<(), Errno> {
        if !address.is_multiple_of(PAGE) || length == 0 {
            return Err(Errno::EINVAL);
        }
        let range = page_range(address, length).ok_or(Errno::EINVAL)?;
        let mut state = self.write_state();
        if state.areas.len() + state.areas.pieces_added_by_take(&range) > most_areas() {
            return Err(Errno::ENOMEM);
        }
        let taken = self.take_range(&mut state, range)?;
        self.settle(&state);
        drop(state);
        drop(taken);
        Ok(())
    }

    /// `shmdt(2)`: unmaps what is left of the System V segment that was attached at `address`.
    ///
    /// Errors: `EINVAL` none was, or its beginning is gone; `ENOMEM` as [`unmap`](AddressSpace::unmap), and some is left.
    pub fn detach(&self, address: u64) -> Result<(), Errno> {
        let mut state = self.write_state();
        let attached =
            state.areas.find(address).filter(|area| area.start == address).and_then(|area| match &area.backing {
                Backing::Source { source, index: 0 } => Some((source.clone(), source.attachment()?)),
                _ => None,
            });
        let (source, bytes) = attached.ok_or(Errno::EINVAL)?;
        let range = page_range(address, bytes).ok_or(Errno::EINVAL)?;
        let is_part = |area: &&Area| match &area.backing {
            Backing::Source { source: other, index } => {
                Arc::ptr_eq(other, &source) && area.start == address + index * PAGE
            }
            Backing::Anonymous => false,
        };
        let parts: LinkedList<Range<u64>> = state.areas.overlapping(range).filter(is_part).map(Area::range).collect();
        let mut taken = Taken::new();
        let result = parts.into_iter().try_for_each(|part| {
            taken.append(&mut self.take_range(&mut state, part)?);
            Ok(())
        });
        self.settle(&state);
        drop(state);
        drop(taken);
        result
    }

    /// `mprotect(2)`.
    ///
    /// Errors: `EINVAL` address no multiple of 4096; `ENOMEM` a hole in the range (what lies before it is changed), too many
    /// areas, not paid for, or no page table; `EACCES` more than the mapping may ever have (what lies before it is changed).
    pub fn protect(&self, address: u64, length: u64, protection: Protection) -> Result<(), Errno> {
        self.protect_range(address, length, protection, false)
    }

    /// `mprotect(2)` with PROT_GROWSDOWN: also what lies below the range in its first area, which is a stack.
    ///
    /// Errors: as [`protect`](Self::protect), and `EINVAL` it is no stack.
    pub fn protect_stack(&self, address: u64, length: u64, protection: Protection) -> Result<(), Errno> {
        self.protect_range(address, length, protection, true)
    }

    fn protect_range(&self, address: u64, length: u64, protection: Protection, is_stack: bool) -> Result<(), Errno> {
        if !address.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let end = length.checked_next_multiple_of(PAGE).and_then(|length| address.checked_add(length));
        let end = end.ok_or(Errno::ENOMEM)?;
        if end == address {
            return Ok(());
        }
        let mut range = address..end;
        let mut state = self.write_state();
        if state.areas.len() + 2 > most_areas() {
            return Err(Errno::ENOMEM);
        }
        if is_stack {
            let first = state.areas.overlapping(range.clone()).next().ok_or(Errno::ENOMEM)?;
            if !first.flags.contains(AreaFlags::GROWS_DOWN) {
                return Err(Errno::EINVAL);
            }
            range.start = first.start;
        }
        // Up to the first hole or refusal.
        let mut end = range.start;
        let mut refusal = Ok(());
        let mut more = Pages::default();
        for area in state.areas.overlapping(range.clone()) {
            if area.start > end {
                break;
            }
            if !area.most.contains(protection) {
                refusal = Err(Errno::EACCES);
                break;
            }
            if is_promised(area.sharing, protection) && !area.flags.contains(AreaFlags::PROMISED) {
                let pages = area.part(&range).pages();
                more.promised += pages;
                more.committed += if area.flags.contains(AreaFlags::NO_RESERVE) { 0 } else { pages };
            }
            end = area.end.min(range.end);
        }
        if refusal.is_ok() && end < range.end {
            refusal = Err(Errno::ENOMEM);
        }
        self.pay(more, state.areas.totals().mapped, Severity::Barrier).map_err(|Refused| Errno::ENOMEM)?;
        if end > range.start {
            let protected = self.tables.edit().protect(range.start..end, permissions_of(protection), &Tables);
            protected.inspect_err(|_| self.settle(&state))?;
            state.areas.change(range.start..end, |area| {
                area.protection = protection;
                if is_promised(area.sharing, protection) {
                    area.flags.insert(AreaFlags::PROMISED);
                }
            });
        }
        refusal
    }

    /// Brings in all pages of the range, for stores if `write`.
    ///
    /// Errors: of the first page that can't be had.
    pub(super) fn populate(&self, range: Range<u64>, write: bool) -> Result<(), super::FaultError> {
        self.populate_for(range, if write { Access::Write } else { Access::Read })
    }

    /// Brings in all pages of the range for an access.
    ///
    /// Errors: of the first page that can't be had.
    pub(super) fn populate_for(&self, range: Range<u64>, access: Access) -> Result<(), super::FaultError> {
        for page in range.step_by(PAGE as usize) {
            let state = self.read_state();
            let area = state.areas.find(page).ok_or(super::FaultError::NotMapped)?;
            self.fault_in(area, page, access)?;
        }
        Ok(())
    }
}

/// Where the pages of the new area come from.
fn backing(request: &MapRequest, length: u64) -> Result<Backing, Errno> {
    match (&request.source, request.sharing) {
        (Some((source, offset)), _) => {
            if !offset.is_multiple_of(PAGE) {
                return Err(Errno::EINVAL);
            }
            let end = offset.checked_add(length).filter(|&end| end <= i64::MAX as u64);
            end.ok_or(Errno::EOVERFLOW)?;
            Ok(Backing::Source { source: source.clone(), index: offset / PAGE })
        }
        (None, Sharing::Private) => Ok(Backing::Anonymous),
        (None, Sharing::Shared) => {
            let counts = !request.no_reserve || commitment::mode() == Overcommit::Never;
            let pages = if counts { length / PAGE } else { 0 };
            let commitment = Commitment::new(pages).map_err(|Refused| Errno::ENOMEM)?;
            Ok(Backing::Source { source: crate::heap::try_arc(SharedPages::new(commitment))? as Arc<_>, index: 0 })
        }
    }
}

/// Where the new area goes.
fn place(state: &State, request: &MapRequest, length: u64) -> Result<Range<u64>, Errno> {
    match request.place {
        Place::Fixed | Place::FixedNoReplace => {
            if !request.address.is_multiple_of(PAGE) {
                return Err(Errno::EINVAL);
            }
            let range = page_range(request.address, length).ok_or(Errno::ENOMEM)?;
            if range.start < LOWEST {
                return Err(Errno::EPERM);
            }
            if request.place == Place::FixedNoReplace && !state.areas.is_free(range.clone()) {
                return Err(Errno::EEXIST);
            }
            Ok(range)
        }
        Place::Hint => {
            let hint = (request.address / PAGE * PAGE).max(LOWEST);
            let wanted = (request.address >= PAGE).then(|| page_range(hint, length)).flatten();
            if let Some(range) = wanted.filter(|range| free_with_guard(&state.areas, range)) {
                return Ok(range);
            }
            let range = find_room(state, length)?;
            // So that pages come in ahead in all of it (`ahead`).
            let is_large = length.is_multiple_of(LARGE_BYTES)
                && request.source.is_none()
                && request.sharing == Sharing::Private
                && !request.grows_down;
            let start = range.start / LARGE_BYTES * LARGE_BYTES;
            let aligned = start..start + length;
            let fits = is_large && start >= LOWEST && free_with_guard(&state.areas, &aligned);
            Ok(if fits { aligned } else { range })
        }
    }
}

/// A free range below the top, else anywhere.
pub(super) fn find_room(state: &State, length: u64) -> Result<Range<u64>, Errno> {
    let below = state.areas.highest_gap(length, LOWEST..state.top, STACK_GUARD);
    let start = below.or_else(|| state.areas.highest_gap(length, LOWEST..USER_END, STACK_GUARD));
    start.map(|start| start..start + length).ok_or(Errno::ENOMEM)
}

/// Whether the range is free and leaves a stack above it its distance.
pub(super) fn free_with_guard(areas: &Areas, range: &Range<u64>) -> bool {
    let close =
        |area: &&Area| area.flags.contains(AreaFlags::GROWS_DOWN) && area.start.saturating_sub(STACK_GUARD) < range.end;
    areas.is_free(range.clone()) && areas.above(range.start).filter(close).is_none()
}

/// Checks the limits for a new area that takes the place of `replaced` pages.
///
/// Errors, in this order: `EAGAIN` more would be locked than may be; `ENOMEM`.
pub(super) fn check_limits(areas: &Areas, area: &Area, replaced: u64, limits: &Limits) -> Result<(), Errno> {
    let totals = areas.totals();
    let within = |pages: u64, limit: u64| pages.saturating_mul(PAGE) <= limit;
    let counts_as_data = area.sharing == Sharing::Private
        && area.protection.contains(Protection::WRITE)
        && !area.flags.contains(AreaFlags::GROWS_DOWN);
    let fits = within((totals.mapped + area.pages()).saturating_sub(replaced), limits.address_space)
        && (!counts_as_data || within(totals.data + area.pages(), limits.data))
        && areas.len() + 2 <= most_areas();
    let locks = area.flags.contains(AreaFlags::LOCKED);
    if locks && !within(totals.locked + area.pages(), limits.locked) {
        return Err(Errno::EAGAIN);
    }
    if fits { Ok(()) } else { Err(Errno::ENOMEM) }
}
