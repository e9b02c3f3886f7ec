//! Terminals: each request of `ioctl_tty(2)` and the modes of `termios(3)`, on a pseudo-terminal pair.

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{
    ffi::CString,
    os::fd::RawFd,
    ptr::{from_ref, null},
    sync::atomic::{AtomicI32, Ordering::Relaxed},
};

/// Requests and flags that libc does not name.
const UNKNOWN: c_int = 0x54ff;
const TIOCPKT: c_int = 0x5420;
const TIOCGPKT: c_int = 0x8004_5438_u32 as c_int;
const TIOCSIG: c_int = 0x4004_5436;
const TIOCVHANGUP: c_int = 0x5437;
const TIOCGDEV: c_int = 0x8004_5432_u32 as c_int;
const TCGETA: c_int = 0x5405;
const TCSETA: c_int = 0x5406;
const EXTPROC: tcflag_t = 0o200_000;

fn ask<T>(file: RawFd, request: c_int, value: &mut T) -> Result<i64, i32> {
    // SAFETY: the value lives until the call is over and is as large as the request asks.
    result(unsafe { ioctl(file, request as Ioctl, std::ptr::from_mut(value)) }.into())
}

fn number(file: RawFd, request: c_int) -> Result<i32, i32> {
    let mut number = -1;
    ask(file, request, &mut number).map(|_| number)
}

fn set(file: RawFd, request: c_int, value: i32) -> Result<i64, i32> {
    // SAFETY: the value lives until the call is over.
    result(unsafe { ioctl(file, request as Ioctl, from_ref(&value)) }.into())
}

fn plain(file: RawFd, request: c_int, argument: u64) -> Result<i64, i32> {
    // SAFETY: these requests take a number.
    result(unsafe { ioctl(file, request as Ioctl, argument) }.into())
}

fn put(file: RawFd, text: &[u8]) -> Result<i64, i32> {
    // SAFETY: the text lives until the call is over.
    result(unsafe { write(file, text.as_ptr().cast(), text.len()) } as i64)
}

fn take(file: RawFd, room: usize) -> Result<Vec<u8>, i32> {
    let mut buffer = vec![0_u8; room];
    // SAFETY: the buffer has that room.
    let count = result(unsafe { read(file, buffer.as_mut_ptr().cast(), room) } as i64)?;
    buffer.truncate(count as usize);
    Ok(buffer)
}

