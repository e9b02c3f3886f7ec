//! Address spaces against a map of pages, and the rules of the manual pages one by one.

use super::*;
use crate::Placement;
use crate::area::Protection;
use crate::source::{PageSource, PageUse, SourceDescription};
use core::cell::{Cell, RefCell};
use machine::frame::Frame;
use machine::sync::Hook;
use machine::user_memory::{self, FAULTS, FaultHandler};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread_local;

mod migrate;
mod payment;
mod together;

const RW: Protection = Protection::READ.union(Protection::WRITE);
const BASE: u64 = 0x10_0000;

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
    space.fault(address, Access::Read, &Limits::NONE)?;
    let mut byte = [0];
    space.read(address, &mut byte).unwrap();
    Ok(byte[0])
}

fn store(space: &AddressSpace, page: u64, value: u8) -> Result<(), FaultError> {
    let address = BASE + page * PAGE;
    space.fault(address, Access::Write, &Limits::NONE)?;
    space.write(address, &[value]).unwrap();
    Ok(())
}

mod against_a_model {
    use super::*;

    const PAGES: u64 = 24;
    const FILE_PAGES: u8 = 6;

    #[derive(Clone, Debug)]
    enum Step {
        Map { page: u64, pages: u64, protection: u8, file: Option<(u64, bool)> },
        Unmap { page: u64, pages: u64 },
        Protect { page: u64, pages: u64, protection: u8 },
        DontNeed { page: u64, pages: u64 },
        Load(u64),
        Store(u64, u8),
        Move { page: u64, pages: u64, to: u64 },
        Fork,
        EndChild,
    }

    #[derive(Clone, PartialEq, Debug)]
    enum Content {
        /// The page's own value; `None` is a page of a file as the file has it.
        Own(u8),
        File(u64),
        Shared(u64),
    }

    /// A page that is mapped: what it holds, what it would hold without stores, what is allowed, and whether it could
    /// once be written privately. (Those that could are paid for, and areas that differ in that stay two.)
    #[derive(Clone, PartialEq, Debug)]
    struct Page {
        now: Content,
        fresh: Content,
        protection: u8,
        promised: bool,
    }

    impl Page {
        fn new(fresh: Content, protection: u8) -> Self {
            let mut page = Self { now: fresh.clone(), fresh, protection, promised: false };
            page.protect(protection);
            page
        }

        fn protect(&mut self, protection: u8) {
            self.protection = protection;
            self.promised |= protection & 2 != 0 && !matches!(self.fresh, Content::Shared(_));
        }
    }

    #[derive(Clone, Default)]
    struct Model {
        pages: BTreeMap<u64, Page>,
    }

    impl Model {
        fn load(&self, page: u64, file: &[u8]) -> Result<u8, FaultError> {
            let page = self.pages.get(&page).ok_or(FaultError::NotMapped)?;
            if page.protection == 0 {
                return Err(FaultError::NoAccess);
            }
            match page.now {
                Content::Own(value) => Ok(value),
                Content::File(index) | Content::Shared(index) => {
                    file.get(index as usize).copied().ok_or(FaultError::BeyondEnd)
                }
            }
        }

        fn store(&mut self, page: u64, value: u8, file: &mut [u8]) -> Result<(), FaultError> {
            let page = self.pages.get_mut(&page).ok_or(FaultError::NotMapped)?;
            if page.protection & 2 == 0 {
                return Err(FaultError::NoAccess);
            }
            match page.now {
                Content::Shared(index) => {
                    *file.get_mut(index as usize).ok_or(FaultError::BeyondEnd)? = value;
                }
                Content::File(index) if index as usize >= file.len() => return Err(FaultError::BeyondEnd),
                _ => page.now = Content::Own(value),
            }
            Ok(())
        }

        /// Whether `mremap` finds one area there: pages that go on in each other.
        fn is_one_area(&self, page: u64, pages: u64) -> bool {
            let Some(first) = self.pages.get(&page) else { return false };
            (0..pages).all(|at| {
                self.pages.get(&(page + at)).is_some_and(|next| {
                    let alike = match (&first.fresh, &next.fresh) {
                        (Content::Own(_), Content::Own(_)) => true,
                        (Content::File(a), Content::File(b)) | (Content::Shared(a), Content::Shared(b)) => a + at == *b,
                        _ => false,
                    };
                    alike && next.protection == first.protection && next.promised == first.promised
                })
            })
        }
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let range = || (0..PAGES, 1..8u64);
        let protection = || prop::sample::select(std::vec![0u8, 1, 3, 3, 3, 5]);
        prop_oneof![
            3 => (range(), protection(), prop::option::of((0..4u64, any::<bool>())))
                .prop_map(|((page, pages), protection, file)| Step::Map { page, pages, protection, file }),
            2 => range().prop_map(|(page, pages)| Step::Unmap { page, pages }),
            2 => (range(), protection()).prop_map(|((page, pages), protection)| Step::Protect { page, pages, protection }),
            1 => range().prop_map(|(page, pages)| Step::DontNeed { page, pages }),
            6 => (0..PAGES + 8).prop_map(Step::Load),
            8 => (0..PAGES + 8, any::<u8>()).prop_map(|(page, value)| Step::Store(page, value)),
            2 => (range(), 0..PAGES).prop_map(|((page, pages), to)| Step::Move { page, pages, to }),
            1 => Just(Step::Fork),
            1 => Just(Step::EndChild),
        ]
    }

