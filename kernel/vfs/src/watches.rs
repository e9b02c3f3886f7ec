//! Who watches which inode, and what is told to them: the table behind `inotify(7)` and `F_NOTIFY`.
//!
//! A watch is known by the number of its inode, not by the inode: a file system may make inode values anew at each
//! look, and a watch keeps nothing alive. While nobody watches anything, an event costs one load.

use crate::{
    DeviceNumber, FileKind, Inode, Location, OpenFile,
    by_user::Share,
    inotify::EventQueue,
    notice::{self, Reason},
    open_file::Name,
};
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use base::Errno;
use bitflags::bitflags;
use core::sync::atomic::{
    AtomicU32, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use machine::sync::{IrqLock, rank};

bitflags! {
    /// The events of `inotify(7)` and the flags of a watch.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct FileEvents: u32 {
        /// Read.
        const ACCESS = 0x1;
        /// Written, or the content has changed otherwise.
        const MODIFY = 0x2;
        /// Owner, permissions, times or number of names changed.
        const ATTRIBUTES = 0x4;
        /// What was open for writing was closed.
        const CLOSE_WRITE = 0x8;
        /// What was open for reading only was closed.
        const CLOSE_NO_WRITE = 0x10;
        /// Opened.
        const OPEN = 0x20;
        /// A name went from the directory to another place.
        const MOVED_FROM = 0x40;
        /// A name came to the directory.
        const MOVED_TO = 0x80;
        /// A name was made in the directory.
        const CREATE = 0x100;
        /// A name was removed from the directory.
        const DELETE = 0x200;
        /// The watched inode itself is gone.
        const DELETE_SELF = 0x400;
        /// The watched inode itself has another name.
        const MOVE_SELF = 0x800;
        /// Told only: events were lost.
        const OVERFLOW = 0x4000;
        /// Told only: the watch has ended.
        const IGNORED = 0x8000;
        /// Only a directory may be watched.
        const ONLY_DIRECTORY = 0x0100_0000;
        /// A symbolic link at the end of the path itself is meant.
        const NO_FOLLOW = 0x0200_0000;
        /// No events of children that have no name in the directory any more.
        const EXCLUDE_UNLINKED = 0x0400_0000;
        /// Only a new watch may be made.
        const MASK_CREATE = 0x1000_0000;
        /// An existing watch gets more events.
        const MASK_ADD = 0x2000_0000;
        /// Told only: the event is one of a directory.
        const IS_DIRECTORY = 0x4000_0000;
        /// The first event ends the watch.
        const ONE_SHOT = 0x8000_0000;
    }
}

impl FileEvents {
    /// All that can be asked for.
    const WANTED: Self = Self::from_bits_truncate(0xfff);
    /// What a watch keeps of its flags.
    const KEPT: Self = Self::WANTED.union(Self::ONE_SHOT).union(Self::EXCLUDE_UNLINKED);
}

/// An inode: the device of its file system and its number there.
pub(crate) type Key = (DeviceNumber, u64);

/// The inode of a location; none for what lies in no file system.
pub(crate) fn key_of(location: &Location, inode: &dyn Inode) -> Option<Key> {
    let mount = location.mount.as_ref()?;
    Some((mount.file_system().device(), inode.number()))
}

struct Watch {
    told: Told,
    descriptor: i32,
    mask: FileEvents,
}

/// Who is told.
enum Told {
    /// Who reads an inotify file.
    Reader { queue: Arc<EventQueue>, _share: Share },
    /// The owner of an open directory.
    Owner(Weak<OpenFile>),
}

impl Watch {
    fn is_of(&self, queue: &EventQueue) -> bool {
        matches!(&self.told, Told::Reader { queue: own, .. } if core::ptr::eq(&**own, queue))
    }

    fn is_of_owner(&self, file: &OpenFile) -> bool {
        matches!(&self.told, Told::Owner(own) if core::ptr::eq(own.as_ptr(), file))
    }

    fn tell(&self, what: FileEvents, event: &Event<'_>) {
        match &self.told {
            Told::Reader { queue, .. } => queue.push(self.descriptor, what, event.cookie, event.name),
            Told::Owner(file) => notice::tell(file.clone(), self.descriptor, Reason::Message),
        }
    }
}

