//! Local sockets that are shut, closed, empty or alone: what every call and `poll` say of them.

use crate::{
    checks::{Checks, result},
    child,
    sockets::{pair, put, take},
};
use libc::*;
use std::{os::fd::RawFd, ptr::null_mut};

const ALL: c_short =
    POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND | POLLRDHUP | POLLERR | POLLHUP;
const WRITABLE: c_short = POLLOUT | POLLWRNORM | POLLWRBAND;
const READABLE: c_short = POLLIN | POLLRDNORM;
const ENDED: c_short = READABLE | POLLRDHUP;

fn events(socket: RawFd) -> c_short {
    let mut one = pollfd { fd: socket, events: ALL, revents: 0 };
    // SAFETY: the structure lives until the call is over.
    unsafe { poll(&raw mut one, 1, 0) };
    one.revents
}

fn shut(socket: RawFd, how: c_int) -> Result<i64, i32> {
    // SAFETY: takes no address.
    result(unsafe { shutdown(socket, how) }.into())
}

fn close_all(files: &[RawFd]) {
    for &file in files {
        // SAFETY: nobody uses it any more.
        unsafe { close(file) };
    }
}

/// `write` and `read` of so many bytes.
fn wrote(socket: RawFd, count: usize) -> Result<i64, i32> {
    // SAFETY: the bytes live until the call is over.
    result(unsafe { write(socket, c"xyz".as_ptr().cast(), count) } as i64)
}

fn read_of(socket: RawFd, count: usize) -> Result<i64, i32> {
    let mut room = [0_u8; 8];
    // SAFETY: the room lives until the call is over.
    result(unsafe { read(socket, room.as_mut_ptr().cast(), count.min(8)) } as i64)
}

/// What a child ends with that does this where SIGPIPE ends it.
fn breaking(act: impl FnOnce() -> Result<i64, i32>) -> i32 {
    child::status(|| {
        // SAFETY: takes no address. Rust's programs begin by ignoring this signal.
        unsafe { signal(SIGPIPE, SIG_DFL) };
        act().err().unwrap_or(0)
    })
}

/// Sockets that have no peer, and are shut.
fn alone(checks: &mut Checks) {
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
        // SAFETY: takes no address.
        let socket = unsafe { socket(AF_UNIX, kind | SOCK_NONBLOCK, 0) };
        let connects = kind != SOCK_DGRAM;
        let over = if connects { POLLHUP } else { 0 };
        checks.equal("a new one", events(socket), WRITABLE | over);
        checks.equal("nothing is read", (read_of(socket, 0), shut(socket, 3)), (Ok(0), Err(EINVAL)));
        checks.equal("no more in", (shut(socket, SHUT_RD), events(socket)), (Ok(0), WRITABLE | ENDED | over));
        let both = (shut(socket, SHUT_WR), events(socket), put(socket, "x", 0));
        // Of datagrams this is 6.1's; later ones say EPIPE.
        checks.equal("nor out", both, (Ok(0), WRITABLE | ENDED | POLLHUP, Err(ENOTCONN)));
        close_all(&[socket]);
    }
    checks.equal("no file before no way", shut(-1, 3), Err(EBADF));
}

fn halves(checks: &mut Checks) {
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
        let [one, two] = pair(kind | SOCK_NONBLOCK);
        checks.equal("both ways", events(one), WRITABLE);
        put(two, "abc", 0).ok();
        checks.equal("no more in", (shut(one, SHUT_RD), events(one), events(two)), (Ok(0), WRITABLE | ENDED, WRITABLE));
        let sent = (put(two, "x", MSG_NOSIGNAL), put(two, "", MSG_NOSIGNAL));
        checks.equal("nothing goes there", sent, (Err(EPIPE), Err(EPIPE)));
        let left = (take(one, 3, 0), take(one, 3, 0), put(one, "x", 0), take(two, 1, 0));
        checks.equal("but what was there", left, (Ok("abc".into()), Ok(String::new()), Ok(1), Ok("x".into())));
        checks.equal("nor out", (shut(one, SHUT_WR), events(one)), (Ok(0), WRITABLE | ENDED | POLLHUP));
        checks.equal("the peer's view", events(two), WRITABLE | ENDED | POLLHUP);
        let signaled = if kind == SOCK_STREAM { 128 + SIGPIPE } else { EPIPE };
        checks.equal("write", (breaking(|| wrote(two, 1)), breaking(|| wrote(one, 1))), (signaled, signaled));
        checks.equal("an empty one", breaking(|| put(one, "", 0)), signaled);
        close_all(&[one, two]);
        let [one, two] = pair(kind | SOCK_NONBLOCK);
        checks.equal("nothing yet", (take(two, 0, 0), read_of(two, 0)), (Err(EAGAIN), Ok(0)));
        put(one, "abc", 0).ok();
        checks.equal("no room", take(two, 0, 0), Ok(String::new()));
        let left = if kind == SOCK_STREAM { Ok("abc".into()) } else { Err(EAGAIN) };
        checks.equal("leaves a stream's", take(two, 3, 0), left);
        close_all(&[one, two]);
        let [one, two] = pair(kind | SOCK_NONBLOCK);
        put(one, "ab", 0).ok();
        put(two, "unread", 0).ok();
        close_all(&[one]);
        let error = Err(ECONNRESET);
        let (first, second) = if kind == SOCK_STREAM { (Ok("ab".into()), error) } else { (error, Ok("ab".into())) };
        checks.equal("an error of packets comes first", (take(two, 2, 0), take(two, 2, 0)), (first, second));
        close_all(&[two]);
    }
}

