//! Signals from files: `F_SETOWN`, `F_SETSIG`, `O_ASYNC` and `F_NOTIFY` of `fcntl(2)`.

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{ffi::CString, ptr::null_mut};

const F_SETSIG: c_int = 10;
const F_GETSIG: c_int = 11;
const F_SETOWN_EX: c_int = 15;
const F_GETOWN_EX: c_int = 16;
const F_NOTIFY: c_int = 1026;
const DN_CREATE: c_int = 4;
const DN_DELETE: c_int = 8;
const DN_MULTISHOT: c_int = 1 << 31;
/// What tells of a file here.
const SIGNAL: c_int = 40;

/// `si_code`, `si_band` and `si_fd` of a signal.
type Facts = (c_int, c_long, c_int);

fn control(file: c_int, command: c_int, argument: c_long) -> Result<i64, i32> {
    // SAFETY: the argument is a number, or the address of what lives until the call is over.
    result(unsafe { syscall(SYS_fcntl, file, command, argument) })
}

/// The same with a `struct f_owner_ex`: kind and number.
fn extended(file: c_int, command: c_int, mut owner: [i32; 2]) -> (Result<i64, i32>, [i32; 2]) {
    let done = control(file, command, owner.as_mut_ptr() as c_long);
    (done, owner)
}

fn set_of(signals: &[c_int]) -> sigset_t {
    // SAFETY: zeros are a set, and it lives until the calls are over.
    unsafe {
        let mut set: sigset_t = std::mem::zeroed();
        signals.iter().for_each(|&signal| {
            sigaddset(&raw mut set, signal);
        });
        set
    }
}

/// Waits for one of the signals; which one came, and what it says. None within ten seconds: 0.
fn await_signal(signals: &[c_int]) -> (c_int, Facts) {
    let patience = timespec { tv_sec: 10, tv_nsec: 0 };
    let set = set_of(signals);
    // SAFETY: all live until the call is over; the fields are those that a file's signal has.
    unsafe {
        let mut info: siginfo_t = std::mem::zeroed();
        let signal = sigtimedwait(&raw const set, &raw mut info, &raw const patience).max(0);
        let words: *const c_long = (&raw const info).cast();
        (signal, (info.si_code, *words.add(2), *words.add(3) as c_int))
    }
}

fn put(file: c_int) -> bool {
    // SAFETY: one byte.
    unsafe { write(file, b"x".as_ptr().cast(), 1) == 1 }
}

/// Fills a pipe that does not block.
fn fill(file: c_int) {
    let page = [0_u8; 4096];
    // SAFETY: so many bytes lie there.
    while unsafe { write(file, page.as_ptr().cast(), page.len()) } > 0 {}
}

/// Empties a pipe that does not block.
fn drain(file: c_int) {
    let mut page = [0_u8; 4096];
    // SAFETY: room for so many bytes.
    while unsafe { read(file, page.as_mut_ptr().cast(), page.len()) } > 0 {}
}

fn owners(checks: &mut Checks, file: c_int) {
    // SAFETY: takes no address.
    let (own, group) = unsafe { (getpid(), getpgrp()) };
    checks.equal("no owner", control(file, F_GETOWN, 0), Ok(0));
    checks.equal("nobody", control(file, F_SETOWN, 4_000_000), Err(ESRCH));
    checks.equal("no group", control(file, F_SETOWN, -4_000_000), Err(ESRCH));
    checks.equal("no number", control(file, F_SETOWN, c_int::MIN.into()), Err(EINVAL));
    checks.equal("this process", control(file, F_SETOWN, own.into()), Ok(0));
    checks.equal("it is that", control(file, F_GETOWN, 0), Ok(own.into()));
    checks.equal("by its kind", extended(file, F_GETOWN_EX, [-1, -1]), (Ok(0), [1, own]));
    checks.equal("a group", extended(file, F_SETOWN_EX, [2, group]).0, Ok(0));
    checks.equal("it is the group", extended(file, F_GETOWN_EX, [0, 0]), (Ok(0), [2, group]));
    checks.equal("no such kind", extended(file, F_SETOWN_EX, [3, own]).0, Err(EINVAL));
    checks.equal("a negative number", extended(file, F_SETOWN_EX, [1, -5]).0, Err(ESRCH));
    checks.equal("a bad address", control(file, F_SETOWN_EX, 8), Err(EFAULT));
    checks.equal("a bad address for the answer", control(file, F_GETOWN_EX, 8), Err(EFAULT));
    checks.equal("no such signal", control(file, F_SETSIG, 65), Err(EINVAL));
    checks.equal(
        "a signal",
        (control(file, F_SETSIG, SIGNAL.into()), control(file, F_GETSIG, 0)),
        (Ok(0), Ok(SIGNAL.into())),
    );
    checks.equal("SIGIO", control(file, F_SETSIG, 0), Ok(0));
    checks.equal("nobody again", (control(file, F_SETOWN, 0), control(file, F_GETOWN, 0)), (Ok(0), Ok(0)));
}

