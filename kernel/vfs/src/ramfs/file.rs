//! What a regular file in memory does once it is open.

use super::{content::Content, inode::RamInode};
use crate::{FileOps, MappedPages, OpenFlags, SeekFrom};
use base::Errno;

impl FileOps for RamInode {
    fn read(&self, buffer: &mut [u8], position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        let count = self.content()?.read(buffer, *position);
        *position += count as u64;
        Ok(count)
    }

    fn write(&self, buffer: &[u8], position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let count = self.content()?.write(buffer, position, flags)?;
        self.touch_content();
        Ok(count)
    }

    fn size(&self) -> u64 {
        self.content().map_or(0, Content::size)
    }

    fn seek_sparse(&self, target: SeekFrom) -> Result<u64, Errno> {
        self.content()?.seek(target)
    }

    fn mapped(&self) -> Result<MappedPages, Errno> {
        Ok(MappedPages::OfInode)
    }

    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }
}
