//! The control files of a container: which there are, and what every one of them has in common when it is read or
//! written. Rule: interfaces.md, sections 3 to 5.

use crate::{
    container::{AllAttributes, Attributes, Container},
    control::{Held, MAX_WRITE, Placement},
    framework::Framework,
    hierarchy::{Dialect, Subsystems},
    member::Member,
    notice::Notice,
};
use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
    vec::Vec,
};
use base::{Capabilities, Credentials, Errno, Pid, extended::ExtendedAttributes, number};
use machine::sync::{Arc, atomic::Ordering::SeqCst};

/// One control file of a hierarchy; the same in all its containers. They sort in the order of a directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct File(usize);

/// Who writes to a control file.
pub struct Writer<'a> {
    /// Finds the task that writes. Most writes never ask.
    task: &'a dyn Fn() -> Option<Arc<dyn Member>>,
    /// The credentials with which the file was opened.
    pub opener: &'a Credentials,
}

impl<'a> Writer<'a> {
    /// The task that `task` finds, through a file that was opened with the credentials `opener`. None is the kernel
    /// itself, which may do everything.
    pub fn new(task: &'a dyn Fn() -> Option<Arc<dyn Member>>, opener: &'a Credentials) -> Self {
        Self { task, opener }
    }

    /// The task that writes: number 0 in `tasks` and `procs`.
    pub fn task(&self) -> Option<Arc<dyn Member>> {
        (self.task)()
    }

    /// Its credentials now.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.task().map_or_else(|| Arc::new(Credentials::root()), |task| task.credentials())
    }
}

/// The files of a hierarchy in the order in which they are made.
#[derive(Default)]
pub(crate) struct FileTable {
    entries: Vec<Entry>,
    /// A bit for each name: see [`mark`].
    marks: u64,
}

struct Entry {
    name: Cow<'static, str>,
    source: Source,
    readable: bool,
    writable: bool,
    placement: Placement,
    max_write: usize,
    held: Held,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Generic(Generic),
    Subsystem { index: usize, file: usize },
}

/// The files that need no subsystem.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Generic {
    NotifyOnRelease,
    Tasks,
    Processes,
    ReleaseAgent,
    Events,
    Kill,
    AutoRemove,
    CloneChildren,
    SaneBehavior,
}

/// The generic files by dialect, in order.
const fn generic(dialect: Dialect) -> &'static [(&'static str, Generic)] {
    match dialect {
        Dialect::Container => &[
            ("notify_on_release", Generic::NotifyOnRelease),
            ("tasks", Generic::Tasks),
            ("procs", Generic::Processes),
            ("cgroup.procs", Generic::Processes),
            ("release_agent", Generic::ReleaseAgent),
            ("events", Generic::Events),
            ("kill", Generic::Kill),
            ("auto_remove", Generic::AutoRemove),
        ],
        Dialect::Cgroup => &[
            ("cgroup.procs", Generic::Processes),
            ("cgroup.clone_children", Generic::CloneChildren),
            ("cgroup.sane_behavior", Generic::SaneBehavior),
            ("tasks", Generic::Tasks),
            ("notify_on_release", Generic::NotifyOnRelease),
            ("release_agent", Generic::ReleaseAgent),
            ("cgroup.events", Generic::Events),
            ("cgroup.kill", Generic::Kill),
            ("cgroup.auto_remove", Generic::AutoRemove),
        ],
    }
}

