//! mount: `mount -t container -o cpuset,numtasks container /foo`, `mount --make-shared /foo`; alone, what is mounted.

use std::ffi::CString;
use std::fs;

use clap::Parser;
use rustix::io::Result as Outcome;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_move,
    mount_remount,
};

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
    /// Show a directory or file at another place too
    #[arg(short = 'B', long)]
    bind: bool,
    /// So, with all that is mounted below
    #[arg(short = 'R', long)]
    rbind: bool,
    /// Move what is mounted at one place to another
    #[arg(short = 'M', long = "move")]
    moved: bool,
    /// Hand on what is mounted here to peers and slaves, and get it from peers
    #[arg(long)]
    make_shared: bool,
    /// Only get it
    #[arg(long)]
    make_slave: bool,
    /// Neither
    #[arg(long)]
    make_private: bool,
    /// Neither, and can't be bound
    #[arg(long)]
    make_unbindable: bool,
    /// As --make-shared, with all that is mounted below
    #[arg(long)]
    make_rshared: bool,
    /// As --make-slave, with all that is mounted below
    #[arg(long)]
    make_rslave: bool,
    /// As --make-private, with all that is mounted below
    #[arg(long)]
    make_rprivate: bool,
    /// As --make-unbindable, with all that is mounted below
    #[arg(long)]
    make_runbindable: bool,
    /// The device, or a word in its place, and the directory
    #[arg(num_args = 0..=2)]
    operands: Vec<String>,
}

/// What the options ask for: flags of the mount, an operation, how it takes part in what happens elsewhere, and the file
/// system's own words.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    flags: MountFlags,
    operation: Operation,
    propagation: Vec<MountPropagationFlags>,
    data: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Mount,
    /// With `only_mount` (`remount,bind`) the flags of the mount, else those of the file system too.
    Remount {
        only_mount: bool,
    },
    Bind {
        recursive: bool,
    },
    Move,
}

/// The words for how a mount takes part in what happens elsewhere; with an `r` before them for all below.
const PROPAGATION: &[(&str, MountPropagationFlags)] = &[
    ("shared", MountPropagationFlags::SHARED),
    ("slave", MountPropagationFlags::DOWNSTREAM),
    ("private", MountPropagationFlags::PRIVATE),
    ("unbindable", MountPropagationFlags::UNBINDABLE),
];

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

/// What a word says of how a mount takes part in what happens elsewhere, if it does.
fn propagation(word: &str) -> Option<MountPropagationFlags> {
    let find = |word: &str| PROPAGATION.iter().find(|(name, _)| *name == word).map(|(_, flag)| *flag);
    find(word).or_else(|| Some(find(word.strip_prefix('r')?)? | MountPropagationFlags::REC))
}

impl Options {
    /// The words that stand before those of `-o`.
    fn words(&self) -> impl Iterator<Item = &str> {
        let long = [
            (self.read_only, "ro"),
            (self.bind, "bind"),
            (self.rbind, "rbind"),
            (self.moved, "move"),
            (self.make_shared, "shared"),
            (self.make_slave, "slave"),
            (self.make_private, "private"),
            (self.make_unbindable, "unbindable"),
            (self.make_rshared, "rshared"),
            (self.make_rslave, "rslave"),
            (self.make_rprivate, "rprivate"),
            (self.make_runbindable, "runbindable"),
        ];
        let given = long.into_iter().filter(|(given, _)| *given).map(|(_, word)| word);
        given.chain(self.options.iter().flat_map(|words| words.split(',')))
    }
}

impl Wish {
    fn new<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut wish = Self {
            flags: MountFlags::empty(),
            operation: Operation::Mount,
            propagation: Vec::new(),
            data: String::new(),
        };
        let (mut remount, mut bind, mut moved) = (false, None, false);
        for word in words {
            if let Some((_, flag, set)) = FLAGS.iter().find(|(name, ..)| *name == word) {
                wish.flags.set(*flag, *set);
                continue;
            }
            if let Some(change) = propagation(word) {
                wish.propagation.push(change);
                continue;
            }
            match word {
                "remount" => remount = true,
                "bind" => bind = Some(false),
                "rbind" => bind = Some(true),
                "move" => moved = true,
                _ => {
                    if !wish.data.is_empty() {
                        wish.data.push(',');
                    }
                    wish.data.push_str(word);
                }
            }
        }
        wish.operation = match bind {
            _ if remount => Operation::Remount { only_mount: bind.is_some() },
            Some(recursive) => Operation::Bind { recursive },
            None if moved => Operation::Move,
            None => Operation::Mount,
        };
        wish
    }

    /// Does it all, in the order of Linux's `mount`.
    fn fulfil(&self, device: &str, directory: &str, kind: Option<&str>) -> Result<Outcome<()>, String> {
        let data = CString::new(self.data.as_str()).map_err(|_| "the options hold a NUL byte".to_owned())?;
        let done = match self.operation {
            Operation::Mount => {
                let kind = kind.ok_or("the type is missing: -t TYPE")?;
                mount(device, directory, kind, self.flags, (!data.is_empty()).then_some(data.as_c_str()))
            }
            Operation::Remount { only_mount } => {
                let flags = if only_mount { self.flags | MountFlags::BIND } else { self.flags };
                mount_remount(directory, flags, data.as_c_str())
            }
            Operation::Bind { recursive } => {
                let bound =
                    if recursive { mount_bind_recursive(device, directory) } else { mount_bind(device, directory) };
                // A bind has the flags of what it shows until it is told otherwise.
                match self.flags.is_empty() {
                    true => bound,
                    false => bound.and_then(|()| mount_remount(directory, self.flags | MountFlags::BIND, c"")),
                }
            }
            Operation::Move => mount_move(device, directory),
        };
        Ok(done.and_then(|()| self.change_propagation(directory)))
    }

    fn change_propagation(&self, directory: &str) -> Outcome<()> {
        self.propagation.iter().try_for_each(|change| mount_change(directory, *change))
    }
}

