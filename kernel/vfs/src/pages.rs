//! The pages of an open file, for mappings.

use crate::OpenFile;
use alloc::sync::Arc;
use base::Errno;
use machine::frame::Frame;
use memory::{PageSource, PageUse, SharedPolicies, SourceDescription};

/// The pages of an open file's inode. Keeps the file open, as a mapping does.
pub(crate) struct FilePages {
    file: Arc<OpenFile>,
}

impl FilePages {
    pub fn new(file: Arc<OpenFile>) -> Self {
        Self { file }
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
