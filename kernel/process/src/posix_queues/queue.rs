//! One queue: its messages, who waits, who is told of the first message, and the queue as an open file.

use super::account::Share;
use crate::{
    process::Process,
    signals::{Detail, Signal, SignalInfo, code, info, send},
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    format,
    sync::{Arc, Weak},
    vec::Vec,
};
use base::{Credentials, Errno, Pid, Uid};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};
use sched::{WaitError, WaitQueue};
use vfs::{
    DeviceNumber, FileKind, FileOps, Inode, Metadata, MetadataChange, OpenFile, OpenFlags, OpenRequest, Ownership,
    Permissions, PollEvents, PollTable, Timestamp,
};

/// Numbers of queues and open files; 1 is the directory that they lie in.
static NUMBERS: AtomicU64 = AtomicU64::new(2);
/// Bytes of the text that reading a queue gives, as `stat` shows them.
const TEXT_SIZE: u64 = 80;

/// A queue. It lives as long as it has a name or is open.
pub struct Queue {
    number: u64,
    device: DeviceNumber,
    name: Vec<u8>,
    most_messages: u64,
    most_bytes: u64,
    state: SpinLock<State>,
    readers: WaitQueue,
    writers: WaitQueue,
    _share: Share,
}

struct State {
    owner: Ownership,
    created: Timestamp,
    /// When the last message came or was taken.
    used: Timestamp,
    /// By priority, each in the order in which they came.
    messages: BTreeMap<u32, VecDeque<Vec<u8>>>,
    count: u64,
    bytes: u64,
    /// Tasks that sleep until there is a message.
    waiting: usize,
    notice: Option<Registration>,
}

/// Who is told when a message comes to the empty queue, once.
struct Registration {
    process: Weak<Process>,
    pid: Pid,
    /// The open file through which it was asked for.
    file: u64,
    notice: Notice,
}

/// How a process wants to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// Not at all: it only keeps others from being told.
    Nothing,
    /// By a signal (none for the number 0) with a value.
    Signal(Option<Signal>, u64),
}

/// `struct mq_attr` without the flags, which are the open file's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueAttributes {
    /// The most messages.
    pub most_messages: u64,
    /// The longest in bytes.
    pub most_bytes: u64,
    /// Messages now.
    pub count: u64,
}

impl Queue {
    pub(super) fn new(
        name: &[u8],
        (most_messages, most_bytes): (u64, u64),
        (permissions, device): (Permissions, DeviceNumber),
        who: &Credentials,
        share: Share,
    ) -> Arc<Self> {
        let now = Timestamp::now();
        let state = State {
            owner: Ownership { permissions, uid: who.fsuid, gid: who.fsgid },
            created: now,
            used: now,
            messages: BTreeMap::new(),
            count: 0,
            bytes: 0,
            waiting: 0,
            notice: None,
        };
        Arc::new(Self {
            number: NUMBERS.fetch_add(1, Relaxed),
            device,
            name: name.to_vec(),
            most_messages,
            most_bytes,
            state: SpinLock::new(rank::IPC_OBJECT, state),
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
            _share: share,
        })
    }

    /// What an open file of it can do.
    pub(super) fn opened(self: &Arc<Self>) -> Arc<QueueFile> {
        Arc::new(QueueFile { queue: self.clone(), number: NUMBERS.fetch_add(1, Relaxed) })
    }

    /// What was said when it was made, and how many messages there are.
    pub fn attributes(&self) -> QueueAttributes {
        let (most_messages, most_bytes) = (self.most_messages, self.most_bytes);
        QueueAttributes { most_messages, most_bytes, count: self.state.lock().count }
    }

    /// `mq_timedsend(2)` for `sender`: adds a message, which is not too long; sleeps until there is room, unless `wait` is
    /// false, but no longer than until `deadline` (nanoseconds since boot).
    ///
    /// `EAGAIN` it would sleep and must not; `ETIMEDOUT`; `EINTR`.
    pub fn send(
        &self,
        text: Vec<u8>,
        priority: u32,
        wait: bool,
        deadline: Option<u64>,
        sender: (Pid, Uid),
    ) -> Result<(), Errno> {
        let mut text = Some(text);
        let mut attempt = || {
            let mut state = self.state.lock();
            if state.count >= self.most_messages {
                return None;
            }
            let length = text.as_ref().map_or(0, |text| text.len()) as u64;
            state.messages.entry(priority).or_default().extend(text.take());
            state.used = Timestamp::now();
            let first = state.count == 0 && state.waiting == 0;
            (state.count, state.bytes) = (state.count + 1, state.bytes + length);
            Some(if first { state.notice.take() } else { None })
        };
        let told = match attempt() {
            Some(told) => told,
            None if !wait => return Err(Errno::EAGAIN),
            None => self.writers.wait_until_interruptible(attempt, deadline).map_err(ended)?,
        };
        self.readers.wake_one();
        if let Some(registration) = told {
            registration.tell(sender);
        }
        Ok(())
    }

    /// `mq_timedreceive(2)`: takes the oldest message of the highest priority, and its priority; sleeps until there is
    /// one. Errors as [`send`](Self::send).
    pub fn receive(&self, wait: bool, deadline: Option<u64>) -> Result<(Vec<u8>, u32), Errno> {
        let received = match self.take() {
            Some(message) => message,
            None if !wait => return Err(Errno::EAGAIN),
            None => {
                self.state.lock().waiting += 1;
                let received = self.readers.wait_until_interruptible(|| self.take(), deadline);
                self.state.lock().waiting -= 1;
                received.map_err(ended)?
            }
        };
        self.writers.wake_one();
        Ok(received)
    }

