//! The framework as a whole: subsystems, active hierarchies, and what everything else hangs from.

use crate::{
    container::{Attributes, Container},
    hierarchy::{Hierarchy, Subsystems},
    inspect::CallbackCounts,
    member::{Member, TaskTable},
    release::{ReleaseQueue, ReleaseWorker},
    set::{SetReference, SetTable, States},
    state::Place,
    subsystem::{AnySubsystem, Callbacks, Erased, MAX_SUBSYSTEMS},
};
use alloc::{boxed::Box, vec::Vec};
use base::{Gid, Uid, charge::Payer};
use machine::cpu::PerCpu;
use machine::sync::{
    Arc, CrowdLock, SpinLock,
    atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    rank,
};

/// How many hierarchies there can be, the dummy included: 2 to 255. 16, unless `MENAGERIE_MAX_HIERARCHIES` says
/// otherwise when the kernel is built.
pub const MAX_HIERARCHIES: usize = match option_env!("MENAGERIE_MAX_HIERARCHIES") {
    Some(text) => decimal(text),
    None => 16,
};
const _: () = assert!(2 <= MAX_HIERARCHIES && MAX_HIERARCHIES <= 255, "MENAGERIE_MAX_HIERARCHIES is 2 to 255");

const fn decimal(text: &str) -> usize {
    match usize::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("MENAGERIE_MAX_HIERARCHIES is no number"),
    }
}

/// The option words of a mount; no subsystem may be called so.
pub(crate) const OPTION_WORDS: &[&str] = &[
    "all",
    "none",
    "name",
    "noprefix",
    "clone_children",
    "release_agent",
    "auto_remove",
    "xattr",
    "cpuset_v2_mode",
    "favordynmods",
];

/// All containers of the system. One value, made at boot before the first task.
pub struct Framework {
    subsystems: [Option<Box<dyn Erased>>; MAX_SUBSYSTEMS],
    enabled: Subsystems,
    pub(crate) callbacks: CallbackLists,
    pub(crate) counts: CallbackCounts,
    /// The root states. They live here and in the root container of the hierarchy that they are bound to.
    roots: States,
    /// The root container of hierarchy 0.
    dummy: Arc<Container>,

    /// Shared for moves, mkdir and rmdir; exclusive for mount, umount and remount.
    pub(crate) manage: CrowdLock,
    /// Written with `manage` held exclusively. Slot 0 stays empty: the dummy is never mounted.
    pub(crate) active: SpinLock<[Option<Active>; MAX_HIERARCHIES]>,

    pub(crate) sets: Arc<SetTable>,
    pub(crate) root_set: SetReference,
    pub(crate) switches: Switches,

    pub(crate) tasks: Box<dyn TaskTable>,
    pub(crate) releases: ReleaseQueue,
    serials: AtomicU64,
}

/// Switches of tasks that have begun and that have ended, counted by each CPU for itself: a reader of task lists looks
/// at both.
#[derive(Default)]
pub(crate) struct Switches(PerCpu<[AtomicU64; 2]>);

impl Switches {
    /// Whoever switches calls both, on one CPU: nothing in between may sleep.
    pub(crate) fn begin(&self) {
        self.0.here()[0].fetch_add(1, SeqCst);
    }

    pub(crate) fn end(&self) {
        self.0.here()[1].fetch_add(1, SeqCst);
    }

    /// If what [`begun`](Self::begun) gives later is equal, no switch was under way at any moment in between: the one
    /// is at least what had begun at its end, the other at most what had ended at its start.
    fn ended(&self) -> u64 {
        self.0.iter().map(|(_, counts)| counts[1].load(SeqCst)).sum()
    }

    fn begun(&self) -> u64 {
        self.0.iter().map(|(_, counts)| counts[0].load(SeqCst)).sum()
    }
}

/// An active hierarchy and the top of its tree.
#[derive(Clone)]
pub(crate) struct Active {
    pub(crate) hierarchy: Arc<Hierarchy>,
    pub(crate) root: Arc<Container>,
}

/// For each callback the subsystems that asked for it, in index order: as a set where only those of one hierarchy are
/// called.
pub(crate) struct CallbackLists {
    pub(crate) can_attach: Subsystems,
    pub(crate) attach: Subsystems,
    pub(crate) post_attach: Subsystems,
    pub(crate) can_fork: Vec<usize>,
    pub(crate) fork: Vec<usize>,
    pub(crate) exit: Vec<usize>,
    pub(crate) release: Vec<usize>,
    pub(crate) charge_time: Vec<usize>,
    pub(crate) charge: Vec<usize>,
    pub(crate) device_access: Vec<usize>,
}

