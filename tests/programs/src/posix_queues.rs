//! POSIX message queues: names, rights, priorities, sleeping, polling, being told.

use crate::child;
use libc::*;
use std::{ffi::CStr, io::Error, ptr::null_mut};

const NAME: &CStr = c"/probe";

fn errno() -> i32 {
    Error::last_os_error().raw_os_error().unwrap_or(-1)
}

fn result(value: c_long) -> Result<i64, i32> {
    if value < 0 { Err(errno()) } else { Ok(value) }
}

fn open_queue(flags: c_int, messages: i64, bytes: i64) -> Result<i32, i32> {
    // SAFETY: all zeros is an mq_attr; it and the name live until the call is over.
    let result = unsafe {
        let mut attributes: mq_attr = std::mem::zeroed();
        (attributes.mq_maxmsg, attributes.mq_msgsize) = (messages, bytes);
        mq_open(NAME.as_ptr(), flags, 0o600, &raw mut attributes)
    };
    if result < 0 { Err(errno()) } else { Ok(result) }
}

fn send(queue: c_int, text: &str, priority: u32) -> Result<i64, i32> {
    // SAFETY: the text lives until the call is over.
    result(unsafe { mq_send(queue, text.as_ptr().cast(), text.len(), priority) }.into())
}

fn receive(queue: c_int, room: usize) -> Result<(String, u32), i32> {
    let (mut buffer, mut priority) = (vec![0_u8; room], 0);
    // SAFETY: the buffer has that room.
    let count = result(unsafe { mq_receive(queue, buffer.as_mut_ptr().cast(), room, &raw mut priority) } as c_long)?;
    buffer.truncate(count as usize);
    Ok((String::from_utf8_lossy(&buffer).into_owned(), priority))
}

fn receive_until(queue: c_int, nanoseconds: i64) -> Result<i64, i32> {
    let (mut buffer, time) = ([0_u8; 16], timespec { tv_sec: 0, tv_nsec: nanoseconds });
    // SAFETY: the buffer has that room, and the time lives until the call is over.
    result(unsafe { mq_timedreceive(queue, buffer.as_mut_ptr().cast(), 16, null_mut(), &raw const time) } as c_long)
}

fn notify(queue: c_int, kind: c_int, signal: c_int) -> Result<i64, i32> {
    // SAFETY: all zeros is a sigevent, and it lives until the call is over.
    unsafe {
        let mut event: sigevent = std::mem::zeroed();
        (event.sigev_notify, event.sigev_signo) = (kind, signal);
        event.sigev_value = sigval { sival_ptr: 77 as *mut c_void };
        result(syscall(SYS_mq_notify, queue, &raw const event))
    }
}

fn events(queue: c_int) -> c_short {
    let mut asked = pollfd { fd: queue, events: POLLIN | POLLOUT, revents: 0 };
    // SAFETY: one entry that lives until the call is over.
    unsafe { poll(&raw mut asked, 1, 0) };
    asked.revents
}

/// The signal that waits for this process, which is blocked: sender and value.
fn told(signal: c_int) -> (c_int, i32, usize) {
    // SAFETY: all zeros is a set and a siginfo_t, and they live until the call is over.
    unsafe {
        let (mut set, mut info, none): (sigset_t, siginfo_t, timespec) = std::mem::zeroed();
        sigaddset(&raw mut set, signal);
        if sigtimedwait(&raw const set, &raw mut info, &raw const none) < 0 {
            return (0, 0, 0);
        }
        (info.si_code, info.si_pid(), info.si_value().sival_ptr as usize)
    }
}

/// What the queue's file in the file system `mqueue` says.
fn file_text() -> String {
    std::fs::read_to_string("/tmp/mqueue/probe").unwrap_or_default()
}

