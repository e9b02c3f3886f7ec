//! The control files. Rules: sections 4, 5, 10.1, 10.3, 11 and 12.

use super::{ALL_CPUS, ALL_NODES, CPUS, Dialect, Model, State, Writer, beancounters, numbers, shares};
use base::Errno;
use std::collections::BTreeSet;

const CPUSET: &[&str] = &[
    "cpus",
    "mems",
    "effective_cpus",
    "effective_mems",
    "cpu_exclusive",
    "mem_exclusive",
    "mem_hardwall",
    "sched_load_balance",
    "sched_relax_domain_level",
    "memory_migrate",
    "memory_pressure",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure_enabled",
];
const CPUACCT: &[&str] =
    &["usage", "usage_user", "usage_sys", "usage_percpu", "usage_percpu_user", "usage_percpu_sys", "usage_all", "stat"];
const MEMORY: &[&str] = &[
    "usage_in_bytes",
    "max_usage_in_bytes",
    "limit_in_bytes",
    "soft_limit_in_bytes",
    "failcnt",
    "stat",
    "force_empty",
    "use_hierarchy",
    "swappiness",
    "move_charge_at_immigrate",
    "oom_control",
    "numa_stat",
];
const DEVICES: &[&str] = &["allow", "deny", "list"];
const FREEZER: &[&str] = &["state", "self_freezing", "parent_freezing"];
const PIDS: &[&str] = &["max", "current", "peak", "events"];
/// Those that come first; the next ones are about the set of the reader, by numbers that nobody can foresee.
const DEBUG: &[&str] = &["taskcount", "cgroup_refcount", "releasable", "callbacks"];
const NUMTASKS: &[&str] = &["shares", "stats", "limit", "current", "peak"];

const IN_CONTAINER: &[&str] =
    &["notify_on_release", "tasks", "procs", "cgroup.procs", "release_agent", "events", "kill", "auto_remove"];
const IN_CGROUP: &[&str] = &[
    "cgroup.procs",
    "cgroup.clone_children",
    "cgroup.sane_behavior",
    "tasks",
    "notify_on_release",
    "release_agent",
    "cgroup.events",
    "cgroup.kill",
    "cgroup.auto_remove",
];

/// Whether the model knows a file of this name.
pub fn is_modelled(name: &str) -> bool {
    let (prefix, rest) = name.split_once('.').unwrap_or(("", name));
    match prefix {
        "cpu" | "bc" => true,
        "cpuacct" => CPUACCT.contains(&rest),
        "numtasks" => NUMTASKS.contains(&rest),
        "cpuset" => CPUSET.contains(&rest),
        "memory" => MEMORY.contains(&rest),
        "devices" => DEVICES.contains(&rest),
        "freezer" => FREEZER.contains(&rest),
        "pids" => PIDS.contains(&rest),
        "debug" => DEBUG.contains(&rest),
        _ => IN_CONTAINER.contains(&name) || IN_CGROUP.contains(&name) || CPUSET.contains(&name),
    }
}

impl Model {
    /// The control files of a container in order.
    pub fn files(&self, container: u32) -> Vec<String> {
        let Some(hierarchy) = self.hierarchies.get(&self.containers[&container].hierarchy) else { return Vec::new() };
        let root = self.is_root(container);
        let generic = if hierarchy.dialect == Dialect::Container { IN_CONTAINER } else { IN_CGROUP };
        let only_root = ["release_agent", "cgroup.sane_behavior"];
        let not_root = ["kill", "cgroup.kill"];
        let here = |name: &&str| if root { !not_root.contains(name) } else { !only_root.contains(name) };
        let mut files: Vec<String> = generic.iter().filter(|name| here(name)).map(|name| (*name).to_owned()).collect();
        let bare = hierarchy.no_prefix || hierarchy.dialect == Dialect::Container;
        let mut add = |index: usize, prefix: &str, names: &[&str]| {
            if hierarchy.subsystems.contains(&index) {
                files.extend(names.iter().map(|name| format!("{prefix}{name}")));
            }
        };
        add(0, if bare { "" } else { "cpuset." }, if root { CPUSET } else { &CPUSET[..CPUSET.len() - 1] });
        add(1, "cpu.", Self::cpu_files(hierarchy.dialect));
        add(2, "cpuacct.", CPUACCT);
        add(3, "memory.", MEMORY);
        add(4, "devices.", DEVICES);
        add(5, "freezer.", if root { &[] } else { FREEZER });
        add(6, "pids.", if root { &[] } else { PIDS });
        add(7, "numtasks.", NUMTASKS);
        add(9, "debug.", if root { DEBUG } else { &DEBUG[..3] });
        files.retain(|file| !root || file != "numtasks.limit");
        if hierarchy.subsystems.contains(&8) {
            let at = files.iter().position(|file| file.starts_with("debug.")).unwrap_or(files.len());
            let beans = beancounters::files().into_iter().map(|file| format!("bc.{file}"));
            files.splice(at..at, beans);
        }
        files
    }

