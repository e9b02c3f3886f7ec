//! Out of memory: which process dies, and how the others wait for its memory.
//!
//! The score of a process is the pages that it has in memory, page tables included, plus `oom_score_adj` thousandths of
//! the memory that there is (or of the limit that was met). -1000 and the first process are spared.

use crate::{
    population::{POPULATION, Population},
    process::Process,
    signals::{Signal, send},
    status::End,
    task::{Task, current, release_space},
};
use alloc::{string::String, sync::Arc};
use base::{Capabilities, Credentials, Errno};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::time;
use memory::{
    AddressSpace,
    charge::{self, Relief},
    reclaim::Spaces,
};
use sched::{WaitError, WaitQueue};

/// An adjustment that spares a process.
const SPARED: i32 = -1000;
/// The largest adjustment.
const MOST: i32 = 1000;
/// How long to sleep before looking again whether a process that was killed has gone, ns.
const LOOK_AGAIN: u64 = 10_000_000;

/// When a process was killed last.
static LAST_KILL: AtomicU64 = AtomicU64::new(0);
/// Tasks that wait until there is memory again.
static WAITING: WaitQueue = WaitQueue::new();

/// What came of [`kill_largest`].
pub enum Killed {
    /// This process is to die now: a task of it that was asked for.
    Task(Arc<Task>),
    /// One of them is dying already.
    Earlier,
    /// There is none that may be killed.
    Nobody,
}

/// Kills the process with the highest score among those with a thread that is `inside`. `limit` is the number of pages
/// that adjustments are parts of.
pub fn kill_largest(population: &Population, inside: &dyn Fn(&Task) -> bool, limit: u64) -> Killed {
    let mut worst: Option<(i64, Arc<Process>, Arc<Task>)> = None;
    for process in population.processes() {
        let threads = process.threads();
        let Some(task) = threads.iter().find(|thread| inside(thread)) else { continue };
        // Its memory will come back. It may have let go of it already, and another CPU be freeing it.
        if process.is_ending() {
            return Killed::Earlier;
        }
        let Some(size) = size_of(&process) else { continue };
        let Some(score) = score(&process, size, limit) else { continue };
        if worst.as_ref().is_none_or(|(highest, ..)| score > *highest) {
            worst = Some((score, process.clone(), task.clone()));
        }
    }
    let Some((score, process, task)) = worst else { return Killed::Nobody };
    let mut state = process.state();
    if state.exit.is_some() {
        // It ends by itself, or another CPU was faster.
        return Killed::Earlier;
    }
    send::end_group(&process, &mut state, End::Killed { signal: Signal::KILL, core: false });
    drop(state);
    LAST_KILL.store(time::now(), Relaxed);
    let name = task.name();
    machine::log!(
        "process: out of memory: {} ({}) is killed: {} KiB in memory, score {score} pages, oom_score_adj {}",
        process.pid(),
        String::from_utf8_lossy(name.as_bytes()),
        size_of(&process).unwrap_or(0) * 4,
        process.oom_score_adj.load(Relaxed),
    );
    Killed::Task(task)
}

/// Pages that the process has in memory; none if it has no memory of its own (any more). Call with no lock held.
fn size_of(process: &Process) -> Option<u64> {
    let space = process.threads().iter().find_map(|thread| thread.space().ok())?;
    // If the process ends meanwhile, its memory is freed here: later, somebody would look in vain for room.
    Some(space.size_in_memory())
}

/// The score, in pages; none for a process that is spared.
fn score(process: &Process, size: u64, limit: u64) -> Option<i64> {
    let adjustment = process.oom_score_adj.load(Relaxed);
    let spared = process.is_init() || adjustment == SPARED;
    (!spared).then(|| size as i64 + adjusted(limit, adjustment))
}

/// So many thousandths of the limit.
fn adjusted(limit: u64, adjustment: i32) -> i64 {
    // Small enough that a size can be added.
    (i128::from(limit.min(1 << 62)) * i128::from(adjustment) / 1000) as i64
}

/// What `/proc/PID/oom_score` shows: 0 for one that is spared, else 2/3 of 1000 plus the score in thousandths of all
/// memory.
pub fn shown_score(process: &Process) -> i64 {
    let total = memory::frames::total().total.max(1) as i64;
    let Some(size) = size_of(process) else { return 0 };
    let adjustment = process.oom_score_adj.load(Relaxed);
    if process.is_init() || adjustment == SPARED {
        return 0;
    }
    ((1000 + i64::from(adjustment) + size as i64 * 1000 / total) * 2 / 3).max(0)
}

