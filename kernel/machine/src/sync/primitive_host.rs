//! What the locks are made of on the host: those of std. A panic of a holder does not poison them, as the kernel
//! has no poisoning either.

use std::sync::{Mutex, PoisonError, RwLock, TryLockError};

pub type Spin<T> = Mutex<T>;
pub type SpinGuard<'a, T> = std::sync::MutexGuard<'a, T>;
pub type Sleeping<T> = Mutex<T>;
pub type SleepingGuard<'a, T> = std::sync::MutexGuard<'a, T>;
pub type Shared<T> = RwLock<T>;
pub type ReadGuard<'a, T> = std::sync::RwLockReadGuard<'a, T>;
pub type WriteGuard<'a, T> = std::sync::RwLockWriteGuard<'a, T>;

pub fn lock<T>(lock: &Spin<T>) -> SpinGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn try_lock<T>(lock: &Spin<T>) -> Option<SpinGuard<'_, T>> {
    match lock.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

pub fn get_mut<T>(lock: &mut Spin<T>) -> &mut T {
    lock.get_mut().unwrap_or_else(PoisonError::into_inner)
}

pub use {lock as sleep_lock, try_lock as try_sleep_lock};

pub fn read<T>(lock: &Shared<T>) -> ReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub fn write<T>(lock: &Shared<T>) -> WriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
