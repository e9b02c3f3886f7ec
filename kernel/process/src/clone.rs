//! fork, vfork, clone and clone3: how a task makes another.
//!
//! The order is that of the life of a task (docs, "the life of a task"): the parent's gate and the controllers' consent,
//! then everything that can fail, then the number, the containers, the tree, and last the run queue. A refused child
//! has left no trace.

use crate::{
    Completion, bases,
    filters::calls,
    ipc::semaphores::UndoList,
    limits::Resource,
    process::{Process, ProcessStart, shared_actions},
    process_file,
    signals::{AlternateStack, Signal},
    sleep,
    task::{Belongings, NumberedSpace, Start, Task, TaskParts},
    trace::{self, options::Event, ties},
    tree::Kinship,
};
use alloc::{boxed::Box, sync::Arc};
use base::{Capabilities, Errno, Pid, Uid};
use bitflags::bitflags;
use container::{Container, Member};
use core::sync::atomic::Ordering::Relaxed;
use machine::{user::UserContext, user_memory};
use sched::{Entity, Schedulable};
use vfs::OpenFlags;

bitflags! {
    /// The flags of `clone(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct CloneFlags: u64 {
        /// Share the address space.
        const VM = 0x100;
        /// Share root, working directory and umask.
        const FS = 0x200;
        /// Share open files.
        const FILES = 0x400;
        /// Share signal actions.
        const SIGHAND = 0x800;
        /// Open a file that stands for the child.
        const PIDFD = 0x1000;
        /// The child is traced like its maker, whether the tracer asked for it or not.
        const PTRACE = 0x2000;
        /// The caller sleeps until the child no longer uses its memory.
        const VFORK = 0x4000;
        /// The child's parent is the caller's.
        const PARENT = 0x8000;
        /// A thread of the same process.
        const THREAD = 0x1_0000;
        /// Share System V semaphore adjustments.
        const SYSVSEM = 0x4_0000;
        /// Set the thread pointer.
        const SETTLS = 0x8_0000;
        /// Store the child's number in the parent.
        const PARENT_SETTID = 0x10_0000;
        /// Clear the child's number and wake a futex when it ends.
        const CHILD_CLEARTID = 0x20_0000;
        /// Long without effect.
        const DETACHED = 0x40_0000;
        /// The child is not traced, even where the tracer asked for it.
        const UNTRACED = 0x80_0000;
        /// Store the child's number in the child.
        const CHILD_SETTID = 0x100_0000;
        /// Share the I/O context, of which there is none.
        const IO = 0x8000_0000;
        /// All caught signals are back at their default in the child (clone3 only).
        const CLEAR_SIGHAND = 0x1_0000_0000;
        /// The child is born in the container that a descriptor names (clone3 only).
        const INTO_CONTAINER = 0x2_0000_0000;
    }
}

/// What `clone` and its like ask for.
#[derive(Clone, Debug)]
pub struct CloneRequest {
    /// The flags.
    pub flags: CloneFlags,
    /// The signal that the parent gets at the end; none for no signal.
    pub exit_signal: Option<Signal>,
    /// The child's stack pointer; 0 is the parent's.
    pub stack: u64,
    /// Where the child's number goes in the parent.
    pub parent_tid: u64,
    /// Where the child's number goes in the child, and what is cleared at its end.
    pub child_tid: u64,
    /// The child's thread pointer.
    pub thread_pointer: u64,
    /// Where the number of the descriptor goes that stands for the child, with [`CloneFlags::PIDFD`].
    pub process_file: u64,
    /// The descriptor of the container that the child is to be born in.
    pub container: Option<i32>,
    /// The number that the child is to have; `None` any that is free.
    pub number: Option<Pid>,
}

/// The size of the first version of `struct clone_args` that can name a container.
const SIZE_WITH_CONTAINER: usize = 88;

impl CloneRequest {
    /// What `fork(2)` asks for.
    pub const FORK: Self = Self {
        flags: CloneFlags::empty(),
        exit_signal: Some(Signal::CHLD),
        stack: 0,
        parent_tid: 0,
        child_tid: 0,
        thread_pointer: 0,
        process_file: 0,
        container: None,
        number: None,
    };

    /// What `vfork(2)` asks for.
    pub const VFORK: Self = Self { flags: CloneFlags::VM.union(CloneFlags::VFORK), ..Self::FORK };

