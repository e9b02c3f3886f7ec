//! splice, tee, vmsplice, sendfile and copy_file_range: what they move, and each of their documented errors.

use crate::checks::{Checks, result};
use libc::*;
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
    ptr::null_mut,
};

const NONBLOCK: c_uint = SPLICE_F_NONBLOCK;
const BAD: *mut i64 = std::ptr::dangling_mut();

struct Pipe {
    reader: RawFd,
    writer: RawFd,
}

fn pipe(flags: c_int) -> Pipe {
    let mut ends = [0; 2];
    // SAFETY: two numbers have place there.
    unsafe { pipe2(ends.as_mut_ptr(), flags) };
    Pipe { reader: ends[0], writer: ends[1] }
}

fn put(to: RawFd, text: &str) {
    // SAFETY: the text lives until the call is over.
    unsafe { write(to, text.as_ptr().cast(), text.len()) };
}

fn get(from: RawFd) -> Result<String, i32> {
    let mut buffer = [0_u8; 100];
    // SAFETY: the buffer has that room.
    let count = result(unsafe { read(from, buffer.as_mut_ptr().cast(), 100) } as i64)?;
    Ok(String::from_utf8_lossy(&buffer[..count as usize]).into_owned())
}

fn splice(from: RawFd, at: *mut i64, to: RawFd, onto: *mut i64, count: usize, flags: c_uint) -> Result<i64, i32> {
    // SAFETY: an address is null, bad on purpose, or that of a number.
    result(unsafe { libc::splice(from, at, to, onto, count, flags) } as i64)
}

fn tee(from: RawFd, to: RawFd, count: usize, flags: c_uint) -> Result<i64, i32> {
    // SAFETY: takes no address.
    result(unsafe { libc::tee(from, to, count, flags) } as i64)
}

fn vmsplice(pipe: RawFd, parts: &mut [&mut [u8]], flags: c_uint) -> Result<i64, i32> {
    let list: Vec<iovec> =
        parts.iter_mut().map(|part| iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() }).collect();
    // SAFETY: the list and what it names live until the call is over.
    result(unsafe { libc::vmsplice(pipe, list.as_ptr(), list.len(), flags) } as i64)
}

fn sendfile(to: RawFd, from: RawFd, at: *mut i64, count: usize) -> Result<i64, i32> {
    // SAFETY: the address is null, bad on purpose, or that of a number.
    result(unsafe { libc::sendfile(to, from, at, count) } as i64)
}

fn copy(from: RawFd, at: *mut i64, to: RawFd, onto: *mut i64, count: usize, flags: c_uint) -> Result<i64, i32> {
    // SAFETY: an address is null, bad on purpose, or that of a number.
    result(unsafe { copy_file_range(from, at, to, onto, count, flags) } as i64)
}

