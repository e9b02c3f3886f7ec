//! Groups on the simulated machine: shares, limits, changes of the tree.

use super::*;
use crate::policy::{GRANULARITY, Limit};

impl Machine {
    pub(super) fn group(&self, parent: Option<&Arc<Group>>, weight: u32) -> Arc<Group> {
        let group = Group::new(Some(parent.unwrap_or(&self.roots.rest).clone()));
        group.set_weight(weight);
        group
    }

    pub(super) fn spin_in(&mut self, group: &Arc<Group>, tasks: usize) -> Vec<usize> {
        (0..tasks).map(|_| self.spawn_in(Some(group), self.all(), 0)).collect()
    }

    fn ran(&self, tasks: &[usize]) -> u64 {
        tasks.iter().map(|&task| self.tasks[task].ran).sum()
    }

    /// What each of the groups' tasks ran in the next `ns` nanoseconds.
    pub(super) fn measure(&mut self, groups: &[Vec<usize>], ns: u64) -> Vec<u64> {
        let before: Vec<u64> = groups.iter().map(|tasks| self.ran(tasks)).collect();
        self.run(ns);
        groups.iter().zip(before).map(|(tasks, before)| self.ran(tasks) - before).collect()
    }

    fn set_limit(&mut self, group: &Arc<Group>, limit: Option<Limit>) {
        let now = self.now();
        group.store_limit(limit, now);
        self.change_all(|queue| {
            queue.limits_changed(now);
        });
    }

    fn set_parent(&mut self, group: &Arc<Group>, parent: &Arc<Group>) {
        group.store_parent(parent.clone());
        self.change_all(|queue| queue.reparent(group));
    }

    /// With how many others, all of the same weight, a task shares what its level has, times how many share with that
    /// level, up to the top.
    fn rivals(&self, task: &Task, groups: &[Arc<Group>]) -> u64 {
        let group_of = |task: &Task| task.group.clone().unwrap_or_else(|| self.roots.rest.clone());
        let mut rivals = 1;
        let mut next = Some(group_of(task));
        while let Some(group) = next {
            let tasks = self.tasks.iter().filter(|task| !task.dead && Arc::ptr_eq(&group_of(task), &group)).count();
            let below = groups.iter().filter_map(|group| group.parent()).filter(|parent| Arc::ptr_eq(parent, &group));
            rivals *= (tasks + below.count()).max(1) as u64;
            next = group.parent();
        }
        rivals
    }

    /// Groups of these weights below `depth - 1` others, each with one task for each CPU and `more`; what part of the machine
    /// each gets over five seconds, beside what is promised.
    fn parts(cpus: u32, depth: usize, weights: &[u32], more: usize) -> Vec<(f64, f64)> {
        let mut machine = Self::new(cpus, 1);
        let mut parent = None;
        for _ in 1..depth {
            parent = Some(machine.group(parent.as_ref(), 1024));
        }
        let mut spin = |&weight| {
            let group = machine.group(parent.as_ref(), weight);
            machine.spin_in(&group, cpus as usize + more)
        };
        let groups: Vec<Vec<usize>> = weights.iter().map(&mut spin).collect();
        machine.run(SECOND);
        let ran = machine.measure(&groups, 5 * SECOND);
        let (time, total) = (ran.iter().sum::<u64>() as f64, weights.iter().sum::<u32>() as f64);
        ran.iter().zip(weights).map(|(&ran, &weight)| (ran as f64 / time, f64::from(weight) / total)).collect()
    }
}

/// Whether each has what is promised to 2 %; or, if five seconds are only a few turns for it, to 25 ms of CPU time.
fn are_fair(cpus: u32, parts: &[(f64, f64)]) -> bool {
    let turns = 0.025 / (5.0 * f64::from(cpus));
    parts.iter().all(|(got, promised)| (got - promised).abs() < f64::max(0.02 * promised, turns))
}

