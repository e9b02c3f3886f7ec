//! The accounts of containers: what is counted for each, and the table that gives them numbers.
//!
//! A page's note is the number of an account, so that it costs four bytes and no reference. An account stays in its
//! place as long as somebody refers to it: its container, a page, prepaid pages, the account of a child. When the
//! container is removed the account is *closed*: it sends everything on to the parent's, and its place is free for
//! another container once the last page that was charged to it has been freed.

use alloc::{boxed::Box, vec::Vec};
use base::{CpuId, Errno, NodeId, number::ByteLimit};
use machine::sync::{
    Hook, IrqLock,
    atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    rank,
};
use memory::ChargeKind;

/// The number of an account; 0 is none.
pub type Number = u32;

/// Accounts in the first piece of the table; each further piece has twice as many.
const FIRST: u32 = 64;
/// Pieces of the table, so many that a page's note can't name more.
const PIECES: usize = 24;
/// Numbers that a note has room for.
const MOST: u32 = 1 << 29;
/// Kinds of charged pages.
const KINDS: usize = 3;

/// What an account counts besides pages.
#[derive(Clone, Copy)]
pub enum Event {
    /// A page was charged.
    PageIn = 0,
    /// A page was given back.
    PageOut = 1,
    /// A page fault.
    Fault = 2,
    /// A page fault for which something had to be read.
    MajorFault = 3,
}

/// How many kinds of events there are.
const EVENTS: usize = 4;

/// The account of one container.
#[derive(Default)]
pub struct Account {
    /// The account above; 0 for a root.
    parent: AtomicU32,
    /// 0 while the account is open; then the one that everything is sent on to.
    forward: AtomicU32,
    /// Pages that are charged to it or prepaid for it, accounts below it, and 1 while it is open.
    references: AtomicU64,
    /// Pages here and below that count against the limit, prepaid ones included.
    pub counted: AtomicU64,
    /// The limit, pages.
    pub limit: AtomicU64,
    /// The highest usage, pages.
    pub peak: AtomicU64,
    /// How often a charge met the limit.
    pub failures: AtomicU64,
    /// The limit above which its pages are reclaimed first, pages.
    pub soft_limit: AtomicU64,
    /// Kept for those who ask.
    pub swappiness: AtomicU64,
    /// Room taken for pages of a process that is just moving in.
    pub moving: AtomicU64,
    /// Whether faults wait at the limit instead of killing.
    pub kill_disabled: AtomicBool,
    /// Faults that wait for room here.
    pub waiting: AtomicU32,
    /// Processes of this container that were killed at a limit.
    pub kills: AtomicU64,
    figures: Hook<Figures>,
    next_free: AtomicU32,
}

/// Sums by CPU: for each the pages by node and kind, then the events.
struct Figures {
    values: Box<[AtomicI64]>,
}

/// All accounts by number.
pub struct Accounts {
    pieces: [Hook<[Account]>; PIECES],
    free: IrqLock<Free>,
    nodes: usize,
    /// Values of one CPU in [`Figures`]; whole cache lines.
    stride: usize,
    cpus: usize,
}

struct Free {
    /// The first of those that were used before; they are linked.
    first: Number,
    /// The first that was never used.
    fresh: Number,
}

impl Accounts {
    /// No accounts.
    pub fn new() -> Self {
        let nodes = machine::topology::get().nodes.len().max(1);
        Self {
            pieces: [const { Hook::new() }; PIECES],
            free: IrqLock::new(rank::PAGE_ACCOUNTS, Free { first: 0, fresh: 1 }),
            nodes,
            stride: (nodes * KINDS + EVENTS).next_multiple_of(16),
            cpus: machine::cpu::possible().iter().last().map_or(1, |cpu| cpu.index() + 1),
        }
    }

