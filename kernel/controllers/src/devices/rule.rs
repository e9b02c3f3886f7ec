//! The rules of one container: allow all but some devices, or none but some.

use alloc::vec::Vec;
use base::{
    Errno,
    device::{Device, DeviceAccess, DeviceKind},
};
use core::fmt;

/// In place of a number: all of them. Who writes this number means the same.
const ALL: u32 = u32::MAX;
/// The most digits that a number may have.
const MOST_DIGITS: usize = 11;

/// What a rule is about: some devices, and what may or may not be done with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Item {
    /// `major` and `minor` may be [`ALL`].
    device: Device,
    access: DeviceAccess,
}

/// The text of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    /// `a`: all devices.
    Everything,
    /// Some devices.
    Some(Item),
}

impl Rule {
    /// Reads `a…`, or `b` or `c`, one white space, `major:minor`, one white space, up to three of `rwm`. Else `EINVAL`.
    pub(super) fn parse(text: &str) -> Result<Self, Errno> {
        let bytes = text.as_bytes();
        let kind = match bytes.first() {
            Some(b'a') => return Ok(Self::Everything),
            Some(b'b') => DeviceKind::Block,
            Some(b'c') => DeviceKind::Character,
            _ => return Err(Errno::EINVAL),
        };
        let rest = text[1..].strip_prefix(is_space).ok_or(Errno::EINVAL)?;
        let (major, rest) = rest.split_once(':').ok_or(Errno::EINVAL)?;
        let (minor, access) = rest.split_once(is_space).ok_or(Errno::EINVAL)?;
        if !(1..=3).contains(&access.len()) {
            return Err(Errno::EINVAL);
        }
        let letters = access.bytes().map(|letter| match letter {
            b'r' => Ok(DeviceAccess::READ),
            b'w' => Ok(DeviceAccess::WRITE),
            b'm' => Ok(DeviceAccess::MAKE),
            _ => Err(Errno::EINVAL),
        });
        let access = letters.collect::<Result<Vec<_>, _>>()?.into_iter().collect();
        Ok(Self::Some(Item { device: Device { kind, major: number(major)?, minor: number(minor)? }, access }))
    }
}

fn is_space(character: char) -> bool {
    character.is_ascii_whitespace() || character == '\x0b'
}

fn number(text: &str) -> Result<u32, Errno> {
    if text == "*" {
        return Ok(ALL);
    }
    if text.is_empty() || text.len() > MOST_DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Errno::EINVAL);
    }
    text.parse().map_err(|_| Errno::EINVAL)
}

impl Item {
    /// One device, and what somebody wants of it.
    pub(super) const fn new(device: Device, access: DeviceAccess) -> Self {
        Self { device, access }
    }

    /// Whether all that `other` is about is part of this.
    fn contains(&self, other: &Self) -> bool {
        let covers = |own: u32, other: u32| own == ALL || own == other;
        self.device.kind == other.device.kind
            && covers(self.device.major, other.device.major)
            && covers(self.device.minor, other.device.minor)
            && self.access.contains(other.access)
    }

    /// Whether some of what `other` is about is part of this.
    fn touches(&self, other: &Self) -> bool {
        let meet = |own: u32, other: u32| own == ALL || other == ALL || own == other;
        self.device.kind == other.device.kind
            && meet(self.device.major, other.device.major)
            && meet(self.device.minor, other.device.minor)
            && self.access.intersects(other.access)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.device.kind == DeviceKind::Block { "b " } else { "c " })?;
        for (number, end) in [(self.device.major, ":"), (self.device.minor, " ")] {
            match number {
                ALL => f.write_str("*")?,
                number => write!(f, "{number}")?,
            }
            f.write_str(end)?;
        }
        let letters = [(DeviceAccess::READ, "r"), (DeviceAccess::WRITE, "w"), (DeviceAccess::MAKE, "m")];
        letters.iter().filter(|(bit, _)| self.access.contains(*bit)).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

/// What holds for devices that no exception names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Behavior {
    /// They may be used.
    Allow,
    /// They may not.
    Deny,
}

