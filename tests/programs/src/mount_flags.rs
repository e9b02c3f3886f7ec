//! What the flags of a mount do: statfs shows them, access times are noted as they say, and what is written to does not become
//! read-only.

use crate::checks::{Checks, result};
use libc::*;
use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::Read,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    ptr::null,
};

const PLACE: &str = "/tmp/flags";
const BIND: &str = "/tmp/flags-too";

fn text(path: &str) -> CString {
    CString::new(path).unwrap_or_default()
}

/// mount(2) of a tmpfs, or of what is at [`PLACE`] with `MS_BIND`.
fn mount_at(target: &str, flags: c_ulong) -> Result<(), i32> {
    let (source, target) = (text(PLACE), text(target));
    // SAFETY: the strings live until the call is over.
    result(unsafe { mount(source.as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), flags, null()) }.into()).map(drop)
}

fn remount(flags: c_ulong) -> Result<(), i32> {
    mount_at(PLACE, MS_REMOUNT | flags)
}

fn unmount(target: &str) -> Result<(), i32> {
    let target = text(target);
    // SAFETY: the string lives until the call is over.
    result(unsafe { umount2(target.as_ptr(), 0) }.into()).map(drop)
}

/// What `struct statfs` is made of: the type comes first, the flags eleventh.
type Statistics = [u64; 15];

/// `f_type` and `f_flags` of an open file.
fn of_file(file: RawFd) -> (u64, u64) {
    let mut all: Statistics = [0; 15];
    // SAFETY: the structure lives until the call is over.
    unsafe { syscall(SYS_fstatfs, file, all.as_mut_ptr()) };
    (all[0], all[10])
}

/// `f_flags` of a path.
fn shown(path: &str) -> u64 {
    let (path, mut all): (_, Statistics) = (text(path), [0; 15]);
    // SAFETY: both live until the call is over.
    unsafe { syscall(SYS_statfs, path.as_ptr(), all.as_mut_ptr()) };
    all[10]
}

fn flags_are_shown(checks: &mut Checks) {
    checks.equal("a mount", mount_at(PLACE, MS_NOSUID | MS_NODEV), Ok(()));
    checks.equal("its flags", shown(PLACE), 0x20 | ST_NOSUID | 4 | 4096);
    for (what, flags, expected) in [
        ("noexec", MS_NOEXEC, 8 | 4096),
        ("noatime", MS_NOATIME | MS_NODIRATIME, 1024 | 2048),
        ("strictatime", MS_STRICTATIME, 0),
        ("sync", MS_SYNCHRONOUS | MS_RELATIME, 16 | 4096),
        ("nosymfollow", 256, 8192 | 4096),
        ("read-only", MS_RDONLY | MS_RELATIME, 1 | 4096),
        ("none", MS_RELATIME, 4096),
    ] {
        checks.equal(what, remount(flags).map(|()| shown(PLACE)), Ok(0x20 | expected));
    }
    checks.equal("a bind", mount_at(BIND, MS_BIND), Ok(()));
    checks.equal("of its own", mount_at(BIND, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID), Ok(()));
    let file = File::open(BIND);
    let fstatfs = file.as_ref().map_or(0, |file| of_file(file.as_raw_fd()).1);
    checks.equal("not of the other", [fstatfs, shown(PLACE)], [0x20 | 1 | 2 | 4096, 0x20 | 4096]);
    let mut ends = [0; 2];
    // SAFETY: the array has room for both descriptors.
    checks.check("a pipe", unsafe { pipe(ends.as_mut_ptr()) } == 0);
    checks.equal("is in pipefs", of_file(ends[0]), (0x5049_5045, 0x20));
    for end in ends {
        // SAFETY: the descriptor is this function's own.
        unsafe { close(end) };
    }
}

