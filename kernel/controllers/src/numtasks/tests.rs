//! Forks, exits and moves of tasks that only live and die, against the limits and shares of a small tree.

use crate::world::{MOST_TASKS, Task, World};
use base::Errno;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    sync::{Arc, Barrier},
    vec,
    vec::Vec,
};

fn shares(world: &World, path: &str, text: &str) {
    world.write(path, "numtasks.shares", text).unwrap();
}

/// Forks until that is refused, and says how many it could be.
fn fork_all(world: &World, parent: &Arc<Task>) -> Vec<Arc<Task>> {
    std::iter::from_fn(|| world.fork(parent).ok()).collect()
}

fn stats(world: &World, path: &str) -> [u64; 4] {
    let text = world.read(path, "numtasks.stats");
    let numbers: Vec<u64> = text.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

#[test]
fn a_fork_at_the_limit_fails_and_counts_nothing() {
    let world = World::with("numtasks").mkdir("/a").mkdir("/a/b");
    world.write("/a", "numtasks.limit", "2").unwrap();
    let first = world.spawn_in("/a/b");
    let second = world.fork(&first).unwrap();
    assert_eq!(world.fork(&second).err(), Some(Errno::EAGAIN));
    assert_eq!(world.read("/a/b", "numtasks.current"), "2\n");
    assert_eq!(world.read("/a", "numtasks.current"), "2\n");
    world.exit(&second);
    assert!(world.fork(&first).is_ok());
    assert_eq!(world.read("/a", "numtasks.peak"), "2\n");
    // Not even for the moment until the parent refused.
    assert_eq!(world.read("/a/b", "numtasks.peak"), "2\n");
}

#[test]
fn a_move_goes_over_the_limit_and_then_forks_fail() {
    let world = World::with("numtasks").mkdir("/a");
    world.write("/a", "numtasks.limit", "1").unwrap();
    let (one, two) = (world.spawn_in("/"), world.spawn_in("/"));
    world.attach("/a", &one).unwrap();
    world.attach("/a", &two).unwrap();
    assert_eq!(world.read("/a", "numtasks.current"), "2\n");
    assert_eq!(world.fork(&one).err(), Some(Errno::EAGAIN));
    world.exit(&one);
    assert_eq!(world.fork(&two).err(), Some(Errno::EAGAIN));
    world.exit(&two);
    assert_eq!(world.read("/a", "numtasks.current"), "0\n");
}

#[test]
fn the_root_counts_all_tasks_and_has_no_limit() {
    let world = World::with("numtasks").mkdir("/a");
    let before: u64 = world.read("/", "numtasks.current").trim().parse().unwrap();
    world.spawn_in("/a");
    assert_eq!(world.read("/", "numtasks.current"), (before + 1).to_string() + "\n");
    assert!(!world.has_file("/", "numtasks.limit"));
}

#[test]
fn what_only_counts_is_not_written() {
    let world = World::with("numtasks").mkdir("/a");
    assert_eq!(world.write("/a", "numtasks.current", "0"), Err(Errno::EINVAL));
    assert_eq!(world.write("/a", "numtasks.peak", "0"), Err(Errno::EINVAL));
    assert_eq!(world.write("/a", "numtasks.stats", "0"), Err(Errno::EINVAL));
    assert_eq!(world.write("/a", "numtasks.stats", "res=numtasks"), Ok(()));
}

#[test]
fn a_cap_is_a_part_of_all_tasks() {
    let world = World::with("numtasks").mkdir("/a").mkdir("/a/b");
    shares(&world, "/", "child_shares_divisor=500");
    shares(&world, "/a", "max_shares=5"); // of 1000 tasks: 10
    let first = world.spawn_in("/a/b");
    assert_eq!(fork_all(&world, &first).len(), 9);
    shares(&world, "/a/b", "max_shares=50"); // 5 of these
    assert_eq!(world.fork(&first).err(), Some(Errno::EAGAIN));
    shares(&world, "/a", "max_shares=-3");
    assert_eq!(fork_all(&world, &first).len() as u64, MOST_TASKS - 1 - 10);
}

#[test]
fn a_limit_under_the_cap_holds() {
    let world = World::with("numtasks").mkdir("/a");
    shares(&world, "/a", "max_shares=1");
    world.write("/a", "numtasks.limit", "4").unwrap();
    let first = world.spawn_in("/a");
    assert_eq!(fork_all(&world, &first).len(), 3);
    world.write("/a", "numtasks.limit", "40").unwrap();
    assert_eq!(fork_all(&world, &first).len(), 6);
}

#[test]
fn siblings_can_not_eat_a_guarantee() {
    let world = World::with("numtasks").mkdir("/a").mkdir("/a/b").mkdir("/a/c");
    shares(&world, "/a", "min_shares=1,max_shares=1"); // 10 tasks
    shares(&world, "/a/b", "min_shares=40"); // 4 of them
    let (b, c) = (world.spawn_in("/a/b"), world.spawn_in("/a/c"));
    let mut greedy = fork_all(&world, &c);
    assert_eq!(greedy.len(), 5);
    assert_eq!(fork_all(&world, &b).len(), 3);
    // A place that nobody is guaranteed is there for all.
    world.exit(&greedy.pop().unwrap());
    assert_eq!(fork_all(&world, &b).len(), 1);
    assert_eq!(world.fork(&c).err(), Some(Errno::EAGAIN));
}

#[test]
fn a_guarantee_goes_with_its_container() {
    let world = World::with("numtasks").mkdir("/a").mkdir("/a/b").mkdir("/a/c");
    shares(&world, "/a", "min_shares=1,max_shares=1");
    shares(&world, "/a/b", "min_shares=100");
    let c = world.spawn_in("/a/c");
    assert_eq!(world.fork(&c).err(), Some(Errno::EAGAIN));
    world.rmdir("/a/b").unwrap();
    assert_eq!(fork_all(&world, &c).len(), 9);
}

#[test]
fn the_total_is_a_setting() {
    let world = World::with("numtasks").mkdir("/a");
    assert_eq!(world.parameter("total_numtasks"), "1000\n");
    shares(&world, "/a", "max_shares=10");
    let first = world.spawn_in("/a");
    for (text, result) in [
        ("0", Err(Errno::EINVAL)),
        ("2", Err(Errno::EINVAL)), // as many as there are
        ("2147483648", Err(Errno::EINVAL)),
        ("99999999999999999999", Err(Errno::EINVAL)),
        ("many", Err(Errno::EINVAL)),
        (" ", Err(Errno::EINVAL)),
        ("2147483647", Ok(())),
        ("0x32", Ok(())),
    ] {
        assert_eq!(world.set_parameter("total_numtasks", text), result, "{text}");
    }
    assert_eq!(fork_all(&world, &first).len(), 4);
    shares(&world, "/a", "max_shares=-3");
    assert_eq!(fork_all(&world, &first).len(), 44);
}

#[test]
fn the_rate_of_forks_is_bounded_in_each_container_by_itself() {
    machine::host::set_clock(Some(5_000_000_000));
    let world = World::with("numtasks").mkdir("/a").mkdir("/b");
    let (a, b) = (world.spawn_in("/a"), world.spawn_in("/b"));
    world.set_parameter("forkrate", "3").unwrap();
    world.set_parameter("forkrate_interval", "2").unwrap();
    assert_eq!((fork_all(&world, &a).len(), fork_all(&world, &b).len()), (3, 3));
    machine::host::set_clock(Some(6_999_999_999));
    assert_eq!(world.fork(&a).err(), Some(Errno::EAGAIN));
    machine::host::set_clock(Some(7_000_000_000));
    assert_eq!(fork_all(&world, &a).len(), 3);
    // A write begins all periods anew.
    world.set_parameter("forkrate", "1").unwrap();
    assert_eq!(fork_all(&world, &a).len(), 1);
    assert_eq!(stats(&world, "/a")[2..], [0, 4]);
    assert_eq!(world.set_parameter("forkrate", "0"), Err(Errno::EINVAL));
    assert_eq!(world.parameter("forkrate"), "1\n");
    machine::host::set_clock(None);
}

#[test]
fn what_is_refused_for_another_reason_does_not_count_for_the_rate() {
    machine::host::set_clock(Some(5_000_000_000));
    let world = World::with("numtasks").mkdir("/a");
    let a = world.spawn_in("/a");
    world.set_parameter("forkrate", "1").unwrap();
    world.write("/a", "numtasks.limit", "1").unwrap();
    assert_eq!(world.fork(&a).err(), Some(Errno::EAGAIN));
    world.write("/a", "numtasks.limit", "2").unwrap();
    assert!(world.fork(&a).is_ok());
    machine::host::set_clock(None);
}

#[test]
fn successes_rise_where_the_walk_ends_and_failures_in_the_forkers_own() {
    let world = World::with("numtasks").mkdir("/a").mkdir("/a/b");
    shares(&world, "/a", "min_shares=1");
    shares(&world, "/a/b", "min_shares=20"); // 2 tasks
    let b = world.spawn_in("/a/b");
    let before = ["/", "/a", "/a/b"].map(|path| stats(&world, path)[1]);
    world.write("/a", "numtasks.limit", "4").unwrap();
    assert_eq!(fork_all(&world, &b).len(), 3);
    // The second task of b is guaranteed by b, the others by a.
    assert_eq!(["/", "/a", "/a/b"].map(|path| stats(&world, path)[1]), [before[0], before[1] + 2, before[2] + 1]);
    assert_eq!(["/", "/a", "/a/b"].map(|path| stats(&world, path)[2]), [0, 0, 1]);
    let lines = "numtasks: Current usage 4\nnumtasks: Number of successes 1\nnumtasks: Number of failures 1\n\
        numtasks: Number of forkrate failures 0\n";
    assert_eq!(world.read("/a/b", "numtasks.stats"), lines);
}

#[test]
fn a_fork_that_fails_later_leaves_no_trace() {
    let world = World::with("numtasks").mkdir("/a");
    let a = world.spawn_in("/a");
    let before = ["/", "/a"].map(|path| world.read(path, "numtasks.stats"));
    world.fail_to_fork(&a);
    assert_eq!(["/", "/a"].map(|path| world.read(path, "numtasks.stats")), before);
}

/// Overshoot by parallel forks. Fails on a version in which `can_fork` lets go of the tree between check and count.
#[test]
fn no_storm_of_forks_passes_a_limit_or_a_cap() {
    const THREADS: usize = 8;
    let world = World::with("numtasks").mkdir("/a").mkdir("/a/b").mkdir("/a/c");
    shares(&world, "/a", "min_shares=2,max_shares=2"); // 20 tasks
    shares(&world, "/a/b", "min_shares=50,max_shares=75"); // 10 are sure, 15 at most
    world.write("/a/c", "numtasks.limit", "9").unwrap();
    let parents: Vec<_> = (0..THREADS).map(|index| world.spawn_in(["/a/b", "/a/c"][index % 2])).collect();
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for parent in &parents {
            scope.spawn(|| {
                start.wait();
                let mut children: Vec<Arc<Task>> = Vec::new();
                for round in 0..2000 {
                    children.extend(world.fork(parent));
                    if round % 3 == 0 {
                        children.pop().iter().for_each(|child| world.exit(child));
                    }
                }
            });
        }
    });
    let peaks = ["/a", "/a/b", "/a/c"].map(|path| world.read(path, "numtasks.peak").trim().parse::<u64>().unwrap());
    // Whoever asks last finds all that the others left.
    assert!(peaks[0] <= 20 && peaks[1] <= 15 && peaks[2] <= 9, "{peaks:?}");
    parents.iter().for_each(|parent| drop(fork_all(&world, parent)));
    assert_eq!(world.read("/a", "numtasks.current"), "20\n");
}

