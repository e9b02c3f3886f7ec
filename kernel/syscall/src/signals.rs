//! Calls about signals and the timers that send them.

use crate::{
    abi::{IntervalTimer, SignalAction, SignalStack, Timespec},
    arguments::UserPtr,
    call::Call,
    clock::{self, nanoseconds, nanoseconds_of_timeval},
};
use base::Errno;
use process::{
    process_file,
    signals::{
        Action, ActionFlags, AlternateStack, Signal, SignalInfo, SignalSet,
        calls::{self, MaskChange},
        deliver, signal_file,
    },
    timers::{Interval, Setting},
};
use vfs::OpenFlags;

/// Every signal set has this size.
const SET_SIZE: usize = 8;
/// The size of `siginfo_t`.
const INFO_SIZE: usize = 128;

fn check_size(size: usize) -> Result<(), Errno> {
    if size == SET_SIZE { Ok(()) } else { Err(Errno::EINVAL) }
}

/// A signal to send; 0 only asks whether it could be sent.
fn signal_or_probe(number: i32) -> Result<Option<Signal>, Errno> {
    if number == 0 { Ok(None) } else { Signal::new(number).map(Some) }
}

/// `rt_sigaction(2)`.
pub fn rt_sigaction(
    call: &Call<'_>,
    signal: i32,
    new: UserPtr<SignalAction>,
    old: UserPtr<SignalAction>,
    size: usize,
) -> Result<usize, Errno> {
    check_size(size)?;
    let new = new.read_optional()?.map(|new| Action {
        handler: new.handler,
        flags: ActionFlags::from_bits_retain(new.flags),
        restorer: new.restorer,
        mask: SignalSet::from_bits(new.mask),
    });
    let before = calls::action(call.task, Signal::new(signal)?, new)?;
    old.write_optional(&SignalAction {
        handler: before.handler,
        flags: before.flags.bits(),
        restorer: before.restorer,
        mask: before.mask.bits(),
    })?;
    Ok(0)
}

/// `rt_sigprocmask(2)`.
pub fn rt_sigprocmask(
    call: &Call<'_>,
    how: i32,
    new: UserPtr<u64>,
    old: UserPtr<u64>,
    size: usize,
) -> Result<usize, Errno> {
    check_size(size)?;
    let before = match new.read_optional()? {
        Some(set) => calls::change_mask(call.task, MaskChange::new(how)?, SignalSet::from_bits(set)),
        None => call.task.mask(),
    };
    old.write_optional(&before.bits())?;
    Ok(0)
}

/// `restart_syscall(2)`, made by a program itself: there is nothing to go on with. A sleep that a stop has interrupted goes on by
/// itself, until the moment that it was to last to. Always `EINTR`.
pub fn restart_syscall(_call: &Call<'_>) -> Result<usize, Errno> {
    Err(Errno::EINTR)
}

/// `rt_sigreturn(2)`: every register becomes what the frame says, the result's too.
pub fn rt_sigreturn(call: &mut Call<'_>) -> Result<usize, Errno> {
    deliver::sigreturn(call.task, call.user);
    Ok(0)
}

/// `rt_sigpending(2)`.
pub fn rt_sigpending(call: &Call<'_>, out: UserPtr<u64>, size: usize) -> Result<usize, Errno> {
    if size > SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let pending = deliver::pending(call.task).bits().to_le_bytes();
    machine::user_memory::write(out.address(), &pending[..size])?;
    Ok(0)
}

/// `rt_sigtimedwait(2)`.
pub fn rt_sigtimedwait(
    call: &Call<'_>,
    set: UserPtr<u64>,
    info: UserPtr<[u8; INFO_SIZE]>,
    timeout: UserPtr<Timespec>,
    size: usize,
) -> Result<usize, Errno> {
    let set = call.signal_set(set, size)?;
    let timeout = timeout.read_optional()?.map(|time| nanoseconds(&time)).transpose()?;
    let found = calls::wait_for(call.task, set, timeout)?;
    info.write_optional(&found.to_bytes())?;
    Ok(found.signal.number() as usize)
}

/// `rt_sigqueueinfo(2)`.
pub fn rt_sigqueueinfo(call: &Call<'_>, pid: i32, signal: i32, info: UserPtr<[u8; INFO_SIZE]>) -> Result<usize, Errno> {
    let bytes = info.read()?;
    calls::queue(call.task, pid, SignalInfo::from_bytes(Signal::new(signal)?, &bytes))?;
    Ok(0)
}

/// `rt_tgsigqueueinfo(2)`.
pub fn rt_tgsigqueueinfo(
    call: &Call<'_>,
    pid: i32,
    tid: i32,
    signal: i32,
    info: UserPtr<[u8; INFO_SIZE]>,
) -> Result<usize, Errno> {
    let bytes = info.read()?;
    if pid <= 0 || tid <= 0 {
        return Err(Errno::EINVAL);
    }
    calls::queue_to_thread(call.task, pid, tid, SignalInfo::from_bytes(Signal::new(signal)?, &bytes))?;
    Ok(0)
}

