//! The console as controlling terminal and standard files, and the environment that programs start with.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write;

use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{LocalModes, OptionalActions, OutputModes, Winsize, isatty, tcgetattr, tcsetattr, tcsetwinsize};

const CONSOLE: &str = "/dev/console";

/// What names the size of the terminal. Programs are to ask the terminal instead: it may change.
const SIZE: [&str; 2] = ["LINES", "COLUMNS"];

/// Makes the console the standard files and, in a session of init's own, the controlling terminal.
///
/// With `interactive` false nothing is echoed and output goes out byte for byte, without a carriage return added.
pub fn open(interactive: bool) {
    if let Ok(console) = OpenOptions::new().read(true).write(true).open(CONSOLE) {
        let _ = (dup2_stdin(&console), dup2_stdout(&console), dup2_stderr(&console));
    }
    // Pid 1 may lead its session already; the ioctl tells whether the terminal is ours.
    let _ = setsid();
    let stdin = rustix::stdio::stdin();
    if !isatty(stdin) {
        return;
    }
    if let Err(error) = ioctl_tiocsctty(stdin) {
        complain(&format!("{CONSOLE} can't be the controlling terminal: {error}"));
    }
    if !interactive && let Ok(mut modes) = tcgetattr(stdin) {
        modes.output_modes.remove(OutputModes::OPOST);
        modes.local_modes.remove(LocalModes::ECHO);
        if let Err(error) = tcsetattr(stdin, OptionalActions::Now, &modes) {
            complain(&format!("{CONSOLE} can't be made transparent: {error}"));
        }
    }
}

/// Tells the console how large the terminal at its other end is: `LINES` and `COLUMNS` of the kernel's command line. A
/// serial line can't tell by itself.
pub fn set_size() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let (Some(rows), Some(columns)) = (number(SIZE[0]), number(SIZE[1])) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        if let Err(error) = tcsetwinsize(rustix::stdio::stdin(), size) {
            complain(&format!("{CONSOLE} has no size: {error}"));
        }
    }
}

/// Tells of something that went wrong: in the kernel's log if it can be written, else on the standard error.
pub fn complain(message: &str) {
    let in_log = File::options().write(true).open("/dev/kmsg").and_then(|mut log| writeln!(log, "init: {message}"));
    if in_log.is_err() {
        eprintln!("init: {message}");
    }
}

/// Names the machine, unless the kernel's command line or an earlier init did.
pub fn set_host_name(name: &str) {
    let uname = rustix::system::uname();
    if matches!(uname.nodename().to_bytes(), b"" | b"(none)" | b"localhost")
        && let Err(error) = rustix::system::sethostname(name.as_bytes())
    {
        complain(&format!("the host name can't be set: {error}"));
    }
}

/// What the kernel gave init, and what a program expects besides. Goes to root's home directory on the way.
pub fn environment(path: &str, shell: &str) -> Vec<(OsString, OsString)> {
    let home = "/root";
    let directory = if std::env::set_current_dir(home).is_ok() { home } else { "/" };
    let mut environment: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| name != "HOME" && name != "PWD" && !SIZE.iter().any(|size| name == size))
        .collect();
    environment.push(("HOME".into(), home.into()));
    environment.push(("PWD".into(), directory.into()));
    let defaults = [("PATH", path), ("TERM", "xterm"), ("SHELL", shell), ("USER", "root"), ("LOGNAME", "root")];
    for (name, value) in defaults {
        if !environment.iter().any(|(known, _)| known == name) {
            environment.push((name.into(), value.into()));
        }
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_gets_a_home_and_a_path() {
        let environment = environment("/bin", "/bin/sh");
        for name in ["HOME", "PATH", "TERM", "SHELL"] {
            assert_eq!(environment.iter().filter(|(known, _)| known == name).count(), 1, "{name}");
        }
    }
}
