//! The ledger against a map of pages, from one thread and from many; and the files.

mod moves;

use super::Memory;
use super::account::Number;
use super::ledger::{Full, Ledger};
use crate::world::World;
use base::{CpuId, Errno, NodeId};
use machine::host::set_cpu;
use machine::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use memory::ChargeKind::{self, Anonymous, Cache, Shared};
use memory::charge::PageCharger;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::vec::Vec;

const NODE: NodeId = NodeId::new(0);
const KINDS: [ChargeKind; 3] = [Anonymous, Cache, Shared];

fn charge(ledger: &Ledger, number: Number, kind: ChargeKind) -> Result<u32, Full> {
    ledger.charge(&AtomicU64::new(number.into()), kind, NODE, |_| 0)
}

#[test]
fn a_page_that_moves_to_another_node_stays_with_its_account() {
    let ledger = Ledger::new().unwrap();
    let note = ledger.charge(&AtomicU64::new(0), ChargeKind::Shared, NodeId::new(0), |_| 0).unwrap();
    ledger.moved_node(note, NodeId::new(0), NodeId::new(1));
    let pages = |node| ledger.accounts.pages(ledger.root, Some(node), ChargeKind::Shared);
    assert_eq!((pages(0), pages(1), ledger.usage(ledger.root)), (0, 1, 1));
    ledger.uncharge(note, NodeId::new(1));
    assert_eq!((pages(0), pages(1), ledger.usage(ledger.root)), (0, 0, 0));
}

#[test]
fn a_charge_at_the_limit_of_any_level_fails_and_leaves_nothing() {
    let ledger = Ledger::new().unwrap();
    let above = ledger.accounts.open(ledger.root).unwrap();
    let below = ledger.accounts.open(above).unwrap();
    assert!(ledger.set_limit(above, 3));
    let notes: Vec<u32> = (0..3).map(|_| charge(&ledger, below, Anonymous).unwrap()).collect();
    assert_eq!(charge(&ledger, below, Cache), Err(Full(above)));
    assert_eq!((ledger.usage(below), ledger.usage(above), ledger.usage(ledger.root)), (3, 3, 3));
    assert_eq!(ledger.accounts.get(above).failures.load(Relaxed), 1);
    assert_eq!(ledger.accounts.get(below).failures.load(Relaxed), 0);
    assert!(!ledger.set_limit(above, 2) && ledger.has_room(ledger.root) && !ledger.has_room(below));
    ledger.uncharge(notes[0], NODE);
    assert!(ledger.set_limit(above, 2));
    ledger.uncharge(notes[1], NODE);
    assert!(charge(&ledger, below, Shared).is_ok());
    assert_eq!((ledger.peak(above), ledger.peak(ledger.root)), (3, 3));
}

/// What gives up copies of files first when a node is short.
#[test]
fn who_is_over_a_soft_limit_anywhere_above_gives_first() {
    let ledger = Ledger::new().unwrap();
    let above = ledger.accounts.open(ledger.root).unwrap();
    let [one, other] = [above, above].map(|above| ledger.accounts.open(above).unwrap());
    let notes = [one, one, other].map(|account| charge(&ledger, account, Cache).unwrap());
    let over = || notes.map(|note| ledger.is_over_soft_limit(note));
    let limit = |account, pages| ledger.accounts.get(account).soft_limit.store(pages, Relaxed);
    assert_eq!(over(), [false; 3]);
    limit(one, 1);
    assert_eq!(over(), [true, true, false]);
    limit(one, 2);
    assert_eq!(over(), [false; 3]);
    limit(above, 2);
    assert_eq!(over(), [true; 3]);
    notes.into_iter().for_each(|note| ledger.uncharge(note, NODE));
}

