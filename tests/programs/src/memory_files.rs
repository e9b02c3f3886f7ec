//! memfd_create, its seals, and files that have no name yet (O_TMPFILE).

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{
    ffi::CString,
    fs,
    os::fd::RawFd,
    ptr::{null, null_mut},
};

const PAGE: usize = 4096;

fn create(name: &str, flags: c_uint) -> Result<RawFd, i32> {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: the name lives until the call is over.
    result(i64::from(unsafe { memfd_create(name.as_ptr(), flags) })).map(|file| file as RawFd)
}

fn seal(file: RawFd, seals: c_int) -> Result<i64, i32> {
    // SAFETY: takes no address.
    result(i64::from(unsafe { fcntl(file, F_ADD_SEALS, seals) }))
}

fn seals(file: RawFd) -> Result<i64, i32> {
    // SAFETY: takes no address.
    result(i64::from(unsafe { fcntl(file, F_GET_SEALS) }))
}

fn resize(file: RawFd, size: i64) -> Result<i64, i32> {
    // SAFETY: takes no address.
    result(i64::from(unsafe { ftruncate(file, size) }))
}

fn write_at(file: RawFd, at: i64, length: usize) -> Result<i64, i32> {
    let bytes = vec![b'x'; length];
    // SAFETY: the bytes live until the call is over.
    result(unsafe { pwrite(file, bytes.as_ptr().cast(), length, at) } as i64)
}

fn allocate(file: RawFd, mode: c_int, at: i64, length: i64) -> Result<i64, i32> {
    // SAFETY: takes no address.
    result(i64::from(unsafe { fallocate(file, mode, at, length) }))
}

fn map(file: RawFd, protection: c_int, flags: c_int) -> Result<*mut c_void, i32> {
    // SAFETY: a fresh mapping hides nothing.
    let place = unsafe { mmap(null_mut(), PAGE, protection, flags, file, 0) };
    if place == MAP_FAILED { Err(result(-1).unwrap_err()) } else { Ok(place) }
}

fn unmap(place: *mut c_void) {
    // SAFETY: nothing refers to what is there.
    unsafe { munmap(place, PAGE) };
}

fn sealing(checks: &mut Checks) {
    let Ok(file) = create("one", MFD_ALLOW_SEALING | MFD_CLOEXEC) else { return };
    // SAFETY: takes no address.
    checks.equal("closed by exec", unsafe { fcntl(file, F_GETFD) }, FD_CLOEXEC);
    let shown = fs::read_link(format!("/proc/self/fd/{file}")).unwrap_or_default();
    checks.equal("its name", shown.to_str(), Some("/memfd:one (deleted)"));
    checks.equal("no seals", seals(file), Ok(0));
    checks.equal("it grows", (resize(file, 2 * PAGE as i64), write_at(file, 0, 3)), (Ok(0), Ok(3)));
    checks.equal("unknown seals", seal(file, 64), Err(EINVAL));
    let Ok(mapping) = map(file, PROT_READ | PROT_WRITE, MAP_SHARED) else { return };
    checks.equal("mapped for writing", seal(file, F_SEAL_WRITE), Err(EBUSY));
    // SAFETY: the place is mapped for writing.
    let held = child::start(|| unsafe { *mapping.cast::<u8>() }.into());
    unmap(mapping);
    checks.equal("a child's mapping goes with it", held(), i32::from(b'x'));
    let private = map(file, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    checks.equal("a private mapping is no matter", seal(file, F_SEAL_SHRINK), Ok(0));
    private.map(unmap).ok();
    checks.equal("not smaller", resize(file, 1), Err(EPERM));
    checks.equal("but larger", resize(file, 3 * PAGE as i64), Ok(0));
    checks.equal("grow", seal(file, F_SEAL_GROW), Ok(0));
    checks.equal("not larger", resize(file, 4 * PAGE as i64), Err(EPERM));
    checks.equal("nor by writing", write_at(file, 3 * PAGE as i64, 1), Err(EPERM));
    checks.equal("pages before the end", write_at(file, 2 * PAGE as i64, PAGE + 1), Ok(PAGE as i64));
    checks.equal("nor by reserving", allocate(file, 0, 0, 4 * PAGE as i64), Err(EPERM));
    checks.equal("inside is fine", allocate(file, 0, 0, PAGE as i64), Ok(0));
    let kept = map(file, PROT_READ | PROT_WRITE, MAP_SHARED);
    checks.equal("future", seal(file, F_SEAL_FUTURE_WRITE), Ok(0));
    checks.equal("no more writing", write_at(file, 0, 1), Err(EPERM));
    checks.equal("no hole", allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), Err(EPERM));
    checks.equal("no new mapping", map(file, PROT_READ | PROT_WRITE, MAP_SHARED).err(), Some(EPERM));
    let Ok(kept) = kept else { return };
    // SAFETY: the place is mapped for writing.
    unsafe { *kept.cast::<u8>() = b'y' };
    let Ok(reading) = map(file, PROT_READ, MAP_SHARED) else { return };
    // SAFETY: the place is mapped.
    checks.equal("what was mapped writes on", unsafe { *reading.cast::<u8>() }, b'y');
    // SAFETY: the place is mapped.
    let later = result(i64::from(unsafe { mprotect(reading, PAGE, PROT_READ | PROT_WRITE) }));
    checks.equal("not writable later", later, Err(EACCES));
    unmap(reading);
    checks.equal("still mapped", seal(file, F_SEAL_WRITE), Err(EBUSY));
    unmap(kept);
    checks.equal("sealed", seal(file, F_SEAL_WRITE | F_SEAL_SEAL), Ok(0));
    checks.equal("all of them", seals(file), Ok(31));
    checks.equal("no more seals", seal(file, F_SEAL_GROW), Err(EPERM));
    let again = CString::new(format!("/proc/self/fd/{file}")).unwrap_or_default();
    // SAFETY: the path lives until the call is over.
    let reader = unsafe { open(again.as_ptr(), O_RDONLY) };
    checks.equal("opened for reading", seal(reader, F_SEAL_GROW), Err(EPERM));
    // SAFETY: as above.
    let cut = result(i64::from(unsafe { open(again.as_ptr(), O_RDWR | O_TRUNC) }));
    checks.equal("not cut by opening", cut, Err(EPERM));
    checks.check("a shared reader", map(reader, PROT_READ, MAP_SHARED).map(unmap).is_ok());
}

