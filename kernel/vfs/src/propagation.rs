//! Who is told of which mount: peer groups and their slaves, as in Linux's document on shared subtrees and
//! `mount_namespaces(7)`.
//!
//! A *shared* mount is in a peer group; what is mounted in one peer appears in all. A *slave* gets what the mounts of its
//! master group get and gives nothing back; a shared slave hands it on to its own peers. The rest is private, or
//! *unbindable*: private, and not to be bound. Mounts are known by their numbers here; those that are private have no entry.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// What `mount(2)` with `MS_SHARED`, `MS_PRIVATE`, `MS_SLAVE` or `MS_UNBINDABLE` makes of a mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Propagation {
    /// In a peer group.
    Shared,
    /// In none.
    Private,
    /// No longer a peer, but told of what happens to those that were.
    Slave,
    /// Private, and not to be bound.
    Unbindable,
}

/// How a mount takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Role {
    /// Its peer group, if it is shared.
    pub group: Option<u32>,
    /// The group that it is a slave of.
    pub master: Option<u32>,
    /// It may not be bound.
    pub unbindable: bool,
}

/// How a copy takes part, seen from what it is a copy of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kinship {
    /// As the original does: a peer of what is shared, a slave beside a slave.
    Same,
    /// As a slave of the original.
    Slave,
    /// As a slave that begins a peer group of its own.
    SharedSlave,
}

/// A mount that gets a copy of what is mounted elsewhere.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    /// The mount.
    pub mount: T,
    /// Whose copy it gets: 0 for what was mounted first, `n` for what the `n`th receiver got.
    pub source: usize,
    /// What the copy is to that.
    pub kinship: Kinship,
}

struct Member<T> {
    role: Role,
    mount: T,
}

#[derive(Default)]
struct Group {
    master: Option<u32>,
    peers: BTreeSet<u32>,
    /// The slaves that are not shared themselves.
    slaves: BTreeSet<u32>,
    /// The groups that are slaves as a whole.
    slave_groups: BTreeSet<u32>,
}

/// All peer groups of a mount tree, with a handle `T` on each mount that is not private.
pub(crate) struct PeerGroups<T> {
    members: BTreeMap<u32, Member<T>>,
    groups: BTreeMap<u32, Group>,
    /// Numbers of groups that were given back; with those of `groups` they are all from 1 on.
    free: BTreeSet<u32>,
}

impl<T: Clone> PeerGroups<T> {
    /// No group.
    pub const fn new() -> Self {
        Self { members: BTreeMap::new(), groups: BTreeMap::new(), free: BTreeSet::new() }
    }

    /// Whether no mount is shared: then nothing is handed on.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How a mount takes part.
    pub fn role(&self, number: u32) -> Role {
        self.members.get(&number).map_or_else(Role::default, |member| member.role)
    }

    /// The groups above a slave, from its own master on, each with its mounts.
    pub fn masters(&self, number: u32) -> impl Iterator<Item = (u32, Vec<T>)> {
        let first = self.role(number).master;
        core::iter::successors(first, |group| self.groups.get(group)?.master).map(|group| {
            let peers = self.groups.get(&group).into_iter().flat_map(|group| &group.peers);
            (group, peers.filter_map(|peer| self.handle(*peer)).collect())
        })
    }

    fn handle(&self, number: u32) -> Option<T> {
        self.members.get(&number).map(|member| member.mount.clone())
    }

    /// Changes how a mount takes part.
    pub fn change(&mut self, number: u32, mount: &T, to: Propagation) {
        let role = self.role(number);
        match to {
            Propagation::Shared if role.group.is_some() => {}
            Propagation::Shared => {
                self.leave(number);
                let group = Some(self.begin_group(role.master));
                self.enter(number, mount, Role { group, master: role.master, unbindable: false });
            }
            Propagation::Slave => {
                let Some(group) = role.group else { return };
                let is_alone = self.groups.get(&group).is_none_or(|group| group.peers.len() == 1);
                let master = if is_alone { role.master } else { Some(group) };
                self.leave(number);
                self.enter(number, mount, Role { master, ..Role::default() });
            }
            Propagation::Private | Propagation::Unbindable => {
                self.leave(number);
                let unbindable = to == Propagation::Unbindable;
                self.enter(number, mount, Role { unbindable, ..Role::default() });
            }
        }
    }

