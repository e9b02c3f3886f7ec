//! The runnable tasks of one CPU, in the order of their virtual run times.

use super::{GRANULARITY, LATENCY, SLEEPER_CREDIT, WAKE_UP_GRANULARITY, Weight};
use alloc::collections::BinaryHeap;
use core::cmp::Ordering;

/// The runnable tasks of one CPU: the one that runs, and those that wait.
///
/// Each has a virtual run time; the smallest is next. `floor` follows the smallest and never goes back; a task that
/// comes from elsewhere takes along only its distance from the floor there.
#[derive(Debug)]
pub struct Queue<T> {
    current: Option<Entry<T>>,
    waiting: BinaryHeap<Entry<T>>,
    floor: u64,
    weight: u64,
    /// Nanoseconds that the current task has run since it was picked.
    ran: u64,
    /// Numbers for entries: those of equal virtual time take turns, and who came first is known.
    sequence: u64,
}

/// Where a task stood when it left a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    virtual_time: u64,
    floor: u64,
    queue: Option<usize>,
}

#[derive(Debug)]
struct Entry<T> {
    virtual_time: u64,
    sequence: u64,
    arrival: u64,
    weight: Weight,
    task: T,
}

impl Standing {
    /// That of a new task: one turn behind those that are there, so that forking gains nothing.
    pub fn new_task(weight: Weight) -> Self {
        Self { virtual_time: weight.virtual_time(GRANULARITY), floor: 0, queue: None }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { current: None, waiting: BinaryHeap::new(), floor: 0, weight: 0, ran: 0, sequence: 0 }
    }
}

