//! Calls on the address space: map, unmap, protect, grow.

use crate::{arguments::UserPtr, call::Call};
use base::Errno;
use linux_raw_sys::general::{
    MADV_COLD, MADV_DODUMP, MADV_DOFORK, MADV_DONTDUMP, MADV_DONTFORK, MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE,
    MADV_KEEPONFORK, MADV_MERGEABLE, MADV_NOHUGEPAGE, MADV_NORMAL, MADV_PAGEOUT, MADV_POPULATE_READ,
    MADV_POPULATE_WRITE, MADV_RANDOM, MADV_SEQUENTIAL, MADV_UNMERGEABLE, MADV_WILLNEED, MADV_WIPEONFORK, MAP_ANONYMOUS,
    MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_GROWSDOWN, MAP_LOCKED, MAP_POPULATE, MAP_PRIVATE, MAP_SHARED,
    MAP_SHARED_VALIDATE, MAP_TYPE, MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, MLOCK_ONFAULT,
};
use memory::{Advice, LockAll, MapRequest, Place, Protection, Sharing};
use process::persona::Persona;
use vfs::Mapping;

/// `PROT_GROWSDOWN` and its like are not offered; `PROT_SEM` means nothing on x86.
fn protection(call: &Call<'_>, bits: u32) -> Result<Protection, Errno> {
    const SEM: u32 = 8;
    let bits = u8::try_from(bits & !SEM).map_err(|_| Errno::EINVAL)?;
    let mut protection = Protection::from_bits(bits).ok_or(Errno::EINVAL)?;
    if protection.contains(Protection::READ) && call.task.persona().contains(Persona::READ_IMPLIES_EXECUTE) {
        protection |= Protection::EXECUTE;
    }
    Ok(protection)
}

/// `mmap(2)`.
pub fn mmap(
    call: &Call<'_>,
    address: u64,
    length: u64,
    bits: u32,
    flags: u32,
    descriptor: i32,
    offset: u64,
) -> Result<usize, Errno> {
    if !offset.is_multiple_of(4096) {
        return Err(Errno::EINVAL);
    }
    let sharing = match flags & MAP_TYPE {
        MAP_PRIVATE => Sharing::Private,
        MAP_SHARED | MAP_SHARED_VALIDATE => Sharing::Shared,
        _ => return Err(Errno::EINVAL),
    };
    let place = if flags & MAP_FIXED_NOREPLACE != 0 {
        Place::FixedNoReplace
    } else if flags & MAP_FIXED != 0 {
        Place::Fixed
    } else {
        Place::Hint
    };
    let protection = protection(call, bits)?;
    let (source, most) = if flags & MAP_ANONYMOUS != 0 {
        (None, Protection::all())
    } else {
        source(call, descriptor, offset, protection, sharing)?
    };
    let request = MapRequest {
        address,
        length,
        protection,
        most,
        sharing,
        place,
        source,
        grows_down: flags & MAP_GROWSDOWN != 0,
        populate: flags & MAP_POPULATE != 0,
        locked: flags & MAP_LOCKED != 0,
        name: None,
    };
    Ok(call.address_space()?.map(request, &call.memory_limits())? as usize)
}

type Source = Option<(alloc::sync::Arc<dyn memory::PageSource>, u64)>;

/// What a file offers to a mapping, and the most that `mprotect` may ever allow.
fn source(
    call: &Call<'_>,
    descriptor: i32,
    offset: u64,
    protection: Protection,
    sharing: Sharing,
) -> Result<(Source, Protection), Errno> {
    let file = call.file(descriptor)?;
    let shared = sharing == Sharing::Shared;
    let mapping = file.mapping(shared, protection.contains(Protection::WRITE))?;
    let mut most = Protection::all();
    if shared && !file.may_become_writable() {
        most.remove(Protection::WRITE);
    }
    match mapping {
        Mapping::Pages(pages) => Ok((Some((pages, offset)), most)),
        Mapping::Anonymous => Ok((None, most)),
    }
}

/// `munmap(2)`.
pub fn munmap(call: &Call<'_>, address: u64, length: u64) -> Result<usize, Errno> {
    call.address_space()?.unmap(address, length)?;
    Ok(0)
}

/// `mprotect(2)`.
pub fn mprotect(call: &Call<'_>, address: u64, length: u64, bits: u32) -> Result<usize, Errno> {
    call.address_space()?.protect(address, length, protection(call, bits)?)?;
    Ok(0)
}

/// `mremap(2)`.
pub fn mremap(call: &Call<'_>, address: u64, old: u64, new: u64, flags: u32, target: u64) -> Result<usize, Errno> {
    let limits = call.memory_limits();
    Ok(call.address_space()?.remap(address, old, new, flags, target, &limits)? as usize)
}

/// `brk(2)`: always the end as it is now.
pub fn brk(call: &Call<'_>, end: u64) -> Result<usize, Errno> {
    Ok(call.address_space()?.brk(end, &call.memory_limits()) as usize)
}

/// `madvise(2)`.
pub fn madvise(call: &Call<'_>, address: u64, length: u64, advice: u32) -> Result<usize, Errno> {
    call.address_space()?.advise(address, length, advice_of(advice)?)?;
    Ok(0)
}