/// Makes the last access of a path one of long ago, tries something, and says whether it was noted.
fn noted(path: &str, read: impl FnOnce()) -> bool {
    let accessed = || fs::symlink_metadata(path).map(|data| (data.atime(), data.atime_nsec())).unwrap_or_default();
    let name = text(path);
    let times = [timespec { tv_sec: 1000, tv_nsec: 0 }, timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }];
    // SAFETY: the string and the times live until the call is over.
    unsafe { utimensat(AT_FDCWD, name.as_ptr(), times.as_ptr(), AT_SYMLINK_NOFOLLOW) };
    let before = accessed();
    read();
    accessed() != before
}

fn access_times(checks: &mut Checks) {
    let at = |name: &str| format!("{PLACE}/{name}");
    let _ = fs::write(at("file"), "text");
    let _ = fs::create_dir(at("d"));
    let _ = std::os::unix::fs::symlink("file", at("link"));
    let read = |file: &File| {
        let _ = { file }.read(&mut [0; 4]);
    };
    // Open all the time: what counts is what the mount says when it is read.
    let files = [0, O_NOATIME].map(|flag| OpenOptions::new().read(true).custom_flags(flag).open(at("file")));
    let [Ok(file), Ok(silent)] = files else { return checks.check("the files", false) };
    let all = || {
        [
            noted(&at("file"), || read(&file)),
            noted(&at("file"), || read(&silent)),
            noted(&at("d"), || drop(fs::read_dir(at("d")).map(Iterator::count))),
            noted(&at("link"), || drop(fs::read_link(at("link")))),
            noted(&at("link"), || drop(fs::metadata(at("link")))),
        ]
    };
    checks.equal("relatime", all(), [true, false, true, true, true]);
    for (what, flags, expected) in [
        ("nodiratime", MS_RELATIME | MS_NODIRATIME, [true, false, false, true, true]),
        ("noatime", MS_NOATIME, [false; 5]),
        ("read-only", MS_RDONLY | MS_STRICTATIME, [false; 5]),
        ("strictatime", MS_STRICTATIME, [true, false, true, true, true]),
    ] {
        checks.equal(what, remount(MS_BIND | flags).map(|()| all()), Ok(expected));
    }
    let accessed = || fs::metadata(at("file")).map(|data| (data.atime(), data.atime_nsec())).unwrap_or_default();
    let again = || {
        let before = accessed();
        read(&file);
        accessed() != before
    };
    let _ = { &file }.read(&mut [0; 1]);
    checks.equal("each time", [again(), again()], [true; 2]);
    checks.equal("relatime again", remount(MS_RELATIME), Ok(()));
    checks.equal("once", [again(), again()], [false; 2]);
    let _ = fs::write(at("file"), "other");
    checks.equal("after each change", [again(), again()], [true, false]);
    owners_only(checks, &at("file"));
}

/// Only the owner may ask that the time be left alone.
fn owners_only(checks: &mut Checks, path: &str) {
    let name = text(path);
    // SAFETY: the ids are numbers; nothing else of this process depends on them. The string lives until the call is over.
    unsafe {
        seteuid(1000);
        let mine = open(name.as_ptr(), O_RDONLY);
        checks.equal("not its owner", result(open(name.as_ptr(), O_RDONLY | O_NOATIME).into()), Err(EPERM));
        checks.equal("nor later", result(fcntl(mine, F_SETFL, O_NOATIME).into()), Err(EPERM));
        seteuid(0);
        checks.equal("the privileged", result(fcntl(mine, F_SETFL, O_NOATIME).into()), Ok(0));
        seteuid(1000);
        checks.equal("it stays", result(fcntl(mine, F_SETFL, O_NOATIME | O_APPEND).into()), Ok(0));
        seteuid(0);
        close(mine);
    }
}

