//! Directories that are tables: each line names a file and says what makes its text. /proc and /sys are made of them.
//!
//! A *subject* is what a directory shows: the system, a task, a CPU. A [`Directory`] is the table of one kind of
//! subject, with [`Children`] where some names depend on the moment (task numbers, descriptors).

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use base::{Errno, Gid, Uid};
use core::any::Any;
use vfs::{
    DeviceNumber, DirectoryEntry, FileKind, FileOps, FileSystem, FileSystemType, Inode, Link, Metadata, MountRequest,
    OpenRequest, Permissions, RecordFile, RecordSource, StatFs, TextFile, TextSource, Timestamp, next_device,
};

/// What a directory shows.
pub trait Subject: Clone + Send + Sync + 'static {
    /// The first inode number of its files; those of other subjects lie at least 2³² apart.
    fn base(&self) -> u64;

    /// Who owns its directories.
    fn owner(&self) -> (Uid, Gid) {
        (Uid::ROOT, Gid::ROOT)
    }

    /// Who owns its files.
    fn file_owner(&self) -> (Uid, Gid) {
        self.owner()
    }

    /// Whether it is still there; what is not has no names any more.
    fn exists(&self) -> bool {
        true
    }

    /// What its first directory (`id` 0) stands for, for floors above: see [`Inode::subject`].
    fn stands_for(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
}

/// Writes a file's text.
pub type Show<S> = fn(&S, &mut String) -> Result<(), Errno>;
/// Writes one record of a file: see [`RecordSource::next`].
pub type NextRecord<S> = fn(&S, u64, &mut String) -> Result<Option<u64>, Errno>;
/// Takes what is written to a file.
pub type Store<S> = fn(&S, &[u8]) -> Result<(), Errno>;
/// Says where a link leads.
pub type Follow<S> = fn(&S) -> Result<Link, Errno>;
/// Writes the text of a link.
pub type LinkText<S> = fn(&S) -> Result<Vec<u8>, Errno>;

/// Opens a file that is not one text.
pub type OpenFileOf<S> = fn(&S, &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno>;

/// What a name in a table stands for.
pub enum What<S: 'static> {
    /// A file to read.
    Text(Show<S>),
    /// A file to read, of any length.
    Records(NextRecord<S>),
    /// A file to read and write.
    Setting(Show<S>, Store<S>),
    /// A file that is not one text.
    Opened(OpenFileOf<S>),
    /// A symbolic link.
    Link(Follow<S>, LinkText<S>),
    /// A directory of the same subject.
    Directory(&'static Directory<S>),
}

/// One line of a table.
pub struct Line<S: 'static> {
    /// The name.
    pub name: &'static str,
    /// The permission bits.
    pub mode: u32,
    /// What it stands for.
    pub what: What<S>,
}

impl<S> Line<S> {
    /// A text that everybody may read.
    pub const fn text(name: &'static str, show: Show<S>) -> Self {
        Self { name, mode: 0o444, what: What::Text(show) }
    }

    /// A text of any length that everybody may read.
    pub const fn records(name: &'static str, next: NextRecord<S>) -> Self {
        Self { name, mode: 0o444, what: What::Records(next) }
    }

    /// A text that the owner may read.
    pub const fn private(name: &'static str, show: Show<S>) -> Self {
        Self { name, mode: 0o400, what: What::Text(show) }
    }

    /// A text that everybody may read and the owner write.
    pub const fn setting(name: &'static str, show: Show<S>, store: Store<S>) -> Self {
        Self { name, mode: 0o644, what: What::Setting(show, store) }
    }

    /// What the owner may write, and nobody read.
    pub const fn order(name: &'static str, store: Store<S>) -> Self {
        Self { name, mode: 0o200, what: What::Setting(|_, _| Err(Errno::EIO), store) }
    }

    /// What may be read, and is not one text.
    pub const fn opened(name: &'static str, mode: u32, open: OpenFileOf<S>) -> Self {
        Self { name, mode, what: What::Opened(open) }
    }

    /// A symbolic link.
    pub const fn link(name: &'static str, follow: Follow<S>, text: LinkText<S>) -> Self {
        Self { name, mode: 0o777, what: What::Link(follow, text) }
    }

    /// A directory.
    pub const fn directory(name: &'static str, directory: &'static Directory<S>) -> Self {
        Self { name, mode: 0o555, what: What::Directory(directory) }
    }

