//! /proc/sys: what may be written there, what is refused, and that the kernel obeys.

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{fs, io::Error, ptr::null_mut};

const FS: &str = "/proc/sys/fs";

/// A setting that is as it was when this is dropped.
pub struct Setting {
    path: String,
    before: String,
}

impl Setting {
    pub fn new(path: &str) -> Self {
        let before = fs::read_to_string(path).unwrap_or_default();
        Self { path: path.to_owned(), before }
    }

    /// Writes it; the errno, 0 if it was taken.
    pub fn write(&self, text: &str) -> i32 {
        fs::write(&self.path, text).err().and_then(|error| error.raw_os_error()).unwrap_or(0)
    }

    pub fn read(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default().trim().to_owned()
    }

    /// Refuses `wrong`, takes `right`, and then says `right`.
    pub fn table(&self, checks: &mut Checks, wrong: &[&str], right: &str) {
        for text in wrong {
            checks.equal(&format!("{} {text}", self.path), self.write(text), EINVAL);
        }
        checks.equal(&self.path, (self.write(right), self.read()), (0, right.to_owned()));
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // It was right before.
        let _ = fs::write(&self.path, &self.before);
    }
}

/// Becomes a user without privileges.
fn become_user(uid: uid_t) {
    // SAFETY: takes no address.
    unsafe { setresuid(uid, uid, uid) };
}

fn errno() -> i32 {
    Error::last_os_error().raw_os_error().unwrap_or(-1)
}

fn opened() -> Result<i64, i32> {
    // SAFETY: a path with its NUL.
    result(unsafe { open(c"/dev/null".as_ptr(), O_RDONLY) }.into())
}

/// How many files are open, and how many may be.
fn file_counts() -> (u64, u64) {
    let text = fs::read_to_string(format!("{FS}/file-nr")).unwrap_or_default();
    let numbers: Vec<u64> = text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    if numbers.len() == 3 { (numbers[0], numbers[2]) } else { (0, 0) }
}

fn files(checks: &mut Checks) {
    let most = Setting::new(&format!("{FS}/file-max"));
    let (open, limit) = file_counts();
    checks.check("file-nr", open > 2 && most.read() == limit.to_string());
    // Processes that end at this moment close some: then the next round counts.
    let counts = (0..100).any(|_| {
        let before = file_counts().0;
        let _more = [opened(), opened(), opened()];
        file_counts().0 >= before + 3
    });
    checks.check("file-nr counts", counts);
    most.table(checks, &["-1", "x", "9223372036854775808", "\n"], "3");
    let refused = child::status(|| {
        become_user(1000);
        opened().err().unwrap_or(0)
    });
    checks.equal("a user opens no more", refused, ENFILE);
    checks.check("root does", opened().is_ok());
    drop(most);
    checks.equal(
        "an unprivileged writer",
        child::status(|| {
            become_user(1000);
            Setting { path: format!("{FS}/file-max"), before: String::new() }.write("5")
        }),
        EACCES,
    );

    let numbers = Setting::new(&format!("{FS}/nr_open"));
    numbers.table(checks, &["63", "0", "2147483585"], "64");
    let set = |most: u64| {
        let limit = rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the limit lives until the call is over.
        result(unsafe { setrlimit(RLIMIT_NOFILE, &raw const limit) }.into())
    };
    checks.equal("a limit beyond nr_open", set(65), Err(EPERM));
    // SAFETY: takes no address.
    checks.equal("dup2 beyond nr_open", result(unsafe { dup2(0, 64) }.into()), Err(EBADF));
    // SAFETY: takes no address.
    checks.equal("F_DUPFD beyond nr_open", result(unsafe { fcntl(0, F_DUPFD, 64) }.into()), Err(EMFILE));
    // SAFETY: takes no address.
    checks.equal("the last number", result(unsafe { dup2(0, 63) }.into()), Ok(63));
    // SAFETY: takes no address.
    unsafe { close(63) };
}

/// A pipe's capacity, or why there is none. Its ends stay open.
fn new_pipe() -> Result<i64, i32> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    result(unsafe { pipe(ends.as_mut_ptr()) }.into())?;
    // SAFETY: takes no address.
    result(unsafe { fcntl(ends[0], F_GETPIPE_SZ) }.into())
}

fn pipes(checks: &mut Checks) {
    let largest = Setting::new(&format!("{FS}/pipe-max-size"));
    checks.equal("rounded to a page", (largest.write("0"), largest.read()), (0, "4096".to_owned()));
    checks.equal("rounded up", (largest.write("5000"), largest.read()), (0, "8192".to_owned()));
    largest.table(checks, &["2147483649", "x"], "8192");
    let grown = || {
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        unsafe { pipe(ends.as_mut_ptr()) };
        // SAFETY: takes no address.
        result(unsafe { fcntl(ends[0], F_SETPIPE_SZ, 16_384) }.into())
    };
    checks.equal("root's pipes", (new_pipe(), grown()), (Ok(65_536), Ok(16_384)));
    let found = child::status(|| {
        become_user(1001);
        i32::from(new_pipe() != Ok(8192)) + 2 * i32::from(grown() != Err(EPERM))
    });
    checks.equal("a user's pipes", found, 0);
    drop(largest);
    let hard = Setting::new(&format!("{FS}/pipe-user-pages-hard"));
    let soft = Setting::new(&format!("{FS}/pipe-user-pages-soft"));
    hard.table(checks, &["x", "-1"], "40");
    soft.table(checks, &["x", "-1"], "0");
    let found = child::status(|| {
        become_user(1001);
        let pipes = [new_pipe(), new_pipe(), new_pipe()];
        i32::from(pipes != [Ok(65_536), Ok(65_536), Err(ENFILE)])
    });
    checks.equal("the pages of a user", found, 0);
    soft.write("40");
    hard.write("0");
    let found = child::status(|| {
        become_user(1001);
        let pipes = [new_pipe(), new_pipe(), new_pipe()];
        i32::from(pipes != [Ok(65_536), Ok(65_536), Ok(8192)])
    });
    checks.equal("small pipes for who has many", found, 0);
}

