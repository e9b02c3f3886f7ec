//! The mount tree: what is mounted where.

mod change;

pub(crate) use change::{Change, Graft};

use crate::{
    DeviceNumber, FileSystem, Location, Mount, MountFlags, PollEvents, PollTable, Registry,
    mount::SystemFlags,
    mount_text::{self, View},
    mounted_system::{System, Systems},
    propagation::PeerGroups,
};
use alloc::{
    collections::BTreeSet,
    string::String,
    sync::{Arc, Weak},
    vec::Vec,
};
use base::Errno;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use machine::sync::{Mutex, rank};
use sched::WaitQueue;

/// How many mounts there may be, unless `/proc/sys/fs/mount-max` says otherwise.
const MOST_MOUNTS: u32 = 100_000;

/// A mount tree, shared by the tasks that see it.
pub struct Namespace {
    registry: Arc<Registry>,
    root: Arc<Mount>,
    /// Held while the tree changes, or is read as a whole.
    tree: Mutex<Tree>,
    /// How often it has changed; it may wrap.
    changes: AtomicU32,
    watchers: WaitQueue,
    most_mounts: AtomicU32,
}

struct Tree {
    groups: PeerGroups<Weak<Mount>>,
    /// How many there are, those that have no place yet among them.
    mounts: usize,
    systems: Systems,
    /// The tops of trees that have no place yet.
    detached: BTreeSet<u32>,
}

impl Namespace {
    /// A tree with `root` at its root.
    pub fn new(registry: Arc<Registry>, root: Arc<dyn FileSystem>) -> Arc<Self> {
        let root = Mount::new(root, b"rootfs", MountFlags::RELATIVE_TIMES, System::new(SystemFlags::empty()));
        let mut tree =
            Tree { groups: PeerGroups::new(), mounts: 0, systems: Systems::default(), detached: BTreeSet::new() };
        tree.enter(&root);
        Arc::new(Self {
            registry,
            root,
            tree: Mutex::new(rank::MOUNTS, tree),
            changes: AtomicU32::new(0),
            watchers: WaitQueue::new(),
            most_mounts: AtomicU32::new(MOST_MOUNTS),
        })
    }

    /// The file system types and drivers that mounts and device files here use.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The root directory of the tree: the top of what is mounted on its root.
    pub fn root(&self) -> Location {
        self.root.clone().top().cross_mounts()
    }

    /// How many mounts there may be.
    pub fn most_mounts(&self) -> u32 {
        self.most_mounts.load(Relaxed)
    }

    /// Sets how many mounts there may be; those that there are stay.
    pub fn set_most_mounts(&self, most: u32) {
        self.most_mounts.store(most, Relaxed);
    }

    /// How often the tree has changed, for [`Namespace::poll_changes`].
    pub fn change_count(&self) -> u32 {
        self.changes.load(SeqCst)
    }

    /// What an open file that shows the tree answers to `poll`: `seen` is the count of changes that it has told of.
    pub fn poll_changes(&self, seen: &AtomicU32, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.watchers);
        let now = self.change_count();
        let news =
            if seen.swap(now, Relaxed) == now { PollEvents::empty() } else { PollEvents::PRIORITY | PollEvents::ERROR };
        PollEvents::READABLE | news
    }

    /// Tells those who watch.
    pub(crate) fn tell_of_change(&self) {
        self.changes.fetch_add(1, SeqCst);
        self.watchers.wake_all();
    }

    /// The right to change the tree; one holder at a time.
    pub(crate) fn change(&self) -> Change<'_> {
        Change { namespace: self, tree: self.tree.lock() }
    }

    /// Whether something is mounted on an inode, seen through any of the mounts of its file system.
    pub(crate) fn has_mount_on(&self, location: &Location) -> bool {
        let Some(mount) = location.mount.as_ref().filter(|mount| mount.is_one_of_many()) else {
            return location.is_mount_point();
        };
        let _tree = self.tree.lock();
        let device = mount.file_system().device();
        let mut others = self.root.tree().into_iter().filter(|other| other.file_system().device() == device);
        others.any(|other| other.child_at(&*location.inode).is_some())
    }

    /// A mount of the file system with this device number.
    pub fn find_mount(&self, device: DeviceNumber) -> Option<Arc<Mount>> {
        let _tree = self.tree.lock();
        self.root.tree().into_iter().find(|mount| mount.file_system().device() == device)
    }

    /// All mounts that can be seen from `root` down, in order of their numbers.
    fn visible(&self, root: &Location) -> Vec<View> {
        let tree = self.tree.lock();
        let mut list = Vec::new();
        for mount in self.root.tree() {
            let Ok(Some(path)) = mount_text::path_from(&mount.clone().top(), Some(root)) else { continue };
            let role = tree.groups.role(mount.number());
            let from = role.master.and_then(|_| tree.nearest_visible_master(&mount, root));
            list.push(View { mount, path, role, from });
        }
        drop(tree);
        list.sort_by_key(|view| view.mount.number());
        list
    }

    fn text(&self, root: &Location, line: fn(&View, &mut String) -> core::fmt::Result) -> Result<String, Errno> {
        let mut text = String::new();
        for view in self.visible(root) {
            line(&view, &mut text).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(text)
    }

    /// The text of `/proc/<pid>/mounts` as seen from `root`. `ENOMEM`.
    pub fn mounts_text(&self, root: &Location) -> Result<String, Errno> {
        self.text(root, mount_text::mounts_line)
    }

    /// The text of `/proc/<pid>/mountinfo` as seen from `root`. `ENOMEM`.
    pub fn mountinfo_text(&self, root: &Location) -> Result<String, Errno> {
        self.text(root, mount_text::mountinfo_line)
    }

    /// The text of `/proc/<pid>/mountstats` as seen from `root`. `ENOMEM`.
    pub fn mountstats_text(&self, root: &Location) -> Result<String, Errno> {
        self.text(root, mount_text::mountstats_line)
    }
}

impl Tree {
    /// Counts a mount that comes into the tree.
    fn enter(&mut self, mount: &Mount) {
        self.mounts += 1;
        self.systems.enter(&**mount.file_system(), mount.system());
    }

    /// Counts a mount that goes out of it.
    fn leave(&mut self, mount: &Mount) {
        self.groups.leave(mount.number());
        self.mounts -= 1;
        self.systems.leave(&**mount.file_system(), mount.system());
    }

    /// The nearest group above a slave that has a mount to be seen from `root`.
    fn nearest_visible_master(&self, mount: &Mount, root: &Location) -> Option<u32> {
        let seen = |peer: &Weak<Mount>| peer.upgrade().is_some_and(|peer| peer.top().is_below(root));
        self.groups.masters(mount.number()).find(|(_, peers)| peers.iter().any(seen)).map(|(group, _)| group)
    }
}
