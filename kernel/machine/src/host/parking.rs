//! Putting a host thread to sleep until another wakes it: what a task's block and wake-up are on the host.

use std::{
    cell::RefCell,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

thread_local! {
    static CURRENT: RefCell<Arc<Parking>> = RefCell::default();
}

/// The sleeping place of one thread. A wake-up that comes before the sleep is not lost.
#[derive(Debug, Default)]
pub struct Parking {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Parking {
    /// The place of the calling thread.
    pub fn current() -> Arc<Self> {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// Sleeps until woken or until `now` is at least `deadline`; takes the wake-up.
    pub fn park(&self, deadline: Option<u64>) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        while !*woken {
            match deadline.map(|deadline| deadline.saturating_sub(crate::time::now())) {
                None => woken = self.changed.wait(woken).unwrap_or_else(PoisonError::into_inner),
                Some(0) => return,
                Some(left) => {
                    let waited = self.changed.wait_timeout(woken, Duration::from_nanos(left));
                    woken = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        *woken = false;
    }

    /// Wakes the thread, now or when it next parks.
    pub fn unpark(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_before_the_sleep_is_not_lost() {
        let parking = Parking::current();
        parking.unpark();
        parking.park(None);
    }

    #[test]
    fn a_deadline_ends_the_sleep() {
        Parking::default().park(Some(crate::time::now() + 1_000_000));
    }
}