fn writers(checks: &mut Checks) {
    let at = |name: &str| format!("{PLACE}/{name}");
    checks.equal("both may be written", mount_at(BIND, MS_REMOUNT | MS_BIND), Ok(()));
    let writer = OpenOptions::new().write(true).open(at("file"));
    let reader = File::open(at("file"));
    checks.equal("the file system", remount(MS_RDONLY), Err(EBUSY));
    checks.equal("the mount", remount(MS_RDONLY | MS_BIND), Err(EBUSY));
    checks.equal("the other mount", mount_at(BIND, MS_REMOUNT | MS_BIND | MS_RDONLY), Ok(()));
    let opened = OpenOptions::new().write(true).open(format!("{BIND}/file"));
    checks.equal("is closed", opened.err().and_then(|error| error.raw_os_error()), Some(EROFS));
    drop(writer);
    let _ = fs::remove_file(at("file"));
    checks.equal("a file without a name", remount(MS_RDONLY), Err(EBUSY));
    checks.check("nothing has changed", fs::write(at("file"), "x").is_ok());
    drop(reader);
    checks.equal("no writer", remount(MS_RDONLY), Ok(()));
    let made = fs::write(at("more"), "x");
    checks.equal("is read-only", made.err().and_then(|error| error.raw_os_error()), Some(EROFS));
}

/// ustat and sysfs: what there is, and what was found by older means.
fn file_systems(checks: &mut Checks) {
    let ustat = |device: u64| {
        let mut out = [0_u64; 4];
        // SAFETY: the structure lives until the call is over.
        result(unsafe { syscall(SYS_ustat, device, out.as_mut_ptr()) }).map(|_| out)
    };
    let device = fs::metadata(PLACE).map_or(0, |data| data.dev());
    let found = ustat(device).map(|[blocks, inodes, names, tail]| blocks > 0 && inodes > 0 && [names, tail] == [0; 2]);
    checks.equal("by its device", found, Ok(true));
    checks.equal("no such device", ustat(0xf_ff00), Err(EINVAL));
    let table = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let names: Vec<&str> = table.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    // SAFETY: takes no address with this option.
    checks.equal("so many types", result(unsafe { syscall(SYS_sysfs, 3) }), Ok(names.len() as i64));
    let index = names.iter().position(|name| *name == "tmpfs").map_or(-1, |index| index as i64);
    // SAFETY: the strings live until the calls are over.
    let [known, unknown] = [c"tmpfs", c"none"].map(|name| result(unsafe { syscall(SYS_sysfs, 1, name.as_ptr()) }));
    checks.equal("the number of a name", [known, unknown], [Ok(index), Err(EINVAL)]);
    let mut name = [0_u8; 16];
    // SAFETY: the buffer lives until the calls are over.
    let named = [index, 1000].map(|index| result(unsafe { syscall(SYS_sysfs, 2, index, name.as_mut_ptr()) }));
    checks.equal("the name of a number", named, [Ok(0), Err(EINVAL)]);
    checks.check("the same", name.starts_with(b"tmpfs\0"));
    // SAFETY: takes no address with this option.
    checks.equal("another question", result(unsafe { syscall(SYS_sysfs, 4) }), Err(EINVAL));
}

/// How long what is written is expected to last.
fn hints(checks: &mut Checks) {
    const GET: c_int = 1035;
    const SET: c_int = 1036;
    let Ok(file) = File::create(format!("{PLACE}/hint")) else { return checks.check("a file", false) };
    let ask = |command, hint: u64| {
        let mut value = hint;
        // SAFETY: the number lives until the call is over.
        result(unsafe { fcntl(file.as_raw_fd(), command, &raw mut value) }.into()).map(|_| value)
    };
    checks.equal("none", ask(GET, 9), Ok(0));
    checks.equal("a short life", ask(SET, 2).and_then(|_| ask(GET, 9)), Ok(2));
    checks.equal("no such life", ask(SET, 6), Err(EINVAL));
    // SAFETY: nothing is there.
    checks.equal("nowhere", result(unsafe { fcntl(file.as_raw_fd(), SET, 8) }.into()), Err(EFAULT));
}

pub fn run() -> bool {
    let mut checks = Checks::default();
    for path in [PLACE, BIND] {
        let _ = fs::create_dir(path);
    }
    flags_are_shown(&mut checks);
    access_times(&mut checks);
    file_systems(&mut checks);
    hints(&mut checks);
    writers(&mut checks);
    for path in [BIND, PLACE] {
        checks.equal(path, unmount(path), Ok(()));
        let _ = fs::remove_dir(path);
    }
    checks.tell()
}
