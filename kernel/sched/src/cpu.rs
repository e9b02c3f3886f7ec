//! The CPUs: the run queue of each, switching between tasks, the idle loop, the timer interrupt.
//!
//! A task in the queue of a CPU is either saved or is still being saved by that same CPU; so a CPU that picks a task
//! never waits for another one. Who moves a task to another queue sees to it: [`wake`](crate::wake) leaves a task
//! that is still being saved where it is, stealing skips it, and a task that must leave its own CPU is handed on by
//! whoever runs there next (see `switch`).

mod switch;

use crate::{
    Entity, Schedulable, balancing, clock, domain,
    policy::{BALANCE_INTERVAL, ROTATION, Roots, Runnable, Urgency, balance::CpuState},
    real_time,
    timer::{self, TimerQueue},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use base::{CpuId, CpuSet};
use core::{
    any::Any,
    sync::atomic::{
        AtomicBool, AtomicU64, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};
use machine::{
    context::Context,
    cpu::PerCpu,
    interrupts, ipi,
    sync::{Hook, IrqLock, rank},
    time::{self, CycleClock},
};

use switch::Left;
pub(crate) use switch::{Reason, first_run, reschedule};

/// The longest that a running task's figures lag behind.
pub(crate) const TICK: u64 = 10_000_000;

/// A reference to a task.
pub(crate) type TaskRef = Arc<dyn Schedulable>;

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

/// One CPU.
pub(crate) struct Cpu {
    pub(crate) number: CpuId,
    pub(crate) queue: IrqLock<RunQueue>,
    /// The task that runs; the same as the queue's current one, but never taken away by others.
    running: IrqLock<Option<TaskRef>>,
    load: AtomicU64,
    tasks: AtomicUsize,
    /// The greatest urgency here, and of those that wait; 0 is none.
    urgency: AtomicU64,
    pub(crate) waiting_urgency: AtomicU64,
    /// What the switch that is under way leaves for the other side of it.
    left: IrqLock<Left>,
    has_left: AtomicBool,
    /// References that somebody could not drop where it was.
    later: IrqLock<Vec<Arc<dyn Any + Send + Sync>>>,
    has_later: AtomicBool,
    idle: IrqLock<Option<Arc<Context>>>,
    pub(crate) timers: TimerQueue,
    /// When the queue wants a timer interrupt; `u64::MAX` is never.
    tick_at: AtomicU64,
    /// What the hardware's timer was last set to; `u64::MAX` once it has fired.
    pub(crate) armed_for: AtomicU64,
    /// Whom it takes tasks from.
    pub(crate) domain: domain::Membership,
    /// Another CPU of the domain, which has too much to do, wants it to look farther than it would.
    pub(crate) asked: AtomicBool,
    /// Whether it is to take tasks; else it goes to [`online`](crate::online), or is there.
    pub(crate) serves: AtomicBool,
    /// Whether it is parked there.
    pub(crate) parked: AtomicBool,
}

/// The members of a CPU's queue and their accounts.
pub(crate) struct RunQueue {
    pub(crate) members: Runnable<TaskRef>,
    /// The CPU is going offline, or is: nothing may be added.
    pub(crate) closed: bool,
    pub(crate) accounted_at: u64,
    user_clock: CycleClock,
    statistics: CpuStatistics,
    balance_at: u64,
    looks: u64,
}

static CPUS: Hook<PerCpu<Cpu>> = Hook::new();
static ROOTS: Hook<Roots> = Hook::new();

/// The groups at the top, once [`initialize`] has run.
pub(crate) fn roots() -> Option<&'static Roots> {
    ROOTS.get()
}

/// The CPUs, once [`initialize`](crate::initialize) has run.
pub(crate) fn all() -> Option<&'static PerCpu<Cpu>> {
    CPUS.get()
}

/// One CPU; `None` before [`initialize`](crate::initialize).
pub(crate) fn get(cpu: CpuId) -> Option<&'static Cpu> {
    all().map(|cpus| cpus.get(cpu))
}

/// The CPU that this runs on.
pub(crate) fn here() -> Option<&'static Cpu> {
    all().map(|cpus| cpus.here())
}

