//! The control files of a container: finding, reading and writing them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::messages::errno_text;

/// How long `freeze` waits for the last task to stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// An error, told, unless `path` is a container.
pub fn check(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(_) if path.join("tasks").exists() => Ok(()),
        Ok(_) => Err(format!("{} is not a container", path.display())),
        Err(error) => Err(format!("{}: {}", path.display(), errno_text(&error))),
    }
}

/// The containers below `path`, by name.
pub fn children(path: &Path) -> Vec<PathBuf> {
    let mut children: Vec<PathBuf> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    children.sort_unstable();
    children
}

/// The names of all control files of a container, in the kernel's order.
pub fn files(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The text of a control file, without its last newline.
pub fn read(path: &Path, file: &str) -> io::Result<String> {
    let mut text = fs::read_to_string(path.join(file))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// Writes a control file in one piece, since each write is a request. It must be there already.
pub fn write(path: &Path, file: &str, value: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path.join(file))?.write_all(format!("{value}\n").as_bytes())
}

/// Writes a control file; the error says what failed.
pub fn set(path: &Path, file: &str, value: &str) -> Result<(), String> {
    write(path, file, value)
        .map_err(|error| format!("writing {value} to {} failed: {}", path.join(file).display(), errno_text(&error)))
}

/// The name of a subsystem's control file in this container: with the subsystem's name before it, or bare.
pub fn of_subsystem(path: &Path, subsystem: &str, name: &str) -> Option<String> {
    [format!("{subsystem}.{name}"), name.to_owned()].into_iter().find(|file| path.join(file).exists())
}

/// The name of one of the framework's own files in this container's dialect.
pub fn of_framework(path: &Path, name: &str) -> Option<String> {
    [name.to_owned(), format!("cgroup.{name}")].into_iter().find(|file| path.join(file).exists())
}

/// Kills every task in a container and below.
pub fn kill(path: &Path) -> Result<(), String> {
    check(path)?;
    let Some(file) = of_framework(path, "kill") else {
        return Err(format!("{} can't be killed: it is the root of its hierarchy", path.display()));
    };
    write(path, &file, "1").map_err(|error| format!("killing {} failed: {}", path.display(), errno_text(&error)))
}

/// Freezes a container and waits until its tasks stand still, or thaws it.
pub fn set_frozen(path: &Path, frozen: bool) -> Result<(), String> {
    check(path)?;
    let name = path.display();
    let Some(file) = of_subsystem(path, "freezer", "state") else {
        return Err(format!("{name}: freezer is not bound to this hierarchy, or this is its root"));
    };
    let (word, doing) = if frozen { ("FROZEN", "freezing") } else { ("THAWED", "thawing") };
    let failed = |error: &io::Error| format!("{doing} {name} failed: {}", errno_text(error));
    write(path, &file, word).map_err(|error| failed(&error))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = read(path, &file).map_err(|error| failed(&error))?;
        if state == word {
            return Ok(());
        }
        if !frozen {
            return Err(format!("{name} stays frozen: a container above it is"));
        }
        if Instant::now() >= deadline {
            return Err(format!("{name} is still {state}"));
        }
        sleep(Duration::from_millis(10));
    }
}

/// A control file's text as JSON: a number, a text, a list of numbers, or an object where each line has a key.
pub fn as_json(text: &str) -> Value {
    let value = |text: &str| text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from);
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() < 2 {
        return value(text);
    }
    if lines.iter().all(|line| line.parse::<i64>().is_ok()) {
        return lines.into_iter().map(value).collect();
    }
    let pairs: Option<Map<String, Value>> =
        lines.iter().map(|line| line.rsplit_once(' ').map(|(key, text)| (key.to_owned(), value(text)))).collect();
    match pairs {
        // Keys that come twice would be lost.
        Some(pairs) if pairs.len() == lines.len() => Value::Object(pairs),
        _ => lines.into_iter().map(Value::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::as_json;
    use serde_json::json;

    #[test]
    fn texts_become_the_json_that_fits() {
        assert_eq!(as_json("5"), json!(5));
        assert_eq!(as_json("max"), json!("max"));
        assert_eq!(as_json(""), json!(""));
        assert_eq!(as_json("1\n22"), json!([1, 22]));
        assert_eq!(as_json("populated 0\nfrozen 1"), json!({"populated": 0, "frozen": 1}));
        assert_eq!(as_json("a b\na c"), json!(["a b", "a c"]));
        assert_eq!(as_json("18446744073709551615"), json!("18446744073709551615"));
    }
}
