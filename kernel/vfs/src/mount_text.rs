//! The lines of `/proc/<pid>/mounts`, `mountinfo` and `mountstats`, and the path of a location.

use crate::{FileKind, Location, Mount, MountFlags, mount::SystemFlags, open_file::Name, propagation::Role};
use alloc::{string::String, sync::Arc, vec::Vec};
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
        if let Some((point, name)) = named_mount_point(&at) {
            at = point;
            if let Some(Name { directory, name }) = name {
                parts.push(name.to_vec());
                at.inode = directory;
            }
        } else if at.is_mount_root() {
            break root.is_none();
        } else {
            let parent = at.inode.parent().ok_or(Errno::ENOENT)?;
            parts.push(parent.name_of(&*at.inode)?);
            at.inode = parent;
        }
    };
    Ok(reached.then(|| joined(&parts)))
}

/// Where the root of a mount is mounted, and what the file there is called if it is no directory.
fn named_mount_point(location: &Location) -> Option<(Location, Option<Name>)> {
    let place = location.mount.as_ref().filter(|_| location.is_mount_root())?.place()?;
    // On the root of a mount it is known where that lies.
    let is_known = place.location.inode.kind() == FileKind::Directory || place.location.is_mount_root();
    Some((place.location, place.name.filter(|_| !is_known)))
}

/// A mount as it is seen from somewhere.
pub(crate) struct View {
    pub mount: Arc<Mount>,
    /// Where its root is.
    pub path: Vec<u8>,
    /// How it takes part in what happens elsewhere.
    pub role: Role,
    /// Of a slave, the nearest group above it that has a mount in sight.
    pub from: Option<u32>,
}

/// The flags of the mount: `,nosuid,…,relatime`.
fn write_flags(flags: MountFlags, out: &mut String) -> fmt::Result {
    let words = [
        (MountFlags::NO_SET_ID, ",nosuid"),
        (MountFlags::NO_DEVICES, ",nodev"),
        (MountFlags::NO_EXECUTE, ",noexec"),
        (MountFlags::NO_ACCESS_TIMES, ",noatime"),
        (MountFlags::NO_DIRECTORY_TIMES, ",nodiratime"),
        (MountFlags::RELATIVE_TIMES, ",relatime"),
        (MountFlags::NO_LINKS, ",nosymfollow"),
    ];
    words.into_iter().filter(|(flag, _)| flags.contains(*flag)).try_for_each(|(_, word)| out.write_str(word))
}

/// The flags of the file system, behind `rw` or `ro`: `,sync,…`.
fn write_system_flags(flags: SystemFlags, out: &mut String) -> fmt::Result {
    let words = [
        (SystemFlags::SYNCHRONOUS, ",sync"),
        (SystemFlags::SYNCHRONOUS_DIRECTORIES, ",dirsync"),
        (SystemFlags::MANDATORY_LOCKS, ",mand"),
        (SystemFlags::LAZY_TIMES, ",lazytime"),
    ];
    words.into_iter().filter(|(flag, _)| flags.contains(*flag)).try_for_each(|(_, word)| out.write_str(word))
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

fn access(is_read_only: bool) -> &'static str {
    if is_read_only { "ro" } else { "rw" }
}

/// One line of `/proc/<pid>/mounts`.
pub(crate) fn mounts_line(View { mount, path, .. }: &View, out: &mut String) -> fmt::Result {
    write_word(source_of(mount), out)?;
    out.write_char(' ')?;
    write_word(path, out)?;
    write!(out, " {} {}", mount.file_system().kind(), access(mount.is_read_only()))?;
    write_system_flags(mount.system_flags(), out)?;
    write_flags(mount.flags(), out)?;
    mount.file_system().show_options(out)?;
    out.write_str(" 0 0\n")
}

/// One line of `/proc/<pid>/mountinfo`.
pub(crate) fn mountinfo_line(View { mount, path, role, from }: &View, out: &mut String) -> fmt::Result {
    let parent = mount.parent().map_or(mount.number(), |parent| parent.number());
    let device = mount.file_system().device();
    write!(out, "{} {parent} {}:{} ", mount.number(), device.major, device.minor)?;
    write_word(&root_within(mount), out)?;
    out.write_char(' ')?;
    write_word(path, out)?;
    write!(out, " {}", access(mount.flags().contains(MountFlags::READ_ONLY)))?;
    write_flags(mount.flags(), out)?;
    if let Some(group) = role.group {
        write!(out, " shared:{group}")?;
    }
    if let Some(master) = role.master {
        write!(out, " master:{master}")?;
        if let Some(from) = from.filter(|from| *from != master) {
            write!(out, " propagate_from:{from}")?;
        }
    }
    if role.unbindable {
        out.write_str(" unbindable")?;
    }
    write!(out, " - {} ", mount.file_system().kind())?;
    write_word(source_of(mount), out)?;
    write!(out, " {}", access(mount.system_flags().contains(SystemFlags::READ_ONLY)))?;
    write_system_flags(mount.system_flags(), out)?;
    mount.file_system().show_options(out)?;
    out.write_char('\n')
}

/// One line of `/proc/<pid>/mountstats`.
pub(crate) fn mountstats_line(View { mount, path, .. }: &View, out: &mut String) -> fmt::Result {
    out.write_str("device ")?;
    write_word(source_of(mount), out)?;
    out.write_str(" mounted on ")?;
    write_word(path, out)?;
    writeln!(out, " with fstype {}", mount.file_system().kind())
}

/// The path of the mount's root inside its file system: `/` unless it is a bind mount of a part.
fn root_within(mount: &Mount) -> Vec<u8> {
    let mut parts = Vec::new();
    let mut at = mount.root().clone();
    if let Some(Name { directory, name }) = mount.root_name() {
        parts.push(name.to_vec());
        at = directory.clone();
    }
    while let Some(parent) = at.parent() {
        let Ok(name) = parent.name_of(&*at) else { break };
        parts.push(name);
        at = parent;
    }
    joined(&parts)
}

/// A path of these parts, the last one first.
fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut path = Vec::new();
    for part in parts.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(part);
    }
    if path.is_empty() { Vec::from(*b"/") } else { path }
}
