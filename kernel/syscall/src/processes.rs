//! Calls about processes and threads: begin, end, wait, groups, limits.

use crate::{
    abi::{CloneArguments, ResourceLimit},
    arguments::{Abi, UserPtr},
    call::Call,
    paths::{PathArgument, follow, only},
};
use alloc::{format, vec::Vec};
use base::{Errno, Pid};
use linux_raw_sys::general::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW};
use machine::user_memory;
use process::{
    Limit, Resource,
    clone::{self, CloneFlags, CloneRequest},
    exec::{self, ExecRequest},
    exit, filters, prctl, process_file, session,
    status::{self, WaitOptions, WaitTarget},
    usage_calls::{self, UsageOf},
    wait,
};
use vfs::{Follow, OpenFlags, Start};

/// `getpid(2)`.
pub fn getpid(call: &Call<'_>) -> Result<usize, Errno> {
    Ok(call.task.pid().raw() as usize)
}

/// `gettid(2)`.
pub fn gettid(call: &Call<'_>) -> Result<usize, Errno> {
    Ok(call.task.tid().raw() as usize)
}

/// `getppid(2)`.
pub fn getppid(call: &Call<'_>) -> Result<usize, Errno> {
    Ok(call.task.process().kinship().parent().raw() as usize)
}

fn start(call: &mut Call<'_>, request: &CloneRequest) -> Result<usize, Errno> {
    Ok(clone::clone(call.task, call.user, request)?.raw() as usize)
}

/// `fork(2)`.
pub fn fork(call: &mut Call<'_>) -> Result<usize, Errno> {
    start(call, &CloneRequest::FORK)
}

/// `vfork(2)`.
pub fn vfork(call: &mut Call<'_>) -> Result<usize, Errno> {
    start(call, &CloneRequest::VFORK)
}

/// `clone(2)`.
pub fn clone(
    call: &mut Call<'_>,
    flags: u64,
    stack: u64,
    parent_tid: u64,
    child_tid: u64,
    tls: u64,
) -> Result<usize, Errno> {
    start(call, &CloneRequest::for_clone(flags, stack, parent_tid, child_tid, tls)?)
}

/// `clone3(2)`. `EINVAL` a structure smaller than its first version, `E2BIG` a larger one with something in it that
/// this kernel does not know.
pub fn clone3(call: &mut Call<'_>, arguments: UserPtr<u8>, size: usize) -> Result<usize, Errno> {
    const FIRST: usize = 64;
    const PAGE: usize = 4096;
    if size > PAGE {
        return Err(Errno::E2BIG);
    }
    if size < FIRST {
        return Err(Errno::EINVAL);
    }
    let mut bytes = arguments.read_array(size)?;
    if bytes.iter().skip(CloneArguments::SIZE).any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    bytes.resize(CloneArguments::SIZE, 0);
    let words = <[u64; 11]>::decode(&bytes);
    let mut request = CloneRequest::for_clone3(&words, size)?;
    request.number = wanted_number(words[8], words[9])?;
    start(call, &request)
}

/// The number that a child is to have, of an array with one for each namespace that it is in, of which there is one.
fn wanted_number(array: u64, count: u64) -> Result<Option<Pid>, Errno> {
    /// So deep Linux nests namespaces.
    const LEVELS: u64 = 32;
    if count > LEVELS || (array == 0) != (count == 0) {
        return Err(Errno::EINVAL);
    }
    match UserPtr::<i32>::at(array).read_array(count as usize)?[..] {
        [] => Ok(None),
        [number] if number > 0 => Ok(Some(Pid::new(number))),
        _ => Err(Errno::EINVAL),
    }
}

