//! `wait4(2)` and `waitid(2)`: what children have to tell.

use crate::{
    exit,
    process::{Process, ProcessState},
    signals::{Signal, SignalInfo},
    status::{Change, Usage, WaitOptions, WaitTarget},
    task::Task,
    trace::news::{self, Ended, News},
};
use alloc::sync::Arc;
use base::{Errno, Pid, Uid};

/// What a wait found.
#[derive(Clone, Debug)]
pub struct Waited {
    /// The child.
    pub pid: Pid,
    /// Its real user.
    pub user: Uid,
    /// What happened to it.
    pub change: Change,
    /// What it and its own waited-for children have used.
    pub usage: Usage,
}

impl Waited {
    /// The `siginfo_t` of `waitid(2)`.
    pub fn info(&self) -> SignalInfo {
        let (code, status) = self.change.code_and_status();
        let detail = crate::signals::Detail::Child {
            process: self.pid,
            user: self.user,
            status,
            user_ticks: crate::status::ticks(self.usage.user),
            system_ticks: crate::status::ticks(self.usage.system),
        };
        SignalInfo { signal: Signal::CHLD, code, detail }
    }
}

/// Waits for a change of a child of `task`'s process; if `only` is given, of none but this one, whoever has its number.
/// `None`: with `NO_HANG`, none has anything to tell now.
///
/// `ECHILD` no child is meant; `EINTR` a signal came. Locks: none may be held.
pub fn wait(
    task: &Arc<Task>,
    target: WaitTarget,
    only: Option<&Arc<Process>>,
    options: WaitOptions,
) -> Result<Option<Waited>, Errno> {
    let look = || match find(task, target, only, options) {
        Found::Change(waited, rest) => Some(Ok((Some(waited), rest))),
        Found::NoChild => Some(Err(Errno::ECHILD)),
        Found::Nothing if options.contains(WaitOptions::NO_HANG) => Some(Ok((None, Rest::Nothing))),
        Found::Nothing => None,
    };
    let found = task.process().news.wait_until_interruptible(look, None).map_err(|_| Errno::EINTR)?;
    let (waited, rest) = found?;
    match rest {
        Rest::Nothing => {}
        Rest::Reaped(leader) => exit::released(leader),
        Rest::Told(child) => exit::tell_parent_of_end(&child),
    }
    Ok(waited)
}

enum Found {
    /// A change, and what is left to do about it.
    Change(Waited, Rest),
    /// Children are meant, but none has anything to tell.
    Nothing,
    /// No child is meant.
    NoChild,
}

/// What is done without a lock.
enum Rest {
    Nothing,
    /// This task was reaped, the leader of a child or a tracee, and is let go.
    Reaped(Option<Arc<Task>>),
    /// This tracee's parent can wait for it now.
    Told(Arc<Process>),
}

fn find(waiter: &Task, target: WaitTarget, only: Option<&Arc<Process>>, options: WaitOptions) -> Found {
    let process = waiter.process();
    let mut tree = process.population().tree();
    let mut any = false;
    let mut reaped = None;
    for child in tree.children(process.pid()) {
        if !target.includes(child.pid(), child.kinship().group()) {
            continue;
        }
        // Another child may have the number by now.
        if only.is_some_and(|only| !Arc::ptr_eq(only, child)) {
            continue;
        }
        let mut state = child.state();
        let is_clone = state.exit_signal != Some(Signal::CHLD);
        if !options.contains(WaitOptions::ALL) && is_clone != options.contains(WaitOptions::CLONE) {
            continue;
        }
        any = true;
        let shown = match state.tracer {
            None => options,
            // Its stops and its end are found below, among the tracees.
            Some(tracer) if tracer == process.pid() => options - WaitOptions::EXITED - WaitOptions::STOPPED,
            // Its end is the tracer's first.
            Some(_) => options - WaitOptions::EXITED,
        };
        let Some(change) = take_change(&mut state, shown) else { continue };
        drop(state);
        let leader = tree.task(child.pid());
        let mut usage = child.usage();
        usage.add(&child.children_usage());
        let user = leader.map(|leader| leader.credentials().uid).unwrap_or_default();
        let waited = Waited { pid: child.pid(), user, change, usage };
        if matches!(change, Change::Ended(_)) && !options.contains(WaitOptions::NO_WAIT) {
            reaped = Some(waited);
            break;
        }
        return Found::Change(waited, Rest::Nothing);
    }
    if reaped.is_none() && !tree.tracees(process.pid()).is_empty() {
        match news::find(&mut tree, waiter, target, only, options) {
            News::NoTracee => {}
            News::Nothing => any = true,
            News::Change(waited) => return Found::Change(waited, Rest::Nothing),
            News::End(waited, Ended::Thread(thread)) => return Found::Change(waited, Rest::Reaped(thread)),
            News::End(waited, Ended::Process(child)) => return Found::Change(waited, Rest::Told(child)),
            News::Child(waited) => reaped = Some(waited),
        }
    }
    match reaped {
        Some(waited) => {
            process.state().children.add(&waited.usage);
            let leader = tree.remove_task(waited.pid);
            let gone = tree.remove_process(waited.pid);
            drop(tree);
            drop(gone);
            Found::Change(waited, Rest::Reaped(leader))
        }
        None if any => Found::Nothing,
        None => Found::NoChild,
    }
}

/// The change of a child that these options ask for; a stop or continuation is taken unless `NO_WAIT` is among them.
fn take_change(state: &mut ProcessState, options: WaitOptions) -> Option<Change> {
    if let Some(end) = state.zombie {
        return options.contains(WaitOptions::EXITED).then_some(Change::Ended(end));
    }
    let wanted = match state.change? {
        Change::Stopped(_) => WaitOptions::STOPPED,
        Change::Continued => WaitOptions::CONTINUED,
        Change::Ended(_) | Change::Trapped(_) => return None,
    };
    if !options.contains(wanted) {
        return None;
    }
    if options.contains(WaitOptions::NO_WAIT) { state.change } else { state.change.take() }
}
