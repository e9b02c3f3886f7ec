//! The calls that have mounts as open files: open_tree, move_mount, mount_setattr, fsopen, fsconfig, fsmount, fspick.

use crate::checks::{Checks, result};
use libc::*;
use std::{
    ffi::{CStr, CString},
    fs,
    ptr::null,
};

const TOP: &str = "/tmp/trees";

const CLONE: c_uint = 1;
const RECURSIVE: c_uint = 0x8000;
const EMPTY: c_uint = 0x1000;
const FROM_EMPTY: c_uint = 4;

const SET_FLAG: c_uint = 0;
const SET_STRING: c_uint = 1;
const SET_BINARY: c_uint = 2;
const SET_FD: c_uint = 5;
const CREATE: c_uint = 6;
const RECONFIGURE: c_uint = 7;

const READ_ONLY: u64 = 1;
const NO_EXECUTE: u64 = 8;
const TIMES: u64 = 0x70;
const NO_TIMES: u64 = 0x10;
const STRICT: u64 = 0x20;
const ID_MAP: u64 = 0x10_0000;
const SHARED: u64 = 1 << 20;
const PRIVATE: u64 = 1 << 18;

/// A descriptor that is closed in the end.
struct File(c_int);

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this value's own.
        unsafe { close(self.0) };
    }
}

fn text(path: &str) -> CString {
    CString::new(path).unwrap_or_default()
}

fn at(path: &str) -> String {
    format!("{TOP}{path}")
}

fn file(value: i64) -> Result<File, i32> {
    result(value).map(|number| File(number as c_int))
}

fn errno<T>(got: Result<T, i32>) -> i32 {
    got.err().unwrap_or(0)
}

fn open_tree(path: &str, flags: c_uint) -> Result<File, i32> {
    let path = text(path);
    // SAFETY: the string lives until the call is over.
    file(unsafe { syscall(SYS_open_tree, AT_FDCWD, path.as_ptr(), flags) })
}

/// Moves what a file stands for to a path.
fn attach(from: &File, to: &str) -> Result<(), i32> {
    let to = text(to);
    // SAFETY: the strings live until the call is over.
    result(unsafe { syscall(SYS_move_mount, from.0, c"".as_ptr(), AT_FDCWD, to.as_ptr(), FROM_EMPTY) }).map(drop)
}

fn move_mount(from: &str, to: &str, flags: c_uint) -> Result<(), i32> {
    let (from, to) = (text(from), text(to));
    // SAFETY: the strings live until the call is over.
    result(unsafe { syscall(SYS_move_mount, AT_FDCWD, from.as_ptr(), AT_FDCWD, to.as_ptr(), flags) }).map(drop)
}

/// mount_setattr of a path, with the flags, and what is set, cleared, shared, and the descriptor of a user namespace.
fn set_attributes(path: &str, flags: c_uint, attributes: [u64; 4]) -> Result<(), i32> {
    let path = text(path);
    // SAFETY: the string and the structure live until the call is over.
    let got = unsafe { syscall(SYS_mount_setattr, AT_FDCWD, path.as_ptr(), flags, attributes.as_ptr(), 32) };
    result(got).map(drop)
}

fn fsopen(kind: &CStr, flags: c_uint) -> Result<File, i32> {
    // SAFETY: the string lives until the call is over.
    file(unsafe { syscall(SYS_fsopen, kind.as_ptr(), flags) })
}

fn fspick(path: &str, flags: c_uint) -> Result<File, i32> {
    let path = text(path);
    // SAFETY: the string lives until the call is over.
    file(unsafe { syscall(SYS_fspick, AT_FDCWD, path.as_ptr(), flags) })
}

fn fsmount(configuration: &File, flags: c_uint, attributes: u64) -> Result<File, i32> {
    // SAFETY: takes no address.
    file(unsafe { syscall(SYS_fsmount, configuration.0, flags, attributes) })
}

