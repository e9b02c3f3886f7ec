//! openat2 and its bounds; getdents, utime and futimesat, which newer calls have replaced.

use crate::checks::{Checks, result};
use libc::*;
use std::{
    ffi::CString,
    fs,
    os::{
        fd::RawFd,
        unix::fs::{MetadataExt, symlink},
    },
};

const NO_XDEV: u64 = 1;
const NO_MAGICLINKS: u64 = 2;
const NO_SYMLINKS: u64 = 4;
const BENEATH: u64 = 8;
const IN_ROOT: u64 = 16;

fn open_how(directory: RawFd, path: &str, how: &[u64], size: usize) -> Result<RawFd, i32> {
    let path = CString::new(path).unwrap_or_default();
    // SAFETY: the path and the structure, of at least that size, live until the call is over.
    result(unsafe { syscall(SYS_openat2, directory, path.as_ptr(), how.as_ptr(), size) }).map(|file| file as RawFd)
}

/// Opens for reading within bounds; which inode that is, or the errno.
fn find(directory: RawFd, path: &str, resolve: u64) -> Result<u64, i32> {
    let file = open_how(directory, path, &[O_RDONLY as u64, 0, resolve], 24)?;
    // SAFETY: all zeros is a stat, and it lives until the call is over.
    unsafe {
        let mut found: stat = std::mem::zeroed();
        fstat(file, &raw mut found);
        close(file);
        Ok(found.st_ino)
    }
}

fn inode(path: &str) -> Result<u64, i32> {
    fs::metadata(path).map(|found| found.ino()).map_err(|_| -1)
}

fn bounds(checks: &mut Checks, top: RawFd) {
    let inside = inode("/tmp/bounds/inside/file");
    checks.equal("no bounds", find(top, "inside/file", 0), inside);
    checks.equal("beneath", find(top, "inside/../inside/file", BENEATH), inside);
    checks.equal("above", find(top, "../bounds/inside/file", BENEATH), Err(EXDEV));
    checks.equal("from the root", find(top, "/inside/file", BENEATH), Err(EXDEV));
    checks.equal("by a link", find(top, "out", BENEATH), Err(EXDEV));
    checks.equal("by a link that stays", find(top, "in", BENEATH), inside);
    checks.equal("a root of its own", find(top, "/inside/file", IN_ROOT), inside);
    checks.equal("with nothing above", find(top, "../../inside/file", IN_ROOT), inside);
    checks.equal("for links too", find(top, "rooted", IN_ROOT), inside);
    checks.equal("which miss it outside", find(top, "rooted", 0), Err(ENOENT));
    checks.equal("links", find(top, "in", NO_SYMLINKS), Err(ELOOP));
    checks.equal("no links", find(top, "inside/file", NO_SYMLINKS), inside);
    checks.equal("links on the way", find(top, "through/file", NO_SYMLINKS), Err(ELOOP));
    checks.equal("links of a process", find(AT_FDCWD, "/proc/self/cwd", NO_MAGICLINKS), Err(ELOOP));
    checks.check("but not the process", find(AT_FDCWD, "/proc/self/stat", NO_MAGICLINKS).is_ok());
    checks.equal("another mount", find(AT_FDCWD, "/proc/version", NO_XDEV), Err(EXDEV));
    checks.equal("and back", find(AT_FDCWD, "/proc/../tmp", NO_XDEV), Err(EXDEV));
    // SAFETY: the path is a literal with its NUL.
    let proc = unsafe { open(c"/proc".as_ptr(), O_PATH) };
    checks.check("from there on", find(proc, "version", NO_XDEV).is_ok());
    checks.equal("up from there", find(proc, "..", NO_XDEV), Err(EXDEV));
}