    /// What a control file shows.
    pub fn read(&self, container: u32, file: &str) -> Result<String, Errno> {
        let here = &self.containers[&container];
        if here.removed {
            return Err(Errno::ENODEV);
        }
        let state = self.state(container);
        let flag = |flag: bool| format!("{}\n", u8::from(flag));
        let lines = |numbers: BTreeSet<i32>| numbers.iter().map(|number| format!("{number}\n")).collect::<String>();
        let inside = self.inside(container);
        if let Some(name) = file.strip_prefix("cpuacct.") {
            return Ok(self.time_file(container, name));
        }
        if let Some(name) = file.strip_prefix("cpu.") {
            return Ok(self.read_cpu(container, name));
        }
        if let Some(name) = file.strip_prefix("memory.") {
            return self.read_memory(container, name);
        }
        if let Some(name) = file.strip_prefix("bc.") {
            return Ok(self.read_bean(container, name));
        }
        Ok(match file.strip_prefix("cgroup.").or(file.strip_prefix("cpuset.")).unwrap_or(file) {
            "tasks" => lines(inside.into_iter().collect()),
            "procs" => lines(inside.iter().map(|task| self.tasks[task].process).collect()),
            "notify_on_release" => flag(here.notify),
            "auto_remove" => flag(here.auto_remove),
            "clone_children" => flag(here.clone_children),
            "sane_behavior" => flag(false),
            "release_agent" => format!("{}\n", String::from_utf8_lossy(&self.hierarchies[&here.hierarchy].agent)),
            "events" => {
                let freezer = self.bound(5) == Some(here.hierarchy);
                let frozen = freezer && !self.is_root(container) && self.is_frozen(container);
                let populated = self.inside_or_below(container) > 0;
                format!("populated {}\nfrozen {}\n", u8::from(populated), u8::from(frozen))
            }
            "devices.allow" | "devices.deny" => return Err(Errno::EINVAL),
            "devices.list" => state.rules.shown(),
            "freezer.state" => self.freezer_state(container).to_owned(),
            "freezer.self_freezing" => flag(state.freeze),
            "freezer.parent_freezing" => flag(here.parent.is_some_and(|parent| self.is_freezing(parent))),
            "pids.max" => state.pids_max.map_or("max\n".to_owned(), |max| format!("{max}\n")),
            "pids.current" => format!("{}\n", self.pids(container)),
            "pids.peak" => format!("{}\n", state.pids_peak),
            "pids.events" => format!("max {}\n", state.pids_refused),
            "debug.taskcount" => format!("{}\n", inside.len()),
            "debug.cgroup_refcount" => format!("{}\n", 1 + here.children.len() + self.sets_with(container)),
            "debug.releasable" => flag(here.children.is_empty() && self.inside_or_below(container) == 0),
            "debug.callbacks" => self.callbacks(),
            "kill" => return Err(Errno::EINVAL),
            "cpus" | "effective_cpus" => format!("{}\n", numbers::shown(state.cpus)),
            "mems" | "effective_mems" => format!("{}\n", numbers::shown(state.mems)),
            "cpu_exclusive" => flag(state.cpu_exclusive),
            "mem_exclusive" => flag(state.mem_exclusive),
            "mem_hardwall" => flag(state.hardwall),
            "memory_spread_page" => flag(state.spread_page),
            "memory_spread_slab" => flag(state.spread_slab),
            "memory_pressure_enabled" => flag(state.measures_pressure),
            "memory_pressure" => "0\n".to_owned(),
            "sched_load_balance" => flag(!state.unbalanced),
            "memory_migrate" => flag(state.migrate),
            "sched_relax_domain_level" => format!("{}\n", state.relax_level.unwrap_or(-1)),
            "numtasks.limit" => state.limit.map_or("max\n".to_owned(), |limit| format!("{limit}\n")),
            "numtasks.current" => format!("{}\n", self.inside_or_below(container)),
            "numtasks.peak" => format!("{}\n", state.peak),
            "numtasks.shares" => state.shares.shown("numtasks"),
            "numtasks.stats" => format!(
                "numtasks: Current usage {}\nnumtasks: Number of successes {}\nnumtasks: Number of failures {}\n\
                 numtasks: Number of forkrate failures 0\n",
                self.inside_or_below(container),
                state.successes,
                state.failures
            ),
            other => format!("the model knows no {other}"),
        })
    }

