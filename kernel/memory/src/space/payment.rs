//! What the containers of an address space pay for: memory that was promised, locked or mapped, and page tables.
//!
//! They are those that the task was in that made the space. Promised and locked pages are properties of areas
//! ([`AreaFlags::PROMISED`], [`AreaFlags::LOCKED`]): whoever changes areas first pays for what will be more, and settles
//! afterwards, which gives back what is too much.

use super::{AddressSpace, State};
use crate::area::{Area, AreaFlags, Protection, Sharing};
use crate::commitment;
use base::charge::{Refused, Resource, Severity};
use core::ops::AddAssign;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Pages of areas that somebody pays for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Pages {
    /// Private memory that was ever writable.
    pub(super) promised: u64,
    /// What counts of it as promised to the program.
    pub(super) committed: u64,
    /// Locked in memory.
    pub(super) locked: u64,
}

impl Pages {
    /// Those of an area.
    pub(super) fn of(area: &Area) -> Self {
        let pages = |flag| if area.flags.contains(flag) { area.pages() } else { 0 };
        let committed = if area.is_committed() { area.pages() } else { 0 };
        Self { promised: pages(AreaFlags::PROMISED), committed, locked: pages(AreaFlags::LOCKED) }
    }

    /// What is left of them without others.
    pub(super) fn without(self, other: Self) -> Self {
        Self {
            promised: self.promised.saturating_sub(other.promised),
            committed: self.committed.saturating_sub(other.committed),
            locked: self.locked.saturating_sub(other.locked),
        }
    }

    fn each(self) -> [(Resource, u64); 2] {
        [(Resource::PrivatePages, self.promised), (Resource::LockedPages, self.locked)]
    }
}

impl AddAssign for Pages {
    fn add_assign(&mut self, other: Self) {
        self.promised += other.promised;
        self.committed += other.committed;
        self.locked += other.locked;
    }
}

/// What an address space has paid for. Changed with the areas' lock held for changes, and by its end.
#[derive(Default)]
pub(super) struct Paid {
    promised: AtomicU64,
    committed: AtomicU64,
    locked: AtomicU64,
}

impl Paid {
    /// Somebody else will have paid for these pages before these values are used; none of them is locked.
    pub(super) fn promised(promised: u64, committed: u64) -> Self {
        Self { promised: AtomicU64::new(promised), committed: AtomicU64::new(committed), locked: AtomicU64::new(0) }
    }

    /// The pages that count as promised to the program.
    #[cfg(test)]
    pub(super) fn committed(&self) -> u64 {
        self.committed.load(Relaxed)
    }
}

/// Whether memory of this kind is promised to the program: nobody else has the pages if it writes them all.
pub(super) fn is_promised(sharing: Sharing, protection: Protection) -> bool {
    sharing == Sharing::Private && protection.contains(Protection::WRITE)
}

impl AddressSpace {
    /// Has `more` pages paid for that areas are about to have; call [`settle`](AddressSpace::settle) when they have them.
    /// The areas' lock is held for changes, and they have `mapped` pages.
    pub(super) fn pay(&self, more: Pages, mapped: u64, severity: Severity) -> Result<(), Refused> {
        commitment::take(more.committed, mapped)?;
        self.charge(more, severity).inspect_err(|_| commitment::give_back(more.committed))?;
        self.paid.promised.fetch_add(more.promised, Relaxed);
        self.paid.committed.fetch_add(more.committed, Relaxed);
        self.paid.locked.fetch_add(more.locked, Relaxed);
        Ok(())
    }

    fn charge(&self, more: Pages, severity: Severity) -> Result<(), Refused> {
        let Some(payer) = &self.counts.payer else { return Ok(()) };
        if more.promised > 0 {
            payer.charge(Resource::PrivatePages, more.promised, severity)?;
        }
        if more.locked > 0
            && let Err(refused) = payer.charge(Resource::LockedPages, more.locked, severity)
        {
            payer.uncharge(Resource::PrivatePages, more.promised);
            return Err(refused);
        }
        Ok(())
    }

    /// Pages of areas that are locked in memory. Takes no lock.
    pub fn locked_pages(&self) -> u64 {
        self.paid.locked.load(Relaxed)
    }

    /// Gives back what was paid for pages that no area has any longer.
    pub(super) fn settle(&self, state: &State) {
        let totals = state.areas.totals();
        self.give_back_but(Pages { promised: totals.promised, committed: totals.committed, locked: totals.locked });
    }

    /// Gives back what was paid for more than these pages.
    pub(super) fn give_back_but(&self, kept: Pages) {
        let before = Pages {
            promised: self.paid.promised.swap(kept.promised, Relaxed),
            committed: self.paid.committed.swap(kept.committed, Relaxed),
            locked: self.paid.locked.swap(kept.locked, Relaxed),
        };
        let gone = before.without(kept);
        commitment::give_back(gone.committed);
        let Some(payer) = &self.counts.payer else { return };
        for (resource, pages) in gone.each() {
            if pages > 0 {
                payer.uncharge(resource, pages);
            }
        }
    }
}
