//! What `mmap(2)` and its relatives are asked for.

use crate::area::{Protection, Sharing};
use crate::source::PageSource;
use alloc::sync::Arc;

/// Where a new area goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// At the address if it is free and not 0, else where there is room.
    Hint,
    /// At the address, in place of what is there.
    Fixed,
    /// At the address; `EEXIST` if something is there.
    FixedNoReplace,
}

/// Limits that the caller's process has (`getrlimit(2)`), bytes; `u64::MAX` is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// RLIMIT_AS: all areas together.
    pub address_space: u64,
    /// RLIMIT_DATA: private writable areas together, and brk.
    pub data: u64,
    /// RLIMIT_STACK: the growing stack.
    pub stack: u64,
    /// RLIMIT_MEMLOCK: all locked areas; without bound for who may lock any.
    pub locked: u64,
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self { address_space: u64::MAX, data: u64::MAX, stack: u64::MAX, locked: u64::MAX };
}

/// What `mmap(2)` asks for.
pub struct MapRequest {
    /// Address, a multiple of 4096 unless a mere hint.
    pub address: u64,
    /// Bytes, rounded up to pages. 0 is `EINVAL`.
    pub length: u64,
    /// What is allowed.
    pub protection: Protection,
    /// What `mprotect` may ever allow: without WRITE for a shared file that is not open for writing.
    pub most: Protection,
    /// Private or shared. Shared without a source is fresh shared anonymous memory.
    pub sharing: Sharing,
    /// Where it goes.
    pub place: Place,
    /// File and offset in bytes (a multiple of 4096); `None` is anonymous memory.
    pub source: Option<(Arc<dyn PageSource>, u64)>,
    /// MAP_GROWSDOWN: a stack.
    pub grows_down: bool,
    /// MAP_POPULATE: bring the pages in at once, as far as it goes.
    pub populate: bool,
    /// MAP_LOCKED: lock it, and bring its pages in.
    pub locked: bool,
    /// MAP_NORESERVE: it is not to count as promised.
    pub no_reserve: bool,
    /// A name in brackets for `/proc/<pid>/maps`.
    pub name: Option<&'static str>,
}

impl MapRequest {
    /// Private anonymous memory of `length` bytes, readable and writable, anywhere.
    pub fn anonymous(length: u64) -> Self {
        Self {
            address: 0,
            length,
            protection: Protection::READ.union(Protection::WRITE),
            most: Protection::all(),
            sharing: Sharing::Private,
            place: Place::Hint,
            source: None,
            grows_down: false,
            populate: false,
            locked: false,
            no_reserve: false,
            name: None,
        }
    }
}