fn watches(checks: &mut Checks) {
    let epoll = Setting::new(&format!("{FS}/epoll/max_user_watches"));
    epoll.table(checks, &["-1", "x"], "2");
    let found = child::status(|| {
        become_user(1002);
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors, and an event that lives until the calls are over.
        unsafe {
            pipe(ends.as_mut_ptr());
            let file = epoll_create1(0);
            let mut event = epoll_event { events: EPOLLIN as u32, u64: 0 };
            let mut change = |how, what| result(epoll_ctl(file, how, what, &raw mut event).into());
            let third =
                [change(EPOLL_CTL_ADD, ends[0]), change(EPOLL_CTL_ADD, ends[1]), change(EPOLL_CTL_ADD, dup(ends[0]))];
            let again = [change(EPOLL_CTL_DEL, ends[0]), change(EPOLL_CTL_ADD, ends[0])];
            i32::from(third != [Ok(0), Ok(0), Err(ENOSPC)]) + 2 * i32::from(again != [Ok(0), Ok(0)])
        }
    });
    checks.equal("files watched by epoll", found, 0);
    let instances = Setting::new(&format!("{FS}/inotify/max_user_instances"));
    let most = Setting::new(&format!("{FS}/inotify/max_user_watches"));
    let queued = Setting::new(&format!("{FS}/inotify/max_queued_events"));
    instances.table(checks, &["-1", "2147483648"], "1");
    most.table(checks, &["-1", "2147483648"], "1");
    queued.table(checks, &["-1", "2147483648"], "1");
    let found = child::status(|| {
        become_user(1003);
        // SAFETY: takes no address.
        let (first, second) = unsafe { (inotify_init1(IN_NONBLOCK), result(inotify_init1(0).into())) };
        let watch = |path: &std::ffi::CStr| {
            // SAFETY: a path with its NUL.
            result(unsafe { inotify_add_watch(first, path.as_ptr(), IN_OPEN | IN_CLOSE) }.into())
        };
        let watched = [watch(c"/dev/null"), watch(c"/dev/zero"), watch(c"/dev/null")];
        // SAFETY: takes no address.
        unsafe { close(opened().unwrap_or(-1) as c_int) };
        let mut bytes = [0_u8; 256];
        // SAFETY: so many bytes lie there.
        let read = unsafe { read(first, bytes.as_mut_ptr().cast(), bytes.len()) };
        let masks: Vec<u32> =
            bytes.chunks_exact(16).map(|event| u32::from_ne_bytes([event[4], event[5], event[6], event[7]])).collect();
        i32::from(second != Err(EMFILE))
            + 2 * i32::from(watched != [Ok(1), Err(ENOSPC), Ok(1)])
            + 4 * i32::from(read != 32 || masks[..2] != [IN_OPEN, IN_Q_OVERFLOW])
    });
    checks.equal("inotify", found, 0);
}

fn tasks_and_memory(checks: &mut Checks) {
    let threads = Setting::new("/proc/sys/kernel/threads-max");
    threads.table(checks, &["0", "-1", "1073741824"], "1");
    // SAFETY: a child would only end.
    let refused = unsafe {
        let child = fork();
        if child == 0 {
            _exit(0);
        }
        if child < 0 { errno() } else { 0 }
    };
    drop(threads);
    checks.equal("no more tasks", refused, EAGAIN);
    let areas = Setting::new("/proc/sys/vm/max_map_count");
    areas.table(checks, &["-1", "2147483648"], "200");
    let found = child::status(|| {
        // SAFETY: fresh memory, and only its rights change.
        unsafe {
            let all = mmap(null_mut(), 1000 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            let cut = |page: usize| result(mprotect(all.byte_add(page * 4096), 4096, PROT_NONE).into());
            let first = (1..1000).step_by(2).map(cut).find(|result| result.is_err());
            i32::from(first != Some(Err(ENOMEM)))
        }
    });
    checks.equal("no more areas", found, 0);
    let entropy = Setting::new("/proc/sys/kernel/random/entropy_avail");
    checks.check("entropy_avail", entropy.read() == "256" && entropy.write("1") != 0);
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    files(&mut checks);
    pipes(&mut checks);
    watches(&mut checks);
    tasks_and_memory(&mut checks);
    checks.tell()
}
