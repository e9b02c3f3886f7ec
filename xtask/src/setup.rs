//! Checks what xtask needs on this host and installs what is missing: parts of the Rust toolchain, QEMU, OVMF.
//!
//! Says what it does before it does it. Where it cannot help itself, the error names the command to type.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::emulator::{self, QEMU};
use crate::progress;
use crate::shape::Firmware;
use crate::toolchain::{KERNEL_TARGET, Part, Toolchain, USER_TARGET};

/// Where apt keeps its package lists.
const PACKAGE_LISTS: &str = "/var/lib/apt/lists";

/// What building the kernel, its images and its programs needs.
const FOR_BUILDING: &[Part] = &[
    Part::Component("rust-src"),
    Part::Component("llvm-tools"),
    Part::Target(KERNEL_TARGET),
    Part::Target(USER_TARGET),
];

/// What the lints need beside that.
const FOR_LINTS: &[Part] = &[Part::Component("clippy"), Part::Component("rustfmt")];

/// The toolchain, with everything that building needs.
pub fn for_building() -> Result<Toolchain> {
    with_parts(FOR_BUILDING)
}

/// Everything that building and the lints need.
pub fn for_linting() -> Result<()> {
    with_parts(&all_parts()).map(drop)
}

/// Every part of a toolchain that some command needs.
pub fn all_parts() -> Vec<Part> {
    [FOR_BUILDING, FOR_LINTS].concat()
}

fn with_parts(wanted: &[Part]) -> Result<Toolchain> {
    let toolchain = Toolchain::find()?;
    let missing = toolchain.missing(wanted);
    if missing.is_empty() {
        return Ok(toolchain);
    }
    for words in rustup_lines(&missing) {
        let line = format!("rustup {}", words.join(" "));
        if find_program("rustup").is_none() {
            bail!(
                "the Rust toolchain in {} lacks parts, and there is no rustup to add them.\n\
                   Install rustup (https://rustup.rs) and run `{line}`, then the same command again",
                toolchain.sysroot().display()
            );
        }
        progress::say(&format!("the Rust toolchain lacks parts; running `{line}`"));
        let mut rustup = Command::new("rustup");
        progress::run("Adding to the Rust toolchain", rustup.args(&words).current_dir(crate::workspace::root()))?;
    }
    match toolchain.missing(wanted).as_slice() {
        [] => Ok(toolchain),
        missing => bail!(
            "rustup added its parts to another toolchain than the one in use ({}): missing {missing:?}",
            toolchain.sysroot().display()
        ),
    }
}

/// The arguments of `rustup` that add `missing`.
fn rustup_lines(missing: &[Part]) -> Vec<Vec<&'static str>> {
    let mut components = vec!["component", "add"];
    let mut targets = vec!["target", "add"];
    for part in missing {
        match part {
            Part::Component(name) => components.push(name),
            Part::Target(name) => targets.push(name),
        }
    }
    [components, targets].into_iter().filter(|words| words.len() > 2).collect()
}

/// QEMU, and OVMF if the firmware asks for it.
pub fn for_booting(firmware: Firmware) -> Result<()> {
    let mut packages = Vec::new();
    if find_program(QEMU).is_none() {
        packages.push("qemu-system-x86");
    }
    if firmware == Firmware::Uefi && emulator::find_ovmf().is_none() {
        packages.push("ovmf");
    }
    if packages.is_empty() { Ok(()) } else { install(&packages) }
}

/// apt's package lists, where there are none: on a machine that was just set up, apt knows no package.
pub fn for_asking_apt() -> Result<()> {
    let lists = std::fs::read_dir(PACKAGE_LISTS).into_iter().flatten().flatten();
    if lists.into_iter().any(|list| list.file_name().to_string_lossy().contains("_Packages")) {
        return Ok(());
    }
    let Some(with_sudo) = as_root() else {
        bail!("apt has no package lists. Run `apt-get update` as root, then the same command again")
    };
    progress::say("apt has no package lists; running `apt-get update`");
    apt("Fetching the package lists", &[with_sudo, &["apt-get", "update"]].concat())
}

/// What comes before a command that root must run; nothing to be done without sudo.
fn as_root() -> Option<&'static [&'static str]> {
    if rustix::process::geteuid().is_root() {
        return Some(&[]);
    }
    find_program("sudo").map(|_| ["sudo"].as_slice())
}

fn install(packages: &[&str]) -> Result<()> {
    let wanted = packages.join(" and ");
    if find_program("apt-get").is_none() {
        bail!(
            "{wanted} (Debian's names) must be installed. Do so with this system's package manager, \
               then run the same command again"
        );
    }
    let Some(with_sudo) = as_root() else {
        bail!(
            "{wanted} must be installed. Run `apt-get install {}` as root, then the same command again",
            packages.join(" ")
        );
    };
    let update = [with_sudo, &["apt-get", "update"]].concat();
    let install = [with_sudo, &["apt-get", "install", "--yes", "--no-install-recommends"], packages].concat();
    progress::say(&format!("{wanted} must be installed; running `{}`", install.join(" ")));
    // Package lists that are a little old are fine, so a failure of the update alone is not the end.
    if let Err(error) = apt("Updating the package lists", &update) {
        progress::say(&format!("{error:#}"));
    }
    apt("Installing packages", &install)
}

fn apt(what: &str, words: &[&str]) -> Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    if *program == "sudo" {
        // sudo may ask for the password, so it gets the terminal.
        let status = command.status()?;
        return if status.success() { Ok(()) } else { bail!("{what}: `{}` failed ({status})", words.join(" ")) };
    }
    progress::run(what, &mut command).map(drop)
}

/// A program in `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file: &PathBuf| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_become_at_most_two_calls_of_rustup() {
        let missing = [Part::Component("rust-src"), Part::Target("a"), Part::Target("b")];
        assert_eq!(rustup_lines(&missing), [vec!["component", "add", "rust-src"], vec!["target", "add", "a", "b"]]);
        assert!(rustup_lines(&[]).is_empty());
    }
}
