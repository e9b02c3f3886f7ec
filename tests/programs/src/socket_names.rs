//! Names of local sockets: who is told them and when, and what is wrong with one.

use crate::{
    checks::{Checks, result},
    sockets::{pair, put, take},
};
use libc::*;
use std::{os::fd::RawFd, ptr::null_mut};

/// The name of the abstract kind, and its length.
fn abstract_name(text: &str) -> (sockaddr_un, u32) {
    // SAFETY: all zeros is an address.
    let mut name: sockaddr_un = unsafe { std::mem::zeroed() };
    name.sun_family = AF_UNIX as u16;
    for (place, byte) in name.sun_path[1..].iter_mut().zip(text.bytes()) {
        *place = byte as c_char;
    }
    (name, 3 + text.len() as u32)
}

fn made(kind: c_int) -> RawFd {
    // SAFETY: takes no address.
    unsafe { socket(AF_UNIX, kind | SOCK_NONBLOCK, 0) }
}

fn named(socket: RawFd, text: &str) -> Result<i64, i32> {
    let (name, length) = abstract_name(text);
    // SAFETY: the name lives until the call is over.
    result(unsafe { bind(socket, (&raw const name).cast(), length) }.into())
}

fn joined(socket: RawFd, text: &str) -> Result<i64, i32> {
    let (name, length) = abstract_name(text);
    // SAFETY: the name lives until the call is over.
    result(unsafe { connect(socket, (&raw const name).cast(), length) }.into())
}

/// What `recvfrom` says: bytes, the length of the sender's name, and the name; 7 is what lay there before.
fn heard(socket: RawFd) -> (i64, u32, u16, String) {
    let (mut name, mut length, mut byte) = (abstract_name("").0, size_of::<sockaddr_un>() as u32, 0_u8);
    name.sun_family = 7;
    // SAFETY: all that is named lives until the call is over.
    let count =
        unsafe { recvfrom(socket, (&raw mut byte).cast(), 1, MSG_DONTWAIT, (&raw mut name).cast(), &raw mut length) };
    let text = name.sun_path[1..].iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0);
    (count as i64, length, name.sun_family, text.map(char::from).collect())
}

/// How long the name of the peer is.
fn peer_length(socket: RawFd) -> u32 {
    let (mut name, mut length) = (abstract_name("").0, size_of::<sockaddr_un>() as u32);
    // SAFETY: the name lives until the call is over.
    unsafe { getpeername(socket, (&raw mut name).cast(), &raw mut length) };
    length
}

fn senders(checks: &mut Checks) {
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
        let [one, two] = pair(kind);
        put(one, "x", 0).ok();
        checks.equal("a sender without a name", heard(two), (1, 0, 7, String::new()));
        checks.equal("a name that comes later", (peer_length(two), named(one, "later")), (2, Ok(0)));
        put(one, "x", 0).ok();
        let told = (peer_length(two), heard(two));
        checks.equal("is told from then on", told, (8, (1, 8, AF_UNIX as u16, "later".into())));
        // SAFETY: takes no address.
        unsafe { close(one) };
        let end = if kind == SOCK_DGRAM { (-1, 110, 7, String::new()) } else { (0, 0, 7, String::new()) };
        checks.equal("the end has none", heard(two), end);
        // SAFETY: takes no address.
        unsafe { close(two) };
    }
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
        let (listener, client) = (made(kind), made(kind));
        checks.equal("named", (named(listener, "server"), named(client, "user")), (Ok(0), Ok(0)));
        // SAFETY: takes no address.
        unsafe { listen(listener, 1) };
        checks.equal("joined", joined(client, "server"), Ok(0));
        // SAFETY: takes no place for a name.
        let server = unsafe { accept(listener, null_mut(), null_mut()) };
        put(client, "x", 0).ok();
        put(server, "y", 0).ok();
        checks.equal("the client's", heard(server), (1, 7, AF_UNIX as u16, "user".into()));
        checks.equal("the server's", heard(client), (1, 9, AF_UNIX as u16, "server".into()));
        for file in [listener, client, server] {
            // SAFETY: takes no address.
            unsafe { close(file) };
        }
    }
}

