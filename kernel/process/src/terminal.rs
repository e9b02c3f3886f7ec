//! Controlling terminals and job control: which session a terminal belongs to, which group is in front, and what
//! happens to those in the back. The terminals themselves are files (`kernel/filesystems`).

use crate::{
    population::Population,
    process::Process,
    signals::{Signal, SignalInfo, send},
    task::Task,
};
use alloc::sync::Arc;
use base::{Capabilities, Errno, Pid};
use core::{
    any::Any,
    sync::atomic::{AtomicI32, Ordering::Relaxed},
};
use vfs::DeviceNumber;

/// A terminal as sessions see it.
pub trait Terminal: Any + Send + Sync {
    /// The number of its device, for `tty_nr` in /proc.
    fn device(&self) -> DeviceNumber;
    /// The part that this module keeps in it.
    fn job_control(&self) -> &JobControl;
    /// Ends all openings of it, as if the line had been cut for a moment.
    fn hang_up(&self);
}

/// The session and the foreground group of a terminal; written under the tree lock only.
#[derive(Default)]
pub struct JobControl {
    session: AtomicI32,
    foreground: AtomicI32,
}

impl JobControl {
    /// No session has the terminal.
    pub const fn new() -> Self {
        Self { session: AtomicI32::new(0), foreground: AtomicI32::new(0) }
    }

    /// The session that it controls.
    pub fn session(&self) -> Option<Pid> {
        some(self.session.load(Relaxed))
    }

    /// The group that gets its signals and may read.
    pub fn foreground(&self) -> Option<Pid> {
        some(self.foreground.load(Relaxed))
    }

    fn set(&self, session: Option<Pid>, foreground: Option<Pid>) {
        self.session.store(session.unwrap_or_default().raw(), Relaxed);
        self.foreground.store(foreground.unwrap_or_default().raw(), Relaxed);
    }
}

fn some(number: i32) -> Option<Pid> {
    (number != 0).then_some(Pid::new(number))
}

