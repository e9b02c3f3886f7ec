//! Calls that reach into other processes, programs that are executed by descriptor or in another domain, and the bases of
//! segments.

use crate::checks::result;
use crate::child;
use libc::*;
use std::{
    ffi::{CStr, CString},
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    ptr::{null, null_mut},
};

const NO_RANDOMIZE: c_ulong = 0x4_0000;
const READ_IMPLIES_EXECUTE: c_ulong = 0x40_0000;
const UNAME26: c_ulong = 0x2_0000;
const ASK: c_ulong = 0xffff_ffff;
const NOBODY: c_int = 4_000_000;

/// What a child that is a plain user ends with.
fn as_user(act: impl FnOnce() -> Result<i64, i32>) -> i32 {
    child::status(|| {
        // SAFETY: takes no address.
        let changed = unsafe { setresgid(1000, 1000, 1000) | setresuid(1000, 1000, 1000) } == 0;
        if changed { act().err().unwrap_or(0) } else { 255 }
    })
}

/// A child that waits for a signal, and a descriptor of it.
fn sleeper() -> (c_int, c_int) {
    // SAFETY: the child only sleeps; this process has one thread.
    unsafe {
        let child = fork();
        if child == 0 {
            pause();
            _exit(0);
        }
        (child, syscall(SYS_pidfd_open, child, 0) as c_int)
    }
}

fn end(child: c_int) {
    // SAFETY: takes no address but null.
    unsafe { (kill(child, SIGKILL), waitpid(child, null_mut(), 0)) };
}

fn vector(address: usize, length: usize) -> iovec {
    iovec { iov_base: address as *mut c_void, iov_len: length }
}

fn copy(call: c_long, pid: c_int, local: &[iovec], remote: &[iovec], flags: c_ulong) -> Result<i64, i32> {
    // SAFETY: the lists live until the call is over, and the caller owns what they name, or it must be refused.
    result(unsafe { syscall(call, pid, local.as_ptr(), local.len(), remote.as_ptr(), remote.len(), flags) })
}

fn memory(check: &mut impl FnMut(&str, bool)) {
    static TEXT: [u8; 8] = *b"unchange";
    let mut shared_at = vec![7_u8; 10_000];
    let at = shared_at.as_ptr() as usize;
    let mut told = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { pipe(told.as_mut_ptr()) };
    // SAFETY: one byte of room; what another process changes is read as the memory that it is. This process has one thread.
    let pid = unsafe {
        let child = fork();
        if child == 0 {
            read(told[0], shared_at.as_mut_ptr().cast(), 1);
            let changed = (1..10_000).all(|index| (at as *const u8).add(index).read_volatile() == (index % 251) as u8);
            _exit(c_int::from(!changed));
        }
        child
    };
    let mut out = vec![0_u8; 10_000];
    let own = out.as_mut_ptr() as usize;
    let whole = [vector(own, 10_000)];
    let (read, write) = (SYS_process_vm_readv, SYS_process_vm_writev);
    check("a flag", copy(read, pid, &whole, &[vector(at, 1)], 1) == Err(EINVAL));
    check("nobody", copy(read, NOBODY, &whole, &[vector(at, 1)], 0) == Err(ESRCH));
    check("nothing to copy is no error", copy(read, NOBODY, &[], &[vector(at, 1)], 0) == Ok(0));
    check("too many vectors", copy(read, pid, &[vector(own, 1); 1025], &[vector(at, 1)], 0) == Err(EINVAL));
    check("another's memory", copy(read, pid, &whole, &[vector(at, 100), vector(at, 9_900)], 0) == Ok(10_000));
    check("is as it is", out.iter().all(|&byte| byte == 7));
    check("a hole in it", copy(read, pid, &whole, &[vector(8, 1)], 0) == Err(EFAULT));
    check("a hole behind something", copy(read, pid, &whole, &[vector(at, 5), vector(8, 1)], 0) == Ok(5));
    check("a hole here", copy(read, pid, &[vector(8, 8)], &[vector(at, 8)], 0) == Err(EFAULT));
    let text = TEXT.as_ptr() as usize;
    check("what is only read there", copy(write, pid, &whole, &[vector(text, 8)], 0) == Err(EFAULT));
    check("no user may look", as_user(|| copy(read, pid, &whole, &[vector(at, 1)], 0)) == EPERM);
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = (index % 251) as u8;
    }
    let halves = [vector(own, 4_999), vector(own + 4_999, 5_001)];
    check("to another", copy(write, pid, &halves, &[vector(at, 20_000)], 0) == Ok(10_000));
    // SAFETY: one byte that is there.
    unsafe { libc::write(told[1], c"x".as_ptr().cast(), 1) };
    let mut status = -1;
    // SAFETY: the status lives until the call is over.
    let gone = unsafe { waitpid(pid, &raw mut status, 0) } == pid;
    check("it finds it", gone && status == 0);
    check("it has nothing any more", copy(read, pid, &whole, &[vector(at, 1)], 0) == Err(ESRCH));
}

