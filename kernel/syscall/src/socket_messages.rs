//! Messages of local sockets: bytes, and the records that go beside them.

use crate::{
    abi::{IoVector, MessageHeader, OneOfMessages, Timespec},
    arguments::{Abi, UserPtr},
    call::Call,
    clock,
    socket_options::SOL_SOCKET,
    sockets::{fetch_address, of, tell_address},
    transfer::{MESSAGE_MOST, check_range},
    vectors::{gather, message_vectors, scatter},
};
use alloc::{sync::Arc, vec::Vec};
use base::{Capabilities, Credentials, Errno, Gid, Pid, Uid};
use machine::user_memory;
use vfs::{
    OpenFile, OpenFlags,
    socket::{Address, Message, Receive, Received, Sender, SocketType, in_flight},
};

/// Control data longer than this is `ENOBUFS`.
const CONTROL_MOST: u64 = 20 << 10;
/// The most files that one message carries (`SCM_MAX_FD`).
const FILES_MOST: usize = 253;
const SCM_RIGHTS: i32 = 1;
const SCM_CREDENTIALS: i32 = 2;
/// Size of `struct cmsghdr`.
const CONTROL_HEAD: usize = 16;
/// Size of `struct ucred`.
const CREDENTIALS_SIZE: usize = 12;
/// The most messages of one call.
const MESSAGES_MOST: u32 = 1024;
/// The size of `struct sockaddr_storage`, the longest name of any family.
const STORAGE: u32 = 128;
/// The user and group of a sender that is not known.
const NOBODY: u32 = 65_534;

mod flags {
    pub const OUT_OF_BAND: u32 = 0x1;
    pub const PEEK: u32 = 0x2;
    pub const CONTROL_TRUNCATED: u32 = 0x8;
    pub const TRUNCATED: u32 = 0x20;
    pub const DONT_WAIT: u32 = 0x40;
    pub const WAIT_ALL: u32 = 0x100;
    pub const NO_SIGNAL: u32 = 0x4000;
    pub const WAIT_FOR_ONE: u32 = 0x1_0000;
    pub const CLOSE_ON_EXEC: u32 = 0x4000_0000;
}

/// What the records of control data say.
#[derive(Default)]
struct Control {
    files: Vec<Arc<OpenFile>>,
    sender: Option<Sender>,
}

/// Reads control data. `ENOBUFS` too much; `EINVAL` a record that is malformed or of another kind, or too many files;
/// `EBADF`; `EPERM`, `ESRCH` a sender that the caller may not claim to be; `ETOOMANYREFS` its user has sent more files that
/// nobody received than it may have open (RLIMIT_NOFILE), and it has neither CAP_SYS_RESOURCE nor CAP_SYS_ADMIN.
fn read_control(call: &Call<'_>, address: u64, length: u64) -> Result<Control, Errno> {
    if length > CONTROL_MOST {
        return Err(Errno::ENOBUFS);
    }
    let bytes = UserPtr::<u8>::at(address).read_array(length as usize)?;
    let mut control = Control::default();
    let mut rest = &bytes[..];
    while rest.len() >= CONTROL_HEAD {
        let size = usize::try_from(u64::decode(rest)).map_err(|_| Errno::EINVAL)?;
        if size < CONTROL_HEAD || size > rest.len() || i32::decode(&rest[8..]) != SOL_SOCKET {
            return Err(Errno::EINVAL);
        }
        let body = &rest[CONTROL_HEAD..size];
        match i32::decode(&rest[12..]) {
            SCM_RIGHTS => {
                for number in body.chunks_exact(4) {
                    if control.files.len() == FILES_MOST {
                        return Err(Errno::EINVAL);
                    }
                    control.files.push(call.file(i32::decode(number))?);
                }
            }
            SCM_CREDENTIALS if body.len() == CREDENTIALS_SIZE => {
                let sender = Sender {
                    pid: Pid::new(i32::decode(body)),
                    uid: Uid::new(u32::decode(&body[4..])),
                    gid: Gid::new(u32::decode(&body[8..])),
                };
                check_claim(call, &sender)?;
                control.sender = Some(sender);
            }
            _ => return Err(Errno::EINVAL),
        }
        rest = rest.get(size.next_multiple_of(8)..).unwrap_or_default();
    }
    if !control.files.is_empty() {
        let credentials = call.task.credentials();
        let exempt = credentials.has(Capabilities::SYS_RESOURCE) || credentials.has(Capabilities::SYS_ADMIN);
        if !exempt && in_flight(credentials.uid) as u64 > call.descriptor_limit() {
            return Err(Errno::ETOOMANYREFS);
        }
    }
    Ok(control)
}

