//! A task as the scheduler sees it.

use crate::{
    policy::{Class, Group, Nice, Policy, Priority, Server, Standing, Urgency},
    rest::{Activity, Rest},
};
use alloc::sync::Arc;
use base::{CpuId, CpuSet, Errno, MAX_CPUS};
use core::{
    any::Any,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};
use machine::{
    context::Context,
    interrupts::InterruptsOff,
    sync::{IrqGuard, IrqLock, SpinGuard, rank},
    time,
};

/// A task: what the scheduler asks of it.
pub trait Schedulable: Any + Send + Sync {
    /// The scheduler's part of the task.
    fn entity(&self) -> &Entity;

    /// The task has run on `cpu` for so many nanoseconds in user and in kernel mode. Called at each switch and tick
    /// on that CPU, interrupts off, the run queue locked: no sleeping, no allocation.
    fn charge_time(&self, cpu: CpuId, user: u64, system: u64);

    /// The CPU that this is called on is about to run the task: its address space must be the active one from here on.
    /// Interrupts are off, no lock is held.
    fn switched_in(&self) {}
}

/// The scheduler's part of a task: its kernel stack, where it may run, how much it has run.
pub struct Entity {
    context: Arc<Context>,
    entry: fn() -> !,
    run: IrqLock<RunState>,
    /// Whether it sleeps, was interrupted, is frozen. Its run state is `run`.
    pub(crate) rest: Rest,
    cpu: AtomicU32,
    /// A copy of `run`'s set, for looks under a run queue's lock.
    allowed_hint: [AtomicU64; MAX_CPUS / 64],
    /// Whether the nice value is above 0, for looks under a run queue's lock.
    is_nice: AtomicBool,
    pub(crate) user: AtomicU64,
    pub(crate) system: AtomicU64,
    pub(crate) voluntary: AtomicU64,
    pub(crate) involuntary: AtomicU64,
    started_at: u64,
    /// Whether it has a reservation, for looks without a lock.
    reserves: AtomicBool,
}

/// Where a task may run and whether it does. Every change of a run queue's members is made under this lock of the
/// member, the queue's own inside it.
pub(crate) struct RunState {
    pub(crate) allowed: CpuSet,
    pub(crate) nice: Nice,
    /// In a run queue, running or waiting, or on the way from one to another.
    pub(crate) policy: Policy,
    /// The real-time priority that those lend who wait for it.
    pub(crate) lent: Option<Priority>,
    /// Keeps it to its reservation; there is one just while `policy` is `Deadline`.
    pub(crate) server: Option<Arc<Server>>,
    /// How the last server stood when another policy took its place.
    pub(crate) left_standing: Option<(u64, i64)>,
    pub(crate) queued: bool,
    pub(crate) standing: Standing,
    /// Where it competes; none is the machine's own group.
    pub(crate) group: Option<Arc<Group>>,
    /// It runs and is still in the queue's level of another group.
    pub(crate) is_misplaced: bool,
    /// When it last began to be queued.
    pub(crate) queued_since: u64,
    /// Nanoseconds that it was queued before that.
    pub(crate) was_queued: u64,
}

impl RunState {
    /// How the task competes.
    pub(crate) fn class(&self) -> Class<'_> {
        match self.lent {
            Some(priority) if self.lent > self.policy.priority() && self.server.is_none() => {
                Class::RealTime { priority, takes_turns: matches!(self.policy, Policy::RoundRobin(_)) }
            }
            _ => self.policy.class(self.nice, self.server.as_ref()),
        }
    }

    /// How urgent it is by its reservation or by its real-time priority, of its own or lent; `None` if it shares by virtual
    /// time.
    pub(crate) fn urgency(&self) -> Option<Urgency> {
        match self.policy {
            Policy::Deadline(_) => self.server.as_ref().map(|server| server.urgency()),
            policy => self.lent.max(policy.priority()).map(Urgency::from),
        }
    }
}

impl Entity {
    /// A task that will begin in `entry`, with interrupts on, once [`start`](crate::start) has been called. It has no
    /// reservation: `policy` is not `Deadline`. `ENOMEM`.
    pub fn new(entry: fn() -> !, allowed: CpuSet, policy: Policy, nice: Nice) -> Result<Self, Errno> {
        let standing = Standing::new_task(nice.weight());
        Ok(Self {
            context: Arc::new(Context::new(crate::cpu::first_run)?),
            entry,
            run: IrqLock::new(
                rank::TASK_STATE,
                RunState {
                    allowed,
                    nice,
                    policy,
                    lent: None,
                    server: None,
                    left_standing: None,
                    queued: false,
                    standing,
                    group: None,
                    is_misplaced: false,
                    queued_since: 0,
                    was_queued: 0,
                },
            ),
            rest: Rest::new(),
            cpu: AtomicU32::new(machine::cpu::current().raw()),
            allowed_hint: allowed.words().map(AtomicU64::new),
            is_nice: AtomicBool::new(nice > Nice::default()),
            user: AtomicU64::new(0),
            system: AtomicU64::new(0),
            voluntary: AtomicU64::new(0),
            involuntary: AtomicU64::new(0),
            started_at: time::now(),
            reserves: AtomicBool::new(false),
        })
    }

