//! The rules of the manual pages one by one.

use super::*;
use crate::area::Protection;
use crate::source::{PageSource, PageUse, SourceDescription};
use crate::{MemoryPolicy, Placement};
use core::cell::{Cell, RefCell};
use machine::frame::Frame;
use machine::sync::Hook;
use machine::user_memory::{self, FAULTS, FaultHandler};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::{thread_local, vec, vec::Vec};

mod against_a_model;
mod ahead;
mod around;
mod cut;
mod dump;
mod forced;
mod migrate;
mod payment;
mod policies;
mod together;
mod weights;

const RW: Protection = Protection::READ.union(Protection::WRITE);
/// Page 16 is the first of a page table.
const BASE: u64 = 0x1f_0000;

fn space() -> Arc<AddressSpace> {
    crate::tests::start();
    AddressSpace::new(8 << 20).unwrap()
}

fn fixed(page: u64, pages: u64, protection: Protection) -> MapRequest {
    MapRequest {
        address: BASE + page * PAGE,
        length: pages * PAGE,
        protection,
        place: Place::Fixed,
        ..MapRequest::anonymous(0)
    }
}

fn map(space: &AddressSpace, request: MapRequest) -> u64 {
    space.map(request, &Limits::NONE).unwrap()
}

/// A file of whole pages that each start with their number.
struct File {
    pages: Mutex<Vec<Frame>>,
}

impl File {
    fn new(pages: u8) -> Arc<Self> {
        let page = |number: u8| {
            let frame = frames::allocate_zeroed(&Placement::ANY).unwrap();
            frame.write(0, &[number + 100]);
            frame
        };
        Arc::new(Self { pages: Mutex::new((0..pages).map(page).collect()) })
    }

    fn first_byte(&self, page: usize) -> u8 {
        let mut byte = [0];
        self.pages.lock().unwrap()[page].read(0, &mut byte);
        byte[0]
    }
}

impl PageSource for File {
    fn page(&self, index: u64, _usage: PageUse) -> Result<Frame, Errno> {
        self.pages.lock().unwrap().get(index as usize).cloned().ok_or(Errno::EFAULT)
    }

    fn describe(&self) -> SourceDescription {
        SourceDescription { path: b"/file".to_vec(), device: (0, 1), inode: 7 }
    }

    fn identity(&self) -> u64 {
        7
    }
}

/// What the page at `page` holds for a task that loads its first byte, or why it can't.
fn load(space: &AddressSpace, page: u64) -> Result<u8, FaultError> {
    let address = BASE + page * PAGE;
    // Whether or not the processor saw a page there: another thread may have changed that.
    space.fault_within(address, Access::Read, page.is_multiple_of(2), || Limits::NONE)?;
    let mut byte = [0];
    space.read(address, &mut byte).unwrap();
    Ok(byte[0])
}

fn store(space: &AddressSpace, page: u64, value: u8) -> Result<(), FaultError> {
    let address = BASE + page * PAGE;
    // As in `load`.
    space.fault_within(address, Access::Write, value.is_multiple_of(2), || Limits::NONE)?;
    space.write(address, &[value]).unwrap();
    Ok(())
}

#[test]
fn a_copied_page_is_given_to_the_one_who_writes_and_the_other_keeps_it_without_a_copy() {
    let parent = space();
    map(&parent, fixed(0, 1, RW));
    store(&parent, 0, 1).unwrap();
    let child = parent.fork(crate::payer::current()).unwrap();
    let frame = |space: &AddressSpace| space.tables.edit().get(BASE).unwrap().frame.number();
    let shared = frame(&parent);
    assert_eq!(frame(&child), shared);
    store(&child, 0, 2).unwrap();
    assert_ne!(frame(&child), shared);
    store(&parent, 0, 3).unwrap();
    assert_eq!(frame(&parent), shared);
    assert_eq!((load(&parent, 0), load(&child, 0)), (Ok(3), Ok(2)));
}