impl FileTable {
    pub(crate) fn new(framework: &Framework, dialect: Dialect, subsystems: Subsystems, no_prefix: bool) -> Self {
        let mut entries: Vec<_> =
            generic(dialect).iter().map(|&(name, generic)| Entry::generic(name, generic)).collect();
        for index in subsystems.iter() {
            let subsystem = framework.subsystem(index);
            let bare = subsystem.bare_names() && (no_prefix || dialect == Dialect::Container);
            let files = subsystem.files().into_iter().enumerate();
            let files = files.filter(|(_, traits)| traits.dialect.is_none_or(|only| only == dialect));
            entries.extend(files.map(|(file, traits)| Entry {
                name: if bare { traits.name.into() } else { [subsystem.name(), ".", traits.name].concat().into() },
                source: Source::Subsystem { index, file },
                readable: traits.readable,
                writable: traits.writable,
                placement: traits.placement,
                max_write: traits.max_write,
                held: traits.held,
            }));
        }
        let marks = entries.iter().fold(0, |marks, entry| marks | mark(entry.name.as_bytes()));
        Self { entries, marks }
    }

    /// The place where mode, owner and times of a file are kept: a file with two names has them once.
    fn first_name(&self, file: File) -> usize {
        let source = self.entries[file.0].source;
        self.entries[..file.0].iter().position(|entry| entry.source == source).unwrap_or(file.0)
    }

    /// The file of this name in the container.
    pub(crate) fn find(&self, container: &Container, name: &[u8]) -> Option<File> {
        if self.marks & mark(name) == 0 {
            return None;
        }
        let here = |entry: &Entry| entry.name.as_bytes() == name && entry.is_in(container);
        self.entries.iter().position(here).map(File)
    }
}

/// One of 64 bits, by length and last character: most names of children are so told from those of files at once.
fn mark(name: &[u8]) -> u64 {
    let last = name.last().copied().unwrap_or_default();
    1 << ((name.len() * 5 + usize::from(last)) % 64)
}

impl Entry {
    fn generic(name: &'static str, generic: Generic) -> Self {
        Self {
            name: name.into(),
            source: Source::Generic(generic),
            readable: generic != Generic::Kill,
            writable: !matches!(generic, Generic::Events | Generic::SaneBehavior),
            placement: match generic {
                Generic::ReleaseAgent | Generic::SaneBehavior => Placement::OnlyOnRoot,
                Generic::Kill => Placement::NotOnRoot,
                _ => Placement::Everywhere,
            },
            max_write: if generic == Generic::ReleaseAgent { MAX_WRITE - 1 } else { MAX_WRITE },
            held: Held::Nothing,
        }
    }

    fn is_in(&self, container: &Container) -> bool {
        match self.placement {
            Placement::Everywhere => true,
            Placement::OnlyOnRoot => container.is_root(),
            Placement::NotOnRoot => !container.is_root(),
        }
    }

    const fn mode(&self) -> u16 {
        match (self.readable, self.writable) {
            (true, true) => 0o644,
            (true, false) => 0o444,
            (false, _) => 0o200,
        }
    }
}

impl Container {
    /// The control file of this name.
    pub fn file(&self, name: &[u8]) -> Option<File> {
        self.hierarchy().files.find(self, name)
    }

    /// The control files in the order of a directory, from `start` on (`None`: all).
    pub fn files(&self, start: Option<File>) -> impl Iterator<Item = (File, &str)> {
        let first = start.map_or(0, |file| file.0);
        let entries = self.hierarchy().files.entries.iter().enumerate().skip(first);
        entries.filter(|(_, entry)| entry.is_in(self)).map(|(index, entry)| (File(index), &*entry.name))
    }

    /// The most bytes that one write to a control file may have.
    pub fn longest_write(&self, file: File) -> usize {
        self.hierarchy().files.entries[file.0].max_write
    }

    /// Mode, owner and times of the directory.
    pub fn attributes(&self) -> Attributes {
        self.attributes.lock().directory
    }

    /// Changes them in one step; they last until the container is removed. `change` takes no lock.
    pub fn change_attributes(&self, change: impl FnOnce(Attributes) -> Attributes) {
        let directory = &mut self.attributes.lock().directory;
        *directory = change(*directory);
    }

    /// Mode, owner and times of a control file.
    pub fn file_attributes(&self, file: File) -> Attributes {
        let all = self.attributes.lock();
        all.files.get(&self.hierarchy().files.first_name(file)).copied().unwrap_or_else(|| self.initial(&all, file))
    }

