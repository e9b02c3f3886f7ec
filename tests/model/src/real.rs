//! The framework of the kernel with its controllers, driven the same way as the model.

use crate::reference::{
    ALL_CPUS, ALL_NODES, Dialect, FIRST, KERNEL_THREAD, Kind, MOST_TASKS, Rights, Writer, is_modelled, sleeps,
};
use base::{
    Capabilities, CpuId, CpuSet, Credentials, Errno, Gid, NodeId, NodeSet, Pid, Uid,
    charge::{Payer, Resource, Severity},
    device::{Device, DeviceAccess, DeviceKind},
};
use container::{
    Attributes, Container, Framework, Gate, Member, Membership, Mounted, ReleaseWorker, Subsystem, TaskTable,
    Writer as RealWriter,
};
use controllers::cpuset::{Domain, Nodes, TASKS, TaskControl};
use controllers::freezer::{self, Freezer, Freezing, TaskFreezer};
use controllers::memory::{Ledger, Memory};
use memory::ChargeKind;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Once, Weak};

/// A process: what its threads share.
struct Process {
    number: Pid,
    gate: Gate,
    threads: Mutex<Vec<Weak<Task>>>,
    killed: Arc<Mutex<BTreeSet<i32>>>,
}

/// A task.
struct Task {
    membership: Membership,
    number: Pid,
    kernel: bool,
    rights: Rights,
    process: Arc<Process>,
    masks: Mutex<(u32, u32)>,
    wanted_frozen: AtomicBool,
    frozen: AtomicBool,
}

/// Nobody panics while holding one of these locks and goes on.
fn held<T: ?Sized>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn credentials(rights: Rights) -> Credentials {
    let none = Capabilities::empty();
    let root = Credentials::root();
    match rights {
        Rights::All => root,
        Rights::OnlyTheNumber => Credentials { effective: none, permitted: none, ..root },
        Rights::User => {
            let uid = Uid::new(1000);
            Credentials { uid, euid: uid, suid: uid, fsuid: uid, effective: none, permitted: none, ..root }
        }
    }
}

