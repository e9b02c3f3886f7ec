//! Bad input for every control file of a hierarchy: the files are found by listing, so a new one is covered by itself.

use libc::*;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Error, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longer than any file takes.
const TOO_LONG: usize = 1 << 20;
/// What no file understands, but those that take any text.
const BAD: [&[u8]; 9] = [
    b"zarbage",
    b"-99999",
    b"99999999999999999999999999",
    b"0x",
    b"1 2 3 z",
    b"\xff\xfe\x80\x01",
    b"\x00binary",
    b" \t\n",
    &[b' '; 4096],
];
/// With what a file may refuse a text.
const REFUSALS: [i32; 8] = [EINVAL, ERANGE, E2BIG, EOVERFLOW, EACCES, EPERM, EBUSY, ENOSPC];

/// Counts what was tried, and says what was wrong.
#[derive(Default)]
struct Verdict {
    tried: u32,
    wrong: u32,
}

impl Verdict {
    fn check(&mut self, right: bool, what: impl FnOnce() -> String) {
        self.tried += 1;
        if !right {
            self.wrong += 1;
            println!("wrong: {}", what());
        }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, path: &Path, what: &str, found: T, wanted: T) {
        self.check(found == wanted, || format!("{}: {what}: {found:?} instead of {wanted:?}", path.display()));
    }
}

/// One write; its errno, or 0 if all bytes were taken. -1 is a part of them.
fn write(file: &File, text: &[u8]) -> i32 {
    // SAFETY: bytes with their length.
    outcome(unsafe { libc::write(file.as_raw_fd(), text.as_ptr().cast(), text.len()) }, text.len())
}

/// A write of one byte from where nothing is.
fn write_nothing(file: &File) -> i32 {
    // SAFETY: the kernel must refuse the address, which is the thing tested.
    outcome(unsafe { libc::write(file.as_raw_fd(), 8 as *const c_void, 1) }, 1)
}

fn outcome(result: isize, wanted: usize) -> i32 {
    match usize::try_from(result) {
        Ok(count) => -i32::from(count != wanted),
        Err(_) => Error::last_os_error().raw_os_error().unwrap_or(-1),
    }
}

/// What the file shows, or its errno.
fn text(file: &File) -> Result<Vec<u8>, i32> {
    let mut shown = Vec::new();
    let mut piece = [0; 65_536];
    loop {
        match file.read_at(&mut piece, shown.len() as u64) {
            Ok(0) => return Ok(shown),
            Ok(count) => shown.extend(&piece[..count]),
            Err(error) => return Err(error.raw_os_error().unwrap_or(-1)),
        }
    }
}

/// A control file that is open for reading and writing, as only the superuser can.
struct Control {
    path: PathBuf,
    mode: u32,
    file: File,
}

fn controls(directory: &Path) -> std::io::Result<Vec<Control>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let (path, about) = {
            let entry = entry?;
            (entry.path(), entry.metadata()?)
        };
        if about.is_file() {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            found.push(Control { path, mode: about.mode() & 0o777, file });
        }
    }
    Ok(found)
}

fn reads(verdict: &mut Verdict, control: &Control) {
    let Control { path, mode, file } = control;
    if mode & 0o400 == 0 {
        verdict.same(path, "reading what is only written", text(file).err(), Some(EINVAL));
        return;
    }
    // In pieces of one open file: one text, whatever changes meanwhile.
    let Ok(mut other) = File::open(path) else { return verdict.check(false, || format!("open {}", path.display())) };
    let (mut shown, mut piece) = (Vec::new(), [0; 3]);
    while let Ok(count @ 1..) = other.read(&mut piece) {
        shown.extend(&piece[..count]);
    }
    verdict.same(path, "the end is the end", other.read(&mut piece).ok(), Some(0));
    for offset in [1, 2, 5, shown.len() / 2, shown.len().saturating_sub(1), shown.len(), shown.len() + 1000] {
        if offset > 0 && !shown.is_empty() {
            let rest = shown.get(offset..).unwrap_or_default();
            let mut buffer = vec![0; rest.len() + 10];
            let read = other.read_at(&mut buffer, offset as u64).map(|count| buffer[..count].to_vec());
            verdict.same(path, "a read at an offset", read.ok().as_deref(), Some(rest));
        }
    }
    verdict.check(shown.is_empty() || shown.ends_with(b"\n"), || format!("{}: no newline at the end", path.display()));
    verdict.same(path, "st_size", file.metadata().map(|about| about.len()).ok(), Some(0));
}

