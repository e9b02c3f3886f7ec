//! What is common to files that no path leads to: their inode, and answers to common requests.

use crate::{DeviceNumber, FileKind, FileOps, Inode, Metadata, OpenFile, OpenFlags, Permissions, Timestamp};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use base::{Credentials, Errno, Gid, Uid};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Answers a request for a number of bytes. `EFAULT`.
pub(crate) fn answer_length(length: usize, argument: u64) -> Result<i64, Errno> {
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    machine::user_memory::write(argument, &length.to_ne_bytes())?;
    Ok(0)
}

/// The number of the next inode without a path.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// Number, owner and time of an inode without a path.
pub(crate) struct Anonymous {
    number: u64,
    uid: Uid,
    gid: Gid,
    created: Timestamp,
}

impl Anonymous {
    pub fn new(creator: &Credentials) -> Self {
        let number = NEXT_NUMBER.fetch_add(1, Relaxed);
        Self { number, uid: creator.fsuid, gid: creator.fsgid, created: Timestamp::now() }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn metadata(&self, kind: FileKind, permissions: Permissions) -> Metadata {
        let owner = (self.uid, self.gid);
        Metadata::empty(DeviceNumber::new(0, 0), self.number, kind, permissions, owner, self.created)
    }

    /// `kind:[number]`.
    pub fn label_numbered(&self, kind: &str) -> Vec<u8> {
        format!("{kind}:[{}]", self.number).into_bytes()
    }
}

/// A new open file that no path leads to, made by a floor above; `/proc/<pid>/fd` shows it as `anon_inode:[name]`.
///
/// Errors: those of [`OpenFile::anonymous`].
pub fn anonymous_file(
    name: &'static str,
    operations: Arc<dyn FileOps>,
    flags: OpenFlags,
    credentials: &Arc<Credentials>,
) -> Result<Arc<OpenFile>, Errno> {
    let inode = Arc::new(AnonymousInode::new(name, credentials));
    OpenFile::anonymous(inode, operations, flags, credentials.clone())
}

/// The inode of an epoll, event or timer file.
pub(crate) struct AnonymousInode {
    name: &'static str,
    identity: Anonymous,
}

impl AnonymousInode {
    pub fn new(name: &'static str, creator: &Credentials) -> Self {
        Self { name, identity: Anonymous::new(creator) }
    }
}

impl Inode for AnonymousInode {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }

    fn number(&self) -> u64 {
        self.identity.number()
    }

    fn metadata(&self) -> Metadata {
        self.identity.metadata(FileKind::Regular, Permissions::new(0o600))
    }

    fn label(&self) -> Option<Vec<u8>> {
        let label: String = format!("anon_inode:[{}]", self.name);
        Some(label.into_bytes())
    }
}
