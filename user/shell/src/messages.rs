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

/// The text of an error in the words of most systems, without the number that std adds.
pub fn errno_text(error: &io::Error) -> String {
    without_number(&error.to_string())
}

/// The texts of errno values for which musl has words of its own, as scripts and people know them.
const USUAL_TEXTS: &[(i32, &str)] = &[
    (5, "Input/output error"),
    (12, "Cannot allocate memory"),
    (16, "Device or resource busy"),
    (18, "Invalid cross-device link"),
    (24, "Too many open files"),
    (25, "Inappropriate ioctl for device"),
    (29, "Illegal seek"),
    (34, "Numerical result out of range"),
    (36, "File name too long"),
    (40, "Too many levels of symbolic links"),
    (75, "Value too large for defined data type"),
];

/// `text`, of which std's ` (os error N)` may be the end, without it and in the usual words.
fn without_number(text: &str) -> String {
    let Some((words, number)) = text.split_once(" (os error ") else { return text.to_owned() };
    let number: Option<i32> = number.trim_end_matches(')').parse().ok();
    let usual = USUAL_TEXTS.iter().find(|(known, _)| Some(*known) == number);
    // What stands before the errno's own words, if anything, is kept.
    match (usual, words.rsplit_once(": ")) {
        (Some((_, usual)), Some((before, _))) => format!("{before}: {usual}"),
        (Some((_, usual)), None) => (*usual).to_owned(),
        (None, _) => words.to_owned(),
    }
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
    fn errors_have_the_words_of_most_systems() {
        assert_eq!(errno_text(&os_error(16)), "Device or resource busy");
        assert_eq!(errno_text(&os_error(2)), "No such file or directory");
        assert_eq!(without_number("a: b: Resource busy (os error 16)"), "a: b: Device or resource busy");
        assert_eq!(without_number("no errno at all"), "no errno at all");
    }

    #[test]
    fn a_refused_fork_is_told_apart_from_a_refused_program() {
        let refused = |number| Error::from(ErrorKind::FailedToExecuteCommand("./a".into(), os_error(number)));
        assert_eq!(describe(&refused(11)), "can't fork: Resource temporarily unavailable");
        assert_eq!(describe(&refused(8)), "./a: Exec format error");
    }
}
