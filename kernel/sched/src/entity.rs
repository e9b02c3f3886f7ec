//! A task as the scheduler sees it.

use crate::policy::Nice;
use alloc::sync::Arc;
use base::{CpuId, CpuSet, Errno};
use core::any::Any;
use machine::context::Context;

/// A task: what the scheduler asks of it.
pub trait Schedulable: Any + Send + Sync {
    /// The scheduler's part of the task.
    fn entity(&self) -> &Entity;
    /// The task has run on `cpu` for so many nanoseconds in user and in kernel mode. Called at each switch and tick
    /// on that CPU, interrupts off, the run queue locked: no sleeping, no allocation.
    fn charge_time(&self, cpu: CpuId, user: u64, system: u64);
}

/// What a task is doing, as `/proc/<pid>/stat` tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// Runs or waits for a CPU.
    Runnable,
    /// Sleeps until an event, a deadline or a signal.
    Sleeping,
    /// Sleeps until an event; signals don't wake it.
    Uninterruptible,
    /// Will never run again.
    Dead,
}

/// The scheduler's part of a task: its kernel stack, where it may run, how much it has run.
pub struct Entity {
    context: Context,
}

impl Entity {
    /// A task that will begin in `entry`, with interrupts on, once [`start`](crate::start) has been called. `ENOMEM`.
    pub fn new(_entry: fn() -> !, _allowed: CpuSet, _nice: Nice) -> Result<Self, Errno> {
        todo!()
    }

    /// The kernel stack and what is saved of the task while it doesn't run.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The CPUs that the task may use.
    pub fn allowed(&self) -> CpuSet {
        todo!()
    }

    /// The CPU that it runs on or last ran on.
    pub fn cpu(&self) -> CpuId {
        todo!()
    }

    /// Its nice value.
    pub fn nice(&self) -> Nice {
        todo!()
    }

    /// What it is doing.
    pub fn activity(&self) -> Activity {
        todo!()
    }

    /// Nanoseconds spent in user mode, up to the last switch or tick.
    pub fn user_ns(&self) -> u64 {
        todo!()
    }

    /// Nanoseconds spent in kernel mode, up to the last switch or tick.
    pub fn system_ns(&self) -> u64 {
        todo!()
    }

    /// Nanoseconds since boot at which the task was made.
    pub fn started_at(&self) -> u64 {
        todo!()
    }

    /// How often it gave its CPU away by itself (blocked), and how often it was made to.
    pub fn switches(&self) -> (u64, u64) {
        todo!()
    }

    /// Whether it was interrupted (see [`interrupt`](crate::interrupt)) and that has not been cleared.
    pub fn interrupt_pending(&self) -> bool {
        todo!()
    }

    /// Clears the mark of [`interrupt`](crate::interrupt).
    pub fn clear_interrupt(&self) {
        todo!()
    }
}

/// First queueing of a new task, after everything about it is visible to others. It may run on another CPU before
/// this returns.
pub fn start(_task: Arc<dyn Schedulable>) {
    todo!()
}

/// The running task; none in an idle CPU's own loop or before the scheduler runs.
pub fn current() -> Option<Arc<dyn Schedulable>> {
    todo!()
}

/// The running task, if it is a `T`.
pub fn current_as<T: Schedulable>() -> Option<Arc<T>> {
    todo!()
}

/// Calls `f` with the running task, without counting a reference.
pub fn with_current<R>(_f: impl FnOnce(&Arc<dyn Schedulable>) -> R) -> Option<R> {
    todo!()
}

/// Marks the task as interrupted and wakes it if it sleeps interruptibly; from then on such sleeps end at once, until
/// [`Entity::clear_interrupt`]. Signals do this. May be called from interrupts.
pub fn interrupt(_task: &Arc<dyn Schedulable>) {
    todo!()
}

/// Whether this CPU should be given to another task at the next chance.
pub fn need_resched() -> bool {
    todo!()
}

/// Gives the CPU to the next task in turn; the caller stays runnable. Returns when it is its turn again. Not under a
/// spinning lock, nor in an interrupt.
pub fn schedule() {
    todo!()
}

/// [`schedule`] if [`need_resched`]: for long loops in the kernel.
pub fn give_way() {
    todo!()
}

/// `sched_yield(2)`: lets every other runnable task of this CPU run first.
pub fn sched_yield() {
    todo!()
}

/// Ends the running task. The scheduler's reference to it is dropped by the next task on this CPU.
pub fn exit_current() -> ! {
    todo!()
}

/// Sets the CPUs that the task may use. On return it runs only inside: if it ran outside, it has been pushed off by
/// an interrupt. A set without an online CPU means every online CPU. Not under a spinning lock.
pub fn set_allowed(_task: &Arc<dyn Schedulable>, _allowed: &CpuSet) {
    todo!()
}

/// Sets the task's nice value.
pub fn set_nice(_task: &Arc<dyn Schedulable>, _nice: Nice) {
    todo!()
}

/// Makes the scheduler for the CPUs of this machine and installs what sleeping locks sleep by. Once, on the boot CPU.
pub fn initialize() {
    todo!()
}

/// Turns the calling CPU over to the scheduler: it runs tasks, and halts when there is none.
pub fn run_this_cpu() -> ! {
    todo!()
}

/// Called by the timer interrupt.
pub fn on_timer() {
    todo!()
}

/// Called by the reschedule interrupt.
pub fn on_reschedule() {
    todo!()
}

/// Gives `value` to the scheduler to drop where dropping may take locks and sleep: for references that may turn out
/// to be the last in an interrupt or under a spinning lock.
pub fn drop_later(_value: Arc<dyn Any + Send + Sync>) {
    todo!()
}

/// What a CPU has done since boot, in nanoseconds and counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStatistics {
    /// User mode of tasks whose nice value is 0 or less.
    pub user: u64,
    /// User mode of tasks with a nice value above 0.
    pub nice: u64,
    /// Kernel mode.
    pub system: u64,
    /// Idle.
    pub idle: u64,
    /// Task switches.
    pub switches: u64,
}

/// What `cpu` has done since boot.
pub fn statistics(_cpu: CpuId) -> CpuStatistics {
    todo!()
}

/// The load averages over 1, 5 and 15 minutes, in units of 1/2048.
pub fn load_averages() -> [u64; 3] {
    todo!()
}

/// How many tasks run or wait for a CPU.
pub fn runnable_count() -> usize {
    todo!()
}
