//! sh: the shell of the guest, and the container commands that go with it.
//!
//! The language is brush's, bash-compatible, embedded as a library. Called as `sh` it reads commands from a terminal,
//! a string (`-c`), a script or its standard input; called by the name of one of its commands (`/bin/spin` is a link to
//! it) it runs that. All children are forked by the main thread, so that a container that the shell moves into
//! is where they are born.
#![forbid(unsafe_code)]

mod builtins;
mod commands;
mod foreground;
mod interrupt;
mod invocation;
mod jobs;
mod messages;
mod rewrite;
mod session;
mod terminal;

use std::process::ExitCode;

use invocation::{Invocation, Source};
use session::Session;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let name = arguments.first().map(|word| word.rsplit('/').next().unwrap_or(word)).unwrap_or("sh");
    if let Some(command) = commands::find(name) {
        return ExitCode::from(commands::run_as_program(command, &arguments));
    }
    if arguments.get(1).is_some_and(|word| word == "--list") {
        // For who builds the initramfs: the names under which this program is to be found in /bin.
        commands::COMMANDS.iter().for_each(|command| println!("{}", command.name));
        return ExitCode::SUCCESS;
    }
    let invocation = match Invocation::parse(&arguments) {
        Ok(invocation) => invocation,
        Err(message) => {
            eprintln!("sh: {message}");
            return ExitCode::from(2);
        }
    };
    let session = match Session::start(&invocation) {
        Ok(session) => session,
        Err(error) => {
            eprintln!("sh: {error}");
            return ExitCode::FAILURE;
        }
    };
    let status = match &invocation.source {
        Source::Command(text) => session.run_whole(text),
        Source::Script(path) => session.run_script(path),
        Source::Input => terminal::run(session, &invocation),
    };
    ExitCode::from(status)
}
