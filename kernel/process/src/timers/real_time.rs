//! `RLIMIT_RTTIME`: how long a task of a real-time policy may compute without a call that blocks (getrlimit(2)); and who has
//! run longer than it reserved (`SCHED_FLAG_DL_OVERRUN`, sched_setattr(2)).

use crate::{
    limits::{INFINITY, Limit, Resource},
    process::Process,
    signals::{Signal, SignalInfo, send},
    task::Task,
};
use alloc::sync::Arc;
use base::Credentials;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use sched::Policy;

const MICROSECOND: u64 = 1000;
/// Between two warnings, in µs.
const SECOND: u64 = 1_000_000;

/// What a task had used when it was last seen to have blocked. Only the task itself writes it.
#[derive(Default)]
pub(crate) struct RealTimeUse {
    /// CPU time in ns.
    since: AtomicU64,
    /// How often it had blocked.
    blocked: AtomicU64,
}

impl RealTimeUse {
    /// CPU time since it last blocked, as far as that was seen; `used` and `blocked` are what they are now.
    fn of(&self, used: u64, blocked: u64, counts: bool) -> u64 {
        if self.blocked.swap(blocked, Relaxed) != blocked || !counts {
            self.since.store(used, Relaxed);
        }
        used.saturating_sub(self.since.load(Relaxed))
    }
}

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Nothing,
    /// SIGXCPU, and the next a second later.
    Warning,
    End,
}

fn due(microseconds: u64, limit: Limit) -> Due {
    if limit.hard != INFINITY && microseconds >= limit.hard {
        Due::End
    } else if limit.soft != INFINITY && microseconds >= limit.soft {
        Due::Warning
    } else {
        Due::Nothing
    }
}

/// Whether a thread wants its process to be told when it has run longer than it reserved.
pub(super) fn tells_overruns(process: &Process) -> bool {
    let tells = |task: &Arc<Task>| matches!(task.entity().policy(), Policy::Deadline(own) if own.tells_overruns);
    process.threads().iter().any(tells)
}

/// Sends the running task what is due by now.
pub(super) fn check(task: &Arc<Task>) {
    let process = task.process();
    if task.entity().take_overrun() {
        let _ = send::to_process(process, SignalInfo::kernel(Signal::XCPU));
    }
    let limit = process.limits().get(Resource::RealTimeTime);
    if limit.soft == INFINITY {
        return;
    }
    let counts = task.entity().policy().priority().is_some();
    let used = task.real_time_use.of(task.cpu_time(), task.entity().switches().0, counts);
    match due(used / MICROSECOND, limit) {
        Due::Nothing => {}
        Due::End => send::kill_by(task, Signal::KILL),
        Due::Warning => {
            let later = Limit { soft: (limit.soft + SECOND).min(limit.hard), ..limit };
            // The limit itself moves, as on Linux; raising it so far needs no right.
            let _ = process.set_limit(Resource::RealTimeTime, later, &Credentials::root());
            // The kernel's own signals are never refused.
            let _ = send::to_process(process, SignalInfo::kernel(Signal::XCPU));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_begins_anew_when_the_task_blocks() {
        let spent = RealTimeUse::default();
        assert_eq!(spent.of(500, 0, true), 500);
        assert_eq!(spent.of(700, 1, true), 0);
        assert_eq!(spent.of(900, 1, true), 200);
        assert_eq!(spent.of(1000, 1, false), 0, "no real-time policy");
        assert_eq!(spent.of(1100, 1, true), 100);
    }

    #[test]
    fn a_warning_comes_before_the_end() {
        let limit = Limit { soft: 10, hard: 20 };
        assert_eq!([9, 10, 19, 20].map(|used| due(used, limit)), [Due::Nothing, Due::Warning, Due::Warning, Due::End]);
        assert_eq!(due(u64::MAX, Limit { soft: INFINITY, hard: INFINITY }), Due::Nothing);
    }
}