fn configure(file: c_int, what: c_uint, key: Option<&CStr>, value: Option<&CStr>, more: c_int) -> Result<(), i32> {
    let address = |text: Option<&CStr>| text.map_or(null(), CStr::as_ptr);
    // SAFETY: the strings live until the call is over.
    result(unsafe { syscall(SYS_fsconfig, file, what, address(key), address(value), more) }).map(drop)
}

fn unmount(path: &str) -> Result<(), i32> {
    let path = text(path);
    // SAFETY: the string lives until the call is over.
    result(unsafe { umount2(path.as_ptr(), 0) }.into()).map(drop)
}

fn mount_tmpfs(path: &str) -> Result<(), i32> {
    let path = text(path);
    // SAFETY: the strings live until the call is over.
    result(unsafe { mount(c"x".as_ptr(), path.as_ptr(), c"tmpfs".as_ptr(), 0, null()) }.into()).map(drop)
}

/// What the table says of the last mount at this path: its options.
fn options(path: &str) -> String {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let row = table.lines().rev().find(|row| row.split(' ').nth(1) == Some(path)).unwrap_or_default();
    row.split(' ').nth(3).unwrap_or_default().to_owned()
}

/// How many mounts there are below [`TOP`].
fn count() -> usize {
    fs::read_to_string("/proc/self/mounts").unwrap_or_default().matches(TOP).count()
}

fn as_nobody<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: the ids are numbers; nothing else of this process depends on them.
    unsafe { seteuid(1000) };
    let got = call();
    // SAFETY: as above.
    unsafe { seteuid(0) };
    got
}

fn trees(checks: &mut Checks) {
    let [a, b, inner] = ["/a", "/b", "/a/in"].map(at);
    checks.equal("unknown flags", errno(open_tree(&a, 2)), EINVAL);
    checks.equal("all below what is not cloned", errno(open_tree(&a, RECURSIVE)), EINVAL);
    checks.equal("no right", errno(as_nobody(|| open_tree(&a, CLONE))), EPERM);
    checks.equal("nothing there", errno(open_tree(&at("/none"), CLONE)), ENOENT);
    checks.equal("an empty path", errno(open_tree("", 0)), ENOENT);
    checks.check("a plain place", as_nobody(|| open_tree(&a, 0)).is_ok());
    checks.equal("a mount", mount_tmpfs(&a), Ok(()));
    let _ = fs::create_dir(&inner);
    checks.equal("another", mount_tmpfs(&inner), Ok(()));
    let _ = fs::write(at("/a/in/file"), "x");
    let before = count();
    let both = open_tree(&a, CLONE | RECURSIVE);
    let Ok(both) = both else { return checks.check("a clone", false) };
    checks.equal("seen nowhere", count(), before);
    let place = text(&format!("/proc/self/fd/{}/in/file", both.0));
    // SAFETY: the strings live until the calls are over.
    let seen = unsafe { [access(place.as_ptr(), F_OK), faccessat(both.0, c"in/file".as_ptr(), F_OK, 0)] };
    checks.equal("but through the file", seen, [0, 0]);
    checks.equal("onto a file", errno(attach(&both, &at("/a/in/file"))), EINVAL);
    checks.equal("attached", attach(&both, &b), Ok(()));
    checks.equal("with all below", count(), before + 2);
    checks.equal("into itself", errno(attach(&both, &at("/b/in"))), ELOOP);
    drop(both);
    checks.check("and it stays", fs::metadata(at("/b/in/file")).is_ok());
    checks.equal("the inner one", unmount(&at("/b/in")).and_then(|()| unmount(&b)), Ok(()));
    let one = open_tree(&a, CLONE);
    checks.check("without what is below", one.is_ok_and(|one| attach(&one, &b).is_ok()) && count() == before + 1);
    checks.equal("unknown flags of a move", errno(move_mount(&b, &at("/c"), 0x1000)), EINVAL);
    checks.equal("no right to move", errno(as_nobody(|| move_mount(&b, &at("/c"), 0x1000))), EPERM);
    checks.equal("no mount", errno(move_mount(&at("/c"), &b, 0)), EINVAL);
    checks.equal("a move", move_mount(&b, &at("/c"), 0), Ok(()));
    checks.equal("of no group", errno(move_mount(&a, &at("/c"), 0x100)), EINVAL);
    checks.equal("a group", set_attributes(&a, 0, [0, 0, SHARED, 0]), Ok(()));
    checks.equal("is joined", move_mount(&a, &at("/c"), 0x100), Ok(()));
    checks.equal("once", errno(move_mount(&a, &at("/c"), 0x100)), EINVAL);
    checks.equal("an inner mount goes", unmount(&inner), Ok(()));
    checks.equal("one more", mount_tmpfs(&inner), Ok(()));
    checks.check("is in both", unmount(&at("/c/in")).is_ok() && unmount(&inner) == Err(EINVAL));
    checks.equal("the ends", unmount(&at("/c")).and_then(|()| unmount(&a)), Ok(()));
}

