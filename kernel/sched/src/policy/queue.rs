//! The runnable tasks of one CPU that share by virtual time: whose turn it is, at each level of the groups that they are in.
//!
//! | file | what |
//! |---|---|
//! | `level` | the members of one group on this CPU, ordered by virtual run time |
//! | `tree` | the levels, and how to get past those where nobody competes |
//! | `claim` | what a group counts beside its siblings: its weight, but no more than its tasks can use |
//! | `share` | what part of that this CPU has |
//! | `throttle` | what limits do here |

use super::{
    WAKE_UP_GRANULARITY, Weight,
    claim::CPU,
    group::{Group, Roots},
    level::{Entry, Level, Member, Origin, Standing},
    weight::virtual_time,
};
use alloc::{sync::Arc, vec::Vec};

/// The place of [`Roots::whole`].
pub(super) const WHOLE: usize = 0;
/// The place of [`Roots::rest`].
pub(super) const REST: usize = 1;

/// The runnable tasks of one CPU that share by virtual time: the one that runs, if it is one of them, and those that wait.
///
/// Tasks and groups are members of a level. Each has a virtual run time; in each level the smallest is next. A member
/// that comes from elsewhere takes along only its distance from the smallest there.
#[derive(Debug)]
pub struct Queue<T> {
    /// Which of all queues this is.
    pub(super) number: usize,
    /// By place.
    pub(super) levels: Vec<Option<Level<T>>>,
    pub(super) free: Vec<usize>,
    /// The place of each group's level by the group's number, plus 1; 0 if there is none.
    pub(super) places: Vec<u32>,
    /// The place of the level in which the current task is.
    pub(super) leaf: Option<usize>,
    tasks: usize,
    /// Nanoseconds that the current task has run since it was picked.
    ran: u64,
    /// Numbers for entries and levels.
    sequence: u64,
    /// Nanoseconds run since the shares were last looked at.
    pub(super) unshared: u64,
    /// How much of this CPU is for them, in parts of [`CPU`].
    offered: u64,
    /// The next place to look at.
    pub(super) cursor: usize,
    /// The places of levels that wait for their next period, and when the first of these begins.
    pub(super) throttled: Vec<usize>,
    pub(super) resumes_at: u64,
}

impl<T> Queue<T> {
    /// An empty queue in which the members of `roots` compete; `number` names it among all.
    pub fn new(number: usize, roots: &Roots) -> Self {
        let mut queue = Self {
            number,
            levels: Vec::new(),
            free: Vec::new(),
            places: Vec::new(),
            leaf: None,
            tasks: 0,
            ran: 0,
            sequence: 0,
            unshared: 0,
            offered: 0,
            cursor: 0,
            throttled: Vec::new(),
            resumes_at: u64::MAX,
        };
        queue.make_level(roots.whole.clone(), WHOLE);
        queue.make_level(roots.rest.clone(), WHOLE);
        queue.offer(CPU);
        queue
    }

    /// So much of this CPU is for them from now on, in parts of [`CPU`]: others take the rest, or it is offline.
    pub(super) fn offer(&mut self, part: u64) {
        let before = core::mem::replace(&mut self.offered, part);
        self.level(WHOLE).group.claims.add_due(part.wrapping_sub(before));
    }

    /// Whether one of them runs.
    pub fn is_running(&self) -> bool {
        self.leaf.is_some()
    }

    /// The task that runs.
    #[inline]
    pub fn current(&self) -> Option<&T> {
        self.level(self.leaf?).current.as_ref()?.task()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.tasks - usize::from(self.leaf.is_some())
    }

    /// How many run or wait.
    pub fn len(&self) -> usize {
        self.tasks
    }

    /// Whether none runs or waits.
    pub fn is_empty(&self) -> bool {
        self.tasks == 0
    }

    /// Adds a task of `group` that was elsewhere or asleep. One that comes back to where it left has its old place, as
    /// far as that is not too far from the others.
    pub fn add(&mut self, group: Option<&Arc<Group>>, task: T, weight: Weight, standing: Standing) {
        let place = self.place_of(group);
        self.open(place);
        let (number, sequence) = (self.number, self.next_sequence());
        self.level_mut(place).add(number, Member::Task(task), weight.load(), standing, sequence);
        self.tasks += 1;
        self.link(place, standing.origin == Origin::Moved);
        if !matches!(standing.origin, Origin::Level { queue, .. } if queue == number) {
            // Who decides next where a task should go must see it.
            self.share_news(place);
        }
    }

