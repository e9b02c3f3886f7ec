//! A map from page numbers to what is kept for each page: a radix tree, in which a page is found in a few steps however
//! many there are, and which is small where there are few or where they lie far apart.

use alloc::boxed::Box;

/// Pages of a leaf, as a power of two. Most files are small.
const LEAF_BITS: u32 = 3;
/// Children of an inner node, as a power of two.
const INNER_BITS: u32 = 5;
/// Pages of a leaf.
pub const LEAF: usize = 1 << LEAF_BITS;
const INNER: usize = 1 << INNER_BITS;

/// The map.
pub struct RadixTree<T> {
    root: Option<Node<T>>,
    /// How many levels of inner nodes there are.
    height: u32,
    len: usize,
}

enum Node<T> {
    Leaf(Box<[Option<T>; LEAF]>),
    Inner(Box<[Option<Node<T>>; INNER]>),
}

impl<T> Default for RadixTree<T> {
    fn default() -> Self {
        Self { root: None, height: 0, len: 0 }
    }
}

impl<T> RadixTree<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is kept for the pages of the leaf that has this one, from the first, whose number is a multiple of [`LEAF`];
    /// `None`: nothing for any of them.
    #[inline]
    pub fn leaf(&self, index: u64) -> Option<&[Option<T>; LEAF]> {
        let mut shift = shift(self.height);
        if !is_below(index, shift) {
            return None;
        }
        let mut node = self.root.as_ref()?;
        loop {
            match node {
                Node::Leaf(slots) => return Some(slots),
                Node::Inner(children) => {
                    shift -= INNER_BITS;
                    node = children[slot_of(index, shift)].as_ref()?;
                }
            }
        }
    }

    /// What is kept for a page.
    #[inline]
    pub fn get(&self, index: u64) -> Option<&T> {
        self.leaf(index)?[leaf_slot(index)].as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, index: u64) -> Option<&mut T> {
        let mut shift = shift(self.height);
        if !is_below(index, shift) {
            return None;
        }
        let mut node = self.root.as_mut()?;
        loop {
            match node {
                Node::Leaf(slots) => return slots[leaf_slot(index)].as_mut(),
                Node::Inner(children) => {
                    shift -= INNER_BITS;
                    node = children[slot_of(index, shift)].as_mut()?;
                }
            }
        }
    }

    /// Keeps something for a page; gives back what was kept for it.
    pub fn insert(&mut self, index: u64, value: T) -> Option<T> {
        while !is_below(index, shift(self.height)) {
            self.root = self.root.take().map(|root| {
                let mut children = no_children();
                children[0] = Some(root);
                Node::Inner(children)
            });
            self.height += 1;
        }
        let mut shift = shift(self.height);
        let mut place = &mut self.root;
        loop {
            let is_leaf = shift == LEAF_BITS;
            match place.get_or_insert_with(|| if is_leaf { Node::no_pages() } else { Node::Inner(no_children()) }) {
                Node::Leaf(slots) => {
                    let old = slots[leaf_slot(index)].replace(value);
                    self.len += usize::from(old.is_none());
                    return old;
                }
                Node::Inner(children) => {
                    shift -= INNER_BITS;
                    place = &mut children[slot_of(index, shift)];
                }
            }
        }
    }

    /// Takes out what is kept for a page.
    pub fn remove(&mut self, index: u64) -> Option<T> {
        let shift = shift(self.height);
        let removed = if is_below(index, shift) { remove_below(&mut self.root, shift, index) } else { None };
        self.len -= usize::from(removed.is_some());
        if self.root.is_none() {
            self.height = 0;
        }
        removed
    }

    /// Takes out all from a page on. Counts what it takes out.
    #[must_use]
    pub fn split_off(&mut self, index: u64) -> Self {
        let shift = shift(self.height);
        let root = if is_below(index, shift) { split_below(&mut self.root, shift, index) } else { None };
        let len = root.as_ref().map_or(0, count_below);
        self.len -= len;
        let height = self.height;
        if self.root.is_none() {
            self.height = 0;
        }
        Self { root, height, len }
    }

    /// The first page from `from` on for which something is kept, and that.
    pub fn first_from(&self, from: u64) -> Option<(u64, &T)> {
        first_below(self.root.as_ref()?, shift(self.height), 0, from)
    }
}

impl<T> Node<T> {
    fn no_pages() -> Self {
        Self::Leaf(Box::new([const { None }; LEAF]))
    }
}

fn no_children<T>() -> Box<[Option<Node<T>>; INNER]> {
    Box::new([const { None }; INNER])
}

/// How many bits of a page's number tell where it is below a node with so many levels of inner nodes from itself on.
fn shift(height: u32) -> u32 {
    LEAF_BITS + INNER_BITS * height
}

/// Whether a page's number has no more bits than these.
fn is_below(index: u64, bits: u32) -> bool {
    index.checked_shr(bits).unwrap_or(0) == 0
}

/// Which child of an inner node the page is below, where `shift` bits tell where below the child.
fn slot_of(index: u64, shift: u32) -> usize {
    (index >> shift) as usize % INNER
}

fn leaf_slot(index: u64) -> usize {
    index as usize % LEAF
}

