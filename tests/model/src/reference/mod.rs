//! The interface as the rules say it is. Nothing here is fast, and nothing is kept that can be counted.
//!
//! A container is a number into [`Model::containers`], and stays there when it is removed. The subsystems' root states
//! are one [`State`], `Model::root`: they go with their subsystems to a hierarchy and back and never change thereby.

mod admission;
mod beancounters;
mod cpu;
mod devices;
mod files;
mod freezer;
mod memory;
mod mounts;
mod numbers;
mod proc;
mod shares;
mod tasks;
mod tree;

pub use beancounters::RESOURCES;
pub use devices::Rule;
pub use files::is_modelled;
pub use freezer::sleeps;
pub use memory::Kind;
pub use mounts::Dialect;

use base::Errno;
use std::collections::{BTreeMap, BTreeSet};

/// The subsystems with their indices.
pub const SUBSYSTEMS: &[(usize, &str)] = &[
    (0, "cpuset"),
    (1, "cpu"),
    (2, "cpuacct"),
    (3, "memory"),
    (4, "devices"),
    (5, "freezer"),
    (6, "pids"),
    (7, "numtasks"),
    (8, "bc"),
    (9, "debug"),
];

/// CPUs and nodes of the machine.
pub const CPUS: usize = 4;
/// All CPUs and all nodes, as bits.
pub const ALL_CPUS: u32 = 0xf;
/// All nodes.
pub const ALL_NODES: u32 = 3;

/// What the root of numtasks has to give.
pub const MOST_TASKS: u64 = 1000;

/// Whose rights a task has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rights {
    /// User 0 with every capability.
    All,
    /// User 0 without any.
    OnlyTheNumber,
    /// User 1000.
    User,
}

impl Rights {
    /// Whether there are capabilities: all of them or none.
    pub fn capable(self) -> bool {
        self == Self::All
    }

    /// The user.
    pub fn uid(self) -> u32 {
        if self == Self::User { 1000 } else { 0 }
    }
}

/// What all subsystems keep for one container.
#[derive(Clone, Default, Debug)]
pub struct State {
    pub(crate) cpus: u32,
    pub(crate) mems: u32,
    pub(crate) cpu_exclusive: bool,
    pub(crate) mem_exclusive: bool,
    pub(crate) hardwall: bool,
    pub(crate) spread_page: bool,
    pub(crate) spread_slab: bool,
    pub(crate) measures_pressure: bool,
    pub(crate) unbalanced: bool,
    pub(crate) migrate: bool,
    pub(crate) relax_level: Option<i64>,
    /// User and system time on each CPU, without those below.
    pub(crate) time: [[u64; 2]; CPUS],
    /// What is no longer shown.
    pub(crate) reset: [[u64; 2]; CPUS],
    pub(crate) limit: Option<u64>,
    pub(crate) peak: u64,
    pub(crate) cpu: cpu::Settings,
    pub(crate) shares: shares::Shares,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    pub(crate) memory: memory::Settings,
    pub(crate) rules: devices::Rules,
    /// Asked to freeze by its own file.
    pub(crate) freeze: bool,
    pub(crate) pids_max: Option<u64>,
    pub(crate) pids_peak: u64,
    pub(crate) pids_refused: u64,
    pub(crate) bean_id: u64,
    pub(crate) beans: [beancounters::Bean; RESOURCES.len()],
}

/// A directory.
#[derive(Clone, Debug)]
pub struct Container {
    pub(crate) name: Vec<u8>,
    pub(crate) hierarchy: usize,
    pub(crate) parent: Option<u32>,
    /// In order of mkdir.
    pub(crate) children: Vec<u32>,
    pub(crate) removed: bool,
    pub(crate) notify: bool,
    pub(crate) auto_remove: bool,
    pub(crate) clone_children: bool,
    pub(crate) state: State,
}

/// A tree.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    pub(crate) dialect: Dialect,
    pub(crate) subsystems: BTreeSet<usize>,
    pub(crate) name: Option<String>,
    pub(crate) no_prefix: bool,
    pub(crate) xattr: bool,
    pub(crate) agent: Vec<u8>,
    pub(crate) root: u32,
    pub(crate) mounts: usize,
}

