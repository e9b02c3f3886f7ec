//! Tests of the cpu controller with groups that only note what they are told.

use super::{
    Cpu, Groups,
    fake::{Told, limit_text, run, told},
    follow_machine,
};
use crate::world::World;
use base::{CpuId, Errno};
use container::Dialect;
use std::{string::String, vec::Vec};

fn groups(world: &World, path: &str) -> Groups {
    world.state::<Cpu, _>(path, |state| state.groups().unwrap())
}

fn outer(world: &World, path: &str) -> (u64, Told) {
    told(&*groups(world, path).outer)
}

fn rest(world: &World, path: &str) -> (u64, Told) {
    told(&*groups(world, path).rest)
}

fn errors(world: &World, path: &str, file: &str, texts: &[&str]) {
    for text in texts {
        assert_eq!(world.write(path, file, text), Err(Errno::EINVAL), "{file}: {text}");
    }
}

#[test]
fn shares_are_the_weight_of_the_group() {
    let world = World::with("cpu").mkdir("/a");
    assert_eq!((world.read("/a", "cpu.shares"), world.read("/", "cpu.shares")), ("1024\n".into(), "1024\n".into()));
    for (text, shown) in [("2048", 2048), ("0", 2), ("999999999", 262_144)] {
        world.write("/a", "cpu.shares", text).unwrap();
        assert_eq!((world.read("/a", "cpu.shares"), outer(&world, "/a").1.weight), (std::format!("{shown}\n"), shown));
    }
    errors(&world, "/a", "cpu.shares", &["-1", "x"]);
    errors(&world, "/", "cpu.shares", &["512"]);
    errors(&world, "/", "cpu.idle", &["1"]);
}

#[test]
fn an_idle_container_weighs_three_until_it_is_no_longer() {
    let world = World::with("cpu").mkdir("/a");
    world.write("/a", "cpu.shares", "77").unwrap();
    world.write("/a", "cpu.idle", "1").unwrap();
    assert_eq!((outer(&world, "/a").1.weight, outer(&world, "/a").1.idle), (3, true));
    errors(&world, "/a", "cpu.shares", &["512"]);
    errors(&world, "/a", "cpu.idle", &["2", "-1", "yes"]);
    world.write("/a", "cpu.idle", "0").unwrap();
    assert_eq!(world.read("/a", "cpu.shares"), "1024\n");
    assert!(!outer(&world, "/a").1.idle);
}

#[test]
fn tasks_are_put_where_they_are_moved_and_born() {
    let world = World::with("cpu").mkdir("/a");
    let task = world.spawn_in("/a");
    assert_eq!(*task.group.lock().unwrap(), rest(&world, "/a").0);
    let child = world.fork(&task).unwrap();
    assert_eq!(*child.group.lock().unwrap(), rest(&world, "/a").0);
    world.attach("/", &task).unwrap();
    assert_eq!(*task.group.lock().unwrap(), 1);
    assert_eq!(outer(&world, "/a").1.parent, 1);
}

#[test]
fn quota_period_and_burst_are_checked_and_told() {
    let world = World::with("cpu").mkdir("/a").mkdir("/a/b").mkdir("/a/b/c");
    assert_eq!(world.read("/a", "cpu.cfs_quota_us"), "-1\n");
    errors(&world, "/a", "cpu.cfs_quota_us", &["999", "0", "x", "17592186044416"]);
    errors(&world, "/a", "cpu.cfs_period_us", &["999", "1000001", "-5"]);
    errors(&world, "/", "cpu.cfs_quota_us", &["5000", "-1"]);
    errors(&world, "/", "cpu.cfs_period_us", &["5000"]);
    errors(&world, "/a", "cpu.cfs_burst_us", &["18446744073709552", "18446744073709551615"]);
    world.write("/a", "cpu.cfs_quota_us", "50000").unwrap();
    errors(&world, "/a", "cpu.cfs_burst_us", &["50001"]);
    world.write("/a", "cpu.cfs_burst_us", "20000").unwrap();
    errors(&world, "/a", "cpu.cfs_quota_us", &["19999"]);
    assert_eq!(limit_text(&outer(&world, "/a").1), "50000/100000+20000");
    // No container grants more than the nearest one above that has a quota, however deep.
    errors(&world, "/a/b/c", "cpu.cfs_quota_us", &["50001"]);
    world.write("/a/b/c", "cpu.cfs_quota_us", "40000").unwrap();
    errors(&world, "/a/b/c", "cpu.cfs_period_us", &["79999"]);
    errors(&world, "/a", "cpu.cfs_quota_us", &["39999"]);
    errors(&world, "/a/b", "cpu.cfs_quota_us", &["39999", "50001"]);
    world.write("/a", "cpu.cfs_quota_us", "-7").unwrap();
    assert_eq!(
        (world.read("/a", "cpu.cfs_quota_us"), limit_text(&outer(&world, "/a").1)),
        ("-1\n".into(), "none".into())
    );
    let stat = "nr_periods 3\nnr_throttled 2\nthrottled_time 500\nnr_bursts 1\nburst_time 9\n";
    assert_eq!(world.read("/a", "cpu.stat"), stat);
    errors(&world, "/a", "cpu.stat", &["0"]);
}