#[test]
fn a_fork_takes_one_entry_for_each_table_of_pages_and_a_store_makes_a_table_its_own() {
    let parent = space();
    // Three tables; the last has shared memory too, whose pages a child asks for anew.
    map(&parent, fixed(0, 1039, RW));
    map(&parent, MapRequest { sharing: Sharing::Shared, ..fixed(1039, 1, RW) });
    (0..1040).for_each(|page| store(&parent, page, page as u8).unwrap());
    let child = parent.fork(crate::payer::current()).unwrap();
    let shares = |space: &AddressSpace, page| {
        let editor = space.tables.edit();
        editor.get(BASE + page * PAGE).map(|mapping| mapping.shares_table)
    };
    let both = |page| (shares(&parent, page), shares(&child, page));
    assert_eq!(both(0), (Some(true), Some(true)));
    assert_eq!(both(16), (Some(true), Some(true)));
    assert_eq!(both(1038), (Some(false), Some(false)), "a table with pages that are not inherited is copied");
    assert_eq!(both(1039), (Some(false), None));
    assert_eq!(child.resident().anonymous, 1039);
    assert_eq!(child.resident().tables, parent.resident().tables, "each counts what it uses");
    store(&child, 20, 1).unwrap();
    assert_eq!((both(16), both(0)), ((Some(true), Some(false)), (Some(true), Some(true))));
    let frame = |space: &AddressSpace, page: u64| {
        let editor = space.tables.edit();
        let mapping = editor.get(BASE + page * PAGE).unwrap();
        (mapping.frame.number(), mapping.frame.reference_count())
    };
    assert_eq!(frame(&parent, 21), frame(&child, 21));
    assert_eq!((frame(&parent, 21).1, frame(&parent, 0).1), (2, 1));
    store(&parent, 21, 99).unwrap();
    assert_eq!((load(&parent, 21), load(&child, 21)), (Ok(99), Ok(21)));
    child.clear();
    let before = frame(&parent, 0);
    store(&parent, 0, 9).unwrap();
    assert_eq!((frame(&parent, 0), shares(&parent, 0), shares(&parent, 1)), (before, Some(false), Some(false)));
}

#[test]
fn loads_of_fresh_memory_take_no_frame() {
    let space = space();
    map(&space, fixed(0, 8, RW));
    (0..8).for_each(|page| assert_eq!(load(&space, page), Ok(0)));
    assert_eq!(space.resident().anonymous, 0);
    store(&space, 3, 1).unwrap();
    assert_eq!(space.resident().anonymous, 1);
}

#[test]
fn faults_tell_segv_from_bus_errors() {
    let space = space();
    let file = File::new(1);
    map(&space, MapRequest { source: Some((file, 0)), ..fixed(0, 2, Protection::READ) });
    assert_eq!(load(&space, 0), Ok(100));
    assert_eq!(load(&space, 1), Err(FaultError::BeyondEnd));
    assert_eq!(store(&space, 0, 1), Err(FaultError::NoAccess));
    assert_eq!(space.fault(BASE, Access::Execute, &Limits::NONE), Err(FaultError::NoAccess));
    assert_eq!(load(&space, 2), Err(FaultError::NotMapped));
    assert_eq!(space.fault(USER_END, Access::Read, &Limits::NONE), Err(FaultError::NotMapped));
    assert_eq!(space.fault(u64::MAX, Access::Read, &Limits::NONE), Err(FaultError::NotMapped));
}

#[test]
fn a_stack_grows_to_its_limit_and_not_into_its_neighbour() {
    let space = space();
    let stack = |page| MapRequest { grows_down: true, ..fixed(page, 1, RW) };
    map(&space, stack(1000));
    let limits = Limits { stack: 100 * PAGE, ..Limits::NONE };
    let touch = |page: u64| space.fault(BASE + page * PAGE, Access::Write, &limits);
    assert_eq!(touch(901), Ok(()));
    assert_eq!(touch(900), Err(FaultError::NotMapped));
    assert_eq!(space.resident().stack, 100);
    map(&space, fixed(901 - 256 - 10, 1, RW));
    let limits = Limits::NONE;
    let touch = |page: u64| space.fault(BASE + page * PAGE, Access::Write, &limits);
    assert_eq!(touch(901 - 10), Err(FaultError::NotMapped));
    assert_eq!(touch(901 - 9), Ok(()));
}