    /// What `clone(2)` asks for: the exit signal is in the low byte of `flags`. `EINVAL` for flags that there are not,
    /// namespaces among them.
    pub fn for_clone(flags: u64, stack: u64, parent_tid: u64, child_tid: u64, tls: u64) -> Result<Self, Errno> {
        let exit_signal = signal_or_none(flags & 0xff)?;
        // Only the low 32 bits are clone's; it has always ignored the rest.
        let flags = CloneFlags::from_bits(flags & 0xffff_ff00).ok_or(Errno::EINVAL)?;
        Ok(Self {
            flags,
            exit_signal,
            stack,
            parent_tid,
            child_tid,
            thread_pointer: tls,
            // There is no argument of its own for it.
            process_file: parent_tid,
            container: None,
            number: None,
        })
    }

    /// What `clone3(2)` asks for, with the words of `struct clone_args` in order. `EINVAL`: flags that there are not, a
    /// stack without size or the other way round, an exit signal for a thread, fields of flags that are not given, a
    /// container in a structure (of `size` bytes) that has no room for one or by a number that is no descriptor.
    pub fn for_clone3(words: &[u64; 11], size: usize) -> Result<Self, Errno> {
        let [
            flags,
            process_file,
            child_tid,
            parent_tid,
            exit_signal,
            stack,
            stack_size,
            tls,
            // Where the wanted number lies in the caller's memory.
            _,
            _,
            cgroup,
        ] = *words;
        let known = CloneFlags::from_bits(flags).filter(|flags| !flags.contains(CloneFlags::DETACHED));
        let flags = known.ok_or(Errno::EINVAL)?;
        let exit_signal = signal_or_none(exit_signal)?;
        let stack_is_whole = (stack == 0) == (stack_size == 0);
        let silent = exit_signal.is_none() || !flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT);
        if !stack_is_whole || !silent {
            return Err(Errno::EINVAL);
        }
        let stack = if stack == 0 { 0 } else { stack.checked_add(stack_size).ok_or(Errno::EINVAL)? };
        let descriptor = || match i32::try_from(cgroup) {
            Ok(descriptor) if size >= SIZE_WITH_CONTAINER => Ok(descriptor),
            _ => Err(Errno::EINVAL),
        };
        let container = flags.contains(CloneFlags::INTO_CONTAINER).then(descriptor).transpose()?;
        Ok(Self {
            flags,
            exit_signal,
            stack,
            parent_tid,
            child_tid,
            thread_pointer: tls,
            process_file,
            container,
            number: None,
        })
    }

    /// The rules between flags, in Linux's order. `EINVAL`.
    fn check(&self, parent: &Process) -> Result<(), Errno> {
        let has = |flag| self.flags.contains(flag);
        let bad = has(CloneFlags::THREAD) && !has(CloneFlags::SIGHAND)
            || has(CloneFlags::SIGHAND) && !has(CloneFlags::VM)
            || has(CloneFlags::PARENT) && parent.is_init()
            || has(CloneFlags::CLEAR_SIGHAND) && has(CloneFlags::SIGHAND)
            || has(CloneFlags::PIDFD) && self.flags.intersects(CloneFlags::THREAD | CloneFlags::DETACHED)
            || self.flags.contains(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID)
                && self.process_file == self.parent_tid;
        if bad { Err(Errno::EINVAL) } else { Ok(()) }
    }
}

fn signal_or_none(number: u64) -> Result<Option<Signal>, Errno> {
    match number {
        0 => Ok(None),
        number => i32::try_from(number).map_err(|_| Errno::EINVAL).and_then(Signal::new).map(Some),
    }
}

