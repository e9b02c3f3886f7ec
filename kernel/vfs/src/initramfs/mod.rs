//! Unpacks the initramfs: cpio archives of the "newc" form (with or without checksums), one after the other, each
//! plain or packed by gzip.
//!
//! Regular files of a plain archive borrow their bytes from it until they are written, so unpacking copies nothing;
//! those of a packed archive get pages of their own as it is unpacked. An entry
//! for a name that is there already takes its place (a directory stays and gets the entry's owner and mode);
//! directories on the way that are missing are made.

mod cpio;
mod gzip;
mod input;

use crate::{
    Caller, DeviceNumber, FileKind, FileOps, Follow, FsContext, Inode, MetadataChange, NewNode, NodeKind, OpenFlags,
    Permissions, Start, Timestamp, ramfs::RamInode,
};
use alloc::{collections::BTreeMap, sync::Arc, vec, vec::Vec};
use base::{Credentials, Errno, Gid, Uid};
use cpio::Entry;
use gzip::Packed;
use input::{Input, Plain};

/// Unpacks `archive` into the root directory of `context`, which is in a [`RamFs`](crate::ramfs::RamFs). Returns the
/// number of entries unpacked. What comes before an error stays.
///
/// Errors: `EINVAL` broken archive; `ENOMEM`; `ENOSPC` the file system's limits; `ENOTDIR` and others of the walk where
/// an entry leads through something that is no directory.
pub fn unpack(archive: &'static [u8], context: &FsContext) -> Result<usize, Errno> {
    let credentials = Arc::new(Credentials::root());
    let mut unpacker =
        Unpacker { caller: Caller { context, credentials: &credentials }, links: BTreeMap::new(), count: 0 };
    let mut rest = archive;
    loop {
        let mut plain = Plain::new(rest);
        if !plain.skip_zeros()? {
            return Ok(unpacker.count);
        }
        rest = plain.rest();
        if gzip::is_gzip(rest) {
            let mut packed = Packed::new(rest)?;
            while packed.skip_zeros()? {
                unpacker.archive(&mut packed)?;
            }
            rest = packed.finish()?;
        } else {
            let mut plain = Plain::new(rest);
            unpacker.archive(&mut plain)?;
            rest = plain.rest();
        }
    }
}

/// The bytes of a member, which were not taken yet.
struct Bytes<'a> {
    input: &'a mut dyn Input,
    size: usize,
}

impl Bytes<'_> {
    /// Gives them to a regular file that is empty.
    fn put_into(self, inode: &RamInode) -> Result<(), Errno> {
        if let Some(bytes) = self.input.borrow(self.size) {
            return inode.fill(bytes?);
        }
        let mut at = 0;
        self.input.pieces(self.size, &mut |piece| {
            let mut rest = piece;
            while !rest.is_empty() {
                let written = inode.write(rest, &mut at, OpenFlags::empty())?;
                rest = rest.get(written..).ok_or(Errno::EINVAL)?;
            }
            Ok(())
        })
    }

    /// The text of a symbolic link.
    fn text(self) -> Result<Vec<u8>, Errno> {
        if self.size > crate::LONGEST_PATH {
            return Err(Errno::EINVAL);
        }
        let mut text = vec![0; self.size];
        self.input.fill(&mut text)?;
        Ok(text)
    }
}

struct Unpacker<'a> {
    caller: Caller<'a>,
    /// Regular files with several names, by device and inode number in this archive.
    links: BTreeMap<(u32, u32, u32), Arc<RamInode>>,
    count: usize,
}

