//! The members of one group that one CPU has, in the order of their virtual run times.

use super::{
    GRANULARITY, LATENCY, SLEEPER_CREDIT,
    group::Group,
    weight::{Weight, virtual_time},
};
use alloc::{collections::BinaryHeap, sync::Arc, vec::Vec};
use core::cmp::Ordering;

/// The part of a group that one CPU has: tasks and further groups. The word `place` is its index in the
/// [`Queue`](super::Queue).
#[derive(Debug)]
pub(super) struct Level<T> {
    pub(super) group: Arc<Group>,
    /// Distinguishes it from earlier ones of the same group.
    pub(super) serial: u64,
    /// The place of the level above; its own for the topmost.
    pub(super) parent: usize,
    /// How many levels have this one as their parent.
    pub(super) children: usize,
    /// How many tasks are in these, as far as is known.
    pub(super) below: usize,

    // Its members.
    /// The one that runs or that holds the one that runs.
    pub(super) current: Option<Entry<T>>,
    pub(super) waiting: BinaryHeap<Entry<T>>,
    /// Follows the smallest virtual time and never goes back.
    pub(super) floor: u64,
    /// The sum of the members' loads.
    pub(super) load: u64,
    /// How much of its load counts of a task, which can't use more than one CPU.
    pub(super) most: u64,
    /// How many of the members are groups.
    pub(super) groups: usize,
    /// The sum of their weights.
    pub(super) of_groups: u64,

    // As a member of the level above.
    /// Whether it is there, waiting or current. It may stay there for a while after it has become empty.
    pub(super) queued: bool,
    pub(super) weight: u64,
    /// The weight by which it was last seen to how far it is ahead there.
    pub(super) weighed: u64,
    pub(super) standing: Standing,
    /// What the group's account of all CPUs knows of `load`.
    pub(super) published: u64,
    /// And of what of it is the tasks'.
    pub(super) claimed: u64,
    /// What that account, and the level above, know of how many tasks are in it.
    pub(super) counted: usize,
    /// Nanoseconds run in it since it was last looked at.
    pub(super) served: u64,
    /// And nanoseconds of those, or of later ones, that groups in it were seen to have had.
    pub(super) passed: u64,
    /// Nanoseconds that its own tasks have run since it was last looked at what it claims.
    pub(super) tasks_served: u64,
    /// Virtual time that the group is owed (below 0) or owes on this CPU for what it got on all.
    pub(super) shift: i64,

    // Where choosing goes on: see `tree`.
    pub(super) closed: bool,
    pub(super) head: usize,
    pub(super) tail: usize,
    /// How often in a row it was chosen with a single group as its member.
    pub(super) lone: u8,
    /// Whether it was empty when it was last looked at.
    pub(super) stale: bool,

    // Limits: see `throttle`.
    /// The nearest level with a limit, from this one upwards.
    pub(super) limited: Option<usize>,
    /// What this CPU has left of the time that it took out of the group's pool.
    pub(super) left: i64,
    /// Since when the group waits for its next period here.
    pub(super) throttled: Option<u64>,
    pub(super) parked: Vec<Parked<T>>,
}

/// A task that waits for the next period of a group's limit.
#[derive(Debug)]
pub(super) struct Parked<T> {
    pub(super) task: T,
    pub(super) weight: Weight,
    pub(super) standing: Standing,
    pub(super) group: Option<Arc<Group>>,
}

/// Where a member stood when it left a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub(super) virtual_time: u64,
    pub(super) floor: u64,
    pub(super) origin: Origin,
}

/// Where a member comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was nowhere.
    New,
    /// It left the level with that serial number.
    Level { queue: usize, serial: u64 },
    /// It waited on another CPU and was taken from there.
    Moved,
}

impl Standing {
    /// That of a new task: one turn behind those that are there, so that forking gains nothing.
    pub fn new_task(weight: Weight) -> Self {
        Self::behind_a_turn(weight.load())
    }

    /// That of a new member of the load `load`, in the same way.
    pub(super) fn behind_a_turn(load: u64) -> Self {
        Self { virtual_time: virtual_time(load, GRANULARITY), floor: 0, origin: Origin::New }
    }
}

/// Who competes in a level.
#[derive(Clone, Copy, Debug)]
pub(super) enum Member<T> {
    Task(T),
    /// The level at that place.
    Group(usize),
}

#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) virtual_time: u64,
    /// Those of equal virtual time take turns.
    pub(super) sequence: u64,
    /// Who is there longest is known.
    pub(super) arrival: u64,
    /// What it counts beside the others.
    pub(super) load: u64,
    /// What it would if it could use all that is due for that.
    pub(super) whole: u64,
    pub(super) member: Member<T>,
}

impl<T> Entry<T> {
    /// The smallest is next. One number, which is compared in half the steps of two.
    fn rank(&self) -> u128 {
        u128::from(self.virtual_time) << 64 | u128::from(self.sequence)
    }

    pub(super) fn is_group(&self, place: usize) -> bool {
        matches!(self.member, Member::Group(group) if group == place)
    }

    /// If it weighs more `now` than `before`, what it ran since the `floor` keeps it waiting no longer than if it had weighed
    /// as much then.
    pub(super) fn draw_near(&mut self, floor: u64, before: u64, now: u64) {
        if now > before {
            let ahead = u128::from(self.virtual_time.saturating_sub(floor));
            self.virtual_time -= (ahead * u128::from(now - before) / u128::from(now)) as u64;
        }
    }

    pub(super) fn task(&self) -> Option<&T> {
        match &self.member {
            Member::Task(task) => Some(task),
            Member::Group(_) => None,
        }
    }
}

