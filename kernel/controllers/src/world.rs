//! A small world for the tests of controllers: a framework with one hierarchy, and tasks that only live and die.

mod control;

pub use control::{domains, times_domains_were_set};

use crate::cpuset::TASKS;
use crate::freezer::{self, Freezer};
use base::{
    Capabilities, CpuId, CpuSet, Credentials, Errno, Gid, NodeSet, Pid, Uid,
    charge::Payer,
    device::{Device, DeviceAccess},
};
use container::{
    Admission, AnySubsystem, Attributes, Container, Dialect, Framework, Gate, MAX_SUBSYSTEMS, Member, Membership,
    Mounted, ParameterId, ReleaseWorker, TaskTable, Watcher, Writer,
};
use core::any::Any;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::sync::{
    Arc, Mutex, Once,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};
use std::vec::Vec;

/// A task.
pub struct Task {
    /// The scheduler's group that it is in.
    pub group: Mutex<u64>,
    membership: Membership,
    gate: Gate,
    tid: Pid,
    credentials: Mutex<Arc<Credentials>>,
    /// Those that it may use, and whether it chose them itself.
    cpus: Mutex<(CpuSet, bool)>,
    nodes: Mutex<NodeSet>,
    kernel_nodes: Mutex<NodeSet>,
    spreads: [AtomicBool; 2],
    /// It has reserved time that no CPU has alone.
    reserves: AtomicBool,
    moves: Mutex<Vec<String>>,
    rebinds: Mutex<Vec<String>>,
    threads: Mutex<std::sync::Weak<Task>>,
    asleep: AtomicBool,
    wanted_frozen: AtomicBool,
    frozen: AtomicBool,
    ending: AtomicBool,
}

impl Task {
    fn new(tid: i32, cpus: (CpuSet, bool), nodes: NodeSet) -> Arc<Self> {
        let task = Arc::new(Self {
            group: Mutex::new(1),
            membership: Membership::new(),
            gate: Gate::new(),
            tid: Pid::new(tid),
            credentials: Mutex::new(Arc::new(Credentials::root())),
            cpus: Mutex::new(cpus),
            nodes: Mutex::new(nodes),
            kernel_nodes: Mutex::new(nodes),
            spreads: Default::default(),
            reserves: AtomicBool::default(),
            moves: Mutex::default(),
            rebinds: Mutex::default(),
            threads: Mutex::default(),
            asleep: AtomicBool::default(),
            wanted_frozen: AtomicBool::default(),
            frozen: AtomicBool::default(),
            ending: AtomicBool::default(),
        });
        *task.threads.lock().unwrap() = Arc::downgrade(&task);
        task
    }

    /// It asks for these CPUs itself.
    pub fn choose_cpus(&self, list: &str) {
        *self.cpus.lock().unwrap() = (CpuSet::parse_list(list, CpuId::new(3)).unwrap(), true);
    }

    /// It reserves time that no CPU has alone.
    pub fn reserve(&self) {
        self.reserves.store(true, SeqCst);
    }

    /// The CPUs that it may run on, as a list.
    pub fn cpus(&self) -> String {
        self.cpus.lock().unwrap().0.to_string()
    }

    /// Where memory that the kernel needs for it may lie.
    pub fn kernel_nodes(&self) -> String {
        self.kernel_nodes.lock().unwrap().to_string()
    }

    /// Whether pages of its files go round its nodes, and whether the kernel's objects do.
    pub fn spreads(&self) -> [bool; 2] {
        [0, 1].map(|which: usize| self.spreads[which].load(SeqCst))
    }

    /// Between which nodes its pages were moved since the last question.
    pub fn moves(&self) -> Vec<String> {
        core::mem::take(&mut *self.moves.lock().unwrap())
    }

    /// The nodes that the policies of its memory were told of since the last question.
    pub fn rebinds(&self) -> Vec<String> {
        core::mem::take(&mut *self.rebinds.lock().unwrap())
    }

    /// The nodes that its memory may lie on, as a list.
    pub fn nodes(&self) -> String {
        self.nodes.lock().unwrap().to_string()
    }

    /// It sleeps from now on, so that freezing finds nothing to wait for.
    pub fn fall_asleep(&self) {
        self.asleep.store(true, SeqCst);
    }

