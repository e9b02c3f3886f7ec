//! The plain way to read lines: as the terminal, or the pipe, hands them over.

use std::io::Write;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::{Line, Reader};
use crate::builtins::tell_news;
use crate::interrupt;
use crate::session::{Session, Shell};

/// Reads the standard input, byte by byte: what follows a line belongs to the commands in it.
pub struct Lines;

impl Reader for Lines {
    fn line(&mut self, session: &mut Session, prompt: &str) -> Line {
        let _ = std::io::stderr().write_all(prompt.as_bytes());
        let stdin = rustix::stdio::stdin();
        let mut line = Vec::new();
        loop {
            // Unlike a read, a poll ends at any signal.
            match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], None) {
                Ok(_) => {}
                Err(Errno::INTR) => {
                    session.with(async |shell| interrupt::run_traps(shell).await);
                    if interrupt::happened() {
                        return Line::Interrupted;
                    }
                    continue;
                }
                Err(_) => return Line::End,
            }
            let mut byte = [0];
            match rustix::io::read(stdin, &mut byte) {
                Ok(0) if line.is_empty() => return Line::End,
                Ok(0) => return text(line),
                Ok(_) => line.push(byte[0]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => return Line::End,
            }
            if byte == [b'\n'] && !line.is_empty() {
                return text(line);
            }
        }
    }

    fn after_interrupt(&mut self) {
        // The terminal has shown `^C`.
        let _ = std::io::stderr().write_all(b"\n");
    }
}

fn text(bytes: Vec<u8>) -> Line {
    Line::Text(String::from_utf8_lossy(&bytes).into_owned())
}

/// Tells of jobs that have ended, forgets old interrupts, and makes the prompt of a new command.
pub async fn prompt(shell: &mut Shell) -> String {
    interrupt::run_traps(shell).await;
    tell_news(shell);
    interrupt::forget();
    shell.compose_prompt().await.unwrap_or_else(|_| "# ".to_owned())
}

/// The prompt for the rest of a command.
pub async fn continuation_prompt(shell: &mut Shell) -> String {
    shell.compose_continuation_prompt().await.unwrap_or_else(|_| "> ".to_owned())
}
