//! epoll.

use crate::{
    FileOps, OpenFile, OpenFlags, PollEvents, PollTable,
    anonymous::AnonymousInode,
    by_user::{Share, UserCount},
    interrupted,
    several::{UNASKED, is_past},
    watch_limits,
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
    vec::Vec,
};
use base::{Credentials, Errno};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use machine::sync::{IrqLock, Mutex, SpinLock, rank};
use memory::heap;
use sched::{Observer, Registration, WaitError, WaitQueue};

/// What `epoll_ctl(2)` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpollChange {
    /// `EPOLL_CTL_ADD`.
    Add(EpollEvent),
    /// `EPOLL_CTL_DEL`.
    Remove,
    /// `EPOLL_CTL_MOD`.
    Modify(EpollEvent),
}

/// `struct epoll_event`: event bits (with `EPOLLET`, `EPOLLONESHOT`, `EPOLLEXCLUSIVE`) and the user's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EpollEvent {
    /// Event bits.
    pub events: u32,
    /// The user's word.
    pub data: u64,
}

impl EpollEvent {
    const EDGE: u32 = 1 << 31;
    const ONE_SHOT: u32 = 1 << 30;
    const EXCLUSIVE: u32 = 1 << 28;

    fn is_exclusive(self) -> bool {
        self.events & Self::EXCLUSIVE != 0
    }

    fn wanted(self) -> PollEvents {
        PollEvents::from_bits_truncate(self.events) | UNASKED
    }
}

/// So few items are not looked through for closed files.
const FEWEST: usize = 16;
/// Epoll files that contain each other may be so deep.
const DEEPEST: usize = 5;
/// The flags beside the event bits.
const BEHAVIOUR: u32 = EpollEvent::EDGE | EpollEvent::ONE_SHOT | EpollEvent::EXCLUSIVE | 1 << 29;

/// What may be asked for together with `EPOLLEXCLUSIVE`: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLWAKEUP, EPOLLET.
const BESIDE_EXCLUSIVE: u32 = 0x1 | 0x4 | 0x8 | 0x10 | 1 << 29 | EpollEvent::EDGE | EpollEvent::EXCLUSIVE;

/// Held while one epoll file is put into another: two at once could close a ring that neither sees.
static NESTING: Mutex<()> = Mutex::new(rank::FILE_OBJECT, ());

/// An epoll file.
struct Epoll {
    items: SpinLock<Items>,
    /// What the user who made it watches by all epoll files.
    watches: UserCount,
    ready: Arc<Ready>,
    /// Held by who is being told, so that nothing is told twice.
    turn: Mutex<()>,
}

/// The files that an epoll file watches.
#[derive(Default)]
struct Items {
    /// By descriptor and address of the open file: a descriptor may be closed and used again.
    all: BTreeMap<(i32, usize), Arc<Item>>,
    /// With so many, those are dropped whose files were closed.
    full: usize,
}

impl Items {
    /// Adds an item; says how many there are now. `EEXIST`; `ENOMEM` `ready` has no room for it.
    fn add(&mut self, key: (i32, usize), item: Arc<Item>, ready: &Ready) -> Result<(), Errno> {
        if self.all.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        if self.all.len() >= self.full {
            self.all.retain(|_, item| item.file.strong_count() > 0);
            // Looked through once for as many additions as there are items, it costs each of them the same.
            self.full = 2 * self.all.len().max(FEWEST);
        }
        let mut list = ready.list.lock();
        let more = (self.all.len() + 2).saturating_sub(list.len());
        list.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
        drop(list);
        self.all.insert(key, item);
        Ok(())
    }
}

/// The items that may have something to tell. Reached by wake-ups, also from interrupts.
struct Ready {
    /// Has room for all items, so that a wake-up never allocates.
    list: IrqLock<VecDeque<Arc<Item>>>,
    /// Who is in `epoll_wait`.
    waiting: WaitQueue,
    /// Who polls the epoll file itself.
    queue: WaitQueue,
}

/// A file that an epoll file watches.
struct Item {
    file: Weak<OpenFile>,
    event: SpinLock<EpollEvent>,
    ready: Arc<Ready>,
    /// Whether it is in the list. Changes with the list locked.
    listed: AtomicBool,
    registrations: SpinLock<Vec<Registration>>,
    _watch: Share,
}

impl Ready {
    fn push(&self, item: &Arc<Item>) {
        let mut list = self.list.lock();
        if !item.listed.swap(true, Relaxed) {
            list.push_back(item.clone());
        }
    }

    /// Wakes all who may want to know of what was pushed.
    fn wake(&self) {
        self.waiting.wake_all();
        self.queue.wake_all();
    }

    fn pop(&self) -> Option<Arc<Item>> {
        let mut list = self.list.lock();
        let item = list.pop_front()?;
        item.listed.store(false, Relaxed);
        Some(item)
    }
}

/// An item as its file's queues know it.
struct ItemObserver(Weak<Item>);