/// Makes a task as `request` says; it starts with the registers of `parent`, but 0 in `rax`. Returns its number.
///
/// `EINVAL` flags that contradict each other; `EPERM` a thread pointer that is no user address; `EAGAIN` too many tasks (limit of the user, of the machine, of a
/// container, or no number left), or the parent has a reservation of CPU time; `ENOMEM`; or what a controller says; with `PIDFD` also `EFAULT`, `EMFILE`, `ENFILE`.
/// Locks: none may be held.
pub fn clone(parent: &Arc<Task>, context: &mut UserContext, request: &CloneRequest) -> Result<Pid, Errno> {
    request.check(parent.process())?;
    if request.flags.contains(CloneFlags::SETTLS) {
        bases::check(request.thread_pointer)?;
    }
    let population = parent.population();
    let flags = request.flags;
    if population.task_count() as u64 >= population.most_tasks() {
        return Err(Errno::EAGAIN);
    }
    check_user_limit(parent)?;
    let (policy, nice) = parent.policy_of_child()?;
    // The number is told before the gate, behind which nobody touches user memory.
    let files = flags.contains(CloneFlags::PIDFD).then(|| parent.files()).transpose()?;
    let limit = parent.process().limit(Resource::Files);
    let slot = files.as_ref().map(|files| files.reserve(0, limit)).transpose()?;
    if let Some(slot) = &slot {
        user_memory::write(request.process_file, &(slot.descriptor().index() as i32).to_le_bytes())?;
    }
    let member: Arc<dyn Member> = parent.clone();
    let target = request.container.map(|descriptor| container_of(parent, descriptor, flags)).transpose()?;
    let admission = match &target {
        None => population.framework().can_fork(&**parent)?,
        Some(target) => population.framework().can_fork_into(&member, target)?,
    };
    // Behind the gate: a kill of the whole container waits for forks that have passed here, and finds their children.
    if parent.needs_attention() && parent.process().state().is_over() {
        return Err(Errno::EINTR);
    }

    let space = if flags.contains(CloneFlags::VM) {
        parent.numbered_space()?
    } else {
        NumberedSpace { space: parent.space()?.fork(admission.payer())?, number: population.next_space_number() }
    };
    let vfork = flags.contains(CloneFlags::VFORK).then(|| Arc::new(Completion::new()));
    let entity = Entity::new(crate::run::begin, parent.entity().allowed(), policy, nice)?;
    let (fs_base, gs_base) = parent.entity().context().user_bases();
    let fs_base = if flags.contains(CloneFlags::SETTLS) { request.thread_pointer } else { fs_base };
    entity.context().inherit_fpu();
    entity.context().set_user_bases(fs_base, gs_base, false);
    let belongings = inherit(parent, flags)?;
    let number = match request.number {
        None => population.reserve()?,
        Some(number) => population.reserve_this(number, &parent.credentials())?,
    };
    let process = if flags.contains(CloneFlags::THREAD) {
        parent.process().clone()
    } else {
        new_process(parent, request, number.pid())
    };
    let slot = match slot {
        Some(slot) => Some((slot, process_file::open(&process, OpenFlags::empty(), &parent.credentials())?)),
        None => None,
    };
    let mut start = Box::new(UserContext { registers: context.registers, call: context.call });
    start.registers.rax = 0;
    if request.stack != 0 {
        start.registers.rsp = request.stack;
    }
    let shares_stack = flags.contains(CloneFlags::VM) && !flags.contains(CloneFlags::VFORK);
    let child = Task::new(TaskParts {
        tid: number.pid(),
        process,
        kernel: false,
        entity,
        space: Some(space),
        belongings,
        start: Start::User(start),
        mask: parent.mask(),
        stack: if shares_stack { AlternateStack::NONE } else { parent.signals.lock().stack },
        clear_child_tid: if flags.contains(CloneFlags::CHILD_CLEARTID) { request.child_tid } else { 0 },
        set_child_tid: if flags.contains(CloneFlags::CHILD_SETTID) { request.child_tid } else { 0 },
        vfork: vfork.clone(),
        memory: *parent.memory.lock(),
        affinity: parent.affinity(),
    });

    if !flags.contains(CloneFlags::VM) {
        child.sequence.inherit(&parent.sequence);
    }
    if parent.sequence.forbids_counter() {
        child.sequence.forbid_counter(true);
    }
    let tid = number.pid();
    let member: Arc<dyn Member> = child.clone();
    let is_vfork = vfork.is_some();
    let event = if parent.tracing.is_traced() && !flags.contains(CloneFlags::UNTRACED) {
        trace::stop::event_of_clone(parent, is_vfork, request.exit_signal)
    } else {
        None
    };
    admission.admit_and(&member, || register(&child, Some(Maker { task: parent, flags, is_watched: event.is_some() })));
    drop(member);
    number.keep();
    if let Some((slot, file)) = slot {
        slot.fill(file, true);
    }
    population.count_fork();
    if flags.contains(CloneFlags::PARENT_SETTID) {
        // The child exists: an address that can't be written is the caller's loss, as on Linux.
        let _ = user_memory::write(request.parent_tid, &tid.raw().to_le_bytes());
    }
    sched::start(child as Arc<dyn Schedulable>);
    if let Some(event) = event {
        trace::stop::for_birth(parent, context, event, tid);
    }
    if let Some(done) = vfork {
        // Killed while waiting: the child goes on alone.
        let has_ended = sleep::until_killed_or(parent, done.queue(), || done.is_done().then_some(()), None);
        if has_ended.is_ok() && parent.tracing.is_traced() {
            trace::stop::for_birth(parent, context, Event::VforkDone, tid);
        }
    }
    Ok(tid)
}

