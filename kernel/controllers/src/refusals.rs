//! Every wrong thing that the sections of the controllers name, in both dialects: its errno, and that nothing changed.

use crate::world::World;
use base::CpuId;
use base::Errno::{self, EACCES, EAGAIN, EBUSY, EINVAL, ENOSPC, EOVERFLOW, EPERM, ERANGE};
use container::Dialect::{self, Cgroup, Container};
use std::string::{String, ToString};
use std::vec::Vec;

const BOTH: &[Dialect] = &[Container, Cgroup];

/// The file's name in the dialect.
fn named(dialect: Dialect, file: &str) -> String {
    let bare = file.strip_prefix("cpuset.").filter(|_| dialect == Container);
    bare.unwrap_or(file).to_string()
}

/// In a tree of `/a`, `/a/b` and `/c` with the subsystem, after the writes `before` (path, file, text), each of the texts
/// is refused by the file and changes nothing that it shows.
fn refused(dialects: &[Dialect], before: &[(&str, &str, &str)], path: &str, file: &str, refusals: &[(&str, Errno)]) {
    let (subsystem, _) = file.split_once('.').unwrap();
    for &dialect in dialects {
        let world = World::of_dialect(dialect, subsystem).mkdir("/a").mkdir("/a/b").mkdir("/c");
        for (path, file, text) in before {
            let written = world.write(path, &named(dialect, file), text);
            assert_eq!(written, Ok(()), "{dialect:?} {path} {file} {text}");
        }
        refused_in(&world, dialect, path, file, refusals);
    }
}

fn refused_in(world: &World, dialect: Dialect, path: &str, file: &str, refusals: &[(&str, Errno)]) {
    let name = named(dialect, file);
    let shown = || world.try_read(path, &name);
    for (text, errno) in refusals {
        let was = shown();
        assert_eq!(world.write(path, &name, text), Err(*errno), "{dialect:?} {path} {name} {text}");
        assert_eq!(shown(), was, "{dialect:?} {path} {name} {text}");
    }
}

/// No text is right for a file that only shows.
fn only_shown(dialects: &[Dialect], path: &str, files: &[&str]) {
    for file in files {
        refused(dialects, &[], path, file, &[("0", EINVAL), ("1", EINVAL), ("x", EINVAL)]);
    }
}

const NO_FLAG: &[(&str, Errno)] = &[("x", EINVAL), ("-1", EINVAL), ("1 0", EINVAL), ("18446744073709551616", ERANGE)];

/// Sections 10.1 to 10.3.
#[test]
fn wrong_sets_and_flags_of_cpuset() {
    let wide: &[_] = &[("/a", "cpuset.cpus", "0-3"), ("/a", "cpuset.mems", "0-1")];
    for (set, last) in [("cpuset.cpus", "4"), ("cpuset.mems", "2")] {
        // Row 1 comes before what the text says.
        refused(BOTH, &[], "/", set, &[("0", EACCES), ("x", EACCES)]);
        let lists = ["x", "0-", "-1", "1-0", "0-1:1/0", "0-1:3/2", "0;1", "0-1:1"].map(|text| (text, EINVAL));
        refused(BOTH, wide, "/a", set, &lists);
        refused(BOTH, wide, "/a", set, &[(last, ERANGE), ("0,4294967296", EOVERFLOW)]);
        let children: &[_] = &[wide, &[("/a/b", set, "0-1")]].concat();
        refused(BOTH, children, "/a", set, &[("0", EBUSY), (" ", EBUSY)]);
        refused(BOTH, &[("/a", set, "0")], "/a/b", set, &[("1", EACCES), ("0-1", EACCES)]);
    }
    machine::cpu::withdraw(CpuId::new(3));
    refused(BOTH, &[], "/a", "cpuset.cpus", &[("3", EINVAL), ("0-3", EINVAL)]);
    machine::host::set_cpu(CpuId::new(3));
    machine::cpu::unpark(&machine::interrupts::off());
    machine::host::set_cpu(CpuId::new(0));
    for (set, flag) in [("cpuset.cpus", "cpuset.cpu_exclusive"), ("cpuset.mems", "cpuset.mem_exclusive")] {
        let both_exclusive: &[_] = &[("/a", set, "0-1"), ("/a/b", set, "0"), ("/a", flag, "1"), ("/a/b", flag, "1")];
        refused(BOTH, both_exclusive, "/a", flag, &[("0", EBUSY)]);
        refused(BOTH, &[("/a", set, "0-1"), ("/a/b", set, "0")], "/a/b", flag, &[("1", EACCES)]);
        refused(BOTH, &[("/a", set, "0-1"), ("/c", set, "1")], "/a", flag, &[("1", EINVAL)]);
        refused(BOTH, &[("/a", set, "0"), ("/a", flag, "1")], "/c", set, &[("0", EINVAL), ("0-1", EINVAL)]);
    }
    for flag in ["cpu_exclusive", "mem_exclusive", "mem_hardwall", "sched_load_balance", "memory_migrate"] {
        refused(BOTH, wide, "/a", &["cpuset.", flag].concat(), NO_FLAG);
    }
    refused(BOTH, wide, "/a", "cpuset.memory_spread_page", NO_FLAG);
    refused(BOTH, wide, "/a", "cpuset.memory_spread_slab", NO_FLAG);
    refused(BOTH, wide, "/", "cpuset.memory_pressure_enabled", NO_FLAG);
    let levels = [("-2", EINVAL), ("6", EINVAL), ("x", EINVAL), ("9223372036854775808", ERANGE)];
    refused(BOTH, wide, "/a", "cpuset.sched_relax_domain_level", &levels);
    only_shown(BOTH, "/a", &["cpuset.effective_cpus", "cpuset.effective_mems", "cpuset.memory_pressure"]);
}

