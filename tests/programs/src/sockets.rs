//! Options and messages of local sockets: what they do, and each of their documented errors.

use crate::{
    checks::{Checks, result},
    child, socket_ends, socket_names,
};
use libc::*;
use std::{
    os::fd::RawFd,
    ptr::{from_ref, null_mut},
};

pub(crate) fn pair(kind: c_int) -> [RawFd; 2] {
    let mut ends = [-1; 2];
    // SAFETY: two numbers have place there.
    unsafe { socketpair(AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    ends
}

fn set<T>(socket: RawFd, option: c_int, value: &T) -> Result<i64, i32> {
    // SAFETY: the value lives until the call is over.
    result(unsafe { setsockopt(socket, SOL_SOCKET, option, from_ref(value).cast(), size_of::<T>() as u32) }.into())
}

fn get<T>(socket: RawFd, option: c_int) -> Result<T, i32> {
    // SAFETY: the types asked for are numbers and structures of them, for which zeros will do.
    unsafe {
        let (mut value, mut length): (T, u32) = (std::mem::zeroed(), size_of::<T>() as u32);
        result(getsockopt(socket, SOL_SOCKET, option, (&raw mut value).cast(), &raw mut length).into()).map(|_| value)
    }
}

fn number(socket: RawFd, option: c_int) -> Result<i32, i32> {
    get(socket, option)
}

pub(crate) fn put(socket: RawFd, text: &str, flags: c_int) -> Result<i64, i32> {
    // SAFETY: the text lives until the call is over.
    result(unsafe { send(socket, text.as_ptr().cast(), text.len(), flags) } as i64)
}

pub(crate) fn take(socket: RawFd, room: usize, flags: c_int) -> Result<String, i32> {
    let mut buffer = [0_u8; 64];
    // SAFETY: the buffer has that room.
    let count = result(unsafe { recv(socket, buffer.as_mut_ptr().cast(), room.min(64), flags) } as i64)?;
    Ok(String::from_utf8_lossy(&buffer[..(count as usize).min(room)]).into_owned())
}

fn options(checks: &mut Checks) {
    let [one, two] = pair(SOCK_STREAM);
    checks.equal("type", number(one, SO_TYPE), Ok(SOCK_STREAM));
    checks.equal("domain", number(one, SO_DOMAIN), Ok(AF_UNIX));
    checks.equal("protocol", number(one, SO_PROTOCOL), Ok(0));
    checks.equal("listens", number(one, SO_ACCEPTCONN), Ok(0));
    checks.equal("error", number(one, SO_ERROR), Ok(0));
    checks.equal("no peeking", number(one, SO_PEEK_OFF), Ok(-1));
    for option in [SO_REUSEADDR, SO_KEEPALIVE, SO_BROADCAST, SO_PASSCRED] {
        checks.equal("a switch is off", number(one, option), Ok(0));
        checks.equal("and can be turned", (set(one, option, &7), number(one, option)), (Ok(0), Ok(1)));
        checks.equal("and back", (set(one, option, &0), number(one, option)), (Ok(0), Ok(0)));
    }
    checks.equal("a buffer is doubled", (set(one, SO_SNDBUF, &10_000), number(one, SO_SNDBUF)), (Ok(0), Ok(20_000)));
    checks.equal("has a least size", (set(one, SO_SNDBUF, &0), number(one, SO_SNDBUF)), (Ok(0), Ok(4608)));
    checks.equal("and a largest", (set(one, SO_SNDBUF, &i32::MAX), number(one, SO_SNDBUF)), (Ok(0), Ok(425_984)));
    checks.equal("by force", (set(one, SO_SNDBUFFORCE, &300_000), number(one, SO_SNDBUF)), (Ok(0), Ok(600_000)));
    checks.equal("receiver's", (set(one, SO_RCVBUF, &0), number(one, SO_RCVBUF)), (Ok(0), Ok(2304)));
    let off = linger { l_onoff: 1, l_linger: 5 };
    checks.equal("linger", (set(one, SO_LINGER, &off), get::<[i32; 2]>(one, SO_LINGER)), (Ok(0), Ok([1, 5])));
    let long = timeval { tv_sec: 3, tv_usec: 250_000 };
    checks.equal(
        "timeout",
        (set(one, SO_SNDTIMEO, &long), get::<[i64; 2]>(one, SO_SNDTIMEO)),
        (Ok(0), Ok([3, 250_000])),
    );
    let short = timeval { tv_sec: 0, tv_usec: 1 };
    checks.equal("it ends a wait", (set(one, SO_RCVTIMEO, &short), take(one, 1, 0)), (Ok(0), Err(EAGAIN)));
    checks.equal("no such time", set(one, SO_RCVTIMEO, &timeval { tv_sec: 0, tv_usec: 1_000_000 }), Err(EDOM));
    checks.equal("half a time", set(one, SO_RCVTIMEO, &1_i64), Err(EINVAL));
    checks.equal("half a number", set(one, SO_SNDBUF, &1_u8), Err(EINVAL));
    checks.equal("can't be set", set(one, SO_TYPE, &1), Err(ENOPROTOOPT));
    checks.equal("no such option", (set(one, 999, &1), number(one, 999)), (Err(ENOPROTOOPT), Err(ENOPROTOOPT)));
    checks.equal("no socket", (set(0, SO_TYPE, &1), number(-1, SO_TYPE)), (Err(ENOTSOCK), Err(EBADF)));
    // SAFETY: addresses are bad on purpose, or those of what lives until the call is over.
    unsafe {
        let value = 1;
        let value: *const c_void = (&raw const value).cast();
        checks.equal("another level", result(setsockopt(one, 6, 1, value, 4).into()), Err(EOPNOTSUPP));
        checks.equal("bad address", result(setsockopt(one, 1, SO_SNDBUF, 8 as *const c_void, 4).into()), Err(EFAULT));
        let length = size_of::<ucred>() as u32;
        let mut room = length * 2;
        let mut who: ucred = std::mem::zeroed();
        getsockopt(one, SOL_SOCKET, SO_PEERCRED, (&raw mut who).cast(), &raw mut room);
        checks.equal("its peer", (room, who.pid, who.uid), (length, getpid(), 0));
        setgroups(2, [7, 8].as_ptr());
        let [grouped, _other] = pair(SOCK_STREAM);
        checks.equal("too many groups", get::<[u32; 1]>(grouped, SO_PEERGROUPS), Err(ERANGE));
        checks.equal("its groups", get::<[u32; 2]>(grouped, SO_PEERGROUPS), Ok([7, 8]));
        let (mut sent, mut ready) = (0, 0);
        put(two, "12345", 0).ok();
        ioctl(two, TIOCOUTQ, &raw mut sent);
        ioctl(one, FIONREAD, &raw mut ready);
        checks.equal("sent and waiting", (sent, ready), (5, 5));
        owners(checks, one);
        close(two);
    }
    let user = child::status(|| {
        // SAFETY: takes no address.
        unsafe { setresuid(1000, 1000, 1000) };
        i32::from(set(one, SO_SNDBUFFORCE, &1) != Err(EPERM) || set(one, SO_PRIORITY, &7) != Err(EPERM))
    });
    checks.equal("another user", user, 0);
    let [one, two] = pair(SOCK_STREAM);
    put(two, "unread", 0).ok();
    // SAFETY: takes no address.
    unsafe { close(one) };
    checks.equal("an error is told once", (number(two, SO_ERROR), number(two, SO_ERROR)), (Ok(ECONNRESET), Ok(0)));
}

/// The requests of an ioctl that are those of F_SETOWN and F_GETOWN.
fn owners(checks: &mut Checks, socket: RawFd) {
    const SET: [c_ulong; 2] = [0x8901, 0x8902];
    const GET: [c_ulong; 2] = [0x8903, 0x8904];
    // SAFETY: takes no address.
    let (own, group) = unsafe { (getpid(), getpgrp()) };
    // SAFETY: the number lives until the calls are over, or the address is bad on purpose.
    let ask =
        |file, request: c_ulong, number: *mut i32| result(unsafe { ioctl(file, request as Ioctl, number) }.into());
    let mut told = 7;
    for (set, get) in SET.into_iter().zip(GET) {
        checks.equal(
            "an owner",
            (ask(socket, set, &mut { own }), ask(socket, get, &raw mut told), told),
            (Ok(0), Ok(0), own),
        );
        let named = (ask(socket, set, &mut { -group }), ask(socket, get, &raw mut told), told);
        checks.equal("a group", named, (Ok(0), Ok(0), -group));
        checks.equal("nobody there", ask(socket, set, &mut 0x3f_ffff), Err(ESRCH));
        checks.equal("no number", ask(socket, set, &mut { i32::MIN }), Err(EINVAL));
        let nowhere = std::ptr::dangling_mut::<i32>();
        checks.equal("nowhere", (ask(socket, set, nowhere), ask(socket, get, nowhere)), (Err(EFAULT), Err(EFAULT)));
        checks.equal("no socket", ask(0, get, &raw mut told), Err(ENOTTY));
    }
}

/// What a child ends with that sends where nobody receives: the errno, or a signal.
fn breaking(socket: RawFd) -> i32 {
    child::status(|| {
        // SAFETY: takes no address. Rust's programs begin by ignoring this signal.
        unsafe { signal(SIGPIPE, SIG_DFL) };
        put(socket, "x", 0).err().unwrap_or(0)
    })
}

fn receiving(checks: &mut Checks) {
    let [one, two] = pair(SOCK_STREAM);
    put(one, "abcdef", 0).ok();
    checks.equal("a look", (take(two, 3, MSG_PEEK), take(two, 3, MSG_PEEK)), (Ok("abc".into()), Ok("abc".into())));
    set(two, SO_PEEK_OFF, &1).ok();
    checks.equal("goes on", (take(two, 2, MSG_PEEK), take(two, 9, MSG_PEEK)), (Ok("bc".into()), Ok("def".into())));
    checks.equal("and taking", (take(two, 2, 0), number(two, SO_PEEK_OFF)), (Ok("ab".into()), Ok(4)));
    let writer = child::start(|| i32::from(put(one, "ghi", 0) != Ok(3)));
    checks.equal("all of it", (take(two, 7, MSG_WAITALL), writer()), (Ok("cdefghi".into()), 0));
    checks.equal("not now", take(two, 1, MSG_DONTWAIT), Err(EAGAIN));
    checks.equal("out of band", (put(one, "x", MSG_OOB), take(two, 1, MSG_OOB)), (Err(EOPNOTSUPP), Err(EOPNOTSUPP)));
    // SAFETY: takes no address.
    unsafe { close(two) };
    checks.equal("no signal", put(one, "x", MSG_NOSIGNAL), Err(EPIPE));
    checks.equal("or one", breaking(one), 128 + SIGPIPE);
    let [one, two] = pair(SOCK_SEQPACKET);
    put(one, "packet", 0).ok();
    let mut buffer = [0_u8; 2];
    // SAFETY: the buffer has that room.
    let length = unsafe { recv(two, buffer.as_mut_ptr().cast(), 2, MSG_TRUNC) };
    checks.equal("the length of a packet", (length, take(two, 9, MSG_DONTWAIT)), (6, Err(EAGAIN)));
    // SAFETY: takes no address.
    unsafe { close(two) };
    checks.equal("packets break in silence", breaking(one), EPIPE);
    let large = "x".repeat(212_992);
    let [one, _two] = pair(SOCK_DGRAM);
    checks.equal("too long", put(one, &large, MSG_DONTWAIT), Err(EMSGSIZE));
}

/// Control data of one record.
fn record(kind: c_int, body: &[i32]) -> Vec<u64> {
    let mut words = vec![16 + body.len() as u64 * 4, SOL_SOCKET as u64 | (kind as u64) << 32];
    words.extend(body.chunks(2).map(|two| two.iter().rev().fold(0, |word, &half| word << 32 | u64::from(half as u32))));
    words
}

fn header(vector: &mut iovec, control: &mut [u64], length: u32) -> msghdr {
    // SAFETY: all zeros is a msghdr.
    let mut head: msghdr = unsafe { std::mem::zeroed() };
    (head.msg_iov, head.msg_iovlen) = (vector, 1);
    (head.msg_control, head.msg_controllen) = (control.as_mut_ptr().cast(), length as _);
    head
}

fn send_with(socket: RawFd, kind: c_int, body: &[i32]) -> Result<i64, i32> {
    let mut control = record(kind, body);
    let mut vector = iovec { iov_base: b"x".as_ptr().cast_mut().cast(), iov_len: 1 };
    let head = header(&mut vector, &mut control, 16 + body.len() as u32 * 4);
    // SAFETY: all that the header names lives until the call is over.
    result(unsafe { sendmsg(socket, &raw const head, MSG_DONTWAIT) } as i64)
}

/// What comes beside a message: flags, and the words of the control data.
fn beside(socket: RawFd, room: u32) -> (c_int, Vec<i32>) {
    let (mut control, mut byte) = ([0_u64; 8], 0_u8);
    let mut vector = iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut head = header(&mut vector, &mut control, room);
    // SAFETY: all that the header names lives until the call is over.
    let count = unsafe { recvmsg(socket, &raw mut head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) };
    if count < 0 {
        return (-1, Vec::new());
    }
    let words = control.iter().flat_map(|word| [*word as i32, (*word >> 32) as i32]);
    let length: usize = head.msg_controllen as _;
    // That flag comes back, with those that say what became of the message.
    (head.msg_flags ^ MSG_CMSG_CLOEXEC, words.take(length / 4).collect())
}

fn credentials(checks: &mut Checks) {
    let [one, two] = pair(SOCK_STREAM);
    // SAFETY: takes no address.
    let own = unsafe { getpid() };
    checks.equal("nobody asks", (put(one, "x", 0), beside(two, 64)), (Ok(1), (0, vec![])));
    set(two, SO_PASSCRED, &1).ok();
    let told = |pid, uid| vec![28, 0, SOL_SOCKET, SCM_CREDENTIALS, pid, uid, 0, 0];
    checks.equal("who writes", (put(one, "x", 0), beside(two, 64)), (Ok(1), (0, told(own, 0))));
    checks.equal(
        "who it says",
        (send_with(one, SCM_CREDENTIALS, &[own, 77, 0]), beside(two, 64)),
        (Ok(1), (0, told(own, 77))),
    );
    checks.equal("no room", (put(one, "x", 0), beside(two, 0)), (Ok(1), (MSG_CTRUNC, vec![])));
    checks.equal("little room", (put(one, "x", 0), beside(two, 24)), (Ok(1), (MSG_CTRUNC, vec![24, 0, 1, 2, own, 0])));
    checks.equal("half of it", send_with(one, SCM_CREDENTIALS, &[own, 0]), Err(EINVAL));
    checks.equal("no process", send_with(one, SCM_CREDENTIALS, &[0x3f_ffff, 0, 0]), Err(ESRCH));
    checks.equal("no such record", send_with(one, 9, &[own, 0, 0]), Err(EINVAL));
    checks.equal("no such file", send_with(one, SCM_RIGHTS, &[99]), Err(EBADF));
    let user = child::status(|| {
        // SAFETY: takes no address.
        let own = unsafe {
            setgroups(0, null_mut());
            setresgid(1000, 1000, 1000);
            setresuid(1000, 1000, 1000);
            getpid()
        };
        let claims = [[1, 1000, 1000], [own, 0, 1000], [own, 1000, 0]].map(|who| send_with(one, SCM_CREDENTIALS, &who));
        i32::from(claims != [Err(EPERM); 3] || send_with(one, SCM_CREDENTIALS, &[own, 1000, 1000]) != Ok(1))
    });
    checks.equal("a user is only itself", (user, beside(two, 64).1.get(5).copied()), (0, Some(1000)));
    set(two, SO_PASSCRED, &0).ok();
    let (flags, words) = (send_with(one, SCM_RIGHTS, &[one, two]), beside(two, 64));
    checks.check("files", flags == Ok(1) && words.1.len() == 6 && words.1[..4] == [24, 0, 1, 1]);
    // SAFETY: takes no address.
    let closes = words.1[4..].iter().all(|&file| unsafe { fcntl(file, F_GETFD) == FD_CLOEXEC && close(file) == 0 });
    checks.check("that exec closes", closes);
}

/// Files that are on their way: sockets in the inboxes of sockets, and how many a user may have sent.
fn in_flight(checks: &mut Checks) {
    let shut = |files: &[RawFd]| {
        for &file in files {
            // SAFETY: nobody uses it any more.
            unsafe { close(file) };
        }
    };
    let mut inner = pair(SOCK_STREAM);
    let mut fine = true;
    for _ in 0..3000 {
        let outer = pair(SOCK_STREAM);
        fine &= send_with(outer[0], SCM_RIGHTS, &inner) == Ok(1);
        shut(&inner);
        inner = outer;
    }
    checks.check("sockets in sockets in sockets", fine);
    shut(&inner);
    // The pipe's end is in a ring that nobody can reach, but for sockets that are closed.
    let mut ends = [-1; 2];
    // SAFETY: two numbers have place there.
    unsafe { pipe(ends.as_mut_ptr()) };
    let ring = pair(SOCK_STREAM);
    checks.equal("a ring", send_with(ring[0], SCM_RIGHTS, &[ring[0], ring[1], ends[1]]), Ok(1));
    shut(&[ring[0], ring[1], ends[1]]);
    shut(&pair(SOCK_STREAM));
    // SAFETY: the byte has place there.
    checks.equal("is found", unsafe { read(ends[0], [0_u8].as_mut_ptr().cast(), 1) }, 0);
    shut(&ends[..1]);
    let [one, two] = pair(SOCK_STREAM);
    checks.equal("too many at once", send_with(one, SCM_RIGHTS, &[one; 254]), Err(EINVAL));
    checks.equal("many", send_with(one, SCM_RIGHTS, &[one; 253]), Ok(1));
    let user = child::status(|| {
        let few = rlimit { rlim_cur: 20, rlim_max: 20 };
        // SAFETY: the limit lives until the call is over.
        unsafe {
            setrlimit(RLIMIT_NOFILE, &raw const few);
            setresuid(1000, 1000, 1000);
        }
        let sent = (0..30).map_while(|_| send_with(one, SCM_RIGHTS, &[one]).ok()).count();
        i32::from(sent != 21 || send_with(one, SCM_RIGHTS, &[one]) != Err(ETOOMANYREFS))
    });
    checks.equal("a user has a limit", user, 0);
    shut(&[one, two]);
}

fn many(checks: &mut Checks) {
    let [one, two] = pair(SOCK_DGRAM);
    let texts = ["a", "bc", "def"];
    let mut vectors = texts.map(|text| iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() });
    // SAFETY: all zeros is a mmsghdr.
    let mut messages: [mmsghdr; 3] = unsafe { std::mem::zeroed() };
    for (message, vector) in messages.iter_mut().zip(&mut vectors) {
        (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (vector, 1);
    }
    // SAFETY: all that the messages name lives until the call is over.
    let sent = unsafe { syscall(SYS_sendmmsg, one, messages.as_mut_ptr(), 3, 0) };
    checks.equal("three go out", (sent, messages.map(|one| one.msg_len)), (3, [1, 2, 3]));
    let mut room = [[0_u8; 8]; 4];
    let mut vectors = room.each_mut().map(|room| iovec { iov_base: room.as_mut_ptr().cast(), iov_len: 8 });
    // SAFETY: all zeros is a mmsghdr.
    let mut messages: [mmsghdr; 4] = unsafe { std::mem::zeroed() };
    for (message, vector) in messages.iter_mut().zip(&mut vectors) {
        (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (vector, 1);
    }
    let mut receive = |flags: c_int, time: *mut timespec| {
        // SAFETY: all that the messages name lives until the call is over; the time is null or lives too.
        result(unsafe { syscall(SYS_recvmmsg, two, messages.as_mut_ptr(), 4, flags, time) })
    };
    let mut never = timespec { tv_sec: 0, tv_nsec: -1 };
    checks.equal("no such time", receive(0, &raw mut never), Err(EINVAL));
    checks.equal("and come in", receive(MSG_WAITFORONE, null_mut()), Ok(3));
    checks.equal("no more now", receive(MSG_DONTWAIT, null_mut()), Err(EAGAIN));
    let mut over = timespec { tv_sec: 0, tv_nsec: 0 };
    put(one, "x", 0).ok();
    put(one, "y", 0).ok();
    checks.equal("a time that is over ends it after one", receive(0, &raw mut over), Ok(1));
    checks.equal("each in its place", (room[0][0], &room[1][..2], &room[2][..3]), (b'x', &b"bc"[..], &b"def"[..]));
    // SAFETY: the address is bad on purpose.
    checks.equal(
        "bad address",
        result(unsafe { syscall(SYS_sendmmsg, one, std::ptr::dangling_mut::<mmsghdr>(), 1, 0) }),
        Err(EFAULT),
    );
}

fn names(checks: &mut Checks) {
    // SAFETY: all zeros is an address, and it lives until the calls are over.
    unsafe {
        let (one, two) = (socket(AF_UNIX, SOCK_DGRAM, 0), socket(AF_UNIX, SOCK_DGRAM, 0));
        let mut name: sockaddr_un = std::mem::zeroed();
        name.sun_family = AF_UNIX as u16;
        let address: *mut sockaddr = (&raw mut name).cast();
        checks.equal("a name by itself", result(bind(one, address, 2).into()), Ok(0));
        let mut length = 110;
        getsockname(one, address, &raw mut length);
        checks.check(
            "of five digits",
            length == 8 && name.sun_path[0] == 0 && (name.sun_path[5] as u8).is_ascii_hexdigit(),
        );
        checks.equal("it is found", result(connect(two, address, length).into()), Ok(0));
        checks.equal("and heard", (put(two, "x", 0), take(one, 1, 0)), (Ok(1), Ok("x".into())));
        (*address).sa_family = AF_UNSPEC as u16;
        checks.equal("a peer is left", result(connect(two, address, 2).into()), Ok(0));
        checks.equal("for nobody", put(two, "x", 0), Err(ENOTCONN));
    }
}

/// Room of so many bytes, behind which nothing is mapped.
fn before_a_hole(length: usize) -> *mut u8 {
    const MOST: usize = 64 << 10;
    // SAFETY: a new mapping, of which the last page is taken away again.
    unsafe {
        let all = mmap(null_mut(), MOST + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(all.cast::<u8>().add(MOST).cast(), 4096);
        all.cast::<u8>().add(MOST - length)
    }
}

/// Buffers that end too early.
fn cut(checks: &mut Checks) {
    let little = before_a_hole(4);
    // SAFETY: the buffers are too short on purpose.
    let send_cut =
        |socket, from: *mut u8, length| result(unsafe { send(socket, from.cast(), length, MSG_NOSIGNAL) } as i64);
    // SAFETY: as above.
    let write_cut = |socket, from: *mut u8, length| result(unsafe { write(socket, from.cast(), length) } as i64);
    // SAFETY: as above.
    let take_cut = |socket, flags| result(unsafe { recv(socket, little.cast(), 8, flags) } as i64);
    // SAFETY: as above.
    let read_cut = |socket| result(unsafe { read(socket, little.cast(), 8) } as i64);
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
        let [one, two] = pair(kind);
        let sent = (send_cut(one, little, 8), write_cut(one, little, 8), write_cut(one, little, 1000));
        checks.equal("a buffer that is cut", sent, (Err(EFAULT), Err(EFAULT), Err(EFAULT)));
        let mut parts =
            [(little, 2), (little, 8)].map(|(from, length)| iovec { iov_base: from.cast(), iov_len: length });
        // SAFETY: the second buffer is too short on purpose.
        let gathered = result(unsafe { writev(one, parts.as_ptr(), 2) } as i64);
        checks.equal("one of two", (gathered, take(two, 8, MSG_DONTWAIT)), (Err(EFAULT), Err(EAGAIN)));
        put(one, "12345678", 0).ok();
        checks.equal("a look", take_cut(two, MSG_PEEK), Err(EFAULT));
        let left = |text: &str| if kind == SOCK_STREAM { Ok(text.to_owned()) } else { Err(EAGAIN) };
        let received = (take_cut(two, 0), take(two, 8, MSG_DONTWAIT));
        checks.equal("a place that is cut", received, (Err(EFAULT), left("12345678")));
        put(one, "12345678", 0).ok();
        checks.equal("a reader's", (read_cut(two), take(two, 8, MSG_DONTWAIT)), (Err(EFAULT), left("12345678")));
        put(one, "12345678", 0).ok();
        parts[1].iov_len = 6;
        // SAFETY: the second buffer is too short on purpose.
        let scattered = result(unsafe { readv(two, parts.as_ptr(), 2) } as i64);
        checks.equal("one of two places", (scattered, take(two, 8, MSG_DONTWAIT)), (Err(EFAULT), left("12345678")));
        // SAFETY: takes no address.
        unsafe { close(two) };
        let alone = if kind == SOCK_DGRAM { EFAULT } else { EPIPE };
        checks.equal("for nobody", send_cut(one, little, 8), Err(alone));
    }
    const PIECE: usize = 36_544;
    let [one, two] = pair(SOCK_STREAM);
    let much = before_a_hole(PIECE + 4);
    checks.equal("a whole piece goes", send_cut(one, much, PIECE + 8), Ok(PIECE as i64));
    let mut waiting = 0;
    // SAFETY: the number lives until the call is over.
    unsafe { ioctl(two, FIONREAD, &raw mut waiting) };
    checks.equal("and arrives", waiting, PIECE as i32);
    let [one, two] = pair(SOCK_DGRAM);
    let large = "x".repeat(100_000);
    let mut byte = 0_u8;
    // SAFETY: room for what is asked for.
    let length = unsafe {
        write(one, large.as_ptr().cast(), large.len());
        recv(two, (&raw mut byte).cast(), 1, MSG_TRUNC)
    };
    checks.equal("a long packet is one", (length, take(two, 1, MSG_DONTWAIT)), (100_000, Err(EAGAIN)));
    // SAFETY: takes no address.
    let alone = unsafe { socket(AF_UNIX, SOCK_STREAM, 0) };
    checks.equal("without a peer", send_cut(alone, little, 8), Err(ENOTCONN));
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    options(&mut checks);
    receiving(&mut checks);
    cut(&mut checks);
    credentials(&mut checks);
    in_flight(&mut checks);
    many(&mut checks);
    names(&mut checks);
    socket_names::run(&mut checks);
    socket_ends::run(&mut checks);
    checks.tell()
}
