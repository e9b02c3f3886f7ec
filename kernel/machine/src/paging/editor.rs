//! Changes to page tables.

use super::{PageCounts, PageKind, PageTables, Permissions, TableSource};
use crate::frame::Frame;
use base::Errno;
use core::ops::Range;

/// One mapped page as its entry tells.
#[derive(Debug)]
pub struct Mapping<'a> {
    /// The frame.
    pub frame: &'a Frame,
    /// What user mode may do.
    pub permissions: Permissions,
    /// What it is.
    pub kind: PageKind,
    /// Whether a CPU has used the entry.
    pub accessed: bool,
    /// Whether a CPU has stored through the entry.
    pub dirty: bool,
}

/// The right to change one set of page tables. When it is dropped, CPUs that may remember old entries have been
/// made to forget them, and only then are the frames that were unmapped given up.
#[derive(Debug)]
pub struct Editor<'a> {
    tables: &'a PageTables,
}

impl<'a> Editor<'a> {
    /// The tables under change.
    pub fn tables(&self) -> &'a PageTables {
        self.tables
    }

    /// The page at `address`, if one is mapped.
    pub fn get(&self, address: u64) -> Option<Mapping<'_>> {
        let _ = address;
        todo!()
    }

    /// Maps `frame` at `address`, where nothing is mapped.
    ///
    /// Errors, nothing changed: `EEXIST` a page is mapped there; `ENOMEM` no table page.
    pub fn map(
        &mut self,
        address: u64,
        frame: Frame,
        permissions: Permissions,
        kind: PageKind,
        source: &dyn TableSource,
    ) -> Result<(), Errno> {
        let _ = (address, frame, permissions, kind, source);
        todo!()
    }

    /// Puts `frame` in place of the page that is mapped at `address`; says whether there was one.
    pub fn replace(&mut self, address: u64, frame: Frame, permissions: Permissions, kind: PageKind) -> bool {
        let _ = (address, frame, permissions, kind);
        todo!()
    }

    /// Sets the permissions of the page at `address`; says whether there is one.
    pub fn set_permissions(&mut self, address: u64, permissions: Permissions) -> bool {
        let _ = (address, permissions);
        todo!()
    }

    /// Sets the permissions of each page in the range. A page that is not writable stays so: the next store decides.
    pub fn protect(&mut self, range: Range<u64>, permissions: Permissions) {
        let _ = (range, permissions);
        todo!()
    }

    /// Unmaps all pages in the range; says how many there were of each kind.
    pub fn unmap(&mut self, range: Range<u64>) -> PageCounts {
        let _ = range;
        todo!()
    }

    /// Moves all pages in the range so that the first address becomes `to`, where nothing is mapped.
    ///
    /// Errors: `ENOMEM` no table page; nothing moved.
    pub fn relocate(&mut self, range: Range<u64>, to: u64, source: &dyn TableSource) -> Result<(), Errno> {
        let _ = (range, to, source);
        todo!()
    }

    /// Maps in `child`, whose range is empty, all pages of the range; with `copy_on_write` they are no longer
    /// writable in either. Says how many of each kind.
    ///
    /// Errors: `ENOMEM` no table page; some may be mapped.
    pub fn share(
        &mut self,
        child: &mut Editor<'_>,
        range: Range<u64>,
        copy_on_write: bool,
        source: &dyn TableSource,
    ) -> Result<PageCounts, Errno> {
        let _ = (child, range, copy_on_write, source);
        todo!()
    }

    /// Shows each mapped page of the range.
    pub fn scan(&self, range: Range<u64>, each: &mut dyn FnMut(u64, Mapping<'_>)) {
        let _ = (range, each);
        todo!()
    }
}