pub(crate) fn install(cpus: &'static PerCpu<Cpu>) {
    CPUS.install(cpus);
}

/// What is seen of a CPU without its lock.
pub(crate) fn state(cpu: CpuId) -> CpuState {
    get(cpu).map_or_else(CpuState::default, |cpu| CpuState {
        load: cpu.load.load(Relaxed),
        tasks: cpu.tasks.load(Relaxed),
        urgency: Urgency::from_raw(cpu.urgency.load(Relaxed)),
    })
}

impl Cpu {
    pub(crate) fn new(number: CpuId, roots: &Roots) -> Self {
        Self {
            number,
            queue: IrqLock::new(
                rank::RUN_QUEUE,
                RunQueue {
                    members: Runnable::new(number.index(), roots),
                    closed: false,
                    accounted_at: time::now(),
                    user_clock: CycleClock::new(),
                    statistics: CpuStatistics::default(),
                    balance_at: 0,
                    looks: u64::from(number.raw()),
                },
            ),
            running: IrqLock::new(rank::LEAF, None),
            load: AtomicU64::new(0),
            tasks: AtomicUsize::new(0),
            urgency: AtomicU64::new(0),
            waiting_urgency: AtomicU64::new(0),
            left: IrqLock::new(rank::LEAF, Left::default()),
            has_left: AtomicBool::new(false),
            later: IrqLock::new(rank::TIMERS, Vec::new()),
            has_later: AtomicBool::new(false),
            idle: IrqLock::new(rank::LEAF, None),
            timers: TimerQueue::new(),
            tick_at: AtomicU64::new(u64::MAX),
            armed_for: AtomicU64::new(u64::MAX),
            domain: domain::Membership::of_all(),
            asked: AtomicBool::new(false),
            serves: AtomicBool::new(true),
            parked: AtomicBool::new(false),
        }
    }

    /// The task that runs.
    pub(crate) fn running(&self) -> Option<TaskRef> {
        self.running.lock().clone()
    }

    /// What `f` says of the task that runs; it may take no lock.
    pub(crate) fn glance<R>(&self, f: impl FnOnce(&TaskRef) -> R) -> Option<R> {
        self.running.lock().as_ref().map(f)
    }

    /// Tells others what the queue holds now; called at each change, under its lock.
    #[inline]
    pub(crate) fn publish(&self, queue: &RunQueue) {
        self.load.store(queue.members.load(), Relaxed);
        self.tasks.store(queue.members.len(), Relaxed);
        let raw = |urgency: Option<Urgency>| urgency.map_or(0, Urgency::raw);
        let urgency = raw(queue.members.urgency());
        if urgency != 0 || self.urgency.load(Relaxed) != 0 {
            self.urgency.store(urgency, Relaxed);
            real_time::publish(self, raw(queue.members.waiting_urgency()));
        }
    }

    pub(crate) fn drop_later(&self, value: Arc<dyn Any + Send + Sync>) {
        self.later.lock().push(value);
        self.has_later.store(true, SeqCst);
    }

    #[inline]
    fn drop_what_was_left(&self) {
        if self.has_later.load(SeqCst) {
            self.drop_later_ones();
        }
    }

    #[cold]
    fn drop_later_ones(&self) {
        while self.has_later.swap(false, SeqCst) {
            let values = core::mem::take(&mut *self.later.lock());
            drop(values);
        }
    }

    /// Makes the CPU choose again as soon as it can. A CPU that halts is woken.
    pub(crate) fn kick(&self) {
        // Whoever has set the mark before sends, or has sent, the interrupt.
        if !machine::cpu::set_wanted(self.number) && self.number != machine::cpu::current() {
            ipi::reschedule(self.number);
        }
    }

    pub(crate) fn statistics(&self) -> CpuStatistics {
        let mut queue = self.queue.lock();
        if self.number == machine::cpu::current() {
            queue.account(self.number);
        } else if queue.members.current().is_none() && !self.parked.load(SeqCst) {
            // An idle CPU's clock stands still until it looks; nothing else can be running there.
            let mut statistics = queue.statistics;
            statistics.idle += time::now().saturating_sub(queue.accounted_at);
            return statistics;
        }
        queue.statistics
    }