    /// Writes to a control file.
    pub fn write(&mut self, container: u32, file: &str, text: &[u8], writer: Writer) -> Result<(), Errno> {
        let name = file.strip_prefix("cgroup.").or(file.strip_prefix("cpuset.")).unwrap_or(file).to_owned();
        if text.is_empty() {
            return Ok(());
        }
        let longest = match name.as_str() {
            "release_agent" => 4095,
            "cpus" => 100 + 6 * base::MAX_CPUS,
            "mems" => 100 + 6 * base::MAX_NODES,
            _ => 4096,
        };
        if text.len() > longest {
            return Err(Errno::E2BIG);
        }
        if self.containers[&container].removed {
            return Err(Errno::ENODEV);
        }
        let text = numbers::stripped(text);
        let here = self.containers.get_mut(&container).expect("a container's number");
        match name.as_str() {
            "notify_on_release" => here.notify = numbers::flag(&text)?,
            "auto_remove" => here.auto_remove = numbers::flag(&text)?,
            "clone_children" => here.clone_children = numbers::flag(&text)?,
            "tasks" => self.move_by_text(container, &text, writer, false)?,
            "procs" => self.move_by_text(container, &text, writer, true)?,
            "release_agent" if !writer.opener.capable() => return Err(Errno::EPERM),
            "release_agent" => {
                let number = here.hierarchy;
                self.hierarchies.get_mut(&number).expect("an active hierarchy").agent = text.into_bytes();
            }
            "kill" => match numbers::signed(&text)? {
                1 => self.kill(container),
                _ => return Err(Errno::ERANGE),
            },
            "cpus" | "mems" => self.write_set(container, &text, name == "cpus")?,
            "cpu_exclusive" => {
                let flag = numbers::flag(&text)?;
                self.change_cpuset(container, |state| state.cpu_exclusive = flag)?;
            }
            "mem_exclusive" => {
                let flag = numbers::flag(&text)?;
                self.change_cpuset(container, |state| state.mem_exclusive = flag)?;
            }
            "mem_hardwall" => self.state_mut(container).hardwall = numbers::flag(&text)?,
            "memory_spread_page" => self.state_mut(container).spread_page = numbers::flag(&text)?,
            "memory_spread_slab" => self.state_mut(container).spread_slab = numbers::flag(&text)?,
            "memory_pressure_enabled" => self.state_mut(container).measures_pressure = numbers::flag(&text)?,
            "memory_migrate" => self.state_mut(container).migrate = numbers::flag(&text)?,
            "sched_load_balance" => self.state_mut(container).unbalanced = !numbers::flag(&text)?,
            "sched_relax_domain_level" => match numbers::signed(&text)? {
                level @ -1..=5 => self.state_mut(container).relax_level = Some(level),
                _ => return Err(Errno::EINVAL),
            },
            "cpuacct.usage" => {
                if numbers::unsigned(&text)? != 0 {
                    return Err(Errno::EINVAL);
                }
                let time = self.time(container);
                self.state_mut(container).reset = time;
            }
            "numtasks.limit" if text == "max" => self.state_mut(container).limit = None,
            "numtasks.limit" => match numbers::unsigned(&text)? {
                limit @ 0..=4_194_304 => self.state_mut(container).limit = Some(limit),
                _ => return Err(Errno::EINVAL),
            },
            "numtasks.shares" => self.write_shares(container, &text, |state| &mut state.shares)?,
            "pids.max" if text == "max" => self.state_mut(container).pids_max = None,
            "pids.max" => match numbers::unsigned(&text)? {
                max @ 0..=4_194_304 => self.state_mut(container).pids_max = Some(max),
                _ => return Err(Errno::EINVAL),
            },
            "devices.allow" => self.write_devices(container, true, &text, writer)?,
            "devices.deny" => self.write_devices(container, false, &text, writer)?,
            "freezer.state" => {
                self.write_freezer(container, &text)?;
                self.remember();
            }
            "numtasks.stats" => shares::check_reset(&text)?,
            _ => {
                return match name.split_once('.') {
                    Some(("cpu", file)) => self.write_cpu(container, file, &text),
                    Some(("memory", file)) => self.write_memory(container, file, &text),
                    Some(("bc", file)) => self.write_bean(container, file, &text),
                    _ => Err(Errno::EINVAL),
                };
            }
        }
        Ok(())
    }