impl Observer for ItemObserver {
    fn notify(&self) {
        if let Some(item) = self.0.upgrade() {
            item.ready.push(&item);
            item.ready.wake();
        }
    }
}

impl Item {
    /// What its file has ready of what is wanted; `None` if the file was closed.
    fn look(&self) -> Option<(EpollEvent, PollEvents)> {
        let file = self.file.upgrade()?;
        let event = *self.event.lock();
        if event.events & !BEHAVIOUR == 0 {
            // A one-shot that has fired waits to be armed again.
            return Some((event, PollEvents::empty()));
        }
        Some((event, file.poll(&mut PollTable::look()) & event.wanted()))
    }
}

impl Epoll {
    /// One more watched file for the user; those that were closed don't count. `ENOSPC`.
    fn take_watch(&self) -> Result<Share, Errno> {
        let take = || Share::within(&self.watches, watch_limits::EPOLL_WATCHES.get());
        take().map_or_else(
            || {
                self.items.lock().all.retain(|_, item| item.file.strong_count() > 0);
                take().ok_or(Errno::ENOSPC)
            },
            Ok,
        )
    }

    fn add(&self, descriptor: i32, target: &Arc<OpenFile>, event: EpollEvent) -> Result<(), Errno> {
        let key = (descriptor, Arc::as_ptr(target).addr());
        if self.items.lock().all.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        let watch = self.take_watch()?;
        let item = Arc::new(Item {
            file: Arc::downgrade(target),
            event: SpinLock::new(rank::FILE_STATE, event),
            ready: self.ready.clone(),
            listed: AtomicBool::new(false),
            registrations: SpinLock::new(rank::FILE_STATE, Vec::new()),
            _watch: watch,
        });
        self.items.lock().add(key, item.clone(), &self.ready)?;
        let observer: Arc<dyn Observer> = Arc::new(ItemObserver(Arc::downgrade(&item)));
        let mut registrations = Vec::new();
        let found = target.poll(&mut PollTable::watch_for(&observer, &mut registrations));
        *item.registrations.lock() = registrations;
        self.announce(&item, found & event.wanted());
        Ok(())
    }

    fn announce(&self, item: &Arc<Item>, found: PollEvents) {
        if !found.is_empty() {
            self.ready.push(item);
            self.ready.wake();
        }
    }

    fn modify(&self, descriptor: i32, target: &Arc<OpenFile>, event: EpollEvent) -> Result<(), Errno> {
        let key = (descriptor, Arc::as_ptr(target).addr());
        let item = self.items.lock().all.get(&key).cloned().ok_or(Errno::ENOENT)?;
        let mut own = item.event.lock();
        if own.is_exclusive() {
            return Err(Errno::EINVAL);
        }
        *own = event;
        drop(own);
        self.announce(&item, target.poll(&mut PollTable::look()) & event.wanted());
        Ok(())
    }

    fn remove(&self, descriptor: i32, target: &Arc<OpenFile>) -> Result<(), Errno> {
        let key = (descriptor, Arc::as_ptr(target).addr());
        let item = self.items.lock().all.remove(&key).ok_or(Errno::ENOENT)?;
        self.forget(&item);
        Ok(())
    }

    /// Ends the watching of an item that is in the table no more.
    fn forget(&self, item: &Arc<Item>) {
        let registrations = core::mem::take(&mut *item.registrations.lock());
        drop(registrations);
        let mut list = self.ready.list.lock();
        list.retain(|listed| !Arc::ptr_eq(listed, item));
        item.listed.store(false, Relaxed);
    }

    /// Hands ready items to `tell`, at most `most` and each once; says how many. What it refuses, and what it was not asked
    /// for, stays ready. The error of `tell`, if that was the first; `ENOMEM`.
    fn collect(&self, most: usize, tell: &mut dyn FnMut(EpollEvent) -> Result<(), Errno>) -> Result<usize, Errno> {
        let _turn = self.turn.lock();
        let mut left = self.ready.list.lock().len();
        let mut again = heap::try_vec(left.min(most))?;
        let (mut told, mut result) = (0, Ok(()));
        while told < most && left > 0 {
            left -= 1;
            // Off the list before the look: what happens after it puts the item back.
            let Some(item) = self.ready.pop() else { break };
            let Some((event, found)) = item.look() else {
                self.items.lock().all.retain(|_, other| !Arc::ptr_eq(other, &item));
                self.forget(&item);
                continue;
            };
            if found.is_empty() {
                continue;
            }
            result = tell(EpollEvent { events: found.bits(), data: event.data });
            if result.is_err() {
                again.push(item);
                break;
            }
            told += 1;
            if event.events & EpollEvent::ONE_SHOT != 0 {
                item.event.lock().events &= BEHAVIOUR;
            } else if event.events & EpollEvent::EDGE == 0 {
                again.push(item);
            }
        }
        again.iter().for_each(|item| self.ready.push(item));
        if told == 0 {
            result?;
        }
        if !self.ready.list.lock().is_empty() {
            // Who found the list empty meanwhile is to look again.
            self.ready.waiting.wake_all();
        }
        Ok(told)
    }

