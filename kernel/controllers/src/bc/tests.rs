//! Tests of bc in a small world, and against a model that only adds up.

use super::TASK_BYTES;
use crate::world::World;
use base::{
    Errno,
    charge::{Charge, Payer, Refused, Resource, Severity},
};
use proptest::prelude::*;
use std::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

fn number(world: &World, path: &str, file: &str) -> u64 {
    world.read(path, &std::format!("bc.{file}")).trim().parse().unwrap()
}

#[test]
fn a_fork_over_the_barrier_fails_and_leaves_nothing() {
    let world = World::with("bc").mkdir("/a").mkdir("/a/b");
    let first = world.spawn_in("/a/b");
    world.write("/a", "bc.numtasks.barrier", "1").unwrap();
    assert_eq!(world.fork(&first).err(), Some(Errno::EAGAIN));
    for (path, failures) in [("/", 0), ("/a", 1), ("/a/b", 0)] {
        assert_eq!(number(&world, path, "numtasks.failcnt"), failures, "{path}");
    }
    assert_eq!(number(&world, "/a/b", "numtasks.held"), 1);
    assert_eq!(number(&world, "/a/b", "numtasks.maxheld"), 1);
    assert_eq!(number(&world, "/a", "kmemsize.held"), TASK_BYTES);
    world.exit(&first);
    assert_eq!(number(&world, "/a", "kmemsize.held"), 0);
    assert_eq!(number(&world, "/a/b", "numtasks.minheld"), 0);
}

/// Found by the model in `tests/model`: pids, numtasks and the task count of bc itself remembered the child as their
/// highest.
#[test]
fn what_refuses_a_fork_leaves_no_peak_to_those_who_agreed_before() {
    let world = World::with("pids,numtasks,bc").mkdir("/a");
    let first = world.spawn_in("/a");
    world.write("/a", "bc.kmemsize.barrier", &TASK_BYTES.to_string()).unwrap();
    assert_eq!(world.fork(&first).err(), Some(Errno::ENOMEM));
    let peaks = || ["pids.peak", "numtasks.peak", "bc.numtasks.maxheld"].map(|file| world.read("/a", file));
    assert_eq!(peaks(), ["1\n"; 3]);
    world.exit(&first);
    world.reap(&first);
    assert_eq!(peaks(), ["1\n"; 3]);
}

#[test]
fn kernel_memory_refuses_a_fork_and_gives_the_task_count_back() {
    let world = World::with("bc").mkdir("/a");
    let first = world.spawn_in("/a");
    world.write("/a", "bc.kmemsize.barrier", &(2 * TASK_BYTES - 1).to_string()).unwrap();
    assert_eq!(world.fork(&first).err(), Some(Errno::ENOMEM));
    assert_eq!(number(&world, "/a", "numtasks.held"), 1);
    assert_eq!(number(&world, "/a", "kmemsize.held"), TASK_BYTES);
    world.write("/a", "bc.kmemsize.barrier", &(2 * TASK_BYTES).to_string()).unwrap();
    assert!(world.fork(&first).is_ok());
}

#[test]
fn a_move_takes_the_task_along_over_any_barrier() {
    let world = World::with("bc").mkdir("/a").mkdir("/b");
    world.write("/b", "bc.numtasks.barrier", "0").unwrap();
    let task = world.spawn_in("/a");
    world.attach("/b", &task).unwrap();
    assert_eq!(number(&world, "/a", "numtasks.held"), 0);
    assert_eq!(number(&world, "/b", "numtasks.held"), 1);
    assert_eq!(number(&world, "/b", "kmemsize.held"), TASK_BYTES);
    assert_eq!(number(&world, "/b", "numtasks.failcnt"), 0);
}

#[test]
fn an_object_gives_back_to_who_paid_wherever_its_task_is() {
    let world = World::with("bc").mkdir("/a").mkdir("/b");
    let task = world.spawn_in("/a");
    let file = Charge::take(world.payer(&task), &[(Resource::Files, 1)], Severity::Barrier).ok().unwrap();
    world.attach("/b", &task).unwrap();
    assert_eq!(number(&world, "/a", "numfiles.held"), 1);
    assert_eq!(number(&world, "/b", "numfiles.held"), 0);
    let root = number(&world, "/", "numfiles.held");
    world.rmdir("/a").unwrap();
    assert_eq!(number(&world, "/", "numfiles.held"), root, "the removed container's charges stay above it");
    drop(file);
    assert_eq!(number(&world, "/", "numfiles.held"), root - 1);
}

