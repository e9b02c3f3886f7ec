//! The scheduler on real CPUs: wake-ups, pushing tasks off, fairness, timers, exact accounts, and that nothing leaks.

mod locks;
mod urgent;

use crate::KernelTest;
use alloc::{boxed::Box, sync::Arc, sync::Weak, vec::Vec};
use base::{CpuId, CpuSet};
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use machine::{
    cpu, interrupts,
    sync::{IrqLock, SpinLock, rank},
    time,
};
use sched::{Entity, Nice, Policy, Schedulable, Timer, TimerCall, WaitError, WaitQueue};

/// The suite.
pub const TESTS: &[KernelTest] = &[
    KernelTest::new("sched::tasks_that_yield_take_turns", tasks_that_yield_take_turns),
    KernelTest::new("sched::a_wake_up_is_never_lost", a_wake_up_is_never_lost),
    KernelTest::on("sched::a_wake_up_is_never_lost_between_two_cpus", 2, 1, no_wake_up_is_lost_between_cpus),
    KernelTest::on("sched::a_running_task_leaves_a_forbidden_cpu_at_once", 2, 1, a_running_task_leaves_a_forbidden_cpu),
    KernelTest::on("sched::two_tasks_can_push_each_other_off", 2, 1, two_tasks_can_push_each_other_off),
    KernelTest::new("sched::a_task_can_move_itself", a_task_can_move_itself),
    KernelTest::on("sched::an_idle_cpu_takes_what_waits_elsewhere", 2, 1, an_idle_cpu_takes_what_waits_elsewhere),
    KernelTest::new("sched::shares_follow_nice_values", shares_follow_nice_values),
    KernelTest::new("sched::time_is_charged_to_the_nanosecond", time_is_charged_to_the_nanosecond),
    KernelTest::new("sched::timers_call_once_and_in_order", timers_call_once_and_in_order),
    KernelTest::on("sched::timers_of_a_cpu_that_goes_offline_still_call", 2, 1, timers_leave_an_offline_cpu),
    KernelTest::on("sched::cpus_come_and_go_under_load", 2, 1, cpus_come_and_go_under_load),
    KernelTest::new("sched::a_cancelled_timer_does_not_call", a_cancelled_timer_does_not_call),
    KernelTest::new("sched::a_wait_ends_at_its_deadline", a_wait_ends_at_its_deadline),
    KernelTest::new("sched::a_wait_ends_when_interrupted", a_wait_ends_when_interrupted),
    KernelTest::on("sched::a_wake_up_for_another_is_passed_on", 2, 1, locks::a_wake_up_for_another_is_passed_on),
    KernelTest::new("sched::a_sleeping_lock_lets_one_in_at_a_time", locks::a_sleeping_lock_lets_one_in_at_a_time),
    KernelTest::on(
        "sched::an_idle_cpu_that_waits_for_a_lock_runs_its_holder",
        2,
        1,
        locks::an_idle_cpu_runs_the_holder,
    ),
    KernelTest::on("sched::the_greatest_priorities_have_the_cpus", 2, 1, urgent::the_greatest_priorities_have_the_cpus),
    KernelTest::new(
        "sched::a_kernel_thread_is_kept_to_its_reservation",
        urgent::a_kernel_thread_is_kept_to_its_reservation,
    ),
    KernelTest::new(
        "sched::leaving_a_reservation_gains_nothing",
        urgent::leaving_a_reservation_for_a_moment_gains_nothing,
    ),
    KernelTest::on(
        "sched::a_sleeper_keeps_its_reservation",
        2,
        1,
        urgent::what_a_sleeper_reserved_counts_when_its_cpu_is_gone,
    ),
    KernelTest::new("sched::ended_tasks_leave_nothing_behind", ended_tasks_leave_nothing_behind),
];

const SECOND: u64 = 1_000_000_000;

/// A task that runs a function.
struct Runner {
    entity: Entity,
    work: SpinLock<Option<Box<dyn FnOnce() + Send>>>,
    charged: AtomicU64,
    /// CPUs on which it was charged time.
    seen: IrqLock<CpuSet>,
    done: AtomicBool,
    finished: WaitQueue,
}