    /// Whether a waiting task of `group` should take the place of the current one, which has run `unaccounted`
    /// nanoseconds since [`charge`](Self::charge): asked after [`add`](Self::add). One that is not `eager` takes the place
    /// only of what is idle.
    #[inline]
    pub fn wake_up_preempts(&self, group: Option<&Arc<Group>>, eager: bool, unaccounted: u64) -> bool {
        if self.leaf.is_none() {
            return true;
        }
        let mut place = group.map_or(Some(REST), |group| self.find(group));
        while let Some(level) = place.map(|place| self.level(place)) {
            let Some(current) = &level.current else {
                // On to the level where its way and that of the current task part.
                place = self.above(level);
                continue;
            };
            let Some(next) = level.waiting.peek() else { return false };
            let (next_idles, current_idles) = (self.is_idle(next), self.is_idle(current));
            if next_idles != current_idles {
                return current_idles;
            }
            if !eager {
                return false;
            }
            let now_at = current.virtual_time + virtual_time(current.load, unaccounted);
            return next.virtual_time + virtual_time(self.load_of(next), WAKE_UP_GRANULARITY) < now_at;
        }
        false
    }

    /// The current task has run for so many nanoseconds, until `now`.
    #[inline]
    pub fn charge(&mut self, ns: u64, now: u64) {
        let Some(leaf) = self.leaf else { return };
        self.ran += ns;
        let level = self.level_mut(leaf);
        level.charge(ns);
        let (is_topmost, is_limited) = (level.head == WHOLE, level.limited.is_some());
        if !is_topmost {
            let mut place = self.above(self.level(leaf));
            while let Some(at) = place {
                self.level_mut(at).charge(ns);
                place = self.above(self.level(at));
            }
        }
        if is_limited {
            self.charge_limits(leaf, ns, now);
        }
        self.unshared += ns;
        if self.unshared >= super::SHARE_INTERVAL {
            self.unshared = 0;
            self.look(leaf);
        }
    }

