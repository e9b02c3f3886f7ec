//! `mremap(2)`.

use super::lock::brings_in;
use super::map::{check_limits, find_room};
use super::payment::Pages;
use super::{AddressSpace, LOWEST, Limits, MOST_AREAS, State, Tables, page_range};
use crate::area::{Area, Backing, PAGE, Sharing, Taken};
use base::Errno;
use base::charge::{Refused, Severity};
use bitflags::bitflags;
use core::ops::Range;

bitflags! {
    /// The flags of `mremap(2)`.
    struct Flags: u32 {
        const MAY_MOVE = 1;
        const FIXED = 2;
        const DONT_UNMAP = 4;
    }
}

impl AddressSpace {
    /// `mremap(2)` with its raw flags (MAYMOVE 1, FIXED 2, DONTUNMAP 4): the new address.
    ///
    /// Errors: as the manual: `EINVAL` flags, alignment, overlap, a private area of old length 0; `EFAULT` the old
    /// range is not inside one area; `ENOMEM` no room where it is and it may not move, a limit, or
    /// not paid for; `EAGAIN` more would be locked than may be.
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
        if moves && !flags.contains(Flags::MAY_MOVE) || !address.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let old = page_range(address, old_length).ok_or(Errno::EINVAL)?;
        let length = new_length.checked_next_multiple_of(PAGE).filter(|&length| length > 0).ok_or(Errno::EINVAL)?;
        if flags.contains(Flags::DONT_UNMAP) && length != old.end - old.start {
            return Err(Errno::EINVAL);
        }
        let target = if flags.contains(Flags::FIXED) { Some(fixed_target(new_address, length, &old)?) } else { None };

        let mut state = self.write_state();
        let mut dropped = Taken::new();
        let result = self.remap_locked(&mut state, &old, length, &flags, target, limits, &mut dropped);
        self.settle(&state);
        let grown = result.ok().filter(|_| length > old.end - old.start);
        let brought_in = grown.filter(|&start| state.areas.find(start).is_some_and(|area| brings_in(area.flags)));
        drop(state);
        drop(dropped);
        if let Some(start) = brought_in {
            // As far as it goes: the pages that can't be had now fault later.
            let _ = self.populate(start + (old.end - old.start)..start + length, true);
        }
        result
    }

    #[expect(clippy::too_many_arguments, reason = "one call, split only to drop what was taken after the lock")]
    fn remap_locked(
        &self,
        state: &mut State,
        old: &Range<u64>,
        length: u64,
        flags: &Flags,
        target: Option<Range<u64>>,
        limits: &Limits,
        dropped: &mut Taken,
    ) -> Result<u64, Errno> {
        let area = state.areas.find(old.start).ok_or(Errno::EFAULT)?;
        if old.is_empty() && area.sharing == Sharing::Private {
            return Err(Errno::EINVAL);
        }
        if old.is_empty() && !flags.contains(Flags::MAY_MOVE) {
            return Err(Errno::EINVAL);
        }
        if old.end > area.end {
            return Err(Errno::EFAULT);
        }
        if flags.contains(Flags::DONT_UNMAP) && !area.is_private_anonymous() {
            return Err(Errno::EINVAL);
        }
        let old_length = old.end - old.start;
        if target.is_none() && !flags.contains(Flags::DONT_UNMAP) && !old.is_empty() {
            if length <= old_length {
                dropped.append(&mut self.take_range(state, old.start + length..old.end)?);
                return Ok(old.start);
            }
            let more = old.end..old.start + length;
            if old.end == area.end && page_range(old.start, length).is_some() && state.areas.is_free(more.clone()) {
                let longer = continued(area, more);
                check_limits(&state.areas, &longer, 0, limits)?;
                self.pay(Pages::of(&longer), Severity::Barrier).map_err(|Refused| Errno::ENOMEM)?;
                state.areas.insert(longer);
                return Ok(old.start);
            }
            if !flags.contains(Flags::MAY_MOVE) {
                return Err(Errno::ENOMEM);
            }
        }
        let mut moved = area.part(&(old.start..old.end.max(old.start + PAGE)));
        moved.end = moved.start + length;
        if state.areas.len() + 4 > MOST_AREAS {
            return Err(Errno::ENOMEM);
        }
        let leaves = if flags.contains(Flags::DONT_UNMAP) { 0 } else { old_length / PAGE };
        check_limits(&state.areas, &moved, leaves, limits)?;
        let left = if leaves == 0 { Pages::default() } else { Pages::of(&area.part(old)) };
        self.pay(Pages::of(&moved).without(left), Severity::Barrier).map_err(|Refused| Errno::ENOMEM)?;
        let to = match target {
            Some(target) => {
                dropped.append(&mut self.take_range(state, target.clone())?);
                target
            }
            None => find_room(state, length)?,
        };
        (moved.start, moved.end) = (to.start, to.end);
        self.tables.edit().relocate(old.start..old.start + old_length.min(length), to.start, &Tables)?;
        if !flags.contains(Flags::DONT_UNMAP) {
            dropped.append(&mut self.take_range(state, old.clone())?);
        }
        state.areas.insert(moved);
        Ok(to.start)
    }
}

/// The fixed target range.
fn fixed_target(address: u64, length: u64, old: &Range<u64>) -> Result<Range<u64>, Errno> {
    let target = page_range(address, length).filter(|_| address.is_multiple_of(PAGE)).ok_or(Errno::EINVAL)?;
    if target.start < old.end && old.start < target.end {
        return Err(Errno::EINVAL);
    }
    if target.start < LOWEST {
        return Err(Errno::EPERM);
    }
    Ok(target)
}

/// What follows an area if it becomes longer.
fn continued(area: &Area, range: Range<u64>) -> Area {
    let mut more = area.clone();
    if let Backing::Source { index, .. } = &mut more.backing {
        *index += area.pages();
    }
    Area { start: range.start, end: range.end, ..more }
}
