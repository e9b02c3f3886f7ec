//! Who gets how much of a CPU, and how long a sleep takes. Meant for machines whose time counts instructions.

use crate::reservations::{Attributes, RECLAIM};
use std::{
    io::{PipeReader, PipeWriter, Read},
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

/// How a child competes.
#[derive(Clone, Copy)]
struct Standing {
    policy: i32,
    priority: i32,
    nice: i32,
    /// Instead of these; then on any CPU.
    reservation: Option<Attributes>,
}

impl Standing {
    /// From a nice value, `batch`, `idle`, `fifo:PRIORITY`, `rr:PRIORITY`, `deadline:RUNTIME:PERIOD` or
    /// `reclaim:RUNTIME:PERIOD`.
    fn parse(word: &str) -> Option<Self> {
        let plain = Self { policy: libc::SCHED_OTHER, priority: 0, nice: 0, reservation: None };
        let reserved = |times: &str, flags| {
            const MILLISECOND: u64 = 1_000_000;
            let (runtime, period) = times.split_once(':')?;
            let (runtime, period): (u64, u64) = (runtime.parse().ok()?, period.parse().ok()?);
            let wish = Attributes::reservation(runtime * MILLISECOND, period * MILLISECOND, 0, flags);
            Some(Self { reservation: Some(wish), ..plain })
        };
        Some(match word.split_once(':') {
            Some(("fifo", priority)) => Self { policy: libc::SCHED_FIFO, priority: priority.parse().ok()?, ..plain },
            Some(("rr", priority)) => Self { policy: libc::SCHED_RR, priority: priority.parse().ok()?, ..plain },
            Some(("deadline", times)) => reserved(times, 0)?,
            Some(("reclaim", times)) => reserved(times, RECLAIM)?,
            Some(_) => return None,
            None if word == "batch" => Self { policy: libc::SCHED_BATCH, ..plain },
            None if word == "idle" => Self { policy: libc::SCHED_IDLE, ..plain },
            None => Self { nice: word.parse().ok()?, ..plain },
        })
    }
}

/// Lets one busy child for each word compete for CPU 0, or where they may for all; says what percentage each got, in tenths.
pub fn run(seconds: u64, words: &[&str]) -> bool {
    let Some(standings) = words.iter().map(|word| Standing::parse(word)).collect::<Option<Vec<_>>>() else {
        return false;
    };
    let (Ok((start, started)), Ok((mut ready, here))) = (std::io::pipe(), std::io::pipe()) else { return false };
    let child = |standing: &Standing| busy_child(*standing, (&start, &started), &here);
    let children: Vec<i32> = standings.iter().map(child).collect();
    // All begin at once: when all are ready, the last end for writing is closed.
    drop(here);
    if ready.read_exact(&mut vec![0; children.len()]).is_err() {
        return false;
    }
    drop(started);
    thread::sleep(Duration::from_secs(seconds));
    // First all end, then each is asked: the one that is waited for last must not run longer for it.
    for child in &children {
        // SAFETY: the number of a child that was not waited for.
        unsafe { libc::kill(*child, libc::SIGKILL) };
    }
    let times: Vec<u64> = children.iter().map(|child| time_of(*child)).collect();
    let all: u64 = times.iter().sum();
    let shares = times.iter().map(|time| {
        let tenths = (time * 1000 + all / 2) / all.max(1);
        format!("{}.{} %", tenths / 10, tenths % 10)
    });
    println!("{}", shares.collect::<Vec<_>>().join(", "));
    all > 0
}

fn busy_child(standing: Standing, (start, started): (&PipeReader, &PipeWriter), here: &PipeWriter) -> i32 {
    // SAFETY: this process has one thread; the child makes a few plain calls and then only computes, for ever.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::close(started.as_raw_fd());
            let mut cpus: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(0, &mut cpus);
            if standing.reservation.is_none() {
                libc::sched_setaffinity(0, size_of_val(&cpus), &raw const cpus);
            }
            libc::setpriority(libc::PRIO_PROCESS, 0, standing.nice);
            // musl's own function refuses: it wants to speak for the whole process.
            let is_set = match standing.reservation {
                Some(wish) => wish.set().is_ok(),
                None => {
                    libc::syscall(libc::SYS_sched_setscheduler, 0, standing.policy, &raw const standing.priority) == 0
                }
            };
            if !is_set {
                eprintln!("sched_setattr: {}", std::io::Error::last_os_error());
                libc::_exit(1);
            }
            libc::write(here.as_raw_fd(), (&raw const cpus).cast(), 1);
            libc::read(start.as_raw_fd(), (&raw mut cpus).cast(), 1);
            // No pause: an emulator gives way at each.
            let mut number = 0_u64;
            loop {
                number = std::hint::black_box(number.wrapping_add(1));
            }
        }
        child
    }
}

/// The CPU time of a child that ends, in microseconds.
fn time_of(child: i32) -> u64 {
    // SAFETY: a structure of plain numbers, which lives until the call is over.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::wait4(child, std::ptr::null_mut(), 0, &raw mut usage);
        usage
    };
    let microseconds = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    microseconds(usage.ru_utime) + microseconds(usage.ru_stime)
}

/// Sleeps many times; says the longest that a sleep took over what was asked for, in whole milliseconds.
pub fn sleeps(count: u32, milliseconds: u64) -> bool {
    let wanted = Duration::from_millis(milliseconds);
    let mut worst = Duration::ZERO;
    for _ in 0..count {
        let started = Instant::now();
        thread::sleep(wanted);
        let Some(over) = started.elapsed().checked_sub(wanted) else {
            println!("woke too early");
            return false;
        };
        worst = worst.max(over);
    }
    println!("at most {} ms over", worst.as_millis());
    true
}