/// The container whose directory is open under `descriptor`, if the caller may move tasks there.
///
/// `EBADF` not open, or no container's directory; `ENODEV` removed; `EACCES` the caller may not write its `procs`
/// (`tasks` for a thread).
fn container_of(parent: &Task, descriptor: i32, flags: CloneFlags) -> Result<Arc<Container>, Errno> {
    let directory = parent.files()?.get(descriptor)?;
    let subject = directory.inode().subject().ok_or(Errno::EBADF)?;
    let container: Arc<Container> = subject.downcast().map_err(|_| Errno::EBADF)?;
    let name: &[u8] = if flags.contains(CloneFlags::THREAD) { b"tasks" } else { b"cgroup.procs" };
    let file = directory.inode().lookup(name).map_err(|_| Errno::ENODEV)?;
    vfs::check_permission(file.ownership(), file.kind(), &parent.credentials(), vfs::WRITE)?;
    Ok(container)
}

/// `RLIMIT_NPROC`: `EAGAIN` if the user has as many tasks; the superuser and the privileged are not counted out.
fn check_user_limit(parent: &Task) -> Result<(), Errno> {
    let limit = parent.process().limit(Resource::Processes);
    let credentials = parent.credentials();
    let free = credentials.uid == Uid::ROOT
        || credentials.has(Capabilities::SYS_RESOURCE)
        || credentials.has(Capabilities::SYS_ADMIN);
    let tasks = parent.with_belongings(|own| own.share.as_ref().map_or(0, |share| share.account().tasks()));
    if !free && tasks >= limit { Err(Errno::EAGAIN) } else { Ok(()) }
}

/// What the child has of its parent's belongings, shared or copied.
fn inherit(parent: &Task, flags: CloneFlags) -> Result<Belongings, Errno> {
    let (files, context) = (parent.files()?, parent.context()?);
    let files = if flags.contains(CloneFlags::FILES) { files } else { files.fork()? };
    let context = if flags.contains(CloneFlags::FS) { context } else { context.fork() };
    Ok(parent.with_belongings(|own| Belongings {
        credentials: own.credentials.clone(),
        secure_bits: own.secure_bits,
        no_new_privileges: own.no_new_privileges,
        is_executing: false,
        // Who could still fork is let off; the child that comes of it is not.
        has_too_many: core::mem::take(&mut own.has_too_many),
        persona: own.persona,
        share: own.share.as_ref().map(|share| share.another()),
        files: Some(files),
        context: Some(context),
        name: own.name,
        io_priority: own.io_priority,
        undo: flags.contains(CloneFlags::SYSVSEM).then(|| own.undo.get_or_insert_with(UndoList::new).clone()),
    }))
}

fn new_process(parent: &Task, request: &CloneRequest, pid: Pid) -> Arc<Process> {
    let own = parent.process();
    let kinship = own.kinship();
    let flags = request.flags;
    // Whom it is related to is settled when it is registered.
    let start = Kinship::new(pid, own.pid(), kinship.group(), kinship.session()).made_by(parent.tid());
    let actions = own.state().actions.clone();
    let actions = if flags.contains(CloneFlags::SIGHAND) {
        actions
    } else {
        let table = actions.lock();
        let copy = if flags.contains(CloneFlags::CLEAR_SIGHAND) { table.cleared() } else { table.clone() };
        drop(table);
        shared_actions(copy)
    };
    let start = ProcessStart {
        kinship: start,
        actions,
        exit_signal: request.exit_signal,
        limits: own.limits(),
        program: own.program(),
        dumpable: own.dumpable(),
        core_filter: own.core_filter(),
        ending: None,
        oom_score: (own.oom_score_adj.load(Relaxed), own.oom_score_least.load(Relaxed)),
    };
    let process = Process::new(own.population(), start);
    process.barriers.store(own.barriers.load(Relaxed), Relaxed);
    // A limit of CPU time is inherited, timers are not.
    process.timers.watch();
    process
}

