//! Pages of files that are mapped with the one that is asked for.

use super::*;

/// A file some of whose pages are in memory, and which of the others were brought there.
struct Cached {
    file: Arc<File>,
    there: Mutex<Vec<u64>>,
    brought: Mutex<Vec<u64>>,
}

impl Cached {
    fn new(pages: u8, there: &[u64]) -> Arc<Self> {
        let (there, brought) = (Mutex::new(there.to_vec()), Mutex::default());
        Arc::new(Self { file: File::new(pages), there, brought })
    }

    fn brought(&self) -> Vec<u64> {
        core::mem::take(&mut self.brought.lock().unwrap())
    }

    /// How many refer to each page besides the file.
    fn references(&self) -> Vec<u32> {
        self.file.pages.lock().unwrap().iter().map(|frame| frame.reference_count() - 1).collect()
    }
}

impl PageSource for Cached {
    fn page(&self, index: u64, usage: PageUse) -> Result<Frame, Errno> {
        let frame = self.file.page(index, usage)?;
        let mut there = self.there.lock().unwrap();
        if !there.contains(&index) {
            there.push(index);
            self.brought.lock().unwrap().push(index);
        }
        Ok(frame)
    }

    fn pages_there(&self, first: u64, usage: PageUse, frames: &mut [Option<Frame>]) {
        assert_ne!(usage, PageUse::SharedWrite);
        let there = self.there.lock().unwrap();
        for (index, frame) in (first..).zip(frames) {
            *frame = there.contains(&index).then(|| self.file.page(index, usage).unwrap());
        }
    }

    fn describe(&self) -> SourceDescription {
        self.file.describe()
    }

    fn identity(&self) -> u64 {
        8
    }
}

const FILE_PAGES: u8 = 24;

/// Maps pages `pages` of the file at the same places from `BASE` on.
fn map_part(space: &AddressSpace, file: &Arc<Cached>, pages: Range<u64>, protection: Protection) {
    let length = pages.end - pages.start;
    map(
        space,
        MapRequest { source: Some((file.clone(), pages.start * PAGE)), ..fixed(pages.start, length, protection) },
    );
}

fn mapped(space: &AddressSpace) -> Vec<u64> {
    (0..FILE_PAGES.into()).filter(|page| space.tables.edit().get(BASE + page * PAGE).is_some()).collect()
}

#[test]
fn a_load_maps_what_is_in_memory_of_eight_pages_and_brings_only_its_own() {
    let space = space();
    let file = Cached::new(FILE_PAGES, &[0, 2, 3, 5, 8, 9, 22]);
    map_part(&space, &file, 0..FILE_PAGES.into(), Protection::READ);
    assert_eq!(load(&space, 4), Ok(104));
    assert_eq!((mapped(&space), file.brought()), (vec![0, 2, 3, 4, 5], vec![4]));
    assert_eq!(space.resident().file, 5);
    // Those that came along are what they should be, and no fault is needed for them.
    (0..6).filter(|page| *page != 1).for_each(|page| assert_eq!(load(&space, page), Ok(100 + page as u8)));
    assert_eq!((mapped(&space).len(), file.brought()), (5, vec![]));
    // Only what was asked for counts as used.
    let used = |page: u64| space.tables.edit().get(BASE + page * PAGE).unwrap().accessed;
    assert_eq!(load(&space, 9), Ok(109));
    assert_eq!((used(9), used(8)), (true, false));

    assert_eq!(load(&space, 1), Ok(101));
    assert_eq!((mapped(&space), file.brought()), (vec![0, 1, 2, 3, 4, 5, 8, 9], vec![1]));
    assert_eq!((space.resident().file, space.resident().peak), (8, 8));
    assert_eq!(file.references().iter().sum::<u32>(), 8);
    space.unmap(BASE, u64::from(FILE_PAGES) * PAGE).unwrap();
    assert_eq!((space.resident().file, file.references().iter().sum()), (0, 0));
}

#[test]
fn what_comes_along_lies_in_the_same_area() {
    let space = space();
    let all: Vec<u64> = (0..FILE_PAGES.into()).collect();
    let file = Cached::new(FILE_PAGES, &all);
    map_part(&space, &file, 3..13, Protection::READ);
    map_part(&space, &file, 13..20, Protection::READ | Protection::EXECUTE);
    assert_eq!(load(&space, 5), Ok(105));
    assert_eq!(mapped(&space), [3, 4, 5, 6, 7]);
    assert_eq!(load(&space, 12), Ok(112));
    assert_eq!(mapped(&space), [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!(space.fault(BASE + 14 * PAGE, Access::Execute, &Limits::NONE), Ok(()));
    assert_eq!(mapped(&space), (3..16).collect::<Vec<_>>());
}

#[test]
fn where_pages_may_be_stored_to_each_comes_alone() {
    let space = space();
    let all: Vec<u64> = (0..FILE_PAGES.into()).collect();
    let file = Cached::new(FILE_PAGES, &all);
    map_part(&space, &file, 0..FILE_PAGES.into(), RW);
    assert_eq!(load(&space, 1), Ok(101));
    store(&space, 2, 7).unwrap();
    assert_eq!(mapped(&space), [1, 2]);

    // What a program has made its own stays when the others come.
    space.protect(BASE, 8 * PAGE, Protection::READ).unwrap();
    assert_eq!((load(&space, 3), load(&space, 2)), (Ok(103), Ok(7)));
    assert_eq!(mapped(&space), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!((space.resident().file, space.resident().anonymous), (7, 1));
    assert_eq!(file.references()[2], 0);
}

#[test]
fn a_child_and_its_parent_have_what_came_along_each_for_itself() {
    let parent = space();
    let all: Vec<u64> = (0..FILE_PAGES.into()).collect();
    let file = Cached::new(FILE_PAGES, &all);
    map_part(&parent, &file, 0..16, Protection::READ);
    assert_eq!(load(&parent, 0), Ok(100));
    let child = parent.fork(crate::payer::current()).unwrap();
    assert_eq!(load(&child, 9), Ok(109));
    assert_eq!((mapped(&parent).len(), mapped(&child).len()), (8, 16));
    assert_eq!((parent.resident().file, child.resident().file), (8, 16));
    drop(child);
    assert_eq!(file.references().iter().sum::<u32>(), 8);
}
