//! container: a friendlier face over the files of the container hierarchies. Everything that it does can be done with
//! mkdir, rmdir, echo and cat; which files there are is for the kernel to say.

mod control;
mod figures;
mod screen;
mod settings;
mod top;
mod tree;
mod watch;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process;

use clap::{CommandFactory, Parser, Subcommand};
use serde_json::{Map, Value};

use super::{Failure, Files, Line, Offers, Streams};
use crate::messages::errno_text;
use settings::{Settings, assign};

/// The actions, for completion.
const ACTIONS: &[&str] = &[
    "create", "enter", "freeze", "get", "help", "kill", "list", "move", "remove", "run", "set", "thaw", "top", "watch",
];

/// The actions that become another program, or go on until a key ends them.
pub const PROCESSES: &[&str] = &["enter", "run", "top", "watch"];

/// What can follow `container`: actions, then the options of each, containers, and control files.
pub fn offers(line: &Line<'_>) -> Offers {
    let Some((action, rest)) = line.before.split_first() else { return Offers::only(ACTIONS.iter().copied(), line) };
    if line.word.starts_with('-') {
        let command = Options::command();
        let known = command.get_subcommands().filter(|known| known.get_name() == *action);
        let options = known.flat_map(clap::Command::get_arguments).filter_map(|argument| argument.get_long());
        return Offers::only(options.map(|name| format!("--{name}")), line);
    }
    let path = rest.iter().find(|word| !word.starts_with('-')).map(Path::new);
    match (*action, path) {
        ("help", _) => Offers::only(ACTIONS.iter().copied(), line),
        ("get", Some(path)) => Offers::only(control::files(path), line),
        ("set", Some(path)) => {
            let mut offers = Offers::only(control::files(path).into_iter().map(|file| file + "="), line);
            offers.words.iter_mut().for_each(|(_, finished)| *finished = false);
            offers
        }
        ("move", Some(_)) => Offers { words: Vec::new(), files: Files::None },
        ("run", Some(_)) => Offers::files(line),
        _ => {
            let mounted = tree::hierarchies().unwrap_or_default().into_iter();
            let mut offers =
                Offers::only(mounted.filter_map(|one| one.directory.into_os_string().into_string().ok()), line);
            offers.words.iter_mut().for_each(|(_, finished)| *finished = false);
            Offers { files: Files::Directories, ..offers }
        }
    }
}

