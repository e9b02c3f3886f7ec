//! The settings of a subsystem as a whole, which `/sys/module` shows.

use crate::{
    files::{as_text, stripped},
    framework::Framework,
    state::State,
};
use alloc::{string::String, vec::Vec};
use base::Errno;

/// One setting of an enabled subsystem.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParameterId {
    subsystem: usize,
    parameter: usize,
}

impl ParameterId {
    /// The place among the settings of its subsystem.
    pub const fn index(self) -> usize {
        self.parameter
    }
}

impl Framework {
    /// The name of the enabled subsystem of this index, and its settings. `None` if it has none.
    pub fn parameters(&self, subsystem: usize) -> Option<(&'static str, Vec<(&'static str, ParameterId)>)> {
        if !self.enabled().contains(subsystem) {
            return None;
        }
        let owner = self.subsystem(subsystem);
        let names = owner.parameters().into_iter().enumerate();
        let all: Vec<_> = names.map(|(parameter, name)| (name, ParameterId { subsystem, parameter })).collect();
        (!all.is_empty()).then_some((owner.name(), all))
    }

    /// What the setting is now.
    pub fn show_parameter(&self, id: ParameterId) -> Result<String, Errno> {
        let root: Option<&dyn State> = self.roots()[id.subsystem].as_deref();
        self.subsystem(id.subsystem).show_parameter(id.parameter, root.ok_or(Errno::ENODEV)?)
    }

    /// Changes the setting.
    ///
    /// Errors, nothing changed: what the setting says. Locks: takes *manage*; call with none of the framework's held.
    pub fn store_parameter(&self, id: ParameterId, text: &[u8]) -> Result<(), Errno> {
        let text = as_text(stripped(text))?;
        let _manage = self.manage.write();
        let bound = self.hierarchy_of(id.subsystem);
        let root = bound.as_ref().map_or(self.dummy(), |active| &active.root);
        self.subsystem(id.subsystem).store_parameter(id.parameter, self, root, text)
    }
}
