//! The limit on the size of the files that a task writes (`RLIMIT_FSIZE`), which the tasks above know.

use base::Errno;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use machine::sync::Hook;

/// Knows the running task.
pub trait FileLimits: Sync {
    /// The largest file that it may make, in bytes; `u64::MAX` is no limit.
    fn largest_file(&self) -> u64;

    /// It wanted to make a larger one, and gets SIGXFSZ. May be called with an inode's lock held.
    fn tell_too_large(&self);
}

/// Installed once at boot.
pub static FILE_LIMITS: Hook<dyn FileLimits> = Hook::new();

/// Whether any process has ever had a limit: most machines never see one, and pay nothing for it in a write.
static IS_LIMITED: AtomicBool = AtomicBool::new(false);

/// Some process has a limit from now on. Before this is called, nobody is asked for theirs.
pub fn limit_file_sizes() {
    IS_LIMITED.store(true, Relaxed);
}

/// The largest size to which the running task may make a file grow that it writes at `position`. `EFBIG` none there.
pub(crate) fn largest_at(position: u64) -> Result<u64, Errno> {
    if !IS_LIMITED.load(Relaxed) {
        return Ok(u64::MAX);
    }
    let Some(limits) = FILE_LIMITS.get() else { return Ok(u64::MAX) };
    let largest = limits.largest_file();
    if position >= largest {
        limits.tell_too_large();
        return Err(Errno::EFBIG);
    }
    Ok(largest)
}

/// Whether the running task may make a file that has `old` bytes have `new`. `EFBIG`.
pub(crate) fn check_growth(old: u64, new: u64) -> Result<(), Errno> {
    if new > old { largest_at(new - 1).map(drop) } else { Ok(()) }
}
