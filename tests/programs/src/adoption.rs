//! Children whose parents end at the same moment: whoever adopts them learns of every end, and by SIGCHLD alone.

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{
    ptr::null_mut,
    sync::atomic::{AtomicI32, Ordering::SeqCst},
};

/// How often each is tried: what is asked for are moments that meet.
const TURNS: i32 = 120;

/// What the processes of a turn share.
#[derive(Default)]
struct Shared {
    ready: AtomicI32,
    go: AtomicI32,
    child: AtomicI32,
}

impl Shared {
    /// A page that children share with their parents.
    fn new() -> Option<&'static Self> {
        // SAFETY: a new mapping at a place of the kernel's choice; its zeros are the atomics' first values.
        unsafe {
            let place = mmap(null_mut(), 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            (place != MAP_FAILED).then(|| &*place.cast::<Self>())
        }
    }

    fn reset(&self) {
        for word in [&self.ready, &self.go, &self.child] {
            word.store(0, SeqCst);
        }
    }
}

fn wait_for(word: &AtomicI32) {
    while word.load(SeqCst) == 0 {
        // SAFETY: takes nothing. With fewer CPUs than processes the other one has to get on.
        unsafe { sched_yield() };
    }
}

/// A child as by fork, with flags and the signal of its end. The number, 0 in the child.
fn clone_with(flags: c_int) -> i64 {
    // SAFETY: a child with memory of its own; this process has one thread.
    unsafe { syscall(SYS_clone, c_long::from(flags), 0, 0, 0, 0) }
}

fn end(status: c_int) -> ! {
    // SAFETY: ends this process.
    unsafe { _exit(status) }
}

/// Waits for all children there are; their numbers.
fn reap_all() -> Vec<pid_t> {
    // SAFETY: no status is asked for.
    let ended = std::iter::repeat_with(|| unsafe { waitpid(-1, null_mut(), __WALL) });
    ended.take_while(|&child| child > 0).collect()
}

/// A parent and its child, which would send SIGUSR1, end at once: that signal never comes to the grandparent.
fn signal_of_first_parent(shared: &'static Shared, checks: &mut Checks) {
    let mut lost = 0;
    for turn in 0..TURNS {
        shared.reset();
        let _reaped_below = child::start(|| {
            if clone_with(SIGUSR1) == 0 {
                shared.ready.store(1, SeqCst);
                wait_for(&shared.go);
                (0..turn % 64 * 8).for_each(|_| std::hint::spin_loop());
                end(0);
            }
            wait_for(&shared.ready);
            shared.go.store(1, SeqCst);
            end(0);
        });
        lost += i32::from(reap_all().len() != 2);
    }
    checks.equal("ends that the grandparent was not told of", lost, 0);
    // SAFETY: zeros are a set, which lives until the calls are over.
    let came = unsafe {
        let mut pending: sigset_t = std::mem::zeroed();
        sigpending(&raw mut pending);
        sigismember(&raw const pending, SIGUSR1)
    };
    checks.equal("the signal of the first parent's choice", came, 0);
}

/// A process makes a sibling while their parent ends: whoever adopts the maker has the sibling too.
fn sibling(shared: &'static Shared, checks: &mut Checks) {
    let (mut lost, mut left) = (0, 0);
    for turn in 0..TURNS {
        shared.reset();
        let _reaped_below = child::start(|| {
            // SAFETY: this process has one thread.
            if unsafe { fork() } == 0 {
                shared.ready.store(1, SeqCst);
                wait_for(&shared.go);
                match clone_with(CLONE_PARENT) {
                    0 => {
                        // SAFETY: takes nothing.
                        shared.child.store(unsafe { getpid() }, SeqCst);
                        end(0)
                    }
                    made => end(i32::from(made < 0)),
                }
            }
            wait_for(&shared.ready);
            shared.go.store(1, SeqCst);
            (0..turn % 64 * 8).for_each(|_| std::hint::spin_loop());
            end(0);
        });
        let reaped = reap_all();
        wait_for(&shared.child);
        let sibling = shared.child.load(SeqCst);
        lost += i32::from(!reaped.contains(&sibling));
        // SAFETY: takes no address.
        left += i32::from(result(unsafe { kill(sibling, 0) }.into()) != Err(ESRCH));
    }
    checks.equal("siblings that were never the adopter's", lost, 0);
    checks.equal("siblings that are still there", left, 0);
}

pub fn run() -> bool {
    let mut checks = Checks::default();
    let Some(shared) = Shared::new() else { return false };
    // SAFETY: takes no address but that of a set, which lives until the call is over.
    unsafe {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        let mut set: sigset_t = std::mem::zeroed();
        sigaddset(&raw mut set, SIGUSR1);
        sigprocmask(SIG_BLOCK, &raw const set, null_mut());
    }
    signal_of_first_parent(shared, &mut checks);
    sibling(shared, &mut checks);
    checks.tell()
}