fn bad_writes(verdict: &mut Verdict, control: &Control) {
    let Control { path, mode, file } = control;
    let (readable, writable) = (mode & 0o400 != 0, mode & 0o200 != 0);
    let counts_time = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"cpuacct."));
    verdict.same(path, "no bytes", write(file, b""), 0);
    verdict.same(path, "too long", write(file, &[b'1'; TOO_LONG]), E2BIG);
    verdict.same(path, "too long, all blank", write(file, &vec![b' '; TOO_LONG]), E2BIG);
    verdict.same(path, "a bad address", write_nothing(file), EFAULT);
    for bad in BAD {
        let shown = || String::from_utf8_lossy(&bad[..bad.len().min(20)]).into_owned();
        // What changes by itself can't be compared: CPU time does, even if two looks see the same.
        let still = |one: &Result<Vec<u8>, i32>| readable && writable && !counts_time && *one == text(file);
        let before = text(file);
        let is_still = still(&before);
        let errno = write(file, bad);
        if writable {
            verdict.check(errno == 0 || REFUSALS.contains(&errno), || {
                format!("{}: {:?} gives {errno}", path.display(), shown())
            });
        } else {
            verdict.same(path, "writing what is only read", errno, EINVAL);
        }
        if errno != 0 && is_still {
            let after = text(file);
            verdict.check(before == after, || format!("{}: {:?} changed it and failed", path.display(), shown()));
        } else if errno == 0
            && let Ok(before) = before
        {
            // Back to what it was, if that can be written: an empty line clears.
            write(file, if before.is_empty() { b"\n" } else { &before });
        }
    }
}

/// Flags that shells give, a size, and that the offset means nothing to a write.
fn shell_ways(verdict: &mut Verdict, directory: &Path) {
    let path = directory.join("notify_on_release");
    let open = |flags| OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path);
    for flags in [O_APPEND, O_TRUNC, O_CREAT, O_CREAT | O_APPEND | O_TRUNC] {
        verdict.same(&path, "opened as shells do", open(flags).is_ok(), true);
    }
    let Ok(file) = open(0) else { return };
    verdict.same(&path, "ftruncate", file.set_len(100).is_ok(), true);
    for (piece, shown) in [(&b"1"[..], b"1\n"), (b"0", b"0\n"), (b" 0x5 \n", b"1\n"), (b"+0", b"0\n")] {
        verdict.same(&path, "a piece is a whole request", write(&file, piece), 0);
        verdict.same(&path, "what it made", text(&file), Ok(shown.to_vec()));
    }
    verdict.same(&path, "a write far behind the end", file.write_at(b"1", 1 << 40).ok(), Some(1));
    verdict.same(&path, "what that made", text(&file), Ok(b"1\n".to_vec()));
    verdict.same(&path, "back", write(&file, b"0"), 0);
}

