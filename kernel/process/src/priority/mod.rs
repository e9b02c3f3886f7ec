//! Futexes that lend priority: the PI operations of `futex(2)`, by which whoever waits for a lock lends its real-time
//! priority to the owner.
//!
//! A word holds the number of the owner's task, 0 for nobody, and a bit for "somebody waits", which sends the owner into
//! the kernel. `table` knows who waits for what; words are read and changed under its lock, which can't wait for
//! pages: a word whose page is not there is fetched without the lock, and then all is looked at again.

mod requeue;
mod table;

pub use requeue::{requeue, wait_to_be_requeued};

use crate::{
    futex::Key,
    futex_calls::{self, OWNER_DIED, TID_MASK, WAITERS, Word},
    sleep,
    task::Task,
};
use alloc::sync::Arc;
use base::{Errno, Pid};
use core::sync::atomic::{
    AtomicU32, AtomicUsize,
    Ordering::{Acquire, Release, SeqCst},
};
use machine::{
    interrupts,
    sync::{SpinGuard, SpinLock, rank},
    user_memory,
};
use sched::{Policy, Priority, WaitQueue};
use table::{Member, Table};

type Locks = Table<Arc<Task>, Arc<Waiting>>;

/// How a wait stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It goes on.
    Waits = 0,
    /// The lock is the waiter's, and the word says so.
    Owns = 1,
    /// The lock is the waiter's because its owner ended; the waiter tells the word.
    Inherits = 2,
    /// It would wait for itself.
    Deadlock = 3,
}

/// A task that waits for a lock, or to be made to wait for one.
pub struct Waiting {
    task: Arc<Task>,
    outcome: AtomicU32,
    queue: WaitQueue,
}

impl Waiting {
    fn new(task: &Arc<Task>) -> Arc<Self> {
        Arc::new(Self { task: task.clone(), outcome: AtomicU32::new(0), queue: WaitQueue::new() })
    }

    fn outcome(&self) -> Outcome {
        match self.outcome.load(Acquire) {
            0 => Outcome::Waits,
            1 => Outcome::Owns,
            2 => Outcome::Inherits,
            _ => Outcome::Deadlock,
        }
    }

    fn tell(&self, outcome: Outcome) {
        self.outcome.store(outcome as u32, Release);
        self.queue.wake_all();
    }
}

/// All locks that somebody waits for, in all address spaces.
pub struct PriorityFutexes {
    table: SpinLock<Locks>,
    /// How many there are, for looks without the lock.
    count: AtomicUsize,
}

/// The table, locked; what it changes in priorities is done before it is let go.
struct Locked<'a> {
    table: SpinGuard<'a, Locks>,
    count: &'a AtomicUsize,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        for (task, priority) in self.table.take_changes() {
            if let Some(task) = task.schedulable() {
                sched::lend(&task, Priority::new(priority));
            }
        }
        self.count.store(self.table.len(), SeqCst);
    }
}

impl PriorityFutexes {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self { table: SpinLock::new(rank::PRIORITY_FUTEX, Table::new()), count: AtomicUsize::new(0) }
    }

    fn lock(&self) -> Locked<'_> {
        Locked { table: self.table.lock(), count: &self.count }
    }

    /// `task` has another priority of its own.
    pub(crate) fn reassess(&self, task: &Task) {
        if self.count.load(SeqCst) > 0 {
            self.lock().table.reassess(task.tid(), own_priority(task));
        }
    }

    /// `task` ends, or executes another program: those who wait for what it has get it.
    pub(crate) fn leave(&self, task: &Task) {
        // Whoever comes to wait for it from here on sees that it left, or is seen in the count.
        task.has_left_futexes.store(true, SeqCst);
        if self.count.load(SeqCst) > 0 {
            let mut locked = self.lock();
            locked.table.abandon(task.tid()).iter().for_each(|waiting| waiting.tell(Outcome::Inherits));
        }
    }
}

impl Default for PriorityFutexes {
    fn default() -> Self {
        Self::new()
    }
}

/// What the task lends: a real-time priority, and with a reservation, which can't be lent, the greatest there is.
fn own_priority(task: &Task) -> u32 {
    match task.entity().policy() {
        Policy::Deadline(_) => Priority::MAX.raw(),
        policy => policy.priority().map_or(0, Priority::raw),
    }
}

fn member<'a>(task: &'a Arc<Task>) -> Member<'a, Arc<Task>> {
    Member { id: task.tid(), priority: own_priority(task), handle: task }
}

fn number(task: &Task) -> u32 {
    task.tid().raw() as u32
}

/// Exchanges a word without waiting for its page: whether it was `old`; none if the page is not there.
fn exchange(address: u64, old: u32, new: u32) -> Option<bool> {
    let _no_waiting = interrupts::off();
    user_memory::compare_exchange_u32(address, old, new).ok().map(|found| found == old)
}

/// Fetches the page of a word that is to be changed. `EFAULT`.
fn fetch(address: u64) -> Result<(), Errno> {
    sched::give_way();
    let value = user_memory::load_u32(address)?;
    user_memory::compare_exchange_u32(address, value, value).map(drop)
}

/// What came of a look at a word.
enum Attempt {
    /// The lock is the caller's.
    Owned,
    /// It is another's, whom the caller can wait for now: the word sends him into the kernel.
    Owner(Option<Arc<Task>>),
    /// Something changed meanwhile, or the page is not there.
    Again,
}

