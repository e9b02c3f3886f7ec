//! The file system `devpts`: a directory with the terminals of pseudo-terminal pairs, and `ptmx`, which makes them. Each
//! mount has terminals of its own.

use super::pseudo::{Attributes, PTS_MAJOR, Pair, PseudoTerminals};
use alloc::{collections::BTreeMap, format, sync::Arc, vec::Vec};
use base::{Credentials, Errno, Gid, Uid};
use core::fmt;
use machine::sync::{SpinLock, rank};
use vfs::{
    DeviceNumber, DirectoryEntry, FileKind, FileSystem, FileSystemType, Inode, Metadata, MetadataChange, MountRequest,
    Permissions, StatFs, Timestamp,
};

/// The most pseudo-terminals at once in one mount.
const MOST: u32 = 4096;

/// The options of a mount, see "devpts" in `mount(8)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Options {
    /// The owner of new terminals, instead of who opens `ptmx`.
    uid: Option<Uid>,
    gid: Option<Gid>,
    mode: Permissions,
    ptmx_mode: Permissions,
    most: u32,
}

impl Default for Options {
    fn default() -> Self {
        let (mode, ptmx_mode) = (Permissions::new(0o600), Permissions::new(0));
        Self { uid: None, gid: None, mode, ptmx_mode, most: MOST }
    }
}

impl Options {
    /// Reads the options; `newinstance` is what every mount is. `EINVAL` unknown, or no such value.
    fn parse(data: &[u8]) -> Result<Self, Errno> {
        let mut options = Self::default();
        let text = core::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let number = |radix| u32::from_str_radix(value, radix).map_err(|_| Errno::EINVAL);
            match name {
                "uid" => options.uid = Some(Uid::new(number(10)?)),
                "gid" => options.gid = Some(Gid::new(number(10)?)),
                "mode" => options.mode = Permissions::new(number(8)? & 0o777),
                "ptmxmode" => options.ptmx_mode = Permissions::new(number(8)? & 0o777),
                "max" => options.most = Some(number(10)?).filter(|most| *most <= MOST).ok_or(Errno::EINVAL)?,
                "newinstance" if word == name => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }
}

/// The file system type `devpts`.
pub struct DevPtsType(pub Arc<PseudoTerminals>);

impl FileSystemType for DevPtsType {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn check_options(&self, data: &[u8]) -> Result<(), Errno> {
        Options::parse(data).map(drop)
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
        let options = Options::parse(request.data)?;
        let instance = Arc::new(Instance {
            device: vfs::next_device(),
            created: Timestamp::now(),
            options: SpinLock::new(rank::FILE_STATE, options),
            pairs: SpinLock::new(rank::FILE_STATE, BTreeMap::new()),
        });
        self.0.mounted(&instance);
        Ok(Arc::new(DevPts(instance)))
    }
}

/// The pseudo-terminals of one mount.
pub struct Instance {
    device: DeviceNumber,
    created: Timestamp,
    options: SpinLock<Options>,
    pairs: SpinLock<BTreeMap<u32, Arc<Pair>>>,
}

impl Instance {
    /// A new pair, with the lowest number that is free. `ENOSPC` there are as many as the mount allows.
    pub(super) fn add(&self, owner: &Credentials) -> Result<Arc<Pair>, Errno> {
        let Options { uid, gid, mode, most, .. } = *self.options.lock();
        let attributes = Attributes {
            uid: uid.unwrap_or(owner.fsuid),
            gid: gid.unwrap_or(owner.fsgid),
            permissions: mode,
            created: Timestamp::now(),
        };
        let mut pairs = self.pairs.lock();
        let number = (0..most).find(|number| !pairs.contains_key(number)).ok_or(Errno::ENOSPC)?;
        let pair = Pair::new(number, attributes);
        pairs.insert(number, pair.clone());
        Ok(pair)
    }

    /// The number is free again.
    pub(super) fn remove(&self, number: u32) {
        let removed = self.pairs.lock().remove(&number);
        drop(removed);
    }

    /// The terminal of a pair, as a file.
    pub(super) fn node(self: &Arc<Self>, pair: &Arc<Pair>) -> Arc<dyn Inode> {
        Arc::new(PtsNode { instance: self.clone(), pair: pair.clone() })
    }

    fn find(&self, number: u32) -> Result<Arc<Pair>, Errno> {
        self.pairs.lock().get(&number).cloned().ok_or(Errno::ENOENT)
    }
}

struct DevPts(Arc<Instance>);

impl FileSystem for DevPts {
    fn kind(&self) -> &str {
        "devpts"
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::new(PtsDirectory(self.0.clone()))
    }

    fn device(&self) -> DeviceNumber {
        self.0.device
    }

    fn statistics(&self) -> StatFs {
        StatFs { magic: 0x1cd1, block_size: 4096, ..StatFs::default() }
    }

    fn show_options(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let Options { uid, gid, mode, ptmx_mode, most } = *self.0.options.lock();
        if let Some(uid) = uid {
            write!(out, ",uid={}", uid.raw())?;
        }
        if let Some(gid) = gid {
            write!(out, ",gid={}", gid.raw())?;
        }
        write!(out, ",mode={:03o},ptmxmode={:03o}", mode.bits(), ptmx_mode.bits())?;
        if most < MOST {
            write!(out, ",max={most}")?;
        }
        Ok(())
    }