    /// Whether it is frozen.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(SeqCst)
    }

    /// Still the superuser by number, but without any capability.
    pub fn lose_capabilities(&self) {
        let none = Capabilities::empty();
        let weak = Credentials { effective: none, permitted: none, ..Credentials::root() };
        *self.credentials.lock().unwrap() = Arc::new(weak);
    }
}

impl Member for Task {
    fn membership(&self) -> &Membership {
        &self.membership
    }
    fn tid(&self) -> Pid {
        self.tid
    }
    fn process_id(&self) -> Pid {
        self.tid
    }
    fn is_kernel_thread(&self) -> bool {
        false
    }
    fn credentials(&self) -> Arc<Credentials> {
        self.credentials.lock().unwrap().clone()
    }
    fn threads(&self) -> Vec<Arc<dyn Member>> {
        let own = self.threads.lock().unwrap().upgrade();
        own.into_iter().map(|task| task as Arc<dyn Member>).collect()
    }
    fn kill(&self) {}
    fn gate(&self) -> &Gate {
        &self.gate
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[derive(Clone, Default)]
struct Table(Arc<Mutex<BTreeMap<i32, Arc<Task>>>>);

impl TaskTable for Table {
    fn find(&self, tid: Pid) -> Option<Arc<dyn Member>> {
        Some(self.0.lock().unwrap().get(&tid.raw())?.clone())
    }
    fn current(&self) -> Option<Arc<dyn Member>> {
        self.find(Pid::new(1))
    }
}

struct NoWorker;

impl ReleaseWorker for NoWorker {
    fn wake(&self) {}
}

/// Counts the changes of a file that are told.
#[derive(Default)]
pub struct Changes(AtomicU64);

impl Changes {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

impl Watcher for Changes {
    fn changed(&self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// How many tasks there can be in such a world.
pub const MOST_TASKS: u64 = 1000;

/// One hierarchy with one subsystem, in the cgroup dialect.
pub struct World {
    framework: Arc<Framework>,
    mounted: Mounted,
    tasks: Table,
    /// The first task, in the root: the one who writes.
    first: Arc<Task>,
    next: Mutex<i32>,
}

impl World {
    /// A world whose hierarchy has the subsystem of that name.
    pub fn with(subsystem: &str) -> Self {
        Self::of(crate::all(MOST_TASKS), subsystem)
    }

    /// The same in the named dialect.
    pub fn of_dialect(dialect: Dialect, subsystem: &str) -> Self {
        Self::new(dialect, crate::all(MOST_TASKS), subsystem)
    }

    /// A world with these subsystems, of which the named ones are bound to its hierarchy.
    pub fn of(subsystems: Vec<AnySubsystem>, bound: &str) -> Self {
        Self::new(Dialect::Cgroup, subsystems, bound)
    }

    fn new(dialect: Dialect, subsystems: Vec<AnySubsystem>, bound: &str) -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            TASKS.install(&control::Control);
            freezer::TASKS.install(&control::Control);
            crate::cpu::SCHEDULER.install(&crate::cpu::fake::Fake);
        });
        let tasks = Table::default();
        let framework = Framework::new(subsystems, "", Box::new(tasks.clone()), Box::new(NoWorker));
        let mounted = framework.mount(dialect, bound.as_bytes(), &Credentials::root()).unwrap();
        let first = Task::new(1, (machine::cpu::possible(), false), machine::topology::get().nodes_with_memory());
        tasks.0.lock().unwrap().insert(1, first.clone());
        framework.can_start().unwrap().admit(&(first.clone() as Arc<dyn Member>));
        Self { framework, mounted, tasks, first, next: Mutex::new(2) }
    }

    /// The same world with one more container.
    pub fn mkdir(self, path: &str) -> Self {
        self.try_mkdir(path).unwrap();
        self
    }

    /// The framework itself.
    pub fn framework(&self) -> &Framework {
        &self.framework
    }

    /// Calls `f` with the state of a subsystem for the container.
    pub fn state<S: container::Subsystem, R>(&self, path: &str, f: impl FnOnce(&S) -> R) -> R {
        let task = self.spawn_in(path);
        let result = self.framework.with_states(&*task, |place: container::Lineage<'_, S>| f(place.own())).unwrap();
        self.exit(&task);
        self.reap(&task);
        result
    }

    /// Makes a container.
    pub fn try_mkdir(&self, path: &str) -> Result<(), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = self.find(parent).ok_or(Errno::ENOENT)?;
        let attributes = Attributes { mode: 0o755, uid: Uid::ROOT, gid: Gid::ROOT, times: [0; 3] };
        self.framework.mkdir(&parent, name.as_bytes(), attributes).map(drop)
    }

    /// Removes a container.
    pub fn rmdir(&self, path: &str) -> Result<(), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap();
        self.framework.rmdir(&self.find(parent).ok_or(Errno::ENOENT)?, name.as_bytes())
    }

    /// Whether there is such a container.
    pub fn exists(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    fn find(&self, path: &str) -> Option<Arc<Container>> {
        let mut names = path.split('/').filter(|name| !name.is_empty());
        names.try_fold(self.mounted.root().clone(), |container, name| container.child(name.as_bytes()))
    }

    fn at(&self, path: &str) -> Arc<Container> {
        self.find(path).unwrap_or_else(|| panic!("there is no container {path}"))
    }

    /// Whether the container has such a file.
    pub fn has_file(&self, path: &str, file: &str) -> bool {
        self.at(path).file(file.as_bytes()).is_some()
    }

    /// The names of its files.
    pub fn files(&self, path: &str) -> Vec<String> {
        self.at(path).files(None).map(|(_, name)| String::from(name)).collect()
    }

    /// What the file shows.
    pub fn read(&self, path: &str, file: &str) -> String {
        self.try_read(path, file).unwrap()
    }

    /// What the file shows, or why it does not.
    pub fn try_read(&self, path: &str, file: &str) -> Result<String, Errno> {
        let container = self.at(path);
        let file = container.file(file.as_bytes()).unwrap_or_else(|| panic!("there is no file {file}"));
        let mut text = String::new();
        self.framework.read_file(&container, file, &mut text).map(|()| text)
    }

    /// Writes to the file as the first task.
    pub fn write(&self, path: &str, file: &str, text: &str) -> Result<(), Errno> {
        self.write_as(&self.first, path, file, text)
    }

    /// Writes to the file as another task.
    pub fn write_as(&self, writer: &Arc<Task>, path: &str, file: &str, text: &str) -> Result<(), Errno> {
        let container = self.at(path);
        let file = container.file(file.as_bytes()).unwrap_or_else(|| panic!("there is no file {file}"));
        let task = || Some(writer.clone() as Arc<dyn Member>);
        self.framework.write_file(&container, file, text.as_bytes(), &Writer::new(&task, &writer.credentials()))
    }

    /// The setting of this name of any of the subsystems.
    fn parameter_id(&self, name: &str) -> ParameterId {
        let all = (0..MAX_SUBSYSTEMS).filter_map(|index| self.framework.parameters(index)).flat_map(|(_, all)| all);
        all.into_iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("there is no setting {name}")).1
    }

    /// What a setting of a subsystem is.
    pub fn parameter(&self, name: &str) -> String {
        self.framework.show_parameter(self.parameter_id(name)).unwrap()
    }

    /// Changes a setting of a subsystem.
    pub fn set_parameter(&self, name: &str, text: &str) -> Result<(), Errno> {
        self.framework.store_parameter(self.parameter_id(name), text.as_bytes())
    }

    /// Moves a task.
    pub fn attach(&self, path: &str, task: &Arc<Task>) -> Result<(), Errno> {
        self.attach_as(&self.first, path, task)
    }

    /// Moves a task at the wish of another.
    pub fn attach_as(&self, writer: &Arc<Task>, path: &str, task: &Arc<Task>) -> Result<(), Errno> {
        self.write_as(writer, path, "tasks", &task.tid.to_string())
    }

    /// A new task in the container.
    pub fn spawn_in(&self, path: &str) -> Arc<Task> {
        let task = self.fork(&self.first).unwrap();
        self.attach(path, &task).unwrap();
        task
    }

    /// A child of `parent`.
    pub fn fork(&self, parent: &Arc<Task>) -> Result<Arc<Task>, Errno> {
        self.fork_with(parent, || ())
    }

    /// A child of `parent`; `meanwhile` happens after it was made and before it is visible.
    pub fn fork_with(&self, parent: &Arc<Task>, meanwhile: impl FnOnce()) -> Result<Arc<Task>, Errno> {
        self.admit(parent, self.framework.can_fork(&**parent)?, meanwhile)
    }

    fn admit(&self, parent: &Task, admission: Admission<'_>, meanwhile: impl FnOnce()) -> Result<Arc<Task>, Errno> {
        let tid = {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            *next
        };
        let child = Task::new(tid, *parent.cpus.lock().unwrap(), *parent.nodes.lock().unwrap());
        meanwhile();
        self.tasks.0.lock().unwrap().insert(tid, child.clone());
        admission.admit(&(child.clone() as Arc<dyn Member>));
        Ok(child)
    }

    /// A child of `parent` that is born in the container.
    pub fn fork_into(&self, parent: &Arc<Task>, path: &str) -> Result<Arc<Task>, Errno> {
        let (target, parent) = (self.at(path), parent.clone() as Arc<dyn Member>);
        self.admit(control::own(&*parent), self.framework.can_fork_into(&parent, &target)?, || ())
    }

    /// A fork that is allowed, and then fails for a reason that no controller knows.
    pub fn fail_to_fork(&self, parent: &Arc<Task>) {
        drop(self.framework.can_fork(&**parent).unwrap());
    }

    /// Whether the task may do that with a device.
    pub fn device_access(&self, task: &Arc<Task>, device: &Device, access: DeviceAccess) -> Result<(), Errno> {
        self.framework.device_access(&**task, device, access)
    }

    /// How often the file's readers are told of a change from now on.
    pub fn watch(&self, path: &str, file: &str) -> Arc<Changes> {
        let container = self.at(path);
        let file = container.file(file.as_bytes()).unwrap_or_else(|| panic!("there is no file {file}"));
        let notice = self.framework.notice(&container, file).unwrap_or_else(|| panic!("the file tells nobody"));
        let changes = Arc::new(Changes::default());
        notice.watch(|| changes.clone());
        changes
    }

    /// The task has come where it stays if it is wanted frozen.
    pub fn settle(&self, task: &Arc<Task>) {
        if task.wanted_frozen.load(SeqCst) && !task.ending.load(SeqCst) && !task.is_frozen() {
            self.framework.with_settled_states(&**task, |place| Freezer::settle(place, &**task));
        }
    }

    /// The task is killed; it has not ended yet.
    pub fn kill(&self, task: &Arc<Task>) {
        if !task.ending.swap(true, SeqCst) && task.wanted_frozen.load(SeqCst) {
            self.framework.with_settled_states(&**task, |place| Freezer::release(place, &**task));
        }
    }

    /// The task ends and is a zombie.
    pub fn exit(&self, task: &Arc<Task>) {
        self.kill(task);
        self.framework.exit(&**task);
    }

    /// The zombie is gone.
    pub fn reap(&self, task: &Arc<Task>) {
        self.framework.release(&**task);
        self.tasks.0.lock().unwrap().remove(&task.tid.raw());
    }

    /// The task ran on `cpu`, so many ns in user mode and in the kernel.
    pub fn run(&self, task: &Arc<Task>, cpu: u32, user: u64, system: u64) {
        self.framework.charge_time(&**task, CpuId::new(cpu), user, system);
    }

    /// Who pays for what the task asks for.
    pub fn payer(&self, task: &Arc<Task>) -> Arc<dyn Payer> {
        self.framework.payer(&**task).expect("bc asks for charges")
    }

    /// Who pays for what is made for a child of `parent` that is about to be born in the container.
    pub fn payer_of_child(&self, parent: &Arc<Task>, path: &str) -> Arc<dyn Payer> {
        let (target, parent) = (self.at(path), parent.clone() as Arc<dyn Member>);
        let admission = self.framework.can_fork_into(&parent, &target).unwrap();
        admission.payer().expect("bc asks for charges")
    }

    /// The text of the subsystem's file in /proc as the task sees it.
    pub fn report(&self, subsystem: usize, reader: &Arc<Task>) -> String {
        self.framework.report(subsystem, &**reader).unwrap()
    }

    /// The number of lines of the container's `tasks` file.
    pub fn tasks_in(&self, path: &str) -> usize {
        self.read(path, "tasks").lines().count()
    }
}