    fn take(&self) -> Option<(Vec<u8>, u32)> {
        let mut state = self.state.lock();
        let mut highest = state.messages.last_entry()?;
        let priority = *highest.key();
        let text = highest.get_mut().pop_front();
        if highest.get().is_empty() {
            highest.remove();
        }
        let text = text?;
        state.used = Timestamp::now();
        (state.count, state.bytes) = (state.count - 1, state.bytes - text.len() as u64);
        Some((text, priority))
    }

    /// `mq_notify(2)`: has `process` told of the next message that comes to the empty queue, or no longer. `EBUSY` another
    /// one, or the same, is told already.
    pub fn set_notice(&self, file: &OpenFile, process: &Arc<Process>, notice: Option<Notice>) -> Result<(), Errno> {
        let file = file.operations::<QueueFile>().ok_or(Errno::EBADF)?.number;
        let mut state = self.state.lock();
        let living = |it: &Registration| it.process.upgrade().is_some_and(|process| !process.is_zombie());
        let owner = state.notice.as_ref().filter(|it| living(it)).map(|it| it.pid);
        let old = match notice {
            Some(_) if owner.is_some() => return Err(Errno::EBUSY),
            Some(notice) => {
                let process = Arc::downgrade(process);
                let pid = process.upgrade().map_or(Pid::new(0), |process| process.pid());
                state.notice.replace(Registration { process, pid, file, notice })
            }
            None if owner == Some(process.pid()) => state.notice.take(),
            None => None,
        };
        drop(state);
        drop(old);
        Ok(())
    }

    /// How many tasks sleep until there is a message.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// What reading the queue as a file gives.
    pub(super) fn text(&self) -> Vec<u8> {
        let state = self.state.lock();
        let (kind, signal, pid) = match &state.notice {
            None => (0, 0, 0),
            Some(Registration { notice: Notice::Nothing, pid, .. }) => (1, 0, pid.raw()),
            Some(Registration { notice: Notice::Signal(signal, _), pid, .. }) => {
                (0, signal.map_or(0, |signal| signal.number().into()), pid.raw())
            }
        };
        let bytes = state.bytes;
        format!("QSIZE:{bytes:<10} NOTIFY:{kind:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n").into_bytes()
    }
}

impl Registration {
    fn tell(self, (pid, uid): (Pid, Uid)) {
        let Notice::Signal(Some(signal), value) = self.notice else { return };
        let Some(process) = self.process.upgrade() else { return };
        let mut rest = Box::new([0; info::SIZE - 16]);
        rest[..4].copy_from_slice(&pid.raw().to_le_bytes());
        rest[4..8].copy_from_slice(&uid.raw().to_le_bytes());
        rest[8..16].copy_from_slice(&value.to_le_bytes());
        let facts = SignalInfo { signal, code: code::MESSAGE_QUEUE, detail: Detail::Raw(rest) };
        // A process with too many signals is not told, as on Linux.
        let _ = send::to_process(&process, facts);
    }
}

/// The errno of a wait that ended without what it waited for.
fn ended(error: WaitError) -> Errno {
    match error {
        WaitError::Interrupted => Errno::EINTR,
        WaitError::TimedOut => Errno::ETIMEDOUT,
    }
}

/// An open queue.
pub(super) struct QueueFile {
    queue: Arc<Queue>,
    number: u64,
}

/// The queue that is open as `file`, if one is.
pub fn queue_of(file: &OpenFile) -> Option<&Arc<Queue>> {
    file.operations::<QueueFile>().map(|file| &file.queue)
}

impl FileOps for QueueFile {
    fn read(&self, buffer: &mut [u8], position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        let text = self.queue.text();
        let rest = usize::try_from(*position).ok().and_then(|start| text.get(start..)).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        *position += count as u64;
        Ok(count)
    }

    fn size(&self) -> u64 {
        TEXT_SIZE
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.queue.readers);
        table.watch(&self.queue.writers);
        let count = self.queue.state.lock().count;
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, count > 0);
        events.set(PollEvents::WRITABLE, count < self.queue.most_messages);
        events
    }

    fn can_poll(&self) -> bool {
        true
    }
}

impl Drop for QueueFile {
    fn drop(&mut self) {
        let gone = self.queue.state.lock().notice.take_if(|it| it.file == self.number);
        drop(gone);
    }
}

impl Inode for Queue {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }

    fn number(&self) -> u64 {
        self.number
    }

    fn metadata(&self) -> Metadata {
        let state = self.state.lock();
        let Ownership { permissions, uid, gid } = state.owner;
        Metadata {
            device: self.device,
            inode: self.number,
            kind: FileKind::Regular,
            permissions,
            links: 1,
            uid,
            gid,
            represents: DeviceNumber::default(),
            size: TEXT_SIZE,
            blocks: 0,
            block_size: 4096,
            accessed: state.used,
            modified: state.used,
            changed: state.used,
            created: state.created,
        }
    }

    fn open(self: Arc<Self>, _request: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(self.opened())
    }

    fn truncate(&self, _size: u64) -> Result<bool, Errno> {
        // Shells open with O_TRUNC what they write to.
        Ok(false)
    }

    fn change_metadata(&self, change: &MetadataChange) -> Result<(), Errno> {
        let owner = &mut self.state.lock().owner;
        owner.permissions = change.permissions.unwrap_or(owner.permissions);
        owner.uid = change.uid.unwrap_or(owner.uid);
        owner.gid = change.gid.unwrap_or(owner.gid);
        Ok(())
    }

    fn label(&self) -> Option<Vec<u8>> {
        Some([b"/", &self.name[..]].concat())
    }
}