    fn write_set(&mut self, container: u32, text: &str, cpus: bool) -> Result<(), Errno> {
        if self.is_root(container) {
            return Err(Errno::EACCES);
        }
        let (last, machine) = if cpus { (3, ALL_CPUS) } else { (1, ALL_NODES) };
        let set = numbers::list(text, last)?;
        if set & !machine != 0 {
            return Err(Errno::EINVAL);
        }
        self.change_cpuset(container, |state| if cpus { state.cpus = set } else { state.mems = set })
    }

    /// The table of section 10.3 from its fourth row on.
    fn change_cpuset(&mut self, container: u32, make: impl FnOnce(&mut State)) -> Result<(), Errno> {
        let old = self.state(container).clone();
        let mut new = old.clone();
        make(&mut new);
        let key = |state: &State| (state.cpus, state.mems, state.cpu_exclusive, state.mem_exclusive);
        if key(&new) == key(&old) {
            return Ok(());
        }
        let within = |inner: &State, outer: &State| {
            inner.cpus & !outer.cpus == 0
                && inner.mems & !outer.mems == 0
                && (outer.cpu_exclusive || !inner.cpu_exclusive)
                && (outer.mem_exclusive || !inner.mem_exclusive)
        };
        let here = &self.containers[&container];
        if here.children.iter().any(|&child| !within(self.state(child), &new)) {
            return Err(Errno::EBUSY);
        }
        if let Some(parent) = here.parent {
            if !within(&new, self.state(parent)) {
                return Err(Errno::EACCES);
            }
            let disturbs = |other: &State| {
                (new.cpu_exclusive || other.cpu_exclusive) && new.cpus & other.cpus != 0
                    || (new.mem_exclusive || other.mem_exclusive) && new.mems & other.mems != 0
            };
            let siblings = self.containers[&parent].children.iter().filter(|&&sibling| sibling != container);
            if siblings.into_iter().any(|&sibling| disturbs(self.state(sibling))) {
                return Err(Errno::EINVAL);
            }
            let empty = new.cpus == 0 && old.cpus != 0 || new.mems == 0 && old.mems != 0;
            if empty && !self.inside(container).is_empty() {
                return Err(Errno::ENOSPC);
            }
        }
        let (cpus, mems) = (new.cpus, new.mems);
        if (cpus, mems) != (old.cpus, old.mems) {
            for task in self.inside(container) {
                let task = self.tasks.get_mut(&task).expect("it was found");
                (task.cpus, task.mems) = (cpus, mems);
            }
        }
        *self.state_mut(container) = new;
        Ok(())
    }

    /// The time of the container and all below it since boot.
    fn time(&self, container: u32) -> [[u64; 2]; CPUS] {
        let mut sum = [[0; 2]; CPUS];
        for below in self.downwards(container) {
            for (into, from) in sum.iter_mut().flatten().zip(self.state(below).time.iter().flatten()) {
                *into += from;
            }
        }
        sum
    }

    fn time_file(&self, container: u32, name: &str) -> String {
        let (mut time, reset) = (self.time(container), self.state(container).reset);
        for (shown, gone) in time.iter_mut().flatten().zip(reset.iter().flatten()) {
            *shown -= gone;
        }
        let total = |part: fn(&[u64; 2]) -> u64| time.iter().map(part).sum::<u64>();
        let each =
            |part: fn(&[u64; 2]) -> u64| time.iter().map(|cpu| format!("{} ", part(cpu))).collect::<String>() + "\n";
        match name {
            "usage" => format!("{}\n", total(|cpu| cpu[0] + cpu[1])),
            "usage_user" => format!("{}\n", total(|cpu| cpu[0])),
            "usage_sys" => format!("{}\n", total(|cpu| cpu[1])),
            "usage_percpu" => each(|cpu| cpu[0] + cpu[1]),
            "usage_percpu_user" => each(|cpu| cpu[0]),
            "usage_percpu_sys" => each(|cpu| cpu[1]),
            "usage_all" => {
                time.iter().enumerate().fold("cpu user system\n".to_owned(), |text, (cpu, [user, system])| {
                    text + &format!("{cpu} {user} {system}\n")
                })
            }
            "stat" => {
                format!("user {}\nsystem {}\n", total(|cpu| cpu[0]) / 10_000_000, total(|cpu| cpu[1]) / 10_000_000)
            }
            other => format!("the model knows no cpuacct.{other}"),
        }
    }
}
