//! devices: a behaviour and a list of exceptions. Rules: section 18.

use super::{Model, Writer};
use base::Errno;

/// `None` is all of them.
type Number = Option<u32>;

/// A rule or an exception.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    kind: u8,
    major: Number,
    minor: Number,
    /// Letters out of `rwm`, in this order.
    access: String,
}

/// The rules of one container.
#[derive(Clone, Default, Debug)]
pub struct Rules {
    /// Everything but the exceptions is forbidden.
    denies: bool,
    exceptions: Vec<Rule>,
}

fn letters(given: &str) -> String {
    "rwm".chars().filter(|&letter| given.contains(letter)).collect()
}

impl Rule {
    /// What a task asks for.
    pub fn asked(kind: u8, major: u32, minor: u32, access: &str) -> Self {
        Self { kind, major: Some(major), minor: Some(minor), access: letters(access) }
    }

    /// `None` is everything.
    fn parse(text: &str) -> Result<Option<Self>, Errno> {
        let kind = *text.as_bytes().first().ok_or(Errno::EINVAL)?;
        if kind == b'a' {
            return Ok(None);
        }
        let words: Vec<&str> = text[1..].split([' ', '\t']).collect();
        let [empty, device, access] = words[..] else { return Err(Errno::EINVAL) };
        let (major, minor) = device.split_once(':').ok_or(Errno::EINVAL)?;
        let number = |text: &str| match text {
            "*" => Ok(None),
            _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map(Some).map_err(|_| Errno::EINVAL)
            }
            _ => Err(Errno::EINVAL),
        };
        let good = matches!(kind, b'b' | b'c') && empty.is_empty() && (1..=3).contains(&access.len());
        if !good || !access.chars().all(|letter| "rwm".contains(letter)) {
            return Err(Errno::EINVAL);
        }
        Ok(Some(Self { kind, major: number(major)?, minor: number(minor)?, access: letters(access) }))
    }

    fn is_about(&self, other: &Self) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }

    fn covers(&self, other: &Self) -> bool {
        let wide = |own: Number, other: Number| own.is_none() || own == other;
        let device = self.kind == other.kind && wide(self.major, other.major) && wide(self.minor, other.minor);
        device && other.access.chars().all(|letter| self.access.contains(letter))
    }

    fn meets(&self, other: &Self) -> bool {
        let meet = |own: Number, other: Number| own.is_none() || other.is_none() || own == other;
        let device = self.kind == other.kind && meet(self.major, other.major) && meet(self.minor, other.minor);
        device && other.access.chars().any(|letter| self.access.contains(letter))
    }

    fn shown(&self) -> String {
        let number = |number: Number| number.map_or("*".to_owned(), |number| number.to_string());
        format!("{} {}:{} {}\n", char::from(self.kind), number(self.major), number(self.minor), self.access)
    }
}

impl Rules {
    fn lets(&self, asked: &Rule) -> bool {
        match self.denies {
            true => self.exceptions.iter().any(|exception| exception.covers(asked)),
            false => !self.exceptions.iter().any(|exception| exception.meets(asked)),
        }
    }

    fn add(&mut self, rule: &Rule) {
        match self.exceptions.iter_mut().find(|exception| exception.is_about(rule)) {
            Some(exception) => exception.access = letters(&(exception.access.clone() + &rule.access)),
            None => self.exceptions.push(rule.clone()),
        }
    }

    fn take_out(&mut self, rule: &Rule) {
        for exception in self.exceptions.iter_mut().filter(|exception| exception.is_about(rule)) {
            exception.access.retain(|letter| !rule.access.contains(letter));
        }
        self.exceptions.retain(|exception| !exception.access.is_empty());
    }

    pub(super) fn shown(&self) -> String {
        match self.denies {
            true => self.exceptions.iter().map(Rule::shown).collect(),
            false => "a *:* rwm\n".to_owned(),
        }
    }
}

impl Model {
    /// Whether a task may do that with a device.
    pub fn device_access(&self, task: i32, asked: &Rule) -> Result<(), Errno> {
        let place = self.place_for(4, &self.tasks[&task]);
        let rules = place.map_or(&self.root.rules, |place| &self.state(place).rules);
        if rules.lets(asked) { Ok(()) } else { Err(Errno::EPERM) }
    }

    pub(super) fn write_devices(
        &mut self,
        container: u32,
        allow: bool,
        text: &str,
        writer: Writer,
    ) -> Result<(), Errno> {
        if !writer.opener.capable() || !self.tasks[&writer.task].rights.capable() {
            return Err(Errno::EPERM);
        }
        let rule = Rule::parse(text)?;
        let above = match self.containers[&container].parent {
            Some(parent) => self.state(parent).rules.clone(),
            None => Rules::default(),
        };
        let Some(rule) = rule else {
            if !self.containers[&container].children.is_empty() {
                return Err(Errno::EINVAL);
            }
            if allow && above.denies {
                return Err(Errno::EPERM);
            }
            let rules = if allow { above } else { Rules { denies: true, exceptions: Vec::new() } };
            self.state_mut(container).rules = rules;
            return Ok(());
        };
        let denies = self.state(container).rules.denies;
        if allow {
            let has = if denies { above.lets(&rule) } else { !above.exceptions.iter().any(|it| it.meets(&rule)) };
            if !has {
                return Err(Errno::EPERM);
            }
            let rules = &mut self.state_mut(container).rules;
            if denies {
                rules.add(&rule)
            } else {
                rules.take_out(&rule)
            }
            return Ok(());
        }
        for below in self.downwards(container) {
            let rules = &mut self.state_mut(below).rules;
            if denies || rules.denies {
                rules.take_out(&rule)
            } else {
                rules.add(&rule)
            }
            if below != container {
                let parent = self.containers[&below].parent.expect("it is below another");
                let above = self.state(parent).rules.clone();
                let rules = &mut self.state_mut(below).rules;
                if rules.denies {
                    rules.exceptions.retain(|exception| above.lets(exception));
                }
            }
        }
        Ok(())
    }
}
