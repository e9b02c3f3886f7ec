//! What limits do on one CPU.
//!
//! While a task of a limited group runs, its CPU holds a slice of the group's time. When there is no more, the task
//! runs on until it would go back to user mode, and there it is *parked* until the next period: it may hold locks of
//! the kernel before, and others wait for these.

use super::{
    Weight,
    group::Group,
    level::{Parked, Standing},
    queue::{Queue, WHOLE},
};
use alloc::{sync::Arc, vec::Vec};

impl<T> Queue<T> {
    /// The levels with limits from the one at `place` upwards.
    fn next_limited(&self, place: usize) -> Option<usize> {
        let level = self.level(place);
        if level.limited == Some(place) { self.level(level.parent).limited } else { level.limited }
    }

    /// The task at `leaf` has used its groups' time.
    pub(super) fn charge_limits(&mut self, leaf: usize, ns: u64, now: u64) {
        let mut next = self.level(leaf).limited;
        while let Some(place) = next {
            self.level_mut(place).left -= ns as i64;
            self.take_slice(place, now);
            next = self.next_limited(place);
        }
    }

    /// A task at `leaf` is going to run.
    pub(super) fn take_slices(&mut self, leaf: usize, now: u64) {
        let mut next = self.level(leaf).limited;
        while let Some(place) = next {
            self.take_slice(place, now);
            next = self.next_limited(place);
        }
    }

    fn take_slice(&mut self, place: usize, now: u64) {
        let level = self.level_mut(place);
        if level.left > 0 || level.throttled.is_some() {
            return;
        }
        let debt = level.left.unsigned_abs();
        let (taken, refill) = level.group.with_pool(|pool| (pool.take(debt, now), pool.next_refill(now)));
        level.left += taken as i64;
        if taken == 0 {
            level.throttled = Some(now);
            self.throttled.push(place);
            self.resumes_at = self.resumes_at.min(refill);
        }
    }

    /// The task at `leaf` no longer runs: the time that was set aside for it is for everybody again.
    pub(super) fn return_limits(&mut self, leaf: usize) {
        let mut next = self.level(leaf).limited;
        while let Some(place) = next {
            let level = self.level_mut(place);
            let left = core::mem::take(&mut level.left);
            level.group.with_pool(|pool| pool.give_back(left));
            next = self.next_limited(place);
        }
    }

    /// The level that keeps the current task from running in user mode.
    fn refusing(&self) -> Option<usize> {
        let mut next = self.level(self.leaf?).limited;
        while let Some(place) = next {
            if self.level(place).throttled.is_some() {
                return Some(place);
            }
            next = self.next_limited(place);
        }
        None
    }

    /// Whether the current task has to wait for the next period of a group, once it may.
    pub fn is_out_of_time(&self) -> bool {
        !self.throttled.is_empty() && self.refusing().is_some()
    }

    /// How many nanoseconds the current task may run before it needs more of its groups' time; `None` without limits.
    pub fn left_of_slice(&self) -> Option<u64> {
        let mut next = self.level(self.leaf?).limited;
        let mut least = None;
        while let Some(place) = next {
            let level = self.level(place);
            if level.throttled.is_none() {
                let left = level.left.max(0) as u64;
                least = Some(least.map_or(left, |least: u64| least.min(left)));
            }
            next = self.next_limited(place);
        }
        least
    }

    /// Takes the current task, which is out of time, aside until the next period. Whether it was out of time.
    pub fn park(&mut self, group: Option<Arc<Group>>) -> bool {
        let (Some(place), Some(leaf)) = (self.refusing(), self.leaf) else { return false };
        let Some(load) = self.level(leaf).current.as_ref().map(|entry| entry.whole) else { return false };
        let Some((task, standing)) = self.take_current() else { return false };
        let weight = Weight::of_load(load);
        self.level_mut(place).parked.push(Parked { task, weight, standing, group });
        true
    }

    /// Takes out a parked task. Its group may have moved, or have no level here any more.
    pub(super) fn unpark(&mut self, wanted: impl Fn(&T) -> bool) -> Option<(T, Standing)> {
        for index in 0..self.throttled.len() {
            let parked = &mut self.level_mut(self.throttled[index]).parked;
            if let Some(index) = parked.iter().position(|parked| wanted(&parked.task)) {
                let Parked { task, standing, .. } = parked.swap_remove(index);
                return Some((task, standing));
            }
        }
        None
    }

    pub(super) fn set_parked_weight(&mut self, weight: Weight, wanted: impl Fn(&T) -> bool) {
        for index in 0..self.throttled.len() {
            let parked = &mut self.level_mut(self.throttled[index]).parked;
            parked.iter_mut().filter(|parked| wanted(&parked.task)).for_each(|parked| parked.weight = weight);
        }
    }

    /// When the first group that waits for its next period may go on; `u64::MAX` if none waits.
    pub fn resumes_at(&self) -> u64 {
        self.resumes_at
    }

    /// Lets go on who has time again. Whether a task came back.
    pub fn resume(&mut self, now: u64) -> bool {
        if now < self.resumes_at {
            return false;
        }
        self.resume_all(now)
    }

    /// As [`resume`](Self::resume), but looks at all limits: they have changed.
    fn resume_all(&mut self, now: u64) -> bool {
        let mut any = false;
        self.resumes_at = u64::MAX;
        for place in core::mem::take(&mut self.throttled) {
            let level = self.level_mut(place);
            let Some(since) = level.throttled else { continue };
            let (has_time, refill) = level.group.with_pool(|pool| (pool.has_time(now), pool.next_refill(now)));
            if !has_time {
                self.throttled.push(place);
                self.resumes_at = self.resumes_at.min(refill);
                continue;
            }
            any |= self.let_go(place, since, now);
        }
        any
    }

    fn let_go(&mut self, place: usize, since: u64, now: u64) -> bool {
        let above = self.level(self.level(place).parent).group.clone();
        let level = self.level_mut(place);
        level.throttled = None;
        level.group.forgo(&above);
        level.group.with_pool(|pool| pool.statistics.throttled_time += now.saturating_sub(since));
        let parked = core::mem::take(&mut level.parked);
        let any = !parked.is_empty();
        for Parked { task, weight, standing, group } in parked {
            self.add(group.as_ref(), task, weight, standing);
        }
        any
    }

    /// Puts everybody back who waits here for a next period: the CPU goes offline.
    pub fn release_parked(&mut self, now: u64) {
        self.resumes_at = u64::MAX;
        for place in core::mem::take(&mut self.throttled) {
            if let Some(since) = self.level(place).throttled {
                self.let_go(place, since, now);
            }
        }
    }

    /// A group has got a limit, lost it, or has another one. Whether a parked task came back.
    pub fn limits_changed(&mut self, now: u64) -> bool {
        if let Some(leaf) = self.leaf {
            self.return_limits(leaf);
        }
        self.find_limits();
        if let Some(leaf) = self.leaf {
            self.take_slices(leaf, now);
        }
        self.resume_all(now)
    }

    /// Finds out anew for each level which limits it is under.
    pub(super) fn find_limits(&mut self) {
        let places: Vec<usize> = (0..self.levels.len()).filter(|&place| self.levels[place].is_some()).collect();
        for &place in &places {
            let mut above = place;
            let limited = loop {
                let level = self.level(above);
                if level.group.is_limited() {
                    break Some(above);
                }
                if above == WHOLE {
                    break None;
                }
                above = level.parent;
            };
            self.level_mut(place).limited = limited;
        }
    }
}