    fn kind(&self) -> FileKind {
        match self.what {
            What::Text(_) | What::Records(_) | What::Setting(..) | What::Opened(_) => FileKind::Regular,
            What::Link(..) => FileKind::Symlink,
            What::Directory(_) => FileKind::Directory,
        }
    }
}

/// A name that depends on the moment.
pub struct Child {
    /// Its place: names are listed by ascending keys.
    pub key: u32,
    /// The name.
    pub name: String,
    /// The number of its inode.
    pub inode: u64,
    /// What it is.
    pub kind: FileKind,
}

/// The names of a directory that depend on the moment.
pub trait Children<S>: Sync {
    /// The first name whose key is at least `from`.
    fn next(&self, subject: &S, from: u32) -> Option<Child>;

    /// What a name stands for; `ENOENT`. `holder` is the directory, and the parent of what is a directory.
    fn find(&self, subject: &S, name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno>;
}

/// A table, with names that depend on the moment behind it.
pub struct Directory<S: 'static> {
    /// A number that tells the directories of one subject apart, below 2¹⁶. The files in it are counted from it.
    pub id: u16,
    /// The table.
    pub lines: &'static [Line<S>],
    /// The other names.
    pub children: Option<&'static dyn Children<S>>,
}

/// Where an inode is: the number of its file system's device, and the directory that holds it.
#[derive(Clone)]
pub struct Place {
    /// The device number.
    pub device: DeviceNumber,
    /// The directory; none for a root.
    pub parent: Option<Arc<dyn Inode>>,
}

/// A directory as an inode. Any number of these values stand for the same one.
pub struct DirectoryInode<S: Subject> {
    place: Place,
    subject: S,
    table: &'static Directory<S>,
    mode: u32,
}

/// A file or link of a table as an inode.
struct FileInode<S: Subject> {
    place: Place,
    subject: S,
    line: &'static Line<S>,
    number: u64,
}

/// Positions in a directory: `.` and `..`, then the lines, then the other names by key.
const LINES: u64 = 2;
const CHILDREN: u64 = 1 << 32;

impl<S: Subject> DirectoryInode<S> {
    /// The directory of `subject` that `table` describes.
    pub fn new(place: Place, subject: S, table: &'static Directory<S>, mode: u32) -> Arc<Self> {
        Arc::new(Self { place, subject, table, mode })
    }

    fn below(&self, index: usize) -> u64 {
        self.number() + index as u64 + 1
    }

    fn as_parent(&self) -> Arc<dyn Inode> {
        Self::new(self.place.clone(), self.subject.clone(), self.table, self.mode)
    }

    fn number_of(&self, index: usize, line: &Line<S>) -> u64 {
        match line.what {
            What::Directory(table) => self.subject.base() + (u64::from(table.id) << 8),
            _ => self.below(index),
        }
    }
}

fn metadata(place: &Place, number: u64, kind: FileKind, mode: u32, owner: (Uid, Gid)) -> Metadata {
    Metadata::empty(place.device, number, kind, Permissions::new(mode), owner, Timestamp::now())
}

impl<S: Subject> Inode for DirectoryInode<S> {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn number(&self) -> u64 {
        self.subject.base() + (u64::from(self.table.id) << 8)
    }

    fn metadata(&self) -> Metadata {
        metadata(&self.place, self.number(), FileKind::Directory, self.mode, self.subject.owner())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        if !self.subject.exists() {
            return Err(Errno::ENOENT);
        }
        let place = || Place { device: self.place.device, parent: Some(self.as_parent()) };
        let found = self.table.lines.iter().enumerate().find(|(_, line)| line.name.as_bytes() == name);
        if let Some((index, line)) = found {
            let subject = self.subject.clone();
            return Ok(match line.what {
                What::Directory(table) => DirectoryInode::new(place(), subject, table, line.mode),
                _ => Arc::new(FileInode { place: place(), subject, line, number: self.below(index) }),
            });
        }
        let name = core::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
        self.table.children.ok_or(Errno::ENOENT)?.find(&self.subject, name, &place())
    }

    fn parent(&self) -> Option<Arc<dyn Inode>> {
        self.place.parent.clone()
    }

    fn subject(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        if self.table.id == 0 { self.subject.stands_for() } else { None }
    }

