//! A simulator: CPUs and tasks without hardware, driven by the same decisions as the kernel.

use super::{Group, Queue};
use alloc::{sync::Arc, vec, vec::Vec};
use base::{CpuId, CpuSet};
use proptest::{collection::vec as list, prelude::*, sample::select};

mod feasible;
mod groups;
mod machine;

use machine::{Machine, Task};

/// The time between two looks of a test that looks often.
const STEP: u64 = 500_000;
const SECOND: u64 = 1_000_000_000;

#[test]
fn three_equal_tasks_share_two_cpus() {
    let mut machine = Machine::new(2, 1);
    let tasks: Vec<usize> = (0..3).map(|_| machine.spawn(machine.all(), 0)).collect();
    machine.run(120 * SECOND);
    assert!(machine.worst_error(&tasks, 2) < 0.02, "off by {}", machine.worst_error(&tasks, 2));
}

#[test]
fn thousands_of_equal_tasks_share_many_cpus() {
    let mut machine = Machine::new(16, 4);
    let tasks: Vec<usize> = (0..3000).map(|_| machine.spawn(machine.all(), 0)).collect();
    machine.run(60 * SECOND);
    assert!(machine.worst_error(&tasks, 16) < 0.02, "off by {}", machine.worst_error(&tasks, 16));
}

#[test]
fn a_sleeper_takes_no_more_than_its_share_and_gets_the_cpu_soon() {
    let mut machine = Machine::new(1, 1);
    let hog = machine.spawn(machine.all(), 0);
    let sleeper = machine.spawn(machine.all(), 0);
    for _ in 0..2000 {
        machine.sleep(sleeper);
        machine.run(5_000_000);
        machine.wake(sleeper);
        machine.run(1_000_000);
    }
    let (hog, sleeper) = (&machine.tasks[hog], &machine.tasks[sleeper]);
    assert!(sleeper.ran <= hog.ran / 3, "the sleeper ran {} beside {}", sleeper.ran, hog.ran);
    assert!(sleeper.longest_wait <= 7_000_000, "the sleeper waited {}", sleeper.longest_wait);
}

fn any_set(cpus: u32) -> impl Strategy<Value = CpuSet> {
    list(0..cpus, 1..=cpus as usize).prop_map(|cpus| cpus.into_iter().map(CpuId::new).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn shares_follow_the_weights_on_one_cpu(nices in list(-10i32..=10, 2..12)) {
        let mut machine = Machine::new(1, 1);
        let tasks: Vec<usize> = nices.iter().map(|&nice| machine.spawn(machine.all(), nice)).collect();
        machine.run(600 * SECOND);
        prop_assert!(machine.worst_error(&tasks, 1) < 0.02, "off by {}", machine.worst_error(&tasks, 1));
    }

    #[test]
    fn shares_follow_the_weights_on_several_cpus(cpus in 2u32..=4, nices in list(select(&[-3, 0, 3][..]), 24..60)) {
        let mut machine = Machine::new(cpus, 1);
        let tasks: Vec<usize> = nices.iter().map(|&nice| machine.spawn(machine.all(), nice)).collect();
        machine.run(300 * SECOND);
        let error = machine.worst_error(&tasks, u64::from(cpus));
        // Tasks have no such account as groups have of what they get on all CPUs: the few heavy ones are on CPUs that have
        // more than others on average.
        prop_assert!(error < 0.05, "off by {error}");
    }

    // `run` asserts that nobody runs outside its set.
    #[test]
    fn nobody_runs_outside_its_set_nor_starves_while_sets_move(
        first in list((any_set(8), -5i32..=5), 1000..2000),
        moves in list((any::<prop::sample::Index>(), any_set(8), any::<bool>()), 3000),
    ) {
        let mut machine = Machine::new(8, 2);
        let tasks: Vec<usize> = first.iter().map(|&(allowed, nice)| machine.spawn(allowed, nice)).collect();
        for (task, allowed, sleeps) in moves {
            let task = tasks[task.index(tasks.len())];
            machine.set_allowed(task, allowed);
            if sleeps { machine.sleep(task) } else { machine.wake(task) }
            machine.run(STEP);
        }
        for task in 0..tasks.len() {
            machine.wake(task);
        }
        let before: Vec<u64> = machine.tasks.iter().map(|task| task.ran).collect();
        machine.run(120 * SECOND);
        for (task, before) in machine.tasks.iter().zip(before) {
            prop_assert!(task.ran > before, "a task with nice {:?} did not run for two minutes", task.nice);
        }
    }
}