fn is_same(one: &Arc<dyn Terminal>, other: &Arc<dyn Terminal>) -> bool {
    core::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

/// The controlling terminal of `task` (what `/dev/tty` opens); none: `ENXIO`.
pub fn of(task: &Task) -> Result<Arc<dyn Terminal>, Errno> {
    of_process(task.process()).ok_or(Errno::ENXIO)
}

/// The controlling terminal of a process.
pub fn of_process(process: &Process) -> Option<Arc<dyn Terminal>> {
    let kinship = process.kinship();
    if kinship.detached.load(Relaxed) {
        return None;
    }
    process.population().tree().terminal(kinship.session()).cloned()
}

/// What opening a terminal does without `O_NOCTTY`: a session leader without one gets it, if it is free.
pub fn acquire_on_open(task: &Task, terminal: &Arc<dyn Terminal>) {
    // Whoever can't have it just opens it.
    if terminal.job_control().session().is_none() {
        let _ = acquire(task, terminal, false);
    }
}

/// `TIOCSCTTY`. `EPERM` the caller is no session leader or has another terminal; another session has this one, and the
/// caller may not `steal` it (CAP_SYS_ADMIN).
pub fn acquire(task: &Task, terminal: &Arc<dyn Terminal>, steal: bool) -> Result<(), Errno> {
    let kinship = task.process().kinship();
    let session = kinship.session();
    let may_steal = steal && task.credentials().has(Capabilities::SYS_ADMIN);
    let control = terminal.job_control();
    let mut tree = task.population().tree();
    if session != task.pid() {
        return Err(Errno::EPERM);
    }
    if let Some(own) = tree.terminal(session) {
        return if is_same(own, terminal) { Ok(()) } else { Err(Errno::EPERM) };
    }
    let mut robbed = None;
    if let Some(other) = control.session() {
        if !may_steal {
            return Err(Errno::EPERM);
        }
        robbed = tree.set_terminal(other, None);
    }
    kinship.detached.store(false, Relaxed);
    let old = tree.set_terminal(session, Some(terminal.clone()));
    control.set(Some(session), Some(kinship.group()));
    drop(tree);
    drop((robbed, old));
    Ok(())
}

/// Checks that `terminal` is the caller's controlling terminal: `ENOTTY`.
fn check_own(task: &Task, terminal: &Arc<dyn Terminal>) -> Result<(), Errno> {
    if is_own(task, terminal) { Ok(()) } else { Err(Errno::ENOTTY) }
}

/// Whether `terminal` is the caller's controlling terminal.
pub fn is_own(task: &Task, terminal: &Arc<dyn Terminal>) -> bool {
    of(task).is_ok_and(|own| is_same(&own, terminal))
}

/// `TIOCNOTTY`: the caller gives up its terminal; if it leads the session, all of the session do, and the foreground
/// group gets SIGHUP and SIGCONT. `ENOTTY` it is not its terminal.
pub fn release(task: &Task, terminal: &Arc<dyn Terminal>) -> Result<(), Errno> {
    check_own(task, terminal)?;
    if task.process().kinship().session() == task.pid() {
        disown(task.process());
    } else {
        task.process().kinship().detached.store(true, Relaxed);
    }
    Ok(())
}

/// The session that `process` leads loses its terminal, if it has one.
fn disown(process: &Process) {
    let session = process.kinship().session();
    let population = process.population();
    let mut tree = population.tree();
    let Some(terminal) = tree.set_terminal(session, None) else { return };
    let foreground = terminal.job_control().foreground();
    terminal.job_control().set(None, None);
    drop(tree);
    if let Some(group) = foreground {
        send::to_group(population, group, Signal::HUP);
        send::to_group(population, group, Signal::CONT);
    }
}

/// `vhangup(2)`: the caller's controlling terminal, if it has one, is to be opened anew. `EPERM` no CAP_SYS_TTY_CONFIG.
pub fn hang_up_own(task: &Task) -> Result<(), Errno> {
    if !task.credentials().has(Capabilities::SYS_TTY_CONFIG) {
        return Err(Errno::EPERM);
    }
    if let Ok(terminal) = of(task) {
        terminal.hang_up();
    }
    Ok(())
}

/// A process ends: if it leads a session, that loses its terminal.
pub(crate) fn leave_session(process: &Process) {
    if process.kinship().session() == process.pid() {
        disown(process);
    }
}

/// `TIOCGPGRP`: the foreground group, 0 if it is gone. `ENOTTY` it is not the caller's terminal.
pub fn foreground(task: &Task, terminal: &Arc<dyn Terminal>) -> Result<Pid, Errno> {
    check_own(task, terminal)?;
    Ok(terminal.job_control().foreground().unwrap_or_default())
}

/// `TIOCSPGRP`; call [`check_change`] first. `EINVAL` a negative number, `ENOTTY` it is not the caller's terminal, `ESRCH`
/// no such group, `EPERM` a group of another session.
pub fn set_foreground(task: &Task, terminal: &Arc<dyn Terminal>, group: i32) -> Result<(), Errno> {
    if group < 0 {
        return Err(Errno::EINVAL);
    }
    check_own(task, terminal)?;
    let group = Pid::new(group);
    let session = task.process().kinship().session();
    let tree = task.population().tree();
    match tree.session_of_group(group) {
        None => return Err(Errno::ESRCH),
        Some(other) if other != session => return Err(Errno::EPERM),
        Some(_) => {}
    }
    terminal.job_control().set(Some(session), Some(group));
    Ok(())
}

/// `TIOCGSID`. `ENOTTY` it is not the caller's terminal.
pub fn session(task: &Task, terminal: &Arc<dyn Terminal>) -> Result<Pid, Errno> {
    check_own(task, terminal)?;
    terminal.job_control().session().ok_or(Errno::ENOTTY)
}

/// Whether `task` is in the background of this terminal, which is its own.
fn is_background(task: &Task, terminal: &Arc<dyn Terminal>) -> bool {
    let foreground = terminal.job_control().foreground();
    check_own(task, terminal).is_ok()
        && foreground.is_some_and(|foreground| foreground != task.process().kinship().group())
}

fn is_refused(task: &Task, signal: Signal) -> bool {
    task.mask().contains(signal) || task.process().state().actions.lock().ignores(signal)
}

fn is_orphan(task: &Task) -> bool {
    task.population().tree().is_orphaned(task.process().kinship().group(), None)
}

/// Asked before reading from a terminal. Of a background process the group is stopped by SIGTTIN: `EINTR`, and the read
/// starts again when the group goes on. `EIO`: the signal would have no effect.
pub fn check_read(task: &Task, terminal: &Arc<dyn Terminal>) -> Result<(), Errno> {
    if !is_background(task, terminal) {
        return Ok(());
    }
    if is_refused(task, Signal::TTIN) || is_orphan(task) {
        return Err(Errno::EIO);
    }
    send::to_group(task.population(), task.process().kinship().group(), Signal::TTIN);
    Err(Errno::EINTR)
}

/// Asked before changing a terminal, and before writing to it with `TOSTOP`. Of a background process the group is stopped
/// by SIGTTOU: `EINTR`. A process that blocks or ignores the signal may go on. `EIO`: nobody could start the group again.
pub fn check_change(task: &Task, terminal: &Arc<dyn Terminal>) -> Result<(), Errno> {
    if !is_background(task, terminal) || is_refused(task, Signal::TTOU) {
        return Ok(());
    }
    if is_orphan(task) {
        return Err(Errno::EIO);
    }
    send::to_group(task.population(), task.process().kinship().group(), Signal::TTOU);
    Err(Errno::EINTR)
}

/// A key was typed, or the window changed: the foreground group gets `signal`.
pub fn signal_foreground(population: &Population, terminal: &dyn Terminal, signal: Signal) {
    if let Some(group) = terminal.job_control().foreground() {
        send::to_group(population, group, signal);
    }
}

/// The line was cut: the session's leader gets SIGHUP and SIGCONT, the foreground group SIGHUP, and the session has no
/// terminal any more.
pub fn hang_up(population: &Population, terminal: &dyn Terminal) {
    let Some(session) = terminal.job_control().session() else { return };
    let Some(leader) = population.process(session) else { return };
    for signal in [Signal::HUP, Signal::CONT] {
        // The kernel's own signals are never refused.
        let _ = send::to_process(&leader, SignalInfo::kernel(signal));
    }
    disown(&leader);
}