    /// Lets a new mount take part as a copy of `original`, which is shared unless `kinship` is [`Kinship::Same`].
    pub fn enter_copy(&mut self, number: u32, mount: &T, original: u32, kinship: Kinship) {
        let role = self.role(original);
        let role = match kinship {
            Kinship::Same => role,
            Kinship::Slave => Role { master: role.group, ..Role::default() },
            Kinship::SharedSlave => {
                let group = Some(self.begin_group(role.group));
                Role { group, master: role.group, unbindable: false }
            }
        };
        self.enter(number, mount, role);
    }

    /// Ends a mount's part: it is private then. A group that loses its last peer goes, and its slaves go to its master.
    pub fn leave(&mut self, number: u32) {
        let Some(Member { role, .. }) = self.members.remove(&number) else { return };
        if let Some(number_of_group) = role.group {
            let Some(group) = self.groups.get_mut(&number_of_group) else { return };
            group.peers.remove(&number);
            if group.peers.is_empty() {
                self.end_group(number_of_group);
            }
        } else if let Some(master) = role.master.and_then(|master| self.groups.get_mut(&master)) {
            master.slaves.remove(&number);
        }
    }

    fn enter(&mut self, number: u32, mount: &T, role: Role) {
        if role == Role::default() {
            return;
        }
        if let Some(group) = role.group.or(role.master).and_then(|group| self.groups.get_mut(&group)) {
            if role.group.is_some() {
                group.peers.insert(number)
            } else {
                group.slaves.insert(number)
            };
        }
        self.members.insert(number, Member { role, mount: mount.clone() });
    }

    /// A new group without peers under the lowest free number.
    fn begin_group(&mut self, master: Option<u32>) -> u32 {
        let number = self.free.pop_first().unwrap_or(self.groups.len() as u32 + 1);
        if let Some(master) = master.and_then(|master| self.groups.get_mut(&master)) {
            master.slave_groups.insert(number);
        }
        self.groups.insert(number, Group { master, ..Group::default() });
        number
    }

    fn end_group(&mut self, number: u32) {
        let Some(gone) = self.groups.remove(&number) else { return };
        self.free.insert(number);
        let Group { master, slaves, slave_groups, .. } = gone;
        for slave in &slaves {
            match self.members.get_mut(slave) {
                Some(member) if master.is_some() => member.role.master = master,
                _ => _ = self.members.remove(slave),
            }
        }
        for slave in &slave_groups {
            let Some(group) = self.groups.get_mut(slave) else { continue };
            group.master = master;
            for peer in &group.peers {
                if let Some(member) = self.members.get_mut(peer) {
                    member.role.master = master;
                }
            }
        }
        if let Some(master) = master.and_then(|master| self.groups.get_mut(&master)) {
            master.slave_groups.remove(&number);
            master.slaves.extend(slaves);
            master.slave_groups.extend(slave_groups);
        }
    }

