//! Advice about ranges: `madvise(2)`, and `mincore(2)`.

use super::{AddressSpace, FaultError, Tables, page_range};
use crate::area::{AreaFlags, PAGE};
use alloc::vec::Vec;
use base::Errno;

/// `madvise(2)`, as far as it does anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// MADV_DONTNEED: drop the pages; private anonymous ones read as zero afterwards. `EINVAL` for locked ones.
    DontNeed,
    /// MADV_FREE: like DontNeed, for private anonymous memory only (else `EINVAL`).
    Free,
    /// MADV_POPULATE_READ: bring pages in.
    PopulateRead,
    /// MADV_POPULATE_WRITE: bring pages in, writable.
    PopulateWrite,
    /// MADV_DONTFORK: a child doesn't get the range.
    DontFork,
    /// MADV_DOFORK: a child gets it again.
    DoFork,
    /// MADV_WIPEONFORK: a child reads zeros (private anonymous only, else `EINVAL`).
    WipeOnFork,
    /// MADV_KEEPONFORK: undoes WipeOnFork.
    KeepOnFork,
    /// MADV_COLD, MADV_PAGEOUT: there is no swap to put pages in. `EINVAL` for locked ones.
    Cold,
    /// MADV_HUGEPAGE: several pages come in together.
    Large,
    /// MADV_NOHUGEPAGE: each page comes in alone.
    Small,
    /// Hints that change nothing (MADV_NORMAL, RANDOM, SEQUENTIAL, WILLNEED, …): only the range is checked.
    Hint,
}

impl AddressSpace {
    /// `madvise(2)`.
    ///
    /// Errors: `EINVAL` address no multiple of 4096, or not for this kind of area; `ENOMEM` a hole in the range (the
    /// rest is done), or no memory to populate; `EFAULT` population met a page that can't be had.
    pub fn advise(&self, address: u64, length: u64, advice: Advice) -> Result<(), Errno> {
        if !address.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let length = length.checked_next_multiple_of(PAGE).ok_or(Errno::EINVAL)?;
        let end = address.checked_add(length).ok_or(Errno::EINVAL)?;
        if length == 0 {
            return Ok(());
        }
        let range = page_range(address, length).ok_or(Errno::ENOMEM)?;
        match advice {
            Advice::PopulateRead | Advice::PopulateWrite => {
                let populated = self.populate(range, advice == Advice::PopulateWrite);
                return populated.map_err(|error| match error {
                    FaultError::NotMapped | FaultError::OutOfMemory => Errno::ENOMEM,
                    FaultError::NoAccess => Errno::EINVAL,
                    FaultError::BeyondEnd => Errno::EFAULT,
                });
            }
            Advice::DontNeed | Advice::Free => {
                // Shared: the areas stay as they are.
                let state = self.read_state();
                let mut editor = self.tables.edit();
                for area in state.areas.overlapping(range.clone()) {
                    let locked = area.flags.contains(AreaFlags::LOCKED);
                    if locked || advice == Advice::Free && !area.is_private_anonymous() {
                        return Err(Errno::EINVAL);
                    }
                    self.counts.remove(editor.unmap(area.part(&range).range(), &Tables)?);
                }
                return state.areas.covers(address..end).then_some(()).ok_or(Errno::ENOMEM);
            }
            Advice::Cold => {
                let state = self.read_state();
                if state.areas.overlapping(range).any(|area| area.flags.contains(AreaFlags::LOCKED)) {
                    return Err(Errno::EINVAL);
                }
                return state.areas.covers(address..end).then_some(()).ok_or(Errno::ENOMEM);
            }
            Advice::Hint => {
                return self.read_state().areas.covers(address..end).then_some(()).ok_or(Errno::ENOMEM);
            }
            Advice::DontFork
            | Advice::DoFork
            | Advice::WipeOnFork
            | Advice::KeepOnFork
            | Advice::Large
            | Advice::Small => {}
        }
        let mut state = self.write_state();
        let wipe = matches!(advice, Advice::WipeOnFork);
        if wipe && state.areas.overlapping(range.clone()).any(|area| !area.is_private_anonymous()) {
            return Err(Errno::EINVAL);
        }
        state.areas.change(range, |area| match advice {
            Advice::DontFork => area.flags.insert(AreaFlags::DONT_FORK),
            Advice::DoFork => area.flags.remove(AreaFlags::DONT_FORK),
            Advice::WipeOnFork => area.flags.insert(AreaFlags::WIPE_ON_FORK),
            Advice::Large | Advice::Small => {
                area.flags.set(AreaFlags::LARGE, advice == Advice::Large);
                area.flags.set(AreaFlags::SMALL, advice == Advice::Small);
            }
            _ => area.flags.remove(AreaFlags::WIPE_ON_FORK),
        });
        state.areas.covers(address..end).then_some(()).ok_or(Errno::ENOMEM)
    }

    /// Gives back the private pages of a space whose tasks are about to end: they may still look, and find zeros.
    ///
    /// Errors: `ENOMEM` see [`Editor::unmap`](machine::paging::Editor::unmap); what was given back is.
    pub fn reap(&self) -> Result<(), Errno> {
        let state = self.read_state();
        for area in state.areas.iter().filter(|area| area.is_private_anonymous()) {
            self.counts.remove(self.tables.edit().unmap(area.range(), &Tables)?);
        }
        Ok(())
    }

    /// `mincore(2)`: for each page of the range, whether it is resident.
    ///
    /// Errors: `EINVAL` address no multiple of 4096; `ENOMEM` a hole in the range, or too long.
    pub fn residency(&self, address: u64, length: u64) -> Result<Vec<bool>, Errno> {
        if !address.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let range = page_range(address, length).ok_or(Errno::ENOMEM)?;
        let state = self.read_state();
        if !state.areas.covers(range.clone()) {
            return Err(Errno::ENOMEM);
        }
        let pages = usize::try_from((range.end - range.start) / PAGE).map_err(|_| Errno::ENOMEM)?;
        let mut resident = crate::heap::try_vec(pages)?;
        resident.resize(pages, false);
        self.tables.edit().scan(range.clone(), &mut |at, _| resident[((at - range.start) / PAGE) as usize] = true);
        Ok(resident)
    }
}