impl Unpacker<'_> {
    /// Unpacks one archive, up to and with its trailer.
    fn archive(&mut self, input: &mut dyn Input) -> Result<(), Errno> {
        let start = input.position();
        self.links.clear();
        loop {
            let entry = cpio::read(input, start)?;
            if entry.is_trailer() {
                return Ok(());
            }
            let end = input.position() + entry.size;
            self.entry(&entry, Bytes { input, size: entry.size })?;
            // The bytes of what has none to keep, as of a directory.
            let left = end.checked_sub(input.position()).ok_or(Errno::EINVAL)?;
            input.pieces(left, &mut |_| Ok(()))?;
            cpio::skip_padding(input, start)?;
            self.count += 1;
        }
    }

    fn entry(&mut self, entry: &Entry, bytes: Bytes<'_>) -> Result<(), Errno> {
        let Some((parent, name)) = split(&entry.name)? else {
            return self.set_attributes(&self.caller.context.root().inode, entry);
        };
        let directory = self.directory(parent)?;
        let text;
        let mut bytes = Some(bytes);
        let kind = match FileKind::from_mode(entry.mode).ok_or(Errno::EINVAL)? {
            FileKind::Regular => NodeKind::Regular,
            FileKind::Directory => NodeKind::Directory,
            FileKind::Symlink => {
                text = bytes.take().map_or(Ok(Vec::new()), Bytes::text)?;
                NodeKind::Symlink(&text)
            }
            FileKind::Fifo => NodeKind::Fifo,
            FileKind::Socket => NodeKind::Socket,
            FileKind::CharDevice => NodeKind::CharDevice(DeviceNumber::new(entry.device.0, entry.device.1)),
            FileKind::BlockDevice => NodeKind::BlockDevice(DeviceNumber::new(entry.device.0, entry.device.1)),
        };
        if let Ok(there) = directory.lookup(name) {
            if there.kind() == FileKind::Directory && kind == NodeKind::Directory {
                return self.set_attributes(&there, entry);
            }
            if there.kind() == FileKind::Directory {
                directory.remove_directory(name, &there)?;
            } else {
                directory.unlink(name, &there)?;
            }
        }
        match bytes.filter(|_| kind == NodeKind::Regular) {
            Some(bytes) if entry.links > 1 => self.linked(&directory, name, entry, bytes),
            Some(bytes) => {
                let file = self.create(&directory, name, kind, entry)?;
                bytes.put_into(&file)?;
                set_time(&file, entry)
            }
            None => set_time(&*self.create(&directory, name, kind, entry)?, entry),
        }
    }

    /// A regular file with several names: the bytes come with one of them, mostly the last.
    fn linked(&mut self, directory: &Arc<RamInode>, name: &[u8], entry: &Entry, bytes: Bytes<'_>) -> Result<(), Errno> {
        let file = match self.links.get(&entry.identity) {
            None => {
                let inode = self.create(directory, name, NodeKind::Regular, entry)?;
                self.links.insert(entry.identity, inode.clone());
                inode
            }
            Some(first) => {
                let target: Arc<dyn Inode> = first.clone();
                directory.link(name, &target)?;
                first.clone()
            }
        };
        if bytes.size > 0 {
            bytes.put_into(&file)?;
        }
        set_time(&file, entry)
    }

    fn create(
        &self,
        directory: &RamInode,
        name: &[u8],
        kind: NodeKind<'_>,
        entry: &Entry,
    ) -> Result<Arc<RamInode>, Errno> {
        let permissions = Permissions::new(entry.mode);
        let node = NewNode { kind, permissions, uid: Uid::new(entry.uid), gid: Gid::new(entry.gid) };
        directory.create_file(name, &node, &[])
    }

    fn set_attributes(&self, inode: &Arc<dyn Inode>, entry: &Entry) -> Result<(), Errno> {
        inode.change_metadata(&MetadataChange {
            permissions: Some(Permissions::new(entry.mode)),
            uid: Some(Uid::new(entry.uid)),
            gid: Some(Gid::new(entry.gid)),
            modified: Some(entry.modified()),
            accessed: None,
        })
    }

    /// The directory with this path from the root; made, with those above it, if it is missing.
    fn directory(&self, path: &[u8]) -> Result<Arc<RamInode>, Errno> {
        let root = &self.caller.context.root().inode;
        if path.is_empty() {
            return RamInode::of(root).ok_or(Errno::EINVAL);
        }
        let mut absolute = alloc::vec![b'/'];
        absolute.extend_from_slice(path);
        let location = match self.caller.resolve(Start::WorkingDirectory, &absolute, Follow::Yes) {
            Err(Errno::ENOENT) => {
                if let Some((above, _)) = split(path)? {
                    self.directory(above)?;
                }
                let mode = Permissions::new(0o755);
                self.caller.make_inode(Start::WorkingDirectory, &absolute, NodeKind::Directory, mode)?
            }
            found => found?,
        };
        if location.inode.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        RamInode::of(&location.inode).ok_or(Errno::EINVAL)
    }
}

/// Gives an inode the member's time, after everything that would change it.
fn set_time(inode: &RamInode, entry: &Entry) -> Result<(), Errno> {
    inode.change_metadata(&MetadataChange { modified: Some(entry.modified()), ..MetadataChange::default() })
}

/// A directory's path and a name in it.
type DirectoryAndName<'a> = (&'a [u8], &'a [u8]);

/// Cuts a path into directory and name; `None` for the root itself. `EINVAL` a path with `..` or a name too long.
fn split(path: &[u8]) -> Result<Option<DirectoryAndName<'_>>, Errno> {
    if path.split(|&byte| byte == b'/').any(|part| part == b".." || part.len() > crate::LONGEST_NAME) {
        return Err(Errno::EINVAL);
    }
    let mut path = path;
    // `./a`, `/a`, `a/` and `a/.` all mean `a`.
    loop {
        path = match path {
            [b'/', rest @ ..] | [b'.', b'/', rest @ ..] | [rest @ .., b'/'] | [rest @ .., b'/', b'.'] => rest,
            [b'.'] | [] => return Ok(None),
            _ => break,
        };
    }
    Ok(Some(match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }))
}

