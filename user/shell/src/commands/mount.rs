//! mount: `mount -t container -o cpuset,numtasks container /foo`; alone, what is mounted.

use std::ffi::CString;
use std::fs;

use clap::Parser;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_move, mount_remount};

use super::{Failure, Files, Line, Offers, Streams};
use crate::messages::errno_text;

/// Mounts a file system, or lists what is mounted.
#[derive(Parser)]
#[command(name = "mount")]
pub struct Options {
    /// The type of the file system: container, cgroup, proc, tmpfs, …
    #[arg(short = 't', value_name = "TYPE")]
    kind: Option<String>,
    /// Options, separated by commas; for containers the names of subsystems
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// Read-only
    #[arg(short = 'r')]
    read_only: bool,
    /// The device, or a word in its place, and the directory
    #[arg(num_args = 0..=2)]
    operands: Vec<String>,
}

/// What the options ask for: flags of the mount, an operation, and the file system's own words.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    flags: MountFlags,
    operation: Operation,
    data: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Mount,
    Remount,
    Bind { recursive: bool },
    Move,
}

/// The words that set or clear a flag; all others are the file system's.
const FLAGS: &[(&str, MountFlags, bool)] = &[
    ("async", MountFlags::SYNCHRONOUS, false),
    ("atime", MountFlags::NOATIME, false),
    ("defaults", MountFlags::empty(), true),
    ("dev", MountFlags::NODEV, false),
    ("diratime", MountFlags::NODIRATIME, false),
    ("dirsync", MountFlags::DIRSYNC, true),
    ("exec", MountFlags::NOEXEC, false),
    ("noatime", MountFlags::NOATIME, true),
    ("nodev", MountFlags::NODEV, true),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("noexec", MountFlags::NOEXEC, true),
    ("nosuid", MountFlags::NOSUID, true),
    ("relatime", MountFlags::RELATIME, true),
    ("ro", MountFlags::RDONLY, true),
    ("rw", MountFlags::RDONLY, false),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("suid", MountFlags::NOSUID, false),
    ("sync", MountFlags::SYNCHRONOUS, true),
];

impl Wish {
    fn new(options: &[String], read_only: bool) -> Self {
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        let mut wish = Self { flags, operation: Operation::Mount, data: String::new() };
        for word in options.iter().flat_map(|words| words.split(',')) {
            if let Some((_, flag, set)) = FLAGS.iter().find(|(name, ..)| *name == word) {
                wish.flags.set(*flag, *set);
                continue;
            }
            match word {
                "remount" => wish.operation = Operation::Remount,
                "bind" => wish.operation = Operation::Bind { recursive: false },
                "rbind" => wish.operation = Operation::Bind { recursive: true },
                "move" => wish.operation = Operation::Move,
                _ => {
                    if !wish.data.is_empty() {
                        wish.data.push(',');
                    }
                    wish.data.push_str(word);
                }
            }
        }
        wish
    }
}

pub fn run(arguments: &[String], streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let options = Options::try_parse_from(arguments)?;
    let wish = Wish::new(&options.options, options.read_only);
    let (device, directory) = match options.operands.as_slice() {
        [] => return list(options.kind.as_deref(), streams),
        [directory] if wish.operation == Operation::Remount => ("none", directory.as_str()),
        [_] => return Err("a device (or a word in its place) and a directory are needed".to_owned().into()),
        [device, directory, ..] => (device.as_str(), directory.as_str()),
    };
    let data = CString::new(wish.data).map_err(|_| "the options hold a NUL byte".to_owned())?;
    let outcome = match wish.operation {
        Operation::Mount => {
            let kind = options.kind.as_deref().ok_or("the type is missing: -t TYPE".to_owned())?;
            let data = (!data.is_empty()).then_some(data.as_c_str());
            mount(device, directory, kind, wish.flags, data)
        }
        Operation::Remount => mount_remount(directory, wish.flags, data.as_c_str()),
        Operation::Bind { recursive: false } => mount_bind(device, directory),
        Operation::Bind { recursive: true } => mount_bind_recursive(device, directory),
        Operation::Move => mount_move(device, directory),
    };
    match outcome {
        Ok(()) => Ok(0),
        Err(errno) => Err(format!("mounting {device} on {directory} failed: {}", errno_text(&errno.into())).into()),
    }
}

/// Words of the options of a mount that are neither flags nor subsystems.
const WORDS: &[&str] = &[
    "all",
    "none",
    "name=",
    "noprefix",
    "release_agent=",
    "clone_children",
    "auto_remove",
    "xattr",
    "remount",
    "bind",
];

