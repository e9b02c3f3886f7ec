//! cpuset: on which CPUs the tasks of a container run, and on which memory nodes their pages lie.
//!
//! `cpus` and `mems`: lists such as `0-2,5`, empty in a new container; a task can't come in while either is.
//! `effective_cpus`, `effective_mems`: the same, to read. `cpu_exclusive`, `mem_exclusive`: no sibling may have any of
//! the same. A container's sets are always within its parent's. The root's follow the machine.
//!
//! `sched_load_balance`, `sched_relax_domain_level`: among which CPUs tasks are balanced; see `domains`.
//!
//! `memory_migrate`: pages that are there come along when `mems` changes or a process moves in.
//!
//! `mem_hardwall`: memory that the kernel needs for tasks inside does not come from outside either; with `mem_exclusive`
//! the same. `memory_spread_page`: pages of files go round `mems`, with `memory_spread_slab` what the kernel's heap
//! takes for tasks inside. `memory_pressure`: see `pressure`.
//!
//! A task that comes in may run exactly on the container's CPUs, whatever it asked for itself before, and a change of
//! `cpus` has taken effect on every task inside when the write returns. Rule: interfaces.md, section 10.

mod change;
mod domains;
mod hotplug;
mod pressure;
mod sets;

pub use domains::Domain;
pub use hotplug::follow_machine;
pub use pressure::note_reclaim;

use base::{Capabilities, CpuId, CpuSet, Errno, MAX_CPUS, MAX_NODES, NodeId, NodeSet, number};
use change::{change, note_exclusive};
use container::{Callbacks, ControlFile, Lineage, Member, Move, Node, Subsystem};
use core::fmt::{self, Write};
use machine::sync::atomic::{AtomicBool, AtomicI8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use machine::sync::{Hook, SpinLock, rank};
use machine::{cpu, topology};
use pressure::Meter;
use sets::{OwnSets, Sets, Trial};

/// Where the memory of a task may lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nodes {
    /// Its own pages: only there.
    pub mems: NodeSet,
    /// What the kernel needs for it: first on `mems`, then there too.
    pub kernel: NodeSet,
    /// Whether pages of files go round `mems` in turn.
    pub spread_files: bool,
    /// Whether what the kernel's heap takes while it runs goes round `mems` in turn.
    pub spread_objects: bool,
}

/// What cpuset asks of the floors that own tasks.
pub trait TaskControl: Sync {
    /// From the return on the task runs on no other CPU than these; what it asked for itself is forgotten.
    fn set_cpus(&self, task: &dyn Member, cpus: &CpuSet);
    /// Whether tasks may come to these CPUs, all of them: `EBUSY` they have reserved time that there is not.
    fn admit(&self, tasks: &mut dyn Iterator<Item = &dyn Member>, cpus: &CpuSet) -> Result<(), Errno>;
    /// The tasks that were admitted stay where they are: their containers do not let them go.
    fn stay(&self, tasks: &mut dyn Iterator<Item = &dyn Member>);
    /// Whether a set that has the CPUs `now` for itself may have `wanted` instead: these can give what is reserved.
    fn may_shrink(&self, now: &CpuSet, wanted: &CpuSet) -> bool;
    /// Whether the task has asked for CPUs itself since.
    fn chose_cpus(&self, task: &dyn Member) -> bool;
    /// Tasks are balanced among the CPUs of each domain from here on; those in none keep their tasks to themselves.
    fn set_domains(&self, domains: &[Domain]);
    /// Whether the task may use a CPU that is online.
    fn has_cpu(&self, task: &dyn Member) -> bool;
    /// The task's next page comes from one of these nodes.
    fn set_nodes(&self, task: &dyn Member, nodes: &Nodes);
    /// The policies of the task's address space follow: its pages come from these nodes now. May sleep.
    fn rebind_space(&self, task: &dyn Member, mems: &NodeSet);
    /// Moves the pages of the task's address space that lie on nodes of `from` to those of `to`, the first node's to the
    /// first and so on; if there are not as many, round and round, and those that lie on a node of `to` stay. May sleep.
    fn move_pages(&self, task: &dyn Member, from: &NodeSet, to: &NodeSet);
}

