//! Who is told by a signal of what happens to an open file: `F_SETOWN`, `F_SETSIG`, `O_ASYNC`, `F_NOTIFY` of `fcntl(2)`.
//!
//! Who changes a file may hold any lock or be an interrupt, so nothing is sent at once: notices wait in one queue, and a
//! thread of the floor above, which knows signals, takes them from there ([`next`]).

use crate::{FileEvents, FileKind, OpenFile, OpenFlags, PollEvents, PollTable, watches};
use alloc::{
    boxed::Box,
    collections::VecDeque,
    sync::{Arc, Weak},
    vec::Vec,
};
use base::{Errno, Pid, Uid};
use bitflags::bitflags;
use core::{
    any::Any,
    sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed, Ordering::SeqCst},
};
use machine::sync::{IrqLock, SpinLock, rank};
use sched::{Observer, Registration, WaitQueue};

bitflags! {
    /// The events of `F_NOTIFY`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct DirectoryEvents: u32 {
        /// A file was read.
        const ACCESS = 1;
        /// A file was changed.
        const MODIFY = 2;
        /// A name came.
        const CREATE = 4;
        /// A name went.
        const DELETE = 8;
        /// A name was changed.
        const RENAME = 16;
        /// Owner, permissions or times were changed.
        const ATTRIBUTES = 32;
        /// More than once.
        const MULTISHOT = 1 << 31;
    }
}

impl DirectoryEvents {
    fn wanted(self) -> FileEvents {
        let pairs = [
            (Self::ACCESS, FileEvents::ACCESS),
            (Self::MODIFY, FileEvents::MODIFY),
            (Self::CREATE, FileEvents::CREATE | FileEvents::MOVED_TO),
            (Self::DELETE, FileEvents::DELETE | FileEvents::MOVED_FROM),
            (Self::RENAME, FileEvents::MOVED_FROM),
            (Self::ATTRIBUTES, FileEvents::ATTRIBUTES),
        ];
        let asked = pairs.iter().filter(|(event, _)| self.contains(*event));
        asked.fold(FileEvents::empty(), |all, (_, events)| all | *events)
    }
}

/// Whom a file's signals go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnerKind {
    /// One thread (`F_OWNER_TID`).
    Thread,
    /// A process (`F_OWNER_PID`).
    Process,
    /// All of a process group (`F_OWNER_PGRP`).
    Group,
}

/// The owner of a file, and who made it that.
#[derive(Clone)]
pub struct Owner {
    /// What it is.
    pub kind: OwnerKind,
    /// Its number.
    pub number: Pid,
    /// The thread or process itself, so that nobody else gets the signals who has its number later.
    pub holder: Option<Weak<dyn Any + Send + Sync>>,
    /// The real user of who set it.
    pub uid: Uid,
    /// The effective one.
    pub euid: Uid,
}

/// What has happened, with the values of `si_code`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// There is something to read.
    Readable = 1,
    /// There is room to write.
    Writable = 2,
    /// A lease is to be given up, or a directory has changed.
    Message = 3,
    /// The other end is gone.
    HangUp = 6,
}

impl Reason {
    /// `si_band`: the events of `poll(2)` that it stands for.
    pub fn band(self) -> u64 {
        let events = match self {
            Self::Readable => PollEvents::READABLE,
            Self::Writable => PollEvents::WRITABLE.union(PollEvents::WRITE_BAND),
            // Linux adds POLLMSG, which nothing can be polled for.
            Self::Message => return u64::from(PollEvents::READABLE.bits()) | 0x400,
            Self::HangUp => PollEvents::HANG_UP.union(PollEvents::ERROR),
        };
        events.bits().into()
    }
}

/// A signal that is to be sent.
#[derive(Clone)]
pub struct Notice {
    /// To whom.
    pub owner: Owner,
    /// Which one; 0 is SIGIO, without the facts below.
    pub signal: u8,
    /// The descriptor for which it was asked.
    pub descriptor: i32,
    /// Why.
    pub reason: Reason,
}

