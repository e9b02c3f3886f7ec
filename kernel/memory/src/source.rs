//! Where the pages of a mapped file come from.

use alloc::vec::Vec;
use base::Errno;
use machine::frame::Frame;
use machine::paging::PageKind;

/// What a page is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageUse {
    /// To be read, or to be copied before it is written: later changes of the file need not show.
    Private,
    /// To be seen by all who share the file: the frame must stay the file's page as long as the file has it.
    Shared,
    /// Like [`PageUse::Shared`], and about to be written through the mapping.
    SharedWrite,
}

/// What `/proc/<pid>/maps` shows of a source.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SourceDescription {
    /// Path as seen by the mounter, or empty.
    pub path: Vec<u8>,
    /// Major and minor number of the file system.
    pub device: (u32, u32),
    /// Inode number.
    pub inode: u64,
}

/// A file, or something like one, that gives pages to mappings. The mapping keeps the source alive (and with it the
/// open file).
pub trait PageSource: Send + Sync {
    /// The page with this index (offset / 4096). A page that the end of the file cuts is zero behind the end.
    /// Called with the address space's lock held; may sleep.
    ///
    /// Errors: `EFAULT` the page lies wholly beyond the end (the task gets SIGBUS); `ENOMEM`; `EIO` (SIGBUS).
    fn page(&self, index: u64, usage: PageUse) -> Result<Frame, Errno>;

    /// How its pages are counted.
    fn kind(&self) -> PageKind {
        PageKind::File
    }

    /// For `/proc/<pid>/maps`.
    fn describe(&self) -> SourceDescription;

    /// A number that is the same for two sources if they share their pages (the inode's, say), for futexes.
    fn identity(&self) -> u64;
}
