//! Being told of events without sleeping for each: what poll and epoll are made of.

use crate::WaitError;
use alloc::sync::Arc;

/// Who wants to know when a [`WaitQueue`](crate::WaitQueue) is woken.
pub trait Observer: Send + Sync {
    /// The queue was woken. May be called from interrupts and under locks that rank below `WAIT_QUEUE`; the queue
    /// itself is not locked. Must not sleep.
    fn notify(&self);
}

/// Keeps an observer at a queue; dropping it ends that. It may outlive the queue.
pub struct Registration {}

/// A task that waits for several queues at once: register it at each, look whether anything is ready, then
/// [`wait`](Self::wait), and look again.
pub struct Waiter {}

impl Waiter {
    /// A waiter for the running task.
    pub fn new() -> Arc<Self> {
        todo!()
    }

    /// Sleeps until one of the queues has been woken since the last call (or since it was made), the task is
    /// interrupted, or the deadline has passed.
    pub fn wait(&self, _deadline: Option<u64>) -> Result<(), WaitError> {
        todo!()
    }
}

impl Observer for Waiter {
    fn notify(&self) {
        todo!()
    }
}
