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

/// Pages that lie in six leaf tables: four under one table, the others under another entry of the root.
fn address(page: u64) -> u64 {
    [0, 1 << 29, 5 << 39][(page / 8) as usize] + (511 - 4) * PAGE + (page % 8) * PAGE
}

/// What is done to one of the tables, which are a family.
#[derive(Clone, Debug)]
enum Step {
    Map(u64, bool, u8),
    Replace(u64, bool),
    SetPermissions(u64, bool),
    Protect(u64, u64, u8),
    Unmap(u64, u64),
    UnmapSome(u8),
    Own(u64, u64),
    Relocate(u64, u64),
    /// All from the first page to before the second; none there leaves out nothing.
    Share(Option<(u64, u64)>),
    End,
}

fn any_step() -> impl Strategy<Value = Step> {
    let page = || 0..24u64;
    let pages = || (page(), page()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        6 => (page(), any::<bool>(), 0..4u8).prop_map(|(page, write, kind)| Step::Map(page, write, kind)),
        1 => (page(), any::<bool>()).prop_map(|(page, write)| Step::Replace(page, write)),
        1 => (page(), any::<bool>()).prop_map(|(page, write)| Step::SetPermissions(page, write)),
        1 => (pages(), 0..8u8).prop_map(|((first, last), bits)| Step::Protect(first, last, bits)),
        1 => pages().prop_map(|(first, last)| Step::Unmap(first, last)),
        1 => (0..4u8).prop_map(Step::UnmapSome),
        1 => pages().prop_map(|(first, last)| Step::Own(first, last)),
        1 => (page(), page()).prop_map(|(from, to)| Step::Relocate(from, to)),
        2 => prop::option::of(pages()).prop_map(Step::Share),
        1 => Just(Step::End),
    ]
}

fn permissions(write: bool) -> Permissions {
    if write { RW } else { READ }
}

fn kind(number: u8) -> PageKind {
    [PageKind::Anonymous, PageKind::File, PageKind::Shared, PageKind::Zero][usize::from(number)]
}

/// The frame of each page, what it may allow at most, and its kind. A page that was shared by a fork may or may not allow
/// less.
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
    pages.for_each(|kind| match kind {
        PageKind::Anonymous => counts.anonymous += 1,
        PageKind::File => counts.file += 1,
        PageKind::Shared => counts.shared += 1,
        PageKind::Zero => {}
    });
    counts
}

/// A family of page tables, and what is in each.
struct Family {
    source: Limited,
    real: Vec<Arc<PageTables>>,
    model: Vec<Pages>,
}

impl Family {
    fn new() -> Self {
        let source = Limited::new(400);
        let first = PageTables::new(&source, None).unwrap();
        Self { source, real: vec![first], model: vec![Pages::new()] }
    }

