//! `seccomp(2)`, and what prctl(2) and ptrace(2) ask for of it.

use super::{
    action::Action,
    chain::{Filter, Mode, NewFilter},
    listener::{self, Listener},
    program::{FACTS_SIZE, Instruction, LONGEST, Program},
};
use crate::{barriers, limits::Resource, process::ProcessState, sleep, task::Task};
use alloc::{sync::Arc, vec::Vec};
use base::{Capabilities, Errno, Pid};
use bitflags::bitflags;
use linux_raw_sys::ptrace as number;
use machine::user_memory;

bitflags! {
    /// Flags of `SECCOMP_SET_MODE_FILTER`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Flags: u32 {
        /// All threads of the process get it.
        const ALL_THREADS = number::SECCOMP_FILTER_FLAG_TSYNC;
        /// What it does is logged.
        const LOG = number::SECCOMP_FILTER_FLAG_LOG;
        /// Nothing is done against speculation; it is not here either.
        const SPECULATION = number::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        /// The caller gets a descriptor, by which somebody answers for it.
        const LISTENER = number::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        /// A thread that can't have it makes for an error, not for its number.
        const THREAD_IS_ERROR = number::SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
        /// Who waits for an answer to what was received is disturbed by nothing but its end.
        const WAIT_KILLABLE = number::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
}

