//! Sets of CPUs and of memory nodes.

use crate::{CpuId, NodeId};

/// The most CPUs that a build can use; further ones are logged and left alone.
pub const MAX_CPUS: usize = 256;

/// The most memory nodes that a build can use.
pub const MAX_NODES: usize = 64;

macro_rules! bit_set {
    ($(#[$doc:meta])* $name:ident, $id:ident, $words:expr, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Default)]
        pub struct $name {
            words: [u64; $words],
        }

        impl PartialEq for $name {
            /// Word by word: a call of `memcmp` costs more than so few words.
            fn eq(&self, other: &Self) -> bool {
                self.words.iter().zip(&other.words).fold(0, |differ, (one, other)| differ | one ^ other) == 0
            }
        }

        impl $name {
            /// The set with no member.
            pub const EMPTY: Self = Self { words: [0; $words] };

            /// The set of the first `count` numbers (all that the build can name, if `count` is larger).
            pub const fn first(count: usize) -> Self {
                let count = if count < $max { count } else { $max };
                let mut set = Self::EMPTY;
                let mut word = 0;
                while word < count / 64 {
                    set.words[word] = u64::MAX;
                    word += 1;
                }
                if count % 64 != 0 {
                    set.words[word] = (1 << (count % 64)) - 1;
                }
                set
            }

            /// The set of one number.
            pub const fn only(id: $id) -> Self {
                let mut set = Self::EMPTY;
                set.insert(id);
                set
            }

            /// Adds a number; one that the build can't name is ignored.
            pub const fn insert(&mut self, id: $id) {
                if id.index() < $max {
                    self.words[id.index() / 64] |= 1 << (id.index() % 64);
                }
            }

            /// Takes a number out.
            pub const fn remove(&mut self, id: $id) {
                if id.index() < $max {
                    self.words[id.index() / 64] &= !(1 << (id.index() % 64));
                }
            }

            /// Whether the number is a member.
            pub const fn contains(&self, id: $id) -> bool {
                id.index() < $max && self.words[id.index() / 64] & (1 << (id.index() % 64)) != 0
            }

            /// Whether there is no member.
            pub fn is_empty(&self) -> bool {
                self.words.iter().all(|&word| word == 0)
            }

            /// The number of members.
            pub fn count(&self) -> usize {
                self.words.iter().map(|word| word.count_ones() as usize).sum()
            }

            /// The members of both.
            pub fn and(&self, other: &Self) -> Self {
                Self { words: core::array::from_fn(|index| self.words[index] & other.words[index]) }
            }

            /// The members of either.
            pub fn or(&self, other: &Self) -> Self {
                Self { words: core::array::from_fn(|index| self.words[index] | other.words[index]) }
            }

            /// The members of this set that `other` lacks.
            pub fn without(&self, other: &Self) -> Self {
                Self { words: core::array::from_fn(|index| self.words[index] & !other.words[index]) }
            }

            /// Whether every member is in `other` too.
            pub fn is_subset_of(&self, other: &Self) -> bool {
                self.without(other).is_empty()
            }

            /// Whether there is a member in both.
            pub fn intersects(&self, other: &Self) -> bool {
                !self.and(other).is_empty()
            }

            /// The smallest member.
            pub fn lowest(&self) -> Option<$id> {
                self.iter().next()
            }

            /// The members in ascending order.
            pub fn iter(&self) -> impl Iterator<Item = $id> + '_ {
                self.words.iter().enumerate().flat_map(|(word, &bits)| {
                    core::iter::successors((bits != 0).then_some(bits), |rest| {
                        let rest = rest & (rest - 1);
                        (rest != 0).then_some(rest)
                    })
                    .map(move |rest| $id::new(word as u32 * 64 + rest.trailing_zeros()))
                })
            }

            /// The bits, least significant word first.
            pub const fn words(&self) -> &[u64; $words] {
                &self.words
            }

            /// The set that has these bits, least significant word first.
            pub const fn from_words(words: [u64; $words]) -> Self {
                Self { words }
            }
        }

        impl FromIterator<$id> for $name {
            fn from_iter<I: IntoIterator<Item = $id>>(ids: I) -> Self {
                let mut set = Self::EMPTY;
                ids.into_iter().for_each(|id| set.insert(id));
                set
            }
        }
    };
}

bit_set! {
    /// A set of CPUs, by value.
    CpuSet, CpuId, MAX_CPUS / 64, MAX_CPUS
}
bit_set! {
    /// A set of memory nodes, by value.
    NodeSet, NodeId, MAX_NODES / 64, MAX_NODES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeSet, vec::Vec};

    #[test]
    fn the_first_numbers_are_those_below_the_count() {
        for count in [0, 1, 63, 64, 65, 128, MAX_CPUS - 1, MAX_CPUS, MAX_CPUS + 1] {
            let first = CpuSet::first(count);
            assert_eq!(first.count(), count.min(MAX_CPUS));
            assert!(first.iter().enumerate().all(|(index, cpu)| cpu.index() == index), "{count}");
        }
    }

    proptest! {
        #[test]
        fn a_cpu_set_behaves_like_a_set_of_numbers(left: BTreeSet<u8>, right: BTreeSet<u8>) {
            let set = |numbers: &BTreeSet<u8>| -> CpuSet { numbers.iter().map(|&n| CpuId::new(n.into())).collect() };
            let numbers = |set: CpuSet| -> Vec<u8> { set.iter().map(|cpu| cpu.raw() as u8).collect() };
            prop_assert_eq!(numbers(set(&left).and(&set(&right))), left.intersection(&right).copied().collect::<Vec<_>>());
            prop_assert_eq!(numbers(set(&left).or(&set(&right))), left.union(&right).copied().collect::<Vec<_>>());
            prop_assert_eq!(numbers(set(&left).without(&set(&right))), left.difference(&right).copied().collect::<Vec<_>>());
            prop_assert_eq!(set(&left).count(), left.len());
            prop_assert_eq!(set(&left).is_subset_of(&set(&right)), left.is_subset(&right));
        }
    }
}