/// Takes a page out below a node, and the node with its last page.
fn remove_below<T>(place: &mut Option<Node<T>>, shift: u32, index: u64) -> Option<T> {
    let (removed, is_empty) = match place.as_mut()? {
        Node::Leaf(slots) => (slots[leaf_slot(index)].take(), slots.iter().all(Option::is_none)),
        Node::Inner(children) => {
            let shift = shift - INNER_BITS;
            let child = &mut children[slot_of(index, shift)];
            let removed = remove_below(child, shift, index);
            (removed, child.is_none() && children.iter().all(Option::is_none))
        }
    };
    if is_empty {
        *place = None;
    }
    removed
}

/// Takes out what is below a node from a page on, which is below it; and the node, if nothing stays.
fn split_below<T>(place: &mut Option<Node<T>>, shift: u32, index: u64) -> Option<Node<T>> {
    let (gone, is_empty) = match place.as_mut()? {
        Node::Leaf(slots) => {
            let mut gone = [const { None }; LEAF];
            let first = leaf_slot(index);
            gone[first..].swap_with_slice(&mut slots[first..]);
            let some = gone.iter().any(Option::is_some).then(|| Node::Leaf(Box::new(gone)));
            (some, slots.iter().all(Option::is_none))
        }
        Node::Inner(children) => {
            let shift = shift - INNER_BITS;
            let first = slot_of(index, shift);
            let mut gone = no_children();
            gone[first] = split_below(&mut children[first], shift, index);
            gone[first + 1..].swap_with_slice(&mut children[first + 1..]);
            let some = gone.iter().any(Option::is_some).then_some(Node::Inner(gone));
            (some, children.iter().all(Option::is_none))
        }
    };
    if is_empty {
        *place = None;
    }
    gone
}

fn count_below<T>(node: &Node<T>) -> usize {
    match node {
        Node::Leaf(slots) => slots.iter().flatten().count(),
        Node::Inner(children) => children.iter().flatten().map(count_below).sum(),
    }
}

/// The first page from `from` on below a node whose first page would be `base`.
fn first_below<T>(node: &Node<T>, shift: u32, base: u64, from: u64) -> Option<(u64, &T)> {
    let past = from.saturating_sub(base);
    match node {
        Node::Leaf(slots) => {
            let first = past.min(LEAF as u64);
            (first..LEAF as u64).find_map(|slot| Some((base + slot, slots[slot as usize].as_ref()?)))
        }
        Node::Inner(children) => {
            let shift = shift - INNER_BITS;
            let first = (past >> shift).min(INNER as u64);
            (first..INNER as u64)
                .find_map(|slot| first_below(children[slot as usize].as_ref()?, shift, base + (slot << shift), from))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(u64),
        Split(u64),
        Look(u64),
    }

    /// Numbers that meet: side by side, at the ends of nodes of all levels, and the largest.
    fn indexes() -> impl Strategy<Value = u64> {
        let near_a_node = (0_u32..64, -3_i64..3).prop_map(|(bits, by)| (1_u64 << bits).wrapping_add_signed(by));
        prop_oneof![0..40_u64, near_a_node, Just(u64::MAX), Just(u64::MAX - 1)]
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => indexes().prop_map(Step::Insert),
            3 => indexes().prop_map(Step::Remove),
            1 => indexes().prop_map(Step::Split),
            3 => indexes().prop_map(Step::Look),
        ];
        proptest::collection::vec(step, 1..120)
    }

    proptest! {
        #[test]
        fn it_keeps_what_an_ordered_map_keeps(steps in steps()) {
            let (mut tree, mut model) = (RadixTree::default(), BTreeMap::new());
            for (value, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(index) => prop_assert_eq!(tree.insert(index, value), model.insert(index, value)),
                    Step::Remove(index) => prop_assert_eq!(tree.remove(index), model.remove(&index)),
                    Step::Split(index) => {
                        let (gone, from_model) = (tree.split_off(index), model.split_off(&index));
                        prop_assert_eq!(gone.len(), from_model.len());
                        prop_assert!(from_model.iter().all(|(&index, value)| gone.get(index) == Some(value)));
                    }
                    Step::Look(index) => {
                        prop_assert_eq!(tree.get(index), model.get(&index));
                        prop_assert_eq!(tree.get_mut(index), model.get_mut(&index));
                        let next = model.range(index..).next().map(|(&index, value)| (index, value));
                        prop_assert_eq!(tree.first_from(index), next);
                        let first = index / LEAF as u64 * LEAF as u64;
                        let of_leaf: Vec<_> = (0..LEAF as u64).map(|slot| model.get(&(first + slot)).copied()).collect();
                        let leaf = tree.leaf(index).map_or([None; LEAF], |leaf| *leaf);
                        prop_assert_eq!(leaf.to_vec(), of_leaf);
                    }
                }
                prop_assert_eq!((tree.len(), tree.is_empty()), (model.len(), model.is_empty()));
            }
        }
    }

    #[test]
    fn nodes_without_pages_go() {
        let mut tree = RadixTree::default();
        tree.insert(5, ());
        tree.insert(u64::MAX, ());
        assert!(tree.leaf(u64::MAX - 7).is_some() && tree.leaf(u64::MAX - 8).is_none());
        tree.remove(u64::MAX);
        assert!(tree.leaf(u64::MAX).is_none());
        tree.remove(5);
        assert!(tree.root.is_none());
    }
}
