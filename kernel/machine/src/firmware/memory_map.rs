//! The firmware's map of physical memory: which parts are free, and to which node they belong.

use alloc::vec::Vec;

const PAGE_SIZE: u64 = 4096;

/// A stretch of physical addresses; `end` is the first address after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub start: u64,
    pub end: u64,
}

/// The whole pages that are in a `usable` range and in no `reserved` one: ascending, disjoint, page-aligned.
///
/// Firmware maps may be unsorted and may overlap; where two entries disagree, the memory is left alone.
pub(crate) fn usable(usable: Vec<Range>, reserved: Vec<Range>) -> Vec<Range> {
    let mut free: Vec<Range> = usable
        .into_iter()
        .filter_map(|range| {
            let start = range.start.checked_next_multiple_of(PAGE_SIZE)?;
            let end = range.end / PAGE_SIZE * PAGE_SIZE;
            (start < end).then_some(Range { start, end })
        })
        .collect();
    free.sort_by_key(|range| range.start);
    let mut disjoint: Vec<Range> = Vec::with_capacity(free.len());
    for range in free {
        match disjoint.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => disjoint.push(range),
        }
    }
    for hole in reserved {
        if hole.start >= hole.end {
            continue;
        }
        let start = hole.start / PAGE_SIZE * PAGE_SIZE;
        let end = hole.end.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX / PAGE_SIZE * PAGE_SIZE);
        disjoint = disjoint
            .into_iter()
            .flat_map(|range| {
                let before = Range { start: range.start, end: range.end.min(start) };
                let after = Range { start: range.start.max(end), end: range.end };
                [before, after]
            })
            .filter(|range| range.start < range.end)
            .collect();
    }
    disjoint
}

/// Cuts `free` (ascending, disjoint) at the borders of nodes. Memory that no node claims goes to node 0;
/// where two claim the same, the first in `nodes` has it.
pub(crate) fn by_node(free: &[Range], nodes: &[(Range, u32)]) -> Vec<(Range, u32)> {
    let mut cut: Vec<(Range, u32)> = Vec::new();
    for &range in free {
        let mut at = range.start;
        while at < range.end {
            let owner = nodes.iter().find(|(claim, _)| claim.start <= at && at < claim.end);
            let node = owner.map_or(0, |&(_, node)| node);
            let borders = nodes.iter().flat_map(|(claim, _)| [claim.start, claim.end]);
            let end = borders.filter(|&border| border > at).fold(range.end, u64::min);
            let end = (end.next_multiple_of(PAGE_SIZE)).min(range.end);
            match cut.last_mut() {
                Some((last, last_node)) if last.end == at && *last_node == node => last.end = end,
                _ => cut.push((Range { start: at, end }, node)),
            }
            at = end;
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges(most: usize) -> impl Strategy<Value = Vec<Range>> {
        let range = (0u64..64, 0u64..4096, 0u64..12, 0u64..4096);
        proptest::collection::vec(
            range.prop_map(|(page, offset, pages, more)| {
                let start = page * PAGE_SIZE + offset;
                Range { start, end: start + pages * PAGE_SIZE + more }
            }),
            0..most,
        )
    }

    fn has(ranges: &[Range], page: u64) -> bool {
        ranges.iter().any(|range| range.start <= page * PAGE_SIZE && (page + 1) * PAGE_SIZE <= range.end)
    }

    proptest! {
        #[test]
        fn a_page_is_free_if_all_of_it_is_usable_and_none_reserved(good in ranges(6), bad in ranges(6)) {
            let free = usable(good.clone(), bad.clone());
            for pair in free.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
            }
            for page in 0..90u64 {
                let (start, end) = (page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
                let reserved = bad.iter().any(|r| r.start < r.end && r.start < end && start < r.end);
                prop_assert_eq!(has(&free, page), has(&good, page) && !reserved, "page {}", page);
            }
        }

        #[test]
        fn cutting_at_nodes_keeps_every_page_and_asks_the_first_claim(
            good in ranges(6),
            claims in proptest::collection::vec((ranges(2), 0u32..4), 0..5),
        ) {
            let free = usable(good, Vec::new());
            let down = |address: u64| address / PAGE_SIZE * PAGE_SIZE;
            let aligned = |r: Range| Range { start: down(r.start), end: down(r.end) };
            let nodes: Vec<(Range, u32)> =
                claims.iter().flat_map(|(rs, node)| rs.iter().map(move |&r| (aligned(r), *node))).collect();
            let cut = by_node(&free, &nodes);
            for page in 0..90u64 {
                let at = page * PAGE_SIZE;
                let found = cut.iter().find(|(r, _)| r.start <= at && at < r.end).map(|&(_, node)| node);
                let owner = nodes.iter().find(|(r, _)| r.start <= at && at < r.end).map_or(0, |&(_, node)| node);
                prop_assert_eq!(found, has(&free, page).then_some(owner));
            }
        }
    }

    #[test]
    fn an_entry_that_ends_at_the_top_of_the_address_space_is_no_panic() {
        let top = Range { start: u64::MAX - 10, end: u64::MAX };
        assert_eq!(usable(alloc::vec![top], alloc::vec![top]), []);
    }
}