#[test]
fn pages_ahead_are_charged_like_others_but_not_where_a_limit_stands_above() {
    let ledger = Ledger::new().unwrap();
    let above = ledger.accounts.open(ledger.root).unwrap();
    let below = ledger.accounts.open(above).unwrap();
    let ahead = |number: Number, most| ledger.charge_ahead(&AtomicU64::new(number.into()), Anonymous, NODE, most);
    let usage = || [below, above, ledger.root].map(|number| ledger.usage(number));
    let (note, count) = ahead(below, 15).unwrap();
    assert_eq!((count, usage(), ledger.accounts.pages(below, None, Anonymous)), (15, [15; 3], 15));
    // More than a CPU has prepaid.
    let (same, more) = ahead(below, 100).unwrap();
    assert_eq!((same, more, usage()), (note, 100, [115; 3]));
    (0..count + more).for_each(|_| ledger.uncharge(note, NODE));
    assert_eq!((usage(), ledger.accounts.pages(below, None, Anonymous)), ([0; 3], 0));

    assert!(ledger.set_limit(above, 1000));
    assert_eq!((ahead(below, 15), ahead(above, 1)), (None, None));
    assert_eq!((usage(), ledger.accounts.get(above).failures.load(Relaxed)), ([0; 3], 0));
    assert!(ahead(ledger.root, 1).is_some());
}

#[test]
fn reclaim_makes_room_for_a_charge() {
    let ledger = Ledger::new().unwrap();
    let full = ledger.accounts.open(ledger.root).unwrap();
    assert!(ledger.set_limit(full, 4));
    let copies: Mutex<Vec<u32>> = Mutex::new((0..4).map(|_| charge(&ledger, full, Cache).unwrap()).collect());
    let word = AtomicU64::new(full.into());
    for _ in 0..4 {
        let charged = ledger.charge(&word, Anonymous, NODE, |level| {
            assert_eq!(level, full);
            copies.lock().unwrap().pop().map_or(0, |note| {
                ledger.uncharge(note, NODE);
                1
            })
        });
        assert!(charged.is_ok());
    }
    assert_eq!((ledger.usage(full), ledger.peak(full)), (4, 4));
    assert!(ledger.charge(&word, Anonymous, NODE, |_| 0).is_err());
}

#[test]
fn prepaid_pages_of_other_cpus_are_called_back_before_anything_is_refused() {
    let ledger = Ledger::new().unwrap();
    let (one, two) = (ledger.accounts.open(ledger.root).unwrap(), ledger.accounts.open(ledger.root).unwrap());
    assert!(ledger.set_limit(one, 40));
    set_cpu(CpuId::new(1));
    charge(&ledger, one, Anonymous).unwrap();
    set_cpu(CpuId::new(0));
    let mut got = 0;
    while charge(&ledger, one, Anonymous).is_ok() {
        got += 1;
    }
    assert_eq!((got, ledger.usage(one), ledger.usage(two)), (39, 40, 0));
}

#[test]
fn a_closed_account_leaves_its_pages_to_the_one_above() {
    let ledger = Ledger::new().unwrap();
    let above = ledger.accounts.open(ledger.root).unwrap();
    let below = ledger.accounts.open(above).unwrap();
    let notes: Vec<u32> = KINDS.iter().map(|&kind| charge(&ledger, below, kind).unwrap()).collect();
    ledger.close(below);
    ledger.close(below);
    assert_eq!(ledger.accounts.pages(above, None, Shared), 1);
    ledger.close(above);
    assert_eq!((ledger.usage(ledger.root), ledger.accounts.pages(ledger.root, None, Cache)), (3, 1));
    notes.into_iter().for_each(|note| ledger.uncharge(note, NODE));
    assert_eq!((ledger.usage(ledger.root), ledger.accounts.pages(ledger.root, None, Cache)), (0, 0));
    // Both places are free again when nobody names them.
    assert!(![above, below].contains(&ledger.accounts.open(ledger.root).unwrap()));
    [below, above].into_iter().for_each(|number| ledger.give_up_number(number));
    let mut fresh = [ledger.accounts.open(ledger.root).unwrap(), ledger.accounts.open(ledger.root).unwrap()];
    fresh.sort_unstable();
    assert_eq!(fresh, [above, below]);
}