#[test]
fn mmap_takes_the_hint_if_it_can_and_else_goes_down_from_the_top() {
    let space = space();
    let hint = |page: u64| MapRequest { place: Place::Hint, ..fixed(page, 2, RW) };
    assert_eq!(map(&space, hint(4)), BASE + 4 * PAGE);
    let first = map(&space, hint(5));
    assert_eq!(first, space.read_state().top - 2 * PAGE);
    assert_eq!(map(&space, MapRequest::anonymous(1)), first - PAGE);
    assert_eq!(space.areas().count(), 2, "neighbours that differ in nothing are one area");
}

#[test]
fn mmap_refuses_what_linux_refuses() {
    let space = space();
    let errno = |request: MapRequest| space.map(request, &Limits::NONE).unwrap_err();
    let file = || Some((File::new(1) as Arc<dyn PageSource>, 1));
    assert_eq!(errno(MapRequest { length: 0, ..fixed(0, 1, RW) }), Errno::EINVAL);
    assert_eq!(errno(MapRequest { address: BASE + 1, ..fixed(0, 1, RW) }), Errno::EINVAL);
    assert_eq!(errno(MapRequest { source: file(), ..fixed(0, 1, RW) }), Errno::EINVAL);
    assert_eq!(errno(MapRequest { address: USER_END, ..fixed(0, 1, RW) }), Errno::ENOMEM);
    assert_eq!(errno(MapRequest { length: u64::MAX, ..fixed(0, 1, RW) }), Errno::ENOMEM);
    assert_eq!(errno(MapRequest { address: 0, ..fixed(0, 1, RW) }), Errno::EPERM);
    assert_eq!(errno(MapRequest { most: Protection::READ, ..fixed(0, 1, RW) }), Errno::EACCES);
    map(&space, fixed(0, 1, RW));
    assert_eq!(errno(MapRequest { place: Place::FixedNoReplace, ..fixed(0, 1, RW) }), Errno::EEXIST);
}

#[test]
fn limits_hold_for_mmap_and_brk() {
    let space = space();
    let limits = Limits { address_space: 4 * PAGE, data: 2 * PAGE, ..Limits::NONE };
    assert_eq!(space.map(fixed(0, 3, RW), &limits), Err(Errno::ENOMEM));
    assert_eq!(space.map(fixed(0, 4, Protection::READ), &limits), Ok(BASE));
    assert_eq!(space.map(fixed(9, 1, Protection::READ), &limits), Err(Errno::ENOMEM));
    assert_eq!(space.map(fixed(1, 1, RW), &limits), Ok(BASE + PAGE), "what is replaced is not counted");
    space.unmap(BASE, 4 * PAGE).unwrap();
    space.set_brk_start(BASE);
    assert_eq!(space.brk(0, &limits), BASE);
    assert_eq!(space.brk(BASE + 3 * PAGE, &limits), BASE);
    assert_eq!(space.brk(BASE + 2 * PAGE - 5, &limits), BASE + 2 * PAGE - 5);
    assert_eq!(space.area_from(0).unwrap().name, Some("[heap]"));
}

#[test]
fn brk_gives_zeros_again_after_it_shrank() {
    let space = space();
    space.set_brk_start(BASE);
    assert_eq!(space.brk(BASE + 2 * PAGE, &Limits::NONE), BASE + 2 * PAGE);
    store(&space, 1, 9).unwrap();
    assert_eq!(space.brk(BASE + PAGE, &Limits::NONE), BASE + PAGE);
    assert_eq!(load(&space, 1), Err(FaultError::NotMapped));
    assert_eq!(space.brk(BASE + 2 * PAGE, &Limits::NONE), BASE + 2 * PAGE);
    assert_eq!(load(&space, 1), Ok(0));
    map(&space, fixed(4, 1, RW));
    assert_eq!(space.brk(BASE + 5 * PAGE, &Limits::NONE), BASE + 2 * PAGE, "the heap stops at what is in its way");
}

