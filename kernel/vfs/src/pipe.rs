//! Pipes and FIFOs, `pipe(7)`.
//!
//! A write of up to [`ATOMIC`] bytes is never mixed with another; a longer one may be. The buffer grows with what is
//! in it, up to the capacity.

mod moving;
mod size;
mod state;

pub use moving::{put_back, whole_pages};
pub use size::{UserPages, capacity, most_bytes, set_capacity, set_most_bytes, set_user_pages, user_pages};

use crate::{
    FileKind, FileOps, Inode, Metadata, OpenFile, OpenFlags, OpenRequest, Permissions, PollEvents, PollTable,
    anonymous::{self, Anonymous},
    interrupted, wait,
};
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno};
use linux_raw_sys::ioctl::FIONREAD;
use sched::WaitQueue;
use state::{Shared, State};

/// `PIPE_BUF`: writes of up to so many bytes are not torn.
pub const ATOMIC: usize = 4096;

/// A pipe, while it has ends or a name.
pub struct Pipe {
    state: Shared,
    readable: WaitQueue,
    writable: WaitQueue,
    opened: WaitQueue,
}

impl Pipe {
    /// A pipe without ends.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Shared::new(),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
            opened: WaitQueue::new(),
        })
    }

    /// Takes what is there: `None` if nothing is but may come.
    fn try_read(&self, buffer: &mut [u8]) -> Option<usize> {
        let state = self.state.look();
        if state.ring.is_empty() || state.lent {
            return state.end_for_readers();
        }
        let mut state = state.change();
        let was_narrow = state.room() < ATOMIC;
        let count = match state.packets.pop_front() {
            // What of a packet finds no room is lost.
            Some(length) => {
                let wanted = buffer.len().min(length);
                let count = state.ring.pop(&mut buffer[..wanted]);
                state.ring.discard(length - count);
                count
            }
            None => state.ring.pop(buffer),
        };
        drop(state);
        if was_narrow {
            self.writable.wake_all();
        }
        Some(count)
    }

    /// Puts in what there is room for: `None` if there is none (or not enough for a short write).
    fn try_write(&self, buffer: &[u8], whole: bool, packets: bool) -> Option<Result<usize, Errno>> {
        let state = self.state.look();
        if state.readers == 0 {
            return Some(Err(Errno::EPIPE));
        }
        let room = state.room();
        if room == 0 || (whole && room < buffer.len()) {
            return None;
        }
        let mut state = state.change();
        let longest = if packets { ATOMIC } else { room };
        let count = buffer.len().min(room).min(longest);
        let is_packet = packets || !state.packets.is_empty();
        if is_packet && state.packets.try_reserve(1).is_err() {
            return Some(Err(Errno::ENOMEM));
        }
        if let Err(error) = state.push(&buffer[..count]) {
            return Some(Err(error));
        }
        if is_packet {
            state.packets.push_back(count);
        }
        Some(Ok(count))
    }
}

/// One end of a pipe, or both (a FIFO opened for reading and writing).
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    /// What of the pipe's readiness concerns who polls this end.
    concern: PollEvents,
    /// The pipe's `writer_opens` at the opening: until it moves, no writer can have hung up.
    writers_before: u64,
}

