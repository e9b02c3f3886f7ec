//! What part of its group's weight a CPU has: as much of it as of the group's members, counted by load.
//!
//! Were all CPUs equally laden, each group would so get on all of them together what its weight promises. They can't be
//! where tasks are few. So it is counted what a group gets, too. One that is behind its siblings is given an earlier
//! place wherever it runs, and counts as heavier, so that others' tasks are moved away from its own; one that is ahead
//! has a later place and counts as lighter.
//!
//! The parts are looked at every few milliseconds for the way to the task that runs, and in turn for all others; a
//! group that gets something to run after it had nothing is looked at once.

use super::{
    group::Group,
    level::{Entry, Level, Member},
    queue::{Queue, REST, WHOLE},
    weight::{Nice, Weight, virtual_time},
};
use alloc::sync::Arc;

/// The least load that a group has where it has anything to run.
const LEAST_LOAD: u64 = 32;
/// The load of the heaviest task.
const GREATEST_LOAD: u64 = Nice::MOST.weight().load();
/// What part of what a group is behind by is made up at each look.
const LAG_PARTS: i64 = 8;
/// Up to how many tasks of a level are looked at one by one: where there are more, none of them has a CPU of its own.
const FEW: usize = 4;
/// How many levels are looked at in turn each time.
const SWEEP: usize = 16;

impl<T> Queue<T> {
    /// The load of all who run or wait here: comparable with that of other CPUs.
    pub fn load(&self) -> u64 {
        self.level(self.top()).load
    }

    /// The level whose members' loads are compared between CPUs. While nobody has a part of the machine of its own that
    /// is the rest: beside nobody, its weight would say nothing.
    fn top(&self) -> usize {
        if self.level(WHOLE).group.subgroups() > 1 { WHOLE } else { REST }
    }

    /// What part of [`load`](Self::load) a member of the level at `place` with the load `own` is.
    pub(super) fn load_from(&self, mut place: usize, own: u64) -> u64 {
        let top = self.top();
        let mut load = own;
        while place != top && place != WHOLE {
            let level = self.level(place);
            load = load * level.weight / level.load.max(1);
            place = level.parent;
        }
        load
    }

    pub(super) fn load_of(&self, entry: &Entry<T>) -> u64 {
        match entry.member {
            Member::Task(_) => entry.load,
            Member::Group(place) => self.level(place).weight,
        }
    }

    pub(super) fn is_idle(&self, entry: &Entry<T>) -> bool {
        match entry.member {
            Member::Task(_) => entry.whole == Weight::IDLE.load(),
            Member::Group(place) => self.level(place).group.is_idle(),
        }
    }

    /// Looks at one level: what its load is now, here and on all CPUs, and so what it weighs here; and what it has got.
    pub(super) fn share(&mut self, place: usize) {
        let level = self.level_mut(place);
        let served = core::mem::take(&mut level.served);
        let total = level.group.publish(level.published, level.load);
        let before = core::mem::replace(&mut level.published, level.load);
        let begins = total == level.load && before == 0;
        let ends = total == 0 && before != 0;
        let (load, tasks) = (level.of_tasks(), level.tasks());
        let come = tasks.wrapping_sub(core::mem::replace(&mut level.counted, tasks));
        level.group.tell(load.wrapping_sub(core::mem::replace(&mut level.claimed, load)), come);
        level.group.advance_clock(served, level.group.claims.of_members());
        if load > 0 {
            let of_tasks = served.saturating_sub(level.passed);
            level.passed -= served - of_tasks;
            level.tasks_served += of_tasks;
        } else {
            level.passed = 0;
        }
        if place == WHOLE {
            return;
        }
        let (parent, before, queued) = (level.parent, level.weight, level.queued);
        let (level, above) = self.two(place, parent);
        above.below = above.below.wrapping_add(come);
        if begins {
            level.group.catch_up(&above.group);
        } else if ends {
            level.group.stop(&above.group);
        }
        let lag = level.group.advance(served, &above.group);
        above.passed += served;
        let is_divided = level.load < total || above.load < above.group.load();
        let has_rivals = queued && above.load > before;
        // A group of which nothing runs here keeps what it had for the moment.
        let weight = match level.load {
            0 => before.max(LEAST_LOAD),
            load if is_divided => level.group.urged(part(&level.group, load, total), lag),
            load => part(&level.group, load, total),
        };
        if queued {
            above.of_groups = above.of_groups - before + weight;
        }
        level.weight = weight;
        if weight > before && level.shift != 0 {
            level.shift = (i128::from(level.shift) * i128::from(before) / i128::from(weight)) as i64;
        }
        if !has_rivals {
            level.shift = 0;
        } else if is_divided {
            let most = (virtual_time(weight, served) / 2) as i64;
            level.shift -= (lag / LAG_PARTS).clamp(-most, most);
        }
        if above.closed {
            above.served += served;
        }
        if queued {
            above.load = above.load - before + weight;
            let floor = above.floor;
            if let Some(current) = above.current.as_mut().filter(|entry| entry.is_group(place)) {
                current.draw_near(floor, current.load, weight);
                current.load = weight;
                level.weighed = weight;
                let shift = core::mem::take(&mut level.shift);
                current.virtual_time = current.virtual_time.saturating_add_signed(shift);
            } else if weight >= 2 * level.weighed {
                above.draw_near(place, level.weighed, weight);
                level.weighed = weight;
            }
        }
    }

