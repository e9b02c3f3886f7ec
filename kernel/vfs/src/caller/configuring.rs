//! File systems that are mounted or changed step by step: what is behind a descriptor of `fsopen(2)` and `fspick(2)`.

use super::{Caller, Follow, Start};
use crate::{
    FileOps, FileSystem, FileSystemType, Mount, MountFlags, MountRequest, OpenFile, OpenFlags, SystemFlags,
    anonymous::anonymous_file, mounted_system::System,
};
use alloc::{collections::VecDeque, format, sync::Arc, vec::Vec};
use base::{Credentials, Errno};
use machine::sync::{Mutex, rank};

/// The most bytes of all options together.
const MOST_OPTIONS: usize = 4096 - 2;
/// So many messages are kept; older ones give way.
const MOST_MESSAGES: usize = 8;

/// The parameters that are flags of the file system itself, and whether they set or clear them.
const FLAGS: &[(&[u8], SystemFlags, bool)] = &[
    (b"async", SystemFlags::SYNCHRONOUS, false),
    (b"dirsync", SystemFlags::SYNCHRONOUS_DIRECTORIES, true),
    (b"lazytime", SystemFlags::LAZY_TIMES, true),
    (b"mand", SystemFlags::MANDATORY_LOCKS, true),
    (b"nolazytime", SystemFlags::LAZY_TIMES, false),
    (b"nomand", SystemFlags::MANDATORY_LOCKS, false),
    (b"ro", SystemFlags::READ_ONLY, true),
    (b"rw", SystemFlags::READ_ONLY, false),
    (b"sync", SystemFlags::SYNCHRONOUS, true),
];

/// A step of `fsconfig(2)`.
#[derive(Clone, Copy, Debug)]
pub enum ConfigurationStep<'a> {
    /// A parameter, with its text if it has one.
    Set(&'a [u8], Option<&'a [u8]>),
    /// One whose value is bytes, a path or a descriptor; no type of file system here has any.
    SetOther(&'a [u8]),
    /// `FSCONFIG_CMD_CREATE`.
    Create,
    /// `FSCONFIG_CMD_RECONFIGURE`.
    Reconfigure,
}

/// How far it has come.
enum Phase {
    /// Parameters are taken, and nothing is there yet.
    Creating,
    /// It can be mounted.
    Made(Arc<dyn FileSystem>),
    /// Parameters are taken that change one that is mounted; `picked` by `fspick`.
    Changing { file_system: Arc<dyn FileSystem>, system: Arc<System>, picked: bool },
    /// It could not be made.
    Failed,
}

struct State {
    phase: Phase,
    source: Option<Vec<u8>>,
    options: Vec<u8>,
    flags: SystemFlags,
    /// Those of the flags that were mentioned.
    mentioned: SystemFlags,
    messages: VecDeque<Vec<u8>>,
}

/// A file system that is being configured.
struct Configuration {
    kind: Arc<dyn FileSystemType>,
    state: Mutex<State>,
}

impl Configuration {
    fn new(kind: Arc<dyn FileSystemType>, phase: Phase) -> Self {
        let state = State {
            phase,
            source: None,
            options: Vec::new(),
            flags: SystemFlags::empty(),
            mentioned: SystemFlags::empty(),
            messages: VecDeque::new(),
        };
        Self { kind, state: Mutex::new(rank::FILE_SYSTEM_CONFIGURATION, state) }
    }

    fn open(self, credentials: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
        anonymous_file("fscontext", Arc::new(self), OpenFlags::READ_WRITE, credentials)
    }

    /// Behind an open file; `EINVAL` it is another one.
    fn of(file: &OpenFile) -> Result<&Self, Errno> {
        file.operations().ok_or(Errno::EINVAL)
    }

    /// `EINVAL`, and says why.
    fn refuse(&self, state: &mut State, why: &str, key: &[u8]) -> Errno {
        if state.messages.len() == MOST_MESSAGES {
            state.messages.pop_front();
        }
        let key = alloc::string::String::from_utf8_lossy(key);
        state.messages.push_back(format!("e {}: {why} '{key}'", self.kind.name()).into_bytes());
        Errno::EINVAL
    }

    fn set(&self, state: &mut State, key: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
        if let Some((_, flag, on)) = FLAGS.iter().find(|(name, ..)| *name == key) {
            state.flags.set(*flag, *on);
            state.mentioned |= *flag;
            return Ok(());
        }
        if key == b"source" {
            let value = value.ok_or_else(|| self.refuse(state, "Non-string", key))?;
            if state.source.is_some() {
                return Err(self.refuse(state, "Multiple", key));
            }
            state.source = Some(value.to_vec());
            return Ok(());
        }
        let word = value.map_or_else(|| key.to_vec(), |value| [key, b"=", value].concat());
        // A comma would begin another option, but before a digit it belongs to a list of nodes.
        let splits = word
            .iter()
            .enumerate()
            .any(|(at, byte)| *byte == b',' && !word.get(at + 1).is_some_and(u8::is_ascii_digit));
        if key.is_empty() || splits || self.kind.check_options(&word).is_err() {
            return Err(self.refuse(state, "Unknown parameter or bad value of", key));
        }
        if state.options.len() + 1 + word.len() > MOST_OPTIONS {
            return Err(self.refuse(state, "Too many options before", key));
        }
        if !state.options.is_empty() {
            state.options.push(b',');
        }
        state.options.extend(word);
        Ok(())
    }

