//! POSIX message queues, `mq_overview(7)`: queues with names, from which the message of the highest priority is taken
//! first. `queue` has one queue and what an open one can do.

mod account;
mod queue;
#[cfg(test)]
mod tests;

pub use queue::{Notice, Queue, QueueAttributes, queue_of};

use crate::task::Task;
use account::Accounts;
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use base::{Capabilities, Credentials, Errno};
use machine::sync::{SpinLock, rank};
use vfs::{DeviceNumber, FileKind, Inode, OpenFile, OpenFlags, Permissions, Timestamp};

/// Priorities are lower than this (`MQ_PRIO_MAX`).
pub const PRIORITIES: u32 = 32_768;
/// The bits of the access mode.
const ACCESS: OpenFlags = OpenFlags::WRITE_ONLY.union(OpenFlags::READ_WRITE);
/// What even the privileged may not exceed: messages of a queue, and bytes of a message.
const HARD_MESSAGES: i64 = 65_536;
const HARD_BYTES: i64 = 16 << 20;

/// The numbers of /proc/sys/fs/mqueue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueLimits {
    /// The most queues.
    pub queues: i32,
    /// The most messages of a queue, and what one has that is made without attributes.
    pub messages: i32,
    /// See above.
    pub default_messages: i32,
    /// The longest message of a queue in bytes, and what one has that is made without attributes.
    pub bytes: i32,
    /// See above.
    pub default_bytes: i32,
}

impl QueueLimits {
    /// Linux's.
    pub const DEFAULT: Self =
        Self { queues: 256, messages: 10, default_messages: 10, bytes: 8192, default_bytes: 8192 };
}

/// All queues. One value for the system; tests can have many.
pub struct PosixQueues {
    names: SpinLock<BTreeMap<Vec<u8>, Arc<Queue>>>,
    limits: SpinLock<QueueLimits>,
    accounts: Arc<Accounts>,
    /// When a queue last got or lost its name.
    changed: SpinLock<Timestamp>,
    device: DeviceNumber,
}

/// What `mq_open(2)` asks for.
pub struct OpenQueue<'a> {
    /// The name without the slash in front.
    pub name: &'a [u8],
    /// Access mode, `O_CREAT`, `O_EXCL`, `O_NONBLOCK`.
    pub flags: OpenFlags,
    /// The permissions of a new queue, without the bits of the umask.
    pub permissions: Permissions,
    /// The most messages and their most bytes, for a new queue.
    pub attributes: Option<(i64, i64)>,
    /// `RLIMIT_MSGQUEUE`.
    pub limit: u64,
}

impl PosixQueues {
    /// No queues.
    pub fn new() -> Self {
        Self {
            names: SpinLock::new(rank::IPC_TABLE, BTreeMap::new()),
            limits: SpinLock::new(rank::IPC_OBJECT, QueueLimits::DEFAULT),
            accounts: Accounts::new(),
            changed: SpinLock::new(rank::IPC_OBJECT, Timestamp::now()),
            device: vfs::next_device(),
        }
    }

    /// The device number of the file system that the queues lie in.
    pub fn device(&self) -> DeviceNumber {
        self.device
    }

    /// When a queue last got or lost its name.
    pub fn changed(&self) -> Timestamp {
        *self.changed.lock()
    }

    /// The queues that have names, with their names, in order of their inode numbers.
    pub fn list(&self) -> Vec<(Vec<u8>, Arc<Queue>)> {
        let names = self.names.lock();
        let mut list: Vec<_> = names.iter().map(|(name, queue)| (name.clone(), queue.clone())).collect();
        drop(names);
        list.sort_by_key(|(_, queue)| queue.number());
        list
    }

    /// The queue of this name. `ENOENT`.
    pub fn find(&self, name: &[u8]) -> Result<Arc<Queue>, Errno> {
        self.names.lock().get(name).cloned().ok_or(Errno::ENOENT)
    }

    /// Makes a queue with the usual attributes, as a new file in the file system of queues. `EEXIST`; else as for
    /// [`PosixQueues::open`].
    pub fn create(
        &self,
        name: &[u8],
        permissions: Permissions,
        who: &Credentials,
        limit: u64,
    ) -> Result<Arc<Queue>, Errno> {
        let flags = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        self.find_or_make(&OpenQueue { name, flags, permissions, attributes: None, limit }, who)
    }

    /// The limits now.
    pub fn limits(&self) -> QueueLimits {
        *self.limits.lock()
    }

    /// Sets the limits; what is there already stays.
    pub fn set_limits(&self, limits: QueueLimits) {
        *self.limits.lock() = limits;
    }

    /// `mq_open(2)`.
    ///
    /// `EACCES` no such name can be, or the queue may not be opened so; `ENAMETOOLONG`; `ENOENT`; `EEXIST`; `EINVAL` an
    /// access mode that there is not, or attributes out of range; `ENOSPC` too many queues; `EMFILE` more than the user may
    /// have; `ENFILE`.
    pub fn open(&self, wish: &OpenQueue<'_>, who: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
        let queue = self.find_or_make(wish, who)?;
        let flags = wish.flags & (ACCESS | OpenFlags::NONBLOCK);
        let file = queue.opened();
        OpenFile::anonymous(queue, file, flags, who.clone())
    }

