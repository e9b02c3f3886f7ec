//! The counts of one container, and the walks that keep them.
//!
//! Two numbers go up and down with the tasks. `current` are the live tasks here and below; every level counts them.
//! `committed` are the tasks here, and for each child what it has committed or what it is guaranteed, whichever is more:
//! so a guarantee is set aside at the parent whether it is used or not. A change of `committed` reaches the parent only
//! as far as the child's guarantee does not cover it.
//!
//! All counts of the tree are guarded by one lock, [`Tree`](super::Tree)'s: each walk is a single step, so a fork is
//! judged by what is, and leaves no trace where it is refused. The numbers are atomic for those who only read one.

use super::Numtasks;
use container::Lineage;
use machine::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that is written only with the lock of the tree held.
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(super) fn up(&self) {
        self.set(self.get() + 1);
    }

    pub(super) fn down(&self) {
        self.set(self.get().saturating_sub(1));
    }
}

/// The counts of one container.
pub(super) struct Level {
    /// Live tasks here and below.
    pub(super) current: Count,
    /// The highest that `current` was before it last fell.
    peak: Count,
    /// By how much `committed` is more than `current` for guarantees below. What has none is counted once.
    ahead: Count,
    /// The absolute guarantee, in tasks; 0 without one, and in the root, which has nobody to borrow from.
    min: Count,
    /// The absolute cap, in tasks, or [`NONE`](crate::task_count::NONE).
    max: Count,
}

impl Level {
    pub(super) fn new(max: u64) -> Self {
        Self {
            current: Count::new(0),
            peak: Count::new(0),
            ahead: Count::new(0),
            min: Count::new(0),
            max: Count::new(max),
        }
    }

    /// The highest that `current` ever was.
    pub(super) fn peak(&self) -> u64 {
        self.peak.get().max(self.current.get())
    }

    /// A task leaves. Only now its coming is remembered: one whose fork another subsystem refused was never there.
    fn lower(&self) {
        let current = self.current.get();
        if current > self.peak.get() {
            self.peak.set(current);
        }
        self.current.set(current.saturating_sub(1));
    }

    /// See the head of this file.
    fn committed(&self) -> u64 {
        self.current.get().wrapping_add(self.ahead.get())
    }

    /// What the parent must set aside.
    fn claim(&self) -> u64 {
        self.committed().max(self.min.get())
    }

    /// `current` has changed by `step`: `committed` is to change by `growth`. Gives by how much the claim grows.
    fn follow(&self, step: i64, growth: i64) -> i64 {
        if growth != step {
            self.ahead.set(self.ahead.get().wrapping_add_signed(growth - step));
        }
        match self.min.get() {
            // Without a guarantee all of it is the parent's too.
            0 => growth,
            min => {
                let after = self.committed();
                let before = after.wrapping_add_signed(-growth);
                after.max(min).wrapping_sub(before.max(min)) as i64
            }
        }
    }

    /// Makes `min` another number. Gives by how much the claim has grown.
    fn set_min(&self, min: u64) -> i64 {
        let before = self.claim();
        self.min.set(min);
        self.claim().wrapping_sub(before) as i64
    }
}

type Place<'a> = Lineage<'a, Numtasks>;

/// What refuses a fork.
pub(super) enum Refusal<'a> {
    /// The limit of this container.
    Limit(Place<'a>),
    /// The cap of this container, from its shares.
    Shares(Place<'a>),
}

/// Whether there may be one more task in `place`.
pub(super) fn check(place: Place<'_>) -> Result<(), Refusal<'_>> {
    let mut walks_on = true;
    let mut capped = None;
    for place in place.upwards() {
        let Numtasks { limit, level, .. } = place.own();
        if level.current.get() >= limit.get() {
            return Err(Refusal::Limit(place));
        }
        if walks_on {
            // Any level's limit goes before this one's cap.
            capped = (level.committed() >= level.max.get()).then_some(place);
            walks_on = capped.is_none() && level.committed() >= level.min.get();
        }
    }
    capped.map_or(Ok(()), |place| Err(Refusal::Shares(place)))
}

/// One more task in `place`. Gives the container where the walk of `committed` ended.
pub(super) fn enter(place: Place<'_>) -> &Numtasks {
    walk(place, 1, |level| level.current.up())
}

/// One task less.
pub(super) fn leave(place: Place<'_>) {
    walk(place, -1, Level::lower);
}

/// Undoes [`enter`]: the task never came to be. Gives the container where the walk of `committed` ended.
pub(super) fn undo(place: Place<'_>) -> &Numtasks {
    walk(place, -1, |level| level.current.down())
}

/// A task goes from one container to another.
pub(super) fn change_place(from: Place<'_>, to: Place<'_>) {
    // What both are below keeps its count, and its claim if what comes is what goes.
    let common = from.common_with(to);
    let mut growth = 1;
    for own in to.below(common) {
        own.level.current.up();
        growth = own.level.follow(1, growth);
    }
    let mut shrinkage = -1;
    for own in from.below(common) {
        own.level.lower();
        shrinkage = own.level.follow(-1, shrinkage);
    }
    commit(common, growth + shrinkage);
}

/// Changes `current` of all levels by `step`, as `count` does, and `committed` as far as that reaches. Gives the container
/// where that ended.
fn walk(place: Place<'_>, step: i64, count: impl Fn(&Level)) -> &Numtasks {
    let (mut growth, mut last) = (step, place.own());
    for place in place.upwards() {
        let own = place.own();
        count(&own.level);
        if growth != 0 {
            last = own;
        }
        growth = own.level.follow(step, growth);
    }
    last
}

/// Changes the guarantee and the cap of a container.
pub(super) fn set_amounts(place: Place<'_>, min: u64, max: u64) {
    let level = &place.own().level;
    level.max.set(max);
    let growth = level.set_min(min);
    if let Some(parent) = place.upwards().nth(1) {
        commit(parent, growth);
    }
}

/// Changes `committed` of `place` by `growth`, and of those above as far as that reaches.
fn commit(place: Place<'_>, growth: i64) {
    let mut growth = growth;
    for place in place.upwards() {
        if growth == 0 {
            return;
        }
        growth = place.own().level.follow(0, growth);
    }
}
