//! The file system type `tmpfs`: files in memory, with limits.
//!
//! Options (`tmpfs(5)`): `size=N` bytes with K, M, G, T, P or E, or `%` of all memory (default 50 %), `nr_blocks=N` pages,
//! `nr_inodes=N` (default one for each page of all memory in two), `mode=OCTAL` (default 1777), `uid=N`, `gid=N`,
//! `mpol=POLICY` for the memory of its files, `huge=never` (there is nothing else), `inode64` (numbers always are). A limit of 0
//! is none. The root file system is one too, of the type's name `rootfs`.

use alloc::sync::Arc;
use base::{Credentials, Errno, Gid, NodeSet, Uid, number};
use core::fmt;
use machine::frame::FRAME_SIZE;
use memory::MemoryPolicy;
use vfs::{
    DeviceNumber, FileSystem, FileSystemType, Inode, MountRequest, Permissions, StatFs,
    ramfs::{Limits, RamFs},
};

/// `TMPFS_MAGIC`.
pub const MAGIC: u64 = 0x0102_1994;

/// Of the root directory of a mount whose options name none.
const USUAL_PERMISSIONS: Permissions = Permissions::new(0o1777);

/// The file system type.
pub struct TmpfsType;

/// What the options of a mount say; `None` what they don't mention.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Options {
    pages: Option<u64>,
    inodes: Option<u64>,
    permissions: Option<Permissions>,
    uid: Option<Uid>,
    gid: Option<Gid>,
    /// The inner one is none for the policy of whoever stores.
    policy: Option<Option<MemoryPolicy>>,
}

impl Options {
    /// Takes the options in `data`. `EINVAL` an unknown one or a value that is none.
    fn parse(data: &[u8], memory_pages: u64, nodes: &NodeSet) -> Result<Self, Errno> {
        let text = core::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
        let mut options = Self::default();
        for word in words(text) {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let value = match (name, value) {
                ("inode64", None) => continue,
                (_, value) => value.ok_or(Errno::EINVAL)?,
            };
            match name {
                "size" => options.pages = Some(limit(size(value, memory_pages)?.div_ceil(FRAME_SIZE as u64))),
                "nr_blocks" => options.pages = Some(limit(scaled(value)?)),
                "nr_inodes" => options.inodes = Some(limit(scaled(value)?)),
                "mode" => {
                    let mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)?;
                    options.permissions = Some(Permissions::new(mode));
                }
                "uid" => options.uid = Some(Uid::new(owner(value)?)),
                "gid" => options.gid = Some(Gid::new(owner(value)?)),
                "mpol" => options.policy = Some(MemoryPolicy::parse(value, nodes)?),
                "huge" if value == "never" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }

    fn of_this_machine(data: &[u8]) -> Result<Self, Errno> {
        Self::parse(data, memory::frames::total().total, &machine::topology::get().nodes_with_memory())
    }
}

/// The options, which commas separate; but one before a digit belongs to a list of nodes.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let ends = |(at, _): &(usize, &str)| !rest[at + 1..].starts_with(|next: char| next.is_ascii_digit());
        let end = rest.match_indices(',').find(ends).map_or(rest.len(), |(at, _)| at);
        let word = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or("");
        Some(word)
    })
    .filter(|word| !word.is_empty())
}

/// The limits without options.
pub fn usual_limits() -> Limits {
    let half = memory::frames::total().total / 2;
    Limits { pages: half, inodes: half }
}

/// 0 means no limit.
fn limit(value: u64) -> u64 {
    if value == 0 { u64::MAX } else { value }
}

fn number(text: &str) -> Result<u32, Errno> {
    text.parse().map_err(|_| Errno::EINVAL)
}

/// The number of a user or a group; there is none with the largest.
fn owner(text: &str) -> Result<u32, Errno> {
    number(text).and_then(|number| if number == u32::MAX { Err(Errno::EINVAL) } else { Ok(number) })
}

/// A number with an optional suffix K, M, G, T, P or E in powers of 1024.
fn scaled(text: &str) -> Result<u64, Errno> {
    const SUFFIXES: &[u8] = b"KMGTPE";
    let power = text.bytes().last().and_then(|last| SUFFIXES.iter().position(|known| last.eq_ignore_ascii_case(known)));
    let digits = &text[..text.len() - usize::from(power.is_some())];
    let value = number::parse_unsigned(digits)?;
    value.checked_mul(1 << power.map_or(0, |power| 10 * (power + 1))).ok_or(Errno::EINVAL)
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

    fn check_options(&self, data: &[u8]) -> Result<(), Errno> {
        Options::of_this_machine(data).map(drop)
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
        let options = Options::of_this_machine(request.data)?;
        let usual = usual_limits();
        let limits =
            Limits { pages: options.pages.unwrap_or(usual.pages), inodes: options.inodes.unwrap_or(usual.inodes) };
        let permissions = options.permissions.unwrap_or(USUAL_PERMISSIONS);
        let uid = options.uid.unwrap_or(request.credentials.fsuid);
        let gid = options.gid.unwrap_or(request.credentials.fsgid);
        let tree = RamFs::create("tmpfs", limits, permissions, uid, gid)?;
        tree.set_policy(options.policy.flatten());
        Ok(Arc::new(Tmpfs { kind: "tmpfs", tree, permissions, uid, gid }))
    }
}