fn compare(first: c_int, second: c_int, kind: c_int, of: (c_long, c_long)) -> Result<i64, i32> {
    // SAFETY: takes no address.
    result(unsafe { syscall(SYS_kcmp, first, second, kind, of.0, of.1) })
}

fn descriptors(check: &mut impl FnMut(&str, bool)) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { pipe(ends.as_mut_ptr()) };
    let (child, file) = sleeper();
    // SAFETY: takes no address.
    let own = unsafe { close(ends[1]) | getpid() };
    for (kind, name) in ["file", "memory", "files", "directories", "signals", "io", "semaphores"].iter().enumerate() {
        let kind = kind as c_int;
        check(name, compare(own, own, kind, (0, 0)) == Ok(0));
        let differs = matches!(compare(own, child, kind, (0, 0)), Ok(1 | 2));
        check(name, differs == matches!(kind, 1..5));
    }
    let (up, down) = (compare(own, child, 1, (0, 0)), compare(child, own, 1, (0, 0)));
    check("there is an order", up.ok().zip(down.ok()).is_some_and(|(up, down)| up + down == 3));
    check("no kind has this number", compare(own, child, 8, (0, 0)) == Err(EINVAL));
    check("nobody to compare with", compare(own, NOBODY, 1, (0, 0)) == Err(ESRCH));
    check("nothing is open there", compare(own, child, 0, (0, 900)) == Err(EBADF));
    check("no user may compare", as_user(|| compare(own, child, 1, (0, 0))) == EPERM);

    let get = |file: c_int, descriptor: c_int, flags: c_int| {
        // SAFETY: takes no address.
        result(unsafe { syscall(SYS_pidfd_getfd, file, descriptor, flags) })
    };
    check("a flag", get(file, 0, 1) == Err(EINVAL));
    check("no process", get(0, 0, 0) == Err(EBADF));
    check("the other has nothing there", get(file, 900, 0) == Err(EBADF));
    check("no user may take", as_user(|| get(file, 0, 0)) == EPERM);
    let taken = get(file, ends[1], 0).unwrap_or(-1) as c_int;
    // SAFETY: takes no address.
    check("what is taken is closed on exec", unsafe { fcntl(taken, F_GETFD) } == FD_CLOEXEC);
    check("and the same file", compare(own, child, 0, (taken.into(), ends[1].into())) == Ok(0));

    let page = vector(&raw const ends as usize & !4095, 4096);
    let advise = |file: c_int, advice: c_int, flags: c_int| {
        // SAFETY: one vector that lives until the call is over; the advice changes nothing.
        result(unsafe { syscall(SYS_process_madvise, file, &raw const page, 1, advice, flags) })
    };
    check("advice", advise(file, MADV_COLD, 0) == Ok(4096) && advise(file, MADV_PAGEOUT, 0) == Ok(4096));
    check("advice that is nobody else's", advise(file, MADV_DONTNEED, 0) == Err(EINVAL));
    check("advice with a flag", advise(file, MADV_COLD, 1) == Err(EINVAL));
    check("advice for no process", advise(0, MADV_COLD, 0) == Err(EBADF));
    check("no user may advise", as_user(|| advise(file, MADV_COLD, 0)) == EACCES);
    // SAFETY: takes no address.
    let release = |flags: c_int| result(unsafe { syscall(SYS_process_mrelease, file, flags) });
    check("nothing is released with a flag", release(1) == Err(EINVAL));
    check("nor of one that lives", release(0) == Err(EINVAL));
    end(child);
    check("nor of one that is gone", release(0) == Err(ESRCH));
    check("who is gone has no files", get(file, 0, 0) == Err(ESRCH));
}