    /// The kernel stack and what is saved of the task while it doesn't run.
    pub fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn shared_context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(crate) fn entry(&self) -> fn() -> ! {
        self.entry
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> IrqGuard<'_, RunState> {
        self.run.lock()
    }

    #[track_caller]
    pub(crate) fn lock_within<'a>(&'a self, off: &'a InterruptsOff) -> SpinGuard<'a, RunState> {
        self.run.lock_within(off)
    }

    pub(crate) fn store_allowed(&self, state: &mut RunState, allowed: CpuSet) {
        state.allowed = allowed;
        for (hint, word) in self.allowed_hint.iter().zip(allowed.words()) {
            hint.store(*word, Relaxed);
        }
    }

    /// Whether the task might be allowed on `cpu`; only its lock tells for sure.
    pub(crate) fn seems_allowed(&self, cpu: CpuId) -> bool {
        self.allowed_hint[cpu.index() / 64].load(Relaxed) & (1 << (cpu.index() % 64)) != 0
    }

    /// The CPUs that the task may use.
    pub fn allowed(&self) -> CpuSet {
        self.run.lock().allowed
    }

    /// The CPU that it runs on or last ran on.
    pub fn cpu(&self) -> CpuId {
        CpuId::new(self.cpu.load(Relaxed))
    }

    pub(crate) fn set_cpu(&self, cpu: CpuId) {
        self.cpu.store(cpu.raw(), Relaxed);
    }

    /// Its nice value.
    pub fn nice(&self) -> Nice {
        self.run.lock().nice
    }

    /// Its scheduling policy.
    pub fn policy(&self) -> Policy {
        self.run.lock().policy
    }

    /// Its absolute deadline, in nanoseconds since boot, and the nanoseconds that it may run until then, below 0 if it ran
    /// too much; `None` without a reservation.
    pub fn deadline(&self) -> Option<(u64, i64)> {
        self.run.lock().server.as_ref().map(|server| server.standing())
    }

    /// Whether it used up its reservation since this was last asked, and wants its process to be told.
    pub fn take_overrun(&self) -> bool {
        self.reserves.load(Relaxed) && self.run.lock().server.as_ref().is_some_and(|server| server.take_overrun())
    }

    /// The task ends: others may reserve what it had.
    pub fn release_reservation(&self) {
        if self.reserves.load(Relaxed)
            && let Some(server) = &self.run.lock().server
        {
            server.release();
        }
    }

    /// Puts another reservation in the place of the one that there is. Gives what is to be dropped without the lock.
    pub(crate) fn store_server(&self, state: &mut RunState, server: Option<Arc<Server>>) -> Option<Arc<Server>> {
        self.reserves.store(server.is_some(), Relaxed);
        core::mem::replace(&mut state.server, server)
    }

    pub(crate) fn store_nice(&self, state: &mut RunState, nice: Nice) {
        state.nice = nice;
        self.is_nice.store(nice > Nice::default(), Relaxed);
    }

    pub(crate) fn is_nice(&self) -> bool {
        self.is_nice.load(Relaxed)
    }

    /// What it is doing.
    pub fn activity(&self) -> Activity {
        self.rest.activity()
    }

    /// Nanoseconds spent in user mode, up to the last switch or tick.
    pub fn user_ns(&self) -> u64 {
        self.user.load(Relaxed)
    }

    /// Nanoseconds spent in kernel mode, up to the last switch or tick.
    pub fn system_ns(&self) -> u64 {
        self.system.load(Relaxed)
    }

    /// Nanoseconds that it was ready to run and did not, up to now. What others ran in between counts, and whatever else kept
    /// it from its CPU.
    pub fn waited_ns(&self) -> u64 {
        let state = self.run.lock();
        let mut queued = state.was_queued;
        let mut ran = self.user_ns() + self.system_ns();
        if state.queued {
            // While it runs, both sums end at the last switch or tick.
            let running = crate::cpu::accounted_while_running(self);
            let (until, ran_until) = running.unwrap_or_else(|| (time::now(), ran));
            queued += until.saturating_sub(state.queued_since);
            ran = ran_until;
        }
        queued.saturating_sub(ran)
    }

    /// Nanoseconds since boot at which the task was made.
    pub fn started_at(&self) -> u64 {
        self.started_at
    }

    /// How often it gave its CPU away by itself (blocked), and how often it was made to.
    pub fn switches(&self) -> (u64, u64) {
        (self.voluntary.load(Relaxed), self.involuntary.load(Relaxed))
    }

    /// Whether it was interrupted (see [`interrupt`](crate::interrupt)) and that has not been cleared.
    pub fn interrupt_pending(&self) -> bool {
        self.rest.interrupt_pending()
    }

    /// Clears the mark of [`interrupt`](crate::interrupt).
    pub fn clear_interrupt(&self) {
        self.rest.clear_interrupt();
    }
}
