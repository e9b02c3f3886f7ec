//! Leases, locks that would wait for each other, and what /proc tells of locks and sockets.

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{
    ffi::CStr,
    fs,
    os::{fd::AsRawFd, unix::net::UnixListener},
    ptr::null_mut,
};

const F_SETSIG: c_int = 10;
const F_SETLEASE: c_int = 1024;
const F_GETLEASE: c_int = 1025;
const SIGNAL: c_int = 40;
const PATH: &CStr = c"/tmp/probe-lease";

fn lease(file: c_int, kind: c_int) -> Result<i64, i32> {
    // SAFETY: takes no address.
    result(unsafe { fcntl(file, F_SETLEASE, kind) }.into())
}

fn current(file: c_int) -> Result<i64, i32> {
    // SAFETY: takes no address.
    result(unsafe { fcntl(file, F_GETLEASE) }.into())
}

fn opened(flags: c_int) -> Result<i64, i32> {
    // SAFETY: a path with its NUL.
    result(unsafe { open(PATH.as_ptr(), flags, 0o644) }.into())
}

/// Opens it and closes it again; the errno, or 0.
fn try_open(flags: c_int) -> i32 {
    match opened(flags) {
        Ok(file) => {
            // SAFETY: takes no address.
            unsafe { close(file as c_int) };
            0
        }
        Err(errno) => errno,
    }
}

/// `si_code` and `si_fd` of the signal that asks for the lease; zeros if none comes within ten seconds.
fn await_signal() -> (c_int, c_int) {
    let patience = timespec { tv_sec: 10, tv_nsec: 0 };
    // SAFETY: all live until the call is over; the field is that of a file's signal.
    unsafe {
        let mut set: sigset_t = std::mem::zeroed();
        sigaddset(&raw mut set, SIGNAL);
        let mut info: siginfo_t = std::mem::zeroed();
        if sigtimedwait(&raw const set, &raw mut info, &raw const patience) != SIGNAL {
            return (0, 0);
        }
        let words: *const c_int = (&raw const info).cast();
        (info.si_code, *words.add(6))
    }
}

/// Whether a row of /proc/locks has all of this, now or within ten seconds.
fn locks_tell(parts: &[&str]) -> bool {
    (0..1000).any(|_| {
        let text = fs::read_to_string("/proc/locks").unwrap_or_default();
        let found = text.lines().any(|row| parts.iter().all(|part| row.contains(part)));
        if !found {
            // SAFETY: takes no address.
            unsafe { usleep(10_000) };
        }
        found
    })
}

fn refusals(checks: &mut Checks) {
    let both = opened(O_CREAT | O_RDWR | O_TRUNC).unwrap_or(-1) as c_int;
    checks.equal("no lease", (current(both), lease(both, F_UNLCK)), (Ok(F_UNLCK.into()), Err(EAGAIN)));
    checks.equal("no such lease", lease(both, 3), Err(EINVAL));
    checks.equal("open for writing", lease(both, F_RDLCK), Err(EAGAIN));
    let stranger = child::status(|| {
        // SAFETY: takes no address.
        unsafe { setresuid(1000, 1000, 1000) };
        lease(opened(O_RDONLY).unwrap_or(-1) as c_int, F_RDLCK).err().unwrap_or(0)
    });
    checks.equal("another's file", stranger, EACCES);
    // SAFETY: paths with their NULs, room for two descriptors.
    let (directory, pipes) = unsafe {
        let mut pipes = [0; 2];
        pipe(pipes.as_mut_ptr());
        (open(c"/tmp".as_ptr(), O_RDONLY), pipes)
    };
    checks.equal("no regular file", (lease(directory, F_RDLCK), lease(pipes[0], F_RDLCK)), (Err(EINVAL), Err(EINVAL)));
    let other = opened(O_RDONLY).unwrap_or(-1) as c_int;
    checks.equal("open twice", lease(both, F_WRLCK), Err(EAGAIN));
    // SAFETY: takes no address.
    unsafe { (close(directory), close(pipes[0]), close(pipes[1]), close(other)) };
    checks.equal("alone", (lease(both, F_WRLCK), current(both)), (Ok(0), Ok(F_WRLCK.into())));
    checks.equal("given up", (lease(both, F_UNLCK), current(both)), (Ok(0), Ok(F_UNLCK.into())));
    let enable = "/proc/sys/fs/leases-enable";
    let disabled = fs::write(enable, "0").is_ok() && lease(both, F_WRLCK) == Err(EINVAL);
    checks.check("leases-enable", fs::write(enable, "1").is_ok() && disabled);
    // SAFETY: takes no address.
    unsafe { close(both) };
}