    /// How many nanoseconds the current task may still run before others should have their turn; `None` if nobody
    /// waits or nobody runs.
    #[inline]
    pub fn left_of_turn(&self) -> Option<u64> {
        let mut level = self.level(self.leaf?);
        let mut least = self.left_of_turn_in(level);
        while let Some(place) = self.above(level) {
            level = self.level(place);
            least = match (least, self.left_of_turn_in(level)) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        least
    }

    /// The same for one level that the current task is in.
    #[inline]
    fn left_of_turn_in(&self, level: &Level<T>) -> Option<u64> {
        let (current, next) = (level.current.as_ref()?, level.waiting.peek()?);
        let turn = level.turn_of(current);
        // Far ahead of all others: an interruption would only find the same task to run again.
        let is_ahead = next.virtual_time > current.virtual_time + virtual_time(current.load, turn);
        Some(if is_ahead { turn } else { turn.saturating_sub(self.ran) })
    }

    /// Puts the current task back among the waiting ones.
    #[inline]
    pub fn put_back(&mut self) {
        let Some(leaf) = self.leaf.take() else { return };
        self.return_limits(leaf);
        self.put_back_from(Some(leaf));
    }

    /// Puts the current task back behind the next one of the lowest level where another waits: `sched_yield`.
    pub fn put_back_yielding(&mut self) {
        let mut place = self.leaf;
        while let Some(at) = place {
            let level = self.level_mut(at);
            if let (Some(current), Some(next)) = (&mut level.current, level.waiting.peek()) {
                current.virtual_time = current.virtual_time.max(next.virtual_time);
                break;
            }
            place = self.above(self.level(at));
        }
        self.put_back();
    }

    /// What [`put_back_yielding`](Self::put_back_yielding) and [`pick`](Self::pick) do where no level but the current
    /// task's has a choice: it changes places with the next, which is given with its turn in nanoseconds. `None`, and
    /// nothing done, elsewhere.
    #[inline(always)]
    pub fn pass_on(&mut self) -> Option<(&T, u64)> {
        let leaf = self.leaf?;
        let sequence = self.next_sequence();
        let Some(level) = &mut self.levels[leaf] else { return None };
        if level.head != WHOLE || level.limited.is_some() {
            return None;
        }
        let (Some(current), Some(mut next)) = (&mut level.current, level.waiting.peek_mut()) else { return None };
        next.task()?;
        current.virtual_time = current.virtual_time.max(next.virtual_time);
        current.sequence = sequence;
        core::mem::swap(current, &mut *next);
        drop(next);
        level.floor = level.floor.max(current.virtual_time);
        self.ran = 0;
        let turn = super::level::turn_of(current.load, level.load);
        Some((current.task()?, turn))
    }

    /// Takes the current task out: it blocks, ends or moves.
    #[inline]
    pub fn take_current(&mut self) -> Option<(T, Standing)> {
        let leaf = self.leaf.take()?;
        self.return_limits(leaf);
        let level = self.level_mut(leaf);
        let entry = level.current.take();
        self.put_back_from(self.above(self.level(leaf)));
        self.leave(leaf, entry?)
    }

    /// Puts the current members of the level at `place` and those above it back among the waiting ones.
    #[inline]
    fn put_back_from(&mut self, mut place: Option<usize>) {
        while let Some(at) = place {
            let sequence = self.next_sequence();
            let level = self.level_mut(at);
            if let Some(mut current) = level.current.take() {
                current.sequence = sequence;
                level.waiting.push(current);
            }
            place = self.above(self.level(at));
        }
    }

    /// Makes the next waiting task the current one.
    #[inline]
    pub fn pick(&mut self, now: u64) -> Option<&T> {
        debug_assert!(self.leaf.is_none(), "the current task was neither put back nor taken");
        let leaf = self.descend()?;
        self.leaf = Some(leaf);
        self.ran = 0;
        self.take_slices(leaf, now);
        self.current()
    }

    /// Takes out the waiting task of `group` for which `wanted` is true.
    pub fn remove(&mut self, group: Option<&Arc<Group>>, wanted: impl Fn(&T) -> bool) -> Option<(T, Standing)> {
        let place = group.map_or(Some(REST), |group| self.find(group));
        let is_wanted = |entry: &Entry<T>| entry.task().is_some_and(&wanted);
        match place.and_then(|place| Some((place, self.level_mut(place).take_waiting(is_wanted)?))) {
            Some((place, entry)) => self.leave(place, entry),
            None => self.unpark(wanted),
        }
    }

    /// Takes out the waiting task that is here longest among those for which `movable` is true; it is given each task
    /// with its part of [`load`](Self::load).
    pub fn steal(&mut self, mut movable: impl FnMut(&T, u64) -> bool) -> Option<(T, Standing)> {
        let mut oldest: Option<(u64, usize)> = None;
        for (place, level) in self.levels.iter().enumerate() {
            let Some(level) = level else { continue };
            for entry in &level.waiting {
                let Some(task) = entry.task() else { continue };
                if oldest.is_none_or(|(arrival, _)| entry.arrival < arrival)
                    && movable(task, self.load_from(place, entry.load))
                {
                    oldest = Some((entry.arrival, place));
                }
            }
        }
        let (arrival, place) = oldest?;
        let entry = self.level_mut(place).take_waiting(|entry| entry.arrival == arrival)?;
        let stolen = self.leave(place, entry);
        self.unlink_deserted(place);
        self.share_upwards(place);
        stolen.map(|(task, standing)| (task, Standing { origin: Origin::Moved, ..standing }))
    }

    /// Gives the task of `group` for which `wanted` is true, running or waiting, another weight.
    pub fn set_weight(&mut self, group: Option<&Arc<Group>>, weight: Weight, wanted: impl Fn(&T) -> bool) {
        let place = match self.leaf {
            Some(leaf) if self.current().is_some_and(&wanted) => Some(leaf),
            _ => group.map_or(Some(REST), |group| self.find(group)),
        };
        if let Some(place) = place {
            self.level_mut(place).set_load(weight.load(), |entry| entry.task().is_some_and(&wanted));
        }
        self.set_parked_weight(weight, wanted);
    }

    #[inline]
    fn leave(&mut self, place: usize, entry: Entry<T>) -> Option<(T, Standing)> {
        let number = self.number;
        let standing = self.level_mut(place).leave(number, &entry);
        match entry.member {
            Member::Task(task) => {
                self.tasks -= 1;
                Some((task, standing))
            }
            Member::Group(_) => None,
        }
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

#[cfg(test)]
mod tests {
    use super::super::Nice;
    use super::*;
    use proptest::prelude::*;

    fn queue_of(tasks: &[(char, i32)]) -> Queue<char> {
        let mut queue = Queue::new(0, &Roots::default());
        for &(task, nice) in tasks {
            let weight = Nice::new(nice).weight();
            queue.add(None, task, weight, Standing::new_task(Nice::new(0).weight()));
        }
        queue
    }

    #[test]
    fn tasks_that_yield_take_turns_in_the_order_in_which_they_came() {
        let mut queue = queue_of(&[('a', 0), ('b', 0), ('c', 0)]);
        let mut order = alloc::string::String::new();
        for _ in 0..7 {
            order.push(*queue.pick(0).unwrap());
            queue.charge(100, 0);
            queue.put_back_yielding();
        }
        assert_eq!(order, "abcabca");
    }

    proptest! {
        /// Among tasks of any weights, beside a group or not.
        #[test]
        fn passing_on_is_putting_back_and_choosing(
            nices in proptest::collection::vec(-20i32..20, 1..6),
            turns in proptest::collection::vec((0u64..5_000_000, any::<bool>()), 1..60),
            grouped in any::<bool>(),
        ) {
            // Each of a machine of its own.
            let mut queues = [(); 2].map(|()| {
                let roots = Roots::default();
                let group = Group::new(Some(roots.rest.clone()));
                let mut queue = Queue::new(0, &roots);
                for (task, &nice) in nices.iter().enumerate() {
                    let weight = Nice::new(nice).weight();
                    queue.add((grouped && task % 2 == 0).then_some(&group), task, weight, Standing::new_task(weight));
                }
                queue.pick(0);
                queue
            });
            let [one, other] = &mut queues;
            for (ns, yields) in turns {
                one.charge(ns, 0);
                other.charge(ns, 0);
                match yields.then(|| one.pass_on().map(|(_, turn)| turn)).flatten() {
                    Some(turn) => prop_assert_eq!(Some(turn), one.left_of_turn()),
                    None => {
                        one.put_back_yielding();
                        one.pick(0);
                    }
                }
                other.put_back_yielding();
                other.pick(0);
                prop_assert_eq!(one.current(), other.current());
                prop_assert_eq!(one.left_of_turn(), other.left_of_turn());
            }
        }
    }

    #[test]
    fn a_long_sleeper_goes_before_a_busy_task_and_a_short_one_does_not() {
        let mut queue = queue_of(&[('a', 0), ('b', 0)]);
        queue.pick(0);
        let (a, standing) = queue.take_current().unwrap();
        queue.pick(0);
        queue.charge(500_000, 0);
        queue.add(None, a, Nice::new(0).weight(), standing);
        assert!(!queue.wake_up_preempts(None, true, 0));
        assert!(queue.wake_up_preempts(None, true, 2_000_000));
    }

    #[test]
    fn the_load_is_that_of_all_who_are_there() {
        let mut queue = queue_of(&[('a', 0), ('b', 5), ('c', -5)]);
        assert_eq!(queue.load(), (1024 + 335 + 3121) * 1024);
        queue.set_weight(None, Nice::new(0).weight(), |&task| task == 'c');
        queue.remove(None, |&task| task == 'b').unwrap();
        queue.pick(0);
        queue.take_current().unwrap();
        assert_eq!((queue.load(), queue.len()), (1024 * 1024, 1));
    }

    #[test]
    fn a_closed_level_opens_while_it_is_in_none() {
        let roots = Roots::default();
        let mut queue = Queue::new(0, &roots);
        let below = |parent: &Arc<Group>| Group::new(Some(parent.clone()));
        let outer = below(&roots.rest);
        let (left, right) = (below(&outer), below(&outer));
        let inner = below(&left);
        let weight = Nice::new(0).weight();
        queue.add(Some(&inner), 'l', weight, Standing::new_task(weight));
        queue.add(Some(&right), 'r', weight, Standing::new_task(weight));
        let run = |queue: &mut Queue<char>| {
            for _ in 0..40 {
                queue.pick(0);
                queue.charge(1_000_000, 0);
                queue.put_back();
            }
        };
        // `left` is closed: it has one member. Then it becomes empty, and `outer` is closed, which has only `right`.
        run(&mut queue);
        queue.remove(Some(&inner), |&task| task == 'l').unwrap();
        run(&mut queue);
        queue.add(Some(&left), 'o', weight, Standing::new_task(weight));
        let order: Vec<char> = core::iter::repeat_with(|| {
            let task = *queue.pick(0).unwrap();
            queue.charge(4_000_000, 0);
            queue.put_back();
            task
        })
        .take(20)
        .collect();
        assert_eq!(order.iter().filter(|&&task| task == 'o').count(), 10, "{order:?}");
    }

    #[test]
    fn the_one_that_is_there_longest_is_stolen() {
        let mut queue = queue_of(&[('a', 0), ('b', 0), ('c', 0)]);
        queue.pick(0);
        queue.charge(50_000_000, 0);
        queue.put_back();
        assert_eq!(queue.steal(|_, _| true).unwrap().0, 'a');
    }
}