/// Section 10.3, row 8, and 10.4.
#[test]
fn wrong_moves_into_cpusets() {
    for &dialect in BOTH {
        let world = World::of_dialect(dialect, "cpuset").mkdir("/a");
        let write = |file: &str, text: &str| world.write("/a", &named(dialect, file), text);
        let task = world.spawn_in("/");
        assert_eq!(world.attach("/a", &task), Err(ENOSPC), "{dialect:?}");
        write("cpuset.cpus", "0").unwrap();
        assert_eq!(world.attach("/a", &task), Err(ENOSPC), "{dialect:?}: no nodes");
        write("cpuset.mems", "0").unwrap();
        let weak = world.spawn_in("/");
        weak.lose_capabilities();
        assert_eq!(world.attach_as(&weak, "/a", &task), Err(EPERM), "{dialect:?}");
        assert_eq!(task.cpus(), "0-3");
        world.attach("/a", &task).unwrap();
        refused_in(&world, dialect, "/a", "cpuset.cpus", &[(" ", ENOSPC)]);
        refused_in(&world, dialect, "/a", "cpuset.mems", &[(" ", ENOSPC)]);
    }
}

/// Section 11.
#[test]
fn wrong_writes_to_cpuacct() {
    refused(BOTH, &[], "/a", "cpuacct.usage", &[("1", EINVAL), ("x", EINVAL), ("-1", EINVAL)]);
    let files =
        ["user", "sys", "percpu", "percpu_user", "percpu_sys", "all"].map(|part| ["cpuacct.usage_", part].concat());
    only_shown(BOTH, "/a", &files.each_ref().map(String::as_str));
    only_shown(BOTH, "/a", &["cpuacct.stat", "cpuacct.load"]);
}

const NO_COUNT: &[(&str, Errno)] =
    &[("x", EINVAL), ("-1", EINVAL), ("Max", EINVAL), ("4194305", EINVAL), ("18446744073709551616", ERANGE)];

/// Sections 12 and 13.
#[test]
fn wrong_limits_of_tasks_and_forks_over_them() {
    refused(BOTH, &[("/a", "numtasks.limit", "3")], "/a", "numtasks.limit", NO_COUNT);
    refused(BOTH, &[("/a", "pids.max", "3")], "/a", "pids.max", NO_COUNT);
    only_shown(BOTH, "/a", &["numtasks.current", "numtasks.peak", "pids.current", "pids.peak", "pids.events"]);
    refused(BOTH, &[], "/a", "numtasks.stats", &[("x", EINVAL), ("min_shares=1", EINVAL)]);
    for &dialect in BOTH {
        for (subsystem, file) in [("numtasks", "numtasks.limit"), ("pids", "pids.max"), ("bc", "bc.numtasks.barrier")] {
            let world = World::of_dialect(dialect, subsystem).mkdir("/a").mkdir("/a/b");
            let task = world.spawn_in("/a/b");
            // That of any level holds.
            world.write("/a", file, "1").unwrap();
            assert_eq!(world.fork(&task).err(), Some(EAGAIN), "{dialect:?} {file}");
        }
    }
}