/// What can follow `mount`: after `-t` the types that the kernel knows, after `-o` subsystems and other options.
pub fn offers(line: &Line<'_>) -> Offers {
    match line.before.last().copied() {
        Some("-t") => {
            let types = fs::read_to_string("/proc/filesystems").unwrap_or_default();
            Offers::only(types.lines().filter_map(|line| line.split('\t').nth(1)), line)
        }
        Some("-o") => options_offered(&subsystems(), line.word),
        _ => Offers::words(&["-t", "-o", "-r"], line),
    }
}

/// The options that can follow those that `word` begins with.
fn options_offered(subsystems: &[String], word: &str) -> Offers {
    let (given, last) = word.rsplit_once(',').map_or(("", word), |(given, last)| (given, last));
    let given: Vec<&str> = given.split(',').filter(|word| !word.is_empty()).collect();
    let known =
        subsystems.iter().map(String::as_str).chain(WORDS.iter().copied()).chain(FLAGS.iter().map(|flag| flag.0));
    let fitting = known.filter(|known| known.starts_with(last) && !given.contains(known));
    let whole = |option: &str| (given.iter().copied().chain([option]).collect::<Vec<_>>().join(","), false);
    Offers { words: fitting.map(whole).collect(), files: Files::None }
}

/// The subsystems that the kernel has and that are not disabled.
pub fn subsystems() -> Vec<String> {
    let text = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let rows = text.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row.get(3) == Some(&"1")).map(|row| row[0].to_owned()).collect()
}

/// Lists the mounts, of one type if one is given.
fn list(kind: Option<&str>, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    for entry in mounts()?.iter().filter(|entry| kind.is_none_or(|kind| kind == entry.kind)) {
        writeln!(streams.out, "{} on {} type {} ({})", entry.device, entry.directory, entry.kind, entry.options)?;
    }
    Ok(0)
}

/// A line of `/proc/mounts`.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The device, or the word in its place.
    pub device: String,
    /// Where it is mounted.
    pub directory: String,
    /// The type of the file system.
    pub kind: String,
    /// The options, as shown.
    pub options: String,
}

/// What is mounted, in the order of mounting. The error is a message for a person.
pub fn mounts() -> Result<Vec<Entry>, String> {
    let text = fs::read_to_string("/proc/mounts").map_err(|error| format!("/proc/mounts: {}", errno_text(&error)))?;
    Ok(text.lines().filter_map(entry).collect())
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split(' ').map(unescape);
    Some(Entry { device: words.next()?, directory: words.next()?, kind: words.next()?, options: words.next()? })
}

/// `text` with each `\ooo` replaced by the character that it names in octal.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        match rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

/// The flags of umount that `-l` and `-f` mean.
pub fn unmount_flags(lazy: bool, force: bool) -> UnmountFlags {
    let mut flags = UnmountFlags::empty();
    flags.set(UnmountFlags::DETACH, lazy);
    flags.set(UnmountFlags::FORCE, force);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_from_the_file_systems_own_words() {
        let wish = Wish::new(&["ro,cpuset,nosuid".to_owned(), "numtasks".to_owned()], false);
        assert_eq!(wish.data, "cpuset,numtasks");
        assert_eq!(wish.flags, MountFlags::RDONLY | MountFlags::NOSUID);
        assert_eq!(wish.operation, Operation::Mount);
    }

    #[test]
    fn options_are_offered_one_after_the_other() {
        let subsystems = ["cpuset", "cpu", "numtasks"].map(str::to_owned);
        let offered =
            |word| options_offered(&subsystems, word).words.into_iter().map(|(word, _)| word).collect::<Vec<_>>();
        assert_eq!(offered("cpu"), ["cpuset", "cpu"]);
        assert_eq!(offered("cpu,cpu"), ["cpu,cpuset"]);
        assert_eq!(offered("cpu,nu"), ["cpu,numtasks"]);
        assert_eq!(offered("numtasks,na"), ["numtasks,name="]);
    }

    #[test]
    fn the_last_of_two_opposite_words_counts() {
        assert_eq!(Wish::new(&["ro,rw".to_owned()], true).flags, MountFlags::empty());
        assert_eq!(Wish::new(&["remount,all".to_owned()], false).operation, Operation::Remount);
    }

    #[test]
    fn a_line_of_mounts_is_unescaped() {
        let entry = entry(r"a\040b /x\134y cgroup rw,cpuset 0 0").unwrap();
        assert_eq!((entry.device.as_str(), entry.directory.as_str()), ("a b", r"/x\y"));
        assert_eq!(unescape(r"\9\"), r"\9\");
    }
}
