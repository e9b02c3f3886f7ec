//! Calls that reach into other processes: their memory, their files, what they share with whom.

use crate::{abi::IoVector, arguments::UserPtr, call::Call, memory::advice_of, vectors::vectors};
use alloc::sync::Arc;
use base::{Capabilities, Errno, Pid};
use linux_raw_sys::general::{MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED};
use machine::user_memory;
use memory::AddressSpace;
use process::{AccessAs, Process, Task, may_inspect, process_file};

/// Bytes in a page: what is copied at once.
const PAGE: u64 = 4096;

/// In which direction memory is copied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    FromOther,
    ToOther,
}

/// `process_vm_readv(2)`.
pub fn process_vm_readv(
    call: &Call<'_>,
    pid: i32,
    local: UserPtr<IoVector>,
    local_count: usize,
    remote: UserPtr<IoVector>,
    remote_count: usize,
    flags: u64,
) -> Result<usize, Errno> {
    copy(call, pid, (local, local_count), (remote, remote_count), flags, Direction::FromOther)
}

/// `process_vm_writev(2)`.
pub fn process_vm_writev(
    call: &Call<'_>,
    pid: i32,
    local: UserPtr<IoVector>,
    local_count: usize,
    remote: UserPtr<IoVector>,
    remote_count: usize,
    flags: u64,
) -> Result<usize, Errno> {
    copy(call, pid, (local, local_count), (remote, remote_count), flags, Direction::ToOther)
}

/// `EINVAL` a flag, or vectors that make no sense; `EFAULT`; `ESRCH` no such task, or one without memory; `EPERM` the
/// caller may not look into it. What was copied before an error counts.
fn copy(
    call: &Call<'_>,
    pid: i32,
    local: (UserPtr<IoVector>, usize),
    remote: (UserPtr<IoVector>, usize),
    flags: u64,
    direction: Direction,
) -> Result<usize, Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let mut local = vectors(local.0, local.1)?;
    if local.iter().all(|&(_, length)| length == 0) {
        return Ok(0);
    }
    let remote = vectors(remote.0, remote.1)?;
    if remote.iter().all(|&(_, length)| length == 0) {
        return Ok(0);
    }
    let task = other(call, pid)?;
    if !may_inspect(call.task, &task, AccessAs::RealUser) {
        return Err(Errno::EPERM);
    }
    let space = task.space().map_err(|_| Errno::ESRCH)?;
    let mut page = [0; PAGE as usize];
    let (mut at, mut done) = (0, 0);
    for (mut address, mut length) in remote {
        while length > 0 {
            while local.get(at).is_some_and(|&(_, length)| length == 0) {
                at += 1;
            }
            let Some((own, room)) = local.get_mut(at) else { return Ok(done) };
            let count = length.min(*room).min((PAGE - address % PAGE) as usize);
            let bytes = &mut page[..count];
            let copied = match direction {
                Direction::FromOther => space.read(address, bytes).and_then(|()| user_memory::write(*own, bytes)),
                Direction::ToOther => user_memory::read(*own, bytes).and_then(|()| space.write(address, bytes)),
            };
            match copied {
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
                Ok(()) => {}
            }
            (*own, *room) = (own.wrapping_add(count as u64), *room - count);
            (address, length) = (address.wrapping_add(count as u64), length - count);
            done += count;
            if !sched::goes_on(false) {
                return Ok(done);
            }
        }
    }
    Ok(done)
}

/// The task with this number. `ESRCH`.
fn other(call: &Call<'_>, pid: i32) -> Result<Arc<Task>, Errno> {
    (pid > 0).then(|| call.population().task(Pid::new(pid))).flatten().ok_or(Errno::ESRCH)
}

/// `kcmp(2)`: 0 if two tasks have the same of a kind, else 1 or 2, which orders them. `EINVAL` no such kind; `ESRCH`;
/// `EPERM` the caller may not look into both; `EBADF` no such descriptor.
pub fn kcmp(
    call: &Call<'_>,
    first: i32,
    second: i32,
    kind: u32,
    first_of: u64,
    second_of: u64,
) -> Result<usize, Errno> {
    const FILE: u32 = 0;
    const VM: u32 = 1;
    const FILES: u32 = 2;
    const FS: u32 = 3;
    const SIGHAND: u32 = 4;
    const IO: u32 = 5;
    const SYSVSEM: u32 = 6;
    let (first, second) = (other(call, first)?, other(call, second)?);
    if ![&first, &second].iter().all(|task| may_inspect(call.task, task, AccessAs::RealUser)) {
        return Err(Errno::EPERM);
    }
    let both = |of: &dyn Fn(&Task) -> usize| (of(&first), of(&second));
    let (first, second) = match kind {
        FILE => {
            let file = |task: &Task, number: u64| {
                let number = i32::try_from(number).map_err(|_| Errno::EBADF)?;
                task.files()?.get(number).map(|file| address(Some(&file)))
            };
            (file(&first, first_of)?, file(&second, second_of)?)
        }
        VM => both(&|task| address(task.space().ok().as_ref())),
        FILES => both(&|task| address(task.files().ok().as_ref())),
        FS => both(&|task| address(task.context().ok().as_ref())),
        SIGHAND => both(&|task| address(Some(&task.process().signal_actions()))),
        // Nobody has a context of input and output.
        IO => (0, 0),
        SYSVSEM => both(&|task| address(task.shown_undo_list().as_ref())),
        _ => return Err(Errno::EINVAL),
    };
    Ok(match first.cmp(&second) {
        core::cmp::Ordering::Equal => 0,
        core::cmp::Ordering::Less => 1,
        core::cmp::Ordering::Greater => 2,
    })
}