impl Schedulable for Runner {
    fn entity(&self) -> &Entity {
        &self.entity
    }

    fn charge_time(&self, cpu: CpuId, user: u64, system: u64) {
        self.charged.fetch_add(user + system, Relaxed);
        if user + system > 0 {
            self.seen.lock().insert(cpu);
        }
    }
}

impl Runner {
    fn reference(self: &Arc<Self>) -> Arc<dyn Schedulable> {
        self.clone()
    }

    /// Waits until it has ended.
    fn join(&self) {
        self.finished.wait_until(|| self.done.load(SeqCst).then_some(()));
    }
}

fn begin() -> ! {
    if let Some(own) = sched::current_as::<Runner>() {
        let work = own.work.lock().take();
        if let Some(work) = work {
            work();
        }
        own.done.store(true, SeqCst);
        own.finished.wake_all();
    }
    sched::exit_current()
}

fn start(allowed: CpuSet, nice: i32, work: impl FnOnce() + Send + 'static) -> Arc<Runner> {
    start_by(Policy::Other, allowed, nice, work)
}

fn start_by(policy: Policy, allowed: CpuSet, nice: i32, work: impl FnOnce() + Send + 'static) -> Arc<Runner> {
    let runner = Arc::new(Runner {
        entity: Entity::new(begin, allowed, policy, Nice::new(nice)).expect("memory for a task"),
        work: SpinLock::new(rank::PROCESS, Some(Box::new(work))),
        charged: AtomicU64::new(0),
        seen: IrqLock::new(rank::LEAF, CpuSet::EMPTY),
        done: AtomicBool::new(false),
        finished: WaitQueue::new(),
    });
    sched::start(runner.clone());
    runner
}

fn anywhere(work: impl FnOnce() + Send + 'static) -> Arc<Runner> {
    start(cpu::online(), 0, work)
}

fn nth_cpu(index: usize) -> CpuSet {
    CpuSet::only(cpu::online().iter().nth(index).expect("the test asks for so many CPUs"))
}

/// Spins, giving way, until the flag is set; as a program in user mode would.
fn spin_until(stop: &AtomicBool) {
    while !stop.load(SeqCst) {
        sched::give_way();
        core::hint::spin_loop();
    }
}

/// Sleeps, so that others run.
fn sleep(nanoseconds: u64) {
    sched::sleep_until(time::now() + nanoseconds).expect("nobody interrupts a test");
}

fn tasks_that_yield_take_turns() {
    static TURNS: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];
    let farthest = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..2)
        .map(|own| {
            let farthest = farthest.clone();
            start(nth_cpu(0), 0, move || {
                while TURNS[1 - own].load(SeqCst) == 0 {
                    TURNS[own].fetch_max(1, SeqCst);
                    sched::sched_yield();
                }
                for _ in 0..1000 {
                    TURNS[own].fetch_add(1, SeqCst);
                    let ahead = TURNS[own].load(SeqCst).abs_diff(TURNS[1 - own].load(SeqCst));
                    farthest.fetch_max(ahead, SeqCst);
                    sched::sched_yield();
                }
            })
        })
        .collect();
    tasks.iter().for_each(|task| task.join());
    assert!(TURNS.iter().all(|turns| turns.load(SeqCst) >= 1000));
    // The tick may make some yields count for nothing.
    let farthest = farthest.load(SeqCst);
    assert!(farthest <= 20, "one was {farthest} turns ahead of the other");
}

