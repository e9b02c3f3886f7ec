//! What the lower floors call up to, filled in once at boot.

use crate::{command_line::CommandLine, memory_users};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use base::{
    CpuSet, Errno, NodeSet,
    device::{Device, DeviceAccess},
};
use container::{Container, Framework, Lineage, Member, ReleaseWorker};
use controllers::{
    Cpuset, Freezer,
    cpu::{self, TaskGroup},
    cpuset::{self, TaskControl},
    freezer::{self, Freezing, TaskFreezer},
};
use core::any::Any;
use filesystems::terminal::Console;
use machine::{
    boot,
    interrupts::{HANDLERS, Handlers},
    sync::Hook,
    user_memory,
};
use memory::{Movable, commitment, payer::PAYERS, placement};
use process::{
    AllowedNodes, KERNEL_LOG, POPULATION, Population, RECLAIMS, SYSTEM_CALLS, Task, TaskPayers, TaskPlacement,
    faults::UserCopies,
    scheduling::{CONFINEMENT, Confinement},
};
use sched::{
    FREEZE_KEEPER, FreezeKeeper, OnlineChange, Schedulable,
    policy::{Domain, Reach},
};
use vfs::{
    DEVICE_GUARD, DeviceGuard, FILE_LIMITS,
    lock::lease::OPEN_FILES,
    socket::{SENDER, Sender},
};

/// The serial terminals, for the interrupt that brings bytes.
pub static CONSOLE: Hook<Console> = Hook::new();

/// Interrupts that need more than the machine's own answer.
struct Interrupts;

impl Handlers for Interrupts {
    fn timer(&self) {
        sched::on_timer();
    }

    fn reschedule(&self) {
        sched::on_reschedule();
    }

    fn log_grown(&self) {
        KERNEL_LOG.tell_readers();
    }

    fn console_input(&self, port: u8, bytes: &[u8]) {
        if let Some(console) = CONSOLE.get() {
            console.receive(port, bytes);
        }
    }
}

/// How many frames stand behind each task that may exist: a kernel stack, tables, and some memory of its own.
const FRAMES_PER_TASK: u64 = 32;

/// Fills all hooks, and makes the population with its container framework.
pub fn install() -> &'static Population {
    HANDLERS.install(&Interrupts);
    user_memory::FAULTS.install(&UserCopies);
    placement::PLACEMENT.install(&TaskPlacement);
    SYSTEM_CALLS.install(&syscall::Table);
    process::exec::share_clock();
    let line = CommandLine::parse(boot::info().command_line);
    let most_tasks = (memory::frames::total().total / FRAMES_PER_TASK).clamp(64, process::LARGEST_PID as u64);
    let population = Population::new(most_tasks, |tasks| {
        Framework::new(controllers::all(most_tasks), &line.disabled, tasks, Box::new(Releases))
    });
    POPULATION.install(population);
    vfs::scale_limits(memory::frames::total().total);
    if population.framework().has_payers() {
        PAYERS.install(&TaskPayers);
    }
    commitment::PRIVILEGE.install(&process::TaskPrivilege);
    commitment::scale_reserves(memory::frames::total().free);
    DEVICE_GUARD.install(&ContainerDevices);
    FILE_LIMITS.install(&process::OwnLimits);
    OPEN_FILES.install(&process::TaskFiles);
    SENDER.install(&running_sender);
    memory_users::install(population);
    cpu::SCHEDULER.install(&Groups);
    freezer::TASKS.install(&Frost);
    FREEZE_KEEPER.install(&Frost);
    cpuset::TASKS.install(&Confined);
    RECLAIMS.install(&note_reclaim);
    CONFINEMENT.install(&Confined);
    sched::ONLINE_CHANGED.install(&Confined);
    population
}

/// The scheduler's groups, for the controller of CPU time.
struct Groups;

struct SchedulerGroup(Arc<sched::Group>);

