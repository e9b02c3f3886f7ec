//! Mounts, which make up the mount tree ([`crate::Namespace`]): which file system is seen where.
//!
//! A mount holds its children strongly and its parent weakly; everything that uses a mount (an open file, a working
//! directory, a walk under way) holds it by `Arc`, so the count says whether it is busy, and one that was taken out of
//! the tree goes when its last user does.

mod access;
mod place;

pub(crate) use access::Writer;
use place::Place;
pub(crate) use place::{Covered, FreePlace};

use crate::{
    FileEvents, FileKind, FileSystem, Inode, MetadataChange, StatFs, mounted_system::System, open_file::Name,
    permission, watches,
};
use alloc::{sync::Arc, vec::Vec};
use base::{Capabilities, Credentials, Errno};
use bitflags::bitflags;
use core::sync::atomic::{
    AtomicU32, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst,
};
use machine::sync::{SpinLock, rank};

bitflags! {
    /// Flags of one mount, with the values of `mount(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MountFlags: u32 {
        /// `MS_RDONLY`.
        const READ_ONLY = 1;
        /// `MS_NOSUID`: set-ID bits mean nothing.
        const NO_SET_ID = 2;
        /// `MS_NODEV`: device files can't be opened.
        const NO_DEVICES = 4;
        /// `MS_NOEXEC`: nothing can be executed.
        const NO_EXECUTE = 8;
        /// `MS_NOSYMFOLLOW`: symbolic links are not followed.
        const NO_LINKS = 256;
        /// `MS_NOATIME`: reading leaves the access time alone.
        const NO_ACCESS_TIMES = 1024;
        /// `MS_NODIRATIME`: so does reading a directory.
        const NO_DIRECTORY_TIMES = 2048;
        /// `MS_RELATIME`: the access time is noted only where it would be older than a change, or than a day.
        const RELATIVE_TIMES = 1 << 21;
    }
}

impl MountFlags {
    /// Which of them say when access times are noted.
    pub const TIMES: Self = Self::NO_ACCESS_TIMES.union(Self::NO_DIRECTORY_TIMES).union(Self::RELATIVE_TIMES);
}

bitflags! {
    /// Flags of a file system, which all its mounts that were bound from one share, with the values of `mount(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct SystemFlags: u32 {
        /// `MS_RDONLY`.
        const READ_ONLY = 1;
        /// `MS_SYNCHRONOUS`.
        const SYNCHRONOUS = 16;
        /// `MS_MANDLOCK`; there are no such locks any more, on Linux neither.
        const MANDATORY_LOCKS = 64;
        /// `MS_DIRSYNC`.
        const SYNCHRONOUS_DIRECTORIES = 128;
        /// `MS_LAZYTIME`.
        const LAZY_TIMES = 1 << 25;
    }
}

/// A location, and what a file there is called: only directories know where they are.
#[derive(Clone)]
pub struct Named {
    /// The location.
    pub location: Location,
    /// For those who watch its directory, and to find a file's directory; the root of a mount has that of its place.
    pub(crate) name: Option<Name>,
}

/// An inode, seen through a mount: what a path leads to.
#[derive(Clone)]
pub struct Location {
    /// The mount; `None` for what no path leads to, such as a pipe.
    pub mount: Option<Arc<Mount>>,
    /// The inode.
    pub inode: Arc<dyn Inode>,
}

impl Location {
    /// Whether both are the same inode seen through the same mount.
    pub fn is_same(&self, other: &Location) -> bool {
        self.has_mount(other.mount.as_ref()) && same_inode(&*self.inode, &*other.inode)
    }

    /// The flags of the mount; none where there is no mount.
    pub fn mount_flags(&self) -> MountFlags {
        self.mount.as_ref().map_or(MountFlags::empty(), |mount| mount.flags())
    }

    /// The topmost file system mounted here, or the location itself.
    pub(crate) fn cross_mounts(mut self) -> Self {
        while let Some(child) = self.mount.as_ref().and_then(|mount| mount.child_at(&*self.inode)) {
            self = child.top();
        }
        self
    }

    /// Where the root of this mount is mounted, if the location is such a root.
    pub(crate) fn mount_point(&self) -> Option<Location> {
        let mount = self.mount.as_ref()?;
        if !same_inode(&*mount.root, &*self.inode) {
            return None;
        }
        let links = mount.links.lock();
        let place = links.place.as_ref()?;
        Some(Location { mount: Some(place.parent.upgrade()?), inode: place.inode().clone() })
    }