    fn find_or_make(&self, wish: &OpenQueue<'_>, who: &Credentials) -> Result<Arc<Queue>, Errno> {
        check_name(wish.name)?;
        let flags = wish.flags;
        let mut names = self.names.lock();
        if let Some(queue) = names.get(wish.name).cloned() {
            drop(names);
            if flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE) {
                return Err(Errno::EEXIST);
            }
            let wanted = wanted(flags)?;
            vfs::check_permission(queue.ownership(), FileKind::Regular, who, wanted)?;
            return Ok(queue);
        }
        if !flags.contains(OpenFlags::CREATE) {
            return Err(Errno::ENOENT);
        }
        wanted(flags)?;
        let limits = self.limits();
        let privileged = who.has(Capabilities::SYS_RESOURCE);
        let (messages, bytes) = attributes(&limits, wish.attributes, privileged)?;
        let most_queues = if privileged { u64::MAX } else { limits.queues.max(0) as u64 };
        let share = self.accounts.take(who.uid, cost(messages, bytes), most_queues, wish.limit)?;
        let queue = Queue::new(wish.name, (messages, bytes), (wish.permissions, self.device), who, share);
        *self.changed.lock() = Timestamp::now();
        names.insert(wish.name.to_vec(), queue.clone());
        Ok(queue)
    }

    /// Takes the name away from the queue with this inode number, whoever asks. `ENOENT` it has another name, or none.
    pub fn remove(&self, name: &[u8], number: u64) -> Result<(), Errno> {
        let mut names = self.names.lock();
        if names.get(name).is_none_or(|queue| queue.number() != number) {
            return Err(Errno::ENOENT);
        }
        let gone = names.remove(name);
        *self.changed.lock() = Timestamp::now();
        drop(names);
        drop(gone);
        Ok(())
    }

    /// `mq_unlink(2)`: takes the name away; the queue goes with its last descriptor. `ENOENT`; `EACCES` no such name can
    /// be; `ENAMETOOLONG`; `EPERM` not the owner, without CAP_FOWNER.
    pub fn unlink(&self, name: &[u8], who: &Credentials) -> Result<(), Errno> {
        check_name(name)?;
        let mut names = self.names.lock();
        let queue = names.get(name).ok_or(Errno::ENOENT)?;
        // The directory is sticky and root's.
        if ![queue.ownership().uid, base::Uid::ROOT].contains(&who.fsuid) && !who.has(Capabilities::FOWNER) {
            return Err(Errno::EPERM);
        }
        let gone = names.remove(name);
        *self.changed.lock() = Timestamp::now();
        drop(names);
        drop(gone);
        Ok(())
    }
}

impl Default for PosixQueues {
    fn default() -> Self {
        Self::new()
    }
}

/// What a name must not be: `ENOENT` empty, `ENAMETOOLONG`, `EACCES` one that leads elsewhere.
fn check_name(name: &[u8]) -> Result<(), Errno> {
    match name {
        b"" => Err(Errno::ENOENT),
        b"." | b".." => Err(Errno::EACCES),
        name if name.contains(&b'/') => Err(Errno::EACCES),
        name if name.len() > vfs::LONGEST_NAME => Err(Errno::ENAMETOOLONG),
        _ => Ok(()),
    }
}

/// The permissions that an access mode needs. `EINVAL` there is no such mode.
fn wanted(flags: OpenFlags) -> Result<u16, Errno> {
    match (flags & ACCESS).bits() {
        0 => Ok(vfs::READ),
        1 => Ok(vfs::WRITE),
        2 => Ok(vfs::READ | vfs::WRITE),
        _ => Err(Errno::EINVAL),
    }
}

/// The most messages and their most bytes of a new queue. `EINVAL` out of range.
fn attributes(limits: &QueueLimits, wish: Option<(i64, i64)>, privileged: bool) -> Result<(u64, u64), Errno> {
    let most = match privileged {
        true => (HARD_MESSAGES, HARD_BYTES),
        false => (limits.messages.into(), limits.bytes.into()),
    };
    let (messages, bytes) = wish.unwrap_or((
        limits.default_messages.min(limits.messages).into(),
        limits.default_bytes.min(limits.bytes).into(),
    ));
    let fits = (1..=most.0).contains(&messages) && (1..=most.1).contains(&bytes);
    if fits { Ok((messages as u64, bytes as u64)) } else { Err(Errno::EINVAL) }
}

/// What a queue costs its user, as `getrlimit(2)` says of `RLIMIT_MSGQUEUE`.
fn cost(messages: u64, bytes: u64) -> u64 {
    const MESSAGE: u64 = 48;
    const PRIORITY: u64 = 48;
    messages * (MESSAGE + bytes) + messages.min(PRIORITIES.into()) * PRIORITY
}

impl Task {
    /// `RLIMIT_MSGQUEUE` of the task's process.
    pub fn message_queue_limit(&self) -> u64 {
        self.process().limit(crate::Resource::MessageQueue)
    }
}