/// The largest error of a share, in parts of what it should be.
fn worst(ran: &[u64], weights: &[u32]) -> f64 {
    let (time, total) = (ran.iter().sum::<u64>() as f64, weights.iter().sum::<u32>() as f64);
    let errors = ran.iter().zip(weights).map(|(&ran, &weight)| (ran as f64 * total / weight as f64 / time - 1.0).abs());
    errors.fold(0.0, f64::max)
}

#[test]
fn a_group_counts_as_one_however_many_tasks_it_has() {
    let mut machine = Machine::new(1, 1);
    let (many, few) = (machine.group(None, 1024), machine.group(None, 1024));
    let groups = [machine.spin_in(&many, 9), machine.spin_in(&few, 1), vec![machine.spawn(machine.all(), 0)]];
    let ran = machine.measure(&groups, 5 * SECOND);
    assert!(worst(&ran, &[1, 1, 1]) < 0.02, "{ran:?}");
}

fn weights() -> impl Strategy<Value = Vec<u32>> {
    list(select(&[256u32, 512, 1024, 2048, 3000, 5000][..]), 2..=4)
}

#[test]
fn a_share_of_a_share_holds_beside_tasks_of_the_groups_own() {
    let mut machine = Machine::new(4, 1);
    let top = machine.group(None, 3072);
    let (left, right) = (machine.group(Some(&top), 1024), machine.group(Some(&top), 2048));
    let other = machine.group(None, 1024);
    let groups = [
        machine.spin_in(&left, 5),
        machine.spin_in(&right, 9),
        // Four tasks of nice 0 beside left and right: together they weigh 4096.
        machine.spin_in(&top, 4),
        machine.spin_in(&other, 6),
    ];
    machine.run(SECOND);
    let ran = machine.measure(&groups, 5 * SECOND);
    // `top` has three quarters, which are cut as 1 : 2 : 4.
    assert!(worst(&ran, &[3, 6, 12, 7]) < 0.02, "{ran:?}");
}

#[test]
fn a_guarantee_holds_beside_the_rest() {
    for cpus in [1, 4] {
        let mut machine = Machine::new(cpus, 1);
        let whole = machine.roots.whole.clone();
        machine.roots.rest.set_weight(19_505);
        // As a container has it: what it is beside others, and in that what its own tasks are.
        let nested = |machine: &mut Machine, parent: Option<&Arc<Group>>, weight: u32| {
            let outer = machine.group(parent, weight);
            let inner = machine.group(Some(&outer), 1024);
            machine.spin_in(&inner, 2 * cpus as usize - 1)
        };
        let groups = [
            nested(&mut machine, Some(&whole), 58_514),
            nested(&mut machine, Some(&whole), 19_505),
            nested(&mut machine, None, 1024),
            nested(&mut machine, None, 1024),
        ];
        machine.run(SECOND);
        let ran = machine.measure(&groups, 5 * SECOND);
        assert!(worst(&ran, &[6, 2, 1, 1]) < 0.02, "{ran:?}");
    }
}

#[test]
fn what_one_group_leaves_the_others_have() {
    let mut machine = Machine::new(4, 1);
    let (few, many) = (machine.group(None, 1024), machine.group(None, 1024));
    // One task can't use the two CPUs that are due to it.
    let groups = [machine.spin_in(&few, 1), machine.spin_in(&many, 12)];
    machine.run(SECOND);
    let ran = machine.measure(&groups, 5 * SECOND);
    assert!(worst(&ran, &[1, 3]) < 0.02, "{ran:?}");
}

#[test]
fn an_idle_group_has_what_others_leave() {
    let mut machine = Machine::new(1, 1);
    let (idle, busy) = (machine.group(None, 3), machine.group(None, 1024));
    idle.set_idle(true);
    let groups = [machine.spin_in(&idle, 2), machine.spin_in(&busy, 1)];
    let ran = machine.measure(&groups, 5 * SECOND);
    assert!(ran[0] > 0 && ran[0] * 200 < ran[1], "{ran:?}");
    machine.sleep(groups[1][0]);
    assert!(machine.measure(&groups, SECOND)[0] >= SECOND - STEP);
    machine.wake(groups[1][0]);
    machine.run(STEP);
    assert_eq!(machine.queues[0].current(), Some(&groups[1][0]), "the idle group gives way at once");
}

