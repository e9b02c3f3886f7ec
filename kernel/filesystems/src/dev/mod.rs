//! `/dev`: the file system `devtmpfs`, one for all mounts, with the device files that the kernel has, and the drivers
//! of the memory devices.

mod exit;
mod log;
mod memory;

pub use exit::{ExitDriver, MISC_MAJOR};
pub use memory::{MEMORY_MAJOR, MemoryDevices};

use crate::tmpfs;
use alloc::sync::Arc;
use base::{Credentials, Errno, Gid, Uid};
use core::fmt;
use vfs::{
    DeviceNumber, FileSystem, FileSystemType, Inode, MountRequest, NewNode, NodeKind, Permissions, StatFs, ramfs::RamFs,
};

/// Names of device files, with their numbers and modes.
const DEVICES: &[(&str, u32, u32, u32)] = &[
    ("null", 1, 3, 0o666),
    ("zero", 1, 5, 0o666),
    ("full", 1, 7, 0o666),
    ("random", 1, 8, 0o666),
    ("urandom", 1, 9, 0o666),
    ("kmsg", 1, 11, 0o644),
    ("ttyS0", 4, 64, 0o660),
    ("ttyS1", 4, 65, 0o660),
    ("tty", 5, 0, 0o666),
    ("console", 5, 1, 0o600),
    ("ptmx", 5, 2, 0o666),
    ("qemu-exit", 10, 200, 0o200),
];

/// Names that lead elsewhere.
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Directories, with their modes.
const DIRECTORIES: &[(&str, u32)] = &[("pts", 0o755), ("shm", 0o1777)];

/// Fills a directory with what `/dev` has. `exists` says of a device number whether the device is there.
fn populate(root: &Arc<dyn Inode>, exists: impl Fn(DeviceNumber) -> bool) -> Result<(), Errno> {
    let node = |kind, mode| NewNode { kind, permissions: Permissions::new(mode), uid: Uid::ROOT, gid: Gid::ROOT };
    for &(name, major, minor, mode) in DEVICES {
        let number = DeviceNumber::new(major, minor);
        if exists(number) {
            root.create(name.as_bytes(), &node(NodeKind::CharDevice(number), mode))?;
        }
    }
    for (name, target) in LINKS {
        root.create(name.as_bytes(), &node(NodeKind::Symlink(target.as_bytes()), 0o777))?;
    }
    for (name, mode) in DIRECTORIES {
        root.create(name.as_bytes(), &node(NodeKind::Directory, *mode))?;
    }
    Ok(())
}

/// The file system type `devtmpfs`: every mount shows the one tree.
pub struct DevType {
    tree: Arc<RamFs>,
}

impl DevType {
    /// The tree with the device files of this machine; `exists` says which numbers are there. `ENOMEM`, `ENOSPC`.
    pub fn new(exists: impl Fn(DeviceNumber) -> bool) -> Result<Self, Errno> {
        let tree = RamFs::create("devtmpfs", tmpfs::usual_limits(), Permissions::new(0o755), Uid::ROOT, Gid::ROOT)?;
        populate(&tree.root(), exists)?;
        Ok(Self { tree })
    }
}

impl FileSystemType for DevType {
    fn name(&self) -> &'static str {
        "devtmpfs"
    }

    fn mount(&self, _request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
        Ok(Arc::new(DevMount(self.tree.clone())))
    }
}

/// One mount of the tree; the tree itself stays when it goes.
struct DevMount(Arc<RamFs>);

impl FileSystem for DevMount {
    fn kind(&self) -> &str {
        "devtmpfs"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.0.root()
    }

    fn device(&self) -> DeviceNumber {
        self.0.device()
    }

    fn statistics(&self) -> StatFs {
        self.0.statistics_as(crate::tmpfs::MAGIC)
    }

    fn show_options(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str(",mode=755")
    }

    /// All options are those of the one tree and stay.
    fn remount(&self, _data: &[u8], _credentials: &Credentials) -> Result<(), Errno> {
        Ok(())
    }
}