#[test]
fn severities_stop_at_barrier_at_limit_and_nowhere() {
    let world = World::with("bc").mkdir("/a");
    let payer = world.payer(&world.spawn_in("/a"));
    let charge = |severity| payer.charge(Resource::Files, 1, severity);
    world.write("/a", "bc.numfiles.barrier", "1").unwrap();
    world.write("/a", "bc.numfiles.limit", "2").unwrap();
    assert_eq!(charge(Severity::Barrier), Ok(()));
    assert_eq!(charge(Severity::Barrier), Err(Refused));
    assert_eq!(charge(Severity::Limit), Ok(()));
    assert_eq!(charge(Severity::Limit), Err(Refused));
    assert_eq!(charge(Severity::Force), Ok(()));
    assert_eq!(number(&world, "/a", "numfiles.held"), 3);
    assert_eq!(number(&world, "/a", "numfiles.failcnt"), 2);
    assert_eq!(payer.charge(Resource::Files, u64::MAX, Severity::Limit), Err(Refused));
}

#[test]
fn bounds_keep_their_order_and_the_rest_is_only_shown() {
    let world = World::with("bc").mkdir("/a");
    assert_eq!(world.read("/a", "bc.numfiles.barrier"), "256\n");
    assert_eq!(world.read("/a", "bc.numfiles.limit"), "512\n");
    assert_eq!(world.read("/a", "bc.numtasks.barrier"), "9223372036854775807\n");
    assert_eq!(world.read("/", "bc.numfiles.limit"), "9223372036854775807\n");
    for (file, text, result) in [
        ("numfiles.barrier", "513", Err(Errno::EINVAL)),
        ("numfiles.limit", "255", Err(Errno::EINVAL)),
        ("numfiles.barrier", "0x10", Ok(())),
        ("numfiles.limit", "9223372036854775808", Err(Errno::EINVAL)),
        ("numfiles.limit", "9223372036854775807", Ok(())),
        ("numfiles.limit", "99999999999999999999", Err(Errno::ERANGE)),
        ("numfiles.limit", "-1", Err(Errno::EINVAL)),
        ("numfiles.barrier", "many", Err(Errno::EINVAL)),
        ("numfiles.held", "0", Err(Errno::EINVAL)),
        ("numfiles.maxheld", "0", Err(Errno::EINVAL)),
        ("numfiles.minheld", "0", Err(Errno::EINVAL)),
        ("numfiles.failcnt", "0", Err(Errno::EINVAL)),
        ("id", "7", Err(Errno::EINVAL)),
    ] {
        assert_eq!(world.write("/a", &std::format!("bc.{file}"), text), result, "{file} {text}");
    }
    assert_eq!(world.read("/a", "bc.numfiles.barrier"), "16\n");
}

#[test]
fn numbers_of_containers_ascend_and_are_not_used_again() {
    let world = World::with("bc").mkdir("/a").mkdir("/a/b");
    assert_eq!(["/", "/a", "/a/b"].map(|path| number(&world, path, "id")), [0, 1, 2]);
    world.rmdir("/a/b").unwrap();
    let world = world.mkdir("/c");
    assert_eq!(number(&world, "/c", "id"), 3);
}

