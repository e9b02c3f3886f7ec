//! cpu: how much CPU time the tasks of a container get, beside others and at most.
//!
//! In the cgroup dialect `cpu.shares` is what the container weighs beside its siblings and its parent's own threads (a
//! thread at nice 0 weighs 1024), `cpu.idle` makes it give way to all of them; `cpu.cfs_quota_us` is what all its tasks
//! may run in each `cpu.cfs_period_us`, and up to `cpu.cfs_burst_us` of what was left before; `cpu.stat` counts what
//! the quota did. In the container dialect `cpu.shares` is a line of [`resgroups`]: `min_shares` is a
//! guaranteed part of what the parent gets, `max_shares` a cap; `cpu.stats` shows use and throttling.
//! Rule: interfaces.md, section 15.
//!
//! The scheduler does the dividing; each container has two of its groups. *Outer* is the container beside its siblings:
//! it has the weight and the limit. *Rest*, inside it, has the container's own threads and those children that have no
//! guarantee; children with one are beside *rest* in *outer*. While there are none of these, *rest* is alone and its
//! weight means nothing.

#[cfg(test)]
pub mod fake;
mod guarantee;
mod quota;
#[cfg(test)]
mod tests;

pub use guarantee::follow_machine;

use crate::resgroups::{self, Amounts, Client, Shares};
use alloc::sync::Arc;
use base::{Errno, number};
use container::{Callbacks, ControlFile, Dialect, Lineage, Member, Node, Subsystem};
use core::{
    any::Any,
    fmt::{self, Write},
};
use machine::sync::{
    Hook, SpinLock,
    atomic::{AtomicBool, Ordering::Relaxed},
    rank,
};

/// A group of tasks that the scheduler lets compete as one.
pub trait TaskGroup: Any + Send + Sync {
    /// What it weighs beside its siblings.
    fn set_weight(&self, weight: u32);
    /// Whether it gives way at once to those that are not idle.
    fn set_idle(&self, idle: bool);
    /// Puts it into another group. May wait for other CPUs' queues.
    fn set_parent(&self, parent: &dyn TaskGroup);
    /// Limits it, from now on and with a full quota, or no longer.
    fn set_limit(&self, limit: Option<Limit>);
    /// What its limits have done, and how much it has run.
    fn statistics(&self) -> Statistics;
}

/// A quota of time per period, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// What all CPUs together may run in a period.
    pub quota: u64,
    /// The length of a period.
    pub period: u64,
    /// What may come on top of the quota from what was left before.
    pub burst: u64,
}

/// What a group has run and how its limits held it, times in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Run by its tasks and all below.
    pub usage: u64,
    /// Periods in which it asked for time.
    pub periods: u64,
    /// Periods in which it was refused.
    pub throttled: u64,
    /// How long it was kept from running, added up over the CPUs.
    pub throttled_time: u64,
    /// Periods in which it used more than the quota.
    pub bursts: u64,
    /// How much more.
    pub burst_time: u64,
}

/// What cpu asks of the scheduler.
pub trait Scheduler: Sync {
    /// The two groups of the root container: outer and rest.
    fn roots(&self) -> Groups;
    /// A new group in `parent`.
    fn new_group(&self, parent: &dyn TaskGroup) -> Arc<dyn TaskGroup>;
    /// Puts the task into the group, or without one into the root's rest. Called with spinning locks up to rank `CONTROLLER` held; must not sleep
    /// or allocate.
    fn put(&self, task: &dyn Member, group: Option<&dyn TaskGroup>);
}

/// Filled once at boot.
pub static SCHEDULER: Hook<dyn Scheduler> = Hook::new();

/// The groups of one container.
#[derive(Clone)]
pub struct Groups {
    /// The container beside its siblings.
    pub outer: Arc<dyn TaskGroup>,
    /// Its own threads, and children without a guarantee.
    pub rest: Arc<dyn TaskGroup>,
}

/// The weight of a container that nobody has given another one.
const DEFAULT_WEIGHT: u32 = 1024;
/// The weight of an idle container.
const IDLE_WEIGHT: u32 = 3;

/// The state of one container.
pub struct Cpu {
    /// None for the root, and where there is no scheduler.
    groups: Option<Groups>,
    settings: SpinLock<Settings>,
    /// The container dialect's shares.
    parts: Shares,
    /// Whether it is beside its parent's rest: it has a guarantee.
    is_guaranteed: AtomicBool,
    /// The figures at the last reset of `cpu.stats`.
    base: SpinLock<Statistics>,
}

/// What the cgroup dialect sets, times in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Settings {
    shares: u32,
    idle: bool,
    quota: Option<u64>,
    period: u64,
    burst: u64,
}

