//! Copies of address spaces for forked children.

use super::payment::Paid;
use super::{AddressSpace, Counts, State, Tables};
use crate::area::{Area, AreaFlags, Areas, Backing, Sharing};
use crate::commitment;
use alloc::sync::Arc;
use base::Errno;
use base::charge::{Amount, Payer, Resource, Severity};
use machine::paging::{PageCounts, PageTables, USER_END};

impl AddressSpace {
    /// A copy for a forked child: private pages are shared until either writes. Shared areas come without their
    /// pages, which the source gives again. `payer` are the containers that the child is to be in.
    ///
    /// Errors: `ENOMEM`, also if `payer` does not pay for what the child may fill with pages of its own.
    pub fn fork(&self, payer: Option<Arc<dyn Payer>>) -> Result<Arc<Self>, Errno> {
        let tables = PageTables::new(&Tables, payer.clone())?;
        // Alone: a fault between the copies of two pages could make a page writable that the child shares.
        let state = self.write_state();
        let areas = inherited(&state.areas);
        let pages = areas.totals().promised;
        let committed = commitment::for_child(areas.totals().committed, areas.totals().mapped);
        let promised =
            payer.as_ref().map(|payer| Amount::take(payer.clone(), Resource::PrivatePages, pages, Severity::Barrier));
        // A refusal ends here after the lock, as do the sources of the child's areas.
        let shared = match (promised.transpose(), committed) {
            (Ok(promised), Ok(committed)) => {
                self.share_pages(&tables, &state.areas).map(|counts| (counts, promised, committed))
            }
            _ => Err(Errno::ENOMEM),
        };
        let (brk_start, brk_end, top) = (state.brk_start, state.brk_end, state.top);
        let child = State { areas, brk_start, brk_end, top, later: AreaFlags::empty() };
        drop(state);
        // On an error the child's pages go with its tables, its sources here, after the lock.
        let (counts, promised, committed) = shared?;
        let paid = Paid::promised(pages, committed.pages());
        let space = Self::with(tables, child, Counts::of(counts, payer), paid);
        if let Ok(space) = &space {
            space.set_small_pages_only(self.has_small_pages_only());
        }
        // The child's own end gives it back, also if it could not be made just now.
        promised.into_iter().for_each(Amount::keep);
        committed.keep();
        space
    }

    /// Has the child share the pages of all areas but those that are not inherited, or without their pages.
    fn share_pages(&self, tables: &PageTables, areas: &Areas) -> Result<PageCounts, Errno> {
        let mut parent = self.tables.edit();
        let mut child = tables.edit_nested();
        let mut sum = PageCounts::default();
        let mut start = 0;
        // In one go from one such area to the next: where no area is, no page is either.
        for left_out in areas.iter().filter(|area| !gives_pages(area)) {
            sum += parent.share(&mut child, start..left_out.start, &Tables)?;
            start = left_out.end;
        }
        sum += parent.share(&mut child, start..USER_END, &Tables)?;
        child.pay()?;
        Ok(sum)
    }
}

/// The areas of a child.
fn inherited(areas: &Areas) -> Areas {
    const LOCKS: AreaFlags = AreaFlags::LOCKED.union(AreaFlags::LOCK_ON_FAULT);
    let differs = |area: &Area| area.flags.intersects(LOCKS | AreaFlags::DONT_FORK);
    let mut inherited = if areas.iter().any(differs) {
        let mut some = Areas::default();
        for area in areas.iter().filter(|area| !area.flags.contains(AreaFlags::DONT_FORK)) {
            // Locks are not inherited.
            some.insert(Area { flags: area.flags.difference(LOCKS), ..area.clone() });
        }
        some
    } else {
        areas.clone()
    };
    for area in inherited.iter_mut() {
        if let Backing::Source { source, .. } = &mut area.backing
            && let Some(own) = source.for_child()
        {
            *source = own;
        }
    }
    inherited
}

/// Whether a child has the pages that are in the area.
fn gives_pages(area: &Area) -> bool {
    area.sharing == Sharing::Private && !area.flags.intersects(AreaFlags::DONT_FORK | AreaFlags::WIPE_ON_FORK)
}