impl Framework {
    /// Registers the subsystems and makes hierarchy 0 with their root states.
    ///
    /// `disabled` is the value of `cgroup_disable=` on the kernel command line. Panics where two subsystems claim
    /// one index or one name, or a name is none.
    pub fn new(
        subsystems: Vec<AnySubsystem>,
        disabled: &str,
        tasks: Box<dyn TaskTable>,
        worker: Box<dyn ReleaseWorker>,
    ) -> Arc<Self> {
        let mut roots = States::default();
        let mut all: [Option<Box<dyn Erased>>; MAX_SUBSYSTEMS] = Default::default();
        let mut enabled = Subsystems::EMPTY;
        let top = Place::root();
        let serials = AtomicU64::new(1);
        for AnySubsystem(mut subsystem) in subsystems {
            let (name, index) = (subsystem.name(), subsystem.index());
            check_name(name);
            assert!(all.iter().flatten().all(|other| other.name() != name), "two subsystems are called {name}");
            assert!(all[index].is_none(), "two subsystems have index {index}");
            if !disabled.split(',').any(|word| word == name) {
                enabled.insert(index);
                roots[index] = subsystem.take_root(serials.fetch_add(1, Relaxed), top.clone());
            }
            all[index] = Some(subsystem);
        }
        for word in disabled.split(',').filter(|word| !word.is_empty()) {
            if !all.iter().flatten().any(|subsystem| subsystem.name() == word) {
                machine::log!("container: cgroup_disable: there is no subsystem {word}");
            }
        }
        let dummy = Arc::new(Container::new(
            serials.fetch_add(1, Relaxed),
            Arc::new(Hierarchy::dummy(enabled)),
            None,
            top,
            roots.clone(),
            Attributes { mode: 0o755, uid: Uid::ROOT, gid: Gid::ROOT, times: [0; 3] },
        ));
        let callbacks = CallbackLists::of(&all, enabled);
        let chargers = callbacks.charge.iter().filter_map(|&index| Some(all[index].as_ref()?.charger())).collect();
        let sets = SetTable::new(chargers);
        let root_set = sets.root_set(roots.clone());
        Arc::new(Self {
            callbacks,
            counts: CallbackCounts::new(),
            subsystems: all,
            enabled,
            roots,
            dummy,
            manage: CrowdLock::new(rank::MANAGE),
            active: SpinLock::new(rank::HIERARCHIES, [const { None }; MAX_HIERARCHIES]),
            sets,
            root_set,
            switches: Switches::default(),
            tasks,
            releases: ReleaseQueue::new(worker),
            serials,
        })
    }

    /// The subsystems that are built in and not disabled.
    pub fn enabled(&self) -> Subsystems {
        self.enabled
    }

    /// The number of container sets.
    pub fn set_count(&self) -> usize {
        self.sets.count()
    }

    /// The root state of an enabled subsystem.
    pub fn root_state<S: crate::Subsystem>(&self) -> Option<&S> {
        self.roots[S::INDEX].as_deref().map(|state| state.value())
    }

