//! Address spaces.

use crate::area::{AreaInfo, Protection, Sharing};
use crate::source::PageSource;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;

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
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self { address_space: u64::MAX, data: u64::MAX, stack: u64::MAX };
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
            name: None,
        }
    }
}

/// What a task was about to do when a page fault stopped it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Load.
    Read,
    /// Store.
    Write,
    /// Fetch an instruction.
    Execute,
}

/// Why a page fault can't be resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// Nothing is mapped there: SIGSEGV, SEGV_MAPERR.
    NotMapped,
    /// The area forbids it: SIGSEGV, SEGV_ACCERR.
    NoAccess,
    /// Beyond the end of the mapped file, or it can't be read: SIGBUS, BUS_ADRERR.
    BeyondEnd,
    /// No frame to be had: SIGKILL.
    OutOfMemory,
}

/// `madvise(2)`, as far as it does anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// MADV_DONTNEED: drop the pages; private anonymous ones read as zero afterwards.
    DontNeed,
    /// MADV_FREE: like DontNeed, for private anonymous memory only (else `EINVAL`).
    Free,
    /// MADV_POPULATE_READ: bring pages in.
    PopulateRead,
    /// MADV_POPULATE_WRITE: bring pages in, writable.
    PopulateWrite,
    /// MADV_DONTFORK: a child doesn't get the range.
    DontFork,
    /// MADV_DOFORK: a child gets it again.
    DoFork,
    /// MADV_WIPEONFORK: a child reads zeros (private anonymous only, else `EINVAL`).
    WipeOnFork,
    /// MADV_KEEPONFORK: undoes WipeOnFork.
    KeepOnFork,
    /// Hints that change nothing (MADV_NORMAL, RANDOM, SEQUENTIAL, WILLNEED, HUGEPAGE, NOHUGEPAGE, …): only the
    /// range is checked.
    Hint,
}

/// Pages by kind and size of areas, for `/proc/<pid>/{stat,statm,status}`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Resident {
    /// RssAnon, pages.
    pub anonymous: u64,
    /// RssFile, pages.
    pub file: u64,
    /// RssShmem, pages.
    pub shared: u64,
    /// Highest sum of the three so far (VmHWM), pages.
    pub peak: u64,
    /// VmSize, pages.
    pub mapped: u64,
    /// Private writable areas without the stack (VmData), pages.
    pub data: u64,
    /// Stack (VmStk), pages.
    pub stack: u64,
    /// Executable file areas (VmExe and VmLib), pages.
    pub text: u64,
    /// Page-table pages (VmPTE).
    pub tables: u64,
}

/// What identifies a futex word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Location {
    /// A word of this address space only.
    Private {
        /// The address.
        address: u64,
    },
    /// A word of something that several address spaces can map.
    Shared {
        /// [`PageSource::identity`].
        source: u64,
        /// Offset in it, bytes.
        offset: u64,
    },
}

/// The user half of what a process sees as memory. Shared by its threads, each on its CPU.
///
/// Locks: all methods but `activate` and the counts take the address space's sleeping lock, faults and readers
/// shared, changes exclusive. Call with no spinning lock held.
pub struct AddressSpace {
    _private: (),
}

impl AddressSpace {
    /// An empty address space. `stack_limit` (RLIMIT_STACK) sets how far below the top `mmap` starts.
    ///
    /// Errors: `ENOMEM`.
    pub fn new(stack_limit: u64) -> Result<Arc<Self>, Errno> {
        let _ = stack_limit;
        todo!()
    }

    /// A copy for a forked child: private pages are shared until either writes.
    ///
    /// Errors: `ENOMEM`.
    pub fn fork(&self) -> Result<Arc<Self>, Errno> {
        todo!()
    }

    /// Makes this the address space of the current CPU (see [`machine::paging::PageTables::activate`]).
    pub fn activate(&self) {
        todo!()
    }

