//! What pages weigh that several have.

use super::*;

#[test]
fn a_page_belongs_in_part_to_each_who_has_it() {
    let parent = space();
    map(&parent, fixed(0, 8, RW));
    (0..4).for_each(|page| store(&parent, page, 1).unwrap());
    let range = BASE..BASE + 8 * PAGE;
    let page = PAGE * SHARE_UNITS;
    let alone = parent.weigh_pages(range.clone());
    assert_eq!((alone.resident(), alone.private_dirty, alone.anonymous, alone.part()), (4, 4, 4, 4 * page));
    let child = parent.fork(crate::payer::current()).unwrap();
    let halves = RangeWeights { part_anonymous: 2 * page, part_dirty: 2 * page, ..RangeWeights::default() };
    for space in [&parent, &child] {
        let weights = space.weigh_pages(range.clone());
        let expected = RangeWeights { shared_dirty: 4, anonymous: 4, referenced: weights.referenced, ..halves };
        assert_eq!(weights, expected);
        assert_eq!(space.count_pages(range.clone()).most_mapped, 2);
    }
    store(&child, 0, 2).unwrap();
    let weights = child.weigh_pages(range.clone());
    assert_eq!((weights.private_dirty, weights.shared_dirty, weights.part()), (1, 3, page + 3 * page / 2));
    drop(child);
    assert_eq!(parent.weigh_pages(range).part(), 4 * page);
}