    /// The number of nodes that are told apart.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Opens an account below `parent` (0: a root).
    ///
    /// Errors: `ENOMEM`.
    pub fn open(&self, parent: Number) -> Result<Number, Errno> {
        let number = self.take_number()?;
        let account = self.get(number);
        if account.figures.get().is_none() {
            match self.figures() {
                Ok(figures) => account.figures.install(Box::leak(figures)),
                Err(errno) => {
                    self.give_number(number);
                    return Err(errno);
                }
            }
        }
        let above = (parent != 0).then(|| self.get(parent));
        account.values().iter().for_each(|value| value.store(0, Relaxed));
        for (field, value) in [
            (&account.counted, 0),
            (&account.limit, ByteLimit::UNLIMITED.pages()),
            (&account.peak, 0),
            (&account.failures, 0),
            (&account.soft_limit, ByteLimit::UNLIMITED.pages()),
            (&account.swappiness, above.map_or(60, |above| above.swappiness.load(Relaxed))),
            (&account.moving, 0),
            (&account.kills, 0),
            (&account.references, 1),
        ] {
            field.store(value, Relaxed);
        }
        account.kill_disabled.store(above.is_some_and(|above| above.kill_disabled.load(Relaxed)), Relaxed);
        account.parent.store(parent, Relaxed);
        account.forward.store(0, SeqCst);
        if let Some(above) = above {
            above.references.fetch_add(1, Relaxed);
        }
        Ok(number)
    }

    /// The account with this number, which was opened and is referred to.
    #[inline]
    pub fn get(&self, number: Number) -> &'static Account {
        let (piece, index) = place(number);
        match self.pieces[piece].get() {
            Some(accounts) => &accounts[index],
            None => panic!("there is no page account {number}"),
        }
    }

    /// The account that stands for this one: itself while it is open, else the nearest above that is.
    #[inline]
    pub fn open_for(&self, number: Number) -> Number {
        let mut number = number;
        loop {
            match self.get(number).forward.load(Relaxed) {
                0 => return number,
                above => number = above,
            }
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self, number: Number) -> bool {
        self.get(number).forward.load(SeqCst) != 0
    }

    /// The account and those above it, up to the root.
    pub fn upwards(&self, number: Number) -> impl Iterator<Item = Number> {
        let next = |number: &Number| Some(self.get(*number).parent.load(Relaxed)).filter(|&parent| parent != 0);
        core::iter::successors(Some(number).filter(|&number| number != 0), next)
    }

    /// Whether an account is `above` itself or below it.
    pub fn is_below(&self, number: Number, above: Number) -> bool {
        self.upwards(number).any(|level| level == above)
    }

    /// From now on everything for this account goes to its parent. `false`: it was closed before, or is a root.
    pub fn close(&self, number: Number) -> bool {
        let account = self.get(number);
        let parent = account.parent.load(Relaxed);
        parent != 0 && account.forward.compare_exchange(0, parent, SeqCst, SeqCst).is_ok()
    }

    /// Counts references that will be released.
    pub fn hold(&self, number: Number, references: u64) {
        self.get(number).references.fetch_add(references, Relaxed);
    }

    /// Gives up references. With the last the number is free, and the account above is referred to once less. Not
    /// under a lock of rank `PAGE_ACCOUNTS`, unless it can't be the last.
    pub fn release(&self, number: Number, references: u64) {
        let (mut number, mut references) = (number, references);
        while number != 0 {
            let account = self.get(number);
            // SeqCst: whoever takes the number again sees all that was done with the account.
            if account.references.fetch_sub(references, SeqCst) != references {
                return;
            }
            let parent = account.parent.load(Relaxed);
            self.give_number(number);
            (number, references) = (parent, 1);
        }
    }

    /// Counts a page that came (1) or went (-1), in the figures of the CPU whose lock is held.
    #[inline]
    pub fn count(&self, values: &[AtomicI64], node: NodeId, kind: ChargeKind, change: i64) {
        let node = node.index().min(self.nodes - 1);
        values[node * KINDS + kind as usize].fetch_add(change, Relaxed);
        let event = if change > 0 { Event::PageIn } else { Event::PageOut };
        values[self.nodes * KINDS + event as usize].fetch_add(change.abs(), Relaxed);
    }

    /// Counts pages that are another account's now: so many more, or less, of a kind.
    pub fn count_moved(&self, number: Number, cpu: CpuId, node: NodeId, kind: ChargeKind, change: i64) {
        let node = node.index().min(self.nodes - 1);
        self.of_cpu(number, cpu)[node * KINDS + kind as usize].fetch_add(change, Relaxed);
    }

    /// Counts an event.
    #[inline]
    pub fn count_event(&self, number: Number, cpu: CpuId, event: Event) {
        self.of_cpu(number, cpu)[self.nodes * KINDS + event as usize].fetch_add(1, Relaxed);
    }

    /// Adds what `from` has counted on `cpu` to `to`; the lock of that CPU is held.
    pub fn fold(&self, from: Number, to: Number, cpu: CpuId) {
        for (from, to) in self.of_cpu(from, cpu).iter().zip(self.of_cpu(to, cpu)) {
            to.fetch_add(from.swap(0, Relaxed), Relaxed);
        }
    }

    /// Pages of a kind, of one node or all, that are charged to the account itself.
    pub fn pages(&self, number: Number, node: Option<usize>, kind: ChargeKind) -> u64 {
        let nodes = node.map_or(0..self.nodes, |node| node..node + 1);
        nodes.map(|node| self.sum(number, node * KINDS + kind as usize)).sum::<i64>().max(0) as u64
    }

    /// Events of the account itself.
    pub fn events(&self, number: Number, event: Event) -> u64 {
        self.sum(number, self.nodes * KINDS + event as usize).max(0) as u64
    }

    fn sum(&self, number: Number, which: usize) -> i64 {
        let values = self.get(number).values();
        values.iter().skip(which).step_by(self.stride).map(|value| value.load(Relaxed)).sum()
    }

    /// What the account has counted on one CPU.
    #[inline]
    pub fn of_cpu(&self, number: Number, cpu: CpuId) -> &'static [AtomicI64] {
        let start = cpu.index() * self.stride;
        &self.get(number).values()[start..start + self.stride]
    }

    fn figures(&self) -> Result<Box<Figures>, Errno> {
        let count = self.cpus * self.stride;
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        values.resize_with(count, AtomicI64::default);
        memory::heap::try_box(Figures { values: values.into_boxed_slice() })
    }

    fn take_number(&self) -> Result<Number, Errno> {
        let mut free = self.free.lock();
        if free.first != 0 {
            let number = free.first;
            free.first = self.get(number).next_free.load(Relaxed);
            return Ok(number);
        }
        let number = free.fresh;
        if number >= MOST {
            return Err(Errno::ENOMEM);
        }
        let (piece, _) = place(number);
        if self.pieces[piece].get().is_none() {
            let count = (FIRST as usize) << piece;
            let mut accounts = Vec::new();
            accounts.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
            accounts.resize_with(count, Account::default);
            self.pieces[piece].install(accounts.leak());
        }
        free.fresh += 1;
        Ok(number)
    }

    fn give_number(&self, number: Number) {
        let mut free = self.free.lock();
        self.get(number).next_free.store(free.first, Relaxed);
        free.first = number;
    }
}