/// Two tasks hand a number to and fro through one wait queue each.
fn ping_pong(first: CpuSet, second: CpuSet, rounds: u32) {
    struct Table {
        number: AtomicU32,
        queues: [WaitQueue; 2],
    }
    let table = Arc::new(Table { number: AtomicU32::new(0), queues: [WaitQueue::new(), WaitQueue::new()] });
    let players: Vec<_> = [(0, first), (1, second)]
        .into_iter()
        .map(|(own, allowed)| {
            let table = table.clone();
            start(allowed, 0, move || {
                while table.queues[own as usize].wait_until(|| {
                    let number = table.number.load(SeqCst);
                    (number % 2 == own || number >= rounds).then_some(number < rounds)
                }) {
                    table.number.fetch_add(1, SeqCst);
                    table.queues[1 - own as usize].wake_one();
                }
                table.queues[1 - own as usize].wake_one();
            })
        })
        .collect();
    players.iter().for_each(|player| player.join());
    assert!(table.number.load(SeqCst) >= rounds);
}

fn a_wake_up_is_never_lost() {
    ping_pong(nth_cpu(0), nth_cpu(0), 2000);
}

fn no_wake_up_is_lost_between_cpus() {
    ping_pong(nth_cpu(0), nth_cpu(1), 2000);
    ping_pong(cpu::online(), cpu::online(), 2000);
}

fn a_running_task_leaves_a_forbidden_cpu() {
    let stop = Arc::new(AtomicBool::new(false));
    let spinner = {
        let stop = stop.clone();
        start(nth_cpu(1), 0, move || spin_until(&stop))
    };
    let reference = spinner.reference();
    for round in 0..50 {
        let target = nth_cpu(round % 2);
        sched::set_allowed(&reference, &target);
        assert!(target.contains(spinner.entity.cpu()), "round {round}: still on CPU {}", spinner.entity.cpu());
        *spinner.seen.lock() = CpuSet::EMPTY;
        sleep(1_000_000);
        let seen = *spinner.seen.lock();
        assert!(seen.is_subset_of(&target), "round {round}: ran on {seen:?}, allowed is {target:?}");
    }
    stop.store(true, SeqCst);
    spinner.join();
}

fn two_tasks_can_push_each_other_off() {
    let others: Arc<SpinLock<Vec<Arc<Runner>>>> = Arc::new(SpinLock::new(rank::PROCESS, Vec::new()));
    let go = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..2)
        .map(|own: usize| {
            let (others, go) = (others.clone(), go.clone());
            anywhere(move || {
                spin_until(&go);
                for round in 0..200 {
                    let other = others.lock()[1 - own].reference();
                    sched::set_allowed(&other, &nth_cpu((round + own) % 2));
                }
            })
        })
        .collect();
    others.lock().extend(tasks.iter().cloned());
    go.store(true, SeqCst);
    tasks.iter().for_each(|task| task.join());
    let known = core::mem::take(&mut *others.lock());
    drop(known);
}

fn a_task_can_move_itself() {
    let mover = anywhere(|| {
        let own = sched::current().expect("a task runs");
        for cpu in cpu::online().iter() {
            sched::set_allowed(&own, &CpuSet::only(cpu));
            assert_eq!(cpu::current(), cpu);
        }
    });
    mover.join();
}

fn an_idle_cpu_takes_what_waits_elsewhere() {
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let stop = stop.clone();
            start(nth_cpu(0), 0, move || spin_until(&stop))
        })
        .collect();
    sleep(10_000_000);
    let two = nth_cpu(0).or(&nth_cpu(1));
    tasks.iter().for_each(|task| sched::set_allowed(&task.reference(), &two));
    let deadline = time::now() + 30 * SECOND;
    let both = || tasks.iter().any(|task| task.seen.lock().contains(nth_cpu(1).lowest().expect("one CPU")));
    while !both() && time::now() < deadline {
        sleep(5_000_000);
    }
    stop.store(true, SeqCst);
    tasks.iter().for_each(|task| task.join());
    assert!(both(), "the second CPU idled while two tasks shared the first");
}