#[test]
fn pages_move_with_room_that_was_taken_before() {
    let ledger = Ledger::new().unwrap();
    let above = ledger.accounts.open(ledger.root).unwrap();
    let (from, to) = (ledger.accounts.open(above).unwrap(), ledger.accounts.open(above).unwrap());
    assert!((0..5).all(|_| charge(&ledger, from, Anonymous).is_ok()));
    assert!(ledger.set_limit(to, 4));
    assert_eq!(ledger.reserve_move(from, to, 5), Err(Full(to)));
    ledger.reserve_move(from, to, 3).unwrap();
    ledger.moved(from, to, NODE, Anonymous);
    ledger.moved(from, to, NODE, Anonymous);
    ledger.cancel_move(from, to, 1);
    assert_eq!((ledger.usage(from), ledger.usage(to), ledger.usage(above), ledger.usage(ledger.root)), (3, 2, 5, 5));
    assert_eq!(ledger.accounts.pages(to, None, Anonymous), 2);
}

/// A tree of six accounts: the parent of each as an index, none for the root.
const TREE: [Option<usize>; 6] = [None, Some(0), Some(1), Some(2), Some(1), Some(0)];

proptest! {
    #[test]
    fn usage_is_the_sum_of_what_is_charged_and_never_over_a_limit(
        steps in prop::collection::vec((0..6u8, 0..6usize, 0..4u32, any::<prop::sample::Index>(), 0..70u64), 1..80)
    ) {
        let ledger = Ledger::new().unwrap();
        let mut numbers = std::vec![ledger.root];
        for parent in TREE.iter().skip(1) {
            numbers.push(ledger.accounts.open(numbers[parent.unwrap()]).unwrap());
        }
        let mut limits: BTreeMap<usize, u64> = BTreeMap::new();
        let mut open = [true; 6];
        let mut pages: Vec<(usize, ChargeKind, u32)> = Vec::new();
        let mut peaks = [0; 6];
        let below = |inner: usize, level: usize| {
            core::iter::successors(Some(inner), |&at| TREE[at]).any(|at| at == level)
        };
        for (what, who, cpu, which, amount) in steps {
            set_cpu(CpuId::new(cpu));
            let usage = |pages: &[(usize, ChargeKind, u32)], level: usize| {
                pages.iter().filter(|(owner, ..)| below(*owner, level)).count() as u64
            };
            match what {
                0..=2 if open[who] => {
                    let kind = KINDS[what as usize];
                    for _ in 0..amount {
                        let fits = (0..6).filter(|&level| below(who, level))
                            .all(|level| limits.get(&level).is_none_or(|&limit| usage(&pages, level) < limit));
                        let charged = charge(&ledger, numbers[who], kind);
                        prop_assert_eq!(charged.is_ok(), fits);
                        pages.extend(charged.ok().map(|note| (who, kind, note)));
                        (0..6).for_each(|level| peaks[level] = usage(&pages, level).max(peaks[level]));
                    }
                }
                3 => for _ in 0..amount.min(pages.len() as u64) {
                    let (_, _, note) = pages.swap_remove(which.index(pages.len()));
                    ledger.uncharge(note, NODE);
                },
                4 if who > 0 && open[who] => {
                    let set = ledger.set_limit(numbers[who], amount);
                    prop_assert_eq!(set, usage(&pages, who) <= amount);
                    if set {
                        limits.insert(who, amount);
                    }
                }
                5 if who > 0 && open[who] && !(0..6).any(|inner| TREE[inner] == Some(who) && open[inner]) => {
                    ledger.close(numbers[who]);
                    open[who] = false;
                    limits.remove(&who);
                    let parent = TREE[who].unwrap();
                    pages.iter_mut().filter(|(owner, ..)| *owner == who).for_each(|page| page.0 = parent);
                }
                _ => {}
            }
            for level in (0..6).filter(|&level| open[level]) {
                let expected = usage(&pages, level);
                prop_assert_eq!(ledger.usage(numbers[level]), expected);
                prop_assert!(limits.get(&level).is_none_or(|&limit| expected <= limit));
                let peak = ledger.peak(numbers[level]);
                // What each CPU had prepaid may be in it.
                prop_assert!((peaks[level]..=peaks[level] + 4 * 64).contains(&peak), "{} {}", peak, peaks[level]);
                for kind in KINDS {
                    let own = pages.iter().filter(|page| page.0 == level && page.1 == kind).count() as u64;
                    prop_assert_eq!(ledger.accounts.pages(numbers[level], None, kind), own);
                }
            }
        }
        pages.into_iter().for_each(|(_, _, note)| ledger.uncharge(note, NODE));
        prop_assert_eq!(ledger.usage(ledger.root), 0);
    }

    #[test]
    fn on_one_cpu_the_peak_is_the_highest_usage(
        steps in prop::collection::vec((any::<bool>(), 0..3usize, 1..60usize), 1..60)
    ) {
        let ledger = Ledger::new().unwrap();
        let above = ledger.accounts.open(ledger.root).unwrap();
        let numbers = [above, ledger.accounts.open(above).unwrap(), ledger.accounts.open(above).unwrap()];
        let mut pages: [Vec<u32>; 3] = Default::default();
        let mut highest = [0; 3];
        for (more, who, amount) in steps {
            for _ in 0..amount {
                if more {
                    pages[who].push(charge(&ledger, numbers[who], Anonymous).unwrap());
                } else if let Some(note) = pages[who].pop() {
                    ledger.uncharge(note, NODE);
                }
                let now = [pages.iter().map(Vec::len).sum(), pages[1].len(), pages[2].len()];
                highest.iter_mut().zip(now).for_each(|(highest, now)| *highest = now.max(*highest));
            }
        }
        let peaks = numbers.map(|number| ledger.peak(number) as usize);
        prop_assert_eq!(peaks, highest);
    }
}

