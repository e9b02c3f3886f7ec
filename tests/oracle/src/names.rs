//! The control files that are compared, in Linux's names for them, and what is written to them.

/// In which containers of a hierarchy a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In every one.
    All,
    /// In the root.
    Root,
    /// In all but the root.
    NotRoot,
}

/// What of a file's text is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    /// Every byte.
    Text,
    /// Which of our own tasks are listed.
    Tasks,
    /// All but the digits: it measures what takes its own time on each system.
    Shape,
    /// Nothing: it can't be read.
    Nothing,
}

/// A control file.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// With the subsystem and a dot before it.
    pub name: &'static str,
    /// Where it is.
    pub place: Place,
    /// What is compared.
    pub show: Show,
    /// What is written to it beside [`BAD`].
    pub values: &'static [&'static str],
}

const fn file(name: &'static str, place: Place, show: Show, values: &'static [&'static str]) -> Name {
    Name { name, place, show, values }
}

use Place::{All, NotRoot, Root};
use Show::{Nothing, Shape, Tasks, Text};

/// The subsystems that both systems have and that are compared, in the order of their indices.
pub const SUBSYSTEMS: &[&str] = &["cpuset", "cpu", "cpuacct", "memory", "devices", "freezer", "pids"];

const FLAG: &[&str] = &["0", "1", "1\n", "2", "0x1", "00", "+1", "17"];
const CPUS: &[&str] = &[
    "0-3", "0", "1", "0-1", "2-3", "1-2", "3", "0,2", "1,3", "0-3:1/2", "all", "N", "4", "0-4", "3-1", "0-", "1,", " ",
];
const MEMS: &[&str] = &["0-1", "0", "1", "0,1", "1-0", "0-1:1/2", "x", "-1", "0 1", " "];

/// Names of extended attributes; the last ones are nobody's.
pub const ATTRIBUTES: &[&str] =
    &["trusted.a", "trusted.b", "security.x", "user.a", "trusted.", "trusted", "system.a", "a", ""];

/// Nobody's values.
pub const BAD: &[&str] = &[
    "garbage",
    "-1",
    "1 2",
    "1x",
    "0x",
    "08",
    "2147483648",
    "1\x00002",
    "\u{e9}",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
];

/// So many of them, the first ones, are the same to who reads a signed number and to who reads an unsigned one.
pub const BAD_OF_BOTH_SIGNS: usize = 9;

/// All of them.
pub const FILES: &[Name] = &[
    file("cgroup.procs", All, Tasks, &[]),
    file("tasks", All, Tasks, &[]),
    file("notify_on_release", All, Text, FLAG),
    file("release_agent", Root, Text, &["/nothing", "/a b", "x\n", "relative", "\n"]),
    file("cgroup.clone_children", All, Text, FLAG),
    file("cgroup.sane_behavior", Root, Text, FLAG),
    file("cpuset.cpus", All, Text, CPUS),
    file("cpuset.mems", All, Text, MEMS),
    file("cpuset.effective_cpus", All, Text, CPUS),
    file("cpuset.effective_mems", All, Text, MEMS),
    file("cpuset.cpu_exclusive", All, Text, FLAG),
    file("cpuset.mem_exclusive", All, Text, FLAG),
    file("cpuset.mem_hardwall", All, Text, FLAG),
    file("cpuset.sched_load_balance", All, Text, FLAG),
    file("cpuset.sched_relax_domain_level", All, Text, &["-1", "0", "-1\n", "-2", "99"]),
    file("cpuset.memory_migrate", All, Text, FLAG),
    file("cpuset.memory_pressure", All, Shape, FLAG),
    file("cpuset.memory_spread_page", All, Text, FLAG),
    file("cpuset.memory_spread_slab", All, Text, FLAG),
    file("cpuset.memory_pressure_enabled", Root, Text, FLAG),
    file("cpuacct.usage", All, Shape, &["0", "0\n", "1"]),
    file("cpuacct.usage_user", All, Shape, FLAG),
    file("cpuacct.usage_sys", All, Shape, FLAG),
    file("cpuacct.usage_percpu", All, Shape, FLAG),
    file("cpuacct.usage_percpu_user", All, Shape, FLAG),
    file("cpuacct.usage_percpu_sys", All, Shape, FLAG),
    file("cpuacct.usage_all", All, Shape, FLAG),
    file("cpuacct.stat", All, Shape, FLAG),
    file("cpu.shares", All, Text, &["1024", "2", "1", "0", "512", "262144", "262145", "3000000000"]),
    file("cpu.idle", All, Text, &["0", "1", "2", "-1"]),
    // The least quota of the longest period would leave a task so little that everybody waits for it.
    file("cpu.cfs_quota_us", All, Text, &["-1", "50000", "100000", "200000", "20000", "999", "0", "-2", "1000000"]),
    file("cpu.cfs_period_us", All, Text, &["100000", "50000", "200000", "1000", "999", "1000000", "1000001"]),
    file("cpu.cfs_burst_us", All, Text, &["0", "1000", "50000", "200000"]),
    file("cpu.stat", All, Shape, FLAG),
    file("memory.usage_in_bytes", All, Shape, FLAG),
    file("memory.max_usage_in_bytes", All, Shape, FLAG),
    file("memory.limit_in_bytes", All, Text, BYTES),
    file("memory.soft_limit_in_bytes", NotRoot, Text, BYTES),
    file("memory.failcnt", All, Text, FLAG),
    file("memory.stat", All, Shape, FLAG),
    file("memory.force_empty", All, Nothing, FLAG),
    file("memory.use_hierarchy", All, Text, &["1", "0", "2", "1\n", "x"]),
    file("memory.swappiness", NotRoot, Text, &["0", "60", "100", "200", "201", "x"]),
    file("memory.move_charge_at_immigrate", NotRoot, Text, &["0", "1", "2", "3", "4"]),
    file("memory.oom_control", All, Text, &["0", "1", "2", "1\n"]),
    file("memory.numa_stat", All, Shape, FLAG),
    file("pids.max", NotRoot, Text, &["max", "100", "50", "max\n", "1", "2", "5", "0", "4194304", "4194305", "Max"]),
    file("pids.current", NotRoot, Text, FLAG),
    file("pids.peak", NotRoot, Text, FLAG),
    file("pids.events", NotRoot, Text, FLAG),
    file("freezer.state", NotRoot, Text, &["THAWED", "THAWED\n", "FREEZING", "thawed", "FROZEN x"]),
    file("freezer.self_freezing", NotRoot, Text, FLAG),
    file("freezer.parent_freezing", NotRoot, Text, FLAG),
    file("devices.allow", All, Nothing, DEVICES),
    file("devices.deny", All, Nothing, DEVICES),
    file("devices.list", All, Text, &["a"]),
];

const BYTES: &[&str] =
    &["0", "1", "4096", "5000", "20480", "1k", "3K", "1M", "1g", "2T", "-1", "-1\n", "-2", "1kb", "1 2", "x"];

const DEVICES: &[&str] = &[
    "a",
    "c 1:3 rwm",
    "c 1:3 r",
    "c 1:3 w",
    "c *:3 m",
    "c 1:* rw",
    "b 8:0 rwm",
    "b *:* r",
    "c 1:5 rwm",
    "c 1:3",
    "c 1 r",
    "x 1:3 r",
    "c 1:3 q",
    "a 1:3 r",
    "c 1:x r",
];

/// The subsystem of a file; `None` for the generic ones.
pub fn subsystem_of(name: &str) -> Option<&'static str> {
    let (subsystem, _) = name.split_once('.')?;
    ["cpuset", "cpuacct", "cpu", "memory", "devices", "freezer", "pids", "debug"]
        .into_iter()
        .find(|known| *known == subsystem)
}
