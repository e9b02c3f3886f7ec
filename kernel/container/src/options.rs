//! The data string of a mount. Rule: interfaces.md, section 2.2.

use crate::{framework::Framework, hierarchy::Subsystems};
use alloc::{string::String, vec::Vec};
use base::Errno;

/// What a data string asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Options {
    /// The set that was asked for; `None` where `name=` alone asks for whatever has that name.
    pub(crate) subsystems: Option<Subsystems>,
    pub(crate) name: Option<String>,
    pub(crate) no_prefix: bool,
    pub(crate) clone_children: bool,
    pub(crate) auto_remove: bool,
    pub(crate) xattr: bool,
    pub(crate) agent: Option<Vec<u8>>,
}

/// The words of a data string, before they are seen together.
#[derive(Default)]
struct Words {
    all: bool,
    none: bool,
    no_prefix: bool,
    clone_children: bool,
    auto_remove: bool,
    xattr: bool,
    subsystems: Subsystems,
    name: Option<String>,
    agent: Option<Vec<u8>>,
}

impl Options {
    /// Errors: `EINVAL` for an unknown word, and for words that don't go together.
    pub(crate) fn parse(framework: &Framework, data: &[u8]) -> Result<Self, Errno> {
        let mut words = Words::default();
        for word in data.split(|&byte| byte == b',').filter(|word| !word.is_empty()) {
            words.take(framework, word)?;
        }
        words.together(framework)
    }
}

impl Words {
    fn take(&mut self, framework: &Framework, word: &[u8]) -> Result<(), Errno> {
        match word {
            b"all" => self.all = true,
            b"none" => self.none = true,
            b"noprefix" => self.no_prefix = true,
            b"clone_children" => self.clone_children = true,
            b"auto_remove" => self.auto_remove = true,
            b"xattr" => self.xattr = true,
            _ => {
                if let Some(name) = word.strip_prefix(b"name=") {
                    set_once(&mut self.name, hierarchy_name(name)?)?;
                } else if let Some(agent) = word.strip_prefix(b"release_agent=") {
                    if agent.is_empty() {
                        return Err(Errno::EINVAL);
                    }
                    set_once(&mut self.agent, agent.to_vec())?;
                } else {
                    self.subsystems.insert(framework.subsystem_named(word).ok_or(Errno::EINVAL)?);
                }
            }
        }
        Ok(())
    }

    fn together(self, framework: &Framework) -> Result<Options, Errno> {
        let named = !self.subsystems.is_empty();
        if (self.all && named) || (self.none && (named || self.all || self.name.is_none())) {
            return Err(Errno::EINVAL);
        }
        let subsystems = if named {
            Some(self.subsystems)
        } else if self.none {
            Some(Subsystems::EMPTY)
        } else if self.all || self.name.is_none() {
            Some(framework.enabled())
        } else {
            None
        };
        if subsystems.is_some_and(Subsystems::is_empty) && !self.none {
            return Err(Errno::EINVAL);
        }
        let bare = |index| framework.subsystem(index).bare_names();
        if self.no_prefix && subsystems.is_some_and(|subsystems| !subsystems.iter().all(bare)) {
            return Err(Errno::EINVAL);
        }
        Ok(Options {
            subsystems,
            name: self.name,
            no_prefix: self.no_prefix,
            clone_children: self.clone_children,
            auto_remove: self.auto_remove,
            xattr: self.xattr,
            agent: self.agent,
        })
    }
}

fn set_once<T>(place: &mut Option<T>, value: T) -> Result<(), Errno> {
    if place.replace(value).is_some() { Err(Errno::EINVAL) } else { Ok(()) }
}

fn hierarchy_name(name: &[u8]) -> Result<String, Errno> {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let name = str::from_utf8(name).map_err(|_| Errno::EINVAL)?;
    if name.is_empty() || name.len() > 63 || !name.as_bytes().iter().all(good) {
        return Err(Errno::EINVAL);
    }
    Ok(name.into())
}
