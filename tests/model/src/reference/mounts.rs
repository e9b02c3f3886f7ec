//! Mounting, remounting, unmounting. Rules: sections 2.2 to 2.5.

use super::{Container, Hierarchy, Model, Rights, SUBSYSTEMS, State};
use base::Errno;
use std::collections::BTreeSet;

/// The two sets of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// That of 2006.
    Container,
    /// That of v1.
    Cgroup,
}

/// What a data string says.
#[derive(Default)]
struct Options {
    set: Option<BTreeSet<usize>>,
    name: Option<String>,
    no_prefix: bool,
    xattr: bool,
    clone_children: bool,
    auto_remove: bool,
    agent: Option<String>,
}

/// Hierarchies that can be active at once.
const MOST_HIERARCHIES: usize = 15;

impl Model {
    /// The hierarchy's number.
    pub fn mount(&mut self, dialect: Dialect, data: &str, rights: Rights) -> Result<usize, Errno> {
        if !rights.capable() {
            return Err(Errno::EPERM);
        }
        let options = self.options(data)?;
        let number = match self.matching(&options)? {
            Some(number) => number,
            None => self.new_hierarchy(dialect, options)?,
        };
        self.hierarchies.get_mut(&number).expect("it was found").mounts += 1;
        self.mounts.push(number);
        Ok(number)
    }

    /// Errors as a remount of that mount.
    pub fn remount(&mut self, which: usize, data: &str, rights: Rights) -> Result<(), Errno> {
        if !rights.capable() {
            return Err(Errno::EPERM);
        }
        if data.is_empty() {
            return Ok(());
        }
        let options = self.options(data)?;
        let hierarchy = self.hierarchies.get_mut(&self.mounts[which]).expect("a mount has a hierarchy");
        if options.set.is_some_and(|set| set != hierarchy.subsystems)
            || options.name.is_some_and(|name| Some(name) != hierarchy.name)
        {
            return Err(Errno::EBUSY);
        }
        if options.no_prefix != hierarchy.no_prefix {
            return Err(Errno::EINVAL);
        }
        if let Some(agent) = options.agent {
            hierarchy.agent = agent.into_bytes();
        }
        let root = self.containers.get_mut(&hierarchy.root).expect("a hierarchy has a root");
        root.clone_children |= options.clone_children;
        root.auto_remove |= options.auto_remove;
        Ok(())
    }

    /// Takes a mount away.
    pub fn umount(&mut self, which: usize) {
        let number = self.mounts.remove(which);
        self.hierarchies.get_mut(&number).expect("a mount has a hierarchy").mounts -= 1;
        self.dissolve_if_unused(number);
    }

    pub(super) fn dissolve_if_unused(&mut self, number: usize) {
        let Some(hierarchy) = self.hierarchies.get(&number) else { return };
        if hierarchy.mounts > 0 || !self.containers[&hierarchy.root].children.is_empty() {
            return;
        }
        self.containers.get_mut(&hierarchy.root).expect("a hierarchy has a root").removed = true;
        let root = hierarchy.root;
        self.hierarchies.remove(&number);
        for task in self.tasks.values_mut() {
            let place = task.places.remove(&number);
            task.remnants.extend(place.filter(|&place| place != root).map(|place| (number, place)));
        }
    }