    fn apply(&mut self, member: usize, step: Step) {
        let member = member % self.real.len();
        let (source, tables, model) = (&self.source, self.real[member].clone(), &mut self.model[member]);
        match step {
            Step::Map(page, write, number) => {
                let frame = source.frame();
                let raw = frame.number().raw();
                let result = tables.edit().map(address(page), frame, permissions(write), kind(number), source);
                let free = !model.contains_key(&address(page));
                assert_eq!(result, free.then_some(()).ok_or(Errno::EEXIST));
                model.entry(address(page)).or_insert((raw, permissions(write), kind(number)));
            }
            Step::Replace(page, write) => {
                let frame = source.frame();
                let raw = frame.number().raw();
                let anonymous = PageKind::Anonymous;
                let replaced = tables.edit().replace(address(page), frame, permissions(write), anonymous, source);
                assert_eq!(replaced, model.get(&address(page)).map(|page| page.2).ok_or(Errno::ENOENT));
                if let Some(page) = model.get_mut(&address(page)) {
                    *page = (raw, permissions(write), PageKind::Anonymous);
                }
            }
            Step::SetPermissions(page, write) => {
                let mut editor = tables.edit();
                // A page that others have too may not be written: whoever asks for that looks first.
                let alone = editor.own(address(page)..address(page) + PAGE, source).is_ok()
                    && editor.get(address(page)).is_some_and(|page| page.frame.reference_count() == 1);
                let new = permissions(write && alone);
                let result = editor.set_permissions(address(page), new, source);
                assert_eq!(result, model.get(&address(page)).map(drop).ok_or(Errno::ENOENT));
                model.entry(address(page)).and_modify(|page| page.1 = new);
            }
            Step::Protect(first, last, bits) => {
                // Without loading there is nothing else.
                let bits = if bits & 1 == 0 { 0 } else { bits };
                let new = Permissions::from_bits_truncate(bits);
                tables.edit().protect(address(first)..address(last) + PAGE, new, source).unwrap();
                model.range_mut(address(first)..=address(last)).for_each(|(_, page)| {
                    page.1 = new.difference(Permissions::WRITE) | (new & page.1);
                });
            }
            Step::Unmap(first, last) => {
                let range = address(first)..address(last) + PAGE;
                let gone: Pages = model.range(range.clone()).map(|(&at, &page)| (at, page)).collect();
                assert_eq!(tables.edit().unmap(range, source), Ok(counts(gone.values().map(|page| page.2))));
                gone.keys().for_each(|at| {
                    model.remove(at);
                });
            }
            Step::UnmapSome(number) => {
                let wanted = kind(number);
                let choose = &mut |page: Mapping<'_>| if page.kind == wanted { Choice::Unmap } else { Choice::Forget };
                let unmapped = tables.edit().unmap_some(0..USER_END, usize::MAX, choose, source);
                assert_eq!(unmapped, counts(model.values().map(|page| page.2).filter(|kind| *kind == wanted)));
                model.retain(|_, page| page.2 != wanted);
            }
            Step::Own(first, last) => {
                let range = address(first)..address(last) + PAGE;
                let mut editor = tables.edit();
                editor.own(range.clone(), source).unwrap();
                tables.for_each_leaf(&range, &mut |leaf| {
                    assert!(leaf.is_alone() && leaf.table.owners() == 1 || leaf.used_slots().next().is_none());
                });
            }
            Step::Relocate(from, to) if from != to => {
                let result = tables.edit().relocate(address(from)..address(from) + PAGE, address(to), source);
                if model.contains_key(&address(from)) && model.contains_key(&address(to)) {
                    assert_eq!(result, Err(Errno::EEXIST));
                } else {
                    assert_eq!(result, Ok(()));
                    if let Some(page) = model.remove(&address(from)) {
                        model.insert(address(to), page);
                    }
                }
            }
            Step::Share(left_out) if self.real.len() < 4 => {
                let child = PageTables::new(source, None).unwrap();
                let (first, end) = left_out.map_or((USER_END, USER_END), |(first, end)| (address(first), address(end)));
                let ranges = [0..first, end..USER_END];
                let mut its = model.clone();
                its.retain(|at, _| ranges.iter().any(|range| range.contains(at)));
                let mut shared = PageCounts::default();
                let mut editor = tables.edit();
                for range in ranges {
                    shared += editor.share(&mut child.edit_nested(), range, source).unwrap();
                }
                drop(editor);
                assert_eq!(shared, counts(its.values().map(|page| page.2)));
                assert!(held(&child).values().all(|page| !page.1.contains(Permissions::WRITE)));
                assert!(
                    held(&tables)
                        .iter()
                        .all(|(at, page)| { !page.1.contains(Permissions::WRITE) || !its.contains_key(at) })
                );
                self.real.push(child);
                self.model.push(its);
            }
            Step::End if self.real.len() > 1 => {
                self.real.swap_remove(member);
                self.model.swap_remove(member);
            }
            Step::Relocate(..) | Step::Share(_) | Step::End => {}
        }
    }

