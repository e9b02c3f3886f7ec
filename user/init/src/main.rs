//! init: the first program of the guest, pid 1.
//!
//! It mounts what a system needs, makes the console its controlling terminal, starts the shell there, reaps every
//! orphan, and starts the shell again when it ends. When the kernel's command line has `run=COMMAND` (percent-encoded),
//! it runs that command instead, tells `/dev/qemu-exit` how it ended, and powers the machine off.
#![forbid(unsafe_code)]

mod command_line;
mod console;
mod mounts;
mod shell;
mod supervise;

use std::process::exit;

use command_line::CommandLine;
use supervise::Ending;

/// Where commands are looked for, in the shell and below it.
const PATH: &str = "/bin:/sbin:/usr/bin:/usr/sbin";

fn main() {
    if std::process::id() != 1 {
        eprintln!("init: is the first program of the system and can't be started by hand");
        exit(1);
    }
    mounts::mount_all();
    let command_line = CommandLine::of_the_kernel();
    console::open(command_line.run.is_none());
    console::set_size();
    console::set_host_name("menagerie");
    let root_shell = shell::of_root();
    let environment = console::environment(PATH, &root_shell);

    match command_line.run {
        Some(command) => {
            let ending = supervise::run(shell::USUAL, &["-c", &command], &environment);
            if let Err(error) = std::fs::write("/dev/qemu-exit", ending.status().to_string()) {
                eprintln!("init: /dev/qemu-exit: {error}");
            }
            supervise::power_off();
        }
        None => loop {
            match supervise::run(&root_shell, &[], &environment) {
                Ending::NotStarted => supervise::pause(),
                ending => eprintln!("init: the shell ended with status {}; starting it again", ending.status()),
            }
        },
    }
}