fn expected_text(bytes: usize, signal: c_int, pid: i32) -> String {
    format!("QSIZE:{bytes:<10} NOTIFY:{:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n", 0)
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let (mut tried, mut wrong) = (0, 0);
    let mut check = |what: &str, right: bool| {
        tried += 1;
        if !right {
            wrong += 1;
            println!("wrong: {what} ({})", Error::last_os_error());
        }
    };
    // SAFETY: the name has its NUL, and the set is one.
    unsafe {
        mq_unlink(NAME.as_ptr());
        let mut set = std::mem::zeroed();
        sigaddset(&raw mut set, SIGUSR1);
        sigprocmask(SIG_BLOCK, &raw const set, null_mut());
    }
    check("no such queue", open_queue(O_RDWR, 1, 1) == Err(ENOENT));
    check("no such attributes", open_queue(O_RDWR | O_CREAT, 0, 1) == Err(EINVAL));
    let Ok(queue) = open_queue(O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 2, 8) else { return false };
    check("it is there already", open_queue(O_RDWR | O_CREAT | O_EXCL, 2, 8) == Err(EEXIST));
    check("a new one can be written", events(queue) == POLLOUT);
    check("nothing to receive", receive(queue, 8) == Err(EAGAIN));
    check("no room", receive(queue, 7) == Err(EMSGSIZE));
    check("too long", send(queue, "123456789", 0) == Err(EMSGSIZE));
    check("no such priority", send(queue, "x", 32_768) == Err(EINVAL));
    check("two messages", send(queue, "low", 1).is_ok() && send(queue, "high", 5).is_ok());
    let place = c"/tmp/mqueue";
    let _ = std::fs::create_dir("/tmp/mqueue");
    // SAFETY: the strings are literals with their NULs.
    let mounted = unsafe { mount(c"none".as_ptr(), place.as_ptr(), c"mqueue".as_ptr(), 0, std::ptr::null()) };
    check("queues are files", mounted == 0 && file_text() == expected_text(7, 0, 0));
    check("and no more", send(queue, "more", 9) == Err(EAGAIN) && events(queue) == POLLIN);
    check("the high one", receive(queue, 8) == Ok(("high".into(), 5)) && events(queue) == POLLIN | POLLOUT);
    check("the low one", receive(queue, 8) == Ok(("low".into(), 1)));

    let blocking = open_queue(O_RDWR, 0, 0).unwrap_or(-1);
    check("a time that has passed", receive_until(blocking, 1) == Err(ETIMEDOUT));
    check("a time that there is not", receive_until(blocking, -1) == Err(EINVAL));
    let reader = child::start(|| i32::from(receive(blocking, 8) != Ok(("hello".into(), 2))));
    check("a message for one who waits", send(queue, "hello", 2).is_ok() && reader() == 0);

    check("no such way to be told", notify(queue, 9, 0) == Err(EINVAL));
    check("to be told", notify(queue, SIGEV_SIGNAL, SIGUSR1).is_ok());
    check("only one is told", child::start(move || notify(queue, SIGEV_NONE, 0).err().unwrap_or(0))() == EBUSY);
    // SAFETY: takes no address.
    check("the file says who", file_text() == expected_text(0, SIGUSR1, unsafe { getpid() }));
    let sender = child::start(move || i32::from(send(queue, "ring", 0).is_err()));
    // SAFETY: takes no address.
    let own = unsafe { getpid() };
    check("a message rings", sender() == 0);
    let (code, pid, value) = told(SIGUSR1);
    check("a signal", code == -3 && pid > own && value == 77);
    check("only once", send(queue, "again", 0).is_ok() && told(SIGUSR1) == (0, 0, 0));
    check("the place is free", notify(queue, SIGEV_SIGNAL, SIGUSR1).is_ok());
    // SAFETY: the null address ends it.
    check("and given up", unsafe { syscall(SYS_mq_notify, queue, 0) } == 0 && notify(queue, SIGEV_NONE, 0).is_ok());

    let only_read = open_queue(O_RDONLY, 0, 0).unwrap_or(-1);
    check("not open for writing", send(only_read, "x", 0) == Err(EBADF));
    let another = child::start(|| {
        // SAFETY: takes no address.
        if unsafe { setresuid(1000, 1000, 1000) } != 0 { 255 } else { open_queue(O_RDONLY, 0, 0).err().unwrap_or(0) }
    });
    check("another user", another() == EACCES);
    // SAFETY: the name has its NUL.
    let unlink = || unsafe { mq_unlink(NAME.as_ptr()) };
    check("its name goes", unlink() == 0 && unlink() < 0 && errno() == ENOENT);
    check("and the file", std::fs::metadata("/tmp/mqueue/probe").is_err());
    let second = open_queue(O_RDWR | O_CREAT | O_EXCL, 2, 8);
    check("a file goes", second.is_ok() && std::fs::remove_file("/tmp/mqueue/probe").is_ok());
    check("and the name", unlink() < 0 && errno() == ENOENT);
    // SAFETY: the string is a literal with its NUL.
    check("unmounted", unsafe { umount2(place.as_ptr(), 0) } == 0);
    check("and the messages stay", receive(queue, 8) == Ok(("ring".into(), 0)));
    println!("{tried} checks, {wrong} wrong");
    wrong == 0
}