    fn check(&self) {
        let mut mapped = BTreeMap::<u64, (u32, bool)>::new();
        for (tables, model) in self.real.iter().zip(&self.model) {
            let held = held(tables);
            assert_eq!(held.keys().collect::<Vec<_>>(), model.keys().collect::<Vec<_>>());
            let mut leaves = 0;
            tables.for_each_leaf(&(0..USER_END), &mut |leaf| {
                leaves += 1;
                assert!(!leaf.is_alone() || leaf.table.owners() == 1, "two write to one table");
            });
            assert!(tables.table_pages() > leaves);
            for (at, page) in &held {
                let most = model[at];
                assert!((page.0, page.2) == (most.0, most.2) && most.1.contains(page.1), "{page:?} is not {most:?}");
                let users = mapped.entry(page.0).or_default();
                users.0 += 1;
                users.1 |= page.1.contains(Permissions::WRITE);
            }
        }
        assert!(mapped.values().all(|&(users, writable)| users == 1 || !writable), "somebody sees another's stores");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn tables_hold_what_was_put_in(steps in prop::collection::vec((0..4usize, any_step()), 1..100)) {
        let mut family = Family::new();
        for (member, step) in steps {
            family.apply(member, step);
            family.check();
        }
        while family.real.len() > 1 {
            family.apply(0, Step::End);
        }
        let tables = family.real.pop().unwrap();
        tables.edit().scan(0..USER_END, &mut |_, page| assert_eq!(page.frame.reference_count(), 1));
        let all = counts(held(&tables).values().map(|page| page.2));
        prop_assert_eq!(tables.edit().clear(), all);
        prop_assert_eq!(tables.table_pages(), 1, "tables without a page are given back");
    }
}

/// Many leaf tables side by side and far apart, and more entries of the root in use than are taken out at once.
#[test]
fn a_child_with_many_tables_gives_all_of_them_back() {
    let source = Limited::new(400);
    let tables = PageTables::new(&source, None).unwrap();
    let page = source.frame();
    let near = (0..70).map(|leaf| leaf << 21);
    let far = (1..12).map(|root| (root << 39) + (root << 30) + (511 << 21));
    let addresses: Vec<u64> = near.chain(far).collect();
    for &at in &addresses {
        tables.edit().map(at, page.clone(), READ, PageKind::Anonymous, &source).unwrap();
    }
    let pages = addresses.len() as u64;
    let owned = tables.table_pages();
    for left_out in [0..0, 3 << 21..5 << 21, (3 << 21) + PAGE..(64 << 21) + 2 * PAGE] {
        let child = PageTables::new(&source, None).unwrap();
        let lost = addresses.iter().filter(|at| left_out.contains(at)).count() as u64;
        let shared = {
            let (mut parent, mut child) = (tables.edit(), child.edit_nested());
            let mut counts = parent.share(&mut child, 0..left_out.start, &source).unwrap();
            counts += parent.share(&mut child, left_out.end..USER_END, &source).unwrap();
            counts
        };
        assert_eq!(shared.anonymous, pages - lost);
        assert_eq!(child.table_pages(), owned - lost);
        assert_eq!(held(&child).len() as u64, pages - lost);
        assert_eq!(child.edit().clear(), shared);
        assert_eq!((child.table_pages(), tables.table_pages()), (1, owned));
    }
    assert_eq!(u64::from(page.reference_count()), pages + 1);
    assert_eq!(tables.edit().clear().anonymous, pages);
    assert_eq!((page.reference_count(), tables.table_pages()), (1, 1));
}

#[test]
fn a_missing_table_page_changes_nothing() {
    let source = Limited::new(3);
    let tables = PageTables::new(&source, None).unwrap();
    let frame = source.frame();
    assert_eq!(tables.edit().map(0, frame, RW, PageKind::Anonymous, &source), Err(Errno::ENOMEM));
    assert!(held(&tables).is_empty());
    assert_eq!(tables.edit().clear(), PageCounts::default());
    assert_eq!(tables.table_pages(), 1);
}

#[test]
fn cpus_forget_only_what_they_may_remember() {
    let source = Limited::new(16);
    let tables = PageTables::new(&source, None).unwrap();
    let map = |at: u64| tables.edit().map(at, source.frame(), RW, PageKind::Anonymous, &source).unwrap();
    map(0);
    let before = flushed_pages();
    tables.edit().unmap(0..PAGE, &source).unwrap();
    assert_eq!(flushed_pages() - before, 0, "no CPU has it");
    tables.activate();
    map(0);
    map(PAGE);
    tables.edit().set_permissions(0, READ, &source).unwrap();
    assert_eq!(flushed_pages() - before, 1);
    tables.edit().set_permissions(0, RW, &source).unwrap();
    assert_eq!(flushed_pages() - before, 1, "who remembers less looks again");
    let frame = source.frame();
    tables.edit().replace(PAGE, frame, RW, PageKind::Anonymous, &source).unwrap();
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
