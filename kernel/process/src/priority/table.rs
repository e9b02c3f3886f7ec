//! Which tasks wait for which locks, and what priority that lends to whom. Plain data: whoever changes it carries out
//! what [`Table::take_changes`] then tells.
//!
//! A lock is here only as long as somebody waits for it. Its owner has at least the priority of the first who waits;
//! so have those for whom the owner waits in turn. Nobody can wait for himself that way: such a wait is refused.

use crate::futex::Key;
use alloc::{
    collections::{BTreeMap, btree_map::Entry},
    vec::Vec,
};
use base::{Errno, Pid};

/// How many owners that wait themselves may stand behind each other, as on Linux.
const DEPTH: usize = 1024;

/// A task as the table knows it: number, own priority (0 is none), and what it is reached by.
pub(crate) struct Member<'a, H> {
    pub(crate) id: Pid,
    pub(crate) priority: u32,
    pub(crate) handle: &'a H,
}

/// A task that waits or that others wait for.
struct Party<H> {
    handle: H,
    own: u32,
    lent: u32,
    waits_for: Option<Key>,
    owns: Vec<Key>,
}

impl<H> Party<H> {
    fn priority(&self) -> u32 {
        self.own.max(self.lent)
    }
}

struct Waiter<W> {
    id: Pid,
    priority: u32,
    token: W,
}

struct Lock<W> {
    owner: Pid,
    /// The owner got it from one that ended, and the word does not say so yet.
    is_inherited: bool,
    /// The highest priority first, then who came first.
    waiters: Vec<Waiter<W>>,
}

impl<W> Lock<W> {
    fn insert(&mut self, waiter: Waiter<W>) {
        let at = self.waiters.partition_point(|other| other.priority >= waiter.priority);
        self.waiters.insert(at, waiter);
    }

    fn remove(&mut self, id: Pid) -> Option<Waiter<W>> {
        let at = self.waiters.iter().position(|waiter| waiter.id == id)?;
        Some(self.waiters.remove(at))
    }
}

/// All locks that somebody waits for. `H` is what a task is reached by, `W` what a waiter is told by.
pub(crate) struct Table<H, W> {
    locks: BTreeMap<Key, Lock<W>>,
    parties: BTreeMap<Pid, Party<H>>,
    changes: Vec<(H, u32)>,
}

impl<H: Clone, W> Table<H, W> {
    pub(crate) const fn new() -> Self {
        Self { locks: BTreeMap::new(), parties: BTreeMap::new(), changes: Vec::new() }
    }

    /// How many locks there are.
    pub(crate) fn len(&self) -> usize {
        self.locks.len()
    }

    /// Who has the lock, if somebody waits for it.
    pub(crate) fn owner(&self, key: Key) -> Option<Pid> {
        self.locks.get(&key).map(|lock| lock.owner)
    }

    /// Who gets the lock next.
    pub(crate) fn next(&self, key: Key) -> Option<Pid> {
        self.locks.get(&key)?.waiters.first().map(|waiter| waiter.id)
    }

    /// What a task waits for.
    pub(crate) fn waits_for(&self, id: Pid) -> Option<Key> {
        self.parties.get(&id)?.waits_for
    }

    /// Who is lent another priority now than before, each with the new one, 0 for none. The last of several counts.
    pub(crate) fn take_changes(&mut self) -> Vec<(H, u32)> {
        core::mem::take(&mut self.changes)
    }

    /// Has a task wait for a lock. `owner` has it unless the table knows better.
    ///
    /// `EDEADLK` the owner waits for the task itself, or the chain of those that wait is too long; nothing has changed.
    pub(crate) fn wait(
        &mut self,
        key: Key,
        owner: Member<'_, H>,
        waiter: Member<'_, H>,
        token: W,
    ) -> Result<(), Errno> {
        let holder = self.owner(key).unwrap_or(owner.id);
        self.check(holder, waiter.id)?;
        if let Entry::Vacant(vacant) = self.locks.entry(key) {
            vacant.insert(Lock { owner: owner.id, is_inherited: false, waiters: Vec::new() });
            self.party(&owner).owns.push(key);
        }
        let party = self.party(&waiter);
        party.waits_for = Some(key);
        let priority = party.priority();
        if let Some(lock) = self.locks.get_mut(&key) {
            lock.insert(Waiter { id: waiter.id, priority, token });
        }
        self.settle(holder);
        Ok(())
    }

