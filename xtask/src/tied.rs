//! Processes that cannot outlive xtask: whatever ends xtask, Ctrl-C or `kill -9`, ends them too.
//!
//! The kernel of the host does this (`PR_SET_PDEATHSIG`) for a process that asks for it between fork and exec. So
//! xtask starts itself under the hidden name `tied`, asks, and becomes the program in question.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// A command that runs `program` tied to this process.
pub fn command(program: &str) -> Result<Command> {
    let xtask = std::env::current_exe().context("cannot find xtask's own program")?;
    let mut command = Command::new(xtask);
    command.arg("tied").arg(std::process::id().to_string()).arg(program);
    Ok(command)
}

/// The other side: ties this process to `parent` and becomes `words`. Returns only if that is impossible.
pub fn become_program(parent: u32, words: &[OsString]) -> Result<()> {
    let (program, arguments) = words.split_first().context("no program to start")?;
    // SIGTERM lets QEMU give the terminal back.
    set_parent_process_death_signal(Some(Signal::TERM)).context("cannot tie a process to its parent")?;
    let now = getppid().map(|pid| pid.as_raw_nonzero().get());
    ensure!(now == i32::try_from(parent).ok(), "xtask ended before {} started", program.display());
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// A child that is killed when this value is dropped.
pub struct Tied {
    child: Child,
}

impl Tied {
    /// Takes over a child that was started with [`command`].
    pub fn new(child: Child) -> Self {
        Self { child }
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the end and returns the status, or `None` once `deadline` has passed and the child is killed.
    pub fn wait_until(&mut self, deadline: Option<Instant>) -> Result<Option<i32>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                // Killed by a signal: as a shell reports it.
                use std::os::unix::process::ExitStatusExt;
                return Ok(Some(status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1)));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.kill();
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the child at once.
    pub fn kill(&mut self) {
        // Both fail only if the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Tied {
    fn drop(&mut self) {
        self.kill();
    }
}
