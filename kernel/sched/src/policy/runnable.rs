//! All runnable tasks of one CPU: those of real time, and behind them those that share by virtual time.

use super::{
    class::{Class, Priority},
    group::{Group, Roots},
    level::Standing,
    queue::Queue,
    real_time::{RealTime, RealTimeLimit},
    weight::Weight,
};
use alloc::sync::Arc;

/// The load that a task of real time is: that of many others, so that these go elsewhere.
const REAL_TIME_LOAD: u64 = super::Nice::MOST.weight().load();

/// The runnable tasks of one CPU: the one that runs, and those that wait.
#[derive(Debug)]
pub struct Runnable<T> {
    real_time: RealTime<T>,
    fair: Queue<T>,
}

impl<T> Runnable<T> {
    /// Nobody is there; in the queue of virtual time the members of `roots` compete. `number` names it among all.
    pub fn new(number: usize, roots: &Roots) -> Self {
        Self { real_time: RealTime::new(), fair: Queue::new(number, roots) }
    }

    /// The task that runs.
    pub fn current(&self) -> Option<&T> {
        self.real_time.current().or_else(|| self.fair.current())
    }

    /// Whether a task runs.
    pub fn is_running(&self) -> bool {
        self.fair.is_running() || self.real_time.current().is_some()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.real_time.waiting() + self.fair.waiting()
    }

    /// How many run or wait.
    pub fn len(&self) -> usize {
        self.real_time.len() + self.fair.len()
    }

    /// Whether none runs or waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of the loads of those that run or wait.
    pub fn load(&self) -> u64 {
        self.fair.load() + REAL_TIME_LOAD * self.real_time.len() as u64
    }

    /// The greatest priority of those that run or wait.
    pub fn priority(&self) -> Option<Priority> {
        if self.real_time.is_unused() {
            return None;
        }
        self.real_time.running().max(self.waiting_priority())
    }

    /// The greatest priority of those that wait.
    pub fn waiting_priority(&self) -> Option<Priority> {
        self.first_of_real_time().map(|(_, priority)| priority)
    }

    /// The first task of real time that waits.
    pub fn first_of_real_time(&self) -> Option<(&T, Priority)> {
        self.real_time.first()
    }

    /// How much time others must be left.
    pub fn set_real_time_limit(&mut self, limit: RealTimeLimit) {
        self.real_time.set_limit(limit);
    }

    /// Adds a task that was elsewhere or asleep. `group` and `standing` count in the queue of virtual time; there a task
    /// that comes back to where it left has its old place, as far as that is not too far from the others.
    pub fn add(&mut self, class: Class, group: Option<&Arc<Group>>, task: T, standing: Standing) {
        match class {
            Class::Fair { weight, .. } => self.fair.add(group, task, weight, standing),
            Class::RealTime { priority, takes_turns } => self.real_time.add(task, priority, takes_turns, standing),
        }
    }

    /// Whether a waiting task of `class` and `group` should take the place of the current one, which has run
    /// `unaccounted` nanoseconds since [`charge`](Self::charge): asked after [`add`](Self::add).
    pub fn wake_up_preempts(&self, class: Class, group: Option<&Arc<Group>>, unaccounted: u64) -> bool {
        match (class, self.real_time.running()) {
            (Class::RealTime { priority, .. }, Some(running)) => priority > running,
            (Class::RealTime { .. }, None) => self.fair.current().is_none() || !self.real_time.is_out_of_time(),
            (Class::Fair { .. }, Some(_)) => self.real_time.is_out_of_time(),
            (Class::Fair { eager, .. }, None) => self.fair.wake_up_preempts(group, eager, unaccounted),
        }
    }

    /// The current task has run for so many nanoseconds, until `now`.
    #[inline]
    pub fn charge(&mut self, ns: u64, now: u64) {
        if self.real_time.is_unused() {
            return self.fair.charge(ns, now);
        }
        let is_fair = self.real_time.current().is_none();
        self.real_time.charge(ns, now);
        if is_fair {
            self.fair.charge(ns, now);
        }
    }

