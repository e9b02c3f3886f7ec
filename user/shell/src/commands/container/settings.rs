//! Making containers, and what they may be given when they are made.

use std::fs;
use std::path::Path;

use clap::Args;

use super::control::{of_subsystem, set};
use crate::messages::errno_text;

/// What a container can be given by name; any other file by `--set`.
#[derive(Args)]
pub struct Settings {
    /// The CPUs that its tasks may use
    #[arg(long, value_name = "LIST")]
    cpus: Option<String>,
    /// The memory nodes that its tasks may use
    #[arg(long, value_name = "LIST")]
    mems: Option<String>,
    /// How many tasks it may have
    #[arg(long, value_name = "NUMBER")]
    tasks: Option<String>,
    /// How much memory it may have: bytes, with K, M or G behind them if wanted
    #[arg(long, value_name = "BYTES")]
    memory: Option<String>,
    /// Writes VALUE to the control file FILE
    #[arg(long, value_name = "FILE=VALUE")]
    set: Vec<String>,
}

/// Makes the container, with its settings; one that can't have them is removed again.
pub fn create(path: &Path, settings: &Settings, parents: bool) -> Result<(), String> {
    if let Some(parent) = path.parent().filter(|parent| parents && !parent.exists()) {
        let none = Settings { cpus: None, mems: None, tasks: None, memory: None, set: Vec::new() };
        create(parent, &none, true)?;
    }
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
        let Some(file) = of_subsystem(path, "cpuset", name) else { continue };
        let inherited = fs::read_to_string(parent.join(&file)).unwrap_or_default();
        set(path, &file, inherited.trim_end())?;
    }
    Ok(())
}

/// Writes the settings to the files that they stand for.
pub fn configure(path: &Path, settings: &Settings) -> Result<(), String> {
    let file = |subsystem, name| of_subsystem(path, subsystem, name);
    let named = [
        (&settings.cpus, file("cpuset", "cpus"), "places tasks on CPUs"),
        (&settings.mems, file("cpuset", "mems"), "places memory on nodes"),
        (&settings.tasks, file("numtasks", "limit").or_else(|| file("pids", "max")), "limits tasks"),
        (&settings.memory, file("memory", "limit_in_bytes"), "limits memory"),
    ];
    for (value, file, what) in named {
        let Some(value) = value else { continue };
        let file =
            file.ok_or_else(|| format!("{}: no subsystem that {what} is bound to this hierarchy", path.display()))?;
        set(path, &file, value)?;
    }
    settings.set.iter().try_for_each(|assignment| assign(path, assignment))
}

/// Does what `FILE=VALUE` says.
pub fn assign(path: &Path, assignment: &str) -> Result<(), String> {
    let (file, value) = assignment.split_once('=').ok_or_else(|| format!("{assignment}: not FILE=VALUE"))?;
    set(path, file, value)
}