fn attributes(checks: &mut Checks) {
    let (a, inner) = (at("/a"), at("/a/in"));
    checks.equal("a mount", mount_tmpfs(&a), Ok(()));
    let _ = fs::create_dir(&inner);
    checks.equal("another", mount_tmpfs(&inner), Ok(()));
    for (what, path, flags, wish, expected) in [
        ("unknown flags", &a, 1, [0; 4], EINVAL),
        ("nothing", &at("/none"), 0, [0; 4], 0),
        ("unknown attributes", &a, 0, [1 << 40, 0, 0, 0], EINVAL),
        ("unknown ones to clear", &a, 0, [0, 1 << 30, 0, 0], EINVAL),
        ("two kinds of propagation", &a, 0, [0, 0, SHARED | PRIVATE, 0], EINVAL),
        ("times without clearing", &a, 0, [NO_TIMES, 0, 0, 0], EINVAL),
        ("half of the times", &a, 0, [0, NO_TIMES, 0, 0], EINVAL),
        ("two kinds of times", &a, 0, [NO_TIMES | STRICT, TIMES, 0, 0], EINVAL),
        ("no user namespace", &a, 0, [ID_MAP, 0, 0, 1000], EBADF),
        ("not one", &a, 0, [ID_MAP, 0, 0, 0], EINVAL),
        ("no map to clear", &a, 0, [0, ID_MAP, 0, 0], EINVAL),
        ("no place", &at("/none"), 0, [READ_ONLY, 0, 0, 0], ENOENT),
        ("no mount", &at("/b"), 0, [READ_ONLY, 0, 0, 0], EINVAL),
    ] {
        checks.equal(what, errno(set_attributes(path, flags, wish)), expected);
    }
    checks.equal("no right", errno(as_nobody(|| set_attributes(&a, 0, [READ_ONLY, 0, 0, 0]))), EPERM);
    let (path, long) = (text(&a), [0_u64; 513]);
    let sized = |size: usize, last: u64| {
        let mut wish = [0, 0, 0, 0, last];
        wish[0] = READ_ONLY;
        let address = if size > 40 { long.as_ptr() } else { wish.as_ptr() };
        // SAFETY: the string and the structures live until the call is over.
        errno(result(unsafe { syscall(SYS_mount_setattr, AT_FDCWD, path.as_ptr(), 0, address, size) }))
    };
    checks.equal("sizes", [sized(31, 0), sized(4104, 0), sized(40, 1)], [EINVAL, E2BIG, E2BIG]);
    let wish = [READ_ONLY, 0, 0, 0];
    // SAFETY: nothing is where the path should be; the structure lives until the call is over.
    let nowhere = unsafe { syscall(SYS_mount_setattr, AT_FDCWD, 8, 0, wish.as_ptr(), 32) };
    checks.equal("a path that is not there", errno(result(nowhere)), EFAULT);
    checks.equal("unchanged", options(&a), "rw,relatime".to_owned());
    checks.equal("a longer one", sized(40, 0), 0);
    checks.equal("read-only", options(&a), "ro,relatime".to_owned());
    checks.equal("and not", set_attributes(&a, 0, [NO_EXECUTE, READ_ONLY, 0, 0]), Ok(()));
    checks.equal("strict times", set_attributes(&a, 0, [STRICT, TIMES, 0, 0]), Ok(()));
    checks.equal("the options", options(&a), "rw,noexec".to_owned());
    let writer = fs::File::create(at("/a/in/file"));
    let all = |wish| set_attributes(&a, RECURSIVE, wish);
    checks.equal("with a writer below", errno(all([READ_ONLY, NO_EXECUTE, 0, 0])), EBUSY);
    checks.equal("nothing by halves", options(&a), "rw,noexec".to_owned());
    drop(writer);
    checks.equal("without", all([READ_ONLY | NO_TIMES, NO_EXECUTE | TIMES, 0, 0]), Ok(()));
    checks.equal("all", [options(&a), options(&inner)], ["ro,noatime", "ro,noatime"].map(str::to_owned));
    checks.equal("the ends", unmount(&inner).and_then(|()| unmount(&a)), Ok(()));
}