    /// Takes new options; terminals that are there keep their owners.
    fn remount(&self, data: &[u8], _credentials: &Credentials) -> Result<(), Errno> {
        let options = Options::parse(data)?;
        *self.0.options.lock() = options;
        Ok(())
    }
}

/// The inode numbers: 1 is the directory, 2 is `ptmx`, a terminal is its number + 3, as on Linux.
const DIRECTORY: u64 = 1;
const PTMX: u64 = 2;
const FIRST: u64 = 3;

struct PtsDirectory(Arc<Instance>);

impl PtsDirectory {
    fn metadata_of(&self, inode: u64, kind: FileKind, attributes: &Attributes) -> Metadata {
        let Attributes { uid, gid, permissions, created } = *attributes;
        let empty = Metadata::empty(self.0.device, inode, kind, permissions, (uid, gid), created);
        Metadata { block_size: 1024, ..empty }
    }

    fn root_metadata(&self, inode: u64, kind: FileKind, permissions: Permissions) -> Metadata {
        let attributes = Attributes { uid: Uid::ROOT, gid: Gid::ROOT, permissions, created: self.0.created };
        self.metadata_of(inode, kind, &attributes)
    }
}

impl Inode for PtsDirectory {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn number(&self) -> u64 {
        DIRECTORY
    }

    fn metadata(&self) -> Metadata {
        self.root_metadata(DIRECTORY, FileKind::Directory, Permissions::new(0o755))
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        if name == b"ptmx" {
            return Ok(Arc::new(PtmxNode(self.0.clone())));
        }
        let number = core::str::from_utf8(name).ok().and_then(|text| text.parse::<u32>().ok()).ok_or(Errno::ENOENT)?;
        // "01" is not the name of terminal 1.
        if format!("{number}").as_bytes() != name {
            return Err(Errno::ENOENT);
        }
        Ok(self.0.node(&self.0.find(number)?))
    }

    fn read_directory(&self, from: u64, each: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<(), Errno> {
        let fixed = [
            (&b"."[..], DIRECTORY, FileKind::Directory),
            (b"..", DIRECTORY, FileKind::Directory),
            (b"ptmx", PTMX, FileKind::CharDevice),
        ];
        for ((name, inode, kind), place) in fixed.into_iter().zip(0..) {
            if from <= place && !each(&DirectoryEntry { name, inode, kind, next: place + 1 }) {
                return Ok(());
            }
        }
        // The place of a terminal is its inode number.
        let numbers: Vec<u32> = self.0.pairs.lock().keys().copied().collect();
        for number in numbers {
            let inode = u64::from(number) + FIRST;
            let name = format!("{number}");
            let entry = DirectoryEntry { name: name.as_bytes(), inode, kind: FileKind::CharDevice, next: inode + 1 };
            if inode >= from && !each(&entry) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// `ptmx` inside the directory: opening it makes a pair here.
pub(super) struct PtmxNode(pub(super) Arc<Instance>);

impl Inode for PtmxNode {
    fn kind(&self) -> FileKind {
        FileKind::CharDevice
    }

    fn number(&self) -> u64 {
        PTMX
    }

    fn metadata(&self) -> Metadata {
        let mode = self.0.options.lock().ptmx_mode;
        let metadata = PtsDirectory(self.0.clone()).root_metadata(PTMX, FileKind::CharDevice, mode);
        Metadata { represents: DeviceNumber::new(5, 2), ..metadata }
    }

    /// Its mode is the mount's.
    fn change_metadata(&self, change: &MetadataChange) -> Result<(), Errno> {
        if let Some(mode) = change.permissions {
            self.0.options.lock().ptmx_mode = mode;
        }
        Ok(())
    }
}

/// A terminal in the directory.
pub(super) struct PtsNode {
    instance: Arc<Instance>,
    pub(super) pair: Arc<Pair>,
}

impl Inode for PtsNode {
    fn kind(&self) -> FileKind {
        FileKind::CharDevice
    }

    fn number(&self) -> u64 {
        u64::from(self.pair.number) + FIRST
    }

    fn metadata(&self) -> Metadata {
        let directory = PtsDirectory(self.instance.clone());
        let metadata = directory.metadata_of(self.number(), FileKind::CharDevice, &self.pair.attributes.lock());
        Metadata { represents: DeviceNumber::new(PTS_MAJOR, self.pair.number), ..metadata }
    }

    fn change_metadata(&self, change: &MetadataChange) -> Result<(), Errno> {
        let mut attributes = self.pair.attributes.lock();
        attributes.uid = change.uid.unwrap_or(attributes.uid);
        attributes.gid = change.gid.unwrap_or(attributes.gid);
        attributes.permissions = change.permissions.unwrap_or(attributes.permissions);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_the_manual() {
        let parse = |text: &str| Options::parse(text.as_bytes());
        assert_eq!(parse(""), Ok(Options::default()));
        let given = parse("gid=5,mode=620,ptmxmode=0666,newinstance,max=7").unwrap();
        assert_eq!(
            (given.gid, given.mode.bits(), given.ptmx_mode.bits(), given.most),
            (Some(Gid::new(5)), 0o620, 0o666, 7)
        );
        for text in ["gid=", "mode=9", "max=4097", "newinstance=1", "size=1", "\u{e4}"] {
            assert_eq!(parse(text), Err(Errno::EINVAL), "{text}");
        }
    }
}