    /// Whether any item really has something to tell. All stay in the list, for others look at it too.
    fn has_ready(&self) -> bool {
        let item = |place: usize| self.ready.list.lock().get(place).cloned();
        let mut items = (0..).map_while(item);
        items.any(|item| item.look().is_some_and(|(_, found)| !found.is_empty()))
    }

    /// How many epoll files lie in each other from this one down; `ELOOP` if one of them is `other` or they are too many.
    fn depth(&self, other: &Epoll, above: usize) -> Result<(), Errno> {
        if core::ptr::eq(self, other) || above >= DEEPEST {
            return Err(Errno::ELOOP);
        }
        let inner: Vec<Arc<OpenFile>> = self.items.lock().all.values().filter_map(|item| item.file.upgrade()).collect();
        inner.iter().filter_map(|file| file.operations::<Epoll>()).try_for_each(|epoll| epoll.depth(other, above + 1))
    }
}

impl FileOps for Epoll {
    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.ready.queue);
        if self.has_ready() { PollEvents::READABLE } else { PollEvents::empty() }
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        for item in core::mem::take(&mut self.items.get_mut().all).into_values() {
            drop(core::mem::take(&mut *item.registrations.lock()));
        }
        // The list and its items hold each other.
        let list = core::mem::take(&mut *self.ready.list.lock());
        drop(list);
    }
}

/// `epoll_create1(2)`.
pub fn epoll(credentials: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
    let ready = Ready {
        list: IrqLock::new(rank::OBSERVER, VecDeque::new()),
        waiting: WaitQueue::new(),
        queue: WaitQueue::new(),
    };
    let epoll = Epoll {
        items: SpinLock::new(rank::FILE_STATE, Items::default()),
        watches: watch_limits::EPOLL_USERS.of(credentials.uid),
        ready: Arc::new(ready),
        turn: Mutex::new(rank::EPOLL_TURN, ()),
    };
    let inode = Arc::new(AnonymousInode::new("eventpoll", credentials));
    OpenFile::anonymous(inode, Arc::new(epoll), OpenFlags::READ_WRITE, credentials.clone())
}

fn epoll_of(file: &OpenFile) -> Result<&Epoll, Errno> {
    file.operations::<Epoll>().ok_or(Errno::EINVAL)
}

/// `epoll_ctl(2)` on `target`, open under `descriptor`. `EPERM` a file that can't be polled; `EINVAL` no epoll file or
/// itself, `EPOLLEXCLUSIVE` for an epoll file, with what it doesn't go with, or in or after a change; `ELOOP` a ring of
/// epoll files; `EEXIST`, `ENOENT`; `ENOSPC` the user who made the epoll file watches too many files; `ENOMEM`.
pub fn epoll_control(
    epoll: &OpenFile,
    descriptor: i32,
    target: &Arc<OpenFile>,
    change: EpollChange,
) -> Result<(), Errno> {
    if !target.can_poll() {
        return Err(Errno::EPERM);
    }
    let epoll = epoll_of(epoll)?;
    let inner = target.operations::<Epoll>();
    if inner.is_some_and(|inner| core::ptr::eq(inner, epoll)) {
        return Err(Errno::EINVAL);
    }
    match change {
        EpollChange::Add(event)
            if event.is_exclusive() && (inner.is_some() || event.events & !BESIDE_EXCLUSIVE != 0) =>
        {
            Err(Errno::EINVAL)
        }
        EpollChange::Modify(event) if event.is_exclusive() => Err(Errno::EINVAL),
        EpollChange::Add(event) => {
            let _nesting = inner.map(|_| NESTING.lock());
            if let Some(inner) = inner {
                inner.depth(epoll, 1)?;
            }
            epoll.add(descriptor, target, event)
        }
        EpollChange::Modify(event) => epoll.modify(descriptor, target, event),
        EpollChange::Remove => epoll.remove(descriptor, target),
    }
}

/// `epoll_wait(2)`: hands up to `most` events to `tell` and says how many. `EINVAL` no epoll file or none asked for, `EINTR`,
/// `ENOMEM`; the error of `tell`, if it refused the first one.
pub fn epoll_wait(
    epoll: &OpenFile,
    most: usize,
    tell: &mut dyn FnMut(EpollEvent) -> Result<(), Errno>,
    deadline: Option<u64>,
) -> Result<usize, Errno> {
    let epoll = epoll_of(epoll)?;
    if most == 0 {
        return Err(Errno::EINVAL);
    }
    loop {
        let count = epoll.collect(most, tell)?;
        if count > 0 || is_past(deadline) {
            return Ok(count);
        }
        let listed = || (!epoll.ready.list.lock().is_empty()).then_some(());
        match epoll.ready.waiting.wait_until_interruptible(listed, deadline) {
            Ok(()) | Err(WaitError::TimedOut) => {}
            Err(error) => return Err(interrupted(error)),
        }
    }
}
