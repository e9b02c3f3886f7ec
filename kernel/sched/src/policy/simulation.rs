//! A simulator: CPUs and tasks without hardware, driven by the same decisions as the kernel.

use super::{BALANCE_INTERVAL, Group, Nice, Queue, ROTATION, Roots, Standing, balance, balance::CpuState, placement};
use alloc::{sync::Arc, vec, vec::Vec};
use base::{CpuId, CpuSet};
use machine::topology::Topology;
use proptest::{collection::vec as list, prelude::*, sample::select};

mod groups;

const STEP: u64 = 500_000;

struct Task {
    allowed: CpuSet,
    nice: Nice,
    group: Option<Arc<Group>>,
    cpu: CpuId,
    asleep: Option<Standing>,
    dead: bool,
    ran: u64,
    /// The step after which it last ran or woke up.
    waits_since: u64,
    longest_wait: u64,
}

struct Machine {
    roots: Roots,
    topology: Topology,
    queues: Vec<Queue<usize>>,
    tasks: Vec<Task>,
    steps: u64,
}

impl Machine {
    fn new(cpus: u32, nodes: u32) -> Self {
        let topology = machine::host::even_topology(cpus, nodes);
        let roots = Roots::default();
        let queues = (0..cpus as usize).map(|number| Queue::new(number, &roots)).collect();
        Self { roots, topology, queues, tasks: Vec::new(), steps: 0 }
    }

    fn all(&self) -> CpuSet {
        CpuSet::first(self.queues.len())
    }

    fn state(&self, cpu: CpuId) -> CpuState {
        let queue = &self.queues[cpu.index()];
        CpuState { load: queue.load(), tasks: queue.len(), priority: None }
    }

    fn now(&self) -> u64 {
        self.steps * STEP
    }

    fn spawn(&mut self, allowed: CpuSet, nice: i32) -> usize {
        self.spawn_in(None, allowed, nice)
    }

    fn spawn_in(&mut self, group: Option<&Arc<Group>>, allowed: CpuSet, nice: i32) -> usize {
        let (task, nice) = (self.tasks.len(), Nice::new(nice));
        let cpu = placement::new_task(&allowed, CpuId::new(0), &self.topology, |cpu| self.state(cpu)).unwrap();
        let group = group.cloned();
        self.queues[cpu.index()].add(group.as_ref(), task, nice.weight(), Standing::new_task(nice.weight()));
        let waits_since = self.steps;
        self.tasks.push(Task {
            allowed,
            nice,
            group,
            cpu,
            asleep: None,
            dead: false,
            ran: 0,
            waits_since,
            longest_wait: 0,
        });
        task
    }

    fn set_allowed(&mut self, task: usize, allowed: CpuSet) {
        self.tasks[task].allowed = allowed;
        let from = self.tasks[task].cpu;
        if allowed.contains(from) || self.tasks[task].asleep.is_some() || self.tasks[task].dead {
            return;
        }
        let standing = self.take_out(task);
        let cpu = placement::new_task(&allowed, from, &self.topology, |cpu| self.state(cpu)).unwrap();
        self.enqueue(task, cpu, standing);
    }

    fn sleep(&mut self, task: usize) {
        let cpu = self.tasks[task].cpu.index();
        if self.queues[cpu].current() == Some(&task) {
            let (_, standing) = self.queues[cpu].take_current().unwrap();
            self.tasks[task].asleep = Some(standing);
        }
    }

    fn kill(&mut self, task: usize) {
        if self.tasks[task].asleep.take().is_none() && !self.tasks[task].dead {
            self.take_out(task);
        }
        self.tasks[task].dead = true;
        self.tasks[task].group = None;
    }

    fn set_group(&mut self, task: usize, group: Option<&Arc<Group>>) {
        if self.tasks[task].asleep.is_some() || self.tasks[task].dead {
            self.tasks[task].group = group.cloned();
            return;
        }
        let standing = self.take_out(task);
        self.tasks[task].group = group.cloned();
        self.enqueue(task, self.tasks[task].cpu, standing);
    }