impl<T> Queue<T> {
    /// The task that runs.
    pub fn current(&self) -> Option<&T> {
        self.current.as_ref().map(|entry| &entry.task)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many run or wait.
    pub fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some())
    }

    /// Whether none runs or waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of the weights of those that run or wait.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// Adds a task that was elsewhere or asleep. `number` names this queue among all: a task that comes back to the
    /// queue that it left has its old place, as far as that is not too far from the others.
    pub fn add(&mut self, number: usize, task: T, weight: Weight, standing: Standing) {
        let virtual_time = if standing.queue == Some(number) {
            standing.virtual_time
        } else {
            self.floor.saturating_add(standing.virtual_time).saturating_sub(standing.floor)
        };
        let most_ahead = self.floor + weight.virtual_time(2 * LATENCY);
        let virtual_time = virtual_time.clamp(self.floor.saturating_sub(SLEEPER_CREDIT), most_ahead);
        let sequence = self.next_sequence();
        self.weight += weight.raw();
        self.waiting.push(Entry { virtual_time, sequence, arrival: sequence, weight, task });
    }

    /// Whether the next waiting task should take the place of the current one, which has run `unaccounted` nanoseconds
    /// since [`charge`](Self::charge): asked after [`add`](Self::add).
    pub fn wake_up_preempts(&self, unaccounted: u64) -> bool {
        let (Some(current), Some(next)) = (&self.current, self.waiting.peek()) else {
            return self.current.is_none();
        };
        let now_at = current.virtual_time + current.weight.virtual_time(unaccounted);
        next.virtual_time + next.weight.virtual_time(WAKE_UP_GRANULARITY) < now_at
    }

    /// The current task has run for so many nanoseconds.
    pub fn charge(&mut self, ns: u64) {
        if let Some(current) = &mut self.current {
            current.virtual_time += current.weight.virtual_time(ns);
            self.ran += ns;
            self.raise_floor();
        }
    }

    /// How many nanoseconds the current task may still run before others should have their turn; `None` if nobody
    /// waits or nobody runs.
    pub fn left_of_turn(&self) -> Option<u64> {
        let current = self.current.as_ref()?;
        let next = self.waiting.peek()?;
        let share = (LATENCY * current.weight.raw() / self.weight).max(GRANULARITY);
        if next.virtual_time > current.virtual_time + current.weight.virtual_time(share) {
            // Far ahead of all others: an interruption would only find the same task to run again.
            return Some(share);
        }
        Some(share.saturating_sub(self.ran))
    }

    /// Puts the current task back among the waiting ones.
    pub fn put_back(&mut self) {
        if let Some(mut current) = self.current.take() {
            current.sequence = self.next_sequence();
            self.waiting.push(current);
        }
    }

    /// Puts the current task back behind the next one: `sched_yield`.
    pub fn put_back_yielding(&mut self) {
        if let (Some(current), Some(next)) = (&mut self.current, self.waiting.peek()) {
            current.virtual_time = current.virtual_time.max(next.virtual_time);
        }
        self.put_back();
    }

    /// Takes the current task out: it blocks, ends or moves.
    pub fn take_current(&mut self, number: usize) -> Option<(T, Standing)> {
        let entry = self.current.take()?;
        Some(self.leave(number, entry))
    }

    /// Makes the next waiting task the current one.
    pub fn pick(&mut self) -> Option<&T> {
        debug_assert!(self.current.is_none(), "the current task was neither put back nor taken");
        self.current = Some(self.waiting.pop()?);
        self.ran = 0;
        self.raise_floor();
        self.current()
    }

    /// Takes out the waiting task for which `wanted` is true.
    pub fn remove(&mut self, number: usize, mut wanted: impl FnMut(&T) -> bool) -> Option<(T, Standing)> {
        let sequence = self.waiting.iter().find(|entry| wanted(&entry.task))?.sequence;
        self.remove_entry(number, sequence)
    }

    /// Takes out the waiting task that is here longest among those for which `movable` is true.
    pub fn steal(&mut self, number: usize, mut movable: impl FnMut(&T, Weight) -> bool) -> Option<(T, Standing)> {
        let candidates = self.waiting.iter().filter(|entry| movable(&entry.task, entry.weight));
        let sequence = candidates.min_by_key(|entry| entry.arrival)?.sequence;
        self.remove_entry(number, sequence)
    }

    /// Gives the task for which `wanted` is true, running or waiting, another weight.
    pub fn set_weight(&mut self, weight: Weight, mut wanted: impl FnMut(&T) -> bool) {
        if let Some(current) = self.current.as_mut().filter(|entry| wanted(&entry.task)) {
            self.weight = self.weight - current.weight.raw() + weight.raw();
            current.weight = weight;
        } else if self.waiting.iter().any(|entry| wanted(&entry.task)) {
            let mut entries = core::mem::take(&mut self.waiting).into_vec();
            if let Some(entry) = entries.iter_mut().find(|entry| wanted(&entry.task)) {
                self.weight = self.weight - entry.weight.raw() + weight.raw();
                entry.weight = weight;
            }
            self.waiting = entries.into();
        }
    }

    fn remove_entry(&mut self, number: usize, sequence: u64) -> Option<(T, Standing)> {
        let mut entries = core::mem::take(&mut self.waiting).into_vec();
        let found = entries.iter().position(|entry| entry.sequence == sequence);
        let entry = found.map(|index| entries.swap_remove(index));
        self.waiting = entries.into();
        entry.map(|entry| self.leave(number, entry))
    }

    fn leave(&mut self, number: usize, entry: Entry<T>) -> (T, Standing) {
        self.weight -= entry.weight.raw();
        let standing = Standing { virtual_time: entry.virtual_time, floor: self.floor, queue: Some(number) };
        (entry.task, standing)
    }

    fn raise_floor(&mut self) {
        let current = self.current.as_ref().map(|entry| entry.virtual_time);
        let next = self.waiting.peek().map(|entry| entry.virtual_time);
        if let Some(smallest) = current.into_iter().chain(next).min() {
            self.floor = self.floor.max(smallest);
        }
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

// The heap gives its greatest entry first: that with the smallest virtual time, then the smallest number.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.virtual_time, other.sequence).cmp(&(self.virtual_time, self.sequence))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::super::Nice;
    use super::*;

    fn queue_of(tasks: &[(char, i32)]) -> Queue<char> {
        let mut queue = Queue::default();
        for &(task, nice) in tasks {
            let weight = Nice::new(nice).weight();
            queue.add(0, task, weight, Standing::new_task(Nice::new(0).weight()));
        }
        queue
    }

    #[test]
    fn tasks_that_yield_take_turns_in_the_order_in_which_they_came() {
        let mut queue = queue_of(&[('a', 0), ('b', 0), ('c', 0)]);
        let mut order = alloc::string::String::new();
        for _ in 0..7 {
            order.push(*queue.pick().unwrap());
            queue.charge(100);
            queue.put_back_yielding();
        }
        assert_eq!(order, "abcabca");
    }

    #[test]
    fn a_long_sleeper_goes_before_a_busy_task_and_a_short_one_does_not() {
        let mut queue = queue_of(&[('a', 0), ('b', 0)]);
        queue.pick();
        let (a, standing) = queue.take_current(0).unwrap();
        queue.pick();
        queue.charge(500_000);
        queue.add(0, a, Nice::new(0).weight(), standing);
        assert!(!queue.wake_up_preempts(0));
        assert!(queue.wake_up_preempts(2_000_000));
    }

    #[test]
    fn the_weight_is_that_of_all_who_are_there() {
        let mut queue = queue_of(&[('a', 0), ('b', 5), ('c', -5)]);
        assert_eq!(queue.weight(), 1024 + 335 + 3121);
        queue.set_weight(Nice::new(0).weight(), |&task| task == 'c');
        queue.remove(0, |&task| task == 'b').unwrap();
        queue.pick();
        queue.take_current(0).unwrap();
        assert_eq!((queue.weight(), queue.len()), (1024, 1));
    }

    #[test]
    fn the_one_that_is_there_longest_is_stolen() {
        let mut queue = queue_of(&[('a', 0), ('b', 0), ('c', 0)]);
        queue.pick();
        queue.charge(50_000_000);
        queue.put_back();
        assert_eq!(queue.steal(0, |_, _| true).unwrap().0, 'a');
    }
}