/// Section 12, the settings of the module.
#[test]
fn wrong_settings_of_numtasks() {
    let world = World::with("numtasks");
    for name in ["total_numtasks", "forkrate", "forkrate_interval"] {
        let was = world.parameter(name);
        for text in ["0", "-1", "x", "", "2147483648", "18446744073709551616"] {
            assert_eq!(world.set_parameter(name, text), Err(EINVAL), "{name} {text}");
            assert_eq!(world.parameter(name), was, "{name} {text}");
        }
    }
    let _second = world.spawn_in("/");
    assert_eq!(world.set_parameter("total_numtasks", "2"), Err(EINVAL), "so many there are");
    assert_eq!(world.set_parameter("total_numtasks", "3"), Ok(()));
}

/// Section 14.2.
#[test]
fn wrong_shares() {
    let numtasks = (BOTH, "numtasks.shares");
    let cpu = (&[Container][..], "cpu.shares");
    for (dialects, file) in [numtasks, cpu] {
        let texts = [
            "shares=1",
            "min_shares",
            "min_shares=x",
            "min_shares=+1",
            "min_shares=2147483648",
            "res=a,res=b",
            "min_shares=-2",
            "max_shares=-4",
            "child_shares_divisor=-3",
            "min_shares=20,max_shares=10",
            "max_shares=101",
            "min_shares=41",
            // All keys of a write together, or none.
            "child_shares_divisor=50,min_shares=-2",
        ];
        let refusals: Vec<_> = texts.into_iter().map(|text| (text, EINVAL)).collect();
        let before = [("/c", file, "min_shares=60"), ("/a/b", file, "min_shares=30,max_shares=70")];
        refused(dialects, &before, "/a", file, &refusals);
        let divisors = [("child_shares_divisor=29", EINVAL), ("child_shares_divisor=69", EINVAL)];
        refused(dialects, &before, "/a", file, &divisors);
    }
    refused(&[Container], &[], "/a", "cpu.stats", &[("x", EINVAL), ("min_shares=1", EINVAL)]);
}

/// Section 15.1: these files are the cgroup dialect's alone.
#[test]
fn wrong_weights_and_bandwidths() {
    let cgroup = &[Cgroup];
    let quota = &[("/a", "cpu.cfs_quota_us", "50000"), ("/a/b", "cpu.cfs_quota_us", "40000")];
    let no_number = &[("x", EINVAL), ("1 2", EINVAL)];
    for file in ["cpu.shares", "cpu.idle", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us"] {
        refused(cgroup, quota, "/a", file, no_number);
        refused(cgroup, &[], "/", file, &[("1", EINVAL), ("0", EINVAL), ("100000", EINVAL)]);
    }
    refused(cgroup, &[], "/a", "cpu.shares", &[("-1", EINVAL), ("18446744073709551616", ERANGE)]);
    refused(cgroup, &[("/a", "cpu.idle", "1")], "/a", "cpu.shares", &[("1024", EINVAL)]);
    refused(cgroup, &[], "/a", "cpu.idle", &[("2", EINVAL), ("-1", EINVAL)]);
    refused(cgroup, quota, "/a", "cpu.cfs_quota_us", &[("999", EINVAL), ("0", EINVAL), ("39999", EINVAL)]);
    refused(cgroup, quota, "/a/b", "cpu.cfs_quota_us", &[("50001", EINVAL)]);
    refused(cgroup, quota, "/a/b", "cpu.cfs_period_us", &[("79999", EINVAL), ("999", EINVAL), ("1000001", EINVAL)]);
    refused(cgroup, quota, "/a", "cpu.cfs_burst_us", &[("50001", EINVAL), ("-1", EINVAL)]);
    only_shown(cgroup, "/a", &["cpu.stat"]);
}

