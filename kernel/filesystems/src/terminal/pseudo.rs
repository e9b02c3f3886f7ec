//! Pseudo-terminals, `pty(7)`: opening `ptmx` makes a pair, whose terminal appears as a number in `/dev/pts`.
//!
//! What the master writes is typed on the terminal; what is written to the terminal the master reads. When the master is
//! closed, the terminal's line is cut and its number is free again.

use super::{
    devpts::{Instance, PtsNode},
    file::{TtyFile, common},
    termios::{Termios, control},
    tty::{Line, Status, Tty},
};
use alloc::sync::{Arc, Weak};
use base::{
    Credentials, Errno, Gid, Uid,
    charge::{Charge, Price, Refused, Resource, Severity},
};
use core::{
    any::Any,
    sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release},
};
use linux_raw_sys::ioctl as request;
use machine::{
    sync::{SpinLock, rank},
    user_memory,
};
use process::{
    POPULATION,
    signals::Signal,
    terminal::{Terminal as _, signal_foreground},
};
use sched::WaitQueue;
use vfs::{
    DeviceDriver, DeviceNumber, FileOps, Inode, OpenFlags, OpenRequest, Permissions, PollEvents, PollTable, Ring,
    Timestamp,
};

/// Major number of the terminals in `/dev/pts`.
pub const PTS_MAJOR: u32 = 136;
/// What a terminal may have written and the master not read.
const CAPACITY: usize = 16 * 1024;

/// What a pair costs.
const PRICE: Price = &[(Resource::Terminals, 1)];

/// The line between a terminal and its master.
struct Cable {
    state: SpinLock<Carried>,
    /// The master waits here for bytes.
    arrived: WaitQueue,
}

struct Carried {
    bytes: Ring,
    /// What happened since the master read last, if it wants to know (`TIOCPKT`).
    status: Option<Status>,
}

impl Cable {
    fn new() -> Arc<Self> {
        let state = Carried { bytes: Ring::new(), status: None };
        Arc::new(Self { state: SpinLock::new(rank::BUFFER, state), arrived: WaitQueue::new() })
    }

    /// What the master reads now: what happened, or bytes, in front of which it finds a 0 if it wants to know the former.
    fn read(&self, buffer: &mut [u8]) -> usize {
        let Carried { bytes, status } = &mut *self.state.lock();
        let Some(status) = status else { return bytes.pop(buffer) };
        let Some((head, rest)) = buffer.split_first_mut() else { return 0 };
        *head = core::mem::replace(status, Status::empty()).bits();
        if *head != 0 {
            return 1;
        }
        match bytes.pop(rest) {
            0 if !rest.is_empty() || bytes.is_empty() => 0,
            count => 1 + count,
        }
    }
}

impl Line for Cable {
    fn room(&self) -> usize {
        CAPACITY.saturating_sub(self.state.lock().bytes.len())
    }

    fn write(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // Without memory the bytes are lost, as on a real line.
        let _full = self.state.lock().bytes.push(bytes);
        self.arrived.wake_all();
    }

    fn flush(&self) {
        self.state.lock().bytes = Ring::new();
    }

    fn tell(&self, status: Status) {
        const OPPOSITES: [(Status, Status); 2] = [(Status::STOP, Status::START), (Status::DO_STOP, Status::NO_STOP)];
        if let Some(known) = &mut self.state.lock().status {
            for (one, other) in OPPOSITES {
                if status.intersects(one | other) {
                    known.remove(one | other);
                }
            }
            known.insert(status);
        } else {
            return;
        }
        self.arrived.wake_all();
    }

    fn left(&self) {
        self.arrived.wake_all();
    }

    /// A line that has no bits to set has 8 of them, no parity, and a receiver.
    fn settle(&self, termios: Termios) -> Termios {
        let cleared = termios.control & !(control::CSIZE | control::PARENB);
        Termios { control: cleared | control::CS8 | control::CREAD, ..termios }
    }
}

