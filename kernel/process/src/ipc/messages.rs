//! System V message queues, `msgget(2)` and its relatives: messages with types, taken in their order or by type.

use super::{Budget, GetFlags, Objects, Permission, Share, own_pid, seconds};
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use base::{Capabilities, Credentials, Errno, Gid, Pid, Uid};
use machine::sync::{SpinGuard, SpinLock, rank};
use sched::WaitQueue;

/// `/proc/sys/kernel/msgmax`, `msgmnb` and `msgmni`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageLimits {
    /// The longest message in bytes.
    pub message: i32,
    /// The most bytes of a new queue.
    pub queue: i32,
    /// The most queues.
    pub queues: i32,
}

impl MessageLimits {
    /// Linux's.
    pub const DEFAULT: Self = Self { message: 8192, queue: 16_384, queues: 32_000 };
}

/// What a queue, and a message besides its text, take of the budget.
const QUEUE_BYTES: usize = 256;
const MESSAGE_BYTES: usize = 64;

/// A message: its type, which is positive, and its text.
pub struct Message {
    /// The type.
    pub kind: i64,
    /// The text.
    pub text: Vec<u8>,
    _share: Share,
}

/// Which message is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// The first.
    First,
    /// The first of this type.
    OfType(i64),
    /// The first of any other type (`MSG_EXCEPT`).
    ExceptType(i64),
    /// The first of the lowest type that is not over this.
    UpToType(i64),
    /// The one at this place.
    At(i64),
}

/// What is known of a queue, as `IPC_STAT` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueStatus {
    /// Owners and permissions.
    pub permission: Permission,
    /// When a message was last sent, received, and the queue changed, in seconds since the epoch; 0 never.
    pub times: [u64; 3],
    /// Bytes of all messages.
    pub bytes: u64,
    /// Messages.
    pub count: u64,
    /// The most bytes.
    pub most_bytes: u64,
    /// The processes that last sent and received.
    pub processes: [Pid; 2],
}

/// Sums over all queues, for `MSG_INFO`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MessageSums {
    /// Queues.
    pub queues: usize,
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// All queues. One value for the system; tests can have many.
pub struct MessageQueues {
    table: SpinLock<Table>,
    budget: Arc<Budget>,
}

struct Table {
    queues: Objects<Arc<Queue>>,
    limits: MessageLimits,
}

struct Queue {
    state: SpinLock<State>,
    /// Those who wait for a message, and those who wait for room.
    readers: WaitQueue,
    writers: WaitQueue,
}

struct State {
    status: QueueStatus,
    removed: bool,
    messages: VecDeque<Message>,
    _share: Share,
}

impl Queue {
    /// Locks it for one who may do with it what `wanted` says. `EACCES`; `EIDRM`.
    fn lock(&self, who: &Credentials, wanted: u32) -> Result<SpinGuard<'_, State>, Errno> {
        let state = self.state.lock();
        state.status.permission.check(who, wanted)?;
        if state.removed { Err(Errno::EIDRM) } else { Ok(state) }
    }
}

impl State {
    /// Where the wanted message is.
    fn find(&self, wanted: Wanted) -> Option<usize> {
        let kinds = || self.messages.iter().map(|message| message.kind);
        match wanted {
            Wanted::First => (!self.messages.is_empty()).then_some(0),
            Wanted::OfType(kind) => kinds().position(|found| found == kind),
            Wanted::ExceptType(kind) => kinds().position(|found| found != kind),
            Wanted::UpToType(most) => {
                let lowest = kinds().enumerate().filter(|(_, kind)| *kind <= most).min_by_key(|(_, kind)| *kind);
                lowest.map(|(place, _)| place)
            }
            Wanted::At(place) => usize::try_from(place).ok().filter(|&place| place < self.messages.len()),
        }
    }

    fn has_room(&self, length: u64) -> bool {
        let QueueStatus { bytes, count, most_bytes, .. } = self.status;
        bytes + length <= most_bytes && count < most_bytes
    }
}

impl MessageQueues {
    /// No queues.
    pub fn new(budget: Arc<Budget>) -> Self {
        let table = Table { queues: Objects::new(), limits: MessageLimits::DEFAULT };
        Self { table: SpinLock::new(rank::IPC_TABLE, table), budget }
    }

    /// The limits now.
    pub fn limits(&self) -> MessageLimits {
        self.table.lock().limits
    }

    /// Sets the limits; what is there already stays.
    pub fn set_limits(&self, limits: MessageLimits) {
        self.table.lock().limits = limits;
    }