fn breaks(checks: &mut Checks) {
    let file = opened(O_RDONLY).unwrap_or(-1) as c_int;
    // SAFETY: takes no address.
    let own = unsafe { (fcntl(file, F_SETSIG, SIGNAL), getpid()).1 }.to_string();
    checks.equal("a lease for reading", lease(file, F_RDLCK), Ok(0));
    checks.check("it is told", locks_tell(&["LEASE  ACTIVE    READ ", &own, "0 EOF"]));
    checks.equal("readers don't mind", try_open(O_RDONLY), 0);
    checks.equal("who does not wait", try_open(O_WRONLY | O_NONBLOCK), EWOULDBLOCK);
    checks.equal("the owner is asked", await_signal(), (3, file));
    checks.equal("for all of it", current(file), Ok(F_UNLCK.into()));
    checks.check("that is told", locks_tell(&["LEASE  BREAKING  UNLCK ", &own]));
    let writer = child::start(|| try_open(O_WRONLY));
    checks.equal("given up", lease(file, F_UNLCK), Ok(0));
    checks.equal("then it can be opened", writer(), 0);

    checks.equal("for writing", lease(file, F_WRLCK), Ok(0));
    let reader = child::start(|| try_open(O_RDONLY));
    checks.equal("a reader asks", await_signal(), (3, file));
    checks.equal("for less", current(file), Ok(F_RDLCK.into()));
    checks.equal("it becomes that", lease(file, F_RDLCK), Ok(0));
    checks.equal("the reader has it", reader(), 0);
    // SAFETY: a path with its NUL.
    let shortener = child::start(|| result(unsafe { truncate(PATH.as_ptr(), 0) }.into()).err().unwrap_or(0));
    checks.equal("who makes it shorter asks too", await_signal(), (3, file));
    checks.equal("given up again", (lease(file, F_UNLCK), shortener()), (Ok(0), 0));

    checks.equal("once more", lease(file, F_RDLCK), Ok(0));
    checks.equal("a signal ends the wait", child::status(interrupted), EINTR);
    checks.equal("it was asked", await_signal(), (3, file));
    checks.equal("and gives up", lease(file, F_UNLCK), Ok(0));
    let patience = "/proc/sys/fs/lease-break-time";
    checks.check("one second", fs::write(patience, "1").is_ok() && lease(file, F_RDLCK) == Ok(0));
    checks.equal("who does not give up", child::status(|| try_open(O_WRONLY)), 0);
    checks.equal("loses it", (current(file), await_signal()), (Ok(F_UNLCK.into()), (3, file)));
    checks.check("45 seconds", fs::write(patience, "45").is_ok());
    // SAFETY: takes no address.
    unsafe { close(file) };
}

extern "C" fn ignore(_signal: c_int) {}

/// Opens the file, for which it has to wait, and is interrupted again and again.
fn interrupted() -> i32 {
    // SAFETY: zeros are an action; it and the times live until the calls are over.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as *const () as sighandler_t;
        sigaction(SIGALRM, &raw const action, null_mut());
        let often = timeval { tv_sec: 0, tv_usec: 20_000 };
        let timer = itimerval { it_interval: often, it_value: often };
        setitimer(ITIMER_REAL, &raw const timer, null_mut());
    }
    try_open(O_WRONLY)
}

