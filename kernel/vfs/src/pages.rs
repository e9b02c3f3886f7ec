//! The pages of an open file, for mappings.

use crate::{Allocation, Inode, OpenFile};
use alloc::sync::Arc;
use base::Errno;
use core::ops::Range;
use core::sync::atomic::Ordering::SeqCst;
use machine::frame::{FRAME_SIZE, Frame};
use memory::{PageSource, PageUse, SharedPolicies, SourceDescription};

/// The pages of an open file's inode. Keeps the file open, as a mapping does.
pub(crate) struct FilePages {
    file: Arc<OpenFile>,
    /// Whether the file's seals know of it.
    counted: bool,
}

impl FilePages {
    /// For mappings that can't change the file.
    pub fn read_only(file: Arc<OpenFile>) -> Self {
        Self::mapping(file, false)
    }

    /// For a shared mapping of a file that is open for writing; `writes` from the beginning. `EPERM` a seal.
    pub fn shared(file: Arc<OpenFile>, writes: bool) -> Result<Self, Errno> {
        let sealing = file.inode().sealing();
        sealing.map_or(Ok(()), |sealing| sealing.map(writes))?;
        let counted = sealing.is_some();
        Ok(Self::mapping(file, counted))
    }

    fn mapping(file: Arc<OpenFile>, counted: bool) -> Self {
        if let Some(mappings) = file.inode().mappings() {
            mappings.fetch_add(1, SeqCst);
        }
        Self { file, counted }
    }
}

/// What the pages of an inode are known by: inodes of all file systems lie at different addresses while somebody has them
/// open.
fn identity(inode: &Arc<dyn Inode>) -> u64 {
    Arc::as_ptr(inode).addr() as u64
}

/// Sets the size of a file; who has mapped what is cut off gets SIGBUS there. Errors: see [`Inode::truncate`].
///
/// Locks: takes the inode's, then those of address spaces.
pub(crate) fn set_size(inode: &Arc<dyn Inode>, size: u64) -> Result<(), Errno> {
    let cut = inode.truncate(size)?;
    // A mapping that is not counted yet will be given no page that is gone: the new size was there before this is read.
    if cut && inode.mappings().is_some_and(|mappings| mappings.load(SeqCst) > 0) {
        memory::cut(identity(inode), size.div_ceil(FRAME_SIZE as u64));
    }
    Ok(())
}

impl Drop for FilePages {
    fn drop(&mut self) {
        if let Some(mappings) = self.file.inode().mappings() {
            mappings.fetch_sub(1, SeqCst);
        }
        if self.counted
            && let Some(sealing) = self.file.inode().sealing()
        {
            sealing.unmap();
        }
    }
}

impl PageSource for FilePages {
    fn page(&self, index: u64, usage: PageUse) -> Result<Frame, Errno> {
        self.file.inode().page(index, usage)
    }

    fn pages_there(&self, first: u64, usage: PageUse, frames: &mut [Option<Frame>]) {
        self.file.inode().pages_there(first, usage, frames);
    }

    fn exchange(&self, index: u64, make: &mut dyn FnMut(&Frame, u32) -> Option<Frame>) -> bool {
        self.file.inode().exchange_page(index, make)
    }

    fn has_page(&self, index: u64) -> bool {
        self.file.inode().has_page(index)
    }

    fn punch(&self, pages: Range<u64>) -> Result<(), Errno> {
        let bytes = pages.start * FRAME_SIZE as u64..pages.end * FRAME_SIZE as u64;
        self.file.allocate(bytes, Allocation::Punch)
    }

    fn policies(&self) -> Option<&SharedPolicies> {
        self.file.inode().policies()
    }

    fn describe(&self) -> SourceDescription {
        let metadata = self.file.inode().metadata();
        SourceDescription {
            path: self.file.path(None),
            device: (metadata.device.major, metadata.device.minor),
            inode: metadata.inode,
        }
    }

    fn identity(&self) -> u64 {
        identity(self.file.inode())
    }
}
