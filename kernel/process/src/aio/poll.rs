//! Requests that wait for a file to become ready, `IOCB_CMD_POLL`.
//!
//! A request registers with the queues of its file. Their wake-ups may come from interrupts and under locks, so they only
//! say that there may be something: they put the request in the chain of its context, and the context in that of the
//! kernel's thread. That thread, or who reaps before it comes to it, looks at the file and ends the request if it is ready.
//!
//! Whoever takes a request's [`Work`] ends it: the file's readiness, `io_cancel`, the end of the context. What must not be
//! dropped in an interrupt lies in there.

use super::{
    chain::{Chain, Link, Linked},
    completions::{Event, Place},
};
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use base::Errno;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};
use sched::{Observer, Registration, WaitQueue};
use vfs::{OpenFile, PollEvents, PollTable};

/// So many requests of a context are looked at in its turn.
const BATCH: usize = 64;

/// The contexts whose requests may have become ready, for the thread that looks.
pub(crate) struct PollWork {
    called: Chain<Ready>,
    queue: WaitQueue,
}

impl PollWork {
    pub(crate) const fn new() -> Self {
        Self { called: Chain::new(), queue: WaitQueue::new() }
    }

    /// What the thread does, for ever.
    pub(crate) fn run(&self) -> ! {
        loop {
            sched::between_jobs();
            self.settle(self.queue.wait_until(|| self.called.pop()));
        }
    }

    /// Ends what is ready of a context; if there is much, the others have their turns in between.
    fn settle(&self, ready: Arc<Ready>) {
        ready.settle(BATCH);
        if !ready.is_empty() {
            self.called.push(ready);
        }
    }

    /// One turn of the thread; whether there was something to do.
    #[cfg(test)]
    pub(super) fn turn(&self) -> bool {
        self.called.pop().map(|ready| self.settle(ready)).is_some()
    }
}

/// The requests of a context that may have become ready.
pub(super) struct Ready {
    requests: Chain<Request>,
    link: Link<Ready>,
    work: &'static PollWork,
}

impl Linked for Ready {
    fn link(&self) -> &Link<Self> {
        &self.link
    }
}

impl Ready {
    pub(super) fn new(work: &'static PollWork) -> Arc<Self> {
        Arc::new(Self { requests: Chain::new(), link: Link::new(), work })
    }

    fn push(self: &Arc<Self>, request: Arc<Request>) {
        if self.requests.push(request) && self.work.called.push(self.clone()) {
            self.work.queue.wake_one();
        }
    }