/// The next message of a configuration.
fn message(file: &File) -> Result<String, i32> {
    let mut buffer = [0; 200];
    // SAFETY: the buffer lives until the call is over.
    let length = result(unsafe { read(file.0, buffer.as_mut_ptr().cast(), buffer.len()) } as i64)?;
    Ok(String::from_utf8_lossy(&buffer[..length as usize]).into_owned())
}

fn configurations(checks: &mut Checks) {
    let a = at("/a");
    checks.equal("no right", errno(as_nobody(|| fsopen(c"none", 2))), EPERM);
    checks.equal("unknown flags", errno(fsopen(c"none", 2)), EINVAL);
    checks.equal("no such type", errno(fsopen(c"none", 0)), ENODEV);
    let Ok(file) = fsopen(c"tmpfs", 1) else { return checks.check("fsopen", false) };
    // SAFETY: takes no address.
    checks.equal("closed by exec", unsafe { fcntl(file.0, F_GETFD) }, FD_CLOEXEC);
    let (key, value) = (Some(c"size"), Some(c"1m"));
    for (what, number, command, key, value, more, expected) in [
        ("no descriptor", -1, CREATE, None, None, 0, EINVAL),
        ("no such command", file.0, 100, None, None, 0, EOPNOTSUPP),
        ("a flag without a name", file.0, SET_FLAG, None, None, 0, EINVAL),
        ("a flag with a value", file.0, SET_FLAG, key, value, 0, EINVAL),
        ("a text without one", file.0, SET_STRING, key, None, 0, EINVAL),
        ("bytes without a length", file.0, SET_BINARY, key, value, 0, EINVAL),
        ("no file", file.0, SET_FD, key, None, 1000, EBADF),
        ("a file", file.0, SET_FD, key, None, 0, EINVAL),
        ("a command with a name", file.0, CREATE, key, None, 0, EINVAL),
        ("not open", 1000, CREATE, None, None, 0, EBADF),
        ("another file", 0, CREATE, None, None, 0, EINVAL),
        ("an unknown parameter", file.0, SET_FLAG, Some(c"colour"), None, 0, EINVAL),
        ("a wrong value", file.0, SET_STRING, key, Some(c"much"), 0, EINVAL),
        ("two in one", file.0, SET_STRING, key, Some(c"1m,mode=700"), 0, EINVAL),
        ("too early", file.0, RECONFIGURE, None, None, 0, EBUSY),
    ] {
        checks.equal(what, errno(configure(number, command, key, value, more)), expected);
    }
    // SAFETY: nothing is there.
    let nowhere = unsafe { syscall(SYS_fsconfig, file.0, SET_FLAG, 8, 0, 0) };
    checks.equal("a name that is not there", errno(result(nowhere)), EFAULT);
    checks.equal("what was wrong", message(&file).map(|text| text.starts_with("e tmpfs: ")), Ok(true));
    while message(&file).is_ok() {}
    checks.equal("no more messages", message(&file), Err(ENODATA));
    checks.equal("nothing to mount", errno(fsmount(&file, 0, 0)), EINVAL);
    for (what, command, key, value) in [
        ("a size", SET_STRING, key, value),
        ("a source", SET_STRING, Some(c"source"), Some(c"words")),
        ("synchronous", SET_FLAG, Some(c"sync"), None),
        ("made", CREATE, None, None),
    ] {
        checks.equal(what, configure(file.0, command, key, value, 0), Ok(()));
    }
    checks.equal("too late", errno(configure(file.0, SET_STRING, key, value, 0)), EBUSY);
    checks.equal("twice", errno(configure(file.0, CREATE, None, None, 0)), EBUSY);
    checks.equal("unknown flags of a mount", errno(fsmount(&file, 2, 0)), EINVAL);
    checks.equal("unknown attributes", errno(fsmount(&file, 0, 1 << 10)), EINVAL);
    let Ok(tree) = fsmount(&file, 1, NO_EXECUTE | NO_TIMES) else { return checks.check("fsmount", false) };
    checks.equal("mounted twice", errno(fsmount(&file, 0, 0)), EINVAL);
    checks.equal("attached", attach(&tree, &a), Ok(()));
    drop(tree);
    checks.equal("as it was wished", options(&a), "rw,sync,noexec,noatime,size=1024k".to_owned());
    checks.equal("another size", configure(file.0, SET_STRING, key, Some(c"2m"), 0), Ok(()));
    checks.equal("changed", configure(file.0, RECONFIGURE, None, None, 0), Ok(()));
    checks.equal("as the table says", options(&a), "rw,sync,noexec,noatime,size=2048k".to_owned());
    drop(file);
    picks(checks, &a);
    checks.equal("the end", unmount(&a), Ok(()));
    let forgotten = fsopen(c"tmpfs", 0).and_then(|file| {
        configure(file.0, CREATE, None, None, 0)?;
        fsmount(&file, 0, 0)
    });
    checks.check("one that is never attached", forgotten.is_ok());
}

