//! A task: one thread, of a process or of the kernel, with the part that each lower floor has of it.

mod address_space;
mod attention;
mod ending;
mod floors;
mod name;

pub use address_space::release_space;
pub use name::{NAME_MAX, Name};

use crate::{
    Completion,
    accounts::TaskShare,
    filters::chain::Filters,
    identity::SecureBits,
    ipc::semaphores::UndoList,
    persona::Persona,
    placement::{ObjectNodes, TaskMemory},
    population::Population,
    process::Process,
    restartable::Sequence,
    signals::{AlternateStack, FaultFacts, SavedMask, Signal, SignalInfo, SignalQueue, SignalSet, calls, send},
    spawn::Program,
    status::Usage,
    timers::RealTimeUse,
    trace::Tracing,
    transfers::Transfers,
};
use alloc::{
    boxed::Box,
    sync::{Arc, Weak},
};
use base::{CpuSet, Credentials, Errno, Pid};
use container::Membership;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use machine::{
    sync::{IrqLock, SpinLock, rank},
    user::UserContext,
};
use memory::AddressSpace;
use sched::{Entity, Schedulable};
use vfs::{FileTable, FsContext, OpenFile};

/// What a new task does first.
pub(crate) enum Start {
    /// User mode, with these registers.
    User(Box<UserContext>),
    /// A program that is to be executed.
    Program(Box<Program>),
    /// A function of the kernel.
    Kernel(Box<dyn FnOnce() + Send>),
}

/// An address space with the number that futexes know it by.
#[derive(Clone)]
pub struct NumberedSpace {
    /// The address space.
    pub space: Arc<AddressSpace>,
    /// Its number.
    pub number: u64,
}

/// What a task has that others may look at.
pub(crate) struct Belongings {
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) secure_bits: SecureBits,
    pub(crate) no_new_privileges: bool,
    /// It executes a program, and what that gains is decided already.
    pub(crate) is_executing: bool,
    /// Its user has become one that has more tasks than `RLIMIT_NPROC` (PF_NPROC_EXCEEDED).
    pub(crate) has_too_many: bool,
    pub(crate) persona: Persona,
    pub(crate) share: Option<TaskShare>,
    pub(crate) files: Option<Arc<FileTable>>,
    pub(crate) context: Option<Arc<FsContext>>,
    pub(crate) name: Name,
    pub(crate) io_priority: crate::scheduling::IoPriority,
    /// What it has done to semaphores and takes back at its end.
    pub(crate) undo: Option<Arc<UndoList>>,
}

/// The signal state of one task.
pub(crate) struct TaskSignals {
    pub(crate) pending: SignalQueue,
    pub(crate) stack: AlternateStack,
    pub(crate) fault: FaultFacts,
}

/// A task.
pub struct Task {
    this: Weak<Task>,
    tid: AtomicI32,
    process: Arc<Process>,
    kernel: bool,
    entity: Entity,
    membership: Membership,
    // Replaced by the task itself only. Read at a switch, with interrupts off: no handler of an interrupt takes it.
    space: SpinLock<Option<NumberedSpace>>,
    belongings: SpinLock<Belongings>,
    start: SpinLock<Option<Start>>,
    pub(crate) signals: SpinLock<TaskSignals>,
    mask: AtomicU64,
    /// What was blocked before a call such as `sigsuspend` blocked something else for its duration.
    pub(crate) saved_mask: SavedMask,
    /// There may be something to do before the task goes back to user mode.
    attention: AtomicBool,
    /// The task itself ends, though its process may live on: see `ending`.
    leaving: AtomicU32,
    /// Counted as stopped in its process's stop.
    pub(crate) counted_stopped: AtomicBool,
    exiting: AtomicBool,
    /// The deadline of a call that was interrupted and is started again; 0 if there is none.
    call_deadline: AtomicU64,
    clear_child_tid: AtomicU64,
    robust_list: AtomicU64,
    /// It ends, or executes another program: nobody can wait for it to let a lock go.
    pub(crate) has_left_futexes: AtomicBool,
    /// Its restartable sequences.
    pub(crate) sequence: Sequence,
    set_child_tid: AtomicU64,
    /// The signal that the task gets when its parent ends (`PR_SET_PDEATHSIG`); 0 for none.
    pub(crate) parent_death_signal: AtomicU32,
    /// Told when a vforked child no longer uses its parent's memory.
    vfork: SpinLock<Option<Arc<Completion>>>,
    /// Who traces it, and whom it traces.
    pub(crate) tracing: Tracing,
    /// What it may call.
    pub(crate) filters: Filters,
    minor_faults: AtomicU64,
    major_faults: AtomicU64,
    transfers: Transfers,
    timer_slack: AtomicU64,
    /// What decides where its memory lies.
    pub(crate) memory: IrqLock<TaskMemory>,
    pub(crate) objects: ObjectNodes,
    /// Pages of files that went round its nodes.
    pub(crate) turn: AtomicU32,
    /// The CPUs that it asked for itself.
    pub(crate) affinity: IrqLock<CpuSet>,
    /// See [`Task::resets_on_fork`].
    pub(crate) resets_on_fork: AtomicBool,
    /// For `RLIMIT_RTTIME`.
    pub(crate) real_time_use: RealTimeUse,
    /// See [`Task::follow_wall_clock`].
    pub(crate) follows_wall_clock: AtomicBool,
}