pub fn run(arguments: &[String], streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let options = Options::try_parse_from(arguments)?;
    let wish = Wish::new(options.words());
    let (outcome, what) = match options.operands.as_slice() {
        [] => return list(options.kind.as_deref(), streams),
        [directory] if matches!(wish.operation, Operation::Remount { .. }) => {
            (wish.fulfil("none", directory, None)?, format!("mounting {directory} anew"))
        }
        [directory] if wish.operation == Operation::Mount && !wish.propagation.is_empty() => {
            (wish.change_propagation(directory), format!("changing {directory}"))
        }
        [_] => return Err("a device (or a word in its place) and a directory are needed".to_owned().into()),
        [device, directory, ..] => {
            (wish.fulfil(device, directory, options.kind.as_deref())?, format!("mounting {device} on {directory}"))
        }
    };
    match outcome {
        Ok(()) => Ok(0),
        Err(errno) => Err(format!("{what} failed: {}", errno_text(&errno.into())).into()),
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
    "rbind",
    "move",
];

/// What can follow `mount` first.
const LONG: &[&str] = &[
    "-t",
    "-o",
    "-r",
    "--bind",
    "--rbind",
    "--move",
    "--make-shared",
    "--make-slave",
    "--make-private",
    "--make-unbindable",
    "--make-rshared",
    "--make-rslave",
    "--make-rprivate",
    "--make-runbindable",
];

/// What can follow `mount`: after `-t` the types that the kernel knows, after `-o` subsystems and other options.
pub fn offers(line: &Line<'_>) -> Offers {
    match line.before.last().copied() {
        Some("-t") => {
            let types = fs::read_to_string("/proc/filesystems").unwrap_or_default();
            Offers::only(types.lines().filter_map(|line| line.split('\t').nth(1)), line)
        }
        Some("-o") => options_offered(&subsystems(), line.word),
        _ => Offers::words(LONG, line),
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

    fn wish(arguments: &[&str]) -> Wish {
        Wish::new(Options::try_parse_from(arguments).unwrap().words())
    }

    #[test]
    fn flags_are_told_from_the_file_systems_own_words() {
        let wish = wish(&["mount", "-o", "ro,cpuset,nosuid", "-o", "numtasks"]);
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
        assert_eq!(wish(&["mount", "-r", "-o", "ro,rw"]).flags, MountFlags::empty());
    }

    #[test]
    fn words_and_long_options_mean_the_same() {
        let operation = |words: &[&str]| wish(words).operation;
        assert_eq!(operation(&["mount", "-o", "remount,all"]), Operation::Remount { only_mount: false });
        assert_eq!(operation(&["mount", "-o", "bind,remount"]), Operation::Remount { only_mount: true });
        assert_eq!(operation(&["mount", "--bind"]), Operation::Bind { recursive: false });
        assert_eq!(operation(&["mount", "-R"]), operation(&["mount", "-o", "rbind"]));
        assert_eq!(operation(&["mount", "--move"]), Operation::Move);
        let shared = MountPropagationFlags::SHARED;
        assert_eq!(wish(&["mount", "--make-shared"]).propagation, [shared]);
        assert_eq!(wish(&["mount", "--make-rshared"]).propagation, [shared | MountPropagationFlags::REC]);
        assert_eq!(
            wish(&["mount", "-o", "rslave,unbindable"]).propagation,
            [MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC, MountPropagationFlags::UNBINDABLE]
        );
        assert_eq!(wish(&["mount", "-o", "rrshared"]).data, "rrshared");
    }

    #[test]
    fn a_line_of_mounts_is_unescaped() {
        let entry = entry(r"a\040b /x\134y cgroup rw,cpuset 0 0").unwrap();
        assert_eq!((entry.device.as_str(), entry.directory.as_str()), ("a b", r"/x\y"));
        assert_eq!(unescape(r"\9\"), r"\9\");
    }
}
