//! `mremap(2)`.

use super::lock::brings_in;
use super::map::{check_limits, find_room, free_with_guard};
use super::payment::Pages;
use super::{AddressSpace, LOWEST, Limits, State, Tables, most_areas, page_range};
use crate::area::{Area, AreaFlags, Backing, PAGE, Sharing, Taken};
use base::Errno;
use base::charge::{Refused, Severity};
use bitflags::bitflags;
use core::ops::Range;
use machine::paging::USER_END;

bitflags! {
    /// The flags of `mremap(2)`.
    struct Flags: u32 {
        const MAY_MOVE = 1;
        const FIXED = 2;
        const DONT_UNMAP = 4;
    }
}

/// What is asked for, in whole pages.
struct Request {
    address: u64,
    old_length: u64,
    length: u64,
    flags: Flags,
    new_address: u64,
}

impl AddressSpace {
    /// `mremap(2)` with its raw flags (MAYMOVE 1, FIXED 2, DONTUNMAP 4): the new address.
    ///
    /// Errors, in this order: `EINVAL` flags, alignment, no new length; `EFAULT` nothing is mapped there; `EINVAL` the new
    /// place is no multiple of 4096, overlaps the old one or leaves the user half, a private area of old length 0, or a second
    /// mapping of what [keeps its length](crate::PageSource::keeps_length); `EFAULT` the old range is not inside one area (to
    /// make it shorter, it need not be), or what keeps its length would be longer; `EPERM` the new place lies below
    /// [`LOWEST`]; `EAGAIN` more would be locked than may be; `ENOMEM` no room where it is and it may not move, a limit, or
    /// not paid for.
    pub fn remap(
        &self,
        address: u64,
        old_length: u64,
        new_length: u64,
        flags: u32,
        new_address: u64,
        limits: &Limits,
    ) -> Result<u64, Errno> {
        let flags = Flags::from_bits(flags).ok_or(Errno::EINVAL)?;
        let moves = flags.intersects(Flags::FIXED | Flags::DONT_UNMAP);
        if moves && !flags.contains(Flags::MAY_MOVE)
            || flags.contains(Flags::DONT_UNMAP) && old_length != new_length
            || !address.is_multiple_of(PAGE)
        {
            return Err(Errno::EINVAL);
        }
        // A length that wraps counts as none.
        let whole = |length: u64| length.checked_next_multiple_of(PAGE).unwrap_or(0);
        let (old_length, length) = (whole(old_length), whole(new_length));
        if length == 0 {
            return Err(Errno::EINVAL);
        }
        let request = Request { address, old_length, length, flags, new_address };
        let mut state = self.write_state();
        let mut dropped = Taken::new();
        let result = self.remap_locked(&mut state, &request, limits, &mut dropped);
        self.settle(&state);
        let grown = result.ok().filter(|_| length > old_length);
        let brought_in = grown.filter(|&start| state.areas.find(start).is_some_and(|area| brings_in(area.flags)));
        drop(state);
        drop(dropped);
        if let Some(start) = brought_in {
            // As far as it goes: the pages that can't be had now fault later.
            let _ = self.populate(start + old_length..start + length, true);
        }
        result
    }

