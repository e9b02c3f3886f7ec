//! User page tables: the lower half of one address space. The upper half is the kernel's and shared by all.
//!
//! An entry owns one reference to its frame. Changes are made through an [`Editor`], of which there is one at a
//! time for each [`PageTables`]; it keeps the frames that it unmaps until no CPU can reach them through its TLB.
//!
//! Errors: everything that needs a table page can fail with `ENOMEM`.

mod editor;

pub use editor::{Editor, Mapping};

use crate::frame::Block;
use alloc::sync::Arc;
use base::{CpuSet, Errno};
use bitflags::bitflags;

/// The first address that user mode can't have.
pub const USER_END: u64 = 0x7fff_ffff_f000;

bitflags! {
    /// What user mode may do with a page besides reading it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Permissions: u8 {
        /// Store to it.
        const WRITE = 1;
        /// Run code in it.
        const EXECUTE = 2;
    }
}

/// What a mapped page is, for the counts of resident memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum PageKind {
    /// A page of this address space's own.
    Anonymous = 0,
    /// A page of a file's page cache.
    File = 1,
    /// A page of shared anonymous memory or of tmpfs.
    Shared = 2,
}

/// Pages by kind.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PageCounts {
    /// Pages of the address space's own.
    pub anonymous: u64,
    /// Pages of files.
    pub file: u64,
    /// Pages of shared memory.
    pub shared: u64,
}

/// Gives frames for page tables.
pub trait TableSource {
    /// One frame; its bytes may be anything. Called under the lock of the page tables.
    ///
    /// Errors: `ENOMEM`.
    fn table(&self) -> Result<Block, Errno>;
}

/// The page tables of one address space.
#[derive(Debug)]
pub struct PageTables {
    _root: u64,
}

impl PageTables {
    /// Empty tables.
    ///
    /// Errors: `ENOMEM`.
    pub fn new(source: &dyn TableSource) -> Result<Arc<Self>, Errno> {
        let _ = source;
        todo!()
    }

    /// Starts a change; waits (spinning) for the one who is at it.
    pub fn edit(&self) -> Editor<'_> {
        todo!()
    }

    /// The number of table pages, the root included.
    pub fn table_pages(&self) -> u64 {
        todo!()
    }

    /// Makes this the address space of the current CPU. The CPU keeps a reference until another one is activated.
    pub fn activate(self: &Arc<Self>) {
        todo!()
    }

    /// The CPUs on which it is the current one now.
    pub fn active_on(&self) -> CpuSet {
        todo!()
    }
}

/// Takes the current CPU out of any user address space.
pub fn deactivate() {
    todo!()
}