/// Filled once at boot.
pub static TASKS: Hook<dyn TaskControl> = Hook::new();

/// Every change of a set gets a number of its own: see [`Cpuset::fork`].
static CHANGES: AtomicU64 = AtomicU64::new(1);

/// The sets of one container.
pub struct Cpuset {
    /// `None` for the root, whose sets are those of the machine.
    sets: Option<OwnSets>,
    cpu_exclusive: AtomicBool,
    mem_exclusive: AtomicBool,
    /// How many of the containers right below are exclusive.
    exclusive_children: AtomicU32,
    mem_hardwall: AtomicBool,
    spread_page: AtomicBool,
    spread_slab: AtomicBool,
    /// Of a root: whether pressure is measured.
    pressure_enabled: AtomicBool,
    pressure: SpinLock<Meter>,
    /// The nodes that memory which the kernel needs for tasks inside may come from; not of a root.
    wall: AtomicU64,
    load_balance: AtomicBool,
    relax_level: AtomicI8,
    memory_migrate: AtomicBool,
    /// The number of the last change of `sets`. Written before the tasks inside are told.
    change: AtomicU64,
    /// Whether an attach that was refused because a set is empty was logged: only the first is.
    logged: AtomicBool,
}

impl Subsystem for Cpuset {
    const NAME: &'static str = "cpuset";
    const INDEX: usize = 0;
    const CALLBACKS: Callbacks = Callbacks::CAN_ATTACH.union(Callbacks::POST_ATTACH).union(Callbacks::FORK);
    const BARE_NAMES: bool = true;
    const FILES: &'static [ControlFile<Self>] = &[
        ControlFile::read_write_node("cpus", |node, out| writeln!(out, "{}", node.state().cpus()), store_cpus)
            .max_write(100 + 6 * MAX_CPUS)
            .managed_alone(),
        ControlFile::read_write_node("mems", |node, out| writeln!(out, "{}", node.state().mems()), store_mems)
            .max_write(100 + 6 * MAX_NODES)
            .managed_alone(),
        ControlFile::read("effective_cpus", |set, out| writeln!(out, "{}", set.cpus())),
        ControlFile::read("effective_mems", |set, out| writeln!(out, "{}", set.mems())),
        ControlFile::read_write_node(
            "cpu_exclusive",
            |node: &Node<'_, Self>, out| show_flag(&node.state().cpu_exclusive, out),
            |node, text| store_flag(node, text, |trial, flag| trial.cpu_exclusive = flag),
        )
        .managed_alone(),
        ControlFile::read_write_node(
            "mem_exclusive",
            |node: &Node<'_, Self>, out| show_flag(&node.state().mem_exclusive, out),
            |node, text| store_flag(node, text, |trial, flag| trial.mem_exclusive = flag),
        )
        .managed_alone(),
        ControlFile::read_write_node(
            "mem_hardwall",
            |node: &Node<'_, Self>, out| show_flag(&node.state().mem_hardwall, out),
            |node, text| store_flag(node, text, |trial, flag| trial.mem_hardwall = flag),
        )
        .managed_alone(),
        ControlFile::read_write_node(
            "sched_load_balance",
            |node: &Node<'_, Self>, out| show_flag(&node.state().load_balance, out),
            domains::store_balance,
        )
        .managed_alone(),
        ControlFile::read_write_node(
            "sched_relax_domain_level",
            |node: &Node<'_, Self>, out| writeln!(out, "{}", node.state().relax_level.load(Relaxed)),
            domains::store_level,
        )
        .managed_alone(),
        ControlFile::read_write_node(
            "memory_migrate",
            |node: &Node<'_, Self>, out| show_flag(&node.state().memory_migrate, out),
            |node, text| {
                node.state().memory_migrate.store(number::parse_flag(text)?, Relaxed);
                Ok(())
            },
        )
        .managed_alone(),
        ControlFile::read_node("memory_pressure", pressure::show),
        ControlFile::read_write_node(
            "memory_spread_page",
            |node: &Node<'_, Self>, out| show_flag(&node.state().spread_page, out),
            |node, text| store_spread(node, text, &node.state().spread_page),
        )
        .managed_alone(),
        ControlFile::read_write_node(
            "memory_spread_slab",
            |node: &Node<'_, Self>, out| show_flag(&node.state().spread_slab, out),
            |node, text| store_spread(node, text, &node.state().spread_slab),
        )
        .managed_alone(),
        ControlFile::read_write_node(
            "memory_pressure_enabled",
            |node: &Node<'_, Self>, out| show_flag(&node.state().pressure_enabled, out),
            |node, text| {
                node.state().pressure_enabled.store(number::parse_flag(text)?, Relaxed);
                Ok(())
            },
        )
        .only_on_root(),
    ];

    fn create(parent: &Self) -> Result<Self, Errno> {
        let new = Self::new(Some(OwnSets::empty()), false);
        new.spread_page.store(parent.spread_page.load(Relaxed), Relaxed);
        new.spread_slab.store(parent.spread_slab.load(Relaxed), Relaxed);
        Ok(new)
    }

    /// With clone_children a new container starts with its parent's sets, unless a sibling wants some of them alone.
    fn online(node: &Node<'_, Self>) -> Result<(), Errno> {
        renew_wall(node);
        let Some(parent) = node.parent().filter(|_| node.clones_children()) else { return Ok(()) };
        if let Some(sets) = &node.state().sets
            && parent.state().exclusive_children.load(Relaxed) == 0
        {
            sets.set(parent.state().sets());
            // A change of its own, which nobody has seen: who is born into it may come from sets that never changed.
            node.state().change.store(CHANGES.fetch_add(1, SeqCst), SeqCst);
            domains::follow(node);
        }
        Ok(())
    }

    /// A group may fall apart that this container held together.
    fn offline(node: &Node<'_, Self>) {
        let state = node.state();
        if state.is_exclusive() {
            note_exclusive(node, false);
        }
        if state.sets.as_ref().is_some_and(OwnSets::has_cpus) && state.load_balance.swap(false, Relaxed) {
            domains::follow(node);
        }
    }

    fn can_attach(change: &Move<'_, Self>) -> Result<(), Errno> {
        let target = change.target();
        if target.own().sets.as_ref().is_some_and(|sets| !sets.are_complete()) {
            if !target.own().logged.swap(true, Relaxed) {
                let file = if target.own().cpus().is_empty() { "cpus" } else { "mems" };
                machine::log!("cpuset: no task can come into {}: write its {file} file first", target.path());
            }
            return Err(Errno::ENOSPC);
        }
        let writer = change.writer();
        let stronger = |task: &dyn Member| !writer.permitted.contains(task.credentials().permitted);
        if !writer.has(Capabilities::SYS_NICE) && change.tasks().any(|(task, _)| stronger(task)) {
            return Err(Errno::EPERM);
        }
        match TASKS.get() {
            Some(tasks) => tasks.admit(&mut change.tasks().map(|(task, _)| task), &target.own().cpus()),
            None => Ok(()),
        }
    }

    fn cancel_attach(change: &Move<'_, Self>) {
        if let Some(tasks) = TASKS.get() {
            tasks.stay(&mut change.tasks().map(|(task, _)| task));
        }
    }

    fn post_attach(change: &Move<'_, Self>) {
        let state = change.target().own();
        change.tasks().for_each(|(task, from)| {
            if state.has_as_is(task, from.own()) {
                state.note_seen(task);
                return;
            }
            state.confine(task);
            let mems = state.mems();
            if from.own().mems() != mems {
                rebind_space(task, &mems);
            }
        });
        if state.memory_migrate.load(Relaxed) {
            change.tasks().for_each(|(task, from)| move_pages(task, &from.own().mems(), &state.mems()));
        }
    }

    /// The child was made with its parent's sets, maybe just before a change that the parent has seen by now. The word
    /// that it inherited says which change its parent had seen when the fork began.
    fn fork(child: &dyn Member, place: Lineage<'_, Self>) {
        let own = place.own();
        if child.membership().word(Self::INDEX).load(SeqCst) != own.change.load(SeqCst) {
            own.confine(child);
            rebind_space(child, &own.mems());
        }
    }
}