#[test]
fn each_dialect_has_its_own_files() {
    let names = ["shares", "idle", "cfs_quota_us", "cfs_period_us", "cfs_burst_us", "stat", "stats"];
    let there = |dialect| -> Vec<&str> {
        let world = World::of_dialect(dialect, "cpu").mkdir("/a");
        names.into_iter().filter(|name| world.has_file("/a", &std::format!("cpu.{name}"))).collect()
    };
    assert_eq!(there(Dialect::Cgroup), names[..6]);
    assert_eq!(there(Dialect::Container), ["shares", "stats"]);
}

#[test]
fn a_guarantee_is_a_place_beside_the_rest() {
    let world = World::of_dialect(Dialect::Container, "cpu").mkdir("/p").mkdir("/p/a").mkdir("/p/b").mkdir("/p/c");
    let (p_outer, p_rest) = (outer(&world, "/p").0, rest(&world, "/p").0);
    world.write("/p/a", "cpu.shares", "min_shares=30").unwrap();
    assert_eq!(world.read("/p/a", "cpu.shares"), "res=cpu,min_shares=30,max_shares=-3,child_shares_divisor=100\n");
    world.write("/p/b", "cpu.shares", "res=cpu,min_shares=20,max_shares=50").unwrap();
    let placed = |path| -> (u64, u32) { (outer(&world, path).1.parent, outer(&world, path).1.weight) };
    assert_eq!((placed("/p/a"), placed("/p/b")), ((p_outer, 30_720), (p_outer, 20_480)));
    assert_eq!((placed("/p/c"), rest(&world, "/p").1.weight), ((p_rest, 1024), 51_200));
    // The guarantee of a container that is removed is free again.
    world.rmdir("/p/a").unwrap();
    assert_eq!(rest(&world, "/p").1.weight, 81_920);
    world.write("/p/b", "cpu.shares", "min_shares=0").unwrap();
    assert_eq!((placed("/p/b"), rest(&world, "/p").1.weight), ((p_rest, 1024), 1024));
}

#[test]
fn a_cap_is_a_quota_of_the_whole_machine() {
    let world = World::of_dialect(Dialect::Container, "cpu").mkdir("/a").mkdir("/a/b");
    let cpus = machine::cpu::online().count() as u64;
    let limit = |path: &str| -> String { limit_text(&outer(&world, path).1) };
    world.write("/a", "cpu.shares", "max_shares=50").unwrap();
    assert_eq!(limit("/a"), std::format!("{}/100000+0", 50_000 * cpus));
    world.write("/a/b", "cpu.shares", "max_shares=10").unwrap();
    assert_eq!(limit("/a/b"), std::format!("{}/100000+0", 5_000 * cpus));
    world.write("/a/b", "cpu.shares", "max_shares=0").unwrap();
    assert_eq!(limit("/a/b"), "1000/100000+0");
    world.write("/a", "cpu.shares", "max_shares=100").unwrap();
    assert_eq!(limit("/a"), "none");
    let stats = "cpu: Usage 7\ncpu: Number of periods 3\ncpu: Number of throttled periods 2\ncpu: Throttled time 500\n";
    assert_eq!(world.read("/a", "cpu.stats"), stats);
    errors(&world, "/a", "cpu.stats", &["reset"]);
    world.write("/a", "cpu.stats", "res=cpu").unwrap();
    assert!(world.read("/a", "cpu.stats").starts_with("cpu: Usage 0\ncpu: Number of periods 0\n"));
}

/// Fails on a version that looks at what was at the last reset after it has looked at what is.
#[test]
fn who_reads_stats_during_a_reset_sees_no_less_than_nothing() {
    let world = World::of_dialect(Dialect::Container, "cpu").mkdir("/a");
    run(&*groups(&world, "/a").outer, 1000);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..5000).for_each(|_| world.write("/a", "cpu.stats", "res=cpu").unwrap()));
        for _ in 0..5000 {
            let text = world.read("/a", "cpu.stats");
            let usage: u64 = text.lines().next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
            assert!(usage <= 10_000 * 1000, "{text}");
        }
    });
}

#[test]
fn a_cap_follows_the_cpus_that_are_online() {
    let world = World::of_dialect(Dialect::Container, "cpu").mkdir("/a").mkdir("/a/b").mkdir("/c");
    let limits = || ["/a", "/a/b", "/c"].map(|path| limit_text(&outer(&world, path).1));
    world.write("/a", "cpu.shares", "max_shares=50").unwrap();
    world.write("/a/b", "cpu.shares", "max_shares=10").unwrap();
    let before = limits();
    machine::cpu::withdraw(CpuId::new(3));
    follow_machine(world.framework());
    let during = limits();
    machine::host::set_cpu(CpuId::new(3));
    machine::cpu::unpark(&machine::interrupts::off());
    machine::host::set_cpu(CpuId::new(0));
    follow_machine(world.framework());
    assert_eq!(before, ["200000/100000+0", "20000/100000+0", "none"]);
    assert_eq!(during, ["150000/100000+0", "15000/100000+0", "none"]);
    assert_eq!(limits(), before);
}

#[test]
fn quotas_stay_when_cpus_come_and_go() {
    let world = World::with("cpu").mkdir("/a");
    world.write("/a", "cpu.cfs_quota_us", "50000").unwrap();
    follow_machine(world.framework());
    assert_eq!(limit_text(&outer(&world, "/a").1), "50000/100000+0");
}