#[test]
fn threads_on_all_cpus_never_pass_the_limit_and_lose_no_page() {
    const LIMIT: u64 = 150;
    let ledger = Ledger::new().unwrap();
    let above = ledger.accounts.open(ledger.root).unwrap();
    let numbers = [above, ledger.accounts.open(above).unwrap(), ledger.accounts.open(above).unwrap()];
    assert!(ledger.set_limit(above, LIMIT));
    // Counted without the ledger: what threads have been granted and not given back.
    let granted = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let gone = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4u32)
            .map(|cpu| {
                let (ledger, granted, gone) = (&ledger, &granted, &gone);
                scope.spawn(move || {
                    set_cpu(CpuId::new(cpu));
                    let mut pages: Vec<u32> = Vec::new();
                    for round in 0..4000u32 {
                        let who = numbers[(round / 37 + cpu) as usize % 3];
                        if (round / 100) % 2 == 0 {
                            if let Ok(note) = charge(ledger, who, Anonymous) {
                                assert!(granted.fetch_add(1, SeqCst) < LIMIT);
                                pages.push(note);
                            }
                        } else if let Some(note) = pages.pop() {
                            granted.fetch_sub(1, SeqCst);
                            ledger.uncharge(note, NODE);
                        }
                        if round % 500 == 499 {
                            // A container that comes and goes, with a page that stays.
                            let fleeting = ledger.accounts.open(numbers[1]).unwrap();
                            if let Ok(note) = charge(ledger, fleeting, Cache) {
                                assert!(granted.fetch_add(1, SeqCst) < LIMIT);
                                pages.push(note);
                            }
                            ledger.give_up_number(fleeting);
                        }
                    }
                    gone.lock().unwrap().extend(pages);
                })
            })
            .collect();
        scope.spawn(|| {
            set_cpu(CpuId::new(0));
            while !done.load(SeqCst) {
                assert!(ledger.usage(above) <= LIMIT && ledger.peak(above) <= LIMIT);
            }
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        done.store(true, SeqCst);
    });
    let left = gone.into_inner().unwrap();
    assert_eq!(ledger.usage(above), left.len() as u64);
    left.into_iter().for_each(|note| ledger.uncharge(note, NODE));
    for number in numbers {
        assert_eq!((ledger.usage(number), ledger.accounts.pages(number, None, Anonymous)), (0, 0));
    }
}

