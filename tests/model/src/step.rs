//! What the test does: steps, how they are made up, and how one is done to both.

use crate::real::Real;
use crate::reference::{Dialect, FIRST, KERNEL_THREAD, Kind, Model, RESOURCES, Rights, Rule, SUBSYSTEMS, Writer};
use base::{Errno, charge::Severity};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// One step. Numbers choose among what there is.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Step {
    /// Mounts.
    Mount { container_dialect: bool, data: String, rights: Rights },
    /// Remounts a mount.
    Remount { which: usize, data: String, rights: Rights },
    /// Takes a mount away.
    Umount { which: usize },
    /// Makes a container.
    Mkdir { parent: usize, name: Vec<u8> },
    /// Removes one.
    Rmdir { container: usize, wrong: Option<Vec<u8>> },
    /// Renames one, if `elsewhere` chooses so to another parent.
    Rename { container: usize, elsewhere: Option<usize>, name: Vec<u8> },
    /// Writes to a file.
    Write { container: usize, file: usize, value: usize, by: usize, opener: Rights },
    /// Moves a task, or tries to.
    Move { container: usize, whole: bool, task: Mover, by: usize, opener: Rights },
    /// Makes a task.
    Fork { parent: usize, thread: bool, rights: Rights },
    /// Ends one.
    Exit { task: usize },
    /// Reaps a zombie.
    Reap { task: usize },
    /// Lets a task run.
    Charge { task: usize, cpu: usize, user: u64, system: u64 },
    /// A task comes to a point where it can stand still.
    Settle { task: usize },
    /// A task wants something of a device.
    Device { task: usize, kind: u8, major: u32, minor: u32, access: &'static str },
    /// A task touches pages.
    Touch { task: usize, kind: Kind, node: usize, count: usize },
    /// Pages are freed.
    Free { which: usize, count: usize },
    /// The kernel spends something for a task.
    Spend { task: usize, resource: usize, amount: u64, severity: Severity },
    /// It gets it back.
    GiveBack { which: usize },
    /// The last file of a removed container is closed.
    Forget { which: usize },
}

/// Who is to be moved.
#[derive(Clone, Debug)]
pub enum Mover {
    /// One that there is.
    Task(usize),
    /// The writer.
    Writer,
    /// A kernel thread.
    KernelThread,
    /// Something else.
    Text(&'static str),
}

const NAMES: &[&[u8]] = &[b"a", b"b", b"c", b"d", b"tasks", b"new\nline", b"a b", b"cpus"];

/// What is written to files that are not written tasks.
const VALUES: &[&str] = &[
    "0",
    "1",
    "2",
    "1\n",
    " 1 ",
    "0x1",
    "01",
    "08",
    "+1",
    "-1",
    "-2",
    "6",
    "",
    " ",
    "garbage",
    "1 2",
    "1\0x",
    "max",
    "4194304",
    "4194305",
    "99999999999",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "/agent",
    "/a b,c",
];

/// What files of this name take, good and bad.
fn values_of(file: &str) -> &'static [&'static str] {
    const SETS: &[&str] =
        &["0", "1", "3", "0-3", "0-1", "2-3", "1,3", "all", "N", "0-3:1/2", "4", "3-1", "0-", "99999999999", " "];
    const COUNTS: &[&str] = &["max", "0", "1", "2", "3", "5", "8", "Max"];
    const SHARES: &[&str] = &[
        "min_shares=10",
        "max_shares=50",
        "min_shares=-3,max_shares=-3",
        "child_shares_divisor=10",
        "res=numtasks",
        "res=x,res=y",
        "min_shares=60,max_shares=20",
        "min_shares=-2",
        "max_shares=1,child_shares_divisor=1000",
        "min_shares=1,,",
    ];
    const CPU_SHARES: &[&str] = &[
        "1",
        "512",
        "262145",
        "min_shares=20",
        "max_shares=50,res=cpu",
        "min_shares=-3",
        "child_shares_divisor=30",
        "min_shares=60,max_shares=20",
    ];
    const TIMES: &[&str] = &[
        "-1",
        "0",
        "999",
        "1000",
        "20000",
        "50000",
        "100000",
        "200000",
        "1000000",
        "1000001",
        "17592186044415",
        "18446744073709551",
        "18446744073709552",
    ];
    const DEVICES: &[&str] = &[
        "a",
        "all",
        "c 1:3 rwm",
        "c 1:3 r",
        "c 1:3 wr",
        "c 1:* rw",
        "c *:3 m",
        "b 8:0 rwm",
        "b *:* r",
        "c *:* rwm",
        "c 1:5 rwmr",
        "c 1:3",
        "c  1:3 r",
        "b 8:x r",
    ];
    const BYTES: &[&str] = &["0", "4096", "8192", "20480", "3k", "1M", "16E", "4095", "-1", "-2", "1kb", "M", "40960"];
    const BOUNDS: &[&str] = &["0", "1", "2", "3", "50", "100", "300", "9223372036854775807", "9223372036854775808"];
    const MEMORY: &[&str] = &["50000", "100000", "300000", "500000", "9223372036854775807"];
    match file.rsplit('.').next().unwrap_or(file) {
        "cpus" | "mems" => SETS,
        "shares" if file.starts_with("cpu.") => CPU_SHARES,
        "cfs_quota_us" | "cfs_period_us" | "cfs_burst_us" => TIMES,
        "state" => &["FROZEN", "THAWED", "FROZEN\n", "thawed"],
        "allow" | "deny" => DEVICES,
        "shares" | "stats" => SHARES,
        "barrier" | "limit" if file.starts_with("bc.kmemsize") => MEMORY,
        "barrier" | "limit" if file.starts_with("bc.") => BOUNDS,
        "max" | "limit" => COUNTS,
        "swappiness" => &["0", "60", "200", "201"],
        name if name.ends_with("in_bytes") => BYTES,
        _ => VALUES,
    }
}

