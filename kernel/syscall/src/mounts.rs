//! `mount(2)`, `umount2(2)` and `pivot_root(2)`.

use crate::{arguments::UserPtr, call::Call};
use alloc::vec::Vec;
use base::{Capabilities, Errno};
use bitflags::bitflags;
use machine::user_memory;
use vfs::{Follow, MountFlags, Propagation, Remount, Start, SystemFlags, Unmount};

/// The data of a mount is at most a page.
const DATA_MOST: usize = 4096;

bitflags! {
    /// What `mount(2)` is to do, with its values; the other flags are [`MountFlags`] and [`SystemFlags`].
    #[derive(Clone, Copy, PartialEq, Eq)]
    struct Flags: u32 {
        const REMOUNT = 32;
        const NO_ACCESS_TIMES = 1 << 10;
        const NO_DIRECTORY_TIMES = 1 << 11;
        const BIND = 1 << 12;
        const MOVE = 1 << 13;
        const RECURSIVE = 1 << 14;
        const SILENT = 1 << 15;
        const UNBINDABLE = 1 << 17;
        const PRIVATE = 1 << 18;
        const SLAVE = 1 << 19;
        const SHARED = 1 << 20;
        const RELATIVE_TIMES = 1 << 21;
        const STRICT_TIMES = 1 << 24;
        const NO_USER = 1 << 31;

        const PROPAGATION = 15 << 17;
        const TIMES = 1 << 10 | 1 << 11 | 1 << 21 | 1 << 24;
    }
}

/// The old mark in the upper half of the flags.
const MAGIC: u32 = 0xc0ed_0000;

/// A string of less than `most` bytes. `EINVAL` it is longer; `EFAULT`.
pub(crate) fn text(address: UserPtr<u8>, most: usize) -> Result<Vec<u8>, Errno> {
    user_memory::read_string(address.address(), most).map_err(|errno| match errno {
        Errno::ENAMETOOLONG => Errno::EINVAL,
        errno => errno,
    })
}

/// A string that may be null, which is an empty one.
fn optional_text(address: UserPtr<u8>) -> Result<Vec<u8>, Errno> {
    if address.is_null() { Ok(Vec::new()) } else { text(address, DATA_MOST) }
}

/// The data page: what of it can be read, up to the first NUL.
fn data(address: UserPtr<u8>) -> Result<Vec<u8>, Errno> {
    if address.is_null() {
        return Ok(Vec::new());
    }
    // Mostly a short string. Without a NUL, what can be read of a whole page counts.
    if let Ok(text) = user_memory::read_string(address.address(), DATA_MOST) {
        return Ok(text);
    }
    let mut bytes = memory::heap::try_zeroed(DATA_MOST)?;
    let length = user_memory::read_partial(address.address(), &mut bytes);
    if length == 0 {
        return Err(Errno::EFAULT);
    }
    bytes.truncate(length);
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    Ok(bytes)
}

/// The flags of a mount: access times are noted relatively unless something else is asked for.
fn own_flags(flags: Flags) -> MountFlags {
    let mut own = MountFlags::from_bits_truncate(flags.bits());
    own.set(MountFlags::RELATIVE_TIMES, !flags.intersects(Flags::NO_ACCESS_TIMES | Flags::STRICT_TIMES));
    if flags.contains(Flags::STRICT_TIMES) {
        own.remove(MountFlags::NO_ACCESS_TIMES);
    }
    own
}

/// What a call with propagation flags makes of a mount; nothing if there is more than one of them, or a flag for something else.
fn propagation(flags: Flags) -> Option<Propagation> {
    match flags.difference(Flags::RECURSIVE | Flags::SILENT) {
        Flags::SHARED => Some(Propagation::Shared),
        Flags::PRIVATE => Some(Propagation::Private),
        Flags::SLAVE => Some(Propagation::Slave),
        Flags::UNBINDABLE => Some(Propagation::Unbindable),
        _ => None,
    }
}

/// `mount(2)`: a new mount, `MS_BIND`, `MS_MOVE`, `MS_REMOUNT`, or a propagation flag. Flags without a meaning are ignored,
/// as on Linux. `EINVAL` also: no type, a string over a page.
pub fn mount(
    call: &Call<'_>,
    source: UserPtr<u8>,
    target: UserPtr<u8>,
    kind_address: UserPtr<u8>,
    flags: u64,
    data_address: UserPtr<u8>,
) -> Result<usize, Errno> {
    let kind = optional_text(kind_address)?;
    let source = optional_text(source)?;
    let data = data(data_address)?;
    let target = call.path(target)?;
    let flags = flags as u32;
    let flags = Flags::from_bits_retain(if flags & 0xffff_0000 == MAGIC { flags & 0xffff } else { flags });
    let recursive = flags.contains(Flags::RECURSIVE);
    let system_flags = SystemFlags::from_bits_truncate(flags.bits());
    call.with_caller(|caller| {
        let found = || caller.resolve(Start::WorkingDirectory, &target, Follow::Yes);
        if flags.contains(Flags::NO_USER) {
            found().and(Err(Errno::EINVAL))
        } else if flags.contains(Flags::REMOUNT) {
            let system = (!flags.contains(Flags::BIND)).then_some((system_flags, &*data));
            let times = flags.intersects(Flags::TIMES);
            caller.remount(&target, &Remount { flags: own_flags(flags), times, system })
        } else if flags.contains(Flags::BIND) {
            caller.bind(&source, &target, recursive)
        } else if flags.intersects(Flags::PROPAGATION) {
            caller.set_propagation(&target, propagation(flags), recursive)
        } else if flags.contains(Flags::MOVE) {
            caller.move_mount(&source, &target)
        } else {
            let kind = if kind_address.is_null() { None } else { Some(&*kind) };
            caller.mount(&source, &target, kind, (own_flags(flags), system_flags), &data)
        }
    })?;
    Ok(0)
}

/// `umount2(2)`. `EINVAL` also: an unknown flag.
pub fn umount2(call: &Call<'_>, target: UserPtr<u8>, flags: u32) -> Result<usize, Errno> {
    let how = Unmount::from_bits(flags).ok_or(Errno::EINVAL)?;
    let target = call.path(target)?;
    call.with_caller(|caller| caller.unmount(&target, how))?;
    Ok(0)
}

/// `pivot_root(2)`. Every task whose root or working directory is the old root directory gets the new one.
pub fn pivot_root(call: &Call<'_>, new_root: UserPtr<u8>, put_old: UserPtr<u8>) -> Result<usize, Errno> {
    if !call.task.credentials().has(Capabilities::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let (new_root, put_old) = (call.path(new_root)?, call.path(put_old)?);
    let (old, new) = call.with_caller(|caller| caller.pivot_root(&new_root, &put_old))?;
    for task in call.population().tasks() {
        // One that is ending has no place any more.
        if let Ok(context) = task.context() {
            context.exchange_root(&old, &new);
        }
    }
    Ok(0)
}
