//! Options of sockets at `SOL_SOCKET`; local sockets have none at other levels.

use crate::{
    abi::Timeval,
    arguments::{Abi, UserPtr},
    call::Call,
    sockets::of,
};
use alloc::vec::Vec;
use base::{Capabilities, Errno};
use vfs::socket::{Kept, Socket, SocketType, Timeout};

/// `SOL_SOCKET`.
pub(crate) const SOL_SOCKET: i32 = 1;

const SO_REUSEADDR: u32 = 2;
const SO_TYPE: u32 = 3;
const SO_ERROR: u32 = 4;
const SO_DONTROUTE: u32 = 5;
const SO_BROADCAST: u32 = 6;
const SO_SNDBUF: u32 = 7;
const SO_RCVBUF: u32 = 8;
const SO_KEEPALIVE: u32 = 9;
const SO_OOBINLINE: u32 = 10;
const SO_PRIORITY: u32 = 12;
const SO_LINGER: u32 = 13;
const SO_REUSEPORT: u32 = 15;
const SO_PASSCRED: u32 = 16;
const SO_PEERCRED: u32 = 17;
const SO_RCVLOWAT: u32 = 18;
const SO_SNDLOWAT: u32 = 19;
const SO_RCVTIMEO: u32 = 20;
const SO_SNDTIMEO: u32 = 21;
const SO_ACCEPTCONN: u32 = 30;
const SO_SNDBUFFORCE: u32 = 32;
const SO_RCVBUFFORCE: u32 = 33;
const SO_PROTOCOL: u32 = 38;
const SO_DOMAIN: u32 = 39;
const SO_PEEK_OFF: u32 = 42;
const SO_PEERGROUPS: u32 = 59;

/// The options that are only kept.
const KEPT: &[(u32, Kept)] = &[
    (SO_REUSEADDR, Kept::ReuseAddress),
    (SO_REUSEPORT, Kept::ReusePort),
    (SO_DONTROUTE, Kept::DontRoute),
    (SO_BROADCAST, Kept::Broadcast),
    (SO_KEEPALIVE, Kept::KeepAlive),
    (SO_OOBINLINE, Kept::OutOfBandInline),
    (SO_PRIORITY, Kept::Priority),
    (SO_RCVLOWAT, Kept::LeastReceived),
];

/// `setsockopt(2)`.
///
/// Errors, in this order: `EBADF`, `ENOTSOCK`; `EINVAL` a negative length; `EOPNOTSUPP` another level; `EINVAL` a length
/// that is too short; `EFAULT`; `ENOPROTOOPT` no such option, or one that can't be set; the option's own.
pub fn setsockopt(
    call: &Call<'_>,
    descriptor: i32,
    level: i32,
    option: u32,
    value: UserPtr<i32>,
    length: i32,
) -> Result<usize, Errno> {
    let file = call.socket_file(descriptor)?;
    let socket = of(&file)?;
    let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
    if level != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    if length < i32::SIZE {
        return Err(Errno::EINVAL);
    }
    let number = value.read()?;
    let on = number != 0;
    let privileged = |capability| if call.task.credentials().has(capability) { Ok(()) } else { Err(Errno::EPERM) };
    match option {
        SO_SNDBUF => socket.set_send_buffer(number as u32, false),
        SO_RCVBUF => socket.set_receive_buffer(number as u32, false),
        SO_SNDBUFFORCE => {
            privileged(Capabilities::NET_ADMIN)?;
            socket.set_send_buffer(number.max(0) as u32, true);
        }
        SO_RCVBUFFORCE => {
            privileged(Capabilities::NET_ADMIN)?;
            socket.set_receive_buffer(number.max(0) as u32, true);
        }
        SO_PASSCRED => socket.set_passes_credentials(on),
        SO_PEEK_OFF => socket.set_peek_offset(number),
        SO_SNDTIMEO => socket.set_send_timeout(timeout(UserPtr::at(value.address()), length)?),
        SO_RCVTIMEO => socket.set_receive_timeout(timeout(UserPtr::at(value.address()), length)?),
        SO_LINGER => {
            let [on, seconds] = if length < 8 { return Err(Errno::EINVAL) } else { linger(value)? };
            socket.keep(Kept::Linger, if on == 0 { -1 } else { seconds.max(0) });
        }
        SO_PRIORITY => {
            if !(0..=6).contains(&number) {
                privileged(Capabilities::NET_ADMIN)?;
            }
            socket.keep(Kept::Priority, number);
        }
        SO_RCVLOWAT => socket.keep(Kept::LeastReceived, if number < 0 { i32::MAX } else { number.max(1) }),
        _ => {
            let (_, which) = KEPT.iter().find(|(known, _)| *known == option).ok_or(Errno::ENOPROTOOPT)?;
            socket.keep(*which, i32::from(on));
        }
    }
    Ok(0)
}

