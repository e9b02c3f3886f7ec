//! Who answers for a filter: calls are received, looked at, answered, and given files.

use super::filter::*;
use crate::{
    checks::{Checks, result},
    tracing::tracee::{ended, fork, wait},
};
use libc::*;

pub const RECEIVE: c_ulong = 0xc050_2100;
const SEND: c_ulong = 0xc018_2101;
const IS_VALID: c_ulong = 0x4008_2102;
const IS_VALID_ONCE: c_ulong = 0x8008_2102;
const ADD: c_ulong = 0x4018_2103;
const CONTINUE: u32 = 1;
const PLACED: u32 = 1;
const ANSWERED: u32 = 2;

/// `struct seccomp_notif`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Notice {
    pub id: u64,
    pub pid: c_int,
    pub flags: u32,
    pub number: c_int,
    pub architecture: u32,
    pub instruction: u64,
    pub arguments: [u64; 6],
}

/// `struct seccomp_notif_addfd`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Addition {
    id: u64,
    flags: u32,
    source: c_int,
    wanted: u32,
    how: u32,
    /// Behind the end of the structure.
    more: u64,
}

/// Where calls of a child are received.
#[derive(Clone, Copy)]
pub struct Listener(pub c_int);

impl Listener {
    pub fn ask(self, request: c_ulong, address: usize) -> Result<i64, i32> {
        // SAFETY: the caller keeps what is at the address, or it is meant to be refused.
        result(unsafe { ioctl(self.0, request as Ioctl, address) }.into())
    }

    pub fn receive(self) -> Result<Notice, i32> {
        let mut notice = Notice::default();
        self.ask(RECEIVE, (&raw mut notice).addr()).map(|_| notice)
    }

    pub fn send(self, id: u64, value: i64, error: i32, flags: u32) -> Result<i64, i32> {
        let words = [id, value as u64, u64::from(error as u32) | u64::from(flags) << 32];
        self.ask(SEND, words.as_ptr().addr())
    }

    pub fn is_valid(self, id: u64) -> Result<i64, i32> {
        self.ask(IS_VALID, (&raw const id).addr())
    }

    fn add(self, addition: Addition) -> Result<i64, i32> {
        self.ask(ADD, (&raw const addition).addr())
    }

    /// What it is ready for, after so many milliseconds at most.
    pub fn poll(self, milliseconds: c_int) -> c_short {
        let mut polled = pollfd { fd: self.0, events: POLLIN | POLLOUT, revents: 0 };
        // SAFETY: one structure is there.
        unsafe { poll(&raw mut polled, 1, milliseconds) };
        polled.revents
    }

    pub fn close(self) {
        // SAFETY: takes no address.
        unsafe { close(self.0) };
    }
}

/// A child with a filter for whose call this process answers, and what it does then.
pub fn supervised(flags: c_uint, act: impl FnOnce() -> c_int) -> (c_int, Listener) {
    let (mut told, mut go) = ([0; 2], [0; 2]);
    // SAFETY: room for two descriptors each.
    unsafe { (pipe(told.as_mut_ptr()), pipe(go.as_mut_ptr())) };
    let child = fork(|| {
        let listener = filter(CALL, USER_NOTIF, NEW_LISTENER | flags).unwrap_or(-1) as c_int;
        // SAFETY: the numbers are there; the descriptors are this process's own.
        unsafe {
            write(told[1], (&raw const listener).cast(), 4);
            let mut byte = 0_u8;
            read(go[0], (&raw mut byte).cast(), 1);
            for descriptor in [listener, told[0], told[1], go[0], go[1]] {
                close(descriptor);
            }
        }
        act()
    });
    let mut number = -1;
    // SAFETY: as above.
    let listener = unsafe {
        read(told[0], (&raw mut number).cast(), 4);
        let process = syscall(SYS_pidfd_open, child, 0);
        let listener = syscall(SYS_pidfd_getfd, process, number, 0) as c_int;
        write(go[1], c"x".as_ptr().cast(), 1);
        for descriptor in [process as c_int, told[0], told[1], go[0], go[1]] {
            close(descriptor);
        }
        listener
    };
    (child, Listener(listener))
}

/// The call's result as the code of an end: an errno is that.
pub fn code() -> c_int {
    match call_with(11, 22) {
        Ok(value) => value as c_int & 0xff,
        Err(error) => error,
    }
}

pub fn run(checks: &mut Checks) {
    answers(checks);
    errors(checks);
    stages(checks);
    files(checks);
    many(checks);
}

