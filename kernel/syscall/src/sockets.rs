//! Local sockets. Other families don't exist here: `EAFNOSUPPORT`.

use crate::{
    abi::{IoVector, MessageHeader},
    arguments::UserPtr,
    call::Call,
    descriptors::publish_pair,
    transfer::{gather, message_vectors, scatter},
};
use alloc::{sync::Arc, vec::Vec};
use base::Errno;
use machine::user_memory;
use vfs::{
    OpenFile, OpenFlags,
    socket::{self, Address, Peer, Received, Shutdown, Socket, SocketType},
};

const AF_UNIX: u32 = 1;
/// The size of `struct sockaddr_un`.
const NAME_MOST: usize = 110;
/// Control data longer than this is `ENOBUFS`.
const CONTROL_MOST: u64 = 20 << 10;
/// The most files that one message carries (`SCM_MAX_FD`).
const FILES_MOST: usize = 253;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
/// Size of `struct cmsghdr`.
const CONTROL_HEAD: usize = 16;
/// The most bytes of one message.
const MESSAGE_MOST: usize = 1 << 20;

mod flags {
    pub const PEEK: u32 = 0x2;
    pub const TRUNCATED: u32 = 0x20;
    pub const CONTROL_TRUNCATED: u32 = 0x8;
    pub const DONT_WAIT: u32 = 0x40;
    pub const NO_SIGNAL: u32 = 0x4000;
    pub const CLOSE_ON_EXEC: u32 = 0x4000_0000;
}