fn execute(directory: c_int, path: &CStr, flags: c_int, name: &CStr) -> Result<i64, i32> {
    let (arguments, environment) = ([name.as_ptr(), null()], [null::<c_char>()]);
    // SAFETY: texts with their NUL and lists that end with null, which live until the call is over.
    result(unsafe { syscall(SYS_execveat, directory, path.as_ptr(), arguments.as_ptr(), environment.as_ptr(), flags) })
}

fn programs(check: &mut impl FnMut(&str, bool)) {
    let run = |directory: c_int, path: &CStr, flags: c_int| {
        child::status(|| execute(directory, path, flags, c"true").err().unwrap_or(0))
    };
    // SAFETY: texts with their NUL.
    let open_file = |path: &CStr, flags: c_int| unsafe { open(path.as_ptr(), flags) };
    let (program, bin) = (open_file(c"/bin/true", O_PATH), open_file(c"/bin", O_RDONLY));
    check("by a descriptor", run(program, c"", AT_EMPTY_PATH) == 0);
    check("not without the flag", run(program, c"", 0) == ENOENT);
    check("in a directory", run(bin, c"true", 0) == 0);
    check("by a path", run(-1, c"/bin/true", 0) == 0);
    check("in no directory", run(900, c"true", 0) == EBADF);
    check("below a file", run(program, c"true", 0) == ENOTDIR);
    check("a flag that there is not", run(program, c"", 1) == EINVAL);
    check("a directory is no program", run(bin, c"", AT_EMPTY_PATH) == EACCES);
    let _ = fs::remove_file("/tmp/probe-exec");
    let linked = std::os::unix::fs::symlink("/bin/true", "/tmp/probe-exec").is_ok();
    check("a link is followed", linked && run(-1, c"/tmp/probe-exec", 0) == 0);
    check("or not", run(-1, c"/tmp/probe-exec", AT_SYMLINK_NOFOLLOW) == ELOOP);
    let _ = fs::remove_file("/tmp/probe-exec");

    let written = fs::write("/tmp/probe-exec", "#!/bin/cat\nhello\n").is_ok();
    let mode = Permissions::from_mode(0o755);
    check("a script", written && fs::set_permissions("/tmp/probe-exec", mode).is_ok());
    let script = open_file(c"/tmp/probe-exec", O_RDONLY);
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { pipe(ends.as_mut_ptr()) };
    let shown = child::status(|| {
        // SAFETY: takes no address.
        unsafe { dup2(ends[1], 1) };
        execute(script, c"", AT_EMPTY_PATH, c"script").err().unwrap_or(0)
    });
    let mut text = [0_u8; 64];
    // SAFETY: room for 64 bytes, and the pipe's other end is closed for good.
    let count = unsafe { (close(ends[1]), read(ends[0], text.as_mut_ptr().cast(), 64)).1 };
    check("is read by its interpreter", shown == 0 && text[..count.max(0) as usize] == *b"#!/bin/cat\nhello\n");
    let closed = open_file(c"/tmp/probe-exec", O_RDONLY | O_CLOEXEC);
    check("not if that would not have it", run(closed, c"", AT_EMPTY_PATH) == ENOENT);
    let _ = fs::remove_file("/tmp/probe-exec");
}

fn persona(wanted: c_ulong) -> c_ulong {
    // SAFETY: takes no address.
    unsafe { personality(wanted) as c_ulong }
}

/// Whether the program, which was executed for this, has the domain `expected`.
pub fn has_persona(expected: c_ulong) -> bool {
    persona(ASK) == expected
}

