//! Pages of areas with a policy, on the two nodes of the host.

use super::migrate::{nodes, only};
use super::*;
use crate::space::policy::{BindRequest, policy_range};
use crate::{NodeRule, PolicyMode};
use base::{NodeId, NodeSet};

fn policy(mode: PolicyMode, named: NodeSet) -> Option<MemoryPolicy> {
    Some(MemoryPolicy::new(mode, NodeRule::Remap, named, &NodeSet::first(2)).unwrap())
}

fn bound(node: u32) -> BindRequest {
    BindRequest { policy: policy(PolicyMode::Bind, only(node)), nodes: only(node), strict: false, moves: None }
}

fn bind(space: &AddressSpace, page: u64, pages: u64, request: &BindRequest) -> Result<(), Errno> {
    space.bind(BASE + page * PAGE..BASE + (page + pages) * PAGE, request)
}

fn fill(space: &AddressSpace, pages: u64) {
    (0..pages).for_each(|page| store(space, page, page as u8).unwrap());
}

#[test]
fn new_pages_lie_where_their_areas_policy_says() {
    let space = space();
    map(&space, fixed(0, 9, RW));
    bind(&space, 0, 2, &bound(1)).unwrap();
    bind(&space, 2, 2, &bound(0)).unwrap();
    let both = policy(PolicyMode::Interleave, NodeSet::first(2));
    bind(&space, 4, 4, &BindRequest { policy: both, ..bound(0) }).unwrap();
    fill(&space, 9);
    assert_eq!(nodes(&space, 8), [1, 1, 0, 0, 0, 1, 0, 1].map(Ok));
    assert_eq!(space.policy_at(BASE + 5 * PAGE), Ok(both));
    assert_eq!(space.policy_at(BASE + 8 * PAGE), Ok(None));
    assert_eq!(space.areas().count(), 4);
}

#[test]
fn areas_with_the_same_policy_are_one_and_unmapping_forgets_it() {
    let space = space();
    map(&space, fixed(0, 6, RW));
    bind(&space, 1, 2, &bound(1)).unwrap();
    bind(&space, 3, 2, &bound(1)).unwrap();
    assert_eq!(space.areas().count(), 3);
    space.unmap(BASE + PAGE, PAGE).unwrap();
    map(&space, fixed(1, 1, RW));
    assert_eq!(space.policy_at(BASE + PAGE), Ok(None));
    bind(&space, 0, 6, &BindRequest { policy: None, ..bound(1) }).unwrap();
    assert_eq!(space.areas().count(), 1);
}

#[test]
fn a_childs_memory_has_its_parents_policies_and_they_are_two() {
    let parent = space();
    map(&parent, fixed(0, 2, RW));
    bind(&parent, 0, 2, &bound(1)).unwrap();
    let child = parent.fork(crate::payer::current()).unwrap();
    bind(&parent, 0, 2, &bound(0)).unwrap();
    fill(&parent, 2);
    fill(&child, 2);
    assert_eq!((nodes(&parent, 2), nodes(&child, 2)), (std::vec![Ok(0); 2], std::vec![Ok(1); 2]));
}

#[test]
fn policies_of_shared_memory_belong_to_it() {
    let one = space();
    map(&one, MapRequest { sharing: Sharing::Shared, ..fixed(0, 4, RW) });
    let two = one.fork(crate::payer::current()).unwrap();
    bind(&one, 1, 2, &bound(1)).unwrap();
    bind(&one, 3, 1, &bound(0)).unwrap();
    assert_eq!(two.policy_at(BASE + PAGE), Ok(bound(1).policy));
    fill(&two, 4);
    assert_eq!(nodes(&two, 4)[1..], [1, 1, 0].map(Ok));
}