/// Has this process told of `file`.
fn subscribe(file: c_int, signal: c_int) -> bool {
    // SAFETY: takes no address.
    let own = unsafe { getpid() };
    let asked = [(F_SETOWN, own.into()), (F_SETSIG, signal.into()), (F_SETFL, (O_ASYNC | O_NONBLOCK).into())];
    asked.iter().all(|&(command, argument)| control(file, command, argument) == Ok(0))
}

fn pipes(checks: &mut Checks) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { pipe(ends.as_mut_ptr()) };
    let [reader, writer] = ends;
    owners(checks, reader);
    checks.check("a pipe can tell", subscribe(reader, 0));
    checks.equal("O_ASYNC is seen", control(reader, F_GETFL, 0).map(|flags| flags as c_int & O_ASYNC), Ok(O_ASYNC));
    checks.check("a byte comes", put(writer));
    let (signal, (code, ..)) = await_signal(&[SIGIO]);
    checks.equal("SIGIO without facts", (signal, code), (SIGIO, SI_KERNEL));
    control(reader, F_SETSIG, SIGNAL.into()).ok();
    checks.check("another", put(writer));
    checks.equal("with its facts", await_signal(&[SIGNAL, SIGIO]), (SIGNAL, (1, 0x41, reader)));
    checks.check("a full pipe tells room", subscribe(writer, SIGNAL));
    fill(writer);
    checks.equal("bytes are told", await_signal(&[SIGNAL]).1.2, reader);
    control(reader, F_SETFL, O_NONBLOCK.into()).ok();
    drain(reader);
    let mut told = await_signal(&[SIGNAL]);
    while told.1.2 == reader {
        told = await_signal(&[SIGNAL]);
    }
    checks.equal("room is told", told, (SIGNAL, (2, 0x304, writer)));
    control(writer, F_SETFL, O_NONBLOCK.into()).ok();
    subscribe_and_tell();
    checks.check("who is no longer told", put(writer) && subscribe_and_tell() == 1);
    let on = 1;
    // SAFETY: the number lives until the call is over.
    let by_ioctl = result(unsafe { ioctl(reader, FIOASYNC, &raw const on) }.into());
    checks.check("FIOASYNC", by_ioctl == Ok(0) && put(writer) && await_signal(&[SIGNAL]).0 == SIGNAL);
    // SAFETY: takes no address.
    unsafe { close(writer) };
    checks.equal("the end is something to read", await_signal(&[SIGNAL]).1, (1, 0x41, reader));
    // SAFETY: takes no address.
    unsafe { close(reader) };
    // SAFETY: a path with its NUL, and a number that lives until the call is over.
    let file = unsafe { open(c"/proc/self/maps".as_ptr(), O_RDONLY) };
    // SAFETY: as above.
    checks.equal("no such file", result(unsafe { ioctl(file, FIOASYNC, &raw const on) }.into()), Err(ENOTTY));
    checks.equal("F_SETFL does not mind", control(file, F_SETFL, O_ASYNC.into()), Ok(0));
    checks.equal("but does nothing", control(file, F_GETFL, 0).map(|flags| flags as c_int & O_ASYNC), Ok(0));
    // SAFETY: takes no address.
    unsafe { close(file) };
}