impl Account {
    #[inline]
    fn values(&'static self) -> &'static [AtomicI64] {
        self.figures.get().map_or(&[], |figures| &figures.values)
    }
}

/// Where the account with this number is: piece, index in it.
#[inline]
fn place(number: Number) -> (usize, usize) {
    let at = number - 1 + FIRST;
    let piece = at.ilog2() - FIRST.ilog2();
    (piece as usize, (at - (FIRST << piece)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        assert_eq!(
            (place(1), place(64), place(65), place(192), place(193)),
            ((0, 0), (0, 63), (1, 0), (1, 127), (2, 0))
        );
    }

    #[test]
    fn a_number_is_free_again_after_the_last_reference() {
        let accounts = Accounts::new();
        let root = accounts.open(0).unwrap();
        let child = accounts.open(root).unwrap();
        let below = accounts.open(child).unwrap();
        accounts.hold(below, 2);
        assert!(accounts.close(below) && !accounts.close(below));
        assert_eq!(accounts.open_for(below), child);
        accounts.release(below, 1);
        assert!(accounts.close(child));
        accounts.release(child, 1);
        assert_eq!(accounts.open_for(below), root);
        // The page of the lowest still refers to both.
        assert_eq!(accounts.open(root).unwrap(), below + 1);
        accounts.release(below, 2);
        let mut again = [accounts.open(root).unwrap(), accounts.open(root).unwrap()];
        again.sort_unstable();
        assert_eq!(again, [child, below]);
        assert_eq!(accounts.pages(child, None, ChargeKind::Anonymous), 0);
    }
}