/// A guarantee and a cap.
type Pair = (Option<u64>, Option<u64>);

const PLACES: [&str; 4] = ["/", "/a", "/a/b", "/a/c"];

/// What the rules say about the same tree, computed anew each time it is asked.
#[derive(Default)]
struct Model {
    tasks: BTreeMap<&'static str, u64>,
    limits: BTreeMap<&'static str, u64>,
    /// In parts of 10: the guarantee and the cap.
    shares: BTreeMap<&'static str, Pair>,
    total: u64,
}

impl Model {
    fn parent(path: &str) -> Option<&'static str> {
        match path {
            "/" => None,
            "/a" => Some("/"),
            _ => Some("/a"),
        }
    }

    fn children(path: &str) -> impl Iterator<Item = &'static str> {
        PLACES.into_iter().filter(move |child| Self::parent(child) == Some(path))
    }

    fn amount(&self, path: &str, which: fn(&Pair) -> Option<u64>) -> Option<u64> {
        let Some(parent) = Self::parent(path) else { return Some(self.total) };
        let share = which(self.shares.get(path)?)?;
        Some(self.amount(parent, which)? * share / 10)
    }

    fn min(&self, path: &str) -> u64 {
        self.amount(path, |shares| shares.0).unwrap_or(0)
    }

    fn committed(&self, path: &str) -> u64 {
        let below: u64 = Self::children(path).map(|child| self.committed(child).max(self.min(child))).sum();
        self.tasks.get(path).copied().unwrap_or(0) + below
    }

    fn current(&self, path: &str) -> u64 {
        self.tasks.get(path).copied().unwrap_or(0) + Self::children(path).map(|child| self.current(child)).sum::<u64>()
    }

    fn allows(&self, path: &'static str) -> bool {
        let upwards: Vec<_> = std::iter::successors(Some(path), |path| Self::parent(path)).collect();
        let limit = |path: &&str| self.limits.get(*path).is_none_or(|limit| self.current(path) < *limit);
        if !upwards.iter().all(limit) {
            return false;
        }
        for path in upwards {
            let after = self.committed(path) + 1;
            if self.amount(path, |shares| shares.1).is_some_and(|max| after > max) {
                return false;
            }
            if after <= self.min(path) {
                break;
            }
        }
        true
    }
}

