//! The file system type `tmpfs`: files in memory, with limits.
//!
//! Options: `size=N` bytes with K, M, G or `%` of all memory (default 50 %), `nr_blocks=N` pages, `nr_inodes=N`
//! (default one for each page of all memory in two), `mode=OCTAL` (default 1777), `uid=N`, `gid=N`. A limit of 0 is none.

use alloc::sync::Arc;
use base::{Credentials, Errno, Gid, Uid};
use core::fmt;
use machine::frame::FRAME_SIZE;
use vfs::{
    DeviceNumber, FileSystem, FileSystemType, Inode, MountRequest, Permissions, StatFs,
    ramfs::{Limits, RamFs},
};

/// `TMPFS_MAGIC`.
pub const MAGIC: u64 = 0x0102_1994;

/// The file system type.
pub struct TmpfsType;

/// What the options of a mount say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Options {
    limits: Limits,
    /// Which of the limits were given, for `/proc/mounts`.
    given: (bool, bool),
    permissions: Permissions,
    uid: Uid,
    gid: Gid,
}

impl Options {
    /// The values without options.
    fn new(memory_pages: u64, credentials: &Credentials) -> Self {
        let half = memory_pages / 2;
        Self {
            limits: Limits { pages: half, inodes: half },
            given: (false, false),
            permissions: Permissions::new(0o1777),
            uid: credentials.fsuid,
            gid: credentials.fsgid,
        }
    }

    /// Takes the options in `data`. `EINVAL` an unknown one or a value that is none.
    fn parse(mut self, data: &[u8], memory_pages: u64) -> Result<Self, Errno> {
        let text = core::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').ok_or(Errno::EINVAL)?;
            match name {
                "size" => {
                    self.limits.pages = limit(size(value, memory_pages)?.div_ceil(FRAME_SIZE as u64));
                    self.given.0 = true;
                }
                "nr_blocks" => {
                    self.limits.pages = limit(scaled(value)?);
                    self.given.0 = true;
                }
                "nr_inodes" => {
                    self.limits.inodes = limit(scaled(value)?);
                    self.given.1 = true;
                }
                "mode" => {
                    let mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)?;
                    self.permissions = Permissions::new(mode);
                }
                "uid" => self.uid = Uid::new(number(value)?),
                "gid" => self.gid = Gid::new(number(value)?),
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(self)
    }
}

/// 0 means no limit.
fn limit(value: u64) -> u64 {
    if value == 0 { u64::MAX } else { value }
}

fn number(text: &str) -> Result<u32, Errno> {
    text.parse().map_err(|_| Errno::EINVAL)
}

/// A number with an optional suffix K, M or G in powers of 1024.
fn scaled(text: &str) -> Result<u64, Errno> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let value: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    value.checked_mul(1 << shift).ok_or(Errno::EINVAL)
}

/// A number of bytes, or a share of all memory in percent.
fn size(text: &str, memory_pages: u64) -> Result<u64, Errno> {
    match text.strip_suffix('%') {
        Some(percent) => Ok(memory_pages.saturating_mul(FRAME_SIZE as u64) / 100 * u64::from(number(percent)?)),
        None => scaled(text),
    }
}

impl FileSystemType for TmpfsType {
    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
        let memory = memory::frames::total().total;
        let options = Options::new(memory, request.credentials).parse(request.data, memory)?;
        let Options { limits, permissions, uid, gid, given } = options;
        let tree = RamFs::create("tmpfs", limits, permissions, uid, gid)?;
        Ok(Arc::new(Tmpfs { tree, given, mode: permissions }))
    }
}

struct Tmpfs {
    tree: Arc<RamFs>,
    given: (bool, bool),
    mode: Permissions,
}

impl FileSystem for Tmpfs {
    fn kind(&self) -> &str {
        "tmpfs"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.tree.root()
    }

    fn device(&self) -> DeviceNumber {
        self.tree.device()
    }

    fn statistics(&self) -> StatFs {
        self.tree.statistics_as(MAGIC)
    }

    fn show_options(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let limits = self.tree.limits();
        let shown = |limit: u64| if limit == u64::MAX { 0 } else { limit };
        if self.given.0 {
            write!(out, ",size={}k", shown(limits.pages) * (FRAME_SIZE as u64 / 1024))?;
        }
        if self.given.1 {
            write!(out, ",nr_inodes={}", shown(limits.inodes))?;
        }
        if self.mode.bits() != 0o1777 {
            write!(out, ",mode={:03o}", self.mode.bits())?;
        }
        Ok(())
    }

    /// Changes the limits; owner and mode stay those of the root directory.
    fn remount(&self, data: &[u8], credentials: &Credentials) -> Result<(), Errno> {
        let memory = memory::frames::total().total;
        let old = Options { limits: self.tree.limits(), ..Options::new(memory, credentials) };
        self.tree.set_limits(old.parse(data, memory)?.limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, Errno> {
        Options::new(1000, &Credentials::root()).parse(text.as_bytes(), 1000)
    }

    #[test]
    fn sizes_are_rounded_up_to_pages_and_may_be_shares() {
        assert_eq!(parse("size=5000").unwrap().limits.pages, 2);
        assert_eq!(parse("size=1m,nr_inodes=2k").unwrap().limits, Limits { pages: 256, inodes: 2048 });
        assert_eq!(parse("size=10%").unwrap().limits.pages, 100);
        assert_eq!(parse("size=0").unwrap().limits.pages, u64::MAX);
        assert_eq!(parse("").unwrap().limits.pages, 500);
        assert_eq!(parse("mode=700").unwrap().permissions, Permissions::new(0o700));
    }

    #[test]
    fn unknown_options_are_refused() {
        for text in ["huge=always", "size", "size=x", "mode=9"] {
            assert_eq!(parse(text), Err(Errno::EINVAL), "{text}");
        }
    }
}