fn shares_follow_nice_values() {
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = [0, 5]
        .into_iter()
        .map(|nice| {
            let stop = stop.clone();
            start(nth_cpu(0), nice, move || spin_until(&stop))
        })
        .collect();
    // Weights 1024 and 335; a tick may be missing at the end. A host that stops this CPU for a while lengthens one turn,
    // which the next turns make up for.
    let fair = |ran: &[u64]| (270..=345).contains(&(ran[0] * 100 / ran[1].max(1)));
    let mut ran = Vec::new();
    for _ in 0..30 {
        sleep(SECOND);
        ran = tasks.iter().map(|task| task.charged.load(Relaxed)).collect();
        if fair(&ran) {
            break;
        }
    }
    stop.store(true, SeqCst);
    tasks.iter().for_each(|task| task.join());
    assert!(fair(&ran), "nice 0 ran {}, nice 5 ran {}", ran[0], ran[1]);
}

fn time_is_charged_to_the_nanosecond() {
    let (user, system) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let task = {
        let (user, system) = (user.clone(), system.clone());
        start(nth_cpu(0), -20, move || {
            let own = sched::current_as::<Runner>().expect("a runner runs");
            let begin = time::now();
            sched::account();
            let before = own.charged.load(Relaxed);
            while time::now() < begin + 20_000_000 {
                core::hint::spin_loop();
            }
            sched::account();
            system.store(own.charged.load(Relaxed) - before, Relaxed);
            user.store(time::now() - begin, Relaxed);
        })
    };
    task.join();
    let (measured, charged) = (user.load(Relaxed), system.load(Relaxed));
    assert!(charged >= 19_900_000 && charged <= measured, "charged {charged} of {measured}");
    assert_eq!(task.charged.load(Relaxed), task.entity.user_ns() + task.entity.system_ns());
}

/// Notes the order in which timers call.
struct Calls {
    order: IrqLock<Vec<u32>>,
    news: WaitQueue,
}

struct Call {
    number: u32,
    calls: Arc<Calls>,
}

impl TimerCall for Call {
    fn expired(&self) {
        self.calls.order.lock().push(self.number);
        self.calls.news.wake_all();
    }
}

fn calls() -> Arc<Calls> {
    Arc::new(Calls { order: IrqLock::new(rank::LEAF, Vec::with_capacity(8)), news: WaitQueue::new() })
}

fn timer(number: u32, calls: &Arc<Calls>) -> (Arc<Call>, Timer) {
    let call = Arc::new(Call { number, calls: calls.clone() });
    let target: Weak<dyn TimerCall> = Arc::downgrade(&(call.clone() as Arc<dyn TimerCall>));
    (call, Timer::new(target))
}

fn timers_call_once_and_in_order() {
    let calls = calls();
    let timers: Vec<_> = (0..3).map(|number| timer(number, &calls)).collect();
    // None calls before all are set, however long that takes.
    let off = interrupts::off();
    let now = time::now();
    timers[2].1.set(now + 30_000_000);
    timers[0].1.set(now + 10_000_000);
    timers[1].1.set(now + 20_000_000);
    drop(off);
    calls.news.wait_until(|| (calls.order.lock().len() >= 3).then_some(()));
    assert!(time::now() >= now + 30_000_000);
    sleep(10_000_000);
    assert_eq!(*calls.order.lock(), [0, 1, 2]);
}

fn timers_leave_an_offline_cpu() {
    let calls = calls();
    let set_on_second = {
        let calls = calls.clone();
        start(nth_cpu(1), 0, move || {
            let (call, timer) = timer(7, &calls);
            timer.set(time::now() + 20_000_000);
            calls.news.wait_until(|| (!calls.order.lock().is_empty()).then_some(()));
            drop((call, timer));
        })
    };
    sleep(2_000_000);
    let second = CpuId::new(1);
    sched::take_offline(second).expect("the second CPU can go");
    set_on_second.join();
    assert_eq!(*calls.order.lock(), [7]);
    sched::bring_online(second).expect("it parked");
}

