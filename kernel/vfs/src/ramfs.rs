//! The file system that lives in memory: the root before anything else, and the body of tmpfs.

use crate::FileSystem;
use alloc::sync::Arc;
use base::Errno;

/// A file system in memory.
pub struct RamFs {}

/// The limits of a [`RamFs`]; `None` is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Most pages of content.
    pub pages: Option<u64>,
    /// Most inodes.
    pub inodes: Option<u64>,
}

impl RamFs {
    /// A new file system with an empty root directory (0755, root). `kind` is its name in `/proc/mounts`.
    pub fn create(_kind: &'static str, _limits: Limits) -> Result<Arc<dyn FileSystem>, Errno> {
        todo!()
    }
}
