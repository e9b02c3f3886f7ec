//! Pages that come along: a load from a page of a file that is not mapped yet maps the pages around it as well, if they
//! are in memory. A program that runs goes on there, and one fault for each page would cost far more than the pages.
//!
//! Nothing is made, read or charged for them; they only count as resident. No CPU has used them, so they are the first
//! that reclaim unmaps. Where pages may be stored to, each comes alone: what a program stores to gets a page of its own,
//! and that the other one was mapped before would be one fault more.

use super::fault::{readable, source_error};
use super::{AddressSpace, FaultError, Tables};
use crate::area::{Area, PAGE, Protection};
use crate::source::{PageSource, PageUse};
use base::Errno;
use machine::frame::Frame;

/// Pages whose entries lie in one line of a CPU's cache. Linux takes 16; but most that come along are never used, and
/// have to be unmapped again.
const WINDOW: usize = 8;
/// Bytes of them.
const WINDOW_BYTES: u64 = WINDOW as u64 * PAGE;

/// Whether pages of the area come along.
#[inline]
pub(super) fn comes_along(area: &Area) -> bool {
    !area.protection.contains(Protection::WRITE)
}

impl AddressSpace {
    /// Maps a page of the area's source, to be loaded from for `usage`, where nothing was mapped, and with it those around
    /// it in the area that are in memory; `false`: it is there by now, and everything stays.
    pub(super) fn bring_around(
        &self,
        area: &Area,
        page: u64,
        source: &dyn PageSource,
        usage: PageUse,
    ) -> Result<bool, FaultError> {
        let window = page / WINDOW_BYTES * WINDOW_BYTES;
        let (first, end) = (window.max(area.start), (window + WINDOW_BYTES).min(area.end));
        let (count, wanted) = ((end - first) / PAGE, (page - first) / PAGE);
        let mut frames = [const { None::<Frame> }; WINDOW];
        let around = &mut frames[..count as usize];
        source.pages_there(area.page_index(first), usage, around);
        let frame = match around[wanted as usize].take() {
            Some(frame) => frame,
            None => source.page(area.page_index(page), usage).map_err(source_error)?,
        };
        let others =
            around.iter_mut().enumerate().filter_map(|(at, frame)| Some((first + at as u64 * PAGE, frame.take()?)));
        let mut editor = self.tables.edit();
        match editor.map(page, frame, readable(area), source.kind(), &Tables) {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Ok(false),
            Err(error) => return Err(self.table_error(error)),
        }
        let mapped = 1 + editor.map_beside(page, others, readable(area), source.kind());
        drop(editor);
        self.counts.add(source.kind(), mapped);
        Ok(true)
    }
}
