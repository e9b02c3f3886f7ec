//! epoll, inotify, and the files that turn time into readiness.

use crate::{
    abi::{EpollEvent as AbiEpollEvent, IntervalSpec, Timespec},
    arguments::UserPtr,
    call::Call,
    clock::{self, nanoseconds},
    selecting::{deadline, milliseconds},
    transfer::check_range,
};
use base::Errno;
use vfs::{Clock, EpollChange, EpollEvent, FileEvents, Follow, OpenFlags, Start, TimerKind, TimerSetting};

/// `inotify_init1(2)`. `EINVAL` unknown flags.
pub fn inotify_init1(call: &Call<'_>, flags: u32) -> Result<usize, Errno> {
    let flags = OpenFlags::from_bits_retain(flags);
    if !(OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL);
    }
    call.insert(vfs::inotify(flags, &call.task.credentials())?, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

/// `inotify_init(2)`.
pub fn inotify_init(call: &Call<'_>) -> Result<usize, Errno> {
    inotify_init1(call, 0)
}

/// `inotify_add_watch(2)`. `EINVAL` no event at all, or flags that contradict each other.
pub fn inotify_add_watch(call: &Call<'_>, inotify: i32, path: UserPtr<u8>, mask: u32) -> Result<usize, Errno> {
    let mask = FileEvents::from_bits_truncate(mask);
    if mask.is_empty() || mask.contains(FileEvents::MASK_ADD | FileEvents::MASK_CREATE) {
        return Err(Errno::EINVAL);
    }
    let file = call.file(inotify)?;
    let path = call.path(path)?;
    let follow = if mask.contains(FileEvents::NO_FOLLOW) { Follow::No } else { Follow::Yes };
    let location = call.with_caller(|caller| caller.resolve(Start::WorkingDirectory, &path, follow))?;
    Ok(vfs::inotify_add_watch(&file, &location, mask, &call.task.credentials())? as usize)
}

/// `inotify_rm_watch(2)`.
pub fn inotify_rm_watch(call: &Call<'_>, inotify: i32, watch: i32) -> Result<usize, Errno> {
    vfs::inotify_remove_watch(&*call.file(inotify)?, watch)?;
    Ok(0)
}

/// `epoll_create1(2)`.
pub fn epoll_create1(call: &Call<'_>, flags: u32) -> Result<usize, Errno> {
    let flags = OpenFlags::from_bits_retain(flags);
    if !OpenFlags::CLOSE_ON_EXEC.contains(flags) {
        return Err(Errno::EINVAL);
    }
    call.insert(vfs::epoll(&call.task.credentials())?, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

/// `epoll_create(2)`. `EINVAL` a size that is not positive.
pub fn epoll_create(call: &Call<'_>, size: i32) -> Result<usize, Errno> {
    if size <= 0 {
        return Err(Errno::EINVAL);
    }
    epoll_create1(call, 0)
}

/// `epoll_ctl(2)`.
pub fn epoll_ctl(
    call: &Call<'_>,
    epoll: i32,
    operation: u32,
    descriptor: i32,
    event: UserPtr<AbiEpollEvent>,
) -> Result<usize, Errno> {
    const ADD: u32 = 1;
    const REMOVE: u32 = 2;
    const MODIFY: u32 = 3;
    let event = match operation {
        REMOVE => EpollEvent::default(),
        _ => event.read().map(|event| EpollEvent { events: event.events, data: event.data })?,
    };
    let (file, target) = (call.file(epoll)?, call.file(descriptor)?);
    let change = match operation {
        ADD => EpollChange::Add(event),
        REMOVE => EpollChange::Remove,
        MODIFY => EpollChange::Modify(event),
        _ => return Err(Errno::EINVAL),
    };
    vfs::epoll_control(&file, descriptor, &target, change)?;
    Ok(0)
}

fn epoll_wait_until(
    call: &Call<'_>,
    epoll: i32,
    out: UserPtr<AbiEpollEvent>,
    most: i32,
    deadline: Option<u64>,
) -> Result<usize, Errno> {
    /// As many as Linux can count the bytes of (`EP_MAX_EVENTS`).
    const MOST: i32 = i32::MAX / size_of::<AbiEpollEvent>() as i32;
    if !(1..=MOST).contains(&most) {
        return Err(Errno::EINVAL);
    }
    check_range(out.address(), most as usize * size_of::<AbiEpollEvent>())?;
    let file = call.file(epoll)?;
    let mut told = 0;
    let mut tell = |event: EpollEvent| {
        out.item(told).write(&AbiEpollEvent { events: event.events, data: event.data })?;
        told += 1;
        Ok(())
    };
    vfs::epoll_wait(&file, most as usize, &mut tell, deadline)
}

/// `epoll_wait(2)`.
pub fn epoll_wait(
    call: &Call<'_>,
    epoll: i32,
    out: UserPtr<AbiEpollEvent>,
    most: i32,
    timeout: i32,
) -> Result<usize, Errno> {
    epoll_wait_until(call, epoll, out, most, deadline(milliseconds(timeout)))
}

/// `epoll_pwait(2)`.
pub fn epoll_pwait(
    call: &Call<'_>,
    epoll: i32,
    out: UserPtr<AbiEpollEvent>,
    most: i32,
    timeout: i32,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> Result<usize, Errno> {
    let end = deadline(milliseconds(timeout));
    call.with_mask(mask, mask_size, || epoll_wait_until(call, epoll, out, most, end))?
}

/// `epoll_pwait2(2)`.
pub fn epoll_pwait2(
    call: &Call<'_>,
    epoll: i32,
    out: UserPtr<AbiEpollEvent>,
    most: i32,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> Result<usize, Errno> {
    let wait = timeout.read_optional()?.map(|time| nanoseconds(&time)).transpose()?;
    let end = deadline(wait);
    call.with_mask(mask, mask_size, || epoll_wait_until(call, epoll, out, most, end))?
}

/// `timerfd_create(2)`. `EINVAL` an unknown clock or flag.
pub fn timerfd_create(call: &Call<'_>, clock: i32, flags: u32) -> Result<usize, Errno> {
    let allowed = OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK;
    let flags = OpenFlags::from_bits(flags).filter(|flags| allowed.contains(*flags)).ok_or(Errno::EINVAL)?;
    let clock = match clock {
        clock::REALTIME => Clock::Realtime,
        clock::MONOTONIC | clock::BOOTTIME => Clock::Monotonic,
        _ => return Err(Errno::EINVAL),
    };
    let file = vfs::timerfd(clock, flags - OpenFlags::CLOSE_ON_EXEC, &call.task.credentials())?;
    call.insert(file, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

fn interval_spec(setting: TimerSetting) -> IntervalSpec {
    IntervalSpec { interval: clock::timespec(setting.interval), value: clock::timespec(setting.value) }
}

/// `timerfd_settime(2)`.
pub fn timerfd_settime(
    call: &Call<'_>,
    descriptor: i32,
    flags: u32,
    new: UserPtr<IntervalSpec>,
    old: UserPtr<IntervalSpec>,
) -> Result<usize, Errno> {
    const ABSOLUTE: u32 = 1;
    const CANCEL_ON_SET: u32 = 2;
    if flags & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let new = new.read()?;
    let setting = TimerSetting { interval: nanoseconds(&new.interval)?, value: nanoseconds(&new.value)? };
    let file = call.file(descriptor)?;
    let kind = match flags {
        ABSOLUTE => TimerKind::Absolute,
        flags if flags & ABSOLUTE != 0 => TimerKind::Canceled,
        _ => TimerKind::Relative,
    };
    let before = vfs::timerfd_set(&file, setting, kind)?;
    old.write_optional(&interval_spec(before))?;
    Ok(0)
}

/// `timerfd_gettime(2)`.
pub fn timerfd_gettime(call: &Call<'_>, descriptor: i32, out: UserPtr<IntervalSpec>) -> Result<usize, Errno> {
    out.write(&interval_spec(vfs::timerfd_get(&*call.file(descriptor)?)?))?;
    Ok(0)
}
