//! Setting the time of day, and all that waits for a time of it.
//!
//! What waits by itself keeps a time since 1970 and is set anew (POSIX timers, timer files). A call that sleeps until such a
//! time is interrupted and started again, so that it computes anew how long that is.

use crate::{population::Population, task::Task};
use base::Errno;
use core::sync::atomic::Ordering::SeqCst;
use machine::time;

/// The task's sleeps until this is dropped are until a time of day.
pub struct Follower<'a>(&'a Task);

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        self.0.follows_wall_clock.store(false, SeqCst);
    }
}

impl Task {
    /// Says that the call of the task, the current one, is about to look at the time of day and sleep until another: it ends
    /// with `EINTR` when that is set, and has to be one that is started again then.
    pub fn follow_wall_clock(&self) -> Follower<'_> {
        self.follows_wall_clock.store(true, SeqCst);
        Follower(self)
    }
}

/// Sets the time of day to so many nanoseconds since 1970. `EINVAL` it would have been before 1970 at boot.
pub fn set(population: &Population, now: u64) -> Result<(), Errno> {
    time::set_epoch(now.checked_sub(time::now()).ok_or(Errno::EINVAL)?);
    for process in population.processes() {
        process.timers.wall_clock_was_set();
        let follows = |task: &&alloc::sync::Arc<Task>| task.follows_wall_clock.load(SeqCst);
        process.threads().iter().filter(follows).for_each(|task| task.call_attention());
    }
    vfs::wall_clock_was_set();
    Ok(())
}