/// How many nanoseconds a member of the load `load` runs in its turn in a level of the load `all`.
#[inline]
pub(super) fn turn_of(load: u64, all: u64) -> u64 {
    (LATENCY * load / all).max(GRANULARITY)
}

impl<T> Level<T> {
    /// An empty level at `place`.
    pub(super) fn new(group: Arc<Group>, serial: u64, place: usize, parent: usize) -> Self {
        Self {
            group,
            serial,
            parent,
            children: 0,
            below: 0,
            current: None,
            waiting: BinaryHeap::new(),
            floor: 0,
            load: 0,
            most: u64::MAX,
            groups: 0,
            of_groups: 0,
            queued: false,
            weight: 0,
            weighed: 0,
            standing: Standing { virtual_time: 0, floor: 0, origin: Origin::New },
            published: 0,
            claimed: 0,
            counted: 0,
            served: 0,
            passed: 0,
            tasks_served: 0,
            shift: 0,
            closed: false,
            head: place,
            tail: place,
            lone: 0,
            stale: false,
            limited: None,
            left: 0,
            throttled: None,
            parked: Vec::new(),
        }
    }

    /// Adds a member that was elsewhere, asleep or empty. One that comes back to the level of the queue `number` that
    /// it left has its old place, as far as that is not too far from the others.
    #[inline]
    pub(super) fn add(&mut self, number: usize, member: Member<T>, load: u64, standing: Standing, sequence: u64) {
        let at = if standing.origin == (Origin::Level { queue: number, serial: self.serial }) {
            standing.virtual_time
        } else {
            self.floor.saturating_add(standing.virtual_time).saturating_sub(standing.floor)
        };
        let most_ahead = self.floor + virtual_time(load, 2 * LATENCY);
        let virtual_time = at.clamp(self.floor.saturating_sub(SLEEPER_CREDIT), most_ahead);
        let whole = load;
        let load = if matches!(member, Member::Task(_)) { whole.min(self.most) } else { whole };
        self.load += load;
        self.waiting.push(Entry { virtual_time, sequence, arrival: sequence, load, whole, member });
    }

    /// Where the member stands that leaves.
    #[inline]
    pub(super) fn leave(&mut self, number: usize, entry: &Entry<T>) -> Standing {
        self.load -= entry.load;
        let origin = Origin::Level { queue: number, serial: self.serial };
        Standing { virtual_time: entry.virtual_time, floor: self.floor, origin }
    }

    /// Takes a waiting member out.
    pub(super) fn take_waiting(&mut self, wanted: impl Fn(&Entry<T>) -> bool) -> Option<Entry<T>> {
        if !self.waiting.iter().any(&wanted) {
            return None;
        }
        let mut entries = core::mem::take(&mut self.waiting).into_vec();
        let entry = entries.iter().position(wanted).map(|index| entries.swap_remove(index));
        self.waiting = entries.into();
        entry
    }

    /// Gives the task for which `wanted` is true another load.
    pub(super) fn set_load(&mut self, whole: u64, wanted: impl Fn(&Entry<T>) -> bool) {
        let load = whole.min(self.most);
        if let Some(current) = self.current.as_mut().filter(|entry| wanted(entry)) {
            self.load = self.load - current.load + load;
            (current.load, current.whole) = (load, whole);
        } else if let Some(mut entry) = self.take_waiting(wanted) {
            self.load = self.load - entry.load + load;
            (entry.load, entry.whole) = (load, whole);
            self.waiting.push(entry);
        }
    }

    /// From now on no more than this counts of a task's load.
    pub(super) fn set_most(&mut self, most: u64) {
        self.most = most;
        let mut waiting = core::mem::take(&mut self.waiting).into_vec();
        let tasks = waiting.iter_mut().chain(&mut self.current).filter(|entry| entry.task().is_some());
        for entry in tasks {
            let load = entry.whole.min(most);
            self.load = self.load - entry.load + load;
            entry.load = load;
        }
        // Nothing of their order has changed.
        self.waiting = waiting.into();
    }

    /// The waiting group at `place` weighs `now`, and `before` it was weighed.
    pub(super) fn draw_near(&mut self, place: usize, before: u64, now: u64) {
        if let Some(mut entry) = self.take_waiting(|entry| entry.is_group(place)) {
            entry.draw_near(self.floor, before, now);
            self.waiting.push(entry);
        }
    }

    /// The current member has run for so many nanoseconds.
    #[inline]
    pub(super) fn charge(&mut self, ns: u64) {
        self.served += ns;
        if let Some(current) = &mut self.current {
            current.virtual_time += virtual_time(current.load, ns);
            let mut smallest = current.virtual_time;
            if let Some(next) = self.waiting.peek() {
                smallest = smallest.min(next.virtual_time);
            }
            self.floor = self.floor.max(smallest);
        }
    }

    /// How many nanoseconds one of its members runs in its turn.
    pub(super) fn turn_of(&self, member: &Entry<T>) -> u64 {
        turn_of(member.load, self.load)
    }

    /// What of its load is that of its own tasks.
    pub(super) fn of_tasks(&self) -> u64 {
        self.load - self.of_groups
    }

    /// How many of its members are tasks.
    pub(super) fn tasks_of_its_own(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some()) - self.groups
    }

    /// How many tasks are in it and in the levels below.
    pub(super) fn tasks(&self) -> usize {
        self.tasks_of_its_own() + self.below
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }
}

// The heap gives its greatest entry first: that with the smallest virtual time, then the smallest number.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.rank().cmp(&self.rank())
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
