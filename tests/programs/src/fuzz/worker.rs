//! A process of the round: it becomes who it is to be, opens what calls are made on, and makes calls until its share is
//! done or one of them has ended it.

use super::calls::CALLS;
use super::ring::Ring;
use super::values::{self, Place};
use super::{memory, restricted};
use crate::choices::Choices;
use libc::*;
use std::arch::asm;
use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;

/// How many files a process opens, from 3 on.
pub const FILES: u64 = 24;

/// Threads of a process; each has a ring.
pub const THREADS: usize = 2;

/// Calls that mostly end or stop the process that makes them: one in so many of their turns is taken.
const SELDOM: &[(u64, u64)] = &[
    (15, 8),
    (60, 8),
    (231, 8),
    (59, 4),
    (322, 4),
    (34, 6),
    (130, 4),
    (62, 2),
    (200, 2),
    (234, 2),
    (61, 2),
    (247, 2),
    (157, 2),
];

/// What every process of a round is told.
#[derive(Clone, Copy)]
pub struct Round {
    /// The seed of all.
    pub seed: u64,
    /// Its number.
    pub number: u64,
    /// Whether its tasks are root.
    pub root: bool,
    /// How many calls each thread makes.
    pub calls: u64,
    /// Which calls, as places among all.
    pub only: &'static [usize],
    /// Tasks that are not of the round.
    pub others: [u64; 3],
    /// The directory where the tasks work, open: its path leads elsewhere once root has unmounted or covered it.
    pub work: RawFd,
}

extern "C" fn handler(_: c_int) {}

/// The address of a handler that returns.
pub fn handler_address() -> u64 {
    handler as *const () as u64
}

/// What brings a handler back: the instruction for `rt_sigreturn`.
#[unsafe(naked)]
extern "C" fn restorer() {
    std::arch::naked_asm!("mov eax, 15", "syscall", "ud2")
}

/// The address of what brings a handler back.
pub fn restorer_address() -> u64 {
    restorer as *const () as u64
}

/// Does the share of the process whose first ring is `first`; does not return.
pub fn run(round: &Round, rings: &'static [Ring], first: usize) -> ! {
    if !become_member(round) {
        // SAFETY: ends this process, which has one thread.
        unsafe { _exit(99) }
    }
    open_files();
    let round = *round;
    for lane in 1..THREADS {
        // One that can't be started leaves its share to the next process at this place.
        let _ = std::thread::Builder::new().spawn(move || calls(&round, rings, first + lane, lane));
    }
    calls(&round, rings, first, 0)
}

/// Enters the container, and gives up what a task of the round has not.
fn become_member(round: &Round) -> bool {
    // SAFETY: plain calls with literals that end in NUL, and structures that live until the call is over. This process
    // has one thread.
    unsafe {
        let tasks = open(c"/tmp/fuzz/box/round/tasks".as_ptr(), O_WRONLY);
        if write(tasks, c"0".as_ptr().cast(), 1) != 1 || fchdir(round.work) != 0 {
            return false;
        }
        setsid();
        let null = open(c"/dev/null".as_ptr(), O_RDWR);
        for standard in 0..3 {
            dup2(null, standard);
        }
        syscall(SYS_close_range, 3, u32::MAX, 0);
        let priority: c_int = 0;
        syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &raw const priority);
        prctl(PR_SET_NAME, c"fuzzed".as_ptr());
        for (resource, most) in [(RLIMIT_NOFILE, 64), (RLIMIT_FSIZE, 1 << 22), (RLIMIT_NPROC, 60)] {
            let limit = rlimit { rlim_cur: most, rlim_max: most };
            setrlimit(resource, &raw const limit);
        }
        for signal_number in [SIGALRM, SIGUSR1, SIGUSR2, SIGURG, SIGIO, SIGPIPE, SIGHUP, 34, 35, 64] {
            let mut action: sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            sigaction(signal_number, &raw const action, null_mut());
        }
        if round.root { chroot(c".".as_ptr()) == 0 } else { become_user() }
    }
}

fn become_user() -> bool {
    // SAFETY: no address but null with a length of 0.
    unsafe { setgroups(0, null_mut()) == 0 && setgid(1000) == 0 && setuid(1000) == 0 }
}

/// Opens a file of each kind, in an order that makes their numbers 3 and up. What can't be opened leaves its number to
/// the next.
fn open_files() {
    // SAFETY: literals that end in NUL and arrays that live until the call is over.
    unsafe {
        let mut pair = [-1; 2];
        open(c"file".as_ptr(), O_RDWR | O_CREAT, 0o644);
        // What has become a FIFO meanwhile keeps nobody waiting.
        open(c"run".as_ptr(), O_RDONLY | O_NONBLOCK);
        open(c".".as_ptr(), O_RDONLY | O_DIRECTORY);
        open(c"d".as_ptr(), O_PATH);
        pipe(pair.as_mut_ptr());
        pipe2(pair.as_mut_ptr(), O_NONBLOCK);
        for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
            socketpair(AF_UNIX, kind | SOCK_NONBLOCK, 0, pair.as_mut_ptr());
        }
        socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        let epoll = epoll_create1(0);
        let mut event = epoll_event { events: (EPOLLIN | EPOLLOUT) as u32, u64: 0 };
        epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &raw mut event);
        eventfd(1, EFD_NONBLOCK);
        timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        syscall(SYS_pidfd_open, getpid(), 0);
        inotify_init1(IN_NONBLOCK);
        open(c"fifo".as_ptr(), O_RDWR | O_NONBLOCK);
        let mut attributes: mq_attr = std::mem::zeroed();
        (attributes.mq_maxmsg, attributes.mq_msgsize) = (4, 64);
        mq_open(c"/queue".as_ptr(), O_RDWR | O_CREAT | O_NONBLOCK, 0o666, &raw mut attributes);
        syscall(SYS_memfd_create, c"memory".as_ptr(), 0);
        for path in [c"/dev/ptmx", c"/dev/zero", c"/proc/self/status", c"/proc/self/mem", c"mount"] {
            open(path.as_ptr(), O_RDWR | O_NONBLOCK | O_NOCTTY);
        }
    }
}

