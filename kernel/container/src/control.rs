//! Control files: the table in which a subsystem says which files it has and what reading and writing them does.

use crate::{files::Writer, hierarchy::Dialect, notice::Notice, tree::Node};
use base::Errno;
use core::fmt;

/// In which containers a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// In every one.
    Everywhere,
    /// Only in roots.
    OnlyOnRoot,
    /// In all but roots.
    NotOnRoot,
}

/// The most bytes that a write may have, unless the file says otherwise.
pub(crate) const MAX_WRITE: usize = 4096;

/// One line of a subsystem's table of files. Its name is shown with `subsystem.` before it, unless the subsystem's
/// names are [bare](crate::Subsystem::BARE_NAMES).
///
/// What is stored comes stripped of white space at both ends, ends before the first NUL byte, and is never empty
/// unless only white space was written. An error leaves everything as it was.
pub struct ControlFile<S> {
    pub(crate) name: &'static str,
    pub(crate) show: Show<S>,
    pub(crate) store: Store<S>,
    pub(crate) placement: Placement,
    pub(crate) max_write: usize,
    pub(crate) held: Held,
    pub(crate) notice: Option<fn(&S) -> &Notice>,
    pub(crate) dialect: Option<Dialect>,
}

/// What a write holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Nothing,
    Container,
    Everything,
}

/// How a file makes its text.
pub(crate) enum Show<S> {
    Not,
    State(fn(&S, &mut dyn fmt::Write) -> fmt::Result),
    Node(fn(&Node<'_, S>, &mut dyn fmt::Write) -> fmt::Result),
}

/// How a file takes a text.
pub(crate) enum Store<S> {
    Not,
    State(fn(&S, &str) -> Result<(), Errno>),
    Node(fn(&Node<'_, S>, &str) -> Result<(), Errno>),
    Writer(fn(&Node<'_, S>, &str, &Writer<'_>) -> Result<(), Errno>),
}

/// A setting of a subsystem as a whole, whatever hierarchy it is bound to: the file
/// `/sys/module/<subsystem>/parameters/<name>`. A write holds *manage*, exclusively.
pub struct Parameter<S> {
    pub(crate) name: &'static str,
    pub(crate) show: fn(&S, &mut dyn fmt::Write) -> fmt::Result,
    pub(crate) store: fn(&Node<'_, S>, &str) -> Result<(), Errno>,
}

impl<S> Parameter<S> {
    /// A parameter that is shown from the root's state and changed through the root container. What is stored comes
    /// stripped of white space at both ends.
    pub const fn new(
        name: &'static str,
        show: fn(&S, &mut dyn fmt::Write) -> fmt::Result,
        store: fn(&Node<'_, S>, &str) -> Result<(), Errno>,
    ) -> Self {
        Self { name, show, store }
    }
}

impl<S> ControlFile<S> {
    /// A file that shows something of one state; writing it is `EINVAL`.
    pub const fn read(name: &'static str, show: fn(&S, &mut dyn fmt::Write) -> fmt::Result) -> Self {
        Self::new(name, Show::State(show), Store::Not)
    }

    /// A file that shows and changes something of one state.
    pub const fn read_write(
        name: &'static str,
        show: fn(&S, &mut dyn fmt::Write) -> fmt::Result,
        store: fn(&S, &str) -> Result<(), Errno>,
    ) -> Self {
        Self::new(name, Show::State(show), Store::State(store))
    }

    /// A file that can only be written; reading it is `EINVAL`.
    pub const fn write(name: &'static str, store: fn(&S, &str) -> Result<(), Errno>) -> Self {
        Self::new(name, Show::Not, Store::State(store))
    }

    /// A file that can only be written, and asks who writes; reading it is `EINVAL`.
    pub const fn write_as(name: &'static str, store: fn(&Node<'_, S>, &str, &Writer<'_>) -> Result<(), Errno>) -> Self {
        Self::new(name, Show::Not, Store::Writer(store))
    }

    /// A file that looks around in the tree to show its text; writing it is `EINVAL`.
    pub const fn read_node(name: &'static str, show: fn(&Node<'_, S>, &mut dyn fmt::Write) -> fmt::Result) -> Self {
        Self::new(name, Show::Node(show), Store::Not)
    }

    /// A file that can only be written and looks around in the tree for it; reading it is `EINVAL`.
    pub const fn write_node(name: &'static str, store: fn(&Node<'_, S>, &str) -> Result<(), Errno>) -> Self {
        Self::new(name, Show::Not, Store::Node(store))
    }

    /// A file that looks around in the tree for both.
    pub const fn read_write_node(
        name: &'static str,
        show: fn(&Node<'_, S>, &mut dyn fmt::Write) -> fmt::Result,
        store: fn(&Node<'_, S>, &str) -> Result<(), Errno>,
    ) -> Self {
        Self::new(name, Show::Node(show), Store::Node(store))
    }

    /// Only roots have the file.
    pub const fn only_on_root(self) -> Self {
        Self { placement: Placement::OnlyOnRoot, ..self }
    }

    /// Roots don't have the file.
    pub const fn not_on_root(self) -> Self {
        Self { placement: Placement::NotOnRoot, ..self }
    }

    /// Only hierarchies of this dialect have the file.
    pub const fn only_in(self, dialect: Dialect) -> Self {
        Self { dialect: Some(dialect), ..self }
    }

    /// Writes may have so many bytes.
    pub const fn max_write(self, bytes: usize) -> Self {
        Self { max_write: bytes, ..self }
    }

    /// A write holds *manage* (shared) and the container's lock: no task comes in, no child is made or removed,
    /// and the container itself stays.
    pub const fn managed(self) -> Self {
        Self { held: Held::Container, ..self }
    }

    /// A write holds *manage*, exclusively: nothing is mounted, made, removed or moved in any container meanwhile. For
    /// rare changes whose rule spans containers.
    pub const fn managed_alone(self) -> Self {
        Self { held: Held::Everything, ..self }
    }

    /// Whoever polls an open file of these, or watches it with inotify, is told when this notice says that what the
    /// file reads has changed.
    pub const fn notifies(self, notice: fn(&S) -> &Notice) -> Self {
        Self { notice: Some(notice), ..self }
    }

    const fn new(name: &'static str, show: Show<S>, store: Store<S>) -> Self {
        Self {
            name,
            show,
            store,
            placement: Placement::Everywhere,
            max_write: MAX_WRITE,
            held: Held::Nothing,
            notice: None,
            dialect: None,
        }
    }
}