/// What a new task is made of.
pub(crate) struct TaskParts {
    pub(crate) tid: Pid,
    pub(crate) process: Arc<Process>,
    pub(crate) kernel: bool,
    pub(crate) entity: Entity,
    pub(crate) space: Option<NumberedSpace>,
    pub(crate) belongings: Belongings,
    pub(crate) start: Start,
    pub(crate) mask: SignalSet,
    pub(crate) stack: AlternateStack,
    pub(crate) clear_child_tid: u64,
    pub(crate) set_child_tid: u64,
    pub(crate) vfork: Option<Arc<Completion>>,
    pub(crate) memory: TaskMemory,
    pub(crate) affinity: CpuSet,
}

impl Task {
    pub(crate) fn new(parts: TaskParts) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            tid: AtomicI32::new(parts.tid.raw()),
            process: parts.process,
            kernel: parts.kernel,
            entity: parts.entity,
            membership: Membership::new(),
            space: SpinLock::new(rank::LEAF, parts.space),
            belongings: SpinLock::new(rank::TASK, parts.belongings),
            start: SpinLock::new(rank::TASK, Some(parts.start)),
            signals: SpinLock::new(
                rank::SIGNALS,
                TaskSignals { pending: SignalQueue::new(), stack: parts.stack, fault: FaultFacts::default() },
            ),
            mask: AtomicU64::new(parts.mask.bits()),
            saved_mask: SavedMask::none(),
            attention: AtomicBool::new(false),
            leaving: AtomicU32::new(0),
            counted_stopped: AtomicBool::new(false),
            exiting: AtomicBool::new(false),
            call_deadline: AtomicU64::new(0),
            clear_child_tid: AtomicU64::new(parts.clear_child_tid),
            robust_list: AtomicU64::new(0),
            has_left_futexes: AtomicBool::new(false),
            sequence: Sequence::default(),
            set_child_tid: AtomicU64::new(parts.set_child_tid),
            parent_death_signal: AtomicU32::new(0),
            vfork: SpinLock::new(rank::TASK, parts.vfork),
            tracing: Tracing::default(),
            filters: Filters::default(),
            minor_faults: AtomicU64::new(0),
            major_faults: AtomicU64::new(0),
            transfers: Transfers::default(),
            timer_slack: AtomicU64::new(50_000),
            objects: ObjectNodes::of(&parts.memory),
            memory: IrqLock::new(rank::LEAF, parts.memory),
            turn: AtomicU32::new(0),
            affinity: IrqLock::new(rank::LEAF, parts.affinity),
            resets_on_fork: AtomicBool::new(false),
            real_time_use: RealTimeUse::default(),
            follows_wall_clock: AtomicBool::new(false),
        })
    }

    /// The task's own number.
    pub fn tid(&self) -> Pid {
        Pid::new(self.tid.load(Relaxed))
    }

    /// Takes over the number of the process, in exec.
    pub(crate) fn become_leader(&self) {
        self.tid.store(self.process.pid().raw(), Relaxed);
    }

    /// Its process.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// The number of its process.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// The population that it is part of.
    pub fn population(&self) -> &'static Population {
        self.process.population()
    }

    /// Whether its number is that of its process.
    pub fn is_leader(&self) -> bool {
        self.tid() == self.pid()
    }

    /// Whether it is a thread of the kernel.
    pub fn is_kernel_thread(&self) -> bool {
        self.kernel
    }

    /// The counted reference that the scheduler knows it by.
    pub fn schedulable(&self) -> Option<Arc<dyn Schedulable>> {
        self.this.upgrade().map(|task| task as Arc<dyn Schedulable>)
    }

    /// A counted reference to the task itself, which its caller has anyway.
    pub(crate) fn reference(&self) -> Option<Arc<Task>> {
        self.this.upgrade()
    }

    /// The scheduler's part.
    pub fn entity(&self) -> &Entity {
        &self.entity
    }

    /// Its credentials.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.belongings.lock().credentials.clone()
    }

    /// Replaces its credentials; the user's count of tasks follows the real user.
    pub(crate) fn set_credentials(&self, credentials: Credentials) {
        let credentials = Arc::new(credentials);
        let moved = self.credentials().uid != credentials.uid;
        let share = moved.then(|| self.population().accounts.share(credentials.uid));
        let mut belongings = self.belongings.lock();
        let old = core::mem::replace(&mut belongings.credentials, credentials);
        let old_share = share.map(|share| belongings.share.replace(share));
        drop(belongings);
        drop((old, old_share));
    }

    /// Where it notes what is undone of its operations on semaphores; made when it is first needed.
    pub fn undo_list(&self) -> Arc<UndoList> {
        self.with_belongings(|own| own.undo.get_or_insert_with(UndoList::new).clone())
    }

    /// That list, if there is one.
    pub fn shown_undo_list(&self) -> Option<Arc<UndoList>> {
        self.with_belongings(|own| own.undo.clone())
    }

    /// Lets go of that list: the last of those who share it undoes what is in it.
    pub fn leave_undo_list(&self) {
        let list = self.with_belongings(|own| own.undo.take());
        if let Some(list) = list {
            list.leave(self.pid());
        }
    }

    pub(crate) fn with_belongings<R>(&self, f: impl FnOnce(&mut Belongings) -> R) -> R {
        f(&mut self.belongings.lock())
    }

    /// Its open files. A task that has ended and a kernel thread have none: `EBADF`, as any descriptor then is.
    pub fn files(&self) -> Result<Arc<FileTable>, Errno> {
        self.belongings.lock().files.clone().ok_or(Errno::EBADF)
    }

    /// The file open under `descriptor`. `EBADF`.
    #[inline]
    pub fn file(&self, descriptor: i32) -> Result<Arc<OpenFile>, Errno> {
        self.belongings.lock().files.as_ref().ok_or(Errno::EBADF)?.get(descriptor)
    }

    /// Root, working directory, umask. `ENOENT` once it has ended.
    pub fn context(&self) -> Result<Arc<FsContext>, Errno> {
        self.belongings.lock().context.clone().ok_or(Errno::ENOENT)
    }

    /// Has files of its own from now on (`CLONE_FILES` of `unshare(2)`, `close_range(2)`). `EBADF` it has none; `ENOMEM`.
    pub fn unshare_files(&self) -> Result<(), Errno> {
        let shared = self.files()?;
        // One reference is the task's, one is `shared`.
        if Arc::strong_count(&shared) > 2 {
            let own = shared.fork()?;
            let old = self.belongings.lock().files.replace(own);
            drop(old);
        }
        Ok(())
    }

    /// Has root, working directory and umask of its own from now on (`CLONE_FS` of `unshare(2)`). `ENOENT` it has ended.
    pub fn unshare_context(&self) -> Result<(), Errno> {
        let own = self.context()?.fork();
        let old = self.belongings.lock().context.replace(own);
        drop(old);
        Ok(())
    }

    /// Sends itself SIGPIPE: it wrote where nobody reads any more.
    pub fn raise_broken_pipe(&self) {
        if let Some(task) = self.reference() {
            let info = SignalInfo::kernel(Signal::PIPE);
            // The kernel's own signals are never refused.
            let _ = send::to_task(&task, info);
        }
    }

    /// Blocks `mask` until the call that runs now has returned to user mode, handlers included.
    pub fn block_for_call(&self, mask: SignalSet) {
        if let Some(task) = self.reference() {
            calls::block_for_call(&task, mask);
        }
    }

    /// Its name.
    pub fn name(&self) -> Name {
        self.belongings.lock().name
    }

    /// Sets its name.
    pub fn set_name(&self, name: Name) {
        self.belongings.lock().name = name;
    }

    pub(crate) fn take_start(&self) -> Option<Start> {
        self.start.lock().take()
    }

    /// What it has blocked.
    pub fn mask(&self) -> SignalSet {
        SignalSet::from_bits(self.mask.load(SeqCst))
    }

    pub(crate) fn store_mask(&self, mask: SignalSet) {
        self.mask.store(mask.without(SignalSet::UNSTOPPABLE).bits(), SeqCst);
    }

    /// The deadline of a call that waits `nanoseconds` from now; of a call that is started again after an interruption,
    /// the deadline that it had the first time.
    pub fn deadline_after(&self, nanoseconds: u64) -> u64 {
        match self.call_deadline.load(Relaxed) {
            0 => {
                let deadline = machine::time::now().saturating_add(nanoseconds).max(1);
                self.call_deadline.store(deadline, Relaxed);
                deadline
            }
            deadline => deadline,
        }
    }

    pub(crate) fn forget_deadline(&self) {
        self.call_deadline.store(0, Relaxed);
    }

    /// The address that is cleared and woken when the task ends (`set_tid_address(2)`).
    pub fn clear_child_tid(&self) -> u64 {
        self.clear_child_tid.load(Relaxed)
    }

    /// `set_tid_address(2)`: sets that address and returns the task's number.
    pub fn set_clear_child_tid(&self, address: u64) -> Pid {
        self.clear_child_tid.store(address, Relaxed);
        self.tid()
    }

    pub(crate) fn set_clear_child_tid_to_none(&self) -> u64 {
        self.clear_child_tid.swap(0, Relaxed)
    }

    pub(crate) fn take_set_child_tid(&self) -> u64 {
        self.set_child_tid.swap(0, Relaxed)
    }

    /// The head of its list of robust futexes.
    pub fn robust_list(&self) -> u64 {
        self.robust_list.load(Relaxed)
    }

    /// `set_robust_list(2)`. `EINVAL` unless `length` is 24.
    pub fn set_robust_list(&self, head: u64, length: u64) -> Result<(), Errno> {
        if length != 24 {
            return Err(Errno::EINVAL);
        }
        self.robust_list.store(head, Relaxed);
        Ok(())
    }

    pub(crate) fn forget_robust_list(&self) {
        self.robust_list.store(0, Relaxed);
    }

    /// Tells a parent that waits in vfork that its memory is no longer used.
    pub(crate) fn finish_vfork(&self) {
        let waiting = self.vfork.lock().take();
        if let Some(waiting) = waiting {
            waiting.complete();
        }
    }

    pub(crate) fn count_fault(&self) {
        self.minor_faults.fetch_add(1, Relaxed);
    }

    /// `PR_GET_TIMERSLACK`.
    pub fn timer_slack(&self) -> u64 {
        self.timer_slack.load(Relaxed)
    }

    /// `PR_SET_TIMERSLACK`; 0 is the default.
    pub fn set_timer_slack(&self, nanoseconds: u64) {
        self.timer_slack.store(if nanoseconds == 0 { 50_000 } else { nanoseconds }, Relaxed);
    }

    /// What it has read and written by calls.
    pub fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        let (voluntary_switches, involuntary_switches) = self.entity.switches();
        Usage {
            user: self.entity.user_ns(),
            system: self.entity.system_ns(),
            minor_faults: self.minor_faults.load(Relaxed),
            major_faults: self.major_faults.load(Relaxed),
            voluntary_switches,
            involuntary_switches,
            // The process knows the largest size so far; asking the address space takes a lock that may sleep.
            max_resident: 0,
            transfers: self.transfers.counts(),
        }
    }
}

/// The running task. None before the scheduler runs and in an idle CPU's own loop.
pub fn current() -> Option<Arc<Task>> {
    sched::current_as::<Task>()
}