    /// Whether another file system is mounted on this very directory or file.
    pub(crate) fn is_mount_point(&self) -> bool {
        self.mount.as_ref().is_some_and(|mount| mount.child_at(&*self.inode).is_some())
    }

    /// Whether it lies in `mount` or in something mounted on that.
    pub(crate) fn is_within(&self, mount: &Arc<Mount>) -> bool {
        let mut levels = core::iter::successors(self.mount.clone(), |mount| mount.parent());
        levels.any(|level| Arc::ptr_eq(&level, mount))
    }

    /// Whether it is `top`, a directory, or can be reached from there by going down.
    pub(crate) fn is_below(&self, top: &Location) -> bool {
        let mut at = Named { location: self.clone(), name: None };
        while !at.location.has_mount(top.mount.as_ref()) {
            let Some(place) = at.location.mount.as_ref().and_then(|mount| mount.place()) else { return false };
            at = place;
        }
        at.is_inside(&*top.inode)
    }

    fn has_mount(&self, mount: Option<&Arc<Mount>>) -> bool {
        match (&self.mount, mount) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (None, None) => true,
            _ => false,
        }
    }

    /// Whether it is the root of its mount.
    pub fn is_mount_root(&self) -> bool {
        self.mount.as_ref().is_some_and(|mount| same_inode(&*mount.root, &*self.inode))
    }

    /// Whether no path can lead here any more, because its name is gone.
    pub(crate) fn is_removed(&self) -> bool {
        let Some(mount) = &self.mount else { return false };
        if same_inode(&*mount.root, &*self.inode) || same_inode(&*mount.file_system.root(), &*self.inode) {
            return false;
        }
        let is_outside = self.inode.kind() == FileKind::Directory && self.inode.parent().is_none();
        is_outside || self.inode.metadata().links == 0
    }

    /// `EROFS` if the mount is read-only and the inode is something that it keeps from changing.
    pub(crate) fn check_writable(&self) -> Result<(), Errno> {
        let kept = matches!(self.inode.kind(), FileKind::Regular | FileKind::Directory | FileKind::Symlink);
        let closed = self.mount.as_ref().is_some_and(|mount| mount.is_read_only());
        if kept && closed { Err(Errno::EROFS) } else { Ok(()) }
    }

    /// Takes set-ID bits away after a write by somebody without CAP_FSETID.
    pub(crate) fn drop_set_id(&self, who: &Credentials) -> Result<(), Errno> {
        if who.has(Capabilities::FSETID) {
            return Ok(());
        }
        let ownership = self.inode.ownership();
        let kept = permission::without_set_id(ownership.permissions);
        if kept == ownership.permissions {
            return Ok(());
        }
        self.inode.change_metadata(&MetadataChange { permissions: Some(kept), ..MetadataChange::default() })
    }

    /// What `statfs` shows of the file system and the mount; of what no path leads to, what Linux shows of the file systems
    /// that it keeps for such.
    pub fn statistics(&self) -> StatFs {
        if let Some(mount) = &self.mount {
            return mount.statistics();
        }
        let magic = match self.inode.kind() {
            FileKind::Fifo => 0x5049_5045,
            FileKind::Socket => 0x534f_434b,
            _ if self.inode.label().is_some() => 0x0904_1934,
            _ => 0x0102_1994,
        };
        StatFs { magic, block_size: 4096, flags: StatFs::HAS_FLAGS, ..StatFs::default() }
    }

    /// Notes that the inode was read, as the mount wants it.
    #[inline]
    pub(crate) fn note_access(&self) {
        if let Some(mount) = &self.mount {
            self.inode.note_access(mount);
        }
    }

    /// The directory above, crossing mounts upward and downward; `None` at the top of the tree and in a removed
    /// directory.
    pub(crate) fn parent(&self) -> Option<Location> {
        let mut at = self.clone();
        while let Some(point) = at.mount_point() {
            at = point;
        }
        if at.is_mount_root() {
            return None;
        }
        let inode = at.inode.parent()?;
        Some(Location { mount: at.mount, inode }.cross_mounts())
    }
}

impl Named {
    /// Whether the inode is the directory `top` of its file system or lies in it, or is `top` itself.
    fn is_inside(&self, top: &dyn Inode) -> bool {
        let inode = &self.location.inode;
        if same_inode(&**inode, top) {
            return true;
        }
        let first = match inode.kind() {
            FileKind::Directory => inode.parent(),
            _ => self.name.as_ref().map(|name| name.directory.clone()),
        };
        core::iter::successors(first, |directory| directory.parent()).any(|directory| same_inode(&*directory, top))
    }

