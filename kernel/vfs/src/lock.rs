//! Advisory file locks.

/// The advisory locks held on one inode.
#[derive(Default)]
pub struct FileLocks {}
