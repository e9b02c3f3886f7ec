//! The address space of a task.

use super::{NumberedSpace, Task};
use alloc::sync::Arc;
use base::{Capabilities, Errno};
use memory::AddressSpace;

impl Task {
    /// Its address space; `EFAULT` for a kernel thread or once it has ended.
    pub fn space(&self) -> Result<Arc<AddressSpace>, Errno> {
        self.space.lock().as_ref().map(|space| space.space.clone()).ok_or(Errno::EFAULT)
    }

    /// Its address space with the number that futexes know it by; errors as [`Self::space`].
    pub fn numbered_space(&self) -> Result<NumberedSpace, Errno> {
        self.space.lock().clone().ok_or(Errno::EFAULT)
    }

    /// The number that futexes know its address space by; errors as [`Self::space`].
    pub fn space_number(&self) -> Result<u64, Errno> {
        self.space.lock().as_ref().map(|space| space.number).ok_or(Errno::EFAULT)
    }

    /// Replaces the address space. Only the task itself does this.
    pub(crate) fn replace_space(&self, space: Option<NumberedSpace>) -> Option<NumberedSpace> {
        core::mem::replace(&mut *self.space.lock(), space)
    }

    /// The limits that its address space obeys: those of its process, but with CAP_IPC_LOCK it may lock all memory.
    pub fn memory_limits(&self) -> memory::Limits {
        let limits = self.process.memory_limits();
        let unbounded = limits.locked != u64::MAX && self.credentials().has(Capabilities::IPC_LOCK);
        if unbounded { memory::Limits { locked: u64::MAX, ..limits } } else { limits }
    }
}

/// Gives up a reference to an address space where the last one must not go: closing the files of its areas takes locks and
/// sleeps. If it is the last, the scheduler drops the space when it may.
pub fn release_space(space: Arc<AddressSpace>) {
    // Mostly its task still has it. To hand over every reference would keep the memory of tasks that have ended.
    if let Some(space) = Arc::into_inner(space) {
        sched::drop_later(Arc::new(space));
    }
}
