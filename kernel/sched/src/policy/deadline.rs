//! The runnable tasks of one CPU that have reservations: the earliest deadline goes first, and who has run all that it may
//! waits for its next period.

use super::{
    class::Urgency,
    level::Standing,
    server::{Server, WHOLE_CPU, portion},
};
use alloc::{sync::Arc, vec::Vec};
use base::CpuId;

#[derive(Debug)]
struct Entry<T> {
    task: T,
    server: Arc<Server>,
    /// Where it stood among the others when it was one of them.
    standing: Standing,
}

impl<T> Entry<T> {
    fn deadline(&self) -> u64 {
        self.server.standing().0
    }
}

/// A task that has left with time that it could still use: until then its bandwidth is not to be reclaimed.
#[derive(Debug)]
struct Lingering {
    server: Arc<Server>,
    until: u64,
}

#[derive(Debug)]
pub(super) struct Deadlines<T> {
    home: CpuId,
    current: Option<Entry<T>>,
    /// The earliest deadline first; those of equal ones as they came.
    waiting: Vec<Entry<T>>,
    /// Those that wait for their next periods, and when the first of these begins.
    parked: Vec<Entry<T>>,
    resumes_at: u64,
    lingering: Vec<Lingering>,
    /// The part of this CPU that may be reserved.
    most: u64,
    now: u64,
}

impl<T> Deadlines<T> {
    pub(super) fn new(home: CpuId, most: u64) -> Self {
        Self {
            home,
            current: None,
            waiting: Vec::new(),
            parked: Vec::new(),
            resumes_at: u64::MAX,
            lingering: Vec::new(),
            most,
            now: 0,
        }
    }

    pub(super) fn set_most(&mut self, most: u64) {
        self.most = most;
    }

    pub(super) fn current(&self) -> Option<&T> {
        self.current.as_ref().map(|entry| &entry.task)
    }

    pub(super) fn running(&self) -> Option<Urgency> {
        self.current.as_ref().map(|entry| entry.server.urgency())
    }

    /// The first of those that wait for this CPU.
    pub(super) fn first(&self) -> Option<(&T, Urgency)> {
        self.waiting.first().map(|entry| (&entry.task, entry.server.urgency()))
    }