/// The strings of a null-terminated array. `EFAULT`; `E2BIG` more than could ever be passed on.
fn strings(array: UserPtr<u64>) -> Result<Vec<Vec<u8>>, Errno> {
    /// The longest string (`MAX_ARG_STRLEN`).
    const LONGEST: usize = 128 << 10;
    /// The most of all strings together, whatever RLIMIT_STACK says.
    const MOST: usize = 6 << 20;
    let mut strings = Vec::new();
    let mut total = 0;
    // Linux takes a null array for an empty one.
    for index in 0.. {
        let address = if array.is_null() { 0 } else { array.item(index).read()? };
        if address == 0 {
            break;
        }
        let string = user_memory::read_string(address, LONGEST).map_err(|errno| match errno {
            Errno::ENAMETOOLONG => Errno::E2BIG,
            errno => errno,
        })?;
        total += string.len() + 1 + size_of::<u64>();
        if total > MOST {
            return Err(Errno::E2BIG);
        }
        strings.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        strings.push(string);
    }
    Ok(strings)
}

/// `execve(2)`.
pub fn execve(
    call: &mut Call<'_>,
    path: UserPtr<u8>,
    arguments: UserPtr<u64>,
    environment: UserPtr<u64>,
) -> Result<usize, Errno> {
    let path = call.path(path)?;
    let (arguments, environment) = (strings(arguments)?, strings(environment)?);
    let request = ExecRequest {
        start: Start::WorkingDirectory,
        path: &path,
        follow: Follow::Yes,
        name: &path,
        is_name_closed: false,
        arguments,
        environment,
    };
    exec::execute(call.task, call.user, request)?;
    Ok(call.user.registers.rax as usize)
}

/// `execveat(2)`. `EINVAL` another flag than `AT_EMPTY_PATH` and `AT_SYMLINK_NOFOLLOW`; `ELOOP` a link that is not to be
/// followed; `EBADF`; `ENOENT` a script whose descriptor its interpreter would not have; and those of execve.
pub fn execveat(
    call: &mut Call<'_>,
    directory: i32,
    path: UserPtr<u8>,
    arguments: UserPtr<u64>,
    environment: UserPtr<u64>,
    flags: u32,
) -> Result<usize, Errno> {
    let flags = only(flags, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)?;
    let path = PathArgument::fetch(call, directory, path)?;
    let (arguments, environment) = (strings(arguments)?, strings(environment)?);
    let by_descriptor = path.is_relative_to_file();
    let name = match (by_descriptor, path.text.is_empty()) {
        (false, _) => path.text.to_vec(),
        (true, true) => format!("/dev/fd/{directory}").into_bytes(),
        (true, false) => [format!("/dev/fd/{directory}/").as_bytes(), &path.text].concat(),
    };
    let request = ExecRequest {
        start: path.start(),
        path: &path.text,
        follow: follow(flags),
        name: &name,
        is_name_closed: by_descriptor && call.files()?.is_close_on_exec(directory)?,
        arguments,
        environment,
    };
    exec::execute(call.task, call.user, request)?;
    Ok(call.user.registers.rax as usize)
}

/// `personality(2)`.
pub fn personality(call: &Call<'_>, wanted: u32) -> Result<usize, Errno> {
    Ok(call.task.set_persona(wanted)?.bits() as usize)
}

/// `exit(2)`.
pub fn exit(call: &Call<'_>, status: i32) -> Result<usize, Errno> {
    exit::exit(call.task, status);
    Ok(0)
}

/// `exit_group(2)`.
pub fn exit_group(call: &Call<'_>, status: i32) -> Result<usize, Errno> {
    exit::exit_group(call.task, status);
    Ok(0)
}

/// `wait4(2)`.
pub fn wait4(
    call: &Call<'_>,
    pid: i32,
    status: UserPtr<i32>,
    options: u32,
    usage: UserPtr<[u8; 144]>,
) -> Result<usize, Errno> {
    let target = WaitTarget::for_wait4(pid, call.task.process().kinship().group())?;
    let Some(found) = wait::wait(call.task, target, None, WaitOptions::for_wait4(options)?)? else { return Ok(0) };
    status.write_optional(&found.change.wait_status())?;
    usage.write_optional(&found.usage.to_bytes())?;
    Ok(found.pid.raw() as usize)
}