    /// How many nanoseconds the current task may still run before others should have their turn; `None` if nobody
    /// waits or nobody runs.
    #[inline]
    pub fn left_of_turn(&self) -> Option<u64> {
        if self.real_time.is_unused() {
            return self.fair.left_of_turn();
        }
        if self.real_time.current().is_some() {
            return self.real_time.left_of_turn(self.fair.waiting() > 0);
        }
        self.fair.current()?;
        let kept = (self.real_time.waiting() > 0).then(|| match self.real_time.is_out_of_time() {
            true => self.real_time.left_of_period(),
            false => 0,
        });
        [kept, self.fair.left_of_turn()].into_iter().flatten().min()
    }

    /// How many nanoseconds the current task may run before it needs more of its groups' time; `None` without limits.
    pub fn left_of_slice(&self) -> Option<u64> {
        self.fair.left_of_slice()
    }

    /// Whether the current task has to wait for the next period of a group, once it may.
    pub fn is_out_of_time(&self) -> bool {
        self.fair.is_out_of_time()
    }

    /// Takes the current task aside until the next period, if it is out of its group's time. Whether it was.
    pub fn park(&mut self, group: Option<Arc<Group>>) -> bool {
        self.fair.park(group)
    }

    /// Puts the current task back among the waiting ones.
    pub fn put_back(&mut self) {
        match self.real_time.current() {
            Some(_) => self.real_time.put_back(false),
            None => self.fair.put_back(),
        }
    }

    /// The same for one that lets others go first: `sched_yield`.
    pub fn put_back_yielding(&mut self) {
        match self.real_time.current() {
            Some(_) => self.real_time.put_back(true),
            None => self.fair.put_back_yielding(),
        }
    }

    /// `sched_yield` where that is only a change of places: the next task is the current one; it is given with its turn in
    /// nanoseconds. `None`, and nothing done, where it needs [`put_back_yielding`](Self::put_back_yielding) and
    /// [`pick`](Self::pick).
    #[inline]
    pub fn pass_on(&mut self) -> Option<(&T, u64)> {
        if self.real_time.is_unused() { self.fair.pass_on() } else { None }
    }

    /// Takes the current task out: it blocks, ends or moves.
    pub fn take_current(&mut self) -> Option<(T, Standing)> {
        match self.real_time.current() {
            Some(_) => self.real_time.take_current(),
            None => self.fair.take_current(),
        }
    }

    /// Makes the next waiting task the current one.
    pub fn pick(&mut self, now: u64) -> Option<&T> {
        if self.real_time.is_unused() {
            return self.fair.pick(now);
        }
        let others_first = self.real_time.is_out_of_time() && self.fair.waiting() > 0;
        if others_first || !self.real_time.pick() {
            self.fair.pick(now);
        }
        self.current()
    }

    /// Takes out the waiting task of `group` for which `wanted` is true.
    pub fn remove(&mut self, group: Option<&Arc<Group>>, wanted: impl Fn(&T) -> bool) -> Option<(T, Standing)> {
        self.real_time.take(None, &wanted).or_else(|| self.fair.remove(group, wanted))
    }

    /// Takes out a waiting task for which `movable` is true: the first of real time, else the one that is here longest.
    /// `movable` is given each task with its part of [`load`](Self::load).
    pub fn steal(&mut self, mut movable: impl FnMut(&T, u64) -> bool) -> Option<(T, Standing)> {
        self.real_time.take(None, |task| movable(task, REAL_TIME_LOAD)).or_else(|| self.fair.steal(movable))
    }

    /// A task of `group` has gone from here to another queue, and is there by now.
    pub fn look_again(&mut self, group: Option<&Arc<Group>>) {
        self.fair.look_again(group);
    }

