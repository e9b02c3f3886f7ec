//! Files that stand for a process: `pidfd_open(2)`, `CLONE_PIDFD`.
//!
//! Such a file is good for poll, which says when the process has ended, for `waitid(P_PIDFD)` and for
//! `pidfd_send_signal`. It keeps what is left of the process, not its number.

use crate::process::Process;
use alloc::sync::Arc;
use base::{Credentials, Errno};
use vfs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable};

struct ProcessFile {
    process: Arc<Process>,
}

impl FileOps for ProcessFile {
    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.process.ended);
        if self.process.is_zombie() { PollEvents::READABLE } else { PollEvents::empty() }
    }
}

/// A new file for the process. `flags` may hold `NONBLOCK`.
///
/// Errors: those of [`OpenFile::anonymous`].
pub fn open(process: &Arc<Process>, flags: OpenFlags, credentials: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
    let operations = Arc::new(ProcessFile { process: process.clone() });
    vfs::anonymous_file("pidfd", operations, OpenFlags::READ_WRITE | flags, credentials)
}

/// The process that the file stands for, if it stands for one.
pub fn process_of(file: &OpenFile) -> Option<&Arc<Process>> {
    file.operations::<ProcessFile>().map(|file| &file.process)
}
