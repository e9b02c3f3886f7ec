//! All runnable tasks of one CPU: those with reservations, behind them those of real time, and behind these those that share
//! by virtual time.

use super::{
    claim::CPU,
    class::{Class, Urgency},
    deadline::Deadlines,
    group::{Group, Roots},
    level::Standing,
    offer::Taken,
    queue::Queue,
    real_time::{RealTime, RealTimeLimit},
    weight::Weight,
};
use alloc::sync::Arc;
use base::CpuId;

/// The load that a task is that goes before others: that of many others, so that these go elsewhere.
const URGENT_LOAD: u64 = super::Nice::MOST.weight().load();

/// The runnable tasks of one CPU: the one that runs, and those that wait.
#[derive(Debug)]
pub struct Runnable<T> {
    /// Only those that share by virtual time are here, and were lately: most queues never see anything else.
    is_plain: bool,
    deadlines: Deadlines<T>,
    real_time: RealTime<T>,
    fair: Queue<T>,
    /// What those that go first have taken from these.
    taken: Taken,
}

impl<T> Runnable<T> {
    /// Nobody is there; in the queue of virtual time the members of `roots` compete. `number` names it among all.
    pub fn new(number: usize, roots: &Roots) -> Self {
        Self {
            is_plain: true,
            deadlines: Deadlines::new(CpuId::new(number as u32), RealTimeLimit::USUAL.portion()),
            real_time: RealTime::new(),
            fair: Queue::new(number, roots),
            taken: Taken::default(),
        }
    }

    /// The task that runs.
    pub fn current(&self) -> Option<&T> {
        if self.is_plain {
            return self.fair.current();
        }
        self.deadlines.current().or_else(|| self.real_time.current()).or_else(|| self.fair.current())
    }

    /// Whether a task runs.
    pub fn is_running(&self) -> bool {
        self.fair.is_running() || !self.is_plain && self.urgent_current().is_some()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        if self.is_plain {
            return self.fair.waiting();
        }
        self.deadlines.waiting() + self.real_time.waiting() + self.fair.waiting()
    }

    /// How many run or wait.
    pub fn len(&self) -> usize {
        if self.is_plain {
            return self.fair.len();
        }
        self.urgent() + self.fair.len()
    }

    /// Whether none runs or waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of the loads of those that run or wait.
    pub fn load(&self) -> u64 {
        if self.is_plain {
            return self.fair.load();
        }
        self.fair.load() + URGENT_LOAD * self.urgent() as u64
    }

    /// How many run or wait that go before those who share by virtual time.
    fn urgent(&self) -> usize {
        self.deadlines.len() + self.real_time.len()
    }

    /// The one that runs, if it is one of them.
    fn urgent_current(&self) -> Option<&T> {
        self.deadlines.current().or_else(|| self.real_time.current())
    }

    /// The greatest urgency of those that run or wait; `None` if all share by virtual time.
    pub fn urgency(&self) -> Option<Urgency> {
        if self.is_plain {
            return None;
        }
        let running = self.deadlines.running().or_else(|| self.real_time.running().map(Urgency::from));
        running.max(self.waiting_urgency())
    }

    /// The greatest urgency of those that wait.
    pub fn waiting_urgency(&self) -> Option<Urgency> {
        self.first_urgent().map(|(_, urgency)| urgency)
    }

    /// The first task that waits of those that go before the others.
    pub fn first_urgent(&self) -> Option<(&T, Urgency)> {
        let of_real_time = || self.real_time.first().map(|(task, priority)| (task, Urgency::from(priority)));
        self.deadlines.first().or_else(of_real_time)
    }

    /// How much time others must be left.
    pub fn set_real_time_limit(&mut self, limit: RealTimeLimit) {
        self.real_time.set_limit(limit);
        self.deadlines.set_most(limit.portion());
    }

    /// Adds a task that was elsewhere or asleep. `group` and `standing` count in the queue of virtual time; there a task
    /// that comes back to where it left has its old place, as far as that is not too far from the others.
    #[inline]
    pub fn add(&mut self, class: Class<'_>, group: Option<&Arc<Group>>, task: T, standing: Standing) {
        match class {
            Class::Fair { weight, .. } => self.fair.add(group, task, weight, standing),
            Class::RealTime { priority, takes_turns } => {
                self.is_plain = false;
                self.real_time.add(task, priority, takes_turns, standing);
            }
            Class::Deadline(server) => {
                self.is_plain = false;
                self.deadlines.add(task, server.clone(), standing);
            }
        }
    }