#[test]
fn a_group_that_changes_its_parent_competes_there_at_once() {
    let mut machine = Machine::new(2, 1);
    let (one, other) = (machine.group(None, 1024), machine.group(None, 1024));
    let child = machine.group(Some(&one), 1024);
    let groups = [machine.spin_in(&child, 2), machine.spin_in(&one, 2), machine.spin_in(&other, 2)];
    machine.run(SECOND);
    let whole = machine.roots.whole.clone();
    machine.set_parent(&child, &whole);
    machine.run(SECOND);
    let ran = machine.measure(&groups, 5 * SECOND);
    // Beside the rest, which holds the other two, it has half.
    assert!(worst(&ran, &[2, 1, 1]) < 0.02, "{ran:?}");
    machine.set_parent(&child, &other);
    machine.run(SECOND);
    let ran = machine.measure(&groups, 5 * SECOND);
    // In `other` it weighs as much as one of the two tasks there.
    assert!(worst(&ran, &[1, 3, 2]) < 0.02, "{ran:?}");
}

#[test]
fn nothing_is_left_of_groups_that_are_gone() {
    let mut machine = Machine::new(2, 1);
    let outer = machine.group(None, 1024);
    let inner = machine.group(Some(&outer), 1024);
    let tasks = machine.spin_in(&inner, 3);
    machine.run(SECOND);
    machine.spawn(machine.all(), 0);
    tasks.into_iter().for_each(|task| machine.kill(task));
    machine.run(SECOND);
    assert_eq!((Arc::strong_count(&outer), Arc::strong_count(&inner)), (2, 1));
}

const MS: u64 = 1_000_000;

#[test]
fn a_quota_is_all_that_a_group_gets_in_a_period() {
    for (cpus, tasks, quota, period) in
        [(1, 1, 20, 100), (4, 1, 50, 100), (4, 9, 130, 100), (16, 40, 300, 50), (2, 3, 2, 10)]
    {
        let mut machine = Machine::new(cpus, 1);
        let group = machine.group(None, 1024);
        let inner = machine.group(Some(&group), 1024);
        let groups = [machine.spin_in(&inner, tasks)];
        machine.set_limit(&group, Some(Limit { quota: quota * MS, period: period * MS, burst: 0 }));
        let ran = machine.measure(&groups, 5 * SECOND)[0];
        let promised = 5 * SECOND / period * quota;
        assert!(
            (ran as f64 / promised as f64 - 1.0).abs() < 0.02,
            "{tasks} tasks on {cpus} CPUs got {ran} of {promised}"
        );
        let statistics = group.limit_statistics();
        assert!(statistics.throttled.abs_diff(5000 / period) <= 1, "{statistics:?}");
        machine.set_limit(&group, None);
        let ran = machine.measure(&groups, SECOND)[0];
        let all = SECOND * u64::from(cpus).min(tasks as u64);
        assert!(ran <= all && all - ran < MS, "without a limit it has all: {ran} of {all}");
    }
}

#[test]
fn the_smaller_of_two_limits_counts_and_others_have_the_rest() {
    let mut machine = Machine::new(2, 1);
    let outer = machine.group(None, 1024);
    let inner = machine.group(Some(&outer), 1024);
    let groups = [machine.spin_in(&inner, 3), machine.spin_in(&outer, 2), vec![machine.spawn(machine.all(), 0)]];
    machine.set_limit(&outer, Some(Limit { quota: 60 * MS, period: 100 * MS, burst: 0 }));
    machine.set_limit(&inner, Some(Limit { quota: 10 * MS, period: 50 * MS, burst: 0 }));
    machine.run(SECOND);
    let ran = machine.measure(&groups, 5 * SECOND);
    assert!(ran[0] < 1_010 * MS && ran[0] > 700 * MS, "{ran:?}");
    assert!((ran[0] + ran[1]).abs_diff(3 * SECOND) < SECOND / 17, "{ran:?}");
    assert!(ran[2] >= 4_900 * MS, "{ran:?}");
}

