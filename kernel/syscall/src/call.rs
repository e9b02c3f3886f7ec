//! A system call under way: who makes it, and the steps that most calls share.

use crate::arguments::UserPtr;
use alloc::sync::Arc;
use base::{Errno, Pid};
use machine::{
    user::UserContext,
    user_memory::{self, UserText},
};
use memory::AddressSpace;
use process::{Population, Resource, Task, signals::SignalSet};
use vfs::{Caller, FileTable, OpenFile, OpenFlags};

/// The longest path with its NUL (`PATH_MAX`).
const PATH_MOST: usize = 4096;

/// A system call: the task that makes it and its registers.
pub struct Call<'a> {
    /// The calling task.
    pub task: &'a Arc<Task>,
    /// Its registers in user mode.
    pub user: &'a mut UserContext,
}

impl Call<'_> {
    /// All tasks of the system.
    pub fn population(&self) -> &'static Population {
        self.task.population()
    }

    /// The caller's descriptors.
    pub fn files(&self) -> Result<Arc<FileTable>, Errno> {
        self.task.files()
    }

    /// The file open under `descriptor`. `EBADF` also for one opened with `O_PATH`.
    #[inline]
    pub fn file(&self, descriptor: i32) -> Result<Arc<OpenFile>, Errno> {
        let file = self.any_file(descriptor)?;
        if file.flags().contains(OpenFlags::PATH) { Err(Errno::EBADF) } else { Ok(file) }
    }

    /// The file open under `descriptor`, one opened with `O_PATH` too. `EBADF`.
    #[inline]
    pub fn any_file(&self, descriptor: i32) -> Result<Arc<OpenFile>, Errno> {
        self.task.file(descriptor)
    }

    /// How many descriptors the caller may have.
    pub fn descriptor_limit(&self) -> u64 {
        self.task.process().limit(Resource::Files)
    }

    /// Opens `file` under the lowest free number.
    pub fn insert(&self, file: Arc<OpenFile>, close_on_exec: bool) -> Result<usize, Errno> {
        Ok(self.files()?.insert(file, close_on_exec, self.descriptor_limit())?.index())
    }

    /// The caller's address space.
    pub fn address_space(&self) -> Result<Arc<AddressSpace>, Errno> {
        self.task.space()
    }

    /// The limits on the caller's memory.
    pub fn memory_limits(&self) -> memory::Limits {
        self.task.memory_limits()
    }

    /// Fetches a path. `EFAULT`; `ENAMETOOLONG`.
    pub fn path(&self, address: UserPtr<u8>) -> Result<UserText, Errno> {
        user_memory::read_text(address.address(), PATH_MOST)
    }

    /// Runs an operation on paths as the caller.
    pub fn with_caller<R>(&self, operation: impl FnOnce(&Caller<'_>) -> Result<R, Errno>) -> Result<R, Errno> {
        let (context, credentials) = (self.task.context()?, self.task.credentials());
        operation(&Caller { context: &context, credentials: &credentials })
    }

    /// Fetches a signal set. `EINVAL` a size other than 8.
    pub fn signal_set(&self, mask: UserPtr<u64>, size: usize) -> Result<SignalSet, Errno> {
        if size != 8 {
            return Err(Errno::EINVAL);
        }
        mask.read().map(SignalSet::from_bits)
    }

    /// Runs a waiting call under another signal mask, if one is given; the old one is back when the call returns to
    /// user mode, after a handler has run. The outer error is one of the mask.
    pub fn with_mask<R>(&self, mask: UserPtr<u64>, size: usize, wait: impl FnOnce() -> R) -> Result<R, Errno> {
        if !mask.is_null() {
            self.task.block_for_call(self.signal_set(mask, size)?);
        }
        Ok(wait())
    }

    /// The task with the number `tid`, or the caller for 0. `ESRCH`; `EINVAL` a negative number.
    pub fn task_or_self(&self, tid: i32) -> Result<Arc<Task>, Errno> {
        match tid {
            0 => Ok(self.task.clone()),
            1.. => self.population().task(Pid::new(tid)).ok_or(Errno::ESRCH),
            _ => Err(Errno::EINVAL),
        }
    }
}
