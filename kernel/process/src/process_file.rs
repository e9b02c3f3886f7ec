//! Files that stand for a process: `pidfd_open(2)`, `CLONE_PIDFD`.
//!
//! Such a file is good for poll, which says when the process has ended, for `waitid(P_PIDFD)` and for
//! `pidfd_send_signal`, which takes the directory of a process in /proc too. It keeps what is left of the process, not its number.

use crate::{POPULATION, process::Process};
use alloc::sync::Arc;
use base::{Credentials, Errno, Pid};
use vfs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable};

/// What the directory of a process in /proc stands for ([`vfs::Inode::subject`]): it keeps nothing alive.
pub struct ProcessNumber(pub Pid);

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

/// The process that a signal sent to the file is for: [`process_of`], or whose directory in /proc it is.
///
/// Errors: `EBADF` neither; `ESRCH` the directory's process is gone.
pub fn target_of(file: &OpenFile) -> Result<Arc<Process>, Errno> {
    if let Some(process) = process_of(file) {
        return Ok(process.clone());
    }
    let number: Arc<ProcessNumber> =
        file.inode().subject().and_then(|subject| subject.downcast().ok()).ok_or(Errno::EBADF)?;
    let task = POPULATION.get().and_then(|population| population.task(number.0)).ok_or(Errno::ESRCH)?;
    Ok(task.process().clone())
}