    fn remap_locked(
        &self,
        state: &mut State,
        request: &Request,
        limits: &Limits,
        dropped: &mut Taken,
    ) -> Result<u64, Errno> {
        let &Request { address, old_length, length, ref flags, .. } = request;
        let area = state.areas.find(address).ok_or(Errno::EFAULT)?;
        let moves = flags.intersects(Flags::FIXED | Flags::DONT_UNMAP);
        let wanted = if moves { Some(request.wanted_place()?) } else { None };
        if !moves && length <= old_length {
            return self.shorten(state, request, dropped);
        }
        let is_copy = old_length == 0;
        if is_copy && (area.sharing == Sharing::Private || !flags.contains(Flags::MAY_MOVE)) {
            return Err(Errno::EINVAL);
        }
        // What is cut off when it moves may lie anywhere.
        let kept = address..address + old_length.min(length).min(USER_END);
        let keeps_length = matches!(&area.backing, Backing::Source { source, .. } if source.keeps_length());
        if keeps_length && flags.contains(Flags::DONT_UNMAP) {
            return Err(Errno::EINVAL);
        }
        if kept.end > area.end || keeps_length && length > old_length {
            return Err(Errno::EFAULT);
        }
        if flags.contains(Flags::FIXED) && request.new_address < LOWEST {
            return Err(Errno::EPERM);
        }
        if length > USER_END {
            return Err(Errno::ENOMEM);
        }
        if !moves && !is_copy {
            let more = kept.end..address + length;
            if kept.end == area.end && page_range(address, length).is_some() && state.areas.is_free(more.clone()) {
                let longer = continued(area, more);
                check_limits(&state.areas, &longer, 0, limits)?;
                self.pay(Pages::of(&longer), state.areas.totals().mapped, Severity::Barrier)
                    .map_err(|Refused| Errno::ENOMEM)?;
                state.areas.insert(longer);
                return Ok(address);
            }
            if !flags.contains(Flags::MAY_MOVE) {
                return Err(Errno::ENOMEM);
            }
        }
        let mut moved = area.part(&(address..kept.end.max(address + PAGE)));
        moved.end = moved.start + length;
        if state.areas.len() + 4 > most_areas() {
            return Err(Errno::ENOMEM);
        }
        let stays = flags.contains(Flags::DONT_UNMAP);
        let leaves = if stays { 0 } else { (kept.end - kept.start) / PAGE };
        check_limits(&state.areas, &moved, leaves, limits)?;
        let left = if leaves == 0 { Pages::default() } else { Pages::of(&area.part(&kept)) };
        let more = Pages::of(&moved).without(left);
        self.pay(more, state.areas.totals().mapped, Severity::Barrier).map_err(|Refused| Errno::ENOMEM)?;
        let to = match wanted {
            Some(place) if flags.contains(Flags::FIXED) => {
                dropped.append(&mut self.take_range(state, place.clone())?);
                place
            }
            Some(hint) if hint.start >= LOWEST && free_with_guard(&state.areas, &hint) => hint,
            _ => find_room(state, length)?,
        };
        (moved.start, moved.end) = (to.start, to.end);
        self.tables.edit().relocate(kept.clone(), to.start, &Tables)?;
        if stays {
            // What is empty now has nothing to lock.
            let locked = AreaFlags::LOCKED | AreaFlags::LOCK_ON_FAULT;
            state.areas.change(kept, |area| area.flags.remove(locked));
        } else {
            let end = address.saturating_add(old_length).min(USER_END);
            dropped.append(&mut self.take_range(state, address..end)?);
        }
        if let Backing::Source { source, index: 0 } = &moved.backing {
            source.moved(to.start);
        }
        state.areas.insert(moved);
        Ok(to.start)
    }

    /// Unmaps what lies behind the new length.
    fn shorten(&self, state: &mut State, request: &Request, dropped: &mut Taken) -> Result<u64, Errno> {
        if request.length < request.old_length {
            let old = page_range(request.address, request.old_length).ok_or(Errno::EINVAL)?;
            let cut = old.start + request.length..old.end;
            if state.areas.len() + state.areas.pieces_added_by_take(&cut) > most_areas() {
                return Err(Errno::ENOMEM);
            }
            dropped.append(&mut self.take_range(state, cut)?);
        }
        Ok(request.address)
    }
}

impl Request {
    /// The range that was asked for. `EINVAL` it can't be.
    fn wanted_place(&self) -> Result<Range<u64>, Errno> {
        let place = page_range(self.new_address, self.length).filter(|_| self.new_address.is_multiple_of(PAGE));
        let place = place.ok_or(Errno::EINVAL)?;
        let overlaps = self.address.saturating_add(self.old_length) > place.start && place.end > self.address;
        if overlaps { Err(Errno::EINVAL) } else { Ok(place) }
    }
}

/// What follows an area if it becomes longer.
fn continued(area: &Area, range: Range<u64>) -> Area {
    let mut more = area.clone();
    if let Backing::Source { index, .. } = &mut more.backing {
        *index += area.pages();
    }
    Area { start: range.start, end: range.end, ..more }
}
