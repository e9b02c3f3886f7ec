//! What the containers of an address space pay for: memory that was promised, locked or mapped, and page tables.
//!
//! They are those that the task was in that made the space. Promised and locked pages are properties of areas
//! ([`AreaFlags::PROMISED`], [`AreaFlags::LOCKED`]): whoever changes areas first pays for what will be more, and settles
//! afterwards, which gives back what is too much.

use super::{AddressSpace, State};
use crate::area::{Area, AreaFlags, Protection, Sharing};
use base::charge::{Refused, Resource, Severity};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Pages of areas that somebody pays for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Pages {
    /// Private memory that was ever writable.
    pub(super) promised: u64,
    /// Locked in memory.
    pub(super) locked: u64,
}

impl Pages {
    /// Those of an area.
    pub(super) fn of(area: &Area) -> Self {
        let pages = |flag| if area.flags.contains(flag) { area.pages() } else { 0 };
        Self { promised: pages(AreaFlags::PROMISED), locked: pages(AreaFlags::LOCKED) }
    }

    /// What is left of them without others.
    pub(super) fn without(self, other: Self) -> Self {
        Self {
            promised: self.promised.saturating_sub(other.promised),
            locked: self.locked.saturating_sub(other.locked),
        }
    }

    fn each(self) -> [(Resource, u64); 2] {
        [(Resource::PrivatePages, self.promised), (Resource::LockedPages, self.locked)]
    }
}

/// What an address space has paid for. Changed with the areas' lock held for changes, and by its end.
#[derive(Default)]
pub(super) struct Paid {
    promised: AtomicU64,
    locked: AtomicU64,
}

impl Paid {
    /// Somebody else will have paid for so many promised pages before these values are used.
    pub(super) fn promised(pages: u64) -> Self {
        Self { promised: AtomicU64::new(pages), locked: AtomicU64::new(0) }
    }
}

/// Whether memory of this kind is promised to the program: nobody else has the pages if it writes them all.
pub(super) fn is_promised(sharing: Sharing, protection: Protection) -> bool {
    sharing == Sharing::Private && protection.contains(Protection::WRITE)
}

impl AddressSpace {
    /// Has `more` pages paid for that areas are about to have; call [`settle`](AddressSpace::settle) when they have them.
    /// The areas' lock is held for changes.
    pub(super) fn pay(&self, more: Pages, severity: Severity) -> Result<(), Refused> {
        if let Some(payer) = &self.counts.payer {
            if more.promised > 0 {
                payer.charge(Resource::PrivatePages, more.promised, severity)?;
            }
            if more.locked > 0
                && let Err(refused) = payer.charge(Resource::LockedPages, more.locked, severity)
            {
                payer.uncharge(Resource::PrivatePages, more.promised);
                return Err(refused);
            }
        }
        self.paid.promised.fetch_add(more.promised, Relaxed);
        self.paid.locked.fetch_add(more.locked, Relaxed);
        Ok(())
    }

    /// Pages of areas that are locked in memory. Takes no lock.
    pub fn locked_pages(&self) -> u64 {
        self.paid.locked.load(Relaxed)
    }

    /// Gives back what was paid for pages that no area has any longer.
    pub(super) fn settle(&self, state: &State) {
        let totals = state.areas.totals();
        self.give_back_but(Pages { promised: totals.promised, locked: totals.locked });
    }

    /// Gives back what was paid for more than these pages.
    pub(super) fn give_back_but(&self, kept: Pages) {
        let before = Pages {
            promised: self.paid.promised.swap(kept.promised, Relaxed),
            locked: self.paid.locked.swap(kept.locked, Relaxed),
        };
        let Some(payer) = &self.counts.payer else { return };
        for (resource, pages) in before.without(kept).each() {
            if pages > 0 {
                payer.uncharge(resource, pages);
            }
        }
    }
}
