//! The file system that lives in memory: the root before anything else, and the body of tmpfs.

mod attributes;
mod content;
mod copies;
mod file;
mod inode;
mod listing;
mod pages;
mod rename;

pub use copies::{ALL_COPIES, AllCopies};
pub use inode::RamInode;

use crate::{
    DeviceNumber, FileKind, FileSystem, Inode, Location, NewNode, NodeKind, OpenFile, OpenFlags, Permissions, Seals,
    StatFs, filesystem, open_file::Name, open_limits,
};
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno, Gid, Uid};
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use machine::{
    frame::FRAME_SIZE,
    sync::{Mutex, SpinLock, rank},
};
use memory::MemoryPolicy;

/// The limits of a [`RamFs`]; `u64::MAX` is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most pages of content.
    pub pages: u64,
    /// Most inodes.
    pub inodes: u64,
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self { pages: u64::MAX, inodes: u64::MAX };
}

/// The inodes of all file systems in memory.
static INODES: AtomicU64 = AtomicU64::new(0);

/// How many inodes all file systems in memory have.
pub fn inodes() -> u64 {
    INODES.load(Relaxed)
}

/// What the inodes of one file system share.
struct Shared {
    device: DeviceNumber,
    /// For the hashes of names.
    seed: u64,
    most_pages: AtomicU64,
    most_inodes: AtomicU64,
    pages: AtomicU64,
    inodes: AtomicU64,
    next_number: AtomicU64,
    /// How many of the inodes have no name.
    nameless: AtomicU64,
    /// The memory policy of new files.
    policy: SpinLock<Option<MemoryPolicy>>,
    /// Held by whoever locks two directories at once, but for a parent and its child.
    renames: Mutex<()>,
}

impl Shared {
    /// Counts one more, unless that is over the limit.
    fn take(count: &AtomicU64, limit: &AtomicU64) -> Result<(), Errno> {
        let most = limit.load(Relaxed);
        let taken = count.fetch_update(Relaxed, Relaxed, |count| (count < most).then_some(count + 1));
        taken.map(|_| ()).map_err(|_| Errno::ENOSPC)
    }

