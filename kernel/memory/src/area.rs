//! Areas: the ranges of an address space and what each is for.

use crate::source::SourceDescription;
use bitflags::bitflags;

bitflags! {
    /// What user mode may do with the pages of an area; the bits are those of `mmap(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Protection: u8 {
        /// Load from it.
        const READ = 1;
        /// Store to it.
        const WRITE = 2;
        /// Run code in it.
        const EXECUTE = 4;
    }
}

/// Whether stores are seen by others that map the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sharing {
    /// Stores stay in this address space.
    Private,
    /// Stores go to the source.
    Shared,
}

/// One area as `/proc/<pid>/maps` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AreaInfo {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// What is allowed.
    pub protection: Protection,
    /// Private or shared.
    pub sharing: Sharing,
    /// Offset in the file, bytes; 0 for anonymous memory.
    pub offset: u64,
    /// The file, if there is one.
    pub source: Option<SourceDescription>,
    /// A name in brackets (`[heap]`, `[stack]`), if it has one.
    pub name: Option<&'static str>,
}
