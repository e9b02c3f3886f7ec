//! What `memory.stat` and `memory.numa_stat` show.

use super::Memory;
use super::account::{Event, Number};
use super::control::TASKS;
use super::ledger::{Ledger, read_note};
use alloc::{collections::BTreeMap, vec::Vec};
use base::number::{ByteLimit, PAGE_BYTES};
use container::Node;
use core::fmt::{self, Write};
use machine::frame::Frame;
use memory::ChargeKind::{self, Anonymous, Cache, Shared};

/// The lines of the first list in their order.
const LINES: [&str; 18] = [
    "cache",
    "rss",
    "rss_huge",
    "shmem",
    "mapped_file",
    "dirty",
    "writeback",
    "workingset_refault_anon",
    "workingset_refault_file",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
];

/// The values of the lines.
type Values = [u64; LINES.len()];

/// Pages that tasks map or have locked.
struct Seen {
    pages: Vec<(Number, usize, ChargeKind)>,
}

impl Seen {
    /// Each charged page once that `show` shows.
    fn of(ledger: &Ledger, show: impl FnOnce(&mut dyn FnMut(&Frame))) -> Self {
        let mut frames = BTreeMap::new();
        show(&mut |frame| {
            let (number, kind) = read_note(frame.note());
            if number != 0 {
                let owner = ledger.accounts.open_for(number);
                frames.insert(frame.number().raw(), (owner, frame.node().index(), kind));
            }
        });
        Self { pages: frames.into_values().collect() }
    }

    fn mapped(ledger: &Ledger) -> Self {
        Self::of(ledger, |each| {
            if let Some(tasks) = TASKS.get() {
                tasks.for_each_mapped_page(each);
            }
        })
    }

    fn locked(ledger: &Ledger) -> Self {
        Self::of(ledger, |each| {
            if let Some(tasks) = TASKS.get() {
                tasks.for_each_locked_page(each);
            }
        })
    }

    /// How many pages of the account are of these kinds, on one node or on all.
    fn count(&self, number: Number, node: Option<usize>, kinds: &[ChargeKind]) -> u64 {
        let counts = |(owner, on, kind): &&(Number, usize, ChargeKind)| {
            *owner == number && node.is_none_or(|node| node == *on) && kinds.contains(kind)
        };
        self.pages.iter().filter(counts).count() as u64
    }
}

/// The figures of one account. There are no huge pages, no pages that are written back to anywhere, and no lists of
/// pages by age: those lines are 0, or have all that they could.
fn values(ledger: &Ledger, number: Number, mapped: &Seen, locked: &Seen) -> Values {
    let bytes = |kind| ledger.accounts.pages(number, None, kind) * PAGE_BYTES;
    let (anonymous, copies, shared) = (bytes(Anonymous), bytes(Cache), bytes(Shared));
    let mapped = mapped.count(number, None, &[Cache, Shared]) * PAGE_BYTES;
    let locked = |kinds: &[ChargeKind]| locked.count(number, None, kinds) * PAGE_BYTES;
    let events = |event| ledger.accounts.events(number, event);
    [
        copies + shared,
        anonymous,
        0,
        shared,
        mapped,
        0,
        0,
        0,
        0,
        events(Event::PageIn),
        events(Event::PageOut),
        events(Event::Fault),
        events(Event::MajorFault),
        0,
        (anonymous + shared).saturating_sub(locked(&[Anonymous, Shared])),
        copies.saturating_sub(locked(&[Cache])),
        0,
        locked(&[Anonymous, Cache, Shared]),
    ]
}

/// The file `memory.stat`.
pub fn show_stat(node: &Node<'_, Memory>, out: &mut dyn Write) -> fmt::Result {
    let Memory { ledger, number, .. } = node.state();
    let (mapped, locked) = (Seen::mapped(ledger), Seen::locked(ledger));
    let own = values(ledger, *number, &mapped, &locked);
    let mut total = [0; LINES.len()];
    node.for_each_below(|below| {
        let more = values(ledger, below.state().number, &mapped, &locked);
        total.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
    });
    for (name, value) in LINES.iter().zip(own) {
        writeln!(out, "{name} {value}")?;
    }
    writeln!(out, "hierarchical_memory_limit {}", ByteLimit::from_pages(ledger.hierarchical_limit(*number)))?;
    for (name, value) in LINES.iter().zip(total) {
        writeln!(out, "total_{name} {value}")?;
    }
    Ok(())
}

/// Pages by node, as one line of `memory.numa_stat`.
type ByNode = Vec<u64>;

/// File, anonymous and unevictable pages of one account.
fn pages_by_node(ledger: &Ledger, number: Number, locked: &Seen) -> [ByNode; 3] {
    let nodes = 0..ledger.accounts.nodes();
    let pages = |node, kinds: &[ChargeKind]| {
        let all: u64 = kinds.iter().map(|&kind| ledger.accounts.pages(number, Some(node), kind)).sum();
        all.saturating_sub(locked.count(number, Some(node), kinds))
    };
    [
        nodes.clone().map(|node| pages(node, &[Cache])).collect(),
        nodes.clone().map(|node| pages(node, &[Anonymous, Shared])).collect(),
        nodes.map(|node| locked.count(number, Some(node), &[Anonymous, Cache, Shared])).collect(),
    ]
}

/// The file `memory.numa_stat`.
pub fn show_numa_stat(node: &Node<'_, Memory>, out: &mut dyn Write) -> fmt::Result {
    let Memory { ledger, number, .. } = node.state();
    let locked = Seen::locked(ledger);
    let own = pages_by_node(ledger, *number, &locked);
    let mut below = own.clone().map(|line| line.iter().map(|_| 0).collect::<ByNode>());
    node.for_each_below(|inner| {
        let more = pages_by_node(ledger, inner.state().number, &locked);
        for (sums, values) in below.iter_mut().zip(more) {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    });
    let with_memory = machine::topology::get().nodes_with_memory();
    for (prefix, lines) in [("", &own), ("hierarchical_", &below)] {
        let total: ByNode =
            (0..ledger.accounts.nodes()).map(|node| lines.iter().map(|line| line[node]).sum()).collect();
        let named = [("total", &total), ("file", &lines[0]), ("anon", &lines[1]), ("unevictable", &lines[2])];
        for (name, pages) in named {
            write!(out, "{prefix}{name}={}", pages.iter().sum::<u64>())?;
            for node in with_memory.iter() {
                write!(out, " N{}={}", node.raw(), pages.get(node.index()).copied().unwrap_or(0))?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}
