//! The free frames of one node, as blocks of 2^order frames: neighbours that are both free join to a larger block.

use machine::frame::{Block, BlockList, MAX_ORDER};

const ORDERS: usize = MAX_ORDER as usize + 1;

/// Free blocks by order.
pub(super) struct Buddy {
    lists: [BlockList; ORDERS],
    free: u64,
}

impl Buddy {
    pub(super) const fn new() -> Self {
        let mut lists = [const { BlockList::new(0) }; ORDERS];
        let mut order = 0;
        while order < ORDERS {
            lists[order] = BlockList::new(order as u8);
            order += 1;
        }
        Self { lists, free: 0 }
    }

    /// The number of free frames.
    pub(super) fn free(&self) -> u64 {
        self.free
    }

    /// Takes a block of `order`, cut from the smallest that is large enough.
    pub(super) fn take(&mut self, order: u8) -> Option<Block> {
        let found = self.lists.get(usize::from(order)..)?.iter().position(|list| !list.is_empty())?;
        let mut block = self.lists[usize::from(order) + found].pop()?;
        while block.order() > order {
            let (low, high) = block.split();
            self.lists[usize::from(high.order())].push(high);
            block = low;
        }
        self.free -= block.frames();
        Some(block)
    }

    /// Gives a block back.
    pub(super) fn give(&mut self, mut block: Block) {
        self.free += block.frames();
        while block.order() < MAX_ORDER
            && let Some(buddy) = self.lists[usize::from(block.order())].take_buddy(&block)
        {
            block = if block.first() < buddy.first() { Block::merge(block, buddy) } else { Block::merge(buddy, block) };
        }
        self.lists[usize::from(block.order())].push(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::NodeId;
    use machine::host::fresh_frames;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    const FRAMES: u64 = 256;

    fn buddy(frames: u64) -> Buddy {
        let mut buddy = Buddy::new();
        fresh_frames(frames, NodeId::new(0)).into_iter().for_each(|block| buddy.give(block));
        buddy
    }

    /// How many blocks of each order are free.
    fn shape(buddy: &Buddy) -> Vec<usize> {
        buddy.lists.iter().map(BlockList::len).collect()
    }

    proptest! {
        #[test]
        fn blocks_never_overlap_and_all_join_again(steps in prop::collection::vec((any::<bool>(), 0..=4u8, any::<prop::sample::Index>()), 1..200)) {
            let mut buddy = buddy(FRAMES);
            let before = shape(&buddy);
            let mut taken: Vec<Block> = Vec::new();
            for (take, order, which) in steps {
                if take {
                    taken.extend(buddy.take(order));
                } else if !taken.is_empty() {
                    buddy.give(taken.swap_remove(which.index(taken.len())));
                }
                let frames: Vec<u64> =
                    taken.iter().flat_map(|block| (0..block.frames()).map(|at| block.first().raw() + at)).collect();
                prop_assert_eq!(frames.iter().collect::<BTreeSet<_>>().len(), frames.len());
                prop_assert_eq!(buddy.free() + frames.len() as u64, FRAMES);
            }
            taken.into_iter().for_each(|block| buddy.give(block));
            prop_assert_eq!(shape(&buddy), before);
            while buddy.take(0).is_some() {}
            prop_assert_eq!(buddy.free(), 0);
        }
    }
}
