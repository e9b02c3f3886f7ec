//! What the shell says when something fails: `sh: ` and the words that other shells use.

use std::io;

use brush_core::extensions::{ErrorFormatter, ShellExtensions, ShellExtensionsImpl};
use brush_core::{Error, ErrorKind, Shell};

/// The shell's extensions: brush with our messages.
pub type Extensions = ShellExtensionsImpl<Messages>;

/// Formats brush's errors.
#[derive(Clone, Default)]
pub struct Messages;

impl ErrorFormatter for Messages {
    fn format_error(&self, error: &Error, _shell: &Shell<impl ShellExtensions>) -> String {
        format!("sh: {}\n", describe(error))
    }
}

/// The builtins whose input and output errors can only come from writing their output.
const WRITERS: &[&str] = &["echo", "printf", "pwd", "type", "help", "history"];

/// What happened, without the shell's name.
pub fn describe(error: &Error) -> String {
    match error.kind() {
        ErrorKind::CommandNotFound(name) => format!("{name}: command not found"),
        // The only call behind this that can be told to try again is the fork.
        ErrorKind::FailedToExecuteCommand(_, cause) if cause.kind() == io::ErrorKind::WouldBlock => {
            format!("can't fork: {}", errno_text(cause))
        }
        ErrorKind::FailedToExecuteCommand(name, cause) => format!("{name}: {}", errno_text(cause)),
        ErrorKind::FailedSourcingFile(path, cause) => format!("{}: {}", path.display(), errno_text(cause)),
        ErrorKind::RedirectionFailure(path, cause) => format!("{path}: {}", without_number(cause)),
        ErrorKind::IoError(cause) => errno_text(cause),
        ErrorKind::BuiltinError(cause, name) => match cause.as_io_error() {
            Some(cause) if WRITERS.contains(&name.as_str()) => format!("write error: {}", errno_text(cause)),
            Some(cause) => format!("{name}: {}", errno_text(cause)),
            None => format!("{name}: {}", without_number(&cause.to_string())),
        },
        ErrorKind::ParseError(cause, _) => cause.to_string(),
        kind => without_number(&kind.to_string()),
    }
}

/// The text of an error without the number that std adds: `No such file or directory`.
pub fn errno_text(error: &io::Error) -> String {
    without_number(&error.to_string())
}

/// `text` up to std's ` (os error N)`.
fn without_number(text: &str) -> String {
    text.split_once(" (os error ").map_or(text, |(words, _)| words).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os_error(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    #[test]
    fn a_refused_write_is_told_as_other_shells_tell_it() {
        let inner = Error::from(ErrorKind::IoError(os_error(28)));
        let error = Error::from(ErrorKind::BuiltinError(Box::new(inner), "echo".into()));
        assert_eq!(describe(&error), "write error: No space left on device");
    }

    #[test]
    fn a_refused_fork_is_told_apart_from_a_refused_program() {
        let refused = |number| Error::from(ErrorKind::FailedToExecuteCommand("./a".into(), os_error(number)));
        assert_eq!(describe(&refused(11)), "can't fork: Resource temporarily unavailable");
        assert_eq!(describe(&refused(8)), "./a: Exec format error");
    }
}
