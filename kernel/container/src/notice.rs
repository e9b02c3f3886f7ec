//! Who is told when what a control file reads has changed: the open files that poll it, and inotify.

use alloc::boxed::Box;
use core::any::Any;
use machine::sync::{
    Arc, SpinLock,
    atomic::{AtomicBool, Ordering::SeqCst},
    rank,
};

/// Is told of changes of one control file; made by the file system when somebody first watches the file.
pub trait Watcher: Any + Send + Sync {
    /// What the file reads has changed. Called after the change, maybe with spinning locks of lower rank than
    /// `WAIT_QUEUE` held; must not sleep.
    fn changed(&self);
}

/// The place of a watcher. A change that nobody watches costs one load.
pub struct Notice {
    watched: AtomicBool,
    // Boxed, so that what nobody watches is small.
    watcher: SpinLock<Option<Box<Arc<dyn Watcher>>>>,
}

impl Notice {
    /// A notice that nobody watches yet.
    pub fn new() -> Self {
        Self { watched: AtomicBool::new(false), watcher: SpinLock::new(rank::CONTAINER_TEXTS, None) }
    }

    /// Tells the watcher, if there is one. Call it after the change can be read.
    ///
    /// Locks: takes one of rank `CONTAINER_TEXTS`, then those of the watcher (`WAIT_QUEUE` and above).
    pub fn changed(&self) {
        // SeqCst, as in `watch`: whoever comes to watch too late to be told reads the changed state.
        if !self.watched.load(SeqCst) {
            return;
        }
        if let Some(watcher) = self.watcher() {
            watcher.changed();
        }
    }

    /// The watcher, if somebody has watched the file.
    pub fn watcher(&self) -> Option<Arc<dyn Watcher>> {
        self.watcher.lock().as_deref().cloned()
    }

    /// The watcher; `make` makes it the first time.
    pub fn watch(&self, make: impl FnOnce() -> Arc<dyn Watcher>) -> Arc<dyn Watcher> {
        if let Some(watcher) = self.watcher() {
            return watcher;
        }
        let new = make();
        let watcher = self.watcher.lock().get_or_insert_with(|| Box::new(new)).as_ref().clone();
        self.watched.store(true, SeqCst);
        watcher
    }
}

impl Default for Notice {
    fn default() -> Self {
        Self::new()
    }
}
