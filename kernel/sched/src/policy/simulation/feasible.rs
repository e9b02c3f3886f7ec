//! Where threads are few no weight can give a group more CPUs than it has tasks; what can be had, each has.

use super::*;
use proptest::test_runner::RngSeed;

/// A group: its weight, how many tasks of nice 0 are in it directly, and the groups in it.
#[derive(Clone, Debug)]
struct Tree {
    weight: u32,
    tasks: usize,
    groups: Vec<Tree>,
}

impl Tree {
    fn all_tasks(&self) -> usize {
        self.tasks + self.groups.iter().map(Self::all_tasks).sum::<usize>()
    }

    /// What the tasks of each group have together if the tree has so many CPUs, in the order of `spin`.
    fn parts(&self, cpus: f64, parts: &mut Vec<f64>) {
        let of_tasks = core::iter::repeat_n((1024, 1), self.tasks);
        let of_groups = self.groups.iter().map(|group| (group.weight, group.all_tasks()));
        let had = fill(cpus, &of_tasks.chain(of_groups).collect::<Vec<_>>());
        parts.push(had[..self.tasks].iter().sum());
        for (group, &cpus) in self.groups.iter().zip(&had[self.tasks..]) {
            group.parts(cpus, parts);
        }
    }

    /// Makes them all; the tasks of each group.
    fn spin(&self, machine: &mut Machine, group: Option<&Arc<Group>>, tasks: &mut Vec<Vec<usize>>) {
        tasks.push((0..self.tasks).map(|_| machine.spawn_in(group, machine.all(), 0)).collect());
        for below in &self.groups {
            let group = machine.group(group, below.weight);
            below.spin(machine, Some(&group), tasks);
        }
    }
}

/// What members of these weights and numbers of tasks can have of so many CPUs beside each other: their parts by weight, and
/// where these are more than one has tasks, one CPU for each, and the rest for the others.
fn fill(cpus: f64, members: &[(u32, usize)]) -> Vec<f64> {
    let mut parts = vec![0.0; members.len()];
    let mut open: Vec<usize> = (0..members.len()).collect();
    let mut left = cpus;
    loop {
        let weight: f64 = open.iter().map(|&member| f64::from(members[member].0)).sum();
        open.iter().for_each(|&member| parts[member] = left * f64::from(members[member].0) / weight);
        let has_all = |&&member: &&usize| parts[member] >= members[member].1 as f64;
        let (full, rest): (Vec<usize>, Vec<usize>) = open.iter().partition(has_all);
        if full.is_empty() {
            return parts;
        }
        for member in full {
            parts[member] = members[member].1 as f64;
            left -= parts[member];
        }
        open = rest;
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let weight = || select(&[512u32, 1024, 2048, 3000][..]);
    let leaf = (weight(), 1usize..=6).prop_map(|(weight, tasks)| Tree { weight, tasks, groups: Vec::new() });
    leaf.prop_recursive(4, 12, 4, move |below| {
        (weight(), prop_oneof![3 => Just(0usize), 1 => 1usize..=3], list(below, 1..=4))
            .prop_map(|(weight, tasks, groups)| Tree { weight, tasks, groups })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(100) })]

    // Fails on a version that lets a group count for more than its tasks can use, which keeps from its siblings what it
    // leaves.
    #[test]
    fn groups_have_what_their_few_tasks_can_have(
        cpus in select(&[1u32, 2, 3, 4, 8, 16][..]),
        groups in list(tree(), 1..=4),
    ) {
        let whole = Tree { weight: 1024, tasks: 0, groups };
        let mut machine = Machine::new(cpus, 1);
        let (mut tasks, mut parts) = (Vec::new(), Vec::new());
        whole.spin(&mut machine, None, &mut tasks);
        whole.parts(f64::from(cpus).min(whole.all_tasks() as f64), &mut parts);
        machine.run(SECOND);
        let ran = machine.measure(&tasks, 5 * SECOND);
        let got: Vec<f64> = ran.iter().map(|&ran| ran as f64 / (5 * SECOND) as f64).collect();
        // To 2 % of that, or of three quarters of a CPU if that is more: five seconds are few turns of the smallest.
        let is_fair = |(&got, &part): (&f64, &f64)| (got - part).abs() < 0.02 * part.max(0.75);
        prop_assert!(got.iter().zip(&parts).all(is_fair), "{whole:?} got {got:.3?} of {parts:.3?}");
    }
}

#[test]
fn what_a_group_may_not_use_its_siblings_have_at_each_level() {
    let few: CpuSet = [0, 1].map(CpuId::new).into_iter().collect();
    // On 8 CPUs, of which the first group inside may use two, and the second all or the same.
    for (tasks, second_has_all, due) in
        [(6, true, [2.0, 4.0, 2.0]), (2, true, [2.0, 4.0, 2.0]), (6, false, [1.0, 1.0, 6.0])]
    {
        let mut machine = Machine::new(8, 1);
        let all = machine.all();
        let (outer, other) = (machine.group(None, 3072), machine.group(None, 1024));
        let inner = [(); 2].map(|()| machine.group(Some(&outer), 1024));
        let mut spin = |group: &Arc<Group>, cpus: CpuSet, tasks: usize| -> Vec<usize> {
            (0..tasks).map(|_| machine.spawn_in(Some(group), cpus, 0)).collect()
        };
        let second = if second_has_all { all } else { few };
        let tasks = [spin(&inner[0], few, tasks), spin(&inner[1], second, 8), spin(&other, all, 8)];
        machine.run(SECOND);
        let got: Vec<f64> =
            machine.measure(&tasks, 5 * SECOND).iter().map(|&ran| ran as f64 / (5 * SECOND) as f64).collect();
        let is_fair = |(&got, &due): (&f64, &f64)| (got - due).abs() < 0.02 * due;
        assert!(got.iter().zip(&due).all(is_fair), "got {got:.3?} of {due:?}");
    }
}