    /// Begins anew after a file system was mounted or changed.
    fn clean(state: &mut State) {
        state.options.clear();
        (state.flags, state.mentioned) = (SystemFlags::empty(), SystemFlags::empty());
    }
}

impl FileOps for Configuration {
    fn read(&self, buffer: &mut [u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        let mut state = self.state.lock();
        let message = state.messages.front().ok_or(Errno::ENODATA)?;
        let target = buffer.get_mut(..message.len()).ok_or(Errno::EMSGSIZE)?;
        target.copy_from_slice(message);
        let length = message.len();
        state.messages.pop_front();
        Ok(length)
    }

    fn keeps_place(&self) -> bool {
        true
    }
}

/// Whether a file came from `fsopen(2)` or `fspick(2)`. `EINVAL` it did not.
pub fn check_configuration(file: &OpenFile) -> Result<(), Errno> {
    Configuration::of(file).map(drop)
}

impl Caller<'_> {
    /// `fsopen(2)`: a file system of this type that is still to be configured. `EPERM`, `ENODEV` no such type; those of a new file.
    pub fn open_file_system(&self, kind: &[u8]) -> Result<Arc<OpenFile>, Errno> {
        self.may_mount()?;
        let kind = self.context.namespace().registry().find_type(kind)?.clone();
        Configuration::new(kind, Phase::Creating).open(self.credentials)
    }

    /// `fspick(2)`: the file system that is mounted at a path, to be changed. `EPERM`; `EINVAL` no mount point; those of a walk and of
    /// a new file.
    pub fn pick_file_system(&self, start: Start<'_>, path: &[u8], follow: Follow) -> Result<Arc<OpenFile>, Errno> {
        self.may_mount()?;
        let mount = Self::mount_of(self.resolve(start, path, follow)?)?;
        let file_system = mount.file_system().clone();
        let kind = self.context.namespace().registry().find_type(file_system.kind().as_bytes())?.clone();
        let phase = Phase::Changing { file_system, system: mount.system().clone(), picked: true };
        Configuration::new(kind, phase).open(self.credentials)
    }

    /// `fsconfig(2)`. `EINVAL` the file is of another kind, or the parameter is unknown or wrong (a message says what); `EBUSY` it is
    /// not the time for this, or it would become read-only and is written to; `EPERM`; the type's own.
    pub fn configure(&self, file: &OpenFile, step: ConfigurationStep<'_>) -> Result<(), Errno> {
        let configuration = Configuration::of(file)?;
        let mut guard = configuration.state.lock();
        let state = &mut *guard;
        match step {
            ConfigurationStep::Create => {
                let Phase::Creating = state.phase else { return Err(Errno::EBUSY) };
                self.may_mount()?;
                state.phase = Phase::Failed;
                let request = MountRequest {
                    source: state.source.as_deref().unwrap_or_default(),
                    data: &state.options,
                    flags: MountFlags::RELATIVE_TIMES,
                    credentials: self.credentials,
                };
                state.phase = Phase::Made(configuration.kind.mount(&request)?);
                Ok(())
            }
            ConfigurationStep::Reconfigure => {
                let Phase::Changing { file_system, system, .. } = &state.phase else { return Err(Errno::EBUSY) };
                self.may_mount()?;
                let change = self.context.namespace().change();
                let flags = system.flags().difference(state.mentioned) | state.flags & state.mentioned;
                system.reconfigure(&**file_system, flags, || file_system.remount(&state.options, self.credentials))?;
                drop(change);
                self.context.namespace().tell_of_change();
                Configuration::clean(state);
                Ok(())
            }
            ConfigurationStep::Set(key, value) => {
                let (Phase::Creating | Phase::Changing { .. }) = state.phase else { return Err(Errno::EBUSY) };
                configuration.set(state, key, value)
            }
            ConfigurationStep::SetOther(key) => {
                let (Phase::Creating | Phase::Changing { .. }) = state.phase else { return Err(Errno::EBUSY) };
                Err(configuration.refuse(state, "Unknown parameter or bad value of", key))
            }
        }
    }

    /// `fsmount(2)`: a mount of what was configured, in no place yet. `EPERM`; `EINVAL` the file is of another kind, or nothing was
    /// made or it is mounted already; `EBUSY` it came from `fspick`; `ENOSPC` too many mounts; those of a new file.
    pub fn mount_configured(&self, file: &OpenFile, flags: MountFlags) -> Result<Arc<OpenFile>, Errno> {
        self.may_mount()?;
        let configuration = Configuration::of(file)?;
        let mut state = configuration.state.lock();
        let file_system = match &state.phase {
            Phase::Made(file_system) => file_system.clone(),
            Phase::Changing { picked: true, .. } => return Err(Errno::EBUSY),
            _ => return Err(Errno::EINVAL),
        };
        let mut change = self.context.namespace().change();
        let system = change.system(&*file_system, state.flags);
        let source = state.source.as_deref().unwrap_or_default();
        let mount = Mount::new(file_system.clone(), source, flags, system.clone());
        change.enter_detached(&mount)?;
        drop(change);
        state.phase = Phase::Changing { file_system, system, picked: false };
        Configuration::clean(&mut state);
        drop(state);
        self.open_detached(mount)
    }
}
