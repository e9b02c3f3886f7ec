//! Who answers for a filter (seccomp_unotify(2)): a file by which another task receives the calls that the filter hands over,
//! and says what becomes of each.
//!
//! A call waits in its listener's list from when it is made until its task goes on. It is received (`NOTIF_RECV`), looked at
//! (`ID_VALID`), given descriptors (`ADDFD`) and answered (`NOTIF_SEND`) by the number that it has there. A call that a signal
//! ends is gone from the list; when the last descriptor is closed all calls fail with `ENOSYS`.
//!
//! Locks: the list's; the calls sleep, each at a queue of its own, and all who receive or poll at the listener's.

use super::{
    facts,
    program::{FACTS_SIZE, Facts},
};
use crate::{limits::Resource, sleep, task, task::Task};
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno};
use linux_raw_sys::ptrace as number;
use machine::{
    sync::{SpinLock, rank},
    user_memory,
};
use sched::WaitQueue;
use vfs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable};

/// Bytes of `struct seccomp_notif`, `struct seccomp_notif_resp` and the first `struct seccomp_notif_addfd`.
pub(super) const NOTIFICATION_SIZE: usize = 16 + FACTS_SIZE;
pub(super) const ANSWER_SIZE: usize = 24;
const ADDITION_SIZE: usize = 24;
/// No such structure may be as long as this.
const TOO_LONG: usize = 4096;

/// `ioctl(2)`s of such a file: `SECCOMP_IOCTL_NOTIF_RECV`, `_SEND`, `_ID_VALID`, and the latter as it was once defined.
pub(crate) const RECEIVE: u32 = request(3, 0, NOTIFICATION_SIZE);
const SEND: u32 = request(3, 1, ANSWER_SIZE);
const IS_VALID: u32 = request(1, 2, 8);
const IS_VALID_ONCE: u32 = request(2, 2, 8);
/// `SECCOMP_IOCTL_NOTIF_ADDFD`, of any length and direction.
const ADD: u32 = request(0, 3, 0);
const LENGTH_SHIFT: u32 = 16;
const LENGTH_MASK: u32 = 0x3fff;
const ANY_LENGTH: u32 = !(LENGTH_MASK << LENGTH_SHIFT | 3 << 30);

const fn request(direction: u32, number: u8, length: usize) -> u32 {
    direction << 30 | (length as u32) << LENGTH_SHIFT | (number::SECCOMP_IOC_MAGIC as u32) << 8 | number as u32
}

/// How far a call has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Nobody has received it.
    New,
    /// Somebody has.
    Received,
    /// The answer is on its way: nobody else may give one.
    Answering,
    /// Made as it is.
    Made,
    /// Has this result.
    Result(i64),
}

impl Stage {
    fn is_answered(self) -> bool {
        matches!(self, Self::Made | Self::Result(_))
    }
}

/// A call that waits for its answer.
struct Waiting {
    number: u64,
    task: Arc<Task>,
    facts: Facts,
    stage: Stage,
    /// Its task sleeps here.
    changed: Arc<WaitQueue>,
}

struct State {
    /// Its file is open.
    is_open: bool,
    /// There are tasks with its filter.
    has_users: bool,
    next: u64,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
}

/// Who answers for a filter.
pub(crate) struct Listener {
    state: SpinLock<State>,
    /// Calls come and change, the last user goes.
    news: WaitQueue,
    /// A call that was received is disturbed by nothing but the end of its task.
    waits_killable: bool,
}

impl Listener {
    /// One that has no file yet.
    pub(super) fn new(waits_killable: bool) -> Self {
        let mut start = [0; 8];
        machine::random::fill(&mut start);
        let state = State { is_open: true, has_users: true, next: u64::from_le_bytes(start), waiting: Vec::new() };
        Self { state: SpinLock::new(rank::FILE_STATE, state), news: WaitQueue::new(), waits_killable }
    }

    /// No task has its filter any longer.
    pub(super) fn forget_users(&self) {
        self.state.lock().has_users = false;
        self.news.wake_all();
    }

    /// Waits until somebody answers for a call of `task`, the current one: its result, or none if it is made as it is.
    /// `ENOSYS` nobody listens; `EINTR` a signal came before; `ENOMEM`.
    pub(super) fn ask(&self, task: &Arc<Task>, facts: Facts) -> Result<Option<i64>, Errno> {
        let changed = Arc::new(WaitQueue::new());
        let number = {
            let mut state = self.state.lock();
            if !state.is_open {
                return Err(Errno::ENOSYS);
            }
            let number = state.next;
            state.next = number.wrapping_add(1);
            state.waiting.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            let (task, changed) = (task.clone(), changed.clone());
            state.waiting.push(Waiting { number, task, facts, stage: Stage::New, changed });
            number
        };
        self.news.wake_all();
        self.wait(task, number, &changed);
        let mut state = self.state.lock();
        let place = state.waiting.iter().position(|waiting| waiting.number == number);
        let waited = place.map(|place| state.waiting.remove(place));
        drop(state);
        self.news.wake_all();
        match waited.map(|waited| waited.stage) {
            Some(Stage::Made) => Ok(None),
            Some(Stage::Result(result)) => Ok(Some(result)),
            _ => Err(Errno::EINTR),
        }
    }

