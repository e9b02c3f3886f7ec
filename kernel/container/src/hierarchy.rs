//! One hierarchy: what was fixed by the mount that made it, and the agent.

use crate::{files::FileTable, options::Options};
use alloc::{string::String, vec::Vec};
use machine::sync::{
    SpinLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
    rank,
};

/// The two sets of file names. Nothing else differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// That of 2006.
    Container,
    /// That of cgroup v1.
    Cgroup,
}

impl Dialect {
    /// The name of the file system type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Cgroup => "cgroup",
        }
    }
}

/// A set of subsystems by index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Subsystems(u32);

impl Subsystems {
    /// No subsystem.
    pub const EMPTY: Self = Self(0);

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the subsystem of this index is in it.
    pub const fn contains(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }

    /// Adds one.
    pub const fn insert(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    /// Those that are also in `other`.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The indices in ascending order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = usize> + Clone {
        Indices(self.0)
    }

    /// Bit *i* for index *i*.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// The bits of a set that are still to come.
#[derive(Clone)]
struct Indices(u32);

impl Iterator for Indices {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let first = self.0.trailing_zeros();
        // Of no bits this takes none, and the number is 32.
        self.0 &= self.0.wrapping_sub(1);
        (first < u32::BITS).then_some(first as usize)
    }
}

impl DoubleEndedIterator for Indices {
    fn next_back(&mut self) -> Option<usize> {
        let index = self.0.checked_ilog2()?;
        self.0 ^= 1 << index;
        Some(index as usize)
    }
}

/// A hierarchy. Everything but the agent and the counts is fixed when it is made.
pub struct Hierarchy {
    pub(crate) number: usize,
    pub(crate) dialect: Dialect,
    pub(crate) subsystems: Subsystems,
    pub(crate) name: Option<String>,
    pub(crate) no_prefix: bool,
    /// Only shown: extended attributes work in any case.
    pub(crate) xattr: bool,
    pub(crate) files: FileTable,
    /// For the hashes of containers' names.
    pub(crate) seed: u64,
    pub(crate) agent: SpinLock<Vec<u8>>,
    /// Mounts of this hierarchy. Written with *manage* held exclusively.
    pub(crate) mounts: AtomicUsize,
    /// Containers with the root.
    pub(crate) containers: AtomicUsize,
}

impl Hierarchy {
    /// Hierarchy 0.
    pub(crate) fn dummy(subsystems: Subsystems) -> Self {
        let options = Options { subsystems: Some(subsystems), ..Options::default() };
        Self::new(0, Dialect::Container, options, FileTable::default())
    }

    pub(crate) fn new(number: usize, dialect: Dialect, options: Options, files: FileTable) -> Self {
        let mut seed = [0; 8];
        machine::random::fill(&mut seed);
        Self {
            number,
            dialect,
            subsystems: options.subsystems.unwrap_or_default(),
            name: options.name,
            no_prefix: options.no_prefix,
            xattr: options.xattr,
            files,
            seed: u64::from_le_bytes(seed),
            agent: SpinLock::new(rank::CONTAINER_TEXTS, options.agent.unwrap_or_default()),
            mounts: AtomicUsize::new(0),
            containers: AtomicUsize::new(1),
        }
    }

    /// Its number; 0 is the dummy.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Which names its files have.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The subsystems that are bound to it.
    pub fn subsystems(&self) -> Subsystems {
        self.subsystems
    }

    /// The name of `name=`.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The number of its containers, the root included.
    pub fn container_count(&self) -> usize {
        self.containers.load(Relaxed)
    }

    /// The path of the release agent; empty if there is none.
    pub fn agent(&self) -> Vec<u8> {
        self.agent.lock().clone()
    }
}
