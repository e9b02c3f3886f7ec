//! A group of tasks that competes as one: what all CPUs know of it.
//!
//! A group is a member of its parent, beside other groups and the parent's own tasks, on every CPU where it has
//! something to run. Its weight is divided over these CPUs as its members are; so together the CPUs give it what the
//! weight promises, wherever its tasks are.

use super::{
    GRANULARITY, SHARE_INTERVAL,
    claim::{CPU, Claims},
    limit::{Limit, LimitStatistics, Pool},
    weight::{UNIT, virtual_time},
};
use alloc::{sync::Arc, vec::Vec};
use core::fmt;
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use machine::sync::{IrqLock, rank};

/// The weight of a new group: that of a task at nice 0.
pub const DEFAULT_GROUP_WEIGHT: u32 = 1024;

/// How far a group to which a whole CPU or more is due may be behind or ahead of its siblings and still have that made up:
/// nanoseconds of CPU time.
const MOST_LAG: u64 = 100_000_000;

/// The same where it is next to nothing that is due: some turns, because a turn on each of many CPUs is far in the virtual
/// time of a small group.
const LEAST_LAG: u64 = 20_000_000;

/// Up to what part of that it weighs what it always does.
const QUIET_PARTS: i64 = 8;

/// What part of the lag of one that runs the clock gives way each time.
const DRIFT_PARTS: i64 = 16;

/// A group of tasks and groups.
pub struct Group {
    number: usize,
    parent: IrqLock<Option<Arc<Group>>>,
    /// How many groups have this one as their parent.
    subgroups: AtomicUsize,
    weight: AtomicU32,
    idle: AtomicBool,
    pub(super) claims: Claims,
    /// The load of all CPUs: each adds what its own has changed by.
    load: AtomicU64,
    /// How far its members are on average, in virtual time: what one gets whose CPUs are as laden as all.
    clock: AtomicU64,
    /// How far its own tasks are together.
    tasks_progress: AtomicU64,
    /// How far it is itself, on the clock of its parent.
    progress: AtomicU64,
    /// What the clock of its parent was when it last had nothing more to run.
    stopped_at: AtomicU64,
    ran: AtomicU64,
    limited: AtomicBool,
    pool: IrqLock<Pool>,
}

/// The numbers of groups, small and each used once: every CPU keeps a table by them.
struct Numbers {
    free: Vec<usize>,
    next: usize,
}

static NUMBERS: IrqLock<Numbers> = IrqLock::new(rank::CPU_STATE, Numbers { free: Vec::new(), next: 0 });

impl Group {
    /// A group without members; below `parent`, or the whole.
    pub fn new(parent: Option<Arc<Group>>) -> Arc<Self> {
        let number = {
            let mut numbers = NUMBERS.lock();
            numbers.free.pop().unwrap_or_else(|| {
                numbers.next += 1;
                numbers.next - 1
            })
        };
        if let Some(parent) = &parent {
            parent.subgroups.fetch_add(1, SeqCst);
        }
        Arc::new(Self {
            number,
            subgroups: AtomicUsize::new(0),
            parent: IrqLock::new(rank::LEAF, parent),
            weight: AtomicU32::new(DEFAULT_GROUP_WEIGHT),
            idle: AtomicBool::new(false),
            claims: Claims::new(DEFAULT_GROUP_WEIGHT),
            load: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            tasks_progress: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            stopped_at: AtomicU64::new(0),
            ran: AtomicU64::new(0),
            limited: AtomicBool::new(false),
            pool: IrqLock::new(rank::LEAF, Pool::default()),
        })
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn parent(&self) -> Option<Arc<Group>> {
        self.parent.lock().clone()
    }

    /// Puts the group below another one. The queues of all CPUs must be told ([`Queue::reparent`](super::Queue)).
    pub(crate) fn store_parent(&self, parent: Arc<Group>) {
        parent.subgroups.fetch_add(1, SeqCst);
        let old = {
            let mut own = self.parent.lock();
            // The new one hears of its claim when somebody looks at it.
            if let Some(old) = &*own {
                self.claims.set_known(0, &old.claims);
            }
            own.replace(parent)
        };
        if let Some(old) = old {
            old.subgroups.fetch_sub(1, SeqCst);
        }
    }

    /// How many groups are its members.
    pub(super) fn subgroups(&self) -> usize {
        self.subgroups.load(Relaxed)
    }

    /// What it weighs beside its siblings, 2 to 262144; the CPUs see a change within a few milliseconds.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Relaxed);
        self.claims.set_weight(weight);
    }

