//! The kernel log by all its doors: `syslog(2)`, `/dev/kmsg`, `/proc/kmsg` and the settings in /proc/sys/kernel.

use crate::child;
use libc::*;
use std::{ffi::CStr, io::Error, ptr::null_mut};

const READ: c_int = 2;
const READ_ALL: c_int = 3;
const CLEAR: c_int = 5;
const CONSOLE_LEVEL: c_int = 8;
const SIZE_UNREAD: c_int = 9;
const SIZE_BUFFER: c_int = 10;

fn errno() -> i32 {
    Error::last_os_error().raw_os_error().unwrap_or(-1)
}

fn syslog(action: c_int, buffer: *mut c_char, length: c_int) -> Result<usize, i32> {
    // SAFETY: a buffer of that length, or an address that the kernel must refuse.
    let result = unsafe { syscall(SYS_syslog, action, buffer, length) };
    usize::try_from(result).map_err(|_| errno())
}

fn open_log(path: &CStr, flags: c_int) -> Result<c_int, i32> {
    // SAFETY: a path with its NUL.
    let file = unsafe { open(path.as_ptr(), flags) };
    if file < 0 { Err(errno()) } else { Ok(file) }
}

fn say(file: c_int, text: &str) -> Result<usize, i32> {
    // SAFETY: the bytes live until the call is over.
    let result = unsafe { write(file, text.as_ptr().cast(), text.len()) };
    usize::try_from(result).map_err(|_| errno())
}

fn hear(file: c_int, room: usize) -> Result<String, i32> {
    let mut buffer = vec![0_u8; room];
    // SAFETY: the buffer has that room.
    let result = unsafe { read(file, buffer.as_mut_ptr().cast(), room) };
    let count = usize::try_from(result).map_err(|_| errno())?;
    buffer.truncate(count);
    Ok(String::from_utf8_lossy(&buffer).into_owned())
}

fn seek(file: c_int, offset: i64, whence: c_int) -> Result<i64, i32> {
    // SAFETY: takes no address.
    let result = unsafe { lseek(file, offset, whence) };
    if result < 0 { Err(errno()) } else { Ok(result) }
}

fn events(file: c_int) -> c_short {
    let mut asked = pollfd { fd: file, events: POLLIN | POLLPRI, revents: 0 };
    // SAFETY: one entry that lives until the call is over.
    unsafe { poll(&raw mut asked, 1, 0) };
    asked.revents
}

/// The errno of `act` in a child that is a plain user; 0 for success.
fn as_user(act: impl FnOnce() -> Result<(), i32>) -> i32 {
    child::start(|| {
        // SAFETY: takes no address.
        if unsafe { setresgid(1000, 1000, 1000) | setresuid(1000, 1000, 1000) } != 0 {
            255
        } else {
            act().err().unwrap_or(0)
        }
    })()
}

