//! What can be said of a file without opening it: kind, permissions, owner, sizes, times, device numbers.

use base::{Gid, Uid};

/// What an inode is. The value is the `S_IFMT` field of `st_mode` shifted right by 12, which is also the `d_type`
/// of a directory entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FileKind {
    /// A named pipe.
    Fifo = 1,
    /// A character device.
    CharDevice = 2,
    /// A directory.
    Directory = 4,
    /// A block device.
    BlockDevice = 6,
    /// A regular file.
    Regular = 8,
    /// A symbolic link.
    Symlink = 10,
    /// A local socket.
    Socket = 12,
}

impl FileKind {
    /// The bits of `S_IFMT`.
    pub const fn mode_bits(self) -> u32 {
        (self as u32) << 12
    }

    /// The `d_type` of a directory entry.
    pub const fn entry_type(self) -> u8 {
        self as u8
    }

    /// The kind that the `S_IFMT` bits of `mode` name, if any.
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Some(match (mode >> 12) & 0xf {
            1 => Self::Fifo,
            2 => Self::CharDevice,
            4 => Self::Directory,
            6 => Self::BlockDevice,
            8 => Self::Regular,
            10 => Self::Symlink,
            12 => Self::Socket,
            _ => return None,
        })
    }
}

/// Permission bits with set-user-ID, set-group-ID and sticky: `mode & 07777`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Permissions(u16);

impl Permissions {
    /// Set-user-ID.
    pub const SET_UID: u16 = 0o4000;
    /// Set-group-ID.
    pub const SET_GID: u16 = 0o2000;
    /// Sticky: in a directory, only owners may remove names.
    pub const STICKY: u16 = 0o1000;

    /// The low twelve bits of a mode.
    pub const fn new(mode: u32) -> Self {
        Self((mode & 0o7777) as u16)
    }

    /// The bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Without the permission bits of `umask`.
    pub const fn masked(self, umask: Permissions) -> Self {
        Self(self.0 & !(umask.0 & 0o777))
    }

    /// Whether any of `bits` is set.
    pub const fn any(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// Without `bits`.
    pub const fn without(self, bits: u16) -> Self {
        Self(self.0 & !bits)
    }

    /// With `bits`.
    pub const fn with(self, bits: u16) -> Self {
        Self(self.0 | (bits & 0o7777))
    }
}

/// The number of a device: of a device file, or of the file system that an inode lives in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u32,
    /// Which device of the driver.
    pub minor: u32,
}

impl DeviceNumber {
    /// The number from its two parts.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// The form of `st_dev` and `st_rdev`: minor bits 0–7, major bits 8–19, the rest of the minor above.
    pub const fn encoded(self) -> u64 {
        ((self.minor & 0xff) | ((self.major & 0xfff) << 8)) as u64 | (((self.minor & !0xff) as u64) << 12)
    }

    /// From the form that `mknod(2)` takes, the inverse of [`DeviceNumber::encoded`].
    pub const fn decoded(raw: u32) -> Self {
        Self { major: (raw >> 8) & 0xfff, minor: (raw & 0xff) | ((raw >> 12) & !0xff) }
    }
}

/// A time since the epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Timestamp {
    /// Seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds into the second, below 10⁹.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// The time now.
    pub fn now() -> Self {
        Self::from_nanoseconds(machine::time::realtime())
    }

    /// From nanoseconds since the epoch.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self { seconds: (nanoseconds / 1_000_000_000) as i64, nanoseconds: (nanoseconds % 1_000_000_000) as u32 }
    }
}

/// What permission checks need of an inode, cheap to copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ownership {
    /// Permission bits.
    pub permissions: Permissions,
    /// Owner.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
}

/// All that `stat` shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// The file system that it lives in (`st_dev`).
    pub device: DeviceNumber,
    /// Its number there.
    pub inode: u64,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub permissions: Permissions,
    /// Number of names.
    pub links: u32,
    /// Owner.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
    /// The device that a device file stands for (`st_rdev`).
    pub represents: DeviceNumber,
    /// Bytes.
    pub size: u64,
    /// Memory in use, in blocks of 512 bytes.
    pub blocks: u64,
    /// Preferred size of reads and writes.
    pub block_size: u32,
    /// Last read.
    pub accessed: Timestamp,
    /// Last write.
    pub modified: Timestamp,
    /// Last change of content or metadata.
    pub changed: Timestamp,
    /// Creation.
    pub created: Timestamp,
}

impl Metadata {
    /// Of an inode that keeps nothing: no bytes, and all that ever happened to it happened at `time`. A directory has two
    /// names, anything else one.
    pub fn empty(
        device: DeviceNumber,
        inode: u64,
        kind: FileKind,
        permissions: Permissions,
        (uid, gid): (Uid, Gid),
        time: Timestamp,
    ) -> Self {
        Self {
            device,
            inode,
            kind,
            permissions,
            links: if kind == FileKind::Directory { 2 } else { 1 },
            uid,
            gid,
            represents: DeviceNumber::default(),
            size: 0,
            blocks: 0,
            block_size: 4096,
            accessed: time,
            modified: time,
            changed: time,
            created: time,
        }
    }

    /// `st_mode`: kind and permissions.
    pub const fn mode(&self) -> u32 {
        self.kind.mode_bits() | self.permissions.bits() as u32
    }
}

/// A change of metadata; `None` leaves a field as it is. Who may do it has been checked, and the set-ID bits that
/// the change takes away are already gone from `permissions`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MetadataChange {
    /// New permission bits.
    pub permissions: Option<Permissions>,
    /// New owner.
    pub uid: Option<Uid>,
    /// New group.
    pub gid: Option<Gid>,
    /// New time of the last read.
    pub accessed: Option<Timestamp>,
    /// New time of the last write.
    pub modified: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_encoded_as_linux_does() {
        assert_eq!(DeviceNumber::new(4, 64).encoded(), 0x440);
        assert_eq!(DeviceNumber::new(0x123, 0x45678).encoded(), 0x4561_2378);
        assert_eq!(DeviceNumber::decoded(0x4561_2378), DeviceNumber::new(0x123, 0x45678));
    }

    #[test]
    fn the_kind_of_a_mode_is_its_format_field() {
        assert_eq!(FileKind::from_mode(0o100644), Some(FileKind::Regular));
        assert_eq!(FileKind::from_mode(0o644), None);
        assert_eq!(FileKind::Directory.mode_bits(), 0o40000);
    }
}