/// Every way to a container that was removed, through what is still open.
fn removed(verdict: &mut Verdict, directory: &Path, controls: &[Control]) -> std::io::Result<()> {
    let open = File::open(directory)?;
    fs::remove_dir(directory)?;
    for Control { path, file, .. } in controls {
        verdict.same(path, "removed: read", text(file).err(), Some(ENODEV));
        for word in [&b"1"[..], b"zarbage", b"\n", b"0"] {
            verdict.same(path, "removed: write", write(file, word), ENODEV);
        }
        verdict.same(path, "removed: no bytes", write(file, b""), 0);
        verdict.same(path, "removed: too long", write(file, &[b'1'; TOO_LONG]), E2BIG);
        verdict.same(path, "removed: a bad address", write_nothing(file), EFAULT);
        verdict.same(path, "removed: stat", file.metadata().is_ok(), true);
    }
    let at = open.as_raw_fd();
    let errno = |result: c_int| outcome(result as isize, 0);
    // SAFETY: texts with their NUL, and a buffer with its length.
    unsafe {
        verdict.same(directory, "removed: mkdirat", errno(mkdirat(at, c"new".as_ptr(), 0o755)), ENOENT);
        verdict.same(directory, "removed: openat", errno(openat(at, c"tasks".as_ptr(), O_RDONLY)), ENOENT);
        verdict.same(directory, "removed: unlinkat", errno(unlinkat(at, c"old".as_ptr(), AT_REMOVEDIR)), ENOENT);
        verdict.same(directory, "removed: renameat", errno(renameat(at, c"old".as_ptr(), at, c"new".as_ptr())), ENOENT);
        verdict.same(directory, "removed: symlinkat", errno(symlinkat(c"x".as_ptr(), at, c"new".as_ptr())), ENOENT);
        verdict.same(directory, "removed: mknodat", errno(mknodat(at, c"new".as_ptr(), S_IFIFO, 0)), ENOENT);
        let mut entries = [0_u8; 4096];
        let listed = syscall(SYS_getdents64, at, entries.as_mut_ptr(), entries.len());
        verdict.same(directory, "removed: getdents64", outcome(listed as isize, 0), ENOENT);
        verdict.same(directory, "removed: fchdir", errno(fchdir(at)), 0);
        verdict.same(directory, "removed: back", errno(chdir(c"/".as_ptr())), 0);
    }
    Ok(())
}

/// Names with every byte that a name may have.
fn names(verdict: &mut Verdict, directory: &Path) {
    for byte in (1..=255_u8).filter(|&byte| byte != b'/') {
        let name = [b'n', byte, b'n'];
        let path = directory.join(std::ffi::OsStr::from_bytes(&name));
        let Ok(text) = CString::new(path.as_os_str().as_bytes()) else { continue };
        // SAFETY: a text with its NUL.
        let made = outcome(unsafe { mkdir(text.as_ptr(), 0o755) } as isize, 0);
        verdict.same(&path, "mkdir", made, if byte == b'\n' { EINVAL } else { 0 });
        if made == 0 {
            let listed = fs::read_dir(directory)
                .is_ok_and(|mut all| all.any(|entry| entry.is_ok_and(|entry| entry.file_name().as_bytes() == name)));
            verdict.same(&path, "listed", listed, true);
            verdict.same(&path, "rmdir", fs::remove_dir(&path).is_ok(), true);
        }
    }
}

fn tries(verdict: &mut Verdict, root: &Path) -> std::io::Result<usize> {
    let child = root.join("sweep");
    fs::create_dir(&child)?;
    names(verdict, &child);
    let (above, below) = (controls(root)?, controls(&child)?);
    for control in above.iter().chain(&below) {
        reads(verdict, control);
        bad_writes(verdict, control);
    }
    shell_ways(verdict, root);
    shell_ways(verdict, &child);
    removed(verdict, &child, &below)?;
    Ok(above.len() + below.len())
}

/// Torments the files of the hierarchy that is mounted at `root`, and those of a container that it makes there.
pub fn run(root: &str) -> bool {
    let mut verdict = Verdict::default();
    match tries(&mut verdict, Path::new(root)) {
        Ok(files) => println!("{files} files, {} wrong answers", verdict.wrong),
        Err(error) => verdict.check(false, || error.to_string()),
    }
    verdict.wrong == 0 && verdict.tried > 1000
}