#[test]
fn the_table_shows_the_reader_its_own_container_and_those_below() {
    let world = World::with("bc").mkdir("/a").mkdir("/b").mkdir("/a/c");
    let inside = world.spawn_in("/a");
    let ids = |text: &str| -> Vec<String> {
        text.lines().skip(2).filter_map(|line| Some(line[..10].trim().strip_suffix(':')?.to_string())).collect()
    };
    let text = world.report(8, &inside);
    assert_eq!(ids(&text), ["1", "3"]);
    assert_eq!(ids(&world.report(8, &world.spawn_in("/"))), ["0", "1", "2", "3"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2 + 2 * 24);
    assert_eq!(lines[0], "Version: 2.5");
    let columns = "held              maxheld              barrier                limit              failcnt";
    assert_eq!(lines[1], std::format!("       uid  resource                     {columns}"));
    let unlimited = "9223372036854775807";
    let task = TASK_BYTES.to_string();
    let row = |first: &str, name: &str, values: [&str; 5]| {
        let [held, most, barrier, limit, failures] = values;
        std::format!("{first:>10}  {name:<12} {held:>20} {most:>20} {barrier:>20} {limit:>20} {failures:>20}")
    };
    assert_eq!(lines[2], row("1:", "kmemsize", [&*task, &*task, unlimited, unlimited, "0"]));
    assert_eq!(lines[6], row("", "dummy", ["0", "0", "0", "0", "0"]));
    assert_eq!(lines[7], row("", "numproc", ["1", "1", unlimited, unlimited, "0"]));
    assert_eq!(lines[9], row("", "vmguarpages", ["0", "0", unlimited, unlimited, "0"]));
    assert_eq!(lines[21], row("", "numfile", ["0", "0", "256", "512", "0"]));
}

/// Fails on a version in which `take` of a counter checks and counts in two steps.
#[test]
fn parallel_charges_never_pass_a_barrier_and_leave_nothing() {
    let world = World::with("bc").mkdir("/a").mkdir("/a/b").mkdir("/a/c");
    world.write("/a", "bc.numfiles.barrier", "5").unwrap();
    let payers = ["/a/b", "/a/c"].map(|path| world.payer(&world.spawn_in(path)));
    std::thread::scope(|scope| {
        for payer in payers.iter().chain(&payers) {
            scope.spawn(move || {
                for _ in 0..2000 {
                    let one = Charge::take(payer.clone(), &[(Resource::Files, 2)], Severity::Barrier);
                    let two = Charge::take(payer.clone(), &[(Resource::Files, 1)], Severity::Barrier);
                    drop((one, two));
                }
            });
        }
    });
    for path in ["/a", "/a/b", "/a/c"] {
        assert_eq!(number(&world, path, "numfiles.held"), 0, "{path}");
        assert!(number(&world, path, "numfiles.maxheld") <= 5, "{path}");
    }
}

/// What the model keeps for one container.
#[derive(Clone, Default, Debug)]
struct Sums {
    held: u64,
    most: u64,
    least: Option<u64>,
    barrier: u64,
    limit: u64,
    failures: u64,
}

const PLACES: [&str; 4] = ["/", "/a", "/a/b", "/c"];
const ABOVE: [&[usize]; 4] = [&[0], &[1, 0], &[2, 1, 0], &[3, 0]];

proptest! {
    #[test]
    fn counters_are_what_a_sum_says(
        steps in proptest::collection::vec((0u8..4, 0usize..4, 0u64..6, 0u8..3), 1..80),
    ) {
        let world = World::with("bc").mkdir("/a").mkdir("/a/b").mkdir("/c");
        let payers: Vec<Arc<dyn Payer>> = PLACES.iter().map(|path| world.payer(&world.spawn_in(path))).collect();
        let mut model: [Sums; 4] = core::array::from_fn(|place| {
            let (barrier, limit) = if place == 0 { (i64::MAX as u64, i64::MAX as u64) } else { (256, 512) };
            Sums { barrier, limit, ..Sums::default() }
        });
        let mut objects: Vec<(usize, u64)> = Vec::new();
        for (what, place, amount, severity) in steps {
            match what {
                0 => {
                    let severity = [Severity::Barrier, Severity::Limit, Severity::Force][severity as usize];
                    let refuses = |level: &&usize| {
                        let sums = &model[**level];
                        let bound = match severity {
                            Severity::Barrier => sums.barrier,
                            Severity::Limit => sums.limit,
                            Severity::Force => return false,
                        };
                        sums.held + amount > bound
                    };
                    let result = payers[place].charge(Resource::Files, amount, severity);
                    if let Some(&level) = ABOVE[place].iter().find(refuses) {
                        model[level].failures += 1;
                        prop_assert_eq!(result, Err(Refused));
                    } else {
                        prop_assert_eq!(result, Ok(()));
                        // A charge of nothing is none, and nobody gives it back.
                        if amount > 0 {
                            objects.push((place, amount));
                            for &level in ABOVE[place] {
                                let sums = &mut model[level];
                                sums.held += amount;
                                sums.most = sums.most.max(sums.held);
                                sums.least.get_or_insert(sums.held);
                            }
                        }
                    }
                }
                1 if !objects.is_empty() => {
                    let (place, amount) = objects.swap_remove(amount as usize % objects.len());
                    payers[place].uncharge(Resource::Files, amount);
                    for &level in ABOVE[place] {
                        let sums = &mut model[level];
                        sums.held -= amount;
                        sums.least = sums.least.map(|least| least.min(sums.held));
                    }
                }
                2 => {
                    let result = world.write(PLACES[place], "bc.numfiles.barrier", &amount.to_string());
                    let fits = amount <= model[place].limit;
                    prop_assert_eq!(result.is_ok(), fits);
                    model[place].barrier = if fits { amount } else { model[place].barrier };
                }
                _ => {
                    let limit = amount * 2;
                    let result = world.write(PLACES[place], "bc.numfiles.limit", &limit.to_string());
                    let fits = limit >= model[place].barrier;
                    prop_assert_eq!(result.is_ok(), fits);
                    model[place].limit = if fits { limit } else { model[place].limit };
                }
            }
            for (path, sums) in PLACES.iter().zip(&model) {
                let shown = ["held", "maxheld", "minheld", "barrier", "limit", "failcnt"]
                    .map(|item| number(&world, path, &std::format!("numfiles.{item}")));
                let expected =
                    [sums.held, sums.most, sums.least.unwrap_or(0), sums.barrier, sums.limit, sums.failures];
                prop_assert_eq!(shown, expected, "{}", path);
            }
        }
    }
}

#[test]
fn the_container_that_a_child_is_born_into_pays_for_its_address_space() {
    let world = World::with("bc").mkdir("/a").mkdir("/b");
    let payer = world.payer_of_child(&world.spawn_in("/b"), "/a");
    payer.charge(Resource::PrivatePages, 3, Severity::Barrier).unwrap();
    let held = |path: &str| world.read(path, "bc.privvmpages.held");
    assert_eq!((held("/a"), held("/b")), ("3\n".into(), "0\n".into()));
    payer.uncharge(Resource::PrivatePages, 3);
}