/// Locks a byte of the file, or unlocks it.
fn lock(file: c_int, command: c_int, kind: c_int, byte: i64) -> Result<i64, i32> {
    // SAFETY: zeros are a lock, which lives until the call is over.
    unsafe {
        let mut lock: flock = std::mem::zeroed();
        (lock.l_type, lock.l_start, lock.l_len) = (kind as c_short, byte, 1);
        result(fcntl(file, command, &raw const lock).into())
    }
}

fn locks(checks: &mut Checks) {
    let file = opened(O_RDWR).unwrap_or(-1) as c_int;
    // SAFETY: takes no address.
    let own = unsafe { getpid() }.to_string();
    checks.equal("byte 0", lock(file, F_SETLK, F_WRLCK, 0), Ok(0));
    let other = child::start(|| {
        let file = opened(O_RDWR).unwrap_or(-1) as c_int;
        let got = [lock(file, F_SETLK, F_WRLCK, 1), lock(file, F_SETLKW, F_WRLCK, 0)];
        i32::from(got != [Ok(0), Ok(0)])
    });
    checks.check("this one is told", locks_tell(&["POSIX  ADVISORY  WRITE ", &own, " 0 0"]));
    checks.check("the other waits", locks_tell(&[": -> POSIX  ADVISORY  WRITE ", " 0 0"]));
    checks.equal("who would wait for who waits for him", lock(file, F_SETLKW, F_WRLCK, 1), Err(EDEADLK));
    checks.equal("byte 0 is free", (lock(file, F_SETLK, F_UNLCK, 0), other()), (Ok(0), 0));
    checks.equal("and byte 1", lock(file, F_SETLKW, F_WRLCK, 1), Ok(0));
    // SAFETY: takes no address.
    checks.equal("the whole", result(unsafe { flock(file, LOCK_SH) }.into()), Ok(0));
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{file}")).unwrap_or_default();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("lock:\t")).collect();
    let told = rows.len() == 2
        && rows[0].starts_with(&format!("lock:\t1: FLOCK  ADVISORY  READ {own} "))
        && rows[1].starts_with(&format!("lock:\t2: POSIX  ADVISORY  WRITE {own} "))
        && rows[1].ends_with(" 1 1");
    checks.check("fdinfo", told);
    // SAFETY: takes no address.
    unsafe { close(file) };
}

fn sockets(checks: &mut Checks) {
    const NAME: &str = "/tmp/probe-listens";
    let _gone = fs::remove_file(NAME);
    let Ok(listener) = UnixListener::bind(NAME) else { return checks.check("a socket listens", false) };
    let inode = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap_or_default();
    let inode = inode.to_string_lossy().trim_matches(|letter: char| !letter.is_ascii_digit()).to_owned();
    let told = |parts: [&str; 3]| {
        let text = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        text.starts_with("Num       RefCount Protocol Flags    Type St Inode Path\n")
            && text.lines().any(|row| parts.iter().all(|part| row.contains(part)))
    };
    checks.check("it is told", told([" 00000000 00010000 0001 01 ", NAME, &inode]));
    drop(listener);
    checks.check("and then no more", !told([NAME, "", ""]) && fs::remove_file(NAME).is_ok());
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    // SAFETY: zeros are a set, and it lives until the calls are over.
    unsafe {
        let mut set: sigset_t = std::mem::zeroed();
        sigaddset(&raw mut set, SIGNAL);
        sigprocmask(SIG_BLOCK, &raw const set, null_mut());
    }
    refusals(&mut checks);
    breaks(&mut checks);
    locks(&mut checks);
    sockets(&mut checks);
    // SAFETY: a path with its NUL.
    unsafe { unlink(PATH.as_ptr()) };
    checks.tell()
}
