//! The lines of `/proc/<pid>/mounts` and `mountinfo`, and the path of a location.

use crate::{Location, Mount, MountFlags};
use alloc::{string::String, vec::Vec};
use base::Errno;
use core::fmt::{self, Write};

/// The path of a directory, or of the root of a mount, seen from `root`; `None` if it does not lie below `root`.
/// `Err(ENOENT)` if it was removed.
pub(crate) fn path_from(location: &Location, root: Option<&Location>) -> Result<Option<Vec<u8>>, Errno> {
    let mut parts = Vec::new();
    let mut at = location.clone();
    let reached = loop {
        if root.is_some_and(|root| root.is_same(&at)) {
            break true;
        }
        if let Some(point) = at.mount_point() {
            at = point;
        } else if let Some(parent) = at.inode.parent() {
            parts.push(parent.name_of(&*at.inode)?);
            at.inode = parent;
        } else {
            let top = at.mount.as_ref().is_some_and(|mount| mount.root().number() == at.inode.number());
            if !top {
                return Err(Errno::ENOENT);
            }
            break root.is_none();
        }
    };
    if !reached {
        return Ok(None);
    }
    let mut path = Vec::new();
    for part in parts.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(part);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Ok(Some(path))
}

/// The path of a mount point that may be a file, for the texts; `None` where it can't be seen from `root`.
pub(crate) fn path_below(place: &Location, root: &Location) -> Option<Vec<u8>> {
    path_from(place, Some(root)).ok().flatten()
}

/// `rw,nosuid,…,relatime`.
fn write_flags(flags: MountFlags, out: &mut String) -> fmt::Result {
    out.write_str(if flags.contains(MountFlags::READ_ONLY) { "ro" } else { "rw" })?;
    for (flag, word) in
        [(MountFlags::NO_SET_ID, ",nosuid"), (MountFlags::NO_DEVICES, ",nodev"), (MountFlags::NO_EXECUTE, ",noexec")]
    {
        if flags.contains(flag) {
            out.write_str(word)?;
        }
    }
    out.write_str(if flags.contains(MountFlags::NO_ACCESS_TIMES) { ",noatime" } else { ",relatime" })
}

/// Blank, tab, newline, `\` and `#` as `\ooo`.
fn write_word(word: &[u8], out: &mut String) -> fmt::Result {
    for &byte in word {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => write!(out, "\\{byte:03o}")?,
            0x80.. => write!(out, "\\{byte:03o}")?,
            _ => out.write_char(char::from(byte))?,
        }
    }
    Ok(())
}

fn source_of(mount: &Mount) -> &[u8] {
    if mount.source().is_empty() { b"none" } else { mount.source() }
}

/// One line of `/proc/<pid>/mounts`.
pub(crate) fn mounts_line(mount: &Mount, path: &[u8], out: &mut String) -> fmt::Result {
    write_word(source_of(mount), out)?;
    out.write_char(' ')?;
    write_word(path, out)?;
    write!(out, " {} ", mount.file_system().kind())?;
    write_flags(mount.flags(), out)?;
    mount.file_system().show_options(out)?;
    out.write_str(" 0 0\n")
}

/// One line of `/proc/<pid>/mountinfo`.
pub(crate) fn mountinfo_line(mount: &Mount, path: &[u8], out: &mut String) -> fmt::Result {
    let parent = mount.place().and_then(|place| place.mount).map_or(mount.number(), |parent| parent.number());
    let device = mount.file_system().device();
    write!(out, "{} {parent} {}:{} ", mount.number(), device.major, device.minor)?;
    write_word(&root_within(mount), out)?;
    out.write_char(' ')?;
    write_word(path, out)?;
    out.write_char(' ')?;
    write_flags(mount.flags(), out)?;
    write!(out, " - {} ", mount.file_system().kind())?;
    write_word(source_of(mount), out)?;
    out.write_str(if mount.flags().contains(MountFlags::READ_ONLY) { " ro" } else { " rw" })?;
    mount.file_system().show_options(out)?;
    out.write_char('\n')
}

/// The path of the mount's root inside its file system: `/` unless it is a bind mount of a part.
fn root_within(mount: &Mount) -> Vec<u8> {
    let mut parts = Vec::new();
    let mut at = mount.root().clone();
    while let Some(parent) = at.parent() {
        let Ok(name) = parent.name_of(&*at) else { break };
        parts.push(name);
        at = parent;
    }
    let mut path = Vec::new();
    for part in parts.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(part);
    }
    if path.is_empty() { Vec::from(*b"/") } else { path }
}
