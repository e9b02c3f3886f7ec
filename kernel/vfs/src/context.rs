//! Where a task stands in the mount tree: root, working directory, umask.

use crate::{Location, Namespace, Permissions, mount_text};
use alloc::{sync::Arc, vec::Vec};
use base::Errno;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};

/// Root, working directory, umask and mount tree; shared by the tasks that `CLONE_FS` made.
pub struct FsContext {
    namespace: Arc<Namespace>,
    umask: AtomicU32,
    places: SpinLock<Places>,
}

#[derive(Clone)]
struct Places {
    root: Location,
    working_directory: Location,
}

impl FsContext {
    /// The context of the first task: root and working directory are the root of `namespace`, the umask is 022.
    pub fn new(namespace: Arc<Namespace>) -> Arc<Self> {
        let root = namespace.root();
        let places = Places { working_directory: root.clone(), root };
        Arc::new(Self { namespace, umask: AtomicU32::new(0o022), places: SpinLock::new(rank::FILE_CONTEXT, places) })
    }

    /// A copy of its own, for a fork without `CLONE_FS`.
    pub fn fork(&self) -> Arc<Self> {
        let places = self.places.lock().clone();
        Arc::new(Self {
            namespace: self.namespace.clone(),
            umask: AtomicU32::new(self.umask.load(Relaxed)),
            places: SpinLock::new(rank::FILE_CONTEXT, places),
        })
    }

    /// The mount tree.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// The root directory.
    pub fn root(&self) -> Location {
        self.places.lock().root.clone()
    }

    /// Whether `location` is the root directory.
    pub fn is_root(&self, location: &Location) -> bool {
        self.places.lock().root.is_same(location)
    }

    /// The working directory.
    pub fn working_directory(&self) -> Location {
        self.places.lock().working_directory.clone()
    }

    /// The path of a directory as it is seen from the root, behind `(unreachable)` if it does not lie below it.
    /// `ENOENT` if it was removed.
    pub fn path_of(&self, directory: &Location) -> Result<Vec<u8>, Errno> {
        if let Some(path) = mount_text::path_from(directory, Some(&self.root()))? {
            return Ok(path);
        }
        let mut path = Vec::from(*b"(unreachable)");
        path.extend(mount_text::path_from(directory, None)?.unwrap_or_default());
        Ok(path)
    }

    /// Sets the root directory; that it is a directory and may be had is checked.
    pub(crate) fn set_root(&self, root: Location) {
        // The old location is dropped after the lock: it may be the last user of its mount.
        let _old = core::mem::replace(&mut self.places.lock().root, root);
    }

    /// Sets the working directory; that it is a directory and may be had is checked.
    pub(crate) fn set_working_directory(&self, directory: Location) {
        let _old = core::mem::replace(&mut self.places.lock().working_directory, directory);
    }

    /// Root and working directory become the root of the mount tree: `setns(2)`.
    pub fn return_to_root(&self) {
        let root = self.namespace.root();
        self.set_root(root.clone());
        self.set_working_directory(root);
    }

    /// After `pivot_root`: if the root or the working directory is the old root directory, it is the new one from now on.
    pub fn exchange_root(&self, old: &Location, new: &Location) {
        // Both comparisons only look at numbers and addresses; what is replaced goes after the lock.
        let mut replaced = [None, None];
        let mut places = self.places.lock();
        let Places { root, working_directory } = &mut *places;
        for (place, replaced) in [root, working_directory].into_iter().zip(&mut replaced) {
            if place.is_same(old) {
                *replaced = Some(core::mem::replace(place, new.clone()));
            }
        }
        drop(places);
        drop(replaced);
    }

    /// The umask.
    pub fn umask(&self) -> Permissions {
        Permissions::new(self.umask.load(Relaxed))
    }

    /// Sets the umask (its low nine bits) and returns the old one.
    pub fn set_umask(&self, umask: Permissions) -> Permissions {
        Permissions::new(self.umask.swap(u32::from(umask.bits()) & 0o777, Relaxed))
    }
}
