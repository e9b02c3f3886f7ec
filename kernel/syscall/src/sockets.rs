//! Local sockets. Other families don't exist here: `EAFNOSUPPORT`.

use crate::{arguments::UserPtr, call::Call, descriptors::publish_pair};
use alloc::{sync::Arc, vec::Vec};
use base::Errno;
use vfs::{
    OpenFile, OpenFlags,
    socket::{self, Address, Peer, Shutdown, Socket, SocketType},
};

const AF_UNIX: u32 = 1;
/// The size of `struct sockaddr_un`.
const NAME_MOST: usize = 110;

/// What `socket` and `socketpair` ask for. `EINVAL` flags, or a number that is no type; `EAFNOSUPPORT`, `EPROTONOSUPPORT`,
/// `ESOCKTNOSUPPORT`, in this order.
fn kind_and_flags(family: u32, kind: u32, protocol: u32) -> Result<(SocketType, OpenFlags), Errno> {
    /// Families and types are below these.
    const FAMILIES: u32 = 46;
    const TYPES: u32 = 11;
    let allowed = OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK;
    let open = OpenFlags::from_bits_retain(kind & !0xf);
    if !allowed.contains(open) {
        return Err(Errno::EINVAL);
    }
    if family < FAMILIES && kind & 0xf >= TYPES {
        return Err(Errno::EINVAL);
    }
    check_family(family, protocol)?;
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
        Peer { pid: self.task.process().pid(), credentials: self.task.credentials() }
    }

    pub(crate) fn socket_file(&self, descriptor: i32) -> Result<Arc<OpenFile>, Errno> {
        let file = self.file(descriptor)?;
        file.operations::<Socket>().ok_or(Errno::ENOTSOCK)?;
        Ok(file)
    }
}

/// The socket that a file is. `ENOTSOCK`.
pub(crate) fn of(file: &OpenFile) -> Result<&Socket, Errno> {
    file.operations::<Socket>().ok_or(Errno::ENOTSOCK)
}

/// `socket(2)`.
pub fn socket(call: &Call<'_>, family: u32, kind: u32, protocol: u32) -> Result<usize, Errno> {
    let (kind, flags) = kind_and_flags(family, kind, protocol)?;
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
    let (kind, flags) = kind_and_flags(family, kind, protocol)?;
    let ends = socket::pair(kind, flags - OpenFlags::CLOSE_ON_EXEC, &call.task.credentials(), call.peer())?;
    publish_pair(call, descriptors, ends, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

/// Fetches a `struct sockaddr_un`. `EINVAL` a length or family that fits no local name.
pub(crate) fn fetch_address(address: UserPtr<u8>, length: u32) -> Result<Address, Errno> {
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
pub(crate) fn tell_address(name: &Address, address: UserPtr<u8>, length: UserPtr<u32>) -> Result<(), Errno> {
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

/// `connect(2)`; a datagram socket loses its peer by an address of the family `AF_UNSPEC`.
pub fn connect(call: &Call<'_>, descriptor: i32, address: UserPtr<u8>, length: u32) -> Result<usize, Errno> {
    let file = call.socket_file(descriptor)?;
    let family: UserPtr<u16> = UserPtr::at(address.address());
    if (2..=NAME_MOST as u32).contains(&length) && family.read()? == 0 {
        of(&file)?.disconnect()?;
        return Ok(0);
    }
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
    let file = call.socket_file(descriptor)?;
    let how = match how {
        0 => Shutdown::Read,
        1 => Shutdown::Write,
        2 => Shutdown::Both,
        _ => return Err(Errno::EINVAL),
    };
    of(&file)?.shutdown(how);
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