    /// What `/proc/mounts` shows behind the mount's own flags.
    pub fn mount_options(&self, which: usize) -> String {
        let hierarchy = &self.hierarchies[&self.mounts[which]];
        let root = &self.containers[&hierarchy.root];
        let mut words: Vec<String> = self.names_in(hierarchy).iter().map(|name| (*name).to_owned()).collect();
        let mut add = |given: bool, word: String| words.extend(given.then_some(word));
        add(hierarchy.no_prefix, "noprefix".to_owned());
        add(hierarchy.xattr, "xattr".to_owned());
        let octal = |byte: &u8| match byte {
            b',' | b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}"),
            _ => char::from(*byte).to_string(),
        };
        add(
            !hierarchy.agent.is_empty(),
            format!("release_agent={}", hierarchy.agent.iter().map(octal).collect::<String>()),
        );
        add(root.clone_children, "clone_children".to_owned());
        add(root.auto_remove, "auto_remove".to_owned());
        add(hierarchy.name.is_some(), format!("name={}", hierarchy.name.as_deref().unwrap_or_default()));
        words.join(",")
    }

    pub(super) fn names_in(&self, hierarchy: &Hierarchy) -> Vec<&'static str> {
        SUBSYSTEMS.iter().filter(|(index, _)| hierarchy.subsystems.contains(index)).map(|&(_, name)| name).collect()
    }

    fn options(&self, data: &str) -> Result<Options, Errno> {
        let mut options = Options::default();
        let (mut all, mut none, mut named) = (false, false, BTreeSet::new());
        for word in data.split(',').filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                None => match word {
                    "all" => all = true,
                    "none" => none = true,
                    "noprefix" => options.no_prefix = true,
                    "xattr" => options.xattr = true,
                    "clone_children" => options.clone_children = true,
                    "auto_remove" => options.auto_remove = true,
                    _ => {
                        let index = SUBSYSTEMS.iter().find(|(_, name)| *name == word).map(|&(index, _)| index);
                        named.insert(index.ok_or(Errno::EINVAL)?);
                    }
                },
                Some(("name", name)) => {
                    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
                    let fits = !name.is_empty() && name.len() <= 63 && name.bytes().all(good);
                    if !fits || options.name.replace(name.to_owned()).is_some() {
                        return Err(Errno::EINVAL);
                    }
                }
                Some(("release_agent", agent)) => {
                    if agent.is_empty() || options.agent.replace(agent.to_owned()).is_some() {
                        return Err(Errno::EINVAL);
                    }
                }
                Some(_) => return Err(Errno::EINVAL),
            }
        }
        if !named.is_empty() && (all || none) || none && (all || options.name.is_none()) {
            return Err(Errno::EINVAL);
        }
        options.set = if !named.is_empty() {
            Some(named)
        } else if none {
            Some(BTreeSet::new())
        } else if all || options.name.is_none() {
            Some(SUBSYSTEMS.iter().map(|&(index, _)| index).collect())
        } else {
            None
        };
        if options.no_prefix && options.set.as_ref().is_some_and(|set| set.iter().any(|&index| index != 0)) {
            return Err(Errno::EINVAL);
        }
        let exists = self.hierarchies.values().any(|hierarchy| hierarchy.name == options.name);
        if options.set.is_none() && !exists {
            return Err(Errno::EINVAL);
        }
        Ok(options)
    }

    fn matching(&self, options: &Options) -> Result<Option<usize>, Errno> {
        if options.name.is_some() {
            let found = self.hierarchies.iter().find(|(_, hierarchy)| hierarchy.name == options.name);
            return match (found, &options.set) {
                (Some((_, hierarchy)), Some(set)) if *set != hierarchy.subsystems => Err(Errno::EBUSY),
                (found, _) => Ok(found.map(|(&number, _)| number)),
            };
        }
        let equal = |hierarchy: &Hierarchy| options.set.as_ref() == Some(&hierarchy.subsystems);
        Ok(self.hierarchies.iter().find(|(_, hierarchy)| equal(hierarchy)).map(|(&number, _)| number))
    }

    fn new_hierarchy(&mut self, dialect: Dialect, options: Options) -> Result<usize, Errno> {
        let subsystems = options.set.unwrap_or_default();
        if subsystems.iter().any(|&index| self.bound(index).is_some()) {
            return Err(Errno::EBUSY);
        }
        let free = (1..=MOST_HIERARCHIES).find(|number| !self.hierarchies.contains_key(number));
        let number = free.ok_or(Errno::ENOSPC)?;
        let root = self.add_container(Container {
            name: Vec::new(),
            hierarchy: number,
            parent: None,
            children: Vec::new(),
            removed: false,
            notify: false,
            auto_remove: options.auto_remove,
            clone_children: options.clone_children,
            state: State::default(),
        });
        let hierarchy = Hierarchy {
            dialect,
            subsystems,
            name: options.name,
            no_prefix: options.no_prefix,
            xattr: options.xattr,
            agent: options.agent.unwrap_or_default().into_bytes(),
            root,
            mounts: 0,
        };
        if hierarchy.subsystems.contains(&8) {
            self.next_bean = 1;
        }
        self.hierarchies.insert(number, hierarchy);
        Ok(number)
    }

    /// The root of a hierarchy.
    pub fn root_of(&self, hierarchy: usize) -> u32 {
        self.hierarchies[&hierarchy].root
    }
}