fn refusals(checks: &mut Checks) {
    checks.equal("flags", create("x", 0x100).err(), Some(EINVAL));
    checks.equal("large pages", create("x", MFD_HUGETLB).err(), Some(EINVAL));
    checks.equal("a long name", create(&"n".repeat(250), 0).err(), Some(EINVAL));
    checks.check("the longest name", create(&"n".repeat(249), 0).is_ok());
    // SAFETY: the address is bad on purpose.
    checks.equal("no name", result(i64::from(unsafe { memfd_create(null(), 0) })), Err(EFAULT));
    let plain = create("plain", 0).unwrap_or(-1);
    checks.equal("without sealing", (seals(plain), seal(plain, F_SEAL_GROW)), (Ok(1), Err(EPERM)));
    let mut ends = [0; 2];
    // SAFETY: two numbers have place there.
    unsafe { pipe(ends.as_mut_ptr()) };
    checks.equal("a pipe has none", (seals(ends[1]), seal(ends[1], 1)), (Err(EINVAL), Err(EINVAL)));
}

fn unnamed(checks: &mut Checks) {
    let open_in = |directory: &str, flags| {
        let path = CString::new(directory).unwrap_or_default();
        // SAFETY: the path lives until the call is over.
        result(i64::from(unsafe { open(path.as_ptr(), flags, 0o640) }))
    };
    checks.equal("for reading", open_in("/tmp", O_TMPFILE | O_RDONLY), Err(EINVAL));
    checks.equal("created too", open_in("/tmp", O_TMPFILE | O_RDWR | O_CREAT), Err(EINVAL));
    checks.equal("no directory", open_in("/tmp/none", O_TMPFILE | O_RDWR), Err(ENOENT));
    checks.equal("in /proc", open_in("/proc", O_TMPFILE | O_RDWR), Err(EOPNOTSUPP));
    let Ok(file) = open_in("/tmp", O_TMPFILE | O_RDWR).map(|file| file as RawFd) else { return };
    checks.equal("it holds bytes", write_at(file, 0, 5), Ok(5));
    let links = || {
        // SAFETY: all zeros is a stat, and it lives until the call is over.
        unsafe {
            let mut found: stat = std::mem::zeroed();
            fstat(file, &raw mut found);
            (found.st_nlink, found.st_mode & 0o777)
        }
    };
    checks.equal("it has no name", links(), (0, 0o640));
    let (from, to) = (CString::new(format!("/proc/self/fd/{file}")).unwrap_or_default(), c"/tmp/named");
    // SAFETY: the paths live until the call is over.
    let link =
        || result(i64::from(unsafe { linkat(AT_FDCWD, from.as_ptr(), AT_FDCWD, to.as_ptr(), AT_SYMLINK_FOLLOW) }));
    checks.equal("it gets one", (link(), links().0), (Ok(0), 1));
    checks.equal("with its bytes", fs::read_to_string("/tmp/named").ok().as_deref(), Some("xxxxx"));
    checks.check("it goes again", fs::remove_file("/tmp/named").is_ok());
    checks.equal("for good", link(), Err(ENOENT));
    let Ok(file) = open_in("/tmp", O_TMPFILE | O_RDWR | O_EXCL).map(|file| file as RawFd) else { return };
    // SAFETY: the paths live until the call is over.
    let linked = unsafe { linkat(file, c"".as_ptr(), AT_FDCWD, to.as_ptr(), AT_EMPTY_PATH) };
    checks.equal("it never gets one", result(i64::from(linked)), Err(ENOENT));
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    // SAFETY: takes no address.
    unsafe { umask(0o022) };
    let mut checks = Checks::default();
    sealing(&mut checks);
    refusals(&mut checks);
    unnamed(&mut checks);
    checks.tell()
}
