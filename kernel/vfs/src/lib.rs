//! vfs: the files of the kernel, whatever is behind them.
//!
//! Main types: [`Inode`] (something that a name can stand for), [`FileOps`] (what an open file can do),
//! [`OpenFile`] (an open file description), [`FileTable`] (the descriptors of a process), [`FileSystem`] and
//! [`FileSystemType`], [`Mount`] and [`Namespace`] (the mount tree), [`FsContext`] (root, working directory,
//! umask), [`Caller`] (who asks, and from where) with the operations on paths. Besides: [`ramfs`], pipes, local
//! sockets, poll and epoll, event and timer files, inotify, file locks, the initramfs unpacker.
//!
//! Paths are walked without a cache of names: a location is a mount and an inode, directories know their parent,
//! and a file system answers each lookup itself. Below: `base`, `machine`, `sched` (to sleep), `memory` (frames).
//! Not here: what shows the kernel as files (`filesystems`), and everything that knows of tasks (`process`).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod anonymous;
mod attributes;
mod by_user;
mod caller;
mod context;
mod device;
mod entry_name;
mod epoll;
mod event;
mod execution;
mod file;
mod filesystem;
mod flags;
pub mod initramfs;
mod inode;
mod inotify;
mod limits;
pub mod lock;
mod mount;
mod mount_text;
mod mounted_system;
mod namespace;
pub mod notice;
mod open_file;
mod open_limits;
mod pages;
mod permission;
pub mod pipe;
mod poll;
mod propagation;
pub mod ramfs;
mod records;
mod ring;
mod seals;
mod several;
pub mod socket;
pub mod splice;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod timer_file;
mod walk;
pub mod watch_limits;
mod watches;
mod weak_list;

pub use anonymous::anonymous_file;
pub use attributes::{DeviceNumber, FileKind, Metadata, MetadataChange, Ownership, Permissions, Timestamp};
pub use caller::{
    Caller, ConfigurationStep, Follow, MountChange, Remount, Start, TimeChange, Unmount, check_configuration,
};
pub use context::FsContext;
pub use device::{DEVICE_GUARD, DeviceGuard};
pub use epoll::{EpollChange, EpollEvent, epoll, epoll_control, epoll_wait};
pub use event::{EventBell, eventfd};
pub use execution::Execution;
pub use file::{FileOps, MappedPages, Mapping};
pub use filesystem::{DeviceDriver, FileSystem, FileSystemType, MountRequest, Registry, StatFs, next_device};
pub use flags::{OpenFlags, SeekFrom};
pub use inode::{Allocation, DirectoryEntry, Inode, Link, NewNode, NodeKind, OpenRequest, RenameFlags};
pub use inotify::{inotify, inotify_add_watch, inotify_remove_watch};
pub use limits::{FILE_LIMITS, FileLimits, limit_file_sizes};
pub use lock::FileLocks;
pub use mount::{Location, Mount, MountFlags, Named, SystemFlags};
pub use namespace::Namespace;
pub use open_file::OpenFile;
pub use open_limits::{most_descriptors, most_open_files, open_files, set_most_descriptors, set_most_open_files};
pub use permission::{EXECUTE, READ, WRITE, check as check_permission};
pub use poll::{PollEvents, PollTable};
pub use propagation::Propagation;
pub use records::{RecordFile, RecordSource};
pub use ring::Ring;
pub use seals::{Sealing, Seals};
pub use several::{PollRequests, poll};
pub use socket::BoundSocket;
pub use table::{Descriptor, FileTable, Slot};
pub use text::{TextFile, TextSource};
pub use timer_file::{Clock, TimerKind, TimerSetting, timerfd, timerfd_get, timerfd_set, wall_clock_was_set};
pub use walk::{LONGEST_NAME, LONGEST_PATH, Resolve};
pub use watches::{FileEvents, tell};

/// Sets the limits that depend on how much memory there is: so many pages. Called once at boot.
pub fn scale_limits(pages: u64) {
    open_limits::scale(pages);
    watch_limits::scale(pages);
}

/// The errno of a wait that ended without what it waited for.
pub(crate) fn interrupted(error: sched::WaitError) -> base::Errno {
    match error {
        sched::WaitError::Interrupted => base::Errno::EINTR,
        sched::WaitError::TimedOut => base::Errno::EAGAIN,
    }
}

/// Tries at once, then waits at `queue` unless it must not: `EAGAIN`. `EINTR`; what the attempt fails with.
pub(crate) fn wait<R>(
    queue: &sched::WaitQueue,
    nonblocking: bool,
    attempt: impl FnMut() -> Option<Result<R, base::Errno>>,
) -> Result<R, base::Errno> {
    wait_until(queue, nonblocking, None, attempt)
}

/// [`wait`], but only until `deadline` (nanoseconds since boot): `EAGAIN`.
pub(crate) fn wait_until<R>(
    queue: &sched::WaitQueue,
    nonblocking: bool,
    deadline: Option<u64>,
    mut attempt: impl FnMut() -> Option<Result<R, base::Errno>>,
) -> Result<R, base::Errno> {
    match attempt() {
        Some(result) => result,
        None if nonblocking => Err(base::Errno::EAGAIN),
        None => queue.wait_until_interruptible(attempt, deadline).map_err(interrupted)?,
    }
}