/// The calls of one thread; ends the thread, and with the last one the process.
fn calls(round: &Round, rings: &'static [Ring], which: usize, lane: usize) -> ! {
    let ring = &rings[which];
    let mut place = Place { root: round.root, tasks: [0; 16], others: round.others };
    // A child continues for some calls and ends.
    let mut left_in_child = None;
    if memory::lay_out(lane) {
        ring.process.store(u64::from(std::process::id()), Relaxed);
        loop {
            let index = ring.begun.load(Relaxed);
            if index >= round.calls || left_in_child == Some(0) {
                break;
            }
            left_in_child = left_in_child.map(|left: u64| left - 1);
            if left_in_child.is_none() {
                ring.begun.store(index + 1, Relaxed);
            }
            let mut choices =
                Choices::of(&[round.seed, round.number, which as u64, index, left_in_child.unwrap_or(99)]);
            if index.is_multiple_of(64) {
                memory::lay_out(lane);
                wake_up_now_and_then();
            }
            if index.is_multiple_of(16) {
                for (to, ring) in place.tasks.iter_mut().zip(rings) {
                    *to = ring.process.load(Relaxed);
                }
                // SAFETY: takes nothing.
                place.tasks[15] = unsafe { gettid() } as u64;
            }
            let (number, _, kinds) = CALLS[choices.one_of(round.only)];
            if SELDOM.iter().any(|(seldom, turns)| *seldom == number && !choices.one_in(*turns)) {
                continue;
            }
            let mut words = [0; 6];
            for (index, kind) in kinds.iter().enumerate() {
                words[index] = values::value(*kind, index, &place, &mut choices);
            }
            if restricted::leaves_out(round.root, number, &words) {
                continue;
            }
            if left_in_child.is_some() {
                call(number, &words);
                continue;
            }
            ring.begin(index, number, &words);
            let result = match makes_a_task(number, &words) {
                Some(Child::Continues) => {
                    let result = call(number, &words);
                    if result == 0 {
                        left_in_child = Some(choices.below(24));
                        continue;
                    }
                    result
                }
                Some(Child::Waits) => {
                    call_with_child(number, &words, if choices.one_in(3) { SYS_pause } else { SYS_exit })
                }
                None => call(number, &words),
            };
            ring.end(index, result);
        }
    }
    // SAFETY: ends this thread.
    unsafe {
        asm!("syscall", in("rax") SYS_exit, in("rdi") 0, options(noreturn));
    }
}

/// What a child does that a call makes.
enum Child {
    /// Makes calls like its parent: it has memory of its own.
    Continues,
    /// Touches no memory, which may be its parent's, not even a stack.
    Waits,
}

/// Whether a call makes a task.
fn makes_a_task(number: u64, words: &[u64; 6]) -> Option<Child> {
    match number {
        57 => Some(Child::Continues),
        56 if words[0] & 0x4100 == 0 && words[1] == 0 => Some(Child::Continues),
        56 | 58 | 435 => Some(Child::Waits),
        _ => None,
    }
}

/// A timer that ends waiting.
fn wake_up_now_and_then() {
    let often = timeval { tv_sec: 0, tv_usec: 10_000 };
    let timer = itimerval { it_interval: often, it_value: often };
    // SAFETY: structures that live until the calls are over.
    unsafe {
        setitimer(ITIMER_REAL, &raw const timer, null_mut());
        let mut set = std::mem::zeroed();
        sigemptyset(&raw mut set);
        sigprocmask(SIG_SETMASK, &raw const set, null_mut());
    }
}

/// The call as it is, without the library, which would look at errno and its own threads.
fn call(number: u64, words: &[u64; 6]) -> u64 {
    let result;
    // SAFETY: there is no promise to keep: the kernel may do to this process whatever the call says, and the process is
    // there for that.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") words[0], in("rsi") words[1], in("rdx") words[2], in("r10") words[3], in("r8") words[4], in("r9") words[5],
            out("rcx") _, out("r11") _,
        );
    }
    result
}

/// A call that makes a child without memory of its own: it does `then`, and ends if that returns.
fn call_with_child(number: u64, words: &[u64; 6], then: c_long) -> u64 {
    let result;
    // SAFETY: the child uses registers alone, so it may share this thread's memory and stack.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rax, r12",
            "xor edi, edi",
            "syscall",
            "mov eax, 60",
            "syscall",
            "ud2",
            "2:",
            inlateout("rax") number => result,
            in("rdi") words[0], in("rsi") words[1], in("rdx") words[2], in("r10") words[3], in("r8") words[4], in("r9") words[5],
            in("r12") then,
            out("rcx") _, out("r11") _,
        );
    }
    result
}
