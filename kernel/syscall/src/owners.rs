//! The commands of `fcntl(2)` that say who is told of what happens to a file: owners, signals, `O_ASYNC`.

use crate::{abi::OwnerEx, arguments::UserPtr, call::Call};
use alloc::sync::Arc;
use base::{Errno, Pid};
use linux_raw_sys::{
    general::{F_GETOWN, F_GETSIG, F_OWNER_PGRP, F_OWNER_PID, F_OWNER_TID, F_SETOWN, F_SETSIG},
    ioctl::{FIOSETOWN, SIOCSPGRP},
};
use process::{file_signals, signals::LARGEST};
use vfs::{
    OpenFile, OpenFlags,
    notice::{DirectoryEvents, Owner, OwnerKind},
};

pub(crate) const F_SETOWN_EX: u32 = 15;
pub(crate) const F_GETOWN_EX: u32 = 16;

/// `F_SETOWN`, `F_GETOWN`, their longer forms, `F_SETSIG`, `F_GETSIG`. `EINVAL` a kind of owner or a signal that there is
/// not; `ESRCH` an owner that there is not; `EFAULT`.
pub(crate) fn fcntl(call: &Call<'_>, file: &OpenFile, command: u32, argument: u64) -> Result<usize, Errno> {
    match command {
        F_SETOWN => {
            let number = argument as i32;
            let kind = if number < 0 { OwnerKind::Group } else { OwnerKind::Process };
            let number = number.checked_abs().ok_or(Errno::EINVAL)?;
            file.set_owner(file_signals::owner(call.task, kind, Pid::new(number))?);
        }
        F_GETOWN => {
            let (kind, number) = described(file.owner());
            let number = number as isize;
            return Ok(if kind == F_OWNER_PGRP { number.wrapping_neg() } else { number } as usize);
        }
        F_SETOWN_EX => {
            let OwnerEx { kind, number } = UserPtr::<OwnerEx>::at(argument).read()?;
            let kind = match kind as u32 {
                F_OWNER_TID => OwnerKind::Thread,
                F_OWNER_PID => OwnerKind::Process,
                F_OWNER_PGRP => OwnerKind::Group,
                _ => return Err(Errno::EINVAL),
            };
            if number < 0 {
                return Err(Errno::ESRCH);
            }
            file.set_owner(file_signals::owner(call.task, kind, Pid::new(number))?);
        }
        F_GETOWN_EX => {
            let (kind, number) = described(file.owner());
            UserPtr::<OwnerEx>::at(argument).write(&OwnerEx { kind: kind as i32, number })?;
        }
        F_SETSIG => {
            let signal = u8::try_from(argument).ok().filter(|&signal| signal <= LARGEST).ok_or(Errno::EINVAL)?;
            file.set_signal(signal);
        }
        F_GETSIG => return Ok(file.signal().into()),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// The owner of a socket by the older words: `FIOSETOWN` and `SIOCSPGRP`, else `FIOGETOWN` or `SIOCGPGRP`. Errors as
/// [`fcntl`].
pub(crate) fn of_socket(call: &Call<'_>, file: &OpenFile, request: u32, argument: u64) -> Result<usize, Errno> {
    let place = UserPtr::<i32>::at(argument);
    if matches!(request, FIOSETOWN | SIOCSPGRP) {
        return fcntl(call, file, F_SETOWN, place.read()? as u64);
    }
    place.write(&(fcntl(call, file, F_GETOWN, 0)? as i32))?;
    Ok(0)
}

/// `F_NOTIFY`: tells of changes in a directory. `ENOTDIR`.
pub(crate) fn notify(call: &Call<'_>, file: &Arc<OpenFile>, descriptor: i32, argument: u64) -> Result<usize, Errno> {
    // It is there, as it asks.
    let owner = file_signals::owner(call.task, OwnerKind::Process, call.task.pid())?.ok_or(Errno::ESRCH)?;
    file.notify(descriptor, DirectoryEvents::from_bits_truncate(argument as u32), owner)?;
    Ok(0)
}

/// The kind and number of an owner; 0 if there is none, or none any more.
fn described(owner: Option<Owner>) -> (u32, i32) {
    let Some(owner) = owner else { return (F_OWNER_TID, 0) };
    let is_gone = owner.holder.as_ref().is_some_and(|holder| holder.strong_count() == 0);
    let kind = match owner.kind {
        OwnerKind::Thread => F_OWNER_TID,
        OwnerKind::Process => F_OWNER_PID,
        OwnerKind::Group => F_OWNER_PGRP,
    };
    (kind, if is_gone { 0 } else { owner.number.raw() })
}

/// `F_SETFL`. Nothing happens to `O_ASYNC` of a file that can't tell of changes. `EPERM` `O_NOATIME` for another's file.
pub(crate) fn set_flags(call: &Call<'_>, file: &Arc<OpenFile>, descriptor: i32, flags: OpenFlags) -> Result<(), Errno> {
    file.check_status_flags(flags, &call.task.credentials())?;
    let on = flags.contains(OpenFlags::ASYNC);
    if file.flags().contains(OpenFlags::ASYNC) != on {
        match file.set_async(descriptor, on) {
            Ok(()) | Err(Errno::ENOTTY) => {}
            Err(error) => return Err(error),
        }
    }
    file.set_status_flags(flags)
}

/// `FIOASYNC`. `ENOTTY` a file that can't tell of changes; `EFAULT`.
pub(crate) fn set_async(file: &Arc<OpenFile>, descriptor: i32, argument: u64) -> Result<usize, Errno> {
    let on = UserPtr::<i32>::at(argument).read()? != 0;
    if file.flags().contains(OpenFlags::ASYNC) != on {
        file.set_async(descriptor, on)?;
    }
    Ok(0)
}
