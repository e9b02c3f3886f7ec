//! Looks at everything in a hierarchy.

use crate::actor::attributes;
use crate::differences;
use crate::errno;
use crate::names::{FILES, Show};
use crate::normal;
use crate::operation::escape;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Adds a line for the directory, each of its files and all below it, in the order of the alphabet.
pub fn directory(top: &str, numbers: &BTreeMap<i32, u32>, state: &mut Vec<String>) {
    below(Path::new(top), numbers, state);
}

fn below(directory: &Path, numbers: &BTreeMap<i32, u32>, state: &mut Vec<String>) {
    let shown = |path: &Path| escape(path.as_os_str().as_bytes());
    let owner = |path: &Path| match fs::symlink_metadata(path) {
        Ok(about) => format!("{:o} {}:{}", about.mode(), about.uid(), about.gid()),
        Err(error) => errno::name(error.raw_os_error().unwrap_or(0)),
    };
    let attributes = attributes(directory).unwrap_or_else(|errno| errno);
    state.push(format!("{} {} [{attributes}]", shown(directory), owner(directory)));
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for entry in entries {
        let kind = if entry.file_type().is_ok_and(|kind| kind.is_dir()) { &mut directories } else { &mut files };
        kind.push(entry.path());
    }
    files.sort();
    directories.sort();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if differences::is_absent(&name) || differences::is_absent(&format!("cpuset.{name}")) {
            continue;
        }
        let known = FILES.iter().find(|file| file.name == name || file.name.strip_prefix("cpuset.") == Some(&*name));
        let text = match known.map(|file| file.show) {
            Some(Show::Nothing) => "write only".to_owned(),
            Some(_) => match fs::read(&path) {
                Ok(text) => escape(&normal::contents(&name, &text, numbers)),
                Err(error) => errno::name(error.raw_os_error().unwrap_or(0)),
            },
            None => "not in the table".to_owned(),
        };
        state.push(format!("{} {} = {text}", shown(&path), owner(&path)));
    }
    directories.iter().for_each(|path| below(path, numbers, state));
}