    /// Sleeps until there is an answer or a signal that disturbs.
    fn wait(&self, task: &Task, number: u64, changed: &WaitQueue) {
        loop {
            let is_firm = self.holds(number);
            let is_done = || {
                let stage = self.stage(number)?;
                if is_firm && stage == Stage::New { Some(false) } else { stage.is_answered().then_some(true) }
            };
            let result = if is_firm {
                sleep::until_killed_or(task, changed, is_done, None)
            } else {
                changed.wait_until_interruptible(is_done, None).map_err(sleep::error)
            };
            match result {
                // It was given back: signals count again.
                Ok(false) => {}
                Err(_) if !is_firm && self.holds(number) && !task.is_to_end() => {}
                _ => return,
            }
        }
    }

    fn stage(&self, number: u64) -> Option<Stage> {
        self.state.lock().find(number).ok().map(|waiting| waiting.stage)
    }

    /// Whether a call was received, and so is disturbed by nothing but the end of its task.
    fn holds(&self, number: u64) -> bool {
        let is_received = |stage| matches!(stage, Stage::Received | Stage::Answering);
        self.waits_killable && self.stage(number).is_some_and(is_received)
    }

    /// `NOTIF_RECV`: waits for a call and says which it is. `EFAULT`; `EINVAL` something is there where it is to go; `EINTR`;
    /// `ENOENT` nobody has the filter any longer.
    fn receive(&self, to: u64) -> Result<i64, Errno> {
        let mut bytes = [0; NOTIFICATION_SIZE];
        user_memory::read(to, &mut bytes)?;
        if bytes.iter().any(|&byte| byte != 0) {
            return Err(Errno::EINVAL);
        }
        let take = || {
            let mut state = self.state.lock();
            let has_users = state.has_users;
            let new = state.waiting.iter_mut().find(|waiting| waiting.stage == Stage::New);
            match new {
                Some(new) => {
                    new.stage = Stage::Received;
                    Some(Ok((new.number, new.task.tid(), new.facts)))
                }
                None => (!has_users).then_some(Err(Errno::ENOENT)),
            }
        };
        let (number, tid, facts) = self.news.wait_until_interruptible(take, None).map_err(sleep::error)??;
        self.news.wake_all();
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[8..12].copy_from_slice(&tid.raw().to_le_bytes());
        bytes[16..].copy_from_slice(&facts::to_bytes(&facts));
        user_memory::write(to, &bytes).inspect_err(|_| self.give_back(number))?;
        Ok(0)
    }

    /// Nobody has received this call.
    fn give_back(&self, number: u64) {
        self.turn(number, Stage::Received, Stage::New);
        self.news.wake_all();
    }

    /// Has a call go from one stage to another, if it is there and at the first.
    fn turn(&self, number: u64, from: Stage, to: Stage) {
        let mut state = self.state.lock();
        let changed = state.find(number).ok().filter(|waiting| waiting.stage == from).map(|waiting| {
            waiting.stage = to;
            waiting.changed.clone()
        });
        drop(state);
        if let Some(changed) = changed {
            changed.wake_all();
        }
    }

    /// `NOTIF_SEND`. `EFAULT`; `EINVAL` a flag that there is not, or a result for a call that is made; `ENOENT` no such call
    /// waits; `EINPROGRESS` it was not received, or is answered.
    fn send(&self, from: u64) -> Result<i64, Errno> {
        let mut bytes = [0; ANSWER_SIZE];
        user_memory::read(from, &mut bytes)?;
        let number = word(&bytes, 0);
        let (value, error, flags) = (word(&bytes, 8) as i64, half(&bytes, 16) as i32, half(&bytes, 20));
        let is_made = flags == number::SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        if flags != 0 && !is_made || is_made && (error != 0 || value != 0) {
            return Err(Errno::EINVAL);
        }
        let result = if error != 0 { error.into() } else { value };
        let answer = if is_made { Stage::Made } else { Stage::Result(result) };
        self.state.lock().received(number)?.stage = Stage::Answering;
        self.turn(number, Stage::Answering, answer);
        Ok(0)
    }

    /// `ID_VALID`. `EFAULT`; `ENOENT` no such call was received and waits for its answer.
    fn is_valid(&self, from: u64) -> Result<i64, Errno> {
        let mut bytes = [0; 8];
        user_memory::read(from, &mut bytes)?;
        let stage = self.stage(u64::from_le_bytes(bytes));
        if stage == Some(Stage::Received) { Ok(0) } else { Err(Errno::ENOENT) }
    }

