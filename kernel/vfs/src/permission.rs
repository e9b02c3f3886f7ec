//! Who may do what to an inode: permission bits, ownership and the capabilities that stand in for them.

use crate::{FileKind, Inode, Ownership, Permissions};
use base::{Capabilities, Credentials, Errno};

/// To execute a file or search a directory.
pub const EXECUTE: u16 = 1;
/// To write.
pub const WRITE: u16 = 2;
/// To read.
pub const READ: u16 = 4;

/// Whether `who` may do all of `wanted` ([`READ`], [`WRITE`], [`EXECUTE`]) to an inode; `EACCES` if not.
pub fn check(ownership: Ownership, kind: FileKind, who: &Credentials, wanted: u16) -> Result<(), Errno> {
    let bits = ownership.permissions.bits();
    let granted = if who.fsuid == ownership.uid {
        bits >> 6
    } else if who.in_group(ownership.gid) {
        bits >> 3
    } else {
        bits
    };
    if wanted & !granted & 7 == 0 {
        return Ok(());
    }
    let directory = kind == FileKind::Directory;
    let executable = directory || wanted & EXECUTE == 0 || bits & 0o111 != 0;
    if executable && who.has(Capabilities::DAC_OVERRIDE) {
        return Ok(());
    }
    let only_reads = wanted & WRITE == 0 && (directory || wanted & EXECUTE == 0);
    if only_reads && who.has(Capabilities::DAC_READ_SEARCH) {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// [`check`] on an inode.
pub fn check_inode(inode: &dyn Inode, who: &Credentials, wanted: u16) -> Result<(), Errno> {
    check(inode.ownership(), inode.kind(), who, wanted)
}

/// Whether `who` owns the inode or may act as its owner.
pub fn is_owner(ownership: Ownership, who: &Credentials) -> bool {
    who.fsuid == ownership.uid || who.has(Capabilities::FOWNER)
}

/// Whether `who` may take a name of `victim` out of `directory`: `EACCES` without write and search permission there,
/// `EPERM` in a sticky directory unless it owns one of the two.
pub fn check_removal(directory: &dyn Inode, victim: &dyn Inode, who: &Credentials) -> Result<(), Errno> {
    let holder = directory.ownership();
    check(holder, FileKind::Directory, who, WRITE | EXECUTE)?;
    let sticky = holder.permissions.any(Permissions::STICKY);
    if sticky && who.fsuid != holder.uid && !is_owner(victim.ownership(), who) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Whether `who` may give the inode another name: its owner may; others only to a plain file that they may read and write
/// and that is no set-ID program. `EPERM` (proc(5), `protected_hardlinks`, which is on here as Debian has it).
pub fn check_link(inode: &dyn Inode, who: &Credentials) -> Result<(), Errno> {
    let ownership = inode.ownership();
    let permissions = ownership.permissions;
    let set_id =
        permissions.any(Permissions::SET_UID) || permissions.any(Permissions::SET_GID) && permissions.any(0o010);
    let safe =
        inode.kind() == FileKind::Regular && !set_id && check(ownership, inode.kind(), who, READ | WRITE).is_ok();
    if safe || is_owner(ownership, who) { Ok(()) } else { Err(Errno::EPERM) }
}

/// What is left of set-ID bits after a write or a change of owner by somebody without CAP_FSETID: set-user-ID goes,
/// set-group-ID goes if the group may execute (else it is no set-ID bit at all).
pub fn without_set_id(permissions: Permissions) -> Permissions {
    let group_executes = permissions.any(0o010);
    permissions.without(Permissions::SET_UID | if group_executes { Permissions::SET_GID } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Gid, Uid};

    fn user(uid: u32, gid: u32) -> Credentials {
        let none = Capabilities::empty();
        Credentials { fsuid: Uid::new(uid), fsgid: Gid::new(gid), effective: none, ..Credentials::root() }
    }

    fn owned(mode: u32, uid: u32, gid: u32) -> Ownership {
        Ownership { permissions: Permissions::new(mode), uid: Uid::new(uid), gid: Gid::new(gid) }
    }

    #[test]
    fn the_first_class_that_fits_decides_alone() {
        let file = owned(0o047, 1, 2);
        assert_eq!(check(file, FileKind::Regular, &user(1, 2), READ), Err(Errno::EACCES));
        assert_eq!(check(file, FileKind::Regular, &user(3, 2), READ), Ok(()));
        assert_eq!(check(file, FileKind::Regular, &user(3, 2), WRITE), Err(Errno::EACCES));
        assert_eq!(check(file, FileKind::Regular, &user(3, 3), READ | WRITE | EXECUTE), Ok(()));
    }

    #[test]
    fn the_superuser_may_all_but_execute_what_nobody_may() {
        let root = Credentials::root();
        assert_eq!(check(owned(0, 1, 1), FileKind::Regular, &root, READ | WRITE), Ok(()));
        assert_eq!(check(owned(0o666, 1, 1), FileKind::Regular, &root, EXECUTE), Err(Errno::EACCES));
        assert_eq!(check(owned(0, 1, 1), FileKind::Directory, &root, EXECUTE), Ok(()));
    }

    #[test]
    fn set_ids_fall_when_a_file_is_written() {
        assert_eq!(without_set_id(Permissions::new(0o6755)), Permissions::new(0o755));
        assert_eq!(without_set_id(Permissions::new(0o2744)), Permissions::new(0o2744));
    }
}
