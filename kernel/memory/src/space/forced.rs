//! Access by a debugger (ptrace(2), `/proc/PID/mem`), which may do what the program itself may not: read where it has no
//! right at all, and write a private copy where it may only read. What is shared it writes only where the program may.

use super::fault::{copied, readable, source_error, zeroed};
use super::{AddressSpace, FaultError, Tables};
use crate::area::{Area, Backing, PAGE, Protection, Sharing};
use crate::source::PageUse;
use base::Errno;
use core::ops::Range;
use machine::frame::Frame;
use machine::paging::{PageKind, USER_END};

/// Each page that the bytes at `address` lie in, and which of them these are.
fn pages(address: u64, length: usize) -> Result<impl Iterator<Item = (u64, Range<usize>)>, Errno> {
    let end = address.checked_add(length as u64).filter(|&end| end <= USER_END).ok_or(Errno::EFAULT)?;
    let firsts = (address / PAGE * PAGE..end).step_by(PAGE as usize);
    Ok(firsts.map(move |page| {
        let (from, to) = (page.max(address), (page + PAGE).min(end));
        (page, (from - address) as usize..(to - address) as usize)
    }))
}

impl AddressSpace {
    /// Reads memory whatever the program may do with it.
    ///
    /// Errors: `EFAULT` nothing is mapped, or a file has no such page; `ENOMEM`. Locks: takes the space's, shared.
    pub fn read_forced(&self, address: u64, out: &mut [u8]) -> Result<(), Errno> {
        for (page, part) in pages(address, out.len())? {
            let at = page.max(address);
            let out = &mut out[part];
            if self.read(at, out).is_err() {
                self.read_hidden(page, (at - page) as usize, out).map_err(errno)?;
            }
        }
        Ok(())
    }

    /// Writes memory; where it is private and may not be written, a copy that only this address space has, and that the
    /// program may still not write.
    ///
    /// Errors: `EFAULT` nothing is mapped, or it is shared and may not be written; `ENOMEM`. Locks: as for reading.
    pub fn write_forced(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        for (page, part) in pages(address, bytes.len())? {
            let at = page.max(address);
            let bytes = &bytes[part];
            let is_writable = {
                let state = self.read_state();
                state.areas.find(page).is_none_or(|area| area.protection.contains(Protection::WRITE))
            };
            if is_writable {
                self.write(at, bytes)?;
            } else {
                self.write_copy(page, (at - page) as usize, bytes).map_err(errno)?;
            }
        }
        Ok(())
    }

    /// Reads a page that the program may not touch.
    fn read_hidden(&self, page: u64, offset: usize, out: &mut [u8]) -> Result<(), FaultError> {
        let state = self.read_state();
        let area = state.areas.find(page).ok_or(FaultError::NotMapped)?;
        let mapped = self.tables.edit().get(page).map(|mapping| Frame::clone(&mapping.frame));
        let frame = match (mapped, &area.backing) {
            (Some(frame), _) => frame,
            (None, Backing::Source { source, .. }) => {
                source.page(area.page_index(page), PageUse::Private).map_err(source_error)?
            }
            (None, _) => {
                out.fill(0);
                return Ok(());
            }
        };
        frame.read(offset, out);
        Ok(())
    }

    /// Writes to a page of a private area that may not be written, after it has been made the space's own.
    fn write_copy(&self, page: u64, offset: usize, bytes: &[u8]) -> Result<(), FaultError> {
        let state = self.read_state();
        let area = state.areas.find(page).ok_or(FaultError::NotMapped)?;
        if area.sharing == Sharing::Shared {
            return Err(FaultError::NoAccess);
        }
        loop {
            let mut editor = self.tables.edit();
            if editor.get(page).is_some_and(|mapping| mapping.shares_table) {
                editor.own(page..page + PAGE, &Tables).map_err(|error| self.table_error(error))?;
            }
            let old = match editor.get(page) {
                Some(mapping) if mapping.kind == PageKind::Anonymous && mapping.frame.reference_count() == 1 => {
                    // No fork can come between: it takes the space's lock alone.
                    mapping.frame.write(offset, bytes);
                    return Ok(());
                }
                Some(mapping) => Some((Frame::clone(&mapping.frame), mapping.kind)),
                None => None,
            };
            drop(editor);
            match old {
                Some((_, PageKind::Zero)) => {
                    self.exchange(page, None, zeroed(area, page)?, readable(area), PageKind::Anonymous)?;
                }
                Some((old, _)) => {
                    let new = copied(area, page, &old)?;
                    self.exchange(page, Some(&old), new, readable(area), PageKind::Anonymous)?;
                }
                None => {
                    self.install(page, first_copy(area, page)?, readable(area), PageKind::Anonymous)?;
                }
            }
        }
    }
}

/// A new frame with what a page begins with.
fn first_copy(area: &Area, page: u64) -> Result<Frame, FaultError> {
    match &area.backing {
        Backing::Source { source, .. } => {
            let frame = source.page(area.page_index(page), PageUse::Private).map_err(source_error)?;
            copied(area, page, &frame)
        }
        _ => zeroed(area, page),
    }
}

fn errno(error: FaultError) -> Errno {
    match error {
        FaultError::OutOfMemory | FaultError::NotPaid => Errno::ENOMEM,
        _ => Errno::EFAULT,
    }
}