impl Cpuset {
    /// The root's: all that the machine has.
    pub fn root() -> Self {
        Self::new(None, true)
    }

    fn new(sets: Option<OwnSets>, exclusive: bool) -> Self {
        Self {
            sets,
            cpu_exclusive: AtomicBool::new(exclusive),
            mem_exclusive: AtomicBool::new(exclusive),
            exclusive_children: AtomicU32::new(0),
            mem_hardwall: AtomicBool::new(false),
            spread_page: AtomicBool::new(false),
            spread_slab: AtomicBool::new(false),
            pressure_enabled: AtomicBool::new(false),
            pressure: SpinLock::new(rank::CONTROLLER, Meter::default()),
            wall: AtomicU64::new(0),
            load_balance: AtomicBool::new(true),
            relax_level: AtomicI8::new(domains::NO_WISH),
            memory_migrate: AtomicBool::new(false),
            change: AtomicU64::new(0),
            logged: AtomicBool::new(false),
        }
    }

    /// Whether no sibling may have any of its CPUs, or of its nodes.
    fn is_exclusive(&self) -> bool {
        self.cpu_exclusive.load(Relaxed) || self.mem_exclusive.load(Relaxed)
    }

    /// The CPUs on which tasks inside may run.
    pub fn cpus(&self) -> CpuSet {
        self.sets().cpus
    }