    /// Tells those who watch what is here, or its directory.
    pub(crate) fn tell(&self, what: FileEvents) {
        if watches::any() {
            watches::tell_named(&self.location, self.name.as_ref(), what);
        }
    }

    /// Goes up to what is mounted on top here.
    pub(crate) fn cross_mounts(self) -> Self {
        Self { location: self.location.cross_mounts(), name: self.name }
    }
}

/// Whether two inodes of one file system are the same.
fn same_inode(one: &dyn Inode, two: &dyn Inode) -> bool {
    core::ptr::addr_eq(one, two) || one.number() == two.number()
}

/// One appearance of a file system in a mount tree.
pub struct Mount {
    number: u32,
    file_system: Arc<dyn FileSystem>,
    root: Arc<dyn Inode>,
    /// What the root is called, if it is no directory.
    root_name: Option<Name>,
    source: Vec<u8>,
    flags: AtomicU32,
    /// How many files are open for writing through it.
    writers: AtomicUsize,
    system: Arc<System>,
    /// How many `children` there are, so that a walk through a mount without any takes no lock.
    child_count: AtomicUsize,
    links: SpinLock<Links>,
}

#[derive(Default)]
struct Links {
    place: Option<Place>,
    children: Vec<Child>,
}

struct Child {
    /// The number of the inode that it covers, which its place keeps alive.
    number: u64,
    mount: Arc<Mount>,
    /// How often a walk has come here; it may wrap.
    visits: u32,
    /// How often, when it was asked to expire.
    expiring: Option<u32>,
}

/// The next number of a mount.
static NEXT_NUMBER: AtomicU32 = AtomicU32::new(1);

impl Mount {
    /// A mount of a whole file system, in no tree yet.
    pub(crate) fn new(
        file_system: Arc<dyn FileSystem>,
        source: &[u8],
        flags: MountFlags,
        system: Arc<System>,
    ) -> Arc<Self> {
        Arc::new(Self {
            number: NEXT_NUMBER.fetch_add(1, Relaxed),
            root: file_system.root(),
            root_name: None,
            file_system,
            source: source.to_vec(),
            flags: AtomicU32::new(flags.bits()),
            writers: AtomicUsize::new(0),
            system,
            child_count: AtomicUsize::new(0),
            links: SpinLock::new(rank::FILE_STATE, Links::default()),
        })
    }

    /// Another mount of the same file system that shows `root`, in no tree yet.
    pub(crate) fn copy(&self, root: &Named) -> Arc<Self> {
        let inode = root.location.inode.clone();
        let root_name = if same_inode(&*inode, &*self.root) { &self.root_name } else { &root.name };
        Arc::new(Self {
            number: NEXT_NUMBER.fetch_add(1, Relaxed),
            file_system: self.file_system.clone(),
            root_name: root_name.clone().filter(|_| inode.kind() != FileKind::Directory),
            root: inode,
            source: self.source.clone(),
            flags: AtomicU32::new(self.flags.load(Relaxed)),
            writers: AtomicUsize::new(0),
            system: self.system.clone(),
            child_count: AtomicUsize::new(0),
            links: SpinLock::new(rank::FILE_STATE, Links::default()),
        })
    }