const BAD_DATA: &[&str] = &[
    "all,cpuset",
    "none",
    "none,cpuset,name=x",
    "none,all,name=x",
    "name=",
    "name=x,name=y",
    "name=a b",
    "noprefix",
    "noprefix,numtasks",
    "release_agent=",
    "unknown",
    "Cpuset",
    "all=1",
    "name",
    "name=z",
    "cpuset,,",
    "cpuset_v2_mode",
    "release_agent=/a,release_agent=/b",
];

fn any_rights() -> impl Strategy<Value = Rights> {
    prop_oneof![8 => Just(Rights::All), 1 => Just(Rights::OnlyTheNumber), 1 => Just(Rights::User)]
}

fn any_data() -> impl Strategy<Value = String> {
    let names = SUBSYSTEMS.iter().map(|&(_, name)| name).collect::<Vec<_>>();
    let set = proptest::sample::subsequence(names, 0..=4).prop_shuffle();
    let options =
        vec!["name=x", "name=y", "noprefix", "xattr", "clone_children", "auto_remove", "release_agent=/agent"];
    let few = proptest::sample::subsequence(options, 0..=2);
    let made = (set, few).prop_map(|(set, few)| [set, few].concat().join(","));
    let named = proptest::sample::select(vec!["x", "y", "v"]).prop_map(|name| format!("none,name={name}"));
    prop_oneof![
        6 => proptest::sample::select(vec![
            "cpuset",
            "numtasks",
            "cpuacct",
            "cpuset,numtasks",
            "cpuacct,numtasks",
            "cpu",
            "cpu,cpuacct",
            "pids,freezer",
            "devices",
            "memory",
            "bc",
            "memory,bc,debug",
            "pids,numtasks,bc",
            "freezer,devices",
            "debug",
            "all",
        ])
            .prop_map(str::to_owned),
        6 => made,
        1 => named,
        1 => proptest::sample::select(BAD_DATA).prop_map(str::to_owned)
    ]
}

/// What is counted or forbidden.
fn any_use() -> impl Strategy<Value = Step> {
    let index = || 0..64_usize;
    let access = proptest::sample::select(vec!["r", "w", "m", "rw", "rwm"]);
    let kind = proptest::sample::select(vec![Kind::Anonymous, Kind::Cache, Kind::Shared]);
    let severity = proptest::sample::select(vec![Severity::Barrier, Severity::Limit, Severity::Force]);
    prop_oneof![
        4 => index().prop_map(|task| Step::Settle { task }),
        4 => (index(), proptest::sample::select(vec![(b'c', 1, 3), (b'c', 1, 5), (b'b', 8, 0)]), access)
            .prop_map(|(task, (kind, major, minor), access)| Step::Device { task, kind, major, minor, access }),
        5 => (index(), kind, 0..2_usize, 1..6_usize)
            .prop_map(|(task, kind, node, count)| Step::Touch { task, kind, node, count }),
        3 => (index(), 1..6_usize).prop_map(|(which, count)| Step::Free { which, count }),
        5 => (index(), 0..RESOURCES.len(), 1..200_u64, severity)
            .prop_map(|(task, resource, amount, severity)| Step::Spend { task, resource, amount, severity }),
        4 => index().prop_map(|which| Step::GiveBack { which }),
        4 => index().prop_map(|which| Step::Forget { which }),
    ]
}

