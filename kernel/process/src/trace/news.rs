//! What `wait4(2)` and `waitid(2)` find at the tracees of a process.

use super::ties;
use crate::{
    population::TaskTree,
    process::Process,
    status::{Change, Usage, WaitOptions, WaitTarget},
    task::Task,
    wait::Waited,
};
use alloc::{sync::Arc, vec::Vec};

/// What there is at the tracees that are meant.
pub(crate) enum News {
    /// None is meant.
    NoTracee,
    /// None has anything to tell.
    Nothing,
    /// A tracee has stopped, or has ended and stays as it is.
    Change(Waited),
    /// A thread that has ended, or a process of another parent, was let go; the parent is told of a process.
    End(Waited, Ended),
    /// A child of the waiting process has ended: it is to be reaped.
    Child(Waited),
}

/// What is left to do about an end, without a lock.
pub(crate) enum Ended {
    /// This thread's number is free again.
    Thread(Option<Arc<Task>>),
    /// The parent of this process can wait for it now.
    Process(Arc<Process>),
}

/// Looks at the tracees of `waiter`'s process, with the tree locked.
pub(crate) fn find(
    tree: &mut TaskTree,
    waiter: &Task,
    target: WaitTarget,
    only: Option<&Arc<Process>>,
    options: WaitOptions,
) -> News {
    let own = waiter.pid();
    let tracees: Vec<Arc<Task>> = tree.tracees(own).to_vec();
    let mut found = News::NoTracee;
    for tracee in tracees {
        let process = tracee.process();
        let is_meant = target.includes(tracee.tid(), process.kinship().group())
            && only.is_none_or(|only| Arc::ptr_eq(only, process) && tracee.is_leader());
        let Some(trace) = tracee.tracing.trace().filter(|_| is_meant) else { continue };
        let is_child = process.kinship().parent() == own;
        if options.contains(WaitOptions::NO_THREAD) && !trace.is_by(waiter) && !is_child {
            continue;
        }
        found = News::Nothing;
        let zombie = if tracee.is_leader() { process.state().zombie } else { None };
        let end = zombie.or(trace.state().ended);
        if let Some(end) = end {
            if !options.contains(WaitOptions::EXITED) {
                continue;
            }
            let waited = waited(&tracee, Change::Ended(end));
            if options.contains(WaitOptions::NO_WAIT) {
                return News::Change(waited);
            }
            // One more reference is here, so that nothing is dropped under the lock.
            drop(ties::cut(tree, &tracee));
            if zombie.is_none() {
                return News::End(waited, Ended::Thread(tree.remove_task(tracee.tid())));
            }
            return if is_child { News::Child(waited) } else { News::End(waited, Ended::Process(process.clone())) };
        }
        let mut state = trace.state();
        let Some(stop) = state.stop.as_mut().filter(|stop| stop.is_open() && stop.is_untold) else { continue };
        if !options.contains(WaitOptions::NO_WAIT) {
            stop.is_untold = false;
        }
        let change = Change::Trapped(stop.code);
        drop(state);
        return News::Change(waited(&tracee, change));
    }
    found
}

fn waited(tracee: &Task, change: Change) -> Waited {
    let process = tracee.process();
    let usage: Usage = if tracee.is_leader() {
        let mut usage = process.usage();
        usage.add(&process.children_usage());
        usage
    } else {
        tracee.usage()
    };
    Waited { pid: tracee.tid(), user: tracee.credentials().uid, change, usage }
}
