//! A lock with very many readers and few writers: a reader writes only to a place of its own CPU.

use super::{Rank, order};

/// A lock that any number of readers or one writer hold; waiters sleep. Readers on different CPUs do not disturb each
/// other; a writer looks at all CPUs. A waiting writer goes before new readers.
pub struct CrowdLock {
    rank: order::Place,
    lock: form::Crowd,
}

/// The lock, held beside other readers; dropping it unlocks.
pub struct CrowdReadGuard<'a> {
    _lock: form::Reading<'a>,
    _held: order::Held,
}

/// The lock, held alone; dropping it unlocks.
pub struct CrowdWriteGuard<'a> {
    _lock: form::Writing<'a>,
    _held: order::Held,
}

impl CrowdLock {
    /// A lock of this rank. Call it once the possible CPUs are known.
    pub fn new(rank: Rank) -> Self {
        Self { rank: order::Place::new(rank), lock: form::Crowd::new() }
    }

    /// Takes the lock beside other readers.
    #[track_caller]
    pub fn read(&self) -> CrowdReadGuard<'_> {
        let held = self.rank.enter();
        CrowdReadGuard { _lock: self.lock.read(), _held: held }
    }

    /// Takes the lock alone.
    #[track_caller]
    pub fn write(&self) -> CrowdWriteGuard<'_> {
        let held = self.rank.enter();
        CrowdWriteGuard { _lock: self.lock.write(), _held: held }
    }
}

#[cfg(not(loom))]
mod form;
// The models of the crates above need the lock, not its steps: loom's own is one step for them.
#[cfg(loom)]
#[path = "crowd/form_loom.rs"]
mod form;

/// What `form` stands on.
#[cfg(not(loom))]
mod surroundings {
    pub use crate::{cpu::PerCpu, sync::PARKER};
    pub use core::sync::atomic;

    /// How often a taker looks before it sleeps: about as long as going to sleep takes.
    pub const LOOKS: usize = 100;
}

#[cfg(all(test, loom))]
mod loom;
#[cfg(all(test, loom))]
#[path = "crowd/form.rs"]
mod real;
#[cfg(all(test, loom))]
use loom::surroundings;

#[cfg(all(test, not(loom), not(target_os = "none")))]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicI64, Ordering::SeqCst},
        },
        thread,
        vec::Vec,
    };

    #[test]
    fn a_writer_is_alone_and_readers_are_together() {
        let state = Arc::new((CrowdLock::new(Rank::new(1, "crowd")), AtomicI64::new(0)));
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let state = state.clone();
                thread::spawn(move || {
                    let (lock, inside) = &*state;
                    for round in 0..2000 {
                        if (round + worker) % 8 == 0 {
                            let _alone = lock.write();
                            assert_eq!(inside.swap(-1, SeqCst), 0);
                            inside.store(0, SeqCst);
                        } else {
                            let _together = lock.read();
                            assert!(inside.fetch_add(1, SeqCst) >= 0);
                            inside.fetch_sub(1, SeqCst);
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!(state.1.load(SeqCst), 0);
    }
}