fn refusals(checks: &mut Checks, top: RawFd) {
    let how = |flags: c_int, mode, resolve| open_how(top, "new", &[flags as u64, mode, resolve], 24).err();
    checks.equal("too short", open_how(top, "in", &[0; 3], 16), Err(EINVAL));
    checks.equal("too long", open_how(top, "in", &[0; 3], 4097), Err(E2BIG));
    checks.equal("something new", open_how(top, "in", &[0, 0, 0, 1], 32), Err(E2BIG));
    checks.check("nothing new", open_how(top, "in", &[0, 0, 0, 0], 32).is_ok());
    checks.equal("no such flag", open_how(top, "in", &[1 << 40, 0, 0], 24), Err(EINVAL));
    checks.equal("no such bound", how(0, 0, 64), Some(EINVAL));
    checks.equal("two bounds", how(0, 0, BENEATH | IN_ROOT), Some(EINVAL));
    checks.equal("a mode for nothing", how(0, 0o600, 0), Some(EINVAL));
    checks.equal("more than a mode", how(O_CREAT | O_RDWR, 0o10_0000, 0), Some(EINVAL));
    checks.equal("writing by a path", how(O_PATH | O_RDWR, 0, 0), Some(EINVAL));
    checks.equal("a new file", how(O_CREAT | O_RDWR, 0o600, BENEATH), None);
}

fn old_forms(checks: &mut Checks, top: RawFd) {
    let times = |path: &str| fs::metadata(path).map(|found| (found.atime(), found.mtime(), found.mtime_nsec())).ok();
    let name = c"/tmp/bounds/new";
    let given = utimbuf { actime: 11, modtime: 22 };
    // SAFETY: the names and times live until the calls are over.
    unsafe {
        checks.equal(
            "utime",
            (syscall(SYS_utime, name.as_ptr(), &raw const given), times("/tmp/bounds/new")),
            (0, Some((11, 22, 0))),
        );
        let given = [timeval { tv_sec: 33, tv_usec: 0 }, timeval { tv_sec: 44, tv_usec: 5 }];
        let done = syscall(SYS_futimesat, top, c"new".as_ptr(), given.as_ptr());
        checks.equal("futimesat", (done, times("/tmp/bounds/new")), (0, Some((33, 44, 5000))));
        let wrong = [timeval { tv_sec: 0, tv_usec: -1 }; 2];
        checks.equal("no such time", result(syscall(SYS_futimesat, top, c"new".as_ptr(), wrong.as_ptr())), Err(EINVAL));
    }
    let mut buffer = [0_u64; 64];
    // SAFETY: the buffer has that room.
    let length = result(unsafe { syscall(SYS_getdents, top, buffer.as_mut_ptr(), 512) }).unwrap_or(0) as usize;
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let (mut at, mut entries) = (0, Vec::new());
    while at < length {
        let size = usize::from(u16::from_ne_bytes([bytes[at + 16], bytes[at + 17]]));
        let name = bytes[at + 18..at + size].split(|&byte| byte == 0).next().unwrap_or_default();
        entries.push((String::from_utf8_lossy(name).into_owned(), bytes[at + size - 1]));
        at += size;
    }
    entries.sort();
    let expected =
        [(".", DT_DIR), ("..", DT_DIR), ("in", DT_LNK), ("inside", DT_DIR), ("new", DT_REG), ("out", DT_LNK)];
    let expected: Vec<_> = expected.iter().map(|&(name, kind)| (String::from(name), kind)).collect();
    checks.equal("getdents", entries.get(..6), Some(&expected[..]));
    // SAFETY: the buffer has that room.
    let short = unsafe {
        lseek(top, 0, SEEK_SET);
        syscall(SYS_getdents, top, buffer.as_mut_ptr(), 16)
    };
    checks.equal("no room for one", result(short), Err(EINVAL));
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    let made = fs::create_dir_all("/tmp/bounds/inside").and_then(|()| fs::write("/tmp/bounds/inside/file", "x"));
    let links =
        [("inside/file", "in"), ("../bounds/inside/file", "out"), ("/inside/file", "rooted"), ("inside", "through")];
    let linked = links.map(|(to, name)| symlink(to, format!("/tmp/bounds/{name}")));
    checks.check("a tree", made.is_ok() && linked.iter().all(Result::is_ok));
    // SAFETY: the path is a literal with its NUL.
    let top = unsafe { open(c"/tmp/bounds".as_ptr(), O_RDONLY | O_DIRECTORY) };
    bounds(&mut checks, top);
    refusals(&mut checks, top);
    old_forms(&mut checks, top);
    checks.check("no tree", fs::remove_dir_all("/tmp/bounds").is_ok());
    checks.tell()
}
