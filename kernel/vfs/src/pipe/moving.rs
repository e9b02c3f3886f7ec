//! Bytes that go between a pipe and something else which may sleep or fail halfway: none is lost or overtaken.
//!
//! Room for what comes in is held before it is fetched; what goes out is lent, and what finds no place comes back to
//! the front before anybody else reads.

use super::{ATOMIC, Pipe, pipe_of};
use crate::{OpenFile, wait};
use base::Errno;
use memory::heap;

/// The most bytes that are on their way at once.
const PIECE: usize = 64 << 10;

/// So many of the first bytes of a buffer of which the rest is bad go into or out of a pipe: whole pages, as on Linux.
pub fn whole_pages(bytes: usize) -> usize {
    bytes - bytes % ATOMIC
}

/// Puts the last bytes of a read back into the pipe that they are from. `EBADF` it is none; `ENOMEM`.
pub fn put_back(file: &OpenFile, bytes: &[u8]) -> Result<(), Errno> {
    pipe_of(file)?.put_back(bytes)
}

impl Pipe {
    /// Holds room for up to `most` bytes: `None` there is none now; `EPIPE` nobody reads, `ENOMEM`.
    fn try_hold(&self, most: usize) -> Option<Result<usize, Errno>> {
        let mut state = self.state.change();
        if state.readers == 0 {
            return Some(Err(Errno::EPIPE));
        }
        let count = state.room().min(most);
        if count == 0 {
            return None;
        }
        Some(state.grow(count).map(|()| {
            state.held += count;
            count
        }))
    }

    /// Gives up `held` bytes of room and puts `bytes`, at most so many, there.
    fn fill(&self, held: usize, bytes: &[u8]) -> Result<(), Errno> {
        let mut state = self.state.change();
        state.held -= held;
        let result = state.push(bytes);
        if result.is_ok() && !bytes.is_empty() && !state.packets.is_empty() {
            state.packets.push_back(bytes.len());
        }
        drop(state);
        self.readable.wake_all();
        if bytes.len() < held {
            self.writable.wake_all();
        }
        result
    }

    /// Lends the first bytes out: `None` there are none now; 0 there will be none.
    fn try_lend(&self, buffer: &mut [u8]) -> Option<Result<usize, Errno>> {
        let state = self.state.look();
        if state.ring.is_empty() || state.lent {
            return state.end_for_readers().map(Ok);
        }
        let mut state = state.change();
        let count = state.ring.pop(buffer);
        state.lent = true;
        state.held += count;
        Some(Ok(count))
    }

    /// Takes back what of the bytes that were lent was not `used`.
    fn take_back(&self, lent: &[u8], used: usize) -> Result<(), Errno> {
        let mut state = self.state.change();
        state.lent = false;
        state.held -= lent.len();
        let mut gone = used;
        while let Some(packet) = state.packets.front_mut() {
            let part = gone.min(*packet);
            (*packet, gone) = (*packet - part, gone - part);
            if *packet > 0 {
                break;
            }
            state.packets.pop_front();
        }
        let result = state.ring.push_front(&lent[used..]);
        drop(state);
        self.readable.wake_all();
        self.writable.wake_all();
        result
    }

    /// Puts bytes back that were read and found no place. `ENOMEM` there is no memory for them.
    fn put_back(&self, bytes: &[u8]) -> Result<(), Errno> {
        let mut state = self.state.change();
        state.grow(bytes.len())?;
        state.ring.push_front(bytes)?;
        if !state.packets.is_empty() {
            state.packets.push_front(bytes.len());
        }
        drop(state);
        self.readable.wake_all();
        Ok(())
    }

    /// Moves up to `most` bytes in: `source` is given a buffer and how much went before, and says how many bytes it put
    /// there; fewer than there is place for end the call. Waits until there is room for some, then for no more.
    ///
    /// Errors, nothing moved: `EPIPE` nobody reads, `EAGAIN` no room and `nonblock`, `EINTR`, `ENOMEM`; the source's.
    pub(crate) fn feed(
        &self,
        most: usize,
        nonblock: bool,
        mut source: impl FnMut(&mut [u8], usize) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let mut buffer = heap::try_zeroed(most.min(PIECE))?;
        let mut done = 0;
        while done < most {
            let held = wait(&self.writable, nonblock || done > 0, || self.try_hold((most - done).min(PIECE)));
            let moved = held.and_then(|held| {
                let found = source(&mut buffer[..held], done);
                self.fill(held, &buffer[..found.unwrap_or(0)])?;
                Ok((held, found?))
            });
            match moved {
                Ok((held, count)) => {
                    done += count;
                    if count < held {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            if !sched::goes_on(true) {
                break;
            }
        }
        Ok(done)
    }

    /// Moves up to `most` bytes out: `target` is given bytes and how many went before, and says how many it took; fewer
    /// than all end the call. Waits until there are some, then for no more.
    ///
    /// Errors, nothing moved: `EAGAIN` nothing there and `nonblock`, `EINTR`, `ENOMEM`; the target's.
    pub(crate) fn drain(
        &self,
        most: usize,
        nonblock: bool,
        mut target: impl FnMut(&[u8], usize) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let mut buffer = heap::try_zeroed(most.min(PIECE))?;
        let mut done = 0;
        while done < most {
            let room = (most - done).min(PIECE);
            let lent = wait(&self.readable, nonblock || done > 0, || self.try_lend(&mut buffer[..room]));
            let moved = lent.and_then(|lent| {
                if lent == 0 {
                    return Ok((0, 0));
                }
                let used = target(&buffer[..lent], done);
                self.take_back(&buffer[..lent], used.unwrap_or(0))?;
                Ok((lent, used?))
            });
            match moved {
                Ok((lent, count)) => {
                    done += count;
                    if count < lent || lent == 0 {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            if !sched::goes_on(true) {
                break;
            }
        }
        Ok(done)
    }

    /// Waits until there is something to read; false if there never will be. `EAGAIN` with `nonblock`, `EINTR`.
    pub(crate) fn await_bytes(&self, nonblock: bool) -> Result<bool, Errno> {
        wait(&self.readable, nonblock, || {
            let state = self.state.look();
            if state.ring.is_empty() || state.lent {
                return state.end_for_readers().map(|_| Ok(false));
            }
            Some(Ok(true))
        })
    }

    /// Copies bytes out, from the byte `skip` on, and leaves them in.
    pub(crate) fn peek(&self, buffer: &mut [u8], skip: usize) -> usize {
        self.state.look().ring.peek(skip, buffer)
    }

    /// Puts in as many of the bytes as there is room for, once there is some. Errors: see [`Pipe::feed`].
    pub(crate) fn put(&self, bytes: &[u8], nonblock: bool) -> Result<usize, Errno> {
        let held = wait(&self.writable, nonblock, || self.try_hold(bytes.len()))?;
        self.fill(held, &bytes[..held])?;
        Ok(held)
    }
}
