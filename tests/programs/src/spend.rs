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
        "tables" => table,
        "locked" => locked,
        "shared" => shared,
        "segments" => segment,
        "filters" => filter,
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
    if what == "shared" {
        beyond();
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

/// Installs a filter that takes eight pages.
fn filter(_: usize) -> io::Result<()> {
    let allow = [(0x06, 0, 0, 0x7fff_0000); 4000];
    crate::filters::install(&allow, 0).map(|_| ()).map_err(io::Error::from_raw_os_error)
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

/// Touches a page where nothing else is near, which takes a page of tables.
fn table(_: usize) -> io::Result<()> {
    const FAR: usize = 4 << 20;
    let room = map(FAR)?.cast::<u8>();
    // SAFETY: mapped just now.
    unsafe { room.add(FAR / 2).write_volatile(1) };
    Ok(())
}

/// Locks a page.
fn locked(_: usize) -> io::Result<()> {
    let page = map(PAGE)?;
    // SAFETY: the page was mapped just now, and locking changes nothing in it.
    check(unsafe { libc::mlock(page, PAGE) })
}

/// Where pages of shared memory are written.
const SHARED: &str = "/tmp/probe.shared";

/// Writes a page to a file in memory; the last one goes with the program.
fn shared(index: usize) -> io::Result<()> {
    let file = std::fs::OpenOptions::new().create(true).truncate(index == 0).write(true).open(SHARED)?;
    std::os::unix::fs::FileExt::write_all_at(&file, &[1; PAGE], (index * PAGE) as u64)
}

/// Touches a page of the file that is not there yet, in a child; says by what it dies. Removes the file.
fn beyond() {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(SHARED);
    let status = file.and_then(|file| {
        let length = file.metadata()?.len() as usize;
        file.set_len((length + PAGE) as u64)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
        // SAFETY: a new mapping where there is room disturbs nobody; the child writes to its last page and leaves
        // without touching anything that the parent's threads, of which there are none, could hold.
        unsafe {
            let address =
                libc::mmap(ptr::null_mut(), length + PAGE, protection, libc::MAP_SHARED, descriptor, 0).cast::<u8>();
            match libc::fork() {
                0 => {
                    address.add(length).write_volatile(1);
                    libc::_exit(0)
                }
                child => {
                    let mut status = 0;
                    libc::waitpid(child, &mut status, 0);
                    Ok(status)
                }
            }
        }
    });
    match status {
        Ok(status) if libc::WIFSIGNALED(status) => println!("a touch: signal {}", libc::WTERMSIG(status)),
        Ok(_) => println!("a touch: fine"),
        Err(error) => println!("a touch: {error}"),
    }
    let _ = std::fs::remove_file(SHARED);
}

/// Makes a segment of System V shared memory of one page more each time, has the kernel write each page, and removes it.
/// A page that can't be had is an address that can't be written.
fn segment(index: usize) -> io::Result<()> {
    let zeros = std::fs::File::open("/dev/zero")?;
    let pages = index + 1;
    // SAFETY: the segment is new and attached where there is room, for `pages` pages.
    unsafe {
        let number = libc::shmget(libc::IPC_PRIVATE, pages * PAGE, 0o600);
        check(number)?;
        let address = libc::shmat(number, ptr::null(), 0);
        check(libc::shmctl(number, libc::IPC_RMID, ptr::null_mut()))?;
        let mut status: libc::shmid_ds = std::mem::zeroed();
        check(libc::shmctl(number, libc::IPC_STAT, &mut status))?;
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&zeros);
        let refusal = (0..pages)
            .map(|page| libc::read(descriptor, address.byte_add(page * PAGE), PAGE))
            .find_map(|read| (read < 0).then(io::Error::last_os_error));
        check(libc::shmdt(address))?;
        let gone = libc::shmctl(number, libc::IPC_STAT, &mut status);
        match (refusal, status.shm_nattch, gone) {
            (None, 1, -1) => Ok(()),
            (Some(refusal), 1, -1) => Err(refusal),
            wrong => Err(io::Error::other(format!("{wrong:?}"))),
        }
    }
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