#[test]
fn mremap_grows_in_place_or_moves_and_keeps_what_is_stored() {
    let space = space();
    map(&space, fixed(0, 2, RW));
    store(&space, 1, 7).unwrap();
    assert_eq!(space.remap(BASE, 2 * PAGE, 4 * PAGE, 0, 0, &Limits::NONE), Ok(BASE));
    map(&space, fixed(4, 1, Protection::READ));
    assert_eq!(space.remap(BASE, 4 * PAGE, 5 * PAGE, 0, 0, &Limits::NONE), Err(Errno::ENOMEM));
    let moved = space.remap(BASE, 4 * PAGE, 5 * PAGE, 1, 0, &Limits::NONE).unwrap();
    let mut byte = [0];
    space.read(moved + PAGE, &mut byte).unwrap();
    assert_eq!(byte, [7]);
    assert_eq!(load(&space, 1), Err(FaultError::NotMapped));
    assert_eq!(space.remap(moved, 5 * PAGE, PAGE, 0, 0, &Limits::NONE), Ok(moved));
    assert_eq!(space.read(moved + PAGE, &mut byte), Err(Errno::EFAULT));
    assert_eq!(space.remap(moved, 2 * PAGE, 3 * PAGE, 1, 0, &Limits::NONE), Err(Errno::EFAULT));
    assert_eq!(space.remap(moved, 2 * PAGE, PAGE, 0, 0, &Limits::NONE), Ok(moved), "to cut off, there need be nothing");
    assert_eq!(space.remap(moved, PAGE, PAGE, 8, 0, &Limits::NONE), Err(Errno::EINVAL));
}

#[test]
fn memory_that_moves_and_stays_is_empty_and_unlocked_where_it_was() {
    let space = space();
    map(&space, MapRequest { locked: true, ..fixed(0, 2, RW) });
    store(&space, 1, 7).unwrap();
    let moved = space.remap(BASE, 2 * PAGE, 2 * PAGE, 5, 0, &Limits::NONE).unwrap();
    let mut byte = [0];
    space.read(moved + PAGE, &mut byte).unwrap();
    assert_eq!((byte, load(&space, 1)), ([7], Ok(0)));
    assert_eq!(space.locked_pages(), 2);
    assert_eq!(space.advise(BASE, 2 * PAGE, Advice::DontNeed), Ok(()));
    let file = MapRequest { source: Some((File::new(2), 0)), sharing: Sharing::Shared, ..fixed(8, 2, RW) };
    let file = map(&space, file);
    assert_eq!(load(&space, 8), Ok(100));
    let other = space.remap(file, 2 * PAGE, 2 * PAGE, 5, 0, &Limits::NONE).unwrap();
    space.read(other, &mut byte).unwrap();
    assert_eq!((byte, load(&space, 8)), ([100], Ok(100)));
}

#[test]
fn what_is_removed_reads_as_zeros_for_all_who_share_it() {
    let parent = space();
    map(&parent, MapRequest { sharing: Sharing::Shared, ..fixed(0, 4, RW) });
    (0..4).for_each(|page| store(&parent, page, 3).unwrap());
    let child = parent.fork(crate::payer::current()).unwrap();
    assert_eq!((load(&child, 1), load(&child, 3)), (Ok(3), Ok(3)));
    assert_eq!(parent.advise(BASE + PAGE, 2 * PAGE, Advice::Remove), Ok(()));
    assert_eq!([0, 1, 2, 3].map(|page| load(&child, page)), [3, 0, 0, 3].map(Ok));
    assert_eq!([0, 1, 2, 3].map(|page| load(&parent, page)), [3, 0, 0, 3].map(Ok));
    assert_eq!(parent.advise(BASE, 8 * PAGE, Advice::Remove), Err(Errno::ENOMEM), "a hole behind");
    parent.protect(BASE, PAGE, Protection::READ).unwrap();
    assert_eq!(parent.advise(BASE, PAGE, Advice::Remove), Err(Errno::EACCES));
    map(&parent, fixed(16, 1, RW));
    assert_eq!(parent.advise(BASE + 16 * PAGE, PAGE, Advice::Remove), Err(Errno::EINVAL));
}