/// Names that each type of socket has for itself.
fn by_type(checks: &mut Checks) {
    let (stream, datagram, other) = (made(SOCK_STREAM), made(SOCK_DGRAM), made(SOCK_DGRAM));
    checks.equal("a stream's name", named(stream, "same"), Ok(0));
    checks.equal("is nothing to datagrams", joined(other, "same"), Err(ECONNREFUSED));
    checks.equal("they may have it too", (named(datagram, "same"), joined(other, "same")), (Ok(0), Ok(0)));
    checks.equal("but once", named(other, "same"), Err(EADDRINUSE));
    let path = c"/tmp/same";
    let (mut name, length) = abstract_name("");
    for (place, byte) in name.sun_path.iter_mut().zip(path.to_bytes()) {
        *place = *byte as c_char;
    }
    let length = length - 1 + path.count_bytes() as u32;
    let third = made(SOCK_STREAM);
    // SAFETY: the name lives until the calls are over.
    unsafe {
        let address: *const sockaddr = (&raw const name).cast();
        checks.equal("a path", result(bind(third, address, length).into()), Ok(0));
        checks.equal("has one type", result(connect(other, address, length).into()), Err(EPROTOTYPE));
        unlink(path.as_ptr());
        for file in [stream, datagram, other, third] {
            close(file);
        }
    }
}

/// To whom a message goes that has a name with it.
fn receivers(checks: &mut Checks) {
    let strange = [AF_INET as u16, 0, 0];
    let to = |socket, length: u32| {
        // SAFETY: the name is as long.
        result(unsafe { sendto(socket, c"x".as_ptr().cast(), 1, 0, strange.as_ptr().cast(), length) } as i64)
    };
    let [one, two] = pair(SOCK_STREAM);
    checks.equal("a stream refuses any", (to(one, 6), to(one, 1)), (Err(EISCONN), Err(EISCONN)));
    checks.equal("alone too", to(made(SOCK_STREAM), 6), Err(EOPNOTSUPP));
    checks.equal("no bytes are no name", (to(one, 0), take(two, 1, 0)), (Ok(1), Ok("x".into())));
    let [one, two] = pair(SOCK_SEQPACKET);
    checks.equal("packets go to the peer", (to(one, 6), take(two, 1, 0)), (Ok(1), Ok("x".into())));
    let [one, _two] = pair(SOCK_DGRAM);
    checks.equal("a datagram's is looked at", (to(one, 6), to(one, 1)), (Err(EINVAL), Err(EINVAL)));
    let [one, two] = pair(SOCK_STREAM);
    let (mut byte, mut name) = (0_u8, abstract_name("").0);
    let mut vectors = vec![iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 }; 1025];
    // SAFETY: all zeros is a msghdr, and all that it names lives until the calls are over.
    unsafe {
        let mut head: msghdr = std::mem::zeroed();
        (head.msg_iov, head.msg_iovlen) = (vectors.as_mut_ptr(), 1025);
        let both = |head: &mut msghdr| {
            put(one, "x", 0).ok();
            let sent = result(sendmsg(one, head, MSG_DONTWAIT) as i64);
            (sent, result(recvmsg(two, head, MSG_DONTWAIT) as i64))
        };
        checks.equal("too many vectors", both(&mut head), (Err(EMSGSIZE), Err(EMSGSIZE)));
        (head.msg_iovlen, head.msg_name, head.msg_namelen) = (1, (&raw mut name).cast(), u32::MAX);
        checks.equal("less than no name", both(&mut head), (Err(EINVAL), Err(EINVAL)));
        (head.msg_namelen, head.msg_flags) = (500, 0x77);
        checks.equal("a long one", both(&mut head), (Err(EISCONN), Ok(1)));
        checks.equal("comes to none", (head.msg_namelen, head.msg_flags), (0, 0));
    }
}

fn families(checks: &mut Checks) {
    // SAFETY: takes no address.
    let asked = |family, kind, protocol| result(unsafe { socket(family, kind, protocol) }.into());
    checks.equal("no such flag", asked(99, 0x101, 0), Err(EINVAL));
    checks.equal("no such family", (asked(0, 0, 0), asked(99, 15, 0)), (Err(EAFNOSUPPORT), Err(EAFNOSUPPORT)));
    checks.equal(
        "no such type",
        (asked(AF_UNIX, 0, 0), asked(AF_UNIX, 10, 0)),
        (Err(ESOCKTNOSUPPORT), Err(ESOCKTNOSUPPORT)),
    );
    checks.equal("no type at all", (asked(AF_UNIX, 11, 0), asked(0, 15, 0)), (Err(EINVAL), Err(EINVAL)));
    checks.equal("no such protocol", asked(AF_UNIX, 0, 2), Err(EPROTONOSUPPORT));
}

/// Tries everything.
pub fn run(checks: &mut Checks) {
    senders(checks);
    by_type(checks);
    receivers(checks);
    families(checks);
}