    /// The number of the mount, as in `/proc/<pid>/mountinfo`.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The file system.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.file_system
    }

    /// The directory (or file) of the file system that is seen at the mount point.
    pub fn root(&self) -> &Arc<dyn Inode> {
        &self.root
    }

    /// What the root is called, if it is no directory.
    pub(crate) fn root_name(&self) -> Option<&Name> {
        self.root_name.as_ref()
    }

    /// The device word.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// The flags now.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_truncate(self.flags.load(SeqCst))
    }

    pub(crate) fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), SeqCst);
    }

    /// The flags of the file system now.
    pub fn system_flags(&self) -> SystemFlags {
        self.system.flags()
    }

    /// What it shares with other mounts of its file system.
    pub(crate) fn system(&self) -> &Arc<System> {
        &self.system
    }

    /// Whether the tree has other mounts of the same file system.
    pub(crate) fn is_one_of_many(&self) -> bool {
        self.system.mounts() > 1
    }

    /// Whether `place` is the root of another mount that shows the same part of the same file system.
    pub(crate) fn is_seen_at(&self, place: &Location) -> bool {
        place.mount.as_ref().is_some_and(|mount| {
            mount.file_system.device() == self.file_system.device()
                && same_inode(&*mount.root, &*self.root)
                && same_inode(&*mount.root, &*place.inode)
        })
    }

    /// Whether `place`, in a mount of the same file system, is seen in this one too.
    pub(crate) fn shows(&self, place: &Named) -> bool {
        place.is_inside(&*self.root)
    }

    /// Its root, as a location.
    pub(crate) fn top(self: Arc<Self>) -> Location {
        Location { inode: self.root.clone(), mount: Some(self) }
    }

    /// Where it is mounted; `None` at the top of the tree and outside of it.
    pub(crate) fn place(&self) -> Option<Named> {
        let links = self.links.lock();
        let place = links.place.as_ref()?;
        let location = Location { mount: Some(place.parent.upgrade()?), inode: place.inode().clone() };
        Some(Named { location, name: place.name.clone() })
    }

    /// The mount that it is mounted on.
    pub(crate) fn parent(&self) -> Option<Arc<Mount>> {
        self.links.lock().place.as_ref()?.parent.upgrade()
    }

    /// Whether it is mounted on the root of its parent, and so covers it whole.
    pub(crate) fn covers_parent(&self) -> bool {
        self.place().is_some_and(|place| place.location.is_mount_root())
    }

    /// The mounts on this one, in order of mounting.
    pub(crate) fn children(&self) -> Vec<Arc<Mount>> {
        self.links.lock().children.iter().map(|child| child.mount.clone()).collect()
    }

    /// Whether anything is mounted on it.
    pub(crate) fn has_children(&self) -> bool {
        self.child_count.load(Acquire) != 0
    }

    /// What is mounted on `inode`, one of its own: at most one mount; the next lies on that one's root.
    pub(crate) fn child_at(&self, inode: &dyn Inode) -> Option<Arc<Mount>> {
        if !self.has_children() {
            return None;
        }
        let number = inode.number();
        let mut links = self.links.lock();
        let child = links.children.iter_mut().find(|child| child.number == number)?;
        child.visits = child.visits.wrapping_add(1);
        Some(child.mount.clone())
    }

    /// Whether nobody but the walk that led here has come to `child` since this was asked last.
    pub(crate) fn expires(&self, child: &Arc<Mount>) -> bool {
        let mut links = self.links.lock();
        let Some(child) = links.children.iter_mut().find(|other| Arc::ptr_eq(&other.mount, child)) else {
            return false;
        };
        let before = child.expiring.replace(child.visits);
        before.is_some_and(|visits| child.visits.wrapping_sub(visits) <= 1)
    }

    /// Mounts `child` on `inode`, where nothing is mounted, or only what `child` then has on its own root.
    pub(crate) fn put(self: &Arc<Self>, child: Arc<Mount>, inode: &Arc<dyn Inode>, name: Option<Name>) {
        let place = Place::new(self, inode, name);
        let old = child.links.lock().place.replace(place);
        let number = inode.number();
        let mut links = self.links.lock();
        let new = Child { number, mount: child, visits: 0, expiring: None };
        // One that was there is in another place already, under the new one.
        let covered = links.children.iter_mut().find(|child| child.number == number);
        let replaced = match covered {
            Some(covered) => Some(core::mem::replace(covered, new)),
            None => {
                links.children.push(new);
                None
            }
        };
        self.child_count.store(links.children.len(), Release);
        drop(links);
        drop((replaced, old));
    }

    /// Takes `child` off. The tree is then whole but for what was mounted on it.
    pub(crate) fn take(&self, child: &Arc<Mount>) {
        let mut links = self.links.lock();
        let index = links.children.iter().position(|other| Arc::ptr_eq(&other.mount, child));
        let taken = index.map(|index| links.children.remove(index));
        self.child_count.store(links.children.len(), Release);
        drop(links);
        let old = child.links.lock().place.take();
        drop((taken, old));
    }

    /// This mount and all below it, each before what is mounted on it.
    pub(crate) fn tree(self: &Arc<Self>) -> Vec<Arc<Mount>> {
        let mut all = Vec::new();
        let mut pending = Vec::from([self.clone()]);
        while let Some(mount) = pending.pop() {
            pending.extend(mount.children().into_iter().rev());
            all.push(mount);
        }
        all
    }
}