    /// Which mounts get a copy of what is mounted in the mount `number`, in an order in which each copy is made after what
    /// it is a copy of. Where `shows` says no, the place is not to be seen.
    pub fn receivers(&self, number: u32, mut shows: impl FnMut(&T) -> bool) -> Vec<Receiver<T>> {
        let mut receivers = Vec::new();
        let mut pending: Vec<_> = self.role(number).group.map(|group| (group, 0, Kinship::Same)).into_iter().collect();
        while let Some((group, mut source, mut kinship)) = pending.pop() {
            let Some(group) = self.groups.get(&group) else { continue };
            for peer in group.peers.iter().filter(|peer| **peer != number) {
                let Some(mount) = self.handle(*peer).filter(&mut shows) else { continue };
                receivers.push(Receiver { mount, source, kinship });
                if kinship == Kinship::SharedSlave {
                    // The first copy begins the group that the others join.
                    (source, kinship) = (receivers.len(), Kinship::Same);
                }
            }
            for slave in &group.slaves {
                let Some(mount) = self.handle(*slave).filter(&mut shows) else { continue };
                receivers.push(Receiver { mount, source, kinship: Kinship::Slave });
            }
            pending.extend(group.slave_groups.iter().map(|slave| (*slave, source, Kinship::SharedSlave)));
        }
        receivers
    }
}

#[cfg(test)]
mod tests {
    use super::{Propagation::*, *};

    #[test]
    fn numbers_of_groups_are_given_back_and_the_lowest_comes_first() {
        let mut groups = PeerGroups::new();
        (1..=3).for_each(|mount| groups.change(mount, &(), Shared));
        assert_eq!(groups.role(2), Role { group: Some(2), ..Role::default() });
        groups.leave(1);
        groups.change(2, &(), Private);
        groups.change(9, &(), Shared);
        assert_eq!(groups.role(9).group, Some(1));
        groups.leave(9);
        groups.leave(3);
        assert!(groups.is_empty() && groups.members.is_empty());
        assert_eq!(groups.free.len(), 3);
    }

    #[test]
    fn slaves_of_a_group_that_ends_go_to_its_master_or_become_private() {
        let mut groups = PeerGroups::new();
        groups.change(1, &(), Shared);
        groups.enter_copy(2, &(), 1, Kinship::SharedSlave);
        groups.enter_copy(3, &(), 2, Kinship::Slave);
        groups.enter_copy(4, &(), 2, Kinship::SharedSlave);
        groups.change(2, &(), Slave);
        for slave in [2, 3, 4] {
            assert_eq!(groups.role(slave).master, Some(1), "{slave}");
        }
        groups.change(1, &(), Slave);
        for private in [1, 2, 3] {
            assert_eq!(groups.role(private), Role::default(), "{private}");
        }
        assert_eq!(groups.role(4), Role { group: Some(3), ..Role::default() });
    }

    #[test]
    fn a_peer_made_a_slave_is_told_by_those_that_stay() {
        let mut groups = PeerGroups::new();
        groups.change(1, &1, Shared);
        groups.enter_copy(2, &2, 1, Kinship::Same);
        groups.change(1, &1, Slave);
        assert_eq!(groups.role(1), Role { master: Some(1), ..Role::default() });
        let told: Vec<i32> = groups.receivers(2, |_| true).iter().map(|receiver| receiver.mount).collect();
        assert_eq!(told, [1]);
        assert!(groups.receivers(1, |_| true).is_empty());
    }

    #[test]
    fn copies_down_the_line_come_from_the_nearest_that_has_one() {
        let mut groups = PeerGroups::new();
        groups.change(1, &1, Shared);
        groups.enter_copy(2, &2, 1, Kinship::SharedSlave);
        groups.enter_copy(3, &3, 2, Kinship::Same);
        groups.enter_copy(4, &4, 2, Kinship::Slave);
        let found = |seen: &[i32]| -> Vec<_> {
            let receivers = groups.receivers(1, |mount| seen.contains(mount));
            receivers.iter().map(|receiver| (receiver.mount, receiver.source, receiver.kinship)).collect()
        };
        assert_eq!(found(&[2, 3, 4]), [(2, 0, Kinship::SharedSlave), (3, 1, Kinship::Same), (4, 1, Kinship::Slave)]);
        assert_eq!(found(&[3, 4]), [(3, 0, Kinship::SharedSlave), (4, 1, Kinship::Slave)]);
        assert_eq!(found(&[4]), [(4, 0, Kinship::Slave)]);
    }
}
