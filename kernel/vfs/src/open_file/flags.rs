//! The flags of an open file, and transfers that have more of them than the file.

use super::OpenFile;
use crate::{OpenFlags, permission};
use base::{Credentials, Errno};
use core::sync::atomic::Ordering::Relaxed;

/// The flags that `F_SETFL` changes.
const STATUS_FLAGS: OpenFlags =
    OpenFlags::APPEND.union(OpenFlags::NONBLOCK).union(OpenFlags::DIRECT).union(OpenFlags::NO_ACCESS_TIME);

impl OpenFile {
    /// The flags now: access mode, and those that `open` and `fcntl` set.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Relaxed))
    }

    /// `F_SETFL`: `O_APPEND`, `O_NONBLOCK`, `O_DIRECT`, `O_NOATIME` become as given, the rest stays.
    /// `EBADF` for `O_PATH`.
    pub fn set_status_flags(&self, flags: OpenFlags) -> Result<(), Errno> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        let set = |old: u32| Some(old & !STATUS_FLAGS.bits() | (flags & STATUS_FLAGS).bits());
        // The closure always answers, so the result is always the old value.
        let _old = self.flags.fetch_update(Relaxed, Relaxed, set);
        Ok(())
    }

    /// Whether `F_SETFL` may give the file these flags. `EPERM` only its owner may ask that its access time be left alone.
    pub fn check_status_flags(&self, flags: OpenFlags, who: &Credentials) -> Result<(), Errno> {
        let asks = flags.difference(self.flags()).contains(OpenFlags::NO_ACCESS_TIME);
        if asks && !permission::is_owner(self.inode().ownership(), who) { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Sets or clears one flag.
    pub(crate) fn set_flag(&self, flag: OpenFlags, on: bool) {
        if on {
            self.flags.fetch_or(flag.bits(), Relaxed);
        } else {
            self.flags.fetch_and(!flag.bits(), Relaxed);
        }
    }

    /// Reads at `offset`, or at the position, which then moves, as if the file had `more` flags: `preadv2(2)`. Errors as
    /// [`OpenFile::read_at`] and [`OpenFile::read`].
    pub fn read_with(&self, buffer: &mut [u8], offset: Option<u64>, more: OpenFlags) -> Result<usize, Errno> {
        let flags = self.flags();
        if !flags.reads() {
            return Err(Errno::EBADF);
        }
        let count = match offset {
            Some(offset) => {
                self.check_offset(offset)?;
                self.operations.read(buffer, &mut { offset }, flags | more)?
            }
            None if self.unpositioned => self.operations.read(buffer, &mut 0, flags | more)?,
            None => self.operations.read(buffer, &mut self.position.lock(), flags | more)?,
        };
        self.note_access(flags);
        self.after_read(count)
    }

    /// Writes as [`OpenFile::read_with`] reads: `pwritev2(2)`.
    pub fn write_with(&self, buffer: &[u8], offset: Option<u64>, more: OpenFlags) -> Result<usize, Errno> {
        let flags = self.flags();
        if !flags.writes() {
            return Err(Errno::EBADF);
        }
        let written = match offset {
            Some(offset) => {
                self.check_offset(offset)?;
                self.operations.write(buffer, &mut { offset }, flags | more)?
            }
            None if self.unpositioned => return self.operations.write(buffer, &mut 0, flags | more),
            None => self.operations.write(buffer, &mut self.position.lock(), flags | more)?,
        };
        self.after_write()?;
        Ok(written)
    }
}
