//! Files from which signals are read: `signalfd(2)`.
//!
//! Such a file has a set of signals and nothing else: who reads or polls it sees the signals that wait for him and his
//! process, and takes them as `sigwaitinfo` does.

use super::{SignalInfo, SignalSet, calls, code, info};
use crate::{sleep, task};
use alloc::sync::Arc;
use base::{Credentials, Errno};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vfs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable};

/// The size of `struct signalfd_siginfo`.
const SIZE: usize = 128;

struct SignalFile {
    /// The signals that it is for.
    set: AtomicU64,
}

impl SignalFile {
    fn set(&self) -> SignalSet {
        SignalSet::from_bits(self.set.load(Relaxed))
    }
}

impl FileOps for SignalFile {
    fn read(&self, buffer: &mut [u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let task = task::current().ok_or(Errno::EINVAL)?;
        let (places, _) = buffer.as_chunks_mut::<SIZE>();
        let (first, rest) = places.split_first_mut().ok_or(Errno::EINVAL)?;
        let take = || calls::take(&task, self.set());
        let info = match take() {
            Some(info) => info,
            None if flags.contains(OpenFlags::NONBLOCK) => return Err(Errno::EAGAIN),
            None => task.process().signalled.wait_until_interruptible(take, None).map_err(sleep::error)?,
        };
        *first = record(&info);
        let mut count = 1;
        for place in rest {
            let Some(info) = take() else { break };
            *place = record(&info);
            count += 1;
        }
        Ok(count * SIZE)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        let Some(task) = task::current() else { return PollEvents::empty() };
        table.watch(&task.process().signalled);
        let waiting = calls::pending(&task).and(self.set());
        if waiting.is_empty() { PollEvents::empty() } else { PollEvents::READABLE }
    }
}

/// The `struct signalfd_siginfo` for a signal. Which fields mean something depends on where it came from.
fn record(info: &SignalInfo) -> [u8; SIZE] {
    /// A `siginfo_t` field's place and length, and its place in the record.
    type Field = (usize, usize, usize);
    const PROCESS: Field = (16, 4, 12);
    const USER: Field = (20, 4, 16);
    const VALUE: [Field; 2] = [(24, 4, 44), (24, 8, 48)];
    let bytes = info.to_bytes();
    let fields: &[Field] = match info.code {
        code::TIMER => &[(16, 4, 24), (20, 4, 32), VALUE[0], VALUE[1]],
        code::POLL => &[(16, 4, 28), (24, 4, 20)],
        ..0 => &[PROCESS, USER, VALUE[0], VALUE[1]],
        code::USER | code::KERNEL.. => &[PROCESS, USER],
        _ if info.signal == super::Signal::CHLD => &[PROCESS, USER, (24, 4, 40), (32, 8, 56), (40, 8, 64)],
        _ if info.signal == super::Signal::IO => &[(16, 4, 28), (24, 4, 20)],
        _ if info.signal == super::Signal::SYS => &[(24, 4, 84), (16, 8, 88), (28, 4, 96)],
        _ if SignalSet::SYNCHRONOUS.contains(info.signal) => &[(16, 8, 72)],
        _ => &[PROCESS, USER],
    };
    let mut record = [0; SIZE];
    record[0..4].copy_from_slice(&bytes[0..4]);
    record[4..8].copy_from_slice(&bytes[4..8]);
    record[8..12].copy_from_slice(&bytes[8..12]);
    for &(from, length, to) in fields {
        record[to..to + length].copy_from_slice(&bytes[from..from + length]);
    }
    record
}

const _: () = assert!(info::SIZE == SIZE);

/// A new file for the signals of `set`. `flags` may hold `NONBLOCK`.
///
/// Errors: those of [`OpenFile::anonymous`].
pub fn open(set: SignalSet, flags: OpenFlags, credentials: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
    let operations = Arc::new(SignalFile { set: AtomicU64::new(set.without(SignalSet::UNSTOPPABLE).bits()) });
    vfs::anonymous_file("signalfd", operations, OpenFlags::READ_WRITE | flags, credentials)
}

/// Gives such a file another set. `EINVAL` another file.
pub fn change(file: &OpenFile, set: SignalSet) -> Result<(), Errno> {
    let operations = file.operations::<SignalFile>().ok_or(Errno::EINVAL)?;
    operations.set.store(set.without(SignalSet::UNSTOPPABLE).bits(), Relaxed);
    // Somebody may wait for what it is for now.
    if let Some(task) = task::current() {
        task.process().signalled.wake_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Detail, Signal};
    use super::*;
    use base::{Pid, Uid};

    fn word(record: &[u8; SIZE], at: usize) -> u32 {
        u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
    }

    #[test]
    fn each_origin_has_its_fields() {
        let of = |signal, code, detail| record(&SignalInfo { signal, code, detail });
        let sender = Detail::Sender { process: Pid::new(7), user: Uid::new(8) };
        let killed = of(Signal::TERM, code::USER, sender);
        assert_eq!([0, 8, 12, 16].map(|at| word(&killed, at)), [15, 0, 7, 8]);
        let timer = of(Signal::ALRM, code::TIMER, Detail::Timer { id: 3, overrun: 4, value: 5 });
        assert_eq!([12, 16, 24, 32, 44, 48].map(|at| word(&timer, at)), [0, 0, 3, 4, 5, 5]);
        let child =
            Detail::Child { process: Pid::new(7), user: Uid::new(8), status: 9, user_ticks: 10, system_ticks: 11 };
        let child = of(Signal::CHLD, code::CLD_EXITED, child);
        assert_eq!([8, 12, 16, 40, 56, 64].map(|at| word(&child, at)), [1, 7, 8, 9, 10, 11]);
        let fault = of(Signal::SEGV, code::SEGV_MAPERR, Detail::Fault { address: 0x1000 });
        assert_eq!([12, 72].map(|at| word(&fault, at)), [0, 0x1000]);
        let mut given = [0; info::SIZE];
        given[8..12].copy_from_slice(&code::QUEUE.to_le_bytes());
        given[16..24].copy_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
        given[24..28].copy_from_slice(&77_u32.to_le_bytes());
        let queued = record(&SignalInfo::from_bytes(Signal::USR1, &given));
        assert_eq!([12, 16, 44, 48, 24].map(|at| word(&queued, at)), [1, 2, 77, 77, 0]);
    }
}