#[test]
fn advice_is_taken_up_to_where_it_fits() {
    let space = space();
    map(&space, fixed(0, 1, RW));
    map(&space, MapRequest { sharing: Sharing::Shared, ..fixed(1, 1, RW) });
    store(&space, 0, 4).unwrap();
    assert_eq!(space.advise(BASE, 2 * PAGE, Advice::WipeOnFork), Err(Errno::EINVAL));
    assert_eq!(load(&space.fork(crate::payer::current()).unwrap(), 0), Ok(0));
    assert_eq!(space.advise(BASE, USER_END, Advice::DontNeed), Err(Errno::ENOMEM), "beyond the end");
    assert_eq!(load(&space, 0), Ok(0), "what is there was dropped");
    map(&space, fixed(4, 1, Protection::WRITE));
    assert_eq!(space.advise(BASE + 4 * PAGE, PAGE, Advice::PopulateRead), Err(Errno::EINVAL));
    assert_eq!(space.advise(BASE + 4 * PAGE, PAGE, Advice::PopulateWrite), Ok(()));
}

#[test]
fn a_stack_is_protected_from_its_start() {
    let space = space();
    map(&space, MapRequest { grows_down: true, ..fixed(0, 4, RW) });
    map(&space, fixed(8, 1, RW));
    (0..4).for_each(|page| store(&space, page, 1).unwrap());
    assert_eq!(space.protect_stack(BASE + 2 * PAGE, PAGE, Protection::READ), Ok(()));
    assert_eq!([0, 2].map(|page| store(&space, page, 2)), [Err(FaultError::NoAccess); 2]);
    assert_eq!(store(&space, 3, 2), Ok(()));
    assert_eq!(space.protect_stack(BASE + 8 * PAGE, PAGE, Protection::READ), Err(Errno::EINVAL));
    assert_eq!(space.protect_stack(BASE + 6 * PAGE, PAGE, Protection::READ), Err(Errno::ENOMEM));
}

#[test]
fn shared_memory_is_resident_before_anybody_here_has_looked_at_it() {
    let parent = space();
    map(&parent, MapRequest { sharing: Sharing::Shared, ..fixed(0, 3, RW) });
    store(&parent, 1, 1).unwrap();
    let child = parent.fork(crate::payer::current()).unwrap();
    assert_eq!(child.residency(BASE, 3 * PAGE), Ok(vec![false, true, false]));
    assert_eq!(child.residency(BASE, 9 * PAGE).unwrap().len(), 3, "up to a hole");
    assert_eq!(child.residency(BASE + 3 * PAGE, PAGE), Err(Errno::ENOMEM));
    assert_eq!(child.check_synchronized(BASE, 4 * PAGE, true), Err(Errno::ENOMEM));
    child.lock(BASE + 2 * PAGE, PAGE, true, &Limits::NONE).unwrap();
    assert_eq!(child.check_synchronized(BASE, 4 * PAGE, true), Err(Errno::EBUSY));
    assert_eq!(child.check_synchronized(BASE, 3 * PAGE, false), Ok(()));
}

#[test]
fn shared_anonymous_memory_is_seen_by_parent_and_child() {
    let parent = space();
    map(&parent, MapRequest { sharing: Sharing::Shared, ..fixed(0, 2, RW) });
    store(&parent, 0, 1).unwrap();
    let child = parent.fork(crate::payer::current()).unwrap();
    assert_eq!(load(&child, 0), Ok(1));
    store(&child, 1, 2).unwrap();
    assert_eq!(load(&parent, 1), Ok(2));
    assert_eq!(parent.location(BASE + 4).unwrap(), child.location(BASE + 4).unwrap());
    assert_eq!(parent.resident().shared, 2);
    // A page that was only read can become writable.
    store(&parent, 1, 3).unwrap();
    assert_eq!(load(&child, 1), Ok(3));
}

#[test]
fn advice_can_keep_memory_from_a_child() {
    let parent = space();
    map(&parent, fixed(0, 3, RW));
    (0..3).for_each(|page| store(&parent, page, 5).unwrap());
    parent.advise(BASE, PAGE, Advice::DontFork).unwrap();
    parent.advise(BASE + PAGE, PAGE, Advice::WipeOnFork).unwrap();
    let child = parent.fork(crate::payer::current()).unwrap();
    assert_eq!(load(&child, 0), Err(FaultError::NotMapped));
    assert_eq!(load(&child, 1), Ok(0));
    assert_eq!(load(&child, 2), Ok(5));
    assert_eq!(parent.residency(BASE, 3 * PAGE).unwrap(), [true; 3]);
}

