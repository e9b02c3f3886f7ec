//! The mount tree: which file system is seen where.
//!
//! A mount holds its children strongly and its parent weakly; everything that uses a mount (an open file, a working
//! directory, a walk under way) holds it by `Arc`, so the count says whether it is busy, and a detached tree goes
//! when its last user does.

use crate::{FileKind, FileSystem, Inode, MetadataChange, Registry, StatFs, mount_text, permission};
use alloc::{
    string::String,
    sync::{Arc, Weak},
    vec::Vec,
};
use base::{Capabilities, Credentials, Errno};
use bitflags::bitflags;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use machine::sync::{Mutex, MutexGuard, SpinLock, rank};

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
        /// `MS_NOATIME`: reading leaves the access time alone.
        const NO_ACCESS_TIMES = 1024;
    }
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
        let same_mount = match (&self.mount, &other.mount) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (None, None) => true,
            _ => false,
        };
        same_mount && same_inode(&*self.inode, &*other.inode)
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
        if same_inode(&*mount.root, &*self.inode) { mount.place() } else { None }
    }

    /// Whether another file system is mounted on this very directory or file.
    pub(crate) fn is_mount_point(&self) -> bool {
        self.mount.as_ref().is_some_and(|mount| mount.child_at(&*self.inode).is_some())
    }

    /// Whether it lies in `mount` or in something mounted on that.
    pub(crate) fn is_within(&self, mount: &Arc<Mount>) -> bool {
        let mut at = self.mount.clone();
        while let Some(current) = at {
            if Arc::ptr_eq(&current, mount) {
                return true;
            }
            at = current.place().and_then(|place| place.mount);
        }
        false
    }

    /// `EROFS` if the mount is read-only and the inode is something that it keeps from changing.
    pub(crate) fn check_writable(&self) -> Result<(), Errno> {
        let kept = matches!(self.inode.kind(), FileKind::Regular | FileKind::Directory | FileKind::Symlink);
        if kept && self.mount_flags().contains(MountFlags::READ_ONLY) { Err(Errno::EROFS) } else { Ok(()) }
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

    /// What `statfs` shows of the file system.
    pub fn statistics(&self) -> StatFs {
        self.mount.as_ref().map_or_else(StatFs::default, |mount| mount.file_system().statistics())
    }

    /// The directory above, crossing mounts upward and downward; `None` at the top of the tree and in a removed
    /// directory.
    pub(crate) fn parent(&self) -> Option<Location> {
        let mut at = self.clone();
        while let Some(point) = at.mount_point() {
            at = point;
        }
        let inode = at.inode.parent()?;
        Some(Location { mount: at.mount, inode }.cross_mounts())
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
    source: Vec<u8>,
    flags: AtomicU32,
    /// How many `children` there are, so that a walk through a mount without any takes no lock.
    child_count: AtomicUsize,
    links: SpinLock<Links>,
}

#[derive(Default)]
struct Links {
    place: Option<(Weak<Mount>, Arc<dyn Inode>)>,
    children: Vec<Child>,
}

struct Child {
    /// The number of the inode that it covers, which its place keeps alive.
    number: u64,
    mount: Arc<Mount>,
}

/// The next number of a mount.
static NEXT_NUMBER: AtomicU32 = AtomicU32::new(1);

impl Mount {
    pub(crate) fn new(
        file_system: Arc<dyn FileSystem>,
        root: Arc<dyn Inode>,
        source: &[u8],
        flags: MountFlags,
    ) -> Arc<Self> {
        Arc::new(Self {
            number: NEXT_NUMBER.fetch_add(1, Relaxed),
            file_system,
            root,
            source: source.to_vec(),
            flags: AtomicU32::new(flags.bits()),
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

    /// The device word.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// The flags now.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_truncate(self.flags.load(Relaxed))
    }

    pub(crate) fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Relaxed);
    }

    /// Whether `place` is the root of another mount that shows the same part of the same file system.
    pub(crate) fn is_seen_at(&self, place: &Location) -> bool {
        place.mount.as_ref().is_some_and(|mount| {
            mount.file_system.device() == self.file_system.device()
                && same_inode(&*mount.root, &*self.root)
                && same_inode(&*mount.root, &*place.inode)
        })
    }

    /// Its root, as a location.
    pub(crate) fn top(self: Arc<Self>) -> Location {
        Location { inode: self.root.clone(), mount: Some(self) }
    }

    /// Where it is mounted; `None` at the top of a tree.
    pub(crate) fn place(&self) -> Option<Location> {
        let links = self.links.lock();
        let (parent, inode) = links.place.as_ref()?;
        Some(Location { mount: Some(parent.upgrade()?), inode: inode.clone() })
    }

    /// The mounts on this one, in order of mounting.
    pub(crate) fn children(&self) -> Vec<Arc<Mount>> {
        self.links.lock().children.iter().map(|child| child.mount.clone()).collect()
    }

    /// Whether anything is mounted on it.
    pub(crate) fn has_children(&self) -> bool {
        self.child_count.load(Acquire) != 0
    }

    pub(crate) fn child_at(&self, inode: &dyn Inode) -> Option<Arc<Mount>> {
        if !self.has_children() {
            return None;
        }
        let links = self.links.lock();
        // The last one mounted is on top, but a second mount on the same place lies on the first one's root.
        let number = inode.number();
        links.children.iter().find(|child| child.number == number).map(|child| child.mount.clone())
    }
}

/// A mount tree, shared by the tasks that see it.
pub struct Namespace {
    registry: Arc<Registry>,
    root: Arc<Mount>,
    /// Held while the tree changes.
    changes: Mutex<()>,
}

impl Namespace {
    /// A tree with `root` at its root.
    pub fn new(registry: Arc<Registry>, root: Arc<dyn FileSystem>) -> Arc<Self> {
        let inode = root.root();
        let root = Mount::new(root, inode, b"rootfs", MountFlags::empty());
        Arc::new(Self { registry, root, changes: Mutex::new(rank::MOUNTS, ()) })
    }

    /// The file system types and drivers that mounts and device files here use.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The root directory of the tree: the top of what is mounted on its root.
    pub fn root(&self) -> Location {
        self.root.clone().top().cross_mounts()
    }

    /// The right to change the tree; one holder at a time.
    pub(crate) fn change(&self) -> Change<'_> {
        Change { _changing: self.changes.lock() }
    }

    /// All mounts that can be seen from `root` down, parents first.
    fn visible(&self, root: &Location) -> Vec<(Arc<Mount>, Vec<u8>)> {
        let mut list = Vec::new();
        let mut pending = Vec::from([self.root.clone()]);
        while let Some(mount) = pending.pop() {
            pending.extend(mount.children());
            let place = mount.place().unwrap_or_else(|| mount.clone().top());
            let path = if mount.place().is_none() || root.mount.as_ref().is_some_and(|at| Arc::ptr_eq(at, &mount)) {
                Some(Vec::from(*b"/"))
            } else {
                mount_text::path_below(&place, root)
            };
            if let Some(path) = path {
                list.push((mount, path));
            }
        }
        list.sort_by_key(|(mount, _)| mount.number);
        list
    }

    /// The text of `/proc/<pid>/mounts` as seen from `root`. `ENOMEM`.
    pub fn mounts_text(&self, root: &Location) -> Result<String, Errno> {
        let mut text = String::new();
        for (mount, path) in self.visible(root) {
            mount_text::mounts_line(&mount, &path, &mut text).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(text)
    }

    /// The text of `/proc/<pid>/mountinfo` as seen from `root`. `ENOMEM`.
    pub fn mountinfo_text(&self, root: &Location) -> Result<String, Errno> {
        let mut text = String::new();
        for (mount, path) in self.visible(root) {
            mount_text::mountinfo_line(&mount, &path, &mut text).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(text)
    }
}

/// The right to change a mount tree.
pub(crate) struct Change<'a> {
    _changing: MutexGuard<'a, ()>,
}

impl Change<'_> {
    /// Puts `mount` on top of `place`. `EINVAL` if `place` is in no mount.
    pub(crate) fn attach(&self, mount: Arc<Mount>, place: &Location) -> Result<(), Errno> {
        let parent = place.mount.as_ref().ok_or(Errno::EINVAL)?;
        mount.links.lock().place = Some((Arc::downgrade(parent), place.inode.clone()));
        let mut links = parent.links.lock();
        links.children.push(Child { number: place.inode.number(), mount });
        parent.child_count.store(links.children.len(), Release);
        Ok(())
    }

    /// Takes `mount` off its place, with all that is mounted on it, and gives it back. `EINVAL` at the top of the tree.
    pub(crate) fn detach(&self, mount: &Arc<Mount>) -> Result<Arc<Mount>, Errno> {
        let (parent, _at) = mount.links.lock().place.take().ok_or(Errno::EINVAL)?;
        let parent = parent.upgrade().ok_or(Errno::EINVAL)?;
        let mut links = parent.links.lock();
        let index = links.children.iter().position(|child| Arc::ptr_eq(&child.mount, mount)).ok_or(Errno::EINVAL)?;
        let child = links.children.remove(index);
        parent.child_count.store(links.children.len(), Release);
        drop(links);
        Ok(child.mount)
    }

    /// A new mount of what `from` shows, and with `recursive` of what is mounted below. `EINVAL` if `from` is in no mount.
    pub(crate) fn copy(&self, from: &Location, recursive: bool) -> Result<Arc<Mount>, Errno> {
        let original = from.mount.as_ref().ok_or(Errno::EINVAL)?;
        let new = |mount: &Mount, root: &Arc<dyn Inode>| {
            Mount::new(mount.file_system.clone(), root.clone(), &mount.source, mount.flags())
        };
        let top = new(original, &from.inode);
        if !recursive {
            return Ok(top);
        }
        // Pairs of an original and its copy whose children are still to be copied.
        let mut pending = Vec::from([(original.clone(), top.clone())]);
        while let Some((original, copy)) = pending.pop() {
            for child in original.children() {
                let Some(place) = child.place() else { continue };
                let below = Arc::ptr_eq(&copy, &top).then(|| mount_text::path_from(&place, Some(from)));
                if matches!(below, Some(Ok(None) | Err(_))) {
                    continue;
                }
                let child_copy = new(&child, &child.root);
                self.attach(child_copy.clone(), &Location { mount: Some(copy.clone()), inode: place.inode })?;
                pending.push((child, child_copy));
            }
        }
        Ok(top)
    }

    /// Whether anybody but the tree and `held` holders of the caller's own uses the mount or what is mounted on it.
    pub(crate) fn is_busy(&self, mount: &Arc<Mount>, held: usize) -> bool {
        mount.has_children() || Arc::strong_count(mount) > held + 1
    }
}
