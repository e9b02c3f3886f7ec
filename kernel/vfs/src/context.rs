//! Where a task stands in the mount tree: root, working directory, umask.

use crate::{Location, Namespace, Permissions};
use alloc::sync::Arc;

/// Root, working directory, umask and mount tree; shared by the tasks that `CLONE_FS` made.
pub struct FsContext {
    namespace: Arc<Namespace>,
}

impl FsContext {
    /// The context of the first task: root and working directory are the root of `namespace`, the umask is 022.
    pub fn new(namespace: Arc<Namespace>) -> Arc<Self> {
        Arc::new(Self { namespace })
    }

    /// A copy of its own, for a fork without `CLONE_FS`.
    pub fn fork(&self) -> Arc<Self> {
        todo!()
    }

    /// The mount tree.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// The root directory.
    pub fn root(&self) -> Location {
        todo!()
    }

    /// The working directory.
    pub fn working_directory(&self) -> Location {
        todo!()
    }

    /// The umask.
    pub fn umask(&self) -> Permissions {
        todo!()
    }

    /// Sets the umask and returns the old one.
    pub fn set_umask(&self, _umask: Permissions) -> Permissions {
        todo!()
    }
}