    /// A family of spaces, of which the last is at work, and the file that they may share.
    struct World {
        real: Vec<Arc<AddressSpace>>,
        model: Vec<Model>,
        file: Arc<File>,
        file_model: Vec<u8>,
    }

    impl World {
        fn new() -> Self {
            let file_model = (0..FILE_PAGES).map(|page| page + 100).collect();
            Self {
                real: std::vec![space()],
                model: std::vec![Model::default()],
                file: File::new(FILE_PAGES),
                file_model,
            }
        }

        fn apply(&mut self, step: &Step) {
            let space = self.real.last().unwrap().clone();
            let model = self.model.last_mut().unwrap();
            match *step {
                Step::Map { page, pages, protection, file } => {
                    let sharing =
                        if file.is_some_and(|(_, shared)| shared) { Sharing::Shared } else { Sharing::Private };
                    let source = file.map(|(index, _)| (self.file.clone() as Arc<dyn PageSource>, index * PAGE));
                    let request = MapRequest {
                        sharing,
                        source,
                        ..fixed(page, pages, Protection::from_bits_truncate(protection))
                    };
                    map(&space, request);
                    for at in 0..pages {
                        let fresh = match file {
                            None => Content::Own(0),
                            Some((index, false)) => Content::File(index + at),
                            Some((index, true)) => Content::Shared(index + at),
                        };
                        model.pages.insert(page + at, Page::new(fresh, protection));
                    }
                }
                Step::Unmap { page, pages } => {
                    space.unmap(BASE + page * PAGE, pages * PAGE).unwrap();
                    (page..page + pages).for_each(|page| {
                        model.pages.remove(&page);
                    });
                }
                Step::Protect { page, pages, protection } => {
                    let bits = Protection::from_bits_truncate(protection);
                    let result = space.protect(BASE + page * PAGE, pages * PAGE, bits);
                    let held = (page..page + pages).take_while(|page| model.pages.contains_key(page)).count() as u64;
                    assert_eq!(result, if held == pages { Ok(()) } else { Err(Errno::ENOMEM) });
                    (page..page + held).for_each(|page| model.pages.get_mut(&page).unwrap().protect(protection));
                }
                Step::DontNeed { page, pages } => {
                    let result = space.advise(BASE + page * PAGE, pages * PAGE, Advice::DontNeed);
                    let range = page..page + pages;
                    let whole = range.clone().all(|page| model.pages.contains_key(&page));
                    assert_eq!(result, if whole { Ok(()) } else { Err(Errno::ENOMEM) });
                    model.pages.range_mut(range).for_each(|(_, page)| page.now = page.fresh.clone());
                }
                Step::Load(page) => assert_eq!(load(&space, page), model.load(page, &self.file_model)),
                Step::Store(page, value) => {
                    assert_eq!(store(&space, page, value), model.store(page, value, &mut self.file_model));
                }
                Step::Move { page, pages, to } => {
                    let overlap = page < to + pages && to < page + pages;
                    let at = |page: u64| BASE + page * PAGE;
                    let result = space.remap(at(page), pages * PAGE, pages * PAGE, 3, at(to), &Limits::NONE);
                    if overlap {
                        assert_eq!(result, Err(Errno::EINVAL));
                    } else if !model.is_one_area(page, pages) {
                        assert_eq!(result, Err(Errno::EFAULT));
                    } else {
                        assert_eq!(result, Ok(at(to)));
                        for distance in 0..pages {
                            let moved = model.pages.remove(&(page + distance)).unwrap();
                            model.pages.insert(to + distance, moved);
                        }
                    }
                }
                Step::Fork if self.real.len() < 4 => {
                    let (space, model) = (space.fork().unwrap(), model.clone());
                    self.real.push(space);
                    self.model.push(model);
                }
                Step::EndChild if self.real.len() > 1 => {
                    self.real.pop().unwrap().clear();
                    self.model.pop();
                }
                Step::Fork | Step::EndChild => {}
            }
        }