fn answers(checks: &mut Checks) {
    let (child, listener) = supervised(0, code);
    let notice = listener.receive().unwrap_or_default();
    checks.equal("whose call", (notice.pid, notice.flags), (child, 0));
    checks.equal("which", (notice.number, notice.architecture), (CALL as c_int, 0xc000_003e));
    checks.equal("its arguments", notice.arguments[..2].to_vec(), vec![11, 22]);
    checks.equal("it waits", listener.is_valid(notice.id), Ok(0));
    checks.equal("by the older number, too", listener.ask(IS_VALID_ONCE, (&raw const notice.id).addr()), Ok(0));
    checks.equal("a result", listener.send(notice.id, 42, 0, 0), Ok(0));
    checks.equal("it has that", wait(child, 0), ended(42));
    checks.equal("it waits no more", listener.is_valid(notice.id), Err(ENOENT));
    checks.equal("nobody is left", listener.poll(-1), POLLHUP);
    checks.equal("nor comes", listener.receive(), Err(ENOENT));
    listener.close();
    let (child, listener) = supervised(0, code);
    let id = listener.receive().unwrap_or_default().id;
    checks.equal("an error", listener.send(id, 5, -EXDEV, 0), Ok(0));
    checks.equal("counts more", wait(child, 0), ended(EXDEV));
    listener.close();
    let (child, listener) = supervised(0, || c_int::from(call() != Ok(group())));
    let id = listener.receive().unwrap_or_default().id;
    checks.equal("as it is", listener.send(id, 0, 0, CONTINUE), Ok(0));
    checks.equal("it is made", wait(child, 0), ended(0));
    listener.close();
}

/// What the call says, by another one.
fn group() -> i64 {
    // SAFETY: takes no address.
    i64::from(unsafe { getpgid(0) })
}

fn errors(checks: &mut Checks) {
    let (child, listener) = supervised(0, code);
    let mut notice = Notice { flags: 1, ..Notice::default() };
    checks.equal("no such request", listener.ask(0x2104, 0), Err(EINVAL));
    checks.equal("a request of terminals", listener.ask(TCGETS as c_ulong, 0), Err(EINVAL));
    checks.equal("into a hole", listener.ask(RECEIVE, 8), Err(EFAULT));
    checks.equal("onto something", listener.ask(RECEIVE, (&raw mut notice).addr()), Err(EINVAL));
    checks.equal("an answer from a hole", listener.ask(SEND, 8), Err(EFAULT));
    checks.equal("a flag that there is not", listener.send(0, 0, 0, 2), Err(EINVAL));
    checks.equal("as it is, with a result", listener.send(0, 1, 0, CONTINUE), Err(EINVAL));
    checks.equal("as it is, with an error", listener.send(0, 0, -1, CONTINUE), Err(EINVAL));
    checks.equal("a number in a hole", listener.ask(IS_VALID, 8), Err(EFAULT));
    checks.equal(
        "readable only by ioctl",
        {
            let mut byte = 0_u8;
            // SAFETY: room for one byte.
            result(unsafe { read(listener.0, (&raw mut byte).cast(), 1) } as i64)
        },
        Err(EINVAL),
    );
    // A page that may be read only: the notice is lost to nobody.
    // SAFETY: a new page, read by the kernel only.
    let page = unsafe { mmap(std::ptr::null_mut(), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) };
    checks.equal("where nothing can be written", listener.ask(RECEIVE, page.addr()), Err(EFAULT));
    // SAFETY: the page was just mapped.
    unsafe { munmap(page, 4096) };
    let id = listener.receive().unwrap_or_default().id;
    checks.equal("nobody", listener.send(id ^ 1, 0, 0, 0), Err(ENOENT));
    checks.equal("nobody", listener.is_valid(id ^ 1), Err(ENOENT));
    checks.equal("the answer", listener.send(id, 3, 0, 0), Ok(0));
    checks.equal("it ends", wait(child, 0), ended(3));
    listener.close();
}

/// What a call that was not received can't have yet, and what poll says of all stages.
fn stages(checks: &mut Checks) {
    let (child, listener) = supervised(0, || {
        let first = code();
        first + code()
    });
    checks.equal("a call comes", listener.poll(-1), POLLIN);
    let id = listener.receive().unwrap_or_default().id;
    checks.equal("it can be answered", listener.poll(-1), POLLOUT);
    checks.equal("answered", listener.send(id, 30, 0, 0), Ok(0));
    let next = id.wrapping_add(1);
    while listener.poll(-1) & POLLIN == 0 {}
    checks.equal("the next was not received", listener.send(next, 1, 0, 0), Err(EINPROGRESS));
    checks.equal("nor gets a file", listener.add(Addition { id: next, ..Addition::default() }), Err(EINPROGRESS));
    checks.equal("nor counts", listener.is_valid(next), Err(ENOENT));
    checks.equal("received", listener.receive().map(|notice| notice.id), Ok(next));
    checks.equal("answered", listener.send(next, 4, 0, 0), Ok(0));
    checks.equal("both had results", wait(child, 0), ended(34));
    listener.close();
}

