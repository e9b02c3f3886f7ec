//! What /proc shows of a task and its process, gathered in one look each.

use crate::{
    process::Process,
    signals::{LARGEST, SIG_DFL, SIG_IGN, Signal, SignalSet},
    task::Task,
};
use core::sync::atomic::Ordering::Relaxed;
use machine::user::Registers;
use sched::Activity;

/// The state of a task as /proc tells it: its letter and its word.
pub type StateName = (char, &'static str);

/// The signals of a task and its process.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignalView {
    /// Wait for the task.
    pub pending: SignalSet,
    /// Wait for any thread of the process.
    pub shared_pending: SignalSet,
    /// Blocked.
    pub blocked: SignalSet,
    /// Ignored.
    pub ignored: SignalSet,
    /// Have a handler.
    pub caught: SignalSet,
    /// How many are queued for all tasks of its user.
    pub queued: u64,
}

impl Task {
    /// What the task is doing.
    pub fn state_name(&self) -> StateName {
        if self.is_exiting() {
            return if self.process().is_zombie() || self.is_leader() { ('Z', "zombie") } else { ('X', "dead") };
        }
        if self.tracing.is_traced() {
            if self.tracing.is_stopped() {
                return ('t', "tracing stop");
            }
        } else if self.counted_stopped.load(Relaxed) {
            return ('T', "stopped");
        }
        if self.entity().is_frozen() {
            return ('D', "disk sleep");
        }
        match self.entity().activity() {
            Activity::Runnable => ('R', "running"),
            Activity::Sleeping => ('S', "sleeping"),
            Activity::Uninterruptible if self.is_kernel_thread() => ('I', "idle"),
            Activity::Uninterruptible => ('D', "disk sleep"),
            Activity::Dead => ('X', "dead"),
        }
    }

    /// The registers of its program where it came into the kernel, and by which call ([`crate::signals::deliver::NO_CALL`] for none). None
    /// while a CPU runs it, unless it asks itself, and for a thread of the kernel.
    pub fn shown_registers(&self) -> Option<(Registers, u64)> {
        let asks_itself = crate::current().is_some_and(|current| core::ptr::eq(&*current, self));
        self.entity().context().user(asks_itself).map(|user| (user.registers, user.call))
    }

    /// Its signals.
    pub fn signal_view(&self) -> SignalView {
        let state = self.process().state();
        let mut view = SignalView { blocked: self.mask(), shared_pending: state.pending.set(), ..Default::default() };
        {
            let own = self.signals.lock();
            view.pending = own.pending.set();
        }
        let actions = state.actions.lock();
        for signal in (1..=LARGEST).filter_map(|number| Signal::new(number.into()).ok()) {
            match actions.get(signal).handler {
                SIG_DFL => {}
                SIG_IGN => view.ignored.insert(signal),
                _ => view.caught.insert(signal),
            }
        }
        view.queued = self.with_belongings(|own| own.share.as_ref().map_or(0, |share| share.account().signals()));
        view
    }

    /// Whether it can gain no more rights by exec (`PR_SET_NO_NEW_PRIVS`).
    pub fn has_no_new_privileges(&self) -> bool {
        self.with_belongings(|own| own.no_new_privileges)
    }
}

impl Process {
    /// The number of the signal that its parent gets at its end; 0 for none.
    pub fn exit_signal(&self) -> i32 {
        self.state().exit_signal.map_or(0, |signal| signal.number().into())
    }
}