    /// Takes out the first waiting task of a priority above `above` for which `movable` is true.
    pub fn steal_of_real_time(
        &mut self,
        above: Option<Priority>,
        movable: impl FnMut(&T) -> bool,
    ) -> Option<(T, Standing)> {
        self.real_time.take(above, movable)
    }

    /// Gives the task of `group` for which `wanted` is true, running or waiting, another weight, which counts in the queue
    /// of virtual time.
    pub fn set_weight(&mut self, group: Option<&Arc<Group>>, weight: Weight, wanted: impl Fn(&T) -> bool) {
        self.fair.set_weight(group, weight, wanted);
    }

    /// When the first group that waits for its next period may go on; `u64::MAX` if none waits.
    pub fn resumes_at(&self) -> u64 {
        self.fair.resumes_at()
    }

    /// Lets go on who has time again. Whether a task came back.
    pub fn resume(&mut self, now: u64) -> bool {
        self.fair.resume(now)
    }

    /// Puts everybody back who waits here for a next period: the CPU goes offline.
    pub fn release_parked(&mut self, now: u64) {
        self.fair.release_parked(now);
    }

    /// The group has another parent now; its members and what it weighs come along.
    pub fn reparent(&mut self, group: &Arc<Group>) {
        self.fair.reparent(group);
    }

    /// A group has got a limit, lost it, or has another one. Whether a parked task came back.
    pub fn limits_changed(&mut self, now: u64) -> bool {
        self.fair.limits_changed(now)
    }

    /// Whether levels are here only because nobody has looked at them.
    pub fn has_leftovers(&self) -> bool {
        self.fair.has_leftovers()
    }

    /// Forgets what an idle CPU need not keep.
    pub fn clear_leftovers(&mut self) {
        self.fair.clear_leftovers();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::REAL_TIME_TURN, *};
    use crate::policy::{Nice, Policy};

    const MILLISECOND: u64 = 1_000_000;

    struct Runner {
        queue: Runnable<char>,
        now: u64,
    }

    impl Runner {
        fn new(tasks: &[(char, Policy)]) -> Self {
            let mut own = Self { queue: Runnable::new(0, &Roots::default()), now: 0 };
            tasks.iter().for_each(|&(task, policy)| own.add(task, policy));
            own
        }

        fn add(&mut self, task: char, policy: Policy) {
            let class = policy.class(Nice::default());
            self.queue.add(class, None, task, Standing::new_task(Nice::default().weight()));
        }

        /// Chooses a task and runs it for so many milliseconds; it then is put back.
        fn run(&mut self, milliseconds: u64) -> char {
            let task = *self.queue.pick(self.now).unwrap();
            self.pass(milliseconds);
            self.queue.put_back();
            task
        }

        fn pass(&mut self, milliseconds: u64) {
            self.now += milliseconds * MILLISECOND;
            self.queue.charge(milliseconds * MILLISECOND, self.now);
        }
    }

    fn fifo(priority: u32) -> Policy {
        Policy::Fifo(Priority::new(priority).unwrap())
    }

    fn round_robin(priority: u32) -> Policy {
        Policy::RoundRobin(Priority::new(priority).unwrap())
    }

    #[test]
    fn the_greatest_priority_runs_until_it_leaves() {
        let mut runner = Runner::new(&[('o', Policy::Other), ('a', fifo(1)), ('b', fifo(50)), ('c', fifo(50))]);
        assert_eq!((0..3).map(|_| runner.run(100)).collect::<std::string::String>(), "bbb");
        assert_eq!(runner.queue.pick(runner.now), Some(&'b'));
        assert_eq!(runner.queue.take_current().map(|(task, _)| task), Some('b'));
        assert_eq!((runner.run(100), runner.queue.priority()), ('c', Priority::new(50)));
        assert_eq!(runner.queue.remove(None, |&task| task == 'c').map(|(task, _)| task), Some('c'));
        assert_eq!((runner.run(100), runner.queue.len()), ('a', 2));
    }

