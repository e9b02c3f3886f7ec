//! Pages that come in ahead: the first store to a block of a large private area brings in all of the block, since most
//! programs that ask for much memory use it, and one fault for a page each would cost more than the pages.
//!
//! This is what Linux calls transparent huge pages of 64 KiB. The pages are small ones that happen to come together: each
//! goes its own way afterwards, so nothing is ever split. A block comes in whole only where an area covers all of the 2 MiB
//! around it and memory is plenty: frames of the best node that nobody is short of, and an account without a limit. Else
//! the page comes alone, and nobody notices but by the time that it takes.

use super::fault::{placed, writable};
use super::{AddressSpace, FaultError, Tables};
use crate::area::{Area, AreaFlags, PAGE};
use crate::{ChargeKind, charge};
use arrayvec::ArrayVec;
use base::Errno;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use machine::frame::Frame;
use machine::paging::PageKind;

/// Pages of a block.
const BLOCK: usize = 16;
/// Bytes of a block.
const BLOCK_BYTES: u64 = BLOCK as u64 * PAGE;
/// An area is large where it covers a range of so many bytes that starts at a multiple of them.
pub(super) const LARGE_BYTES: u64 = 2 << 20;

/// Where pages come in ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum AheadMode {
    /// In every large area, unless the program does not want it.
    Always = 0,
    /// Where the program says that it wants it.
    Advised = 1,
    /// Nowhere.
    Never = 2,
}

static MODE: AtomicU8 = AtomicU8::new(AheadMode::Always as u8);

/// Where pages come in ahead now.
pub fn ahead_mode() -> AheadMode {
    match MODE.load(Relaxed) {
        0 => AheadMode::Always,
        1 => AheadMode::Advised,
        _ => AheadMode::Never,
    }
}

/// Says where pages come in ahead from now on.
pub fn set_ahead_mode(mode: AheadMode) {
    MODE.store(mode as u8, Relaxed);
}

impl AddressSpace {
    /// `prctl(PR_SET_THP_DISABLE)`: whether no page comes in ahead here, whatever is set elsewhere. A child has it too.
    pub fn set_small_pages_only(&self, only: bool) {
        self.small_pages_only.store(only, Relaxed);
    }

    /// `prctl(PR_GET_THP_DISABLE)`.
    pub fn has_small_pages_only(&self) -> bool {
        self.small_pages_only.load(Relaxed)
    }

    /// Whether the first store to this page, of private memory without a file, brings in the pages around it.
    pub(super) fn is_filled_ahead(&self, area: &Area, page: u64) -> bool {
        let large = page / LARGE_BYTES * LARGE_BYTES;
        let wanted = match ahead_mode() {
            AheadMode::Always => !area.flags.contains(AreaFlags::SMALL),
            AheadMode::Advised => area.flags.contains(AreaFlags::LARGE),
            AheadMode::Never => false,
        };
        wanted
            && area.start <= large
            && area.end - large >= LARGE_BYTES
            && !area.flags.contains(AreaFlags::GROWS_DOWN)
            && !self.has_small_pages_only()
    }

    /// Maps a new page where nothing was, and with it the others of its block, if none of them is there; `false`: it
    /// is there by now, and everything stays.
    pub(super) fn install_ahead(&self, area: &Area, page: u64, frame: Frame) -> Result<bool, FaultError> {
        let others = self.frames_ahead(area, page);
        let mut editor = self.tables.edit();
        match editor.map(page, frame, writable(area), PageKind::Anonymous, &Tables) {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Ok(false),
            Err(error) => return Err(self.table_error(error)),
        }
        let mapped = 1 + editor.map_beside(page, others.into_iter(), writable(area), PageKind::Anonymous);
        drop(editor);
        self.counts.add(PageKind::Anonymous, mapped);
        Ok(true)
    }

    /// Frames for the other pages of a page's block, as many as can be had easily; none if one of the block is there.
    fn frames_ahead(&self, area: &Area, page: u64) -> ArrayVec<(u64, Frame), BLOCK> {
        let start = page / BLOCK_BYTES * BLOCK_BYTES;
        let block = start..start + BLOCK_BYTES;
        if !self.tables.edit().is_empty(block.clone()) {
            return ArrayVec::new();
        }
        let placement = placed(area, page);
        // A policy can have each page come from elsewhere.
        let alike = |other: &u64| *other != page && placed(area, *other) == placement;
        let others: ArrayVec<u64, BLOCK> = block.step_by(PAGE as usize).filter(alike).collect();
        let frames = charge::allocate_ahead::<BLOCK>(&placement, ChargeKind::Anonymous, others.len());
        others.into_iter().zip(frames).collect()
    }
}
