//! Where a core goes, and how it is written there: within the limit, with holes, until SIGKILL.

use crate::{sleep, task::Task};
use alloc::sync::Arc;
use base::Errno;
use vfs::OpenFile;

/// A core that is being written by the current task.
pub(super) struct Output<'a> {
    task: &'a Task,
    file: Arc<OpenFile>,
    /// A pipe has no holes.
    has_holes: bool,
    limit: u64,
    position: u64,
    written: u64,
    /// Bytes of a hole that nothing follows yet.
    hole: u64,
}

/// Why there is no more of a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cut;

impl<'a> Output<'a> {
    /// Nothing is written yet; at most `limit` bytes will be, holes not counted.
    pub(super) fn new(task: &'a Task, file: Arc<OpenFile>, has_holes: bool, limit: u64) -> Self {
        Self { task, file, has_holes, limit, position: 0, written: 0, hole: 0 }
    }

    /// Writes what comes next, all of it or nothing if it would be over the limit.
    pub(super) fn emit(&mut self, bytes: &[u8]) -> Result<(), Cut> {
        self.fill_hole()?;
        self.put(bytes)
    }

    /// Leaves out so many bytes, which read as zeros.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), Cut> {
        /// How often a long hole is looked up from, bytes.
        const OFTEN: u64 = 2 << 20;
        self.hole += count;
        let is_cut = self.hole.is_multiple_of(OFTEN) && sleep::is_killed(self.task);
        if is_cut { Err(Cut) } else { Ok(()) }
    }

    /// Leaves out what lies before this place.
    pub(super) fn skip_to(&mut self, position: u64) {
        self.hole = position.saturating_sub(self.position);
    }

    /// Ends the file behind a hole.
    pub(super) fn finish(&mut self) -> Result<(), Cut> {
        match self.hole.checked_sub(1) {
            Some(before) => {
                self.hole = before;
                self.emit(&[0])
            }
            None => Ok(()),
        }
    }

    fn fill_hole(&mut self) -> Result<(), Cut> {
        const ZEROS: [u8; 1024] = [0; 1024];
        if self.has_holes {
            self.position += core::mem::take(&mut self.hole);
        }
        while self.hole > 0 {
            let part = self.hole.min(ZEROS.len() as u64);
            self.hole -= part;
            self.put(&ZEROS[..part as usize])?;
        }
        Ok(())
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Cut> {
        self.written += bytes.len() as u64;
        if self.written > self.limit {
            return Err(Cut);
        }
        while !bytes.is_empty() {
            // Only SIGKILL counts; what else there was may have left its mark.
            self.task.entity().clear_interrupt();
            if sleep::is_killed(self.task) {
                return Err(Cut);
            }
            let result = if self.has_holes { self.file.write_at(bytes, self.position) } else { self.file.write(bytes) };
            match result {
                Ok(count) if count > 0 => {
                    self.position += count as u64;
                    bytes = &bytes[count..];
                }
                Err(Errno::EINTR) => {}
                _ => return Err(Cut),
            }
        }
        Ok(())
    }
}
