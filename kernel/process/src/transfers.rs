//! What a task has read and written by calls, for `/proc/PID/io`.

use base::Errno;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes and calls of one task. Only the task itself counts, so that no locked instruction is needed.
#[derive(Debug, Default)]
pub struct Transfers {
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

/// The figures at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TransferCounts {
    /// Bytes that calls of the `read` family gave.
    pub bytes_read: u64,
    /// Bytes that calls of the `write` family took.
    pub bytes_written: u64,
    /// Calls of the `read` family.
    pub reads: u64,
    /// Calls of the `write` family.
    pub writes: u64,
}

impl TransferCounts {
    /// Adds the figures of another task.
    pub fn add(&mut self, other: &Self) {
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
        self.reads += other.reads;
        self.writes += other.writes;
    }
}

fn grow(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

impl Transfers {
    /// Counts a read that ended with `result`, which the calling task made itself; returns the result.
    pub fn count_read(&self, result: Result<usize, Errno>) -> Result<usize, Errno> {
        grow(&self.reads, 1);
        if let Ok(bytes) = result {
            grow(&self.bytes_read, bytes as u64);
        }
        result
    }

    /// Counts a write that ended with `result`; returns the result.
    pub fn count_write(&self, result: Result<usize, Errno>) -> Result<usize, Errno> {
        grow(&self.writes, 1);
        if let Ok(bytes) = result {
            grow(&self.bytes_written, bytes as u64);
        }
        result
    }

    /// Counts a copy from file to file, which is a read and a write; returns the result.
    pub fn count_copy(&self, result: Result<usize, Errno>) -> Result<usize, Errno> {
        self.count_write(self.count_read(result))
    }

    /// The figures now.
    pub fn counts(&self) -> TransferCounts {
        TransferCounts {
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            reads: self.reads.load(Relaxed),
            writes: self.writes.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_fails_counts_as_a_call_and_moves_nothing() {
        let transfers = Transfers::default();
        assert_eq!(transfers.count_read(Ok(5)), Ok(5));
        assert_eq!(transfers.count_read(Err(Errno::EAGAIN)), Err(Errno::EAGAIN));
        assert_eq!(transfers.count_write(Ok(7)), Ok(7));
        assert_eq!(transfers.count_copy(Ok(1)), Ok(1));
        let mut sum = transfers.counts();
        sum.add(&transfers.counts());
        assert_eq!(sum, TransferCounts { bytes_read: 12, bytes_written: 16, reads: 6, writes: 4 });
    }
}
