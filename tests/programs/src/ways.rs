//! Ways of reading and writing: the flags of `preadv2(2)` and `pwritev2(2)`, and buffers of which only a part is good.

use crate::checks::{Checks, result};
use libc::*;
use std::ptr::null_mut;

const NOWAIT: c_int = 8;
const APPEND: c_int = 16;
const PAGE: usize = 4096;

fn put(file: c_int, bytes: &[u8], at: i64, flags: c_int) -> Result<i64, i32> {
    let vector = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the vector and the bytes live until the call is over.
    result(unsafe { pwritev2(file, &raw const vector, 1, at, flags) } as i64)
}

fn take(file: c_int, at: i64, flags: c_int) -> Result<Vec<u8>, i32> {
    let mut bytes = [0_u8; 100];
    let vector = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: the vector and the bytes live until the call is over.
    let count = result(unsafe { preadv2(file, &raw const vector, 1, at, flags) } as i64)?;
    Ok(bytes[..count as usize].to_vec())
}

fn flags(checks: &mut Checks) {
    let path = c"/tmp/probe-ways".as_ptr();
    // SAFETY: a path with its NUL.
    let file = unsafe { open(path, O_CREAT | O_TRUNC | O_RDWR, 0o600) };
    // SAFETY: takes no address.
    let position = || unsafe { lseek(file, 0, SEEK_CUR) };
    checks.equal("at the position", (put(file, b"abc", -1, 0), position()), (Ok(3), 3));
    checks.equal("at the end, not at 0", (put(file, b"def", 0, APPEND), position()), (Ok(3), 3));
    checks.equal("it is there", take(file, 0, NOWAIT), Ok(b"abcdef".to_vec()));
    // SAFETY: takes no address.
    unsafe { lseek(file, 1, SEEK_SET) };
    checks.equal("the position goes to the end", (put(file, b"g", -1, APPEND | 7), position()), (Ok(1), 7));
    checks.equal("reading does not mind", take(file, 5, APPEND), Ok(b"fg".to_vec()));
    checks.equal("no such flag", (take(file, 0, 32), put(file, b"x", 0, 64)), (Err(EOPNOTSUPP), Err(EOPNOTSUPP)));
    checks.equal("no such place", (take(file, -2, 0), take(-1, -2, 0)), (Err(EINVAL), Err(EINVAL)));
    // SAFETY: a path with its NUL; takes no address.
    unsafe { (close(file), unlink(path)) };
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { pipe(ends.as_mut_ptr()) };
    checks.equal("a pipe has no places", (take(ends[0], 0, 0), put(ends[1], b"x", 0, 0)), (Err(ESPIPE), Err(ESPIPE)));
    let mut byte = 0_u8;
    let byte: *mut c_void = (&raw mut byte).cast();
    // SAFETY: the byte lives until the calls are over.
    let wrong = unsafe { [result(pread(ends[1], byte, 1, 0) as i64), result(pwrite(ends[0], byte, 1, 0) as i64)] };
    checks.equal("which is said before the wrong end", wrong, [Err(ESPIPE); 2]);
    // SAFETY: as above.
    unsafe {
        let timer = timerfd_create(CLOCK_MONOTONIC, 0);
        let told =
            (fcntl(timer, F_GETFL), result(write(timer, byte, 1) as i64), result(pread(timer, byte, 1, 0) as i64));
        checks.equal("a timer is open for both, and is not written", told, (O_RDWR, Err(EINVAL), Err(ESPIPE)));
        close(timer);
    }
    checks.equal("nothing to read now", take(ends[0], -1, NOWAIT), Err(EAGAIN));
    checks.equal("something", (put(ends[1], b"x", -1, NOWAIT), take(ends[0], -1, NOWAIT)), (Ok(1), Ok(b"x".to_vec())));
    // SAFETY: takes no address.
    unsafe { (close(ends[0]), close(ends[1])) };
}

/// How many bytes are in a pipe.
fn waiting(file: c_int) -> c_int {
    let mut count = -1;
    // SAFETY: the number lives until the call is over.
    unsafe { ioctl(file, FIONREAD, &raw mut count) };
    count
}

fn halves(checks: &mut Checks) {
    let mut ends = [0; 2];
    // SAFETY: fresh memory of four pages, of which the last is taken away again; room for two descriptors.
    let end = unsafe {
        let pages = mmap(null_mut(), 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        pages.write_bytes(b'y', 3 * PAGE);
        munmap(pages.byte_add(3 * PAGE), PAGE);
        pipe(ends.as_mut_ptr());
        pages.byte_add(3 * PAGE)
    };
    let [reader, writer] = ends;
    // SAFETY: behind the end is nothing, and that is what is tried.
    let give = |good: usize, all: usize| result(unsafe { write(writer, end.byte_sub(good), all) } as i64);
    // SAFETY: as above.
    let get = |good: usize, all: usize| result(unsafe { read(reader, end.byte_sub(good), all) } as i64);
    checks.equal("less than a page goes in", (give(50, 100), waiting(reader)), (Err(EFAULT), 0));
    checks.equal("not even from more", (give(50, 3 * PAGE), waiting(reader)), (Err(EFAULT), 0));
    checks.equal("whole pages do", (give(2 * PAGE + 9, 4 * PAGE), waiting(reader)), (Ok(8192), 8192));
    checks.equal("less than a page comes out", (get(50, 100), waiting(reader)), (Err(EFAULT), 8192));
    checks.equal("whole pages do too", (get(PAGE + 9, 3 * PAGE), waiting(reader)), (Ok(4096), 4096));
    let vectors = [end.wrapping_byte_sub(10), end].map(|iov_base| iovec { iov_base, iov_len: 10 });
    // SAFETY: the vectors live until the calls are over; the second one is bad.
    let (given, got) =
        unsafe { (writev(writer, vectors.as_ptr(), 2) as i64, readv(reader, vectors.as_ptr(), 2) as i64) };
    checks.equal("vectors", (given, got, waiting(reader)), (-1, -1, 4096));
    // SAFETY: four bytes lie there.
    let short = |text: &[u8; 4]| unsafe { write(writer, text.as_ptr().cast(), 4) };
    checks.equal("emptied", get(PAGE, PAGE), Ok(4096));
    checks.equal("four bytes", (short(b"abcd"), get(2, 4), waiting(reader)), (4, Err(EFAULT), 4));
    let mut back = [0_u8; 8];
    // SAFETY: room for eight bytes.
    let count = unsafe { read(reader, back.as_mut_ptr().cast(), 8) };
    checks.equal("they are as they were", (count, back), (4, *b"abcd\0\0\0\0"));
    // SAFETY: takes no address.
    unsafe { (close(reader), close(writer)) };
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    flags(&mut checks);
    halves(&mut checks);
    checks.tell()
}
