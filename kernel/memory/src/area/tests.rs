//! Areas are a map of pages, and what is free in it is found.

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const PAGES: u64 = 40;

fn area(range: Range<u64>, protection: u8, flags: u16) -> Area {
    Area {
        start: range.start * PAGE,
        end: range.end * PAGE,
        protection: Protection::from_bits_truncate(protection),
        most: Protection::all(),
        sharing: Sharing::Private,
        backing: Backing::Anonymous,
        flags: AreaFlags::from_bits_truncate(flags),
        policy: None,
        name: None,
    }
}

fn any_range() -> impl Strategy<Value = Range<u64>> {
    (0..PAGES, 1..=PAGES).prop_map(|(start, length)| start..(start + length).min(PAGES))
}

fn bytes(range: &Range<u64>) -> Range<u64> {
    range.start * PAGE..range.end * PAGE
}

proptest! {
    #[test]
    fn areas_are_a_map_of_pages(steps in prop::collection::vec((0..3u8, any_range(), 0..8u8), 1..60)) {
        let mut areas = Areas::default();
        let mut model: Vec<Option<u8>> = std::vec![None; PAGES as usize];
        for (what, range, protection) in steps {
            match what {
                0 => {
                    areas.take(bytes(&range));
                    areas.insert(area(range.clone(), protection, 0));
                    range.for_each(|page| model[page as usize] = Some(protection));
                }
                1 => {
                    areas.take(bytes(&range));
                    range.for_each(|page| model[page as usize] = None);
                }
                _ => {
                    areas.change(bytes(&range), |area| area.protection = Protection::from_bits_truncate(protection));
                    range.filter(|&page| model[page as usize].is_some()).collect::<Vec<_>>().into_iter()
                        .for_each(|page| model[page as usize] = Some(protection));
                }
            }
            for page in 0..PAGES {
                let found = areas.find(page * PAGE + 7).map(|area| area.protection.bits());
                prop_assert_eq!(found, model[page as usize]);
            }
            let runs = model.chunk_by(|a, b| a == b).filter(|run| run[0].is_some()).count();
            prop_assert_eq!(areas.len(), runs, "neighbours that differ in nothing are one area");
            prop_assert_eq!(areas.totals().mapped, model.iter().flatten().count() as u64);
            let writable = model.iter().flatten().filter(|&&protection| protection & 2 != 0).count() as u64;
            prop_assert_eq!(areas.totals().data, writable);
        }
    }

    #[test]
    fn the_highest_gap_is_the_highest(
        placed in prop::collection::vec((any_range(), any::<bool>()), 0..6), length in 1..PAGES, within in any_range(), guard in 0..4u64
    ) {
        let mut areas = Areas::default();
        for (range, grows) in &placed {
            areas.take(bytes(range));
            areas.insert(area(range.clone(), 3, u16::from(*grows)));
        }
        let free = |start: u64| {
            start >= within.start
                && start + length <= within.end
                && (start..start + length).all(|page| areas.find(page * PAGE).is_none())
                && areas.iter().all(|area| {
                    let gap = if area.flags.contains(AreaFlags::GROWS_DOWN) { guard } else { 0 };
                    start + length <= (area.start / PAGE).saturating_sub(gap) || start >= area.end / PAGE
                })
        };
        let expected = (0..PAGES).rev().find(|&start| free(start)).map(|start| start * PAGE);
        prop_assert_eq!(areas.highest_gap(length * PAGE, bytes(&within), guard * PAGE), expected);
    }

    #[test]
    fn covering_means_no_hole(placed in prop::collection::vec(any_range(), 0..5), asked in any_range()) {
        let mut areas = Areas::default();
        for (index, range) in placed.iter().enumerate() {
            areas.take(bytes(range));
            areas.insert(area(range.clone(), index as u8, 0));
        }
        let held = |page: u64| areas.find(page * PAGE).is_some();
        prop_assert_eq!(areas.covers(bytes(&asked)), asked.clone().all(held));
        prop_assert_eq!(areas.is_free(bytes(&asked)), !asked.clone().any(held));
    }
}
