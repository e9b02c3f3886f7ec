//! Commands of ours: each a builtin, or a program in /bin that is a link to the shell, or both.
//!
//! A command is added by its file, its line in `COMMANDS`, and nothing else: `help`, completion and the links in the
//! initramfs come from the list.

mod container;
mod memory;
mod mount;
mod power;
mod processes;
mod spin;
mod system;
mod taskset;
mod umount;

use std::io::{self, Write};

use clap::CommandFactory;

use crate::messages::errno_text;

/// How a command is offered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// A builtin, so that it works where no process can be made; and a program, for whom has no shell.
    Builtin,
    /// A program: it is a process to look at and to move.
    Program,
}

/// One command.
pub struct Command {
    /// The name it is called by.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// How it is offered.
    pub home: Home,
    /// What can follow its name, for completion.
    pub offers: fn(&Line<'_>) -> Offers,
    /// Its help text.
    pub usage: fn() -> String,
    /// Runs it with its whole argument list.
    run: fn(&[String], &mut Streams<'_>) -> Result<u8, Failure>,
}

/// The words after a command's name, up to the one that is to be completed.
pub struct Line<'a> {
    /// Those before it.
    pub before: &'a [&'a str],
    /// What there is of it.
    pub word: &'a str,
}

/// Which files a word may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Any.
    All,
    /// Directories only.
    Directories,
    /// It is no path.
    None,
}

/// What a word may become.
#[derive(Debug, PartialEq, Eq)]
pub struct Offers {
    /// Whole words, and whether each is complete.
    pub words: Vec<(String, bool)>,
    /// And files.
    pub files: Files,
}

impl Offers {
    /// Any file, and no other word.
    pub fn files(_line: &Line<'_>) -> Self {
        Self { words: Vec::new(), files: Files::All }
    }

    /// The words among these that begin as the line's, and any file.
    pub fn words(words: &[&str], line: &Line<'_>) -> Self {
        Self { files: Files::All, ..Self::only(words.iter().copied(), line) }
    }

    /// The words among these that begin as the line's, and no file.
    pub fn only<T: Into<String>>(words: impl IntoIterator<Item = T>, line: &Line<'_>) -> Self {
        let words = words.into_iter().map(Into::into).filter(|word: &String| word.starts_with(line.word));
        Self { words: words.map(|word| (word, true)).collect(), files: Files::None }
    }
}

/// Where a command writes.
pub struct Streams<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

/// Why a command failed.
pub enum Failure {
    /// It was called wrongly, or for its help.
    Usage(Box<clap::Error>),
    /// What happened, for a person.
    Told(String),
    /// Its output can't be written.
    Output(io::Error),
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Failure::Usage(Box::new(error))
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure::Told(message)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

fn usage<Options: CommandFactory>() -> String {
    Options::command().render_help().to_string()
}

/// All commands, by name.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "container",
        summary: "makes, shows, changes and removes containers, moves tasks, runs commands in them",
        home: Home::Builtin,
        offers: container::offers,
        usage: usage::<container::Options>,
        run: container::run,
    },
    Command {
        name: "free",
        summary: "shows the memory of the machine and of each node",
        home: Home::Builtin,
        offers: Offers::files,
        usage: usage::<memory::Options>,
        run: memory::run,
    },
    Command {
        name: "mount",
        summary: "mounts a file system, as a hierarchy of containers; alone, lists what is mounted",
        home: Home::Builtin,
        offers: mount::offers,
        usage: usage::<mount::Options>,
        run: mount::run,
    },
    Command {
        name: "poweroff",
        summary: "switches the machine off",
        home: Home::Builtin,
        offers: Offers::files,
        usage: usage::<power::PowerOff>,
        run: power::power_off,
    },
    Command {
        name: "ps",
        summary: "lists processes, with their CPUs and containers",
        home: Home::Builtin,
        offers: |line| Offers::words(&["--containers", "--threads"], line),
        usage: usage::<processes::Options>,
        run: processes::run,
    },
    Command {
        name: "reboot",
        summary: "starts the machine anew",
        home: Home::Builtin,
        offers: Offers::files,
        usage: usage::<power::Reboot>,
        run: power::reboot,
    },
    Command {
        name: "spin",
        summary: "burns CPU time and tells on which CPUs; touches memory and tells on which nodes",
        home: Home::Program,
        offers: |line| Offers::words(&["--memory", "--quiet"], line),
        usage: usage::<spin::Options>,
        run: spin::run,
    },
    Command {
        name: "taskset",
        summary: "shows or sets the CPUs that a process, or a command, may use",
        home: Home::Program,
        offers: |line| Offers::words(&["--cpu-list", "--pid"], line),
        usage: usage::<taskset::Options>,
        run: taskset::run,
    },
    Command {
        name: "umount",
        summary: "unmounts file systems",
        home: Home::Builtin,
        offers: umount::offers,
        usage: usage::<umount::Options>,
        run: umount::run,
    },
    Command {
        name: "uptime",
        summary: "tells how long the machine has run and how busy it was",
        home: Home::Builtin,
        offers: Offers::files,
        usage: usage::<system::Options>,
        run: system::uptime,
    },
];

/// The command called `name`.
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// The commands that are builtins.
pub fn builtins() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(|command| command.home == Home::Builtin)
}

impl Command {
    /// Whether it must be a process of its own with these arguments: it becomes another program, or needs the terminal.
    pub fn needs_process(&self, arguments: &[String]) -> bool {
        let becomes_another = |word: &String| container::PROCESSES.contains(&word.as_str());
        self.home == Home::Program || self.name == "container" && arguments.get(1).is_some_and(becomes_another)
    }
}

/// Runs a command and tells what failed; returns its status.
pub fn run(command: &Command, arguments: &[String], out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let mut streams = Streams { out, err };
    let outcome = (command.run)(arguments, &mut streams).and_then(|status| {
        streams.out.flush()?;
        Ok(status)
    });
    match outcome {
        Ok(status) => status,
        Err(Failure::Usage(error)) => {
            let told = if error.use_stderr() { &mut streams.err } else { &mut streams.out };
            let _ = write!(told, "{error}");
            if error.use_stderr() { 2 } else { 0 }
        }
        Err(Failure::Told(message)) => {
            let _ = writeln!(streams.err, "{}: {message}", command.name);
            1
        }
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 141,
        Err(Failure::Output(error)) => {
            let _ = writeln!(streams.err, "{}: write error: {}", command.name, errno_text(&error));
            1
        }
    }
}

/// Runs a command as the program that it was called as; returns its status.
pub fn run_as_program(command: &Command, arguments: &[String]) -> u8 {
    run(command, arguments, &mut io::stdout(), &mut io::stderr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_each_has_help() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
        for command in COMMANDS {
            assert!((command.usage)().contains("Usage"), "{}", command.name);
        }
    }

    #[test]
    fn a_wrong_call_is_told_and_has_status_2() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let words = ["umount".to_owned(), "--nonsense".to_owned()];
        assert_eq!(run(find("umount").unwrap(), &words, &mut out, &mut err), 2);
        assert!(String::from_utf8(err).unwrap().contains("--nonsense"));
        assert!(out.is_empty());
    }
}
