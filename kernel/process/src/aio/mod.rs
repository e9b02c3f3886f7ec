//! Asynchronous input and output, io_setup(2) and its relatives: contexts in which requests are made, and which collect
//! what has come of them.
//!
//! | type | what |
//! |---|---|
//! | [`Contexts`] | those of an address space, which end with it |
//! | [`Context`] | a ring of events, shared with the program, and the requests under way |
//! | [`Place`] | a request's right to an event: taken first, filled at its end |
//! | [`Aio`] | what is one for the system: the limit of all requests, and the work of the thread that ends polls |
//!
//! Reads, writes and syncs end before the call that makes them, as on Linux with files in memory; only polls wait. The
//! arithmetic of rings is in `room`, plain and tested against hostile programs.
//!
//! Locks: the table of contexts, then nothing; a ring's, then the pages' of shared memory. Requests and their files are let
//! go under none.

mod chain;
mod completions;
mod poll;
mod ring;
mod room;
#[cfg(test)]
mod tests;

pub use completions::{Event, Place, Reaping};
pub use poll::PollRequest;

pub(crate) use poll::PollWork;

use crate::{sleep, task::Task};
use alloc::{collections::BTreeMap, sync::Arc};
use base::Errno;
use completions::Completions;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use machine::{
    cpu,
    sync::{SpinLock, rank},
    user_memory,
};
use memory::{AddressSpace, Limits, MapRequest, Place as MapPlace, Protection, Sharing};
use poll::{Ready, Waiting};
use ring::Ring;

/// What is one for the system.
pub struct Aio {
    /// `/proc/sys/fs/aio-max-nr`.
    most: AtomicU64,
    /// `/proc/sys/fs/aio-nr`.
    requests: AtomicU64,
    pub(crate) polls: PollWork,
}

impl Aio {
    pub(crate) const fn new() -> Self {
        Self { most: AtomicU64::new(0x1_0000), requests: AtomicU64::new(0), polls: PollWork::new() }
    }

    /// How many requests all contexts together may be made for.
    pub fn most(&self) -> u64 {
        self.most.load(Relaxed)
    }

    /// Sets that. Contexts that there are stay.
    pub fn set_most(&self, most: u64) {
        self.most.store(most, Relaxed);
    }

    /// For how many requests contexts were made that there are.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    fn share(&'static self, requests: u32) -> Result<Share, Errno> {
        let more = |now: u64| now.checked_add(requests.into()).filter(|&sum| sum <= self.most());
        self.requests.fetch_update(Relaxed, Relaxed, more).map_err(|_| Errno::EAGAIN)?;
        Ok(Share { aio: self, requests })
    }
}

/// A context's part of what all may have; given back when dropped.
struct Share {
    aio: &'static Aio,
    requests: u32,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.aio.requests.fetch_sub(self.requests.into(), Relaxed);
    }
}

/// A context.
pub struct Context {
    number: u32,
    ring: Arc<Ring>,
    completions: Arc<Completions>,
    waiting: Arc<Waiting>,
}

impl Context {
    fn new(aio: &'static Aio, pages: u32, number: u32) -> Result<Arc<Self>, Errno> {
        let ring = Ring::new(pages, number)?;
        let completions = Completions::new(ring.clone(), Ready::new(&aio.polls));
        Ok(Arc::new(Self { number, ring, completions, waiting: Waiting::new() }))
    }

    /// How many events its ring has room for.
    pub fn places(&self) -> u32 {
        self.ring.places()
    }

    /// A place for a request. `EAGAIN` there is none, before some events are reaped.
    pub fn take_place(&self) -> Result<Place, Errno> {
        self.completions.take_place()
    }

    /// Begins a request that waits for a file. `EINVAL` the file is not ready, and can't tell when it is.
    pub fn poll(&self, place: Place, request: PollRequest) -> Result<(), Errno> {
        self.waiting.begin(place, request)
    }

    /// `io_cancel(2)`: the request that came with this address ends without events. `EINVAL` none is under way.
    pub fn cancel(&self, object: u64) -> Result<(), Errno> {
        self.waiting.cancel(object)
    }

    /// `io_getevents(2)`: takes events to the caller's memory and says how many.
    ///
    /// Errors, only if it has none: `EINVAL` the context has ended; `EFAULT`; `EINTR`.
    pub fn reap(&self, reaping: &Reaping) -> Result<u64, Errno> {
        self.completions.reap(reaping)
    }

    fn close(&self) {
        self.completions.close();
        self.waiting.close();
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // Requests that wait and their table hold each other.
        self.close();
    }
}

/// The contexts of an address space.
pub struct Contexts(SpinLock<Table>);

#[derive(Default)]
struct Table {
    contexts: BTreeMap<u32, (Arc<Context>, Share)>,
    /// The number that the next one gets, if it is free.
    next: u32,
}

