//! Locks that lend priority, by `futex(2)` and by the C library's mutexes, and sleeping on several words.

use crate::checks::result;
use crate::child;
use libc::*;
use std::{
    ptr::{null, null_mut},
    sync::atomic::{
        AtomicBool, AtomicI32, AtomicU32,
        Ordering::{Relaxed, SeqCst},
    },
    thread::{JoinHandle, spawn},
};

const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
const LOCK: c_int = 6;
const UNLOCK: c_int = 7;
const TRYLOCK: c_int = 8;
const WAIT_REQUEUE: c_int = 11;
const COMPARE_REQUEUE: c_int = 12;
const LOCK2: c_int = 13;

fn futex(word: &AtomicU32, operation: c_int, value: u32, fourth: usize, second: usize, third: u32) -> Result<i64, i32> {
    // SAFETY: the words and times live until the call is over, or must be refused.
    result(unsafe { syscall(SYS_futex, word, operation, value, fourth, second, third) })
}

fn lock(word: &AtomicU32, operation: c_int) -> Result<i64, i32> {
    futex(word, operation, 0, 0, 0, 0)
}

fn tid() -> u32 {
    // SAFETY: takes no address.
    unsafe { gettid() as u32 }
}

/// Sleeps a little, for a condition that is looked at again.
fn pause_a_little() {
    // SAFETY: no descriptors.
    unsafe { poll(null_mut(), 0, 1) };
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        pause_a_little();
    }
}

/// Whether a thread of this process sleeps in the kernel.
fn sleeps(tid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
}

fn become_first(priority: c_int) {
    // SAFETY: all zeros is a sched_param, which lives until the call is over; by its number, since the C library refuses.
    unsafe {
        let mut wanted: sched_param = std::mem::zeroed();
        wanted.sched_priority = priority;
        syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &raw const wanted);
    }
}

fn stay_on_the_first_cpu() {
    // SAFETY: all zeros is a set of CPUs, which lives until the call is over.
    unsafe {
        let mut set: cpu_set_t = std::mem::zeroed();
        CPU_SET(0, &mut set);
        sched_setaffinity(0, size_of::<cpu_set_t>(), &raw const set);
    }
}

/// A thread that waits for `word`, and what came of that.
fn waiter(word: &'static AtomicU32) -> (u32, JoinHandle<Result<i64, i32>>) {
    let number: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
    let thread = spawn(move || {
        number.store(tid(), SeqCst);
        lock(word, LOCK)
    });
    until(|| number.load(SeqCst) != 0 && sleeps(number.load(SeqCst)));
    (number.load(SeqCst), thread)
}