    /// Whether a waiting task of `class` and `group` should take the place of the current one, which has run
    /// `unaccounted` nanoseconds since [`charge`](Self::charge): asked after [`add`](Self::add).
    #[inline]
    pub fn wake_up_preempts(&self, class: Class<'_>, group: Option<&Arc<Group>>, unaccounted: u64) -> bool {
        match (class, self.urgent_current()) {
            (Class::Fair { eager, .. }, None) => self.fair.wake_up_preempts(group, eager, unaccounted),
            (Class::Fair { .. }, Some(_)) => self.deadlines.current().is_none() && self.real_time.is_out_of_time(),
            (Class::RealTime { priority, .. }, Some(_)) => {
                self.deadlines.current().is_none() && Some(priority) > self.real_time.running()
            }
            (Class::RealTime { .. }, None) => self.fair.current().is_none() || !self.real_time.is_out_of_time(),
            (Class::Deadline(server), _) => Some(server.urgency()) > self.deadlines.running(),
        }
    }

    /// The current task has run for so many nanoseconds, until `now`.
    #[inline]
    pub fn charge(&mut self, ns: u64, now: u64) {
        if self.is_plain { self.fair.charge(ns, now) } else { self.charge_urgent(ns, now) }
    }

    #[cold]
    fn charge_urgent(&mut self, ns: u64, now: u64) {
        let is_fair = self.urgent_current().is_none();
        self.deadlines.charge(ns, now);
        self.real_time.charge(if is_fair { 0 } else { ns }, now);
        if is_fair {
            self.fair.charge(ns, now);
        }
        self.is_plain = self.real_time.is_unused() && self.deadlines.is_unused();
        if let Some(left) = self.taken.charge(if is_fair { 0 } else { ns }, now, self.is_plain) {
            self.fair.offer(left);
        }
    }

    /// How many nanoseconds the current task may still run before others should have their turn; `None` if nobody
    /// waits or nobody runs.
    #[inline]
    pub fn left_of_turn(&self) -> Option<u64> {
        if self.is_plain { self.fair.left_of_turn() } else { self.left_beside_urgent() }
    }

    #[cold]
    fn left_beside_urgent(&self) -> Option<u64> {
        if self.deadlines.current().is_some() {
            return self.deadlines.left_of_turn();
        }
        let is_overtaken = (self.is_running() && self.deadlines.waiting() > 0).then_some(0);
        if self.real_time.current().is_some() {
            return is_overtaken.or_else(|| self.real_time.left_of_turn(self.fair.waiting() > 0));
        }
        self.fair.current()?;
        let kept = (self.real_time.waiting() > 0).then(|| match self.real_time.is_out_of_time() {
            true => self.real_time.left_of_period(),
            false => 0,
        });
        [is_overtaken, kept, self.fair.left_of_turn()].into_iter().flatten().min()
    }

    /// How many nanoseconds the current task may run before it needs more of its groups' time; `None` without limits.
    pub fn left_of_slice(&self) -> Option<u64> {
        self.fair.left_of_slice()
    }

    /// Whether the current task has to wait for the next period of its own or of a group, once it may.
    pub fn is_out_of_time(&self) -> bool {
        self.fair.is_out_of_time() || !self.is_plain && self.deadlines.is_out_of_time()
    }

    /// Takes the current task aside until the next period, if it is out of its own or its group's time. Whether it was.
    pub fn park(&mut self, group: Option<Arc<Group>>) -> bool {
        if !self.is_plain && self.deadlines.current().is_some() {
            return self.deadlines.park();
        }
        self.fair.park(group)
    }

    /// Puts the current task back among the waiting ones.
    #[inline]
    pub fn put_back(&mut self) {
        if self.is_plain {
            self.fair.put_back();
        } else if self.deadlines.current().is_some() {
            self.deadlines.put_back();
        } else if self.real_time.current().is_some() {
            self.real_time.put_back(false);
        } else {
            self.fair.put_back();
        }
    }

    /// The same for one that lets others go first: `sched_yield`. With a reservation it does without the rest of that until the
    /// next period, for which it has to wait once it may.
    pub fn put_back_yielding(&mut self) {
        if self.deadlines.current().is_some() {
            self.deadlines.forgo();
            self.deadlines.put_back();
        } else if self.real_time.current().is_some() {
            self.real_time.put_back(true);
        } else {
            self.fair.put_back_yielding();
        }
    }

