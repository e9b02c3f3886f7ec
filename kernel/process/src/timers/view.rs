//! What /proc shows of a process's POSIX timers.

use super::{Notify, ProcessTimers, TimerClock};

/// A POSIX timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerView {
    /// Its number.
    pub id: i32,
    /// Who is told.
    pub notify: Notify,
    /// What it follows.
    pub clock: TimerClock,
}

impl ProcessTimers {
    /// The POSIX timers, by number.
    pub fn view(&self) -> alloc::vec::Vec<TimerView> {
        let state = self.state.lock();
        let timers = state.iter().flat_map(|state| &state.posix);
        timers.map(|(&id, timer)| TimerView { id, notify: timer.notify, clock: timer.clock }).collect()
    }
}