#[test]
fn what_lies_elsewhere_is_an_error_or_is_moved() {
    let space = space();
    map(&space, fixed(0, 4, RW));
    bind(&space, 0, 4, &bound(0)).unwrap();
    fill(&space, 4);
    assert_eq!(bind(&space, 0, 4, &BindRequest { strict: true, ..bound(1) }), Err(Errno::EIO));
    assert_eq!(space.policy_at(BASE), Ok(bound(0).policy), "nothing has changed");
    let moving = BindRequest { strict: true, moves: Some(Movable::Own), ..bound(1) };
    bind(&space, 2, 2, &moving).unwrap();
    assert_eq!(nodes(&space, 4), [0, 0, 1, 1].map(Ok));
    assert_eq!((load(&space, 3), load(&space, 1)), (Ok(3), Ok(1)));
    let _child = space.fork(crate::payer::current()).unwrap();
    assert_eq!(bind(&space, 0, 2, &moving), Err(Errno::EIO));
    assert_eq!(space.policy_at(BASE), Ok(bound(1).policy), "only the pages are where they were");
    let (interleave, all) = (policy(PolicyMode::Interleave, NodeSet::first(2)), NodeSet::EMPTY);
    let spread = BindRequest { policy: interleave, nodes: all, strict: false, moves: Some(Movable::Own) };
    map(&space, fixed(8, 4, RW));
    bind(&space, 8, 4, &bound(1)).unwrap();
    (8..12).for_each(|page| store(&space, page, 1).unwrap());
    bind(&space, 8, 4, &spread).unwrap();
    assert_eq!((8..12).map(|page| space.node_of(BASE + page * PAGE).unwrap().raw()).collect::<Vec<_>>(), [0, 1, 0, 1]);
}

#[test]
fn ranges_are_checked_as_linux_does() {
    let space = space();
    map(&space, fixed(0, 2, RW));
    map(&space, fixed(3, 2, RW));
    let default = BindRequest { policy: None, ..bound(0) };
    for (address, length, request, expected) in [
        (BASE + 1, PAGE, &default, Err(Errno::EINVAL)),
        (BASE, u64::MAX - BASE, &default, Err(Errno::EINVAL)),
        (BASE, u64::MAX, &default, Ok(())),
        (BASE, 0, &bound(0), Ok(())),
        (BASE, 2 * PAGE, &bound(0), Ok(())),
        (BASE, 3 * PAGE, &bound(0), Err(Errno::EFAULT)),
        (BASE, 5 * PAGE, &bound(0), Err(Errno::EFAULT)),
        (BASE + 2 * PAGE, 3 * PAGE, &bound(0), Err(Errno::EFAULT)),
        (BASE + 2 * PAGE, PAGE, &default, Err(Errno::EFAULT)),
        (BASE, 9 * PAGE, &default, Ok(())),
        (USER_END, PAGE, &bound(0), Err(Errno::EFAULT)),
    ] {
        let done = policy_range(address, length).and_then(|range| space.bind(range, request));
        assert_eq!(done, expected, "{address:#x} {length:#x}");
    }
}

#[test]
fn a_home_is_given_to_policies_that_can_have_one() {
    let space = space();
    map(&space, fixed(0, 4, RW));
    let home = NodeId::new(1);
    let set = |pages| space.set_home(BASE..BASE + pages * PAGE, home);
    assert_eq!(set(4), Err(Errno::ENOENT));
    let all = policy(PolicyMode::Bind, NodeSet::first(2));
    bind(&space, 1, 1, &BindRequest { policy: all, ..bound(0) }).unwrap();
    assert_eq!(set(4), Ok(()));
    store(&space, 1, 1).unwrap();
    assert_eq!(space.node_of(BASE + PAGE), Ok(home));
    let interleave = policy(PolicyMode::Interleave, NodeSet::first(2));
    bind(&space, 2, 1, &BindRequest { policy: interleave, ..bound(0) }).unwrap();
    assert_eq!((set(4), set(2), set(1)), (Err(Errno::EOPNOTSUPP), Ok(()), Err(Errno::ENOENT)));
}

#[test]
fn policies_of_areas_follow_what_is_allowed() {
    let space = space();
    map(&space, fixed(0, 2, RW));
    bind(&space, 0, 1, &bound(0)).unwrap();
    space.rebind_policies(&only(1));
    assert_eq!(space.policy_at(BASE).unwrap().unwrap().shown_nodes(), only(1));
    assert_eq!(space.policy_at(BASE + PAGE), Ok(None));
}