    fn check(&self, holder: Pid, waiter: Pid) -> Result<(), Errno> {
        let mut at = holder;
        for _ in 0..DEPTH {
            if at == waiter {
                return Err(Errno::EDEADLK);
            }
            match self.waits_for(at).and_then(|key| self.owner(key)) {
                Some(next) => at = next,
                None => return Ok(()),
            }
        }
        Err(Errno::EDEADLK)
    }

    fn party(&mut self, member: &Member<'_, H>) -> &mut Party<H> {
        let new = || Party { handle: member.handle.clone(), own: 0, lent: 0, waits_for: None, owns: Vec::new() };
        let party = self.parties.entry(member.id).or_insert_with(new);
        party.own = member.priority;
        party
    }

    /// The owner lets the lock go: the first that waits has it now. Who that is; none if nobody waited.
    pub(crate) fn hand_over(&mut self, key: Key) -> Option<(Pid, W)> {
        self.pass(key, false)
    }

    fn pass(&mut self, key: Key, is_inherited: bool) -> Option<(Pid, W)> {
        let lock = self.locks.get_mut(&key)?;
        let old = lock.owner;
        if let Some(party) = self.parties.get_mut(&old) {
            party.owns.retain(|other| *other != key);
        }
        if lock.waiters.is_empty() {
            self.locks.remove(&key);
            self.settle(old);
            return None;
        }
        let next = lock.waiters.remove(0);
        (lock.owner, lock.is_inherited) = (next.id, is_inherited);
        if let Some(party) = self.parties.get_mut(&next.id) {
            party.waits_for = None;
            party.owns.push(key);
        }
        self.forget_if_unused(key);
        self.settle(old);
        self.settle(next.id);
        Some((next.id, next.token))
    }

    /// A lock for which nobody waits is not here, unless nothing but the table knows whose it is.
    fn forget_if_unused(&mut self, key: Key) {
        let Some(lock) = self.locks.get(&key).filter(|lock| lock.waiters.is_empty() && !lock.is_inherited) else {
            return;
        };
        if let Some(party) = self.parties.get_mut(&lock.owner) {
            party.owns.retain(|other| *other != key);
        }
        self.locks.remove(&key);
    }

    /// A task waits no longer, if it did.
    pub(crate) fn give_up(&mut self, id: Pid) {
        let Some(key) = self.parties.get_mut(&id).and_then(|party| party.waits_for.take()) else { return };
        if let Some(lock) = self.locks.get_mut(&key) {
            lock.remove(id);
            let owner = lock.owner;
            self.forget_if_unused(key);
            self.settle(owner);
        }
        self.settle(id);
    }

    /// A task ends: what it has goes to those who wait, who are to be told, and then to put the words right.
    pub(crate) fn abandon(&mut self, id: Pid) -> Vec<W> {
        let keys = self.parties.get(&id).map_or_else(Vec::new, |party| party.owns.clone());
        keys.into_iter().filter_map(|key| self.pass(key, true)).map(|(_, token)| token).collect()
    }

    /// The word of a lock that was inherited says so now.
    pub(crate) fn put_right(&mut self, key: Key) {
        let Some(lock) = self.locks.get_mut(&key) else { return };
        lock.is_inherited = false;
        let owner = lock.owner;
        self.forget_if_unused(key);
        self.settle(owner);
    }

    /// A task has another priority of its own.
    pub(crate) fn reassess(&mut self, id: Pid, own: u32) {
        if let Some(party) = self.parties.get_mut(&id) {
            party.own = own;
            let at = self.requeue(id);
            at.into_iter().for_each(|owner| self.settle(owner));
        }
    }

    /// Puts a task where its priority belongs among those that wait for the same. Who owns that.
    fn requeue(&mut self, id: Pid) -> Option<Pid> {
        let party = self.parties.get(&id)?;
        let priority = party.priority();
        let lock = self.locks.get_mut(&party.waits_for?)?;
        if let Some(waiter) = lock.remove(id) {
            lock.insert(Waiter { priority, ..waiter });
        }
        Some(lock.owner)
    }