/// Whether the caller may say that it is this sender. `EPERM`; `ESRCH` there is no such process.
fn check_claim(call: &Call<'_>, sender: &Sender) -> Result<(), Errno> {
    let credentials: &Credentials = &call.task.credentials();
    let Credentials { uid, euid, suid, gid, egid, sgid, .. } = *credentials;
    let own = call.task.pid() == sender.pid;
    let allowed = (own || credentials.has(Capabilities::SYS_ADMIN))
        && ([uid, euid, suid].contains(&sender.uid) || credentials.has(Capabilities::SETUID))
        && ([gid, egid, sgid].contains(&sender.gid) || credentials.has(Capabilities::SETGID));
    if !allowed {
        return Err(Errno::EPERM);
    }
    let there = own || call.population().process(sender.pid).is_some();
    if there { Ok(()) } else { Err(Errno::ESRCH) }
}

fn send_message(call: &Call<'_>, file: &OpenFile, message: Message<'_>, flags: u32) -> Result<usize, Errno> {
    if flags & flags::OUT_OF_BAND != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let nonblock = flags & flags::DONT_WAIT != 0 || file.flags().contains(OpenFlags::NONBLOCK);
    let socket = of(file)?;
    let result = call.with_caller(|caller| socket.send(caller, message, nonblock));
    // Only streams break like pipes.
    let quiet = flags & flags::NO_SIGNAL != 0 || socket.kind() != SocketType::Stream;
    if quiet { result } else { call.broken_pipe(result) }
}

/// `EINVAL` a name of less than no bytes.
fn check_name_length(head: &MessageHeader) -> Result<(), Errno> {
    if head.name != 0 && (head.name_length as i32) < 0 { Err(Errno::EINVAL) } else { Ok(()) }
}

/// To whom a message goes: to the peer without a name, and from a connection of packets whatever name is given. A stream
/// refuses any, so it is not looked at. `EINVAL`, `EFAULT`.
fn receiver(file: &OpenFile, address: UserPtr<u8>, length: u32) -> Result<Option<Address>, Errno> {
    if address.is_null() || length == 0 {
        return Ok(None);
    }
    let kind = of(file)?.kind();
    if kind == SocketType::Datagram {
        return fetch_address(address, length).map(Some);
    }
    if length > STORAGE {
        return Err(Errno::EINVAL);
    }
    address.read_array(length as usize)?;
    Ok((kind == SocketType::Stream).then_some(Address::Unnamed))
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
    let to = receiver(&file, address, address_length)?;
    if length > MESSAGE_MOST && of(&file)?.kind() != SocketType::Stream {
        return Err(Errno::EMSGSIZE);
    }
    let (bytes, cut) = gather(&[(buffer.address(), length.min(MESSAGE_MOST))])?;
    send_message(call, &file, Message { bytes: &bytes, cut, to: to.as_ref(), ..Message::default() }, flags)
}

/// `sendmsg(2)`.
pub fn sendmsg(call: &Call<'_>, descriptor: i32, message: UserPtr<MessageHeader>, flags: u32) -> Result<usize, Errno> {
    send_header(call, &*call.socket_file(descriptor)?, message, flags)
}

