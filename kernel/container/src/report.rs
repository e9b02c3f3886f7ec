//! Reports: files of /proc that a subsystem has for the whole system.

use crate::{framework::Framework, hierarchy::Subsystems, member::Member, tree::Node};
use alloc::{string::String, vec::Vec};
use base::{Capabilities, Errno};
use core::fmt;
use machine::sync::Arc;

/// A file in the root of /proc that a subsystem fills. It is there unless the subsystem is disabled.
pub struct Report<S> {
    /// Its name.
    pub name: &'static str,
    /// Its permission bits.
    pub mode: u16,
    /// What a reader must be capable of, or opening it is `EACCES`.
    pub needs: Capabilities,
    /// Writes the text for a reader who is in this container.
    pub show: fn(&Node<'_, S>, &mut dyn fmt::Write) -> fmt::Result,
}

/// What is known of a report without its subsystem's type.
#[derive(Clone, Copy, Debug)]
pub struct ReportTraits {
    /// The index of the subsystem that it belongs to.
    pub subsystem: usize,
    /// See [`Report::name`].
    pub name: &'static str,
    /// See [`Report::mode`].
    pub mode: u16,
    /// See [`Report::needs`].
    pub needs: Capabilities,
}

impl Framework {
    /// The reports that there are, in index order of their subsystems.
    pub fn reports(&self) -> Vec<ReportTraits> {
        let enabled: Subsystems = self.enabled();
        enabled.iter().filter_map(|index| self.subsystem(index).report()).collect()
    }

    /// The text of a subsystem's report as `reader` sees it. `ENOENT` it has none; `ENOMEM`. Locks: those of the
    /// hierarchy table, and what the subsystem takes.
    pub fn report(&self, subsystem: usize, reader: &dyn Member) -> Result<String, Errno> {
        let set = reader.membership().set().ok_or(Errno::ENOENT)?;
        let container = match self.hierarchy_of(subsystem) {
            None => self.dummy().clone(),
            Some(active) => {
                let place = set.place(active.hierarchy.number());
                // The number may have passed to another hierarchy since; then the reader is in the root.
                let here = place.filter(|container| Arc::ptr_eq(container.hierarchy(), &active.hierarchy));
                here.unwrap_or(&active.root).clone()
            }
        };
        self.subsystem(subsystem).show_report(self, &container)
    }
}
