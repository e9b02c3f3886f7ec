//! Names of things in one place, such as a directory: a table by hash over a list whose places don't change, so that
//! a reader who comes back with a place sees every lasting entry exactly once.

use alloc::{boxed::Box, vec::Vec};

/// Up to so many names are found by looking at all.
const FEW: usize = 8;
/// A cell of the table that holds nothing and never did.
const EMPTY: u32 = 0;
/// A cell whose name was removed.
const REMOVED: u32 = u32::MAX;

/// Names with what they stand for.
pub struct Names<T> {
    /// Multiplied into hashes, so that nobody outside can choose names that collide.
    seed: u64,
    places: Vec<Option<Entry<T>>>,
    /// Places without an entry.
    free: Vec<u32>,
    /// Place + 1 of a name, at its hash or behind; empty while the names are few. Its length is a power of two.
    table: Vec<u32>,
    /// Cells of `table` that are not `EMPTY`.
    used: usize,
}

struct Entry<T> {
    hash: u64,
    name: Box<[u8]>,
    value: T,
}

impl<T> Names<T> {
    /// No names.
    pub const fn new(seed: u64) -> Self {
        Self { seed, places: Vec::new(), free: Vec::new(), table: Vec::new(), used: 0 }
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What `name` stands for.
    pub fn get(&self, name: &[u8]) -> Option<&T> {
        let place = self.find(self.hash(name), name)?;
        self.places[place].as_ref().map(|entry| &entry.value)
    }

    /// Adds a name that is not there yet.
    pub fn insert(&mut self, name: &[u8], value: T) {
        let entry = Entry { hash: self.hash(name), name: name.into(), value };
        let hash = entry.hash;
        let place = match self.free.pop() {
            Some(place) => place as usize,
            None => {
                self.places.push(None);
                self.places.len() - 1
            }
        };
        self.places[place] = Some(entry);
        if self.len() <= FEW && self.table.is_empty() {
            return;
        }
        if self.table.is_empty() || (self.used + 1) * 4 > self.table.len() * 3 {
            self.rebuild();
        } else {
            self.enter(hash, place);
        }
    }

    /// Replaces what a name stands for; gives the old value back, or the new one if there is no such name.
    pub fn replace(&mut self, name: &[u8], value: T) -> Result<T, T> {
        let hash = self.hash(name);
        match self.find(hash, name).and_then(|place| self.places[place].as_mut()) {
            Some(entry) => Ok(core::mem::replace(&mut entry.value, value)),
            None => Err(value),
        }
    }

    /// Removes a name.
    pub fn remove(&mut self, name: &[u8]) -> Option<T> {
        let hash = self.hash(name);
        let place = self.find(hash, name)?;
        if let Some(cell) = self.cell_of(hash, place) {
            self.table[cell] = REMOVED;
        }
        let entry = self.places[place].take()?;
        self.free.push(place as u32);
        Some(entry.value)
    }

    /// Removes all names.
    pub fn clear(&mut self) -> Vec<T> {
        self.table.clear();
        self.free.clear();
        self.used = 0;
        core::mem::take(&mut self.places).into_iter().flatten().map(|entry| entry.value).collect()
    }

    /// The names from a place on, each with its place.
    pub fn since(&self, place: usize) -> impl Iterator<Item = (usize, &[u8], &T)> {
        let rest = self.places.iter().enumerate().skip(place);
        rest.filter_map(|(place, entry)| entry.as_ref().map(|entry| (place, &*entry.name, &entry.value)))
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let mut hash = self.seed ^ name.len() as u64;
        // Both halves of the product: each bit of a name is to move the low bits, which choose the cell.
        let mut add = |word: u64| {
            let product = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15;
            hash = product as u64 ^ (product >> 64) as u64;
        };
        let (words, rest) = name.as_chunks();
        words.iter().for_each(|&word| add(u64::from_le_bytes(word)));
        if !rest.is_empty() {
            add(rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
        }
        hash
    }

    fn find(&self, hash: u64, name: &[u8]) -> Option<usize> {
        let is_it = |place: usize| match &self.places[place] {
            Some(entry) => entry.hash == hash && are_equal(&entry.name, name),
            None => false,
        };
        if self.table.is_empty() {
            return (0..self.places.len()).find(|&place| is_it(place));
        }
        self.cells(hash)
            .map(|cell| self.table[cell])
            .take_while(|&content| content != EMPTY)
            .filter(|&content| content != REMOVED)
            .map(|content| content as usize - 1)
            .find(|&place| is_it(place))
    }

    /// The cells where a hash may be, in order.
    fn cells(&self, hash: u64) -> impl Iterator<Item = usize> + use<T> {
        let mask = self.table.len() - 1;
        (0..=mask).map(move |step| (hash as usize).wrapping_add(step) & mask)
    }

    fn cell_of(&self, hash: u64, place: usize) -> Option<usize> {
        if self.table.is_empty() {
            return None;
        }
        self.cells(hash).find(|&cell| self.table[cell] == place as u32 + 1)
    }

    /// Puts a place into the first cell that is free for it. There is one: the table is never full.
    fn enter(&mut self, hash: u64, place: usize) {
        let free = self.cells(hash).find(|&cell| matches!(self.table[cell], EMPTY | REMOVED));
        if let Some(cell) = free {
            self.used += usize::from(self.table[cell] == EMPTY);
            self.table[cell] = place as u32 + 1;
        }
    }

    /// Makes the table anew, half full at most.
    fn rebuild(&mut self) {
        let cells = (self.len() * 2).next_power_of_two().max(4 * FEW);
        self.table.clear();
        self.table.resize(cells, EMPTY);
        self.used = 0;
        for place in 0..self.places.len() {
            if let Some(hash) = self.places[place].as_ref().map(|entry| entry.hash) {
                self.enter(hash, place);
            }
        }
    }
}

/// Whether two names are equal: short as they are, a call of `memcmp` costs more than looking.
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        // The last eight, or four, lie over some of those before.
        8.. => {
            one.as_chunks::<8>().0.iter().eq(other.as_chunks::<8>().0)
                && one.last_chunk::<8>() == other.last_chunk::<8>()
        }
        4.. => one.first_chunk::<4>() == other.first_chunk::<4>() && one.last_chunk::<4>() == other.last_chunk::<4>(),
        _ => one.iter().zip(other).all(|(one, other)| one == other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u32),
        Remove(u8),
        Replace(u8, u32),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..60u8, any::<u32>()).prop_map(|(name, value)| Step::Insert(name, value)),
            (0..60u8).prop_map(Step::Remove),
            (0..60u8, any::<u32>()).prop_map(|(name, value)| Step::Replace(name, value)),
        ]
    }

    fn name(number: u8) -> Vec<u8> {
        std::format!("name-{number}-with-some-length").into_bytes()
    }

    proptest! {
        #[test]
        fn names_are_equal_that_have_the_same_bytes(mut name in proptest::collection::vec(any::<u8>(), 0..40), at in any::<usize>(), change in 1u8..) {
            let before = name.clone();
            prop_assert!(are_equal(&name, &before));
            if !name.is_empty() {
                let at = at % name.len();
                prop_assert!(!are_equal(&name, &before[1..]));
                name[at] ^= change;
                prop_assert!(!are_equal(&name, &before));
            }
        }
    }

    proptest! {
        #[test]
        fn names_agree_with_a_map(steps in proptest::collection::vec(any_step(), 1..300), seed: u64) {
            let mut names = Names::new(seed);
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(number, value) => {
                        if let std::collections::btree_map::Entry::Vacant(free) = model.entry(name(number)) {
                            free.insert(value);
                            names.insert(&name(number), value);
                        }
                    }
                    Step::Remove(number) => prop_assert_eq!(names.remove(&name(number)), model.remove(&name(number))),
                    Step::Replace(number, value) => {
                        let old = model.get_mut(&name(number)).map(|old| core::mem::replace(old, value));
                        prop_assert_eq!(names.replace(&name(number), value).ok(), old);
                    }
                }
                prop_assert_eq!(names.len(), model.len());
                let listed: BTreeMap<Vec<u8>, u32> =
                    names.since(0).map(|(_, name, &value)| (name.to_vec(), value)).collect();
                prop_assert_eq!(&listed, &model);
                for (name, value) in &model {
                    prop_assert_eq!(names.get(name), Some(value));
                }
            }
        }
    }

    #[test]
    fn names_that_differ_in_a_few_letters_lie_apart() {
        for seed in [0, 1, 0x1234_5678_9abc_def0] {
            for prefix in ["", "c", "crowd", "container-"] {
                let all: Vec<_> = (1000..5000).map(|number| std::format!("{prefix}{number}").into_bytes()).collect();
                let mut names = Names::new(seed);
                all.iter().for_each(|name| names.insert(name, ()));
                let steps = |name: &Vec<u8>| {
                    let hash = names.hash(name);
                    let place = names.find(hash, name).unwrap();
                    names.cells(hash).position(|cell| names.table[cell] == place as u32 + 1).unwrap()
                };
                let sum: usize = all.iter().map(steps).sum();
                assert!(sum < 2 * all.len(), "{sum} steps for {} names with {prefix:?}, seed {seed:#x}", all.len());
            }
        }
    }

    #[test]
    fn an_entry_keeps_its_place_while_others_come_and_go() {
        let mut names = Names::new(1);
        for number in 0..20 {
            names.insert(&name(number), u32::from(number));
        }
        let before: Vec<_> = names.since(0).map(|(place, name, _)| (place, name.to_vec())).collect();
        names.remove(&name(3));
        names.remove(&name(7));
        names.insert(b"new", 0);
        for (place, name) in before.iter().filter(|(_, name)| names.get(name).is_some()) {
            assert!(names.since(*place).next().is_some_and(|(at, found, _)| at == *place && found == &name[..]));
        }
    }
}
