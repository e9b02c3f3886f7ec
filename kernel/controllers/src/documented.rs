//! The page that lists every control file with the tests that show it is complete, and names only tests that there are.

use crate::world::World;
use container::Dialect::{Cgroup, Container};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::string::{String, ToString};
use std::vec::Vec;

/// From the root of the repository.
const PAGE: &str = "docs/src/control-files.md";

/// The rows: a file, or with a star in its name several, and what shows it.
fn rows(page: &str) -> Vec<(&str, Vec<&str>)> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.map(|(file, rest)| {
        let (_, tests) = rest.rsplit_once(" | ").unwrap();
        (file, tests.split('`').skip(1).step_by(2).collect())
    })
    .collect()
}

fn is_named(file: &str, row: &str) -> bool {
    match row.split_once('*') {
        Some((start, end)) => file.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
        None => file == row,
    }
}

/// The names of all test functions and scenarios below the folder.
fn tests_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let (name, kind) = (path.file_stem().unwrap(), path.extension().unwrap_or_default());
        if path.is_dir() {
            tests_in(&path, found);
        } else if kind == "txt" {
            found.insert(name.to_string_lossy().into_owned());
        } else if kind == "rs" {
            let text = fs::read_to_string(&path).unwrap();
            let functions = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn ")?.split_once('('));
            found.extend(functions.map(|(name, _)| name.to_string()));
            // Tests in the kernel have their names in a table.
            let listed =
                text.lines().filter_map(|line| line.trim_start().strip_prefix("KernelTest::")?.split('"').nth(1));
            found.extend(listed.filter_map(|name| Some(name.rsplit_once("::")?.1.to_string())));
        }
    }
}

#[test]
fn every_control_file_is_in_the_table_with_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join(PAGE)).unwrap();
    let rows = rows(&page);
    let mut registered = BTreeSet::new();
    for dialect in [Container, Cgroup] {
        let world = World::of_dialect(dialect, "all").mkdir("/a");
        registered.extend(["/", "/a"].iter().flat_map(|path| world.files(path)));
    }
    // In the container dialect they are bare.
    let cpuset: Vec<String> =
        registered.iter().filter_map(|file| file.strip_prefix("cpuset.")).map(String::from).collect();
    cpuset.iter().for_each(|bare| assert!(registered.remove(bare), "{bare} is in one dialect only"));
    for file in &registered {
        assert_eq!(rows.iter().filter(|(row, _)| is_named(file, row)).count(), 1, "rows for {file} in {PAGE}");
    }
    let mut tests = BTreeSet::new();
    ["kernel", "tests"].iter().for_each(|folder| tests_in(&root.join(folder), &mut tests));
    for (row, named) in rows {
        assert!(registered.iter().any(|file| is_named(file, row)), "there is no file {row}");
        assert!(!named.is_empty(), "nothing shows {row}");
        named.iter().for_each(|test| assert!(tests.contains(*test), "{row}: there is no test {test}"));
    }
}
