//! One container: a directory of a hierarchy.

use crate::{
    hierarchy::Hierarchy,
    notice::Notice,
    set::ContainerSet,
    state::{Place, State, drop_upwards},
    subsystem::MAX_SUBSYSTEMS,
};
use alloc::{collections::BTreeMap, vec::Vec};
use base::{Gid, Names, Uid, extended::ExtendedAttributes};
use machine::sync::{
    Arc, Mutex, SpinLock,
    atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    rank,
};

/// A container. It is reachable as long as somebody holds it; once removed it only refuses.
pub struct Container {
    serial: u64,
    hierarchy: Arc<Hierarchy>,
    parent: Option<Arc<Container>>,
    pub(crate) place: Arc<Place>,
    pub(crate) states: [Option<Arc<dyn State>>; MAX_SUBSYSTEMS],

    /// The container's lock: held to make or remove a child, to be removed, to take tasks in, and by the files
    /// that ask for it.
    pub(crate) lock: Mutex<()>,
    /// Written with `lock` held; set once.
    pub(crate) removed: AtomicBool,
    pub(crate) lists: SpinLock<Lists>,
    /// As many as `lists.children`; readable under the lock of a set.
    pub(crate) child_count: AtomicUsize,

    /// Sets with live tasks that name this container. Goes up only while something keeps the container from being
    /// removed: its lock, or a task that is inside already.
    live_sets: AtomicUsize,
    /// The same, plus children that are populated; not kept for roots. May be off in the middle of a change, never at rest.
    populated: AtomicI64,

    pub(crate) flags: Flags,
    /// Whether the container waits for the worker already, because it became empty.
    pub(crate) release_pending: AtomicBool,
    /// Agents that run and whose end the removal of this container waits for.
    pub(crate) agents: AtomicUsize,
    pub(crate) attributes: SpinLock<AllAttributes>,
}

/// The flags that a new container copies from its parent.
#[derive(Default)]
pub(crate) struct Flags {
    pub(crate) notify_on_release: AtomicBool,
    pub(crate) auto_remove: AtomicBool,
    pub(crate) clone_children: AtomicBool,
}

impl Flags {
    fn copy(&self) -> Self {
        let copy = |flag: &AtomicBool| AtomicBool::new(flag.load(Relaxed));
        Self {
            notify_on_release: copy(&self.notify_on_release),
            auto_remove: copy(&self.auto_remove),
            clone_children: copy(&self.clone_children),
        }
    }
}

/// What a container lists.
pub(crate) struct Lists {
    /// Children by serial number, that is in order of mkdir.
    pub(crate) children: BTreeMap<u64, Arc<Container>>,
    /// The same by name.
    pub(crate) names: Names<Arc<Container>>,
    /// The sets that name this container. Kept only for containers that are not roots.
    pub(crate) sets: Vec<Arc<ContainerSet>>,
}

impl Lists {
    fn new(seed: u64) -> Self {
        Self { children: BTreeMap::new(), names: Names::new(seed), sets: Vec::new() }
    }
}

/// Mode, owner and times of a directory or a control file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// The permission bits.
    pub mode: u16,
    /// The owner.
    pub uid: Uid,
    /// The group.
    pub gid: Gid,
    /// Last access, modification and change, in ns since the epoch.
    pub times: [u64; 3],
}

/// The attributes of a container's directory, and of those files for which they were changed.
pub(crate) struct AllAttributes {
    pub(crate) directory: Attributes,
    /// Owner, group and times that every file starts with.
    pub(crate) created: Attributes,
    pub(crate) files: BTreeMap<usize, Attributes>,
    /// Extended attributes, of the directory or of one of its files.
    pub(crate) extended: BTreeMap<Option<usize>, ExtendedAttributes>,
}