/// Each datagram socket is shut for itself.
fn datagrams(checks: &mut Checks) {
    let [one, two] = pair(SOCK_DGRAM | SOCK_NONBLOCK);
    put(one, "abc", 0).ok();
    checks.equal("no more out", (shut(one, SHUT_WR), events(one), events(two)), (Ok(0), WRITABLE, WRITABLE | READABLE));
    checks.equal("nothing is sent", (put(one, "x", 0), breaking(|| wrote(one, 1))), (Err(EPIPE), EPIPE));
    checks.equal("what was is there", (take(two, 3, 0), take(two, 3, 0)), (Ok("abc".into()), Err(EAGAIN)));
    checks.equal("the other way is open", (put(two, "de", 0), take(one, 2, 0)), (Ok(2), Ok("de".into())));
    put(two, "fg", 0).ok();
    checks.equal("nor in", (shut(one, SHUT_RD), events(one)), (Ok(0), WRITABLE | ENDED | POLLHUP));
    checks.equal("nothing goes there", put(two, "x", 0), Err(EPIPE));
    checks.equal("what is there, and no end", (take(one, 2, 0), take(one, 2, 0)), (Ok("fg".into()), Err(EAGAIN)));
    // SAFETY: takes no address.
    unsafe { fcntl(one, F_SETFL, 0) };
    checks.equal("but for who waits", take(one, 2, 0), Ok(String::new()));
    close_all(&[one]);
    checks.equal("the peer is closed", (events(two), take(two, 1, 0)), (WRITABLE, Err(EAGAIN)));
    checks.equal("and lost", (put(two, "x", 0), put(two, "x", 0)), (Err(ECONNREFUSED), Err(ENOTCONN)));
    close_all(&[two]);
    let [one, two] = pair(SOCK_DGRAM | SOCK_NONBLOCK);
    put(one, "abc", 0).ok();
    close_all(&[one]);
    checks.equal("it still says", events(two), WRITABLE | READABLE);
    checks.equal("until it is missed", (put(two, "x", 0), take(two, 3, 0)), (Err(ECONNREFUSED), Err(EAGAIN)));
    close_all(&[two]);
}

/// A listening socket, its name of two bytes, and one that is connected to it if that is wanted.
fn listening(kind: c_int, flags: c_int) -> (RawFd, impl Fn() -> (RawFd, Result<i64, i32>)) {
    // SAFETY: all zeros is an address, and it lives until the calls are over.
    unsafe {
        let listener = socket(AF_UNIX, kind | flags, 0);
        let mut name: sockaddr_un = std::mem::zeroed();
        name.sun_family = AF_UNIX as u16;
        bind(listener, (&raw const name).cast(), 2);
        let mut length = size_of::<sockaddr_un>() as u32;
        getsockname(listener, (&raw mut name).cast(), &raw mut length);
        listen(listener, 0);
        let join = move || {
            let socket = socket(AF_UNIX, kind | SOCK_NONBLOCK, 0);
            (socket, result(connect(socket, (&raw const name).cast(), length).into()))
        };
        (listener, join)
    }
}

fn accepted(listener: RawFd) -> Result<i64, i32> {
    // SAFETY: takes no place for a name.
    result(unsafe { accept(listener, null_mut(), null_mut()) }.into()).map(|_| 0)
}

fn listeners(checks: &mut Checks) {
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
        let (listener, join) = listening(kind, SOCK_NONBLOCK);
        checks.equal("nobody came", (events(listener), accepted(listener)), (0, Err(EAGAIN)));
        let first = join();
        checks.equal("one came", (first.1, events(listener)), (Ok(0), READABLE));
        checks.equal("no more in", (shut(listener, SHUT_RD), events(listener)), (Ok(0), ENDED));
        checks.equal("nobody else", join().1, Err(ECONNREFUSED));
        checks.equal("who came is let in", (accepted(listener), accepted(listener)), (Ok(0), Err(EAGAIN)));
        checks.equal("nor out", (shut(listener, SHUT_WR), events(listener)), (Ok(0), ENDED | POLLHUP));
        close_all(&[listener, first.0]);
        let (listener, _) = listening(kind, 0);
        let waiter = child::start(|| accepted(listener).err().unwrap_or(0));
        checks.equal("who waits for one", (shut(listener, SHUT_RDWR), waiter()), (Ok(0), EINVAL));
        close_all(&[listener]);
        let (listener, join) = listening(kind, SOCK_NONBLOCK);
        let (first, second) = (join(), join());
        checks.equal("full", (first.1, second.1), (Ok(0), Err(EAGAIN)));
        close_all(&[listener, first.0, second.0]);
    }
}

/// Tries everything.
pub fn run(checks: &mut Checks) {
    alone(checks);
    halves(checks);
    datagrams(checks);
    listeners(checks);
}
