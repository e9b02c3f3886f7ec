//! The descriptors of a process.

use crate::OpenFile;
use alloc::{sync::Arc, vec::Vec};
use base::Errno;

/// A descriptor number, never negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Descriptor(u32);

impl Descriptor {
    /// The descriptor with this number; `EBADF` if it is negative.
    pub fn new(raw: i32) -> Result<Self, Errno> {
        u32::try_from(raw).map(Self).map_err(|_| Errno::EBADF)
    }

    /// The number as a system call returns it.
    pub const fn raw(self) -> i32 {
        self.0 as i32
    }

    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The descriptors of a process, shared by the tasks that `CLONE_FILES` made.
pub struct FileTable {}

/// A reserved descriptor: nobody else gets the number, and nothing is open under it until it is filled. Dropped
/// unfilled, it is free again.
pub struct Slot<'a> {
    table: &'a FileTable,
    descriptor: Descriptor,
}

impl Slot<'_> {
    /// The number.
    pub fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// Publishes `file` under the number. Cannot fail.
    pub fn fill(self, _file: Arc<OpenFile>, _close_on_exec: bool) {
        let _ = self.table;
        todo!()
    }
}

impl FileTable {
    /// A table with nothing open.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {})
    }

    /// A copy of its own, for a fork without `CLONE_FILES`. Reserved slots are not copied.
    pub fn fork(&self) -> Result<Arc<Self>, Errno> {
        todo!()
    }

    /// The file open under `descriptor`; `EBADF`. An `O_PATH` file is returned too; reading it gives `EBADF`.
    pub fn get(&self, _descriptor: i32) -> Result<Arc<OpenFile>, Errno> {
        todo!()
    }

    /// Reserves the lowest free number from `minimum` on. `EMFILE` if it would reach `limit` (RLIMIT_NOFILE),
    /// `ENOMEM`.
    pub fn reserve(&self, _minimum: u32, _limit: u64) -> Result<Slot<'_>, Errno> {
        todo!()
    }

    /// Reserves the lowest free number and fills it: [`FileTable::reserve`] and [`Slot::fill`].
    pub fn insert(&self, _file: Arc<OpenFile>, _close_on_exec: bool, _limit: u64) -> Result<Descriptor, Errno> {
        todo!()
    }

    /// Closes a descriptor and returns its file, for the caller to drop with no lock held. `EBADF`.
    pub fn close(&self, _descriptor: i32) -> Result<Arc<OpenFile>, Errno> {
        todo!()
    }

    /// Makes `new` another name of `old`'s file (`dup2`, `dup3`), closing what was open there. `EBADF`; `EBUSY` if
    /// `new` is reserved by a call that is under way.
    pub fn duplicate_to(&self, _old: i32, _new: i32, _close_on_exec: bool, _limit: u64) -> Result<Descriptor, Errno> {
        todo!()
    }

    /// Closes all descriptors from `first` to `last`, both included, or marks them close-on-exec.
    pub fn close_range(&self, _first: u32, _last: u32, _only_mark: bool) {
        todo!()
    }

    /// Closes what is marked close-on-exec; called by exec.
    pub fn close_on_exec(&self) {
        todo!()
    }

    /// Closes everything; called by exit.
    pub fn close_all(&self) {
        todo!()
    }

    /// Whether a descriptor is marked close-on-exec; `EBADF`.
    pub fn is_close_on_exec(&self, _descriptor: i32) -> Result<bool, Errno> {
        todo!()
    }

    /// Marks a descriptor close-on-exec or not; `EBADF`.
    pub fn set_close_on_exec(&self, _descriptor: i32, _close: bool) -> Result<(), Errno> {
        todo!()
    }

    /// The open descriptors, ascending.
    pub fn descriptors(&self) -> Vec<Descriptor> {
        todo!()
    }
}
