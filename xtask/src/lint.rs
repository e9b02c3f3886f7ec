//! `cargo xtask lint`: formatting, clippy for every target, documentation, and the rules of the house.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::toolchain::{KERNEL_TARGET, USER_TARGET};
use crate::{progress, setup, workspace};

/// Where Rust code lies.
const ROOMS: &[&str] = &["boot", "kernel", "tests", "user", "xtask"];

/// The only places where `unsafe` may be written: the hardware, the heap, and the program that breaks rules on purpose.
const MAY_BE_UNSAFE: &[&str] = &["kernel/machine/", "kernel/memory/", "tests/programs/"];

/// Beyond this a file should become a folder.
const LONGEST_FILE: usize = 600;

/// What must not stay in the code.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "dbg!(", "static mut "];

/// Runs every lint, even after one has failed. The last line is `N passed, N failed`; status 1 if one failed.
pub fn run() -> Result<u8> {
    setup::for_linting()?;
    let warnings = ["--", "-D", "warnings"];
    let clippy = |words: &[&str]| [&["clippy", "--quiet"], words, &warnings].concat().join(" ");
    let lines = [
        ("formatting", "fmt --all --check".to_owned()),
        ("clippy, host", clippy(&["--all-targets"])),
        ("clippy, boot", clippy(&["--release", "--package", "boot", "--all-targets"])),
        ("clippy, kernel", clippy(&["--package", "kernel", "--target", KERNEL_TARGET])),
        ("clippy, test kernel", clippy(&["--package", "kernel", "--target", KERNEL_TARGET, "--features", "test"])),
        (
            "clippy, programs for the guest",
            clippy(&["--target", USER_TARGET, "-p", "init", "-p", "shell", "-p", "tools", "-p", "probe"]),
        ),
        ("documentation, host", "doc --quiet --no-deps".to_owned()),
        (
            "documentation, kernel",
            format!("doc --quiet --no-deps --package kernel --package machine --target {KERNEL_TARGET}"),
        ),
    ];
    let mut failed = 0;
    for (name, line) in &lines {
        let mut cargo: Command = crate::cargo();
        cargo.args(line.split(' ')).env("RUSTDOCFLAGS", "-D warnings");
        verdict(name, progress::run(name, &mut cargo).map(drop), &mut failed);
    }
    verdict("formatting, controllers", controllers_format(), &mut failed);
    verdict("rules of the house", house_rules(), &mut failed);
    println!("{} passed, {failed} failed", lines.len() + 2 - failed);
    Ok(u8::from(failed > 0))
}

fn verdict(name: &str, result: Result<()>, failed: &mut usize) {
    match result {
        Ok(()) => println!("lint: {name} ... ok"),
        Err(error) => {
            *failed += 1;
            println!("lint: {name} ... FAILED: {error:#}");
        }
    }
}

/// `cargo fmt` does not look into macros, and `subsystems!` declares the modules of the controllers.
fn controllers_format() -> Result<()> {
    let files = rust_files(&workspace::root().join("kernel/controllers/src"))?;
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.current_dir(workspace::root()).args(["--check", "--edition", "2024"]).args(files);
    progress::run("formatting, controllers", &mut rustfmt).map(drop)
}

fn house_rules() -> Result<()> {
    let mut broken = Vec::new();
    for room in ROOMS {
        for path in rust_files(&workspace::root().join(room))? {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let path = path.strip_prefix(workspace::root()).unwrap_or(&path);
            broken.extend(rules_broken_by(path, &text));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("\n  {}", broken.join("\n  "))) }
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What is wrong with the file at `path` (from the top of the repository) that holds `text`.
fn rules_broken_by(path: &Path, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let mut say = |line: usize, what: &str| broken.push(format!("{}:{line}: {what}", path.display()));
    let name = path.to_string_lossy();
    if !text.starts_with("//!") {
        say(1, "a file begins with `//!` and what it is for");
    }
    let may_be_unsafe = MAY_BE_UNSAFE.iter().any(|room| name.starts_with(room));
    let is_root = name.ends_with("src/lib.rs") || name.ends_with("src/main.rs");
    if is_root && !may_be_unsafe && !text.contains("#![forbid(unsafe_code)]") {
        say(1, "a crate outside the machine says `#![forbid(unsafe_code)]`");
    }
    let length = text.lines().count();
    if length > LONGEST_FILE {
        say(length, "the file is too long: find the seam and make it a folder");
    }
    // This file names what it looks for.
    if name == "xtask/src/lint.rs" {
        return broken;
    }
    for (index, line) in text.lines().enumerate() {
        // A reference that lives for ever is no mutable static.
        let line = line.replace("'static mut ", "");
        for word in UNFINISHED {
            if line.contains(word) {
                say(index + 1, &format!("`{word}` must not stay in the code"));
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<String> {
        rules_broken_by(Path::new(path), text)
    }

    #[test]
    fn a_file_without_a_head_is_named() {
        assert_eq!(broken("user/init/src/a.rs", "use std::fs;\n").len(), 1);
        assert!(broken("user/init/src/a.rs", "//! What it is for.\n").is_empty());
    }

    #[test]
    fn only_the_machine_and_the_heap_may_leave_out_the_promise_of_safe_code() {
        assert_eq!(broken("kernel/vfs/src/lib.rs", "//! Files.\n").len(), 1);
        assert!(broken("kernel/machine/src/lib.rs", "//! Hardware.\n").is_empty());
        assert!(broken("kernel/vfs/src/lib.rs", "//! Files.\n#![forbid(unsafe_code)]\n").is_empty());
    }

    #[test]
    fn unfinished_work_is_named_with_its_line() {
        let found = broken("kernel/vfs/src/a.rs", "//! A.\nfn a() {\n    todo!()\n}\n");
        assert_eq!(found, ["kernel/vfs/src/a.rs:3: `todo!(` must not stay in the code"]);
    }
}