    /// `msgget(2)`: the number of the queue with this key, made if that is asked for; with key 0 always a new one.
    ///
    /// `ENOENT` there is none; `EEXIST`; `EACCES` the caller may not do with it what the permission bits in `mode` say;
    /// `ENOSPC` too many; `ENOMEM`.
    pub fn get(&self, key: i32, flags: GetFlags, mode: u32, who: &Credentials) -> Result<i32, Errno> {
        // Made here, in case it is needed: not under the lock.
        let share = self.budget.take(QUEUE_BYTES);
        let mut table = self.table.lock();
        if let Some(number) = table.queues.find(key, flags)? {
            let queue = table.queues.get(number)?.clone();
            drop(table);
            return queue.state.lock().status.permission.check(who, mode).map(|()| number);
        }
        if table.queues.count() >= table.limits.queues.max(0) as usize {
            return Err(Errno::ENOSPC);
        }
        let status = QueueStatus {
            permission: Permission::new(key, mode, who),
            times: [0, 0, seconds()],
            bytes: 0,
            count: 0,
            most_bytes: table.limits.queue.max(0) as u64,
            processes: [Pid::new(0); 2],
        };
        let state = State { status, removed: false, messages: VecDeque::new(), _share: share? };
        let state = SpinLock::new(rank::IPC_OBJECT, state);
        let queue = Arc::new(Queue { state, readers: WaitQueue::new(), writers: WaitQueue::new() });
        Ok(table.queues.insert(key, queue))
    }

    fn find(&self, number: i32) -> Result<Arc<Queue>, Errno> {
        self.table.lock().queues.get(number).cloned()
    }

    /// A message, before it is sent. `ENOMEM`.
    pub fn message(&self, kind: i64, text: Vec<u8>) -> Result<Message, Errno> {
        let share = self.budget.take(MESSAGE_BYTES + text.len())?;
        Ok(Message { kind, text, _share: share })
    }

    /// `msgsnd(2)`: appends a message; sleeps until there is room, if `wait` is true.
    ///
    /// `EINVAL` no such queue; `EACCES`; `EAGAIN`; `EIDRM` the queue was removed; `EINTR`.
    pub fn send(&self, number: i32, message: Message, wait: bool, who: &Credentials) -> Result<(), Errno> {
        let queue = self.find(number)?;
        let mut message = Some(message);
        let mut attempt = || {
            let mut state = match queue.lock(who, 0o222) {
                Ok(state) => state,
                Err(errno) => return Some(Err(errno)),
            };
            let length = message.as_ref().map_or(0, |message| message.text.len()) as u64;
            if !state.has_room(length) {
                return None;
            }
            if state.messages.try_reserve(1).is_err() {
                return Some(Err(Errno::ENOMEM));
            }
            state.messages.extend(message.take());
            let status = &mut state.status;
            (status.bytes, status.count) = (status.bytes + length, status.count + 1);
            (status.times[0], status.processes[0]) = (seconds(), own_pid());
            Some(Ok(()))
        };
        let sent = match attempt() {
            Some(result) => result,
            None if !wait => Err(Errno::EAGAIN),
            None => queue.writers.wait_until_interruptible(attempt, None).unwrap_or(Err(Errno::EINTR)),
        };
        if sent.is_ok() {
            queue.readers.wake_all();
        }
        sent
    }

    /// `msgrcv(2)`: takes the wanted message; sleeps until there is one, if `wait` is true. One that is longer than `room`
    /// stays and is `E2BIG`, unless the caller says with `cut` that it takes a part.
    ///
    /// `EINVAL` no such queue; `EACCES`; `ENOMSG`; `EIDRM` the queue was removed; `EINTR`.
    pub fn receive(
        &self,
        number: i32,
        wanted: Wanted,
        (room, cut): (usize, bool),
        wait: bool,
        who: &Credentials,
    ) -> Result<Message, Errno> {
        let queue = self.find(number)?;
        let attempt = || {
            let mut state = match queue.lock(who, 0o444) {
                Ok(state) => state,
                Err(errno) => return Some(Err(errno)),
            };
            let place = state.find(wanted)?;
            if state.messages[place].text.len() > room && !cut {
                return Some(Err(Errno::E2BIG));
            }
            let message = state.messages.remove(place)?;
            let status = &mut state.status;
            (status.bytes, status.count) = (status.bytes - message.text.len() as u64, status.count - 1);
            (status.times[1], status.processes[1]) = (seconds(), own_pid());
            Some(Ok(message))
        };
        let received = match attempt() {
            Some(result) => result,
            None if !wait => Err(Errno::ENOMSG),
            None => queue.readers.wait_until_interruptible(attempt, None).unwrap_or(Err(Errno::EINTR)),
        };
        if received.is_ok() {
            queue.writers.wake_all();
        }
        received
    }