/// A pair of terminal and master.
pub(super) struct Pair {
    pub(super) number: u32,
    tty: Arc<Tty>,
    cable: Arc<Cable>,
    locked: AtomicBool,
    /// Whether the terminal was ever open.
    was_open: AtomicBool,
    pub(super) attributes: SpinLock<Attributes>,
}

/// Owner and permissions of a terminal.
pub(super) struct Attributes {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) permissions: Permissions,
    pub(super) created: Timestamp,
}

impl Pair {
    pub(super) fn new(number: u32, attributes: Attributes) -> Arc<Self> {
        let cable = Cable::new();
        Arc::new(Self {
            number,
            tty: Tty::new(DeviceNumber::new(PTS_MAJOR, number), cable.clone()),
            cable,
            locked: AtomicBool::new(true),
            was_open: AtomicBool::new(false),
            attributes: SpinLock::new(rank::FILE_STATE, attributes),
        })
    }
}

/// All pseudo-terminals: which of their file systems `/dev/ptmx` means.
pub struct PseudoTerminals {
    first: SpinLock<Weak<Instance>>,
}

impl PseudoTerminals {
    /// None yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { first: SpinLock::new(rank::FILE_STATE, Weak::new()) })
    }

    /// Makes `instance` the one of `/dev/ptmx`, unless there is one.
    pub(super) fn mounted(&self, instance: &Arc<Instance>) {
        let mut first = self.first.lock();
        if first.strong_count() == 0 {
            *first = Arc::downgrade(instance);
        }
    }

    /// Opens `/dev/ptmx`: a new pair; the open master. `ENODEV` no devpts is mounted; `ENOSPC` as in `create`.
    pub fn create(&self, owner: &Credentials) -> Result<Arc<dyn FileOps>, Errno> {
        let first = self.first.lock().upgrade();
        create(&first.ok_or(Errno::ENODEV)?, owner)
    }
}

/// A new pair; the open master. `ENOSPC` too many, or the running task's containers don't pay for one more.
pub(super) fn create(instance: &Arc<Instance>, owner: &Credentials) -> Result<Arc<dyn FileOps>, Errno> {
    let charge = memory::payer::take(PRICE, Severity::Barrier).map_err(|Refused| Errno::ENOSPC)?;
    let pair = instance.add(owner)?;
    Ok(Arc::new(Master { instance: instance.clone(), pair, _charge: charge }))
}

/// The open master of a pair.
struct Master {
    instance: Arc<Instance>,
    pair: Arc<Pair>,
    /// Given back when the master is closed, to who opened it.
    _charge: Option<Charge>,
}

impl Master {
    /// What the terminal has written: `None` if nothing is there but may come, `EIO` if it was closed.
    fn try_read(&self, buffer: &mut [u8]) -> Option<Result<usize, Errno>> {
        let count = self.pair.cable.read(buffer);
        if count > 0 {
            return Some(Ok(count));
        }
        self.is_left().then_some(Err(Errno::EIO))
    }

    /// Whether the terminal was open and nobody has it open any more.
    fn is_left(&self) -> bool {
        self.pair.was_open.load(Acquire) && self.pair.tty.openings().is_empty()
    }

    /// `TIOCSIG`: sends one of the keys' signals. `EINVAL` another.
    fn signal(&self, number: u64) -> Result<(), Errno> {
        let keys = [Signal::INT, Signal::QUIT, Signal::TSTP];
        let signal = keys.into_iter().find(|key| u64::from(key.number()) == number).ok_or(Errno::EINVAL)?;
        if let Some(population) = POPULATION.get() {
            signal_foreground(population, &*self.pair.tty, signal);
        }
        Ok(())
    }
}

