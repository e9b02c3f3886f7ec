//! Bytes between user memory and files: `read`, `write` and their vector and positioned forms.
//!
//! A short transfer goes through a buffer on the kernel stack, a long one in pieces through the heap, so that
//! reading and writing a little allocates nothing.

use crate::{
    abi::IoVector,
    arguments::{Abi, UserPtr},
    call::Call,
    cuts,
    vectors::{gather, scatter, vectors},
};
use base::Errno;
use linux_raw_sys::general::{RWF_APPEND, RWF_DSYNC, RWF_HIPRI, RWF_NOWAIT, RWF_SYNC};
use machine::{paging::USER_END, user_memory};
use memory::heap;
use vfs::{
    OpenFile, OpenFlags,
    socket::{Socket, SocketType},
};

/// The most bytes that one call transfers, as in Linux.
pub(crate) const MOST: usize = 0x7fff_f000;
/// The most that goes through the stack.
const SMALL: usize = 256;
/// A buffer that is cleared with a few stores: a number for a control file, a byte for a pipe.
const TINY: usize = 32;
/// The size of a piece.
pub(crate) const PIECE: usize = 64 << 10;
/// The size of the first piece of a read that may end early.
const FIRST_PIECE: usize = 4 << 10;
/// The most bytes of one message to a socket.
pub(crate) const MESSAGE_MOST: usize = 1 << 20;

/// Where a transfer happens in a file.
#[derive(Clone, Copy)]
pub(crate) enum Position {
    /// At the file's own position, which moves.
    Current,
    /// At this offset; the file's position stays.
    At(u64),
    /// At the file's own position, as if it were open with these flags too.
    CurrentWith(OpenFlags),
    /// At this offset, as if it were open with these flags too.
    AtWith(u64, OpenFlags),
}

impl Position {
    fn from_raw(offset: i64) -> Result<Self, Errno> {
        u64::try_from(offset).map(Self::At).map_err(|_| Errno::EINVAL)
    }

    fn advanced(self, bytes: usize) -> Self {
        match self {
            Self::Current | Self::CurrentWith(_) => self,
            Self::At(offset) => Self::At(offset + bytes as u64),
            Self::AtWith(offset, flags) => Self::AtWith(offset + bytes as u64, flags),
        }
    }

    #[inline(always)]
    fn read(self, file: &OpenFile, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Current => file.read(buffer),
            Self::At(offset) => file.read_at(buffer, offset),
            Self::CurrentWith(flags) => file.read_with(buffer, None, flags),
            Self::AtWith(offset, flags) => file.read_with(buffer, Some(offset), flags),
        }
    }

    /// After [`OpenFile::admit_write`].
    #[inline(always)]
    pub(crate) fn write(self, file: &OpenFile, buffer: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Current => file.write_admitted(buffer),
            Self::At(offset) => file.write_at(buffer, offset),
            Self::CurrentWith(flags) => file.write_with(buffer, None, flags),
            Self::AtWith(offset, flags) => file.write_with(buffer, Some(offset), flags),
        }
    }
}

