//! The check itself.

use crate::sync::Rank;
use core::panic::Location;

/// The most locks that one task may hold at a time.
const MOST: usize = 32;

/// The locks that a task holds, in the order in which it took them.
#[derive(Default)]
pub struct HeldLocks {
    entries: [Option<Entry>; MOST],
}

#[derive(Clone, Copy)]
struct Entry {
    rank: Rank,
    lock: usize,
    place: &'static Location<'static>,
}

/// A lock's place in the order.
pub struct Place {
    rank: Rank,
}

/// One lock that is held; dropping it takes it from the list.
pub struct Held {
    lock: usize,
}

impl Place {
    pub const fn new(rank: Rank) -> Self {
        Self { rank }
    }

    /// Checks that every held lock ranks lower, and adds this one.
    #[track_caller]
    pub fn enter(&self) -> Held {
        self.checked(|held| held.order() < self.rank.order())
    }

    /// Checks that no held lock ranks higher, and adds this one.
    #[track_caller]
    pub fn enter_nested(&self) -> Held {
        self.checked(|held| held.order() <= self.rank.order())
    }

    /// Adds this one: who doesn't wait can't deadlock.
    #[track_caller]
    pub fn enter_without_waiting(&self) -> Held {
        self.checked(|_| true)
    }

    #[track_caller]
    fn checked(&self, allowed: impl Fn(Rank) -> bool) -> Held {
        let entry = Entry { rank: self.rank, lock: (&raw const *self).addr(), place: Location::caller() };
        let conflict = list::with(|list| {
            let conflict = list.entries.iter().flatten().find(|held| !allowed(held.rank)).copied();
            if conflict.is_none() {
                list.add(entry);
            }
            conflict
        });
        if let Some(held) = conflict.flatten() {
            panic!(
                "lock order: {} ({}) taken at {} while {} ({}) is held since {}",
                self.rank.name(),
                self.rank.order(),
                entry.place,
                held.rank.name(),
                held.rank.order(),
                held.place
            );
        }
        Held { lock: entry.lock }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        list::with(|list| list.remove(self.lock));
    }
}

impl HeldLocks {
    fn add(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|slot| slot.is_none()) {
            Some(free) => *free = Some(entry),
            None => panic!("lock order: more than {MOST} locks held at {}", entry.place),
        }
    }

    fn remove(&mut self, lock: usize) {
        // A lock that was taken before checking began is not in the list.
        if let Some(slot) = self.entries.iter_mut().find(|slot| slot.is_some_and(|held| held.lock == lock)) {
            *slot = None;
        }
    }
}

/// Takes the list away before a task switch.
pub fn save() -> HeldLocks {
    list::with(core::mem::take).unwrap_or_default()
}

/// Gives a task its list back after a switch.
pub fn restore(held: HeldLocks) {
    list::with(|list| *list = held);
}

/// Begins to check. On the machine: called once `cpu::current` works; before, nothing is kept.
pub fn start_checking() {
    list::start();
}

#[cfg(target_os = "none")]
mod list {
    //! One list for each CPU, touched with interrupts off by that CPU only.
    use super::HeldLocks;
    use base::MAX_CPUS;
    use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use spin::mutex::SpinMutex;

    static LISTS: [SpinMutex<HeldLocks>; MAX_CPUS] =
        [const { SpinMutex::new(HeldLocks { entries: [None; super::MOST] }) }; MAX_CPUS];
    static CHECKING: AtomicBool = AtomicBool::new(false);

    pub fn start() {
        CHECKING.store(true, Relaxed);
    }

    pub fn with<R>(f: impl FnOnce(&mut HeldLocks) -> R) -> Option<R> {
        if !CHECKING.load(Relaxed) {
            return None;
        }
        let _off = crate::interrupts::off();
        // Taken only if free: a panic inside `f` leaves it locked, and the panic's own locks must get past.
        LISTS[crate::cpu::current().index()].try_lock().map(|mut list| f(&mut list))
    }
}

#[cfg(not(target_os = "none"))]
mod list {
    //! One list for each thread.
    use super::HeldLocks;
    use std::cell::RefCell;

    thread_local! {
        static LIST: RefCell<HeldLocks> = RefCell::default();
    }

    pub fn start() {}

    pub fn with<R>(f: impl FnOnce(&mut HeldLocks) -> R) -> Option<R> {
        LIST.try_with(|list| f(&mut list.borrow_mut())).ok()
    }
}

#[cfg(test)]
mod tests {
    use crate::sync::{IrqLock, Mutex, Rank, SpinLock};

    const FIRST: Rank = Rank::new(1, "first");
    const SECOND: Rank = Rank::new(2, "second");

    #[test]
    fn ascending_ranks_are_fine_and_leave_nothing_behind() {
        let (first, second) = (Mutex::new(FIRST, ()), SpinLock::new(SECOND, ()));
        for _ in 0..100 {
            let (_a, _b) = (first.lock(), second.lock());
        }
    }

    #[test]
    #[should_panic(expected = "lock order: first (1) taken at")]
    fn descending_ranks_panic() {
        let (first, second) = (Mutex::new(FIRST, ()), IrqLock::new(SECOND, ()));
        let _second = second.lock();
        let _first = first.lock();
    }

    #[test]
    #[should_panic(expected = "lock order")]
    fn equal_ranks_panic_unless_they_are_said_to_nest() {
        let (one, other) = (SpinLock::new(FIRST, ()), SpinLock::new(FIRST, ()));
        let _one = one.lock();
        let nested = other.lock_nested();
        drop(nested);
        let _other = other.lock();
    }

    #[test]
    fn a_task_switch_takes_the_list_along() {
        let (first, second) = (Mutex::new(FIRST, ()), Mutex::new(SECOND, ()));
        let outer = second.lock();
        let held = super::save();
        drop(first.lock());
        super::restore(held);
        drop(outer);
        drop(first.lock());
    }
}
