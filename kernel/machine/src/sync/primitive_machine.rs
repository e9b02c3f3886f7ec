//! What the locks are made of on the machine: `spin`'s for the spinning ones; for the sleeping ones the same,
//! tried once, then the scheduler's [`Parker`].

use super::{PARKER, Parker};
use core::{
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst, fence},
};

pub type Spin<T> = spin::mutex::SpinMutex<T>;
pub type SpinGuard<'a, T> = spin::mutex::SpinMutexGuard<'a, T>;

pub fn lock<T>(lock: &Spin<T>) -> SpinGuard<'_, T> {
    lock.lock()
}

pub fn try_lock<T>(lock: &Spin<T>) -> Option<SpinGuard<'_, T>> {
    lock.try_lock()
}

pub fn get_mut<T>(lock: &mut Spin<T>) -> &mut T {
    lock.get_mut()
}

/// How often a taker looks before it sleeps: about as long as going to sleep takes.
const LOOKS: usize = 100;

/// Tasks that sleep for a lock, and the address where they do.
struct Sleepers {
    count: AtomicUsize,
}

impl Sleepers {
    const fn new() -> Self {
        Self { count: AtomicUsize::new(0) }
    }

    fn address(&self) -> usize {
        (&raw const self.count).addr()
    }

    /// Tries until it gets something: first looking, then sleeping.
    fn get<G>(&self, mut attempt: impl FnMut() -> Option<G>) -> G {
        for _ in 0..LOOKS {
            if let Some(got) = attempt() {
                return got;
            }
            core::hint::spin_loop();
        }
        // SeqCst, against `parker_if_any`: either the holder who unlocks sees this count, or the attempt that
        // `wait_until` makes after it sees the unlock.
        self.count.fetch_add(1, SeqCst);
        let got = loop {
            let mut got = None;
            if let Some(parker) = PARKER.get() {
                parker.wait_until(self.address(), &mut || {
                    got = attempt();
                    got.is_some()
                });
            } else {
                got = attempt();
            }
            if let Some(got) = got {
                break got;
            }
        };
        self.count.fetch_sub(1, Relaxed);
        got
    }

    /// After an unlock: who can wake, if anybody sleeps.
    fn parker_if_any(&self) -> Option<&'static dyn Parker> {
        fence(SeqCst);
        if self.count.load(Relaxed) == 0 { None } else { PARKER.get() }
    }
}

/// A mutual exclusion whose waiters sleep.
pub struct Sleeping<T> {
    value: Spin<T>,
    sleepers: Sleepers,
}

pub struct SleepingGuard<'a, T> {
    // Dropped in this order: unlock, then wake.
    value: SpinGuard<'a, T>,
    _wake: WakeOne<'a>,
}

struct WakeOne<'a>(&'a Sleepers);

impl Drop for WakeOne<'_> {
    fn drop(&mut self) {
        if let Some(parker) = self.0.parker_if_any() {
            parker.wake_one(self.0.address());
        }
    }
}

impl<T> Sleeping<T> {
    pub const fn new(value: T) -> Self {
        Self { value: Spin::new(value), sleepers: Sleepers::new() }
    }
}

pub fn sleep_lock<T>(lock: &Sleeping<T>) -> SleepingGuard<'_, T> {
    SleepingGuard { value: lock.sleepers.get(|| lock.value.try_lock()), _wake: WakeOne(&lock.sleepers) }
}

pub fn try_sleep_lock<T>(lock: &Sleeping<T>) -> Option<SleepingGuard<'_, T>> {
    Some(SleepingGuard { value: lock.value.try_lock()?, _wake: WakeOne(&lock.sleepers) })
}

impl<T> Deref for SleepingGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for SleepingGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// Many readers or one writer; waiters sleep.
pub struct Shared<T> {
    value: spin::RwLock<T>,
    sleepers: Sleepers,
    /// Writers that wait: new readers let them go first.
    writers: AtomicUsize,
    /// Held while somebody tries. A reader that finds a writer has counted itself for a moment; a writer who tried in
    /// that moment would fail although the lock is free, and both would sleep with nobody left to wake them.
    attempts: Spin<()>,
}

pub struct ReadGuard<'a, T> {
    // Dropped in this order: unlock, then wake.
    value: spin::RwLockReadGuard<'a, T>,
    _wake: WakeAll<'a>,
}

pub struct WriteGuard<'a, T> {
    // Dropped in this order: unlock, then wake.
    value: spin::RwLockWriteGuard<'a, T>,
    _wake: WakeAll<'a>,
}

struct WakeAll<'a>(&'a Sleepers);

impl Drop for WakeAll<'_> {
    fn drop(&mut self) {
        if let Some(parker) = self.0.parker_if_any() {
            parker.wake_all(self.0.address());
        }
    }
}

impl<T> Shared<T> {
    pub const fn new(value: T) -> Self {
        Self {
            value: spin::RwLock::new(value),
            sleepers: Sleepers::new(),
            writers: AtomicUsize::new(0),
            attempts: Spin::new(()),
        }
    }
}

pub fn read<T>(lock: &Shared<T>) -> ReadGuard<'_, T> {
    let attempt = || {
        if lock.writers.load(Relaxed) > 0 {
            return None;
        }
        let _alone = lock.attempts.lock();
        lock.value.try_read()
    };
    ReadGuard { value: lock.sleepers.get(attempt), _wake: WakeAll(&lock.sleepers) }
}

pub fn write<T>(lock: &Shared<T>) -> WriteGuard<'_, T> {
    let attempt = || {
        let _alone = lock.attempts.lock();
        lock.value.try_write()
    };
    let value = attempt().unwrap_or_else(|| {
        lock.writers.fetch_add(1, Relaxed);
        let value = lock.sleepers.get(attempt);
        // Readers that saw the count sleep until this guard is dropped.
        lock.writers.fetch_sub(1, Relaxed);
        value
    });
    WriteGuard { value, _wake: WakeAll(&lock.sleepers) }
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