/// `seccomp(2)` of the current task; `address` is its own.
///
/// `EINVAL` no such operation or flag, flags that contradict each other, a program that is refused, filters and strict mode at
/// once; `EFAULT`; `EACCES` it could gain rights and has not CAP_SYS_ADMIN; `ENOMEM`, also for too many filters; `EBUSY` a
/// second listener; `ESRCH` as the flag asks; `EOPNOTSUPP` no such action. Locks: none may be held.
pub fn seccomp(task: &Arc<Task>, operation: u32, flags: u32, address: u64) -> Result<usize, Errno> {
    match operation {
        number::SECCOMP_SET_MODE_STRICT if flags == 0 && address == 0 => set_strict(task).map(|()| 0),
        number::SECCOMP_SET_MODE_FILTER => set_filter(task, flags, address),
        number::SECCOMP_GET_ACTION_AVAIL if flags == 0 => {
            let mut wanted = [0; 4];
            user_memory::read(address, &mut wanted)?;
            Action::from_number(u32::from_le_bytes(wanted)).map(|_| 0).ok_or(Errno::EOPNOTSUPP)
        }
        number::SECCOMP_GET_NOTIF_SIZES if flags == 0 => {
            let sizes = [listener::NOTIFICATION_SIZE, listener::ANSWER_SIZE, FACTS_SIZE].map(|size| size as u16);
            let mut bytes = [0; 6];
            for (place, size) in bytes.chunks_exact_mut(2).zip(sizes) {
                place.copy_from_slice(&size.to_le_bytes());
            }
            user_memory::write(address, &bytes).map(|()| 0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `PR_SET_SECCOMP`: as [`seccomp`] without flags. `EINVAL` also for another mode.
pub(crate) fn set_mode(task: &Arc<Task>, mode: u64, address: u64) -> Result<(), Errno> {
    match u32::try_from(mode) {
        Ok(number::SECCOMP_MODE_STRICT) => set_strict(task),
        Ok(number::SECCOMP_MODE_FILTER) => set_filter(task, 0, address).map(|_| ()),
        _ => Err(Errno::EINVAL),
    }
}

/// A strict task does not read the time stamp counter either, as on Linux.
fn set_strict(task: &Task) -> Result<(), Errno> {
    task.filters.make_strict()?;
    task.sequence.forbid_counter(true);
    task.note_attention();
    Ok(())
}

fn set_filter(task: &Arc<Task>, flags: u32, address: u64) -> Result<usize, Errno> {
    let flags = Flags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let is_ambiguous = flags.contains(Flags::ALL_THREADS | Flags::LISTENER) && !flags.contains(Flags::THREAD_IS_ERROR);
    if is_ambiguous || flags.contains(Flags::WAIT_KILLABLE) && !flags.contains(Flags::LISTENER) {
        return Err(Errno::EINVAL);
    }
    let mut filter = NewFilter::new(program(task, address)?, flags.contains(Flags::LOG))?;
    if !flags.contains(Flags::LISTENER) {
        return attach(task, filter, flags);
    }
    let files = task.files()?;
    let slot = files.reserve(0, task.process().limit(Resource::Files))?;
    let listener = Arc::new(Listener::new(flags.contains(Flags::WAIT_KILLABLE)));
    let file = listener::open(&listener, &task.credentials())?;
    filter.listener = Some(listener);
    attach(task, filter, flags)?;
    let number = slot.descriptor().index();
    slot.fill(file, true);
    Ok(number)
}

/// The program that `struct sock_fprog` at `address` says.
fn program(task: &Task, address: u64) -> Result<Program, Errno> {
    let mut head = [0; 16];
    user_memory::read(address, &mut head)?;
    let [a, b, ..] = head;
    let length = usize::from(u16::from_le_bytes([a, b]));
    if length == 0 || length > LONGEST {
        return Err(Errno::EINVAL);
    }
    let gains_nothing = task.has_no_new_privileges();
    if !gains_nothing && !task.credentials().has(Capabilities::SYS_ADMIN) {
        return Err(Errno::EACCES);
    }
    let from = head.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if from == 0 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = memory::heap::try_zeroed(length * Instruction::SIZE)?;
    user_memory::read(from, &mut bytes)?;
    let mut instructions = memory::heap::try_vec(length)?;
    instructions.extend(bytes.as_chunks().0.iter().map(|&bytes| Instruction::from_bytes(bytes)));
    Program::new(instructions)
}

/// Gives the task a filter more, and with the flag all threads of its process. 0, or the number of a thread that can't have it.
fn attach(task: &Arc<Task>, filter: NewFilter, flags: Flags) -> Result<usize, Errno> {
    let process = task.process();
    if !flags.contains(Flags::ALL_THREADS) {
        attach_locked(task, &process.state(), filter, flags)?;
        return Ok(0);
    }
    let mut filter = Some(filter);
    let blocked = sleep::until_killed_or(
        task,
        &process.news,
        || {
            let state = process.state();
            // What a program gains that another thread executes was decided without the filter.
            if others(task, &state).any(|thread| thread.with_belongings(|own| own.is_executing)) {
                return None;
            }
            filter.take().map(|filter| attach_locked(task, &state, filter, flags))
        },
        None,
    )??;
    match blocked {
        Some(_) if flags.contains(Flags::THREAD_IS_ERROR) => Err(Errno::ESRCH),
        Some(thread) => Ok(thread.raw() as usize),
        None => {
            // Who runs in user mode sees it at its next call: it comes into the kernel before this returns.
            barriers::interrupt(&task.space()?.active_on());
            Ok(0)
        }
    }
}

fn others<'a>(task: &Arc<Task>, state: &'a ProcessState) -> impl Iterator<Item = &'a Arc<Task>> {
    let own = Arc::as_ptr(task);
    state.threads.iter().filter(move |thread| Arc::as_ptr(thread) != own)
}

/// With the process locked, so that no thread is born meanwhile.
fn attach_locked(
    task: &Arc<Task>,
    state: &ProcessState,
    filter: NewFilter,
    flags: Flags,
) -> Result<Option<Pid>, Errno> {
    if task.filters.mode() == Mode::Strict {
        return Err(Errno::EINVAL);
    }
    let chain = task.filters.chain();
    if filter.listener.is_some() && chain.iter().flat_map(Filter::all).any(|older| older.listener.is_some()) {
        return Err(Errno::EBUSY);
    }
    filter.check_length(chain.as_ref())?;
    let for_all = flags.contains(Flags::ALL_THREADS);
    if for_all && let Some(thread) = others(task, state).find(|thread| !may_follow(thread, chain.as_ref())) {
        return Ok(Some(thread.tid()));
    }
    let filter = filter.before(chain);
    task.filters.set(filter.clone());
    task.note_attention();
    if for_all {
        let gains_nothing = task.has_no_new_privileges();
        for thread in others(task, state) {
            if gains_nothing {
                thread.with_belongings(|own| own.no_new_privileges = true);
            }
            thread.filters.set(filter.clone());
            thread.note_attention();
        }
    }
    Ok(None)
}

/// Gives a new task the filters of its maker. What a filter for all threads of the maker's process has changed since the clone
/// began is for the child too.
#[cold]
pub(crate) fn inherit(child: &Task, maker: &Task) {
    child.filters.inherit(&maker.filters);
    if maker.has_no_new_privileges() {
        child.with_belongings(|own| own.no_new_privileges = true);
    }
    child.note_attention();
}

/// Whether all filters of a thread are among those of this chain.
fn may_follow(thread: &Task, chain: Option<&Arc<Filter>>) -> bool {
    match (thread.filters.mode(), thread.filters.chain()) {
        (Mode::Off, _) => true,
        (Mode::Filter, Some(newest)) => chain.into_iter().flat_map(Filter::all).any(|own| Arc::ptr_eq(own, &newest)),
        _ => false,
    }
}

impl Task {
    /// How its calls are filtered.
    pub fn filter_mode(&self) -> Mode {
        self.filters.mode()
    }

    /// How many filters it has.
    pub fn filter_count(&self) -> u32 {
        self.filters.chain().map_or(0, |chain| chain.count())
    }
}

/// The filter with this number of another task, counted from the oldest, for `asker`: its instructions as they lie in memory,
/// and the flags that it was made with.
///
/// `EACCES` the asker has not CAP_SYS_ADMIN, or is filtered itself; `EINVAL` there are no filters; `ENOENT` not so many.
pub(crate) fn shown(asker: &Task, task: &Task, index: u64) -> Result<(Vec<u8>, u64), Errno> {
    check_sees_filters(asker)?;
    if task.filters.mode() != Mode::Filter {
        return Err(Errno::EINVAL);
    }
    let chain = task.filters.chain().ok_or(Errno::EINVAL)?;
    let newer = u64::from(chain.count()).checked_sub(index.saturating_add(1)).ok_or(Errno::ENOENT)?;
    let filter = chain.all().nth(newer as usize).ok_or(Errno::ENOENT)?;
    let mut bytes = memory::heap::try_vec(filter.instructions().len() * Instruction::SIZE)?;
    filter.instructions().iter().for_each(|instruction| bytes.extend(instruction.to_bytes()));
    Ok((bytes, if filter.logs { Flags::LOG.bits().into() } else { 0 }))
}

/// Whether a task may look at the filters of its tracees. `EACCES` it has not CAP_SYS_ADMIN, or is filtered itself.
pub fn check_sees_filters(asker: &Task) -> Result<(), Errno> {
    let is_allowed = asker.credentials().has(Capabilities::SYS_ADMIN) && !asker.filters.are_on();
    if is_allowed { Ok(()) } else { Err(Errno::EACCES) }
}