fn domains(check: &mut impl FnMut(&str, bool)) {
    check("a plain program", persona(ASK) == 0);
    let stack = || {
        let mut command = std::process::Command::new("/bin/cat");
        let maps = command.arg("/proc/self/maps").output().map(|output| output.stdout).unwrap_or_default();
        let maps = String::from_utf8_lossy(&maps).into_owned();
        maps.lines().filter(|line| line.ends_with("[stack]") || line.contains("/cat")).map(str::to_owned).collect()
    };
    persona(NO_RANDOMIZE);
    let (first, second): (Vec<String>, Vec<String>) = (stack(), stack());
    check("what a child has from its parent keeps chance out", !first.is_empty() && first == second);
    persona(READ_IMPLIES_EXECUTE | UNAME26 | 8);
    // SAFETY: all zeros is a utsname; the new page is nobody else's.
    let (names, page) = unsafe {
        let mut names: utsname = std::mem::zeroed();
        uname(&raw mut names);
        (names, mmap(null_mut(), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
    };
    persona(0);
    // SAFETY: the kernel ends its texts with NUL.
    let text = |field: &[c_char]| unsafe { CStr::from_ptr(field.as_ptr()).to_string_lossy().into_owned() };
    check("a release of 2.6", text(&names.release).starts_with("2.6."));
    check("a machine of 32 bits", text(&names.machine) == "i686");
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let line = maps.lines().find(|line| {
        line.split_once(' ').and_then(|(range, _)| range.split_once('-')).is_some_and(|(start, end)| {
            let number = |text| usize::from_str_radix(text, 16).unwrap_or(0);
            (number(start)..number(end)).contains(&(page as usize))
        })
    });
    check("what can be read can be executed", line.is_some_and(|line| line.contains(" r-xp ")));

    let path = "/probe-set-id";
    let copied = std::env::current_exe().and_then(|own| fs::copy(own, path)).is_ok();
    let run = |mode: u32, expected: c_ulong| {
        let set = fs::set_permissions(path, Permissions::from_mode(mode)).is_ok();
        let words =
            [c"probe".to_owned(), c"persona".to_owned(), CString::new(expected.to_string()).unwrap_or_default()];
        let status = child::status(|| {
            // SAFETY: texts with their NUL, a list that ends with null.
            unsafe {
                setresuid(1000, 1000, 1000);
                personality(NO_RANDOMIZE | UNAME26);
                let words = [words[0].as_ptr(), words[1].as_ptr(), words[2].as_ptr(), null()];
                execv(c"/probe-set-id".as_ptr(), words.as_ptr());
            }
            255
        });
        set && status == 0
    };
    check("a program keeps the domain", copied && run(0o755, NO_RANDOMIZE | UNAME26));
    check("but one with more rights only what is safe", run(0o4755, UNAME26));
    let _ = fs::remove_file(path);
}

fn segments(check: &mut impl FnMut(&str, bool)) {
    const SET_GS: c_int = 0x1001;
    const SET_FS: c_int = 0x1002;
    const GET_GS: c_int = 0x1004;
    const USER_END: u64 = 0x7fff_ffff_f000;
    // SAFETY: this program has nothing in GS, and FS stays as it is.
    let set = |which: c_int, base: u64| result(unsafe { syscall(SYS_arch_prctl, which, base) });
    for address in [USER_END, 1 << 47, 0xffff_8000_0000_0000, u64::MAX] {
        let refused = [SET_GS, SET_FS].map(|which| set(which, address));
        check("a base beyond user space is refused", refused == [Err(EPERM); 2]);
    }
    let mut base = 0u64;
    let last = set(SET_GS, USER_END - 1) == Ok(0);
    // SAFETY: a word that is written.
    let told = unsafe { syscall(SYS_arch_prctl, GET_GS, &raw mut base) } == 0;
    check("the last address of user space may be a base", last && told && base == USER_END - 1);
    check("and none", set(SET_GS, 0) == Ok(0));
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
    memory(&mut check);
    descriptors(&mut check);
    programs(&mut check);
    domains(&mut check);
    segments(&mut check);
    println!("{tried} checks, {wrong} wrong");
    wrong == 0
}