#[test]
fn groups_at_any_depth_have_their_parts_where_threads_are_few() {
    // What a group of which the last task leaves a CPU weighs there must not go on counting, at any depth.
    for tasks in 5..=8 {
        let mut machine = Machine::new(16, 4);
        let leaf = |machine: &mut Machine, depth: usize| {
            let top = machine.group(None, 1024);
            let group = (1..depth).fold(top, |above, _| machine.group(Some(&above), 1024));
            machine.spin_in(&group, tasks)
        };
        let leaves: Vec<Vec<usize>> = [1, 2, 3, 4, 5, 5].map(|depth| leaf(&mut machine, depth)).into();
        machine.run(SECOND);
        let ran = machine.measure(&leaves, 5 * SECOND);
        assert!(worst(&ran, &[1; 6]) < 0.02, "{tasks}: {ran:?}");
    }
}

#[test]
fn nobody_moves_where_all_is_even() {
    for (cpus, tasks) in [(4, 8), (16, 16)] {
        let mut machine = Machine::new(cpus, 1);
        for weight in [1024, 1024] {
            let group = machine.group(None, weight);
            machine.spin_in(&group, tasks);
        }
        machine.run(SECOND);
        let before = machine.moves;
        machine.run(5 * SECOND);
        let moves = machine.moves - before;
        assert!(moves < 200, "{moves} moves in five seconds on {cpus} CPUs");
    }
}

#[test]
fn a_small_group_on_many_cpus_has_what_its_weight_gives() {
    // One turn on each CPU is a large part of what it has in a second.
    for more in [1, 2, 6, 7] {
        let parts = Machine::parts(16, 1, &[5000, 256], more);
        assert!(are_fair(16, &parts), "{more}: {parts:?}");
    }
}