    /// The nodes on which pages of tasks inside may lie.
    pub fn mems(&self) -> NodeSet {
        self.sets().mems
    }

    /// Where memory of tasks inside may lie.
    fn nodes(&self) -> Nodes {
        self.nodes_with(self.mems())
    }

    /// The same where `mems` are the nodes for pages.
    fn nodes_with(&self, mems: NodeSet) -> Nodes {
        let kernel = if self.sets.is_some() { NodeSet::from_words([self.wall.load(Relaxed)]) } else { mems };
        let [spread_files, spread_objects] = [&self.spread_page, &self.spread_slab].map(|flag| flag.load(Relaxed));
        Nodes { mems, kernel, spread_files, spread_objects }
    }

    /// Tells tasks inside where their memory may lie.
    fn place(&self, node: &Node<'_, Self>) {
        // Before the walk: a child that the walk misses is born with a word that is older.
        let change = CHANGES.fetch_add(1, SeqCst);
        self.change.store(change, SeqCst);
        let Some(tasks) = TASKS.get() else { return };
        for task in node.tasks() {
            tasks.set_nodes(&*task, &self.nodes());
            task.membership().word(Self::INDEX).store(change, SeqCst);
        }
    }

    fn sets(&self) -> Sets {
        match &self.sets {
            Some(sets) => sets.get(),
            None => Sets { cpus: cpu::online(), mems: topology::get().nodes_with_memory() },
        }
    }

    fn trial(&self) -> Trial {
        Trial {
            sets: self.sets(),
            cpu_exclusive: self.cpu_exclusive.load(Relaxed),
            mem_exclusive: self.mem_exclusive.load(Relaxed),
            mem_hardwall: self.mem_hardwall.load(Relaxed),
        }
    }

    /// Whether a task that has just come from a container with the sets `from` is where these want it already: both have
    /// the same, its last container's have reached it, and it has no wish of its own that a move would make it forget.
    /// With *manage* held.
    fn has_as_is(&self, task: &dyn Member, from: &Self) -> bool {
        let (Some(own), Some(old)) = (&self.sets, &from.sets) else { return false };
        let places = |set: &Self| (set.wall.load(Relaxed), set.spread_page.load(Relaxed));
        task.membership().word(Self::INDEX).load(SeqCst) == from.change.load(SeqCst)
            && places(self) == places(from)
            && own.equal(old)
            && !TASKS.get().is_some_and(|tasks| tasks.chose_cpus(task))
    }