/// `pidfd_open(2)`. `EINVAL` a flag other than `PIDFD_NONBLOCK`, a number that is not positive, the number of a thread;
/// `ESRCH`; `EMFILE`, `ENFILE`.
pub fn pidfd_open(call: &Call<'_>, pid: i32, flags: u32) -> Result<usize, Errno> {
    let flags = OpenFlags::from_bits(flags).filter(|flags| OpenFlags::NONBLOCK.contains(*flags));
    let flags = flags.filter(|_| pid > 0).ok_or(Errno::EINVAL)?;
    let task = call.population().task(Pid::new(pid)).ok_or(Errno::ESRCH)?;
    if !task.is_leader() {
        return Err(Errno::EINVAL);
    }
    call.insert(process_file::open(task.process(), flags, &call.task.credentials())?, true)
}

/// `waitid(2)`. With `P_PIDFD`: `EBADF` no process's file; `ECHILD` it was reaped; `EAGAIN` it does not block and there
/// is nothing to tell.
pub fn waitid(
    call: &Call<'_>,
    which: i32,
    id: i32,
    info: UserPtr<[u8; 128]>,
    options: u32,
    usage: UserPtr<[u8; 144]>,
) -> Result<usize, Errno> {
    const ALL: i32 = 0;
    const PROCESS: i32 = 1;
    const GROUP: i32 = 2;
    const FILE: i32 = 3;
    let mut options = WaitOptions::for_waitid(options)?;
    let (mut impatient, mut only) = (false, None);
    let target = match which {
        ALL => WaitTarget::Any,
        PROCESS if id > 0 => WaitTarget::Process(Pid::new(id)),
        GROUP if id > 0 => WaitTarget::Group(Pid::new(id)),
        GROUP if id == 0 => WaitTarget::Group(call.task.process().kinship().group()),
        FILE if id >= 0 => {
            let file = call.file(id)?;
            let process = process_file::process_of(&file).ok_or(Errno::EBADF)?;
            impatient = file.flags().contains(OpenFlags::NONBLOCK) && !options.contains(WaitOptions::NO_HANG);
            options.set(WaitOptions::NO_HANG, impatient || options.contains(WaitOptions::NO_HANG));
            only = Some(process.clone());
            WaitTarget::Process(process.pid())
        }
        _ => return Err(Errno::EINVAL),
    };
    match wait::wait(call.task, target, only.as_ref(), options)? {
        None if impatient => return Err(Errno::EAGAIN),
        Some(found) => {
            info.write_optional(&found.info().to_bytes())?;
            usage.write_optional(&found.usage.to_bytes())?;
        }
        None => info.write_optional(&[0; 128])?,
    }
    Ok(0)
}

/// `getpgid(2)`.
pub fn getpgid(call: &Call<'_>, pid: i32) -> Result<usize, Errno> {
    Ok(session::group(call.task, pid)?.raw() as usize)
}

/// `getpgrp(2)`.
pub fn getpgrp(call: &Call<'_>) -> Result<usize, Errno> {
    getpgid(call, 0)
}

/// `getsid(2)`.
pub fn getsid(call: &Call<'_>, pid: i32) -> Result<usize, Errno> {
    Ok(session::session(call.task, pid)?.raw() as usize)
}

/// `setpgid(2)`.
pub fn setpgid(call: &Call<'_>, pid: i32, group: i32) -> Result<usize, Errno> {
    if group < 0 {
        return Err(Errno::EINVAL);
    }
    session::set_group(call.task, pid, group)?;
    Ok(0)
}

/// `setsid(2)`.
pub fn setsid(call: &Call<'_>) -> Result<usize, Errno> {
    Ok(session::set_session(call.task)?.raw() as usize)
}

/// `getrusage(2)`.
pub fn getrusage(call: &Call<'_>, who: i32, out: UserPtr<[u8; 144]>) -> Result<usize, Errno> {
    out.write(&usage_calls::usage(call.task, UsageOf::new(who)?).to_bytes())?;
    Ok(0)
}

/// `times(2)`: hundredths of a second.
pub fn times(call: &Call<'_>, out: UserPtr<[i64; 4]>) -> Result<usize, Errno> {
    out.write_optional(&usage_calls::times(call.task))?;
    Ok(status::ticks(machine::time::now()) as usize)
}