    fn take_out(&mut self, task: usize) -> Standing {
        let queue = &mut self.queues[self.tasks[task].cpu.index()];
        let found = if queue.current() == Some(&task) {
            queue.take_current()
        } else {
            queue.remove(self.tasks[task].group.as_ref(), |&other| other == task)
        };
        found.unwrap().1
    }

    fn wake(&mut self, task: usize) {
        let Some(standing) = self.tasks[task].asleep.take() else { return };
        self.tasks[task].waits_since = self.steps;
        let Task { allowed, cpu, .. } = self.tasks[task];
        let cpu = placement::wake_up(&allowed, cpu, cpu, &self.topology, |cpu| self.state(cpu)).unwrap();
        self.enqueue(task, cpu, standing);
        if self.queues[cpu.index()].wake_up_preempts(self.tasks[task].group.as_ref(), true, 0) {
            self.queues[cpu.index()].put_back();
        }
    }

    fn enqueue(&mut self, task: usize, cpu: CpuId, standing: Standing) {
        self.tasks[task].cpu = cpu;
        let Task { nice, group, .. } = &self.tasks[task];
        self.queues[cpu.index()].add(group.as_ref(), task, nice.weight(), standing);
    }

    fn pull(&mut self, here: CpuId, rotate: bool) {
        let mut candidates = self.all();
        while let Some(source) = balance::busiest(here, &candidates, |cpu| self.state(cpu)) {
            let (from, to) = (self.state(source).load, self.state(here).load);
            let tasks = &self.tasks;
            let stolen = self.queues[source.index()]
                .steal(|&task, load| tasks[task].allowed.contains(here) && balance::may_move(load, from, to, rotate));
            match stolen {
                Some((task, standing)) => {
                    self.enqueue(task, here, standing);
                    self.queues[source.index()].look_again(self.tasks[task].group.as_ref());
                }
                None => candidates.remove(source),
            }
        }
    }

    fn step(&mut self) {
        for index in 0..self.queues.len() {
            let here = CpuId::new(index as u32);
            let interval = BALANCE_INTERVAL / STEP;
            let looks = (self.steps + index as u64) / interval;
            if (self.steps + index as u64).is_multiple_of(interval) {
                self.pull(here, looks.is_multiple_of(ROTATION));
            }
            if self.queues[index].is_empty() {
                self.pull(here, false);
            }
            let now = self.now();
            let queue = &mut self.queues[index];
            queue.resume(now);
            if queue.left_of_turn() == Some(0) {
                queue.put_back();
            }
            while queue.current().is_none() && queue.pick(now).is_some() {
                let task = *queue.current().unwrap();
                if !queue.park(self.tasks[task].group.clone()) {
                    break;
                }
            }
            if let Some(&task) = queue.current() {
                queue.charge(STEP, now + STEP);
                let task = &mut self.tasks[task];
                assert!(task.allowed.contains(here), "a task ran on CPU {here} outside its set");
                task.ran += STEP;
                task.longest_wait = task.longest_wait.max((self.steps - task.waits_since) * STEP);
                task.waits_since = self.steps + 1;
                queue.park(task.group.clone());
            } else {
                queue.clear_leftovers();
            }
        }
        self.steps += 1;
    }

    fn run(&mut self, ns: u64) {
        for _ in 0..ns / STEP {
            self.step();
        }
    }

    /// How far the share of the worst treated task is from what its weight promises on `cpus` CPUs.
    fn worst_error(&self, tasks: &[usize], cpus: u64) -> f64 {
        let total: u64 = tasks.iter().map(|&task| self.tasks[task].nice.weight().raw()).sum();
        let time = self.steps * STEP * cpus;
        let error = |&task: &usize| {
            let promised = time as f64 * self.tasks[task].nice.weight().raw() as f64 / total as f64;
            (self.tasks[task].ran as f64 / promised - 1.0).abs()
        };
        tasks.iter().map(error).fold(0.0, f64::max)
    }
}

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
        prop_assert!(error < 0.02, "off by {error}");
    }

    // `step` asserts that nobody runs outside its set.
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
            machine.step();
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
