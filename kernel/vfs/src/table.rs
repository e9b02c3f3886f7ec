//! The descriptors of a process.

use crate::{OpenFile, lock::LockOwner, open_limits::most_descriptors};
use alloc::{sync::Arc, vec::Vec};
use base::Errno;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::sync::{SpinGuard, SpinLock, rank};

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

/// The number of the next table, by which POSIX locks know their owner.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

enum Entry {
    Free,
    /// Given to a call that has not filled it yet.
    Reserved,
    Open {
        file: Arc<OpenFile>,
        close_on_exec: bool,
    },
}

pub(crate) struct Entries {
    list: Vec<Entry>,
    /// No entry below this one is free.
    lowest_free: usize,
}

impl Entries {
    /// The file open under `descriptor`, if one is.
    #[inline]
    pub(crate) fn file(&self, descriptor: i32) -> Option<&OpenFile> {
        match self.list.get(usize::try_from(descriptor).ok()?)? {
            Entry::Open { file, .. } => Some(file),
            _ => None,
        }
    }

    fn open(&self, descriptor: i32) -> Result<(&Arc<OpenFile>, bool), Errno> {
        let index = usize::try_from(descriptor).map_err(|_| Errno::EBADF)?;
        match self.list.get(index) {
            Some(Entry::Open { file, close_on_exec }) => Ok((file, *close_on_exec)),
            _ => Err(Errno::EBADF),
        }
    }

    /// Makes an entry free and gives what was open there.
    fn take(&mut self, index: usize) -> Option<Arc<OpenFile>> {
        let entry = self.list.get_mut(index)?;
        let Entry::Open { .. } = entry else { return None };
        let Entry::Open { file, .. } = core::mem::replace(entry, Entry::Free) else { return None };
        self.lowest_free = self.lowest_free.min(index);
        Some(file)
    }

    /// Makes the list long enough to hold `index`.
    fn grow(&mut self, index: usize) -> Result<(), Errno> {
        if index >= self.list.len() {
            let more = index + 1 - self.list.len();
            self.list.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.list.resize_with(index + 1, || Entry::Free);
        }
        Ok(())
    }
}

/// The descriptors of a process, shared by the tasks that `CLONE_FILES` made.
pub struct FileTable {
    number: u64,
    entries: SpinLock<Entries>,
}

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
    pub fn fill(self, file: Arc<OpenFile>, close_on_exec: bool) {
        self.table.entries.lock().list[self.descriptor.index()] = Entry::Open { file, close_on_exec };
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut entries = self.table.entries.lock();
        let index = self.descriptor.index();
        if let entry @ Entry::Reserved = &mut entries.list[index] {
            *entry = Entry::Free;
            entries.lowest_free = entries.lowest_free.min(index);
        }
    }
}

impl FileTable {
    /// A table with nothing open.
    pub fn new() -> Arc<Self> {
        Self::with(Vec::new())
    }

    fn with(list: Vec<Entry>) -> Arc<Self> {
        let lowest_free = list.iter().position(|entry| matches!(entry, Entry::Free)).unwrap_or(list.len());
        let entries = SpinLock::new(rank::FILE_TABLE, Entries { list, lowest_free });
        Arc::new(Self { number: NEXT_NUMBER.fetch_add(1, Relaxed), entries })
    }

    /// A copy of its own, for a fork without `CLONE_FILES`. Reserved slots are not copied. `ENOMEM`.
    pub fn fork(&self) -> Result<Arc<Self>, Errno> {
        let entries = self.entries.lock();
        let used =
            entries.list.iter().rposition(|entry| matches!(entry, Entry::Open { .. })).map_or(0, |last| last + 1);
        let mut list = Vec::new();
        list.try_reserve(used).map_err(|_| Errno::ENOMEM)?;
        list.extend(entries.list[..used].iter().map(|entry| match entry {
            Entry::Open { file, close_on_exec } => Entry::Open { file: file.clone(), close_on_exec: *close_on_exec },
            Entry::Free | Entry::Reserved => Entry::Free,
        }));
        drop(entries);
        Ok(Self::with(list))
    }

