//! Mounts as open files: `open_tree(2)`, `move_mount(2)`, `mount_setattr(2)`, and `fsopen(2)` with its relatives.

use crate::{
    abi::MountAttributes,
    arguments::{Abi, UserPtr},
    call::Call,
    mounts::text,
    paths::{PathArgument, follow, only},
};
use alloc::vec::Vec;
use base::{Capabilities, Errno};
use linux_raw_sys::general::{
    AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, FSMOUNT_CLOEXEC, FSOPEN_CLOEXEC,
    FSPICK_CLOEXEC, FSPICK_EMPTY_PATH, FSPICK_NO_AUTOMOUNT, FSPICK_SYMLINK_NOFOLLOW, MOUNT_ATTR__ATIME,
    MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_RELATIME, MOUNT_ATTR_STRICTATIME,
    MOVE_MOUNT_F_AUTOMOUNTS, MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_F_SYMLINKS, MOVE_MOUNT_SET_GROUP,
    MOVE_MOUNT_T_AUTOMOUNTS, MOVE_MOUNT_T_EMPTY_PATH, MOVE_MOUNT_T_SYMLINKS, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE,
    fsconfig_command as command,
};
use vfs::{ConfigurationStep, Follow, MountChange, MountFlags, Propagation};

/// The longest name of a parameter, or its value as text, with the NUL.
const PARAMETER_MOST: usize = 256;
/// The most bytes of a parameter's value.
const BYTES_MOST: i32 = 1 << 20;