/// Section 16.
#[test]
fn wrong_writes_to_memory() {
    let no_bytes = [("x", EINVAL), ("-2", EINVAL), ("1kb", EINVAL), ("1 2", EINVAL), ("0x10", EINVAL)];
    for file in ["memory.limit_in_bytes", "memory.soft_limit_in_bytes"] {
        refused(BOTH, &[("/a", file, "1M")], "/a", file, &no_bytes);
    }
    for file in ["memory.limit_in_bytes", "memory.force_empty", "memory.oom_control"] {
        refused(BOTH, &[], "/", file, &[("1", EINVAL), ("0", EINVAL)]);
    }
    refused(BOTH, &[], "/a", "memory.use_hierarchy", &[("0", EINVAL), ("2", EINVAL), ("x", EINVAL)]);
    refused(BOTH, &[], "/a", "memory.swappiness", &[("201", EINVAL), ("-1", EINVAL), ("x", EINVAL)]);
    refused(BOTH, &[], "/a", "memory.move_charge_at_immigrate", &[("4", EINVAL), ("-1", EINVAL), ("x", EINVAL)]);
    refused(BOTH, &[], "/a", "memory.oom_control", &[("2", EINVAL), ("-1", EINVAL), ("x", EINVAL)]);
    only_shown(BOTH, "/a", &["memory.usage_in_bytes", "memory.stat", "memory.numa_stat"]);
}

/// Section 17.
#[test]
fn wrong_states_of_freezer() {
    let words = ["FREEZING", "frozen", "FROZEN x", "1", "THAWEDFROZEN"].map(|text| (text, EINVAL));
    refused(BOTH, &[("/a", "freezer.state", "FROZEN")], "/a", "freezer.state", &words);
    only_shown(BOTH, "/a", &["freezer.self_freezing", "freezer.parent_freezing"]);
}

/// Section 18.
#[test]
fn wrong_rules_of_devices() {
    let texts = ["c", "c 1:3", "c 1:3 ", "c 1 r", "c 1:x r", "d 1:3 r", "c 1:3 q", "c 1:3 rwmr", "c1:3 r", "c -1:3 r"];
    let refusals = texts.map(|text| (text, EINVAL));
    for file in ["devices.allow", "devices.deny"] {
        refused(BOTH, &[("/c", "devices.deny", "a")], "/c", file, &refusals);
        // With containers below, nobody changes what all is measured by.
        refused(BOTH, &[], "/a", file, &[("a", EINVAL)]);
    }
    // What the parent has not.
    let denied = &[("/a/b", "devices.deny", "a"), ("/a", "devices.deny", "c 1:3 rwm")];
    refused(BOTH, denied, "/a/b", "devices.allow", &[("c 1:3 r", EPERM), ("c 1:* r", EPERM)]);
    only_shown(BOTH, "/a", &["devices.list"]);
    for &dialect in BOTH {
        let world = World::of_dialect(dialect, "devices").mkdir("/a");
        let weak = world.spawn_in("/");
        weak.lose_capabilities();
        for (file, text) in [("devices.allow", "c 1:3 r"), ("devices.deny", "a"), ("devices.deny", "garbage")] {
            assert_eq!(world.write_as(&weak, "/a", file, text), Err(EPERM), "{dialect:?} {file} {text}");
        }
        assert_eq!(world.read("/a", "devices.list"), "a *:* rwm\n");
        // All devices, below a parent that denies them.
        world.write("/a", "devices.deny", "a").unwrap();
        let world = world.mkdir("/a/b");
        refused_in(&world, dialect, "/a/b", "devices.allow", &[("a", EPERM)]);
    }
}

/// Section 19.1.
#[test]
fn wrong_bounds_of_bc() {
    let before = &[("/a", "bc.numfiles.barrier", "20"), ("/a", "bc.numfiles.limit", "30")];
    let wrong = [("x", EINVAL), ("-1", EINVAL), ("9223372036854775808", EINVAL), ("18446744073709551616", ERANGE)];
    for (file, crossing) in [("bc.numfiles.barrier", "31"), ("bc.numfiles.limit", "19")] {
        refused(BOTH, before, "/a", file, &wrong);
        refused(BOTH, before, "/a", file, &[(crossing, EINVAL)]);
    }
    for item in ["held", "maxheld", "minheld", "failcnt"] {
        only_shown(BOTH, "/a", &[&["bc.numfiles.", item].concat()]);
    }
    only_shown(BOTH, "/a", &["bc.id"]);
}

/// Section 20.
#[test]
fn debug_only_shows() {
    only_shown(BOTH, "/a", &["debug.taskcount", "debug.cgroup_refcount", "debug.releasable"]);
    only_shown(BOTH, "/", &["debug.current_css_set", "debug.current_css_set_refcount", "debug.callbacks"]);
}