/// Where a thing lies, 0 for none. Mixed up, so that programs learn nothing of the kernel's addresses but their order.
fn address<T>(thing: Option<&Arc<T>>) -> usize {
    const ODD: usize = 0x9e37_79b9_7f4a_7c15;
    thing.map_or(0, |thing| Arc::as_ptr(thing).addr().wrapping_mul(ODD))
}

/// The process that a descriptor stands for. `EBADF`.
fn process_of(call: &Call<'_>, descriptor: i32) -> Result<Arc<Process>, Errno> {
    let file = call.file(descriptor)?;
    process_file::process_of(&file).cloned().ok_or(Errno::EBADF)
}

/// A task of the process that is still there, if only as a zombie. `ESRCH`.
fn task_of(process: &Arc<Process>) -> Result<Arc<Task>, Errno> {
    let leader = process.leader().filter(|leader| Arc::ptr_eq(leader.process(), process));
    leader.or_else(|| process.threads().into_iter().next()).ok_or(Errno::ESRCH)
}

/// `pidfd_getfd(2)`: a descriptor for a file that another process has open. `EINVAL` a flag; `EBADF` no process's file,
/// or the other has nothing open there; `ESRCH` it has ended; `EPERM` the caller may not look into it; `EMFILE`.
pub fn pidfd_getfd(call: &Call<'_>, process: i32, descriptor: i32, flags: u32) -> Result<usize, Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let task = task_of(&process_of(call, process)?)?;
    if !may_inspect(call.task, &task, AccessAs::RealUser) {
        return Err(Errno::EPERM);
    }
    call.insert(task.files()?.get(descriptor)?, true)
}

/// `process_madvise(2)`: advice about another's memory, in bytes that were advised. `EINVAL` a flag, advice that may
/// not be given so, bad vectors; `EBADF`; `ESRCH`; `EACCES` the caller may not look into it; `EPERM` without
/// CAP_SYS_NICE; and those of madvise.
pub fn process_madvise(
    call: &Call<'_>,
    process: i32,
    list: UserPtr<IoVector>,
    count: usize,
    advice: u32,
    flags: u32,
) -> Result<usize, Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let ranges = vectors(list, count)?;
    let task = task_of(&process_of(call, process)?)?;
    if !matches!(advice, MADV_COLD | MADV_PAGEOUT | MADV_WILLNEED) {
        return Err(Errno::EINVAL);
    }
    if !may_inspect(call.task, &task, AccessAs::FileUser) {
        return Err(Errno::EACCES);
    }
    let space = task.space().map_err(|_| Errno::ESRCH)?;
    if !call.task.credentials().has(Capabilities::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    let mut done = 0;
    for (address, length) in ranges {
        match space.advise(address, length as u64, advice_of(advice)?) {
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
            Ok(()) => done += length,
        }
    }
    Ok(done)
}

/// `process_mrelease(2)`: gives back the memory of a process that is about to end, without waiting for it. `EINVAL` a flag, or
/// it is not about to end; `EBADF`; `ESRCH` it has no memory any more.
pub fn process_mrelease(call: &Call<'_>, process: i32, flags: u32) -> Result<usize, Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let process = process_of(call, process)?;
    let spaces = || process.threads().into_iter().find_map(|thread| thread.space().ok());
    let space: Arc<AddressSpace> = spaces().ok_or(Errno::ESRCH)?;
    // Whoever shares the memory must be about to end too.
    let shares =
        |other: &Process| other.threads().iter().any(|one| one.space().is_ok_and(|own| Arc::ptr_eq(&own, &space)));
    if !call.population().processes().iter().filter(|other| shares(other)).all(|other| other.is_ending()) {
        return Err(Errno::EINVAL);
    }
    space.reap()?;
    Ok(0)
}
