//! container: a friendlier face over the files of the container hierarchies. Everything that it does can be done with
//! mkdir, rmdir, echo and cat.

mod tree;

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process;

use clap::{Args, Parser, Subcommand};

use super::{Failure, Streams};
use crate::messages::errno_text;

/// Words that follow `container`, for completion.
pub const WORDS: &[&str] = &["create", "list", "move", "remove", "run"];

/// Makes, shows and removes containers, moves tasks into them, and runs commands in them.
#[derive(Parser)]
#[command(name = "container")]
pub struct Options {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Makes a container; where cpus and mems are not given, they are its parent's
    Create {
        #[command(flatten)]
        settings: Settings,
        /// Its directory, in a mounted hierarchy
        path: PathBuf,
    },
    /// Shows hierarchies, their containers and how many tasks are in each
    List {
        /// Where to begin; all hierarchies that are mounted if it is missing
        path: Option<PathBuf>,
    },
    /// Moves tasks into a container
    Move {
        /// Moves whole processes, with all their threads
        #[arg(short, long)]
        process: bool,
        /// The container
        path: PathBuf,
        /// The numbers of tasks; 0 is the caller
        #[arg(required = true)]
        tasks: Vec<String>,
    },
    /// Removes containers that have neither tasks nor children
    Remove {
        /// The containers
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Runs a command in a container, which is made if it does not exist
    Run {
        #[command(flatten)]
        settings: Settings,
        /// The container
        path: PathBuf,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

#[derive(Args)]
struct Settings {
    /// The CPUs that its tasks may use
    #[arg(long, value_name = "LIST")]
    cpus: Option<String>,
    /// The memory nodes that its tasks may use
    #[arg(long, value_name = "LIST")]
    mems: Option<String>,
    /// How many tasks it may have
    #[arg(long, value_name = "NUMBER")]
    tasks: Option<String>,
    /// Writes VALUE to the control file FILE
    #[arg(long, value_name = "FILE=VALUE")]
    set: Vec<String>,
}

pub fn run(arguments: &[String], streams: &mut Streams<'_>) -> Result<u8, Failure> {
    match Options::try_parse_from(arguments)?.action.unwrap_or(Action::List { path: None }) {
        Action::Create { settings, path } => {
            create(&path, &settings)?;
            Ok(0)
        }
        Action::List { path } => tree::list(path.as_deref(), streams),
        Action::Move { process, path, tasks } => {
            let file = if process { "cgroup.procs" } else { "tasks" };
            tell_each(&tasks, streams, |task| {
                write_control(&path, file, task)
                    .map_err(|error| format!("moving {task} to {} failed: {}", path.display(), errno_text(&error)))
            })
        }
        Action::Remove { paths } => tell_each(&paths, streams, |path| {
            fs::remove_dir(path).map_err(|error| format!("removing {} failed: {}", path.display(), errno_text(&error)))
        }),
        Action::Run { settings, path, command } => {
            if path.is_dir() {
                configure(&path, &settings)?
            } else {
                create(&path, &settings)?
            }
            write_control(&path, "tasks", "0")
                .map_err(|error| format!("moving to {} failed: {}", path.display(), errno_text(&error)))?;
            let error = process::Command::new(&command[0]).args(&command[1..]).exec();
            Err(format!("{}: {}", command[0], errno_text(&error)).into())
        }
    }
}

/// Does `work` for each; tells what fails and goes on.
fn tell_each<T>(
    items: &[T],
    streams: &mut Streams<'_>,
    work: impl Fn(&T) -> Result<(), String>,
) -> Result<u8, Failure> {
    let mut status = 0;
    for item in items {
        if let Err(message) = work(item) {
            writeln!(streams.err, "container: {message}")?;
            status = 1;
        }
    }
    Ok(status)
}

/// Makes the container, with its settings; one that can't have them is removed again.
fn create(path: &Path, settings: &Settings) -> Result<(), String> {
    fs::create_dir(path).map_err(|error| format!("creating {} failed: {}", path.display(), errno_text(&error)))?;
    let whole = inherit(path, settings).and_then(|()| configure(path, settings));
    if whole.is_err() {
        let _ = fs::remove_dir(path);
    }
    whole
}

/// Gives a new container of cpuset's hierarchy the CPUs and nodes of its parent; without any it could hold no task.
fn inherit(path: &Path, settings: &Settings) -> Result<(), String> {
    let Some(parent) = path.parent() else { return Ok(()) };
    for (name, given) in [("cpus", &settings.cpus), ("mems", &settings.mems)] {
        if given.is_some() {
            continue;
        }
        let Some(file) = control_file(path, "cpuset", name) else { continue };
        let inherited = fs::read_to_string(parent.join(&file)).unwrap_or_default();
        set(path, &file, inherited.trim_end())?;
    }
    Ok(())
}

fn configure(path: &Path, settings: &Settings) -> Result<(), String> {
    let named = [
        ("cpuset", "cpus", &settings.cpus),
        ("cpuset", "mems", &settings.mems),
        ("numtasks", "limit", &settings.tasks),
    ];
    for (subsystem, name, value) in named {
        let Some(value) = value else { continue };
        let file = control_file(path, subsystem, name)
            .ok_or_else(|| format!("{}: {subsystem} is not bound to this hierarchy", path.display()))?;
        set(path, &file, value)?;
    }
    for assignment in &settings.set {
        let (file, value) = assignment.split_once('=').ok_or_else(|| format!("{assignment}: not FILE=VALUE"))?;
        set(path, file, value)?;
    }
    Ok(())
}

/// The name of a subsystem's control file in this container: with the subsystem's name before it, or bare.
fn control_file(path: &Path, subsystem: &str, name: &str) -> Option<String> {
    [format!("{subsystem}.{name}"), name.to_owned()].into_iter().find(|file| path.join(file).exists())
}

fn set(path: &Path, file: &str, value: &str) -> Result<(), String> {
    write_control(path, file, value)
        .map_err(|error| format!("writing {value} to {} failed: {}", path.join(file).display(), errno_text(&error)))
}

/// Writes a control file in one piece, since each write is a request. It must be there already.
fn write_control(path: &Path, file: &str, value: &str) -> std::io::Result<()> {
    fs::OpenOptions::new().write(true).open(path.join(file))?.write_all(format!("{value}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &str) -> (u8, String) {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let command = crate::commands::find("container").unwrap();
        let status = crate::commands::run(command, &words, &mut out, &mut err);
        (status, String::from_utf8(err).unwrap())
    }

    #[test]
    fn moving_to_where_no_container_is_tells_of_each_task() {
        let (status, told) = call("container move /nonexistent 1 2");
        assert_eq!(status, 1);
        assert_eq!(
            told,
            "container: moving 1 to /nonexistent failed: No such file or directory\n\
             container: moving 2 to /nonexistent failed: No such file or directory\n"
        );
    }

    #[test]
    fn a_container_that_cannot_have_its_settings_is_not_left_behind() {
        let path = std::env::temp_dir().join(format!("container-test-{}", process::id()));
        let (status, told) = call(&format!("container create --tasks 4 {}", path.display()));
        assert_eq!(status, 1);
        assert!(told.ends_with("numtasks is not bound to this hierarchy\n"), "{told}");
        assert!(!path.exists());
    }
}
