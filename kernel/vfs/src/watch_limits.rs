//! How many files a user may watch, by epoll and by inotify: `epoll(7)`, `inotify(7)`.

use crate::by_user::ByUser;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a watched file costs in bytes, as Linux reckons: by epoll, and by inotify with its inode.
const EPOLL_COST: u64 = 208;
const INOTIFY_COST: u64 = 1280;

/// A number that may be changed at any time and holds for what comes then.
pub struct Most(AtomicU64);

impl Most {
    const fn new(most: u64) -> Self {
        Self(AtomicU64::new(most))
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Changes it.
    pub fn set(&self, most: u64) {
        self.0.store(most, Relaxed);
    }
}

/// Files that a user may watch by epoll (`max_user_watches`).
pub static EPOLL_WATCHES: Most = Most::new(1 << 16);
/// Inotify files that a user may have (`max_user_instances`).
pub static INOTIFY_INSTANCES: Most = Most::new(128);
/// Inodes that a user may watch by inotify (`max_user_watches`).
pub static INOTIFY_WATCHES: Most = Most::new(8192);
/// Events that may wait in an inotify file that is made now (`max_queued_events`).
pub static INOTIFY_EVENTS: Most = Most::new(16_384);

/// What each user has of them.
pub(crate) static EPOLL_USERS: ByUser = ByUser::new();
pub(crate) static INOTIFY_INSTANCE_USERS: ByUser = ByUser::new();
pub(crate) static INOTIFY_WATCH_USERS: ByUser = ByUser::new();

/// Up to a twenty-fifth of memory for epoll, up to a hundredth for inotify.
pub(crate) fn scale(pages: u64) {
    let bytes = pages * 4096;
    EPOLL_WATCHES.set(bytes / 25 / EPOLL_COST);
    INOTIFY_WATCHES.set((bytes / 100 / INOTIFY_COST).clamp(8192, 1 << 20));
}