fn one_lock(check: &mut impl FnMut(&str, bool)) {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let own = tid();
    let soon = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let bad = timespec { tv_sec: 0, tv_nsec: -1 };
    let at = |time: &timespec| (&raw const *time) as usize;
    check("a free lock", lock(&WORD, LOCK) == Ok(0) && WORD.load(SeqCst) == own);
    check("is not had twice", lock(&WORD, LOCK) == Err(EDEADLK) && lock(&WORD, TRYLOCK) == Err(EDEADLK));
    check("a clock where there is no choice", lock(&WORD, LOCK | 256) == Err(ENOSYS));
    check("a time that makes no sense", futex(&WORD, LOCK, 0, at(&bad), 0, 0) == Err(EINVAL));
    let others = spawn(move || {
        let early = futex(&WORD, LOCK, 0, at(&soon), 0, 0);
        let monotonic = futex(&WORD, LOCK2, 0, at(&soon), 0, 0);
        let real = futex(&WORD, LOCK2 | 256, 0, at(&soon), 0, 0);
        (lock(&WORD, TRYLOCK), lock(&WORD, UNLOCK), [early, monotonic, real])
    });
    let others = others.join().unwrap_or((Ok(1), Ok(1), [Ok(1); 3]));
    check("another can't have it", others.0 == Err(EAGAIN));
    check("nor let it go", others.1 == Err(EPERM));
    check("it waits so long", others.2 == [Err(ETIMEDOUT); 3]);
    check("who waits marks the word", WORD.load(SeqCst) == own | WAITERS);
    let (first, thread) = waiter(&WORD);
    check("it goes to who waits", lock(&WORD, UNLOCK) == Ok(0) && thread.join().ok() == Some(Ok(0)));
    check("and the word says so", WORD.load(SeqCst) & !OWNER_DIED == first | WAITERS);

    WORD.store(4_000_000, SeqCst);
    check("nobody has this number", lock(&WORD, LOCK) == Err(ESRCH));
    WORD.store(OWNER_DIED, SeqCst);
    check("who ended leaves a mark", lock(&WORD, TRYLOCK) == Ok(0) && WORD.load(SeqCst) == own | OWNER_DIED);
    check("until it is let go", lock(&WORD, UNLOCK) == Ok(0) && WORD.load(SeqCst) == 0);
    check("nobody has it", lock(&WORD, UNLOCK) == Err(EPERM));

    static LEFT: AtomicU32 = AtomicU32::new(0);
    static GO: AtomicBool = AtomicBool::new(false);
    let owner = spawn(|| {
        let had = lock(&LEFT, LOCK);
        until(|| GO.load(SeqCst));
        had
    });
    until(|| LEFT.load(SeqCst) != 0);
    let (heir, thread) = waiter(&LEFT);
    GO.store(true, SeqCst);
    check("an owner ends without letting go", owner.join().ok() == Some(Ok(0)));
    check("who waits has it then", thread.join().ok() == Some(Ok(0)));
    check("and knows", LEFT.load(SeqCst) == heir | WAITERS | OWNER_DIED);
}

fn ring(check: &mut impl FnMut(&str, bool)) {
    static FIRST: AtomicU32 = AtomicU32::new(0);
    static SECOND: AtomicU32 = AtomicU32::new(0);
    let had = lock(&FIRST, LOCK);
    let number: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
    let thread = spawn(move || {
        let had = lock(&SECOND, LOCK);
        number.store(tid(), SeqCst);
        (had, lock(&FIRST, LOCK), lock(&FIRST, UNLOCK))
    });
    until(|| number.load(SeqCst) != 0 && sleeps(number.load(SeqCst)));
    check("a ring is refused", had == Ok(0) && lock(&SECOND, LOCK) == Err(EDEADLK));
    check("the rest of it goes on", lock(&FIRST, UNLOCK) == Ok(0));
    check("to its end", thread.join().ok() == Some((Ok(0), Ok(0), Ok(0))));
}

/// A task that is not of real time has a lock; one that is waits for it; a third, in between, keeps the only CPU for
/// itself, for ever: the first goes on only because the second lends it its priority.
fn inversion(check: &mut impl FnMut(&str, bool)) {
    static WORD: AtomicU32 = AtomicU32::new(0);
    static HAD: AtomicBool = AtomicBool::new(false);
    static WAITS: AtomicU32 = AtomicU32::new(0);
    static BUSY: AtomicBool = AtomicBool::new(false);
    static OVER: AtomicBool = AtomicBool::new(false);
    const LIMIT: &str = "/proc/sys/kernel/sched_rt_runtime_us";
    let usual = std::fs::read_to_string(LIMIT).unwrap_or_default();
    check("real time has no limit for a while", std::fs::write(LIMIT, "-1\n").is_ok());
    let status = child::status(|| {
        stay_on_the_first_cpu();
        let owner = spawn(|| {
            let had = lock(&WORD, LOCK) == Ok(0);
            HAD.store(true, SeqCst);
            until(|| BUSY.load(SeqCst));
            had && lock(&WORD, UNLOCK) == Ok(0)
        });
        until(|| HAD.load(SeqCst));
        let rival = spawn(|| {
            become_first(10);
            until(|| WAITS.load(SeqCst) != 0 && sleeps(WAITS.load(SeqCst)));
            BUSY.store(true, SeqCst);
            while !OVER.load(SeqCst) {
                std::hint::spin_loop();
            }
        });
        let urgent = spawn(|| {
            become_first(20);
            WAITS.store(tid(), SeqCst);
            let had = lock(&WORD, LOCK) == Ok(0);
            OVER.store(true, SeqCst);
            had && lock(&WORD, UNLOCK) == Ok(0)
        });
        let ended = (owner.join().ok(), urgent.join().ok(), rival.join().is_ok());
        i32::from(ended != (Some(true), Some(true), true))
    });
    check("and its limit again", std::fs::write(LIMIT, usual).is_ok());
    check("who waits lends its priority", status == 0);
}