fn sockets_and_terminals(checks: &mut Checks) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { socketpair(AF_UNIX, SOCK_STREAM, 0, ends.as_mut_ptr()) };
    checks.check("a socket can tell", subscribe(ends[0], SIGNAL) && put(ends[1]));
    checks.equal("of bytes", await_signal(&[SIGNAL]), (SIGNAL, (1, 0x41, ends[0])));
    // The one that tells first: it would tell of the other's end. SAFETY: takes no address.
    unsafe { (close(ends[0]), close(ends[1])) };
    // SAFETY: numbers that live until the calls are over.
    let (master, number) = unsafe {
        let master = posix_openpt(O_RDWR | O_NOCTTY);
        let (unlock, mut number) = (0, 0);
        ioctl(master, TIOCSPTLCK, &raw const unlock);
        ioctl(master, TIOCGPTN, &raw mut number);
        (master, number)
    };
    let name = CString::new(format!("/dev/pts/{number}")).unwrap_or_default();
    // SAFETY: a path with its NUL.
    let slave = unsafe { open(name.as_ptr(), O_RDWR | O_NOCTTY) };
    checks.check("a terminal can tell", slave >= 0 && subscribe(slave, SIGNAL));
    // SAFETY: two bytes.
    checks.check("a line is typed", unsafe { write(master, b"a\n".as_ptr().cast(), 2) } == 2);
    checks.equal("it is told", await_signal(&[SIGNAL]), (SIGNAL, (1, 0x41, slave)));
    // SAFETY: takes no address.
    unsafe { (close(slave), close(master)) };
}

fn directories(checks: &mut Checks) {
    // SAFETY: paths with their NULs.
    let directory = unsafe {
        mkdir(c"/tmp/probe-notices".as_ptr(), 0o755);
        open(c"/tmp/probe-notices".as_ptr(), O_RDONLY | O_DIRECTORY)
    };
    let name = c"/tmp/probe-notices/f".as_ptr();
    // SAFETY: a path with its NUL.
    let make = || unsafe { close(open(name, O_CREAT | O_WRONLY, 0o600)) };
    // SAFETY: a path with its NUL.
    let remove = || unsafe { unlink(name) };
    checks.equal("no directory", control(0, F_NOTIFY, DN_CREATE.into()), Err(ENOTDIR));
    control(directory, F_SETSIG, SIGNAL.into()).ok();
    checks.equal("F_NOTIFY", control(directory, F_NOTIFY, DN_CREATE.into()), Ok(0));
    make();
    checks.equal("a name came", await_signal(&[SIGNAL]), (SIGNAL, (3, 0x441, directory)));
    remove();
    make();
    remove();
    checks.equal("more than once", control(directory, F_NOTIFY, (DN_CREATE | DN_DELETE | DN_MULTISHOT).into()), Ok(0));
    make();
    checks.equal("the first time", await_signal(&[SIGNAL]).0, SIGNAL);
    remove();
    checks.equal("the second", await_signal(&[SIGNAL]).0, SIGNAL);
    checks.equal("no more", control(directory, F_NOTIFY, 0), Ok(0));
    make();
    remove();
    // A notice after this one would come after those, had there been any.
    checks.check("nothing was told between", subscribe_and_tell() == 1);
    // SAFETY: a path with its NUL.
    unsafe { (close(directory), rmdir(c"/tmp/probe-notices".as_ptr())) };
}

/// How many signals come up to the one of a byte in a pipe.
fn subscribe_and_tell() -> u32 {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { pipe(ends.as_mut_ptr()) };
    let asked = subscribe(ends[0], SIGNAL) && put(ends[1]);
    let mut count = u32::from(asked);
    while asked && await_signal(&[SIGNAL]).1.2 != ends[0] {
        count += 1;
    }
    // SAFETY: takes no address.
    unsafe { (close(ends[0]), close(ends[1])) };
    count
}

/// A user has nobody told who is not his.
fn strangers(checks: &mut Checks) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors; takes no address.
    let own = unsafe { (pipe(ends.as_mut_ptr()), getpid()).1 };
    let asked = child::status(|| {
        // SAFETY: takes no address.
        unsafe { setresuid(1000, 1000, 1000) };
        let asked = [(F_SETOWN, own.into()), (F_SETSIG, SIGNAL.into()), (F_SETFL, O_ASYNC.into())];
        i32::from(!asked.iter().all(|&(command, argument)| control(ends[0], command, argument) == Ok(0)))
    });
    checks.equal("a stranger asks", asked, 0);
    checks.check("and nobody is told", put(ends[1]) && subscribe_and_tell() == 1);
    // SAFETY: takes no address.
    unsafe { (close(ends[0]), close(ends[1])) };
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    let blocked = set_of(&[SIGNAL, SIGIO]);
    // SAFETY: the set lives until the call is over.
    unsafe { sigprocmask(SIG_BLOCK, &raw const blocked, null_mut()) };
    pipes(&mut checks);
    sockets_and_terminals(&mut checks);
    directories(&mut checks);
    strangers(&mut checks);
    checks.tell()
}