/// The watches of all instances.
struct Watches {
    count: AtomicUsize,
    /// Those with `EXCLUDE_UNLINKED`.
    excluding: AtomicUsize,
    by_inode: IrqLock<BTreeMap<Key, Vec<Watch>>>,
    cookies: AtomicU32,
}

static WATCHES: Watches = Watches {
    count: AtomicUsize::new(0),
    excluding: AtomicUsize::new(0),
    by_inode: IrqLock::new(rank::WATCHES, BTreeMap::new()),
    cookies: AtomicU32::new(1),
};

/// Whether anybody watches anything.
#[inline]
pub(crate) fn any() -> bool {
    WATCHES.count.load(Relaxed) != 0
}

/// Whether anybody wants to know whether children still have a name.
pub(crate) fn any_excluding() -> bool {
    WATCHES.excluding.load(Relaxed) != 0
}

/// A number that ties the two events of a rename together.
pub(crate) fn cookie() -> u32 {
    WATCHES.cookies.fetch_add(1, Relaxed)
}

/// One event, as it is told to those who watch `key`: the inode itself, or (with a name) the directory.
pub(crate) struct Event<'a> {
    pub what: FileEvents,
    pub name: &'a [u8],
    pub cookie: u32,
    /// Whether the child has its name in the directory still.
    pub linked: bool,
}

/// Tells those who watch what is here, and those who watch the directory in which it has this name.
#[cold]
pub(crate) fn tell_named(location: &Location, name: Option<&Name>, what: FileEvents) {
    let inode = &*location.inode;
    let Some(key) = key_of(location, inode) else { return };
    let what = if inode.kind() == FileKind::Directory { what | FileEvents::IS_DIRECTORY } else { what };
    // What is mounted has the name of its place, which is in another file system.
    let is_top = location.mount.as_ref().is_some_and(|mount| mount.root().number() == inode.number());
    if let Some(Name { directory, name }) = name.filter(|_| !is_top) {
        let has_name = || directory.lookup(name).is_ok_and(|child| child.number() == inode.number());
        let linked = !any_excluding() || has_name();
        post((key.0, directory.number()), &Event { what, name, cookie: 0, linked });
    }
    post(key, &Event { what, name: &[], cookie: 0, linked: true });
}

/// Tells those who watch `key`. Locks: ranks `WATCHES` to `WAIT_QUEUE` and what observers of those take; may be
/// called from an interrupt.
pub(crate) fn post(key: Key, event: &Event<'_>) {
    if !any() {
        return;
    }
    let mut table = WATCHES.by_inode.lock();
    let Some(watches) = table.get_mut(&key) else { return };
    let ends = event.what.contains(FileEvents::DELETE_SELF);
    let mut index = 0;
    while let Some(watch) = watches.get(index) {
        let shown = event.what & (FileEvents::WANTED | FileEvents::IS_DIRECTORY);
        let wanted = watch.mask.intersects(event.what & FileEvents::WANTED);
        let hidden = !event.linked && watch.mask.contains(FileEvents::EXCLUDE_UNLINKED);
        let told = wanted && !hidden;
        if told {
            watch.tell(shown, event);
        }
        if ends || told && watch.mask.contains(FileEvents::ONE_SHOT) {
            end(watches.swap_remove(index));
        } else {
            index += 1;
        }
    }
    if watches.is_empty() {
        table.remove(&key);
    }
}

/// Tells that something has happened to the inode `number` of the file system `device`; with a name: to the child of
/// that name of this directory. For file systems whose files change by themselves; what goes through the calls on
/// paths and open files is told by these. Locks as [`WaitQueue::wake_all`](sched::WaitQueue::wake_all), and one of
/// lower rank; may be called from an interrupt.
pub fn tell(device: DeviceNumber, number: u64, what: FileEvents, name: &[u8]) {
    post((device, number), &Event { what, name, cookie: 0, linked: true });
}

