//! Page tables against a map of pages.

use super::*;
use crate::frame::{Block, Frame};
use crate::host::{flushed_pages, fresh_frames};
use base::NodeId;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// A source that gives frames of its own, up to a number.
struct Limited(Mutex<Vec<Block>>);

impl Limited {
    fn new(frames: u64) -> Self {
        let halves = |block: Block| {
            let mut blocks = vec![block];
            while blocks[0].order() > 0 {
                blocks = blocks.into_iter().flat_map(|block| <[Block; 2]>::from(block.split())).collect();
            }
            blocks
        };
        Self(Mutex::new(fresh_frames(frames, NodeId::new(0)).into_iter().flat_map(halves).collect()))
    }

    fn frame(&self) -> Frame {
        self.0.lock().unwrap().pop().unwrap().into_frame()
    }
}

impl TableSource for Limited {
    fn table(&self) -> Result<Block, Errno> {
        self.0.lock().unwrap().pop().ok_or(Errno::ENOMEM)
    }
}

const READ: Permissions = Permissions::READ;
const RW: Permissions = Permissions::READ.union(Permissions::WRITE);
const PAGE: u64 = 4096;

/// Pages that lie in four leaf tables under two tables of the second level.
fn address(page: u64) -> u64 {
    (page / 8) * (1 << 29) + (511 - 4) * PAGE + (page % 8) * PAGE
}

#[derive(Clone, Debug)]
enum Step {
    Map(u64, bool, u8),
    Replace(u64, bool),
    Protect(u64, u64, u8),
    Unmap(u64, u64),
    Relocate(u64, u64),
    Share(bool),
}

fn any_step() -> impl Strategy<Value = Step> {
    let page = || 0..16u64;
    prop_oneof![
        4 => (page(), any::<bool>(), 0..3u8).prop_map(|(page, write, kind)| Step::Map(page, write, kind)),
        1 => (page(), any::<bool>()).prop_map(|(page, write)| Step::Replace(page, write)),
        1 => (page(), page(), 0..8u8).prop_map(|(a, b, bits)| Step::Protect(a.min(b), a.max(b), bits)),
        1 => (page(), page()).prop_map(|(a, b)| Step::Unmap(a.min(b), a.max(b))),
        1 => (page(), page()).prop_map(|(from, to)| Step::Relocate(from, to)),
        1 => any::<bool>().prop_map(Step::Share),
    ]
}

fn permissions(write: bool) -> Permissions {
    if write { RW } else { READ }
}

fn kind(number: u8) -> PageKind {
    [PageKind::Anonymous, PageKind::File, PageKind::Shared][usize::from(number)]
}

type Pages = BTreeMap<u64, (u64, Permissions, PageKind)>;

fn held(tables: &PageTables) -> Pages {
    let mut pages = Pages::new();
    tables.edit().scan(0..USER_END, &mut |at, page| {
        pages.insert(at, (page.frame.number().raw(), page.permissions, page.kind));
    });
    pages
}