fn send_header(call: &Call<'_>, file: &OpenFile, message: UserPtr<MessageHeader>, flags: u32) -> Result<usize, Errno> {
    let head = message.read()?;
    check_name_length(&head)?;
    let to = receiver(file, UserPtr::at(head.name), head.name_length.min(STORAGE))?;
    let mut ranges = message_vectors(UserPtr::<IoVector>::at(head.vectors), head.vector_count)?;
    if of(file)?.kind() == SocketType::Stream {
        let mut left = MESSAGE_MOST;
        for (_, length) in &mut ranges {
            *length = left.min(*length);
            left -= *length;
        }
    } else if ranges.iter().map(|(_, length)| length).sum::<usize>() > MESSAGE_MOST {
        return Err(Errno::EMSGSIZE);
    }
    let control = match head.control {
        0 => Control::default(),
        address => read_control(call, address, head.control_length)?,
    };
    let Control { files, sender } = control;
    let (bytes, cut) = gather(&ranges)?;
    send_message(call, file, Message { bytes: &bytes, cut, to: to.as_ref(), files, sender }, flags)
}

/// `sendmmsg(2)`: how many were sent; an error only if none was.
pub fn sendmmsg(
    call: &Call<'_>,
    descriptor: i32,
    messages: UserPtr<OneOfMessages>,
    count: u32,
    flags: u32,
) -> Result<usize, Errno> {
    let file = call.socket_file(descriptor)?;
    each_message(messages, count.min(MESSAGES_MOST), |message, _| send_header(call, &file, message, flags))
}

/// Handles messages one by one and notes the length of each, until one fails; how many went well.
fn each_message(
    messages: UserPtr<OneOfMessages>,
    count: u32,
    mut handle: impl FnMut(UserPtr<MessageHeader>, usize) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    for done in 0..count as usize {
        let place = messages.item(done).address();
        let length = UserPtr::<u32>::at(place.wrapping_add(MessageHeader::SIZE as u64));
        let result = handle(UserPtr::at(place), done).and_then(|moved| length.write(&(moved as u32)));
        match result {
            Ok(()) => {}
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => return Ok(done),
        }
    }
    Ok(count as usize)
}

