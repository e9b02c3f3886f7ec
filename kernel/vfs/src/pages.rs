//! The pages of an open file, for mappings.

use crate::OpenFile;
use alloc::sync::Arc;
use base::Errno;
use machine::frame::Frame;
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
        Self { file, counted: false }
    }

    /// For a shared mapping of a file that is open for writing; `writes` from the beginning. `EPERM` a seal.
    pub fn shared(file: Arc<OpenFile>, writes: bool) -> Result<Self, Errno> {
        let sealing = file.inode().sealing();
        sealing.map_or(Ok(()), |sealing| sealing.map(writes))?;
        let counted = sealing.is_some();
        Ok(Self { file, counted })
    }
}

impl Drop for FilePages {
    fn drop(&mut self) {
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

    fn exchange(&self, index: u64, make: &mut dyn FnMut(&Frame, u32) -> Option<Frame>) -> bool {
        self.file.inode().exchange_page(index, make)
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
        // Inodes of all file systems lie at different addresses while somebody has them open.
        Arc::as_ptr(self.file.inode()).addr() as u64
    }
}
