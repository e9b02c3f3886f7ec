//! Calls on extended attributes: set, get, list and remove, each on a path, on a symbolic link itself, on an open file.

use crate::{arguments::UserPtr, call::Call, paths::PathArgument};
use alloc::vec::Vec;
use base::{
    Errno,
    extended::{LONGEST_NAME, LONGEST_VALUE, SetMode},
};
use linux_raw_sys::general::AT_FDCWD;
use machine::user_memory;
use vfs::{Follow, Named};

/// The name of an attribute. `EFAULT`; `ERANGE` empty or too long.
fn name(address: UserPtr<u8>) -> Result<Vec<u8>, Errno> {
    match user_memory::read_string(address.address(), LONGEST_NAME + 1) {
        Ok(name) if !name.is_empty() => Ok(name),
        Ok(_) | Err(Errno::ENAMETOOLONG) => Err(Errno::ERANGE),
        Err(error) => Err(error),
    }
}

/// Gives a value or a list to the caller, or with a `size` of 0 only says how long it is. `ERANGE` it does not fit.
fn give(content: &[u8], out: UserPtr<u8>, size: usize) -> Result<usize, Errno> {
    if size == 0 {
        return Ok(content.len());
    }
    if content.len() > size {
        return Err(Errno::ERANGE);
    }
    out.write_array(content)?;
    Ok(content.len())
}

fn at_path(call: &Call<'_>, path: UserPtr<u8>, follow: Follow) -> Result<Named, Errno> {
    let path = PathArgument::fetch(call, AT_FDCWD, path)?;
    call.with_caller(|caller| caller.resolve_named(path.start(), &path.text, follow))
}

fn open(call: &Call<'_>, descriptor: i32) -> Result<Named, Errno> {
    Ok(call.file(descriptor)?.named())
}

fn set(
    call: &Call<'_>,
    place: &Named,
    address: UserPtr<u8>,
    value: UserPtr<u8>,
    size: usize,
    flags: u32,
) -> Result<usize, Errno> {
    const CREATE: u32 = 1;
    const REPLACE: u32 = 2;
    const BOTH: u32 = CREATE | REPLACE;
    let mode = match flags {
        0 => SetMode::Any,
        CREATE => SetMode::Create,
        REPLACE => SetMode::Replace,
        BOTH => SetMode::Both,
        _ => return Err(Errno::EINVAL),
    };
    let name = name(address)?;
    if size > LONGEST_VALUE {
        return Err(Errno::E2BIG);
    }
    let value = value.read_array(size)?;
    call.with_caller(|caller| caller.set_attribute(place, &name, &value, mode))?;
    Ok(0)
}

fn get(call: &Call<'_>, place: &Named, address: UserPtr<u8>, out: UserPtr<u8>, size: usize) -> Result<usize, Errno> {
    let name = name(address)?;
    give(&call.with_caller(|caller| caller.attribute(&place.location, &name))?, out, size)
}

fn list(call: &Call<'_>, place: &Named, out: UserPtr<u8>, size: usize) -> Result<usize, Errno> {
    give(&call.with_caller(|caller| caller.attribute_names(&place.location))?, out, size)
}

fn remove(call: &Call<'_>, place: &Named, address: UserPtr<u8>) -> Result<usize, Errno> {
    let name = name(address)?;
    call.with_caller(|caller| caller.remove_attribute(place, &name))?;
    Ok(0)
}

/// `setxattr(2)`.
pub fn setxattr(
    call: &Call<'_>,
    path: UserPtr<u8>,
    name: UserPtr<u8>,
    value: UserPtr<u8>,
    size: usize,
    flags: u32,
) -> Result<usize, Errno> {
    set(call, &at_path(call, path, Follow::Yes)?, name, value, size, flags)
}

/// `lsetxattr(2)`.
pub fn lsetxattr(
    call: &Call<'_>,
    path: UserPtr<u8>,
    name: UserPtr<u8>,
    value: UserPtr<u8>,
    size: usize,
    flags: u32,
) -> Result<usize, Errno> {
    set(call, &at_path(call, path, Follow::No)?, name, value, size, flags)
}

/// `fsetxattr(2)`.
pub fn fsetxattr(
    call: &Call<'_>,
    descriptor: i32,
    name: UserPtr<u8>,
    value: UserPtr<u8>,
    size: usize,
    flags: u32,
) -> Result<usize, Errno> {
    set(call, &open(call, descriptor)?, name, value, size, flags)
}

/// `getxattr(2)`.
pub fn getxattr(
    call: &Call<'_>,
    path: UserPtr<u8>,
    name: UserPtr<u8>,
    out: UserPtr<u8>,
    size: usize,
) -> Result<usize, Errno> {
    get(call, &at_path(call, path, Follow::Yes)?, name, out, size)
}

/// `lgetxattr(2)`.
pub fn lgetxattr(
    call: &Call<'_>,
    path: UserPtr<u8>,
    name: UserPtr<u8>,
    out: UserPtr<u8>,
    size: usize,
) -> Result<usize, Errno> {
    get(call, &at_path(call, path, Follow::No)?, name, out, size)
}

/// `fgetxattr(2)`.
pub fn fgetxattr(
    call: &Call<'_>,
    descriptor: i32,
    name: UserPtr<u8>,
    out: UserPtr<u8>,
    size: usize,
) -> Result<usize, Errno> {
    get(call, &open(call, descriptor)?, name, out, size)
}

/// `listxattr(2)`.
pub fn listxattr(call: &Call<'_>, path: UserPtr<u8>, out: UserPtr<u8>, size: usize) -> Result<usize, Errno> {
    list(call, &at_path(call, path, Follow::Yes)?, out, size)
}

/// `llistxattr(2)`.
pub fn llistxattr(call: &Call<'_>, path: UserPtr<u8>, out: UserPtr<u8>, size: usize) -> Result<usize, Errno> {
    list(call, &at_path(call, path, Follow::No)?, out, size)
}

/// `flistxattr(2)`.
pub fn flistxattr(call: &Call<'_>, descriptor: i32, out: UserPtr<u8>, size: usize) -> Result<usize, Errno> {
    list(call, &open(call, descriptor)?, out, size)
}

/// `removexattr(2)`.
pub fn removexattr(call: &Call<'_>, path: UserPtr<u8>, name: UserPtr<u8>) -> Result<usize, Errno> {
    remove(call, &at_path(call, path, Follow::Yes)?, name)
}

/// `lremovexattr(2)`.
pub fn lremovexattr(call: &Call<'_>, path: UserPtr<u8>, name: UserPtr<u8>) -> Result<usize, Errno> {
    remove(call, &at_path(call, path, Follow::No)?, name)
}

/// `fremovexattr(2)`.
pub fn fremovexattr(call: &Call<'_>, descriptor: i32, name: UserPtr<u8>) -> Result<usize, Errno> {
    remove(call, &open(call, descriptor)?, name)
}