fn requeue(check: &mut impl FnMut(&str, bool)) {
    static CONDITION: AtomicU32 = AtomicU32::new(5);
    static MUTEX: AtomicU32 = AtomicU32::new(0);
    static DONE: AtomicI32 = AtomicI32::new(0);
    let (condition, mutex) = ((&raw const CONDITION) as usize, (&raw const MUTEX) as usize);
    let wait = move |value: u32, target: usize| futex(&CONDITION, WAIT_REQUEUE, value, 0, target, 0);
    let move_to = |value: u32, target: usize, wake: u32, most: usize| {
        futex(&CONDITION, COMPARE_REQUEUE, wake, most, target, value)
    };
    check("the condition holds", wait(4, mutex) == Err(EAGAIN));
    check("one word can't be both", wait(5, condition) == Err(EINVAL) && move_to(5, condition, 1, 9) == Err(EINVAL));
    check("one is woken, not two", move_to(5, mutex, 2, 9) == Err(EINVAL));
    check("not when the word is another", move_to(4, mutex, 1, 9) == Err(EAGAIN));
    check("nobody is there", move_to(5, mutex, 1, 9) == Ok(0));
    let numbers: &'static [AtomicU32; 3] = Box::leak(Box::default());
    let threads: Vec<_> = (0..3)
        .map(|at| {
            spawn(move || {
                numbers[at].store(tid(), SeqCst);
                let had = wait(5, mutex) == Ok(0) && MUTEX.load(SeqCst) & !WAITERS == tid();
                DONE.fetch_add(1, SeqCst);
                had && lock(&MUTEX, UNLOCK) == Ok(0)
            })
        })
        .collect();
    until(|| numbers.iter().all(|number| number.load(SeqCst) != 0 && sleeps(number.load(SeqCst))));
    static OTHER: AtomicU32 = AtomicU32::new(0);
    check("they wait for another", move_to(5, (&raw const OTHER) as usize, 1, 9) == Err(EINVAL));
    check("a wake-up is not for them", futex(&CONDITION, FUTEX_WAKE, 9, 0, 0, 0) != Ok(3));
    let had = lock(&MUTEX, LOCK) == Ok(0);
    check("two are made to wait", had && move_to(5, mutex, 1, 1) == Ok(2));
    check("for what is had", DONE.load(SeqCst) == 0 && lock(&MUTEX, UNLOCK) == Ok(0));
    until(|| DONE.load(SeqCst) == 2);
    check("the third has it at once", move_to(5, mutex, 1, 9) == Ok(1));
    check("all had it", threads.into_iter().all(|thread| thread.join().unwrap_or(false)));
}

