//! Wake-ups that are counted, and locks whose waiters sleep.

use super::{anywhere, nth_cpu, sleep, spin_until, start};
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use machine::sync::{Mutex, rank};
use sched::{Activity, Schedulable, WaitQueue};

pub(super) fn a_sleeping_lock_lets_one_in_at_a_time() {
    const TASKS: u32 = 4;
    const ROUNDS: u32 = 500;
    // Not atomic: a second holder would lose counts.
    let counter = Arc::new(Mutex::new(rank::EXEC, 0u32));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let counter = counter.clone();
            anywhere(move || {
                for round in 0..ROUNDS {
                    let mut guard = counter.lock();
                    let seen = *guard;
                    if round % 50 == 0 {
                        sched::sched_yield();
                    }
                    *guard = seen + 1;
                }
            })
        })
        .collect();
    tasks.iter().for_each(|task| task.join());
    assert_eq!(*counter.lock(), TASKS * ROUNDS);
}

static LOCK: Mutex<()> = Mutex::new(rank::EXEC, ());
static WANTED: AtomicBool = AtomicBool::new(false);
static GONE: AtomicBool = AtomicBool::new(false);

/// Wants the lock when it is dropped.
struct Wants;

impl Drop for Wants {
    fn drop(&mut self) {
        WANTED.store(true, SeqCst);
        drop(LOCK.lock());
        GONE.store(true, SeqCst);
    }
}

/// A CPU without tasks drops what was left to it. Here that waits for a lock whose holder may run on this CPU only.
pub(super) fn an_idle_cpu_runs_the_holder() {
    let (go, woken) = (Arc::new(AtomicBool::new(false)), Arc::new(WaitQueue::new()));
    let holder = {
        let (go, woken) = (go.clone(), woken.clone());
        start(nth_cpu(1), 0, move || {
            let held = LOCK.lock();
            sched::drop_later(Arc::new(Wants));
            woken.wait_until(|| go.load(SeqCst).then_some(()));
            drop(held);
        })
    };
    // On the other CPU: what is dropped must not stop the test.
    let test = start(nth_cpu(0), 0, move || {
        while !WANTED.load(SeqCst) {
            sleep(1_000_000);
        }
        go.store(true, SeqCst);
        woken.wake_all();
        holder.join();
        while !GONE.load(SeqCst) {
            sleep(1_000_000);
        }
    });
    test.join();
}

/// Who is about to sleep finds something there. Before it leaves the queue something more comes, and the wake-up for that is
/// its, since it has waited longest.
pub(super) fn a_wake_up_for_another_is_passed_on() {
    let queue = Arc::new(WaitQueue::new());
    let (is_waiting, there) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(1)));
    let take = |there: &AtomicU32| there.fetch_update(SeqCst, SeqCst, |there| there.checked_sub(1)).ok();
    let second = {
        let (queue, is_waiting, there) = (queue.clone(), is_waiting.clone(), there.clone());
        start(nth_cpu(1), 0, move || {
            spin_until(&is_waiting);
            queue.wait_until(|| take(&there));
        })
    };
    let first = {
        let second = second.clone();
        start(nth_cpu(0), 0, move || {
            let mut looks = 0;
            queue.wait_until(|| {
                looks += 1;
                // The first look is before it enters the queue.
                (looks > 1).then(|| {
                    let taken = take(&there);
                    is_waiting.store(true, SeqCst);
                    // It has looked for the last time.
                    let sleeps = || second.entity().activity() == Activity::Uninterruptible;
                    while !sleeps() || second.entity().context().is_running() {
                        core::hint::spin_loop();
                    }
                    there.fetch_add(1, SeqCst);
                    queue.wake_one();
                    taken
                })
            });
        })
    };
    first.join();
    second.join();
}