/// Tasks that spin, sleep and are told to go elsewhere, while all CPUs but the first go and come back.
fn cpus_come_and_go_under_load() {
    let stop = Arc::new(AtomicBool::new(false));
    let all = cpu::online();
    let tasks: Vec<_> = (0..12)
        .map(|index| {
            let stop = stop.clone();
            anywhere(move || {
                while !stop.load(SeqCst) {
                    match index % 3 {
                        0 => sleep(200_000),
                        1 => sched::sched_yield(),
                        _ => sched::give_way(),
                    }
                }
            })
        })
        .collect();
    let mover = {
        let (stop, tasks) = (stop.clone(), tasks.clone());
        anywhere(move || {
            for round in 0.. {
                if stop.load(SeqCst) {
                    return;
                }

                let task: &Arc<Runner> = &tasks[round % tasks.len()];
                let wish = if round % 5 == 0 { all } else { nth_of(&all, round / 5) };
                sched::set_allowed(&task.reference(), &wish);
                sched::sched_yield();
            }
        })
    };
    for round in 0..30 {
        let number = all.iter().nth(1 + round % (all.count() - 1)).expect("there are two");
        sched::take_offline(number).expect("only the first can't go");
        let before = sched::statistics(number);
        tasks.iter().for_each(|task| *task.seen.lock() = CpuSet::EMPTY);
        sleep(1_000_000);
        assert_eq!(sched::statistics(number), before, "CPU {number} did something while it was offline");
        assert!(tasks.iter().all(|task| !task.seen.lock().contains(number)), "a task ran on CPU {number}");
        sched::bring_online(number).expect("it was online before");
    }
    assert_eq!(sched::take_offline(CpuId::new(0)), Err(base::Errno::EBUSY));
    assert_eq!(cpu::online(), all);
    stop.store(true, SeqCst);
    mover.join();
    tasks.iter().for_each(|task| task.join());
}

fn nth_of(cpus: &CpuSet, index: usize) -> CpuSet {
    CpuSet::only(cpus.iter().nth(index % cpus.count()).expect("the index is within"))
}

fn a_cancelled_timer_does_not_call() {
    let calls = calls();
    let timers: Vec<_> = (0..2).map(|number| timer(number, &calls)).collect();
    let off = interrupts::off();
    let now = time::now();
    timers[0].1.set(now + 5_000_000);
    timers[1].1.set(now + 10_000_000);
    timers[0].1.cancel();
    drop(off);
    assert_eq!(timers[0].1.deadline(), None);
    calls.news.wait_until(|| (!calls.order.lock().is_empty()).then_some(()));
    assert_eq!(*calls.order.lock(), [1]);
}

fn a_wait_ends_at_its_deadline() {
    let queue = WaitQueue::new();
    let deadline = time::now() + 10_000_000;
    assert_eq!(queue.wait_until_interruptible(|| None::<()>, Some(deadline)), Err(WaitError::TimedOut));
    assert!(time::now() >= deadline);
}

fn a_wait_ends_when_interrupted() {
    let queue = Arc::new(WaitQueue::new());
    let ended = Arc::new(AtomicU32::new(0));
    let sleeper = {
        let (queue, ended) = (queue.clone(), ended.clone());
        anywhere(move || {
            let result = queue.wait_until_interruptible(|| None::<()>, None);
            ended.store(if result == Err(WaitError::Interrupted) { 1 } else { 2 }, SeqCst);
        })
    };
    sleep(2_000_000);
    assert_eq!(ended.load(SeqCst), 0);
    let task = sleeper.reference();
    sched::interrupt(task.entity(), || Some(task.clone()), || ());
    sleeper.join();
    assert_eq!(ended.load(SeqCst), 1);
}

fn ended_tasks_leave_nothing_behind() {
    let run = |count: usize| {
        for _ in 0..count {
            let task = anywhere(sched::sched_yield);
            task.join();
            let weak = Arc::downgrade(&task);
            drop(task);
            // The CPU where it ended lets go of it with its next switch.
            let deadline = time::now() + 30 * SECOND;
            while weak.strong_count() > 0 {
                assert!(time::now() < deadline, "an ended task is still held by {}", weak.strong_count());
                sched::sched_yield();
            }
        }
    };
    run(20);
    let before = memory::frames::total().free;
    run(200);
    let after = memory::frames::total().free;
    // Caches of CPUs may hold some; 200 stacks would be 1600 frames.
    assert!(after + 64 >= before, "{} frames are gone", before - after);
}