impl Member for Task {
    fn membership(&self) -> &Membership {
        &self.membership
    }
    fn tid(&self) -> Pid {
        self.number
    }
    fn process_id(&self) -> Pid {
        self.process.number
    }
    fn is_kernel_thread(&self) -> bool {
        self.kernel
    }
    fn credentials(&self) -> Arc<Credentials> {
        Arc::new(credentials(self.rights))
    }
    fn threads(&self) -> Vec<Arc<dyn Member>> {
        held(&self.process.threads).iter().filter_map(Weak::upgrade).map(|task| task as Arc<dyn Member>).collect()
    }
    fn gate(&self) -> &Gate {
        &self.process.gate
    }
    fn kill(&self) {
        held(&self.process.killed).insert(self.process.number.raw());
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Obeys cpuset as the scheduler and the memory would.
struct Control;

fn bits(set: impl IntoIterator<Item = u32>) -> u32 {
    set.into_iter().fold(0, |bits, number| bits | 1 << number)
}

fn own(task: &dyn Member) -> Option<&Task> {
    task.as_any().downcast_ref()
}

impl TaskControl for Control {
    fn set_cpus(&self, task: &dyn Member, cpus: &CpuSet) {
        if let Some(task) = own(task) {
            held(&task.masks).0 = bits(cpus.iter().map(|cpu| cpu.raw()));
        }
    }
    /// No task of the model has reserved time.
    fn admit(&self, _tasks: &mut dyn Iterator<Item = &dyn Member>, _cpus: &CpuSet) -> Result<(), Errno> {
        Ok(())
    }
    fn stay(&self, _tasks: &mut dyn Iterator<Item = &dyn Member>) {}
    fn may_shrink(&self, _now: &CpuSet, _wanted: &CpuSet) -> bool {
        true
    }
    /// No task of the model does.
    fn chose_cpus(&self, _task: &dyn Member) -> bool {
        false
    }
    /// Where tasks are balanced changes nothing that a file shows.
    fn set_domains(&self, _domains: &[Domain]) {}
    fn has_cpu(&self, task: &dyn Member) -> bool {
        own(task).is_some_and(|task| held(&task.masks).0 & ALL_CPUS != 0)
    }
    fn set_nodes(&self, task: &dyn Member, nodes: &Nodes) {
        if let Some(task) = own(task) {
            held(&task.masks).1 = bits(nodes.mems.iter().map(|node| node.raw()));
        }
    }
    /// Where pages lie changes nothing that a file of cpuset shows.
    fn move_pages(&self, _task: &dyn Member, _from: &NodeSet, _to: &NodeSet) {}
    /// Nor do policies of memory.
    fn rebind_space(&self, _task: &dyn Member, _mems: &NodeSet) {}
}

impl TaskFreezer for Control {
    fn freeze(&self, task: &dyn Member) -> Freezing {
        let Some(task) = own(task) else { return Freezing::Before };
        if task.wanted_frozen.swap(true, Relaxed) {
            return Freezing::Before;
        }
        let done = sleeps(task.number.raw());
        task.frozen.store(done, Relaxed);
        if done { Freezing::Done } else { Freezing::Soon }
    }
    fn thaw(&self, task: &dyn Member) -> Option<bool> {
        let task = own(task)?;
        let frozen = task.frozen.swap(false, Relaxed);
        task.wanted_frozen.swap(false, Relaxed).then_some(frozen)
    }
    fn progress(&self, task: &dyn Member) -> Option<bool> {
        let task = own(task)?;
        task.wanted_frozen.load(Relaxed).then(|| task.frozen.load(Relaxed))
    }
    fn mark_frozen(&self, task: &dyn Member) -> bool {
        own(task).is_some_and(|task| {
            let wanted = task.wanted_frozen.load(Relaxed);
            !task.frozen.fetch_or(wanted, Relaxed) && wanted
        })
    }
    fn let_end(&self, task: &dyn Member) -> bool {
        own(task).is_some_and(|task| task.frozen.swap(false, Relaxed))
    }
}

#[derive(Clone, Default)]
struct Table(Arc<Mutex<BTreeMap<i32, Arc<Task>>>>);

impl TaskTable for Table {
    fn find(&self, tid: Pid) -> Option<Arc<dyn Member>> {
        Some(held(&self.0).get(&tid.raw())?.clone())
    }
}

/// The worker is whoever calls [`Real::work`].
struct Worker;

impl ReleaseWorker for Worker {
    fn wake(&self) {}
}

/// The framework, and what a file system and a table of processes would keep.
pub struct Real {
    framework: Arc<Framework>,
    table: Table,
    mounts: Vec<Mounted>,
    containers: BTreeMap<u32, Arc<Container>>,
    killed: Arc<Mutex<BTreeSet<i32>>>,
    next: i32,
    /// Notes and nodes of pages.
    pages: Vec<(u32, NodeId)>,
    spent: Vec<(Arc<dyn Payer>, Resource, u64)>,
}

impl Default for Real {
    fn default() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            TASKS.install(&Control);
            freezer::TASKS.install(&Control);
        });
        let table = Table::default();
        let all = controllers::all(MOST_TASKS);
        let framework = Framework::new(all, "", Box::new(table.clone()), Box::new(Worker));
        let mut real = Self {
            framework,
            table,
            mounts: Vec::new(),
            containers: BTreeMap::new(),
            killed: Arc::default(),
            next: FIRST,
            pages: Vec::new(),
            spent: Vec::new(),
        };
        real.start(KERNEL_THREAD, true);
        real.start(FIRST, false);
        real
    }
}

impl Real {
    fn start(&mut self, number: i32, kernel: bool) {
        let task = self.new_task(number, kernel, Rights::All, None, (ALL_CPUS, ALL_NODES));
        let admission = self.framework.can_start().expect("nobody limits the first tasks");
        admission.admit(&(task as Arc<dyn Member>));
    }

    fn new_task(
        &self,
        number: i32,
        kernel: bool,
        rights: Rights,
        process: Option<Arc<Process>>,
        masks: (u32, u32),
    ) -> Arc<Task> {
        let process = process.unwrap_or_else(|| {
            Arc::new(Process {
                number: Pid::new(number),
                gate: Gate::new(),
                threads: Mutex::default(),
                killed: self.killed.clone(),
            })
        });
        let membership = Membership::new();
        let task = Arc::new(Task {
            membership,
            number: Pid::new(number),
            kernel,
            rights,
            process,
            masks: Mutex::new(masks),
            wanted_frozen: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
        });
        held(&task.process.threads).push(Arc::downgrade(&task));
        held(&self.table.0).insert(number, task.clone());
        task
    }

