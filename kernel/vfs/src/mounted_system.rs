//! What all mounts of one file system share, and which file systems are mounted.

use crate::{FileSystem, mount::SystemFlags};
use alloc::{collections::BTreeMap, sync::Arc};
use base::Errno;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

/// What all mounts of one file system share.
pub(crate) struct System {
    flags: AtomicU32,
    /// How many of them there are in the tree.
    mounts: AtomicUsize,
    /// How many files are open for writing, through any of them, in the tree or not.
    pub writers: AtomicUsize,
}

impl System {
    pub fn new(flags: SystemFlags) -> Arc<Self> {
        Arc::new(Self {
            flags: AtomicU32::new(flags.bits()),
            mounts: AtomicUsize::new(0),
            writers: AtomicUsize::new(0),
        })
    }

    /// The flags now.
    pub fn flags(&self) -> SystemFlags {
        SystemFlags::from_bits_truncate(self.flags.load(SeqCst))
    }

    /// Sets the flags and does `apply`, or neither. `EBUSY` it would become read-only and has files that are open for writing,
    /// through whatever mount, or that lost their names and are still in use; what `apply` fails with. The right to change the
    /// tree is held.
    pub fn reconfigure(
        &self,
        file_system: &dyn FileSystem,
        flags: SystemFlags,
        apply: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let before = self.flags();
        self.flags.store(flags.bits(), SeqCst);
        let closes = flags.difference(before).contains(SystemFlags::READ_ONLY);
        // Asked only now: who opens a file counts first and looks at the flag then.
        let is_busy = closes && (self.writers.load(SeqCst) != 0 || file_system.has_removed_files());
        let done = if is_busy { Err(Errno::EBUSY) } else { apply() };
        done.inspect_err(|_| self.flags.store(before.bits(), SeqCst))
    }

    /// How many mounts of the file system there are in the tree.
    pub fn mounts(&self) -> usize {
        self.mounts.load(Relaxed)
    }
}

/// The file systems that are mounted in a tree, by their devices.
#[derive(Default)]
pub(crate) struct Systems(BTreeMap<(u32, u32), Arc<System>>);

impl Systems {
    /// What the mounts of this file system share, if there are any.
    pub fn find(&self, file_system: &dyn FileSystem) -> Option<&Arc<System>> {
        self.0.get(&key_of(file_system))
    }

    /// Counts a mount of the file system that comes into the tree.
    pub fn enter(&mut self, file_system: &dyn FileSystem, system: &Arc<System>) {
        system.mounts.fetch_add(1, Relaxed);
        self.0.entry(key_of(file_system)).or_insert_with(|| system.clone());
    }

    /// Counts one that goes out of it.
    pub fn leave(&mut self, file_system: &dyn FileSystem, system: &System) {
        if system.mounts.fetch_sub(1, Relaxed) == 1 {
            self.0.remove(&key_of(file_system));
        }
    }
}

fn key_of(file_system: &dyn FileSystem) -> (u32, u32) {
    let device = file_system.device();
    (device.major, device.minor)
}
