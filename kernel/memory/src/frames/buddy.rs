//! The free frames of one node, as blocks of 2^order frames: neighbours that are both free join to a larger block.

use machine::frame::{Block, BlockList, BlockStack, MAX_ORDER};

/// How many orders there are.
pub(super) const ORDERS: usize = MAX_ORDER as usize + 1;

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

    /// How many blocks of each order are free.
    pub(super) fn blocks(&self) -> [u64; ORDERS] {
        core::array::from_fn(|order| self.lists[order].len() as u64)
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

    /// Takes so many single frames, or all that there are if there are fewer, from the smallest blocks.
    pub(super) fn take_frames(&mut self, mut frames: u64, taken: &mut BlockStack) {
        while frames > 0 {
            let Some(smallest) = self.lists.iter().position(|list| !list.is_empty()) else { return };
            let Some(block) = self.take(smallest.min(frames.ilog2() as usize) as u8) else { return };
            frames -= block.frames();
            push_frames(block, taken);
        }
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

/// Cuts a block into single frames.
fn push_frames(block: Block, taken: &mut BlockStack) {
    if block.order() == 0 {
        return taken.push(block);
    }
    let (low, high) = block.split();
    push_frames(high, taken);
    push_frames(low, taken);
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

    proptest! {
        #[test]
        fn single_frames_come_from_the_smallest_blocks(singles in 0..64u64, frames in 0..300u64) {
            let mut buddy = buddy(FRAMES);
            let mut apart = BlockStack::new();
            buddy.take_frames(singles, &mut apart);
            prop_assert_eq!((apart.len() as u64, buddy.free()), (singles, FRAMES - singles));
            // Every other one comes back alone.
            let kept: Vec<Block> = std::iter::from_fn(|| Some((apart.pop()?, apart.pop().map(|block| buddy.give(block))).0)).collect();
            let (free, large) = (buddy.free(), buddy.lists[5..].iter().map(BlockList::len).collect::<Vec<_>>());
            let small: u64 = (0..5).map(|order| (buddy.lists[order].len() as u64) << order).sum();
            let mut taken = BlockStack::new();
            buddy.take_frames(frames, &mut taken);
            prop_assert_eq!((taken.len() as u64, buddy.free()), (frames.min(free), free - frames.min(free)));
            if frames <= small {
                prop_assert_eq!(buddy.lists[5..].iter().map(BlockList::len).collect::<Vec<_>>(), large);
            }
            let blocks: Vec<Block> = std::iter::from_fn(|| taken.pop()).chain(kept).collect();
            prop_assert_eq!(blocks.iter().map(Block::first).collect::<BTreeSet<_>>().len(), blocks.len());
            blocks.into_iter().for_each(|block| buddy.give(block));
            prop_assert_eq!(buddy.free(), FRAMES);
        }

        #[test]
        fn blocks_never_overlap_and_all_join_again(steps in prop::collection::vec((any::<bool>(), 0..=4u8, any::<prop::sample::Index>()), 1..200)) {
            let mut buddy = buddy(FRAMES);
            let before = buddy.blocks().to_vec();
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
            prop_assert_eq!(buddy.blocks().to_vec(), before);
            while buddy.take(0).is_some() {}
            prop_assert_eq!(buddy.free(), 0);
        }
    }
}