    fn task(&self, number: i32) -> Arc<Task> {
        held(&self.table.0)[&number].clone()
    }

    /// The hierarchy's number.
    pub fn mount(&mut self, dialect: Dialect, data: &str, rights: Rights) -> Result<usize, Errno> {
        let dialect = match dialect {
            Dialect::Container => container::Dialect::Container,
            Dialect::Cgroup => container::Dialect::Cgroup,
        };
        let mounted = self.framework.mount(dialect, data.as_bytes(), &credentials(rights))?;
        let number = mounted.hierarchy().number();
        self.mounts.push(mounted);
        Ok(number)
    }

    /// The model calls the root of the newest mount by this number.
    pub fn know_root(&mut self, id: u32) {
        if let Some(mounted) = self.mounts.last() {
            self.containers.insert(id, mounted.root().clone());
        }
    }

    /// Remounts that mount.
    pub fn remount(&self, which: usize, data: &str, rights: Rights) -> Result<(), Errno> {
        self.mounts[which].remount(data.as_bytes(), &credentials(rights))
    }

    /// Takes a mount away.
    pub fn umount(&mut self, which: usize) {
        drop(self.mounts.remove(which));
    }

    /// What `/proc/mounts` shows behind the mount's own flags.
    pub fn mount_options(&self, which: usize) -> String {
        text(&self.mounts[which].options())
    }

    /// Makes a container, which the model calls `id`.
    pub fn mkdir(&mut self, parent: u32, name: &[u8], id: Option<u32>) -> Result<(), Errno> {
        let attributes = Attributes { mode: 0o755, uid: Uid::ROOT, gid: Gid::ROOT, times: [0; 3] };
        let child = self.framework.mkdir(&self.containers[&parent], name, attributes)?;
        if let Some(id) = id {
            self.containers.insert(id, child);
        }
        Ok(())
    }

    /// Removes a container.
    pub fn rmdir(&self, parent: u32, name: &[u8]) -> Result<(), Errno> {
        self.framework.rmdir(&self.containers[&parent], name)
    }

    /// The last file of a removed container is closed.
    pub fn forget(&mut self, container: u32) {
        self.containers.remove(&container);
    }

    /// Gives a container another name.
    pub fn rename(&self, parent: u32, name: &[u8], new_parent: u32, new_name: &[u8]) -> Result<(), Errno> {
        self.framework.rename(&self.containers[&parent], name, &self.containers[&new_parent], new_name)
    }

    /// The control files in order, without those that are not modelled.
    pub fn files(&self, container: u32) -> Vec<String> {
        let files = self.containers[&container].files(None).map(|(_, name)| name.to_owned());
        files.filter(|name| is_modelled(name)).collect()
    }

    /// What a control file shows.
    pub fn read(&self, container: u32, file: &str) -> Result<String, Errno> {
        let container = &self.containers[&container];
        let file = container.file(file.as_bytes()).ok_or(Errno::ENOENT)?;
        let mut text = String::new();
        self.framework.read_file(container, file, &mut text).map(|()| text)
    }

    /// Writes to a control file.
    pub fn write(&self, container: u32, file: &str, text: &[u8], writer: Writer) -> Result<(), Errno> {
        let container = &self.containers[&container];
        let file = container.file(file.as_bytes()).ok_or(Errno::ENOENT)?;
        let task = || Some(self.task(writer.task) as Arc<dyn Member>);
        let opener = credentials(writer.opener);
        self.framework.write_file(container, file, text, &RealWriter::new(&task, &opener))
    }

    /// The new task.
    pub fn fork(&mut self, parent: i32, thread: bool, rights: Rights) -> Result<i32, Errno> {
        let parent = self.task(parent);
        let admission = self.framework.can_fork(&*parent)?;
        self.next += 1;
        let (process, rights) = if thread { (Some(parent.process.clone()), parent.rights) } else { (None, rights) };
        let masks = *held(&parent.masks);
        let child = self.new_task(self.next, false, rights, process, masks);
        admission.admit(&(child as Arc<dyn Member>));
        Ok(self.next)
    }

