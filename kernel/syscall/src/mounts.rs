//! `mount(2)` and `umount2(2)`.

use crate::{arguments::UserPtr, call::Call};
use alloc::vec::Vec;
use base::{Capabilities, Errno};
use machine::user_memory;
use vfs::{Follow, MountFlags};

/// The data of a mount is at most a page.
const DATA_MOST: usize = 4096;

const REMOUNT: u64 = 32;
const BIND: u64 = 4096;
const MOVE: u64 = 8192;
const RECURSIVE: u64 = 16384;
const SILENT: u64 = 32768;
const PRIVATE: u64 = 1 << 18;
const RELATIVE_TIMES: u64 = 1 << 21;
const STRICT_TIMES: u64 = 1 << 24;
/// The old mark in the upper half of the flags.
const MAGIC: u64 = 0xc0ed_0000;

/// A string that may be null, which is an empty one.
fn text(address: UserPtr<u8>) -> Result<Vec<u8>, Errno> {
    if address.is_null() {
        return Ok(Vec::new());
    }
    user_memory::read_string(address.address(), DATA_MOST)
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

/// `mount(2)`: a new mount, `MS_BIND`, `MS_MOVE`, `MS_REMOUNT`. `MS_PRIVATE` says what every mount is here. Other
/// propagation flags are `EINVAL`.
pub fn mount(
    call: &Call<'_>,
    source: UserPtr<u8>,
    target: UserPtr<u8>,
    kind: UserPtr<u8>,
    flags: u64,
    data_address: UserPtr<u8>,
) -> Result<usize, Errno> {
    let flags = if flags >> 16 == MAGIC >> 16 { flags & 0xffff } else { flags };
    let kind = text(kind)?;
    let source = text(source)?;
    let data = data(data_address)?;
    let target = call.path(target)?;
    if !call.task.credentials().has(Capabilities::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let known = REMOUNT | BIND | MOVE | RECURSIVE | SILENT | PRIVATE | RELATIVE_TIMES | STRICT_TIMES;
    let own = MountFlags::from_bits_truncate(flags as u32);
    if flags & !(known | u64::from(MountFlags::all().bits())) != 0 {
        return Err(Errno::EINVAL);
    }
    call.with_caller(|caller| {
        if flags & REMOUNT != 0 {
            caller.remount(&target, own, &data, flags & BIND != 0)
        } else if flags & BIND != 0 {
            caller.bind(&source, &target, flags & RECURSIVE != 0)
        } else if flags & PRIVATE != 0 {
            caller.resolve(vfs::Start::WorkingDirectory, &target, Follow::Yes).map(|_| ())
        } else if flags & MOVE != 0 {
            caller.move_mount(&source, &target)
        } else {
            caller.mount(&source, &target, &kind, own, &data)
        }
    })?;
    Ok(0)
}

/// `umount2(2)` with `MNT_DETACH` and `UMOUNT_NOFOLLOW`. `MNT_FORCE` forces nothing, as on a local file system;
/// `MNT_EXPIRE` is `EINVAL`.
pub fn umount2(call: &Call<'_>, target: UserPtr<u8>, flags: u32) -> Result<usize, Errno> {
    const FORCE: u32 = 1;
    const DETACH: u32 = 2;
    const NO_FOLLOW: u32 = 8;
    if flags & !(FORCE | DETACH | NO_FOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let target = call.path(target)?;
    let follow = if flags & NO_FOLLOW != 0 { Follow::No } else { Follow::Yes };
    call.with_caller(|caller| caller.unmount(&target, flags & DETACH != 0, follow))?;
    Ok(0)
}