    /// Looks at up to `most`, and ends those that are ready.
    pub(super) fn settle(&self, most: usize) {
        for _ in 0..most {
            // Off the chain before the look: what happens after it puts the request back.
            let Some(request) = self.requests.pop() else { break };
            request.look();
            sched::give_way();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

/// A request that waits.
pub(super) struct Request {
    this: Weak<Request>,
    ready: Arc<Ready>,
    link: Link<Request>,
    /// Gone once it has ended.
    work: SpinLock<Option<Work>>,
}

/// What a request is about.
struct Work {
    place: Place,
    file: Arc<OpenFile>,
    wanted: PollEvents,
    data: u64,
    key: Key,
    waiting: Arc<Waiting>,
    registrations: Vec<Registration>,
}

impl Linked for Request {
    fn link(&self) -> &Link<Self> {
        &self.link
    }
}

impl Observer for Request {
    fn notify(&self) {
        if let Some(this) = self.this.upgrade() {
            self.ready.push(this);
        }
    }
}

impl Request {
    /// Ends it if its file is ready.
    fn look(&self) {
        let asked = self.work.lock().as_ref().map(|work| (work.file.clone(), work.wanted));
        let Some((file, wanted)) = asked else { return };
        let found = file.poll(&mut PollTable::look()) & wanted;
        if !found.is_empty() {
            self.end(found);
        }
    }

    /// Ends it, with the events that were found, unless it has ended before. Whether it did.
    fn end(&self, found: PollEvents) -> bool {
        let Some(work) = self.take() else { return false };
        work.place.fill(Event { data: work.data, object: work.key.0, result: found.bits().into() });
        true
    }

    /// What it was about, which is the caller's to end now; nobody looks for it any more.
    fn take(&self) -> Option<Work> {
        let mut work = self.work.lock().take()?;
        work.waiting.remove(work.key);
        work.registrations.clear();
        Some(work)
    }
}

/// The address of a request's `struct iocb`, and a number of its own.
type Key = (u64, u64);

/// The requests of a context that wait.
pub(super) struct Waiting {
    table: SpinLock<Table>,
    numbers: AtomicU64,
}

#[derive(Default)]
struct Table {
    requests: BTreeMap<Key, Arc<Request>>,
    /// The context has ended: whatever comes now is cancelled.
    is_closed: bool,
}

/// What a request asks for.
pub struct PollRequest {
    /// The file.
    pub file: Arc<OpenFile>,
    /// The events; errors and the other end's leaving are told anyway.
    pub events: PollEvents,
    /// The word that its event brings back.
    pub data: u64,
    /// The address of its `struct iocb`.
    pub object: u64,
}

impl Waiting {
    pub(super) fn new() -> Arc<Self> {
        let table = SpinLock::new(rank::FILE_STATE, Table::default());
        Arc::new(Self { table, numbers: AtomicU64::new(0) })
    }

    /// Begins to wait; if the file is ready, that is the end of it. `EINVAL` it is not, and will never tell.
    pub(super) fn begin(self: &Arc<Self>, place: Place, asked: PollRequest) -> Result<(), Errno> {
        let PollRequest { file, events, data, object } = asked;
        let wanted = events | PollEvents::ERROR | PollEvents::HANG_UP;
        let key = (object, self.numbers.fetch_add(1, Relaxed));
        let request = Arc::new_cyclic(|this| Request {
            this: this.clone(),
            ready: place.ready().clone(),
            link: Link::new(),
            work: SpinLock::new(
                rank::FILE_STATE,
                Some(Work {
                    place,
                    file: file.clone(),
                    wanted,
                    data,
                    key,
                    waiting: self.clone(),
                    registrations: Vec::new(),
                }),
            ),
        });
        if !self.add(key, &request) {
            request.end(PollEvents::empty());
            return Ok(());
        }
        let observer: Arc<dyn Observer> = request.clone();
        let mut registrations = Vec::new();
        let found = file.poll(&mut PollTable::watch_for(&observer, &mut registrations)) & wanted;
        let will_tell = !registrations.is_empty();
        // If it has ended meanwhile, they go now.
        let left = match &mut *request.work.lock() {
            Some(work) => core::mem::replace(&mut work.registrations, registrations),
            None => registrations,
        };
        drop(left);
        if !found.is_empty() {
            request.end(found);
        } else if !will_tell && request.take().is_some() {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Notes a request, unless the context has ended. Whether it did.
    fn add(&self, key: Key, request: &Arc<Request>) -> bool {
        let mut table = self.table.lock();
        if !table.is_closed {
            table.requests.insert(key, request.clone());
        }
        !table.is_closed
    }

    fn remove(&self, key: Key) {
        let gone = self.table.lock().requests.remove(&key);
        drop(gone);
    }

    /// Ends the oldest request that came with this address, with no events. `EINVAL` there is none.
    pub(super) fn cancel(&self, object: u64) -> Result<(), Errno> {
        let all = (object, 0)..=(object, u64::MAX);
        let first = self.table.lock().requests.range(all).next().map(|(_, request)| request.clone());
        if first.ok_or(Errno::EINVAL)?.end(PollEvents::empty()) { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Ends all, with no events, and whatever comes later.
    pub(super) fn close(&self) {
        let all = {
            let mut table = self.table.lock();
            table.is_closed = true;
            core::mem::take(&mut table.requests)
        };
        for request in all.into_values() {
            request.end(PollEvents::empty());
        }
    }
}
