//! `mem`: the memory of a process as a file, each byte at its address, as a debugger may read and write it.

use super::{check_inspection, task::TaskFiles};
use alloc::{sync::Arc, sync::Weak};
use base::Errno;
use memory::AddressSpace;
use vfs::{FileOps, OpenFlags, OpenRequest, SeekFrom};

/// Bytes in a page: what is copied before others get their turn.
const PAGE: usize = 4096;

/// `mem` of the address space that the task has when it is opened. `EACCES` the opener may not look into it.
pub(super) fn open(files: &TaskFiles, _: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
    let task = files.task()?;
    check_inspection(&task)?;
    let space = task.space().map_or_else(|_| Weak::new(), |space| Arc::downgrade(&space));
    Ok(Arc::new(Memory { space }))
}

/// The memory of a program; nothing once that has ended.
struct Memory {
    space: Weak<AddressSpace>,
}

impl Memory {
    /// Copies page by page, `copy` being given the space, the address and which bytes of the whole. Bytes before a hole count.
    ///
    /// Errors: `EIO` nothing is mapped at the first.
    fn copy(
        &self,
        length: usize,
        position: &mut u64,
        mut copy: impl FnMut(&AddressSpace, u64, core::ops::Range<usize>) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        let Some(space) = self.space.upgrade() else { return Ok(0) };
        let mut done = 0;
        while done < length {
            let address = position.checked_add(done as u64).ok_or(Errno::EIO)?;
            let count = (PAGE - address as usize % PAGE).min(length - done);
            match copy(&space, address, done..done + count) {
                Ok(()) => done += count,
                Err(_) if done > 0 => break,
                Err(_) => return Err(Errno::EIO),
            }
            sched::give_way();
        }
        *position += done as u64;
        Ok(done)
    }
}

impl FileOps for Memory {
    fn read(&self, buffer: &mut [u8], position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        self.copy(buffer.len(), position, |space, address, part| space.read_forced(address, &mut buffer[part]))
    }

    fn write(&self, buffer: &[u8], position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        self.copy(buffer.len(), position, |space, address, part| space.write_forced(address, &buffer[part]))
    }

    fn seek(&self, target: SeekFrom, position: &mut u64) -> Result<u64, Errno> {
        *position = match target {
            SeekFrom::Start(offset) => offset as u64,
            SeekFrom::Current(offset) => position.wrapping_add_signed(offset),
            // It has no end.
            _ => return Err(Errno::EINVAL),
        };
        Ok(*position)
    }
}