    fn read_directory(&self, from: u64, each: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<(), Errno> {
        let above = self.place.parent.as_ref().map_or(self.number(), |parent| parent.number());
        let mut directory =
            |name: &[u8], inode, next| each(&DirectoryEntry { name, inode, kind: FileKind::Directory, next });
        if from == 0 && !directory(b".", self.number(), 1) || from <= 1 && !directory(b"..", above, LINES) {
            return Ok(());
        }
        if !self.subject.exists() {
            return Ok(());
        }
        let first = usize::try_from(from.saturating_sub(LINES)).unwrap_or(usize::MAX);
        for (index, line) in self.table.lines.iter().enumerate().skip(first) {
            let (inode, kind) = (self.number_of(index, line), line.kind());
            let next = LINES + index as u64 + 1;
            if !each(&DirectoryEntry { name: line.name.as_bytes(), inode, kind, next }) {
                return Ok(());
            }
        }
        let Some(children) = self.table.children else { return Ok(()) };
        let mut key = u32::try_from(from.saturating_sub(CHILDREN)).unwrap_or(u32::MAX);
        while let Some(child) = children.next(&self.subject, key) {
            let Child { name, inode, kind, .. } = &child;
            let next = CHILDREN + u64::from(child.key) + 1;
            if !each(&DirectoryEntry { name: name.as_bytes(), inode: *inode, kind: *kind, next }) {
                return Ok(());
            }
            key = child.key.saturating_add(1);
        }
        Ok(())
    }
}

impl<S: Subject> Inode for FileInode<S> {
    fn kind(&self) -> FileKind {
        self.line.kind()
    }

    fn number(&self) -> u64 {
        self.number
    }

    fn metadata(&self) -> Metadata {
        metadata(&self.place, self.number, self.kind(), self.line.mode, self.subject.file_owner())
    }