    /// The owner of POSIX locks made through this table.
    pub fn lock_owner(&self) -> LockOwner {
        LockOwner::Table(self.number)
    }

    /// The file open under `descriptor`; `EBADF`. An `O_PATH` file is returned too; reading it gives `EBADF`.
    #[inline]
    pub fn get(&self, descriptor: i32) -> Result<Arc<OpenFile>, Errno> {
        self.entries.lock().open(descriptor).map(|(file, _)| file.clone())
    }

    /// All that are open, locked.
    #[inline]
    pub(crate) fn entries(&self) -> SpinGuard<'_, Entries> {
        self.entries.lock()
    }

    /// Reserves the lowest free number from `minimum` on. `EMFILE` if it would reach `limit` (RLIMIT_NOFILE),
    /// `EINVAL` if `minimum` does, `ENOMEM`.
    pub fn reserve(&self, minimum: u32, limit: u64) -> Result<Slot<'_>, Errno> {
        if minimum != 0 && u64::from(minimum) >= limit {
            return Err(Errno::EINVAL);
        }
        let limit = limit.min(most_descriptors());
        let mut entries = self.entries.lock();
        let from = entries.lowest_free.max(minimum as usize);
        let free = entries.list.iter().skip(from).position(|entry| matches!(entry, Entry::Free));
        let index = free.map_or(entries.list.len().max(from), |offset| from + offset);
        let number = u32::try_from(index).map_err(|_| Errno::EMFILE)?;
        if u64::from(number) >= limit {
            return Err(Errno::EMFILE);
        }
        entries.grow(index)?;
        entries.list[index] = Entry::Reserved;
        if from == entries.lowest_free {
            entries.lowest_free = index + 1;
        }
        Ok(Slot { table: self, descriptor: Descriptor(number) })
    }

    /// Reserves the lowest free number and fills it: [`FileTable::reserve`] and [`Slot::fill`].
    pub fn insert(&self, file: Arc<OpenFile>, close_on_exec: bool, limit: u64) -> Result<Descriptor, Errno> {
        let slot = self.reserve(0, limit)?;
        let descriptor = slot.descriptor();
        slot.fill(file, close_on_exec);
        Ok(descriptor)
    }

    /// Closes a descriptor and returns its file, for the caller to drop with no lock held. POSIX locks of this table on
    /// the file go, as with every close. `EBADF`.
    pub fn close(&self, descriptor: i32) -> Result<Arc<OpenFile>, Errno> {
        let index = usize::try_from(descriptor).map_err(|_| Errno::EBADF)?;
        let file = self.entries.lock().take(index).ok_or(Errno::EBADF)?;
        self.release_locks(&file);
        Ok(file)
    }

    fn release_locks(&self, file: &OpenFile) {
        if let Some(locks) = file.inode().locks() {
            locks.release(self.lock_owner());
        }
    }

    /// Makes `new` another name of `old`'s file (`dup2`, `dup3`), closing what was open there. `EBADF`; `EBUSY` if
    /// `new` is reserved by a call that is under way.
    pub fn duplicate_to(&self, old: i32, new: i32, close_on_exec: bool, limit: u64) -> Result<Descriptor, Errno> {
        self.put(new, close_on_exec, limit, |entries| entries.open(old).map(|(file, _)| file.clone()))
    }

    /// Opens `file` under the number `new`, closing what was open there. `EBADF` it would reach `limit`; `EBUSY` as for
    /// [`FileTable::duplicate_to`]; `ENOMEM`.
    pub fn place(&self, file: Arc<OpenFile>, new: i32, close_on_exec: bool, limit: u64) -> Result<Descriptor, Errno> {
        self.put(new, close_on_exec, limit, |_| Ok(file))
    }

    fn put(
        &self,
        new: i32,
        close_on_exec: bool,
        limit: u64,
        file: impl FnOnce(&mut Entries) -> Result<Arc<OpenFile>, Errno>,
    ) -> Result<Descriptor, Errno> {
        let descriptor = Descriptor::new(new)?;
        let index = descriptor.index();
        if index as u64 >= limit.min(most_descriptors()) {
            return Err(Errno::EBADF);
        }
        let mut entries = self.entries.lock();
        let file = file(&mut entries)?;
        entries.grow(index)?;
        if matches!(entries.list[index], Entry::Reserved) {
            return Err(Errno::EBUSY);
        }
        let replaced = core::mem::replace(&mut entries.list[index], Entry::Open { file, close_on_exec });
        drop(entries);
        if let Entry::Open { file, .. } = replaced {
            self.release_locks(&file);
        }
        Ok(descriptor)
    }

    /// Closes all descriptors from `first` to `last`, both included.
    pub fn close_range(&self, first: u32, last: u32) {
        self.close_where(first as usize, last as usize, |_| true);
    }

    /// Marks all open descriptors from `first` to `last`, both included, close-on-exec.
    pub fn mark_range(&self, first: u32, last: u32) {
        let mut entries = self.entries.lock();
        let end = entries.list.len().min((last as usize).saturating_add(1));
        for entry in entries.list.iter_mut().take(end).skip(first as usize) {
            if let Entry::Open { close_on_exec, .. } = entry {
                *close_on_exec = true;
            }
        }
    }

    /// Closes what is marked close-on-exec; called by exec.
    pub fn close_on_exec(&self) {
        self.close_where(0, usize::MAX, |close_on_exec| close_on_exec);
    }

    /// Closes everything; called by exit.
    pub fn close_all(&self) {
        self.close_where(0, usize::MAX, |_| true);
    }

    /// Closes one by one: what happens at the last close of a file may sleep, so no lock is held then.
    fn close_where(&self, first: usize, last: usize, mut which: impl FnMut(bool) -> bool) {
        let mut index = first;
        loop {
            let mut entries = self.entries.lock();
            let end = entries.list.len().min(last.saturating_add(1));
            let found = (index..end)
                .find(|&at| matches!(&entries.list[at], Entry::Open { close_on_exec, .. } if which(*close_on_exec)));
            let Some(at) = found else { return };
            let file = entries.take(at);
            drop(entries);
            if let Some(file) = &file {
                self.release_locks(file);
            }
            drop(file);
            index = at + 1;
        }
    }

    /// Whether a descriptor is marked close-on-exec; `EBADF`.
    pub fn is_close_on_exec(&self, descriptor: i32) -> Result<bool, Errno> {
        self.entries.lock().open(descriptor).map(|(_, close_on_exec)| close_on_exec)
    }

    /// Marks a descriptor close-on-exec or not; `EBADF`.
    pub fn set_close_on_exec(&self, descriptor: i32, close: bool) -> Result<(), Errno> {
        let index = usize::try_from(descriptor).map_err(|_| Errno::EBADF)?;
        match self.entries.lock().list.get_mut(index) {
            Some(Entry::Open { close_on_exec, .. }) => {
                *close_on_exec = close;
                Ok(())
            }
            _ => Err(Errno::EBADF),
        }
    }

    /// Whether this is true of any of the files. Locks: `of` is called with the table's held.
    pub fn any(&self, of: &mut dyn FnMut(&OpenFile) -> bool) -> bool {
        let entries = self.entries.lock();
        entries.list.iter().any(|entry| matches!(entry, Entry::Open { file, .. } if of(file)))
    }

    /// The open descriptors, ascending.
    pub fn descriptors(&self) -> Vec<Descriptor> {
        let entries = self.entries.lock();
        let open = entries.list.iter().zip(0u32..).filter(|(entry, _)| matches!(entry, Entry::Open { .. }));
        open.map(|(_, number)| Descriptor(number)).collect()
    }
}

impl Drop for FileTable {
    fn drop(&mut self) {
        self.close_all();
    }
}
