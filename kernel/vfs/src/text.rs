//! Open files whose content is a text made when it is read: for `/proc`, `/sys` and control files.

use crate::FileOps;
use alloc::{boxed::Box, string::String};
use base::Errno;

/// Makes the text of a file.
pub trait TextSource: Send + Sync {
    /// The whole text, appended to `out`.
    fn show(&self, out: &mut String) -> Result<(), Errno>;

    /// Takes one whole write. White space is not stripped. `EINVAL` (the default) where nothing can be written.
    fn store(&self, _text: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// The most bytes that one write may have, beyond which it is `E2BIG`.
    fn longest_write(&self) -> usize {
        4096
    }
}

/// An open text file: the text is made by the first read at offset 0, later reads go on in it, and another read at
/// offset 0 makes it anew.
pub struct TextFile {
    _source: Box<dyn TextSource>,
}

impl TextFile {
    /// An open file of this source.
    pub fn new(_source: Box<dyn TextSource>) -> Self {
        todo!()
    }
}

impl FileOps for TextFile {}