fn files(checks: &mut Checks) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { pipe(ends.as_mut_ptr()) };
    let source = ends[1];
    // Writes a byte to the file that the call opens for it.
    let (child, listener) = supervised(0, || {
        let written = call().map(|number| {
            // SAFETY: the byte is there.
            unsafe { (write(number as c_int, c"y".as_ptr().cast(), 1), fcntl(number as c_int, F_GETFD)) }
        });
        // SAFETY: takes no address.
        let placed = unsafe { fcntl(200, F_GETFD) };
        c_int::from(written != Ok((1, FD_CLOEXEC))) + 2 * c_int::from(placed != 0)
    });
    let id = listener.receive().unwrap_or_default().id;
    let base = Addition { id, source, ..Addition::default() };
    let sized = |length: c_ulong, more| {
        let addition = Addition { more, ..base };
        listener.ask(ADD & !(0x3fff << 16) | length << 16, (&raw const addition).addr())
    };
    checks.equal("too short", sized(23, 0), Err(EINVAL));
    checks.equal("too long", sized(4096, 0), Err(EINVAL));
    checks.equal("fields that there are not", sized(32, 1), Err(E2BIG));
    checks.equal("a hole", listener.ask(ADD, 8), Err(EFAULT));
    checks.equal("no such flag", listener.add(Addition { flags: 4, ..base }), Err(EINVAL));
    checks.equal("a number without the flag", listener.add(Addition { wanted: 9, ..base }), Err(EINVAL));
    checks.equal("another mark than close-on-exec", listener.add(Addition { how: 1, ..base }), Err(EINVAL));
    checks.equal("no file", listener.add(Addition { source: 999, ..base }), Err(EBADF));
    checks.equal("nobody's call", listener.add(Addition { id: id ^ 1, ..base }), Err(ENOENT));
    let beyond = Addition { flags: PLACED, wanted: 1 << 30, ..base };
    checks.equal("a number beyond the limit", listener.add(beyond), Err(EBADF));
    checks.equal("a certain number", listener.add(Addition { flags: PLACED, wanted: 200, ..base }), Ok(200));
    let zeros = sized(32, 0);
    checks.equal("fields that there are not, but 0", zeros.is_ok(), true);
    let last = listener.add(Addition { flags: ANSWERED, how: O_CLOEXEC as u32, ..base });
    checks.equal("the number is the answer", last, zeros.map(|number| number + 1));
    checks.equal("once", listener.send(id, 0, 0, 0).is_err(), true);
    checks.equal("it has written there", wait(child, 0), ended(0));
    let mut byte = 0_u8;
    // SAFETY: room for one byte.
    checks.equal("to the same pipe", (unsafe { read(ends[0], (&raw mut byte).cast(), 1) }, byte), (1, b'y'));
    listener.close();

    let (child, listener) = supervised(0, || {
        let full = rlimit { rlim_cur: 1, rlim_max: 1 };
        // SAFETY: the limit is there for the call.
        unsafe { setrlimit(RLIMIT_NOFILE, &raw const full) };
        code()
    });
    let id = listener.receive().unwrap_or_default().id;
    let answer = Addition { id, source, flags: ANSWERED, ..Addition::default() };
    checks.equal("no number is free", listener.add(answer), Err(EMFILE));
    checks.equal("that was no answer", listener.send(id, 6, 0, 0), Ok(0));
    checks.equal("this was", wait(child, 0), ended(6));
    listener.close();
    // SAFETY: takes no address.
    unsafe { (close(ends[0]), close(ends[1])) };
}

/// Several threads wait at once and get each their own answer, in another order.
fn many(checks: &mut Checks) {
    const THREADS: u64 = 8;
    let (child, listener) = supervised(0, || {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| std::thread::spawn(move || call_with(number, 0) == Ok(number as i64 + 100)))
            .collect();
        c_int::from(!threads.into_iter().all(|thread| thread.join().unwrap_or(false)))
    });
    let mut notices: Vec<Notice> = (0..THREADS).filter_map(|_| listener.receive().ok()).collect();
    notices.reverse();
    let sent = notices.iter().all(|notice| {
        let value = notice.arguments[0] as i64 + 100;
        notice.pid != child && listener.send(notice.id, value, 0, 0) == Ok(0)
    });
    checks.equal("many at once", (notices.len() as u64, sent), (THREADS, true));
    checks.equal("each has its own", wait(child, 0), ended(0));
    listener.close();
}