    #[test]
    fn equals_take_turns_if_they_are_to_and_yield_to_each_other() {
        let mut runner = Runner::new(&[('a', round_robin(7)), ('b', round_robin(7)), ('c', round_robin(6))]);
        let turn = REAL_TIME_TURN / MILLISECOND;
        let order: std::string::String = (0..6).map(|_| runner.run(turn / 2)).collect();
        assert_eq!(order, "aabbaa");
        runner.queue.pick(runner.now);
        assert_eq!(runner.queue.left_of_turn(), Some(REAL_TIME_TURN));
        runner.queue.put_back_yielding();
        assert_eq!(runner.run(1), 'a');

        let mut runner = Runner::new(&[('a', fifo(7)), ('b', fifo(7))]);
        assert_eq!((runner.run(turn), runner.run(turn)), ('a', 'a'));
        runner.queue.pick(runner.now);
        assert_eq!(runner.queue.left_of_turn(), None);
        runner.queue.put_back_yielding();
        assert_eq!(runner.run(turn), 'b');
    }

    #[test]
    fn who_wakes_up_goes_first_if_its_class_does() {
        let class = |policy: Policy| policy.class(Nice::default());
        for (running, woken, expected) in [
            (Policy::Other, fifo(1), true),
            (fifo(1), fifo(2), true),
            (fifo(2), fifo(2), false),
            (fifo(1), Policy::Other, false),
            (Policy::Idle, Policy::Other, true),
            (Policy::Idle, Policy::Batch, true),
            (Policy::Other, Policy::Idle, false),
            (Policy::Other, Policy::Other, true),
            (Policy::Other, Policy::Batch, false),
        ] {
            let mut runner = Runner::new(&[('a', running)]);
            runner.queue.pick(0);
            runner.pass(50);
            runner.add('b', woken);
            assert_eq!(
                runner.queue.wake_up_preempts(class(woken), None, 10 * MILLISECOND),
                expected,
                "{woken:?} beside {running:?}"
            );
        }
    }

    #[test]
    fn others_have_what_the_limit_leaves_them() {
        let mut runner = Runner::new(&[('a', fifo(99)), ('o', Policy::Other)]);
        let mut ran = [0, 0];
        for _ in 0..5_000 {
            runner.queue.pick(runner.now);
            assert!(runner.queue.left_of_turn().is_some());
            runner.queue.put_back();
            ran[usize::from(runner.run(1) == 'o')] += 1;
        }
        assert_eq!(ran, [4_750, 250]);

        // A period that is over gives the CPU back at once.
        let mut runner = Runner::new(&[('a', fifo(99)), ('o', Policy::Other)]);
        runner.run(950);
        assert_eq!(runner.queue.pick(runner.now), Some(&'o'));
        assert_eq!(runner.queue.left_of_turn(), Some(50 * MILLISECOND));
        runner.pass(50);
        assert_eq!(runner.queue.left_of_turn(), Some(0));
    }

    #[test]
    fn alone_or_without_a_limit_real_time_has_all() {
        let mut runner = Runner::new(&[('a', fifo(1))]);
        assert!((0..3_000).all(|_| runner.run(1) == 'a'));
        runner.add('o', Policy::Other);
        runner.queue.set_real_time_limit(RealTimeLimit { runtime: u64::MAX, period: 1_000 * MILLISECOND });
        assert!((0..3_000).all(|_| runner.run(1) == 'a'));
        assert_eq!(runner.queue.steal_of_real_time(Priority::new(1), |_| true), None);
        assert_eq!(runner.queue.steal_of_real_time(None, |_| true).map(|(task, _)| task), Some('a'));
    }

    #[test]
    fn an_idle_task_has_what_others_leave() {
        let mut runner = Runner::new(&[('o', Policy::Other), ('i', Policy::Idle)]);
        let ran = (0..20_000).filter(|_| runner.run(1) == 'i').count();
        assert!((20..=100).contains(&ran), "{ran} of 20,000 ms");
    }
}