/// A task.
#[derive(Clone, Debug)]
pub struct Task {
    /// The number of its process.
    pub process: i32,
    /// A thread of the kernel.
    pub kernel: bool,
    /// Whose rights it has.
    pub rights: Rights,
    /// A zombie.
    pub zombie: bool,
    /// Where it is: hierarchy and container; the root where nothing is said.
    pub(crate) places: BTreeMap<usize, u32>,
    pub(crate) cpus: u32,
    pub(crate) mems: u32,
    pub(crate) frozen: bool,
    /// A zombie's removed containers in hierarchies that have gone since, by the numbers that these had: its set still
    /// names them, and no container of a new hierarchy with such a number.
    pub(crate) remnants: BTreeMap<usize, u32>,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) root: State,
    pub(crate) containers: BTreeMap<u32, Container>,
    pub(crate) hierarchies: BTreeMap<usize, Hierarchy>,
    /// The hierarchy of each mount, in order.
    pub(crate) mounts: Vec<usize>,
    /// Those that live or are zombies.
    pub(crate) tasks: BTreeMap<i32, Task>,
    next_container: u32,
    next_task: i32,
    /// Containers that became empty since the worker last looked.
    emptied: Vec<u32>,
    /// Processes that were killed since somebody last asked.
    killed: BTreeSet<i32>,
    /// Pages that were touched and are not free.
    pages: Vec<memory::Page>,
    spent: Vec<beancounters::Spent>,
    /// By the subsystem's index.
    calls: [admission::Calls; 10],
    births: u64,
    exits: u64,
    /// The next of bc's numbers.
    next_bean: u64,
}

/// Who writes, and with whose rights the file was opened.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// The task.
    pub task: i32,
    /// The rights at the time of opening.
    pub opener: Rights,
}

/// The kernel's thread, and the first task.
pub const KERNEL_THREAD: i32 = 1_000_000;
/// The first task, which has every right and never ends.
pub const FIRST: i32 = 1;

impl Default for Model {
    fn default() -> Self {
        let root =
            State { cpus: ALL_CPUS, mems: ALL_NODES, cpu_exclusive: true, mem_exclusive: true, ..State::default() };
        let mut model = Self {
            root,
            containers: BTreeMap::new(),
            hierarchies: BTreeMap::new(),
            mounts: Vec::new(),
            tasks: BTreeMap::new(),
            next_container: 1,
            next_task: FIRST,
            emptied: Vec::new(),
            killed: BTreeSet::new(),
            pages: Vec::new(),
            spent: Vec::new(),
            calls: Default::default(),
            births: 0,
            exits: 0,
            next_bean: 1,
        };
        for (number, kernel) in [(KERNEL_THREAD, true), (FIRST, false)] {
            model.tasks.insert(number, Task::new(number, kernel));
            model.root.successes += 1;
            model.start_calls();
            model.remember();
        }
        model
    }
}

impl Task {
    fn new(process: i32, kernel: bool) -> Self {
        Self {
            process,
            kernel,
            rights: Rights::All,
            zombie: false,
            places: BTreeMap::new(),
            cpus: ALL_CPUS,
            mems: ALL_NODES,
            frozen: false,
            remnants: BTreeMap::new(),
        }
    }
}

impl Model {
    /// The containers that can be named: those of active hierarchies, and those that were removed.
    pub fn containers(&self) -> Vec<u32> {
        self.containers.keys().copied().collect()
    }

    /// The containers that are there.
    pub fn alive(&self) -> Vec<u32> {
        self.containers.iter().filter(|(_, container)| !container.removed).map(|(&id, _)| id).collect()
    }

    /// The parent and the name of a container that is no root.
    pub fn place_of(&self, container: Option<u32>) -> Option<(u32, Vec<u8>)> {
        let container = &self.containers[&container?];
        Some((container.parent?, container.name.clone()))
    }

    /// The path of a container in its hierarchy.
    pub fn path_of(&self, container: u32) -> Vec<u8> {
        self.path(container)
    }

    /// The number of mounts.
    pub fn mount_count(&self) -> usize {
        self.mounts.len()
    }

