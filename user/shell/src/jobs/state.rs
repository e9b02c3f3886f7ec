//! How a process fares, and the words for it.

use std::fmt::{self, Display, Formatter};

use rustix::process::WaitStatus;

/// How a process fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, or could.
    Running,
    /// This signal has stopped it.
    Stopped(i32),
    /// It has ended with this status.
    Exited(u8),
    /// A signal has ended it.
    Killed {
        /// Which.
        signal: i32,
        /// It has left a core.
        core: bool,
    },
}

/// The bit of a wait status that tells of a core.
const CORE: i32 = 0x80;

/// What the signals that end a process are called, by number.
const NAMES: &[(i32, &str)] = &[
    (1, "Hangup"),
    (2, "Interrupt"),
    (3, "Quit"),
    (4, "Illegal instruction"),
    (5, "Trace/breakpoint trap"),
    (6, "Aborted"),
    (7, "Bus error"),
    (8, "Floating point exception"),
    (9, "Killed"),
    (10, "User defined signal 1"),
    (11, "Segmentation fault"),
    (12, "User defined signal 2"),
    (13, "Broken pipe"),
    (14, "Alarm clock"),
    (15, "Terminated"),
    (16, "Stack fault"),
    (24, "CPU time limit exceeded"),
    (25, "File size limit exceeded"),
    (26, "Virtual timer expired"),
    (27, "Profiling timer expired"),
    (29, "I/O possible"),
    (30, "Power failure"),
    (31, "Bad system call"),
];

impl State {
    /// What a wait status says; nothing if it says nothing.
    pub fn of(status: WaitStatus) -> Option<Self> {
        if status.continued() {
            return Some(State::Running);
        }
        let exited = || status.exit_status().map(|code| State::Exited(u8::try_from(code & 0xff).unwrap_or(255)));
        let killed =
            || status.terminating_signal().map(|signal| State::Killed { signal, core: status.as_raw() & CORE != 0 });
        exited().or_else(killed).or_else(|| status.stopping_signal().map(State::Stopped))
    }

    /// Whether there is no such process any more.
    pub fn has_ended(self) -> bool {
        matches!(self, State::Exited(_) | State::Killed { .. })
    }

    /// The status that the shell gives it.
    pub fn status(self) -> u8 {
        match self {
            State::Running => 0,
            State::Exited(code) => code,
            State::Stopped(signal) | State::Killed { signal, .. } => u8::try_from(128 + signal).unwrap_or(255),
        }
    }

    /// The remark that stands before the command.
    pub fn core_note(self) -> &'static str {
        if matches!(self, State::Killed { core: true, .. }) { "(core dumped) " } else { "" }
    }
}

impl Display for State {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            State::Running => out.write_str("Running"),
            State::Stopped(_) => out.write_str("Stopped"),
            State::Exited(0) => out.write_str("Done"),
            State::Exited(code) => write!(out, "Exit {code}"),
            State::Killed { signal, .. } => match NAMES.iter().find(|(number, _)| number == signal) {
                Some((_, name)) => out.write_str(name),
                None => write!(out, "Unknown signal {signal}"),
            },
        }
    }
}
