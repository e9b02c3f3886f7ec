//! Copies of address spaces for forked children.

use super::{AddressSpace, Counts, State, Tables};
use crate::area::{AreaFlags, Areas, Sharing};
use alloc::sync::Arc;
use base::Errno;
use machine::paging::{PageCounts, PageTables};

impl AddressSpace {
    /// A copy for a forked child: private pages are shared until either writes. Shared areas come without their
    /// pages, which the source gives again.
    ///
    /// Errors: `ENOMEM`.
    pub fn fork(&self) -> Result<Arc<Self>, Errno> {
        let tables = PageTables::new(&Tables)?;
        // Alone: a fault between the copies of two pages could make a page writable that the child shares.
        let state = self.write_state();
        let mut areas = Areas::default();
        for area in state.areas.iter().filter(|area| !area.flags.contains(AreaFlags::DONT_FORK)) {
            areas.insert(area.clone());
        }
        let shared = self.share_pages(&tables, &areas);
        let child = State { areas, brk_start: state.brk_start, brk_end: state.brk_end, top: state.top };
        drop(state);
        // On an error the child's pages go with its tables, its sources here, after the lock.
        Self::with(tables, child, Counts::of(shared?))
    }

    fn share_pages(&self, tables: &PageTables, areas: &Areas) -> Result<PageCounts, Errno> {
        let mut parent = self.tables.edit();
        let mut child = tables.edit_nested();
        let mut sum = PageCounts::default();
        let copied = areas
            .iter()
            .filter(|area| area.sharing == Sharing::Private && !area.flags.contains(AreaFlags::WIPE_ON_FORK));
        for area in copied {
            let counts = parent.share(&mut child, area.range(), true, &Tables)?;
            sum.anonymous += counts.anonymous;
            sum.file += counts.file;
            sum.shared += counts.shared;
        }
        Ok(sum)
    }
}