    /// Looks at what the level at `place` claims above it, and how much of their loads its own tasks can use.
    fn claim(&mut self, place: usize) {
        let level = self.level_mut(place);
        // Beside no group nobody can have what a task leaves.
        let is_mixed = level.group.subgroups() > 0 && (1..=FEW).contains(&level.tasks_of_its_own());
        let most = if is_mixed { level.group.claims.most_of_task() } else { u64::MAX };
        if most != level.most && most.min(level.most) < GREATEST_LOAD {
            level.set_most(most);
        }
        let served = core::mem::take(&mut level.tasks_served);
        level.group.advance_tasks(served);
        if place != WHOLE {
            let parent = level.parent;
            let (level, above) = self.two(place, parent);
            level.group.look(&above.group);
        }
    }

    /// Looks at the levels from `place` up to, but without, `above`.
    pub(super) fn share_between(&mut self, mut place: usize, above: usize) {
        while place != above {
            self.share(place);
            place = self.level(place).parent;
        }
    }

    /// Looks at the level at `place` and all above it.
    pub(super) fn share_upwards(&mut self, place: usize) {
        self.share_between(place, WHOLE);
        self.share(WHOLE);
    }

    /// Looks at the way to the task that runs, which is at `leaf`, and in turn at some others.
    pub(super) fn look(&mut self, leaf: usize) {
        let mut place = leaf;
        loop {
            self.claim(place);
            self.share(place);
            if place == WHOLE {
                break;
            }
            place = self.level(place).parent;
        }
        for _ in 0..SWEEP.min(self.levels.len()) {
            self.cursor = (self.cursor + 1) % self.levels.len();
            if self.levels[self.cursor].is_some() {
                self.claim(self.cursor);
                self.share(self.cursor);
                self.tidy(self.cursor);
            }
        }
    }

    /// Looks at the level at `place`, to which somebody has come, and at those above it as far as that is felt: nothing is
    /// new above a level whose load is what was told of it.
    pub(super) fn share_news(&mut self, mut place: usize) {
        self.share(place);
        while place != WHOLE {
            place = self.level(place).parent;
            let level = self.level(place);
            if level.load == level.published {
                return;
            }
            self.share(place);
        }
    }

    /// A task of `group` has gone from here to another queue, and is there by now: what this queue weighs is less than it
    /// seemed while the task was nowhere.
    pub fn look_again(&mut self, group: Option<&Arc<Group>>) {
        if let Some(place) = group.and_then(|group| self.find(group)) {
            self.share_upwards(place);
        }
    }

    fn two(&mut self, one: usize, other: usize) -> (&mut Level<T>, &mut Level<T>) {
        match self.levels.get_disjoint_mut([one, other]) {
            Ok([Some(one), Some(other)]) => (one, other),
            _ => panic!("sched: a level of a run queue has no other as its parent"),
        }
    }
}

fn part(group: &Group, load: u64, total: u64) -> u64 {
    let whole = group.claims.own();
    if load >= total {
        return whole;
    }
    // 20 bits are finer than any share that is promised, and leave room for the largest loads.
    ((whole * ((load << 20) / total)) >> 20).max(LEAST_LOAD)
}