fn linger(value: UserPtr<i32>) -> Result<[i32; 2], Errno> {
    UserPtr::<[i32; 2]>::at(value.address()).read()
}

/// A `struct timeval` as a timeout: zero is none, and a negative one is over at once. `EINVAL` too short, `EDOM`
/// microseconds that are none.
fn timeout(value: UserPtr<Timeval>, length: usize) -> Result<Timeout, Errno> {
    if length < Timeval::SIZE {
        return Err(Errno::EINVAL);
    }
    let Timeval { seconds, microseconds } = value.read()?;
    if !(0..1_000_000).contains(&microseconds) {
        return Err(Errno::EDOM);
    }
    Ok(match (seconds, microseconds) {
        (0, 0) => None,
        (..0, _) => Some(0),
        _ => Some((seconds as u64).saturating_mul(1_000_000_000).saturating_add(microseconds as u64 * 1000)),
    })
}

/// `getsockopt(2)`.
///
/// Errors, in this order: `EBADF`, `ENOTSOCK`; `EOPNOTSUPP` another level; `EFAULT`; `EINVAL` a negative length;
/// `ENOPROTOOPT` no such option, or one that can't be asked; `ENODATA`, `ERANGE` (`SO_PEERGROUPS`).
pub fn getsockopt(
    call: &Call<'_>,
    descriptor: i32,
    level: i32,
    option: u32,
    value: UserPtr<u8>,
    length: UserPtr<u32>,
) -> Result<usize, Errno> {
    let file = call.socket_file(descriptor)?;
    let socket = of(&file)?;
    if level != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    let room = i32::try_from(length.read()?).map_err(|_| Errno::EINVAL)? as usize;
    let mut bytes = Vec::new();
    let mut put = |number: i32| bytes.extend_from_slice(&number.to_le_bytes());
    match option {
        SO_TYPE => put(match socket.kind() {
            SocketType::Stream => 1,
            SocketType::Datagram => 2,
            SocketType::SequencedPacket => 5,
        }),
        SO_ERROR => put(socket.take_error().map_or(0, Errno::code)),
        SO_PROTOCOL => put(0),
        SO_DOMAIN => put(1),
        SO_ACCEPTCONN => put(socket.is_listening().into()),
        SO_PASSCRED => put(socket.passes_credentials().into()),
        SO_PEEK_OFF => put(socket.peek_offset()),
        SO_SNDBUF => put(socket.send_buffer() as i32),
        SO_RCVBUF => put(socket.receive_buffer() as i32),
        SO_SNDLOWAT => put(1),
        SO_LINGER => {
            let seconds = socket.kept(Kept::Linger);
            put((seconds >= 0).into());
            put(seconds.max(0));
        }
        SO_SNDTIMEO => bytes = told_timeout(socket.send_timeout()),
        SO_RCVTIMEO => bytes = told_timeout(socket.receive_timeout()),
        SO_PEERCRED => {
            let peer = socket.peer();
            put(peer.as_ref().map_or(0, |peer| peer.pid.raw()));
            put(peer.as_ref().map_or(-1, |peer| peer.credentials.euid.raw() as i32));
            put(peer.as_ref().map_or(-1, |peer| peer.credentials.egid.raw() as i32));
        }
        SO_PEERGROUPS => return tell_groups(socket, UserPtr::at(value.address()), length, room),
        _ => {
            let (_, which) = KEPT.iter().find(|(known, _)| *known == option).ok_or(Errno::ENOPROTOOPT)?;
            put(socket.kept(*which));
        }
    }
    bytes.truncate(room);
    value.write_array(&bytes)?;
    length.write(&(bytes.len() as u32))?;
    Ok(0)
}

fn told_timeout(timeout: Timeout) -> Vec<u8> {
    let nanoseconds = timeout.unwrap_or(0) as i64;
    let seconds = nanoseconds / 1_000_000_000;
    let microseconds = nanoseconds % 1_000_000_000 / 1000;
    [seconds.to_le_bytes(), microseconds.to_le_bytes()].concat()
}

/// `SO_PEERGROUPS`: all of the peer's groups, or how much room they need.
fn tell_groups(socket: &Socket, value: UserPtr<u32>, length: UserPtr<u32>, room: usize) -> Result<usize, Errno> {
    let peer = socket.peer().ok_or(Errno::ENODATA)?;
    let groups: Vec<u32> = peer.credentials.groups.iter().map(|group| group.raw()).collect();
    let size = groups.len() * u32::SIZE;
    if room < size {
        length.write(&(size as u32))?;
        return Err(Errno::ERANGE);
    }
    value.write_array(&groups)?;
    length.write(&(size as u32))?;
    Ok(0)
}