impl Subsystem for Cpu {
    const NAME: &'static str = "cpu";
    const INDEX: usize = 1;
    const CALLBACKS: Callbacks = Callbacks::ATTACH.union(Callbacks::FORK);
    const FILES: &'static [ControlFile<Self>] = &[
        ControlFile::read_write_node(
            "shares",
            |node, out| writeln!(out, "{}", node.state().settings().shares),
            store_shares,
        )
        .managed_alone()
        .only_in(Dialect::Cgroup),
        ControlFile::read_write_node(
            "idle",
            |node, out| writeln!(out, "{}", u8::from(node.state().settings().idle)),
            store_idle,
        )
        .managed_alone()
        .only_in(Dialect::Cgroup),
        ControlFile::read_write_node("cfs_quota_us", quota::show_quota, quota::store_quota)
            .managed_alone()
            .only_in(Dialect::Cgroup),
        ControlFile::read_write_node(
            "cfs_period_us",
            |node, out| writeln!(out, "{}", node.state().settings().period),
            quota::store_period,
        )
        .managed_alone()
        .only_in(Dialect::Cgroup),
        ControlFile::read_write_node(
            "cfs_burst_us",
            |node, out| writeln!(out, "{}", node.state().settings().burst),
            quota::store_burst,
        )
        .managed_alone()
        .only_in(Dialect::Cgroup),
        ControlFile::read("stat", Self::show_stat).only_in(Dialect::Cgroup),
        ControlFile::read_write_node("shares", resgroups::show, guarantee::store)
            .managed_alone()
            .only_in(Dialect::Container),
        ControlFile::read_write("stats", Self::show_stats, Self::reset_stats).only_in(Dialect::Container),
    ];

    fn create(parent: &Self) -> Result<Self, Errno> {
        let groups = SCHEDULER.get().zip(parent.groups()).map(|(scheduler, above)| {
            let outer = scheduler.new_group(&*above.rest);
            let rest = scheduler.new_group(&*outer);
            Groups { outer, rest }
        });
        Ok(Self { groups, ..Self::root() })
    }

    fn offline(node: &Node<'_, Self>) {
        // The part that was set aside for it is free again.
        if node.state().is_guaranteed.load(Relaxed)
            && let Some(parent) = node.parent()
        {
            guarantee::arrange(&parent, Some(node));
        }
    }

    fn attach(task: &dyn Member, _from: Lineage<'_, Self>, to: Lineage<'_, Self>) {
        to.own().put(task);
    }

    fn fork(child: &dyn Member, place: Lineage<'_, Self>) {
        // Tasks begin in the root's group.
        if !place.is_root() {
            place.own().put(child);
        }
    }
}

impl Cpu {
    /// The state of a root.
    pub fn root() -> Self {
        let settings = Settings { shares: DEFAULT_WEIGHT, idle: false, quota: None, period: 100_000, burst: 0 };
        Self {
            groups: None,
            settings: SpinLock::new(rank::CONTROLLER, settings),
            parts: Shares::default(),
            is_guaranteed: AtomicBool::new(false),
            base: SpinLock::new(rank::CONTROLLER, Statistics::default()),
        }
    }

    fn groups(&self) -> Option<Groups> {
        self.groups.clone().or_else(|| SCHEDULER.get().map(|scheduler| scheduler.roots()))
    }

    fn put(&self, task: &dyn Member) {
        if let Some(scheduler) = SCHEDULER.get() {
            scheduler.put(task, self.groups.as_ref().map(|groups| &*groups.rest));
        }
    }

    fn settings(&self) -> Settings {
        *self.settings.lock()
    }

    /// What the container has run and waited; its limits are those of its outer group.
    fn statistics(&self) -> Statistics {
        self.groups().map(|groups| groups.outer.statistics()).unwrap_or_default()
    }

    fn show_stat(&self, out: &mut dyn Write) -> fmt::Result {
        let Statistics { periods, throttled, throttled_time, bursts, burst_time, .. } = self.statistics();
        writeln!(out, "nr_periods {periods}\nnr_throttled {throttled}\nthrottled_time {throttled_time}")?;
        writeln!(out, "nr_bursts {bursts}\nburst_time {burst_time}")
    }

    fn show_stats(&self, out: &mut dyn Write) -> fmt::Result {
        let (now, base) = {
            // Under the lock: a reset in between would be later than `now`.
            let base = self.base.lock();
            (self.statistics(), *base)
        };
        writeln!(out, "cpu: Usage {}", now.usage - base.usage)?;
        writeln!(out, "cpu: Number of periods {}", now.periods - base.periods)?;
        writeln!(out, "cpu: Number of throttled periods {}", now.throttled - base.throttled)?;
        writeln!(out, "cpu: Throttled time {}", now.throttled_time - base.throttled_time)
    }

    fn reset_stats(&self, text: &str) -> Result<(), Errno> {
        resgroups::check_reset(text)?;
        let mut base = self.base.lock();
        *base = self.statistics();
        Ok(())
    }
}

impl Client for Cpu {
    fn shares(&self) -> &Shares {
        &self.parts
    }

    fn total(_root: &Self) -> u64 {
        guarantee::total()
    }

    fn apply(node: &Node<'_, Self>, amounts: Amounts) {
        guarantee::apply(node, amounts);
    }
}

/// What a container weighs in the cgroup dialect.
fn weigh(state: &Cpu, shares: u32, idle: bool) {
    {
        let mut settings = state.settings.lock();
        settings.shares = shares;
        settings.idle = idle;
    }
    if let Some(groups) = &state.groups {
        groups.outer.set_weight(shares);
        groups.outer.set_idle(idle);
    }
}

fn store_shares(node: &Node<'_, Cpu>, text: &str) -> Result<(), Errno> {
    let shares = number::parse_unsigned(text)?;
    if node.is_root() || node.state().settings().idle {
        return Err(Errno::EINVAL);
    }
    weigh(node.state(), shares.clamp(2, 262_144) as u32, false);
    Ok(())
}

fn store_idle(node: &Node<'_, Cpu>, text: &str) -> Result<(), Errno> {
    let idle = match number::parse_signed(text)? {
        0 => false,
        1 => true,
        _ => return Err(Errno::EINVAL),
    };
    if node.is_root() {
        return Err(Errno::EINVAL);
    }
    if idle != node.state().settings().idle {
        weigh(node.state(), if idle { IDLE_WEIGHT } else { DEFAULT_WEIGHT }, idle);
    }
    Ok(())
}