/// The file system that is the root before anything is mounted: a tmpfs with the usual limits, so that what programs store
/// there leaves half of memory (Linux's Documentation/filesystems/ramfs-rootfs-initramfs.rst). `ENOMEM`.
pub fn root() -> Result<Arc<dyn FileSystem>, Errno> {
    let tree = RamFs::create("rootfs", usual_limits(), Permissions::new(0o755), Uid::ROOT, Gid::ROOT)?;
    let permissions = USUAL_PERMISSIONS;
    Ok(Arc::new(Tmpfs { kind: "rootfs", tree, permissions, uid: Uid::ROOT, gid: Gid::ROOT }))
}

struct Tmpfs {
    /// The type's name in `/proc/mounts`.
    kind: &'static str,
    tree: Arc<RamFs>,
    /// As they were at first; those of the root directory may have changed.
    permissions: Permissions,
    uid: Uid,
    gid: Gid,
}

impl FileSystem for Tmpfs {
    fn kind(&self) -> &str {
        self.kind
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
        let (limits, usual) = (self.tree.limits(), usual_limits());
        let shown = |limit: u64| if limit == u64::MAX { 0 } else { limit };
        if limits.pages != usual.pages {
            write!(out, ",size={}k", shown(limits.pages) * (FRAME_SIZE as u64 / 1024))?;
        }
        if limits.inodes != usual.inodes {
            write!(out, ",nr_inodes={}", shown(limits.inodes))?;
        }
        if self.permissions != USUAL_PERMISSIONS {
            write!(out, ",mode={:03o}", self.permissions.bits())?;
        }
        if self.uid != Uid::ROOT {
            write!(out, ",uid={}", self.uid.raw())?;
        }
        if self.gid != Gid::ROOT {
            write!(out, ",gid={}", self.gid.raw())?;
        }
        self.tree.policy().map_or(Ok(()), |policy| write!(out, ",mpol={policy}"))
    }

    fn has_removed_files(&self) -> bool {
        self.tree.has_removed_files()
    }

    /// Changes limits and policy; owner and mode stay those of the root directory. `EINVAL` besides wrong options: a limit
    /// where there was none, or one below what is in use.
    fn remount(&self, data: &[u8], _credentials: &Credentials) -> Result<(), Errno> {
        let options = Options::of_this_machine(data)?;
        let old = self.tree.limits();
        let changed = |old: u64, new: Option<u64>| match new {
            Some(new) if old == u64::MAX && new != u64::MAX => Err(Errno::EINVAL),
            new => Ok(new.unwrap_or(old)),
        };
        let pages = changed(old.pages, options.pages)?;
        let inodes = changed(old.inodes, options.inodes)?;
        self.tree.set_limits(Limits { pages, inodes })?;
        if let Some(policy) = options.policy {
            self.tree.set_policy(policy);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::NodeId;
    use std::{string::ToString, vec::Vec};

    fn parse(text: &str) -> Result<Options, Errno> {
        let nodes = (0..4).map(NodeId::new).collect();
        Options::parse(text.as_bytes(), 1000, &nodes)
    }

    #[test]
    fn sizes_are_rounded_up_to_pages_and_may_be_shares() {
        assert_eq!(parse("size=5000").unwrap().pages, Some(2));
        let options = parse("size=1m,nr_inodes=2k").unwrap();
        assert_eq!((options.pages, options.inodes), (Some(256), Some(2048)));
        assert_eq!(parse("nr_blocks=0x10").unwrap().pages, Some(16));
        assert_eq!(parse("size=10%").unwrap().pages, Some(100));
        assert_eq!(parse("size=1T").unwrap().pages, Some(1 << 28));
        assert_eq!(parse("size=0").unwrap().pages, Some(u64::MAX));
        assert_eq!(parse(",,").unwrap(), Options::default());
        assert_eq!(parse("mode=700").unwrap().permissions, Some(Permissions::new(0o700)));
    }

    #[test]
    fn a_list_of_nodes_may_hold_commas() {
        let options = parse("mpol=bind:0,2-3,size=4k").unwrap();
        assert_eq!(options.pages, Some(1));
        assert_eq!(options.policy.flatten().unwrap().to_string(), "bind:0,2-3");
        assert_eq!(words("a,,b=1,2,c").collect::<Vec<_>>(), ["a", "b=1,2", "c"]);
        assert_eq!(parse("mpol=default").unwrap().policy, Some(None));
    }

    #[test]
    fn unknown_options_are_refused() {
        let wrong = [
            "huge=always",
            "size",
            "size=",
            "size=x",
            "size=1kb",
            "mode=9",
            "uid=4294967295",
            "mpol=bind",
            "inode64=1",
        ];
        for text in wrong {
            assert_eq!(parse(text), Err(Errno::EINVAL), "{text}");
        }
        assert_eq!(parse("huge=never,inode64"), Ok(Options::default()));
    }
}
