//! Every order of steps in which readers and writers take and leave the lock. A wake-up that is lost leaves a task asleep for
//! ever, which loom reports as a deadlock.
//!
//! Each of these changes of `form` fails here: a reader that looks for a writer before it counts itself; a reader that leaves
//! and wakes nobody; a sleeper that counts itself only after its last look; a writer that wakes before it opens the lock; a
//! writer that does not wait for the readers of all CPUs.

use super::real::Crowd;
use ::loom::{
    model::Builder,
    sync::{Arc, RwLock},
    thread,
};

/// What the lock stands on, for loom.
pub(super) mod surroundings {
    use ::loom::sync::{Condvar, Mutex};
    use base::CpuId;
    use core::cell::Cell;

    /// Atomic words, as far as the lock needs them.
    pub mod atomic {
        pub use ::loom::sync::atomic::Ordering;
        use Ordering::SeqCst;

        macro_rules! word {
            ($name:ident, $value:ty) => {
                pub struct $name(::loom::sync::atomic::$name);

                impl $name {
                    /// A first value does not count as stored in the order of all others: loom would let a load find it
                    /// after any of these.
                    pub fn new(value: $value) -> Self {
                        let word = ::loom::sync::atomic::$name::new(value);
                        word.store(value, SeqCst);
                        Self(word)
                    }

                    pub fn load(&self, order: Ordering) -> $value {
                        self.0.load(order)
                    }
                }
            };
        }
        word!(AtomicBool, bool);
        word!(AtomicUsize, usize);

        impl AtomicBool {
            pub fn store(&self, value: bool, order: Ordering) {
                self.0.store(value, order);
            }
        }

        impl AtomicUsize {
            pub fn fetch_add(&self, value: usize, order: Ordering) -> usize {
                self.0.fetch_add(value, order)
            }

            pub fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
                self.0.fetch_sub(value, order)
            }
        }

        impl Default for AtomicUsize {
            fn default() -> Self {
                Self::new(0)
            }
        }
    }

    /// None: to look again is nothing new.
    pub const LOOKS: usize = 0;

    ::loom::thread_local! {
        /// The CPU of a task.
        pub static CPU: Cell<usize> = Cell::new(0);
    }

    /// Two CPUs.
    #[derive(Default)]
    pub struct PerCpu<T>([T; 2]);

    impl<T> PerCpu<T> {
        pub fn here(&self) -> &T {
            &self.0[CPU.with(Cell::get)]
        }

        pub fn iter(&self) -> impl Iterator<Item = (CpuId, &T)> {
            self.0.iter().enumerate().map(|(index, value)| (CpuId::new(index as u32), value))
        }
    }

    ::loom::lazy_static! {
        static ref BED: Bed = Bed { calls: Mutex::new(0), called: Condvar::new() };
    }

    /// Where tasks sleep, all at the same address.
    pub struct Bed {
        calls: Mutex<usize>,
        called: Condvar,
    }

    impl Bed {
        pub fn wait_until(&self, _address: usize, done: &mut dyn FnMut() -> bool) {
            loop {
                let heard = *self.calls.lock().unwrap();
                if done() {
                    return;
                }
                let mut calls = self.calls.lock().unwrap();
                while *calls == heard {
                    calls = self.called.wait(calls).unwrap();
                }
            }
        }

        pub fn wake_all(&self, _address: usize) {
            *self.calls.lock().unwrap() += 1;
            self.called.notify_all();
        }
    }

    /// Has always been filled.
    pub struct Parkers;

    pub static PARKER: Parkers = Parkers;

    impl Parkers {
        pub fn get(&self) -> Option<&'static Bed> {
            Some(&BED)
        }
    }
}

/// The lock, and what it protects: how often it was written, behind one that nobody ever has to wait for.
struct World {
    lock: Crowd,
    written: RwLock<usize>,
}

impl World {
    fn read(&self) {
        let _together = self.lock.read();
        let Ok(_written) = self.written.try_read() else { panic!("a reader beside a writer") };
        thread::yield_now();
    }

    fn write(&self) {
        let _alone = self.lock.write();
        let Ok(mut written) = self.written.try_write() else { panic!("a writer who is not alone") };
        *written += 1;
        thread::yield_now();
    }
}

/// Runs these beside the first task, which is on CPU 0, each on its CPU; then nobody is in the lock, and so many have written.
fn model(first: fn(&World), others: &'static [(usize, fn(&World))], writers: usize) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let world = Arc::new(World { lock: Crowd::new(), written: RwLock::new(0) });
        let start = |&(cpu, work): &(usize, fn(&World))| {
            let world = world.clone();
            thread::spawn(move || {
                surroundings::CPU.with(|own| own.set(cpu));
                work(&world);
            })
        };
        let others: Vec<_> = others.iter().map(start).collect();
        first(&world);
        others.into_iter().for_each(|other| other.join().unwrap());
        world.write();
        assert_eq!(*world.written.read().unwrap(), writers + 1);
    });
}

#[test]
fn a_writer_waits_for_a_reader_of_another_cpu_and_keeps_it_out() {
    model(World::write, &[(1, World::read)], 1);
}

#[test]
fn readers_of_two_cpus_and_a_writer_all_come_in() {
    model(World::read, &[(1, World::read), (1, World::write)], 1);
}

#[test]
fn two_writers_and_a_reader_all_come_in() {
    model(World::read, &[(1, World::write), (0, World::write)], 2);
}