/// Whoever has a file of the container open may write to it while it is removed. Fails on a version that gives up the number
/// at the removal: the write could come to the container that is made next.
#[test]
fn a_removed_container_keeps_its_account_as_long_as_anybody_can_name_it() {
    let world = World::with("memory").mkdir("/a");
    let number = |path| world.state(path, |memory: &Memory| memory.number());
    let first = number("/a");
    // The zombie keeps what there was of the container.
    let zombie = world.spawn_in("/a");
    world.exit(&zombie);
    world.rmdir("/a").unwrap();
    world.try_mkdir("/b").unwrap();
    assert_ne!(number("/b"), first);
    world.reap(&zombie);
    world.try_mkdir("/c").unwrap();
    assert_eq!(number("/c"), first);
    assert!(world.state("/c", |memory: &Memory| !memory.ledger().accounts.is_closed(first)));
}

#[test]
fn files_take_what_the_table_says_and_nothing_else() {
    let world = World::with("memory").mkdir("/a");
    const UNLIMITED: &str = "9223372036854771712\n";
    for (file, text, result, shown) in [
        ("limit_in_bytes", "", Ok(()), UNLIMITED),
        ("limit_in_bytes", "8191", Ok(()), "4096\n"),
        ("limit_in_bytes", "1M", Ok(()), "1048576\n"),
        ("limit_in_bytes", "x", Err(Errno::EINVAL), "1048576\n"),
        ("limit_in_bytes", "-1", Ok(()), UNLIMITED),
        ("soft_limit_in_bytes", "2g", Ok(()), "2147483648\n"),
        ("swappiness", "200", Ok(()), "200\n"),
        ("swappiness", "201", Err(Errno::EINVAL), "200\n"),
        ("use_hierarchy", "1", Ok(()), "1\n"),
        ("use_hierarchy", "0", Err(Errno::EINVAL), "1\n"),
        ("move_charge_at_immigrate", "3", Ok(()), "3\n"),
        ("move_charge_at_immigrate", "4", Err(Errno::EINVAL), "3\n"),
        ("oom_control", "1", Ok(()), "oom_kill_disable 1\nunder_oom 0\noom_kill 0\n"),
        ("oom_control", "2", Err(Errno::EINVAL), "oom_kill_disable 1\nunder_oom 0\noom_kill 0\n"),
        ("usage_in_bytes", "0", Err(Errno::EINVAL), "0\n"),
        ("max_usage_in_bytes", "anything", Ok(()), "0\n"),
        ("failcnt", "anything", Ok(()), "0\n"),
    ] {
        let file = std::format!("memory.{file}");
        if !text.is_empty() {
            assert_eq!(world.write("/a", &file, text), result, "{file} {text}");
        }
        assert_eq!(world.read("/a", &file), shown, "{file} {text}");
    }
    assert_eq!(world.write("/a", "memory.force_empty", "0"), Ok(()));
    for file in ["limit_in_bytes", "force_empty", "oom_control"] {
        assert_eq!(world.write("/", &std::format!("memory.{file}"), "1"), Err(Errno::EINVAL), "{file} of the root");
    }
    let world = world.mkdir("/a/b");
    assert_eq!(world.read("/a/b", "memory.swappiness"), "200\n");
    assert!(world.read("/a/b", "memory.oom_control").starts_with("oom_kill_disable 1\n"));
    assert_eq!(world.read("/a/b", "memory.move_charge_at_immigrate"), "0\n");
    world.write("/a", "memory.limit_in_bytes", "64K").unwrap();
    let stat = world.read("/a/b", "memory.stat");
    assert_eq!(stat.lines().count(), 37);
    assert!(stat.contains("\nunevictable 0\nhierarchical_memory_limit 65536\ntotal_cache 0\n"), "{stat}");
    let nodes = world.read("/a/b", "memory.numa_stat");
    assert_eq!(nodes.lines().count(), 8);
    assert!(nodes.starts_with("total=0 N0=0") && nodes.contains("\nhierarchical_unevictable=0 N0=0"), "{nodes}");
}