enum Posted {
    /// Something has happened that can't be seen in the file.
    Told { file: Weak<OpenFile>, descriptor: i32, reason: Reason },
    /// The file is to be looked at.
    Changed(Arc<AsyncObserver>),
}

/// `dir-notify-enable`: whether directories can be watched so.
static DIRECTORIES: AtomicBool = AtomicBool::new(true);

/// Whether `F_NOTIFY` is offered.
pub fn directories_enabled() -> bool {
    DIRECTORIES.load(Relaxed)
}

/// Says whether `F_NOTIFY` is offered. What was asked for stays.
pub fn enable_directories(on: bool) {
    DIRECTORIES.store(on, Relaxed);
}

static POSTED: IrqLock<VecDeque<Posted>> = IrqLock::new(rank::FILE_NOTICES, VecDeque::new());
static ARRIVED: WaitQueue = WaitQueue::new();

/// So many notices wait at most; what comes then is lost, as signals are for which there is no room.
const MOST_WAITING: usize = 16_384;

/// Whether there was room for it.
fn post(posted: Posted) -> bool {
    let mut waiting = POSTED.lock();
    let fits = waiting.len() < MOST_WAITING;
    if fits {
        waiting.push_back(posted);
    }
    drop(waiting);
    ARRIVED.wake_one();
    fits
}

/// Has the owner of a file told. Locks: ranks `FILE_NOTICES` and `WAIT_QUEUE`; may be called from an interrupt.
pub(crate) fn tell(file: Weak<OpenFile>, descriptor: i32, reason: Reason) {
    // What finds no room is lost.
    let _fits = post(Posted::Told { file, descriptor, reason });
}

/// The next notice; sleeps until there is one. Called by one thread of the kernel.
pub fn next() -> Notice {
    loop {
        let notice = match ARRIVED.wait_until(|| POSTED.lock().pop_front()) {
            Posted::Told { file, descriptor, reason } => {
                file.upgrade().and_then(|file| file.notice(descriptor, reason))
            }
            Posted::Changed(observer) => observer.look(),
        };
        if let Some(notice) = notice {
            return notice;
        }
    }
}

/// The queues of a file as its owner knows them.
struct AsyncObserver {
    file: Weak<OpenFile>,
    descriptor: AtomicI32,
    /// Waits to be looked at.
    posted: AtomicBool,
    this: Weak<AsyncObserver>,
}

impl Observer for AsyncObserver {
    fn notify(&self) {
        if !self.posted.swap(true, SeqCst)
            && let Some(this) = self.this.upgrade()
            && !post(Posted::Changed(this))
        {
            self.posted.store(false, SeqCst);
        }
    }
}

impl AsyncObserver {
    /// What there is to tell of the file now.
    fn look(&self) -> Option<Notice> {
        // Before the look: what happens after it is told again.
        self.posted.store(false, SeqCst);
        let file = self.file.upgrade()?;
        let events = file.poll(&mut PollTable::look());
        let reason = if events.contains(PollEvents::IN) {
            Reason::Readable
        } else if events.contains(PollEvents::HANG_UP) {
            // Linux tells the end of a pipe as something to read.
            if file.inode().kind() == FileKind::Fifo { Reason::Readable } else { Reason::HangUp }
        } else if events.intersects(PollEvents::OUT | PollEvents::ERROR) {
            Reason::Writable
        } else {
            return None;
        };
        file.notice(self.descriptor.load(Relaxed), reason)
    }
}

/// Who is told of a file, and whether it is watched.
#[derive(Default)]
struct Subscription {
    owner: Option<Owner>,
    signal: u8,
    watching: Option<(Arc<AsyncObserver>, Vec<Registration>)>,
    /// It is told of what happens in this directory.
    watches_directory: bool,
}

/// What an open file knows of its owner: nothing, for most.
pub(crate) struct Subscriptions(SpinLock<Option<Box<Subscription>>>);

impl Subscriptions {
    pub const fn new() -> Self {
        Self(SpinLock::new(rank::FILE_STATE, None))
    }