fn moving(checks: &mut Checks, file: &File, other: &File) {
    let (file, other) = (file.as_raw_fd(), other.as_raw_fd());
    let none = null_mut();
    let full = pipe(O_NONBLOCK);
    let two = pipe(0);
    let mut at = 3;
    checks.equal("from an offset", splice(file, &raw mut at, two.writer, none, 4, 0), Ok(4));
    checks.equal("the offset moves", (at, get(two.reader)), (7, Ok("3456".into())));
    checks.equal("from the position", splice(file, none, two.writer, none, 100, 0), Ok(10));
    checks.equal("which moves", splice(file, none, two.writer, none, 100, 0), Ok(0));
    let mut onto = 2;
    checks.equal("to an offset", splice(two.reader, none, other, &raw mut onto, 4, 0), Ok(4));
    checks.equal("that moves too", onto, 6);
    checks.equal("to the position", splice(two.reader, none, other, none, 2, 0), Ok(2));
    checks.equal("the rest stays", get(two.reader), Ok("6789".into()));
    let mut bytes = [0; 8];
    // SAFETY: the buffer has that room.
    unsafe { pread(other, bytes.as_mut_ptr().cast(), 8, 0) };
    checks.equal("what arrived", &bytes[..6], b"450123");

    put(two.writer, "pipe");
    checks.equal("from pipe to pipe", splice(two.reader, none, full.writer, none, 3, 0), Ok(3));
    checks.equal("in order", (get(full.reader), get(two.reader)), (Ok("pip".into()), Ok("e".into())));
    put(two.writer, "tee");
    checks.equal("tee", tee(two.reader, full.writer, 100, 0), Ok(3));
    checks.equal("twice", (get(full.reader), get(two.reader)), (Ok("tee".into()), Ok("tee".into())));
    let Ok((one, mut end)) = UnixStream::pair() else { return };
    put(two.writer, "socket");
    checks.equal("to a socket", splice(two.reader, none, one.as_raw_fd(), none, 100, 0), Ok(6));
    checks.equal("and back", splice(end.as_raw_fd(), none, two.writer, none, 100, 0), Ok(6));
    checks.equal("whole", get(two.reader), Ok("socket".into()));
    checks.equal("an empty socket", splice(end.as_raw_fd(), none, two.writer, none, 9, NONBLOCK), Err(EAGAIN));
    checks.equal("sendfile to a socket", sendfile(one.as_raw_fd(), file, &raw mut at, 2), Ok(2));
    let mut two_bytes = [0; 2];
    checks.check("from where it was", end.read_exact(&mut two_bytes).is_ok() && two_bytes == *b"78" && at == 9);
    checks.equal("sendfile to a pipe", sendfile(two.writer, file, &raw mut at, 100), Ok(1));
    checks.equal("from there on", get(two.reader), Ok("9".into()));

    let (mut a, mut b) = (*b"hello ", *b"world");
    checks.equal("memory goes in", vmsplice(two.writer, &mut [&mut a, &mut b], 0), Ok(11));
    (a, b) = ([0; 6], [0; 5]);
    checks.equal("and out", vmsplice(two.reader, &mut [&mut a[..3], &mut b], 0), Ok(8));
    checks.check("in pieces", &a[..3] == b"hel" && b == *b"lo wo" && get(two.reader) == Ok("rld".into()));
    // Room is left by whole reads only, so the pipe is full to the byte.
    checks.equal("as much as fits", vmsplice(full.writer, &mut [&mut vec![7; 70_000]], NONBLOCK), Ok(65_536));
    checks.equal("and no more", vmsplice(full.writer, &mut [&mut [1]], NONBLOCK), Err(EAGAIN));
    checks.equal("a full pipe", splice(file, &raw mut at, full.writer, none, 1, 0), Err(EAGAIN));
    put(two.writer, "x");
    checks.equal("pipe to a full pipe", splice(two.reader, none, full.writer, none, 1, 0), Err(EAGAIN));
    checks.equal("tee to a full pipe", tee(two.reader, full.writer, 1, 0), Err(EAGAIN));
    checks.equal("nothing is lost", get(two.reader), Ok("x".into()));
}

