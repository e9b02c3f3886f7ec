//! Calls about who a task is.

use crate::{
    abi::{CapabilityData, CapabilityHeader},
    arguments::UserPtr,
    call::Call,
};
use base::{Capabilities, Errno, Gid};
use process::{credentials, identity};

/// `getuid(2)`.
pub fn getuid(call: &Call<'_>) -> Result<usize, Errno> {
    Ok(call.task.credentials().uid.raw() as usize)
}

/// `geteuid(2)`.
pub fn geteuid(call: &Call<'_>) -> Result<usize, Errno> {
    Ok(call.task.credentials().euid.raw() as usize)
}

/// `getgid(2)`.
pub fn getgid(call: &Call<'_>) -> Result<usize, Errno> {
    Ok(call.task.credentials().gid.raw() as usize)
}

/// `getegid(2)`.
pub fn getegid(call: &Call<'_>) -> Result<usize, Errno> {
    Ok(call.task.credentials().egid.raw() as usize)
}

/// `setuid(2)`.
pub fn setuid(call: &Call<'_>, uid: u32) -> Result<usize, Errno> {
    credentials::set_uid(call.task, uid).map(|()| 0)
}

/// `setgid(2)`.
pub fn setgid(call: &Call<'_>, gid: u32) -> Result<usize, Errno> {
    credentials::set_gid(call.task, gid).map(|()| 0)
}

/// `setreuid(2)`.
pub fn setreuid(call: &Call<'_>, uid: u32, euid: u32) -> Result<usize, Errno> {
    credentials::set_real_effective_uid(call.task, uid, euid).map(|()| 0)
}

/// `setregid(2)`.
pub fn setregid(call: &Call<'_>, gid: u32, egid: u32) -> Result<usize, Errno> {
    credentials::set_real_effective_gid(call.task, gid, egid).map(|()| 0)
}

/// `setresuid(2)`.
pub fn setresuid(call: &Call<'_>, uid: u32, euid: u32, suid: u32) -> Result<usize, Errno> {
    credentials::set_three_uids(call.task, [uid, euid, suid]).map(|()| 0)
}

/// `setresgid(2)`.
pub fn setresgid(call: &Call<'_>, gid: u32, egid: u32, sgid: u32) -> Result<usize, Errno> {
    credentials::set_three_gids(call.task, [gid, egid, sgid]).map(|()| 0)
}

/// `getresuid(2)`.
pub fn getresuid(call: &Call<'_>, uid: UserPtr<u32>, euid: UserPtr<u32>, suid: UserPtr<u32>) -> Result<usize, Errno> {
    let credentials = call.task.credentials();
    uid.write(&credentials.uid.raw())?;
    euid.write(&credentials.euid.raw())?;
    suid.write(&credentials.suid.raw())?;
    Ok(0)
}

/// `getresgid(2)`.
pub fn getresgid(call: &Call<'_>, gid: UserPtr<u32>, egid: UserPtr<u32>, sgid: UserPtr<u32>) -> Result<usize, Errno> {
    let credentials = call.task.credentials();
    gid.write(&credentials.gid.raw())?;
    egid.write(&credentials.egid.raw())?;
    sgid.write(&credentials.sgid.raw())?;
    Ok(0)
}

/// `setfsuid(2)`: always the old number; what is not allowed changes nothing.
pub fn setfsuid(call: &Call<'_>, uid: u32) -> Result<usize, Errno> {
    Ok(credentials::set_file_uid(call.task, uid).raw() as usize)
}

/// `setfsgid(2)`: always the old number; what is not allowed changes nothing.
pub fn setfsgid(call: &Call<'_>, gid: u32) -> Result<usize, Errno> {
    Ok(credentials::set_file_gid(call.task, gid).raw() as usize)
}

/// `getgroups(2)`.
pub fn getgroups(call: &Call<'_>, count: i32, out: UserPtr<u32>) -> Result<usize, Errno> {
    let credentials = call.task.credentials();
    let groups: alloc::vec::Vec<u32> = credentials.groups.iter().map(|group| group.raw()).collect();
    match usize::try_from(count) {
        Ok(0) => {}
        Ok(room) if room >= groups.len() => out.write_array(&groups)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(groups.len())
}

/// `setgroups(2)`.
pub fn setgroups(call: &Call<'_>, count: i32, groups: UserPtr<u32>) -> Result<usize, Errno> {
    if !call.task.credentials().has(Capabilities::SETGID) {
        return Err(Errno::EPERM);
    }
    let count = usize::try_from(count).ok().filter(|&count| count <= identity::MAX_GROUPS).ok_or(Errno::EINVAL)?;
    let groups = groups.read_array(count)?;
    let groups: alloc::vec::Vec<Gid> = groups.into_iter().map(Gid::new).collect();
    credentials::set_groups(call.task, groups).map(|()| 0)
}

/// The versions of `capget(2)` and how many words each set has. An unknown version is answered by the newest.
fn words(header: UserPtr<CapabilityHeader>) -> Result<(CapabilityHeader, usize), Errno> {
    const FIRST: u32 = 0x1998_0330;
    const SECOND: u32 = 0x2007_1026;
    const THIRD: u32 = 0x2008_0522;
    let mut head = header.read()?;
    match head.version {
        FIRST => Ok((head, 1)),
        SECOND | THIRD => Ok((head, 2)),
        _ => {
            head.version = THIRD;
            header.write(&head)?;
            Err(Errno::EINVAL)
        }
    }
}

/// `capget(2)`.
pub fn capget(
    call: &Call<'_>,
    header: UserPtr<CapabilityHeader>,
    data: UserPtr<CapabilityData>,
) -> Result<usize, Errno> {
    let (head, words) = match words(header) {
        // Asking with a null pointer for the data is how programs learn the version.
        Err(Errno::EINVAL) if data.is_null() => return Ok(0),
        other => other?,
    };
    let credentials = credentials::of(call.task, head.pid)?;
    if data.is_null() {
        return Ok(0);
    }
    let word = |set: Capabilities, index: usize| (set.bits() >> (32 * index)) as u32;
    for index in 0..words {
        data.item(index).write(&CapabilityData {
            effective: word(credentials.effective, index),
            permitted: word(credentials.permitted, index),
            inheritable: word(credentials.inheritable, index),
        })?;
    }
    Ok(0)
}

/// `capset(2)`: only of the caller itself.
pub fn capset(
    call: &Call<'_>,
    header: UserPtr<CapabilityHeader>,
    data: UserPtr<CapabilityData>,
) -> Result<usize, Errno> {
    let (head, words) = words(header)?;
    let mut sets = [0_u64; 3];
    for index in 0..words {
        let given = data.item(index).read()?;
        for (set, word) in sets.iter_mut().zip([given.effective, given.permitted, given.inheritable]) {
            *set |= u64::from(word) << (32 * index);
        }
    }
    let [effective, permitted, inheritable] = sets.map(Capabilities::from_bits_truncate);
    credentials::set_capabilities(call.task, head.pid, effective, permitted, inheritable).map(|()| 0)
}
