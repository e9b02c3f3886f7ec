//! `cargo xtask rootfs debian`: an initramfs of Debian's own packages, with nothing of ours in it but `/init`.
//!
//! apt resolves, as if nothing were installed, and fetches into a cache of ours; `dpkg-deb` unpacks. No script of a
//! package runs, so [`tree`] does the little of their work that programs miss. All of it works as an ordinary user.

mod apt;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command_line::Rootfs;
use crate::workspace::{self, BuildLock, RunFolder};
use crate::{progress, setup, userland};

/// What a person gets who names no packages.
pub const USUAL_PACKAGES: &[&str] = &[
    "busybox-static",
    "bash",
    "bsdutils",
    "coreutils",
    "util-linux",
    "procps",
    "psmisc",
    "grep",
    "sed",
    "gawk",
    "findutils",
    "cgroup-tools",
    "numactl",
    "schedtool",
    "stress-ng",
    "strace",
    "rt-tests",
    "time",
    "file",
    "less",
    "htop",
    "python3",
];

/// What no choice can do without: a shell, the users, the terminals, `mount`; and of the packages that Debian calls
/// essential, on which others depend without saying so, those that programs and scripts call. `usr-is-merged` keeps out
/// `usrmerge` and the whole of Perl.
const ALWAYS: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "libc-bin",
    "mount",
    "ncurses-base",
    "sed",
    "tar",
    "usr-is-merged",
    "util-linux",
];

/// Makes the initramfs anew where the packages of today are other ones, and says where it is.
pub fn run(options: &Rootfs) -> Result<u8> {
    setup::for_building()?;
    let _lock = BuildLock::take()?;
    let choice = Choice::of(&options.packages);
    choice.unpack()?;
    let archive = choice.archive()?;
    workspace::replace_file(&last_choice(), choice.packages.join("\n").as_bytes())?;
    println!("{}", archive.display());
    progress::say("`cargo xtask qemu --rootfs debian` boots it");
    Ok(0)
}

/// The initramfs that `cargo xtask rootfs` was last asked for, or that of [`USUAL_PACKAGES`]. The lock is held.
///
/// Errors: see [`usual_with`].
pub fn last() -> Result<PathBuf> {
    let packages = fs::read_to_string(last_choice()).unwrap_or_default();
    let choice = Choice::of(&packages.lines().map(str::to_owned).collect::<Vec<_>>());
    choice.unpack_unless_made()?;
    choice.archive()
}

/// The initramfs of [`USUAL_PACKAGES`] with the folder `host` in it as `guest`, in the folder of the run. The lock is
/// held.
///
/// Errors: there is no apt here, it cannot resolve or fetch, or a package cannot be unpacked.
pub fn usual_with(host: &Path, guest: &str, run: &RunFolder) -> Result<PathBuf> {
    let choice = Choice::of(&[]);
    choice.unpack_unless_made()?;
    let mut tree = tree::pack(&choice.unpacked(), &userland::init()?)?;
    userland::add(&mut tree, host, guest)?;
    run.write("debian.cpio", &tree.archive()?)
}

/// Whether this host has what it takes to get packages.
pub fn is_possible() -> bool {
    apt::PROGRAMS.iter().all(|program| setup::find_program(program).is_some())
}

fn folder() -> PathBuf {
    workspace::kept().join("rootfs")
}

fn last_choice() -> PathBuf {
    folder().join("debian.choice")
}

/// The packages that somebody named, in order, each once.
struct Choice {
    packages: Vec<String>,
}

impl Choice {
    fn of(named: &[String]) -> Self {
        let mut packages: Vec<String> = ALWAYS.iter().map(|name| (*name).to_owned()).collect();
        if named.is_empty() {
            packages.extend(USUAL_PACKAGES.iter().map(|name| (*name).to_owned()));
        } else {
            packages.extend_from_slice(named);
        }
        packages.sort();
        packages.dedup();
        Self { packages }
    }

    /// Where the packages are unpacked.
    fn unpacked(&self) -> PathBuf {
        folder().join(format!("debian-{}", workspace::fingerprint(&[self.packages.join(" ").as_bytes()])))
    }

    /// Resolves, and fetches and unpacks unless just these archives lie there already.
    fn unpack(&self) -> Result<()> {
        let archives = apt::resolve(&folder(), &self.packages)?;
        let (unpacked, key) = (self.unpacked(), archives.join("\n"));
        if workspace::is_made_from(&unpacked, &key) {
            return Ok(());
        }
        let files = apt::fetch(&folder(), &self.packages, &archives)?;
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked).with_context(|| format!("cannot remove {}", unpacked.display()))?;
        }
        apt::unpack(&files, &unpacked)?;
        workspace::mark_made_from(&unpacked, &key)
    }

    /// The archive of what is unpacked and of today's `/init`.
    fn archive(&self) -> Result<PathBuf> {
        let init = userland::init()?;
        let path = self.unpacked().with_extension("cpio");
        workspace::replace_file(&path, &tree::pack(&self.unpacked(), &init)?.archive()?)?;
        Ok(path)
    }

    /// Resolves and unpacks only where nothing of this choice lies yet.
    fn unpack_unless_made(&self) -> Result<()> {
        if workspace::is_made(&self.unpacked()) { Ok(()) } else { self.unpack() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_packages_are_the_same_choice_whatever_their_order() {
        let choice = |names: &[&str]| Choice::of(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(choice(&["less", "file", "less"]).unpacked(), choice(&["file", "less"]).unpacked());
        assert_ne!(choice(&["less"]).unpacked(), choice(&["file"]).unpacked());
    }

    #[test]
    fn whatever_is_chosen_a_shell_and_the_essential_tools_come_with_it() {
        let choice = Choice::of(&["less".to_owned()]);
        for needed in ["bash", "coreutils", "tar"] {
            assert!(choice.packages.iter().any(|name| name == needed), "{needed}");
        }
        assert!(!choice.packages.iter().any(|name| name == "stress-ng"));
        assert!(Choice::of(&[]).packages.iter().any(|name| name == "stress-ng"));
    }
}