/// Any step, more often such as do something.
pub fn any_step() -> impl Strategy<Value = Step> {
    let index = || 0..64_usize;
    let name = || {
        prop_oneof![
            20 => proptest::sample::select(&NAMES[..4]).prop_map(<[u8]>::to_vec),
            4 => proptest::sample::select(NAMES).prop_map(<[u8]>::to_vec),
            1 => (255..=256_usize).prop_map(|length| vec![b'l'; length]),
        ]
    };
    let mover = prop_oneof![
        20 => index().prop_map(Mover::Task),
        2 => Just(Mover::Writer),
        1 => Just(Mover::KernelThread),
        2 => proptest::sample::select(vec!["999", "-1", "x", "2147483648", "1 2", "", " "]).prop_map(Mover::Text),
    ];
    prop_oneof![
        4 => (any::<bool>(), any_data(), any_rights())
            .prop_map(|(container_dialect, data, rights)| Step::Mount { container_dialect, data, rights }),
        1 => (index(), any_data(), any_rights()).prop_map(|(which, data, rights)| Step::Remount { which, data, rights }),
        2 => index().prop_map(|which| Step::Umount { which }),
        8 => (index(), name()).prop_map(|(parent, name)| Step::Mkdir { parent, name }),
        4 => (index(), proptest::option::weighted(0.1, name()))
            .prop_map(|(container, wrong)| Step::Rmdir { container, wrong }),
        2 => (index(), proptest::option::weighted(0.1, index()), name())
            .prop_map(|(container, elsewhere, name)| Step::Rename { container, elsewhere, name }),
        24 => (index(), 0..150_usize, 0..256_usize, index(), any_rights())
            .prop_map(|(container, file, value, by, opener)| Step::Write { container, file, value, by, opener }),
        12 => (index(), any::<bool>(), mover, index(), any_rights())
            .prop_map(|(container, whole, task, by, opener)| Step::Move { container, whole, task, by, opener }),
        8 => (index(), any::<bool>(), any_rights())
            .prop_map(|(parent, thread, rights)| Step::Fork { parent, thread, rights }),
        5 => index().prop_map(|task| Step::Exit { task }),
        4 => index().prop_map(|task| Step::Reap { task }),
        3 => (index(), 0..4_usize, 0..40_000_000_u64, 0..40_000_000_u64)
            .prop_map(|(task, cpu, user, system)| Step::Charge { task, cpu, user, system }),
        20 => any_use(),
    ]
}

/// Both, side by side.
#[derive(Default)]
pub struct Pair {
    /// The rules.
    pub model: Model,
    /// The kernel's.
    pub real: Real,
    /// Removed containers of which no file is open any more.
    forgotten: BTreeSet<u32>,
}

fn pick<T: Copy>(from: &[T], choice: usize) -> Option<T> {
    if from.is_empty() { None } else { Some(from[choice % from.len()]) }
}

