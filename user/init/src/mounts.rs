//! The file systems that every program expects.

use std::ffi::CStr;
use std::io::ErrorKind;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::console::complain;

struct Mount {
    kind: &'static str,
    directory: &'static str,
    flags: MountFlags,
    options: Option<&'static CStr>,
}

const SEALED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

const MOUNTS: &[Mount] = &[
    Mount { kind: "devtmpfs", directory: "/dev", flags: MountFlags::NOSUID, options: Some(c"mode=0755") },
    Mount { kind: "proc", directory: "/proc", flags: SEALED, options: None },
    Mount { kind: "sysfs", directory: "/sys", flags: SEALED, options: None },
    Mount {
        kind: "devpts",
        directory: "/dev/pts",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
        options: Some(c"mode=0620,ptmxmode=0666"),
    },
    Mount {
        kind: "tmpfs",
        directory: "/tmp",
        flags: MountFlags::NOSUID.union(MountFlags::NODEV),
        options: Some(c"mode=1777"),
    },
];

/// Mounts them all, making the directories that are missing. What fails is told, and the rest still mounted.
pub fn mount_all() {
    for entry in MOUNTS {
        if let Err(error) = std::fs::create_dir(entry.directory)
            && error.kind() != ErrorKind::AlreadyExists
        {
            complain(&format!("{}: {error}", entry.directory));
            continue;
        }
        match mount(entry.kind, entry.directory, entry.kind, entry.flags, entry.options) {
            // The kernel may have mounted it itself.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => complain(&format!("mounting {} on {} failed: {error}", entry.kind, entry.directory)),
        }
    }
}
