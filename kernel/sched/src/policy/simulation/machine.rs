//! The simulated machine: what the scheduler proper does with its locks, timers and interrupts, without them.
//!
//! As there, a CPU counts what its task ran only when a timer is due or it chooses anew, others see of it what it
//! told them last, and no two CPUs do anything at the same moment.

use super::super::{
    BALANCE_INTERVAL, Group, Nice, Queue, ROTATION, Roots, Standing, balance, balance::CpuState, placement,
};
use crate::cpu::TICK;
use alloc::{sync::Arc, vec::Vec};
use base::{CpuId, CpuSet};
use machine::topology::Topology;

/// How late an interrupt may be, in nanoseconds.
const LATEST: u64 = 50_000;

pub(super) struct Task {
    pub(super) allowed: CpuSet,
    pub(super) nice: Nice,
    pub(super) group: Option<Arc<Group>>,
    pub(super) cpu: CpuId,
    pub(super) asleep: Option<Standing>,
    pub(super) dead: bool,
    pub(super) ran: u64,
    /// When it last ran or woke up.
    waits_since: u64,
    pub(super) longest_wait: u64,
}

/// What a CPU has besides its queue.
struct Clockwork {
    accounted_at: u64,
    /// When its timer is due; `u64::MAX` is never.
    armed_for: u64,
    balance_at: u64,
    looks: u64,
    /// It shall choose anew.
    wanted: bool,
    /// What others see of it.
    published: CpuState,
}

pub(super) struct Machine {
    pub(super) roots: Roots,
    topology: Topology,
    pub(super) queues: Vec<Queue<usize>>,
    clocks: Vec<Clockwork>,
    pub(super) tasks: Vec<Task>,
    now: u64,
    chance: u64,
    /// How many tasks went from one CPU to another.
    pub(super) moves: u64,
}

impl Machine {
    pub(super) fn new(cpus: u32, nodes: u32) -> Self {
        let topology = machine::host::even_topology(cpus, nodes);
        let roots = Roots::default();
        let queues = (0..cpus as usize).map(|number| Queue::new(number, &roots)).collect();
        let clock = |cpu: u32| Clockwork {
            accounted_at: 0,
            armed_for: u64::MAX,
            balance_at: 0,
            looks: u64::from(cpu),
            wanted: false,
            published: CpuState::default(),
        };
        let clocks = (0..cpus).map(clock).collect();
        Self { roots, topology, queues, clocks, tasks: Vec::new(), now: 0, chance: 1, moves: 0 }
    }