    /// `ADDFD`: opens a file of the caller's for the call's task, too, and answers with its number if asked to. The number.
    ///
    /// `EINVAL` the structure is too short or too long, flags that there are not, or a number without the flag for it; `E2BIG`
    /// fields that there are not; `EFAULT`; `EBADF` not open, or a number beyond the task's limit; `ENOENT`, `EINPROGRESS` as
    /// for an answer; `EMFILE`, `ENOMEM`, `EBUSY`.
    fn add(&self, from: u64, length: usize) -> Result<i64, Errno> {
        if !(ADDITION_SIZE..TOO_LONG).contains(&length) {
            return Err(Errno::EINVAL);
        }
        let mut bytes = memory::heap::try_zeroed(length)?;
        user_memory::read(from, &mut bytes)?;
        if bytes[ADDITION_SIZE..].iter().any(|&byte| byte != 0) {
            return Err(Errno::E2BIG);
        }
        let (number, flags, source) = (word(&bytes, 0), half(&bytes, 8), half(&bytes, 12));
        let (wanted, how) = (half(&bytes, 16), half(&bytes, 20));
        let is_placed = flags & number::SECCOMP_ADDFD_FLAG_SETFD != 0;
        let answers = flags & number::SECCOMP_ADDFD_FLAG_SEND != 0;
        let known = number::SECCOMP_ADDFD_FLAG_SETFD | number::SECCOMP_ADDFD_FLAG_SEND;
        let close_on_exec = how == OpenFlags::CLOSE_ON_EXEC.bits();
        if how != 0 && !close_on_exec || flags & !known != 0 || wanted != 0 && !is_placed {
            return Err(Errno::EINVAL);
        }
        let file = task::current().ok_or(Errno::EBADF)?.file(source as i32)?;
        if file.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        let task = {
            let mut state = self.state.lock();
            let waiting = state.received(number)?;
            if answers {
                waiting.stage = Stage::Answering;
            }
            waiting.task.clone()
        };
        let limit = task.process().limit(Resource::Files);
        let added = task.files().and_then(|files| {
            if is_placed {
                files.place(file, wanted as i32, close_on_exec, limit)
            } else {
                files.insert(file, close_on_exec, limit)
            }
        });
        let added = added.map(|descriptor| descriptor.index() as i64);
        if answers {
            self.turn(number, Stage::Answering, added.map_or(Stage::Received, Stage::Result));
        }
        added
    }
}

impl State {
    fn find(&mut self, number: u64) -> Result<&mut Waiting, Errno> {
        self.waiting.iter_mut().find(|waiting| waiting.number == number).ok_or(Errno::ENOENT)
    }

    /// A call that waits for its answer. `ENOENT` no such call; `EINPROGRESS` it was not received, or is answered.
    fn received(&mut self, number: u64) -> Result<&mut Waiting, Errno> {
        let waiting = self.find(number)?;
        if waiting.stage == Stage::Received { Ok(waiting) } else { Err(Errno::EINPROGRESS) }
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from(half(bytes, at)) | u64::from(half(bytes, at + 4)) << 32
}

fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The file of a listener.
struct ListenerFile(Arc<Listener>);

impl FileOps for ListenerFile {
    fn ioctl(&self, request: u32, argument: u64) -> Result<i64, Errno> {
        match request {
            RECEIVE => self.0.receive(argument),
            SEND => self.0.send(argument),
            IS_VALID | IS_VALID_ONCE => self.0.is_valid(argument),
            _ if request & ANY_LENGTH == ADD => self.0.add(argument, (request >> LENGTH_SHIFT & LENGTH_MASK) as usize),
            _ => Err(Errno::EINVAL),
        }
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.0.news);
        let state = self.0.state.lock();
        let any = |stage| state.waiting.iter().any(|waiting| waiting.stage == stage);
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, any(Stage::New));
        events.set(PollEvents::WRITABLE, any(Stage::Received));
        events.set(PollEvents::HANG_UP, !state.has_users);
        events
    }
}

impl Drop for ListenerFile {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_open = false;
        let unanswered = state.waiting.iter_mut().filter(|waiting| !waiting.stage.is_answered());
        let told: Vec<Arc<WaitQueue>> = unanswered
            .map(|waiting| {
                waiting.stage = Stage::Result(-i64::from(Errno::ENOSYS as i32));
                waiting.changed.clone()
            })
            .collect();
        drop(state);
        told.iter().for_each(|changed| changed.wake_all());
    }
}

/// A new file for a listener that has none. Errors: those of [`OpenFile::anonymous`].
pub(super) fn open(listener: &Arc<Listener>, credentials: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
    let operations = Arc::new(ListenerFile(listener.clone()));
    vfs::anonymous_file("seccomp notify", operations, OpenFlags::READ_WRITE, credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_numbers_of_linux() {
        assert_eq!([RECEIVE, SEND, IS_VALID], [0xc050_2100, 0xc018_2101, 0x4008_2102]);
        assert_eq!(0x4018_2103 & ANY_LENGTH, ADD);
        assert_eq!(0x4018_2103 >> LENGTH_SHIFT & LENGTH_MASK, 24);
    }
}
