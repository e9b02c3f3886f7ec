//! A storm of everything at once: children, programs, threads, signals, mappings and page faults; memory taken from all
//! sides until there is none; thousands of tasks; very many files. Every count is back afterwards.

mod takers;

use crate::soak::Census;
use libc::*;
use std::ffi::CString;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::yield_now;
use std::time::{Duration, Instant};
use takers::memory;

const PAGE: usize = 4096;

/// Pages that are taken for good, KiB: what is made once, and caches of CPUs.
const SLACK: u64 = 512;

/// How long counts may take to come back. Reached only if something is lost.
const PATIENCE: Duration = Duration::from_secs(100);

/// Does it once, mostly small, so that what is made once is there, then as asked; whether every count is back.
pub fn run(what: &str, much: usize) -> bool {
    let act: fn(usize) -> bool = match what {
        "everything" => everything,
        "memory" => memory,
        "tasks" => tasks,
        "files" => files,
        _ => return false,
    };
    let first = match what {
        "memory" => 1,
        // The lists that so many tasks are in stay as long as they were.
        "tasks" => much,
        _ => much / 50 + 1,
    };
    if !act(first) {
        return false;
    }
    let (before, free_before) = Census::take();
    let fine = act(much);
    let begun = Instant::now();
    let back = loop {
        // A task is gone for its parent before all of it is.
        let (after, free_after) = Census::take();
        if before == after && free_after + SLACK >= free_before {
            break true;
        }
        if begun.elapsed() > PATIENCE {
            println!("{free_before} KiB were free or in stacks, {free_after} KiB are; {before:?} became {after:?}");
            break false;
        }
    };
    println!("{}", if back { "every count is back" } else { "something is missing" });
    fine && back
}

/// Starts a child for each of `count` numbers; each ends with the status that `act` gives.
fn children(count: usize, act: impl Fn(usize) -> i32) -> Vec<pid_t> {
    let start = |number| {
        // SAFETY: this process has one thread, so the child may do anything.
        let child = unsafe { fork() };
        if child == 0 {
            let status = act(number);
            // SAFETY: ends the child.
            unsafe { _exit(status) }
        }
        child
    };
    (0..count).map(start).take_while(|child| *child > 0).collect()
}

/// Waits for a child; whether it ended with 0.
fn ended_well(child: pid_t) -> bool {
    let mut status = 0;
    // SAFETY: the status lives until the call is over.
    unsafe { waitpid(child, &raw mut status, 0) == child && status == 0 }
}

fn map(length: usize) -> *mut u8 {
    // SAFETY: a new mapping, wherever there is room.
    unsafe { mmap(null_mut(), length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).cast() }
}

/// Writes a byte to each page.
fn touch(start: *mut u8, length: usize) {
    for at in (0..length).step_by(PAGE) {
        // SAFETY: within the caller's mapping.
        unsafe { start.add(at).write_volatile(1) };
    }
}

extern "C" fn count_one(_: c_int) {
    HEARD.fetch_add(1, Relaxed);
}

static HEARD: AtomicU32 = AtomicU32::new(0);

/// Eight children, each of which has children, programs, threads, signals, mappings and faults so many times.
fn everything(times: usize) -> bool {
    let workers = children(8, |number| {
        // SAFETY: a handler that only counts.
        unsafe { signal(SIGUSR1, count_one as *const () as sighandler_t) };
        i32::from(!(0..times).all(|_| one_of_everything(number)))
    });
    let all = workers.len() == 8;
    workers.into_iter().fold(all, |fine, worker| ended_well(worker) && fine)
}

/// A child with pages of its parent's; a program; threads that map, touch and unmap; a signal to each.
fn one_of_everything(number: usize) -> bool {
    const LENGTH: usize = 64 * PAGE;
    let memory = map(LENGTH);
    touch(memory, LENGTH);
    let heard = HEARD.load(Relaxed);
    let copying = children(2, |_| {
        touch(memory, LENGTH);
        0
    });
    let program = children(1, |_| {
        let words = [c"probe".as_ptr(), c"nothing".as_ptr(), null_mut()];
        // SAFETY: texts and an array that end as they should.
        unsafe { execv(c"/proc/self/exe".as_ptr(), words.as_ptr()) }
    });
    let sleeper = children(1, |_| {
        loop {
            // SAFETY: takes nothing.
            unsafe { pause() };
        }
    });
    let threads: Vec<_> = (0..3)
        .map(|_| {
            std::thread::spawn(move || {
                for length in [PAGE, 16 * PAGE, LENGTH] {
                    let own = map(length);
                    touch(own, length);
                    // SAFETY: the thread's own mapping; a signal to this process that is counted.
                    unsafe {
                        mprotect(own.cast(), length, PROT_READ);
                        madvise(own.cast(), length, MADV_DONTNEED);
                        munmap(own.cast(), length);
                        kill(getpid(), SIGUSR1);
                    }
                }
            })
        })
        .collect();
    let mut fine = copying.len() == 2 && program.len() == 1 && sleeper.len() == 1;
    for thread in threads {
        fine &= thread.join().is_ok();
    }
    // Signals that are alike may become one, but one comes.
    while HEARD.load(Relaxed) == heard {
        yield_now();
    }
    for child in copying.into_iter().chain(program) {
        fine &= ended_well(child);
    }
    for child in sleeper {
        // SAFETY: takes no address but none.
        unsafe {
            kill(child, if number.is_multiple_of(2) { SIGUSR2 } else { SIGKILL });
            waitpid(child, null_mut(), 0);
        }
    }
    // SAFETY: this function's own mapping.
    unsafe { munmap(memory.cast(), LENGTH) };
    fine
}

/// So many tasks at a time; whether each was there.
fn tasks(count: usize) -> bool {
    let made = children(count, |_| {
        // SAFETY: takes nothing; a signal ends it.
        unsafe { pause() };
        1
    });
    let all = made.len() == count;
    if !all {
        println!("only {} of {count} tasks: {}", made.len(), std::io::Error::last_os_error());
    }
    for child in &made {
        // SAFETY: takes no address.
        unsafe { kill(*child, SIGKILL) };
    }
    for child in &made {
        ended_well(*child);
    }
    all
}

/// So many files in a hundred directories, made, found and removed again.
fn files(count: usize) -> bool {
    let directory = |number: usize| CString::new(format!("/tmp/storm/{}", number % 100)).unwrap_or_default();
    let name = |number: usize| CString::new(format!("/tmp/storm/{}/{number}", number % 100)).unwrap_or_default();
    let mut wrong = 0;
    let mut check = |result: c_int| wrong += usize::from(result < 0);
    // SAFETY: texts that live until each call is over.
    unsafe {
        mkdir(c"/tmp/storm".as_ptr(), 0o755);
        (0..100).for_each(|number| check(mkdir(directory(number).as_ptr(), 0o755)));
        for number in 0..count {
            let file = open(name(number).as_ptr(), O_WRONLY | O_CREAT | O_EXCL, 0o600);
            check(file);
            close(file);
        }
        for number in 0..count {
            check(access(name(number).as_ptr(), F_OK));
        }
        (0..count).for_each(|number| check(unlink(name(number).as_ptr())));
        (0..100).for_each(|number| check(rmdir(directory(number).as_ptr())));
        check(rmdir(c"/tmp/storm".as_ptr()));
    }
    if wrong > 0 {
        println!("{wrong} calls were refused");
    }
    wrong == 0
}