    /// `sched_yield` where that is only a change of places: the next task is the current one; it is given with its turn in
    /// nanoseconds. `None`, and nothing done, where it needs [`put_back_yielding`](Self::put_back_yielding) and
    /// [`pick`](Self::pick).
    #[inline]
    pub fn pass_on(&mut self) -> Option<(&T, u64)> {
        if self.is_plain { self.fair.pass_on() } else { None }
    }

    /// Takes the current task out: it blocks, ends or moves.
    #[inline]
    pub fn take_current(&mut self) -> Option<(T, Standing)> {
        if self.is_plain {
            return self.fair.take_current();
        }
        let urgent = self.deadlines.take_current().or_else(|| self.real_time.take_current());
        urgent.or_else(|| self.fair.take_current())
    }

    /// Makes the next waiting task the current one.
    #[inline]
    pub fn pick(&mut self, now: u64) -> Option<&T> {
        if self.is_plain {
            return self.fair.pick(now);
        }
        if self.deadlines.pick() {
            return self.current();
        }
        let others_first = self.real_time.is_out_of_time() && self.fair.waiting() > 0;
        if others_first || !self.real_time.pick() {
            self.fair.pick(now);
        }
        self.current()
    }

    /// Takes out the waiting task of `group` for which `wanted` is true.
    pub fn remove(&mut self, group: Option<&Arc<Group>>, wanted: impl Fn(&T) -> bool) -> Option<(T, Standing)> {
        let urgent = self.steal_urgent(None, &wanted).or_else(|| self.deadlines.unpark(&wanted));
        urgent.or_else(|| self.fair.remove(group, wanted))
    }

    /// Takes out a waiting task for which `movable` is true: the most urgent, else the one that is here longest.
    /// `movable` is given each task with its part of [`load`](Self::load).
    pub fn steal(&mut self, mut movable: impl FnMut(&T, u64) -> bool) -> Option<(T, Standing)> {
        self.steal_urgent(None, |task| movable(task, URGENT_LOAD)).or_else(|| self.fair.steal(movable))
    }

    /// A task of `group` has gone from here to another queue, and is there by now.
    pub fn look_again(&mut self, group: Option<&Arc<Group>>) {
        self.fair.look_again(group);
    }

    /// Takes out the most urgent waiting task for which `movable` is true, if it goes before `above` and those who share by
    /// virtual time.
    pub fn steal_urgent(
        &mut self,
        above: Option<Urgency>,
        mut movable: impl FnMut(&T) -> bool,
    ) -> Option<(T, Standing)> {
        self.deadlines.take(above, &mut movable).or_else(|| self.real_time.take(above, movable))
    }

    /// Gives the task of `group` for which `wanted` is true, running or waiting, another weight, which counts in the queue
    /// of virtual time.
    pub fn set_weight(&mut self, group: Option<&Arc<Group>>, weight: Weight, wanted: impl Fn(&T) -> bool) {
        self.fair.set_weight(group, weight, wanted);
    }

    /// When the first task or group that waits for its next period may go on; `u64::MAX` if none waits.
    pub fn resumes_at(&self) -> u64 {
        let fair = self.fair.resumes_at();
        if self.is_plain { fair } else { fair.min(self.deadlines.resumes_at()) }
    }

    /// Lets go on who has time again. Whether a task came back.
    pub fn resume(&mut self, now: u64) -> bool {
        let came = !self.is_plain && self.deadlines.resume(now);
        self.fair.resume(now) || came
    }

    /// Puts everybody back who waits here for a next period: the CPU goes offline.
    pub fn close(&mut self, now: u64) {
        self.deadlines.release_parked();
        self.fair.release_parked(now);
        self.fair.offer(0);
    }

    /// The CPU is online again.
    pub fn open(&mut self) {
        self.fair.offer(CPU);
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
    use crate::policy::{Nice, Policy, Priority};

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
            let class = policy.class(Nice::default(), None);
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
        assert_eq!((runner.run(100), runner.queue.urgency()), ('c', Priority::new(50).map(Urgency::from)));
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
        let class = |policy: Policy| policy.class(Nice::default(), None);
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
        assert_eq!(runner.queue.steal_urgent(Some(Urgency::from(Priority::MIN)), |_| true), None);
        assert_eq!(runner.queue.steal_urgent(None, |_| true).map(|(task, _)| task), Some('a'));
    }

    #[test]
    fn an_idle_task_has_what_others_leave() {
        let mut runner = Runner::new(&[('o', Policy::Other), ('i', Policy::Idle)]);
        let ran = (0..20_000).filter(|_| runner.run(1) == 'i').count();
        assert!((20..=100).contains(&ran), "{ran} of 20,000 ms");
    }
}
