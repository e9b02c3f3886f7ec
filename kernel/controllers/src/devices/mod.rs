//! devices: which device files the tasks of a container may open and make.
//!
//! `devices.allow` and `devices.deny` take one rule each, from who has CAP_SYS_ADMIN: `a` for all devices, or the kind
//! (`b`, `c`), `major:minor` with numbers or `*`, and one to three of `r` (open to read), `w` (open to write), `m` (mknod).
//! `devices.list` shows what is allowed.
//!
//! A container allows all devices but some, or none but some; what it forbids is forbidden to all below, and it can't
//! allow what its parent forbids. What is open stays open. Rule: interfaces.md, section 18.

mod rule;
#[cfg(test)]
mod tests;

use base::{
    Capabilities, Errno,
    device::{Device, DeviceAccess},
};
use container::{Callbacks, ControlFile, Lineage, Node, Subsystem, Writer};
use core::fmt::{self, Write};
use machine::sync::{SpinLock, rank};
use rule::{Behavior, Item, Rule, Rules};

/// The rules of one container. Written with *manage* held exclusively, as what a container may depends on its parent and
/// reaches its children.
pub struct Devices(SpinLock<Rules>);

impl Subsystem for Devices {
    const NAME: &'static str = "devices";
    const INDEX: usize = 4;
    const CALLBACKS: Callbacks = Callbacks::DEVICE_ACCESS;
    const FILES: &'static [ControlFile<Self>] = &[
        ControlFile::write_as("allow", |node, text, writer| store(node, text, writer, allow)).managed_alone(),
        ControlFile::write_as("deny", |node, text, writer| store(node, text, writer, deny)).managed_alone(),
        ControlFile::read("list", Self::show),
    ];

    fn create(parent: &Self) -> Result<Self, Errno> {
        Ok(Self::with(parent.0.lock().clone()))
    }

    fn device_access(place: Lineage<'_, Self>, device: &Device, access: DeviceAccess) -> Result<(), Errno> {
        let allowed = place.own().0.lock().allow(&Item::new(*device, access));
        if allowed { Ok(()) } else { Err(Errno::EPERM) }
    }
}

impl Devices {
    /// The root's: everything is allowed.
    pub fn root() -> Self {
        Self::with(Rules::open())
    }

    fn with(rules: Rules) -> Self {
        Self(SpinLock::new(rank::CONTROLLER, rules))
    }

    fn show(&self, out: &mut dyn Write) -> fmt::Result {
        // A copy: making text may take long.
        let rules = self.0.lock().clone();
        match rules.behavior {
            Behavior::Allow => writeln!(out, "a *:* rwm"),
            Behavior::Deny => rules.exceptions.iter().try_for_each(|exception| writeln!(out, "{exception}")),
        }
    }
}

type Change = fn(&Node<'_, Devices>, Rule) -> Result<(), Errno>;

fn store(node: &Node<'_, Devices>, text: &str, writer: &Writer<'_>, change: Change) -> Result<(), Errno> {
    // Both: a descriptor that was opened with the right gives it to nobody, and who has it lends it to no descriptor.
    let may = writer.opener.has(Capabilities::SYS_ADMIN) && writer.credentials().has(Capabilities::SYS_ADMIN);
    if may { change(node, Rule::parse(text)?) } else { Err(Errno::EPERM) }
}

/// What the container above may; for a root, everything.
fn above(node: &Node<'_, Devices>) -> Rules {
    node.parent().map_or(Rules::open(), |parent| parent.state().0.lock().clone())
}

fn allow(node: &Node<'_, Devices>, rule: Rule) -> Result<(), Errno> {
    let parent = above(node);
    let item = match rule {
        Rule::Everything if node.children().next().is_some() => return Err(Errno::EINVAL),
        Rule::Everything if parent.behavior == Behavior::Deny => return Err(Errno::EPERM),
        Rule::Everything => {
            *node.state().0.lock() = parent;
            return Ok(());
        }
        Rule::Some(item) => item,
    };
    let mut rules = node.state().0.lock();
    match rules.behavior {
        // A part of what the parent forbids can't be taken out of what this forbids.
        Behavior::Allow if parent.touch(&item) => Err(Errno::EPERM),
        Behavior::Allow => {
            rules.remove(&item);
            Ok(())
        }
        Behavior::Deny if !parent.allow(&item) => Err(Errno::EPERM),
        Behavior::Deny => {
            rules.add(item);
            Ok(())
        }
    }
}

fn deny(node: &Node<'_, Devices>, rule: Rule) -> Result<(), Errno> {
    let item = match rule {
        Rule::Everything if node.children().next().is_some() => return Err(Errno::EINVAL),
        Rule::Everything => {
            *node.state().0.lock() = Rules { behavior: Behavior::Deny, ..Rules::open() };
            return Ok(());
        }
        Rule::Some(item) => item,
    };
    let forbid = |rules: &mut Rules, top: Behavior| match (top, rules.behavior) {
        (Behavior::Allow, Behavior::Allow) => rules.add(item),
        _ => rules.remove(&item),
    };
    let behavior = {
        let mut rules = node.state().0.lock();
        let behavior = rules.behavior;
        forbid(&mut rules, behavior);
        behavior
    };
    node.for_each_below(|below| {
        if !below.is(node) {
            let parent = above(below);
            let mut rules = below.state().0.lock();
            forbid(&mut rules, behavior);
            rules.keep_within(&parent);
        }
    });
    Ok(())
}
