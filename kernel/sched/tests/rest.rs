//! Every order of steps in which a task falls asleep while others wake, interrupt and freeze it. A wake-up that is lost
//! leaves the sleeper on its condition variable for ever, which loom reports as a deadlock.
#![cfg(loom)]

// The scheduler itself has locks in statics, which those of loom can't be; under loom there is only this part of it.
#[allow(dead_code)]
#[path = "../src/rest.rs"]
mod rest;

/// The harness runs what is in modules of this name under loom.
mod loom {
    use super::rest::{Activity, Freezing, Kind, Rest, Round, WaitError, Woken};
    use ::loom::{
        model::Builder,
        sync::{Arc, Condvar, Mutex, MutexGuard, atomic::AtomicBool, atomic::Ordering::SeqCst},
        thread,
    };

    fn model(run: impl Fn() + Sync + Send + 'static) {
        let mut builder = Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(run);
    }

    /// A task, its run queue, which has room for it alone, and what it waits for.
    struct World {
        rest: Rest,
        /// The run state: whether the task is in the run queue.
        queued: Mutex<bool>,
        runs: Condvar,
        condition: AtomicBool,
        /// The wait queue: whether the task is in it.
        waits: Mutex<bool>,
    }

    impl World {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                rest: Rest::new(),
                queued: Mutex::new(true),
                runs: Condvar::new(),
                condition: AtomicBool::new(false),
                waits: Mutex::new(false),
            })
        }

        /// Gives the CPU away until somebody has put the task into the run queue again.
        fn block(&self) {
            let mut queued = self.queued.lock().unwrap();
            *queued = self.rest.goes_on();
            while !*queued {
                queued = self.runs.wait(queued).unwrap();
            }
        }

        fn sleep(&self, kind: Kind) -> Result<(), WaitError> {
            loop {
                let look = || {
                    *self.waits.lock().unwrap() = true;
                    self.condition.load(SeqCst).then_some(())
                };
                match self.rest.round(kind, look, || false, || self.block()) {
                    Round::Ends(result) => return result,
                    Round::Freezes => self.stay_frozen(),
                    Round::Again => {}
                }
            }
        }

        fn stay_frozen(&self) {
            let marked = {
                let _state = self.queued.lock().unwrap();
                self.rest.mark_frozen()
            };
            while marked && self.rest.stays_frozen(|| self.block()) {}
        }

        fn wake(&self, wanted: impl Fn(Activity) -> bool) -> Woken {
            self.rest.wake(wanted, || self.queued.lock().unwrap(), |queued| self.go_on(queued))
        }

        fn go_on(&self, queued: &mut MutexGuard<'_, bool>) {
            **queued = true;
            self.runs.notify_one();
        }

        /// Makes true what the task waits for, and wakes it if it waits.
        fn happen(&self) {
            self.condition.store(true, SeqCst);
            if core::mem::take(&mut *self.waits.lock().unwrap()) {
                self.wake(|activity| matches!(activity, Activity::Sleeping | Activity::Uninterruptible));
            }
        }

        fn interrupt(&self) {
            self.rest.interrupt(|| (), || self.queued.lock().unwrap(), |queued| self.go_on(queued));
        }
    }

    fn beside(world: &Arc<World>, act: impl Fn(&World) + 'static) -> thread::JoinHandle<()> {
        let world = world.clone();
        thread::spawn(move || act(&world))
    }

    /// Fails on a version of `round` that looks before it says that the task will sleep.
    #[test]
    fn no_wake_up_is_lost() {
        for kind in [0, 1] {
            model(move || {
                let world = World::new();
                let waker = beside(&world, World::happen);
                let kind = if kind == 0 { Kind::Interruptible } else { Kind::Uninterruptible };
                assert_eq!(world.sleep(kind), Ok(()));
                waker.join().unwrap();
                assert!(*world.queued.lock().unwrap() && world.rest.goes_on());
            });
        }
    }

    /// Fails on a version of `interrupt` that wakes before it marks.
    #[test]
    fn an_interrupt_ends_a_sleep_whenever_it_comes() {
        model(|| {
            let world = World::new();
            let sender = beside(&world, World::interrupt);
            assert_eq!(world.sleep(Kind::Interruptible), Err(WaitError::Interrupted));
            sender.join().unwrap();
        });
    }

    #[test]
    fn of_an_interrupt_and_an_event_one_at_least_is_seen_and_neither_disturbs_the_other() {
        model(|| {
            let world = World::new();
            let others = [beside(&world, World::interrupt), beside(&world, World::happen)];
            let result = world.sleep(Kind::Interruptible);
            assert!(matches!(result, Ok(()) | Err(WaitError::Interrupted)));
            others.into_iter().for_each(|other| other.join().unwrap());
            assert!(world.rest.interrupt_pending() && world.rest.goes_on());
            assert_eq!(world.sleep(Kind::Uninterruptible), Ok(()));
        });
    }

    /// Fails on a version of `freeze` that leaves a task asleep that is still on its CPU, and on one of `round` that looks for
    /// the wish before it says that the task will sleep.
    #[test]
    fn who_is_wanted_frozen_is_frozen_where_it_sleeps_or_comes_to_see_it() {
        model(|| {
            let world = World::new();
            let freezer = beside(&world, |world| {
                let freezing = {
                    let queued = world.queued.lock().unwrap();
                    world.rest.freeze(*queued, || ())
                };
                if freezing == Freezing::Done {
                    world.condition.store(true, SeqCst);
                    let _ = {
                        let _state = world.queued.lock().unwrap();
                        world.rest.thaw()
                    };
                    world.wake(|activity| activity == Activity::Sleeping);
                }
            });
            let look = || world.condition.load(SeqCst).then_some(());
            while let Round::Again = world.rest.round(Kind::Interruptible, look, || false, || world.block()) {}
            freezer.join().unwrap();
        });
    }

    /// Fails on a version of `stays_frozen` that looks whether the task is frozen before it says that it will sleep.
    #[test]
    fn a_freeze_and_a_thaw_cost_no_wake_up() {
        model(|| {
            let world = World::new();
            let freezer = beside(&world, |world| {
                let freezing = {
                    let queued = world.queued.lock().unwrap();
                    world.rest.freeze(*queued, || ())
                };
                assert!(matches!(freezing, Freezing::Soon | Freezing::Done));
                let (wished, frozen) = {
                    let _state = world.queued.lock().unwrap();
                    world.rest.thaw()
                };
                assert!(wished);
                if frozen {
                    world.wake(|activity| matches!(activity, Activity::Sleeping | Activity::Uninterruptible));
                }
            });
            let waker = beside(&world, World::happen);
            assert_eq!(world.sleep(Kind::Interruptible), Ok(()));
            freezer.join().unwrap();
            waker.join().unwrap();
        });
    }
}