impl FileOps for Master {
    fn read(&self, buffer: &mut [u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut attempt = || self.try_read(buffer);
        let count = match attempt() {
            Some(result) => result?,
            None if flags.contains(OpenFlags::NONBLOCK) => return Err(Errno::EAGAIN),
            None => {
                let waited = self.pair.cable.arrived.wait_until_interruptible(attempt, None);
                waited.map_err(|_| Errno::EINTR)??
            }
        };
        self.pair.tty.resume();
        Ok(count)
    }

    fn write(&self, buffer: &[u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let tty = &self.pair.tty;
        let mut done = 0;
        while done < buffer.len() {
            let room = tty.input_room();
            if room == 0 {
                if flags.contains(OpenFlags::NONBLOCK) {
                    return if done > 0 { Ok(done) } else { Err(Errno::EAGAIN) };
                }
                let waited = tty.writable.wait_until_interruptible(|| (tty.input_room() > 0).then_some(()), None);
                if waited.is_err() {
                    return if done > 0 { Ok(done) } else { Err(Errno::EINTR) };
                }
                continue;
            }
            let count = room.min(buffer.len() - done);
            tty.receive(&buffer[done..done + count]);
            done += count;
        }
        Ok(done)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn tells_changes(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.pair.cable.arrived);
        table.watch(&self.pair.tty.writable);
        let mut events = PollEvents::empty();
        {
            let state = self.pair.cable.state.lock();
            let news = state.status.is_some_and(|status| !status.is_empty());
            events.set(PollEvents::READABLE, news || !state.bytes.is_empty());
            events.set(PollEvents::PRIORITY, news);
        }
        events.set(PollEvents::WRITABLE, self.pair.tty.input_room() > 0);
        events.set(PollEvents::HANG_UP, self.is_left());
        events
    }

    fn other_end(&self) -> Option<Arc<dyn Inode>> {
        Some(self.instance.node(&self.pair))
    }

    fn ioctl(&self, request: u32, argument: u64) -> Result<i64, Errno> {
        let pair = &self.pair;
        let give = |value: i32| user_memory::write(argument, &value.to_ne_bytes());
        let take = || {
            let mut value = [0; 4];
            user_memory::read(argument, &mut value).map(|()| i32::from_ne_bytes(value))
        };
        match request {
            request::TIOCGPTN => give(pair.number as i32)?,
            request::TIOCSPTLCK => {
                let locked = take()? != 0;
                pair.locked.store(locked, Release);
            }
            request::TIOCGPTLCK => give(pair.locked.load(Acquire).into())?,
            request::TIOCPKT => {
                let wanted = take()? != 0;
                let mut state = pair.cable.state.lock();
                state.status = wanted.then(|| state.status.unwrap_or(Status::empty()));
            }
            request::TIOCGPKT => give(pair.cable.state.lock().status.is_some().into())?,
            request::TIOCSIG => self.signal(argument)?,
            request::FIONREAD => give(pair.cable.state.lock().bytes.len() as i32)?,
            // A master may look at the job control of its terminal, which is not its own.
            request::TIOCGPGRP => give(pair.tty.job_control().foreground().unwrap_or_default().raw())?,
            request::TIOCGSID => give(pair.tty.job_control().session().ok_or(Errno::ENOTTY)?.raw())?,
            request::TCFLSH => match argument {
                // What it has not read, the terminal has written.
                0 | 2 => pair.tty.flush_output(),
                1 => {}
                _ => return Err(Errno::EINVAL),
            },
            _ => return common(&pair.tty, request, argument),
        }
        Ok(0)
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.instance.remove(self.pair.number);
        self.pair.tty.cut(true);
    }
}

/// The driver of the terminals in `/dev/pts`.
pub struct PtsDriver;

impl DeviceDriver for PtsDriver {
    fn names(&self) -> &'static [&'static str] {
        &["pts"]
    }

    /// `EIO` the inode lies in no devpts, its master is closed, or the terminal is locked.
    fn open(
        &self,
        _number: DeviceNumber,
        inode: &Arc<dyn Inode>,
        request: &OpenRequest<'_>,
    ) -> Result<Arc<dyn FileOps>, Errno> {
        let inode: Arc<dyn Any + Send + Sync> = inode.clone();
        let node = inode.downcast::<PtsNode>().map_err(|_| Errno::EIO)?;
        let pair = &node.pair;
        if pair.locked.load(Acquire) {
            return Err(Errno::EIO);
        }
        let file = TtyFile::open(&pair.tty, request.flags)?;
        pair.was_open.store(true, Release);
        Ok(file)
    }
}