    /// Lends a task what those lend who wait for it, and goes on to whom it waits for itself. A task that neither waits
    /// nor is waited for is forgotten.
    fn settle(&mut self, id: Pid) {
        let mut at = Some(id);
        while let Some(id) = at.take()
            && let Some(party) = self.parties.get_mut(&id)
        {
            let first = |key: &Key| self.locks.get(key)?.waiters.first().map(|waiter| waiter.priority);
            let lent = party.owns.iter().filter_map(first).max().unwrap_or(0);
            if lent != party.lent {
                party.lent = lent;
                self.changes.push((party.handle.clone(), lent));
                at = self.requeue(id);
            } else if party.waits_for.is_none() && party.owns.is_empty() {
                self.parties.remove(&id);
            }
        }
        if self.parties.get(&id).is_some_and(|party| party.waits_for.is_none() && party.owns.is_empty()) {
            self.parties.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn key(number: u64) -> Key {
        Key::Private { space: 1, address: number * 4 }
    }

    /// Tasks and locks by number; a task's number is its handle and its token.
    #[derive(Default)]
    struct World {
        table: Option<Table<i32, i32>>,
        lent: HashMap<i32, u32>,
    }

    impl World {
        fn new() -> Self {
            Self { table: Some(Table::new()), lent: HashMap::new() }
        }

        fn change<R>(&mut self, act: impl FnOnce(&mut Table<i32, i32>) -> R) -> R {
            let table = self.table.as_mut().unwrap();
            let result = act(table);
            self.lent.extend(table.take_changes());
            result
        }

        fn wait(&mut self, lock: u64, owner: (i32, u32), waiter: (i32, u32)) -> Result<(), Errno> {
            let member = |(id, priority): &(i32, u32)| (Pid::new(*id), *priority, *id);
            let (one, other) = (member(&owner), member(&waiter));
            self.change(|table| {
                let owner = Member { id: one.0, priority: one.1, handle: &one.2 };
                let waiter = Member { id: other.0, priority: other.1, handle: &other.2 };
                table.wait(key(lock), owner, waiter, other.2)
            })
        }

        fn lent(&self, id: i32) -> u32 {
            self.lent.get(&id).copied().unwrap_or(0)
        }
    }

    #[test]
    fn an_owner_is_lent_the_priority_of_the_first_who_waits() {
        let mut world = World::new();
        world.wait(1, (1, 0), (2, 5)).unwrap();
        world.wait(1, (1, 0), (3, 9)).unwrap();
        assert_eq!(world.lent(1), 9);
        assert_eq!(world.change(|table| table.hand_over(key(1))), Some((Pid::new(3), 3)));
        assert_eq!((world.lent(1), world.lent(3)), (0, 5), "the next owner has those who are left");
        world.change(|table| table.give_up(Pid::new(2)));
        assert_eq!(world.lent(3), 0);
        assert_eq!(world.change(|table| table.len()), 0, "nobody waits");
    }

    #[test]
    fn priority_goes_along_a_chain_and_a_ring_is_refused() {
        let mut world = World::new();
        world.wait(1, (1, 0), (2, 0)).unwrap();
        world.wait(2, (2, 0), (3, 7)).unwrap();
        assert_eq!((world.lent(1), world.lent(2)), (7, 7));
        assert_eq!(world.wait(3, (3, 7), (1, 0)), Err(Errno::EDEADLK));
        world.change(|table| table.reassess(Pid::new(3), 20));
        assert_eq!((world.lent(1), world.lent(2)), (20, 20));
        world.change(|table| table.give_up(Pid::new(3)));
        assert_eq!((world.lent(1), world.lent(2)), (0, 0));
    }

    #[test]
    fn what_was_inherited_is_known_until_the_word_says_it() {
        let mut world = World::new();
        world.wait(1, (1, 0), (2, 5)).unwrap();
        assert_eq!(world.change(|table| table.abandon(Pid::new(1))), [2]);
        assert_eq!(world.change(|table| table.owner(key(1))), Some(Pid::new(2)));
        world.wait(1, (9, 0), (3, 6)).unwrap();
        assert_eq!(world.lent(2), 6, "the table knows better than the word");
        world.change(|table| table.give_up(Pid::new(3)));
        world.change(|table| table.put_right(key(1)));
        assert_eq!(world.change(|table| (table.len(), table.parties.len())), (0, 0));
    }

    /// What the model knows: each lock's owner and those who wait, in the order of coming; each task's own priority.
    #[derive(Default)]
    struct Model {
        locks: HashMap<u64, (i32, Vec<i32>)>,
        own: HashMap<i32, u32>,
    }

    impl Model {
        fn lent(&self, id: i32) -> u32 {
            let owned = self.locks.values().filter(|(owner, _)| *owner == id);
            owned.flat_map(|(_, waiters)| waiters).map(|&waiter| self.priority(waiter)).max().unwrap_or(0)
        }

        fn priority(&self, id: i32) -> u32 {
            self.own[&id].max(self.lent(id))
        }

        fn waits_for(&self, id: i32) -> Option<u64> {
            self.locks.iter().find(|(_, (_, waiters))| waiters.contains(&id)).map(|(lock, _)| *lock)
        }

        fn reaches(&self, mut from: i32, to: i32) -> bool {
            loop {
                if from == to {
                    return true;
                }
                match self.waits_for(from) {
                    Some(lock) => from = self.locks[&lock].0,
                    None => return false,
                }
            }
        }
    }

    proptest! {
        #[test]
        fn table_and_plain_lists_agree(steps in proptest::collection::vec((0u8..4, 0i32..6, 0i32..6, 0u64..4, 0u32..5), 1..60)) {
            let mut world = World::new();
            let mut model = Model { own: (0..6).map(|id| (id, 0)).collect(), ..Model::default() };
            for (what, first, second, lock, priority) in steps {
                match what {
                    0 if model.waits_for(first).is_none() && first != second => {
                        let holder = model.locks.get(&lock).map_or(second, |(owner, _)| *owner);
                        let expected = if model.reaches(holder, first) { Err(Errno::EDEADLK) } else { Ok(()) };
                        let (owner, waiter) = ((second, model.own[&second]), (first, model.own[&first]));
                        prop_assert_eq!(world.wait(lock, owner, waiter), expected);
                        if expected.is_ok() {
                            model.locks.entry(lock).or_insert((second, Vec::new())).1.push(first);
                        }
                    }
                    1 => {
                        let found = world.change(|table| table.hand_over(key(lock))).map(|(id, token)| (id.raw(), token));
                        let expected = model.locks.get(&lock).map(|(_, waiters)| {
                            let most = waiters.iter().map(|&waiter| model.priority(waiter)).max().unwrap();
                            waiters.iter().copied().filter(|&waiter| model.priority(waiter) == most).collect::<Vec<_>>()
                        });
                        prop_assert_eq!(found.is_some(), expected.is_some());
                        if let (Some((id, token)), Some(best)) = (found, expected) {
                            prop_assert_eq!(id, token);
                            prop_assert!(best.contains(&id), "{} of {:?}", id, best);
                            let (owner, waiters) = model.locks.get_mut(&lock).unwrap();
                            *owner = id;
                            waiters.retain(|&waiter| waiter != id);
                        }
                    }
                    2 => {
                        world.change(|table| table.give_up(Pid::new(first)));
                        model.locks.values_mut().for_each(|(_, waiters)| waiters.retain(|&waiter| waiter != first));
                    }
                    _ => {
                        model.own.insert(first, priority);
                        world.change(|table| table.reassess(Pid::new(first), priority));
                    }
                }
                model.locks.retain(|_, (_, waiters)| !waiters.is_empty());
                for id in 0..6 {
                    prop_assert_eq!(world.lent(id), model.lent(id), "of {}", id);
                }
                let table = world.table.as_ref().unwrap();
                prop_assert_eq!(table.len(), model.locks.len());
                let known = (0..6).filter(|&id| {
                    model.waits_for(id).is_some() || model.locks.values().any(|(owner, _)| *owner == id)
                });
                prop_assert_eq!(table.parties.len(), known.count());
            }
        }
    }
}