fn picks(checks: &mut Checks, a: &str) {
    checks.equal("no right to pick", errno(as_nobody(|| fspick(a, 16))), EPERM);
    checks.equal("unknown flags of a pick", errno(fspick(a, 16)), EINVAL);
    checks.equal("no mount", errno(fspick(&at("/b"), 0)), EINVAL);
    let Ok(file) = fspick(a, 0) else { return checks.check("fspick", false) };
    checks.equal("not to be mounted", errno(fsmount(&file, 0, 0)), EBUSY);
    checks.equal("read-only", configure(file.0, SET_FLAG, Some(c"ro"), None, 0), Ok(()));
    let writer = fs::File::create(format!("{a}/file"));
    checks.equal("not now", errno(configure(file.0, RECONFIGURE, None, None, 0)), EBUSY);
    drop(writer);
    checks.equal("now", configure(file.0, RECONFIGURE, None, None, 0), Ok(()));
    checks.equal("the rest stays", options(a), "ro,sync,noexec,noatime,size=2048k".to_owned());
    let plain = open_tree(a, 0);
    // SAFETY: the string lives until the call is over.
    let picked = plain.map(|plain| file_of(unsafe { syscall(SYS_fspick, plain.0, c"".as_ptr(), 8) }));
    checks.check("by a file", picked == Ok(true));
    let empty = EMPTY;
    checks.equal("an empty path", errno(open_tree("", empty).and_then(|file| attach(&file, a))), EINVAL);
}

fn file_of(value: i64) -> bool {
    file(value).is_ok()
}

pub fn run() -> bool {
    for path in ["/a", "/b", "/c"] {
        let _ = fs::create_dir_all(at(path));
    }
    let mut checks = Checks::default();
    trees(&mut checks);
    attributes(&mut checks);
    configurations(&mut checks);
    checks.equal("nothing is left", count(), 0);
    let _ = fs::remove_dir_all(TOP);
    checks.tell()
}
