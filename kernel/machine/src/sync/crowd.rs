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
mod form {
    use crate::{
        cpu::PerCpu,
        sync::{PARKER, primitive},
    };
    use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    /// How often a taker looks before it sleeps: about as long as going to sleep takes.
    const LOOKS: usize = 100;

    pub struct Crowd {
        /// The readers that have come in on each CPU and have not left, wherever they are now.
        readers: PerCpu<AtomicUsize>,
        /// A writer has the lock or waits for the readers to leave.
        writing: AtomicBool,
        /// Held by that writer.
        writer: primitive::Sleeping<()>,
        sleepers: AtomicUsize,
    }

    pub struct Reading<'a> {
        lock: &'a Crowd,
        count: &'a AtomicUsize,
    }

    pub struct Writing<'a> {
        lock: &'a Crowd,
        _alone: primitive::SleepingGuard<'a, ()>,
    }

    impl Crowd {
        pub fn new() -> Self {
            Self {
                readers: PerCpu::default(),
                writing: AtomicBool::new(false),
                writer: primitive::Sleeping::new(()),
                sleepers: AtomicUsize::new(0),
            }
        }

        pub fn read(&self) -> Reading<'_> {
            loop {
                let count = self.readers.here();
                // SeqCst, against `write`: either that sees this reader, or this sees the writer.
                count.fetch_add(1, SeqCst);
                if !self.writing.load(SeqCst) {
                    return Reading { lock: self, count };
                }
                self.leave(count);
                self.wait_until(|| !self.writing.load(SeqCst));
            }
        }

        pub fn write(&self) -> Writing<'_> {
            let alone = primitive::sleep_lock(&self.writer);
            self.writing.store(true, SeqCst);
            self.wait_until(|| self.readers.iter().all(|(_, count)| count.load(SeqCst) == 0));
            Writing { lock: self, _alone: alone }
        }

        fn leave(&self, count: &AtomicUsize) {
            count.fetch_sub(1, SeqCst);
            if self.writing.load(SeqCst) {
                self.wake();
            }
        }

        fn wait_until(&self, mut condition: impl FnMut() -> bool) {
            for _ in 0..LOOKS {
                if condition() {
                    return;
                }
                core::hint::spin_loop();
            }
            // SeqCst, against `wake`: either that sees this sleeper, or the look after it sees the change.
            self.sleepers.fetch_add(1, SeqCst);
            loop {
                match PARKER.get() {
                    Some(parker) => parker.wait_until(self.address(), &mut condition),
                    None => core::hint::spin_loop(),
                }
                if condition() {
                    break;
                }
            }
            self.sleepers.fetch_sub(1, SeqCst);
        }

        fn wake(&self) {
            if self.sleepers.load(SeqCst) > 0
                && let Some(parker) = PARKER.get()
            {
                parker.wake_all(self.address());
            }
        }

        fn address(&self) -> usize {
            (&raw const self.sleepers).addr()
        }
    }

    impl Drop for Reading<'_> {
        fn drop(&mut self) {
            self.lock.leave(self.count);
        }
    }

    impl Drop for Writing<'_> {
        fn drop(&mut self) {
            // The next writer waits for `_alone`, which opens after this.
            self.lock.writing.store(false, SeqCst);
            self.lock.wake();
        }
    }
}

#[cfg(loom)]
mod form {
    use crate::sync::primitive;

    pub struct Crowd(primitive::Shared<()>);
    pub type Reading<'a> = primitive::ReadGuard<'a, ()>;
    pub type Writing<'a> = primitive::WriteGuard<'a, ()>;

    impl Crowd {
        pub fn new() -> Self {
            Self(primitive::Shared::new(()))
        }

        pub fn read(&self) -> Reading<'_> {
            primitive::read(&self.0)
        }

        pub fn write(&self) -> Writing<'_> {
            primitive::write(&self.0)
        }
    }
}

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
