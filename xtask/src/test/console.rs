//! The runner's hands and eyes: types into the guest's console and reads what comes back.

use std::io::{Read, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::emulator::Machine;
use crate::tied::Tied;
use crate::workspace::RunFolder;

/// What the shell shows when it waits for a line, set through its environment. It is found in no program's output.
pub const PROMPT: &str = "<<ready>>";

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The text was read.
    Found,
    /// The time is over.
    TimedOut,
    /// The machine ended.
    Ended,
}

/// A machine that runs, with its console in our hands.
pub struct Session {
    /// The machine that was started.
    pub machine: Machine,
    /// Its QEMU.
    pub guest: Tied,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// What was read and not yet taken.
    unread: String,
    /// Bytes of a character that is not yet whole.
    partial: Vec<u8>,
}

impl Session {
    /// Starts the machine.
    pub fn start(machine: Machine, run: &RunFolder) -> Result<Self> {
        let mut guest = machine.start(run, Stdio::piped(), Stdio::piped(), Stdio::inherit())?;
        let input = guest.child().stdin.take().context("QEMU has no input")?;
        let mut from = guest.child().stdout.take().context("QEMU has no output")?;
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { machine, guest, input, output, unread: String::new(), partial: Vec::new() })
    }

    /// Types bytes.
    pub fn press(&mut self, bytes: &[u8]) -> Result<()> {
        self.input.write_all(bytes).and_then(|()| self.input.flush()).context("the machine takes no input any more")
    }

    /// Reads until `text` has come and takes everything up to it, or all there is when it does not come.
    /// Line ends are single newlines.
    pub fn read_until(&mut self, text: &str, patience: Duration) -> (String, Stop) {
        match self.wait_for(text, 0, patience) {
            Ok(end) => {
                let rest = self.unread.split_off(end);
                let mut taken = std::mem::replace(&mut self.unread, rest);
                taken.truncate(end - text.len());
                (taken, Stop::Found)
            }
            Err(stop) => (std::mem::take(&mut self.unread), stop),
        }
    }

    /// Waits until `text` has come after the first `from` bytes of what was read and not taken, and takes nothing.
    /// Returns where the text ends.
    pub fn wait_for(&mut self, text: &str, from: usize, patience: Duration) -> Result<usize, Stop> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(at) = self.unread.get(from..).and_then(|new| new.find(text)) {
                return Ok(from + at + text.len());
            }
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.take_in(&bytes),
                Err(RecvTimeoutError::Timeout) => return Err(Stop::TimedOut),
                Err(RecvTimeoutError::Disconnected) => return Err(Stop::Ended),
            }
        }
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.partial.extend(bytes.iter().filter(|byte| **byte != b'\r'));
        let whole = match std::str::from_utf8(&self.partial) {
            // An end that may become a character waits; anything else that is no UTF-8 is replaced.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.partial.len(),
        };
        let rest = self.partial.split_off(whole);
        self.unread.push_str(&String::from_utf8_lossy(&self.partial));
        self.partial = rest;
    }
}
