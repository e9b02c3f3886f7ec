//! Calls on the address space: map, unmap, protect, grow.

use crate::{arguments::UserPtr, call::Call};
use alloc::{sync::Arc, vec::Vec};
use base::Errno;
use linux_raw_sys::general::{
    MADV_COLD, MADV_DODUMP, MADV_DOFORK, MADV_DONTDUMP, MADV_DONTFORK, MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE,
    MADV_KEEPONFORK, MADV_MERGEABLE, MADV_NOHUGEPAGE, MADV_NORMAL, MADV_PAGEOUT, MADV_POPULATE_READ,
    MADV_POPULATE_WRITE, MADV_RANDOM, MADV_REMOVE, MADV_SEQUENTIAL, MADV_UNMERGEABLE, MADV_WILLNEED, MADV_WIPEONFORK,
    MAP_32BIT, MAP_ANONYMOUS, MAP_DENYWRITE, MAP_EXECUTABLE, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_GROWSDOWN,
    MAP_HUGE_MASK, MAP_HUGE_SHIFT, MAP_HUGETLB, MAP_LOCKED, MAP_NONBLOCK, MAP_NORESERVE, MAP_POPULATE, MAP_PRIVATE,
    MAP_SHARED, MAP_SHARED_VALIDATE, MAP_STACK, MAP_TYPE, MAP_UNINITIALIZED, MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT,
    MLOCK_ONFAULT, PROT_EXEC, PROT_GROWSDOWN, PROT_GROWSUP, PROT_READ, PROT_SEM, PROT_WRITE,
};
use machine::paging::USER_END;
use memory::{Advice, LockAll, MapRequest, Place, Protection, Sharing};
use process::persona::Persona;
use vfs::{Mapping, OpenFile};

/// What the low bits of a protection say. `PROT_SEM` means nothing on x86; others are none.
fn protection(call: &Call<'_>, bits: u32) -> Protection {
    let mut protection = Protection::from_bits_truncate(bits as u8);
    if protection.contains(Protection::READ) && call.task.persona().contains(Persona::READ_IMPLIES_EXECUTE) {
        protection |= Protection::EXECUTE;
    }
    protection
}

/// Checks the flags of `mmap(2)` that ask for what not every memory can be.
///
/// Errors: `EOPNOTSUPP` a flag that a file does not know, where it has to; `EINVAL` a shared mapping whose flags are to be
/// known, or a stack, of what can't be such; large pages of a file, or of no such size; `ENOMEM` large pages, since none are
/// set aside.
fn check_kind(flags: u32) -> Result<(), Errno> {
    /// All that were there before a file could refuse any.
    const OLD: u32 = MAP_TYPE
        | MAP_FIXED
        | MAP_ANONYMOUS
        | MAP_GROWSDOWN
        | MAP_DENYWRITE
        | MAP_EXECUTABLE
        | MAP_LOCKED
        | MAP_NORESERVE
        | MAP_POPULATE
        | MAP_NONBLOCK
        | MAP_STACK
        | MAP_HUGETLB
        | MAP_32BIT
        | MAP_UNINITIALIZED
        | LARGE_SIZES << MAP_HUGE_SHIFT;
    /// The sizes of large pages of which the bits are made: 2 MiB and 1 GiB.
    const LARGE_SIZES: u32 = 21 | 30;
    let anonymous = flags & MAP_ANONYMOUS != 0;
    let kind = flags & MAP_TYPE;
    if flags & MAP_HUGETLB != 0 {
        let no_such_size = !matches!(flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK, 0 | 21 | 30);
        return Err(if no_such_size || !anonymous { Errno::EINVAL } else { Errno::ENOMEM });
    }
    if kind == MAP_SHARED_VALIDATE && !anonymous && flags & !OLD != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let no_stack = flags & MAP_GROWSDOWN != 0 && (!anonymous || kind != MAP_PRIVATE);
    if no_stack || anonymous && kind == MAP_SHARED_VALIDATE { Err(Errno::EINVAL) } else { Ok(()) }
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
    let file = if flags & MAP_ANONYMOUS == 0 { Some(call.file(descriptor)?) } else { None };
    let sharing = match flags & MAP_TYPE {
        MAP_PRIVATE => Sharing::Private,
        MAP_SHARED | MAP_SHARED_VALIDATE => Sharing::Shared,
        _ => return Err(Errno::EINVAL),
    };
    const UNUSUAL: u32 = MAP_HUGETLB | MAP_GROWSDOWN;
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    if flags & UNUSUAL != 0 || flags & MAP_TYPE == MAP_SHARED_VALIDATE {
        check_kind(flags)?;
    }
    let place = if flags & MAP_FIXED_NOREPLACE != 0 {
        Place::FixedNoReplace
    } else if flags & MAP_FIXED != 0 {
        Place::Fixed
    } else {
        Place::Hint
    };
    let protection = protection(call, bits);
    let (source, most) = match file {
        None => (None, Protection::all()),
        Some(file) => source(&file, offset, protection, sharing)?,
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
        no_reserve: flags & MAP_NORESERVE != 0,
        name: None,
    };
    Ok(call.address_space()?.map(request, &call.memory_limits())? as usize)
}