    /// Whether the file's end has to be told to the table of watches.
    pub fn watches_directory(&mut self) -> bool {
        self.0.get_mut().as_ref().is_some_and(|own| own.watches_directory)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Subscription) -> R) -> R {
        // Made before the lock is taken, so that nothing is allocated under it.
        let fresh = Box::<Subscription>::default();
        change(self.0.lock().get_or_insert(fresh))
    }
}

impl OpenFile {
    /// `F_SETOWN`: who gets its signals from now on; `None` nobody.
    pub fn set_owner(&self, owner: Option<Owner>) {
        let old = self.subscriptions().change(|own| core::mem::replace(&mut own.owner, owner));
        drop(old);
    }

    /// `F_GETOWN`.
    pub fn owner(&self) -> Option<Owner> {
        self.subscriptions().0.lock().as_ref().and_then(|own| own.owner.clone())
    }

    /// Makes `owner` the owner unless there is one.
    pub(crate) fn set_first_owner(&self, owner: Owner) {
        self.subscriptions().change(|own| {
            own.owner.get_or_insert(owner);
        });
    }

    /// `F_NOTIFY`: `owner`, unless there is another, is told of these events in a directory; no events end that. `EINVAL` that is
    /// not offered; `ENOTDIR`; `ENOMEM`.
    pub fn notify(self: &Arc<Self>, descriptor: i32, events: DirectoryEvents, owner: Owner) -> Result<(), Errno> {
        let wanted = events.wanted();
        if !directories_enabled() {
            return Err(Errno::EINVAL);
        }
        if wanted.is_empty() {
            watches::remove_owner(self);
            return Ok(());
        }
        if self.inode().kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let key = watches::key_of(&self.location(), &**self.inode()).ok_or(Errno::ENOTDIR)?;
        self.set_first_owner(owner);
        self.subscriptions().change(|own| own.watches_directory = true);
        let repeats = events.contains(DirectoryEvents::MULTISHOT);
        let once = if repeats { FileEvents::empty() } else { FileEvents::ONE_SHOT };
        watches::add_owner(self, key, descriptor, wanted | once)?;
        self.inode().watched();
        Ok(())
    }

    /// `F_SETSIG`: the signal that is sent, 0 for SIGIO without further facts.
    pub fn set_signal(&self, signal: u8) {
        self.subscriptions().change(|own| own.signal = signal);
    }

    /// `F_GETSIG`.
    pub fn signal(&self) -> u8 {
        self.subscriptions().0.lock().as_ref().map_or(0, |own| own.signal)
    }

    /// The notice for its owner, if it has one.
    pub(crate) fn notice(&self, descriptor: i32, reason: Reason) -> Option<Notice> {
        let own = self.subscriptions().0.lock();
        let own = own.as_ref()?;
        Some(Notice { owner: own.owner.clone()?, signal: own.signal, descriptor, reason })
    }

    /// `O_ASYNC` by `F_SETFL` or `FIOASYNC`: whether the owner is told from now on when the file can be read or written.
    /// `ENOTTY` nothing can be told of such a file.
    pub fn set_async(self: &Arc<Self>, descriptor: i32, on: bool) -> Result<(), Errno> {
        if !self.tells_changes() {
            return Err(Errno::ENOTTY);
        }
        self.set_flag(OpenFlags::ASYNC, on);
        if !on {
            let old = self.subscriptions().change(|own| own.watching.take());
            drop(old);
            return Ok(());
        }
        let known = self.subscriptions().change(|own| {
            let (observer, _) = own.watching.as_ref()?;
            observer.descriptor.store(descriptor, Relaxed);
            Some(())
        });
        if known.is_some() {
            return Ok(());
        }
        let observer = Arc::new_cyclic(|this| AsyncObserver {
            file: Arc::downgrade(self),
            descriptor: AtomicI32::new(descriptor),
            posted: AtomicBool::new(false),
            this: this.clone(),
        });
        let shared: Arc<dyn Observer> = observer.clone();
        let mut registrations = Vec::new();
        // What is there already is not news.
        let _found = self.poll(&mut PollTable::watch_for(&shared, &mut registrations));
        let old = self.subscriptions().change(|own| own.watching.replace((observer, registrations)));
        drop(old);
        Ok(())
    }
}
