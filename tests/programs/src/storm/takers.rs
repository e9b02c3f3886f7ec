//! Who takes memory, each in a way of its own, until it is refused or ended for it: pages, and everything that the kernel
//! keeps for programs.

use super::{PAGE, children, ended_well, map, touch};
use libc::*;
use std::ffi::CString;
use std::fs;
use std::ptr::null_mut;

/// Where files and names are made.
const PLACE: &str = "/tmp/storm";

/// The ways. Each gets the number of its taker, and comes back when it is refused.
const TAKERS: &[fn(usize)] =
    &[pages, tables, file, pipes, tasks, names, sockets, epolls, watches, areas, sleepers, locks, attributes, strings];

/// Takers of the first so many ways, all at once. This process is never the one that is ended.
pub fn memory(ways: usize) -> bool {
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
    let _ = fs::create_dir_all(PLACE);
    // What nobody has used yet of this program comes into memory when it is first wanted: all of it before the count.
    let _ = fs::File::open("/proc/self/exe").and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink()));
    // What is left of a taker that was ended is this process's.
    // SAFETY: takes no address; the limit lives until the call is over.
    unsafe {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        let many = rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
        setrlimit(RLIMIT_NOFILE, &raw const many);
    }
    let takers = children(ways, |number| {
        // What the kernel keeps for a taker does not count as its memory; and nobody else is to be ended for it.
        let _ = fs::write("/proc/self/oom_score_adj", "1000");
        if let Some(taker) = TAKERS.get(number) {
            taker(number);
        }
        0
    });
    let all = takers.len() == ways;
    // SAFETY: no status is asked for.
    while unsafe { waitpid(-1, null_mut(), 0) } > 0 {}
    let _ = fs::remove_dir_all(PLACE);
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    all
}

fn place(number: usize) -> CString {
    CString::new(format!("{PLACE}/{number}")).unwrap_or_default()
}

fn pages(_: usize) {
    loop {
        let piece = map(1 << 20);
        if piece as *mut c_void == MAP_FAILED {
            return;
        }
        touch(piece, 1 << 20);
    }
}

/// One page of a table for each page of memory.
fn tables(_: usize) {
    loop {
        let piece = map(2 << 20);
        if piece as *mut c_void == MAP_FAILED {
            return;
        }
        touch(piece, 1);
    }
}

fn file(number: usize) {
    let Ok(mut file) = fs::File::create(format!("{PLACE}/{number}")) else { return };
    let piece = vec![1_u8; 1 << 16];
    while std::io::Write::write_all(&mut file, &piece).is_ok() {}
}

fn pipes(_: usize) {
    let piece = [1_u8; 1 << 16];
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors, and as many bytes as are said.
    while unsafe { pipe2(ends.as_mut_ptr(), O_NONBLOCK) == 0 && write(ends[1], piece.as_ptr().cast(), piece.len()) > 0 }
    {
    }
}

fn tasks(_: usize) {
    for _ in 0..10 {
        for child in children(20, |_| {
            touch(map(1 << 20), 1 << 20);
            0
        }) {
            ended_well(child);
        }
    }
}

/// Files without content, in a directory of their own.
fn names(number: usize) {
    let directory = place(number);
    // SAFETY: texts that live until the calls are over.
    unsafe {
        mkdir(directory.as_ptr(), 0o755);
        for file in 0.. {
            let name = format!("{PLACE}/{number}/{file:0>200}");
            if mknod(CString::new(name).unwrap_or_default().as_ptr(), S_IFREG | 0o600, 0) != 0 {
                return;
            }
        }
    }
}

/// Pairs of sockets with as much on the way as they take.
fn sockets(_: usize) {
    let piece = [1_u8; 1 << 12];
    let mut pair = [-1; 2];
    // SAFETY: room for two descriptors, and as many bytes as are said.
    unsafe {
        while socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair.as_mut_ptr()) == 0 {
            while send(pair[0], piece.as_ptr().cast(), piece.len(), 0) > 0 {}
        }
    }
}

/// Event files, each watched from three places.
fn epolls(_: usize) {
    // SAFETY: takes no address but that of an event, which lives until the calls are over.
    unsafe {
        let watchers = [epoll_create1(0), epoll_create1(0), epoll_create1(0)];
        let mut event = epoll_event { events: EPOLLIN as u32, u64: 0 };
        loop {
            let file = eventfd(0, 0);
            if file < 0 || watchers.iter().any(|watcher| epoll_ctl(*watcher, EPOLL_CTL_ADD, file, &raw mut event) != 0)
            {
                return;
            }
        }
    }
}

/// Watches of one directory, each with events that nobody reads.
fn watches(number: usize) {
    let directory = place(number);
    // SAFETY: texts that live until the calls are over.
    unsafe {
        mkdir(directory.as_ptr(), 0o755);
        loop {
            let file = inotify_init1(IN_NONBLOCK);
            if file < 0 || inotify_add_watch(file, directory.as_ptr(), IN_ALL_EVENTS) < 0 {
                return;
            }
            for mode in 0..64 {
                chmod(directory.as_ptr(), 0o700 | mode);
            }
        }
    }
}

/// Mappings whose pages differ from their neighbours in what is allowed.
fn areas(_: usize) {
    loop {
        let start = map(PAGE << 10);
        if start as *mut c_void == MAP_FAILED {
            return;
        }
        for page in (0..1 << 10).step_by(2) {
            // SAFETY: this function's own mapping, whose bytes nobody reads.
            if unsafe { mprotect(start.add(page * PAGE).cast(), PAGE, PROT_READ) } != 0 {
                return;
            }
        }
    }
}

/// Children that do nothing, and end with their parent.
fn sleepers(_: usize) {
    let parent = std::process::id() as pid_t;
    children(usize::MAX, |_| {
        // SAFETY: takes no address.
        unsafe {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            while getppid() == parent {
                pause();
            }
        }
        0
    });
}

/// Locks of every other byte of a file: so many that one more still takes no time to speak of.
fn locks(number: usize) {
    // SAFETY: a text, and a structure of numbers that lives until the calls are over.
    unsafe {
        let file = open(place(number).as_ptr(), O_RDWR | O_CREAT, 0o600);
        let mut lock: flock = std::mem::zeroed();
        (lock.l_type, lock.l_len) = (F_WRLCK as i16, 1);
        for byte in (0..8000).step_by(2) {
            lock.l_start = byte;
            if fcntl(file, F_SETLK, &raw const lock) != 0 {
                return;
            }
        }
    }
}

/// Extended attributes of files.
fn attributes(number: usize) {
    let value = [1_u8; 1000];
    // SAFETY: texts, and as many bytes as are said.
    unsafe {
        let path = place(number);
        close(open(path.as_ptr(), O_RDWR | O_CREAT, 0o600));
        for attribute in 0.. {
            let name = CString::new(format!("user.{attribute}")).unwrap_or_default();
            if setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) != 0 {
                return;
            }
        }
    }
}

/// Programs with as many arguments as may be, again and again.
fn strings(_: usize) {
    let argument = CString::new(vec![b'x'; 100_000]).unwrap_or_default();
    let mut words = vec![c"probe".as_ptr(), c"strings".as_ptr(), c"15".as_ptr()];
    words.extend([argument.as_ptr(); 15]);
    words.push(null_mut());
    for _ in 0..20 {
        for child in children(4, |_| {
            // SAFETY: texts and an array that end as they should.
            unsafe { execv(c"/proc/self/exe".as_ptr(), words.as_ptr()) }
        }) {
            ended_well(child);
        }
    }
}
