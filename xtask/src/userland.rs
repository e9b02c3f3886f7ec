//! The programs of `user/` and the initramfs made of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::initramfs::Initramfs;
use crate::progress;
use crate::toolchain::USER_TARGET;
use crate::workspace;

/// Folders that programs expect to find.
const FOLDERS: &[&str] = &["/dev", "/etc", "/proc", "/root", "/sbin", "/sys", "/tmp"];

/// What goes into an initramfs beside the programs that are always there.
#[derive(Clone, Copy, Default)]
pub struct Contents<'a> {
    /// What a person asked for.
    pub added: &'a [Addition],
    /// `/bin/probe`, the program that scenarios torment the kernel with.
    pub for_tests: bool,
}

/// Builds the programs, packs them and returns the archive's path.
///
/// Without a person's additions the archive is kept under `target/xtask`; with them it goes to `run`.
pub fn build(contents: &Contents<'_>, run: &workspace::RunFolder) -> Result<PathBuf> {
    let mut tree = Initramfs::default();
    for folder in FOLDERS {
        tree.folder(folder)?;
    }
    programs(&mut tree, contents.for_tests)?;
    let files = workspace::root().join("user/files");
    if files.is_dir() {
        add(&mut tree, &files, "")?;
    }
    for addition in contents.added {
        add(&mut tree, &addition.host, &addition.guest)?;
    }
    let path = match (contents.added, contents.for_tests) {
        ([], false) => workspace::kept().join("initramfs.cpio"),
        ([], true) => workspace::kept().join("initramfs-for-tests.cpio"),
        _ => run.path().join("initramfs.cpio"),
    };
    workspace::replace_file(&path, &tree.archive()?)?;
    Ok(path)
}

/// Builds `init` alone and returns where it lies.
pub fn init() -> Result<PathBuf> {
    Ok(build_packages(&["init"])?.join("init"))
}

/// Builds packages of `user/` and returns the folder where their programs lie.
fn build_packages(names: &[&str]) -> Result<PathBuf> {
    let mut cargo = crate::cargo();
    cargo.args(["build", "--profile", "user", "--target", USER_TARGET]);
    for name in names {
        cargo.args(["--package", name]);
    }
    progress::run("Building the programs for the guest", &mut cargo)?;
    Ok(workspace::target().join(USER_TARGET).join("user"))
}

/// `/init`, `/bin/sh` and `/bin/tools`, and a link for each command that the last two can be called as.
fn programs(tree: &mut Initramfs, for_tests: bool) -> Result<()> {
    let tests: &[&str] = if for_tests { &["probe"] } else { &[] };
    let built = build_packages(&[&["init", "shell", "tools"], tests].concat())?;
    add(tree, &built.join("init"), "/init")?;
    add(tree, &built.join("shell"), "/bin/sh")?;
    if for_tests {
        add(tree, &built.join("probe"), "/bin/probe")?;
    }
    add(tree, &built.join("tools"), "/bin/tools")?;
    for (program, name_in_guest) in [("shell", "sh"), ("tools", "tools")] {
        for name in names_of(&built.join(program))? {
            tree.link(&format!("/bin/{name}"), name_in_guest)?;
        }
    }
    Ok(())
}

/// The names under which a program wants to be called: it prints them, one a line, when asked with `--list`.
fn names_of(program: &Path) -> Result<Vec<String>> {
    let output = Command::new(program)
        .arg("--list")
        .output()
        .with_context(|| format!("cannot start {} on this host", program.display()))?;
    ensure!(output.status.success(), "{} --list failed ({})", program.display(), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).split_ascii_whitespace().map(str::to_owned).collect())
}

/// A file or folder of the host that goes into the initramfs: `HOST=GUEST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    host: PathBuf,
    guest: String,
}

impl std::str::FromStr for Addition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('=') {
            Some((host, guest)) if !host.is_empty() && guest.starts_with('/') => {
                Ok(Self { host: PathBuf::from(host), guest: guest.to_owned() })
            }
            _ => Err("write HOST=GUEST, a path here and an absolute path there, as in ./hello=/bin/hello".to_owned()),
        }
    }
}

/// Adds a file, a link, or a folder with all that is in it.
pub fn add(tree: &mut Initramfs, host: &Path, guest: &str) -> Result<()> {
    let cannot_read = || format!("cannot read {} for the initramfs", host.display());
    // What a person names may be a link to the file that is meant; links inside a folder stay links.
    let about = fs::metadata(host).with_context(cannot_read)?;
    if !about.is_dir() {
        return tree.file(guest, about.permissions().mode(), fs::read(host).with_context(cannot_read)?);
    }
    if !guest.trim_matches('/').is_empty() {
        tree.folder(guest)?;
    }
    let mut entries = fs::read_dir(host).with_context(cannot_read)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_str().with_context(|| format!("{} has a name that is no UTF-8", entry.path().display()))?;
        let inside = format!("{}/{name}", guest.trim_end_matches('/'));
        if entry.file_type()?.is_symlink() {
            let target = fs::read_link(entry.path())?;
            tree.link(&inside, target.to_str().context("a link's target is no UTF-8")?)?;
        } else {
            add(tree, &entry.path(), &inside)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addition_splits_at_the_last_equals_sign() {
        let addition: Addition = "a=b/c=/bin/c".parse().unwrap();
        assert_eq!(addition, Addition { host: PathBuf::from("a=b/c"), guest: "/bin/c".to_owned() });
        assert!("only-here".parse::<Addition>().is_err());
        assert!("a=relative".parse::<Addition>().is_err());
    }
}