/// Makes, shows, changes and removes containers, moves tasks into them, and runs commands in them.
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
        /// Makes the containers above it too, where they are missing
        #[arg(short, long)]
        parents: bool,
        /// Its directory, in a mounted hierarchy
        path: PathBuf,
    },
    /// Runs a command, or a shell, in containers that exist: one of each hierarchy that matters
    Enter {
        /// The containers
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// The command and its arguments, after `--`
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Freezes the tasks of containers, where freezer is bound
    Freeze {
        /// The containers
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Shows control files: those named, or all that can be read
    Get {
        /// Prints JSON
        #[arg(long)]
        json: bool,
        /// The container
        path: PathBuf,
        /// The control files
        files: Vec<String>,
    },
    /// Kills every task in containers and below them
    Kill {
        /// The containers
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Shows hierarchies and their containers as trees: tasks, CPU time, memory, limits
    List {
        /// Prints JSON
        #[arg(long)]
        json: bool,
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
        /// Removes the containers below them too
        #[arg(short, long)]
        recursive: bool,
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
    /// Writes control files, one after the other
    Set {
        /// The container
        path: PathBuf,
        /// What to write
        #[arg(required = true, value_name = "FILE=VALUE")]
        assignments: Vec<String>,
    },
    /// Lets the tasks of frozen containers go on
    Thaw {
        /// The containers
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Shows again and again which containers use the machine most
    Top(top::Options),
    /// Tells what happens to containers as it happens: made, removed, empty, frozen, at a limit
    Watch(watch::Options),
}

pub fn run(arguments: &[String], streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let action = Options::try_parse_from(arguments)?.action.unwrap_or(Action::List { json: false, path: None });
    match action {
        Action::Create { settings, parents, path } => {
            settings::create(&path, &settings, parents)?;
            Ok(0)
        }
        Action::Enter { paths, command } => {
            let shell = ["/bin/sh".to_owned()];
            become_command(&paths, if command.is_empty() { &shell } else { &command })
        }
        Action::Freeze { paths } => tell_each(&paths, streams, |path| control::set_frozen(path, true)),
        Action::Get { json, path, files } => get(&path, &files, json, streams),
        Action::Kill { paths } => tell_each(&paths, streams, |path| control::kill(path)),
        Action::List { json, path } => tree::list(path.as_deref(), json, streams),
        Action::Move { process, path, tasks } => {
            let file = if process { "cgroup.procs" } else { "tasks" };
            tell_each(&tasks, streams, |task| {
                control::write(&path, file, task)
                    .map_err(|error| format!("moving {task} to {} failed: {}", path.display(), errno_text(&error)))
            })
        }
        Action::Remove { recursive, paths } => tell_each(&paths, streams, |path| remove(path, recursive)),
        Action::Run { settings, path, command } => {
            if path.is_dir() {
                settings::configure(&path, &settings)?;
            } else {
                settings::create(&path, &settings, false)?;
            }
            become_command(&[path], &command)
        }
        Action::Set { path, assignments } => {
            assignments.iter().try_for_each(|assignment| assign(&path, assignment))?;
            Ok(0)
        }
        Action::Thaw { paths } => tell_each(&paths, streams, |path| control::set_frozen(path, false)),
        Action::Top(options) => top::run(&options, streams),
        Action::Watch(options) => watch::run(&options, streams),
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

/// Moves to the containers and becomes the command.
fn become_command(paths: &[PathBuf], command: &[String]) -> Result<u8, Failure> {
    for path in paths {
        control::write(path, "tasks", "0")
            .map_err(|error| format!("moving to {} failed: {}", path.display(), errno_text(&error)))?;
    }
    let error = process::Command::new(&command[0]).args(&command[1..]).exec();
    Err(format!("{}: {}", command[0], errno_text(&error)).into())
}

fn remove(path: &Path, recursive: bool) -> Result<(), String> {
    if recursive {
        control::children(path).iter().try_for_each(|child| remove(child, true))?;
    }
    fs::remove_dir(path).map_err(|error| format!("removing {} failed: {}", path.display(), errno_text(&error)))
}

/// Shows the named control files of a container, or all that it lets be read.
fn get(path: &Path, files: &[String], json: bool, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    control::check(path)?;
    let all = if files.is_empty() { control::files(path) } else { files.to_vec() };
    let (mut object, mut status) = (Map::new(), 0);
    for file in &all {
        match control::read(path, file) {
            Ok(text) if json => drop(object.insert(file.clone(), control::as_json(&text))),
            // One value stands alone where one was asked for, as with cat.
            Ok(text) if files.len() == 1 => writeln!(streams.out, "{text}")?,
            Ok(text) if text.contains('\n') => {
                writeln!(streams.out, "{file}:")?;
                text.lines().try_for_each(|line| writeln!(streams.out, "  {line}"))?;
            }
            Ok(text) => writeln!(streams.out, "{file}: {text}")?,
            // Files that are only for writing belong to no answer.
            Err(_) if files.is_empty() => {}
            Err(error) => {
                let path = path.join(file);
                writeln!(streams.err, "container: reading {} failed: {}", path.display(), errno_text(&error))?;
                status = 1;
            }
        }
    }
    if json {
        writeln!(streams.out, "{}", Value::Object(object))?;
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &[&str]) -> (u8, String, String) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let command = crate::commands::find("container").unwrap();
        let status = crate::commands::run(command, &words, &mut out, &mut err);
        (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    /// A directory with files as a container has them.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let path = std::env::temp_dir().join(format!("container-{name}-{}", process::id()));
            fs::create_dir(&path).unwrap();
            files.iter().for_each(|(file, text)| fs::write(path.join(file), text).unwrap());
            Self(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_words_for_completion_are_the_actions() {
        let mut command = Options::command();
        command.build();
        let mut names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        names.sort_unstable();
        assert_eq!(names, ACTIONS);
    }

    #[test]
    fn control_files_and_options_are_offered() {
        let fake = Fake::new("offers", &[("tasks", ""), ("numtasks.limit", ""), ("numtasks.current", "")]);
        let offered = |before: &[&str], word: &str| {
            let mut words = offers(&Line { before, word }).words;
            words.sort();
            words
        };
        let whole = |words: &[&str]| words.iter().map(|word| ((*word).to_owned(), true)).collect::<Vec<_>>();
        assert_eq!(offered(&[], "fr"), whole(&["freeze"]));
        assert_eq!(offered(&["get", fake.path()], "numtasks."), whole(&["numtasks.current", "numtasks.limit"]));
        assert_eq!(offered(&["set", fake.path()], "numtasks.l"), [("numtasks.limit=".to_owned(), false)]);
        assert_eq!(offered(&["create"], "--ta"), whole(&["--tasks"]));
        assert_eq!(offers(&Line { before: &["remove"], word: "/" }).files, Files::Directories);
    }

    #[test]
    fn moving_to_where_no_container_is_tells_of_each_task() {
        let (status, _, told) = call(&["container", "move", "/nonexistent", "1", "2"]);
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
        let (status, _, told) = call(&["container", "create", "--tasks", "4", path.to_str().unwrap()]);
        assert_eq!(status, 1);
        assert!(told.ends_with("no subsystem that limits tasks is bound to this hierarchy\n"), "{told}");
        assert!(!path.exists());
    }

    #[test]
    fn values_are_shown_alone_by_name_and_as_json() {
        let fake = Fake::new("get", &[("tasks", "1\n2\n"), ("x.limit", "5\n"), ("cpus", "0-1\n")]);
        assert_eq!(call(&["container", "get", fake.path(), "x.limit"]).1, "5\n");
        let all = call(&["container", "get", fake.path(), "x.limit", "tasks"]).1;
        assert_eq!(all, "x.limit: 5\ntasks:\n  1\n  2\n");
        let json = call(&["container", "get", "--json", fake.path(), "cpus", "tasks", "x.limit"]).1;
        assert_eq!(json, "{\"cpus\":\"0-1\",\"tasks\":[1,2],\"x.limit\":5}\n");
        let (status, _, told) = call(&["container", "get", fake.path(), "nothing"]);
        assert_eq!(status, 1);
        assert!(told.ends_with("nothing failed: No such file or directory\n"), "{told}");
    }

    #[test]
    fn values_are_set_in_order_and_only_into_files_that_are_there() {
        let fake = Fake::new("set", &[("tasks", ""), ("a", ""), ("b", "")]);
        assert_eq!(call(&["container", "set", fake.path(), "a=1", "b=x=y"]).0, 0);
        assert_eq!(fs::read_to_string(fake.0.join("b")).unwrap(), "x=y\n");
        let (status, _, told) = call(&["container", "set", fake.path(), "c=1", "a=2"]);
        assert_eq!(status, 1);
        assert!(told.contains("/c failed: No such file or directory"), "{told}");
        assert_eq!(fs::read_to_string(fake.0.join("a")).unwrap(), "1\n", "what follows a failure is not done");
    }

    #[test]
    fn what_is_no_container_is_told() {
        let (status, _, told) = call(&["container", "list", "/tmp"]);
        assert_eq!((status, told.as_str()), (1, "container: /tmp is not a container\n"));
        let (status, _, told) = call(&["container", "freeze", "/tmp"]);
        assert_eq!((status, told.as_str()), (1, "container: /tmp is not a container\n"));
    }
}