    /// Remembers in the task that the last change of these sets has reached it.
    fn note_seen(&self, task: &dyn Member) {
        task.membership().word(Self::INDEX).store(self.change.load(SeqCst), SeqCst);
    }

    /// Makes the task obey these sets, and remembers in it which change that was.
    fn confine(&self, task: &dyn Member) {
        let change = self.change.load(SeqCst);
        if let Some(tasks) = TASKS.get() {
            let Sets { cpus, mems } = self.sets();
            // In the root a task may use CPUs that come later, too.
            let cpus = if self.sets.is_some() { cpus } else { cpu::possible() };
            tasks.set_cpus(task, &cpus);
            tasks.set_nodes(task, &self.nodes_with(mems));
        }
        task.membership().word(Self::INDEX).store(change, SeqCst);
    }

    /// The same where only the memory has changed since the change `before`: the CPUs that the task chose itself stay.
    fn confine_memory(&self, task: &dyn Member, before: u64) {
        let seen = task.membership().word(Self::INDEX);
        if seen.load(SeqCst) != before {
            return self.confine(task);
        }
        let change = self.change.load(SeqCst);
        if let Some(tasks) = TASKS.get() {
            tasks.set_nodes(task, &self.nodes());
        }
        seen.store(change, SeqCst);
    }
}

fn store_cpus(node: &Node<'_, Cpuset>, text: &str) -> Result<(), Errno> {
    if node.is_root() {
        return Err(Errno::EACCES);
    }
    let last = cpu::possible().iter().last().unwrap_or(CpuId::new(0));
    let cpus = CpuSet::parse_list(text, last)?;
    if !cpus.is_subset_of(&cpu::online()) {
        return Err(Errno::EINVAL);
    }
    change(node, |trial| trial.sets.cpus = cpus)
}

fn store_mems(node: &Node<'_, Cpuset>, text: &str) -> Result<(), Errno> {
    if node.is_root() {
        return Err(Errno::EACCES);
    }
    let topology = topology::get();
    let last = NodeId::new(topology.nodes.len().saturating_sub(1) as u32);
    let mems = NodeSet::parse_list(text, last)?;
    if !mems.is_subset_of(&topology.nodes_with_memory()) {
        return Err(Errno::EINVAL);
    }
    change(node, |trial| trial.sets.mems = mems)
}

fn show_flag(flag: &AtomicBool, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "{}", u8::from(flag.load(Relaxed)))
}

fn store_flag(node: &Node<'_, Cpuset>, text: &str, set: fn(&mut Trial, bool)) -> Result<(), Errno> {
    let flag = number::parse_flag(text)?;
    change(node, |trial| set(trial, flag))
}

/// Works out anew where memory for the kernel's needs may come from; says whether that has changed. The container above
/// comes first.
fn renew_wall(node: &Node<'_, Cpuset>) -> bool {
    let state = node.state();
    let wall = match node.parent() {
        Some(parent) if !state.trial().is_walled() => parent.state().nodes().kernel,
        _ => state.mems(),
    };
    state.wall.swap(wall.words()[0], Relaxed) != wall.words()[0]
}

/// Sets one of the flags that say how memory is spread.
fn store_spread(node: &Node<'_, Cpuset>, text: &str, stored: &AtomicBool) -> Result<(), Errno> {
    let flag = number::parse_flag(text)?;
    if stored.swap(flag, Relaxed) != flag {
        node.state().place(node);
    }
    Ok(())
}

/// Has the policies of a process's memory follow its leader's nodes: other threads have the same memory.
fn rebind_space(task: &dyn Member, mems: &NodeSet) {
    if task.tid() == task.process_id()
        && let Some(tasks) = TASKS.get()
    {
        tasks.rebind_space(task, mems);
    }
}

/// Takes the pages of a process along when its leader's nodes have changed: other threads have the same pages.
fn move_pages(task: &dyn Member, from: &NodeSet, to: &NodeSet) {
    if from != to
        && task.tid() == task.process_id()
        && let Some(tasks) = TASKS.get()
    {
        tasks.move_pages(task, from, to);
    }
}

#[cfg(test)]
mod tests;
