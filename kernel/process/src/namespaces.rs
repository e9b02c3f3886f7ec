//! Namespaces (namespaces(7)): there is one of each kind, in which all tasks are. A file stands for each, by which two tasks are
//! seen to be in the same one; `setns(2)` enters it again.

use crate::task::Task;
use alloc::{format, sync::Arc, vec::Vec};
use base::{Capabilities, Credentials, Errno, Gid, Uid};
use core::any::Any;
use vfs::{
    DeviceNumber, FileKind, FileOps, FsContext, Inode, Metadata, OpenFile, OpenFlags, OpenRequest, Permissions,
    Timestamp,
};

/// A kind of namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamespaceKind {
    /// The root of what `/proc/PID/cgroup` shows.
    Cgroup,
    /// System V objects and POSIX queues.
    Ipc,
    /// Mounts.
    Mount,
    /// Network devices, of which there are none.
    Network,
    /// Task numbers.
    Pid,
    /// Offsets of clocks.
    Time,
    /// Users and capabilities.
    User,
    /// Names of the machine.
    Uts,
}

impl NamespaceKind {
    /// In the order in which `setns(2)` of a process looks at them.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Mount, Self::Uts, Self::Ipc, Self::Pid, Self::Cgroup, Self::Network, Self::Time];

    /// The flag of `clone(2)` and `setns(2)`.
    pub const fn flag(self) -> u32 {
        match self {
            Self::Time => 0x80,
            Self::Mount => 0x2_0000,
            Self::Cgroup => 0x200_0000,
            Self::Uts => 0x400_0000,
            Self::Ipc => 0x800_0000,
            Self::User => 0x1000_0000,
            Self::Pid => 0x2000_0000,
            Self::Network => 0x4000_0000,
        }
    }

    /// The number of the first one, which is Linux's.
    pub const fn number(self) -> u64 {
        match self {
            Self::Time => 4_026_531_834,
            Self::Cgroup => 4_026_531_835,
            Self::Pid => 4_026_531_836,
            Self::User => 4_026_531_837,
            Self::Uts => 4_026_531_838,
            Self::Ipc => 4_026_531_839,
            Self::Network => 4_026_531_840,
            Self::Mount => 4_026_531_841,
        }
    }

    /// What a link to it shows.
    pub fn label(self) -> Vec<u8> {
        let name = match self {
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Mount => "mnt",
            Self::Network => "net",
            Self::Pid => "pid",
            Self::Time => "time",
            Self::User => "user",
            Self::Uts => "uts",
        };
        format!("{name}:[{}]", self.number()).into_bytes()
    }
}

/// A new file for it. Errors: those of [`OpenFile::anonymous`].
pub fn open(kind: NamespaceKind) -> Result<Arc<OpenFile>, Errno> {
    OpenFile::anonymous(Arc::new(Node(kind)), Arc::new(Nothing), OpenFlags::empty(), Arc::new(Credentials::root()))
}

/// The kind of namespace that the file stands for, if it stands for one.
pub fn kind_of(file: &OpenFile) -> Option<NamespaceKind> {
    let kind: Arc<NamespaceKind> = file.inode().subject()?.downcast().ok()?;
    Some(*kind)
}

struct Node(NamespaceKind);

/// A file that can neither be read nor written.
struct Nothing;

impl FileOps for Nothing {}

impl Inode for Node {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }

    fn number(&self) -> u64 {
        self.0.number()
    }

    fn metadata(&self) -> Metadata {
        let device = DeviceNumber::new(0, 4);
        let owner = (Uid::ROOT, Gid::ROOT);
        Metadata::empty(device, self.number(), self.kind(), Permissions::new(0o444), owner, Timestamp::now())
    }

    fn open(self: Arc<Self>, request: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        if request.flags.writes() { Err(Errno::EPERM) } else { Ok(Arc::new(Nothing)) }
    }

    fn label(&self) -> Option<Vec<u8>> {
        Some(self.0.label())
    }

    fn subject(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::new(self.0))
    }
}

impl Task {
    /// `setns(2)`: enters the namespaces of these kinds, where the task is already; with that of mounts its root and working
    /// directory become the root of all mounts.
    ///
    /// Errors, nothing changed: `EPERM` without `CAP_SYS_ADMIN`, for mounts also without `CAP_SYS_CHROOT`; `EINVAL` its own
    /// user namespace, or mounts while it shares its root and working directory; `EUSERS` time with several threads.
    pub fn enter(&self, kinds: &[NamespaceKind]) -> Result<(), Errno> {
        let context = self.context()?;
        let own = self.credentials();
        for kind in kinds {
            let is_allowed = own.has(Capabilities::SYS_ADMIN);
            match kind {
                NamespaceKind::User => return Err(Errno::EINVAL),
                NamespaceKind::Time if self.process().threads().len() > 1 => return Err(Errno::EUSERS),
                NamespaceKind::Mount if !own.has(Capabilities::SYS_CHROOT) => return Err(Errno::EPERM),
                _ if !is_allowed => return Err(Errno::EPERM),
                // With others the root is changed in the shared place.
                NamespaceKind::Mount if kinds.len() == 1 && self.shares(&context) => return Err(Errno::EINVAL),
                _ => {}
            }
        }
        if kinds.contains(&NamespaceKind::Mount) {
            context.return_to_root();
        }
        Ok(())
    }

    /// Whether other tasks have the same root and working directory.
    fn shares(&self, context: &Arc<FsContext>) -> bool {
        let has_it = |task: &Arc<Task>| task.context().is_ok_and(|other| Arc::ptr_eq(&other, context));
        self.population().tasks().iter().filter(|task| has_it(task)).count() > 1
    }
}