    pub(super) fn all(&self) -> CpuSet {
        CpuSet::first(self.queues.len())
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    fn state(&self, cpu: CpuId) -> CpuState {
        self.clocks[cpu.index()].published
    }

    fn publish(&mut self, cpu: usize) {
        let queue = &self.queues[cpu];
        self.clocks[cpu].published = CpuState { load: queue.load(), tasks: queue.len(), urgency: None };
    }

    pub(super) fn spawn(&mut self, allowed: CpuSet, nice: i32) -> usize {
        self.spawn_in(None, allowed, nice)
    }

    pub(super) fn spawn_in(&mut self, group: Option<&Arc<Group>>, allowed: CpuSet, nice: i32) -> usize {
        let (task, nice) = (self.tasks.len(), Nice::new(nice));
        let cpu = placement::new_task(&allowed, CpuId::new(0), &self.topology, |cpu| self.state(cpu)).unwrap();
        self.tasks.push(Task {
            allowed,
            nice,
            group: group.cloned(),
            cpu,
            asleep: None,
            dead: false,
            ran: 0,
            waits_since: self.now,
            longest_wait: 0,
        });
        self.enqueue(task, cpu, Standing::new_task(nice.weight()));
        task
    }

    pub(super) fn set_allowed(&mut self, task: usize, allowed: CpuSet) {
        self.tasks[task].allowed = allowed;
        let from = self.tasks[task].cpu;
        if allowed.contains(from) || self.tasks[task].asleep.is_some() || self.tasks[task].dead {
            return;
        }
        let standing = self.take_out(task);
        let cpu = placement::new_task(&allowed, from, &self.topology, |cpu| self.state(cpu)).unwrap();
        self.enqueue(task, cpu, standing);
    }

    pub(super) fn sleep(&mut self, task: usize) {
        let cpu = self.tasks[task].cpu.index();
        if self.queues[cpu].current() == Some(&task) {
            self.tasks[task].asleep = Some(self.take_out(task));
        }
    }

    pub(super) fn kill(&mut self, task: usize) {
        if self.tasks[task].asleep.take().is_none() && !self.tasks[task].dead {
            self.take_out(task);
        }
        self.tasks[task].dead = true;
        self.tasks[task].group = None;
    }

    pub(super) fn set_group(&mut self, task: usize, group: Option<&Arc<Group>>) {
        if self.tasks[task].asleep.is_some() || self.tasks[task].dead {
            self.tasks[task].group = group.cloned();
            return;
        }
        let standing = self.take_out(task);
        self.tasks[task].group = group.cloned();
        self.enqueue(task, self.tasks[task].cpu, standing);
    }

    /// Takes a task out of its queue, which has another run if that one did.
    fn take_out(&mut self, task: usize) -> Standing {
        let cpu = self.tasks[task].cpu.index();
        self.account(cpu);
        if self.queues[cpu].current() == Some(&task) {
            let (_, standing) = self.queues[cpu].take_current().unwrap();
            self.choose(cpu);
            return standing;
        }
        let found = self.queues[cpu].remove(self.tasks[task].group.as_ref(), |&other| other == task);
        self.publish(cpu);
        found.unwrap().1
    }

    pub(super) fn wake(&mut self, task: usize) {
        let Some(standing) = self.tasks[task].asleep.take() else { return };
        self.tasks[task].waits_since = self.now;
        let Task { allowed, cpu, .. } = self.tasks[task];
        let cpu = placement::wake_up(&allowed, cpu, cpu, &self.topology, |cpu| self.state(cpu)).unwrap();
        self.enqueue(task, cpu, standing);
    }

    fn enqueue(&mut self, task: usize, cpu: CpuId, standing: Standing) {
        self.tasks[task].cpu = cpu;
        let (cpu, unaccounted) = (cpu.index(), self.now - self.clocks[cpu.index()].accounted_at);
        let Task { nice, group, .. } = &self.tasks[task];
        let queue = &mut self.queues[cpu];
        queue.add(group.as_ref(), task, nice.weight(), standing);
        let goes_first = queue.wake_up_preempts(group.as_ref(), true, unaccounted);
        let is_first_rival = queue.waiting() == 1 && queue.is_running();
        self.publish(cpu);
        if goes_first {
            self.kick(cpu);
        } else if is_first_rival {
            self.plan(cpu);
        }
    }

    /// Has a CPU choose anew as soon as it can.
    pub(super) fn kick(&mut self, cpu: usize) {
        let clock = &mut self.clocks[cpu];
        clock.wanted = true;
        clock.armed_for = self.now;
    }

    /// Does to each queue what a change of the tree needs.
    pub(super) fn change_all(&mut self, mut change: impl FnMut(&mut Queue<usize>)) {
        for cpu in 0..self.queues.len() {
            change(&mut self.queues[cpu]);
            self.publish(cpu);
            self.kick(cpu);
        }
    }

    fn account(&mut self, cpu: usize) {
        let ns = self.now - self.clocks[cpu].accounted_at;
        self.clocks[cpu].accounted_at = self.now;
        if let Some(&task) = self.queues[cpu].current() {
            self.queues[cpu].charge(ns, self.now);
            let task = &mut self.tasks[task];
            let here = CpuId::new(cpu as u32);
            assert!(ns == 0 || task.allowed.contains(here), "a task ran on CPU {here} outside its set");
            task.ran += ns;
            task.waits_since = self.now;
        }
    }

    fn plan(&mut self, cpu: usize) {
        let (queue, clock) = (&self.queues[cpu], &mut self.clocks[cpu]);
        let at = if queue.is_running() {
            let ends = queue.left_of_turn().into_iter().chain(queue.left_of_slice()).min();
            clock.accounted_at + ends.unwrap_or(TICK).clamp(100_000, TICK)
        } else if queue.has_leftovers() {
            clock.accounted_at + TICK
        } else {
            u64::MAX
        };
        // An interrupt that comes earlier looks again.
        clock.armed_for = clock.armed_for.min(at.min(queue.resumes_at()));
    }

    fn pull(&mut self, cpu: usize, rotate: bool) {
        let here = CpuId::new(cpu as u32);
        let mut candidates = self.all();
        while let Some(source) = balance::busiest(here, &candidates, |cpu| self.state(cpu)) {
            let (from, to) = (self.state(source).load, self.state(here).load);
            let tasks = &self.tasks;
            let stolen = self.queues[source.index()]
                .steal(|&task, load| tasks[task].allowed.contains(here) && balance::may_move(load, from, to, rotate));
            self.publish(source.index());
            match stolen {
                Some((task, standing)) => {
                    self.moves += 1;
                    self.enqueue(task, here, standing);
                    self.queues[source.index()].look_again(self.tasks[task].group.as_ref());
                    self.publish(source.index());
                }
                None => candidates.remove(source),
            }
        }
    }

    fn timer(&mut self, cpu: usize) {
        self.clocks[cpu].armed_for = u64::MAX;
        self.account(cpu);
        self.queues[cpu].resume(self.now);
        self.publish(cpu);
        if self.queues[cpu].current().is_none() {
            if self.queues[cpu].is_empty() {
                self.queues[cpu].clear_leftovers();
                self.pull(cpu, false);
            }
            return self.choose(cpu);
        }
        let queue = &self.queues[cpu];
        let is_over = queue.left_of_turn() == Some(0) || queue.is_out_of_time();
        let is_crowded = queue.waiting() > 0;
        let clock = &mut self.clocks[cpu];
        clock.wanted |= is_over;
        if self.now >= clock.balance_at {
            let rotate = clock.looks.is_multiple_of(ROTATION);
            clock.balance_at = self.now + BALANCE_INTERVAL;
            clock.looks += 1;
            self.pull(cpu, rotate);
            let idle = self.all().iter().find(|&cpu| self.state(cpu).is_idle());
            if let (true, Some(idle)) = (is_crowded, idle) {
                self.kick(idle.index());
            }
        }
        if self.clocks[cpu].wanted {
            if let Some(&task) = self.queues[cpu].current()
                && !self.queues[cpu].park(self.tasks[task].group.clone())
            {
                self.queues[cpu].put_back();
            }
            self.choose(cpu);
        } else {
            self.plan(cpu);
        }
    }

    /// Makes the next task the current one, in a queue where none is.
    fn choose(&mut self, cpu: usize) {
        self.clocks[cpu].wanted = false;
        self.clocks[cpu].armed_for = u64::MAX;
        if self.queues[cpu].waiting() == 0 {
            self.publish(cpu);
            self.pull(cpu, false);
        }
        let queue = &mut self.queues[cpu];
        while let Some(&task) = queue.pick(self.now) {
            if !queue.park(self.tasks[task].group.clone()) {
                let task = &mut self.tasks[task];
                task.longest_wait = task.longest_wait.max(self.now - task.waits_since);
                break;
            }
        }
        self.publish(cpu);
        self.plan(cpu);
    }

    /// Lets so many nanoseconds pass.
    pub(super) fn run(&mut self, ns: u64) {
        let until = self.now + ns;
        let first = |machine: &Self| {
            let due = |&cpu: &usize| machine.clocks[cpu].armed_for;
            (0..machine.clocks.len()).min_by_key(due).filter(|cpu| due(cpu) < until)
        };
        while let Some(cpu) = first(self) {
            self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let late = (self.chance >> 33) % LATEST;
            self.now = (self.clocks[cpu].armed_for + late).clamp(self.now, until);
            self.timer(cpu);
        }
        self.now = until;
        (0..self.clocks.len()).for_each(|cpu| self.account(cpu));
    }

    /// How far the share of the worst treated task is from what its weight promises on `cpus` CPUs.
    pub(super) fn worst_error(&self, tasks: &[usize], cpus: u64) -> f64 {
        let total: u64 = tasks.iter().map(|&task| self.tasks[task].nice.weight().raw()).sum();
        let time = self.now * cpus;
        let error = |&task: &usize| {
            let promised = time as f64 * self.tasks[task].nice.weight().raw() as f64 / total as f64;
            (self.tasks[task].ran as f64 / promised - 1.0).abs()
        };
        tasks.iter().map(error).fold(0.0, f64::max)
    }
}
