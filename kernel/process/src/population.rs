//! All tasks of the system: numbers, relations, futex queues, and what each user has.

use crate::{
    accounts::Accounts,
    aio::Aio,
    futex::FutexQueues,
    ipc::{Budget, messages::MessageQueues, semaphores::Semaphores},
    names::Names,
    posix_queues::PosixQueues,
    priority::PriorityFutexes,
    process::Process,
    shared_memory::SharedMemory,
    task::Task,
    timers::TimerWork,
    tree::Tree,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use base::{Capabilities, Credentials, Errno, Pid};
use container::{Framework, Member, TaskTable};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::sync::{Hook, SpinGuard, SpinLock, rank};

/// The largest task number, as on Linux machines with up to 32 CPUs; `/proc/sys/kernel/pid_max` is one more.
pub const LARGEST_PID: i32 = 32767;

/// System V semaphores and messages may take this part of all memory.
const IPC_PART: u64 = 16;

/// The population of the running system; installed once at boot.
pub static POPULATION: Hook<Population> = Hook::new();

/// The tree with the handles that it has in the kernel.
pub type TaskTree = Tree<Arc<Process>, Arc<Task>>;

/// All tasks of the system. One value, made at boot; tests can have many.
pub struct Population {
    tree: SpinLock<TaskTree>,
    framework: Arc<Framework>,
    /// Who sleeps on which word.
    pub futexes: FutexQueues,
    /// Who waits for locks that lend priority.
    pub priority_futexes: PriorityFutexes,
    /// What each user has.
    pub accounts: Accounts,
    /// The segments of System V shared memory.
    pub shared_memory: Arc<SharedMemory>,
    /// The sets of System V semaphores.
    pub semaphores: Semaphores,
    /// The queues of System V messages.
    pub messages: MessageQueues,
    /// The POSIX message queues.
    pub posix_queues: PosixQueues,
    /// Asynchronous input and output.
    pub aio: Aio,
    names: Names,
    /// Processes whose timers have expired.
    pub(crate) timer_work: TimerWork,
    most_tasks: AtomicU64,
    forks: AtomicU64,
    spaces: AtomicU64,
}

impl Population {
    /// An empty population that may grow to `most_tasks` tasks, with the framework that `build` makes for its table of
    /// tasks. It lives as long as the system.
    pub fn new(most_tasks: u64, build: impl FnOnce(Box<dyn TaskTable>) -> Arc<Framework>) -> &'static Self {
        let link = Arc::new(Hook::new());
        let framework = build(Box::new(Table(link.clone())));
        let budget = Budget::new(memory::frames::total().total * 4096 / IPC_PART);
        let population = Box::leak(Box::new(Self {
            tree: SpinLock::new(rank::TASK_TABLE, Tree::new(LARGEST_PID)),
            framework,
            futexes: FutexQueues::new(),
            priority_futexes: PriorityFutexes::new(),
            accounts: Accounts::new(),
            shared_memory: SharedMemory::new(),
            semaphores: Semaphores::new(budget.clone()),
            messages: MessageQueues::new(budget),
            posix_queues: PosixQueues::new(),
            aio: Aio::new(),
            names: Names::new(),
            timer_work: TimerWork::new(),
            most_tasks: AtomicU64::new(most_tasks),
            forks: AtomicU64::new(0),
            spaces: AtomicU64::new(1),
        }));
        link.install(population);
        population
    }

    /// The container framework.
    pub fn framework(&self) -> &Arc<Framework> {
        &self.framework
    }

    /// The names of the machine, for `uname(2)`.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The most tasks that there may be (`/proc/sys/kernel/threads-max`).
    pub fn most_tasks(&self) -> u64 {
        self.most_tasks.load(Relaxed)
    }

    /// Sets that. Tasks that there are stay.
    pub fn set_most_tasks(&self, most: u64) {
        self.most_tasks.store(most, Relaxed);
    }

    /// How many tasks were made since boot, for `/proc/stat`.
    pub fn forks(&self) -> u64 {
        self.forks.load(Relaxed)
    }

    pub(crate) fn count_fork(&self) {
        self.forks.fetch_add(1, Relaxed);
    }

    /// A number for a new address space, never used again; futex words are known by it.
    pub(crate) fn next_space_number(&self) -> u64 {
        self.spaces.fetch_add(1, Relaxed)
    }

    /// The tree of tasks, locked.
    pub(crate) fn tree(&self) -> SpinGuard<'_, TaskTree> {
        self.tree.lock()
    }

    /// The task (thread) with this number, zombies included.
    pub fn task(&self, tid: Pid) -> Option<Arc<Task>> {
        self.tree.lock().task(tid).cloned()
    }

    /// The process with this number, zombies included.
    pub fn process(&self, pid: Pid) -> Option<Arc<Process>> {
        self.tree.lock().process(pid).cloned()
    }

    /// The first process with this number or a larger one, for a listing of /proc.
    pub fn next_process(&self, from: Pid) -> Option<Arc<Process>> {
        self.tree.lock().next_process(from).cloned()
    }

    /// All processes, zombies included, by number.
    pub fn processes(&self) -> Vec<Arc<Process>> {
        self.tree.lock().processes().cloned().collect()
    }

    /// All tasks, zombies included, by number.
    pub fn tasks(&self) -> Vec<Arc<Task>> {
        self.tree.lock().tasks().cloned().collect()
    }

    /// How many tasks there are, zombies included.
    pub fn task_count(&self) -> usize {
        self.tree.lock().task_count()
    }

    /// The number that was given out last, for `/proc/loadavg`.
    pub fn last_pid(&self) -> Pid {
        self.tree.lock().last()
    }

    /// The largest number that is given out.
    pub fn largest_pid(&self) -> i32 {
        self.tree.lock().largest()
    }

    /// Sets the largest number that is given out. `EINVAL` unless it is 300 to 4194303.
    pub fn set_largest_pid(&self, largest: i32) -> Result<(), Errno> {
        if !(300..4_194_304).contains(&largest) {
            return Err(Errno::EINVAL);
        }
        self.tree.lock().set_largest(largest);
        Ok(())
    }

    /// Takes this task number. `EINVAL` it is too large; `EPERM` the caller has neither CAP_SYS_ADMIN nor
    /// CAP_CHECKPOINT_RESTORE; `EEXIST` it is in use.
    pub(crate) fn reserve_this(&'static self, number: Pid, who: &Credentials) -> Result<ReservedPid, Errno> {
        let mut tree = self.tree.lock();
        if number.raw() > tree.largest() {
            return Err(Errno::EINVAL);
        }
        if !who.has(Capabilities::SYS_ADMIN) && !who.has(Capabilities::CHECKPOINT_RESTORE) {
            return Err(Errno::EPERM);
        }
        tree.reserve_this(number)?;
        Ok(ReservedPid { population: self, pid: Some(number) })
    }

    /// Takes a free task number. `EAGAIN` when all are in use.
    pub(crate) fn reserve(&'static self) -> Result<ReservedPid, Errno> {
        let pid = self.tree.lock().reserve()?;
        Ok(ReservedPid { population: self, pid: Some(pid) })
    }
}

/// The table of tasks as the framework sees it: made before the population, filled when that is.
struct Table(Arc<Hook<Population>>);

impl TaskTable for Table {
    fn find(&self, tid: Pid) -> Option<Arc<dyn Member>> {
        self.0.get()?.task(tid).map(|task| task as Arc<dyn Member>)
    }

    fn current(&self) -> Option<Arc<dyn Member>> {
        crate::current().map(|task| task as Arc<dyn Member>)
    }
}

/// A task number that nobody uses yet; free again when dropped.
pub(crate) struct ReservedPid {
    population: &'static Population,
    pid: Option<Pid>,
}

impl ReservedPid {
    /// The number.
    pub(crate) fn pid(&self) -> Pid {
        self.pid.unwrap_or_default()
    }

    /// Leaves the number to the task that was entered in the tree under it.
    pub(crate) fn keep(mut self) {
        self.pid = None;
    }
}

impl Drop for ReservedPid {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.take() {
            self.population.tree().give_back(pid);
        }
    }
}