    pub(super) fn weight(&self) -> u64 {
        u64::from(self.weight.load(Relaxed))
    }

    /// Whether it gives way at once to any sibling that is not idle.
    pub fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Relaxed);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle.load(Relaxed)
    }

    /// Tells that this CPU's load is `now` and was `before`; the load of all CPUs.
    pub(super) fn publish(&self, before: u64, now: u64) -> u64 {
        if before == now {
            return self.load.load(Relaxed);
        }
        let change = now.wrapping_sub(before);
        self.load.fetch_add(change, SeqCst).wrapping_add(change)
    }

    /// The load of its members on all CPUs, as far as is known.
    pub(super) fn load(&self) -> u64 {
        self.load.load(Relaxed)
    }

    /// One CPU tells by how much the load of the group's own tasks on it, and the number of all tasks, have changed, modulo
    /// 2^64.
    #[inline]
    pub(super) fn tell(&self, load: u64, tasks: usize) {
        if self.claims.tell(load, tasks) {
            self.claim(0);
        }
    }

    /// Looks at what it claims in `parent`.
    pub(super) fn look(&self, parent: &Group) {
        self.claim(self.claims.look(self.weight() * UNIT, &parent.claims));
    }

    fn claim(&self, claim: u64) {
        if !self.claims.is_known(claim)
            && let Some(parent) = &*self.parent.lock()
        {
            self.claims.set_known(claim, &parent.claims);
        }
    }

    /// Its members have run for `ns` nanoseconds on some CPU, while their load on all CPUs was `load`.
    pub(super) fn advance_clock(&self, ns: u64, load: u64) {
        if ns > 0 && load > 0 {
            self.clock.fetch_add(virtual_time(load, ns), Relaxed);
        }
    }

    /// It has run for `ns` nanoseconds on some CPU. How far it is now behind the members of its `parent` on average, in
    /// virtual time.
    pub(super) fn advance(&self, ns: u64, parent: &Group) -> i64 {
        self.ran.fetch_add(ns, Relaxed);
        parent.follow(&self.progress, ns, self.claims.own(), self.most_lag())
    }

    /// Its own tasks have run for `ns` nanoseconds on some CPU.
    pub(super) fn advance_tasks(&self, ns: u64) {
        let load = self.claims.of_tasks();
        if ns > 0 && load > 0 {
            self.follow(&self.tasks_progress, ns, load, virtual_time(load, MOST_LAG) as i64);
        }
    }

    /// A member of the load `load`, or several, of which that is the `progress`, have run for `ns` nanoseconds. How far they
    /// are now behind all on average, in virtual time, up to `most`.
    fn follow(&self, progress: &AtomicU64, ns: u64, load: u64, most: i64) -> i64 {
        let clock = self.clock.load(Relaxed);
        let step = virtual_time(load, ns);
        let now_at = progress.fetch_add(step, Relaxed).wrapping_add(step);
        let lag = clock.wrapping_sub(now_at) as i64;
        // Who could not use what was due to it, or was alone for long, does not owe or own that for ever.
        let bounded = lag.clamp(-most, most);
        if bounded != lag {
            progress.store(clock.wrapping_sub(bounded as u64), Relaxed);
        }
        // The clock is made from loads, which are known a little late: it follows those who run.
        let drift = bounded / DRIFT_PARTS * ns.min(SHARE_INTERVAL) as i64 / SHARE_INTERVAL as i64;
        self.clock.fetch_sub(drift as u64, Relaxed);
        bounded
    }

    /// How far it may be behind or ahead, in virtual time.
    fn most_lag(&self) -> i64 {
        let due = self.claims.due().min(CPU);
        virtual_time(self.claims.own(), (MOST_LAG * due / CPU).max(LEAST_LAG)) as i64
    }

    /// What a `part` of its weight counts while the group is `lag` behind, which [`advance`](Self::advance) has told: up to
    /// half as much more or less, and neither while that is a turn or two, so that nobody is moved for it.
    pub(super) fn urged(&self, part: u64, lag: i64) -> u64 {
        let most = self.most_lag();
        let beyond = lag - lag.clamp(-most / QUIET_PARTS, most / QUIET_PARTS);
        part * (512 + beyond * 256 / most) as u64 / 512
    }

    /// It has nothing to run any more.
    pub(super) fn stop(&self, parent: &Group) {
        self.stopped_at.store(parent.clock.load(Relaxed), Relaxed);
    }

    /// It begins to have something to run: it is as far as the others, unless its only task has just come from one CPU to
    /// another.
    pub(super) fn catch_up(&self, parent: &Group) {
        let clock = parent.clock.load(Relaxed);
        if clock.wrapping_sub(self.stopped_at.load(Relaxed)) as i64 > GRANULARITY as i64 {
            self.progress.store(clock, Relaxed);
        }
    }

    /// It was kept from running by its limit: what it is behind is not owed to it.
    pub(super) fn forgo(&self, parent: &Group) {
        let clock = parent.clock.load(Relaxed);
        if clock.wrapping_sub(self.progress.load(Relaxed)) as i64 > 0 {
            self.progress.store(clock, Relaxed);
        }
    }

    /// Nanoseconds that its tasks and those of all groups in it have run, a few milliseconds late.
    pub fn ran(&self) -> u64 {
        self.ran.load(Relaxed)
    }

    /// Whether it has a limit.
    pub fn is_limited(&self) -> bool {
        self.limited.load(SeqCst)
    }

    /// The limit, if it has one.
    pub fn limit(&self) -> Option<Limit> {
        self.pool.lock().limit()
    }

    /// What its limits have done since it was made.
    pub fn limit_statistics(&self) -> LimitStatistics {
        self.pool.lock().statistics
    }

    pub(crate) fn store_limit(&self, limit: Option<Limit>, now: u64) {
        let mut pool = self.pool.lock();
        pool.set(limit, now);
        self.limited.store(limit.is_some(), SeqCst);
    }

    pub(super) fn with_pool<R>(&self, f: impl FnOnce(&mut Pool) -> R) -> R {
        f(&mut self.pool.lock())
    }
}

impl Group {
    fn leave_parent(&mut self) -> Option<Arc<Group>> {
        let parent = self.parent.get_mut().take()?;
        parent.subgroups.fetch_sub(1, SeqCst);
        self.claims.set_known(0, &parent.claims);
        Some(parent)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {} of weight {}", self.number, self.weight())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        NUMBERS.lock().free.push(self.number);
        // One after another: a deep tree could need more stack than there is.
        let mut next = self.leave_parent();
        while let Some(mut last) = next.and_then(Arc::into_inner) {
            next = last.leave_parent();
        }
    }
}

/// The two groups at the top.
#[derive(Clone)]
pub struct Roots {
    /// The whole machine: its members are [`rest`](Self::rest) and the groups that have a part of the machine of their
    /// own.
    pub whole: Arc<Group>,
    /// The group of all tasks and groups that belong nowhere else.
    pub rest: Arc<Group>,
}

impl Default for Roots {
    fn default() -> Self {
        let whole = Group::new(None);
        let rest = Group::new(Some(whole.clone()));
        Self { whole, rest }
    }
}
