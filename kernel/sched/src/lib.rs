//! sched: who runs where and when.
//!
//! One run queue per CPU: tasks with reservations by their deadlines, behind them those of real time by their priorities,
//! behind these all others, fair by virtual run time with
//! nice weights; tasks are placed at wake-up and moved by
//! balancing, never outside the CPUs that they may use. Time is accounted to the nanosecond at each switch and
//! tick. Waiting is here too: wait queues, observers of them (poll), timers, and what sleeping locks sleep by.
//!
//! | type | what |
//! |---|---|
//! | [`Schedulable`], [`Entity`] | a task as the scheduler sees it: implemented by `process::Task`, owned by it |
//! | [`Group`] | tasks that compete as one, with a weight and maybe a limit |
//! | [`WaitQueue`], [`Waiter`] | sleeping until something has happened, with or without signals and deadlines |
//! | [`Observer`], [`Registration`] | being told of an event without sleeping |
//! | [`Timer`] | a call at a deadline |
//! | [`policy`] | the decisions, pure, which the host's simulator drives |
//!
//! Kernel mode is not preempted: a task gives its CPU away where it blocks, in [`give_way`], and on its way back to
//! user mode when [`need_resched`] says so. Below it are `machine` and `base`; it knows no process and no file.
// Locks of loom can't stand in statics: under loom there is only what the files in `tests` take.
#![cfg(not(loom))]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate std;

mod admission;
mod balancing;
mod clock;
mod cpu;
mod domain;
mod entity;
mod freeze;
mod groups;
mod observer;
mod online;
mod park;
pub mod policy;
mod real_time;
mod rest;
mod timer;
mod wait;
mod wake;
mod watched;

pub use admission::{admit_move, cancel_move, may_shrink, period_bounds, set_affinity, set_period_bounds};
pub use clock::load_averages;
pub use cpu::{CpuStatistics, account, initialize, on_reschedule, on_timer, run_this_cpu};
pub use domain::set_domains;
pub use entity::{Entity, Schedulable};
pub use freeze::{FREEZE_KEEPER, FreezeKeeper, exempt, freeze, let_end, mark_frozen, progress, stay_if_wanted, thaw};
pub use groups::{new_group, roots, set_limit, set_parent};
pub use observer::{Observer, Registration, Waiter};
pub use online::{ONLINE_CHANGED, OnlineChange, bring_online, take_offline};
pub use policy::{
    DEFAULT_GROUP_WEIGHT, Group, Limit, LimitStatistics, Nice, Policy, Priority, RealTimeLimit, Reservation,
};
pub use real_time::{real_time_limit, set_real_time_limit};
pub use rest::{Activity, Freezing, WaitError};
pub use timer::{Timer, TimerCall, sleep_until};
pub use wait::WaitQueue;
pub use wake::{
    before_user_mode, between_jobs, current, current_as, exit_current, give_way, glance, goes_on, interrupt, lend,
    need_resched, sched_yield, schedule, set_allowed, set_group, set_nice, set_policy, start, with_current,
};

use alloc::sync::Arc;
use base::CpuId;

/// What `cpu` has done since boot.
pub fn statistics(cpu: CpuId) -> CpuStatistics {
    cpu::get(cpu).map_or_else(CpuStatistics::default, cpu::Cpu::statistics)
}

/// How many tasks run or wait for a CPU.
pub fn runnable_count() -> usize {
    cpu::runnable()
}

/// Gives `value` to the scheduler to drop where dropping may take locks and sleep: for references that may turn out
/// to be the last in an interrupt or under a spinning lock.
pub fn drop_later(value: Arc<dyn core::any::Any + Send + Sync>) {
    if let Some(cpu) = cpu::here() {
        cpu.drop_later(value);
    }
}