#[derive(Clone, Debug)]
enum Step {
    Fork(usize),
    Exit(usize),
    Move(usize, usize),
    Limit(usize, u64),
    Shares(usize, i32, i32),
    Total(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..32).prop_map(Step::Fork),
        2 => (0usize..32).prop_map(Step::Exit),
        2 => (0usize..32, 0usize..4).prop_map(|(who, place)| Step::Move(who, place)),
        1 => (1usize..4, 0u64..12).prop_map(|(place, limit)| Step::Limit(place, limit)),
        2 => (1usize..4, -3i32..8, -3i32..11).prop_map(|(place, min, max)| Step::Shares(place, min, max)),
        1 => (5u64..60).prop_map(Step::Total),
    ]
}

proptest! {
    /// Forks are allowed exactly where the definition of section 12 allows them, and every level counts its tasks.
    #[test]
    fn forks_are_allowed_as_the_rules_say(steps in proptest::collection::vec(any_step(), 1..80)) {
        let world = PLACES[1..].iter().fold(World::with("numtasks"), |world, path| world.mkdir(path));
        PLACES.iter().for_each(|path| shares(&world, path, "child_shares_divisor=10"));
        world.set_parameter("total_numtasks", "20").unwrap();
        let mut model = Model { total: 20, ..Model::default() };
        // The writer of the world is in the root, too.
        model.tasks.insert("/", 2);
        let mut tasks = vec![(world.spawn_in("/"), "/")];
        for step in steps {
            match step {
                Step::Fork(who) => {
                    let (parent, place) = tasks[who % tasks.len()].clone();
                    let child = world.fork(&parent);
                    prop_assert_eq!(child.is_ok(), model.allows(place), "in {}", place);
                    *model.tasks.entry(place).or_default() += u64::from(child.is_ok());
                    tasks.extend(child.map(|child| (child, place)));
                }
                Step::Exit(who) if tasks.len() > 1 => {
                    let (task, place) = tasks.swap_remove(who % tasks.len());
                    world.exit(&task);
                    *model.tasks.entry(place).or_default() -= 1;
                }
                Step::Exit(_) => {}
                Step::Move(who, place) => {
                    let who = who % tasks.len();
                    world.attach(PLACES[place], &tasks[who].0).unwrap();
                    *model.tasks.entry(tasks[who].1).or_default() -= 1;
                    *model.tasks.entry(PLACES[place]).or_default() += 1;
                    tasks[who].1 = PLACES[place];
                }
                Step::Limit(place, limit) => {
                    world.write(PLACES[place], "numtasks.limit", &limit.to_string()).unwrap();
                    model.limits.insert(PLACES[place], limit);
                }
                Step::Shares(place, min, max) => {
                    let (min, max) = (if min < 0 { -3 } else { min }, if max < 0 { -3 } else { max });
                    if world.write(PLACES[place], "numtasks.shares", &format!("min_shares={min},max_shares={max}")).is_ok() {
                        model.shares.insert(PLACES[place], (u64::try_from(min).ok(), u64::try_from(max).ok()));
                    }
                }
                Step::Total(total) => {
                    let accepted = world.set_parameter("total_numtasks", &total.to_string()).is_ok();
                    prop_assert_eq!(accepted, total > model.current("/"));
                    model.total = if accepted { total } else { model.total };
                }
            }
            for path in PLACES {
                let shown: String = world.read(path, "numtasks.current");
                prop_assert_eq!(shown, model.current(path).to_string() + "\n", "{}", path);
                prop_assert_eq!(world.tasks_in(path) as u64, model.tasks.get(path).copied().unwrap_or(0), "{}", path);
            }
        }
    }
}
