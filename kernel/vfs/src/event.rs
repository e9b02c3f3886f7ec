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

    /// Adds 1, and where there is no room for it makes an error of the count, as polls see.
    fn ring(&self) {
        let mut count = self.count.lock();
        *count = count.saturating_add(1);
        drop(count);
        self.changed.wake_all();
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
        events.set(PollEvents::ERROR, count > MOST);
        events
    }
}

/// An event file that the kernel adds to.
pub struct EventBell(Arc<OpenFile>);

impl EventBell {
    /// That of an open file. `EINVAL` it is no event file.
    pub fn of(file: Arc<OpenFile>) -> Result<Self, Errno> {
        if file.operations::<EventCounter>().is_some() { Ok(Self(file)) } else { Err(Errno::EINVAL) }
    }

    /// Adds 1 to it, without waiting for room; never called from interrupts.
    pub fn ring(&self) {
        if let Some(counter) = self.0.operations::<EventCounter>() {
            counter.ring();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_adds_without_room_is_an_error_for_polls_and_gone_with_a_read() {
        let file = eventfd(0, false, OpenFlags::NONBLOCK, &Arc::new(Credentials::root())).unwrap();
        file.write(&MOST.to_ne_bytes()).unwrap();
        let events = |file: &OpenFile| file.poll(&mut PollTable::look());
        assert_eq!(events(&file), PollEvents::READABLE);
        let bell = EventBell::of(file.clone()).unwrap();
        bell.ring();
        bell.ring();
        assert_eq!(events(&file), PollEvents::READABLE | PollEvents::ERROR);
        let mut count = [0; 8];
        file.read(&mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), u64::MAX);
        assert_eq!(events(&file), PollEvents::WRITABLE);
    }

    #[test]
    fn only_event_files_are_bells() {
        let other = crate::epoll(&Arc::new(Credentials::root())).unwrap();
        assert!(matches!(EventBell::of(other), Err(Errno::EINVAL)));
    }
}
