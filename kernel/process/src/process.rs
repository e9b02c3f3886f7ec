//! A process: the threads that share a number, children, limits and the signals that are sent to all of them.

use crate::{
    core_dump::{Dump, Dumpable, Filter},
    limits::{INFINITY, Limit, Limits, Resource},
    population::Population,
    signals::{ActionTable, Signal, SignalQueue},
    spawn::Ending,
    status::{Change, End, Usage},
    task::Task,
    timers::ProcessTimers,
    tree::{Kin, Kinship},
};
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno, Pid};
use container::Gate;
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use machine::sync::{SpinGuard, SpinLock, rank};
use sched::WaitQueue;
use vfs::{Execution, OpenFile};

/// The table of signal actions as processes share it (`CLONE_SIGHAND`).
pub type SharedActions = Arc<SpinLock<ActionTable>>;

/// A new table of signal actions.
pub(crate) fn shared_actions(table: ActionTable) -> SharedActions {
    Arc::new(SpinLock::new(rank::SIGNAL_ACTIONS, table))
}

/// A process (thread group).
pub struct Process {
    kinship: Kinship,
    population: &'static Population,
    /// Keeps forks and moves between containers apart.
    pub gate: Gate,
    state: SpinLock<ProcessState>,
    limits: SpinLock<Limits>,
    /// Woken when a child has something to tell to `wait4`, and when a thread ends while another wants to exec.
    pub news: WaitQueue,
    /// Woken when all threads have ended and there is something to reap.
    pub(crate) ended: WaitQueue,
    /// Stopped threads sleep here.
    pub(crate) stopped: WaitQueue,
    /// Woken when a signal was sent to the process or to a thread of it, for `signalfd`.
    pub(crate) signalled: WaitQueue,
    /// Interval timers and POSIX timers.
    pub timers: ProcessTimers,
    program: SpinLock<Option<Arc<Program>>>,
    max_resident: AtomicU64,
    /// A [`Dumpable`].
    dumpable: AtomicU8,
    /// A [`Filter`].
    core_filter: AtomicU32,
    /// What it has registered for with `membarrier(2)`.
    pub(crate) barriers: AtomicU32,
    /// `oom_score_adj`: how gladly it is killed when memory runs out.
    pub(crate) oom_score_adj: AtomicI32,
    /// The least that an unprivileged writer may set it to.
    pub(crate) oom_score_least: AtomicI32,
}

/// The program that a process runs, for /proc.
pub struct Program {
    /// The file, `/proc/PID/exe`.
    pub file: Arc<OpenFile>,
    /// That nobody writes the file.
    pub execution: Execution,
    /// Where the argument strings lie: first byte, first byte behind.
    pub arguments: (u64, u64),
    /// Where the environment strings lie.
    pub environment: (u64, u64),
    /// The first stack pointer.
    pub stack: u64,
    /// The auxiliary vector as bytes.
    pub vector: Vec<u8>,
}

/// A stop of the whole process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stop {
    /// The signal that asked for it.
    pub(crate) signal: Signal,
    /// How many threads still run.
    pub(crate) running: usize,
    /// Which stop of the process it is, renewed where its traced threads are to stop again.
    pub(crate) round: u32,
}

/// What the process lock guards.
pub(crate) struct ProcessState {
    /// Threads that have not ended.
    pub(crate) threads: Vec<Arc<Task>>,
    /// Signals for any thread.
    pub(crate) pending: SignalQueue,
    /// What is done about signals.
    pub(crate) actions: SharedActions,
    /// Set once: all threads are to end, and the process with this.
    pub(crate) exit: Option<End>,
    /// How often SIGKILL came.
    pub(crate) kills: u32,
    /// The process of the leader's tracer.
    pub(crate) tracer: Option<Pid>,
    /// Threads that have left the list and still give back what they had.
    pub(crate) departing: usize,
    /// The thread that executes a program and waits for the others to end.
    pub(crate) executing: Option<Pid>,
    /// A core dump under way.
    pub(crate) dump: Option<Dump>,
    /// A stop under way or complete.
    pub(crate) stop: Option<Stop>,
    /// How often its threads were told to stop.
    pub(crate) rounds: u32,
    /// A stop or continuation that no wait has seen yet.
    pub(crate) change: Option<Change>,
    /// All threads have ended: what there is to reap.
    pub(crate) zombie: Option<End>,
    /// How the leader ended, if it ended before others.
    pub(crate) leader_end: Option<End>,
    /// The signal that the parent gets at the end; none for a child made without one.
    pub(crate) exit_signal: Option<Signal>,
    /// What threads have used that ended.
    pub(crate) ended_threads: Usage,
    /// What children have used that were waited for.
    pub(crate) children: Usage,
    /// Dropped at the end of the process.
    pub(crate) ending: Option<Ending>,
}