fn refusals(checks: &mut Checks, file: &File, other: &File) {
    let (null, none) = (file.as_raw_fd(), null_mut());
    let two = pipe(0);
    let (mut zero, mut negative, mut one) = (0, -1, 1);
    let zero = &raw mut zero;
    checks.equal("nothing asked", splice(-1, none, -1, none, 0, 99), Ok(0));
    checks.equal("splice: flags", splice(null, none, two.writer, none, 1, 16), Err(EINVAL));
    checks.equal("splice: not open", splice(-1, none, two.writer, none, 1, 0), Err(EBADF));
    checks.equal("splice: offset of a pipe", splice(two.reader, BAD, null, none, 1, 0), Err(ESPIPE));
    checks.equal("splice: offset of the other", splice(null, none, two.writer, zero, 1, 0), Err(ESPIPE));
    checks.equal("splice: bad address", splice(null, BAD, two.writer, none, 1, 0), Err(EFAULT));
    checks.equal("splice: wrong end", splice(null, none, two.reader, none, 1, 0), Err(EBADF));
    checks.equal("splice: no pipe", splice(null, none, other.as_raw_fd(), none, 1, 0), Err(EINVAL));
    checks.equal("splice: itself", splice(two.reader, none, two.writer, none, 1, 0), Err(EINVAL));
    checks.equal("splice: negative", splice(null, &raw mut negative, two.writer, none, 1, 0), Err(EINVAL));
    checks.equal("splice: empty", splice(two.reader, none, null, none, 1, NONBLOCK), Err(EAGAIN));
    let Ok(directory) = File::open("/tmp") else { return };
    checks.equal("splice: directory", splice(directory.as_raw_fd(), none, two.writer, none, 1, 0), Err(EINVAL));
    let append = OpenOptions::new().append(true).open("/tmp/splice-to");
    let Ok(append) = append else { return };
    put(two.writer, "x");
    checks.equal("splice: appending", splice(two.reader, none, append.as_raw_fd(), none, 1, 0), Err(EINVAL));
    checks.equal("tee: flags", tee(two.reader, two.writer, 0, 16), Err(EINVAL));
    checks.equal("tee: nothing asked", tee(-1, -1, 0, 0), Ok(0));
    checks.equal("tee: not open", tee(-1, two.writer, 1, 0), Err(EBADF));
    checks.equal("tee: itself", tee(two.reader, two.writer, 1, 0), Err(EINVAL));
    checks.equal("tee: no pipe", tee(two.reader, null, 1, 0), Err(EINVAL));
    checks.equal("vmsplice: flags", vmsplice(two.writer, &mut [&mut [1]], 16), Err(EINVAL));
    checks.equal("vmsplice: not open", vmsplice(-1, &mut [&mut [1]], 0), Err(EBADF));
    checks.equal("vmsplice: no pipe", vmsplice(null, &mut [&mut [1]], 0), Err(EBADF));
    checks.equal("vmsplice: nothing", vmsplice(null, &mut [], 0), Ok(0));
    // SAFETY: the address is bad on purpose.
    checks.equal(
        "vmsplice: bad address",
        result(unsafe { libc::vmsplice(two.writer, std::ptr::dangling::<iovec>(), 1, 0) } as i64),
        Err(EFAULT),
    );
    checks.equal("sendfile: bad address first", sendfile(-1, -1, BAD, 1), Err(EFAULT));
    checks.equal("sendfile: not open", sendfile(-1, null, none, 1), Err(EBADF));
    checks.equal("sendfile: offset of a stream", sendfile(null, two.reader, zero, 1), Err(ESPIPE));
    checks.equal("sendfile: from a stream", sendfile(null, two.reader, none, 1), Err(EINVAL));
    checks.equal("sendfile: negative", sendfile(two.writer, null, &raw mut negative, 1), Err(EINVAL));
    checks.equal("sendfile: appending", sendfile(append.as_raw_fd(), null, none, 1), Err(EINVAL));
    let (from, to) = (null, other.as_raw_fd());
    checks.equal("copy: flags", copy(from, none, to, none, 1, 1), Err(EINVAL));
    checks.equal("copy: bad address", copy(from, BAD, to, none, 1, 1), Err(EFAULT));
    checks.equal("copy: directory", copy(directory.as_raw_fd(), none, to, none, 1, 0), Err(EISDIR));
    checks.equal("copy: pipe", copy(two.reader, none, to, none, 1, 0), Err(EINVAL));
    checks.equal("copy: appending", copy(from, none, append.as_raw_fd(), none, 1, 0), Err(EBADF));
    checks.equal("copy: overlap", copy(to, zero, to, &raw mut one, 4, 0), Err(EINVAL));
    checks.equal("copy: too far", copy(from, zero, to, none, usize::MAX, 0), Err(EOVERFLOW));
    let Ok(proc) = File::open("/proc/self/maps") else { return };
    checks.equal("copy: another file system", copy(proc.as_raw_fd(), none, to, none, 1, 0), Err(EXDEV));
    let mut at = 8;
    checks.equal("copy: up to the end", copy(from, &raw mut at, to, none, 100, 0), Ok(2));
    // SAFETY: takes no address.
    unsafe {
        signal(SIGPIPE, SIG_IGN);
        close(two.reader);
    }
    checks.equal("nobody reads", splice(null, zero, two.writer, none, 1, 0), Err(EPIPE));
    checks.equal("nobody reads memory", vmsplice(two.writer, &mut [&mut [1]], 0), Err(EPIPE));
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    let open = |name| OpenOptions::new().read(true).write(true).create(true).truncate(true).open(name);
    let (Ok(mut file), Ok(other)) = (open("/tmp/splice-from"), open("/tmp/splice-to")) else { return false };
    let written = file.write_all(b"0123456789");
    // SAFETY: takes no address.
    checks.check("a file", written.is_ok() && unsafe { lseek(file.as_raw_fd(), 0, SEEK_SET) } == 0);
    moving(&mut checks, &file, &other);
    refusals(&mut checks, &file, &other);
    let gone = ["/tmp/splice-from", "/tmp/splice-to"].map(std::fs::remove_file);
    checks.check("no file stays", gone.iter().all(Result::is_ok));
    checks.tell()
}