/// `prlimit(2)`.
pub fn prlimit64(
    call: &Call<'_>,
    pid: i32,
    resource: u32,
    new: UserPtr<ResourceLimit>,
    old: UserPtr<ResourceLimit>,
) -> Result<usize, Errno> {
    let resource = Resource::new(resource)?;
    let new = new.read_optional()?.map(|new| Limit { soft: new.current, hard: new.maximum });
    let before = usage_calls::limit(call.task, pid, resource, new)?;
    old.write_optional(&ResourceLimit { current: before.soft, maximum: before.hard })?;
    Ok(0)
}

/// `getrlimit(2)`.
pub fn getrlimit(call: &Call<'_>, resource: u32, out: UserPtr<ResourceLimit>) -> Result<usize, Errno> {
    prlimit64(call, 0, resource, UserPtr::at(0), out)
}

/// `setrlimit(2)`.
pub fn setrlimit(call: &Call<'_>, resource: u32, new: UserPtr<ResourceLimit>) -> Result<usize, Errno> {
    let resource = Resource::new(resource)?;
    let new = new.read()?;
    usage_calls::limit(call.task, 0, resource, Some(Limit { soft: new.current, hard: new.maximum }))?;
    Ok(0)
}

/// `set_tid_address(2)`.
pub fn set_tid_address(call: &Call<'_>, address: u64) -> Result<usize, Errno> {
    Ok(call.task.set_clear_child_tid(address).raw() as usize)
}

/// `unshare(2)` of files, of root, working directory and umask, and of what is undone of operations on semaphores.
///
/// Errors: `EINVAL` a flag of namespaces, of which there are none, or an unknown one; what threads share, in a process
/// of several; `ENOMEM`.
pub fn unshare(call: &Call<'_>, flags: u64) -> Result<usize, Errno> {
    let offered = CloneFlags::FS | CloneFlags::FILES | CloneFlags::SYSVSEM;
    let of_threads = CloneFlags::THREAD | CloneFlags::SIGHAND | CloneFlags::VM;
    let flags = CloneFlags::from_bits(flags).filter(|&flags| (offered | of_threads).contains(flags));
    let flags = flags.ok_or(Errno::EINVAL)?;
    if flags.intersects(of_threads) && call.task.process().threads().len() > 1 {
        return Err(Errno::EINVAL);
    }
    if flags.contains(CloneFlags::FILES) {
        call.task.unshare_files()?;
    }
    if flags.contains(CloneFlags::FS) {
        call.task.unshare_context()?;
    }
    if flags.contains(CloneFlags::SYSVSEM) {
        call.task.leave_undo_list();
    }
    Ok(0)
}

/// `arch_prctl(2)`: the bases of fs and gs. `EPERM` an address that is none of user space.
pub fn arch_prctl(call: &Call<'_>, option: u32, address: u64) -> Result<usize, Errno> {
    const SET_GS: u32 = 0x1001;
    const SET_FS: u32 = 0x1002;
    const GET_FS: u32 = 0x1003;
    const GET_GS: u32 = 0x1004;
    match option {
        SET_FS => call.task.set_fs_base(address)?,
        SET_GS => call.task.set_gs_base(address)?,
        GET_FS => UserPtr::at(address).write(&call.task.fs_base())?,
        GET_GS => UserPtr::at(address).write(&call.task.gs_base())?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `prctl(2)`: names, death signals, subreaper, no-new-privileges, capabilities kept, timer slack. `EINVAL` for the
/// rest.
pub fn prctl(call: &Call<'_>, option: u32, second: u64, third: u64, fourth: u64, fifth: u64) -> Result<usize, Errno> {
    prctl::prctl(call.task, option, [second, third, fourth, fifth]).map(|value| value as usize)
}

/// `seccomp(2)`.
pub fn seccomp(call: &Call<'_>, operation: u32, flags: u32, arguments: u64) -> Result<usize, Errno> {
    filters::seccomp(call.task, operation, flags, arguments)
}

const _: () = assert!(CloneArguments::SIZE == 88);
