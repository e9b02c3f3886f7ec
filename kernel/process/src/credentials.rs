//! The system calls that read and change who a task is; the rules are in [`crate::identity`].

use crate::{
    core_dump,
    identity::{self, SecureBits},
    limits::Resource,
    task::Task,
};
use alloc::{sync::Arc, vec::Vec};
use base::{Capabilities, Credentials, Errno, Gid, Pid, Uid};
use core::sync::atomic::Ordering::Relaxed;

/// Takes over what a rule made of the caller's credentials.
fn change(task: &Task, rule: impl FnOnce(&Credentials, SecureBits) -> Result<Credentials, Errno>) -> Result<(), Errno> {
    let old = task.credentials();
    let bits = task.with_belongings(|own| own.secure_bits);
    let new = rule(&old, bits)?;
    replace(task, &old, new);
    Ok(())
}

fn replace(task: &Task, old: &Credentials, new: Credentials) {
    if new.uid != old.uid {
        // Refused only once it executes a program: many don't look at what setuid says.
        let limit = task.process().limit(Resource::Processes);
        let has_too_many = new.uid != Uid::ROOT && task.population().accounts.tasks(new.uid) > limit;
        task.with_belongings(|own| own.has_too_many = has_too_many);
    }
    if identity::becomes_another(old, &new) {
        task.process().set_dumpable(core_dump::of_privileged());
        task.parent_death_signal.store(0, Relaxed);
    }
    task.set_credentials(new);
}

/// `setuid(2)`. Errors as [`identity::set_uid`].
pub fn set_uid(task: &Task, uid: u32) -> Result<(), Errno> {
    change(task, |old, bits| identity::set_uid(old, bits, uid))
}

/// `setreuid(2)`. Errors as [`identity::set_real_effective_uid`].
pub fn set_real_effective_uid(task: &Task, uid: u32, euid: u32) -> Result<(), Errno> {
    change(task, |old, bits| identity::set_real_effective_uid(old, bits, uid, euid))
}

/// `setresuid(2)`: real, effective, saved. Errors as [`identity::set_three_uids`].
pub fn set_three_uids(task: &Task, three: [u32; 3]) -> Result<(), Errno> {
    change(task, |old, bits| identity::set_three_uids(old, bits, three))
}

/// `setfsuid(2)`: returns the old number, changed or not.
pub fn set_file_uid(task: &Task, uid: u32) -> Uid {
    let old = task.credentials();
    if let Some(new) = identity::set_file_uid(&old, task.with_belongings(|own| own.secure_bits), uid) {
        replace(task, &old, new);
    }
    old.fsuid
}

/// `setgid(2)`. Errors as [`identity::set_gid`].
pub fn set_gid(task: &Task, gid: u32) -> Result<(), Errno> {
    change(task, |old, _| identity::set_gid(old, gid))
}

/// `setregid(2)`. Errors as [`identity::set_real_effective_gid`].
pub fn set_real_effective_gid(task: &Task, gid: u32, egid: u32) -> Result<(), Errno> {
    change(task, |old, _| identity::set_real_effective_gid(old, gid, egid))
}

/// `setresgid(2)`: real, effective, saved. Errors as [`identity::set_three_gids`].
pub fn set_three_gids(task: &Task, three: [u32; 3]) -> Result<(), Errno> {
    change(task, |old, _| identity::set_three_gids(old, three))
}

/// `setfsgid(2)`: returns the old number, changed or not.
pub fn set_file_gid(task: &Task, gid: u32) -> Gid {
    let old = task.credentials();
    if let Some(new) = identity::set_file_gid(&old, gid) {
        replace(task, &old, new);
    }
    old.fsgid
}

/// `setgroups(2)`. Errors as [`identity::set_groups`].
pub fn set_groups(task: &Task, groups: Vec<Gid>) -> Result<(), Errno> {
    change(task, |old, _| identity::set_groups(old, groups))
}

/// The credentials that `capget(2)` shows of a task; 0 is the caller. `EINVAL` negative, `ESRCH`.
pub fn of(task: &Task, tid: i32) -> Result<Arc<Credentials>, Errno> {
    match tid {
        0 => Ok(task.credentials()),
        1.. => Ok(task.population().task(Pid::new(tid)).ok_or(Errno::ESRCH)?.credentials()),
        _ => Err(Errno::EINVAL),
    }
}

/// `capset(2)`; only the caller itself, 0 or its number. `EPERM`: another task, or as [`identity::set_capabilities`].
pub fn set_capabilities(
    task: &Task,
    tid: i32,
    effective: Capabilities,
    permitted: Capabilities,
    inheritable: Capabilities,
) -> Result<(), Errno> {
    if tid != 0 && tid != task.tid().raw() {
        return Err(Errno::EPERM);
    }
    change(task, |old, _| identity::set_capabilities(old, effective, permitted, inheritable))
}

/// `PR_CAPBSET_DROP`. Errors as [`identity::drop_bounding`].
pub(crate) fn drop_bounding(task: &Task, number: u64) -> Result<(), Errno> {
    change(task, |old, _| identity::drop_bounding(old, number))
}

/// `PR_CAP_AMBIENT`: is set, raise, lower, clear all. `EINVAL`, `EPERM` as [`identity::raise_ambient`].
pub(crate) fn ambient(task: &Task, operation: u64, number: u64) -> Result<u64, Errno> {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR_ALL: u64 = 4;
    match operation {
        IS_SET => {
            let one = identity::capability(number)?;
            return Ok(task.credentials().ambient.contains(one).into());
        }
        RAISE => change(task, |old, bits| identity::raise_ambient(old, bits, number))?,
        LOWER => {
            let one = identity::capability(number)?;
            change(task, |old, _| Ok(Credentials { ambient: old.ambient - one, ..old.clone() }))?;
        }
        CLEAR_ALL if number == 0 => {
            change(task, |old, _| Ok(Credentials { ambient: Capabilities::empty(), ..old.clone() }))?;
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
