//! The lock that interrupt handlers take too: spins with interrupts off on this CPU.

use super::{Rank, SpinGuard, const_unless_loom, order, primitive};
use crate::interrupts::{self, InterruptsOff};
use core::{
    fmt,
    ops::{Deref, DerefMut},
};

/// A spinning lock that keeps interrupts off while it is held, so that a handler on the same CPU can't wait for
/// it forever.
pub struct IrqLock<T> {
    rank: order::Place,
    value: primitive::Spin<T>,
}

/// Access to the value of an [`IrqLock`]; dropping it unlocks, then gives interrupts back as they were.
pub struct IrqGuard<'a, T> {
    // Dropped in this order: the lock is free before an interrupt can come.
    value: primitive::SpinGuard<'a, T>,
    _held: order::Held,
    off: InterruptsOff,
}

impl<T> IrqLock<T> {
    const_unless_loom! {
        /// A lock of this rank around `value`.
        pub fn new(rank: Rank, value: T) -> Self {
            Self { rank: order::Place::new(rank), value: primitive::Spin::new(value) }
        }
    }

    /// Takes the lock, interrupts off.
    #[track_caller]
    pub fn lock(&self) -> IrqGuard<'_, T> {
        let off = interrupts::off();
        let held = self.rank.enter();
        IrqGuard { value: primitive::lock(&self.value), _held: held, off }
    }

    /// Takes the lock where interrupts are off for longer than that: then it need not look at them.
    #[track_caller]
    pub fn lock_within<'a>(&'a self, _off: &'a InterruptsOff) -> SpinGuard<'a, T> {
        let held = self.rank.enter();
        SpinGuard { value: primitive::lock(&self.value), _held: held }
    }

    /// Takes the lock while another of the same rank may be held; the caller says which of the two comes first.
    #[track_caller]
    pub fn lock_nested(&self) -> IrqGuard<'_, T> {
        let off = interrupts::off();
        let held = self.rank.enter_nested();
        IrqGuard { value: primitive::lock(&self.value), _held: held, off }
    }

    /// Takes the lock if it is free. Any order is allowed: it never waits.
    #[track_caller]
    pub fn try_lock(&self) -> Option<IrqGuard<'_, T>> {
        let off = interrupts::off();
        let value = primitive::try_lock(&self.value)?;
        Some(IrqGuard { value, _held: self.rank.enter_without_waiting(), off })
    }

    /// The value itself, which nobody else can reach.
    pub fn get_mut(&mut self) -> &mut T {
        primitive::get_mut(&mut self.value)
    }
}

impl<T> IrqGuard<'_, T> {
    /// The proof that interrupts are off while this guard lives.
    pub fn interrupts_off(&self) -> &InterruptsOff {
        &self.off
    }
}

impl<T> Deref for IrqGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for IrqGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for IrqLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_tuple("IrqLock").field(&*guard).finish(),
            None => f.write_str("IrqLock(<locked>)"),
        }
    }
}