/// The end of a watch is told to its instance.
fn end(watch: Watch) {
    if let Told::Reader { queue, .. } = &watch.told {
        queue.push(watch.descriptor, FileEvents::IGNORED, 0, &[]);
    }
    count(&watch, false);
}

fn count(watch: &Watch, more: bool) {
    let change = |counter: &AtomicUsize| {
        if more {
            counter.fetch_add(1, SeqCst)
        } else {
            counter.fetch_sub(1, SeqCst)
        };
    };
    change(&WATCHES.count);
    if watch.mask.contains(FileEvents::EXCLUDE_UNLINKED) {
        change(&WATCHES.excluding);
    }
}

/// Watches `key` for this instance, or changes what it watches there. `EEXIST` with `MASK_CREATE`; `ENOSPC` its user has too
/// many watches.
pub(crate) fn add(queue: &Arc<EventQueue>, key: Key, mask: FileEvents) -> Result<i32, Errno> {
    let mut table = WATCHES.by_inode.lock();
    let known = table.get_mut(&key).and_then(|watches| watches.iter_mut().find(|watch| watch.is_of(queue)));
    if let Some(watch) = known {
        if mask.contains(FileEvents::MASK_CREATE) {
            return Err(Errno::EEXIST);
        }
        count(watch, false);
        let old = if mask.contains(FileEvents::MASK_ADD) { watch.mask } else { FileEvents::empty() };
        watch.mask = old | mask & FileEvents::KEPT;
        count(watch, true);
        return Ok(watch.descriptor);
    }
    let share = queue.take_watch()?;
    let mask = mask & FileEvents::KEPT;
    let told = Told::Reader { queue: queue.clone(), _share: share };
    let watch = Watch { told, descriptor: queue.next_descriptor(), mask };
    let descriptor = watch.descriptor;
    count(&watch, true);
    table.entry(key).or_default().push(watch);
    Ok(descriptor)
}

/// Ends one watch of this instance. `EINVAL` if it has no such watch.
pub(crate) fn remove(queue: &EventQueue, descriptor: i32) -> Result<(), Errno> {
    let mut table = WATCHES.by_inode.lock();
    let of = |watch: &Watch| watch.is_of(queue) && watch.descriptor == descriptor;
    let found = table.iter_mut().find_map(|(key, watches)| Some((*key, watches.iter().position(of)?)));
    let (key, index) = found.ok_or(Errno::EINVAL)?;
    let Some(watches) = table.get_mut(&key) else { return Err(Errno::EINVAL) };
    end(watches.swap_remove(index));
    if watches.is_empty() {
        table.remove(&key);
    }
    Ok(())
}

/// Has the owner of an open directory told of `mask` there, besides what it is told already. `ENOMEM`.
pub(crate) fn add_owner(file: &Arc<OpenFile>, key: Key, descriptor: i32, mask: FileEvents) -> Result<(), Errno> {
    let mut table = WATCHES.by_inode.lock();
    let watches = table.entry(key).or_default();
    if let Some(watch) = watches.iter_mut().find(|watch| watch.is_of_owner(file)) {
        watch.descriptor = descriptor;
        // Who asked for more than one event gets more than one.
        let once = watch.mask & mask & FileEvents::ONE_SHOT;
        watch.mask = (watch.mask | mask).difference(FileEvents::ONE_SHOT) | once;
        return Ok(());
    }
    watches.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    let watch = Watch { told: Told::Owner(Arc::downgrade(file)), descriptor, mask };
    count(&watch, true);
    watches.push(watch);
    Ok(())
}

/// Ends what the owner of an open directory is told.
pub(crate) fn remove_owner(file: &OpenFile) {
    remove_where(|watch| watch.is_of_owner(file));
}

/// Ends all watches of an instance that is closed.
pub(crate) fn remove_all(queue: &EventQueue) {
    remove_where(|watch| watch.is_of(queue));
}

fn remove_where(ends: impl Fn(&Watch) -> bool) {
    let mut table = WATCHES.by_inode.lock();
    table.retain(|_, watches| {
        watches.retain(|watch| {
            let gone = ends(watch);
            if gone {
                count(watch, false);
            }
            !gone
        });
        !watches.is_empty()
    });
}
