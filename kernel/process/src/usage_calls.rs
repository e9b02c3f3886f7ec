//! `getrusage(2)`, `times(2)` and `prlimit(2)`.

use crate::{
    limits::{Limit, Resource},
    process::Process,
    status::{Usage, ticks},
    task::Task,
};
use alloc::sync::Arc;
use base::{Capabilities, Errno, Pid};

/// Whose use `getrusage(2)` tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UsageOf {
    /// `RUSAGE_SELF`: all threads of the caller's process.
    Process,
    /// `RUSAGE_CHILDREN`: children that were waited for.
    Children,
    /// `RUSAGE_THREAD`: the caller.
    Thread,
}

impl UsageOf {
    /// From the first argument of the call; `EINVAL`.
    pub fn new(who: i32) -> Result<Self, Errno> {
        match who {
            0 => Ok(Self::Process),
            -1 => Ok(Self::Children),
            1 => Ok(Self::Thread),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// `getrusage(2)`.
pub fn usage(task: &Task, who: UsageOf) -> Usage {
    sched::account();
    let peak = || task.space().map_or(0, |space| space.resident().peak * 4);
    match who {
        UsageOf::Process => {
            let mut usage = task.process().usage();
            usage.max_resident = usage.max_resident.max(peak());
            usage
        }
        UsageOf::Children => task.process().children_usage(),
        UsageOf::Thread => Usage { max_resident: peak(), ..task.usage() },
    }
}

/// `times(2)`: user, system, children's user, children's system, in clock ticks.
pub fn times(task: &Task) -> [i64; 4] {
    sched::account();
    let (own, children) = (task.process().usage(), task.process().children_usage());
    [own.user, own.system, children.user, children.system].map(ticks)
}

/// `prlimit(2)`: the limit of a process (0 is the caller's), and if `new` is given, its replacement.
///
/// `ESRCH`; `EPERM` another user's process without CAP_SYS_RESOURCE, or as [`crate::Limits::set`]; `EINVAL`.
pub fn limit(task: &Task, pid: i32, resource: Resource, new: Option<Limit>) -> Result<Limit, Errno> {
    let process: Arc<Process> = match pid {
        0 => task.process().clone(),
        pid => task.population().task(Pid::new(pid)).ok_or(Errno::ESRCH)?.process().clone(),
    };
    let own = task.credentials();
    if !Arc::ptr_eq(&process, task.process()) {
        let other = process.leader().ok_or(Errno::ESRCH)?.credentials();
        let same_user = [other.uid, other.euid, other.suid].iter().all(|&uid| uid == own.uid)
            && [other.gid, other.egid, other.sgid].iter().all(|&gid| gid == own.gid);
        if !same_user && !own.has(Capabilities::SYS_RESOURCE) {
            return Err(Errno::EPERM);
        }
    }
    match new {
        Some(new) => process.set_limit(resource, new, &own),
        None => Ok(process.limits().get(resource)),
    }
}
