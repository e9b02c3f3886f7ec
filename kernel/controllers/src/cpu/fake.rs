//! A scheduler for tests: groups that only remember what they were told.

use super::{Groups, Limit, Scheduler, Statistics, TaskGroup};
use crate::world::Task;
use alloc::sync::Arc;
use container::Member;
use core::any::Any;
use std::{
    collections::BTreeMap,
    string::String,
    sync::{LazyLock, Mutex},
};

/// What a group was told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The group that it is in.
    pub parent: u64,
    /// What it weighs.
    pub weight: u32,
    /// Whether it gives way.
    pub idle: bool,
    /// What it may run.
    pub limit: Option<Limit>,
    /// How much it runs between two looks at its statistics, and how much it has run.
    pub runs: (u64, u64),
}

struct Group(u64);

static GROUPS: LazyLock<Mutex<BTreeMap<u64, Told>>> = LazyLock::new(Mutex::default);

impl Group {
    fn change(&self, f: impl FnOnce(&mut Told)) {
        f(GROUPS.lock().unwrap().entry(self.0).or_default());
    }

    fn of(group: &dyn TaskGroup) -> u64 {
        let any: &dyn Any = group;
        any.downcast_ref::<Self>().unwrap().0
    }
}

/// What the group was told; and what it is called.
pub fn told(group: &dyn TaskGroup) -> (u64, Told) {
    let number = Group::of(group);
    (number, GROUPS.lock().unwrap().get(&number).cloned().unwrap_or_default())
}

/// The group runs so much between two looks from now on.
pub fn run(group: &dyn TaskGroup, between_looks: u64) {
    GROUPS.lock().unwrap().entry(Group::of(group)).or_default().runs.0 = between_looks;
}

impl TaskGroup for Group {
    fn set_weight(&self, weight: u32) {
        self.change(|group| group.weight = weight);
    }
    fn set_idle(&self, idle: bool) {
        self.change(|group| group.idle = idle);
    }
    fn set_parent(&self, parent: &dyn TaskGroup) {
        self.change(|group| group.parent = Self::of(parent));
    }
    fn set_limit(&self, limit: Option<Limit>) {
        self.change(|group| group.limit = limit);
    }
    fn statistics(&self) -> Statistics {
        let mut usage = 7;
        self.change(|group| {
            group.runs.1 += group.runs.0;
            usage += group.runs.1;
        });
        Statistics { usage, periods: 3, throttled: 2, throttled_time: 500, bursts: 1, burst_time: 9 }
    }
}

/// The scheduler. Groups 0 and 1 are the roots.
pub struct Fake;

impl Scheduler for Fake {
    fn roots(&self) -> Groups {
        Groups { outer: Arc::new(Group(0)), rest: Arc::new(Group(1)) }
    }
    fn new_group(&self, parent: &dyn TaskGroup) -> Arc<dyn TaskGroup> {
        let mut groups = GROUPS.lock().unwrap();
        let number = groups.keys().last().map_or(2, |last| last + 1).max(2);
        groups.insert(number, Told { parent: Group::of(parent), weight: 1024, ..Told::default() });
        Arc::new(Group(number))
    }
    fn put(&self, task: &dyn Member, group: Option<&dyn TaskGroup>) {
        let task: &Task = task.as_any().downcast_ref().unwrap();
        *task.group.lock().unwrap() = group.map_or(1, Group::of);
    }
}

/// A limit, as microseconds of quota, period and burst.
pub fn limit_text(told: &Told) -> String {
    told.limit.map_or(String::from("none"), |Limit { quota, period, burst }| {
        std::format!("{}/{}+{}", quota / 1000, period / 1000, burst / 1000)
    })
}