/// Who makes a task, and how.
pub(crate) struct Maker<'a> {
    task: &'a Arc<Task>,
    flags: CloneFlags,
    /// Its tracer asked to trace such children.
    is_watched: bool,
}

/// Enters a task into its process and the tree. A thread that comes while its process ends, stops or executes another
/// program finds that out before its first instruction. A new process gets its relations from its `maker`, and is
/// a sibling of it with `CLONE_PARENT`: the maker's own parent may have ended since the clone began, so they are those of
/// this moment.
pub(crate) fn register(child: &Arc<Task>, maker: Option<Maker<'_>>) {
    let process = child.process();
    let mut tree = child.population().tree();
    tree.add_task(child.tid(), child.clone());
    // Who has a sibling's end told to the common parent gives it no signal of its own choice (clone(2), CLONE_PARENT).
    let with_parent = maker.as_ref().filter(|maker| maker.flags.contains(CloneFlags::PARENT));
    let exit_signal = with_parent.map(|maker| maker.task.process().state().exit_signal);
    let mut state = process.state();
    let is_first = state.threads.is_empty();
    if let Some(stop) = &mut state.stop {
        stop.running += 1;
    }
    if let Some(dump) = &mut state.dump {
        dump.running += 1;
    }
    if state.is_over() || state.stop.is_some() || state.executing.is_some() {
        child.note_attention();
    }
    if let Some(maker) = &maker
        && maker.task.filters.are_on()
    {
        calls::inherit(child, maker.task);
    }
    state.threads.push(child.clone());
    match (is_first, &maker) {
        (false, _) => {}
        (true, None) => tree.add_process(process.clone()),
        (true, Some(maker)) => {
            state.exit_signal = exit_signal.unwrap_or(state.exit_signal);
            tree.add_relative(process.clone(), maker.task.process(), maker.flags.contains(CloneFlags::PARENT));
        }
    }
    drop(state);
    if let Some(maker) = maker.filter(|maker| maker.task.tracing.is_traced()) {
        ties::inherit(&mut tree, child, maker.task, maker.flags, maker.is_watched);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clone3_refuses_what_does_not_fit_together() {
        let mut words = [0u64; 11];
        let clone3 = |words: &[u64; 11]| CloneRequest::for_clone3(words, 88);
        assert!(clone3(&words).is_ok());
        words[5] = 0x1000;
        assert!(clone3(&words).is_err(), "a stack without size");
        words[6] = 0x2000;
        assert_eq!(clone3(&words).map(|request| request.stack), Ok(0x3000));
        words[6] = u64::MAX;
        assert!(clone3(&words).is_err(), "a stack that wraps");
        let mut words = [0u64; 11];
        words[4] = 65;
        assert!(clone3(&words).is_err(), "no such signal");
        words[4] = 17;
        words[0] = 0x10000;
        assert!(clone3(&words).is_err(), "a thread with an exit signal");
        words[0] = 0x2000_0000;
        assert!(clone3(&words).is_err(), "a namespace");
        let mut words = [0u64; 11];
        (words[0], words[10]) = (0x2_0000_0000, 7);
        assert_eq!(clone3(&words).map(|request| request.container), Ok(Some(7)));
        assert_eq!(CloneRequest::for_clone3(&words, 80).err(), Some(Errno::EINVAL), "no room for the field");
        words[10] = 1 << 31;
        assert_eq!(clone3(&words).err(), Some(Errno::EINVAL), "no descriptor");
    }

    #[test]
    fn clone_takes_the_signal_from_the_low_byte() {
        let request = CloneRequest::for_clone(0x4111, 0, 0, 0, 0).unwrap();
        assert_eq!(request.exit_signal, Some(Signal::CHLD));
        assert_eq!(request.flags, CloneFlags::VM | CloneFlags::VFORK);
        assert_eq!(CloneRequest::for_clone(0x2000_0011, 0, 0, 0, 0).map(|_| ()), Err(Errno::EINVAL));
        assert_eq!(CloneRequest::for_clone(0x41, 0, 0, 0, 0).map(|_| ()), Err(Errno::EINVAL));
    }
}