/// The rules of one container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rules {
    pub(super) behavior: Behavior,
    /// In the order in which they were added.
    pub(super) exceptions: Vec<Item>,
}

impl Rules {
    /// Everything is allowed.
    pub(super) const fn open() -> Self {
        Self { behavior: Behavior::Allow, exceptions: Vec::new() }
    }

    /// Whether all of `item` is allowed.
    pub(super) fn allow(&self, item: &Item) -> bool {
        match self.behavior {
            Behavior::Allow => !self.touch(item),
            Behavior::Deny => self.exceptions.iter().any(|exception| exception.contains(item)),
        }
    }

    /// Whether an exception is about some of `item`.
    pub(super) fn touch(&self, item: &Item) -> bool {
        self.exceptions.iter().any(|exception| exception.touches(item))
    }

    /// Adds an exception, to one about the same devices if there is one.
    pub(super) fn add(&mut self, item: Item) {
        match self.exceptions.iter_mut().find(|exception| exception.device == item.device) {
            Some(exception) => exception.access |= item.access,
            None => self.exceptions.push(item),
        }
    }

    /// Takes what may be done out of the exception about the same devices.
    pub(super) fn remove(&mut self, item: &Item) {
        if let Some(exception) = self.exceptions.iter_mut().find(|exception| exception.device == item.device) {
            exception.access -= item.access;
        }
        self.exceptions.retain(|exception| !exception.access.is_empty());
    }

    /// Drops the exceptions that give what `parent` does not.
    pub(super) fn keep_within(&mut self, parent: &Self) {
        if self.behavior == Behavior::Deny {
            self.exceptions.retain(|exception| parent.allow(exception));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::ToString};

    #[test]
    fn a_rule_has_one_form() {
        for (text, shown) in [
            ("c 1:3 rwm", "c 1:3 rwm"),
            ("b *:7 m", "b *:7 m"),
            ("c\t00000000010:* wr", "c 10:* rw"),
            ("c 4294967295:1 rr", "c *:1 r"),
        ] {
            let Ok(Rule::Some(item)) = Rule::parse(text) else { panic!("{text}") };
            assert_eq!(item.to_string(), shown);
        }
        assert_eq!(Rule::parse("a"), Ok(Rule::Everything));
        assert_eq!(Rule::parse("all of them"), Ok(Rule::Everything));
        for text in [
            "",
            "c",
            "c 1:3",
            "c 1 r",
            "c 1:3 ",
            "c  1:3 r",
            "c 1:3  r",
            "c1:3 r",
            "d 1:3 r",
            "c 1:3 rwmr",
            "c 1:3 x",
            "c -1:3 r",
            "c 1:0x3 r",
            "c :3 r",
            "c **:3 r",
            "c 4294967296:1 r",
            "c 000000000001:3 r",
            "c 1:3:4 r",
        ] {
            assert_eq!(Rule::parse(text), Err(Errno::EINVAL), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_contained_is_touched(
            ours in (0u32..3, 0u32..3, 1u8..8), theirs in (0u32..3, 0u32..3, 1u8..8),
        ) {
            let item = |(major, minor, access): (u32, u32, u8)| {
                let star = |number| if number == 0 { ALL } else { number };
                let device = Device { kind: DeviceKind::Character, major: star(major), minor: star(minor) };
                Item::new(device, DeviceAccess::from_bits_truncate(access))
            };
            let (ours, theirs) = (item(ours), item(theirs));
            prop_assert!(!ours.contains(&theirs) || ours.touches(&theirs));
            prop_assert_eq!(ours.touches(&theirs), theirs.touches(&ours));
            prop_assert_eq!(Rule::parse(&ours.to_string()), Ok(Rule::Some(ours)), "{}", format!("{ours}"));
        }
    }
}
