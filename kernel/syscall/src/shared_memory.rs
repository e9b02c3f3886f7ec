//! System V shared memory.

use crate::{
    arguments::{UserPtr, abi_struct},
    call::Call,
    ipc::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, Ipc64Perm, highest},
};
use alloc::sync::Arc;
use base::{Errno, Gid, Uid};
use memory::{MapRequest, PageSource, Place, Protection, Sharing};
use process::{
    ipc::GetFlags,
    shared_memory::{Segment, SegmentLimits, SharedMemory},
};

const SHM_LOCK: i32 = 11;
const SHM_UNLOCK: i32 = 12;
const SHM_STAT: i32 = 13;
const SHM_INFO: i32 = 14;
const SHM_STAT_ANY: i32 = 15;

abi_struct! {
    /// `struct shmid64_ds`.
    SegmentStatus {
        permission: Ipc64Perm,
        size: u64,
        times: [u64; 3],
        processes: [i32; 2],
        attached: u64,
        unused: [u64; 2],
    }
}

impl From<&Segment> for SegmentStatus {
    fn from(segment: &Segment) -> Self {
        Self {
            permission: (&segment.permission).into(),
            size: segment.size,
            times: segment.times,
            processes: segment.processes.map(|pid| pid.raw()),
            attached: segment.attached,
            unused: [0; 2],
        }
    }
}

const PAGE: u64 = 4096;

fn all<'a>(call: &'a Call<'_>) -> &'a Arc<SharedMemory> {
    &call.task.population().shared_memory
}

/// `shmget(2)`. `EINVAL` for flags that are not offered (`SHM_HUGETLB`), besides the errors of [`SharedMemory::get`].
pub fn shmget(call: &Call<'_>, key: i32, size: u64, flags: u32) -> Result<usize, Errno> {
    let more = GetFlags::from_bits(flags & !0o777).ok_or(Errno::EINVAL)?;
    let number = all(call).get(key, size, more, flags & 0o777, &call.task.credentials())?;
    Ok(number as usize)
}

/// `shmat(2)`. `EINVAL` no such segment, a bad address or one where something is, or it leaves the user half; `EACCES`;
/// `ENOMEM`.
pub fn shmat(call: &Call<'_>, number: i32, address: u64, flags: u32) -> Result<usize, Errno> {
    const READ_ONLY: u32 = 0o10000;
    const ROUND: u32 = 0o20000;
    const REMAP: u32 = 0o40000;
    const EXECUTE: u32 = 0o100000;
    let replaces = flags & REMAP != 0;
    let place = match address {
        0 if replaces => return Err(Errno::EINVAL),
        0 => Place::Hint,
        _ if replaces => Place::Fixed,
        _ => Place::FixedNoReplace,
    };
    let rounded = address / PAGE * PAGE;
    if rounded != address && (flags & ROUND == 0 || replaces && rounded == 0) {
        return Err(Errno::EINVAL);
    }
    let (mut protection, mut wanted) = (Protection::READ, 0o444);
    if flags & READ_ONLY == 0 {
        protection |= Protection::WRITE;
        wanted |= 0o222;
    }
    if flags & EXECUTE != 0 {
        protection |= Protection::EXECUTE;
        wanted |= 0o111;
    }
    let attachment = all(call).attach(number, wanted, &call.task.credentials())?;
    let length = attachment.size();
    let request = MapRequest {
        address: rounded,
        protection,
        sharing: Sharing::Shared,
        place,
        source: Some((attachment as Arc<dyn PageSource>, 0)),
        ..MapRequest::anonymous(length)
    };
    let mapped = call.address_space()?.map(request, &call.memory_limits());
    mapped.map(|address| address as usize).map_err(|error| match error {
        Errno::EEXIST => Errno::EINVAL,
        error => error,
    })
}

/// `shmdt(2)`. `EINVAL` nothing was attached there.
pub fn shmdt(call: &Call<'_>, address: u64) -> Result<usize, Errno> {
    call.address_space()?.detach(address)?;
    Ok(0)
}

/// `shmctl(2)`. `EINVAL` no such segment or command; `EACCES` it may not be read; `EPERM` it may not be changed; `EFAULT`.
pub fn shmctl(call: &Call<'_>, number: i32, command: i32, argument: u64) -> Result<usize, Errno> {
    let (all, who) = (all(call), call.task.credentials());
    if command < 0 || number < 0 {
        return Err(Errno::EINVAL);
    }
    let status = UserPtr::<SegmentStatus>::at(argument);
    match command {
        IPC_RMID => all.remove(number, &who)?,
        IPC_SET => {
            let Ipc64Perm { uid, gid, mode, .. } = status.read()?.permission;
            all.set(number, Uid::new(uid), Gid::new(gid), mode, &who)?;
        }
        IPC_STAT => status.write(&(&all.status(number, false, &who)?).into())?,
        SHM_STAT | SHM_STAT_ANY => {
            let number = all.number_at(number)?;
            status.write(&(&all.status(number, command == SHM_STAT_ANY, &who)?).into())?;
            return Ok(number as usize);
        }
        IPC_INFO => {
            // The largest, the smallest, how many, how many for a process, pages of all; and four unused.
            let SegmentLimits { largest, pages, segments } = all.limits();
            let most = segments as u64;
            UserPtr::<[u64; 9]>::at(argument).write(&[largest, 1, most, most, pages, 0, 0, 0, 0])?;
            return Ok(highest(all.sums().segments));
        }
        SHM_INFO => {
            let sums = all.sums();
            UserPtr::<[u64; 6]>::at(argument).write(&[sums.segments as u64, sums.pages, sums.resident, 0, 0, 0])?;
            return Ok(highest(sums.segments));
        }
        SHM_LOCK | SHM_UNLOCK => {
            let may_lock = call.memory_limits().locked > 0;
            all.set_locked(number, command == SHM_LOCK, may_lock, &who)?;
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
