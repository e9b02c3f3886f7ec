//! /proc/PID/timers: the POSIX timers of a process.

use super::{task::TaskFiles, written};
use alloc::string::String;
use base::{Errno, Pid};
use core::fmt::Write;
use process::timers::{Notify, TimerView};

/// The timers by number.
pub(super) fn timers(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let task = files.task()?;
    let process = task.process();
    process.timers.view().iter().try_for_each(|timer| write_timer(out, timer, process.pid()))
}

/// One timer, as Linux writes it.
fn write_timer(out: &mut String, timer: &TimerView, process: Pid) -> Result<(), Errno> {
    let (signal, value, how, kind, target) = match timer.notify {
        Notify::Nobody { number, value } => (number, value, "none", "pid", process),
        Notify::Process { signal, value } => (signal.number().into(), value, "signal", "pid", process),
        Notify::Thread { signal, value, thread } => (signal.number().into(), value, "signal", "tid", thread),
    };
    let clock = timer.clock as i32;
    written(write!(
        out,
        "ID: {}\nsignal: {signal}/{value:016x}\nnotify: {how}/{kind}.{target}\nClockID: {clock}\n",
        timer.id
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use process::{signals::Signal, timers::TimerClock};

    #[test]
    fn a_timer_looks_as_on_linux() {
        let notify = Notify::Process { signal: Signal::ALRM, value: 0x1234 };
        let mut out = String::new();
        write_timer(&mut out, &TimerView { id: 3, notify, clock: TimerClock::Monotonic }, Pid::new(77)).unwrap();
        let thread = Notify::Thread { signal: Signal::ALRM, value: 0, thread: Pid::new(78) };
        write_timer(&mut out, &TimerView { id: 4, notify: thread, clock: TimerClock::BootTime }, Pid::new(77)).unwrap();
        let nobody = Notify::Nobody { number: 99, value: 5 };
        write_timer(&mut out, &TimerView { id: 5, notify: nobody, clock: TimerClock::RealTime }, Pid::new(77)).unwrap();
        assert_eq!(
            out,
            "ID: 3\nsignal: 14/0000000000001234\nnotify: signal/pid.77\nClockID: 1\n\
             ID: 4\nsignal: 14/0000000000000000\nnotify: signal/tid.78\nClockID: 7\n\
             ID: 5\nsignal: 99/0000000000000005\nnotify: none/pid.77\nClockID: 0\n"
        );
    }
}