    /// `mmap(2)`: the address of the new area.
    ///
    /// Errors: `EINVAL` length 0, an address or offset that is no multiple of 4096; `ENOMEM` no room, beyond the
    /// user half, over a limit; `EEXIST` see [`Place`]; `EOVERFLOW` offset and length; `EACCES` more than `most`.
    pub fn map(&self, request: MapRequest, limits: &Limits) -> Result<u64, Errno> {
        let _ = (request, limits);
        todo!()
    }

    /// `munmap(2)`.
    ///
    /// Errors: `EINVAL` address no multiple of 4096, length 0, beyond the user half.
    pub fn unmap(&self, address: u64, length: u64) -> Result<(), Errno> {
        let _ = (address, length);
        todo!()
    }

    /// `mprotect(2)`.
    ///
    /// Errors: `EINVAL` address no multiple of 4096; `ENOMEM` a hole in the range (what lies before it is changed);
    /// `EACCES` more than the mapping may ever have.
    pub fn protect(&self, address: u64, length: u64, protection: Protection) -> Result<(), Errno> {
        let _ = (address, length, protection);
        todo!()
    }

    /// `mremap(2)` with its raw flags (MAYMOVE 1, FIXED 2, DONTUNMAP 4): the new address.
    ///
    /// Errors: as the manual: `EINVAL`, `EFAULT` the old range is not one area, `ENOMEM`.
    pub fn remap(
        &self,
        address: u64,
        old_length: u64,
        new_length: u64,
        flags: u32,
        new_address: u64,
        limits: &Limits,
    ) -> Result<u64, Errno> {
        let _ = (address, old_length, new_length, flags, new_address, limits);
        todo!()
    }

    /// `madvise(2)`.
    ///
    /// Errors: `EINVAL`; `ENOMEM` a hole in the range (the rest is done); `EFAULT` population failed.
    pub fn advise(&self, address: u64, length: u64, advice: Advice) -> Result<(), Errno> {
        let _ = (address, length, advice);
        todo!()
    }

    /// `mincore(2)`: for each page of the range, whether it is resident.
    ///
    /// Errors: `EINVAL` address no multiple of 4096; `ENOMEM` a hole in the range.
    pub fn residency(&self, address: u64, length: u64) -> Result<Vec<bool>, Errno> {
        let _ = (address, length);
        todo!()
    }

    /// Sets where the heap begins (once, by exec).
    pub fn set_brk_start(&self, address: u64) {
        let _ = address;
        todo!()
    }

    /// `brk(2)`: moves the end of the heap and gives the end as it is then; an impossible one changes nothing.
    pub fn brk(&self, end: u64, limits: &Limits) -> u64 {
        let _ = (end, limits);
        todo!()
    }

    /// Resolves a page fault of the current task at `address`. `Ok` also when another thread was faster.
    ///
    /// Errors: see [`FaultError`]. `limits.stack` bounds the growth of a stack.
    pub fn fault(&self, address: u64, access: Access, limits: &Limits) -> Result<(), FaultError> {
        let _ = (address, access, limits);
        todo!()
    }

    /// What a futex at `address` is known by.
    ///
    /// Errors: `EFAULT` nothing is mapped there.
    pub fn location(&self, address: u64) -> Result<Location, Errno> {
        let _ = address;
        todo!()
    }

    /// Reads memory of this address space, active or not, bringing pages in.
    ///
    /// Errors: `EFAULT`, `ENOMEM`.
    pub fn read(&self, address: u64, out: &mut [u8]) -> Result<(), Errno> {
        let _ = (address, out);
        todo!()
    }

    /// Writes memory of this address space, active or not, bringing pages in; areas that are read-only are refused.
    ///
    /// Errors: `EFAULT`, `ENOMEM`.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let _ = (address, bytes);
        todo!()
    }

    /// Unmaps everything: what exec and the last thread's exit do before they let go.
    pub fn clear(&self) {
        todo!()
    }

    /// All areas in ascending order.
    pub fn areas(&self) -> Vec<AreaInfo> {
        todo!()
    }

    /// How much is mapped and resident.
    pub fn resident(&self) -> Resident {
        todo!()
    }
}