    /// Changes them in one step; they last until the container is removed. `change` takes no lock.
    pub fn change_file_attributes(&self, file: File, change: impl FnOnce(Attributes) -> Attributes) {
        let place = self.hierarchy().files.first_name(file);
        let mut all = self.attributes.lock();
        let initial = self.initial(&all, file);
        let attributes = all.files.entry(place).or_insert(initial);
        *attributes = change(*attributes);
    }

    /// Those of a control file that nobody has changed.
    fn initial(&self, all: &AllAttributes, file: File) -> Attributes {
        Attributes { mode: self.hierarchy().files.entries[file.0].mode(), ..all.created }
    }
}

impl Container {
    /// Does something to the extended attributes of the directory, or of one of its files, with a lock of rank
    /// `CONTAINER_TEXTS` held. They last as long as the container is held by anybody.
    pub fn with_extended<R>(&self, file: Option<File>, action: impl FnOnce(&mut ExtendedAttributes) -> R) -> R {
        let place = file.map(|file| self.hierarchy().files.first_name(file));
        let mut all = self.attributes.lock();
        let mut own = all.extended.remove(&place).unwrap_or_default();
        let result = action(&mut own);
        if own.names().next().is_some() {
            all.extended.insert(place, own);
        }
        result
    }
}

impl File {
    /// The place in the order of all files of the hierarchy.
    pub const fn index(self) -> usize {
        self.0
    }

    /// The file at this place, as [`index`](Self::index) gave it.
    pub const fn from_index(index: usize) -> Self {
        Self(index)
    }
}

