//! `kill`, for processes, process groups and jobs.

use std::io::Write;

use brush_core::builtins::BoxFuture;
use brush_core::traps::{TrapSignal, format_signals};
use brush_core::{CommandArg, ExecutionResult};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process, test_kill_process_group};

use super::{Context, Outcome, jobs, words};
use crate::messages::errno_text;

/// `kill [-s SIGNAL | -SIGNAL] PROCESS|-GROUP|%JOB…`, `kill -l`.
pub fn kill(context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let mut err = context.stderr();
        let arguments = words(arguments);
        let mut rest = arguments.iter().skip(1).map(String::as_str).peekable();
        let mut name = "TERM";
        match rest.peek().copied() {
            Some("-l" | "-L") => {
                let signals = TrapSignal::iterator().filter(|signal| !matches!(signal, TrapSignal::Exit));
                format_signals(context.stdout(), signals)?;
                return Ok(ExecutionResult::success());
            }
            Some("-s" | "-n") => {
                rest.next();
                name = rest.next().unwrap_or_default();
            }
            Some("--") => {}
            Some(word) if word.len() > 1 && word.starts_with('-') => {
                name = &word[1..];
                rest.next();
            }
            _ => {}
        }
        rest.next_if_eq(&"--");
        let Some(signal) = number_of(name) else {
            writeln!(err, "sh: kill: {name}: invalid signal specification")?;
            return Ok(ExecutionResult::general_error());
        };
        if rest.peek().is_none() {
            writeln!(err, "kill: usage: kill [-s SIGNAL | -SIGNAL] PROCESS | %JOB ... or kill -l")?;
            return Ok(ExecutionResult::new(2));
        }
        let mut failed = false;
        for word in rest {
            let targets = if word.starts_with('%') {
                jobs::targets(context.shell, word)
            } else {
                word.parse()
                    .map(|target| vec![target])
                    .map_err(|_| format!("{word}: arguments must be process or job IDs"))
            };
            let sent = targets.and_then(|targets| {
                targets.into_iter().try_for_each(|target| {
                    send(target, signal).map_err(|errno| format!("({target}) - {}", errno_text(&errno.into())))?;
                    if word.starts_with('%') && [Signal::TERM, Signal::HUP].map(Signal::as_raw).contains(&signal) {
                        // A stopped job takes the signal only when it goes on.
                        let _ = send(target, Signal::CONT.as_raw());
                    }
                    Ok(())
                })
            });
            if let Err(message) = sent {
                writeln!(err, "sh: kill: {message}")?;
                failed = true;
            }
        }
        Ok(ExecutionResult::new(u8::from(failed)))
    })
}

/// The number of a signal that is named by number or by name, with or without `SIG`.
fn number_of(name: &str) -> Option<i32> {
    let signal = match name.parse::<i32>() {
        Ok(0) => return Some(0),
        Ok(number) => TrapSignal::try_from(number).ok()?,
        Err(_) => TrapSignal::try_from(name).ok()?,
    };
    matches!(signal, TrapSignal::Signal(_)).then(|| i32::try_from(signal).ok()).flatten()
}

/// Sends a signal to a process, or to a group that is given as a negative number; signal 0 only asks.
fn send(target: i32, signal: i32) -> Result<(), Errno> {
    let Some(pid) = Pid::from_raw(target.saturating_abs()) else { return Err(Errno::SRCH) };
    match (Signal::from_named_raw(signal), target < 0) {
        (Some(signal), false) => kill_process(pid, signal),
        (Some(signal), true) => kill_process_group(pid, signal),
        (None, false) if signal == 0 => test_kill_process(pid),
        (None, true) if signal == 0 => test_kill_process_group(pid),
        (None, _) => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_by_name_and_number() {
        for name in ["9", "KILL", "SIGKILL"] {
            assert_eq!(number_of(name), Some(9), "{name}");
        }
        assert_eq!(number_of("0"), Some(0));
        for name in ["EXIT", "DEBUG", "NOSUCH", "400"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }

    #[test]
    fn nobody_is_not_there() {
        assert_eq!(send(i32::MAX, 0), Err(Errno::SRCH));
        assert_eq!(send(i32::MIN, 0), Err(Errno::SRCH));
    }
}