    /// The task becomes a zombie.
    pub fn exit(&self, task: i32) {
        let task = self.task(task);
        self.framework.exit(&*task);
        held(&task.process.threads).retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(&task)));
    }

    /// The zombie is gone.
    pub fn reap(&self, number: i32) {
        self.framework.release(&*self.task(number));
        held(&self.table.0).remove(&number);
    }

    /// The task ran.
    pub fn charge(&self, task: i32, cpu: usize, user: u64, system: u64) {
        let cpu = CpuId::new(u32::try_from(cpu).unwrap_or(0));
        self.framework.charge_time(&*self.task(task), cpu, user, system);
    }

    /// The task comes to a point where it can stand still.
    pub fn settle(&self, task: i32) {
        let task = self.task(task);
        if task.wanted_frozen.load(Relaxed) && !task.frozen.load(Relaxed) {
            self.framework.with_settled_states(&*task, |place| Freezer::settle(place, &*task));
        }
    }

    /// Whether the task is frozen.
    pub fn frozen(&self, task: i32) -> bool {
        self.task(task).frozen.load(Relaxed)
    }

    /// Whether the task may do that with a device.
    pub fn device_access(&self, task: i32, kind: u8, major: u32, minor: u32, access: &str) -> Result<(), Errno> {
        let kind = if kind == b'b' { DeviceKind::Block } else { DeviceKind::Character };
        let letters = [("r", DeviceAccess::READ), ("w", DeviceAccess::WRITE), ("m", DeviceAccess::MAKE)];
        let access = letters.iter().filter(|(letter, _)| access.contains(letter)).map(|&(_, bit)| bit).collect();
        self.framework.device_access(&*self.task(task), &Device { kind, major, minor }, access)
    }

    fn ledger(&self) -> &'static Ledger {
        self.framework.root_state::<Memory>().expect("memory is not disabled").ledger()
    }

    /// The task touches a page first. Whether it gets it.
    pub fn touch(&mut self, task: i32, kind: Kind, node: usize) -> bool {
        let kind = match kind {
            Kind::Anonymous => ChargeKind::Anonymous,
            Kind::Cache => ChargeKind::Cache,
            Kind::Shared => ChargeKind::Shared,
        };
        let node = NodeId::new(u32::try_from(node).unwrap_or(0));
        let task = self.task(task);
        let note = self.ledger().charge(task.membership().word(<Memory as Subsystem>::INDEX), kind, node, |_| 0);
        note.map(|note| self.pages.push((note, node))).is_ok()
    }

    /// A page is freed.
    pub fn free(&mut self, which: usize) {
        let (note, node) = self.pages.remove(which);
        self.ledger().uncharge(note, node);
    }

    /// The kernel spends something for a task. Whether it may.
    pub fn spend(&mut self, task: i32, resource: Resource, amount: u64, severity: Severity) -> bool {
        let payer = self.framework.payer(&*self.task(task)).expect("bc asks for charges");
        let may = payer.charge(resource, amount, severity).is_ok();
        if may {
            self.spent.push((payer, resource, amount));
        }
        may
    }

    /// Something is given back.
    pub fn give_back(&mut self, which: usize) {
        let (payer, resource, amount) = self.spent.remove(which);
        payer.uncharge(resource, amount);
    }

    /// Lets the worker work: the agents that it starts, each with the path that it is told.
    pub fn work(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut started = Vec::new();
        while let Some(release) = self.framework.next_release() {
            started.push((release.arguments[0].clone(), release.arguments[1].clone()));
        }
        started.sort();
        started.dedup();
        started
    }

    /// The processes that were killed.
    pub fn take_killed(&self) -> Vec<i32> {
        std::mem::take(&mut *held(&self.killed)).into_iter().collect()
    }

    /// CPUs and nodes of a task as bits.
    pub fn masks(&self, task: i32) -> (u32, u32) {
        *held(&self.task(task).masks)
    }

    /// `/proc/<pid>/container`, `cgroup` and `cpuset`.
    pub fn proc_task(&self, task: i32) -> [String; 3] {
        let task = self.task(task);
        let shown = |bytes: Result<Vec<u8>, Errno>| bytes.map_or_else(|errno| format!("{errno:?}"), |it| text(&it));
        [
            shown(self.framework.task_container(&*task)),
            shown(self.framework.task_cgroup(&*task)),
            shown(self.framework.task_cpuset(&*task)),
        ]
    }

    /// `/proc/containers`.
    pub fn proc_containers(&self) -> String {
        self.framework.proc_containers()
    }

    /// `/proc/cgroups`.
    pub fn proc_cgroups(&self) -> String {
        self.framework.proc_cgroups()
    }

    /// The number of container sets.
    pub fn set_count(&self) -> usize {
        self.framework.set_count()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
