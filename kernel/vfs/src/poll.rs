//! Readiness: the events of `poll(2)` and the table that a file uses to say which queues tell of a change.

use alloc::{sync::Arc, vec::Vec};
use bitflags::bitflags;
use sched::{Observer, Registration, WaitQueue};

bitflags! {
    /// Events of `poll(2)` and `epoll(7)`, which share their values.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PollEvents: u32 {
        /// There is something to read.
        const IN = 0x1;
        /// There is something urgent.
        const PRIORITY = 0x2;
        /// Writing will not sleep.
        const OUT = 0x4;
        /// An error; reported whether asked for or not.
        const ERROR = 0x8;
        /// The other end is gone; reported whether asked for or not.
        const HANG_UP = 0x10;
        /// The descriptor is not open (`poll` only).
        const INVALID = 0x20;
        /// Same as `IN`.
        const READ_NORMAL = 0x40;
        /// Out-of-band data.
        const READ_BAND = 0x80;
        /// Same as `OUT`.
        const WRITE_NORMAL = 0x100;
        /// Priority data may be written.
        const WRITE_BAND = 0x200;
        /// The peer will write no more.
        const READ_HANG_UP = 0x2000;
    }
}

impl PollEvents {
    /// Readable and writable at any time: files that never sleep.
    pub const ALWAYS: Self = Self::READABLE.union(Self::WRITABLE);
    /// Something to read, under both names.
    pub const READABLE: Self = Self::IN.union(Self::READ_NORMAL);
    /// Room to write, under both names.
    pub const WRITABLE: Self = Self::OUT.union(Self::WRITE_NORMAL);
}

/// Collects the queues that tell of a change of readiness, on behalf of a task in `poll` or an epoll file.
pub struct PollTable<'a> {
    watching: Option<(&'a Arc<dyn Observer>, &'a mut Vec<Registration>)>,
}

impl<'a> PollTable<'a> {
    /// A table that watches nothing: the caller only wants to know what is ready now.
    pub const fn look() -> Self {
        Self { watching: None }
    }

    /// A table that has `observer` told; the registrations end when `registrations` drops them.
    pub const fn watch_for(observer: &'a Arc<dyn Observer>, registrations: &'a mut Vec<Registration>) -> Self {
        Self { watching: Some((observer, registrations)) }
    }

    /// Whether it watches.
    #[inline]
    pub const fn watches(&self) -> bool {
        self.watching.is_some()
    }

    /// Has the caller told when `queue` is woken. A file watches first and looks at its state afterwards, so that no
    /// change is missed.
    #[inline]
    pub fn watch(&mut self, queue: &WaitQueue) {
        if let Some((observer, registrations)) = &mut self.watching {
            register(queue, observer, registrations);
        }
    }
}

/// Most look only, and should not pay for this.
#[cold]
fn register(queue: &WaitQueue, observer: &Arc<dyn Observer>, registrations: &mut Vec<Registration>) {
    registrations.push(queue.register(observer.clone()));
}