fn counts(pages: impl Iterator<Item = PageKind>) -> PageCounts {
    let mut counts = PageCounts::default();
    pages.for_each(|kind| counts.add(kind));
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn tables_hold_what_was_put_in(steps in prop::collection::vec(any_step(), 1..60)) {
        let source = Limited::new(256);
        let tables = PageTables::new(&source, None).unwrap();
        let mut model = Pages::new();
        for step in steps {
            match step {
                Step::Map(page, write, number) => {
                    let frame = source.frame();
                    let raw = frame.number().raw();
                    let result = tables.edit().map(address(page), frame, permissions(write), kind(number), &source);
                    let free = !model.contains_key(&address(page));
                    prop_assert_eq!(result, free.then_some(()).ok_or(Errno::EEXIST));
                    model.entry(address(page)).or_insert((raw, permissions(write), kind(number)));
                }
                Step::Replace(page, write) => {
                    let frame = source.frame();
                    let raw = frame.number().raw();
                    let replaced = tables.edit().replace(address(page), frame, permissions(write), PageKind::Anonymous);
                    prop_assert_eq!(replaced, model.get(&address(page)).map(|page| page.2));
                    if let Some(page) = model.get_mut(&address(page)) {
                        *page = (raw, permissions(write), PageKind::Anonymous);
                    }
                }
                Step::Protect(first, last, bits) => {
                    // Without loading there is nothing else.
                    let bits = if bits & 1 == 0 { 0 } else { bits };
                    let new = Permissions::from_bits_truncate(bits);
                    tables.edit().protect(address(first)..address(last) + PAGE, new);
                    model.range_mut(address(first)..=address(last)).for_each(|(_, page)| {
                        page.1 = new.difference(Permissions::WRITE) | (new & page.1);
                    });
                }
                Step::Unmap(first, last) => {
                    let range = address(first)..address(last) + PAGE;
                    let gone: Pages = model.range(range.clone()).map(|(&at, &page)| (at, page)).collect();
                    prop_assert_eq!(tables.edit().unmap(range), counts(gone.values().map(|page| page.2)));
                    gone.keys().for_each(|at| {
                        model.remove(at);
                    });
                }
                Step::Relocate(from, to) => {
                    if from == to {
                        continue;
                    }
                    let result = tables.edit().relocate(address(from)..address(from) + PAGE, address(to), &source);
                    if model.contains_key(&address(from)) && model.contains_key(&address(to)) {
                        prop_assert_eq!(result, Err(Errno::EEXIST));
                    } else {
                        prop_assert_eq!(result, Ok(()));
                        if let Some(page) = model.remove(&address(from)) {
                            model.insert(address(to), page);
                        }
                    }
                }
                Step::Share(copy_on_write) => {
                    let child = PageTables::new(&source, None).unwrap();
                    let shared = tables.edit().share(&mut child.edit_nested(), 0..USER_END, copy_on_write, &source);
                    prop_assert_eq!(shared, Ok(counts(model.values().map(|page| page.2))));
                    if copy_on_write {
                        model.values_mut().for_each(|page| page.1.remove(Permissions::WRITE));
                    }
                    prop_assert_eq!(held(&child), model.clone());
                    prop_assert!(tables.edit().get(address(0)).is_none_or(|page| page.frame.reference_count() == 2));
                }
            }
            prop_assert_eq!(held(&tables), model.clone());
        }
        tables.edit().scan(0..USER_END, &mut |_, page| assert_eq!(page.frame.reference_count(), 1));
        tables.edit().unmap(0..USER_END);
        prop_assert_eq!(tables.table_pages(), 1, "tables without a page are given back");
    }
}

#[test]
fn a_missing_table_page_changes_nothing() {
    let source = Limited::new(3);
    let tables = PageTables::new(&source, None).unwrap();
    let frame = source.frame();
    assert_eq!(tables.edit().map(0, frame, RW, PageKind::Anonymous, &source), Err(Errno::ENOMEM));
    assert!(held(&tables).is_empty());
    assert_eq!(tables.edit().unmap(0..USER_END), PageCounts::default());
    assert_eq!(tables.table_pages(), 1);
}

#[test]
fn cpus_forget_only_what_they_may_remember() {
    let source = Limited::new(16);
    let tables = PageTables::new(&source, None).unwrap();
    let map = |at: u64| tables.edit().map(at, source.frame(), RW, PageKind::Anonymous, &source).unwrap();
    map(0);
    let before = flushed_pages();
    tables.edit().unmap(0..PAGE);
    assert_eq!(flushed_pages() - before, 0, "no CPU has it");
    tables.activate();
    map(0);
    map(PAGE);
    tables.edit().set_permissions(0, READ);
    assert_eq!(flushed_pages() - before, 1);
    tables.edit().set_permissions(0, RW);
    assert_eq!(flushed_pages() - before, 1, "who remembers less looks again");
    let frame = source.frame();
    tables.edit().replace(PAGE, frame, RW, PageKind::Anonymous);
    assert_eq!(flushed_pages() - before, 2);
    deactivate();
    assert!(tables.active_on().is_empty());
}

#[test]
fn a_cpu_keeps_the_tables_that_it_uses() {
    let source = Limited::new(16);
    let (first, second) = (PageTables::new(&source, None).unwrap(), PageTables::new(&source, None).unwrap());
    first.activate();
    first.activate();
    assert_eq!(Arc::strong_count(&first), 2);
    second.activate();
    assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 2));
    assert!(first.active_on().is_empty() && !second.active_on().is_empty());
    second.evict();
    assert_eq!(Arc::strong_count(&second), 1);
}
