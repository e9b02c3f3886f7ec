//! Access to memory of an address space that need not be the active one: exec writes a new program's stack so.

use super::{Access, AddressSpace, FaultError, Limits};
use crate::area::PAGE;
use base::Errno;
use machine::frame::Frame;
use machine::paging::{Permissions, USER_END};

impl AddressSpace {
    /// Reads memory of this address space, active or not, bringing pages in.
    ///
    /// Errors: `EFAULT`, `ENOMEM`.
    pub fn read(&self, address: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.for_each_page(address, out.len(), Access::Read, |frame, offset, part| frame.read(offset, &mut out[part]))
    }

    /// Writes memory of this address space, active or not, bringing pages in; areas that are read-only are refused.
    ///
    /// Errors: `EFAULT`, `ENOMEM`.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.for_each_page(address, bytes.len(), Access::Write, |frame, offset, part| frame.write(offset, &bytes[part]))
    }

    /// Calls `each` with each page's frame, the offset in it and the part of the bytes.
    fn for_each_page(
        &self,
        address: u64,
        length: usize,
        access: Access,
        mut each: impl FnMut(&Frame, usize, core::ops::Range<usize>),
    ) -> Result<(), Errno> {
        let end = address.checked_add(length as u64).filter(|&end| end <= USER_END).ok_or(Errno::EFAULT)?;
        let mut at = address;
        while at < end {
            let next = (at / PAGE * PAGE + PAGE).min(end);
            let frame = self.page_for(at / PAGE * PAGE, access)?;
            each(&frame, (at % PAGE) as usize, (at - address) as usize..(next - address) as usize);
            at = next;
        }
        Ok(())
    }

    /// The frame of a page, usable for the access.
    fn page_for(&self, page: u64, access: Access) -> Result<Frame, Errno> {
        let needed = if access == Access::Write { Permissions::WRITE } else { Permissions::READ };
        loop {
            let mapped = self
                .tables
                .edit()
                .get(page)
                .filter(|mapping| mapping.permissions.contains(needed))
                .map(|mapping| Frame::clone(&mapping.frame));
            if let Some(frame) = mapped {
                return Ok(frame);
            }
            self.fault(page, access, &Limits::NONE).map_err(|error| match error {
                FaultError::OutOfMemory | FaultError::NotPaid => Errno::ENOMEM,
                _ => Errno::EFAULT,
            })?;
        }
    }
}
