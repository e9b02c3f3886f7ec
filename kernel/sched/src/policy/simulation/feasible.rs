//! Where threads are few no weight can give a group more CPUs than it has tasks; what can be had, each has.

use super::*;
use proptest::test_runner::RngSeed;

/// A group: its weight, its tasks, and how deep they are in it.
type Members = (u32, usize, usize);

/// What groups beside each other can have of so many CPUs: their parts by weight, and where these are more than a group has
/// tasks, one CPU for each, and the rest for the others.
fn feasible(cpus: u32, groups: &[Members]) -> Vec<f64> {
    let mut parts = vec![0.0; groups.len()];
    let mut open: Vec<usize> = (0..groups.len()).collect();
    let mut left = f64::from(cpus);
    loop {
        let weight: f64 = open.iter().map(|&group| f64::from(groups[group].0)).sum();
        open.iter().for_each(|&group| parts[group] = left * f64::from(groups[group].0) / weight);
        let has_all = |&&group: &&usize| parts[group] >= groups[group].1 as f64;
        let (full, rest): (Vec<usize>, Vec<usize>) = open.iter().partition(has_all);
        if full.is_empty() {
            return parts;
        }
        for group in full {
            parts[group] = groups[group].1 as f64;
            left -= parts[group];
        }
        open = rest;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(48) })]

    #[test]
    fn groups_have_what_their_few_tasks_can_have(
        cpus in select(&[2u32, 3, 4, 8, 16][..]),
        groups in list((select(&[512u32, 1024, 2048, 3000][..]), 1usize..=12, 1usize..=5), 2..=6),
    ) {
        let mut machine = Machine::new(cpus, 1);
        let spin = |&(weight, tasks, depth): &Members| {
            let top = machine.group(None, weight);
            let group = (1..depth).fold(top, |above, _| machine.group(Some(&above), 1024));
            machine.spin_in(&group, tasks)
        };
        let tasks: Vec<Vec<usize>> = groups.iter().map(spin).collect();
        machine.run(SECOND);
        let ran = machine.measure(&tasks, 5 * SECOND);
        let parts = feasible(cpus, &groups);
        let got: Vec<f64> = ran.iter().map(|&ran| ran as f64 / (5 * SECOND) as f64).collect();
        // To 2 % of that, or of a CPU if that is more: five seconds are few turns of the smallest.
        let is_fair = |(&got, &part): (&f64, &f64)| (got - part).abs() < 0.02 * part.max(1.0);
        prop_assert!(got.iter().zip(&parts).all(is_fair), "got {got:.3?} of {parts:.3?}");
    }
}
