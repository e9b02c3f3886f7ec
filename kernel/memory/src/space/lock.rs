//! Locked memory: `mlock(2)` and its relatives. Locking brings pages in, and nothing takes them away until they are
//! unlocked or unmapped. Children do not inherit locks; exec ends them.

use super::payment::Pages;
use super::{Access, AddressSpace, FaultError, Limits, State};
use crate::area::{Area, AreaFlags, PAGE, Protection, Sharing};
use base::Errno;
use base::charge::{Refused, Severity};
use core::ops::Range;
use machine::paging::USER_END;

/// What is to be locked by [`AddressSpace::lock_all`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockAll {
    /// What is mapped now.
    pub current: bool,
    /// What will be mapped later.
    pub future: bool,
    /// Pages are locked as they come, and none is brought in.
    pub on_fault: bool,
}

/// The flags of an area that is locked.
fn locked(on_fault: bool) -> AreaFlags {
    if on_fault { AreaFlags::LOCKED | AreaFlags::LOCK_ON_FAULT } else { AreaFlags::LOCKED }
}

/// Whether the pages of an area with these flags are brought in as soon as it is there.
pub(super) fn brings_in(flags: AreaFlags) -> bool {
    flags.contains(AreaFlags::LOCKED) && !flags.contains(AreaFlags::LOCK_ON_FAULT)
}

impl AddressSpace {
    /// `mlock(2)` and `mlock2(2)`.
    ///
    /// Errors: `EPERM` the caller may lock nothing; `EINVAL` the range wraps; `ENOMEM` over the limit, not paid for, a
    /// hole in the range (what lies before it is locked), or a page that can't be had; `EAGAIN` no memory to bring it in.
    pub fn lock(&self, address: u64, length: u64, on_fault: bool, limits: &Limits) -> Result<(), Errno> {
        if limits.locked == 0 {
            return Err(Errno::EPERM);
        }
        let range = whole_pages(address, length)?;
        let mut state = self.write_state();
        let inside: u64 = state.areas.overlapping(range.clone()).map(|area| Pages::of(&area.part(&range)).locked).sum();
        let sum = (state.areas.totals().locked - inside).saturating_add((range.end - range.start) / PAGE);
        if sum.saturating_mul(PAGE) > limits.locked {
            return Err(Errno::ENOMEM);
        }
        let covered = covered(&state, &range);
        self.lock_range(&mut state, covered.clone(), locked(on_fault))?;
        drop(state);
        if covered.end < range.end {
            return Err(Errno::ENOMEM);
        }
        if on_fault { Ok(()) } else { self.bring_in(range) }
    }

    /// `munlock(2)`. `EINVAL` the range wraps; `ENOMEM` a hole in it (what lies before is unlocked).
    pub fn unlock(&self, address: u64, length: u64) -> Result<(), Errno> {
        let range = whole_pages(address, length)?;
        let mut state = self.write_state();
        let covered = covered(&state, &range);
        self.lock_range(&mut state, covered.clone(), AreaFlags::empty())?;
        if covered.end < range.end { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// `mlockall(2)`. `EPERM` the caller may lock nothing; `ENOMEM` over the limit, or not paid for.
    pub fn lock_all(&self, what: LockAll, limits: &Limits) -> Result<(), Errno> {
        if limits.locked == 0 {
            return Err(Errno::EPERM);
        }
        let mut state = self.write_state();
        let flags = locked(what.on_fault);
        if what.current {
            if state.areas.totals().mapped.saturating_mul(PAGE) > limits.locked {
                return Err(Errno::ENOMEM);
            }
            self.lock_range(&mut state, 0..USER_END, flags)?;
        }
        state.later = if what.future { flags } else { AreaFlags::empty() };
        let ranges: alloc::collections::LinkedList<Range<u64>> = state.areas.iter().map(Area::range).collect();
        drop(state);
        if what.current && !what.on_fault {
            // As far as it goes: some areas have pages that can't be had.
            for range in ranges {
                let _ = self.bring_in(range);
            }
        }
        Ok(())
    }

    /// `munlockall(2)`.
    pub fn unlock_all(&self) {
        let mut state = self.write_state();
        state.later = AreaFlags::empty();
        // Nothing is asked for, so nothing is refused.
        let _never = self.lock_range(&mut state, 0..USER_END, AreaFlags::empty());
    }

    /// Sets the flags about locks of all areas in the range. `ENOMEM` not paid for, or too many areas; then nothing is
    /// changed.
    fn lock_range(&self, state: &mut State, range: Range<u64>, flags: AreaFlags) -> Result<(), Errno> {
        if state.areas.len() + 2 > super::most_areas() {
            return Err(Errno::ENOMEM);
        }
        if flags.contains(AreaFlags::LOCKED) {
            let parts = state.areas.overlapping(range.clone()).map(|area| area.part(&range));
            let more = parts.filter(|part| !part.flags.contains(AreaFlags::LOCKED)).map(|part| part.pages()).sum();
            let more = Pages { locked: more, ..Pages::default() };
            self.pay(more, state.areas.totals().mapped, Severity::Barrier).map_err(|Refused| Errno::ENOMEM)?;
        }
        state.areas.change(range, |area| {
            area.flags.remove(AreaFlags::LOCKED | AreaFlags::LOCK_ON_FAULT);
            area.flags.insert(flags);
        });
        self.settle(state);
        Ok(())
    }

    /// Brings in all pages of a range, those of the program's own as their own copies.
    fn bring_in(&self, range: Range<u64>) -> Result<(), Errno> {
        let mut at = range.start;
        while at < range.end {
            let found = self.read_state().areas.find(at).map(|area| (area.end, area.sharing, area.protection));
            let (end, sharing, protection) = found.ok_or(Errno::ENOMEM)?;
            let end = end.min(range.end);
            let write = sharing == Sharing::Private && protection.contains(Protection::WRITE);
            let access = if write { Access::Write } else { Access::Read };
            self.populate_for(at..end, access).map_err(|error| match error {
                FaultError::OutOfMemory => Errno::EAGAIN,
                _ => Errno::ENOMEM,
            })?;
            at = end;
        }
        Ok(())
    }
}

/// The pages that a range of bytes touches. `EINVAL` it wraps; `ENOMEM` it leaves the user half.
fn whole_pages(address: u64, length: u64) -> Result<Range<u64>, Errno> {
    let start = address / PAGE * PAGE;
    let end = length.checked_add(address - start).and_then(|length| length.checked_next_multiple_of(PAGE));
    let end = end.and_then(|length| start.checked_add(length)).ok_or(Errno::EINVAL)?;
    if end > USER_END { Err(Errno::ENOMEM) } else { Ok(start..end) }
}

/// The part of the range before the first hole in it.
fn covered(state: &State, range: &Range<u64>) -> Range<u64> {
    let mut end = range.start;
    for area in state.areas.overlapping(range.clone()) {
        if area.start > end {
            break;
        }
        end = area.end.min(range.end);
    }
    range.start..end
}