fn set(path: &str, text: &str) {
    if let Err(error) = std::fs::write(path, text) {
        println!("{path}: {error}");
    }
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let (mut tried, mut wrong) = (0, 0);
    let mut check = |what: &str, right: bool| {
        tried += 1;
        if !right {
            wrong += 1;
            println!("wrong: {what}");
        }
    };
    let mut room = vec![0 as c_char; 200_000];
    let bad = 8 as *mut c_char;
    check("no action has this number", syslog(11, null_mut(), 0) == Err(EINVAL));
    check("a read without a buffer", syslog(READ, null_mut(), 8) == Err(EINVAL));
    check("a read of less than nothing", syslog(READ_ALL, room.as_mut_ptr(), -1) == Err(EINVAL));
    check("a read of nothing", syslog(READ, bad, 0) == Ok(0));
    check("a bad address", syslog(READ_ALL, bad, 100_000) == Err(EFAULT));
    check("a level that there is not", syslog(CONSOLE_LEVEL, null_mut(), 0) == Err(EINVAL));
    check("the size of the buffer", syslog(SIZE_BUFFER, null_mut(), 0) == Ok(131_072));

    let Ok(file) = open_log(c"/dev/kmsg", O_RDWR | O_NONBLOCK) else {
        println!("/dev/kmsg can't be opened");
        return false;
    };
    check("it starts with the first record", hear(file, 8192).is_ok_and(|line| line.starts_with("6,0,")));
    check("no seek to the middle", seek(file, 1, SEEK_SET) == Err(ESPIPE));
    check("no seek from here", seek(file, 0, SEEK_CUR) == Err(EINVAL));
    check("a seek to the end", seek(file, 0, SEEK_END) == Ok(0));
    check("nothing to read there", hear(file, 8192) == Err(EAGAIN) && events(file) == 0);
    check("a record is written", say(file, "<30>probe: one\\\n") == Ok(16));
    check("that can be polled", events(file) == POLLIN);
    let line = hear(file, 8192).unwrap_or_default();
    check("and read", line.starts_with("30,") && line.ends_with(",-;probe: one\\x5c\n"));
    check("one without a priority", say(file, "probe: two") == Ok(10));
    check("does not fit into eight bytes", hear(file, 8) == Err(EINVAL));
    check("and is gone then", hear(file, 8192) == Err(EAGAIN));
    check("a record has its limit", say(file, &"x".repeat(993)) == Err(EINVAL));

    check("the log is cleared", syslog(CLEAR, null_mut(), 0) == Ok(0));
    check("and shows nothing", syslog(READ_ALL, room.as_mut_ptr(), 200_000) == Ok(0));
    check("something new", say(file, "<29>probe: three") == Ok(16));
    let count = syslog(READ_ALL, room.as_mut_ptr(), 200_000).unwrap_or(0);
    let text: String = room[..count].iter().map(|&byte| byte as u8 as char).collect();
    check(
        "is shown alone",
        text.starts_with("<29>[") && text.ends_with("] probe: three\n") && text.lines().count() == 1,
    );
    check("a part of it is not", syslog(READ_ALL, room.as_mut_ptr(), 10) == Ok(0));
    let found = seek(file, 0, SEEK_DATA).and_then(|_| hear(file, 8192));
    check("the data begins with it", found.is_ok_and(|line| line.ends_with(";probe: three\n")));

    let consumer = open_log(c"/proc/kmsg", O_RDONLY | O_NONBLOCK).unwrap_or(-1);
    while hear(consumer, 100_000).is_ok() {}
    check("all is consumed", syslog(SIZE_UNREAD, null_mut(), 0) == Ok(0) && events(consumer) == 0);
    let waiting = child::start(|| {
        let Ok(file) = open_log(c"/proc/kmsg", O_RDONLY) else { return 1 };
        i32::from(!hear(file, 8192).is_ok_and(|text| text.ends_with("] probe: four\n")))
    });
    check("a record for one who waits", say(file, "<29>probe: four") == Ok(15));
    check("wakes it", waiting() == 0);

    check("a reader at the end", seek(file, 0, SEEK_END) == Ok(0));
    let written = (0..200).all(|_| say(file, &format!("<15>{}", "y".repeat(900))) == Ok(904));
    check("200 more records", written);
    check("sees that it was overtaken", events(file) == POLLIN | POLLERR | POLLPRI);
    check("is told so", hear(file, 8192) == Err(EPIPE));
    check("and goes on", hear(file, 8192).is_ok());

    let only_written = open_log(c"/dev/kmsg", O_WRONLY).unwrap_or(-1);
    check("what is only written can't be read", hear(only_written, 10) == Err(EBADF));
    check("nor polled", events(only_written) == POLLERR);

    check("a reader at the end again", seek(file, 0, SEEK_END) == Ok(0));
    // SAFETY: no call has these numbers.
    let unknown =
        [5000, 5001, 5000, 5001, 5001].iter().all(|&number| unsafe { syscall(number) } < 0 && errno() == ENOSYS);
    check("an unknown call fails", unknown);
    let mut told = String::new();
    while let Ok(line) = hear(file, 8192) {
        told += line.split_once(';').map_or("", |(_, text)| text);
    }
    let once = |number| told.matches(&format!("makes call {number}, which there is not\n")).count() == 1;
    check("and is told once for each number", once(5000) && once(5001));

    let look = || syslog(SIZE_BUFFER, null_mut(), 0).map(drop);
    let open = || open_log(c"/dev/kmsg", O_RDONLY).map(drop);
    check("a user may look", as_user(look) == 0 && as_user(open) == 0);
    check("but not clear", as_user(|| syslog(CLEAR, null_mut(), 0).map(drop)) == EPERM);
    check("nor be told what is wrong", as_user(|| syslog(11, null_mut(), 0).map(drop)) == EPERM);
    check("nor consume", as_user(|| open_log(c"/proc/kmsg", O_RDONLY).map(drop)) == EACCES);
    set("/proc/sys/kernel/dmesg_restrict", "1\n");
    check("nor look when that is restricted", as_user(look) == EPERM && as_user(open) == EPERM);
    set("/proc/sys/kernel/dmesg_restrict", "0\n");
    println!("{tried} checks, {wrong} wrong");
    wrong == 0
}
