//! A filter for all threads at once.

use super::filter::*;
use crate::{
    checks::Checks,
    tracing::tracee::{ended, fork, wait},
};
use libc::*;
use std::{
    sync::{
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

pub fn run(checks: &mut Checks) {
    let child = fork(|| {
        let mut checks = Checks::default();
        sleeping(&mut checks);
        c_int::from(!checks.all_right())
    });
    checks.equal("threads that sleep", wait(child, 0), ended(0));
    let child = fork(|| {
        let mut checks = Checks::default();
        apart(&mut checks);
        c_int::from(!checks.all_right())
    });
    checks.equal("threads that have filters of their own", wait(child, 0), ended(0));
    // A thread that does not come into the kernel by itself: its next call is filtered.
    let right = (0..20).all(|_| wait(fork(spinning), 0) == ended(0));
    checks.equal("threads that run", right, true);
    let right = (0..10).all(|_| wait(fork(being_born), 0) == ended(0));
    checks.equal("threads that are being born", right, true);
}

/// A thread that makes the call when it is told to; its number, its end, and where it is told.
struct Other {
    tid: c_int,
    go: mpsc::Sender<fn()>,
    thread: thread::JoinHandle<Result<i64, i32>>,
}

fn other(first: fn()) -> Other {
    let (go, told) = mpsc::channel::<fn()>();
    let (tell, tid) = mpsc::channel();
    let thread = thread::spawn(move || {
        first();
        // SAFETY: takes no address.
        let _ = tell.send(unsafe { gettid() });
        while let Ok(act) = told.recv() {
            act();
        }
        call()
    });
    Other { tid: tid.recv().unwrap_or(-1), go, thread }
}

impl Other {
    fn end(self) -> Result<i64, i32> {
        drop(self.go);
        self.thread.join().unwrap_or(Ok(-1))
    }
}

fn sleeping(checks: &mut Checks) {
    let (first, second) = (other(|| ()), other(|| ()));
    // SAFETY: takes no address.
    unsafe { prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let privileges = |tid| shown(tid, "NoNewPrivs:").unwrap_or_default();
    checks.equal("one thread gains nothing any more", privileges(first.tid).as_str(), "0");
    checks.equal("a filter for all", filter(CALL, ERRNO | 5, TSYNC), Ok(0));
    checks.equal("neither do others", privileges(first.tid).as_str(), "1");
    checks.equal("they have it", shown(second.tid, "Seccomp_filters:").as_deref(), Some("1"));
    checks.equal("this thread", call(), Err(5));
    checks.equal("another", first.end(), Err(5));
    checks.equal("and another", second.end(), Err(5));
    checks.equal("one more for all", filter(CALL, ERRNO | 6, TSYNC), Ok(0));
    checks.equal("counts", call(), Err(6));
}

fn apart(checks: &mut Checks) {
    let alone = other(|| ());
    let _ = filter(CALL, ERRNO | 5, 0);
    checks.equal("one for this thread", call(), Err(5));
    let late = other(|| ());
    checks.equal("what began earlier follows", filter(CALL, ERRNO | 4, TSYNC), Ok(0));
    checks.equal("and has all", shown(alone.tid, "Seccomp_filters:").as_deref(), Some("2"));
    checks.equal("so has what began later", shown(late.tid, "Seccomp_filters:").as_deref(), Some("2"));
    let own = other(|| {
        let _ = filter(SYS_getpgid, ERRNO, 0);
    });
    checks.equal("one with another filter is named", filter(CALL, ERRNO | 3, TSYNC), Ok(own.tid.into()));
    checks.equal("or makes for an error", filter(CALL, ERRNO | 3, TSYNC | TSYNC_ESRCH), Err(ESRCH));
    checks.equal("nothing has changed", call(), Err(4));
    checks.equal("nor there", alone.end(), Err(4));
    let _ = own.end();
    let both = filter(SYS_getpgid, USER_NOTIF, TSYNC | NEW_LISTENER | TSYNC_ESRCH);
    checks.equal("with a listener", both.is_ok(), true);
    checks.equal("of which there is one", filter(CALL, USER_NOTIF, NEW_LISTENER), Err(EBUSY));
    let _ = late.end();
}

static GO: AtomicBool = AtomicBool::new(false);
static RUNS: AtomicBool = AtomicBool::new(false);

fn spinning() -> c_int {
    let thread = thread::spawn(|| {
        RUNS.store(true, SeqCst);
        while !GO.load(SeqCst) {
            std::hint::spin_loop();
        }
        call()
    });
    while !RUNS.load(SeqCst) {
        thread::yield_now();
    }
    let filtered = filter(CALL, ERRNO | 5, TSYNC);
    GO.store(true, SeqCst);
    let seen = thread.join().unwrap_or(Ok(-1));
    c_int::from(filtered != Ok(0) || seen != Err(5))
}

/// Threads begin threads while the filter comes: none of them is without it after that.
fn being_born() -> c_int {
    let breeder = thread::spawn(|| {
        while !GO.load(SeqCst) {
            let child = thread::spawn(|| {
                let was_late = GO.load(SeqCst);
                (was_late, call())
            });
            RUNS.store(true, SeqCst);
            if let Ok((true, result)) = child.join()
                && result != Err(5)
            {
                return false;
            }
        }
        call() == Err(5)
    });
    while !RUNS.load(SeqCst) {
        thread::yield_now();
    }
    let filtered = filter(CALL, ERRNO | 5, TSYNC);
    GO.store(true, SeqCst);
    c_int::from(filtered != Ok(0) || !breeder.join().unwrap_or(false))
}