impl Contexts {
    /// Those of this space, made if there are none yet.
    fn of(space: &AddressSpace) -> Result<Arc<Self>, Errno> {
        let new = || Arc::new(Self(SpinLock::new(rank::FILE_STATE, Table::default())));
        let contexts = space.companion().unwrap_or_else(|| space.accompany(new()));
        // Nothing else accompanies a space.
        contexts.downcast().map_err(|_| Errno::ENOMEM)
    }

    /// Makes a context in this space; errors as [`set_up`].
    fn set_up(space: &AddressSpace, aio: &'static Aio, requests: u32, limits: &Limits) -> Result<u64, Errno> {
        let cpus = cpu::possible().iter().count() as u32;
        let pages = room::pages_for(requests, cpus, aio.most())?;
        let contexts = Self::of(space)?;
        let context = Context::new(aio, pages, contexts.number())?;
        let share = aio.share(requests)?;
        let address = map(space, &context.ring, limits)?;
        contexts.0.lock().contexts.insert(context.number, (context, share));
        Ok(address)
    }

    /// The context that the caller's program knows by this address. `EINVAL` there is none; also if the program has unmapped
    /// the ring, or written another number in it.
    fn find(space: &AddressSpace, address: u64) -> Result<(Arc<Self>, Arc<Context>), Errno> {
        let mut number = [0; 4];
        user_memory::read(address, &mut number).map_err(|_| Errno::EINVAL)?;
        let number = u32::from_le_bytes(number);
        let contexts: Arc<Self> = space.companion().ok_or(Errno::EINVAL)?.downcast().map_err(|_| Errno::EINVAL)?;
        let context = contexts.0.lock().contexts.get(&number).map(|(context, _)| context.clone());
        let context = context.filter(|context| context.ring.address() == address).ok_or(Errno::EINVAL)?;
        Ok((contexts, context))
    }

    /// A number that no context has.
    fn number(&self) -> u32 {
        let mut table = self.0.lock();
        while table.contexts.contains_key(&table.next) {
            table.next = table.next.wrapping_add(1);
        }
        let number = table.next;
        table.next = table.next.wrapping_add(1);
        number
    }

    /// Takes a context out. `EINVAL` another caller has.
    fn remove(&self, context: &Arc<Context>) -> Result<(), Errno> {
        let mut table = self.0.lock();
        let is_there = table.contexts.get(&context.number).is_some_and(|(there, _)| Arc::ptr_eq(there, context));
        let gone = if is_there { table.contexts.remove(&context.number) } else { None };
        drop(table);
        gone.map(drop).ok_or(Errno::EINVAL)
    }
}

impl Drop for Contexts {
    fn drop(&mut self) {
        for (context, _share) in core::mem::take(&mut self.0.get_mut().contexts).into_values() {
            context.close();
        }
    }
}

/// `io_setup(2)`: makes a context for so many requests in the caller's address space; the address of its ring.
///
/// Errors, in this order: `EINVAL` too many; `EAGAIN` more than all contexts may have; `ENOMEM`, also for what else keeps the
/// ring from being mapped.
pub fn set_up(caller: &Task, requests: u32) -> Result<u64, Errno> {
    Contexts::set_up(&*caller.space()?, &caller.population().aio, requests, &caller.memory_limits())
}

/// Maps a ring.
fn map(space: &AddressSpace, ring: &Arc<Ring>, limits: &Limits) -> Result<u64, Errno> {
    let request = MapRequest {
        protection: Protection::READ | Protection::WRITE,
        sharing: Sharing::Shared,
        place: MapPlace::Hint,
        source: Some((ring.clone(), 0)),
        ..MapRequest::anonymous(ring.length())
    };
    let address = space.map(request, limits).map_err(|_| Errno::ENOMEM)?;
    ring.set_address(address);
    Ok(address)
}

/// The context that the caller's program knows by this address. `EINVAL` there is none; also if the program has unmapped the
/// ring, or written another number in it.
pub fn find(caller: &Task, address: u64) -> Result<Arc<Context>, Errno> {
    Ok(Contexts::find(&*caller.space()?, address)?.1)
}

/// `io_destroy(2)`: ends a context: nobody waits at it any longer, what waits in it ends, and what other threads have under
/// way in it is waited for, unless the caller is killed. `EINVAL` there is none, as [`find`] says, or somebody else was first.
pub fn destroy(caller: &Task, address: u64) -> Result<(), Errno> {
    let space = caller.space()?;
    let (contexts, context) = Contexts::find(&space, address)?;
    contexts.remove(&context)?;
    context.completions.close();
    // What the program has put in its place goes too, as on Linux; if nothing is left of it, that is no error.
    let _ = space.unmap(context.ring.address(), context.ring.length());
    context.close();
    let (queue, under_way) = context.completions.under_way();
    // Killed, it ends; so does the rest, by itself.
    let _ = sleep::until_killed_or(caller, queue, || (under_way.load(SeqCst) == 0).then_some(()), None);
    Ok(())
}
