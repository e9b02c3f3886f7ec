//! Event counters, `eventfd(2)`.

use crate::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable, anonymous::AnonymousInode, interrupted};
use alloc::sync::Arc;
use base::{Credentials, Errno};
use machine::sync::{SpinLock, rank};
use sched::WaitQueue;

/// The largest count.
const MOST: u64 = u64::MAX - 1;

struct EventCounter {
    count: SpinLock<u64>,
    /// A read takes 1 instead of all.
    semaphore: bool,
    changed: WaitQueue,
}

impl EventCounter {
    fn try_take(&self) -> Option<u64> {
        let mut count = self.count.lock();
        if *count == 0 {
            return None;
        }
        let taken = if self.semaphore { 1 } else { *count };
        *count -= taken;
        Some(taken)
    }

    fn try_add(&self, value: u64) -> Option<()> {
        let mut count = self.count.lock();
        *count = count.checked_add(value).filter(|&sum| sum <= MOST)?;
        Some(())
    }

    /// Waits for `attempt`, unless the file does not block.
    fn get<R>(&self, flags: OpenFlags, mut attempt: impl FnMut() -> Option<R>) -> Result<R, Errno> {
        match attempt() {
            Some(result) => Ok(result),
            None if flags.contains(OpenFlags::NONBLOCK) => Err(Errno::EAGAIN),
            None => self.changed.wait_until_interruptible(attempt, None).map_err(interrupted),
        }
    }
}

impl FileOps for EventCounter {
    fn read(&self, buffer: &mut [u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let out = buffer.first_chunk_mut::<8>().ok_or(Errno::EINVAL)?;
        *out = self.get(flags, || self.try_take())?.to_ne_bytes();
        self.changed.wake_all();
        Ok(8)
    }

    fn write(&self, buffer: &[u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let value = u64::from_ne_bytes(*buffer.first_chunk::<8>().ok_or(Errno::EINVAL)?);
        if value == u64::MAX {
            return Err(Errno::EINVAL);
        }
        self.get(flags, || self.try_add(value))?;
        self.changed.wake_all();
        Ok(8)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn glance(&self) -> Option<PollEvents> {
        Some(self.poll(&mut PollTable::look()))
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.changed);
        let count = *self.count.lock();
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, count > 0);
        events.set(PollEvents::WRITABLE, count < MOST);
        events
    }
}

/// `eventfd2(2)`. `flags` may hold `NONBLOCK`; the rest is ignored.
pub fn eventfd(
    initial: u32,
    semaphore: bool,
    flags: OpenFlags,
    credentials: &Arc<Credentials>,
) -> Result<Arc<OpenFile>, Errno> {
    let count = SpinLock::new(rank::FILE_STATE, u64::from(initial));
    let counter = Arc::new(EventCounter { count, semaphore, changed: WaitQueue::new() });
    let inode = Arc::new(AnonymousInode::new("eventfd", credentials));
    let flags = OpenFlags::READ_WRITE | flags & OpenFlags::NONBLOCK;
    OpenFile::anonymous(inode, counter, flags, credentials.clone())
}