#[test]
fn sources_are_let_go_when_their_areas_are() {
    let space = space();
    let file = File::new(4);
    map(&space, MapRequest { source: Some((file.clone(), 0)), ..fixed(0, 4, RW) });
    (0..4).for_each(|page| store(&space, page, 1).unwrap());
    assert_eq!(file.first_byte(2), 102, "stores in a private mapping stay there");
    space.unmap(BASE + PAGE, PAGE).unwrap();
    assert!(Arc::strong_count(&file) > 1);
    space.clear();
    assert_eq!(Arc::strong_count(&file), 1);
}

thread_local! {
    /// Whether this thread finds no memory for pages, or none for page tables. A placement on a node that has none stands
    /// for a machine whose memory is full.
    static FULL: Cell<(bool, bool)> = const { Cell::new((false, false)) };

    /// Where the heap is to grow.
    static OBJECTS: Cell<Option<base::NodeId>> = const { Cell::new(None) };
}

/// The heap grows on `node` from here on, as far as this thread makes it.
pub(crate) fn grow_on(node: base::NodeId) {
    set_full(false, false);
    OBJECTS.set(Some(node));
}

fn set_full(pages: bool, tables: bool) {
    struct Source;
    impl crate::PlacementSource for Source {
        fn current(&self, policy: Option<&MemoryPolicy>, index: u64) -> Placement {
            if let Some(policy) = policy {
                return policy.placement(&Placement::ANY.allowed, index);
            }
            if FULL.get().0 { Placement::on(base::NodeSet::EMPTY) } else { Placement::ANY }
        }

        fn files(&self, policy: Option<&MemoryPolicy>, index: u64) -> Placement {
            self.current(policy, index)
        }

        fn kernel(&self) -> Placement {
            if FULL.get().1 { Placement::on(base::NodeSet::EMPTY) } else { Placement::ANY }
        }

        fn objects(&self) -> Option<base::NodeId> {
            OBJECTS.get()
        }

        fn is_short(&self) {}

        fn reclaims(&self) {}
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| crate::placement::PLACEMENT.install(&Source));
    FULL.set((pages, tables));
}

#[test]
fn memory_that_runs_out_is_told_and_comes_back() {
    let space = space();
    map(&space, fixed(0, 2, RW));
    set_full(true, false);
    assert_eq!(store(&space, 0, 1), Err(FaultError::OutOfMemory));
    set_full(false, false);
    assert_eq!(store(&space, 0, 1), Ok(()));
}

#[test]
fn without_memory_for_a_page_table_what_a_child_shares_stays_as_it_is() {
    let parent = space();
    map(&parent, fixed(0, 4, RW));
    (0..4).for_each(|page| store(&parent, page, 1).unwrap());
    let child = parent.fork(crate::payer::current()).unwrap();
    let (areas, resident) = (parent.areas().collect::<Vec<_>>(), parent.resident());
    set_full(false, true);
    assert_eq!(store(&parent, 0, 2), Err(FaultError::OutOfMemory));
    assert_eq!(parent.protect(BASE + PAGE, PAGE, Protection::READ), Err(Errno::ENOMEM));
    assert_eq!(parent.unmap(BASE + PAGE, PAGE), Err(Errno::ENOMEM));
    assert_eq!(parent.map(fixed(1, 1, RW), &Limits::NONE), Err(Errno::ENOMEM));
    assert_eq!(parent.remap(BASE, PAGE, PAGE, 3, BASE + 8 * PAGE, &Limits::NONE), Err(Errno::ENOMEM));
    assert_eq!(parent.advise(BASE, PAGE, Advice::DontNeed), Err(Errno::ENOMEM));
    assert_eq!((parent.areas().collect::<Vec<_>>(), parent.resident()), (areas, resident));
    set_full(false, false);
    (0..4).for_each(|page| assert_eq!((load(&parent, page), load(&child, page)), (Ok(1), Ok(1))));
    store(&parent, 0, 3).unwrap();
    assert_eq!((load(&parent, 0), load(&child, 0)), (Ok(3), Ok(1)));
}