impl Entry {
    fn modified(&self) -> Timestamp {
        Timestamp { seconds: self.modified_seconds.into(), nanoseconds: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// One archive member as `cpio -H newc` writes it.
    fn member(name: &str, mode: u32, inode: u32, links: u32, data: &[u8]) -> Vec<u8> {
        let mut out = std::format!(
            "070701{inode:08x}{mode:08x}{:08x}{:08x}{links:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
            7,
            8,
            1000,
            data.len(),
            0,
            0,
            4,
            64,
            name.len() + 1,
            0
        )
        .into_bytes();
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn archive(members: &[Vec<u8>]) -> &'static [u8] {
        let mut all = members.concat();
        all.extend(member("TRAILER!!!", 0, 0, 1, b""));
        all.leak()
    }

    fn text(caller: Caller<'_>, path: &str) -> std::string::String {
        std::string::String::from_utf8(testing::read(caller, path).unwrap()).unwrap()
    }

    #[test]
    fn an_archive_becomes_a_tree() {
        testing::with_caller(|caller| {
            let archive = archive(&[
                member(".", 0o40711, 1, 2, b""),
                member("bin", 0o40755, 2, 2, b""),
                member("bin/one", 0o100755, 3, 2, b""),
                member("bin/two", 0o100755, 3, 2, b"shared"),
                member("sbin", 0o120777, 4, 1, b"bin"),
                member("sbin/three", 0o100644, 5, 1, b"through a link"),
                member("dev/console", 0o20600, 6, 1, b""),
            ]);
            assert_eq!(unpack(archive, caller.context), Ok(7));
            assert_eq!(text(caller, "/bin/one"), "shared");
            assert_eq!(text(caller, "/bin/three"), "through a link");
            let one = caller.metadata(Start::WorkingDirectory, b"/bin/one", Follow::Yes).unwrap();
            assert_eq!((one.links, one.uid.raw(), one.gid.raw(), one.modified.seconds), (2, 7, 8, 1000));
            let console = caller.metadata(Start::WorkingDirectory, b"/dev/console", Follow::Yes).unwrap();
            assert_eq!((console.kind, console.represents), (FileKind::CharDevice, DeviceNumber::new(4, 64)));
            let root = caller.metadata(Start::WorkingDirectory, b"/", Follow::Yes).unwrap();
            assert_eq!(root.permissions, Permissions::new(0o711));
        });
    }

    #[test]
    fn a_later_archive_replaces_what_an_earlier_one_has() {
        testing::with_caller(|caller| {
            let mut two = archive(&[member("a", 0o100644, 1, 1, b"old"), member("d/x", 0o100644, 2, 1, b"x")]).to_vec();
            two.resize(two.len().next_multiple_of(512), 0);
            two.extend_from_slice(archive(&[member("a", 0o100644, 1, 1, b"new")]));
            assert_eq!(unpack(two.leak(), caller.context), Ok(3));
            assert_eq!(text(caller, "/a"), "new");
            assert_eq!(text(caller, "/d/x"), "x");
        });
    }

    #[test]
    fn a_packed_archive_is_unpacked() {
        testing::with_caller(|caller| {
            let long: Vec<u8> = (0..100_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
            let packed = gzip::tests::pack(archive(&[
                member("a", 0o100644, 1, 2, b""),
                member("b", 0o100644, 1, 2, &long),
                member("c", 0o120777, 2, 1, b"a"),
                member("d", 0o40755, 3, 1, b""),
                member("d/e", 0o100644, 4, 1, b"content"),
            ]));
            assert_eq!(unpack(packed.leak(), caller.context), Ok(5));
            assert_eq!(text(caller, "/c").as_bytes(), long);
            assert_eq!(text(caller, "/d/e"), "content");
            for path in [&b"/a"[..], b"/d/e"] {
                let metadata = caller.metadata(Start::WorkingDirectory, path, Follow::Yes).unwrap();
                assert_eq!(metadata.modified.seconds, 1000);
            }
        });
    }

    #[test]
    fn paths_upward_and_cut_archives_are_refused() {
        testing::with_caller(|caller| {
            assert_eq!(unpack(archive(&[member("../a", 0o100644, 1, 1, b"")]), caller.context), Err(Errno::EINVAL));
            let whole = archive(&[member("a", 0o100644, 1, 1, b"content")]);
            for length in 1..whole.len() - 3 {
                assert_eq!(unpack(&whole[..length], caller.context), Err(Errno::EINVAL), "cut at {length}");
            }
        });
    }

    proptest! {
        #[test]
        fn random_bytes_do_no_harm(bytes: Vec<u8>, at in 0..400usize, change: u8) {
            testing::with_caller(|caller| {
                let _any = unpack(bytes.leak(), caller.context);
                let members = [member("d", 0o40755, 1, 1, b""), member("d/f", 0o100644, 2, 2, b"bytes")];
                let mut damaged = archive(&members).to_vec();
                let at = at % damaged.len();
                damaged[at] = change;
                let _any = unpack(damaged.leak(), caller.context);
            });
        }

        #[test]
        fn damaged_gzip_does_no_harm(at in 0..200usize, change: u8) {
            testing::with_caller(|caller| {
                let mut packed = gzip::tests::pack(archive(&[member("a", 0o100644, 1, 1, b"content")]));
                let at = at % packed.len();
                packed[at] ^= change;
                let _any = unpack(packed.leak(), caller.context);
            });
        }
    }
}