/// What a number of `madvise(2)` asks for. `EINVAL` none that there is.
pub(crate) fn advice_of(advice: u32) -> Result<Advice, Errno> {
    Ok(match advice {
        MADV_NORMAL | MADV_RANDOM | MADV_SEQUENTIAL | MADV_WILLNEED | MADV_MERGEABLE | MADV_UNMERGEABLE
        | MADV_DONTDUMP | MADV_DODUMP => Advice::Hint,
        MADV_HUGEPAGE => Advice::Large,
        MADV_NOHUGEPAGE => Advice::Small,
        MADV_DONTNEED => Advice::DontNeed,
        MADV_FREE => Advice::Free,
        MADV_DONTFORK => Advice::DontFork,
        MADV_DOFORK => Advice::DoFork,
        MADV_WIPEONFORK => Advice::WipeOnFork,
        MADV_KEEPONFORK => Advice::KeepOnFork,
        MADV_POPULATE_READ => Advice::PopulateRead,
        MADV_POPULATE_WRITE => Advice::PopulateWrite,
        MADV_COLD | MADV_PAGEOUT => Advice::Cold,
        _ => return Err(Errno::EINVAL),
    })
}

/// `mincore(2)`.
pub fn mincore(call: &Call<'_>, address: u64, length: u64, out: UserPtr<u8>) -> Result<usize, Errno> {
    let pages = call.address_space()?.residency(address, length)?;
    let bytes: alloc::vec::Vec<u8> = pages.into_iter().map(u8::from).collect();
    out.write_array(&bytes)?;
    Ok(0)
}

/// `msync(2)`: shared pages are the file's own, so there is only the range to check.
pub fn msync(call: &Call<'_>, address: u64, length: u64, flags: u32) -> Result<usize, Errno> {
    const ASYNC: u32 = 1;
    const INVALIDATE: u32 = 2;
    const SYNC: u32 = 4;
    if flags & !(ASYNC | INVALIDATE | SYNC) != 0 || flags & (ASYNC | SYNC) == ASYNC | SYNC {
        return Err(Errno::EINVAL);
    }
    let space = call.address_space()?;
    space.residency(address, length)?;
    if flags & INVALIDATE != 0 && space.is_locked(address, length) {
        return Err(Errno::EBUSY);
    }
    Ok(0)
}

/// `mlock(2)`.
pub fn mlock(call: &Call<'_>, address: u64, length: u64) -> Result<usize, Errno> {
    mlock2(call, address, length, 0)
}

/// `mlock2(2)`. `EINVAL` for flags other than `MLOCK_ONFAULT`.
pub fn mlock2(call: &Call<'_>, address: u64, length: u64, flags: u32) -> Result<usize, Errno> {
    if flags & !MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    call.address_space()?.lock(address, length, flags == MLOCK_ONFAULT, &call.memory_limits())?;
    Ok(0)
}

/// `munlock(2)`.
pub fn munlock(call: &Call<'_>, address: u64, length: u64) -> Result<usize, Errno> {
    call.address_space()?.unlock(address, length)?;
    Ok(0)
}

/// `mlockall(2)`. `EINVAL` neither what is there nor what comes, or unknown flags.
pub fn mlockall(call: &Call<'_>, flags: u32) -> Result<usize, Errno> {
    if flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 || flags & (MCL_CURRENT | MCL_FUTURE) == 0 {
        return Err(Errno::EINVAL);
    }
    let what = LockAll {
        current: flags & MCL_CURRENT != 0,
        future: flags & MCL_FUTURE != 0,
        on_fault: flags & MCL_ONFAULT != 0,
    };
    call.address_space()?.lock_all(what, &call.memory_limits())?;
    Ok(0)
}

/// `munlockall(2)`.
pub fn munlockall(call: &Call<'_>) -> Result<usize, Errno> {
    call.address_space()?.unlock_all();
    Ok(0)
}

/// `memfd_create(2)`.
///
/// Errors, in this order: `EINVAL` flags (`MFD_HUGETLB` among them: there are no large pages); `EFAULT`; `EINVAL` a name of
/// more than 249 bytes; `EMFILE`; those of [`vfs::ramfs::RamFs::memory_file`].
pub fn memfd_create(call: &Call<'_>, name: UserPtr<u8>, flags: u32) -> Result<usize, Errno> {
    const CLOSE_ON_EXEC: u32 = 1;
    const ALLOW_SEALING: u32 = 2;
    const LONGEST_NAME: usize = 249;
    if flags & !(CLOSE_ON_EXEC | ALLOW_SEALING) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = machine::user_memory::read_string(name.address(), LONGEST_NAME + 1);
    let name = name.map_err(|errno| if errno == Errno::ENAMETOOLONG { Errno::EINVAL } else { errno })?;
    let files = call.files()?;
    let slot = files.reserve(0, call.descriptor_limit())?;
    let registry = call.task.context()?;
    let registry = registry.namespace().registry();
    let file = registry.memory_files()?.memory_file(&name, flags & ALLOW_SEALING != 0, &call.task.credentials())?;
    let number = slot.descriptor().index();
    slot.fill(file, flags & CLOSE_ON_EXEC != 0);
    Ok(number)
}
