//! Calls that make, remove, rename and read names.

use crate::{
    arguments::UserPtr,
    call::Call,
    paths::{PathArgument, follow, only},
};
use base::Errno;
use linux_raw_sys::general::{AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW};
use vfs::{DeviceNumber, FileKind, NodeKind, Permissions, RenameFlags};

fn make(call: &Call<'_>, path: &PathArgument, kind: NodeKind<'_>, mode: u32) -> Result<usize, Errno> {
    call.with_caller(|caller| caller.make(path.start(), &path.text, kind, Permissions::new(mode)))?;
    Ok(0)
}

/// `mkdirat(2)`.
pub fn mkdirat(call: &Call<'_>, directory: i32, path: UserPtr<u8>, mode: u32) -> Result<usize, Errno> {
    make(call, &PathArgument::fetch(call, directory, path)?, NodeKind::Directory, mode & 0o1777)
}

/// `mkdir(2)`.
pub fn mkdir(call: &Call<'_>, path: UserPtr<u8>, mode: u32) -> Result<usize, Errno> {
    mkdirat(call, AT_FDCWD, path, mode)
}

/// `mknodat(2)`.
pub fn mknodat(call: &Call<'_>, directory: i32, path: UserPtr<u8>, mode: u32, device: u32) -> Result<usize, Errno> {
    let device = DeviceNumber::decoded(device);
    let kind = match FileKind::from_mode(mode) {
        None if mode & 0o170000 == 0 => NodeKind::Regular,
        Some(FileKind::Regular) => NodeKind::Regular,
        Some(FileKind::CharDevice) => NodeKind::CharDevice(device),
        Some(FileKind::BlockDevice) => NodeKind::BlockDevice(device),
        Some(FileKind::Fifo) => NodeKind::Fifo,
        Some(FileKind::Socket) => NodeKind::Socket,
        Some(FileKind::Directory) => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    make(call, &PathArgument::fetch(call, directory, path)?, kind, mode)
}

/// `mknod(2)`.
pub fn mknod(call: &Call<'_>, path: UserPtr<u8>, mode: u32, device: u32) -> Result<usize, Errno> {
    mknodat(call, AT_FDCWD, path, mode, device)
}

/// `symlinkat(2)`. `ENOENT` an empty text.
pub fn symlinkat(call: &Call<'_>, text: UserPtr<u8>, directory: i32, path: UserPtr<u8>) -> Result<usize, Errno> {
    let text = call.path(text)?;
    if text.is_empty() {
        return Err(Errno::ENOENT);
    }
    make(call, &PathArgument::fetch(call, directory, path)?, NodeKind::Symlink(&text), 0o777)
}

/// `symlink(2)`.
pub fn symlink(call: &Call<'_>, text: UserPtr<u8>, path: UserPtr<u8>) -> Result<usize, Errno> {
    symlinkat(call, text, AT_FDCWD, path)
}

/// `linkat(2)`.
pub fn linkat(
    call: &Call<'_>,
    old_directory: i32,
    old: UserPtr<u8>,
    new_directory: i32,
    new: UserPtr<u8>,
    flags: u32,
) -> Result<usize, Errno> {
    only(flags, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)?;
    let old = PathArgument::fetch(call, old_directory, old)?;
    let new = PathArgument::fetch(call, new_directory, new)?;
    let no_follow = if flags & AT_SYMLINK_FOLLOW == 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
    let follow = follow(no_follow | flags & AT_EMPTY_PATH);
    call.with_caller(|caller| caller.link(old.start(), &old.text, new.start(), &new.text, follow))?;
    Ok(0)
}

/// `link(2)`.
pub fn link(call: &Call<'_>, old: UserPtr<u8>, new: UserPtr<u8>) -> Result<usize, Errno> {
    linkat(call, AT_FDCWD, old, AT_FDCWD, new, 0)
}

/// `unlinkat(2)`.
pub fn unlinkat(call: &Call<'_>, directory: i32, path: UserPtr<u8>, flags: u32) -> Result<usize, Errno> {
    only(flags, AT_REMOVEDIR)?;
    let path = PathArgument::fetch(call, directory, path)?;
    call.with_caller(|caller| {
        if flags & AT_REMOVEDIR != 0 {
            caller.remove_directory(path.start(), &path.text)
        } else {
            caller.unlink(path.start(), &path.text)
        }
    })?;
    Ok(0)
}

/// `unlink(2)`.
pub fn unlink(call: &Call<'_>, path: UserPtr<u8>) -> Result<usize, Errno> {
    unlinkat(call, AT_FDCWD, path, 0)
}

/// `rmdir(2)`.
pub fn rmdir(call: &Call<'_>, path: UserPtr<u8>) -> Result<usize, Errno> {
    unlinkat(call, AT_FDCWD, path, AT_REMOVEDIR)
}

/// `renameat2(2)`.
pub fn renameat2(
    call: &Call<'_>,
    old_directory: i32,
    old: UserPtr<u8>,
    new_directory: i32,
    new: UserPtr<u8>,
    flags: u32,
) -> Result<usize, Errno> {
    let flags = RenameFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if flags == RenameFlags::all() {
        return Err(Errno::EINVAL);
    }
    let old = PathArgument::fetch(call, old_directory, old)?;
    let new = PathArgument::fetch(call, new_directory, new)?;
    call.with_caller(|caller| caller.rename(old.start(), &old.text, new.start(), &new.text, flags))?;
    Ok(0)
}

/// `renameat(2)`.
pub fn renameat(
    call: &Call<'_>,
    old_directory: i32,
    old: UserPtr<u8>,
    new_directory: i32,
    new: UserPtr<u8>,
) -> Result<usize, Errno> {
    renameat2(call, old_directory, old, new_directory, new, 0)
}

/// `rename(2)`.
pub fn rename(call: &Call<'_>, old: UserPtr<u8>, new: UserPtr<u8>) -> Result<usize, Errno> {
    renameat2(call, AT_FDCWD, old, AT_FDCWD, new, 0)
}

/// `readlinkat(2)`: as much of the text as fits, without a NUL.
pub fn readlinkat(
    call: &Call<'_>,
    directory: i32,
    path: UserPtr<u8>,
    out: UserPtr<u8>,
    size: i32,
) -> Result<usize, Errno> {
    if size <= 0 {
        return Err(Errno::EINVAL);
    }
    let path = PathArgument::fetch(call, directory, path)?;
    let text = call.with_caller(|caller| caller.read_link(path.start(), &path.text))?;
    let length = text.len().min(size as usize);
    machine::user_memory::write(out.address(), &text[..length])?;
    Ok(length)
}

/// `readlink(2)`.
pub fn readlink(call: &Call<'_>, path: UserPtr<u8>, out: UserPtr<u8>, size: i32) -> Result<usize, Errno> {
    readlinkat(call, AT_FDCWD, path, out, size)
}
