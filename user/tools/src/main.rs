//! tools: the small programs of the guest (`ls`, `cat`, `sed`, …) as one program that goes by many names.
//!
//! The name it is called by (`/bin/ls` is a link to it) says which tool runs; `tools NAME ARGUMENTS…` works too, and
//! `tools --list` prints all names. The tools are uutils' crates with their English messages built in; only `grep`
//! (in `grep.rs`) is put together here, from ripgrep's libraries.
#![forbid(unsafe_code)]

mod grep;
mod table;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::exit;

use table::TOOLS;

fn main() {
    uucore::panic::preserve_inherited_sigpipe();
    uucore::panic::mute_sigpipe_panic();
    let mut arguments: Vec<OsString> = uucore::args_os().collect();
    let mut name = called_name(&arguments);
    if table::find(&name).is_none() && arguments.len() > 1 {
        uucore::set_utility_is_second_arg();
        arguments.remove(0);
        name = called_name(&arguments);
    }
    if name == "--list" {
        let mut out = std::io::stdout().lock();
        exit(i32::from(TOOLS.iter().try_for_each(|tool| writeln!(out, "{}", tool.name)).is_err()));
    }
    let Some(tool) = table::find(&name) else {
        eprintln!("tools: no tool is called '{name}'; `tools --list` prints those there are");
        exit(127);
    };
    if let Err(error) = uucore::locale::setup_localization(tool.texts) {
        eprintln!("{name}: the built-in messages are unreadable: {error}");
        exit(99);
    }
    let code = (tool.run)(arguments);
    if let Err(error) = std::io::stdout().flush() {
        eprintln!("{name}: write error: {}", uucore::error::strip_errno(&error));
        exit(if code == 0 { 1 } else { code });
    }
    exit(code);
}

/// The last component of the first argument: the name that this program was called by.
fn called_name(arguments: &[OsString]) -> String {
    let Some(first) = arguments.first() else { return String::new() };
    Path::new(first).file_name().unwrap_or(first).to_string_lossy().into_owned()
}