/// Writes `oom_score_adj`.
///
/// Errors: `EINVAL` not from -1000 to 1000; `EACCES` less than it ever was, without CAP_SYS_RESOURCE.
pub fn adjust(process: &Process, adjustment: i32, who: &Credentials) -> Result<(), Errno> {
    if !(SPARED..=MOST).contains(&adjustment) {
        return Err(Errno::EINVAL);
    }
    let privileged = who.has(Capabilities::SYS_RESOURCE);
    if !privileged && adjustment < process.oom_score_least.load(Relaxed) {
        return Err(Errno::EACCES);
    }
    if privileged {
        process.oom_score_least.store(adjustment, Relaxed);
    }
    process.oom_score_adj.store(adjustment, Relaxed);
    Ok(())
}

/// After a page could not be had: has room made, or waits for some. `false`: the task is to give up. `in_fault`: the page
/// was a page fault's. Call with no lock held.
pub(crate) fn relieve(task: &Arc<Task>, in_fault: bool) -> bool {
    let relief = charge::CHARGER.get().map_or(Relief::NotLimited, |charger| charger.relieve(in_fault));
    match relief {
        Relief::Retry => true,
        Relief::Dying => false,
        Relief::NotLimited => {
            let total = memory::frames::total().total;
            // Only memory on nodes that its page may come from helps it.
            let asked = task.asked_nodes();
            let helps = |other: &Task| other.may_use_any_of(&asked);
            if let Killed::Nobody = kill_largest(task.population(), &helps, total) {
                send::kill_by(task, Signal::KILL);
            }
            sleep(&mut || false, LOOK_AGAIN)
        }
    }
}

/// What a task does on its way to user mode for which the kernel's heap had to grow while memory was short: it stays until
/// others have ended and there is room, or nobody is left who may be killed. Soon after a kill it looks again first: of
/// the process that ended a CPU may hold the address space until it runs something else.
#[inline]
pub(crate) fn make_room(task: &Arc<Task>) {
    if memory::frames::are_short() {
        kill_for_room(task);
    }
}

#[cold]
fn kill_for_room(task: &Arc<Task>) {
    while memory::frames::are_short() {
        let recent = time::now().saturating_sub(LAST_KILL.load(Relaxed)) < LOOK_AGAIN;
        let killed = !recent
            && !matches!(kill_largest(task.population(), &|_| true, memory::frames::total().total), Killed::Nobody);
        if !(recent || killed) || !sleep(&mut || false, LOOK_AGAIN) {
            return;
        }
    }
}

/// Has the running task sleep until `ready`, looking again after each [`wake`], but not longer than `longest` ns. `false`:
/// its process is to die, which ends the sleep.
pub fn sleep(ready: &mut dyn FnMut() -> bool, longest: u64) -> bool {
    let Some(task) = current() else { return true };
    let deadline = time::now().saturating_add(longest);
    let dying = || task.process().state().exit.is_some();
    loop {
        if dying() {
            return false;
        }
        let woken = WAITING.wait_until_interruptible(|| (ready() || dying()).then_some(()), Some(deadline));
        match woken {
            Ok(()) | Err(WaitError::TimedOut) => return !dying(),
            // A signal that does not kill: nobody wakes the task for one that does while this is pending.
            Err(WaitError::Interrupted) if !dying() => {
                let soon = deadline.min(time::now().saturating_add(LOOK_AGAIN));
                let waited = WAITING.wait_until_deadline(|| (ready() || dying()).then_some(()), soon);
                if waited.is_some() || time::now() >= deadline {
                    return !dying();
                }
            }
            Err(WaitError::Interrupted) => return false,
        }
    }
}

/// Has all that [`sleep`] look again. Allowed wherever waking is.
pub fn wake() {
    WAITING.wake_all();
}

/// The address spaces of all processes, for those who look for pages to reclaim.
pub struct AllSpaces;

impl Spaces for AllSpaces {
    fn for_each(&self, visit: &mut dyn FnMut(&AddressSpace) -> bool) {
        let Some(population) = POPULATION.get() else { return };
        for process in population.processes() {
            let Some(space) = process.threads().iter().find_map(|thread| thread.space().ok()) else { continue };
            let more = visit(&space);
            release_space(space);
            if !more {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adjustment_is_thousandths_of_the_limit() {
        assert_eq!(adjusted(1000, 500), 500);
        assert_eq!(adjusted(1000, -1000), -1000);
        assert_eq!(adjusted(u64::MAX, 1000), 1 << 62);
    }
}
