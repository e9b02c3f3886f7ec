//! Who a task is: user and group numbers and capabilities.

use crate::{Gid, Uid};
use alloc::vec::Vec;
use bitflags::bitflags;

bitflags! {
    /// A set of capabilities, bit *n* for capability *n* of `capabilities(7)`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Capabilities: u64 {
        #[allow(missing_docs)] const CHOWN = 1 << 0;
        #[allow(missing_docs)] const DAC_OVERRIDE = 1 << 1;
        #[allow(missing_docs)] const DAC_READ_SEARCH = 1 << 2;
        #[allow(missing_docs)] const FOWNER = 1 << 3;
        #[allow(missing_docs)] const FSETID = 1 << 4;
        #[allow(missing_docs)] const KILL = 1 << 5;
        #[allow(missing_docs)] const SETGID = 1 << 6;
        #[allow(missing_docs)] const SETUID = 1 << 7;
        #[allow(missing_docs)] const SETPCAP = 1 << 8;
        #[allow(missing_docs)] const NET_ADMIN = 1 << 12;
        #[allow(missing_docs)] const IPC_LOCK = 1 << 14;
        #[allow(missing_docs)] const IPC_OWNER = 1 << 15;
        #[allow(missing_docs)] const SYS_CHROOT = 1 << 18;
        #[allow(missing_docs)] const SYS_PTRACE = 1 << 19;
        #[allow(missing_docs)] const SYS_ADMIN = 1 << 21;
        #[allow(missing_docs)] const SYS_BOOT = 1 << 22;
        #[allow(missing_docs)] const SYS_NICE = 1 << 23;
        #[allow(missing_docs)] const SYS_RESOURCE = 1 << 24;
        #[allow(missing_docs)] const SYS_TIME = 1 << 25;
        #[allow(missing_docs)] const SYS_TTY_CONFIG = 1 << 26;
        #[allow(missing_docs)] const MKNOD = 1 << 27;
        #[allow(missing_docs)] const LEASE = 1 << 28;
        #[allow(missing_docs)] const SETFCAP = 1 << 31;
        #[allow(missing_docs)] const SYSLOG = 1 << 34;
        #[allow(missing_docs)] const CHECKPOINT_RESTORE = 1 << 40;
        const _ = (1 << 41) - 1;
    }
}

/// The credentials of a task, `credentials(7)`. Changed by replacing the whole value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Real user.
    pub uid: Uid,
    /// Effective user.
    pub euid: Uid,
    /// Saved set-user-ID.
    pub suid: Uid,
    /// User for file access.
    pub fsuid: Uid,
    /// Real group.
    pub gid: Gid,
    /// Effective group.
    pub egid: Gid,
    /// Saved set-group-ID.
    pub sgid: Gid,
    /// Group for file access.
    pub fsgid: Gid,
    /// Supplementary groups.
    pub groups: Vec<Gid>,
    /// Capabilities that count in checks.
    pub effective: Capabilities,
    /// The most that `effective` may become.
    pub permitted: Capabilities,
    /// Kept over exec, with the file's.
    pub inheritable: Capabilities,
    /// The bounding set.
    pub bounding: Capabilities,
    /// Kept over exec of an unprivileged file.
    pub ambient: Capabilities,
}

impl Credentials {
    /// The superuser with every capability: the kernel's own tasks and pid 1.
    pub const fn root() -> Self {
        Self {
            uid: Uid::ROOT,
            euid: Uid::ROOT,
            suid: Uid::ROOT,
            fsuid: Uid::ROOT,
            gid: Gid::ROOT,
            egid: Gid::ROOT,
            sgid: Gid::ROOT,
            fsgid: Gid::ROOT,
            groups: Vec::new(),
            effective: Capabilities::all(),
            permitted: Capabilities::all(),
            inheritable: Capabilities::empty(),
            bounding: Capabilities::all(),
            ambient: Capabilities::empty(),
        }
    }

    /// Whether the effective set holds all of `capabilities`.
    pub fn has(&self, capabilities: Capabilities) -> bool {
        self.effective.contains(capabilities)
    }

    /// Whether `group` is the file-access group or a supplementary one.
    pub fn in_group(&self, group: Gid) -> bool {
        self.fsgid == group || self.groups.contains(&group)
    }
}
