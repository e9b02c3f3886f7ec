//! Timers: a call at a deadline, from the timer interrupt of the CPU on which it was set.

use crate::{
    WaitError, WaitQueue,
    cpu::{self, Cpu},
};
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};
use base::CpuId;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::{
    interrupts,
    sync::{IrqLock, rank},
    time,
};

/// What a timer calls.
pub trait TimerCall: Send + Sync {
    /// The deadline has passed. In an interrupt: only `IrqLock`s, no sleeping. It may set the timer again.
    fn expired(&self);
}

/// A timer that can be set, set again and cancelled; cancelled when dropped.
pub struct Timer {
    core: Arc<Core>,
}

struct Core {
    target: Weak<dyn TimerCall>,
    /// Where it waits. A queue's lock is taken inside this one.
    place: IrqLock<Option<Place>>,
}

/// An entry of a CPU's queue.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    cpu: CpuId,
    key: (u64, u64),
}

/// The timers that wait on a CPU, by deadline and order of setting.
pub(crate) struct TimerQueue {
    entries: IrqLock<BTreeMap<(u64, u64), Arc<Core>>>,
    first: AtomicU64,
}

/// Numbers for entries with equal deadlines.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

impl TimerQueue {
    pub(crate) const fn new() -> Self {
        Self { entries: IrqLock::new(rank::TIMER_QUEUE, BTreeMap::new()), first: AtomicU64::new(u64::MAX) }
    }

    /// The nearest deadline; `u64::MAX` if nothing waits.
    pub(crate) fn first(&self) -> u64 {
        self.first.load(Relaxed)
    }

    fn change<R>(&self, f: impl FnOnce(&mut BTreeMap<(u64, u64), Arc<Core>>) -> R) -> R {
        let mut entries = self.entries.lock();
        let result = f(&mut entries);
        self.first.store(entries.keys().next().map_or(u64::MAX, |key| key.0), Relaxed);
        result
    }
}

impl Timer {
    /// A timer that is not set. The target is held weakly, so it may own the timer.
    pub fn new(target: Weak<dyn TimerCall>) -> Self {
        Self { core: Arc::new(Core { target, place: IrqLock::new(rank::TIMERS, None) }) }
    }

    /// Has the target called once at `deadline` (nanoseconds since boot; at once if that has passed), and not at an
    /// earlier set deadline any more.
    pub fn set(&self, deadline: u64) {
        let _off = interrupts::off();
        let Some(cpu) = cpu::here() else { return };
        let key = (deadline, SEQUENCE.fetch_add(1, Relaxed));
        let mut place = self.core.place.lock();
        remove(&mut place);
        cpu.timers.change(|entries| entries.insert(key, self.core.clone()));
        *place = Some(Place { cpu: cpu.number, key });
        drop(place);
        cpu.arm();
    }

    /// Cancels it. A call that has begun on another CPU may still be running.
    pub fn cancel(&self) {
        remove(&mut self.core.place.lock());
    }

    /// The deadline that is set.
    pub fn deadline(&self) -> Option<u64> {
        self.core.place.lock().map(|place| place.key.0)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Takes an entry out of its queue, if it is still there.
fn remove(place: &mut Option<Place>) {
    if let Some(old) = place.take()
        && let Some(cpu) = cpu::get(old.cpu)
    {
        cpu.timers.change(|entries| entries.remove(&old.key));
    }
}

/// Hands the timers that wait on `from` to `to`, which has to look at its timer then.
pub(crate) fn hand_over(from: &Cpu, to: &Cpu) {
    loop {
        let first = from.timers.entries.lock().first_key_value().map(|(&key, core)| (key, core.clone()));
        let Some((key, core)) = first else { return };
        let mut place = core.place.lock();
        // Otherwise it was set anew or cancelled between the two locks, and the entry is gone.
        if *place == Some(Place { cpu: from.number, key }) {
            from.timers.change(|entries| entries.remove(&key));
            to.timers.change(|entries| entries.insert(key, core.clone()));
            *place = Some(Place { cpu: to.number, key });
        }
    }
}

/// Calls the timers of this CPU whose deadline has passed.
pub(crate) fn run_expired(cpu: &Cpu) {
    loop {
        let now = time::now();
        if cpu.timers.first() > now {
            return;
        }
        let expired = cpu.timers.change(|entries| match entries.first_entry() {
            Some(first) if first.key().0 <= now => Some(first.remove_entry()),
            _ => None,
        });
        let Some((key, core)) = expired else { return };
        let mut place = core.place.lock();
        // Set anew or cancelled between the two locks: then this expiry is not wanted any more.
        let wanted = *place == Some(Place { cpu: cpu.number, key });
        if wanted {
            *place = None;
        }
        drop(place);
        if let Some(target) = core.target.upgrade().filter(|_| wanted) {
            target.expired();
            cpu.drop_later(Arc::new(Expired { _target: target, _core: core }));
        }
    }
}

/// Keeps what a call used until it can be dropped outside the interrupt.
struct Expired {
    _target: Arc<dyn TimerCall>,
    _core: Arc<Core>,
}

/// Sleeps until `deadline` (nanoseconds since boot); `Err(Interrupted)` if the task is interrupted before.
pub fn sleep_until(deadline: u64) -> Result<(), WaitError> {
    match WaitQueue::new().wait_until_interruptible(|| None::<()>, Some(deadline)) {
        Ok(()) | Err(WaitError::TimedOut) => Ok(()),
        Err(WaitError::Interrupted) => Err(WaitError::Interrupted),
    }
}
