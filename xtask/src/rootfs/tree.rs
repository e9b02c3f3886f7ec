//! Unpacked packages become the tree of a system: what their scripts would have done, as far as programs miss it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::initramfs::Initramfs;

/// Folders of the root that are links into `/usr`. Packages of Debian 12 still have files under both names.
const MERGED: &[&str] = &["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// What nobody reads in a guest: a third of all bytes.
const LEFT_OUT: &[&str] = &[
    "/boot",
    "/usr/share/bug",
    "/usr/share/doc",
    "/usr/share/doc-base",
    "/usr/share/info",
    "/usr/share/lintian",
    "/usr/share/locale",
    "/usr/share/man",
];

/// Beginnings of the names of libraries for graphics cards, which a guest has none of. stress-ng brings them along, and
/// they are larger than all the rest.
const FOR_GRAPHICS: &[&str] = &["libLLVM", "libgallium"];

/// What the scripts of base-files and base-passwd copy.
const COPIES: &[(&str, &str)] = &[
    ("/usr/share/base-passwd/passwd.master", "/etc/passwd"),
    ("/usr/share/base-passwd/group.master", "/etc/group"),
    ("/usr/share/base-files/nsswitch.conf", "/etc/nsswitch.conf"),
    ("/usr/share/base-files/profile", "/etc/profile"),
    ("/usr/share/base-files/dot.profile", "/root/.profile"),
    ("/usr/share/base-files/dot.bashrc", "/root/.bashrc"),
];

/// The names that update-alternatives would give to programs, the best first; and `sh`, which would be dash.
const ALTERNATIVES: &[(&str, &str)] = &[
    ("sh", "dash"),
    ("sh", "bash"),
    ("awk", "gawk"),
    ("awk", "mawk"),
    ("which", "which.debianutils"),
    ("w", "w.procps"),
    ("pager", "less"),
    ("vi", "vim.basic"),
    ("vi", "vim.tiny"),
    ("nc", "nc.openbsd"),
    ("nc", "nc.traditional"),
];

/// Debian's own takes no prompt from the environment.
const BASHRC: &str = "# For bash where somebody types: Debian's prompt, unless the environment has another one.\n\
    [ \"$PS1\" = '\\s-\\v\\$ ' ] && PS1='\\u@\\h:\\w\\$ '\n";

/// All that goes into the initramfs. Errors: something cannot be read, or lies where a folder is.
pub fn pack(unpacked: &Path, init: &Path) -> Result<Initramfs> {
    let mut tree = Initramfs::default();
    for folder in ["/dev", "/proc", "/root", "/run", "/sys", "/tmp", "/var/tmp", "/mnt"] {
        tree.folder(folder)?;
    }
    collect(&mut tree, unpacked, "")?;
    for name in MERGED {
        if tree.holds(&format!("/usr/{name}")) {
            tree.link(&format!("/{name}"), &format!("usr/{name}"))?;
        }
    }
    for (from, to) in COPIES {
        let host = unpacked.join(from.trim_start_matches('/'));
        if host.is_file() && !tree.holds(to) {
            tree.file(to, 0o644, fs::read(&host).with_context(|| format!("cannot read {}", host.display()))?)?;
        }
    }
    for (name, program) in ALTERNATIVES {
        let (name, program) = (format!("/usr/bin/{name}"), format!("/usr/bin/{program}"));
        if tree.holds(&program) && !tree.holds(&name) {
            tree.link(&name, &program)?;
        }
    }
    tree.link("/etc/mtab", "../proc/self/mounts")?;
    tree.file("/etc/bash.bashrc", 0o644, BASHRC.as_bytes().to_vec())?;
    tree.file("/init", 0o755, fs::read(init).with_context(|| format!("cannot read {}", init.display()))?)?;
    Ok(tree)
}

/// Adds everything below the folder `host`, which is `guest` in the packages.
fn collect(tree: &mut Initramfs, host: &Path, guest: &str) -> Result<()> {
    let cannot_read = || format!("cannot read {}", host.display());
    let mut entries = fs::read_dir(host).with_context(cannot_read)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_str().with_context(|| format!("{} has a name that is no UTF-8", entry.path().display()))?;
        let inside = format!("{guest}/{name}");
        if LEFT_OUT.contains(&inside.as_str()) || FOR_GRAPHICS.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let (path, host) = (merged(&inside), entry.path());
        let about = entry.metadata()?;
        if about.is_symlink() {
            let target = fs::read_link(&host)?;
            let target = target.to_str().context("a link's target is no UTF-8")?;
            // `/usr/bin/touch` is a link to `/bin/touch` for those who have two folders, and `/bin` is one itself.
            let to_itself = merged(target) == path;
            let of_the_merge = guest.is_empty() && MERGED.contains(&name);
            if !to_itself && !of_the_merge {
                tree.link(&path, target)?;
            }
        } else if about.is_dir() {
            tree.folder(&path)?;
            collect(tree, &host, &inside)?;
        } else {
            let content = fs::read(&host).with_context(|| format!("cannot read {}", host.display()))?;
            tree.file(&path, about.permissions().mode(), content)?;
        }
    }
    Ok(())
}

/// Where an absolute path of a package lies once `/bin` and the others are links into `/usr`.
fn merged(path: &str) -> String {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    if path.starts_with('/') && MERGED.contains(&first) { format!("/usr{path}") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::RunFolder;

    #[test]
    fn folders_of_the_root_move_into_usr_and_nothing_else_does() {
        assert_eq!(merged("/bin/ls"), "/usr/bin/ls");
        assert_eq!(merged("/lib64"), "/usr/lib64");
        assert_eq!(merged("/libexec/x"), "/libexec/x");
        assert_eq!(merged("/usr/bin/ls"), "/usr/bin/ls");
        assert_eq!(merged("bin/ls"), "bin/ls");
    }

    #[test]
    fn a_program_survives_the_link_to_its_other_name() {
        let run = RunFolder::create().unwrap();
        let unpacked = run.path().join("tree");
        fs::create_dir_all(unpacked.join("bin")).unwrap();
        fs::create_dir_all(unpacked.join("usr/bin")).unwrap();
        fs::create_dir_all(unpacked.join("usr/share/doc/touch")).unwrap();
        fs::write(unpacked.join("bin/touch"), "touch").unwrap();
        fs::write(unpacked.join("bin/gawk"), "gawk").unwrap();
        std::os::unix::fs::symlink("/bin/touch", unpacked.join("usr/bin/touch")).unwrap();
        let init = run.write("init", b"init").unwrap();
        let tree = pack(&unpacked, &init).unwrap();
        assert_eq!(tree.content("/usr/bin/touch"), Some(&b"touch"[..]));
        assert_eq!(tree.target("/bin"), Some("usr/bin"));
        assert_eq!(tree.target("/usr/bin/awk"), Some("/usr/bin/gawk"));
        assert_eq!(tree.content("/init"), Some(&b"init"[..]));
        assert!(!tree.holds("/usr/share/doc"));
        assert!(!tree.holds("/sbin"), "a link to a folder that is not there");
    }
}