#[test]
fn who_takes_tasks_sees_what_they_weighed_where_they_were() {
    // A CPU that goes by what the other seemed to weigh while a task was on its way takes nearly all.
    for (depth, weights) in [(4, vec![1024, 5000, 5000]), (5, vec![5000, 5000, 256]), (5, vec![5000, 1024, 5000, 1024])]
    {
        let parts = Machine::parts(2, depth, &weights, 0);
        assert!(are_fair(2, &parts), "{depth} {weights:?}: {parts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn shares_hold_at_every_depth_and_on_many_cpus(
        cpus in select(&[1u32, 2, 3, 4, 8, 16][..]),
        depth in 1usize..=5,
        weights in weights(),
        more in 0usize..8,
    ) {
        let parts = Machine::parts(cpus, depth, &weights, more);
        prop_assert!(are_fair(cpus, &parts), "of the machine got and promised: {parts:?}");
    }
}

#[derive(Clone, Debug)]
enum Change {
    Wake(usize),
    Sleep(usize),
    Kill(usize),
    Weigh(usize, u32),
    Move(usize, usize),
    Limit(usize, Option<u64>),
    Allow(usize, CpuSet),
    Regroup(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => any::<usize>().prop_map(Change::Wake),
        6 => any::<usize>().prop_map(Change::Sleep),
        1 => any::<usize>().prop_map(Change::Kill),
        1 => (any::<usize>(), select(&[2u32, 1024, 262_144][..])).prop_map(|(group, weight)| Change::Weigh(group, weight)),
        2 => (any::<usize>(), any::<usize>()).prop_map(|(group, parent)| Change::Move(group, parent)),
        1 => (any::<usize>(), select(&[None, Some(1), Some(30)][..])).prop_map(|(group, quota)| Change::Limit(group, quota)),
        2 => (any::<usize>(), any_set(4)).prop_map(|(task, set)| Change::Allow(task, set)),
        2 => (any::<usize>(), any::<usize>()).prop_map(|(task, group)| Change::Regroup(task, group)),
    ]
}

// Fails on a version that makes up for a new weight only while the group waits, or only if it doubles at once.
#[test]
fn a_group_that_weighs_more_is_not_kept_waiting_by_what_it_ran_before() {
    let at_once = vec![1024];
    let in_steps: Vec<u32> = (1..40).map(|step| (2.0 * f64::powf(1.17, f64::from(step))) as u32).collect();
    for (offset, weights) in (0..20).flat_map(|offset| [(offset, &at_once), (offset, &in_steps)]) {
        let mut machine = Machine::new(1, 1);
        let (small, other) = (machine.group(None, 2), machine.group(None, 1024));
        let task = machine.spin_in(&small, 1)[0];
        machine.spin_in(&other, 1);
        machine.run(offset * STEP);
        // After a turn of its own it would wait for long.
        while machine.queues[0].current() != Some(&task) {
            machine.run(STEP);
        }
        for &weight in weights {
            small.set_weight(weight);
            machine.run(2 * MS);
        }
        let before = machine.tasks[task].ran;
        machine.run(100 * MS);
        assert!(machine.tasks[task].ran > before, "it waits on after {offset} steps, {weights:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    // `run` asserts that nobody runs outside its set.
    #[test]
    fn nobody_starves_or_is_lost_while_the_tree_changes(
        parents in list(any::<usize>(), 1..12),
        places in list(any::<usize>(), 1..40),
        changes in list((change(), 0u64..40), 0..200),
    ) {
        let mut machine = Machine::new(4, 1);
        let mut groups: Vec<Arc<Group>> = Vec::new();
        for parent in parents {
            let parent = groups.get(parent % (groups.len() + 1)).cloned();
            groups.push(machine.group(parent.as_ref(), 1024));
        }
        let tasks: Vec<usize> = places
            .iter()
            .map(|place| machine.spawn_in(groups.get(place % (groups.len() + 1)), machine.all(), 0))
            .collect();
        for (change, steps) in changes {
            let task = |index: usize| tasks[index % tasks.len()];
            let group = |index: usize| groups[index % groups.len()].clone();
            match change {
                Change::Wake(index) => machine.wake(task(index)),
                Change::Sleep(index) => machine.sleep(task(index)),
                Change::Kill(index) => machine.kill(task(index)),
                Change::Weigh(index, weight) => group(index).set_weight(weight),
                // A group goes only below one that is older, so never into itself.
                Change::Move(one, other) => {
                    let (one, other) = (one % groups.len(), other % groups.len());
                    let parent = if other < one { groups[other].clone() } else { machine.roots.rest.clone() };
                    machine.set_parent(&groups[one], &parent);
                }
                Change::Limit(index, quota) => {
                    let limit = quota.map(|quota| Limit { quota: quota * MS, period: 20 * MS, burst: 0 });
                    machine.set_limit(&group(index), limit);
                }
                Change::Allow(index, set) => machine.set_allowed(task(index), set),
                Change::Regroup(index, place) => machine.set_group(task(index), groups.get(place % (groups.len() + 1))),
            }
            machine.run(steps * STEP);
        }
        for group in &groups {
            machine.set_limit(group, None);
            group.set_weight(1024);
        }
        tasks.iter().for_each(|&task| machine.wake(task));
        let count: usize = machine.queues.iter().map(Queue::len).sum();
        prop_assert_eq!(count, machine.tasks.iter().filter(|task| !task.dead).count());
        let before: Vec<u64> = machine.tasks.iter().map(|task| task.ran).collect();
        // Long enough for many turns of all but those deepest below many others: whoever goes to another CPU waits anew.
        const LONG: u64 = 20 * SECOND;
        machine.run(LONG);
        for (task, before) in machine.tasks.iter().zip(before).filter(|(task, _)| !task.dead) {
            let due = LONG / machine.rivals(task, &groups);
            prop_assert!(task.ran > before || due < 20 * GRANULARITY, "a task of {:?} starves", task.group);
        }
    }
}