fn may_mount(call: &Call<'_>) -> Result<(), Errno> {
    if call.task.credentials().has(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
}

/// The flags of a mount that `MOUNT_ATTR_*` name, but for those of access times.
fn own_flags(attributes: u32) -> MountFlags {
    let known = [
        (MOUNT_ATTR_RDONLY, MountFlags::READ_ONLY),
        (MOUNT_ATTR_NOSUID, MountFlags::NO_SET_ID),
        (MOUNT_ATTR_NODEV, MountFlags::NO_DEVICES),
        (MOUNT_ATTR_NOEXEC, MountFlags::NO_EXECUTE),
        (MOUNT_ATTR_NODIRATIME, MountFlags::NO_DIRECTORY_TIMES),
        (MOUNT_ATTR_NOSYMFOLLOW, MountFlags::NO_LINKS),
    ];
    known.into_iter().filter(|(bit, _)| attributes & bit != 0).map(|(_, flag)| flag).collect()
}

/// What attributes say of access times: one of a few words. `EINVAL` none of them.
fn times(attributes: u32) -> Result<MountFlags, Errno> {
    match attributes & MOUNT_ATTR__ATIME {
        MOUNT_ATTR_RELATIME => Ok(MountFlags::RELATIVE_TIMES),
        MOUNT_ATTR_NOATIME => Ok(MountFlags::NO_ACCESS_TIMES),
        MOUNT_ATTR_STRICTATIME => Ok(MountFlags::empty()),
        _ => Err(Errno::EINVAL),
    }
}

/// All attributes but the one that needs user namespaces.
const ATTRIBUTES: u32 = MOUNT_ATTR_RDONLY
    | MOUNT_ATTR_NOSUID
    | MOUNT_ATTR_NODEV
    | MOUNT_ATTR_NOEXEC
    | MOUNT_ATTR__ATIME
    | MOUNT_ATTR_NODIRATIME
    | MOUNT_ATTR_NOSYMFOLLOW;

/// `open_tree(2)`. `EINVAL` unknown flags, or `AT_RECURSIVE` without `OPEN_TREE_CLONE`; `EPERM` to clone.
pub fn open_tree(call: &Call<'_>, directory: i32, path: UserPtr<u8>, flags: u32) -> Result<usize, Errno> {
    const KNOWN: u32 =
        AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    only(flags, KNOWN)?;
    let (clones, recursive) = (flags & OPEN_TREE_CLONE != 0, flags & AT_RECURSIVE != 0);
    if recursive && !clones {
        return Err(Errno::EINVAL);
    }
    if clones {
        may_mount(call)?;
    }
    let path = PathArgument::fetch(call, directory, path)?;
    let follow = follow(flags);
    let file = call.with_caller(|caller| match clones {
        true => caller.clone_tree(path.start(), &path.text, follow, recursive),
        false => caller.open_place(path.start(), &path.text, follow),
    })?;
    call.insert(file, flags & OPEN_TREE_CLOEXEC != 0)
}

/// `move_mount(2)`. `EPERM`; `EINVAL` unknown flags.
pub fn move_mount(
    call: &Call<'_>,
    from_directory: i32,
    from: UserPtr<u8>,
    to_directory: i32,
    to: UserPtr<u8>,
    flags: u32,
) -> Result<usize, Errno> {
    const KNOWN: u32 = MOVE_MOUNT_F_SYMLINKS
        | MOVE_MOUNT_F_AUTOMOUNTS
        | MOVE_MOUNT_F_EMPTY_PATH
        | MOVE_MOUNT_T_SYMLINKS
        | MOVE_MOUNT_T_AUTOMOUNTS
        | MOVE_MOUNT_T_EMPTY_PATH
        | MOVE_MOUNT_SET_GROUP;
    may_mount(call)?;
    only(flags, KNOWN)?;
    let from = PathArgument::fetch(call, from_directory, from)?;
    let to = PathArgument::fetch(call, to_directory, to)?;
    let has = |bit| flags & bit != 0;
    let from = (from.start(), &*from.text, Follow::new(has(MOVE_MOUNT_F_SYMLINKS), has(MOVE_MOUNT_F_EMPTY_PATH)));
    let to = (to.start(), &*to.text, Follow::new(has(MOVE_MOUNT_T_SYMLINKS), has(MOVE_MOUNT_T_EMPTY_PATH)));
    call.with_caller(|caller| match has(MOVE_MOUNT_SET_GROUP) {
        true => caller.share_group(from, to),
        false => caller.move_tree(from, to),
    })?;
    Ok(0)
}

/// What `mount_setattr` is to change; nothing if that is nothing. `EINVAL` unknown or contradictory attributes or ways of
/// propagation, or a mapping of users, for which there are no namespaces (`EBADF` without a file).
fn change_of(call: &Call<'_>, wish: &MountAttributes, recursive: bool) -> Result<Option<MountChange>, Errno> {
    if wish.set == 0 && wish.clear == 0 && wish.propagation == 0 {
        return Ok(None);
    }
    let propagation = match wish.propagation {
        0 => None,
        // The flags of mount(2).
        0x2_0000 => Some(Propagation::Unbindable),
        0x4_0000 => Some(Propagation::Private),
        0x8_0000 => Some(Propagation::Slave),
        0x10_0000 => Some(Propagation::Shared),
        _ => return Err(Errno::EINVAL),
    };
    let attributes = |bits: u64| {
        let bits = u32::try_from(bits).map_err(|_| Errno::EINVAL)?;
        only(bits, ATTRIBUTES | MOUNT_ATTR_IDMAP)
    };
    let (set, clear) = (attributes(wish.set)?, attributes(wish.clear)?);
    let (mut own_set, mut own_clear) = (own_flags(set), own_flags(clear));
    match clear & MOUNT_ATTR__ATIME {
        MOUNT_ATTR__ATIME => {
            own_set |= times(set)?;
            own_clear |= MountFlags::RELATIVE_TIMES | MountFlags::NO_ACCESS_TIMES;
        }
        0 if set & MOUNT_ATTR__ATIME == 0 => {}
        _ => return Err(Errno::EINVAL),
    }
    if (set | clear) & MOUNT_ATTR_IDMAP != 0 {
        if clear & MOUNT_ATTR_IDMAP == 0 {
            call.any_file(i32::try_from(wish.user_namespace).map_err(|_| Errno::EINVAL)?)?;
        }
        return Err(Errno::EINVAL);
    }
    Ok(Some(MountChange { clear: own_clear, set: own_set, propagation, recursive }))
}

/// `mount_setattr(2)`. Errors, in this order: `EINVAL` unknown flags; `E2BIG` a structure of more than a page; `EINVAL` one of less
/// than 32 bytes; `EPERM`; `EFAULT`; `E2BIG` something behind what is known; those of what it says; those of
/// [`vfs::Caller::change_mount`].
pub fn mount_setattr(
    call: &Call<'_>,
    directory: i32,
    path: UserPtr<u8>,
    flags: u32,
    attributes: UserPtr<u8>,
    size: usize,
) -> Result<usize, Errno> {
    const PAGE: usize = 4096;
    only(flags, AT_EMPTY_PATH | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT)?;
    if size > PAGE {
        return Err(Errno::E2BIG);
    }
    if size < MountAttributes::SIZE {
        return Err(Errno::EINVAL);
    }
    may_mount(call)?;
    let bytes = attributes.read_array(size)?;
    if bytes[MountAttributes::SIZE..].iter().any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    let Some(change) = change_of(call, &MountAttributes::decode(&bytes), flags & AT_RECURSIVE != 0)? else {
        return Ok(0);
    };
    let path = PathArgument::fetch(call, directory, path)?;
    call.with_caller(|caller| caller.change_mount(path.start(), &path.text, follow(flags), &change))?;
    Ok(0)
}

/// `fsopen(2)`. `EPERM`; `EINVAL` unknown flags, a name over a page; `EFAULT`; `ENODEV` no such type.
pub fn fsopen(call: &Call<'_>, kind: UserPtr<u8>, flags: u32) -> Result<usize, Errno> {
    may_mount(call)?;
    only(flags, FSOPEN_CLOEXEC)?;
    let kind = text(kind, 4096)?;
    let file = call.with_caller(|caller| caller.open_file_system(&kind))?;
    call.insert(file, flags & FSOPEN_CLOEXEC != 0)
}

/// `fspick(2)`. `EPERM`; `EINVAL` unknown flags.
pub fn fspick(call: &Call<'_>, directory: i32, path: UserPtr<u8>, flags: u32) -> Result<usize, Errno> {
    may_mount(call)?;
    only(flags, FSPICK_CLOEXEC | FSPICK_SYMLINK_NOFOLLOW | FSPICK_NO_AUTOMOUNT | FSPICK_EMPTY_PATH)?;
    let path = PathArgument::fetch(call, directory, path)?;
    let follow = Follow::new(flags & FSPICK_SYMLINK_NOFOLLOW == 0, flags & FSPICK_EMPTY_PATH != 0);
    let file = call.with_caller(|caller| caller.pick_file_system(path.start(), &path.text, follow))?;
    call.insert(file, flags & FSPICK_CLOEXEC != 0)
}

/// `fsmount(2)`. `EPERM`; `EINVAL` unknown flags or attributes.
pub fn fsmount(call: &Call<'_>, descriptor: i32, flags: u32, attributes: u32) -> Result<usize, Errno> {
    may_mount(call)?;
    only(flags, FSMOUNT_CLOEXEC)?;
    only(attributes, ATTRIBUTES)?;
    let own = own_flags(attributes) | times(attributes)?;
    let configuration = call.file(descriptor)?;
    let file = call.with_caller(|caller| caller.mount_configured(&configuration, own))?;
    call.insert(file, flags & FSMOUNT_CLOEXEC != 0)
}

/// `fsconfig(2)`.
///
/// Errors, in this order: `EINVAL` no descriptor, or arguments that the command has no use for; `EOPNOTSUPP` no such command;
/// `EBADF`; `EINVAL` another file, a name or value that is too long; `EFAULT`; those of [`vfs::Caller::configure`].
pub fn fsconfig(
    call: &Call<'_>,
    descriptor: i32,
    what: u32,
    key: UserPtr<u8>,
    value: UserPtr<u8>,
    auxiliary: i32,
) -> Result<usize, Errno> {
    const SET_FLAG: u32 = command::FSCONFIG_SET_FLAG as u32;
    const SET_STRING: u32 = command::FSCONFIG_SET_STRING as u32;
    const SET_BINARY: u32 = command::FSCONFIG_SET_BINARY as u32;
    const SET_PATH: u32 = command::FSCONFIG_SET_PATH as u32;
    const SET_PATH_EMPTY: u32 = command::FSCONFIG_SET_PATH_EMPTY as u32;
    const SET_FD: u32 = command::FSCONFIG_SET_FD as u32;
    const CREATE: u32 = command::FSCONFIG_CMD_CREATE as u32;
    const RECONFIGURE: u32 = command::FSCONFIG_CMD_RECONFIGURE as u32;
    if descriptor < 0 {
        return Err(Errno::EINVAL);
    }
    let (has_key, has_value) = (!key.is_null(), !value.is_null());
    let fits = match what {
        SET_FLAG => has_key && !has_value && auxiliary == 0,
        SET_STRING => has_key && has_value && auxiliary == 0,
        SET_BINARY => has_key && has_value && (1..=BYTES_MOST).contains(&auxiliary),
        SET_PATH | SET_PATH_EMPTY => has_key && has_value && (auxiliary == AT_FDCWD || auxiliary >= 0),
        SET_FD => has_key && !has_value && auxiliary >= 0,
        CREATE | RECONFIGURE => !has_key && !has_value && auxiliary == 0,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    if !fits {
        return Err(Errno::EINVAL);
    }
    let file = call.file(descriptor)?;
    vfs::check_configuration(&file)?;
    let key = if has_key { text(key, PARAMETER_MOST)? } else { Vec::new() };
    let value = match what {
        SET_STRING => Some(text(value, PARAMETER_MOST)?),
        SET_BINARY => Some(value.read_array(auxiliary as usize)?),
        SET_PATH | SET_PATH_EMPTY => {
            PathArgument::fetch(call, auxiliary, value)?;
            None
        }
        SET_FD => {
            call.any_file(auxiliary)?;
            None
        }
        _ => None,
    };
    let step = match what {
        SET_FLAG | SET_STRING => ConfigurationStep::Set(&key, value.as_deref()),
        CREATE => ConfigurationStep::Create,
        RECONFIGURE => ConfigurationStep::Reconfigure,
        _ => ConfigurationStep::SetOther(&key),
    };
    call.with_caller(|caller| caller.configure(&file, step))?;
    Ok(0)
}