impl SchedulerGroup {
    /// All groups that the controller knows were made here.
    fn of(group: &dyn TaskGroup) -> &Arc<sched::Group> {
        let any: &dyn Any = group;
        match any.downcast_ref::<Self>() {
            Some(group) => &group.0,
            None => panic!("a group of the cpu controller is none of the scheduler"),
        }
    }
}

impl TaskGroup for SchedulerGroup {
    fn set_weight(&self, weight: u32) {
        self.0.set_weight(weight);
    }

    fn set_idle(&self, idle: bool) {
        self.0.set_idle(idle);
    }

    fn set_parent(&self, parent: &dyn TaskGroup) {
        sched::set_parent(&self.0, Self::of(parent));
    }

    fn set_limit(&self, limit: Option<cpu::Limit>) {
        let limit = limit.map(|cpu::Limit { quota, period, burst }| sched::Limit { quota, period, burst });
        if limit.is_some() || self.0.is_limited() {
            sched::set_limit(&self.0, limit);
        }
    }

    fn statistics(&self) -> cpu::Statistics {
        let sched::LimitStatistics { periods, throttled, throttled_time, bursts, burst_time } =
            self.0.limit_statistics();
        cpu::Statistics { usage: self.0.ran(), periods, throttled, throttled_time, bursts, burst_time }
    }
}

impl cpu::Scheduler for Groups {
    fn roots(&self) -> cpu::Groups {
        let roots = sched::roots();
        let of = |group: &Arc<sched::Group>| Arc::new(SchedulerGroup(group.clone()));
        cpu::Groups { outer: of(&roots.whole), rest: of(&roots.rest) }
    }

    fn new_group(&self, parent: &dyn TaskGroup) -> Arc<dyn TaskGroup> {
        Arc::new(SchedulerGroup(sched::new_group(SchedulerGroup::of(parent))))
    }

    fn put(&self, member: &dyn Member, group: Option<&dyn TaskGroup>) {
        if let Some(task) = task_of(member) {
            let group = group.map(|group| SchedulerGroup::of(group).clone());
            sched::set_group(task.entity(), || task.schedulable(), group);
        }
    }
}

/// The task has to look for memory itself: its cpuset counts that.
fn note_reclaim(task: &Task) {
    cpuset::note_reclaim(task.population().framework(), task);
}

/// What cpusets do to tasks.
struct Confined;

impl TaskControl for Confined {
    fn set_cpus(&self, member: &dyn Member, cpus: &CpuSet) {
        if let Some(task) = task_of(member) {
            task.confine(cpus);
        }
    }

    fn admit(&self, members: &mut dyn Iterator<Item = &dyn Member>, cpus: &CpuSet) -> Result<(), Errno> {
        sched::admit_move(members.filter_map(task_of).map(Task::entity), cpus)
    }

    fn stay(&self, members: &mut dyn Iterator<Item = &dyn Member>) {
        sched::cancel_move(members.filter_map(task_of).map(Task::entity));
    }

    fn may_shrink(&self, now: &CpuSet, wanted: &CpuSet) -> bool {
        sched::may_shrink(now, wanted)
    }

    fn chose_cpus(&self, member: &dyn Member) -> bool {
        task_of(member).is_some_and(Task::chose_cpus)
    }

    fn set_domains(&self, domains: &[cpuset::Domain]) {
        let reach = |level| Reach::from_raw(level);
        let domains: Vec<_> =
            domains.iter().map(|&cpuset::Domain { cpus, level }| Domain { cpus, reach: reach(level) }).collect();
        sched::set_domains(&domains);
    }

    fn has_cpu(&self, member: &dyn Member) -> bool {
        task_of(member).is_none_or(|task| task.entity().allowed().intersects(&machine::cpu::online()))
    }

    fn set_nodes(&self, member: &dyn Member, nodes: &cpuset::Nodes) {
        if let Some(task) = task_of(member) {
            let cpuset::Nodes { mems, kernel, spread_files, spread_objects } = *nodes;
            task.set_allowed_nodes(AllowedNodes { own: mems, kernel, spread_files, spread_objects });
        }
    }