type Source = Option<(Arc<dyn memory::PageSource>, u64)>;

/// What a file offers to a mapping, and the most that `mprotect` may ever allow.
fn source(
    file: &Arc<OpenFile>,
    offset: u64,
    protection: Protection,
    sharing: Sharing,
) -> Result<(Source, Protection), Errno> {
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

/// `mprotect(2)`. Nothing grows up, so `PROT_GROWSUP` finds nothing that does.
///
/// Errors, in this order: `EINVAL` both directions, an address within a page; `ENOMEM` a range that wraps; `EINVAL` no such
/// protection; those of [`memory::AddressSpace::protect`].
pub fn mprotect(call: &Call<'_>, address: u64, length: u64, bits: u32) -> Result<usize, Errno> {
    const KNOWN: u32 = PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM;
    let (down, up) = (bits & PROT_GROWSDOWN != 0, bits & PROT_GROWSUP != 0);
    if down && up || !address.is_multiple_of(4096) {
        return Err(Errno::EINVAL);
    }
    if length == 0 {
        return Ok(0);
    }
    let end = length.checked_next_multiple_of(4096).and_then(|length| address.checked_add(length));
    let end = end.ok_or(Errno::ENOMEM)?;
    if bits & !(KNOWN | PROT_GROWSDOWN | PROT_GROWSUP) != 0 {
        return Err(Errno::EINVAL);
    }
    let space = call.address_space()?;
    let protection = protection(call, bits & KNOWN);
    if down {
        space.protect_stack(address, length, protection)?;
    } else if up {
        space.residency(address, 4096.min(end - address))?;
        return Err(Errno::EINVAL);
    } else {
        space.protect(address, length, protection)?;
    }
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
        MADV_NORMAL | MADV_RANDOM | MADV_SEQUENTIAL | MADV_WILLNEED | MADV_MERGEABLE | MADV_UNMERGEABLE => Advice::Hint,
        MADV_DONTDUMP => Advice::DontDump,
        MADV_DODUMP => Advice::DoDump,
        MADV_HUGEPAGE => Advice::Large,
        MADV_NOHUGEPAGE => Advice::Small,
        MADV_DONTNEED => Advice::DontNeed,
        MADV_FREE => Advice::Free,
        MADV_REMOVE => Advice::Remove,
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

/// `mincore(2)`. Some pages at a time: what was written before an error stays.
///
/// Errors, in this order: `EINVAL` an address within a page; `ENOMEM` a range that is no user memory; `EFAULT` a list that
/// is none; `ENOMEM` a hole in the range; `EFAULT` the list can't be written.
pub fn mincore(call: &Call<'_>, address: u64, length: u64, out: UserPtr<u8>) -> Result<usize, Errno> {
    const AT_ONCE: u64 = 4096;
    if !address.is_multiple_of(4096) {
        return Err(Errno::EINVAL);
    }
    let is_user = |start: u64, length: u64| start.checked_add(length).is_some_and(|end| end <= USER_END);
    if !is_user(address, length) {
        return Err(Errno::ENOMEM);
    }
    let pages = length.div_ceil(4096);
    if !is_user(out.address(), pages) {
        return Err(Errno::EFAULT);
    }
    let space = call.address_space()?;
    let mut done = 0;
    while done < pages {
        let some = AT_ONCE.min(pages - done);
        let resident = space.residency(address + done * 4096, some * 4096)?;
        let bytes: Vec<u8> = resident.into_iter().map(u8::from).collect();
        UserPtr::<u8>::at(out.address() + done).write_array(&bytes)?;
        done += bytes.len() as u64;
    }
    Ok(0)
}

/// `msync(2)`: shared pages are the file's own, so there is only the range to check.
///
/// Errors: `EINVAL` flags, an address within a page; those of [`memory::AddressSpace::check_synchronized`].
pub fn msync(call: &Call<'_>, address: u64, length: u64, flags: u32) -> Result<usize, Errno> {
    const ASYNC: u32 = 1;
    const INVALIDATE: u32 = 2;
    const SYNC: u32 = 4;
    if flags & !(ASYNC | INVALIDATE | SYNC) != 0
        || flags & (ASYNC | SYNC) == ASYNC | SYNC
        || !address.is_multiple_of(4096)
    {
        return Err(Errno::EINVAL);
    }
    call.address_space()?.check_synchronized(address, length, flags & INVALIDATE != 0)?;
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