impl Container {
    pub(crate) fn new(
        serial: u64,
        hierarchy: Arc<Hierarchy>,
        parent: Option<Arc<Container>>,
        place: Arc<Place>,
        states: [Option<Arc<dyn State>>; MAX_SUBSYSTEMS],
        attributes: Attributes,
    ) -> Self {
        let flags = parent.as_ref().map(|parent| parent.flags.copy()).unwrap_or_default();
        let lists = Lists::new(hierarchy.seed);
        Self {
            serial,
            hierarchy,
            parent,
            place,
            states,
            lock: Mutex::new(rank::CONTAINER, ()),
            removed: AtomicBool::new(false),
            lists: SpinLock::new(rank::CONTAINER_LISTS, lists),
            child_count: AtomicUsize::new(0),
            live_sets: AtomicUsize::new(0),
            populated: AtomicI64::new(0),
            flags,
            release_pending: AtomicBool::new(false),
            agents: AtomicUsize::new(0),
            attributes: SpinLock::new(
                rank::CONTAINER_TEXTS,
                AllAttributes {
                    directory: attributes,
                    created: attributes,
                    files: BTreeMap::new(),
                    extended: BTreeMap::new(),
                },
            ),
        }
    }

    /// The number of this container, used for no other since boot.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The hierarchy that it belongs to.
    pub fn hierarchy(&self) -> &Arc<Hierarchy> {
        &self.hierarchy
    }

    /// The container above; none for a root.
    pub fn parent(&self) -> Option<&Arc<Container>> {
        self.parent.as_ref()
    }

    /// Whether it is the root of its hierarchy.
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// Whether it was removed, or its hierarchy dissolved.
    pub fn is_removed(&self) -> bool {
        self.removed.load(SeqCst)
    }

    /// Its name in the parent; empty for a root.
    pub fn name(&self) -> Vec<u8> {
        self.place.name()
    }

    /// The path from the root of the hierarchy: `/`, or `/a/b`.
    pub fn path(&self) -> Vec<u8> {
        self.place.path()
    }

    /// The number of child containers.
    pub fn child_count(&self) -> usize {
        self.child_count.load(SeqCst)
    }

    /// The child containers in order of mkdir.
    pub fn children(&self) -> Vec<Arc<Container>> {
        self.lists.lock().children.values().cloned().collect()
    }

    /// The first child made after the one with serial number `after`, for a directory that is read piece by piece.
    pub fn child_after(&self, after: u64) -> Option<Arc<Container>> {
        self.lists.lock().children.range(after + 1..).next().map(|(_, child)| child.clone())
    }

    /// The child of this name.
    pub fn child(&self, name: &[u8]) -> Option<Arc<Container>> {
        self.lists.lock().names.get(name).cloned()
    }

    /// The state of a subsystem that is bound to the hierarchy.
    pub(crate) fn state(&self, subsystem: usize) -> &dyn State {
        match &self.states[subsystem] {
            Some(state) => &**state,
            None => panic!("subsystem {subsystem} is not bound to hierarchy {}", self.hierarchy.number()),
        }
    }

    /// Whether a live task is in this container itself. Not known for roots, which always have some.
    pub(crate) fn has_live_tasks(&self) -> bool {
        self.live_sets.load(SeqCst) > 0
    }

    /// Whether a live task is in this container or below.
    pub fn is_populated(&self) -> bool {
        self.is_root() || self.populated.load(SeqCst) > 0
    }

    /// Who watches `events`.
    pub fn events(&self) -> &Notice {
        &self.place.events
    }

    /// Whether there is neither a live task nor a child container.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_live_tasks() && self.child_count() == 0
    }

    /// A set that names this container got its first task.
    pub(crate) fn enter(&self) {
        self.live_sets.fetch_add(1, SeqCst);
        self.add_populated(1);
    }

    /// A set that names this container lost its last task. True if the container has none left.
    pub(crate) fn leave(&self) -> bool {
        self.add_populated(-1);
        self.live_sets.fetch_sub(1, SeqCst) == 1
    }

    fn add_populated(&self, change: i64) {
        // Crossing between 0 and 1 is what the parent counts. Two changes that overtake each other on the way up
        // cross the same number of times both ways, so the sum is right at rest.
        let crossing = if change > 0 { 0 } else { 1 };
        // A root always has the kernel's threads and keeps no count.
        let mut container = Some(self);
        while let Some(this) = container
            && !this.is_root()
        {
            if this.populated.fetch_add(change, SeqCst) != crossing {
                return;
            }
            this.place.events.changed();
            container = this.parent.as_deref();
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop_upwards(self.parent.take(), |container| container.parent.take());
    }
}