/// Takes the lock for `who` if it is free; else readies it for a wait. `mark` are bits for the word if it was free.
fn attempt(
    locked: &Locked<'_>,
    (key, address): (Key, u64),
    who: &Task,
    value: u32,
    owner: Option<&Arc<Task>>,
    mark: u32,
) -> Result<Attempt, Errno> {
    let again = |done: Option<bool>, attempt: Attempt| if done == Some(true) { attempt } else { Attempt::Again };
    if value & TID_MASK == number(who) {
        return Err(Errno::EDEADLK);
    }
    match locked.table.owner(key) {
        Some(known) if known == who.tid() => return Err(Errno::EDEADLK),
        Some(_) => return Ok(again(exchange(address, value, value), Attempt::Owner(None))),
        None => {}
    }
    if value & TID_MASK == 0 {
        let taken = exchange(address, value, number(who) | value & OWNER_DIED | mark);
        return Ok(again(taken, Attempt::Owned));
    }
    let marked = exchange(address, value, value | WAITERS);
    if marked != Some(true) {
        return Ok(Attempt::Again);
    }
    match owner {
        None => Err(Errno::ESRCH),
        Some(owner) if owner.is_kernel_thread() => Err(Errno::EPERM),
        Some(owner) if owner.has_left_futexes.load(SeqCst) => Err(Errno::ESRCH),
        Some(owner) => Ok(Attempt::Owner(Some(owner.clone()))),
    }
}

/// The task that a word names.
fn named(task: &Task, value: u32) -> Option<Arc<Task>> {
    let number = (value & TID_MASK) as i32;
    if number == 0 { None } else { task.population().task(Pid::new(number)) }
}

/// `FUTEX_LOCK_PI`, `FUTEX_LOCK_PI2` and, `impatient`, `FUTEX_TRYLOCK_PI`: takes the lock, or sleeps until it has it or the
/// deadline (ns since boot).
///
/// `EDEADLK` it has it, or the owner waits for it; `ESRCH` there is no such owner; `EPERM` the kernel is; `EAGAIN`
/// impatient and it is another's; `EFAULT`, `EINVAL` no such word; `ETIMEDOUT`; `EINTR`.
pub fn lock(task: &Arc<Task>, word: Word, deadline: Option<u64>, impatient: bool) -> Result<(), Errno> {
    let futexes = &task.population().priority_futexes;
    let key = futex_calls::key(task, word)?;
    loop {
        let value = user_memory::load_u32(word.address)?;
        let named = named(task, value);
        let mut locked = futexes.lock();
        let owner = match attempt(&locked, (key, word.address), task, value, named.as_ref(), 0)? {
            Attempt::Owned => return Ok(()),
            Attempt::Owner(_) if impatient => return Err(Errno::EAGAIN),
            Attempt::Owner(owner) => owner,
            Attempt::Again => {
                drop(locked);
                fetch(word.address)?;
                continue;
            }
        };
        let waiting = Waiting::new(task);
        let owner = owner.as_ref().unwrap_or(task);
        locked.table.wait(key, member(owner), member(task), waiting.clone())?;
        drop(locked);
        futexes.check_left(owner);
        return sleep_for(task, &waiting, key, word.address, deadline);
    }
}

impl PriorityFutexes {
    /// An owner that left before it could be seen that somebody waits for it has left that too.
    fn check_left(&self, owner: &Task) {
        if owner.has_left_futexes.load(SeqCst) {
            self.leave(owner);
        }
    }

    /// Ends the wait of `task`; false if it has come to an end already.
    fn withdraw(&self, task: &Task) -> bool {
        let mut locked = self.lock();
        let waited = locked.table.waits_for(task.tid()).is_some();
        locked.table.give_up(task.tid());
        waited
    }
}

/// Sleeps until the wait has an outcome.
fn sleep_for(task: &Arc<Task>, waiting: &Waiting, key: Key, address: u64, deadline: Option<u64>) -> Result<(), Errno> {
    let done = || (waiting.outcome() != Outcome::Waits).then_some(());
    match waiting.queue.wait_until_interruptible(done, deadline) {
        Err(error) if task.population().priority_futexes.withdraw(task) => Err(sleep::error(error)),
        _ => finish(task, waiting, key, address),
    }
}

/// What a wait that is over comes to. Who inherits tells the word.
fn finish(task: &Task, waiting: &Waiting, key: Key, address: u64) -> Result<(), Errno> {
    match waiting.outcome() {
        Outcome::Deadlock => Err(Errno::EDEADLK),
        Outcome::Inherits => {
            let told = user_memory::fetch_update_u32(address, |_| number(task) | WAITERS | OWNER_DIED);
            task.population().priority_futexes.lock().table.put_right(key);
            told.map(drop)
        }
        Outcome::Waits | Outcome::Owns => Ok(()),
    }
}

/// `FUTEX_UNLOCK_PI`: the lock goes to the first who waits.
///
/// `EPERM` it is not the caller's; `EINVAL` the kernel knows of another owner; `EFAULT`, `EINVAL` no such word.
pub fn unlock(task: &Task, word: Word) -> Result<(), Errno> {
    let futexes = &task.population().priority_futexes;
    let key = futex_calls::key(task, word)?;
    loop {
        let value = user_memory::load_u32(word.address)?;
        if value & TID_MASK != number(task) {
            return Err(Errno::EPERM);
        }
        let mut locked = futexes.lock();
        if locked.table.owner(key).is_some_and(|owner| owner != task.tid()) {
            return Err(Errno::EINVAL);
        }
        let new = locked.table.next(key).map_or(0, |next| next.raw() as u32 | WAITERS);
        if exchange(word.address, value, new) == Some(true) {
            if let Some((_, next)) = locked.table.hand_over(key) {
                next.tell(Outcome::Owns);
            }
            return Ok(());
        }
        drop(locked);
        fetch(word.address)?;
    }
}