impl Framework {
    /// Who watches a control file; `None` for files that tell nobody of their changes.
    pub fn notice<'a>(&self, container: &'a Container, file: File) -> Option<&'a Notice> {
        match container.hierarchy().files.entries[file.0].source {
            Source::Generic(Generic::Events) => Some(container.events()),
            Source::Generic(_) => None,
            Source::Subsystem { index, file } => {
                self.subsystem(index).notice(file, container.states[index].as_deref()?)
            }
        }
    }

    /// Appends the text of a control file to `out`; on an error it may be part of it.
    ///
    /// Errors: `ENODEV` the container is removed; `EINVAL` the file has no reader.
    /// Locks: those of the file; call with none of the framework's held.
    pub fn read_file(&self, container: &Arc<Container>, file: File, out: &mut String) -> Result<(), Errno> {
        let entry = &container.hierarchy().files.entries[file.0];
        if container.is_removed() {
            return Err(Errno::ENODEV);
        }
        if !entry.readable {
            return Err(Errno::EINVAL);
        }
        match entry.source {
            Source::Generic(generic) => self.show(container, generic, out)?,
            Source::Subsystem { index, file } => self.subsystem(index).show(file, self, container, out)?,
        }
        // Removed meanwhile: what was read may be of a container half taken apart.
        if container.is_removed() { Err(Errno::ENODEV) } else { Ok(()) }
    }

    /// Does what the text written to a control file asks for. An error has changed nothing; a text of no bytes does
    /// nothing.
    ///
    /// Errors, in this order: `E2BIG`; `ENODEV` the container is removed; `EINVAL` the file has no writer; what
    /// the text or the file says. Locks: those of the file; call with none of the framework's held.
    pub fn write_file(
        &self,
        container: &Arc<Container>,
        file: File,
        text: &[u8],
        writer: &Writer<'_>,
    ) -> Result<(), Errno> {
        let entry = &container.hierarchy().files.entries[file.0];
        if text.is_empty() {
            return Ok(());
        }
        if text.len() > entry.max_write {
            return Err(Errno::E2BIG);
        }
        if container.is_removed() {
            return Err(Errno::ENODEV);
        }
        if !entry.writable {
            return Err(Errno::EINVAL);
        }
        let text = stripped(text);
        match entry.source {
            Source::Generic(Generic::ReleaseAgent) => store_agent(container, text, writer),
            Source::Generic(Generic::Tasks) => self.move_by_text(container, text, writer, false),
            Source::Generic(Generic::Processes) => self.move_by_text(container, text, writer, true),
            Source::Generic(generic) => self.store(container, generic, as_text(text)?),
            Source::Subsystem { index, file } => {
                let text = as_text(text)?;
                let store = || match container.is_removed() {
                    true => Err(Errno::ENODEV),
                    false => self.subsystem(index).store(file, self, container, text, writer),
                };
                match entry.held {
                    Held::Nothing => store(),
                    Held::Container => {
                        let _manage = self.manage.read();
                        let _container = container.lock.lock();
                        store()
                    }
                    Held::Everything => {
                        let _manage = self.manage.write();
                        store()
                    }
                }
            }
        }
    }

    fn show(&self, container: &Arc<Container>, generic: Generic, out: &mut String) -> Result<(), Errno> {
        let mut flag = |set: bool| out.push_str(if set { "1\n" } else { "0\n" });
        match generic {
            Generic::NotifyOnRelease => flag(container.flags.notify_on_release.load(SeqCst)),
            Generic::AutoRemove => flag(container.flags.auto_remove.load(SeqCst)),
            Generic::CloneChildren => flag(container.flags.clone_children.load(SeqCst)),
            Generic::SaneBehavior => flag(false),
            Generic::Tasks => lines(self.tasks_of(container).iter().map(|task| task.tid()).collect(), out),
            Generic::Processes => lines(self.tasks_of(container).iter().map(|task| task.process_id()).collect(), out),
            Generic::ReleaseAgent => {
                out.push_str(&String::from_utf8_lossy(&container.hierarchy().agent()));
                out.push('\n');
            }
            Generic::Events => {
                let (populated, frozen) = (container.is_populated(), container.place.is_frozen());
                out.push_str(&format!("populated {}\nfrozen {}\n", u8::from(populated), u8::from(frozen)));
            }
            Generic::Kill => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn store(&self, container: &Arc<Container>, generic: Generic, text: &str) -> Result<(), Errno> {
        match generic {
            Generic::NotifyOnRelease => container.flags.notify_on_release.store(number::parse_flag(text)?, SeqCst),
            Generic::AutoRemove => container.flags.auto_remove.store(number::parse_flag(text)?, SeqCst),
            Generic::CloneChildren => container.flags.clone_children.store(number::parse_flag(text)?, SeqCst),
            Generic::Kill => match number::parse_signed(text)? {
                1 => self.kill(container),
                _ => return Err(Errno::ERANGE),
            },
            Generic::Tasks | Generic::Processes | Generic::ReleaseAgent | Generic::Events | Generic::SaneBehavior => {
                return Err(Errno::EINVAL);
            }
        }
        Ok(())
    }
}

fn store_agent(container: &Container, text: &[u8], writer: &Writer<'_>) -> Result<(), Errno> {
    if !writer.opener.has(Capabilities::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    *container.hierarchy().agent.lock() = text.to_vec();
    Ok(())
}

/// The text before the first NUL byte, without white space at both ends.
pub(crate) fn stripped(text: &[u8]) -> &[u8] {
    let white = |byte: u8| byte.is_ascii_whitespace() || byte == b'\x0b';
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    let mut text = &text[..end];
    while let [first, rest @ ..] = text
        && white(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && white(*last)
    {
        text = rest;
    }
    text
}

/// Every file but the agent's takes ASCII; whatever else is no number, list or word.
pub(crate) fn as_text(text: &[u8]) -> Result<&str, Errno> {
    str::from_utf8(text).map_err(|_| Errno::EINVAL)
}

/// Numbers ascending, each once, one a line.
fn lines(mut numbers: Vec<Pid>, out: &mut String) {
    numbers.sort_unstable();
    numbers.dedup();
    out.reserve(numbers.len() * 8);
    for number in numbers {
        out.push_str(&number.raw().to_string());
        out.push('\n');
    }
}