/// Refuses a range that reaches beyond user space, before anything is taken from a file for it.
#[inline]
pub(crate) fn check_range(address: u64, length: usize) -> Result<(), Errno> {
    match USER_END.checked_sub(length as u64) {
        Some(last) if address <= last => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// What has been moved so far counts; an error counts only when nothing was.
pub(crate) fn so_far(done: usize, result: Result<usize, Errno>) -> Result<usize, Errno> {
    match result {
        Ok(more) => Ok(done + more),
        Err(errno) if done == 0 => Err(errno),
        Err(_) => Ok(done),
    }
}

#[inline(always)]
fn read_range(file: &OpenFile, address: u64, length: usize, position: Position) -> Result<usize, Errno> {
    if length <= TINY {
        return read_piece(file, address, &mut [0; TINY][..length], position);
    }
    read_pieces(file, address, length, position)
}

fn read_pieces(file: &OpenFile, address: u64, length: usize, position: Position) -> Result<usize, Errno> {
    if length <= SMALL {
        return read_piece(file, address, &mut [0; SMALL][..length], position);
    }
    // Most reads of a seekable file end early: a large buffer, which has to be cleared, comes only for what is long.
    let first = if file.is_stream() { PIECE } else { FIRST_PIECE };
    let mut buffer = heap::try_zeroed(length.min(first))?;
    let mut done = 0;
    while done < length {
        if done == first && buffer.len() < PIECE {
            buffer = heap::try_zeroed((length - done).min(PIECE))?;
        }
        let piece = buffer.len().min(length - done);
        let result = read_piece(file, address + done as u64, &mut buffer[..piece], position.advanced(done));
        let moved = match result {
            Ok(moved) => moved,
            Err(errno) => return so_far(done, Err(errno)),
        };
        done += moved;
        // A stream gives what it has; asking again could sleep although there is an answer.
        if moved < piece || file.is_stream() {
            break;
        }
        if !sched::goes_on(false) {
            break;
        }
    }
    Ok(done)
}

#[inline(always)]
fn read_piece(file: &OpenFile, address: u64, buffer: &mut [u8], position: Position) -> Result<usize, Errno> {
    let found = position.read(file, buffer)?;
    let copied = user_memory::write_partial(address, &buffer[..found]);
    if copied < found { cuts::read(file, &buffer[..found], copied) } else { Ok(copied) }
}

#[inline(always)]
fn write_range(file: &OpenFile, address: u64, length: usize, position: Position) -> Result<usize, Errno> {
    if length <= TINY {
        return write_piece(file, address, &mut [0; TINY][..length], position);
    }
    write_pieces(file, address, length, position)
}

fn write_pieces(file: &OpenFile, address: u64, length: usize, position: Position) -> Result<usize, Errno> {
    if length <= SMALL {
        return write_piece(file, address, &mut [0; SMALL][..length], position);
    }
    let most = cuts::piece_of(file, length)?;
    let mut buffer = heap::try_zeroed(length.min(most))?;
    let mut done = 0;
    while done < length {
        let piece = buffer.len().min(length - done);
        let result = write_piece(file, address + done as u64, &mut buffer[..piece], position.advanced(done));
        let moved = match result {
            Ok(moved) => moved,
            Err(errno) => return so_far(done, Err(errno)),
        };
        done += moved;
        if moved < piece {
            break;
        }
        if !sched::goes_on(false) {
            break;
        }
    }
    Ok(done)
}

#[inline(always)]
fn write_piece(file: &OpenFile, address: u64, buffer: &mut [u8], position: Position) -> Result<usize, Errno> {
    let copied = user_memory::read_partial(address, buffer);
    if copied < buffer.len() { cuts::write(file, &buffer[..copied], position) } else { position.write(file, buffer) }
}

/// Runs `transfer` over the ranges until one comes out short.
fn over_vectors(
    ranges: &[(u64, usize)],
    position: Position,
    mut transfer: impl FnMut(u64, usize, Position) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut done = 0;
    for &(address, length) in ranges.iter().filter(|(_, length)| *length != 0) {
        let result = check_range(address, length).and_then(|()| transfer(address, length, position.advanced(done)));
        let moved = match result {
            Ok(moved) => moved,
            Err(errno) => return so_far(done, Err(errno)),
        };
        done += moved;
        if moved < length {
            break;
        }
    }
    Ok(done)
}

/// Reads into the ranges, one behind the other. The file may be read.
pub(crate) fn read_into(file: &OpenFile, ranges: &[(u64, usize)], at: Position) -> Result<usize, Errno> {
    if !file.is_stream() {
        return over_vectors(ranges, at, |address, length, at| read_range(file, address, length, at));
    }
    // One read serves all of them, so that it never sleeps with something in hand.
    for &(address, length) in ranges {
        check_range(address, length)?;
    }
    let wanted = ranges.iter().map(|(_, length)| length).sum::<usize>().min(PIECE);
    let mut buffer = heap::try_zeroed(wanted)?;
    let found = at.read(file, &mut buffer)?;
    let copied = scatter(&buffer[..found], ranges).unwrap_or(0);
    if copied < found { cuts::read(file, &buffer[..found], copied) } else { Ok(copied) }
}

/// Writes what is in the ranges, one behind the other. The file may be written.
pub(crate) fn write_from(file: &OpenFile, ranges: &[(u64, usize)], at: Position) -> Result<usize, Errno> {
    let total: usize = ranges.iter().map(|(_, length)| length).sum();
    file.admit_write(total)?;
    if total <= cuts::piece_of(file, total)? && ranges.len() > 1 {
        // Together, as one write: pipes promise that no other writer comes between.
        let (bytes, cut) = gather(ranges)?;
        return if cut { cuts::write(file, &bytes, at) } else { at.write(file, &bytes) };
    }
    over_vectors(ranges, at, |address, length, at| write_range(file, address, length, at))
}

impl Call<'_> {
    /// A read into one range; a range beyond user space is refused before it counts as one.
    #[inline(always)]
    fn read_one(&self, file: &OpenFile, address: u64, length: usize, at: Position) -> Result<usize, Errno> {
        check_range(address, length)?;
        self.task.transfers().count_read(read_range(file, address, length, at))
    }

    /// A write from one range, as [`read_one`](Self::read_one).
    #[inline(always)]
    fn write_one(&self, file: &OpenFile, address: u64, length: usize, at: Position) -> Result<usize, Errno> {
        check_range(address, length)?;
        self.broken_write(file, self.task.transfers().count_write(write_range(file, address, length, at)))
    }

    /// Counts also what is refused, as Linux does with vectors.
    fn read_vectors(
        &self,
        descriptor: i32,
        list: UserPtr<IoVector>,
        count: usize,
        at: Position,
    ) -> Result<usize, Errno> {
        self.task.transfers().count_read(self.read_ranges(descriptor, list, count, at))
    }

    fn read_ranges(
        &self,
        descriptor: i32,
        list: UserPtr<IoVector>,
        count: usize,
        at: Position,
    ) -> Result<usize, Errno> {
        let file = self.file(descriptor)?;
        file.admit_read()?;
        read_into(&file, &vectors(list, count)?, at)
    }

    /// Counts as [`read_vectors`](Self::read_vectors).
    fn write_vectors(
        &self,
        descriptor: i32,
        list: UserPtr<IoVector>,
        count: usize,
        at: Position,
    ) -> Result<usize, Errno> {
        let file = self.file(descriptor);
        let result = file.as_ref().map_err(|&error| error).and_then(|file| self.write_ranges(file, list, count, at));
        let result = self.task.transfers().count_write(result);
        file.map_or(result, |file| self.broken_write(&file, result))
    }

    fn write_ranges(
        &self,
        file: &OpenFile,
        list: UserPtr<IoVector>,
        count: usize,
        at: Position,
    ) -> Result<usize, Errno> {
        file.admit_write(0)?;
        write_from(file, &vectors(list, count)?, at)
    }

    /// `EPIPE` comes with `SIGPIPE`, but not from a socket of packets.
    #[inline]
    pub(crate) fn broken_write(&self, file: &OpenFile, result: Result<usize, Errno>) -> Result<usize, Errno> {
        let is_pipe = |socket: &Socket| socket.kind() == SocketType::Stream;
        if result == Err(Errno::EPIPE) && file.operations::<Socket>().is_none_or(is_pipe) {
            self.task.raise_broken_pipe();
        }
        result
    }

    /// `EPIPE` comes with `SIGPIPE`.
    pub(crate) fn broken_pipe(&self, result: Result<usize, Errno>) -> Result<usize, Errno> {
        if result == Err(Errno::EPIPE) {
            self.task.raise_broken_pipe();
        }
        result
    }
}

/// `read(2)`.
pub fn read(call: &Call<'_>, descriptor: i32, buffer: UserPtr<u8>, count: usize) -> Result<usize, Errno> {
    let file = call.any_file(descriptor)?;
    file.admit_read()?;
    call.read_one(&file, buffer.address(), count.min(MOST), Position::Current)
}

/// `write(2)`.
pub fn write(call: &Call<'_>, descriptor: i32, buffer: UserPtr<u8>, count: usize) -> Result<usize, Errno> {
    let file = call.any_file(descriptor)?;
    let count = count.min(MOST);
    file.admit_write(count)?;
    call.write_one(&file, buffer.address(), count, Position::Current)
}

/// `pread64(2)`.
pub fn pread(call: &Call<'_>, descriptor: i32, buffer: UserPtr<u8>, count: usize, at: i64) -> Result<usize, Errno> {
    let at = Position::from_raw(at)?;
    let file = call.file(descriptor)?;
    file.admit_position()?;
    file.admit_read()?;
    call.read_one(&file, buffer.address(), count.min(MOST), at)
}

/// `pwrite64(2)`.
pub fn pwrite(call: &Call<'_>, descriptor: i32, buffer: UserPtr<u8>, count: usize, at: i64) -> Result<usize, Errno> {
    let at = Position::from_raw(at)?;
    let file = call.file(descriptor)?;
    file.admit_position()?;
    let count = count.min(MOST);
    file.admit_write(count)?;
    call.write_one(&file, buffer.address(), count, at)
}

/// `readv(2)`.
pub fn readv(call: &Call<'_>, descriptor: i32, list: UserPtr<IoVector>, count: usize) -> Result<usize, Errno> {
    call.read_vectors(descriptor, list, count, Position::Current)
}

/// `writev(2)`.
pub fn writev(call: &Call<'_>, descriptor: i32, list: UserPtr<IoVector>, count: usize) -> Result<usize, Errno> {
    call.write_vectors(descriptor, list, count, Position::Current)
}

/// `preadv(2)`; the offset comes whole in its first register.
pub fn preadv(
    call: &Call<'_>,
    descriptor: i32,
    list: UserPtr<IoVector>,
    count: usize,
    at: i64,
) -> Result<usize, Errno> {
    let at = Position::from_raw(at)?;
    call.file(descriptor)?.admit_position()?;
    call.read_vectors(descriptor, list, count, at)
}

/// `pwritev(2)`.
pub fn pwritev(
    call: &Call<'_>,
    descriptor: i32,
    list: UserPtr<IoVector>,
    count: usize,
    at: i64,
) -> Result<usize, Errno> {
    let at = Position::from_raw(at)?;
    call.file(descriptor)?.admit_position()?;
    call.write_vectors(descriptor, list, count, at)
}

/// What flags of one transfer (`RWF_NOWAIT` and the like) add to those of the file. `EOPNOTSUPP` there is no such flag.
/// `RWF_HIPRI`, `RWF_DSYNC` and `RWF_SYNC` ask for what is always so.
pub(crate) fn transfer_flags(flags: u32) -> Result<OpenFlags, Errno> {
    const ALWAYS: u32 = RWF_HIPRI | RWF_DSYNC | RWF_SYNC;
    if flags & !(ALWAYS | RWF_NOWAIT | RWF_APPEND) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut more = OpenFlags::empty();
    more.set(OpenFlags::NONBLOCK, flags & RWF_NOWAIT != 0);
    more.set(OpenFlags::APPEND, flags & RWF_APPEND != 0);
    Ok(more)
}

/// Where and how `preadv2` and `pwritev2` transfer; -1 is the file's own position. `EINVAL` negative otherwise; those of
/// [`transfer_flags`].
fn second_position(call: &Call<'_>, descriptor: i32, at: i64, flags: u32) -> Result<Position, Errno> {
    let position = if at == -1 { Position::Current } else { Position::from_raw(at)? };
    let file = call.file(descriptor)?;
    if at != -1 {
        file.admit_position()?;
    }
    let more = transfer_flags(flags)?;
    Ok(match position {
        Position::Current if !more.is_empty() => Position::CurrentWith(more),
        Position::At(offset) if !more.is_empty() => Position::AtWith(offset, more),
        position => position,
    })
}

/// `preadv2(2)`.
pub fn preadv2(
    call: &Call<'_>,
    descriptor: i32,
    list: UserPtr<IoVector>,
    count: usize,
    at: i64,
    _high: u64,
    flags: u32,
) -> Result<usize, Errno> {
    let at = second_position(call, descriptor, at, flags)?;
    call.read_vectors(descriptor, list, count, at)
}

/// `pwritev2(2)`.
pub fn pwritev2(
    call: &Call<'_>,
    descriptor: i32,
    list: UserPtr<IoVector>,
    count: usize,
    at: i64,
    _high: u64,
    flags: u32,
) -> Result<usize, Errno> {
    let at = second_position(call, descriptor, at, flags)?;
    call.write_vectors(descriptor, list, count, at)
}

const _: () = assert!(IoVector::SIZE == 16);
