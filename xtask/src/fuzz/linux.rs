//! Debian's Linux 6.1: the cloud kernel's package, fetched by `apt-get download` and unpacked under `target`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::make_folder;
use crate::progress;
use crate::setup::{self, find_program};
use crate::workspace;

/// The package that names the newest kernel of the release.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// The rules are written against this version.
const VERSION: &str = "6.1.";

/// The bootable kernel; fetched if it is not there.
///
/// Errors: there is no apt, the release has another version, or the package can't be fetched.
pub fn kernel() -> Result<PathBuf> {
    let folder = workspace::kept().join("linux");
    if let Some(kernel) = unpacked(&folder) {
        return Ok(kernel);
    }
    for program in ["apt-get", "apt-cache", "dpkg-deb"] {
        ensure!(find_program(program).is_some(), "{program} is not here to fetch and unpack Debian's Linux");
    }
    setup::for_asking_apt()?;
    make_folder(&folder)?;
    let package = package()?;
    let mut fetch = Command::new("apt-get");
    progress::run("Fetching Debian's Linux", fetch.args(["download", &package]).current_dir(&folder))?;
    let archive = fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package")?;
    let mut unpack = Command::new("dpkg-deb");
    progress::run("Unpacking Debian's Linux", unpack.arg("--extract").arg(&archive).arg(&folder))?;
    // The archive and the modules are not needed.
    let _ = fs::remove_file(&archive);
    for part in ["lib", "usr"] {
        let _ = fs::remove_dir_all(folder.join(part));
    }
    unpacked(&folder).context("the package has no boot/vmlinuz")
}

fn unpacked(folder: &std::path::Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder.join("boot")).ok()?.flatten();
    let kernel = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"));
    entries.map(|entry| entry.path()).find(kernel)
}

/// `linux-image-6.1.0-56-cloud-amd64`, or whatever the number is today.
fn package() -> Result<String> {
    let words = progress::run("Asking apt for Linux", Command::new("apt-cache").args(["depends", META_PACKAGE]))?;
    let words = String::from_utf8_lossy(&words).into_owned();
    let found = words.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let Some(package) = found else { bail!("apt knows no {META_PACKAGE}: this is not Debian, or its lists are empty") };
    let version = package.trim_start_matches("linux-image-");
    ensure!(version.starts_with(VERSION), "this release has Linux {version}, and the rules follow {VERSION}x");
    Ok(package.to_owned())
}
