//! `openat2(2)`: opening by a walk that keeps within bounds.

use crate::{
    abi::OpenHow,
    arguments::{Abi, UserPtr},
    call::Call,
    paths::PathArgument,
};
use base::Errno;
use linux_raw_sys::general::AT_FDCWD;
use vfs::{OpenFlags, Permissions, Resolve};

/// `openat2(2)`.
///
/// Errors, in this order: `EINVAL` a structure of less than 24 bytes; `E2BIG` one of more than a page, or with something
/// behind what is known; `EFAULT`; `EINVAL` unknown flags, both kinds of bounds, a mode without a new file or one with more
/// than permissions, flags that `O_PATH` does not go with; then as `openat`, and those of [`Resolve`].
pub fn openat2(
    call: &Call<'_>,
    directory: i32,
    path: UserPtr<u8>,
    how: UserPtr<u8>,
    size: usize,
) -> Result<usize, Errno> {
    const PAGE: usize = 4096;
    const ALL_PERMISSIONS: u64 = 0o7777;
    if size < OpenHow::SIZE {
        return Err(Errno::EINVAL);
    }
    if size > PAGE {
        return Err(Errno::E2BIG);
    }
    let bytes = how.read_array(size)?;
    if bytes[OpenHow::SIZE..].iter().any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    let OpenHow { flags, mode, resolve } = OpenHow::decode(&bytes);
    let flags = u32::try_from(flags).ok().and_then(OpenFlags::from_bits).ok_or(Errno::EINVAL)?;
    let resolve = Resolve::from_bits(resolve).ok_or(Errno::EINVAL)?;
    if resolve.contains(Resolve::BENEATH | Resolve::IN_ROOT) {
        return Err(Errno::EINVAL);
    }
    let creates = flags.intersects(OpenFlags::CREATE | OpenFlags::TEMPORARY);
    if mode & !(if creates { ALL_PERMISSIONS } else { 0 }) != 0 {
        return Err(Errno::EINVAL);
    }
    let with_path = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NO_FOLLOW | OpenFlags::CLOSE_ON_EXEC;
    if flags.contains(OpenFlags::PATH) && !with_path.contains(flags) {
        return Err(Errno::EINVAL);
    }
    let mut path = PathArgument::fetch(call, directory, path)?;
    // The bounds of an absolute path start at the directory too.
    if directory != AT_FDCWD && resolve.intersects(Resolve::BENEATH | Resolve::IN_ROOT) {
        path.start = Some(call.any_file(directory)?);
    }
    let files = call.files()?;
    let slot = files.reserve(0, call.descriptor_limit())?;
    let mode = Permissions::new(mode as u32);
    let file = call.with_caller(|caller| caller.open_within(path.start(), &path.text, flags, mode, resolve))?;
    let number = slot.descriptor().index();
    slot.fill(file, flags.contains(OpenFlags::CLOSE_ON_EXEC));
    Ok(number)
}