    fn rebind_space(&self, member: &dyn Member, mems: &NodeSet) {
        if let Some(space) = task_of(member).and_then(|task| task.space().ok()) {
            space.rebind_policies(&mems.and(&machine::topology::get().nodes_with_memory()));
            process::release_space(space);
        }
    }

    fn move_pages(&self, member: &dyn Member, from: &NodeSet, to: &NodeSet) {
        if let Some(space) = task_of(member).and_then(|task| task.space().ok()) {
            space.move_between(from, to, Movable::Everybodys);
            process::release_space(space);
        }
    }
}

impl Confinement for Confined {
    fn allowed(&self, task: &Task) -> CpuSet {
        let framework = task.population().framework();
        framework.with_states(task, |place: Lineage<'_, Cpuset>| place.own().cpus()).unwrap_or(machine::cpu::possible())
    }
}

impl OnlineChange for Confined {
    fn changed(&self) {
        if let Some(population) = POPULATION.get() {
            cpuset::follow_machine(population.framework());
            cpu::follow_machine(population.framework());
        }
    }
}

/// Freezer and scheduler reach each other: what the one wishes, and what has come of it.
struct Frost;

impl Frost {
    fn of<R>(member: &dyn Member, f: impl FnOnce(&Arc<dyn Schedulable>) -> R) -> Option<R> {
        task_of(member).and_then(Task::schedulable).map(|task| f(&task))
    }

    fn settled(task: &Arc<dyn Schedulable>, f: impl FnOnce(Lineage<'_, Freezer>, &dyn Member)) {
        let any: &dyn Any = &**task;
        if let Some(task) = any.downcast_ref::<Task>() {
            task.population().framework().with_settled_states(task, |place| f(place, task));
        }
    }
}

impl TaskFreezer for Frost {
    fn freeze(&self, member: &dyn Member) -> Freezing {
        match task_of(member).map(Task::freeze) {
            Some(sched::Freezing::Before) => Freezing::Before,
            Some(sched::Freezing::Done) => Freezing::Done,
            Some(sched::Freezing::Soon) | None => Freezing::Soon,
        }
    }

    fn thaw(&self, member: &dyn Member) -> Option<bool> {
        Self::of(member, sched::thaw).flatten()
    }

    fn progress(&self, member: &dyn Member) -> Option<bool> {
        Self::of(member, sched::progress).flatten()
    }

    fn mark_frozen(&self, member: &dyn Member) -> bool {
        Self::of(member, sched::mark_frozen).unwrap_or(false)
    }

    fn let_end(&self, member: &dyn Member) -> bool {
        Self::of(member, sched::let_end).unwrap_or(false)
    }
}

impl FreezeKeeper for Frost {
    fn settle(&self, task: &Arc<dyn Schedulable>) {
        Self::settled(task, Freezer::settle);
    }

    fn release(&self, task: &Arc<dyn Schedulable>) {
        Self::settled(task, Freezer::release);
    }
}

/// The containers of the running task say which devices it may use.
struct ContainerDevices;

/// Who the running task is, for those to whom it sends a message.
fn running_sender() -> Option<Sender> {
    let task = process::current()?;
    let credentials = task.credentials();
    Some(Sender { pid: task.pid(), uid: credentials.uid, gid: credentials.gid })
}

impl DeviceGuard for ContainerDevices {
    fn check(&self, device: &Device, access: DeviceAccess) -> Result<(), Errno> {
        match process::current() {
            Some(task) => task.population().framework().device_access(&*task, device, access),
            // The kernel itself, which fills the first file system.
            None => Ok(()),
        }
    }
}

/// Every member is a task.
pub fn task_of(member: &dyn Member) -> Option<&Task> {
    let member: &dyn Any = member;
    member.downcast_ref()
}

/// Wakes the thread that starts release agents.
struct Releases;

impl ReleaseWorker for Releases {
    fn wake(&self) {
        crate::releases::wake();
    }

    fn removed(&self, container: &Arc<Container>) {
        filesystems::container::removed(container);
    }
}