    /// Asks for a timer interrupt when the turn of the running task ends, or the tick is due.
    #[inline]
    pub(crate) fn plan(&self, queue: &RunQueue) {
        let members = &queue.members;
        let at = if members.is_running() {
            let ends = match (members.left_of_turn(), members.left_of_slice()) {
                (Some(turn), Some(slice)) => Some(turn.min(slice)),
                (turn, slice) => turn.or(slice),
            };
            return self.plan_end(queue, ends.unwrap_or(TICK));
        } else if members.has_leftovers() {
            queue.accounted_at + TICK
        } else {
            u64::MAX
        };
        self.tick_at.store(at.min(members.resumes_at()), Relaxed);
        self.arm();
    }

    /// The same, where the turn of the running task is known to end after so many nanoseconds more.
    #[inline(always)]
    fn plan_end(&self, queue: &RunQueue, left: u64) {
        let at = queue.accounted_at + left.clamp(100_000, TICK);
        self.tick_at.store(at.min(queue.members.resumes_at()), Relaxed);
        self.arm();
    }

    /// Sets this CPU's timer to the nearest of what is wanted. Interrupts are off. A timer that fires before that stays
    /// as it is: its interrupt looks again, and most switches leave the hardware alone.
    #[inline]
    pub(crate) fn arm(&self) {
        let at = self.tick_at.load(Relaxed).min(self.timers.first());
        if at < self.armed_for.load(Relaxed) {
            self.armed_for.store(at, Relaxed);
            machine::timer::set(Some(at));
        }
    }
}

impl RunQueue {
    /// Charges the time since the last call to the running task, or to nobody.
    pub(crate) fn account(&mut self, cpu: CpuId) {
        let current = self.members.current().cloned();
        match &current {
            Some(task) => self.account_for(task, task.entity(), cpu),
            None => self.statistics.idle += self.advance().0,
        }
    }

    /// How much time has passed since the last call, and how much of it in user mode.
    #[inline]
    fn advance(&mut self) -> (u64, u64) {
        let now = time::now();
        let total = now.saturating_sub(self.accounted_at);
        self.accounted_at = now;
        (total, self.user_clock.advance(machine::cpu::take_user_cycles()).min(total))
    }

    /// [`account`](Self::account) where it is known that `task`, whose scheduler's part is `entity`, is the running one.
    #[inline]
    fn account_for(&mut self, task: &TaskRef, entity: &Entity, cpu: CpuId) {
        let (total, user) = self.advance();
        let system = total - user;
        // Only this CPU adds while the task runs here.
        entity.user.store(entity.user.load(Relaxed) + user, Relaxed);
        entity.system.store(entity.system.load(Relaxed) + system, Relaxed);
        let of_kind = if entity.is_nice() { &mut self.statistics.nice } else { &mut self.statistics.user };
        *of_kind += user;
        self.statistics.system += system;
        task.charge_time(cpu, user, system);
        self.members.charge(total, self.accounted_at);
    }

    /// Nanoseconds from when the running task was last charged to `now`.
    pub(crate) fn unaccounted(&self, now: u64) -> u64 {
        now.saturating_sub(self.accounted_at)
    }
}

/// Turns the calling CPU over to the scheduler: it runs tasks, and halts when there is none.
pub fn run_this_cpu() -> ! {
    let Some(cpu) = here() else { panic!("sched: a CPU came before the run queues were made") };
    *cpu.idle.lock() = Some(Arc::new(Context::adopt_current()));
    loop {
        let off = interrupts::off();
        if !cpu.serves.load(SeqCst) && !cpu.has_later.load(SeqCst) {
            crate::online::stay_parked(cpu, off);
        } else if machine::cpu::is_wanted() || cpu.tasks.load(SeqCst) > 0 || cpu.look_for_work() {
            drop(off);
            reschedule(Reason::Preempted);
        } else if cpu.has_later.load(SeqCst) {
            drop(off);
            cpu.drop_what_was_left();
        } else {
            let mut queue = cpu.queue.lock();
            queue.account(cpu.number);
            cpu.plan(&queue);
            drop(queue);
            machine::cpu::halt_until_interrupt(off);
        }
    }
}

