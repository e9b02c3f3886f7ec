//! The lock for short sections: spins, interrupts stay as they are.

use super::{Rank, const_unless_loom, order, primitive};
use core::{
    fmt,
    ops::{Deref, DerefMut},
};

/// A spinning lock. Kernel mode is not preempted, so the holder runs on; it must not block, nor be taken by
/// interrupt handlers (that is what [`IrqLock`](super::IrqLock) is for).
pub struct SpinLock<T> {
    rank: order::Place,
    value: primitive::Spin<T>,
}

/// Access to the value of a [`SpinLock`]; dropping it unlocks.
pub struct SpinGuard<'a, T> {
    pub(super) value: primitive::SpinGuard<'a, T>,
    pub(super) _held: order::Held,
}

impl<T> SpinLock<T> {
    const_unless_loom! {
        /// A lock of this rank around `value`.
        pub fn new(rank: Rank, value: T) -> Self {
            Self { rank: order::Place::new(rank), value: primitive::Spin::new(value) }
        }
    }

    /// Takes the lock.
    #[track_caller]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let held = self.rank.enter();
        SpinGuard { value: primitive::lock(&self.value), _held: held }
    }

    /// Takes the lock while another of the same rank may be held; the caller says which of the two comes first.
    #[track_caller]
    pub fn lock_nested(&self) -> SpinGuard<'_, T> {
        let held = self.rank.enter_nested();
        SpinGuard { value: primitive::lock(&self.value), _held: held }
    }

    /// Takes the lock if it is free. Any order is allowed: it never waits.
    #[track_caller]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        let value = primitive::try_lock(&self.value)?;
        Some(SpinGuard { value, _held: self.rank.enter_without_waiting() })
    }

    /// The value itself, which nobody else can reach.
    pub fn get_mut(&mut self) -> &mut T {
        primitive::get_mut(&mut self.value)
    }
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_tuple("SpinLock").field(&*guard).finish(),
            None => f.write_str("SpinLock(<locked>)"),
        }
    }
}