/// `pidfd_send_signal(2)`. `EINVAL` flags, or facts about another signal; `EBADF` no process's file.
pub fn pidfd_send_signal(
    call: &Call<'_>,
    descriptor: i32,
    signal: i32,
    info: UserPtr<[u8; INFO_SIZE]>,
    flags: u32,
) -> Result<usize, Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let file = call.file(descriptor)?;
    let process = process_file::target_of(&file)?;
    let bytes = info.read_optional()?;
    if bytes.is_some_and(|bytes| bytes.first_chunk() != Some(&signal.to_ne_bytes())) {
        return Err(Errno::EINVAL);
    }
    let signal = signal_or_probe(signal)?;
    let info = bytes.zip(signal).map(|(bytes, signal)| SignalInfo::from_bytes(signal, &bytes));
    calls::signal_process(call.task, &process, signal, info)?;
    Ok(0)
}

/// `rt_sigsuspend(2)`.
pub fn rt_sigsuspend(call: &Call<'_>, mask: UserPtr<u64>, size: usize) -> Result<usize, Errno> {
    Err(calls::suspend(call.task, call.signal_set(mask, size)?))
}

/// `pause(2)`.
pub fn pause(call: &Call<'_>) -> Result<usize, Errno> {
    Err(calls::pause(call.task))
}

/// `sigaltstack(2)`.
pub fn sigaltstack(call: &Call<'_>, new: UserPtr<SignalStack>, old: UserPtr<SignalStack>) -> Result<usize, Errno> {
    let new =
        new.read_optional()?.map(|new| AlternateStack { base: new.base, flags: new.flags as u32, size: new.size });
    let before = calls::alternate_stack(call.task, new, call.user.registers.rsp)?;
    old.write_optional(&SignalStack { base: before.base, flags: before.flags as i32, hole: 0, size: before.size })?;
    Ok(0)
}

/// `kill(2)`.
pub fn kill(call: &Call<'_>, pid: i32, signal: i32) -> Result<usize, Errno> {
    calls::kill(call.task, pid, signal_or_probe(signal)?)?;
    Ok(0)
}

/// `tgkill(2)`.
pub fn tgkill(call: &Call<'_>, pid: i32, tid: i32, signal: i32) -> Result<usize, Errno> {
    if pid <= 0 || tid <= 0 {
        return Err(Errno::EINVAL);
    }
    calls::kill_thread(call.task, Some(pid), tid, signal_or_probe(signal)?)?;
    Ok(0)
}

/// `tkill(2)`.
pub fn tkill(call: &Call<'_>, tid: i32, signal: i32) -> Result<usize, Errno> {
    if tid <= 0 {
        return Err(Errno::EINVAL);
    }
    calls::kill_thread(call.task, None, tid, signal_or_probe(signal)?)?;
    Ok(0)
}

fn told(setting: Setting) -> IntervalTimer {
    IntervalTimer { interval: clock::timeval(setting.interval), value: clock::timeval(setting.value) }
}

/// `getitimer(2)`.
pub fn getitimer(call: &Call<'_>, which: i32, out: UserPtr<IntervalTimer>) -> Result<usize, Errno> {
    let setting = call.task.process().timers.interval(Interval::new(which)?);
    out.write(&told(setting))?;
    Ok(0)
}

/// `setitimer(2)`; a null pointer disarms, as Linux still does.
pub fn setitimer(
    call: &Call<'_>,
    which: i32,
    new: UserPtr<IntervalTimer>,
    old: UserPtr<IntervalTimer>,
) -> Result<usize, Errno> {
    let setting = match new.read_optional()? {
        None => Setting::default(),
        Some(new) if [new.interval, new.value].iter().any(|time| !(0..1_000_000).contains(&time.microseconds)) => {
            return Err(Errno::EINVAL);
        }
        Some(new) => {
            Setting { interval: nanoseconds_of_timeval(&new.interval)?, value: nanoseconds_of_timeval(&new.value)? }
        }
    };
    let before = call.task.process().timers.set_interval(Interval::new(which)?, setting);
    old.write_optional(&told(before))?;
    Ok(0)
}

/// `alarm(2)`: the seconds that were left, rounded up so that a set alarm never reads as none.
pub fn alarm(call: &Call<'_>, seconds: u32) -> Result<usize, Errno> {
    let setting = Setting { interval: 0, value: u64::from(seconds) * 1_000_000_000 };
    let before = call.task.process().timers.set_interval(Interval::Real, setting);
    Ok(match before.value {
        0 => 0,
        left => ((left + 500_000_000) / 1_000_000_000).max(1) as usize,
    })
}

/// `signalfd4(2)`: a new file for -1, else another set for the file `descriptor`.
///
/// Errors, in this order: `EINVAL` the size; `EFAULT`; `EINVAL` flags; `EBADF`; `EINVAL` another kind of file.
pub fn signalfd4(
    call: &Call<'_>,
    descriptor: i32,
    mask: UserPtr<u64>,
    size: usize,
    flags: u32,
) -> Result<usize, Errno> {
    check_size(size)?;
    let set = SignalSet::from_bits(mask.read()?);
    let allowed = OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK;
    let flags = OpenFlags::from_bits(flags).filter(|flags| allowed.contains(*flags)).ok_or(Errno::EINVAL)?;
    if descriptor == -1 {
        let file = signal_file::open(set, flags & OpenFlags::NONBLOCK, &call.task.credentials())?;
        return call.insert(file, flags.contains(OpenFlags::CLOSE_ON_EXEC));
    }
    signal_file::change(&*call.file(descriptor)?, set)?;
    Ok(descriptor as usize)
}

/// `signalfd(2)`.
pub fn signalfd(call: &Call<'_>, descriptor: i32, mask: UserPtr<u64>, size: usize) -> Result<usize, Errno> {
    signalfd4(call, descriptor, mask, size, 0)
}