impl FileOps for PipeEnd {
    fn read(&self, buffer: &mut [u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Some(count) = self.pipe.try_read(buffer) {
            return Ok(count);
        }
        if flags.contains(OpenFlags::NONBLOCK) {
            return Err(Errno::EAGAIN);
        }
        self.pipe.readable.wait_until_interruptible(|| self.pipe.try_read(buffer), None).map_err(interrupted)
    }

    fn write(&self, buffer: &[u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let packets = flags.contains(OpenFlags::DIRECT);
        let whole = buffer.len() <= ATOMIC;
        let mut done = 0;
        while done < buffer.len() {
            let rest = &buffer[done..];
            let attempt = || self.pipe.try_write(rest, whole, packets);
            match wait(&self.pipe.writable, flags.contains(OpenFlags::NONBLOCK), attempt) {
                Ok(count) => {
                    done += count;
                    self.pipe.readable.wake_all();
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn tells_changes(&self) -> bool {
        true
    }

    fn ioctl(&self, request: u32, argument: u64) -> Result<i64, Errno> {
        match request {
            FIONREAD => anonymous::answer_length(self.pipe.state.look().ring.len(), argument),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn glance(&self) -> Option<PollEvents> {
        Some(self.readiness())
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        if table.watches() { self.watch(table) } else { self.readiness() }
    }
}

impl PipeEnd {
    /// Most who poll only look.
    #[cold]
    fn watch(&self, table: &mut PollTable<'_>) -> PollEvents {
        if self.reads {
            table.watch(&self.pipe.readable);
        }
        if self.writes {
            table.watch(&self.pipe.writable);
        }
        self.readiness()
    }

    #[inline]
    fn readiness(&self) -> PollEvents {
        let events = self.pipe.state.readiness() & self.concern;
        if events.contains(PollEvents::HANG_UP) { self.with_true_end(events) } else { events }
    }

    /// Without writers it is only at its end if there has been one.
    #[cold]
    fn with_true_end(&self, events: PollEvents) -> PollEvents {
        let has_had_one = self.pipe.state.look().writer_opens != self.writers_before;
        if has_had_one { events } else { events - PollEvents::HANG_UP }
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut state = self.pipe.state.change();
        state.readers -= usize::from(self.reads);
        state.writers -= usize::from(self.writes);
        if state.readers == 0 && state.writers == 0 {
            state.ring.clear();
            state.buffer = None;
            state.pages = None;
            state.packets.clear();
        }
        drop(state);
        if self.reads {
            self.pipe.writable.wake_all();
        }
        if self.writes {
            self.pipe.readable.wake_all();
        }
    }
}

/// The inode of a pipe without a name: opening it through `/proc/<pid>/fd` gives another end.
struct PipeInode {
    pipe: Arc<Pipe>,
    identity: Anonymous,
}

impl Inode for PipeInode {
    fn kind(&self) -> FileKind {
        FileKind::Fifo
    }

    fn number(&self) -> u64 {
        self.identity.number()
    }

    fn metadata(&self) -> Metadata {
        self.identity.metadata(FileKind::Fifo, Permissions::new(0o600))
    }

    fn open(self: Arc<Self>, request: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        // Unlike with a FIFO there is no other side to wait for: both were made with the pipe, and may be gone again.
        let mut end = self.pipe.open_end((request.flags.reads(), request.flags.writes()), request.credentials)?;
        end.writers_before = 0;
        Ok(Arc::new(end))
    }

    fn label(&self) -> Option<Vec<u8>> {
        Some(self.identity.label_numbered("pipe"))
    }
}

/// `pipe2(2)`: the reading and the writing end. `EINVAL` flags other than `NONBLOCK`, `DIRECT` and `CLOSE_ON_EXEC`;
/// `ENFILE` too many files are open, or the user's pipes have too many pages.
pub fn pipe(flags: OpenFlags, credentials: &Arc<Credentials>) -> Result<[Arc<OpenFile>; 2], Errno> {
    let kept = OpenFlags::NONBLOCK | OpenFlags::DIRECT;
    if !(kept | OpenFlags::CLOSE_ON_EXEC).contains(flags) {
        return Err(Errno::EINVAL);
    }
    let pipe = Pipe::new();
    // The reader first: every writer counts for it, the one made here too.
    let end = |ends| pipe.open_end(ends, credentials).map_err(|_| Errno::ENFILE);
    let (reader, writer) = (end((true, false))?, end((false, true))?);
    let inode: Arc<dyn Inode> = Arc::new(PipeInode { pipe: pipe.clone(), identity: Anonymous::new(credentials) });
    let file = |end: PipeEnd, access| {
        OpenFile::anonymous(inode.clone(), Arc::new(end), flags & kept | access, credentials.clone())
    };
    Ok([file(reader, OpenFlags::empty())?, file(writer, OpenFlags::WRITE_ONLY)?])
}

/// Opens a FIFO; waits for the other side unless `NONBLOCK`. `ENXIO` nobody reads and `NONBLOCK`; `EINTR`; `ENOMEM` the
/// user's pipes have too many pages.
pub(crate) fn open_fifo(pipe: &Arc<Pipe>, request: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
    let flags = request.flags;
    let (reads, writes) = (flags.reads(), flags.writes());
    let nonblocking = flags.contains(OpenFlags::NONBLOCK);
    if writes && !reads && nonblocking && pipe.state.look().readers == 0 {
        return Err(Errno::ENXIO);
    }
    let other = |state: &State| {
        if reads { (state.writers, state.writer_opens) } else { (state.readers, state.reader_opens) }
    };
    let (_, before) = other(&pipe.state.look());
    let end = pipe.open_end((reads, writes), request.credentials)?;
    pipe.opened.wake_all();
    if reads != writes && !nonblocking {
        let there = || {
            let (count, opens) = other(&pipe.state.look());
            (count > 0 || opens != before).then_some(())
        };
        pipe.opened.wait_until_interruptible(there, None).map_err(interrupted)?;
    }
    Ok(Arc::new(end))
}

/// The pipe that an open file is an end of. `EBADF` it is something else.
pub(crate) fn pipe_of(file: &OpenFile) -> Result<&Arc<Pipe>, Errno> {
    file.operations::<PipeEnd>().map(|end| &end.pipe).ok_or(Errno::EBADF)
}
