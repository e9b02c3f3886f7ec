//! Asks apt which archives some packages need, has it fetch them, and has dpkg-deb unpack them.
//!
//! apt is told that nothing is installed, and to keep what it keeps in a folder of ours; it takes from the system only
//! its sources and its package lists, which any user may read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::progress;
use crate::setup::{self, find_program};

/// The machine that Menagerie runs on, whatever the one is that builds it.
const ARCHITECTURE: &str = "amd64";

/// What is asked, and what unpacks.
pub const PROGRAMS: [&str; 2] = ["apt-get", "dpkg-deb"];

/// The names of the archives that `packages` and all they depend on come in.
///
/// Errors: there is no apt, or it knows no such package: its words have been shown then.
pub fn resolve(folder: &Path, packages: &[String]) -> Result<Vec<String>> {
    for program in PROGRAMS {
        ensure!(
            find_program(program).is_some(),
            "there is no {program} here to get Debian's packages: this needs Debian 12 or 13, or a container of it"
        );
    }
    setup::for_asking_apt()?;
    // Of archives that are there already apt would not speak, so it is shown a cache that stays empty.
    let mut apt = apt(folder, &folder.join("apt/empty"))?;
    apt.args(["--print-uris", "install"]).args(packages);
    let output = progress::run("Asking apt what the packages need", &mut apt).context(
        "apt cannot resolve them. If its words above say that it cannot locate a package, \
         run `apt-get update` as root, then the same command again",
    )?;
    let archives = archives_in(&String::from_utf8_lossy(&output));
    ensure!(!archives.is_empty(), "apt names no archive for {}", packages.join(" "));
    Ok(archives)
}

/// Fetches what is not there yet and returns the paths of `archives`.
///
/// Errors: apt cannot fetch them; its words have been shown.
pub fn fetch(folder: &Path, packages: &[String], archives: &[String]) -> Result<Vec<PathBuf>> {
    let cache = folder.join("apt/archives");
    let mut apt = apt(folder, &cache)?;
    apt.args(["--download-only", "install"]).args(packages);
    progress::run("Fetching Debian's packages", &mut apt).context(
        "apt cannot fetch them. If its words above name archives that are not found, its lists are old: \
         run `apt-get update` as root, then the same command again",
    )?;
    let files: Vec<PathBuf> = archives.iter().map(|name| cache.join(name)).collect();
    for file in &files {
        ensure!(file.is_file(), "apt fetched no {}", file.display());
    }
    Ok(files)
}

/// Unpacks the archives, all into `folder`.
pub fn unpack(archives: &[PathBuf], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let script = "folder=$1; shift; for archive; do dpkg-deb --extract \"$archive\" \"$folder\" || exit; done";
    let mut unpack = Command::new("sh");
    unpack.args(["-c", script, "sh"]).arg(folder).args(archives);
    progress::run("Unpacking Debian's packages", &mut unpack).map(drop)
}

/// `apt-get` with all options, to be followed by what it shall do.
fn apt(folder: &Path, archives: &Path) -> Result<Command> {
    let partial = archives.join("partial");
    fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    let apt_folder = folder.join("apt");
    let status = apt_folder.join("status");
    fs::write(&status, "").with_context(|| format!("cannot write {}", status.display()))?;
    let mut apt = Command::new("apt-get");
    apt.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
    for (option, value) in [
        ("APT::Architecture", Path::new(ARCHITECTURE)),
        ("Dir::Cache", &apt_folder),
        ("Dir::Cache::archives", archives),
        ("Dir::State::status", &status),
        ("Dir::State::extended_states", &apt_folder.join("extended_states")),
        // The cache is ours alone, under the lock of xtask; and apt's own user may not write there.
        ("Debug::NoLocking", Path::new("1")),
        ("APT::Sandbox::User", Path::new("root")),
    ] {
        apt.arg("-o").arg(format!("{option}={}", value.display()));
    }
    apt.args(["--quiet=2", "--yes", "--no-install-recommends"]);
    Ok(apt)
}

/// The file names in what `apt-get --print-uris` says: `'URI' FILE SIZE [HASH]`, a line each.
fn archives_in(output: &str) -> Vec<String> {
    let name = |line: &str| {
        let name = line.strip_prefix('\'')?.split_once("' ")?.1.split(' ').next()?;
        name.ends_with(".deb").then(|| name.to_owned())
    };
    let mut names: Vec<String> = output.lines().filter_map(name).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_archives_are_read_and_other_lines_are_not() {
        let output = "Reading package lists...\n\
            'http://deb.debian.org/debian/pool/main/s/sed/sed_4.9-1%2bdeb12u1_amd64.deb' sed_4.9-1+deb12u1_amd64.deb 329092 MD5Sum:9e\n\
            'http://deb.debian.org/debian/pool/main/g/gmp/libgmp10_6.2.1_amd64.deb' libgmp10_2%3a6.2.1_amd64.deb 562588 \n";
        assert_eq!(archives_in(output), ["libgmp10_2%3a6.2.1_amd64.deb", "sed_4.9-1+deb12u1_amd64.deb"]);
    }
}