fn text(file: RawFd) -> Result<String, i32> {
    take(file, 100).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn ready(file: RawFd) -> i16 {
    let mut wanted = pollfd { fd: file, events: POLLIN | POLLOUT | POLLPRI, revents: 0 };
    // SAFETY: one entry has place there.
    unsafe { poll(&raw mut wanted, 1, 0) };
    wanted.revents
}

fn settings(file: RawFd) -> termios {
    // SAFETY: zeros will do, and the place is there.
    unsafe {
        let mut settings = std::mem::zeroed();
        tcgetattr(file, &raw mut settings);
        settings
    }
}

fn change(file: RawFd, act: impl FnOnce(&mut termios)) -> Result<i64, i32> {
    let mut wanted = settings(file);
    act(&mut wanted);
    // SAFETY: the settings live until the call is over.
    result(unsafe { tcsetattr(file, TCSANOW, &raw const wanted) }.into())
}

fn open_path(path: &str, flags: c_int) -> Result<RawFd, i32> {
    let path = CString::new(path).unwrap_or_default();
    // SAFETY: the path ends with a 0.
    result(unsafe { open(path.as_ptr(), flags) }.into()).map(|file| file as RawFd)
}

fn shut(files: &[RawFd]) {
    for &file in files {
        // SAFETY: nobody uses it any more.
        unsafe { close(file) };
    }
}

/// A master and its terminal, neither of which anybody waits on.
fn pair_in(directory: &str) -> [RawFd; 2] {
    let ptmx = if directory == "/dev/pts" { "/dev/ptmx".into() } else { format!("{directory}/ptmx") };
    let master = open_path(&ptmx, O_RDWR | O_NOCTTY | O_NONBLOCK).unwrap_or(-1);
    let _unlocked = set(master, TIOCSPTLCK as c_int, 0);
    let terminal = number(master, TIOCGPTN as c_int).unwrap_or(-1);
    [master, open_path(&format!("{directory}/{terminal}"), O_RDWR | O_NOCTTY | O_NONBLOCK).unwrap_or(-1)]
}

fn pair() -> [RawFd; 2] {
    pair_in("/dev/pts")
}

fn lines(checks: &mut Checks) {
    let [master, terminal] = pair();
    checks.equal("nothing is there at once", (take(terminal, 0), take(master, 0)), (Ok(vec![]), Ok(vec![])));
    checks.equal("typed", put(master, b"one\ntwo\nth"), Ok(10));
    checks.equal("the echo", text(master), Ok("one\r\ntwo\r\nth".into()));
    checks.equal("all lines count", number(terminal, FIONREAD as c_int), Ok(8));
    checks.equal("one is read", text(terminal), Ok("one\n".into()));
    checks.equal("a part", take(terminal, 2), Ok(b"tw".to_vec()));
    checks.equal("and the rest", text(terminal), Ok("o\n".into()));
    checks.equal("half a line is none", text(terminal), Err(EAGAIN));
    checks.equal("until lines don't matter", change(terminal, |wanted| wanted.c_lflag &= !ICANON), Ok(0));
    checks.equal("then it is read", text(terminal), Ok("th".into()));
    checks.equal("edited elsewhere", change(terminal, |wanted| wanted.c_lflag |= ICANON | EXTPROC), Ok(0));
    checks.equal("a line", put(master, b"a\x7f\x03"), Ok(3));
    checks.equal("comes as it is", (take(terminal, 9), text(master)), (Ok(b"a\x7f\x03".to_vec()), Err(EAGAIN)));
    let secret = |wanted: &mut termios| wanted.c_lflag = wanted.c_lflag & !(ECHO | EXTPROC) | ICANON;
    checks.equal("without echo", change(terminal, secret), Ok(0));
    checks.equal("reprint", put(master, b"se\x12cret\n"), Ok(8));
    checks.equal("shows nothing", text(master), Err(EAGAIN));
    shut(&[master, terminal]);
}

fn forms(checks: &mut Checks) {
    let [master, terminal] = pair();
    let strange = |wanted: &mut termios| {
        wanted.c_cflag = B9600 | CS5 | PARENB;
        wanted.c_cc[VMIN] = 7;
    };
    checks.equal("set", change(master, strange), Ok(0));
    let found = settings(terminal);
    checks.equal("a pair has 8 bits", found.c_cflag & (CSIZE | PARENB | CREAD), CS8 | CREAD);
    checks.equal("the rest is kept", (found.c_cflag & CBAUD, found.c_cc[VMIN]), (B9600, 7));
    let mut two = [0_u32; 11];
    checks.equal("with speeds", (ask(terminal, TCGETS2 as c_int, &mut two), two[9], two[10]), (Ok(0), 9600, 9600));
    let mut old = [0_u16; 9];
    checks.equal("the old form", (ask(terminal, TCGETA, &mut old), old[0]), (Ok(0), (ICRNL | IXON) as u16));
    old[0] = 0;
    checks.equal("is set", (ask(terminal, TCSETA, &mut old), settings(terminal).c_iflag), (Ok(0), 0));
    checks.equal("one discipline", (number(terminal, 0x5424), set(terminal, 0x5423, 0)), (Ok(0), Ok(0)));
    checks.equal("no other", set(terminal, 0x5423, 3), Err(EINVAL));
    let device = number(terminal, TIOCGDEV);
    checks.equal("its number", (device == number(master, TIOCGDEV), device.map(|it| it >> 8 & 0xff)), (true, Ok(136)));
    checks.equal("carrier", (set(terminal, 0x541a, 1), number(terminal, 0x5419)), (Ok(0), Ok(1)));
    checks.equal("which is a flag", settings(terminal).c_cflag & CLOCAL, CLOCAL);
    shut(&[master, terminal]);
}

fn flow(checks: &mut Checks) {
    let [master, terminal] = pair();
    checks.equal("stopped by a key", (put(master, b"\x13"), put(terminal, b"x")), (Ok(1), Err(EAGAIN)));
    checks.equal("poll says so", ready(terminal) & POLLOUT, 0);
    checks.equal("echo waits", (put(master, b"ab"), text(master)), (Ok(2), Err(EAGAIN)));
    checks.equal("not for a program", (plain(terminal, TCXONC as c_int, 1), put(terminal, b"x")), (Ok(0), Err(EAGAIN)));
    checks.equal("until the other key", (put(master, b"\x11"), text(master)), (Ok(1), Ok("ab".into())));
    checks.equal("held by a program", (plain(terminal, TCXONC as c_int, 0), put(terminal, b"x")), (Ok(0), Err(EAGAIN)));
    checks.equal("not for a key", (put(master, b"\x11"), put(terminal, b"x")), (Ok(1), Err(EAGAIN)));
    checks.equal("until it lets go", (plain(terminal, TCXONC as c_int, 1), put(terminal, b"x")), (Ok(0), Ok(1)));
    checks.equal("asks to stop", plain(terminal, TCXONC as c_int, 2), Ok(0));
    checks.equal("and to go on", plain(terminal, TCXONC as c_int, 3), Ok(0));
    checks.equal("by the keys", text(master), Ok("x\x13\x11".into()));
    checks.equal("neither", plain(terminal, TCXONC as c_int, 4), Err(EINVAL));
    checks.equal("written", put(terminal, b"gone"), Ok(4));
    checks.equal("and dropped", (plain(terminal, TCFLSH as c_int, 1), text(master)), (Ok(0), Err(EAGAIN)));
    checks.equal("typed", put(master, b"gone\n"), Ok(5));
    checks.equal("and dropped too", (plain(terminal, TCFLSH as c_int, 0), text(terminal)), (Ok(0), Err(EAGAIN)));
    checks.equal("but for the echo", text(master), Ok("gone\r\n".into()));
    checks.equal("no such side", plain(terminal, TCFLSH as c_int, 3), Err(EINVAL));
    checks.equal("much is written", put(terminal, b"much"), Ok(4));
    checks.equal("a key drops it", (put(master, b"\x03"), text(master)), (Ok(1), Ok("^C".into())));
    shut(&[master, terminal]);
}

fn packets(checks: &mut Checks) {
    let [master, terminal] = pair();
    checks.equal("no packets", number(master, TIOCGPKT), Ok(0));
    checks.equal("packets", (set(master, TIOCPKT, 1), number(master, TIOCGPKT)), (Ok(0), Ok(1)));
    checks.equal("bytes", (put(terminal, b"abc"), take(master, 3)), (Ok(3), Ok(b"\0ab".to_vec())));
    checks.equal("more", take(master, 100), Ok(b"\0c".to_vec()));
    checks.equal("none", take(master, 100), Err(EAGAIN));
    checks.equal("stopped", (put(master, b"\x13"), ready(master)), (Ok(1), POLLIN | POLLOUT | POLLPRI));
    checks.equal("is told", (take(master, 100), ready(master)), (Ok(vec![4]), POLLOUT));
    checks.equal("stopped and started", (put(master, b"\x13\x11\x13\x11"), take(master, 9)), (Ok(4), Ok(vec![8])));
    checks.equal("no keys for it", change(terminal, |wanted| wanted.c_iflag &= !IXON), Ok(0));
    checks.equal("is told too", take(master, 100), Ok(vec![16]));
    checks.equal("keys", change(terminal, |wanted| wanted.c_iflag |= IXON), Ok(0));
    checks.equal("again", take(master, 100), Ok(vec![32]));
    checks.equal("dropped", plain(terminal, TCFLSH as c_int, 2), Ok(0));
    checks.equal("both", take(master, 100), Ok(vec![3]));
    checks.equal("edits", change(terminal, |wanted| wanted.c_lflag |= EXTPROC), Ok(0));
    checks.equal("elsewhere", take(master, 100), Ok(vec![64]));
    checks.equal("off", (set(master, TIOCPKT, 0), put(terminal, b"d"), text(master)), (Ok(0), Ok(1), Ok("d".into())));
    shut(&[master, terminal]);
}

static CAUGHT: AtomicI32 = AtomicI32::new(0);

extern "C" fn catch(signal: c_int) {
    CAUGHT.store(signal, Relaxed);
}

fn catch_all(signals: &[c_int]) {
    for &number in signals {
        let handler: extern "C" fn(c_int) = catch;
        // SAFETY: the handler only stores a number.
        unsafe { signal(number, handler as sighandler_t) };
    }
}

fn caught() -> i32 {
    CAUGHT.swap(0, Relaxed)
}

/// In a session of its own, with the terminal as its controlling terminal.
fn in_session(act: impl FnOnce(&mut Checks, RawFd, RawFd)) -> i32 {
    child::status(|| {
        let mut checks = Checks::default();
        let [master, terminal] = pair();
        // SAFETY: it has no memory of ours.
        unsafe { setsid() };
        checks.equal("a master has no session", number(master, TIOCGSID as c_int), Err(ENOTTY));
        checks.equal("taken", plain(terminal, TIOCSCTTY as c_int, 0), Ok(0));
        act(&mut checks, master, terminal);
        i32::from(!checks.tell())
    })
}

fn sessions(checks: &mut Checks) {
    let status = in_session(|checks, master, terminal| {
        // SAFETY: it only asks.
        let own = unsafe { getpid() };
        checks.equal("a master sees the group", number(master, TIOCGPGRP as c_int), Ok(own));
        checks.equal("and the session", number(master, TIOCGSID as c_int), Ok(own));
        checks.equal("a negative group", set(terminal, TIOCSPGRP as c_int, -1), Err(EINVAL));
        checks.equal("no such group", set(terminal, TIOCSPGRP as c_int, 99_999), Err(ESRCH));
        checks.equal("another session's", set(terminal, TIOCSPGRP as c_int, 1), Err(EPERM));
        catch_all(&[SIGINT, SIGQUIT, SIGTSTP, SIGWINCH, SIGHUP]);
        for signal in [SIGINT, SIGQUIT, SIGTSTP] {
            checks.equal("a master sends it", (plain(master, TIOCSIG, signal as u64), caught()), (Ok(0), signal));
        }
        checks.equal("no other", plain(master, TIOCSIG, SIGTERM as u64), Err(EINVAL));
        checks.equal("a key", (put(master, b"\x1c"), caught()), (Ok(1), SIGQUIT));
        let mut size = [25_u16, 80, 0, 0];
        checks.equal("a size", (ask(master, TIOCSWINSZ as c_int, &mut size), caught()), (Ok(0), SIGWINCH));
        checks.equal("the same", (ask(terminal, TIOCSWINSZ as c_int, &mut size), caught()), (Ok(0), 0));
        let _echo = text(master);
        checks.equal(
            "typed by a program",
            (set(terminal, TIOCSTI as c_int, 'x' as i32), text(master)),
            (Ok(0), Ok("x".into())),
        );
        checks.equal("hung up", (plain(terminal, TIOCVHANGUP, 0), caught()), (Ok(0), SIGHUP));
        checks.equal("nothing to read", take(terminal, 9), Ok(vec![]));
        checks.equal("nowhere to write", put(terminal, b"x"), Err(EIO));
        checks.equal("nothing to ask", number(terminal, FIONREAD as c_int), Err(EIO));
        checks.equal("no group", set(terminal, TIOCSPGRP as c_int, own), Err(ENOTTY));
        checks.equal("poll", ready(terminal), POLLIN | POLLOUT | POLLERR | POLLHUP);
        checks.equal("the master sees it", (text(master), ready(master) & POLLHUP), (Err(EIO), POLLHUP));
        let path = format!("/dev/pts/{}", number(master, TIOCGPTN as c_int).unwrap_or(-1));
        let anew = open_path(&path, O_RDWR | O_NONBLOCK).unwrap_or(-1);
        checks.equal("opened anew", (put(anew, b"hi"), text(master)), (Ok(2), Ok("hi".into())));
        checks.equal("it is the session's again", number(master, TIOCGSID as c_int), Ok(own));
        let hang_up = || {
            // SAFETY: takes no address.
            result(unsafe { syscall(SYS_vhangup) })
        };
        let user = child::status(|| {
            // SAFETY: only this child becomes somebody else.
            unsafe { setuid(1000) };
            i32::from(hang_up() != Err(EPERM))
        });
        checks.equal("a user may not hang up", (user, put(anew, b"still")), (0, Ok(5)));
        checks.equal("root may", (hang_up(), put(anew, b"gone")), (Ok(0), Err(EIO)));
        checks.equal("without a terminal nothing happens", hang_up(), Ok(0));
    });
    checks.equal("in a session", status, 0);
    let status = in_session(|checks, _, terminal| {
        // SAFETY: it has no memory of ours.
        let stopped = unsafe {
            let child = fork();
            if child == 0 {
                setpgid(0, 0);
                signal(SIGTTOU, SIG_DFL);
                let _refused = change(terminal, |wanted| wanted.c_lflag |= TOSTOP);
                _exit(0);
            }
            let mut status = 0;
            waitpid(child, &raw mut status, WUNTRACED);
            kill(child, SIGKILL);
            waitpid(child, null::<c_int>().cast_mut(), 0);
            WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU
        };
        checks.check("the background must not change it", stopped);
    });
    checks.equal("with a background", status, 0);
}

/// What is there when a signal comes is given, though it is less than `VMIN`.
fn minimum(checks: &mut Checks) {
    let [master, terminal] = pair();
    let raw = |wanted: &mut termios| {
        wanted.c_lflag &= !(ICANON | ECHO);
        wanted.c_cc[VMIN] = 5;
    };
    checks.equal("five at once", change(terminal, raw), Ok(0));
    checks.equal("three", (put(master, b"abc"), ready(terminal) & POLLIN), (Ok(3), 0));
    let reader = child::start(|| {
        // SAFETY: the structures live until the calls are over, and the handler only stores a number.
        unsafe {
            let handler: extern "C" fn(c_int) = catch;
            let action = sigaction { sa_sigaction: handler as sighandler_t, ..std::mem::zeroed() };
            sigaction(SIGALRM, &raw const action, std::ptr::null_mut());
            fcntl(terminal, F_SETFL, O_RDWR);
            let every = itimerval {
                it_interval: timeval { tv_sec: 0, tv_usec: 50_000 },
                it_value: timeval { tv_sec: 0, tv_usec: 50_000 },
            };
            setitimer(ITIMER_REAL, &raw const every, std::ptr::null_mut());
        }
        i32::from(take(terminal, 100) != Ok(b"abc".to_vec()))
    });
    checks.equal("are read when a signal comes", reader(), 0);
    shut(&[master, terminal]);
}

fn exclusive(checks: &mut Checks) {
    let [master, terminal] = pair();
    let path = format!("/dev/pts/{}", number(master, TIOCGPTN as c_int).unwrap_or(-1));
    checks.equal("alone", plain(terminal, TIOCEXCL as c_int, 0), Ok(0));
    let stranger = |act: &dyn Fn() -> bool| {
        child::status(|| {
            let place = CString::new(path.clone()).unwrap_or_default();
            // SAFETY: the path ends with a 0.
            unsafe { chmod(place.as_ptr(), 0o666) };
            // SAFETY: only this child becomes somebody else.
            unsafe { setuid(1000) };
            i32::from(!act())
        })
    };
    checks.equal("not for others", stranger(&|| open_path(&path, O_RDWR | O_NOCTTY) == Err(EBUSY)), 0);
    checks.equal("nor what root may", stranger(&|| set(terminal, TIOCSTI as c_int, 1) == Err(EPERM)), 0);
    checks.equal("nor", stranger(&|| plain(terminal, TIOCVHANGUP, 0) == Err(EPERM)), 0);
    checks.equal("for all", plain(terminal, TIOCNXCL as c_int, 0), Ok(0));
    checks.equal("again", stranger(&|| open_path(&path, O_RDWR | O_NOCTTY).is_ok()), 0);
    shut(&[master, terminal]);
}

fn instances(checks: &mut Checks) {
    let place = c"/tmp/pts";
    let mount_it = |flags: u64, options: &str| {
        let options = CString::new(options).unwrap_or_default();
        // SAFETY: all are texts that end with a 0.
        let status =
            unsafe { mount(c"devpts".as_ptr(), place.as_ptr(), c"devpts".as_ptr(), flags, options.as_ptr().cast()) };
        result(status.into())
    };
    // SAFETY: the path ends with a 0.
    unsafe { mkdir(place.as_ptr(), 0o755) };
    checks.equal("no such option", mount_it(0, "size=1"), Err(EINVAL));
    checks.equal("mounted", mount_it(0, "newinstance,gid=5,mode=620,ptmxmode=666,max=1"), Ok(0));
    let outer = pair();
    let inner = pair_in("/tmp/pts");
    checks.equal("numbers of its own", number(inner[0], TIOCGPTN as c_int), Ok(0));
    checks.equal("as many as allowed", open_path("/tmp/pts/ptmx", O_RDWR | O_NOCTTY), Err(ENOSPC));
    // SAFETY: zeros will do, and the place is there.
    let found = unsafe {
        let mut found: stat = std::mem::zeroed();
        fstat(inner[1], &raw mut found);
        found
    };
    checks.equal("owner and mode", (found.st_gid, found.st_mode & 0o777), (5, 0o620));
    checks.equal("one pair", (put(inner[1], b"in"), text(inner[0])), (Ok(2), Ok("in".into())));
    checks.equal("not the other", text(outer[0]), Err(EAGAIN));
    checks.equal("more are allowed", mount_it(MS_REMOUNT, "max=2,ptmxmode=600"), Ok(0));
    let second = pair_in("/tmp/pts");
    checks.equal("a second", number(second[0], TIOCGPTN as c_int), Ok(1));
    shut(&[outer, inner, second].concat());
    // SAFETY: the paths end with a 0.
    let gone = unsafe { (umount(place.as_ptr()), rmdir(place.as_ptr())) };
    checks.equal("unmounted", gone, (0, 0));
}

fn refusals(checks: &mut Checks) {
    let [master, terminal] = pair();
    checks.equal("a stranger's group", number(terminal, TIOCGPGRP as c_int), Err(ENOTTY));
    checks.equal("a stranger's session", number(terminal, TIOCGSID as c_int), Err(ENOTTY));
    checks.equal("set it", set(terminal, TIOCSPGRP as c_int, 1), Err(ENOTTY));
    checks.equal("give it up", plain(terminal, TIOCNOTTY as c_int, 0), Err(ENOTTY));
    checks.equal("unknown", plain(terminal, UNKNOWN, 0), Err(ENOTTY));
    checks.equal("a master's", number(terminal, TIOCGPTN as c_int), Err(ENOTTY));
    for request in
        [TCGETS as c_int, TCSETS as c_int, TIOCGWINSZ as c_int, TIOCSWINSZ as c_int, FIONREAD as c_int, TCGETA, TCSETA]
    {
        checks.equal("no place", plain(terminal, request, 8), Err(EFAULT));
    }
    for request in [TIOCPKT, TIOCGPKT, TIOCGPTN as c_int, TIOCSPTLCK as c_int, FIONREAD as c_int] {
        checks.equal("no place for the master", plain(master, request, 8), Err(EFAULT));
    }
    let path = format!("/dev/pts/{}", number(master, TIOCGPTN as c_int).unwrap_or(-1));
    checks.equal(
        "locked",
        (set(master, TIOCSPTLCK as c_int, 1), open_path(&path, O_RDWR | O_NOCTTY)),
        (Ok(0), Err(EIO)),
    );
    shut(&[master]);
    checks.equal("nothing is too much", put(terminal, b""), Err(EIO));
    checks.equal("the master is gone", (take(terminal, 1), put(terminal, b"x")), (Ok(vec![]), Err(EIO)));
    checks.equal("its name too", open_path(&path, O_RDWR | O_NOCTTY), Err(ENOENT));
    shut(&[terminal]);
}

/// The terminal of a master, by the master alone.
fn other_ends(checks: &mut Checks) {
    const TIOCGPTPEER: c_int = 0x5441;
    let [master, terminal] = pair();
    let path = format!("/dev/pts/{}", number(master, TIOCGPTN as c_int).unwrap_or(-1));
    let flags = (O_RDWR | O_NOCTTY | O_CLOEXEC) as u64;
    let peer = plain(master, TIOCGPTPEER, flags).map_or(-1, |file| file as RawFd);
    let name = std::fs::read_link(format!("/proc/self/fd/{peer}"));
    checks.check("its name", name.is_ok_and(|name| name.as_os_str() == path.as_str()));
    // SAFETY: takes no address.
    checks.equal("its flags", unsafe { fcntl(peer, F_GETFD) }, FD_CLOEXEC);
    checks.equal("it is written", (put(master, b"line\n"), text(peer)), (Ok(5), Ok("line\n".to_owned())));
    checks.equal("of a terminal", plain(terminal, TIOCGPTPEER, flags), Err(EIO));
    checks.equal("locked", (set(master, TIOCSPTLCK as c_int, 1), plain(master, TIOCGPTPEER, flags)), (Ok(0), Err(EIO)));
    let plain_file = open_path("/proc/self/status", O_RDONLY).unwrap_or(-1);
    checks.equal("of another file", plain(plain_file, TIOCGPTPEER, flags), Err(ENOTTY));
    shut(&[plain_file, peer, terminal, master]);
}

/// All of them.
pub fn run() -> bool {
    let mut checks = Checks::default();
    for part in [lines, forms, flow, packets, sessions, minimum, exclusive, instances, refusals, other_ends] {
        part(&mut checks);
    }
    checks.tell()
}