    /// How many wait for this CPU.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many run or wait for this CPU.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some())
    }

    /// Whether nothing is here and nothing was lately.
    pub(super) fn is_unused(&self) -> bool {
        self.len() == 0 && self.parked.is_empty() && self.lingering.is_empty()
    }

    /// Adds a task. One that has run all that it may comes as well: it has to finish what it does in the kernel.
    pub(super) fn add(&mut self, task: T, server: Arc<Server>, standing: Standing) {
        server.set_home(self.home);
        self.lingering.retain(|lingering| !Arc::ptr_eq(&lingering.server, &server));
        self.insert(Entry { task, server, standing });
    }

    fn insert(&mut self, entry: Entry<T>) {
        let index = self.waiting.partition_point(|other| other.deadline() <= entry.deadline());
        self.waiting.insert(index, entry);
    }

    /// Makes the first one current. Whether there was one.
    pub(super) fn pick(&mut self) -> bool {
        if !self.waiting.is_empty() {
            self.current = Some(self.waiting.remove(0));
        }
        self.current.is_some()
    }

    /// Puts the current one back, before those of equal deadlines.
    pub(super) fn put_back(&mut self) {
        let Some(entry) = self.current.take() else { return };
        if entry.server.is_exhausted() {
            entry.server.renew(self.now);
        }
        let index = self.waiting.partition_point(|other| other.deadline() < entry.deadline());
        self.waiting.insert(index, entry);
    }

    /// The current one does without what it has left in this period.
    pub(super) fn forgo(&mut self) {
        if let Some(current) = &self.current {
            current.server.forgo();
        }
    }

    /// Takes the current one aside until its next period, if it has run all that it may. Whether it had.
    pub(super) fn park(&mut self) -> bool {
        if !self.is_out_of_time() {
            return false;
        }
        let Some(entry) = self.current.take() else { return false };
        entry.server.renew(self.now);
        if entry.server.is_exhausted() {
            self.resumes_at = self.resumes_at.min(entry.server.renews_at());
            self.parked.push(entry);
        } else {
            self.insert(entry);
        }
        true
    }

    /// Whether the current one has run all that it may.
    pub(super) fn is_out_of_time(&self) -> bool {
        self.current.as_ref().is_some_and(|entry| entry.server.is_exhausted())
    }

    /// When the first of those that wait for their next periods may go on; `u64::MAX` if none does.
    pub(super) fn resumes_at(&self) -> u64 {
        self.resumes_at
    }

    /// Lets go on whose next period has begun. Whether somebody came back.
    pub(super) fn resume(&mut self, now: u64) -> bool {
        if now < self.resumes_at {
            return false;
        }
        self.resumes_at = u64::MAX;
        let parked = core::mem::take(&mut self.parked);
        let before = self.waiting.len();
        for entry in parked {
            entry.server.renew(now);
            if entry.server.is_exhausted() {
                self.resumes_at = self.resumes_at.min(entry.server.renews_at());
                self.parked.push(entry);
            } else {
                self.insert(entry);
            }
        }
        self.waiting.len() > before
    }

    /// Puts back everybody who waits here for a next period: the CPU goes offline.
    pub(super) fn release_parked(&mut self) {
        self.resumes_at = u64::MAX;
        core::mem::take(&mut self.parked).into_iter().for_each(|entry| self.insert(entry));
    }

    /// Takes the current one out: it blocks, ends or moves.
    pub(super) fn take_current(&mut self) -> Option<(T, Standing)> {
        let Entry { task, server, standing } = self.current.take()?;
        let now = self.now;
        self.lingering.retain(|lingering| lingering.until > now);
        let until = server.zero_lag();
        if until > now {
            self.lingering.push(Lingering { server, until });
        }
        Some((task, standing))
    }

    /// Takes out the first waiting task that goes before `above` and for which `wanted` is true.
    pub(super) fn take(&mut self, above: Option<Urgency>, mut wanted: impl FnMut(&T) -> bool) -> Option<(T, Standing)> {
        let mut candidates =
            self.waiting.iter().take_while(|entry| above.is_none_or(|above| entry.server.urgency() > above));
        let index = candidates.position(|entry| wanted(&entry.task))?;
        let entry = self.waiting.remove(index);
        Some((entry.task, entry.standing))
    }

    /// Takes out a task that waits for its next period.
    pub(super) fn unpark(&mut self, wanted: impl Fn(&T) -> bool) -> Option<(T, Standing)> {
        let index = self.parked.iter().position(|entry| wanted(&entry.task))?;
        let entry = self.parked.swap_remove(index);
        Some((entry.task, entry.standing))
    }

    /// So many nanoseconds have passed until `now`; the current one, if there is one, has run them.
    pub(super) fn charge(&mut self, ns: u64, now: u64) {
        self.now = now;
        let Some(current) = &self.current else {
            self.lingering.retain(|lingering| lingering.until > now);
            return;
        };
        let reservation = current.server.reservation();
        let counted = if reservation.reclaims { self.reclaimed(ns, reservation.bandwidth(), now) } else { ns };
        if let Some(current) = &self.current {
            current.server.charge(counted);
        }
    }

    /// What counts of a time for a task that reclaims: as much less as others here leave unused. GRUB: the sum of the
    /// bandwidths of those that are active.
    fn reclaimed(&mut self, ns: u64, own: u64, now: u64) -> u64 {
        self.lingering.retain(|lingering| lingering.until > now);
        let here = self.current.iter().chain(&self.waiting).chain(&self.parked).map(|entry| &entry.server);
        let servers = here.chain(self.lingering.iter().map(|lingering| &lingering.server));
        let active: u64 = servers.map(|server| server.reservation().bandwidth()).sum();
        let rate = portion(active.max(own).max(1), self.most).min(WHOLE_CPU);
        (ns * rate).div_ceil(WHOLE_CPU)
    }

    /// How long the current one may still run.
    pub(super) fn left_of_turn(&self) -> Option<u64> {
        let current = self.current.as_ref()?;
        let is_overtaken = self.waiting.first().is_some_and(|next| next.deadline() < current.deadline());
        Some(if is_overtaken { 0 } else { u64::try_from(current.server.standing().1).unwrap_or(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Class, Nice, Policy, Priority, RealTimeLimit, Reservation, Roots, Runnable};
    use super::*;
    use proptest::prelude::*;

    const MILLISECOND: u64 = 1_000_000;
    /// The tasks without reservations.
    const OTHER: usize = 100;
    const FIFO: usize = 101;

    /// One CPU, which chooses anew whenever somebody comes, has run out of time or has it again.
    struct World {
        queue: Runnable<usize>,
        servers: Vec<Arc<Server>>,
        asleep: Vec<bool>,
        ran: [u64; 102],
        now: u64,
    }

    impl World {
        fn new(reservations: &[Reservation]) -> Self {
            let server = |&reservation| Arc::new(Server::new(reservation, CpuId::new(0), 0));
            let mut own = Self {
                queue: Runnable::new(0, &Roots::default()),
                servers: reservations.iter().map(server).collect(),
                asleep: std::vec![false; reservations.len()],
                ran: [0; 102],
                now: 0,
            };
            (0..reservations.len()).for_each(|task| own.add(task));
            own
        }

        fn add(&mut self, task: usize) {
            let class = match task {
                OTHER => Policy::Other.class(Nice::default(), None),
                FIFO => Policy::Fifo(Priority::MAX).class(Nice::default(), None),
                task => Class::Deadline(&self.servers[task]),
            };
            self.queue.add(class, None, task, Standing::new_task(Nice::default().weight()));
        }

        fn sleep(&mut self, task: usize) {
            if self.queue.current() == Some(&task) {
                self.queue.take_current().unwrap();
            } else {
                self.queue.remove(None, |&other| other == task).unwrap();
            }
            self.asleep[task] = true;
        }

        fn wake(&mut self, task: usize) {
            self.asleep[task] = false;
            self.servers[task].wake(self.now);
            self.add(task);
        }

        /// Those that wait for this CPU or run on it, with their deadlines.
        fn ready(&self) -> impl Iterator<Item = (u64, usize)> {
            let ready =
                (0..self.servers.len()).filter(|&task| !self.asleep[task] && !self.servers[task].is_exhausted());
            ready.map(|task| (self.servers[task].standing().0, task))
        }

        fn choose(&mut self) {
            self.queue.resume(self.now);
            if !self.queue.park(None) {
                self.queue.put_back();
            }
            while self.queue.pick(self.now).is_some() && self.queue.is_out_of_time() {
                self.queue.park(None);
            }
        }

        fn run(&mut self, ns: u64) {
            let until = self.now + ns;
            while self.now < until {
                self.choose();
                let left = self.queue.left_of_turn().unwrap_or(u64::MAX).max(1);
                let end = until.min(self.queue.resumes_at()).min(self.now.saturating_add(left));
                if let Some(&task) = self.queue.current() {
                    self.ran[task] += end - self.now;
                }
                self.queue.charge(end - self.now, end);
                self.now = end;
            }
        }

        /// What each of the first ran of so many periods of 100 ms, in hundredths of a CPU.
        fn shares<const COUNT: usize>(&mut self, tasks: [usize; COUNT]) -> [u64; COUNT] {
            let before = self.ran;
            self.run(10_000 * MILLISECOND);
            tasks.map(|task| (self.ran[task] - before[task]) / (100 * MILLISECOND))
        }
    }

    fn reservation(runtime: u64, period: u64) -> Reservation {
        Reservation::new(runtime * MILLISECOND, period * MILLISECOND, 0).unwrap()
    }

    #[test]
    fn the_earliest_deadline_goes_before_all_others_until_its_time_is_used() {
        let mut world = World::new(&[reservation(30, 100), reservation(10, 50)]);
        world.add(FIFO);
        world.add(OTHER);
        world.run(5 * MILLISECOND);
        assert_eq!((world.queue.current(), world.queue.urgency()), (Some(&1), Some(Urgency::of_deadline(50_000_000))));
        world.run(10 * MILLISECOND);
        assert_eq!((world.ran[0], world.ran[1], world.queue.waiting()), (5 * MILLISECOND, 10 * MILLISECOND, 2));
        world.run(30 * MILLISECOND);
        assert_eq!(world.queue.current(), Some(&FIFO));
        // What goes first counts as time that others were kept waiting, and goes on when real time has to wait.
        let [own, other, fifo, rest] = world.shares([0, 1, FIFO, OTHER]);
        assert_eq!((own, other, fifo + rest), (30, 20, 50));
        assert!((3..=5).contains(&rest), "{rest}");
    }

    #[test]
    fn who_yields_waits_for_the_next_period() {
        let mut world = World::new(&[reservation(50, 100)]);
        world.run(20 * MILLISECOND);
        world.queue.put_back_yielding();
        world.run(70 * MILLISECOND);
        assert_eq!((world.ran[0], world.queue.current()), (20 * MILLISECOND, None));
        world.run(20 * MILLISECOND);
        assert_eq!(world.ran[0], 30 * MILLISECOND);
    }

    #[test]
    fn who_reclaims_has_what_the_others_do_not_use() {
        let mut reclaiming = reservation(20, 100);
        reclaiming.reclaims = true;
        let mut world = World::new(&[reclaiming, reservation(30, 100)]);
        world.add(OTHER);
        // Half of the CPU is active, of 95 hundredths that may be: each of these goes as far as 50/95.
        assert_eq!(world.shares([0, 1, OTHER]), [38, 30, 31]);
        world.sleep(1);
        assert_eq!(world.shares([0, 1, OTHER]), [95, 0, 4]);
        world.wake(1);
        assert_eq!(world.shares([0, 1]), [38, 30]);
        world.queue.set_real_time_limit(RealTimeLimit { runtime: 60 * MILLISECOND, period: 100 * MILLISECOND });
        assert_eq!(world.shares([0, 1, OTHER]), [24, 30, 45]);
    }

    #[test]
    fn who_must_end_or_leave_need_not_wait_for_a_period() {
        let mut world = World::new(&[reservation(10, 100)]);
        world.run(50 * MILLISECOND);
        assert_eq!((world.queue.len(), world.queue.resumes_at()), (0, 100 * MILLISECOND));
        assert_eq!(world.queue.remove(None, |&task| task == 0).map(|(task, _)| task), Some(0));
        world.add(0);
        assert_eq!(world.queue.pick(world.now), Some(&0));
        assert!(world.queue.is_out_of_time());
        assert!(world.queue.park(None));
        world.queue.close(world.now);
        assert_eq!(world.queue.steal_urgent(None, |_| true).map(|(task, _)| task), Some(0));
        assert_eq!(world.queue.resumes_at(), u64::MAX);
    }

    fn any_reservations() -> impl Strategy<Value = Vec<Reservation>> {
        proptest::collection::vec((100_000u64..1_000_000, 1u64..10), 1..8).prop_map(|tasks| {
            let shares: u64 = tasks.iter().map(|(_, share)| share).sum();
            let made = |&(period, share): &(u64, u64)| Reservation::new(period * share / shares, period, 0);
            tasks.iter().filter_map(made).collect()
        })
    }

    proptest! {
        /// Together they have reserved the whole CPU; each runs as it likes, and sleeps and wakes up when it likes.
        #[test]
        fn no_deadline_is_missed_and_the_earliest_runs(
            reservations in any_reservations(),
            steps in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0u64..300_000), 1..300),
        ) {
            let mut world = World::new(&reservations);
            world.add(OTHER);
            for (task, sleeps, ns) in steps {
                let task = task.index(reservations.len());
                match (sleeps, world.asleep[task]) {
                    (true, false) => world.sleep(task),
                    (false, true) => world.wake(task),
                    _ => {}
                }
                world.run(ns);
                world.choose();
                let first = world.ready().min().map(|(deadline, _)| deadline);
                let running = world.queue.current().copied().filter(|&task| task != OTHER);
                prop_assert_eq!(running.map(|task| world.servers[task].standing().0), first);
                prop_assert!(first.is_none_or(|first| first >= world.now), "{:?} at {}", first, world.now);
            }
        }
    }
}
