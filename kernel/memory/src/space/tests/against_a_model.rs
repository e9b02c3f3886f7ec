//! Any steps in a family of address spaces, against a map of pages.

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
    Advise { page: u64, pages: u64, advice: Advice },
    Fork,
    End,
}

#[derive(Clone, PartialEq, Debug)]
enum Content {
    /// The page's own value; `None` is a page of a file as the file has it.
    Own(u8),
    File(u64),
    Shared(u64),
}

/// A page that is mapped: what it holds, what it would hold without stores, what is allowed, whether it could once be
/// written privately, and what a child gets. (Those that could are paid for, and areas that differ in that stay two.)
#[derive(Clone, PartialEq, Debug)]
struct Page {
    now: Content,
    fresh: Content,
    protection: u8,
    promised: bool,
    dont_fork: bool,
    wipe: bool,
}

impl Page {
    fn new(fresh: Content, protection: u8) -> Self {
        let mut page = Self { now: fresh.clone(), fresh, protection, promised: false, dont_fork: false, wipe: false };
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

    /// What a forked child has.
    fn child(&self) -> Self {
        let mut child = self.clone();
        child.pages.retain(|_, page| !page.dont_fork);
        child.pages.values_mut().filter(|page| page.wipe).for_each(|page| page.now = page.fresh.clone());
        child
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
                let what = |page: &Page| (page.protection, page.promised, page.dont_fork, page.wipe);
                alike && what(next) == what(first)
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
        // A large area, where pages come in ahead.
        1 => Just(Step::Map { page: 16, pages: 512, protection: 3, file: None }),
        2 => range().prop_map(|(page, pages)| Step::Unmap { page, pages }),
        1 => Just(Step::Unmap { page: 16, pages: 512 }),
        2 => (range(), protection()).prop_map(|((page, pages), protection)| Step::Protect { page, pages, protection }),
        1 => range().prop_map(|(page, pages)| Step::DontNeed { page, pages }),
        6 => (0..PAGES + 8).prop_map(Step::Load),
        8 => (0..PAGES + 8, any::<u8>()).prop_map(|(page, value)| Step::Store(page, value)),
        2 => (range(), 0..PAGES).prop_map(|((page, pages), to)| Step::Move { page, pages, to }),
        1 => (range(), any_advice()).prop_map(|((page, pages), advice)| Step::Advise { page, pages, advice }),
        3 => Just(Step::Fork),
        1 => Just(Step::End),
    ]
}

fn any_advice() -> impl Strategy<Value = Advice> {
    prop::sample::select(std::vec![Advice::DontFork, Advice::DoFork, Advice::WipeOnFork, Advice::KeepOnFork])
}

/// A family of spaces, and the file that they may share.
struct World {
    real: Vec<Arc<AddressSpace>>,
    model: Vec<Model>,
    file: Arc<File>,
    file_model: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let file_model = (0..FILE_PAGES).map(|page| page + 100).collect();
        Self { real: std::vec![space()], model: std::vec![Model::default()], file: File::new(FILE_PAGES), file_model }
    }

    /// Takes a step in one of the spaces.
    fn apply(&mut self, member: usize, step: &Step) {
        let member = member % self.real.len();
        let space = self.real[member].clone();
        let model = &mut self.model[member];
        match *step {
            Step::Map { page, pages, protection, file } => {
                let sharing = if file.is_some_and(|(_, shared)| shared) { Sharing::Shared } else { Sharing::Private };
                let source = file.map(|(index, _)| (self.file.clone() as Arc<dyn PageSource>, index * PAGE));
                let request =
                    MapRequest { sharing, source, ..fixed(page, pages, Protection::from_bits_truncate(protection)) };
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
                if !model.pages.contains_key(&page) {
                    assert_eq!(result, Err(Errno::EFAULT));
                } else if overlap {
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
            Step::Advise { page, pages, advice } => {
                let range = page..page + pages;
                let whole = range.clone().all(|page| model.pages.contains_key(&page));
                // Area after area, until one refuses.
                let refuses = |page: &Page| advice == Advice::WipeOnFork && !matches!(page.fresh, Content::Own(_));
                let refused = model.pages.range(range.clone()).find(|(_, page)| refuses(page)).map(|(&page, _)| page);
                let result = space.advise(BASE + page * PAGE, pages * PAGE, advice);
                let error = if refused.is_some() { Errno::EINVAL } else { Errno::ENOMEM };
                assert_eq!(result, if whole && refused.is_none() { Ok(()) } else { Err(error) });
                let range = page..refused.unwrap_or(range.end);
                model.pages.range_mut(range).for_each(|(_, page)| match advice {
                    Advice::DontFork => page.dont_fork = true,
                    Advice::DoFork => page.dont_fork = false,
                    Advice::WipeOnFork => page.wipe = true,
                    _ => page.wipe = false,
                });
            }
            Step::Fork if self.real.len() < 4 => {
                let (space, model) = (space.fork(crate::payer::current()).unwrap(), model.child());
                self.real.push(space);
                self.model.push(model);
            }
            Step::End if self.real.len() > 1 => {
                self.real.swap_remove(member).clear();
                self.model.swap_remove(member);
            }
            Step::Fork | Step::End => {}
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
            let areas: Vec<_> = real.areas().collect();
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
    world.apply(0, &Step::Map { page: 5, pages: 3, protection: 1, file: None });
    world.apply(0, &Step::Map { page: 8, pages: 1, protection: 3, file: None });
    world.apply(0, &Step::Protect { page: 5, pages: 4, protection: 0 });
    assert!(!world.model[0].is_one_area(7, 2));
    world.apply(0, &Step::Move { page: 7, pages: 2, to: 0 });
    assert_eq!(world.real[0].areas().count(), 2);
    world.compare();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_space_holds_what_its_tasks_stored(steps in prop::collection::vec((0..4usize, any_step()), 1..80)) {
        let mut world = World::new();
        for (member, step) in &steps {
            world.apply(*member, step);
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