    /// `msgrcv(2)` with `MSG_COPY`: type, text (as much as there is room for) of the message at a place, which stays.
    ///
    /// `EINVAL` no such queue; `EACCES`; `ENOMSG` none is there; `E2BIG`; `ENOMEM`; `EIDRM`.
    pub fn copy(
        &self,
        number: i32,
        place: i64,
        (room, cut): (usize, bool),
        who: &Credentials,
    ) -> Result<(i64, Vec<u8>), Errno> {
        let queue = self.find(number)?;
        let state = queue.lock(who, 0o444)?;
        let message = state.find(Wanted::At(place)).and_then(|place| state.messages.get(place)).ok_or(Errno::ENOMSG)?;
        if message.text.len() > room && !cut {
            return Err(Errno::E2BIG);
        }
        let part = &message.text[..message.text.len().min(room)];
        let mut text = Vec::new();
        text.try_reserve_exact(part.len()).map_err(|_| Errno::ENOMEM)?;
        text.extend_from_slice(part);
        Ok((message.kind, text))
    }

    /// `IPC_STAT`. `EINVAL` no such queue; `EACCES` the caller may not read it, unless `anybody` may; `EIDRM`.
    pub fn status(&self, number: i32, anybody: bool, who: &Credentials) -> Result<QueueStatus, Errno> {
        Ok(self.find(number)?.lock(who, if anybody { 0 } else { 0o444 })?.status.clone())
    }

    /// All queues by number, for /proc/sysvipc/msg.
    pub fn all(&self) -> Vec<(i32, QueueStatus)> {
        let queues: Vec<_> = self.table.lock().queues.iter().map(|(number, queue)| (number, queue.clone())).collect();
        queues.into_iter().map(|(number, queue)| (number, queue.state.lock().status.clone())).collect()
    }

    /// The number of the queue at a place in the order of numbers. `EINVAL` there are not so many.
    pub fn number_at(&self, place: i32) -> Result<i32, Errno> {
        self.table.lock().queues.number_at(place)
    }

    /// Sums over all queues.
    pub fn sums(&self) -> MessageSums {
        let all = self.all();
        let sum = |of: fn(&QueueStatus) -> u64| all.iter().map(|(_, status)| of(status)).sum();
        MessageSums { queues: all.len(), messages: sum(|status| status.count), bytes: sum(|status| status.bytes) }
    }

    /// `IPC_SET`: owner, permission bits and the most bytes. `EINVAL` no such queue, or numbers of nobody; `EPERM` neither
    /// owner nor creator, without CAP_SYS_ADMIN, or more bytes than the limit, without CAP_SYS_RESOURCE.
    pub fn set(
        &self,
        number: i32,
        (uid, gid, mode): (Uid, Gid, u32),
        most_bytes: u64,
        who: &Credentials,
    ) -> Result<(), Errno> {
        let limit = self.limits().queue.max(0) as u64;
        let queue = self.find(number)?;
        let mut state = queue.state.lock();
        state.status.permission.check_owner(who)?;
        if most_bytes > limit && !who.has(Capabilities::SYS_RESOURCE) {
            return Err(Errno::EPERM);
        }
        state.status.permission.set(uid, gid, mode)?;
        state.status.most_bytes = most_bytes;
        state.status.times[2] = seconds();
        drop(state);
        // There may be room now, and who may not use it any more learns so.
        queue.readers.wake_all();
        queue.writers.wake_all();
        Ok(())
    }

    /// `IPC_RMID`: who sleeps gets `EIDRM`. `EINVAL` no such queue; `EPERM` neither owner nor creator, without
    /// CAP_SYS_ADMIN.
    pub fn remove(&self, number: i32, who: &Credentials) -> Result<(), Errno> {
        let mut table = self.table.lock();
        let queue = table.queues.get(number)?.clone();
        let mut state = queue.state.lock();
        state.status.permission.check_owner(who)?;
        state.removed = true;
        let key = core::mem::take(&mut state.status.permission.key);
        let messages = core::mem::take(&mut state.messages);
        drop(state);
        table.queues.forget_key(key);
        let gone = table.queues.remove(number);
        drop(table);
        queue.readers.wake_all();
        queue.writers.wake_all();
        drop((messages, gone));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
