//! What a mount lets happen to its files: who writes, when a read is noted, and what `statfs` says of it.

use super::{Mount, MountFlags, SystemFlags};
use crate::{FileKind, Namespace, StatFs};
use alloc::sync::Arc;
use base::Errno;
use core::sync::atomic::Ordering::SeqCst;

/// A file that is open for writing through a mount; no longer when this is dropped.
pub(crate) struct Writer(Arc<Mount>);

impl Writer {
    /// One more file of this mount that is open for writing. `EROFS` the mount or its file system is read-only.
    pub fn enter(mount: &Arc<Mount>, namespace: &Namespace) -> Result<Self, Errno> {
        let writer = Self::count(mount);
        if !mount.is_read_only() {
            return Ok(writer);
        }
        drop(writer);
        // Whoever is making it read-only may find a writer, and takes that back before somebody else may change the tree.
        let _change = namespace.change();
        if mount.is_read_only() { Err(Errno::EROFS) } else { Ok(Self::count(mount)) }
    }

    fn count(mount: &Arc<Mount>) -> Self {
        mount.writers.fetch_add(1, SeqCst);
        mount.system.writers.fetch_add(1, SeqCst);
        Self(mount.clone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, SeqCst);
        self.0.system.writers.fetch_sub(1, SeqCst);
    }
}

impl Mount {
    /// Whether the mount or its file system is read-only.
    pub fn is_read_only(&self) -> bool {
        self.flags().contains(MountFlags::READ_ONLY) || self.is_system_read_only()
    }

    /// Whether its file system is read-only.
    pub(crate) fn is_system_read_only(&self) -> bool {
        self.system_flags().contains(SystemFlags::READ_ONLY)
    }

    /// Sets the flags of the mount. `EBUSY` it would become read-only and has files that are open for writing. The right to
    /// change the tree is held.
    pub(crate) fn change_flags(&self, flags: MountFlags) -> Result<(), Errno> {
        let before = self.flags();
        self.set_flags(flags);
        let closes = flags.difference(before).contains(MountFlags::READ_ONLY);
        // Asked only now: who opens a file counts first and looks at the flag then.
        if closes && self.writers.load(SeqCst) != 0 {
            self.set_flags(before);
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    /// Whether reads of such a file are noted: not where the times stand still, and not where nothing is written.
    pub(crate) fn notes_access_to(&self, kind: FileKind) -> bool {
        let flags = self.flags();
        let directory = kind == FileKind::Directory && flags.contains(MountFlags::NO_DIRECTORY_TIMES);
        !flags.contains(MountFlags::NO_ACCESS_TIMES) && !directory && !self.is_read_only()
    }

    /// What `statfs` shows of the file system and of the mount (`f_flags`, with the values of `statvfs(3)`).
    pub fn statistics(&self) -> StatFs {
        let (own, system) = (self.flags(), self.system_flags());
        let shown = [
            (self.is_read_only(), 1),
            (own.contains(MountFlags::NO_SET_ID), 2),
            (own.contains(MountFlags::NO_DEVICES), 4),
            (own.contains(MountFlags::NO_EXECUTE), 8),
            (system.contains(SystemFlags::SYNCHRONOUS), 16),
            (system.contains(SystemFlags::MANDATORY_LOCKS), 64),
            (own.contains(MountFlags::NO_ACCESS_TIMES), 1024),
            (own.contains(MountFlags::NO_DIRECTORY_TIMES), 2048),
            (own.contains(MountFlags::RELATIVE_TIMES), 4096),
            (own.contains(MountFlags::NO_LINKS), 8192),
        ];
        let flags =
            shown.into_iter().filter(|(is_set, _)| *is_set).fold(StatFs::HAS_FLAGS, |flags, (_, bit)| flags | bit);
        StatFs { flags, ..self.file_system.statistics() }
    }
}