    /// Calls `f` with the task's states of subsystem `S`. `None` if that is disabled, or the task was never in a
    /// container. For a zombie these are the states that it left.
    pub fn with_states<S: crate::Subsystem, R>(
        &self,
        member: &dyn Member,
        f: impl FnOnce(crate::Lineage<'_, S>) -> R,
    ) -> Option<R> {
        if !self.enabled.contains(S::INDEX) {
            return None;
        }
        let set = member.membership().set()?;
        Some(f(crate::Lineage::new(set.state(S::INDEX))))
    }

    /// Whether any enabled subsystem asks for charges. If not, nobody needs to ask for payers.
    pub fn has_payers(&self) -> bool {
        !self.callbacks.charge.is_empty()
    }

    /// Who pays for what the kernel spends for this task: the containers that it is in now. `None` if no subsystem asks
    /// for charges, or the task is in no container.
    pub fn payer(&self, member: &dyn Member) -> Option<alloc::sync::Arc<dyn Payer>> {
        member.membership().with_set(|set| set.payer())?
    }

    /// Calls `f` with the top of the tree that subsystem `S` is bound to, while nothing is mounted, made, removed or
    /// moved in any container. `None` if the subsystem is disabled. Locks: takes *manage*, exclusively.
    pub fn with_tree<S: crate::Subsystem, R>(&self, f: impl FnOnce(&crate::Node<'_, S>) -> R) -> Option<R> {
        if !self.enabled.contains(S::INDEX) {
            return None;
        }
        let _alone = self.manage.write();
        let root = self.hierarchy_of(S::INDEX).map_or_else(|| self.dummy.clone(), |active| active.root);
        Some(f(&crate::Node::new(self, root)))
    }

    /// The built-in subsystem of this index, disabled or not.
    pub(crate) fn built_in(&self, index: usize) -> Option<&dyn Erased> {
        self.subsystems[index].as_deref()
    }

    /// The enabled subsystem of this index, which comes from a set or a list of callbacks.
    pub(crate) fn subsystem(&self, index: usize) -> &dyn Erased {
        match &self.subsystems[index] {
            Some(subsystem) => &**subsystem,
            None => panic!("no subsystem has index {index}"),
        }
    }

    /// The enabled subsystem of this name.
    pub(crate) fn subsystem_named(&self, name: &[u8]) -> Option<usize> {
        self.enabled.iter().find(|&index| self.subsystem(index).name().as_bytes() == name)
    }

    pub(crate) fn roots(&self) -> &States {
        &self.roots
    }

    pub(crate) fn dummy(&self) -> &Arc<Container> {
        &self.dummy
    }

    pub(crate) fn next_serial(&self) -> u64 {
        self.serials.fetch_add(1, Relaxed)
    }

    /// The active hierarchies in ascending order.
    pub(crate) fn active(&self) -> Vec<Active> {
        self.active.lock().iter().flatten().cloned().collect()
    }

    /// The active hierarchy to which the subsystem is bound; `None` for hierarchy 0.
    pub(crate) fn hierarchy_of(&self, subsystem: usize) -> Option<Active> {
        let active = self.active.lock();
        active.iter().flatten().find(|active| active.hierarchy.subsystems.contains(subsystem)).cloned()
    }

    /// The live tasks in the container itself. None is listed twice, none is missing that was there all the time,
    /// none is listed that was elsewhere all the time. In no order.
    ///
    /// Locks: lists and sets; *manage* exclusively if moves keep coming in between.
    pub(crate) fn tasks_of(&self, container: &Container) -> Vec<Arc<dyn Member>> {
        // A move between two sets that both name the container could hide a task from a walk, or show it twice.
        // Whoever has begun before the walk must have ended before it, and nobody may begin during it.
        for _ in 0..4 {
            let ended = self.switches.ended();
            let tasks = self.walk_tasks(container);
            if self.switches.begun() == ended {
                return tasks;
            }
        }
        let _nobody_moves = self.manage.write();
        self.walk_tasks(container)
    }

    /// The tasks in the container itself, where moves are known to be kept away.
    pub(crate) fn walk_tasks(&self, container: &Container) -> Vec<Arc<dyn Member>> {
        let mut tasks = Vec::new();
        for set in self.sets_of(container) {
            tasks.extend(set.tasks().iter().cloned());
        }
        tasks
    }

    /// The number of live tasks in the container itself.
    pub(crate) fn count_tasks(&self, container: &Container) -> usize {
        // A sum over the sets' lengths could miss a task that is just moved from one to another.
        self.tasks_of(container).len()
    }

    /// The sets that name the container, of a root those that name no other container of its hierarchy.
    pub(crate) fn sets_of(&self, container: &Container) -> Vec<Arc<crate::ContainerSet>> {
        if container.is_root() {
            self.sets.in_root_of(container.hierarchy().number())
        } else {
            container.lists.lock().sets.clone()
        }
    }
}

impl Drop for Framework {
    fn drop(&mut self) {
        // Sets and their table hold each other.
        self.sets.clear();
    }
}

impl CallbackLists {
    fn of(subsystems: &[Option<Box<dyn Erased>>; MAX_SUBSYSTEMS], enabled: Subsystems) -> Self {
        let wants = |index: usize, callback| {
            subsystems[index].as_ref().is_some_and(|subsystem| subsystem.callbacks().contains(callback))
        };
        let set = |callback| {
            let mut set = Subsystems::EMPTY;
            enabled.iter().filter(|&index| wants(index, callback)).for_each(|index| set.insert(index));
            set
        };
        let who_wants = |callback| enabled.iter().filter(|&index| wants(index, callback)).collect();
        Self {
            can_attach: set(Callbacks::CAN_ATTACH),
            attach: set(Callbacks::ATTACH),
            post_attach: set(Callbacks::POST_ATTACH),
            can_fork: who_wants(Callbacks::CAN_FORK),
            fork: who_wants(Callbacks::FORK),
            exit: who_wants(Callbacks::EXIT),
            release: who_wants(Callbacks::RELEASE),
            charge_time: who_wants(Callbacks::CHARGE_TIME),
            charge: who_wants(Callbacks::CHARGE),
            device_access: who_wants(Callbacks::DEVICE_ACCESS),
        }
    }
}

fn check_name(name: &str) {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    assert!((1..=32).contains(&name.len()) && name.bytes().all(good), "{name:?} is no name for a subsystem");
    assert!(!OPTION_WORDS.contains(&name), "{name} is a word of mount -o");
}