fn receive_into(file: &OpenFile, ranges: &[(u64, usize)], flags: u32) -> Result<(usize, Received), Errno> {
    if flags & flags::OUT_OF_BAND != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let how = Receive {
        peek: flags & flags::PEEK != 0,
        nonblock: flags & flags::DONT_WAIT != 0 || file.flags().contains(OpenFlags::NONBLOCK),
        whole: flags & flags::WAIT_ALL != 0,
    };
    ranges.iter().try_for_each(|&(address, length)| check_range(address, length))?;
    let wanted = ranges.iter().map(|(_, length)| length).sum::<usize>().min(MESSAGE_MOST);
    let mut buffer = memory::heap::try_zeroed(wanted)?;
    let socket = of(file)?;
    let received = socket.receive(&mut buffer, how)?;
    let bytes = &buffer[..received.length];
    if scatter(bytes, ranges) != Ok(bytes.len()) {
        return Err(if how.peek { Errno::EFAULT } else { socket.put_back(bytes, received) });
    }
    let told = if flags & flags::TRUNCATED != 0 { received.full_length } else { received.length };
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
    match of(&file)?.sender_name(&received) {
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
    receive_header(call, &*call.socket_file(descriptor)?, message, flags)
}

fn receive_header(
    call: &Call<'_>,
    file: &OpenFile,
    message: UserPtr<MessageHeader>,
    flags: u32,
) -> Result<usize, Errno> {
    let mut head = message.read()?;
    check_name_length(&head)?;
    let ranges = message_vectors(UserPtr::<IoVector>::at(head.vectors), head.vector_count)?;
    let (told, received) = receive_into(file, &ranges, flags)?;
    let mut answer = flags & flags::CLOSE_ON_EXEC;
    if received.full_length > received.length {
        answer |= flags::TRUNCATED;
    }
    if head.name != 0 {
        let length = UserPtr::<u32>::at(message.address().wrapping_add(8));
        match of(file)?.sender_name(&received) {
            Some(from) => {
                tell_address(&from, UserPtr::at(head.name), length)?;
                head.name_length = length.read()?;
            }
            None => head.name_length = 0,
        }
    }
    let mut record = Records { at: head.control, room: head.control_length, used: 0, cut: false };
    if of(file)?.passes_credentials() {
        let sender = received.sender;
        let sender = sender.unwrap_or(Sender { pid: Pid::new(0), uid: Uid::new(NOBODY), gid: Gid::new(NOBODY) });
        let numbers = [sender.pid.raw() as u32, sender.uid.raw(), sender.gid.raw()];
        record.put(SCM_CREDENTIALS, &numbers.map(u32::to_le_bytes).concat())?;
    }
    record.deliver_files(call, &received.files, flags)?;
    head.control_length = record.used;
    if record.cut {
        answer |= flags::CONTROL_TRUNCATED;
    }
    head.flags = answer as i32;
    message.write(&head)?;
    Ok(told)
}

/// Control data that is being written.
struct Records {
    /// Where the next record goes; 0 is nowhere.
    at: u64,
    room: u64,
    used: u64,
    /// Something found no room.
    cut: bool,
}

impl Records {
    /// Writes a record, or what there is room for. `EFAULT`.
    fn put(&mut self, kind: i32, body: &[u8]) -> Result<(), Errno> {
        if self.at == 0 || self.room < CONTROL_HEAD as u64 {
            self.cut = true;
            return Ok(());
        }
        let whole = CONTROL_HEAD + body.len();
        let length = whole.min(usize::try_from(self.room).unwrap_or(whole));
        self.cut |= length < whole;
        let mut bytes = Vec::from((length as u64).to_le_bytes());
        bytes.extend_from_slice(&SOL_SOCKET.to_le_bytes());
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(body);
        user_memory::write(self.at, &bytes[..length])?;
        let step = (length.next_multiple_of(8) as u64).min(self.room);
        (self.at, self.room, self.used) = (self.at + step, self.room - step, self.used + step);
        Ok(())
    }

    /// Opens received files in the caller and writes their record. Files for which there is no room are dropped.
    fn deliver_files(&mut self, call: &Call<'_>, files: &[Arc<OpenFile>], flags: u32) -> Result<(), Errno> {
        let room = usize::try_from(self.room).unwrap_or(usize::MAX).saturating_sub(CONTROL_HEAD) / 4;
        let fits = if self.at == 0 { 0 } else { room.min(files.len()) };
        let mut numbers = Vec::new();
        for file in &files[..fits] {
            match call.insert(file.clone(), flags & flags::CLOSE_ON_EXEC != 0) {
                Ok(number) => numbers.extend_from_slice(&(number as i32).to_le_bytes()),
                Err(_) => break,
            }
        }
        self.cut |= numbers.len() < files.len() * 4;
        if numbers.is_empty() { Ok(()) } else { self.put(SCM_RIGHTS, &numbers) }
    }
}

/// `recvmmsg(2)`. The timeout is looked at after each message, as on Linux, and what is left of it is told.
///
/// Errors: `EINVAL` a time that is none; `EBADF`, `ENOTSOCK`; of the first message as `recvmsg`.
pub fn recvmmsg(
    call: &Call<'_>,
    descriptor: i32,
    messages: UserPtr<OneOfMessages>,
    count: u32,
    flags: u32,
    timeout: UserPtr<Timespec>,
) -> Result<usize, Errno> {
    let until = match timeout.read_optional()? {
        Some(time) => Some(machine::time::now().saturating_add(clock::nanoseconds(&time)?)),
        None => None,
    };
    let file = call.socket_file(descriptor)?;
    let left = || until.map(|until| until.saturating_sub(machine::time::now()));
    let received = each_message(messages, count.min(MESSAGES_MOST), |message, done| {
        if done > 0 && left() == Some(0) {
            return Err(Errno::EAGAIN);
        }
        let hurries = flags & flags::WAIT_FOR_ONE != 0 && done > 0;
        receive_header(call, &file, message, if hurries { flags | flags::DONT_WAIT } else { flags })
    })?;
    if let Some(left) = left() {
        timeout.write(&clock::timespec(left))?;
    }
    Ok(received)
}
