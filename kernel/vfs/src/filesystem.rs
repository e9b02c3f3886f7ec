//! File systems, their types and the drivers of device files, and the registry that finds them by name and number.

use crate::{
    DeviceNumber, FileKind, FileOps, Inode, MountFlags, OpenRequest, Permissions,
    ramfs::{Limits, RamFs},
    socket::AbstractNames,
};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use base::{Credentials, Errno, Gid, Uid};
use core::{
    any::Any,
    fmt,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};
use machine::sync::{SpinLock, rank};

/// What `statfs` shows of a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StatFs {
    /// The magic number of the type (`f_type`).
    pub magic: u64,
    /// Size of a block.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that are free.
    pub free_blocks: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Inodes that are free.
    pub free_inodes: u64,
    /// Flags (`f_flags`), which the mount adds to what the file system says.
    pub flags: u64,
}

impl StatFs {
    /// `ST_VALID`: `flags` mean something.
    pub const HAS_FLAGS: u64 = 0x20;
}

/// A file system that is mounted, or was. The last `Arc` goes with the last mount and the last open file, so a
/// type that must tidy up implements `Drop`.
pub trait FileSystem: Any + Send + Sync {
    /// The type as `/proc/mounts` shows it.
    fn kind(&self) -> &str;

    /// The root directory.
    fn root(&self) -> Arc<dyn Inode>;

    /// The device number of its inodes.
    fn device(&self) -> DeviceNumber;

    /// What `statfs` shows.
    fn statistics(&self) -> StatFs;

    /// Writes the options as `/proc/mounts` shows them after `rw,relatime`: each with a comma before it.
    fn show_options(&self, _out: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }

    /// Whether there are files that lost their last name, or never had one, and are still in use.
    fn has_removed_files(&self) -> bool {
        false
    }

    /// Takes new options (`MS_REMOUNT`). `EINVAL` for what can't be changed.
    fn remount(&self, _data: &[u8], _credentials: &Credentials) -> Result<(), Errno> {
        Ok(())
    }
}

/// The minor number of the next device number without a device.
static NEXT_DEVICE: AtomicU32 = AtomicU32::new(1);

/// A device number for a file system that lies on no device (major 0), used once.
pub fn next_device() -> DeviceNumber {
    DeviceNumber::new(0, NEXT_DEVICE.fetch_add(1, Relaxed))
}

/// A request to mount.
pub struct MountRequest<'a> {
    /// The device word.
    pub source: &'a [u8],
    /// The data string, empty if none was given.
    pub data: &'a [u8],
    /// The flags of the mount.
    pub flags: MountFlags,
    /// Who mounts. CAP_SYS_ADMIN has been checked.
    pub credentials: &'a Credentials,
}

/// A type of file system, known by name.
pub trait FileSystemType: Send + Sync {
    /// The name that `mount` uses.
    fn name(&self) -> &'static str;

    /// Whether `/proc/filesystems` shows it without `nodev`.
    fn needs_device(&self) -> bool {
        false
    }

    /// Looks at options without doing anything with them. `EINVAL` some are wrong by themselves.
    fn check_options(&self, _data: &[u8]) -> Result<(), Errno> {
        Ok(())
    }

    /// A file system for this request, new or found. `EINVAL` bad options, `ENOMEM`, the type's own.
    fn mount(&self, request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>, Errno>;
}

/// What is behind device files of one major number.
pub trait DeviceDriver: Send + Sync {
    /// What `/proc/devices` calls its devices, Linux's words.
    fn names(&self) -> &'static [&'static str];

    /// Opens the device `number`. `ENXIO` there is none.
    fn open(
        &self,
        number: DeviceNumber,
        inode: &Arc<dyn Inode>,
        request: &OpenRequest<'_>,
    ) -> Result<Arc<dyn FileOps>, Errno>;
}

/// The file system types and device drivers of a kernel.
#[derive(Default)]
pub struct Registry {
    types: Vec<Arc<dyn FileSystemType>>,
    drivers: Vec<(FileKind, u32, Arc<dyn DeviceDriver>)>,
    abstract_names: AbstractNames,
    memory_files: MemoryFiles,
}

/// The file system that the files of `memfd_create` lie in, from the first of them on.
struct MemoryFiles(SpinLock<Option<Arc<RamFs>>>);

impl Default for MemoryFiles {
    fn default() -> Self {
        Self(SpinLock::new(rank::FILE_STATE, None))
    }
}

impl Registry {
    /// An empty registry. Filled at boot, then shared by `Arc` and never changed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The file system, mounted nowhere, for `memfd_create`. `ENOSPC`.
    pub fn memory_files(&self) -> Result<Arc<RamFs>, Errno> {
        let there = self.memory_files.0.lock().clone();
        if let Some(there) = there {
            return Ok(there);
        }
        // Made with no lock held; of two that are made at once the second goes.
        let made = RamFs::create("tmpfs", Limits::NONE, Permissions::new(0o700), Uid::ROOT, Gid::ROOT)?;
        Ok(self.memory_files.0.lock().get_or_insert(made).clone())
    }

    /// Adds a file system type.
    pub fn add_type(&mut self, kind: Arc<dyn FileSystemType>) {
        self.types.push(kind);
    }

    /// Adds the driver of the character or block devices with this major number.
    pub fn add_driver(&mut self, kind: FileKind, major: u32, driver: Arc<dyn DeviceDriver>) {
        self.drivers.push((kind, major, driver));
    }

    /// The type called `name`; `ENODEV` if there is none.
    pub fn find_type(&self, name: &[u8]) -> Result<&Arc<dyn FileSystemType>, Errno> {
        self.types.iter().find(|kind| kind.name().as_bytes() == name).ok_or(Errno::ENODEV)
    }

    /// The names of the types, in order of registration.
    pub fn type_names(&self) -> impl Iterator<Item = &'static str> {
        self.types.iter().map(|kind| kind.name())
    }

    /// The driver of the devices of `kind` with this major number; `ENXIO` if there is none.
    pub fn find_driver(&self, kind: FileKind, major: u32) -> Result<&Arc<dyn DeviceDriver>, Errno> {
        let found = self.drivers.iter().find(|(has, number, _)| (*has, *number) == (kind, major));
        found.map(|(_, _, driver)| driver).ok_or(Errno::ENXIO)
    }

    /// The text of `/proc/devices`, by major number.
    pub fn list_devices(&self) -> String {
        let mut text = String::new();
        for (head, kind) in [("Character", FileKind::CharDevice), ("\nBlock", FileKind::BlockDevice)] {
            text.push_str(head);
            text.push_str(" devices:\n");
            let mut drivers: Vec<_> = self.drivers.iter().filter(|(has, ..)| *has == kind).collect();
            drivers.sort_by_key(|(_, major, _)| *major);
            for (_, major, driver) in drivers {
                driver.names().iter().for_each(|name| text.push_str(&format!("{major:3} {name}\n")));
            }
        }
        text
    }

    /// The abstract names of local sockets.
    pub(crate) fn abstract_names(&self) -> &AbstractNames {
        &self.abstract_names
    }

    /// The text of `/proc/filesystems`, in order of registration.
    pub fn list(&self) -> String {
        let mut text = String::new();
        for kind in &self.types {
            text.push_str(if kind.needs_device() { "\t" } else { "nodev\t" });
            text.push_str(kind.name());
            text.push('\n');
        }
        text
    }
}
