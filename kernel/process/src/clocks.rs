//! The CPU time of tasks and sleeping until a time.

use crate::{sleep, task::Task};
use base::{Errno, Pid};
use sched::WaitError;

impl Task {
    /// The CPU time that the task has used, in ns.
    pub fn cpu_time(&self) -> u64 {
        sched::account();
        self.entity().user_ns() + self.entity().system_ns()
    }

    /// The CPU time behind a clock number of `clock_getcpuclockid(3)`: of the process, or of one `thread` of the caller's
    /// process; 0 is the caller. `EINVAL` no such task.
    pub fn cpu_clock_of(&self, number: i32, thread: bool) -> Result<u64, Errno> {
        match (number, thread) {
            (0, true) => Ok(self.cpu_time()),
            (0, false) => Ok(self.process().cpu_time()),
            (number, true) => {
                let task = self.population().task(Pid::new(number)).ok_or(Errno::EINVAL)?;
                if task.pid() == self.pid() { Ok(task.cpu_time()) } else { Err(Errno::EINVAL) }
            }
            (number, false) => Ok(self.population().process(Pid::new(number)).ok_or(Errno::EINVAL)?.cpu_time()),
        }
    }

    /// Sleeps until `end` (ns since boot), or, if the call is one that is started again after an interruption, until the
    /// time that it had the first time. `EINTR`.
    pub fn sleep_until(&self, end: u64) -> Result<(), Errno> {
        let now = machine::time::now();
        let end = if end > now { self.deadline_after(end - now) } else { end };
        self.sleep_until_exactly(end)
    }

    /// Sleeps until `end` (ns since boot), whether the call is one that is started again or not. `EINTR`.
    pub fn sleep_until_exactly(&self, end: u64) -> Result<(), Errno> {
        match sched::sleep_until(end) {
            Ok(()) | Err(WaitError::TimedOut) => Ok(()),
            Err(error) => Err(sleep::error(error)),
        }
    }
}

impl crate::process::Process {
    /// The CPU time that its threads have used, in ns.
    pub fn cpu_time(&self) -> u64 {
        sched::account();
        let usage = self.usage();
        usage.user + usage.system
    }
}
