//! Running one program while reaping everybody else's orphans, and the end of the machine.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use rustix::system::{RebootCommand, reboot};

use crate::console::complain;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
    /// It could not be started at all.
    NotStarted,
}

impl Ending {
    fn of(status: WaitStatus) -> Option<Self> {
        status.exit_status().map(Ending::Exited).or_else(|| status.terminating_signal().map(Ending::Killed))
    }

    /// The status as a shell tells it.
    pub fn status(self) -> i32 {
        match self {
            Ending::Exited(status) => status,
            Ending::Killed(signal) => 128 + signal,
            Ending::NotStarted => 127,
        }
    }
}

/// Starts `program` with just this environment and returns when it has ended, reaping every orphan that ends before.
pub fn run(program: &str, arguments: &[&str], environment: &[(OsString, OsString)]) -> Ending {
    let started = Command::new(program).args(arguments).env_clear().envs(environment.iter().cloned()).spawn();
    let child = match started {
        // The loop below waits for it: as pid 1, init can't leave waiting to `Child`, which knows no orphans.
        Ok(child) => i32::try_from(child.id()).ok().and_then(Pid::from_raw),
        Err(error) => {
            complain(&format!("{program}: {error}"));
            return Ending::NotStarted;
        }
    };
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid) == child => {
                if let Some(ending) = Ending::of(status) {
                    return ending;
                }
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                complain(&format!("waiting for {program}: {error}"));
                return Ending::NotStarted;
            }
        }
    }
}

/// Waits a moment before another try, so that a shell that can't start does not keep the machine busy.
pub fn pause() {
    std::thread::sleep(Duration::from_secs(1));
}

/// Writes everything out and switches the machine off. If the kernel refuses, there is nothing left to do but sleep.
pub fn power_off() -> ! {
    rustix::fs::sync();
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        complain(&format!("the machine can't be powered off: {error}"));
    }
    loop {
        pause();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_command_has_128_and_its_signal_as_status() {
        assert_eq!(Ending::Killed(9).status(), 137);
        assert_eq!(Ending::Exited(3).status(), 3);
        assert_eq!(Ending::NotStarted.status(), 127);
    }

    #[test]
    fn a_program_that_does_not_exist_is_not_started() {
        assert_eq!(run("/nonexistent/program", &[], &[]), Ending::NotStarted);
    }
}
