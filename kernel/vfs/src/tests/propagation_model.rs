//! What mounts there are after which changes, after Linux's document on shared subtrees, as plainly as can be: every
//! question is answered by looking at all mounts.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};
use base::Errno;
use std::format;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Shared,
    Private,
    Slave,
    Unbindable,
}

/// The directories of every file system; the root is an empty path.
const DIRECTORIES: [&str; 4] = ["", "/a", "/a/b", "/c"];

/// The group of a mount, and that of its master.
type Role = (Option<usize>, Option<usize>);

#[derive(Clone, Debug)]
struct Mount {
    /// The directory of its file system that it shows.
    root: String,
    /// The mount that it is on, and on which directory of that one's file system.
    place: Option<(usize, String)>,
    group: Option<usize>,
    master: Option<usize>,
    unbindable: bool,
}

pub struct Model {
    mounts: BTreeMap<usize, Mount>,
    /// For numbers of mounts and groups.
    next: usize,
    most: usize,
}

fn contains(outer: &str, inner: &str) -> bool {
    inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

impl Model {
    pub fn new(most: usize) -> Self {
        let root = Mount { root: String::new(), place: None, group: None, master: None, unbindable: false };
        Self { mounts: BTreeMap::from([(0, root)]), next: 1, most }
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn on(&self, mount: usize, directory: &str) -> Option<usize> {
        let place = Some((mount, directory.to_string()));
        self.mounts.iter().find(|(_, other)| other.place == place).map(|(number, _)| *number)
    }

    fn top(&self, mut mount: usize, mut directory: String) -> (usize, String) {
        while let Some(on) = self.on(mount, &directory) {
            (mount, directory) = (on, self.mounts[&on].root.clone());
        }
        (mount, directory)
    }

    fn children(&self, mount: usize) -> Vec<usize> {
        let here = |other: &Mount| other.place.as_ref().is_some_and(|(on, _)| *on == mount);
        self.mounts.iter().filter(|(_, other)| here(other)).map(|(number, _)| *number).collect()
    }

    fn tree(&self, mount: usize) -> Vec<usize> {
        let below = self.children(mount).into_iter().flat_map(|child| self.tree(child));
        core::iter::once(mount).chain(below).collect()
    }

    /// All paths that lead to a directory.
    pub fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut pending = Vec::from([(String::new(), (0, String::new()))]);
        while let Some((path, (mount, directory))) = pending.pop() {
            for name in ["/a", "/b", "/c"] {
                let below = format!("{directory}{name}");
                if DIRECTORIES.contains(&below.as_str()) {
                    pending.push((format!("{path}{name}"), self.top(mount, below)));
                }
            }
            found.push(if path.is_empty() { "/".to_string() } else { path });
        }
        found.sort();
        found
    }

    fn find(&self, path: &str) -> (usize, String) {
        // Nobody's root directory moves to what is mounted on it.
        let mut at = (0, String::new());
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = self.top(at.0, format!("{}/{name}", at.1));
        }
        at
    }

    /// Where something new at a path comes to lie.
    fn place(&self, path: &str) -> (usize, String) {
        let (mount, directory) = self.find(path);
        self.top(mount, directory)
    }

    /// The mount whose root a path leads to.
    fn mount_at(&self, path: &str) -> Result<usize, Errno> {
        let (mount, directory) = self.find(path);
        if self.mounts[&mount].root == directory { Ok(mount) } else { Err(Errno::EINVAL) }
    }

    /// "A mount leaves its peer group"; a group without peers hands its slaves to its master.
    fn leave_group(&mut self, mount: usize) {
        let Mount { group, master, .. } = self.mounts[&mount].clone();
        if let Some(mount) = self.mounts.get_mut(&mount) {
            mount.group = None;
        }
        if group.is_some() && self.mounts.values().all(|other| other.group != group) {
            self.mounts.values_mut().filter(|other| other.master == group).for_each(|other| other.master = master);
        }
    }

    fn make_one(&mut self, mount: usize, kind: Kind) {
        let group = self.mounts[&mount].group;
        if kind == Kind::Shared {
            let new = self.number();
            let mount = self.mounts.get_mut(&mount).unwrap();
            mount.group.get_or_insert(new);
            mount.unbindable = false;
            return;
        }
        self.leave_group(mount);
        let has_peers = group.is_some() && self.mounts.values().any(|other| other.group == group);
        let mount = self.mounts.get_mut(&mount).unwrap();
        match kind {
            Kind::Slave if has_peers => mount.master = group,
            Kind::Slave => {}
            _ => (mount.master, mount.unbindable) = (None, kind == Kind::Unbindable),
        }
    }

    pub fn make(&mut self, path: &str, kind: Kind, all: bool) -> Result<(), Errno> {
        let mount = self.mount_at(path)?;
        let which = if all { self.tree(mount) } else { Vec::from([mount]) };
        which.into_iter().for_each(|mount| self.make_one(mount, kind));
        Ok(())
    }

    /// The master of a group, which all its peers have.
    fn master_of(&self, group: usize) -> Option<usize> {
        self.mounts.values().find(|mount| mount.group == Some(group)).and_then(|mount| mount.master)
    }

    /// Whether what happens in `from` is handed on to `to`.
    fn hears(&self, to: usize, from: usize) -> bool {
        let Some(source) = self.mounts[&from].group else { return false };
        let Mount { group, master, .. } = self.mounts[&to];
        let mut above = core::iter::successors(group.or(master), |group| self.master_of(*group));
        to != from && above.any(|group| group == source)
    }

    fn receivers(&self, from: usize) -> Vec<usize> {
        self.mounts.keys().copied().filter(|to| self.hears(*to, from)).collect()
    }

    fn copy(&mut self, tree: &[usize], role: &mut dyn FnMut(&mut Self, usize) -> Role) -> usize {
        let mut copies = BTreeMap::new();
        for &old in tree {
            let (group, master) = role(self, old);
            let mut mount = Mount { group, master, ..self.mounts[&old].clone() };
            mount.place = mount.place.and_then(|(on, at)| copies.get(&on).map(|on| (*on, at)));
            let number = self.number();
            copies.insert(old, number);
            self.mounts.insert(number, mount);
        }
        copies[&tree[0]]
    }

    /// Puts the mounts of `source` to a place and hands them on.
    fn graft(
        &mut self,
        source: usize,
        is_move: bool,
        place: (usize, String),
        receivers: Vec<usize>,
    ) -> Result<(), Errno> {
        let tree = self.tree(source);
        let is_shared = self.mounts[&place.0].group.is_some();
        let more = tree.len() * receivers.len() + if is_move { 0 } else { tree.len() };
        let before = self.mounts.len() - if is_move { 0 } else { tree.len() };
        if before + more > self.most {
            if !is_move {
                self.forget(&tree);
            }
            return Err(Errno::ENOSPC);
        }
        // A receiver may lie in what is moved: what it is now counts.
        let roles: Vec<_> = receivers.iter().map(|at| (*at, self.mounts[at].group, self.mounts[at].master)).collect();
        let heard: BTreeSet<usize> = roles.iter().filter_map(|(_, group, _)| *group).collect();
        if is_shared {
            tree.iter().for_each(|mount| self.make_one(*mount, Kind::Shared));
        }
        let mut groups: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut copies = Vec::new();
        for (receiver, group, master) in roles {
            let origin = self.mounts[&place.0].group;
            let copy = self.copy(&tree, &mut |model, old| {
                let own = model.mounts[&old].group;
                if group == origin {
                    return (own, model.mounts[&old].master);
                }
                let mut above = master;
                while above != origin && !heard.contains(&above.unwrap()) {
                    above = model.mounts.values().find(|mount| mount.group == above).and_then(|mount| mount.master);
                }
                let mut group_for = |group: usize| {
                    if Some(group) == origin {
                        return own.unwrap();
                    }
                    let next = model.number();
                    *groups.entry((group, old)).or_insert(next)
                };
                (group.map(&mut group_for), above.map(&mut group_for))
            });
            copies.push((receiver, copy));
        }
        self.mounts.get_mut(&source).unwrap().place = Some(place.clone());
        for (receiver, copy) in copies {
            let covered = self.on(receiver, &place.1);
            let root = self.mounts[&copy].root.clone();
            let top = self.top(copy, root);
            if let Some(covered) = covered {
                self.mounts.get_mut(&covered).unwrap().place = Some(top);
            }
            self.mounts.get_mut(&copy).unwrap().place = Some((receiver, place.1.clone()));
        }
        Ok(())
    }

    /// Who is told of a change at a place, and sees it.
    fn audience(&self, place: &(usize, String)) -> Vec<usize> {
        self.receivers(place.0).into_iter().filter(|mount| contains(&self.mounts[mount].root, &place.1)).collect()
    }

    pub fn mount(&mut self, path: &str) -> Result<(), Errno> {
        let place = self.place(path);
        let audience = self.audience(&place);
        let number = self.number();
        let mount = Mount { root: String::new(), place: None, group: None, master: None, unbindable: false };
        self.mounts.insert(number, mount);
        self.graft(number, false, place, audience)
    }

    pub fn bind(&mut self, from: &str, to: &str, all: bool) -> Result<(), Errno> {
        let ((mount, directory), place) = (self.find(from), self.place(to));
        if self.mounts[&mount].unbindable {
            return Err(Errno::EINVAL);
        }
        let audience = self.audience(&place);
        let mut tree = Vec::from([mount]);
        let mut pending = Vec::from([mount]);
        while let Some(at) = pending.pop() {
            for child in self.children(at) {
                let is_below = at != mount || contains(&directory, &self.mounts[&child].place.as_ref().unwrap().1);
                if all && is_below && !self.mounts[&child].unbindable {
                    tree.push(child);
                    pending.push(child);
                }
            }
        }
        let copy = self.copy(&tree, &mut |model, old| (model.mounts[&old].group, model.mounts[&old].master));
        self.mounts.get_mut(&copy).unwrap().root = directory;
        self.graft(copy, false, place, audience)
    }

    pub fn move_mount(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let mount = self.mount_at(from)?;
        let place = self.place(to);
        let Some((parent, _)) = self.mounts[&mount].place else { return Err(Errno::EINVAL) };
        let tree = self.tree(mount);
        let is_shared = |mount: usize| self.mounts[&mount].group.is_some();
        if is_shared(parent) || is_shared(place.0) && tree.iter().any(|mount| self.mounts[mount].unbindable) {
            return Err(Errno::EINVAL);
        }
        if tree.contains(&place.0) {
            return Err(Errno::ELOOP);
        }
        let audience = self.audience(&place);
        self.graft(mount, true, place, audience)
    }

    fn forget(&mut self, mounts: &[usize]) {
        for mount in mounts {
            self.leave_group(*mount);
            self.mounts.remove(mount);
        }
    }

    pub fn unmount(&mut self, path: &str, lazy: bool) -> Result<(), Errno> {
        let (mount, directory) = self.place(path);
        if self.mounts[&mount].root != directory || self.mounts[&mount].place.is_none() {
            return Err(Errno::EINVAL);
        }
        let tree = self.tree(mount);
        if !lazy && tree.len() > 1 {
            return Err(Errno::EBUSY);
        }
        let mut copies: BTreeSet<usize> = BTreeSet::new();
        for mount in &tree {
            let (on, at) = self.mounts[mount].place.clone().unwrap();
            copies.extend(self.receivers(on).into_iter().filter_map(|other| self.on(other, &at)));
        }
        copies.retain(|copy| !tree.contains(copy));
        let covers = |child: usize| {
            let (on, at) = self.mounts[&child].place.clone().unwrap();
            at == self.mounts[&on].root
        };
        loop {
            let stays = |child: &usize| !copies.contains(child) && !tree.contains(child) && !covers(*child);
            let Some(held) = copies.iter().copied().find(|copy| self.children(*copy).iter().any(stays)) else { break };
            copies.remove(&held);
        }
        let gone: Vec<usize> = tree.iter().copied().chain(copies).collect();
        let mut kept = Vec::new();
        for child in gone.iter().flat_map(|mount| self.children(*mount)).filter(|child| !gone.contains(child)) {
            let mut place = self.mounts[&child].place.clone().unwrap();
            while gone.contains(&place.0) {
                place = self.mounts[&place.0].place.clone().unwrap();
            }
            kept.push((child, place));
        }
        for (child, _) in &kept {
            self.mounts.get_mut(child).unwrap().place = None;
        }
        self.forget(&gone);
        for (child, (on, at)) in kept {
            self.mounts.get_mut(&child).unwrap().place = Some(self.top(on, at));
        }
        Ok(())
    }

    /// The path of a mount's root, and those of all that it lies on.
    fn names(&self, mount: usize) -> (String, String) {
        let Some((on, at)) = &self.mounts[&mount].place else { return (String::new(), "/".to_string()) };
        let (path, names) = self.names(*on);
        let path = format!("{path}{}", &at[self.mounts[on].root.len()..]);
        let shown = if path.is_empty() { "/" } else { &path };
        (path.clone(), format!("{names}|{shown}"))
    }

    /// All mounts by where they are, in the words of the test.
    pub fn shown(&self) -> BTreeMap<String, String> {
        let first = |group: Option<usize>| {
            let peers = self.mounts.iter().filter(|(_, mount)| mount.group == group).map(|(number, _)| *number);
            if group.is_some() { peers.map(|peer| self.names(peer).1).min().unwrap() } else { "-".to_string() }
        };
        let line = |mount: &Mount| {
            let root = if mount.root.is_empty() { "/" } else { &mount.root };
            let fixed = if mount.unbindable { " unbindable" } else { "" };
            format!("{root} peers {} master {}{fixed}", first(mount.group), first(mount.master))
        };
        self.mounts.iter().map(|(number, mount)| (self.names(*number).1, line(mount))).collect()
    }
}
