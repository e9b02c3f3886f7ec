//! Pages that come in ahead of their first use.

use super::*;
use crate::space::{AheadMode, set_ahead_mode};
use std::sync::MutexGuard;

/// The first page of the tests that a large area can start at, and how many it needs.
const FIRST: u64 = 16;
const LARGE: u64 = 512;
const BLOCK: u64 = 16;

/// Nobody else of these tests changes the mode meanwhile; it is "always".
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    set_ahead_mode(AheadMode::Always);
    guard
}

/// How many pages one store to the middle of a new area brings in.
fn brought_in(request: MapRequest, prepare: impl Fn(&AddressSpace)) -> u64 {
    let space = space();
    map(&space, request);
    prepare(&space);
    store(&space, FIRST + 40, 1).unwrap();
    let resident = space.resident();
    assert_eq!(resident.anonymous + resident.shared, resident.peak);
    resident.peak
}

fn advised(advice: Advice) -> impl Fn(&AddressSpace) {
    move |space| space.advise(BASE + FIRST * PAGE, LARGE * PAGE, advice).unwrap()
}

#[test]
fn a_store_to_a_large_area_brings_in_its_block_and_no_other() {
    let _alone = alone();
    let space = space();
    map(&space, fixed(FIRST - 3, LARGE + 7, RW));
    store(&space, FIRST + 37, 1).unwrap();
    let resident = || space.residency(BASE + FIRST * PAGE, LARGE * PAGE).unwrap();
    let block = |first: u64| (0..LARGE).map(move |page| (first..first + BLOCK).contains(&page)).collect::<Vec<_>>();
    assert_eq!(resident(), block(32));
    (32..48).for_each(|page| assert_eq!(load(&space, FIRST + page), Ok(u8::from(page == 37))));
    assert_eq!(space.resident().anonymous, BLOCK);

    // Where one page of a block is there, the others come alone; outside of the large range too.
    load(&space, FIRST + 70).unwrap();
    store(&space, FIRST + 71, 1).unwrap();
    store(&space, FIRST - 1, 1).unwrap();
    store(&space, FIRST + LARGE, 1).unwrap();
    assert_eq!(space.resident().anonymous, BLOCK + 3);

    // Each page goes its own way.
    space.unmap(BASE + (FIRST + 33) * PAGE, PAGE).unwrap();
    space.protect(BASE + (FIRST + 34) * PAGE, PAGE, Protection::READ).unwrap();
    assert_eq!(space.resident().anonymous, BLOCK + 2);
    assert_eq!(store(&space, FIRST + 34, 1), Err(FaultError::NoAccess));
    let child = space.fork(crate::payer::current()).unwrap();
    store(&child, FIRST + 36, 9).unwrap();
    assert_eq!((load(&space, FIRST + 36), load(&child, FIRST + 37)), (Ok(0), Ok(1)));
    assert_eq!((space.resident().anonymous, child.resident().anonymous), (BLOCK + 2, BLOCK + 2));
}

#[test]
fn pages_come_alone_where_the_area_is_small_or_somebody_wants_it_so() {
    let _alone = alone();
    let large = || fixed(FIRST, LARGE, RW);
    let as_it_is = |_: &AddressSpace| {};
    assert_eq!(brought_in(large(), as_it_is), BLOCK);
    assert_eq!(brought_in(fixed(FIRST, LARGE - 1, RW), as_it_is), 1, "too short");
    assert_eq!(brought_in(fixed(FIRST + 1, LARGE + 510, RW), as_it_is), 1, "not all of the 2 MiB");
    assert_eq!(brought_in(MapRequest { grows_down: true, ..large() }, as_it_is), 1, "a stack");
    assert_eq!(brought_in(MapRequest { sharing: Sharing::Shared, ..large() }, as_it_is), 1, "shared memory");
    assert_eq!(brought_in(MapRequest { source: Some((File::new(100), 0)), ..large() }, as_it_is), 1, "a file");
    assert_eq!(brought_in(large(), advised(Advice::Small)), 1);
    assert_eq!(brought_in(large(), |space| space.set_small_pages_only(true)), 1);
    set_ahead_mode(AheadMode::Never);
    assert_eq!(brought_in(large(), advised(Advice::Large)), 1);
    set_ahead_mode(AheadMode::Advised);
    assert_eq!(brought_in(large(), as_it_is), 1);
    assert_eq!(brought_in(large(), advised(Advice::Large)), BLOCK);
    set_ahead_mode(AheadMode::Always);
}

#[test]
fn large_memory_lies_where_all_of_it_is_large() {
    let space = space();
    let bytes = LARGE * PAGE;
    let small = map(&space, MapRequest::anonymous(PAGE));
    let large = map(&space, MapRequest::anonymous(2 * bytes));
    assert!(large.is_multiple_of(bytes) && small - large - 2 * bytes < bytes, "no higher than need be");
    let between = map(&space, MapRequest::anonymous(PAGE));
    assert_eq!(between, small - PAGE, "what was left out is used");
    // Others lie as high as they can.
    assert_eq!(map(&space, MapRequest::anonymous(bytes + PAGE)), large - bytes - PAGE);
    let below = large - bytes - PAGE;
    let shared = MapRequest { sharing: Sharing::Shared, ..MapRequest::anonymous(bytes) };
    assert_eq!(map(&space, shared), below - bytes);
    // Where there is only just room, it lies there.
    let space = self::space();
    let top = map(&space, MapRequest::anonymous(PAGE));
    map(&space, MapRequest { address: top - bytes - PAGE, ..fixed(0, 1, RW) });
    assert_eq!(map(&space, MapRequest::anonymous(bytes)), top - bytes);
    assert!(!top.is_multiple_of(bytes));
}

#[test]
fn a_child_wants_small_pages_as_its_parent_does() {
    let parent = space();
    assert!(!parent.fork(crate::payer::current()).unwrap().has_small_pages_only());
    parent.set_small_pages_only(true);
    assert!(parent.fork(crate::payer::current()).unwrap().has_small_pages_only());
}

#[test]
fn only_pages_of_the_same_node_come_together() {
    let _alone = alone();
    let space = space();
    map(&space, fixed(FIRST, LARGE, RW));
    let nodes = [0, 1].into_iter().map(base::NodeId::new).collect();
    let interleave =
        MemoryPolicy::new(crate::PolicyMode::Interleave, crate::NodeRule::Remap, nodes, &Placement::ANY.allowed);
    let policy = Some(interleave.unwrap());
    space.write_state().areas.change(BASE + FIRST * PAGE..BASE + (FIRST + LARGE) * PAGE, |area| area.policy = policy);
    let node = |page: u64| space.tables.edit().get(BASE + (FIRST + page) * PAGE).map(|page| page.frame.node().raw());
    store(&space, FIRST + 41, 1).unwrap();
    let first = node(41);
    assert!(first.is_some());
    (32..48).for_each(|page| assert_eq!(node(page), if page % 2 == 1 { first } else { None }));
    store(&space, FIRST + 40, 1).unwrap();
    assert_eq!(node(40), Some(1 - first.unwrap()));
    assert_eq!(space.resident().anonymous, 9);
}
