//! Advice about ranges: `madvise(2)`, and questions about them: `mincore(2)` and `msync(2)`.

use super::{AddressSpace, FaultError, Tables, page_range};
use crate::area::{Area, AreaFlags, Backing, PAGE, Protection, Sharing};
use alloc::vec::Vec;
use base::Errno;
use core::ops::Range;
use machine::paging::USER_END;

/// `madvise(2)`, as far as it does anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// MADV_DONTNEED: drop the pages; private anonymous ones read as zero afterwards. `EINVAL` for locked ones.
    DontNeed,
    /// MADV_FREE: like DontNeed, for private anonymous memory only (else `EINVAL`).
    Free,
    /// MADV_REMOVE: zeros for all who share the memory, which is given back. `EINVAL` for private anonymous and locked areas.
    Remove,
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
    /// MADV_DONTDUMP: a core dump leaves the range out.
    DontDump,
    /// MADV_DODUMP: undoes DontDump.
    DoDump,
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
    /// Errors: `EINVAL` address no multiple of 4096, or not for this kind of area (what lies before it is done); `ENOMEM` a
    /// hole in the range (the rest is done), or no memory to populate; `EFAULT` population met a page that can't be had;
    /// `EACCES` to remove what can't be stored to by all; those of [`PageSource::punch`](crate::PageSource::punch).
    pub fn advise(&self, address: u64, length: u64, advice: Advice) -> Result<(), Errno> {
        if !address.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let length = length.checked_next_multiple_of(PAGE).ok_or(Errno::EINVAL)?;
        let end = address.checked_add(length).ok_or(Errno::EINVAL)?;
        if length == 0 {
            return Ok(());
        }
        let range = address.min(USER_END)..end.min(USER_END);
        let result = match advice {
            Advice::PopulateRead | Advice::PopulateWrite => {
                return self.populate_all(range, advice == Advice::PopulateWrite, end > USER_END);
            }
            Advice::Remove => self.remove(range.clone()),
            Advice::DontNeed | Advice::Free => self.drop_pages(range.clone(), advice == Advice::Free),
            Advice::Cold => {
                let is_locked = |area: &Area| area.flags.contains(AreaFlags::LOCKED);
                let any = self.read_state().areas.overlapping(range.clone()).any(is_locked);
                if any { Err(Errno::EINVAL) } else { Ok(()) }
            }
            Advice::Hint => Ok(()),
            Advice::DontFork
            | Advice::DoFork
            | Advice::WipeOnFork
            | Advice::KeepOnFork
            | Advice::DontDump
            | Advice::DoDump
            | Advice::Large
            | Advice::Small => self.note_advice(range.clone(), advice),
        };
        result?;
        let covered = end <= USER_END && self.read_state().areas.covers(range);
        covered.then_some(()).ok_or(Errno::ENOMEM)
    }

    /// MADV_POPULATE_READ and MADV_POPULATE_WRITE.
    fn populate_all(&self, range: Range<u64>, write: bool, leaves_user_space: bool) -> Result<(), Errno> {
        let wanted = if write { Protection::WRITE } else { Protection::READ };
        let mut at = range.start;
        while at < range.end {
            let area = self.read_state().areas.find(at).map(|area| (area.end, area.protection));
            let (end, protection) = area.ok_or(Errno::ENOMEM)?;
            if !protection.contains(wanted) {
                return Err(Errno::EINVAL);
            }
            let end = end.min(range.end);
            self.populate(at..end, write).map_err(|error| match error {
                FaultError::NotMapped | FaultError::OutOfMemory | FaultError::NotPaid => Errno::ENOMEM,
                FaultError::NoAccess => Errno::EINVAL,
                FaultError::BeyondEnd => Errno::EFAULT,
            })?;
            at = end;
        }
        if leaves_user_space { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// MADV_DONTNEED and MADV_FREE.
    fn drop_pages(&self, range: Range<u64>, only_private: bool) -> Result<(), Errno> {
        // Shared: the areas stay as they are.
        let state = self.read_state();
        let mut editor = self.tables.edit();
        for area in state.areas.overlapping(range.clone()) {
            let locked = area.flags.contains(AreaFlags::LOCKED);
            if locked || only_private && !area.is_private_anonymous() {
                return Err(Errno::EINVAL);
            }
            self.counts.remove(editor.unmap(area.part(&range).range(), &Tables)?);
        }
        Ok(())
    }

    /// MADV_REMOVE: makes holes in what is shared.
    fn remove(&self, range: Range<u64>) -> Result<(), Errno> {
        let mut at = range.start;
        loop {
            let (source, part) = {
                let state = self.read_state();
                let Some(area) = state.areas.overlapping(at..range.end).next() else { return Ok(()) };
                let Backing::Source { source, .. } = &area.backing else { return Err(Errno::EINVAL) };
                if area.flags.contains(AreaFlags::LOCKED) {
                    return Err(Errno::EINVAL);
                }
                if area.sharing != Sharing::Shared || !area.protection.contains(Protection::WRITE) {
                    return Err(Errno::EACCES);
                }
                let part = area.part(&(at..range.end));
                // Here the pages need not stay for the mapping.
                self.counts.remove(self.tables.edit().unmap(part.range(), &Tables)?);
                (source.clone(), part)
            };
            let first = part.page_index(part.start);
            source.punch(first..first + part.pages())?;
            at = part.end;
            if at >= range.end {
                return Ok(());
            }
        }
    }

    /// Advice that an area keeps.
    fn note_advice(&self, range: Range<u64>, advice: Advice) -> Result<(), Errno> {
        let mut state = self.write_state();
        let fits = |area: &&Area| advice == Advice::WipeOnFork && !area.is_private_anonymous();
        let unfit = state.areas.overlapping(range.clone()).find(fits).map(|area| area.start.max(range.start));
        let end = unfit.unwrap_or(range.end);
        state.areas.change(range.start..end, |area| match advice {
            Advice::DontFork => area.flags.insert(AreaFlags::DONT_FORK),
            Advice::DoFork => area.flags.remove(AreaFlags::DONT_FORK),
            Advice::WipeOnFork => area.flags.insert(AreaFlags::WIPE_ON_FORK),
            Advice::DontDump => area.flags.insert(AreaFlags::DONT_DUMP),
            Advice::DoDump => area.flags.remove(AreaFlags::DONT_DUMP),
            Advice::Large | Advice::Small => {
                area.flags.set(AreaFlags::LARGE, advice == Advice::Large);
                area.flags.set(AreaFlags::SMALL, advice == Advice::Small);
            }
            _ => area.flags.remove(AreaFlags::WIPE_ON_FORK),
        });
        if unfit.is_some() { Err(Errno::EINVAL) } else { Ok(()) }
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

    /// `mincore(2)`: for each page of the range up to the first hole, whether it is in memory: it is mapped, or the area's
    /// source has it.
    ///
    /// Errors: `EINVAL` address no multiple of 4096; `ENOMEM` nothing is mapped there, or the list is too long.
    pub fn residency(&self, address: u64, length: u64) -> Result<Vec<bool>, Errno> {
        if !address.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let range = page_range(address, length).ok_or(Errno::ENOMEM)?;
        let state = self.read_state();
        let mut resident: Vec<bool> = Vec::new();
        let mut at = range.start;
        for area in state.areas.overlapping(range.clone()) {
            if area.start > at {
                break;
            }
            let part = area.part(&range);
            let pages = usize::try_from(part.pages()).map_err(|_| Errno::ENOMEM)?;
            resident.try_reserve(pages).map_err(|_| Errno::ENOMEM)?;
            resident.extend((0..part.pages()).map(|page| match &part.backing {
                Backing::Source { source, index } => source.has_page(index + page),
                Backing::Anonymous => false,
            }));
            at = part.end;
        }
        if resident.is_empty() && !range.is_empty() {
            return Err(Errno::ENOMEM);
        }
        self.tables.edit().scan(range.start..at, &mut |at, _| resident[((at - range.start) / PAGE) as usize] = true);
        Ok(resident)
    }

    /// What `msync(2)` asks of the areas of a range; `invalidates`: what else is known of the pages is to be forgotten.
    ///
    /// Errors: `EBUSY` to forget it of locked pages; `ENOMEM` a hole in the range, or beyond user space.
    pub fn check_synchronized(&self, address: u64, length: u64, invalidates: bool) -> Result<(), Errno> {
        let length = length.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM)?;
        let end = address.checked_add(length).ok_or(Errno::ENOMEM)?;
        if length == 0 {
            return Ok(());
        }
        let range = address.min(USER_END)..end.min(USER_END);
        let state = self.read_state();
        if invalidates && state.areas.overlapping(range.clone()).any(|area| area.flags.contains(AreaFlags::LOCKED)) {
            return Err(Errno::EBUSY);
        }
        if end <= USER_END && state.areas.covers(range) { Ok(()) } else { Err(Errno::ENOMEM) }
    }
}
