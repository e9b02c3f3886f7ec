//! Tasks that go before others: by priority, and by what they have reserved.

use super::{Runner, SECOND, nth_cpu, sleep, spin_until, start, start_by};
use alloc::{sync::Arc, vec::Vec};
use base::{CpuSet, Errno};
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use machine::{cpu, time};
use sched::{Policy, Priority, Reservation, WaitQueue};

/// One task more than CPUs, all of real time: the one of the least priority waits, and if another's priority becomes less,
/// that one.
pub(super) fn the_greatest_priorities_have_the_cpus() {
    let stop = Arc::new(AtomicBool::new(false));
    let fifo = |priority: usize| Policy::Fifo(Priority::new(priority as u32).expect("there are 99"));
    // Where there are more, the test itself need not wait for what the limit leaves it.
    let cpus = cpu::online().iter().take(3).fold(CpuSet::EMPTY, |cpus, cpu| cpus.or(&CpuSet::only(cpu)));
    let tasks: Vec<_> = (0..=cpus.count())
        .map(|index| {
            let stop = stop.clone();
            start_by(fifo(10 + index), cpus, 0, move || spin_until(&stop))
        })
        .collect();
    let lags = |index: usize| {
        // Who runs is charged at least at each tick; so many rounds go by until all CPUs have changed over.
        (0..30).any(|_| {
            let before: Vec<u64> = tasks.iter().map(|task| task.charged.load(Relaxed)).collect();
            sleep(SECOND / 10);
            let ran = |index: usize| tasks[index].charged.load(Relaxed) - before[index];
            let others = (0..tasks.len()).filter(|&other| other != index).map(ran).min().unwrap_or(0);
            ran(index) * 4 < others
        })
    };
    let first = lags(0);
    sched::set_policy(&tasks[1].reference(), fifo(1)).expect("it reserves nothing");
    let second = lags(1);
    stop.store(true, SeqCst);
    tasks.iter().for_each(|task| task.join());
    assert!(first, "the least priority ran as much as others");
    assert!(second, "a task whose priority became the least ran on");
}

fn reserved(runtime: u64, period: u64) -> Policy {
    Policy::Deadline(Reservation::new(runtime, period, 0).expect("it is one"))
}

/// A thread of the kernel that works without end, until the flag is set.
fn work_until(stop: &Arc<AtomicBool>) -> Arc<Runner> {
    let stop = stop.clone();
    start(cpu::online(), 0, move || {
        while !stop.load(SeqCst) {
            sched::between_jobs();
            let end = time::now() + SECOND / 1000;
            while time::now() < end {
                core::hint::spin_loop();
            }
        }
    })
}

/// Ends these: who has reserved may be seen for a while after its end.
fn end(tasks: &[Arc<Runner>], wake: impl FnOnce()) {
    for task in tasks {
        sched::set_policy(&task.reference(), Policy::Other).expect("it reserves nothing");
    }
    wake();
    tasks.iter().for_each(|task| task.join());
}

/// Fails on a version that takes only those aside that go to user mode.
pub(super) fn a_kernel_thread_is_kept_to_its_reservation() {
    let stop = Arc::new(AtomicBool::new(false));
    let thread = work_until(&stop);
    sched::set_policy(&thread.reference(), reserved(SECOND / 50, SECOND / 10)).expect("a fifth of a CPU is there");
    // A host that stops may make one job long; that is paid later.
    let is_kept = (0..30).any(|_| {
        let (before, began) = (thread.charged.load(Relaxed), time::now());
        sleep(SECOND);
        let ran = thread.charged.load(Relaxed) - before;
        ran > 0 && ran * 3 < time::now() - began
    });
    end(&[thread], || stop.store(true, SeqCst));
    assert!(is_kept, "it ran more than a third of a CPU with a fifth reserved");
}

/// Fails on a version that begins a new period for whoever comes back to its reservation.
pub(super) fn leaving_a_reservation_for_a_moment_gains_nothing() {
    let stop = Arc::new(AtomicBool::new(false));
    let task = work_until(&stop);
    let policy = reserved(SECOND, 60 * SECOND);
    let standing = || task.entity.deadline().expect("it has reserved");
    sched::set_policy(&task.reference(), policy).expect("that little is there");
    let (deadline, whole) = standing();
    // Nobody was charged for less than this, which is more than a tick.
    let spent = || whole - standing().1 > 20_000_000;
    while !spent() {
        sleep(SECOND / 100);
    }
    sched::set_policy(&task.reference(), Policy::Other).expect("it reserves nothing");
    sched::set_policy(&task.reference(), policy).expect("that little is there");
    let (now, still_spent) = (standing().0, spent());
    end(core::slice::from_ref(&task), || stop.store(true, SeqCst));
    assert_eq!(now, deadline);
    assert!(still_spent, "it has again what it had used");
}

/// Fails on a version that looks for what is reserved only on CPUs that are online.
pub(super) fn what_a_sleeper_reserved_counts_when_its_cpu_is_gone() {
    let there = nth_cpu(1);
    let number = there.iter().next().expect("it is one");
    let (bell, ends) = (Arc::new(WaitQueue::new()), Arc::new(AtomicU64::new(0)));
    let begin = |allowed: CpuSet| {
        let (bell, ends) = (bell.clone(), ends.clone());
        start(allowed, 0, move || bell.wait_until(|| (ends.load(SeqCst) > 0).then_some(())))
    };
    let sleeper = begin(there);
    while sleeper.entity.activity() == sched::Activity::Runnable {
        sleep(SECOND / 100);
    }
    sched::set_allowed(&sleeper.reference(), &cpu::online());
    // As many on the other CPUs would be one for each, but for this one; of up to 190 CPUs.
    let policy = reserved(94_500_000, 100_000_000);
    sched::set_policy(&sleeper.reference(), policy).expect("nobody else has reserved");
    sched::take_offline(number).expect("the others have as much");
    let others: Vec<_> = cpu::online().iter().map(|_| begin(cpu::online())).collect();
    let results: Vec<_> = others.iter().map(|task| sched::set_policy(&task.reference(), policy)).collect();
    sched::bring_online(number).expect("it was online");
    let all: Vec<_> = others.into_iter().chain([sleeper]).collect();
    end(&all, || {
        ends.store(1, SeqCst);
        bell.wake_all();
    });
    let (last, first) = results.split_last().expect("a CPU is online");
    assert_eq!((first.iter().all(Result::is_ok), *last), (true, Err(Errno::EBUSY)));
}
