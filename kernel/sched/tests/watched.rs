//! Every order of steps in which tasks come to a queue and leave it while another wakes who is there. A wake-up that is lost
//! leaves a sleeper on its condition variable for ever, which loom reports as a deadlock.
#![cfg(loom)]

// The scheduler itself has locks in statics, which those of loom can't be; under loom there is only this part of it.
#[path = "../src/watched.rs"]
mod watched;

/// The harness runs what is in modules of this name under loom.
mod loom {
    use super::watched::Watched;
    use ::loom::{
        model::Builder,
        sync::{
            Arc, Condvar, Mutex,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
        thread,
    };

    /// A wait queue with a place for each of the sleepers, and what these wait for.
    struct World {
        places: Mutex<[bool; 2]>,
        woken: Condvar,
        watched: Watched,
        conditions: [AtomicBool; 2],
    }

    impl World {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                places: Mutex::new([false; 2]),
                woken: Condvar::new(),
                watched: Watched::new(),
                conditions: [AtomicBool::new(false), AtomicBool::new(false)],
            })
        }

        /// Sleeps until the condition is true, as `WaitQueue::wait` does.
        fn sleep(&self, me: usize) {
            loop {
                {
                    let mut places = self.places.lock().unwrap();
                    places[me] = true;
                    self.watched.set();
                }
                self.watched.before_look();
                if self.conditions[me].load(Relaxed) {
                    break;
                }
                let mut places = self.places.lock().unwrap();
                while places[me] {
                    places = self.woken.wait(places).unwrap();
                }
            }
            let mut places = self.places.lock().unwrap();
            places[me] = false;
            self.note_who_is_left(&places);
        }

        fn note_who_is_left(&self, places: &[bool; 2]) {
            if !places.contains(&true) {
                self.watched.clear();
            }
        }

        /// Makes a condition true and wakes all who sleep.
        fn happen(&self, which: usize) {
            self.conditions[which].store(true, Relaxed);
            if self.watched.may_be() {
                let mut places = self.places.lock().unwrap();
                *places = [false; 2];
                self.note_who_is_left(&places);
                self.woken.notify_all();
            }
        }
    }

    fn model(run: impl Fn(Arc<World>) + Sync + Send + 'static) {
        let mut builder = Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || run(World::new()));
    }

    fn beside(world: &Arc<World>, act: impl Fn(&World) + 'static) -> thread::JoinHandle<()> {
        let world = world.clone();
        thread::spawn(move || act(&world))
    }

    /// Fails on a version without the fence of `before_look`, on one without that of `may_be`, and on one that looks at the
    /// condition before it says that somebody has come.
    #[test]
    fn who_comes_sees_what_has_happened_or_is_woken() {
        model(|world| {
            let waker = beside(&world, |world| world.happen(0));
            world.sleep(0);
            waker.join().unwrap();
            assert!(!world.watched.may_be());
        });
    }

    /// Fails on a version in which who leaves says that nobody is left without a look.
    #[test]
    fn who_leaves_takes_no_wake_up_from_another() {
        model(|world| {
            let waker = beside(&world, |world| {
                world.happen(0);
                world.happen(1);
            });
            let other = beside(&world, |world| world.sleep(1));
            world.sleep(0);
            other.join().unwrap();
            waker.join().unwrap();
            assert!(!world.watched.may_be());
        });
    }
}
