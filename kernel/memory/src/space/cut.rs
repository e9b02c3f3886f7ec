//! Files that become shorter while they are mapped.

use super::{AddressSpace, Tables};
use crate::area::{Area, Backing, PAGE};
use crate::reclaim::SPACES;
use core::ops::Range;

/// The source with this identity (see [`PageSource::identity`](crate::source::PageSource::identity)) has lost its pages from
/// index `from` on: they are taken out of all address spaces, with the private copies that were made of them, and who
/// uses them from now on gets SIGBUS. The source must have them no more.
///
/// Not found are the private pages of a child that is just being forked and of a program that is just being started; they
/// stay, as do private pages that lie in a page table shared with a child when there is no memory to divide it. No page
/// of a shared mapping stays.
///
/// Locks: takes those of the spaces; call without one of their rank. Costs a look at all areas of all processes.
pub fn cut(identity: u64, from: u64) {
    let Some(spaces) = SPACES.get() else { return };
    spaces.for_each(&mut |space| {
        space.cut(identity, from);
        true
    });
}

impl AddressSpace {
    /// What [`cut`] does in one space.
    pub(super) fn cut(&self, identity: u64, from: u64) {
        // Most spaces have not mapped it, and are not kept from anything.
        if !self.read_state().areas.iter().any(|area| lost(area, identity, from).is_some()) {
            return;
        }
        // Alone: no fault is about to map a page that it was given before.
        let state = self.write_state();
        for range in state.areas.iter().filter_map(|area| lost(area, identity, from)) {
            if let Ok(removed) = self.tables.edit().unmap(range, &Tables) {
                self.counts.remove(removed);
            }
        }
    }
}

/// The part of the area whose pages the source has lost.
fn lost(area: &Area, identity: u64, from: u64) -> Option<Range<u64>> {
    let Backing::Source { source, index } = &area.backing else { return None };
    let kept = from.saturating_sub(*index);
    (kept < area.pages() && source.identity() == identity).then(|| area.start + kept * PAGE..area.end)
}