/// The C library's own mutex, between processes, robust: the owner is killed.
fn mutexes(check: &mut impl FnMut(&str, bool)) {
    // SAFETY: the memory is shared with the child and lives as long as both; the attributes and the mutex are used as
    // the C library wants.
    unsafe {
        let page = mmap(null_mut(), 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        let mutex = page.cast::<pthread_mutex_t>();
        let mut attributes: pthread_mutexattr_t = std::mem::zeroed();
        pthread_mutexattr_init(&raw mut attributes);
        pthread_mutexattr_setpshared(&raw mut attributes, PTHREAD_PROCESS_SHARED);
        let lends = pthread_mutexattr_setprotocol(&raw mut attributes, PTHREAD_PRIO_INHERIT);
        pthread_mutexattr_setrobust(&raw mut attributes, PTHREAD_MUTEX_ROBUST);
        check("the C library finds that locks lend", lends == 0);
        pthread_mutex_init(mutex, &raw const attributes);
        let status = child::status(|| pthread_mutex_lock(mutex));
        check("a child ends with the mutex", status == 0);
        check("which is told", pthread_mutex_lock(mutex) == EOWNERDEAD);
        check("and made good", pthread_mutex_consistent(mutex) == 0 && pthread_mutex_unlock(mutex) == 0);
        check("as it was", pthread_mutex_lock(mutex) == 0 && pthread_mutex_unlock(mutex) == 0);
        static MUTEX: AtomicU32 = AtomicU32::new(0);
        static SUM: AtomicU32 = AtomicU32::new(0);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                spawn(|| {
                    (0..500).all(|_| {
                        let had =
                            MUTEX.compare_exchange(0, tid(), SeqCst, SeqCst).is_ok() || lock(&MUTEX, LOCK) == Ok(0);
                        let sum = SUM.load(Relaxed);
                        std::thread::yield_now();
                        SUM.store(sum + 1, Relaxed);
                        let free = MUTEX.compare_exchange(tid(), 0, SeqCst, SeqCst).is_ok();
                        had && (free || lock(&MUTEX, UNLOCK) == Ok(0))
                    })
                })
            })
            .collect();
        check("each has it", threads.into_iter().all(|thread| thread.join().unwrap_or(false)));
        check("alone", SUM.load(SeqCst) == 2000 && MUTEX.load(SeqCst) == 0);
    }
}

/// `struct futex_waitv`.
#[repr(C)]
struct Wait {
    value: u64,
    address: usize,
    flags: u32,
    reserved: u32,
}

fn several(check: &mut impl FnMut(&str, bool)) {
    static WORDS: [AtomicU32; 3] = [const { AtomicU32::new(7) }; 3];
    let waits = |value: u64, flags: u32, reserved: u32| {
        let address = |at: usize| (&raw const WORDS[at]) as usize;
        let wait =
            move |at: usize| Wait { value: if at == 2 { value } else { 7 }, address: address(at), flags, reserved };
        [wait(0), wait(1), wait(2)]
    };
    let call = |waits: &[Wait], flags: c_int, time: *const timespec, clock: c_int| {
        // SAFETY: the list and the time live until the call is over.
        result(unsafe { syscall(SYS_futex_waitv, waits.as_ptr(), waits.len(), flags, time, clock) })
    };
    let soon = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let fine = waits(7, 2, 0);
    check("no words", call(&[], 0, null(), 0) == Err(EINVAL));
    check("a flag", call(&fine, 1, null(), 0) == Err(EINVAL));
    check("a size that there is not", call(&waits(7, 1, 0), 0, null(), 0) == Err(EINVAL));
    check("what is kept for later", call(&waits(7, 2, 1), 0, null(), 0) == Err(EINVAL));
    check("a clock that there is not", call(&fine, 0, &raw const soon, 9) == Err(EINVAL));
    check("a word is another", call(&waits(8, 2, 0), 0, null(), 0) == Err(EAGAIN));
    check("a time that is over", call(&fine, 0, &raw const soon, CLOCK_MONOTONIC) == Err(ETIMEDOUT));
    for (at, flags) in [(1, 2), (2, 2 | 128)] {
        let number: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
        let thread = spawn(move || {
            number.store(tid(), SeqCst);
            call(&waits(7, flags, 0), 0, null(), 0)
        });
        until(|| number.load(SeqCst) != 0 && sleeps(number.load(SeqCst)));
        let private = if flags & 128 != 0 { FUTEX_PRIVATE_FLAG } else { 0 };
        check("a wake-up at one", futex(&WORDS[at], FUTEX_WAKE | private, 1, 0, 0, 0) == Ok(1));
        check("tells which", thread.join().ok() == Some(Ok(at as i64)));
    }
    check("nobody is left", WORDS.iter().all(|word| futex(word, FUTEX_WAKE, 9, 0, 0, 0) == Ok(0)));
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
    mutexes(&mut check);
    inversion(&mut check);
    one_lock(&mut check);
    ring(&mut check);
    requeue(&mut check);
    several(&mut check);
    println!("{tried} checks, {wrong} wrong");
    wrong == 0
}