    fn follow(&self) -> Result<Link, Errno> {
        match self.line.what {
            What::Link(follow, _) => follow(&self.subject),
            _ => Err(Errno::EINVAL),
        }
    }

    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        match self.line.what {
            What::Link(_, text) => text(&self.subject),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open(self: Arc<Self>, request: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        match self.line.what {
            What::Opened(open) => open(&self.subject, request),
            What::Records(_) => Ok(Arc::new(RecordFile::new(Box::new(Open(self))))),
            _ => Ok(Arc::new(TextFile::new(Box::new(Open(self))))),
        }
    }

    fn truncate(&self, _size: u64) -> Result<bool, Errno> {
        // Shells open with O_TRUNC what they write to.
        Ok(false)
    }
}

struct Open<S: Subject>(Arc<FileInode<S>>);

impl<S: Subject> RecordSource for Open<S> {
    fn next(&self, from: u64, out: &mut String) -> Result<Option<u64>, Errno> {
        match self.0.line.what {
            What::Records(next) => next(&self.0.subject, from, out),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl<S: Subject> TextSource for Open<S> {
    fn show(&self, out: &mut String) -> Result<(), Errno> {
        match self.0.line.what {
            What::Text(show) | What::Setting(show, _) => show(&self.0.subject, out),
            _ => Err(Errno::EINVAL),
        }
    }

    fn store(&self, text: &[u8]) -> Result<(), Errno> {
        match self.0.line.what {
            What::Setting(_, store) => store(&self.0.subject, text.trim_ascii()),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// A file that is found, not listed in a table: `line` says what all files of its kind do, but not what it is called.
pub fn free_file<S: Subject>(place: Place, subject: S, line: &'static Line<S>, number: u64) -> Arc<dyn Inode> {
    Arc::new(FileInode { place, subject, line, number })
}

/// A link that is found, not listed in a table: `/proc/PID/fd/N`.
pub struct FreeLink<S> {
    /// Where it is.
    pub place: Place,
    /// What it belongs to.
    pub subject: S,
    /// Its number.
    pub number: u64,
    /// Its permission bits.
    pub mode: u32,
    /// Where it leads.
    pub follow: Follow<S>,
    /// Its text.
    pub text: LinkText<S>,
}

impl<S: Subject> Inode for FreeLink<S> {
    fn kind(&self) -> FileKind {
        FileKind::Symlink
    }

    fn number(&self) -> u64 {
        self.number
    }

    fn metadata(&self) -> Metadata {
        metadata(&self.place, self.number, FileKind::Symlink, self.mode, self.subject.owner())
    }

    fn follow(&self) -> Result<Link, Errno> {
        (self.follow)(&self.subject)
    }

    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        (self.text)(&self.subject)
    }
}

/// A type of file system with one tree, which looks the same at every mount.
pub struct TreeType<S: Subject> {
    name: &'static str,
    magic: u64,
    /// `None`: each mount is a file system of its own, with flags of its own.
    device: Option<DeviceNumber>,
    subject: S,
    root: &'static Directory<S>,
}

impl<S: Subject> TreeType<S> {
    /// The type called `name`, whose root shows `subject`, and of which all mounts are one file system.
    pub fn new(name: &'static str, magic: u64, subject: S, root: &'static Directory<S>) -> Arc<Self> {
        Arc::new(Self { name, magic, device: Some(next_device()), subject, root })
    }

    /// The same, but each mount is a file system of its own: a remount of one leaves the others as they are.
    pub fn of_several(name: &'static str, magic: u64, subject: S, root: &'static Directory<S>) -> Arc<Self> {
        Arc::new(Self { name, magic, device: None, subject, root })
    }
}

impl<S: Subject> FileSystemType for TreeType<S> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn mount(&self, _request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
        let device = self.device.unwrap_or_else(next_device);
        let root = DirectoryInode::new(Place { device, parent: None }, self.subject.clone(), self.root, 0o555);
        Ok(Arc::new(Tree { name: self.name, magic: self.magic, device, root }))
    }
}

struct Tree {
    name: &'static str,
    magic: u64,
    device: DeviceNumber,
    root: Arc<dyn Inode>,
}

impl FileSystem for Tree {
    fn kind(&self) -> &str {
        self.name
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> DeviceNumber {
        self.device
    }

    fn statistics(&self) -> StatFs {
        StatFs { magic: self.magic, block_size: 4096, ..StatFs::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[derive(Clone)]
    struct Numbers(u32);

    impl Subject for Numbers {
        fn base(&self) -> u64 {
            u64::from(self.0) << 32
        }
    }

    struct Below;

    impl Children<Numbers> for Below {
        fn next(&self, subject: &Numbers, from: u32) -> Option<Child> {
            let key = from.max(1);
            let name = key.to_string();
            (key < subject.0).then_some(Child { key, name, inode: u64::from(key) << 32, kind: FileKind::Directory })
        }

        fn find(&self, subject: &Numbers, name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
            let number = name.parse().ok().filter(|&number| (1..subject.0).contains(&number)).ok_or(Errno::ENOENT)?;
            Ok(DirectoryInode::new(holder.clone(), Numbers(number), &TABLE, 0o555))
        }
    }

    fn show(subject: &Numbers, out: &mut String) -> Result<(), Errno> {
        out.push_str(&subject.0.to_string());
        Ok(())
    }

    static TABLE: Directory<Numbers> =
        Directory { id: 0, lines: &[Line::text("value", show), Line::private("secret", show)], children: Some(&Below) };

    fn root() -> Arc<dyn Inode> {
        DirectoryInode::new(Place { device: DeviceNumber::default(), parent: None }, Numbers(5), &TABLE, 0o555)
    }

    #[test]
    fn every_name_is_listed_once_however_the_reading_is_cut() {
        for step in 1..5 {
            let (mut names, mut position, mut ended) = (Vec::new(), 0, false);
            while !ended {
                let mut left = step;
                ended = true;
                let start = position;
                let mut each = |entry: &DirectoryEntry<'_>| {
                    if left == 0 {
                        ended = false;
                        return false;
                    }
                    left -= 1;
                    names.push(String::from_utf8(entry.name.to_vec()).unwrap());
                    position = entry.next;
                    true
                };
                root().read_directory(start, &mut each).unwrap();
            }
            assert_eq!(names, [".", "..", "value", "secret", "1", "2", "3", "4"]);
        }
    }

    #[test]
    fn a_listed_number_is_the_inode_number() {
        let root = root();
        let mut listed = Vec::new();
        root.read_directory(2, &mut |entry| {
            listed.push((entry.name.to_vec(), entry.inode));
            true
        })
        .unwrap();
        for (name, number) in listed {
            assert_eq!(root.lookup(&name).unwrap().number(), number);
        }
    }

    #[test]
    fn what_is_in_no_table_is_not_there() {
        assert!(matches!(root().lookup(b"other"), Err(Errno::ENOENT)));
        assert!(matches!(root().lookup(b"5"), Err(Errno::ENOENT)));
        assert_eq!(root().lookup(b"3").unwrap().parent().unwrap().number(), root().number());
    }
}
