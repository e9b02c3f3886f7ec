//! Attachments of segments: what an address space maps of one. A forked child has its own, so that the count is right.

use super::{Segment, SharedMemory};
use crate::ipc::{own_pid, seconds};
use alloc::{format, sync::Arc};
use base::{Credentials, Errno};
use core::ops::Range;
use machine::{frame::Frame, paging::PageKind};
use memory::{PageSource, PageUse, SharedPages, SharedPolicies, SourceDescription};

/// One attachment. Dropped, it is detached.
pub struct Attachment {
    all: Arc<SharedMemory>,
    number: i32,
    key: i32,
    size: u64,
    pages: Arc<SharedPages>,
}

impl SharedMemory {
    /// Attaches a segment, for what `wanted` says (permission bits in any class). `EINVAL` there is none; `EACCES`.
    pub fn attach(self: &Arc<Self>, number: i32, wanted: u32, who: &Credentials) -> Result<Arc<Attachment>, Errno> {
        let key = {
            let table = self.0.lock();
            let permission = &table.objects.get(number)?.segment.permission;
            permission.check(who, wanted)?;
            permission.key
        };
        self.attach_again(number, key).map(Arc::new).ok_or(Errno::EINVAL)
    }

    fn attach_again(self: &Arc<Self>, number: i32, key: i32) -> Option<Attachment> {
        let mut table = self.0.lock();
        let entry = table.objects.get_mut(number).ok()?;
        entry.segment.attached += 1;
        entry.segment.times[0] = seconds();
        entry.segment.processes[1] = own_pid();
        let (size, pages) = (entry.segment.size, entry.pages.clone());
        Some(Attachment { all: self.clone(), number, key, size, pages })
    }
}

impl Attachment {
    /// The bytes of the segment.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl PageSource for Attachment {
    fn page(&self, index: u64, usage: PageUse) -> Result<Frame, Errno> {
        if index >= self.size.div_ceil(4096) {
            return Err(Errno::EFAULT);
        }
        self.pages.page(index, usage)
    }

    fn exchange(&self, index: u64, make: &mut dyn FnMut(&Frame, u32) -> Option<Frame>) -> bool {
        self.pages.exchange(index, make)
    }

    fn has_page(&self, index: u64) -> bool {
        self.pages.has_page(index)
    }

    fn punch(&self, pages: Range<u64>) -> Result<(), Errno> {
        self.pages.punch(pages)
    }

    fn policies(&self) -> Option<&SharedPolicies> {
        self.pages.policies()
    }

    fn attachment(&self) -> Option<u64> {
        Some(self.size)
    }

    fn for_child(&self) -> Option<Arc<dyn PageSource>> {
        // It is there as long as this attachment is.
        self.all.attach_again(self.number, self.key).map(|own| Arc::new(own) as Arc<dyn PageSource>)
    }

    fn kind(&self) -> PageKind {
        PageKind::Shared
    }

    fn describe(&self) -> SourceDescription {
        SourceDescription {
            path: format!("/SYSV{:08x} (deleted)", self.key).into_bytes(),
            device: (0, 1),
            inode: self.number as u64,
        }
    }

    fn identity(&self) -> u64 {
        self.pages.identity()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut table = self.all.0.lock();
        let Ok(entry) = table.objects.get_mut(self.number) else { return };
        entry.segment.attached -= 1;
        entry.segment.times[1] = seconds();
        entry.segment.processes[1] = own_pid();
        let ends = entry.segment.attached == 0 && entry.segment.permission.mode & Segment::REMOVED != 0;
        let gone = if ends { table.take_out(self.number) } else { None };
        drop(table);
        drop(gone);
    }
}
