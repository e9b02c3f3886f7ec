//! A program that reads `/dev/kmsg`: its own place in the log.

use super::{KERNEL_LOG, text::device_text};
use alloc::vec::Vec;
use base::Errno;
use machine::{
    log::{self, Cursor, Record},
    sync::{SpinLock, rank},
};
use sched::WaitQueue;

/// A place in the log, from which records are read one at a time.
pub struct LogReader {
    next: SpinLock<Cursor>,
}

/// What a look at the next record gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogState {
    /// There is none yet.
    Empty,
    /// It is there.
    Readable,
    /// It was overwritten.
    Overrun,
}

impl LogReader {
    /// A reader that begins with the oldest record.
    pub fn new() -> Self {
        Self { next: SpinLock::new(rank::FILE_STATE, log::oldest()) }
    }

    /// The next record as a line; sleeps until there is one, unless `wait` is false. `EPIPE` it was overwritten, and
    /// reading goes on with the oldest; `EAGAIN`; `EINTR`.
    pub fn read(&self, wait: bool) -> Result<Vec<u8>, Errno> {
        match self.take() {
            Some(result) => result,
            None if !wait => Err(Errno::EAGAIN),
            None => KERNEL_LOG.news.wait_until_interruptible(|| self.take(), None).map_err(|_| Errno::EINTR)?,
        }
    }

    fn take(&self) -> Option<Result<Vec<u8>, Errno>> {
        let mut record = Record::new();
        let mut place = self.next.lock();
        let next = log::read(*place, &mut record)?;
        if record.at() != *place {
            *place = record.at();
            return Some(Err(Errno::EPIPE));
        }
        *place = next;
        Some(Ok(device_text(&record)))
    }

    /// Goes to the oldest record.
    pub fn to_oldest(&self) {
        *self.next.lock() = log::oldest();
    }

    /// Goes to the first record that was written after the log was last cleared.
    pub fn to_cleared(&self) {
        let cleared = *KERNEL_LOG.cleared.lock();
        let oldest = log::oldest();
        *self.next.lock() = if cleared.sequence() < oldest.sequence() { oldest } else { cleared };
    }

    /// Goes behind the newest record.
    pub fn to_end(&self) {
        *self.next.lock() = log::end();
    }

    /// What a read would find; has `watch` asked to watch for more.
    pub fn state(&self, watch: impl FnOnce(&WaitQueue)) -> LogState {
        watch(&KERNEL_LOG.news);
        let place = *self.next.lock();
        let mut record = Record::new();
        match log::read(place, &mut record) {
            None => LogState::Empty,
            Some(_) if record.at() == place => LogState::Readable,
            Some(_) => LogState::Overrun,
        }
    }
}

impl Default for LogReader {
    fn default() -> Self {
        Self::new()
    }
}
