//! The locks whose waiters sleep.

use super::{Rank, const_unless_loom, order, primitive};
use core::{
    fmt,
    ops::{Deref, DerefMut},
};

/// A lock whose waiters sleep. Not for interrupts, nor under a spinning lock.
pub struct Mutex<T> {
    rank: order::Place,
    value: primitive::Sleeping<T>,
}

/// Access to the value of a [`Mutex`]; dropping it unlocks.
pub struct MutexGuard<'a, T> {
    value: primitive::SleepingGuard<'a, T>,
    _held: order::Held,
}

impl<T> Mutex<T> {
    const_unless_loom! {
        /// A lock of this rank around `value`.
        pub fn new(rank: Rank, value: T) -> Self {
            Self { rank: order::Place::new(rank), value: primitive::Sleeping::new(value) }
        }
    }

    /// Takes the lock; sleeps while another task has it, not woken by signals.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = self.rank.enter();
        MutexGuard { value: primitive::sleep_lock(&self.value), _held: held }
    }

    /// Takes the lock while another of the same rank may be held; the caller says which of the two comes first.
    #[track_caller]
    pub fn lock_nested(&self) -> MutexGuard<'_, T> {
        let held = self.rank.enter_nested();
        MutexGuard { value: primitive::sleep_lock(&self.value), _held: held }
    }

    /// Takes the lock if it is free. Any order is allowed: it never waits.
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let value = primitive::try_sleep_lock(&self.value)?;
        Some(MutexGuard { value, _held: self.rank.enter_without_waiting() })
    }
}

/// A lock that any number of readers or one writer hold; waiters sleep, and a waiting writer goes before new
/// readers.
pub struct RwLock<T> {
    rank: order::Place,
    value: primitive::Shared<T>,
}

/// Read access to the value of an [`RwLock`].
pub struct ReadGuard<'a, T> {
    value: primitive::ReadGuard<'a, T>,
    _held: order::Held,
}

/// Write access to the value of an [`RwLock`].
pub struct WriteGuard<'a, T> {
    value: primitive::WriteGuard<'a, T>,
    _held: order::Held,
}

impl<T> RwLock<T> {
    const_unless_loom! {
        /// A lock of this rank around `value`.
        pub fn new(rank: Rank, value: T) -> Self {
            Self { rank: order::Place::new(rank), value: primitive::Shared::new(value) }
        }
    }

    /// Takes the lock beside other readers.
    #[track_caller]
    pub fn read(&self) -> ReadGuard<'_, T> {
        let held = self.rank.enter();
        ReadGuard { value: primitive::read(&self.value), _held: held }
    }

    /// As [`read`](Self::read), while another lock of the same rank may be held; the caller orders the two.
    #[track_caller]
    pub fn read_nested(&self) -> ReadGuard<'_, T> {
        let held = self.rank.enter_nested();
        ReadGuard { value: primitive::read(&self.value), _held: held }
    }

    /// Takes the lock alone.
    #[track_caller]
    pub fn write(&self) -> WriteGuard<'_, T> {
        let held = self.rank.enter();
        WriteGuard { value: primitive::write(&self.value), _held: held }
    }

    /// As [`write`](Self::write), while another lock of the same rank may be held; the caller orders the two.
    #[track_caller]
    pub fn write_nested(&self) -> WriteGuard<'_, T> {
        let held = self.rank.enter_nested();
        WriteGuard { value: primitive::write(&self.value), _held: held }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
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

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_tuple("Mutex").field(&*guard).finish(),
            None => f.write_str("Mutex(<locked>)"),
        }
    }
}

impl<T> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RwLock(..)")
    }
}