impl ProcessState {
    /// Of a process without threads.
    fn new(actions: SharedActions, exit_signal: Option<Signal>, ending: Option<Ending>) -> Self {
        Self {
            threads: Vec::new(),
            pending: SignalQueue::new(),
            actions,
            exit: None,
            kills: 0,
            tracer: None,
            departing: 0,
            executing: None,
            dump: None,
            stop: None,
            rounds: 0,
            change: None,
            zombie: None,
            leader_end: None,
            exit_signal,
            ended_threads: Usage::default(),
            children: Usage::default(),
            ending,
        }
    }

    /// Whether its threads are to end, all but the one that writes a core.
    pub(crate) fn is_over(&self) -> bool {
        self.exit.is_some() || self.dump.is_some()
    }

    /// Whether the thread with this number is to end.
    pub(crate) fn ends(&self, tid: Pid) -> bool {
        self.exit.is_some()
            || self.executing.is_some_and(|other| other != tid)
            || self.dump.as_ref().is_some_and(|dump| dump.writer != tid)
    }

    /// Notes that a thread that had left the list has given back all that it had. Whether the process has ended by that: it
    /// can be reaped only now, for what is reaped must be in no container any more.
    pub(crate) fn departed(&mut self) -> bool {
        self.departing -= 1;
        self.departing == 0 && self.threads.is_empty()
    }
}

/// What a new process begins with.
pub(crate) struct ProcessStart {
    /// Dropped when the process has ended, for those of the kernel who wait for that.
    pub(crate) ending: Option<Ending>,
    pub(crate) kinship: Kinship,
    pub(crate) actions: SharedActions,
    pub(crate) exit_signal: Option<Signal>,
    pub(crate) limits: Limits,
    pub(crate) program: Option<Arc<Program>>,
    pub(crate) dumpable: Dumpable,
    pub(crate) core_filter: Filter,
    pub(crate) oom_score: (i32, i32),
}

