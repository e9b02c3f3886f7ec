//! Being told of events without sleeping on one queue: observers, and a task that waits for several queues.

use crate::{
    WaitError,
    cpu::TaskRef,
    rest::Kind,
    wait::{self, Alarm},
    wake,
};
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use machine::sync::{IrqLock, rank};

/// Who wants to know when a [`WaitQueue`](crate::WaitQueue) is woken.
pub trait Observer: Send + Sync {
    /// The queue was woken. May be called from interrupts and under locks that rank below `WAIT_QUEUE`; the queue
    /// itself is not locked. Must not sleep.
    fn notify(&self);
}

/// The observers of a queue.
pub(crate) struct Observers {
    /// With their numbers, which rise.
    list: IrqLock<Vec<(u64, Arc<dyn Observer>)>>,
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

impl Observers {
    pub(crate) fn new() -> Self {
        Self { list: IrqLock::new(rank::WAIT_QUEUE, Vec::new()) }
    }

    pub(crate) fn register(self: &Arc<Self>, observer: Arc<dyn Observer>) -> Registration {
        let mut list = self.list.lock();
        let number = NUMBERS.fetch_add(1, Relaxed);
        list.push((number, observer));
        Registration { list: Arc::downgrade(self), number }
    }

    /// Tells each observer that is there from now until its turn comes, once.
    pub(crate) fn notify(&self) {
        // Who comes later looks by itself.
        let (mut from, end) = (0, NUMBERS.load(Relaxed));
        loop {
            let list = self.list.lock();
            // Places move when others leave, who may have been told just now; numbers stay.
            let next = list.get(list.partition_point(|(number, _)| *number < from));
            let Some((number, observer)) = next.filter(|(number, _)| *number < end) else { return };
            let observer = observer.clone();
            from = number + 1;
            drop(list);
            // Without the lock: an observer may wake other queues.
            observer.notify();
            drop_reference(observer);
        }
    }
}

struct Holder(#[allow(dead_code)] Arc<dyn Observer>);

/// Drops a reference where it may be the last one and dropping may sleep.
fn drop_reference(observer: Arc<dyn Observer>) {
    if Arc::strong_count(&observer) == 1 {
        crate::drop_later(Arc::new(Holder(observer)));
    }
}

/// Keeps an observer at a queue; dropping it ends that. It may outlive the queue.
pub struct Registration {
    list: Weak<Observers>,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(list) = self.list.upgrade() {
            let mut entries = list.list.lock();
            let found = entries.binary_search_by_key(&self.number, |(number, _)| *number);
            let removed = found.ok().map(|index| entries.remove(index));
            drop(entries);
            drop(removed);
        }
    }
}

/// A task that waits for several queues at once: register it at each, look whether anything is ready, then
/// [`wait`](Self::wait), and look again.
pub struct Waiter {
    task: Option<TaskRef>,
    woken: AtomicBool,
}

impl Waiter {
    /// A waiter for the running task.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { task: wake::current(), woken: AtomicBool::new(false) })
    }

    /// Sleeps until one of the queues has been woken since the last call (or since it was made), the task is
    /// interrupted, or the deadline has passed.
    pub fn wait(&self, deadline: Option<u64>) -> Result<(), WaitError> {
        let mut alarm = Alarm::new(deadline);
        let woken = || self.woken.swap(false, SeqCst).then_some(());
        wait::sleep_loop(self.task.as_ref(), Kind::Interruptible, &mut alarm, || {}, woken).0
    }
}

impl Observer for Waiter {
    fn notify(&self) {
        self.woken.store(true, SeqCst);
        if let Some(task) = &self.task {
            wake::wake(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WaitQueue;
    use std::sync::Mutex;

    /// Leaves the queue as soon as it is told, as a poll that has found something does, and counts how often it is.
    #[derive(Default)]
    struct Leaver {
        told: AtomicU64,
        registration: Mutex<Option<Registration>>,
    }

    impl Observer for Leaver {
        fn notify(&self) {
            self.told.fetch_add(1, Relaxed);
            self.registration.lock().unwrap().take();
        }
    }

    #[test]
    fn who_leaves_when_told_keeps_nobody_from_being_told() {
        let queue = WaitQueue::new();
        let observers: Vec<Arc<Leaver>> = (0..5).map(|_| Arc::default()).collect();
        for observer in &observers {
            *observer.registration.lock().unwrap() = Some(queue.register(observer.clone()));
        }
        queue.wake_one();
        assert!(observers.iter().all(|observer| observer.told.load(Relaxed) == 1));
    }
}