    /// The tasks, zombies too.
    pub fn tasks(&self) -> &BTreeMap<i32, Task> {
        &self.tasks
    }

    /// CPUs and nodes of a task as bits.
    pub fn masks(&self, task: i32) -> (u32, u32) {
        let task = &self.tasks[&task];
        (task.cpus, task.mems)
    }

    pub(crate) fn bound(&self, subsystem: usize) -> Option<usize> {
        let found = self.hierarchies.iter().find(|(_, hierarchy)| hierarchy.subsystems.contains(&subsystem));
        found.map(|(&number, _)| number)
    }

    pub(crate) fn dialect_of(&self, container: u32) -> Dialect {
        self.hierarchies[&self.containers[&container].hierarchy].dialect
    }

    pub(crate) fn is_root(&self, container: u32) -> bool {
        self.containers[&container].parent.is_none()
    }

    /// The states of a container; a root's are those that all roots share.
    pub(crate) fn state(&self, container: u32) -> &State {
        if self.is_root(container) { &self.root } else { &self.containers[&container].state }
    }

    pub(crate) fn state_mut(&mut self, container: u32) -> &mut State {
        if self.is_root(container) {
            return &mut self.root;
        }
        &mut self.containers.get_mut(&container).expect("a container's number").state
    }

    /// The container and those above it, up to the root.
    pub(crate) fn upwards(&self, container: u32) -> Vec<u32> {
        std::iter::successors(Some(container), |above| self.containers[above].parent).collect()
    }

    /// The container and all below it.
    pub(crate) fn downwards(&self, container: u32) -> Vec<u32> {
        let mut found = vec![container];
        let mut at = 0;
        while at < found.len() {
            found.extend(&self.containers[&found[at]].children);
            at += 1;
        }
        found
    }

    /// Where a task is in an active hierarchy.
    pub(crate) fn place(&self, task: &Task, hierarchy: usize) -> u32 {
        task.places.get(&hierarchy).copied().unwrap_or(self.hierarchies[&hierarchy].root)
    }

    /// The live tasks in the container itself.
    pub(crate) fn inside(&self, container: u32) -> Vec<i32> {
        let hierarchy = self.containers[&container].hierarchy;
        let here = |task: &Task| !task.zombie && self.place(task, hierarchy) == container;
        self.tasks.iter().filter(|(_, task)| here(task)).map(|(&number, _)| number).collect()
    }

    /// The live tasks in the container and below.
    pub(crate) fn inside_or_below(&self, container: u32) -> usize {
        self.downwards(container).into_iter().map(|container| self.inside(container).len()).sum()
    }

    pub(crate) fn is_empty(&self, container: u32) -> bool {
        self.containers[&container].children.is_empty() && self.inside(container).is_empty()
    }

    /// Makes true what follows from the places of tasks after they have changed.
    pub(crate) fn remember(&mut self) {
        self.remember_peaks();
        self.remember_beans();
        self.follow_freezer();
    }

    fn remember_peaks(&mut self) {
        let below = self.bound(6).map_or(Vec::new(), |number| self.downwards(self.hierarchies[&number].root));
        for container in below {
            let current = self.pids(container);
            let state = self.state_mut(container);
            state.pids_peak = state.pids_peak.max(current);
        }
        let alive = self.tasks.values().filter(|task| !task.zombie).count() as u64;
        self.root.peak = self.root.peak.max(alive);
        let Some(number) = self.bound(7) else { return };
        for container in self.downwards(self.hierarchies[&number].root) {
            let current = self.inside_or_below(container) as u64;
            let state = self.state_mut(container);
            state.peak = state.peak.max(current);
        }
    }

    /// The path in its hierarchy.
    pub(crate) fn path(&self, container: u32) -> Vec<u8> {
        let mut names: Vec<&[u8]> =
            self.upwards(container).into_iter().map(|above| self.containers[&above].name.as_slice()).collect();
        names.reverse();
        if names.len() == 1 { b"/".to_vec() } else { names.join(&b'/') }
    }

    fn no_error(&mut self) -> Result<(), Errno> {
        self.remember();
        Ok(())
    }
}