impl Process {
    pub(crate) fn new(population: &'static Population, start: ProcessStart) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            kinship: start.kinship,
            population,
            gate: Gate::new(),
            state: SpinLock::new(rank::PROCESS, ProcessState::new(start.actions, start.exit_signal, start.ending)),
            limits: SpinLock::new(rank::TASK, start.limits),
            news: WaitQueue::new(),
            ended: WaitQueue::new(),
            stopped: WaitQueue::new(),
            signalled: WaitQueue::new(),
            timers: ProcessTimers::new(this.clone()),
            program: SpinLock::new(rank::TASK, start.program),
            max_resident: AtomicU64::new(0),
            dumpable: AtomicU8::new(start.dumpable as u8),
            core_filter: AtomicU32::new(start.core_filter.bits()),
            barriers: AtomicU32::new(0),
            oom_score_adj: AtomicI32::new(start.oom_score.0),
            oom_score_least: AtomicI32::new(start.oom_score.1),
        })
    }

    /// The process's number.
    pub fn pid(&self) -> Pid {
        self.kinship.pid()
    }

    /// Parent, group, session and what belongs to them.
    pub fn kinship(&self) -> &Kinship {
        &self.kinship
    }

    /// The population that it is part of.
    pub fn population(&self) -> &'static Population {
        self.population
    }

    /// Whether it is the first process, which unwanted signals don't end.
    pub fn is_init(&self) -> bool {
        self.pid().raw() == 1
    }

    pub(crate) fn state(&self) -> SpinGuard<'_, ProcessState> {
        self.state.lock()
    }

    /// Threads that have not ended.
    pub fn threads(&self) -> Vec<Arc<Task>> {
        self.state.lock().threads.clone()
    }

    /// How many threads have not ended.
    pub fn thread_count(&self) -> usize {
        self.state.lock().threads.len()
    }

    /// The task whose number is the process's, as long as it was not reaped.
    pub fn leader(&self) -> Option<Arc<Task>> {
        self.population.task(self.pid())
    }

    /// Whether it leaves a core (`PR_GET_DUMPABLE`).
    pub fn dumpable(&self) -> Dumpable {
        Dumpable::new(self.dumpable.load(Relaxed).into()).unwrap_or(Dumpable::No)
    }

    /// Sets that.
    pub fn set_dumpable(&self, value: Dumpable) {
        self.dumpable.store(value as u8, Relaxed);
    }

    /// Which memory is in its core.
    pub fn core_filter(&self) -> Filter {
        Filter::from_bits_truncate(self.core_filter.load(Relaxed))
    }

    /// Sets that.
    pub fn set_core_filter(&self, filter: Filter) {
        self.core_filter.store(filter.bits(), Relaxed);
    }

    /// Whether it has been told to end: it runs no instruction of the program any more, or soon not.
    pub fn is_ending(&self) -> bool {
        self.state.lock().exit.is_some()
    }

    /// What is done about signals, as it may be shared with other processes.
    pub fn signal_actions(&self) -> SharedActions {
        self.state.lock().actions.clone()
    }

    /// Whether it is writing a core.
    pub fn is_dumping(&self) -> bool {
        self.state.lock().dump.is_some()
    }

    /// Whether all threads have ended and nobody has waited for it yet.
    pub fn is_zombie(&self) -> bool {
        self.state.lock().zombie.is_some()
    }

    /// Whether a stop signal has stopped every thread.
    pub fn is_stopped(&self) -> bool {
        self.state.lock().stop.is_some_and(|stop| stop.running == 0)
    }

    /// The status word of a zombie, for the `exit_code` field of /proc.
    pub fn exit_status(&self) -> i32 {
        self.state.lock().zombie.map_or(0, |end| Change::Ended(end).wait_status())
    }

    /// A copy of the limits.
    pub fn limits(&self) -> Limits {
        self.limits.lock().clone()
    }

    /// The value of a limit that holds now.
    pub fn limit(&self, resource: Resource) -> u64 {
        self.limits.lock().soft(resource)
    }

    /// Sets a limit, `who` being the one who asks, and returns the old one. Errors as [`Limits::set`].
    pub fn set_limit(&self, resource: Resource, limit: Limit, who: &Credentials) -> Result<Limit, Errno> {
        let old = self.limits.lock().set(resource, limit, who)?;
        match resource {
            Resource::CpuTime | Resource::RealTimeTime => self.timers.watch(),
            Resource::FileSize if limit.soft != INFINITY => vfs::limit_file_sizes(),
            _ => {}
        }
        Ok(old)
    }

    /// The limits that address spaces obey; see [`Task::memory_limits`].
    pub(crate) fn memory_limits(&self) -> memory::Limits {
        let limits = self.limits.lock();
        memory::Limits {
            address_space: limits.soft(Resource::AddressSpace),
            data: limits.soft(Resource::Data),
            stack: limits.soft(Resource::Stack),
            locked: limits.soft(Resource::LockedMemory),
        }
    }

    /// The program that it runs; none for a thread of the kernel.
    pub fn program(&self) -> Option<Arc<Program>> {
        self.program.lock().clone()
    }

    pub(crate) fn set_program(&self, program: Arc<Program>) {
        let old = self.program.lock().replace(program);
        drop(old);
    }

    /// Lets go of the program's file when the last thread ends.
    pub(crate) fn forget_program(&self) {
        let old = self.program.lock().take();
        drop(old);
    }

    /// How gladly it is killed when memory runs out: -1000 (never) to 1000 (first).
    pub fn oom_score_adj(&self) -> i32 {
        self.oom_score_adj.load(Relaxed)
    }

    pub(crate) fn note_resident(&self, kibibytes: u64) {
        self.max_resident.fetch_max(kibibytes, Relaxed);
    }

    /// What its threads have used, those that ended included.
    pub fn usage(&self) -> Usage {
        let state = self.state.lock();
        let mut usage = state.ended_threads;
        state.threads.iter().for_each(|thread| usage.add(&thread.usage()));
        usage.max_resident = usage.max_resident.max(self.max_resident.load(Relaxed));
        usage
    }

    /// What children have used that were waited for.
    pub fn children_usage(&self) -> Usage {
        self.state.lock().children
    }
}

impl Kin for Arc<Process> {
    fn kinship(&self) -> &Kinship {
        &self.kinship
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::ActionTable;

    #[test]
    fn a_process_has_ended_when_its_last_thread_is_gone_not_when_none_is_listed() {
        let mut state = ProcessState::new(shared_actions(ActionTable::new()), None, None);
        // The leader has left the list first and is slow: the other one, the last of the list, is gone before it.
        state.departing = 2;
        assert!(!state.departed(), "the leader is still in its containers");
        assert!(state.departed());
    }
}