fn kind_and_flags(kind: u32) -> Result<(SocketType, OpenFlags), Errno> {
    let allowed = OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK;
    let open = OpenFlags::from_bits_retain(kind & !0xf);
    if !allowed.contains(open) {
        return Err(Errno::EINVAL);
    }
    let kind = match kind & 0xf {
        1 => SocketType::Stream,
        // As in Linux, a raw local socket is a datagram socket.
        2 | 3 => SocketType::Datagram,
        5 => SocketType::SequencedPacket,
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    Ok((kind, open))
}

fn check_family(family: u32, protocol: u32) -> Result<(), Errno> {
    match (family, protocol) {
        (AF_UNIX, 0 | AF_UNIX) => Ok(()),
        (AF_UNIX, _) => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

impl Call<'_> {
    fn peer(&self) -> Peer {
        let credentials = self.task.credentials();
        Peer { pid: self.task.process().pid(), uid: credentials.euid, gid: credentials.egid }
    }

    fn socket_file(&self, descriptor: i32) -> Result<Arc<OpenFile>, Errno> {
        let file = self.file(descriptor)?;
        file.operations::<Socket>().ok_or(Errno::ENOTSOCK)?;
        Ok(file)
    }
}

fn of(file: &OpenFile) -> Result<&Socket, Errno> {
    file.operations::<Socket>().ok_or(Errno::ENOTSOCK)
}

/// `socket(2)`.
pub fn socket(call: &Call<'_>, family: u32, kind: u32, protocol: u32) -> Result<usize, Errno> {
    let (kind, flags) = kind_and_flags(kind)?;
    check_family(family, protocol)?;
    let file = socket::socket(kind, flags - OpenFlags::CLOSE_ON_EXEC, &call.task.credentials())?;
    call.insert(file, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

/// `socketpair(2)`.
pub fn socketpair(
    call: &Call<'_>,
    family: u32,
    kind: u32,
    protocol: u32,
    descriptors: UserPtr<[i32; 2]>,
) -> Result<usize, Errno> {
    let (kind, flags) = kind_and_flags(kind)?;
    check_family(family, protocol)?;
    let ends = socket::pair(kind, flags - OpenFlags::CLOSE_ON_EXEC, &call.task.credentials(), call.peer())?;
    publish_pair(call, descriptors, ends, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

/// Fetches a `struct sockaddr_un`. `EINVAL` a length or family that fits no local name.
fn fetch_address(address: UserPtr<u8>, length: u32) -> Result<Address, Errno> {
    let length = length as usize;
    if !(2..=NAME_MOST).contains(&length) {
        return Err(Errno::EINVAL);
    }
    let bytes = address.read_array(length)?;
    if u32::from(u16::from_le_bytes([bytes[0], bytes[1]])) != AF_UNIX {
        return Err(Errno::EINVAL);
    }
    Ok(match &bytes[2..] {
        [] => Address::Unnamed,
        [0, rest @ ..] => Address::Abstract(rest.to_vec()),
        path => {
            let end = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
            Address::Path(path[..end].to_vec())
        }
    })
}

/// Tells a name: as much as fits is copied, and its full length is told.
fn tell_address(name: &Address, address: UserPtr<u8>, length: UserPtr<u32>) -> Result<(), Errno> {
    if address.is_null() {
        return Ok(());
    }
    let mut bytes = Vec::from((AF_UNIX as u16).to_le_bytes());
    match name {
        Address::Unnamed => {}
        Address::Path(path) => {
            bytes.extend_from_slice(path);
            bytes.push(0);
        }
        Address::Abstract(text) => {
            bytes.push(0);
            bytes.extend_from_slice(text);
        }
    }
    let room = i32::try_from(length.read()?).map_err(|_| Errno::EINVAL)? as usize;
    address.write_array(&bytes[..bytes.len().min(room)])?;
    length.write(&(bytes.len() as u32))
}

/// `bind(2)`.
pub fn bind(call: &Call<'_>, descriptor: i32, address: UserPtr<u8>, length: u32) -> Result<usize, Errno> {
    let file = call.socket_file(descriptor)?;
    let name = fetch_address(address, length)?;
    call.with_caller(|caller| of(&file)?.bind(caller, &name))?;
    Ok(0)
}

/// `listen(2)`.
pub fn listen(call: &Call<'_>, descriptor: i32, backlog: i32) -> Result<usize, Errno> {
    /// `net.core.somaxconn`.
    const MOST: u32 = 4096;
    let backlog = u32::try_from(backlog).unwrap_or(MOST).min(MOST);
    of(&*call.socket_file(descriptor)?)?.listen(backlog, call.peer())?;
    Ok(0)
}

/// `connect(2)`.
pub fn connect(call: &Call<'_>, descriptor: i32, address: UserPtr<u8>, length: u32) -> Result<usize, Errno> {
    let file = call.socket_file(descriptor)?;
    let name = fetch_address(address, length)?;
    let nonblock = file.flags().contains(OpenFlags::NONBLOCK);
    call.with_caller(|caller| of(&file)?.connect(caller, &name, nonblock, call.peer()))?;
    Ok(0)
}

/// `accept4(2)`.
pub fn accept4(
    call: &Call<'_>,
    descriptor: i32,
    address: UserPtr<u8>,
    length: UserPtr<u32>,
    flags: u32,
) -> Result<usize, Errno> {
    let allowed = OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK;
    let flags = OpenFlags::from_bits(flags).filter(|flags| allowed.contains(*flags)).ok_or(Errno::EINVAL)?;
    let file = call.socket_file(descriptor)?;
    let nonblock = file.flags().contains(OpenFlags::NONBLOCK);
    let connection = of(&file)?.accept(nonblock, flags - OpenFlags::CLOSE_ON_EXEC)?;
    let name = of(&connection)?.peer_name().unwrap_or(Address::Unnamed);
    tell_address(&name, address, length)?;
    call.insert(connection, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

/// `accept(2)`.
pub fn accept(call: &Call<'_>, descriptor: i32, address: UserPtr<u8>, length: UserPtr<u32>) -> Result<usize, Errno> {
    accept4(call, descriptor, address, length, 0)
}

/// `shutdown(2)`.
pub fn shutdown(call: &Call<'_>, descriptor: i32, how: u32) -> Result<usize, Errno> {
    let how = match how {
        0 => Shutdown::Read,
        1 => Shutdown::Write,
        2 => Shutdown::Both,
        _ => return Err(Errno::EINVAL),
    };
    of(&*call.socket_file(descriptor)?)?.shutdown(how)?;
    Ok(0)
}

/// `getsockname(2)`.
pub fn getsockname(
    call: &Call<'_>,
    descriptor: i32,
    address: UserPtr<u8>,
    length: UserPtr<u32>,
) -> Result<usize, Errno> {
    tell_address(&of(&*call.socket_file(descriptor)?)?.name(), address, length)?;
    Ok(0)
}

/// `getpeername(2)`.
pub fn getpeername(
    call: &Call<'_>,
    descriptor: i32,
    address: UserPtr<u8>,
    length: UserPtr<u32>,
) -> Result<usize, Errno> {
    tell_address(&of(&*call.socket_file(descriptor)?)?.peer_name()?, address, length)?;
    Ok(0)
}

/// `getsockopt(2)`: type, error, domain, protocol, peer. `ENOPROTOOPT` for the rest.
pub fn getsockopt(
    call: &Call<'_>,
    descriptor: i32,
    level: i32,
    option: u32,
    value: UserPtr<u8>,
    length: UserPtr<u32>,
) -> Result<usize, Errno> {
    const TYPE: u32 = 3;
    const ERROR: u32 = 4;
    const PEER: u32 = 17;
    const PROTOCOL: u32 = 38;
    const DOMAIN: u32 = 39;
    let file = call.socket_file(descriptor)?;
    if level != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    let socket = of(&file)?;
    let kind: i32 = match socket.kind() {
        SocketType::Stream => 1,
        SocketType::Datagram => 2,
        SocketType::SequencedPacket => 5,
    };
    let mut bytes = Vec::new();
    match option {
        TYPE => bytes.extend_from_slice(&kind.to_le_bytes()),
        ERROR | PROTOCOL => bytes.extend_from_slice(&0i32.to_le_bytes()),
        DOMAIN => bytes.extend_from_slice(&AF_UNIX.to_le_bytes()),
        PEER => {
            let (pid, uid, gid) =
                socket.peer().map_or((0, u32::MAX, u32::MAX), |peer| (peer.pid.raw(), peer.uid.raw(), peer.gid.raw()));
            bytes.extend_from_slice(&pid.to_le_bytes());
            bytes.extend_from_slice(&uid.to_le_bytes());
            bytes.extend_from_slice(&gid.to_le_bytes());
        }
        _ => return Err(Errno::ENOPROTOOPT),
    }
    let room = i32::try_from(length.read()?).map_err(|_| Errno::EINVAL)? as usize;
    bytes.truncate(room);
    value.write_array(&bytes)?;
    length.write(&(bytes.len() as u32))?;
    Ok(0)
}

/// The files named by the `SCM_RIGHTS` records of control data. `EINVAL` a record that is malformed or of another
/// kind, `ETOOMANYREFS` too many.
fn passed_files(call: &Call<'_>, address: u64, length: u64) -> Result<Vec<Arc<OpenFile>>, Errno> {
    if length > CONTROL_MOST {
        return Err(Errno::ENOBUFS);
    }
    let bytes = UserPtr::<u8>::at(address).read_array(length as usize)?;
    let mut files = Vec::new();
    let mut rest = &bytes[..];
    while rest.len() >= CONTROL_HEAD {
        let word = |at: usize| i32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let size = u64::from_le_bytes(core::array::from_fn(|index| rest[index]));
        let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
        if size < CONTROL_HEAD || size > rest.len() || (word(8), word(12)) != (SOL_SOCKET, SCM_RIGHTS) {
            return Err(Errno::EINVAL);
        }
        for number in rest[CONTROL_HEAD..size].chunks_exact(4) {
            if files.len() == FILES_MOST {
                return Err(Errno::ETOOMANYREFS);
            }
            files.push(call.file(i32::from_le_bytes([number[0], number[1], number[2], number[3]]))?);
        }
        rest = rest.get(size.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(files)
}

fn send_bytes(
    call: &Call<'_>,
    file: &OpenFile,
    bytes: &[u8],
    to: Option<&Address>,
    files: Vec<Arc<OpenFile>>,
    flags: u32,
) -> Result<usize, Errno> {
    let nonblock = flags & flags::DONT_WAIT != 0 || file.flags().contains(OpenFlags::NONBLOCK);
    let result = call.with_caller(|caller| of(file)?.send(caller, bytes, to, files, nonblock));
    if flags & flags::NO_SIGNAL != 0 { result } else { call.broken_pipe(result) }
}

/// `sendto(2)`.
pub fn sendto(
    call: &Call<'_>,
    descriptor: i32,
    buffer: UserPtr<u8>,
    length: usize,
    flags: u32,
    address: UserPtr<u8>,
    address_length: u32,
) -> Result<usize, Errno> {
    let file = call.socket_file(descriptor)?;
    let to = if address.is_null() { None } else { Some(fetch_address(address, address_length)?) };
    if length > MESSAGE_MOST && of(&file)?.kind() != SocketType::Stream {
        return Err(Errno::EMSGSIZE);
    }
    let bytes = gather(&[(buffer.address(), length.min(MESSAGE_MOST))])?;
    send_bytes(call, &file, &bytes, to.as_ref(), Vec::new(), flags)
}

/// `sendmsg(2)`.
pub fn sendmsg(call: &Call<'_>, descriptor: i32, message: UserPtr<MessageHeader>, flags: u32) -> Result<usize, Errno> {
    let file = call.socket_file(descriptor)?;
    let head = message.read()?;
    let to = if head.name == 0 { None } else { Some(fetch_address(UserPtr::at(head.name), head.name_length)?) };
    let ranges = message_vectors(UserPtr::<IoVector>::at(head.vectors), head.vector_count)?;
    if ranges.iter().map(|(_, length)| length).sum::<usize>() > MESSAGE_MOST {
        return Err(Errno::EMSGSIZE);
    }
    let files = if head.control == 0 { Vec::new() } else { passed_files(call, head.control, head.control_length)? };
    send_bytes(call, &file, &gather(&ranges)?, to.as_ref(), files, flags)
}

fn receive_into(file: &OpenFile, ranges: &[(u64, usize)], flags: u32) -> Result<(usize, Received), Errno> {
    let nonblock = flags & flags::DONT_WAIT != 0 || file.flags().contains(OpenFlags::NONBLOCK);
    let wanted = ranges.iter().map(|(_, length)| length).sum::<usize>().min(MESSAGE_MOST);
    let mut buffer = memory::heap::try_zeroed(wanted)?;
    let received = of(file)?.receive(&mut buffer, flags & flags::PEEK != 0, nonblock)?;
    let copied = scatter(&buffer[..received.length], ranges)?;
    let told = if flags & flags::TRUNCATED != 0 { received.full_length } else { copied };
    Ok((told, received))
}

/// `recvfrom(2)`.
pub fn recvfrom(
    call: &Call<'_>,
    descriptor: i32,
    buffer: UserPtr<u8>,
    length: usize,
    flags: u32,
    address: UserPtr<u8>,
    address_length: UserPtr<u32>,
) -> Result<usize, Errno> {
    let file = call.socket_file(descriptor)?;
    let (told, received) = receive_into(&file, &[(buffer.address(), length)], flags)?;
    match received.from {
        Some(from) => tell_address(&from, address, address_length)?,
        None if address.is_null() => {}
        // The sender has no name: nothing is copied, and the length says so.
        None => {
            i32::try_from(address_length.read()?).map_err(|_| Errno::EINVAL)?;
            address_length.write(&0)?;
        }
    }
    Ok(told)
}

/// `recvmsg(2)`.
pub fn recvmsg(call: &Call<'_>, descriptor: i32, message: UserPtr<MessageHeader>, flags: u32) -> Result<usize, Errno> {
    let file = call.socket_file(descriptor)?;
    let mut head = message.read()?;
    let ranges = message_vectors(UserPtr::<IoVector>::at(head.vectors), head.vector_count)?;
    let (told, received) = receive_into(&file, &ranges, flags)?;
    let mut answer = 0;
    if received.full_length > received.length {
        answer |= flags::TRUNCATED;
    }
    if head.name != 0 {
        let length = UserPtr::<u32>::at(message.address().wrapping_add(8));
        match &received.from {
            Some(from) => {
                tell_address(from, UserPtr::at(head.name), length)?;
                head.name_length = length.read()?;
            }
            None => head.name_length = 0,
        }
    }
    let (length, cut) = deliver_files(call, &received.files, head.control, head.control_length, flags)?;
    head.control_length = length;
    if cut {
        answer |= flags::CONTROL_TRUNCATED;
    }
    head.flags = answer as i32;
    message.write(&head)?;
    Ok(told)
}

/// Opens received files in the caller and writes their record. Files for which there is no room are dropped.
fn deliver_files(
    call: &Call<'_>,
    files: &[Arc<OpenFile>],
    control: u64,
    room: u64,
    flags: u32,
) -> Result<(u64, bool), Errno> {
    if files.is_empty() {
        return Ok((0, false));
    }
    let fits = (usize::try_from(room).unwrap_or(usize::MAX).saturating_sub(CONTROL_HEAD) / 4).min(files.len());
    if control == 0 || fits == 0 {
        return Ok((0, true));
    }
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&((CONTROL_HEAD + 4 * fits) as u64).to_le_bytes());
    bytes.extend_from_slice(&SOL_SOCKET.to_le_bytes());
    bytes.extend_from_slice(&SCM_RIGHTS.to_le_bytes());
    for file in &files[..fits] {
        let number = call.insert(file.clone(), flags & flags::CLOSE_ON_EXEC != 0)?;
        bytes.extend_from_slice(&(number as i32).to_le_bytes());
    }
    user_memory::write(control, &bytes)?;
    Ok((bytes.len().next_multiple_of(8).min(room as usize) as u64, fits < files.len()))
}
