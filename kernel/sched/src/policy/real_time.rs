//! The runnable tasks of one CPU that go before all others, in the order of their priorities, and the limit on the time that they
//! may keep others waiting.

use super::{
    REAL_TIME_TURN,
    class::{Priority, Urgency},
    level::Standing,
    server::{WHOLE_CPU, portion},
};
use alloc::vec::Vec;

/// How much of each period real-time tasks may have while others wait, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RealTimeLimit {
    /// The time they may have; `u64::MAX` is no limit.
    pub runtime: u64,
    /// The period.
    pub period: u64,
}

impl RealTimeLimit {
    /// Linux's: 95 % of each second.
    pub const USUAL: Self = Self { runtime: 950_000_000, period: 1_000_000_000 };

    /// The part of a CPU that it is, of [`WHOLE_CPU`](super::WHOLE_CPU): that much may be reserved.
    pub fn portion(&self) -> u64 {
        if self.runtime == u64::MAX { WHOLE_CPU } else { portion(self.runtime, self.period) }
    }
}

#[derive(Debug)]
struct Entry<T> {
    task: T,
    priority: Priority,
    takes_turns: bool,
    /// Nanoseconds left of its turn, if it takes turns.
    left: u64,
    /// Where it stood among the others when it was one of them.
    standing: Standing,
}

#[derive(Debug)]
pub(super) struct RealTime<T> {
    current: Option<Entry<T>>,
    /// The highest priority first; those of equal priority in the order of their turns.
    waiting: Vec<Entry<T>>,
    limit: RealTimeLimit,
    /// When the period began, what was used of it, and when that was known.
    began: u64,
    used: u64,
    now: u64,
}

impl<T> RealTime<T> {
    pub(super) fn new() -> Self {
        Self { current: None, waiting: Vec::new(), limit: RealTimeLimit::USUAL, began: 0, used: 0, now: 0 }
    }

    pub(super) fn current(&self) -> Option<&T> {
        self.current.as_ref().map(|entry| &entry.task)
    }

    /// The priority of the one that runs.
    pub(super) fn running(&self) -> Option<Priority> {
        self.current.as_ref().map(|entry| entry.priority)
    }

    /// The first of those that wait.
    pub(super) fn first(&self) -> Option<(&T, Priority)> {
        self.waiting.first().map(|entry| (&entry.task, entry.priority))
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some())
    }

    /// Whether nothing is here and nothing was: most queues never see a task of real time.
    #[inline]
    pub(super) fn is_unused(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty() && self.used == 0
    }

    pub(super) fn set_limit(&mut self, limit: RealTimeLimit) {
        self.limit = limit;
    }

    /// Adds a task, behind those of its priority.
    pub(super) fn add(&mut self, task: T, priority: Priority, takes_turns: bool, standing: Standing) {
        self.insert_behind(Entry { task, priority, takes_turns, left: REAL_TIME_TURN, standing });
    }

    fn insert_behind(&mut self, entry: Entry<T>) {
        let index = self.waiting.partition_point(|other| other.priority >= entry.priority);
        self.waiting.insert(index, entry);
    }

    /// Makes the first one current. Whether there was one.
    pub(super) fn pick(&mut self) -> bool {
        if !self.waiting.is_empty() {
            self.current = Some(self.waiting.remove(0));
        }
        self.current.is_some()
    }

    /// Puts the current one back: behind those of its priority if its turn is over or it `yields`, else before them.
    pub(super) fn put_back(&mut self, yields: bool) {
        let Some(mut entry) = self.current.take() else { return };
        let turn_is_over = entry.takes_turns && entry.left == 0;
        if turn_is_over {
            entry.left = REAL_TIME_TURN;
        }
        if turn_is_over || yields {
            self.insert_behind(entry);
        } else {
            let index = self.waiting.partition_point(|other| other.priority > entry.priority);
            self.waiting.insert(index, entry);
        }
    }

    pub(super) fn take_current(&mut self) -> Option<(T, Standing)> {
        self.current.take().map(|entry| (entry.task, entry.standing))
    }

    /// Takes out the first waiting task above a priority for which `wanted` is true.
    pub(super) fn take(&mut self, above: Option<Urgency>, mut wanted: impl FnMut(&T) -> bool) -> Option<(T, Standing)> {
        let mut candidates =
            self.waiting.iter().take_while(|entry| above.is_none_or(|above| Urgency::from(entry.priority) > above));
        let index = candidates.position(|entry| wanted(&entry.task))?;
        let entry = self.waiting.remove(index);
        Some((entry.task, entry.standing))
    }

    /// It is `now`; since the last call tasks that go before others have run for so many nanoseconds, the current one, if
    /// there is one.
    pub(super) fn charge(&mut self, ns: u64, now: u64) {
        self.now = now;
        self.used = self.used.saturating_add(ns);
        if let Some(current) = &mut self.current {
            current.left = current.left.saturating_sub(ns);
        }
        let gone = now.saturating_sub(self.began);
        if gone >= self.limit.period {
            self.began = now - gone % self.limit.period;
            // What was run over the limit, because nobody else was there or nobody looked, is forgotten.
            self.used = 0;
        }
    }

    /// Whether others, if they wait, go first until the next period.
    pub(super) fn is_out_of_time(&self) -> bool {
        self.used >= self.limit.runtime
    }

    /// Nanoseconds until the next period.
    pub(super) fn left_of_period(&self) -> u64 {
        (self.began + self.limit.period).saturating_sub(self.now)
    }

    /// How long the current one may still run; `others_wait` says whether anybody waits who is not of real time.
    pub(super) fn left_of_turn(&self, others_wait: bool) -> Option<u64> {
        let current = self.current.as_ref()?;
        let rivals = current.takes_turns && self.waiting.first().is_some_and(|next| next.priority == current.priority);
        let turn = rivals.then_some(current.left);
        let limited = others_wait && self.limit.runtime != u64::MAX;
        let limit = limited.then(|| self.limit.runtime.saturating_sub(self.used));
        [turn, limit].into_iter().flatten().min()
    }
}