impl Pair {
    /// Does a step to both. What came back is the same, or the test fails.
    pub fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let known = |container: &u32| !self.forgotten.contains(container);
        let containers: Vec<u32> = self.model.containers().into_iter().filter(known).collect();
        match step {
            Step::Mount { container_dialect, data, rights } => {
                let dialect = if *container_dialect { Dialect::Container } else { Dialect::Cgroup };
                let theirs = self.model.mount(dialect, data, *rights);
                prop_assert_eq!(self.real.mount(dialect, data, *rights), theirs);
                if let Ok(number) = theirs {
                    self.real.know_root(self.model.root_of(number));
                }
            }
            Step::Remount { which, data, rights } if self.model.mount_count() > 0 => {
                let which = which % self.model.mount_count();
                let theirs = self.model.remount(which, data, *rights);
                prop_assert_eq!(self.real.remount(which, data, *rights), theirs);
            }
            Step::Umount { which } if self.model.mount_count() > 0 => {
                let which = which % self.model.mount_count();
                self.model.umount(which);
                self.real.umount(which);
            }
            Step::Mkdir { parent, name } => {
                let Some(parent) = pick(&containers, *parent) else { return Ok(()) };
                let theirs = self.model.mkdir(parent, name);
                prop_assert_eq!(self.real.mkdir(parent, name, theirs.ok()), theirs.map(drop));
            }
            Step::Rmdir { container, wrong } => {
                let Some((parent, name)) = self.place_of(pick(&containers, *container)) else { return Ok(()) };
                let name = wrong.clone().unwrap_or(name);
                prop_assert_eq!(self.real.rmdir(parent, &name), self.model.rmdir(parent, &name));
            }
            Step::Rename { container, elsewhere, name } => {
                let Some((parent, old)) = self.place_of(pick(&containers, *container)) else { return Ok(()) };
                let to = elsewhere.and_then(|other| pick(&containers, other)).unwrap_or(parent);
                let theirs = self.model.rename(parent, &old, to, name);
                prop_assert_eq!(self.real.rename(parent, &old, to, name), theirs);
            }
            Step::Write { container, file, value, by, opener } => {
                let Some(container) = pick(&containers, *container) else { return Ok(()) };
                let files = self.real.files(container);
                let Some(file) = files.get(file % files.len().max(1)) else { return Ok(()) };
                // Numbers are tasks there.
                if file != "tasks" && !file.ends_with("procs") {
                    let values = if value % 4 == 0 { VALUES } else { values_of(file) };
                    self.write(container, file, values[value / 4 % values.len()].as_bytes(), *by, *opener)?;
                }
            }
            Step::Move { container, whole, task, by, opener } => {
                let Some(container) = pick(&containers, *container) else { return Ok(()) };
                let text = match task {
                    Mover::Task(task) => self.task(*task, true).map_or(0, |task| task).to_string(),
                    Mover::Writer => "0".to_owned(),
                    Mover::KernelThread => KERNEL_THREAD.to_string(),
                    Mover::Text(text) => (*text).to_owned(),
                };
                let file = if *whole { "cgroup.procs" } else { "tasks" };
                self.write(container, file, text.as_bytes(), *by, *opener)?;
            }
            Step::Fork { parent, thread, rights } => {
                let Some(parent) = self.task(*parent, false).filter(|_| self.model.tasks().len() < 24) else {
                    return Ok(());
                };
                let theirs = self.model.fork(parent, *thread, *rights);
                prop_assert_eq!(self.real.fork(parent, *thread, *rights), theirs);
            }
            Step::Exit { task } => {
                if let Some(task) = self.task(*task, false).filter(|&task| task != FIRST) {
                    self.exit(task);
                }
            }
            Step::Reap { task } => {
                let zombies: Vec<i32> =
                    self.model.tasks().iter().filter(|(_, task)| task.zombie).map(|(&number, _)| number).collect();
                if let Some(task) = pick(&zombies, *task) {
                    self.model.reap(task);
                    self.real.reap(task);
                }
            }
            Step::Charge { task, cpu, user, system } => {
                if let Some(task) = self.task(*task, false) {
                    self.model.charge(task, *cpu, *user, *system);
                    self.real.charge(task, *cpu, *user, *system);
                }
            }
            Step::Forget { which } => {
                let alive = self.model.alive();
                let removed: Vec<u32> = containers.into_iter().filter(|container| !alive.contains(container)).collect();
                if let Some(container) = pick(&removed, *which) {
                    self.real.forget(container);
                    self.forgotten.insert(container);
                }
            }
            _ => self.apply_use(step)?,
        }
        self.follow()
    }

    /// The parent and the name of a container that is no root, if the parent can be named.
    fn place_of(&self, container: Option<u32>) -> Option<(u32, Vec<u8>)> {
        self.model.place_of(container).filter(|(parent, _)| !self.forgotten.contains(parent))
    }

    /// Does a step of [`any_use`].
    fn apply_use(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Settle { task } => {
                if let Some(task) = self.task(task, false) {
                    self.model.settle(task);
                    self.real.settle(task);
                }
            }
            Step::Device { task, kind, major, minor, access } => {
                if let Some(task) = self.task(task, false) {
                    let theirs = self.model.device_access(task, &Rule::asked(kind, major, minor, access));
                    prop_assert_eq!(self.real.device_access(task, kind, major, minor, access), theirs);
                }
            }
            Step::Touch { task, kind, node, count } => {
                let Some(task) = self.task(task, false).filter(|_| self.model.page_count() < 60) else {
                    return Ok(());
                };
                for _ in 0..count {
                    prop_assert_eq!(self.real.touch(task, kind, node), self.model.touch(task, kind, node));
                }
            }
            Step::Free { which, count } => {
                for _ in 0..count.min(self.model.page_count()) {
                    let which = which % self.model.page_count();
                    self.model.free(which);
                    self.real.free(which);
                }
            }
            Step::Spend { task, resource, amount, severity } => {
                if let Some(task) = self.task(task, false).filter(|_| self.model.spent_count() < 40) {
                    let resource = RESOURCES[resource].0;
                    let theirs = self.model.spend(task, resource, amount, severity);
                    prop_assert_eq!(self.real.spend(task, resource, amount, severity), theirs);
                }
            }
            Step::GiveBack { which } if self.model.spent_count() > 0 => {
                let which = which % self.model.spent_count();
                self.model.give_back(which);
                self.real.give_back(which);
            }
            _ => {}
        }
        Ok(())
    }

    /// What follows by itself: killed processes end, the worker works.
    fn follow(&mut self) -> Result<(), TestCaseError> {
        let killed = self.model.take_killed();
        prop_assert_eq!(&self.real.take_killed(), &killed);
        for process in killed {
            let ending = |(_, task): &(&i32, &crate::reference::Task)| task.process == process && !task.zombie;
            let tasks: Vec<i32> = self.model.tasks().iter().filter(ending).map(|(&number, _)| number).collect();
            tasks.into_iter().filter(|&task| task != FIRST && task != KERNEL_THREAD).for_each(|task| self.exit(task));
        }
        prop_assert_eq!(self.real.work(), self.model.work());
        Ok(())
    }

    fn exit(&mut self, task: i32) {
        self.model.exit(task);
        self.real.exit(task);
    }

    /// A task that is no kernel thread.
    fn task(&self, choice: usize, zombies: bool) -> Option<i32> {
        let wanted = |(_, task): &(&i32, &crate::reference::Task)| !task.kernel && (zombies || !task.zombie);
        let tasks: Vec<i32> = self.model.tasks().iter().filter(wanted).map(|(&number, _)| number).collect();
        pick(&tasks, choice)
    }

    fn write(
        &mut self,
        container: u32,
        file: &str,
        text: &[u8],
        by: usize,
        opener: Rights,
    ) -> Result<(), TestCaseError> {
        let Some(task) = self.task(by, false) else { return Ok(()) };
        let writer = Writer { task, opener };
        let theirs = self.model.write(container, file, text, writer);
        prop_assert_eq!(self.real.write(container, file, text, writer), theirs, "{} of {}", file, container);
        Ok(())
    }

    /// Everything that can be read is the same.
    pub fn compare(&self) -> Result<(), TestCaseError> {
        let (model, real) = (&self.model, &self.real);
        prop_assert_eq!(real.proc_containers(), model.proc_containers());
        prop_assert_eq!(real.proc_cgroups(), model.proc_cgroups());
        for which in 0..model.mount_count() {
            prop_assert_eq!(real.mount_options(which), model.mount_options(which));
        }
        for (&number, task) in model.tasks() {
            prop_assert_eq!(real.proc_task(number), model.proc_task(number), "task {}", number);
            if !task.zombie {
                prop_assert_eq!(real.masks(number), model.masks(number), "task {}", number);
                prop_assert_eq!(real.frozen(number), model.frozen(number), "task {}", number);
            }
        }
        for container in model.alive() {
            let files = model.files(container);
            prop_assert_eq!(&real.files(container), &files);
            for file in files {
                prop_assert_eq!(
                    real.read(container, &file),
                    model.read(container, &file),
                    "{} of {}",
                    file,
                    String::from_utf8_lossy(&model.path_of(container))
                );
            }
        }
        Ok(())
    }

    /// Undoes all: nothing is left but what was there at the start.
    pub fn end(mut self) -> Result<(), TestCaseError> {
        let tasks: Vec<i32> = self.model.tasks().keys().copied().filter(|&task| task != FIRST).collect();
        for task in tasks.into_iter().filter(|&task| task != KERNEL_THREAD) {
            if !self.model.tasks()[&task].zombie {
                self.exit(task);
            }
            self.real.reap(task);
        }
        let writer = Writer { task: FIRST, opener: Rights::All };
        for container in
            self.model.alive().into_iter().filter(|&container| self.model.place_of(Some(container)).is_none())
        {
            prop_assert_eq!(self.real.write(container, "tasks", b"0", writer), Ok::<(), Errno>(()));
        }
        prop_assert_eq!(self.real.set_count(), 1);
        Ok(())
    }
}
