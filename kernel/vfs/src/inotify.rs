//! `inotify(7)`: an open file from which events of watched inodes are read.

use crate::{
    FileKind, FileOps, Location, OpenFile, OpenFlags, PollEvents, PollTable,
    anonymous::{self, AnonymousInode},
    by_user::{Share, UserCount},
    interrupted, permission, watch_limits,
    watches::{self, FileEvents},
};
use alloc::{boxed::Box, collections::VecDeque, sync::Arc};
use base::{Credentials, Errno};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};
use linux_raw_sys::ioctl::FIONREAD;
use machine::sync::{IrqLock, rank};
use sched::WaitQueue;

/// The size of `struct inotify_event` without a name. Names are padded with zeros to multiples of it.
const HEAD: usize = 16;

/// An event that waits to be read.
#[derive(PartialEq, Eq)]
struct Waiting {
    descriptor: i32,
    what: FileEvents,
    cookie: u32,
    name: Box<[u8]>,
}

impl Waiting {
    fn name_size(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(HEAD) }
    }

    fn write(&self, out: &mut [u8]) {
        let head = [self.descriptor as u32, self.what.bits(), self.cookie, self.name_size() as u32];
        for (place, word) in out.chunks_exact_mut(4).zip(head) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        out[HEAD..].fill(0);
        out[HEAD..HEAD + self.name.len()].copy_from_slice(&self.name);
    }
}

/// The events of an instance, in the order in which they came.
pub(crate) struct EventQueue {
    events: IrqLock<VecDeque<Waiting>>,
    ready: WaitQueue,
    next: AtomicI32,
    /// So many events wait at most; what comes then is lost, and that is told.
    most_events: usize,
    /// What the user who made the instance watches by all of them.
    watches: UserCount,
    _instance: Share,
}

impl EventQueue {
    /// One more watch. `ENOSPC` the user has too many.
    pub fn take_watch(&self) -> Result<Share, Errno> {
        Share::within(&self.watches, watch_limits::INOTIFY_WATCHES.get()).ok_or(Errno::ENOSPC)
    }

    /// A number for a new watch; not used again by this instance.
    pub fn next_descriptor(&self) -> i32 {
        self.next.fetch_add(1, Relaxed)
    }

    /// Adds an event, unless the last one that waits is just the same.
    pub fn push(&self, descriptor: i32, what: FileEvents, cookie: u32, name: &[u8]) {
        let event = Waiting { descriptor, what, cookie, name: name.into() };
        let mut events = self.events.lock();
        if events.back() == Some(&event) || events.len() > self.most_events {
            return;
        }
        if events.len() == self.most_events {
            let lost = FileEvents::OVERFLOW;
            events.push_back(Waiting { descriptor: -1, what: lost, cookie: 0, name: Box::default() });
        } else {
            events.push_back(event);
        }
        drop(events);
        self.ready.wake_all();
    }

    /// As many whole events as fit; `None` if none waits. `EINVAL`: not even the first fits.
    fn take(&self, buffer: &mut [u8]) -> Option<Result<usize, Errno>> {
        let mut events = self.events.lock();
        events.front()?;
        let mut used = 0;
        while let Some(event) = events.front() {
            let size = HEAD + event.name_size();
            let Some(out) = buffer.get_mut(used..used + size) else { break };
            event.write(out);
            used += size;
            events.pop_front();
        }
        Some(if used == 0 { Err(Errno::EINVAL) } else { Ok(used) })
    }
}

struct Inotify {
    queue: Arc<EventQueue>,
}

impl Drop for Inotify {
    fn drop(&mut self) {
        watches::remove_all(&self.queue);
    }
}

impl FileOps for Inotify {
    fn read(&self, buffer: &mut [u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        match self.queue.take(buffer) {
            Some(result) => result,
            None if flags.contains(OpenFlags::NONBLOCK) => Err(Errno::EAGAIN),
            None => self.queue.ready.wait_until_interruptible(|| self.queue.take(buffer), None).map_err(interrupted)?,
        }
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn tells_changes(&self) -> bool {
        true
    }

    fn ioctl(&self, request: u32, argument: u64) -> Result<i64, Errno> {
        match request {
            FIONREAD => {
                let length = self.queue.events.lock().iter().map(|event| HEAD + event.name_size()).sum();
                anonymous::answer_length(length, argument)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.queue.ready);
        if self.queue.events.lock().is_empty() { PollEvents::empty() } else { PollEvents::READABLE }
    }
}

/// `inotify_init1(2)`. `flags` may hold `NONBLOCK`; the rest is ignored. `EMFILE` the user has too many instances;
/// `ENFILE`.
pub fn inotify(flags: OpenFlags, credentials: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
    let user = credentials.euid;
    let instances = watch_limits::INOTIFY_INSTANCE_USERS.of(user);
    let instance = Share::within(&instances, watch_limits::INOTIFY_INSTANCES.get()).ok_or(Errno::EMFILE)?;
    let queue = Arc::new(EventQueue {
        events: IrqLock::new(rank::FILE_EVENTS, VecDeque::new()),
        ready: WaitQueue::new(),
        next: AtomicI32::new(1),
        most_events: usize::try_from(watch_limits::INOTIFY_EVENTS.get()).unwrap_or(usize::MAX),
        watches: watch_limits::INOTIFY_WATCH_USERS.of(user),
        _instance: instance,
    });
    let inode = Arc::new(AnonymousInode::new("inotify", credentials));
    OpenFile::anonymous(inode, Arc::new(Inotify { queue }), flags & OpenFlags::NONBLOCK, credentials.clone())
}

fn instance(file: &OpenFile) -> Result<&Inotify, Errno> {
    file.operations().ok_or(Errno::EINVAL)
}

/// `inotify_add_watch(2)` with what the path led to: the number of the watch.
///
/// `EINVAL` `file` is no inotify file; `EACCES` the inode may not be read; `ENOTDIR`, `EEXIST` as the flags say;
/// `ENOSPC` the user who made the instance has too many watches.
pub fn inotify_add_watch(
    file: &OpenFile,
    location: &Location,
    mask: FileEvents,
    credentials: &Credentials,
) -> Result<i32, Errno> {
    let inotify = instance(file)?;
    if mask.contains(FileEvents::ONLY_DIRECTORY) && location.inode.kind() != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    permission::check_inode(&*location.inode, credentials, permission::READ)?;
    let key = watches::key_of(location, &*location.inode).ok_or(Errno::EINVAL)?;
    let descriptor = watches::add(&inotify.queue, key, mask)?;
    location.inode.watched();
    Ok(descriptor)
}

/// `inotify_rm_watch(2)`. `EINVAL` `file` is no inotify file or has no such watch.
pub fn inotify_remove_watch(file: &OpenFile, descriptor: i32) -> Result<(), Errno> {
    watches::remove(&instance(file)?.queue, descriptor)
}
