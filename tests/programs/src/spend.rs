//! Takes one thing from the kernel again and again, until it is refused; says how often it was had, and why no more.

use std::{io, ptr};

const PAGE: usize = 4096;

/// Takes what `what` names, at most `most` times. False for an unknown word.
pub fn run(what: &str, most: usize) -> bool {
    let once: fn(usize) -> io::Result<()> = match what {
        "files" => file,
        "pipes" => pipe,
        "terminals" => terminal,
        "signals" => signal,
        "private" => private,
        "locked" => locked,
        _ => return false,
    };
    if what == "signals" {
        block();
    }
    let refusal = (0..most).find_map(|index| once(index).err().map(|error| (index, error)));
    match refusal {
        Some((count, error)) => println!("{count} {what}, then: {error}"),
        None => println!("{most} {what}"),
    }
    if what == "signals" {
        // A signal that is not queued but sent arrives in any case, though nobody knows from whom.
        // SAFETY: the calls take numbers, and pointers to values of this function.
        let sender = unsafe {
            libc::kill(libc::getpid(), libc::SIGUSR1);
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGUSR1);
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let taken = libc::sigwaitinfo(&set, &mut info);
            (taken == libc::SIGUSR1).then(|| info.si_pid())
        };
        println!("kill: {}", if sender == Some(0) { "arrived from nobody" } else { "arrived with its sender" });
    }
    true
}

/// Opens a file, for ever.
fn file(_: usize) -> io::Result<()> {
    std::fs::File::open("/dev/null").map(std::mem::forget)
}

/// Makes a pipe and fills it.
fn pipe(_: usize) -> io::Result<()> {
    let mut ends = [0; 2];
    let bytes = [0u8; 16 * PAGE];
    // SAFETY: `ends` has room for two descriptors, and `bytes` is as long as is said.
    let written = unsafe {
        if libc::pipe(ends.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::write(ends[1], bytes.as_ptr().cast(), bytes.len())
    };
    if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens the master of a new terminal, for ever.
fn terminal(_: usize) -> io::Result<()> {
    std::fs::File::open("/dev/ptmx").map(std::mem::forget)
}

fn block() {
    // SAFETY: the set is a value of this function.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&mut set);
        libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut());
    }
}

/// Queues a signal that stays blocked.
fn signal(_: usize) -> io::Result<()> {
    let value = libc::sigval { sival_ptr: ptr::null_mut() };
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::sigqueue(libc::getpid(), libc::SIGRTMIN(), value) })
}

/// Maps 16 pages that may be written, and touches none.
fn private(_: usize) -> io::Result<()> {
    map(16 * PAGE).map(drop)
}

/// Locks a page.
fn locked(_: usize) -> io::Result<()> {
    let page = map(PAGE)?;
    // SAFETY: the page was mapped just now, and locking changes nothing in it.
    check(unsafe { libc::mlock(page, PAGE) })
}

fn map(length: usize) -> io::Result<*mut libc::c_void> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping where there is room disturbs nobody.
    let address =
        unsafe { libc::mmap(ptr::null_mut(), length, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(address) }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
