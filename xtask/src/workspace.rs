//! Where things lie: the repository, the target folder, and a private folder for each run.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The top of the repository. xtask is always built inside it, by cargo.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` at the top.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// What xtask itself makes and keeps: stripped kernels, images, initramfs, logs.
pub fn kept() -> PathBuf {
    target().join("xtask")
}

/// Held while something is built, so that two xtasks do not write the same file; given back when dropped.
pub struct BuildLock {
    _file: fs::File,
}

impl BuildLock {
    /// Waits for the other xtask, if one is building.
    pub fn take() -> Result<Self> {
        fs::create_dir_all(kept())?;
        let path = kept().join("lock");
        let file = fs::File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

/// A folder for the files of one run (command line, firmware variables), removed when dropped.
///
/// Folders of runs that were killed are removed by the next one.
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes an empty folder of this process's own.
    pub fn create() -> Result<Self> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let runs = kept().join("runs");
        fs::create_dir_all(&runs).with_context(|| format!("cannot create {}", runs.display()))?;
        remove_orphans(&runs);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = runs.join(format!("{}-{number}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into the folder and returns its path.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // A folder that stays is removed by the next run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn remove_orphans(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.split('-').next()).unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            // Somebody else's clean-up may win the race.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A short name for some content, the same for the same bytes.
pub fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hasher = DefaultHasher::new();
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    format!("{:016x}", hasher.finish())
}

/// Whether `file` exists and was made from what `key` describes (see [`mark_made_from`]).
pub fn is_made_from(file: &Path, key: &str) -> bool {
    file.exists() && fs::read_to_string(key_file(file)).is_ok_and(|kept| kept == key)
}

/// Whether `file` exists and was finished, from whatever (see [`mark_made_from`]).
pub fn is_made(file: &Path) -> bool {
    file.exists() && key_file(file).exists()
}

/// Notes what `file` was made from.
pub fn mark_made_from(file: &Path, key: &str) -> Result<()> {
    let path = key_file(file);
    fs::write(&path, key).with_context(|| format!("cannot write {}", path.display()))
}

fn key_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".key");
    PathBuf::from(name)
}

/// Writes `content` so that a reader sees the old file or the new one, and leaves an equal file alone.
pub fn replace_file(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let part = path.with_extension("part");
    fs::write(&part, content).with_context(|| format!("cannot write {}", part.display()))?;
    fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_tell_apart_where_one_part_ends() {
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
        assert_eq!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"ab", b"c"]));
    }
}