    /// `ENOMEM` where memory is low: what is made here stays when its maker ends.
    fn check_memory() -> Result<(), Errno> {
        if memory::frames::are_low() { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// `ENOSPC` over the limit; `ENOMEM` for a call where memory is low. Who faults is helped by the end of others.
    fn take_page(&self, in_fault: bool) -> Result<(), Errno> {
        if !in_fault {
            Self::check_memory()?;
        }
        Self::take(&self.pages, &self.most_pages)
    }

    /// Counts pages that are there already, over the limit too.
    fn add_pages(&self, count: u64) {
        self.pages.fetch_add(count, Relaxed);
    }

    fn give_pages(&self, count: u64) {
        self.pages.fetch_sub(count, Relaxed);
    }

    /// `ENOSPC` over the limit; `ENOMEM` memory is low.
    fn take_inode(&self) -> Result<u64, Errno> {
        Self::check_memory()?;
        Self::take(&self.inodes, &self.most_inodes)?;
        INODES.fetch_add(1, Relaxed);
        Ok(self.next_number.fetch_add(1, Relaxed))
    }

    fn give_inode(&self) {
        self.inodes.fetch_sub(1, Relaxed);
        INODES.fetch_sub(1, Relaxed);
    }
}

/// A file system in memory.
pub struct RamFs {
    kind: &'static str,
    shared: Arc<Shared>,
    root: Arc<RamInode>,
}

impl RamFs {
    /// A new file system with an empty root directory of these permissions and owner. `kind` is its name in
    /// `/proc/mounts`. `ENOSPC` if the limits don't allow even the root.
    pub fn create(
        kind: &'static str,
        limits: Limits,
        permissions: Permissions,
        uid: Uid,
        gid: Gid,
    ) -> Result<Arc<Self>, Errno> {
        let mut seed = [0; 8];
        machine::random::fill(&mut seed);
        let shared = Arc::new(Shared {
            device: filesystem::next_device(),
            seed: u64::from_le_bytes(seed),
            most_pages: AtomicU64::new(limits.pages),
            most_inodes: AtomicU64::new(limits.inodes),
            pages: AtomicU64::new(0),
            inodes: AtomicU64::new(0),
            next_number: AtomicU64::new(1),
            nameless: AtomicU64::new(0),
            policy: SpinLock::new(rank::FILE_STATE, None),
            renames: Mutex::new(rank::RENAME, ()),
        });
        let root = RamInode::new(&shared, &NewNode { kind: NodeKind::Directory, permissions, uid, gid }, None)?;
        Ok(Arc::new(Self { kind, shared, root }))
    }

    /// `memfd_create(2)`: an open file without a name in this file system, which `/proc/<pid>/fd` shows as
    /// `/memfd:NAME (deleted)`. Unless `sealable`, it can get no seals. `ENFILE`, `ENOSPC`, `ENOMEM`.
    pub fn memory_file(
        &self,
        name: &[u8],
        sealable: bool,
        credentials: &Arc<Credentials>,
    ) -> Result<Arc<OpenFile>, Errno> {
        let admission = open_limits::admit(credentials)?;
        let (uid, gid) = (credentials.fsuid, credentials.fsgid);
        let node = NewNode { kind: NodeKind::Regular, permissions: Permissions::new(0o777), uid, gid };
        let seals = if sealable { Seals::empty() } else { Seals::SEAL };
        let inode = RamInode::unnamed(&self.shared, &node, seals, false)?;
        let name = [b"memfd:", name].concat().into();
        let name = Name { directory: self.root.clone(), name };
        let location = Location { mount: None, inode: inode.clone() };
        let flags = OpenFlags::READ_WRITE | OpenFlags::LARGE_FILE;
        Ok(OpenFile::new(location, FileKind::Regular, Some(name), inode, flags, credentials.clone(), admission))
    }

    /// The limits now.
    pub fn limits(&self) -> Limits {
        Limits { pages: self.shared.most_pages.load(Relaxed), inodes: self.shared.most_inodes.load(Relaxed) }
    }

    /// Sets the limits. `EINVAL` one is less than what is in use; then none has changed.
    pub fn set_limits(&self, limits: Limits) -> Result<(), Errno> {
        let used = self.usage();
        if limits.pages < used.pages || limits.inodes < used.inodes {
            return Err(Errno::EINVAL);
        }
        self.shared.most_pages.store(limits.pages, Relaxed);
        self.shared.most_inodes.store(limits.inodes, Relaxed);
        Ok(())
    }

    /// The memory policy that new files get.
    pub fn policy(&self) -> Option<MemoryPolicy> {
        *self.shared.policy.lock()
    }

    /// Sets the memory policy that new files get; those that there are keep theirs.
    pub fn set_policy(&self, policy: Option<MemoryPolicy>) {
        *self.shared.policy.lock() = policy;
    }

    /// How many pages and inodes are in use.
    pub fn usage(&self) -> Limits {
        Limits { pages: self.shared.pages.load(Relaxed), inodes: self.shared.inodes.load(Relaxed) }
    }

    /// Whether inodes without a name are still in use.
    pub fn has_removed_files(&self) -> bool {
        self.shared.nameless.load(Relaxed) != 0
    }

    /// What `statfs` shows, under this magic number. Without limits all counts are 0.
    pub fn statistics_as(&self, magic: u64) -> StatFs {
        let Limits { pages, inodes } = self.limits();
        let count = |most: u64, used: &AtomicU64| match most {
            u64::MAX => (0, 0),
            most => (most, most.saturating_sub(used.load(Relaxed))),
        };
        let (blocks, free_blocks) = count(pages, &self.shared.pages);
        let (inodes, free_inodes) = count(inodes, &self.shared.inodes);
        StatFs { magic, block_size: FRAME_SIZE as u64, blocks, free_blocks, inodes, free_inodes, flags: 0 }
    }
}

/// `RAMFS_MAGIC`.
const MAGIC: u64 = 0x8584_58f6;

impl FileSystem for RamFs {
    fn kind(&self) -> &str {
        self.kind
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> DeviceNumber {
        self.shared.device
    }

    fn statistics(&self) -> StatFs {
        self.statistics_as(MAGIC)
    }

    fn has_removed_files(&self) -> bool {
        self.has_removed_files()
    }

    fn show_options(&self, _out: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }
}

impl Drop for RamFs {
    fn drop(&mut self) {
        // A tree may be deeper than the stack allows for drops that call each other.
        let mut pending = Vec::from([self.root.clone()]);
        while let Some(directory) = pending.pop() {
            pending.extend(directory.dismantle().into_iter().filter(|child| child.kind() == FileKind::Directory));
        }
    }
}