        /// Looks at every page of every space.
        fn compare(&self) {
            for (real, model) in self.real.iter().zip(&self.model) {
                for page in 0..PAGES + 8 {
                    let address = BASE + page * PAGE;
                    let mut byte = [0];
                    let loaded = real.read(address, &mut byte).map(|()| byte[0]);
                    assert_eq!(loaded, model.load(page, &self.file_model).map_err(|_| Errno::EFAULT), "page {page}");
                }
                let areas = real.areas();
                let in_areas: u64 = areas.iter().map(|area| (area.end - area.start) / PAGE).sum();
                assert_eq!(in_areas, model.pages.len() as u64);
                assert!(areas.windows(2).all(|pair| pair[0].end <= pair[1].start));
            }
            let file: Vec<u8> = (0..usize::from(FILE_PAGES)).map(|page| self.file.first_byte(page)).collect();
            assert_eq!(file, self.file_model);
        }
    }

    /// As on Linux, which pays for the one (`VM_ACCOUNT`) and not for the other.
    #[test]
    fn areas_that_could_and_could_not_be_written_stay_two() {
        let mut world = World::new();
        world.apply(&Step::Map { page: 5, pages: 3, protection: 1, file: None });
        world.apply(&Step::Map { page: 8, pages: 1, protection: 3, file: None });
        world.apply(&Step::Protect { page: 5, pages: 4, protection: 0 });
        assert!(!world.model[0].is_one_area(7, 2));
        world.apply(&Step::Move { page: 7, pages: 2, to: 0 });
        assert_eq!(world.real[0].areas().len(), 2);
        world.compare();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn every_space_holds_what_its_tasks_stored(steps in prop::collection::vec(any_step(), 1..80)) {
            let mut world = World::new();
            for step in &steps {
                world.apply(step);
            }
            world.compare();
            for space in &world.real {
                // What is counted is what the tables hold.
                let mut counted = PageCounts::default();
                space.tables.edit().scan(0..USER_END, &mut |_, mapping| match mapping.kind {
                    PageKind::Anonymous => counted.anonymous += 1,
                    PageKind::File => counted.file += 1,
                    PageKind::Shared => counted.shared += 1,
                    PageKind::Zero => {}
                });
                let resident = space.resident();
                prop_assert_eq!((resident.anonymous, resident.file, resident.shared), (counted.anonymous, counted.file, counted.shared));
                space.clear();
                let resident = space.resident();
                prop_assert_eq!((resident.anonymous, resident.file, resident.mapped, resident.tables), (0, 0, 0, 1));
            }
            drop(world.real);
            for frame in world.file.pages.lock().unwrap().iter() {
                prop_assert_eq!(frame.reference_count(), 1, "nobody keeps a page of the file");
            }
        }
    }
}

#[test]
fn a_copied_page_is_given_to_the_one_who_writes_and_the_other_keeps_it_without_a_copy() {
    let parent = space();
    map(&parent, fixed(0, 1, RW));
    store(&parent, 0, 1).unwrap();
    let child = parent.fork().unwrap();
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
    assert_eq!(space.areas().len(), 2, "neighbours that differ in nothing are one area");
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
    assert_eq!(space.areas()[0].name, Some("[heap]"));
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
    assert_eq!(space.remap(moved, 2 * PAGE, PAGE, 0, 0, &Limits::NONE), Err(Errno::EFAULT));
    assert_eq!(space.remap(moved, PAGE, PAGE, 8, 0, &Limits::NONE), Err(Errno::EINVAL));
}

#[test]
fn shared_anonymous_memory_is_seen_by_parent_and_child() {
    let parent = space();
    map(&parent, MapRequest { sharing: Sharing::Shared, ..fixed(0, 2, RW) });
    store(&parent, 0, 1).unwrap();
    let child = parent.fork().unwrap();
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
    let child = parent.fork().unwrap();
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

#[test]
fn memory_that_runs_out_is_told_and_comes_back() {
    crate::tests::start();
    let space = space();
    // A placement on a node that has no memory stands for a machine whose memory is full.
    thread_local! { static NONE: Cell<bool> = const { Cell::new(false) } }
    struct Source;
    impl crate::PlacementSource for Source {
        fn current(&self) -> Placement {
            if NONE.get() { Placement::on(base::NodeSet::EMPTY) } else { Placement::ANY }
        }

        fn files(&self) -> Placement {
            self.current()
        }

        fn kernel(&self) -> Placement {
            Placement::ANY
        }

        fn reclaims(&self) {}
    }
    crate::placement::PLACEMENT.install(&Source);
    map(&space, fixed(0, 2, RW));
    NONE.set(true);
    assert_eq!(store(&space, 0, 1), Err(FaultError::OutOfMemory));
    NONE.set(false);
    assert_eq!(store(&space, 0, 1), Ok(()));
}