/// Lets a little time pass where no task runs. An idle CPU may wait for a lock, in what it drops: who has it may be able to
/// run only here.
#[cfg(target_os = "none")]
pub(crate) fn pause_outside_tasks() {
    match here() {
        Some(cpu) if cpu.tasks.load(SeqCst) > 0 && cpu.idle.lock().is_some() => reschedule(Reason::Preempted),
        _ => core::hint::spin_loop(),
    }
}

/// Called by the timer interrupt.
pub fn on_timer() {
    let Some(cpu) = here() else { return };
    cpu.armed_for.store(u64::MAX, Relaxed);
    timer::run_expired(cpu);
    if cpu.parked.load(SeqCst) {
        return;
    }
    let mut queue = cpu.queue.lock();
    queue.account(cpu.number);
    let now = queue.accounted_at;
    let came = queue.members.resume(now);
    cpu.publish(&queue);
    if queue.members.current().is_none() {
        queue.members.clear_leftovers();
        cpu.plan(&queue);
        return;
    }
    if queue.members.left_of_turn() == Some(0) || queue.members.is_out_of_time() {
        machine::cpu::set_wanted(cpu.number);
    }
    let balance = queue.accounted_at >= queue.balance_at;
    let rotate = queue.looks.is_multiple_of(ROTATION);
    if balance {
        queue.balance_at = queue.accounted_at + BALANCE_INTERVAL;
        queue.looks += 1;
    }
    let crowded = queue.members.waiting() > 0;
    drop(queue);
    if came {
        real_time::push(cpu);
    }
    if balance {
        cpu.pull(cpu.peers(), rotate);
        if crowded {
            balancing::call_idle(cpu);
        }
    }
    cpu.plan(&cpu.queue.lock());
}

/// Called by the reschedule interrupt. The mark is set already; a new task may want a turn soon.
pub fn on_reschedule() {
    if let Some(cpu) = here() {
        cpu.plan(&cpu.queue.lock());
    }
}

/// The sum of the tasks that run or wait.
pub(crate) fn runnable() -> usize {
    all().map_or(0, |cpus| cpus.iter().map(|(_, cpu)| cpu.tasks.load(Relaxed)).sum())
}

/// If the task of `entity`, whose state is locked, runs: up to when its time was charged, and how long it ran until then.
pub(crate) fn accounted_while_running(entity: &Entity) -> Option<(u64, u64)> {
    let queue = get(entity.cpu())?.queue.lock();
    let runs = queue.members.current().is_some_and(|task| core::ptr::eq(task.entity(), entity));
    runs.then(|| (queue.accounted_at, entity.user_ns() + entity.system_ns()))
}

/// Charges the running task's time up to now, so that its own figures are exact.
pub fn account() {
    if let Some(cpu) = here() {
        cpu.queue.lock().account(cpu.number);
    }
}

/// Makes the scheduler for the CPUs of this machine and installs what sleeping locks sleep by. Once, on the boot CPU.
pub fn initialize() {
    let roots = Roots::default();
    let cpus: &'static PerCpu<Cpu> = Box::leak(Box::new(PerCpu::new(|number| Cpu::new(number, &roots))));
    install(cpus);
    ROOTS.install(Box::leak(Box::new(roots)));
    crate::park::install();
    clock::start();
}

/// All CPUs that are online and in `allowed`, or all that are online if that leaves none.
pub(crate) fn usable(allowed: &CpuSet) -> CpuSet {
    let online = machine::cpu::online();
    let usable = allowed.and(&online);
    if usable.is_empty() { online } else { usable }
}

/// Whether a task with that set may run on `cpu`: if no CPU of its set is online, it may on each that is.
#[inline]
pub(crate) fn may_be_on(allowed: &CpuSet, cpu: CpuId) -> bool {
    allowed.contains(cpu) || usable(allowed).contains(cpu)
}
