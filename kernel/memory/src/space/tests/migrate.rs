//! Pages that move between the two nodes of the host.

use super::*;
use crate::policy::remap;
use crate::reclaim::{SPACES, Spaces};
use base::{NodeId, NodeSet};

std::thread_local! {
    /// All spaces of a test.
    static KNOWN: RefCell<Vec<Arc<AddressSpace>>> = const { RefCell::new(Vec::new()) };
}

struct Known;

impl Spaces for Known {
    fn for_each(&self, visit: &mut dyn FnMut(&AddressSpace) -> bool) {
        KNOWN.with_borrow(|known| known.iter().all(|space| visit(space)));
    }
}

fn known(spaces: &[&Arc<AddressSpace>]) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| SPACES.install(&Known));
    KNOWN.set(spaces.iter().map(|space| (*space).clone()).collect());
}

pub(super) fn only(node: u32) -> NodeSet {
    NodeSet::only(NodeId::new(node))
}

pub(super) fn nodes(space: &AddressSpace, pages: u64) -> Vec<Result<u32, Errno>> {
    (0..pages).map(|page| space.node_of(BASE + page * PAGE).map(NodeId::raw)).collect()
}

#[test]
fn own_pages_move_with_their_bytes_and_can_be_written_as_before() {
    let space = space();
    map(&space, fixed(0, 200, RW));
    (0..200).for_each(|page| store(&space, page, page as u8).unwrap());
    let start = space.node_of(BASE).unwrap().raw();
    let before = space.resident();
    let moved = space.move_between(&only(start), &only(1 - start), Movable::Own);
    assert_eq!(moved, Moved { moved: 200, ..Moved::default() });
    assert_eq!(nodes(&space, 200), std::vec![Ok(1 - start); 200]);
    (0..200).for_each(|page| assert_eq!(load(&space, page), Ok(page as u8)));
    // No copy is made: the page is still the space's alone.
    store(&space, 3, 77).unwrap();
    assert_eq!(space.node_of(BASE + 3 * PAGE).unwrap().raw(), 1 - start);
    assert_eq!(space.resident(), before);
    assert_eq!(space.move_between(&only(start), &only(1 - start), Movable::Own), Moved::default());
}

#[test]
fn pages_that_a_child_shares_move_for_both_or_not_at_all() {
    let parent = space();
    map(&parent, fixed(0, 4, RW));
    (0..4).for_each(|page| store(&parent, page, page as u8).unwrap());
    let child = parent.fork(crate::payer::current()).unwrap();
    known(&[&parent, &child]);
    let start = parent.node_of(BASE).unwrap().raw();
    let there = only(1 - start);
    assert_eq!(parent.move_between(&only(start), &there, Movable::Own), Moved { others: 4, ..Moved::default() });
    assert_eq!(parent.move_between(&only(start), &there, Movable::Everybodys), Moved { moved: 4, ..Moved::default() });
    assert_eq!((nodes(&parent, 4), nodes(&child, 4)), (std::vec![Ok(1 - start); 4], std::vec![Ok(1 - start); 4]));
    store(&parent, 1, 50).unwrap();
    assert_eq!((load(&parent, 1), load(&child, 1)), (Ok(50), Ok(1)));
    // Where the child is not known to be, nothing is torn apart.
    let other = child.fork(crate::payer::current()).unwrap();
    known(&[&child]);
    assert_eq!(child.move_between(&there, &only(start), Movable::Everybodys).left, 4);
    assert_eq!((load(&child, 2), load(&other, 2)), (Ok(2), Ok(2)));
    known(&[]);
}

#[test]
fn shared_memory_moves_and_both_still_share_it() {
    let one = space();
    map(&one, MapRequest { sharing: Sharing::Shared, ..fixed(0, 3, RW) });
    store(&one, 0, 5).unwrap();
    store(&one, 2, 6).unwrap();
    let two = one.fork(crate::payer::current()).unwrap();
    assert_eq!(load(&two, 0), Ok(5));
    known(&[&one, &two]);
    let start = one.node_of(BASE).unwrap().raw();
    assert_eq!(one.move_between(&only(start), &only(1 - start), Movable::Own), Moved { moved: 1, left: 0, others: 1 });
    assert_eq!(
        one.move_between(&only(start), &only(1 - start), Movable::Everybodys),
        Moved { moved: 1, ..Moved::default() }
    );
    assert_eq!(nodes(&one, 3), [Ok(1 - start), Err(Errno::ENOENT), Ok(1 - start)]);
    store(&two, 0, 9).unwrap();
    assert_eq!((load(&one, 0), load(&one, 2)), (Ok(9), Ok(6)));
    known(&[]);
}

#[test]
fn a_page_keeps_its_rank_in_the_set() {
    let set = |numbers: &[u32]| numbers.iter().map(|&node| NodeId::new(node)).collect::<NodeSet>();
    let goes = |node, from: &[u32], to: &[u32]| remap(NodeId::new(node), &set(from), &set(to)).map(NodeId::raw);
    assert_eq!((goes(1, &[1, 3], &[4, 5]), goes(3, &[1, 3], &[4, 5])), (Some(4), Some(5)));
    assert_eq!((goes(3, &[0, 1, 3], &[4, 5]), goes(2, &[1, 3], &[4, 5])), (Some(4), None));
    assert_eq!(goes(1, &[1], &[]), None);
}
