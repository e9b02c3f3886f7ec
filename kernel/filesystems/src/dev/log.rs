//! `/dev/kmsg` (1, 11): each read gives the next record of the kernel log as a line, each write is a record
//! (Documentation/ABI/testing/dev-kmsg).

use base::Errno;
use machine::log::LONGEST;
use process::{
    KERNEL_LOG,
    kernel_log::{LogReader, LogState, LogUse, write_record},
};
use vfs::{FileOps, OpenFlags, OpenRequest, PollEvents, PollTable, SeekFrom};

/// An open `/dev/kmsg`.
pub(super) struct LogFile {
    /// None if it was opened only for writing.
    reader: Option<LogReader>,
}

impl LogFile {
    /// Opens it. `EPERM` for reading, where only the privileged may.
    pub(super) fn open(request: &OpenRequest<'_>) -> Result<Self, Errno> {
        if !request.flags.reads() {
            return Ok(Self { reader: None });
        }
        KERNEL_LOG.check(LogUse::Look, request.credentials)?;
        Ok(Self { reader: Some(LogReader::new()) })
    }
}

impl FileOps for LogFile {
    /// A record is gone from this reader even if it does not fit (`EINVAL`), as on Linux.
    fn read(&self, buffer: &mut [u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let reader = self.reader.as_ref().ok_or(Errno::EBADF)?;
        let line = reader.read(!flags.contains(OpenFlags::NONBLOCK))?;
        buffer.get_mut(..line.len()).ok_or(Errno::EINVAL)?.copy_from_slice(&line);
        Ok(line.len())
    }

    fn write(&self, buffer: &[u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        self.admit_write(buffer.len())?;
        write_record(buffer);
        Ok(buffer.len())
    }

    fn screens_writes(&self) -> bool {
        true
    }

    fn admit_write(&self, length: usize) -> Result<(), Errno> {
        if length > LONGEST { Err(Errno::EINVAL) } else { Ok(()) }
    }

    fn keeps_place(&self) -> bool {
        true
    }

    /// `SEEK_SET` the oldest record, `SEEK_DATA` the first since the log was cleared, `SEEK_END` behind the newest.
    /// `ESPIPE` an offset other than 0.
    fn seek(&self, target: SeekFrom, _position: &mut u64) -> Result<u64, Errno> {
        let reader = self.reader.as_ref().ok_or(Errno::EBADF)?;
        let offset = match target {
            SeekFrom::Start(offset) => offset,
            SeekFrom::Current(offset) | SeekFrom::End(offset) | SeekFrom::Data(offset) | SeekFrom::Hole(offset) => {
                offset
            }
        };
        if offset != 0 {
            return Err(Errno::ESPIPE);
        }
        match target {
            SeekFrom::Start(_) => reader.to_oldest(),
            SeekFrom::Data(_) => reader.to_cleared(),
            SeekFrom::End(_) => reader.to_end(),
            SeekFrom::Current(_) | SeekFrom::Hole(_) => return Err(Errno::EINVAL),
        }
        Ok(0)
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        let Some(reader) = &self.reader else { return PollEvents::ERROR | PollEvents::INVALID };
        match reader.state(|queue| table.watch(queue)) {
            LogState::Empty => PollEvents::empty(),
            LogState::Readable => PollEvents::READABLE,
            LogState::Overrun => PollEvents::READABLE | PollEvents::ERROR | PollEvents::PRIORITY,
        }
    }

    fn can_poll(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_written_has_nothing_to_read_or_poll() {
        let file = LogFile { reader: None };
        assert_eq!(file.poll(&mut PollTable::look()), PollEvents::ERROR | PollEvents::INVALID);
        assert_eq!(file.seek(SeekFrom::Start(0), &mut 0), Err(Errno::EBADF));
        assert_eq!(file.write(&[b'x'; LONGEST + 1], &mut 0, OpenFlags::empty()), Err(Errno::EINVAL));
    }

    #[test]
    fn a_written_record_is_read_back_whole_or_not_at_all() {
        let file = LogFile { reader: Some(LogReader::new()) };
        let (mut buffer, quick) = ([0; 2048], OpenFlags::NONBLOCK);
        assert_eq!(file.seek(SeekFrom::End(1), &mut 0), Err(Errno::ESPIPE));
        assert_eq!(file.seek(SeekFrom::Current(0), &mut 0), Err(Errno::EINVAL));
        assert_eq!(file.seek(SeekFrom::End(0), &mut 0), Ok(0));
        for text in ["<30>dev: short", "<30>dev: read"] {
            assert_eq!(file.write(text.as_bytes(), &mut 0, quick), Ok(text.len()));
        }
        assert_eq!(file.poll(&mut PollTable::look()), PollEvents::READABLE);
        assert_eq!(file.read(&mut [0; 8], &mut 0, quick), Err(Errno::EINVAL));
        let count = file.read(&mut buffer, &mut 0, quick).unwrap();
        assert!(buffer[..count].starts_with(b"30,") && buffer[..count].ends_with(b",-;dev: read\n"));
    }
}
