//! System V shared memory.

use crate::{arguments::UserPtr, call::Call};
use alloc::sync::Arc;
use base::{Errno, Gid, Uid};
use memory::{MapRequest, PageSource, Place, Protection, Sharing};
use process::shared_memory::{GetFlags, LARGEST, MOST_SEGMENTS, Segment, SharedMemory};

const IPC_RMID: i32 = 0;
const IPC_SET: i32 = 1;
const IPC_STAT: i32 = 2;
const IPC_INFO: i32 = 3;
const SHM_LOCK: i32 = 11;
const SHM_UNLOCK: i32 = 12;
const SHM_STAT: i32 = 13;
const SHM_INFO: i32 = 14;
const SHM_STAT_ANY: i32 = 15;

/// The size of `struct shmid64_ds`.
const STATUS_SIZE: usize = 112;
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
pub fn shmctl(call: &Call<'_>, number: i32, command: i32, buffer: UserPtr<u8>) -> Result<usize, Errno> {
    let (all, who) = (all(call), call.task.credentials());
    if command < 0 || number < 0 {
        return Err(Errno::EINVAL);
    }
    match command {
        IPC_RMID => all.remove(number, &who)?,
        IPC_SET => {
            let mut bytes = [0; STATUS_SIZE];
            machine::user_memory::read(buffer.address(), &mut bytes)?;
            let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            all.set(number, Uid::new(word(4)), Gid::new(word(8)), word(20), &who)?;
        }
        IPC_STAT => buffer.write_array(&status(&all.status(number, false, &who)?))?,
        SHM_STAT | SHM_STAT_ANY => {
            let number = all.number_at(number)?;
            buffer.write_array(&status(&all.status(number, command == SHM_STAT_ANY, &who)?))?;
            return Ok(number as usize);
        }
        IPC_INFO => {
            // The largest, the smallest, how many, how many for a process, pages of all; and four unused.
            let most = MOST_SEGMENTS as u64;
            let words = [LARGEST, 1, most, most, LARGEST, 0, 0, 0, 0];
            buffer.write_array(&words.map(u64::to_le_bytes).concat())?;
            return Ok(all.sums().highest as usize);
        }
        SHM_INFO => {
            let sums = all.sums();
            let words = [u64::from(sums.segments), sums.pages, sums.resident, 0, 0, 0];
            buffer.write_array(&words.map(u64::to_le_bytes).concat())?;
            return Ok(sums.highest as usize);
        }
        SHM_LOCK | SHM_UNLOCK => {
            let may_lock = call.memory_limits().locked > 0;
            all.set_locked(number, command == SHM_LOCK, may_lock, &who)?;
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `struct shmid64_ds`.
fn status(segment: &Segment) -> [u8; STATUS_SIZE] {
    let mut bytes = [0; STATUS_SIZE];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &segment.key.to_le_bytes());
    let owners = [segment.uid.raw(), segment.gid.raw(), segment.creator.0.raw(), segment.creator.1.raw(), segment.mode];
    owners.iter().enumerate().for_each(|(index, value)| put(4 + 4 * index, &value.to_le_bytes()));
    put(48, &segment.size.to_le_bytes());
    segment.times.iter().enumerate().for_each(|(index, time)| put(56 + 8 * index, &time.to_le_bytes()));
    segment.processes.iter().enumerate().for_each(|(index, process)| put(80 + 4 * index, &process.raw().to_le_bytes()));
    put(88, &segment.attached.to_le_bytes());
    bytes
}
