//! `/proc/kmsg`: reading it is `SYSLOG_ACTION_READ` of `syslog(2)`.

use alloc::sync::Arc;
use base::Errno;
use process::{KERNEL_LOG, kernel_log::LogUse};
use vfs::{FileOps, OpenFlags, OpenRequest, PollEvents, PollTable};

/// Opens it. `EPERM` without CAP_SYSLOG.
pub(super) fn open(_: &super::System, request: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
    KERNEL_LOG.check(LogUse::Change, request.credentials)?;
    Ok(Arc::new(Consumed))
}

/// The log as all readers together consume it.
struct Consumed;

impl FileOps for Consumed {
    fn read(&self, buffer: &mut [u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        if flags.contains(OpenFlags::NONBLOCK) && !KERNEL_LOG.has_unread(|_| {}) {
            return Err(Errno::EAGAIN);
        }
        KERNEL_LOG.consume(buffer.len(), &mut |before, text| {
            buffer[before..before + text.len()].copy_from_slice(text);
            Ok(())
        })
    }

    fn keeps_place(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        let readable = KERNEL_LOG.has_unread(|queue| table.watch(queue));
        if readable { PollEvents::READABLE } else { PollEvents::empty() }
    }

    fn can_poll(&self) -> bool {
        true
    }
}
