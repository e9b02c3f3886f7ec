//! Charging pages to accounts, exactly and in every account up to the root.
//!
//! What counts against a limit is `counted`, of the account and each above it; a charge checks and adds in one step
//! at each level, so that no level is over its limit for a moment. So that not every page writes what all CPUs read,
//! a CPU takes some pages at once for the account that it charged last: its *stock*. Prepaid pages count against
//! the limit and not as usage, and all are called back before anything is refused.
//!
//! Every change of a CPU's figures is made with the lock of its stock held. Closing an account visits each of these
//! locks after it has sent the account's pages on: a charge that still saw it open is over by then.

use super::account::{Account, Accounts, Event, Number};
use base::{Errno, NodeId, number::ByteLimit};
use machine::cpu::{self, PerCpu};
use machine::sync::{
    IrqLock, Mutex,
    atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    rank,
};
use memory::ChargeKind;

/// Pages that a CPU takes at once.
const BATCH: u64 = 32;
/// The most that a stock grows by pages that come back.
const MOST: u64 = 2 * BATCH;
/// How often a charge tries before it is refused though something was reclaimed each time.
const ATTEMPTS: usize = 16;

/// All accounts of one tree, and what CPUs have prepaid.
pub struct Ledger {
    /// The accounts.
    pub accounts: Accounts,
    /// The account of the root.
    pub root: Number,
    stocks: PerCpu<Stock>,
    /// Faults that wait for room somewhere.
    pub(super) sleepers: AtomicU32,
    /// Held while a limit is changed.
    limits: Mutex<()>,
}

/// What a CPU has prepaid. The numbers are written with the lock held, and read without.
struct Stock {
    /// The figures of the account on this CPU.
    lock: IrqLock<&'static [AtomicI64]>,
    account: AtomicU32,
    pages: AtomicU64,
    /// The fewest pages since the peak was noted.
    lowest: AtomicU64,
    /// Pages of all accounts by kind: those charged on this CPU less those given back on it.
    kinds: [AtomicI64; 3],
}

/// A charge was refused: the account whose limit it met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full(pub Number);

/// What a note says: the account and the kind.
pub fn read_note(note: u32) -> (Number, ChargeKind) {
    let kind = match note & 3 {
        0 => ChargeKind::Anonymous,
        1 => ChargeKind::Cache,
        _ => ChargeKind::Shared,
    };
    (note >> 2, kind)
}

/// The note for a page of this account.
pub fn make_note(number: Number, kind: ChargeKind) -> u32 {
    number << 2 | kind as u32
}

impl Ledger {
    /// A ledger with the account of a root.
    ///
    /// Errors: `ENOMEM`.
    pub fn new() -> Result<Self, Errno> {
        let accounts = Accounts::new();
        let root = accounts.open(0)?;
        Ok(Self {
            accounts,
            root,
            stocks: PerCpu::new(|_| Stock {
                lock: IrqLock::new(rank::PAGE_ACCOUNTS, &[]),
                account: AtomicU32::new(0),
                pages: AtomicU64::new(0),
                lowest: AtomicU64::new(0),
                kinds: Default::default(),
            }),
            sleepers: AtomicU32::new(0),
            limits: Mutex::new(rank::CONTROLLER_RULE, ()),
        })
    }

    /// Charges a page of `node` to the account whose number is the low half of `word` (0: the root). `reclaim` is asked
    /// to free pages of an account that is full, and says how many it freed. Gives the page's note.
    ///
    /// Errors: the account whose limit was met.
    pub fn charge(
        &self,
        word: &AtomicU64,
        kind: ChargeKind,
        node: NodeId,
        mut reclaim: impl FnMut(Number) -> u64,
    ) -> Result<u32, Full> {
        if let Ok(note) = self.try_charge(word, kind, node) {
            return Ok(note);
        }
        let mut full = Full(0);
        for attempt in 0..ATTEMPTS {
            self.call_back();
            full = match self.try_charge(word, kind, node) {
                Ok(note) => return Ok(note),
                Err(full) => full,
            };
            if attempt == 0 {
                self.accounts.get(full.0).failures.fetch_add(1, Relaxed);
            }
            if reclaim(full.0) == 0 {
                break;
            }
        }
        self.call_back();
        self.try_charge(word, kind, node).map_err(|_| full)
    }

    /// Charges up to `most` pages that nobody has asked for yet, if no limit stands above the account: their note and how
    /// many.
    pub fn charge_ahead(&self, word: &AtomicU64, kind: ChargeKind, node: NodeId, most: u64) -> Option<(u32, u64)> {
        let unlimited = self.hierarchical_limit(self.account_of(word)) == ByteLimit::UNLIMITED.pages();
        let (note, mut count) = unlimited.then(|| self.try_charge_up_to(word, kind, node, most).ok()).flatten()?;
        // What the CPU had prepaid may not have been enough.
        while count < most
            && let Ok((next, more)) = self.try_charge_up_to(word, kind, node, most - count)
        {
            if next != note {
                // The task has just been moved.
                (0..more).for_each(|_| self.uncharge(next, node));
                break;
            }
            count += more;
        }
        Some((note, count))
    }

    fn try_charge(&self, word: &AtomicU64, kind: ChargeKind, node: NodeId) -> Result<u32, Full> {
        self.try_charge_up_to(word, kind, node, 1).map(|(note, _)| note)
    }

    /// Charges a page, and up to `most` if the stock has so many: their note and how many.
    #[inline]
    fn try_charge_up_to(
        &self,
        word: &AtomicU64,
        kind: ChargeKind,
        node: NodeId,
        most: u64,
    ) -> Result<(u32, u64), Full> {
        let cpu = cpu::current();
        let stock = self.stocks.get(cpu);
        let mut figures = stock.lock.lock();
        // Under the lock: see the head of this file. The account that a stock is for is open, or its closing has not
        // come to this CPU yet.
        let mut number = word.load(Relaxed) as Number;
        if number == 0 {
            number = self.root;
        }
        if stock.account.load(Relaxed) != number || stock.pages.load(Relaxed) == 0 {
            number = self.accounts.open_for(number);
            self.refill(stock, number)?;
            *figures = self.accounts.of_cpu(number, cpu);
        }
        let pages = stock.pages.load(Relaxed);
        let count = pages.min(most);
        stock.set(pages - count);
        stock.kinds[kind as usize].fetch_add(count as i64, Relaxed);
        self.accounts.count(*figures, node, kind, count as i64);
        Ok((make_note(number, kind), count))
    }

    /// The open account that a task's word names.
    #[inline]
    pub fn account_of(&self, word: &AtomicU64) -> Number {
        match word.load(Relaxed) as Number {
            0 => self.root,
            number => self.accounts.open_for(number),
        }
    }

    /// Gives back the page with this note.
    pub fn uncharge(&self, note: u32, node: NodeId) {
        let (number, kind) = read_note(note);
        let cpu = cpu::current();
        let stock = self.stocks.get(cpu);
        let figures = stock.lock.lock();
        stock.kinds[kind as usize].fetch_sub(1, Relaxed);
        if stock.account.load(Relaxed) == number && stock.pages.load(Relaxed) < MOST {
            self.accounts.count(*figures, node, kind, -1);
            stock.pages.store(stock.pages.load(Relaxed) + 1, Relaxed);
            return;
        }
        let open = self.accounts.open_for(number);
        self.accounts.count(self.accounts.of_cpu(open, cpu), node, kind, -1);
        self.give_up(open, 1);
        drop(figures);
        self.accounts.release(number, 1);
    }

    /// Takes `pages` at every level, or none.
    fn take(&self, number: Number, pages: u64) -> Result<(), Full> {
        for level in self.accounts.upwards(number) {
            let account = self.accounts.get(level);
            let take = |counted: u64| (counted + pages <= account.limit.load(SeqCst)).then_some(counted + pages);
            if account.counted.fetch_update(SeqCst, SeqCst, take).is_err() {
                for below in self.accounts.upwards(number).take_while(|&below| below != level) {
                    self.accounts.get(below).counted.fetch_sub(pages, SeqCst);
                }
                return Err(Full(level));
            }
        }
        Ok(())
    }

    /// Takes pages off every level.
    fn give_up(&self, number: Number, pages: u64) {
        for level in self.accounts.upwards(number) {
            let account = self.accounts.get(level);
            self.note_peak(level, account);
            account.counted.fetch_sub(pages, SeqCst);
        }
    }

    /// Fills the stock, whose lock is held, for this account: with a batch, else with one page.
    fn refill(&self, stock: &Stock, number: Number) -> Result<(), Full> {
        self.empty(stock);
        let pages = match self.take(number, BATCH) {
            Ok(()) => BATCH,
            Err(_) => self.take(number, 1).map(|()| 1)?,
        };
        self.accounts.hold(number, pages);
        stock.account.store(number, Relaxed);
        stock.pages.store(pages, Relaxed);
        stock.lowest.store(pages, Relaxed);
        Ok(())
    }

    /// Gives back what the stock has; its lock is held.
    fn empty(&self, stock: &Stock) {
        let number = stock.account.load(Relaxed);
        if number == 0 {
            return;
        }
        for level in self.accounts.upwards(number) {
            self.note_peak(level, self.accounts.get(level));
        }
        let pages = stock.pages.load(Relaxed);
        stock.account.store(0, Relaxed);
        stock.set(0);
        for level in self.accounts.upwards(number) {
            self.accounts.get(level).counted.fetch_sub(pages, SeqCst);
        }
        // Never the last: whoever closes the account refers to it until the stocks are empty.
        self.accounts.release(number, pages);
    }

    /// Calls back what all CPUs have prepaid.
    fn call_back(&self) {
        for (_, stock) in self.stocks.iter() {
            let _locked = stock.lock.lock();
            self.empty(stock);
        }
    }

    /// Notes what the usage of a level may have been at most since the last time, before its count changes.
    fn note_peak(&self, level: Number, account: &Account) {
        // Usage is never more than what is counted.
        if account.counted.load(SeqCst) > account.peak.load(Relaxed) {
            let unused = self.prepaid(level, |stock| &stock.lowest);
            account.peak.fetch_max(account.counted.load(SeqCst).saturating_sub(unused), Relaxed);
        }
    }

    /// What CPUs have prepaid for a level and those below.
    fn prepaid(&self, level: Number, which: impl Fn(&Stock) -> &AtomicU64) -> u64 {
        let below = |stock: &Stock| {
            let number = stock.account.load(Relaxed);
            number != 0 && self.accounts.is_below(number, level)
        };
        self.stocks.iter().filter(|(_, stock)| below(stock)).map(|(_, stock)| which(stock).load(Relaxed)).sum()
    }

    /// Pages in use in the account and those below. Never more than the limit; exact while nobody charges.
    pub fn usage(&self, level: Number) -> u64 {
        // In this order: what is prepaid meanwhile makes it no larger than what is counted.
        let prepaid = self.prepaid(level, |stock| &stock.pages);
        self.accounts.get(level).counted.load(SeqCst).saturating_sub(prepaid)
    }

    /// The highest usage so far, pages.
    pub fn peak(&self, level: Number) -> u64 {
        let account = self.accounts.get(level);
        self.note_peak(level, account);
        account.peak.load(Relaxed)
    }

    /// The highest usage is what it is now.
    pub fn reset_peak(&self, level: Number) {
        self.call_back();
        self.accounts.get(level).peak.store(self.usage(level), Relaxed);
    }

    /// Whether a page more can be charged in the account without passing the limit of any level.
    pub fn has_room(&self, number: Number) -> bool {
        self.accounts.upwards(number).all(|level| {
            let account = self.accounts.get(level);
            account.counted.load(SeqCst) < account.limit.load(SeqCst)
        })
    }

    /// Sets the limit, in pages, if usage allows it; prepaid pages are called back for it. `false`: usage is higher.
    pub fn set_limit(&self, level: Number, pages: u64) -> bool {
        let _alone = self.limits.lock();
        let account = self.accounts.get(level);
        let old = account.limit.swap(pages, SeqCst);
        if account.counted.load(SeqCst) <= pages {
            return true;
        }
        self.call_back();
        // Charges that the new limit refused meanwhile try again, or meet the old one that is back.
        let fits = account.counted.load(SeqCst) <= pages;
        if !fits {
            account.limit.store(old, SeqCst);
        }
        fits
    }

    /// The smallest limit from the account up to the root, pages.
    pub fn hierarchical_limit(&self, number: Number) -> u64 {
        let limits = self.accounts.upwards(number).map(|level| self.accounts.get(level).limit.load(Relaxed));
        limits.min().unwrap_or(ByteLimit::UNLIMITED.pages())
    }

    /// Closes an account whose container has no task any more: its pages are the parent's from now on. Does nothing
    /// for a root, and the second time. Its number stays its own until [`give_up_number`](Self::give_up_number).
    pub fn close(&self, number: Number) {
        if !self.accounts.close(number) {
            return;
        }
        let parent = self.accounts.open_for(number);
        for (cpu, stock) in self.stocks.iter() {
            let _locked = stock.lock.lock();
            if stock.account.load(Relaxed) == number {
                self.empty(stock);
            }
            self.accounts.fold(number, parent, cpu);
        }
    }

    /// Nobody will name the account any more, which is closed by now: its number may be another's as soon as no page
    /// refers to it.
    pub fn give_up_number(&self, number: Number) {
        self.close(number);
        self.accounts.release(number, 1);
    }

    /// Takes `pages` in `to` and every level above that is not above `from` too: room for pages that will be moved.
    ///
    /// Errors: the account that is full.
    pub fn reserve_move(&self, from: Number, to: Number, pages: u64) -> Result<(), Full> {
        self.call_back();
        let common = |level: &Number| !self.accounts.is_below(from, *level);
        for level in self.accounts.upwards(to).take_while(common) {
            let account = self.accounts.get(level);
            let take = |counted: u64| (counted + pages <= account.limit.load(SeqCst)).then_some(counted + pages);
            if account.counted.fetch_update(SeqCst, SeqCst, take).is_err() {
                for below in self.accounts.upwards(to).take_while(|&below| below != level) {
                    self.accounts.get(below).counted.fetch_sub(pages, SeqCst);
                }
                account.failures.fetch_add(1, Relaxed);
                return Err(Full(level));
            }
        }
        self.accounts.hold(to, pages);
        Ok(())
    }

    /// Gives back pages that were reserved and not moved.
    pub fn cancel_move(&self, from: Number, to: Number, pages: u64) {
        for level in self.accounts.upwards(to).take_while(|&level| !self.accounts.is_below(from, level)) {
            let account = self.accounts.get(level);
            self.note_peak(level, account);
            account.counted.fetch_sub(pages, SeqCst);
        }
        self.accounts.release(to, pages);
    }

    /// One page that was reserved is `to`'s now and no longer `from`'s.
    pub fn moved(&self, from: Number, to: Number, node: NodeId, kind: ChargeKind) {
        let cpu = cpu::current();
        let locked = self.stocks.get(cpu).lock.lock();
        let open = self.accounts.open_for(from);
        self.accounts.count_moved(open, cpu, node, kind, -1);
        self.accounts.count_moved(to, cpu, node, kind, 1);
        for level in self.accounts.upwards(open).take_while(|&level| !self.accounts.is_below(to, level)) {
            let account = self.accounts.get(level);
            self.note_peak(level, account);
            account.counted.fetch_sub(1, SeqCst);
        }
        drop(locked);
        self.accounts.release(from, 1);
    }

    /// The page with this note, which its account still refers to, lies on another node now.
    pub fn moved_node(&self, note: u32, from: NodeId, to: NodeId) {
        let (number, kind) = read_note(note);
        let cpu = cpu::current();
        let _locked = self.stocks.get(cpu).lock.lock();
        let open = self.accounts.open_for(number);
        self.accounts.count_moved(open, cpu, from, kind, -1);
        self.accounts.count_moved(open, cpu, to, kind, 1);
    }

    /// Pages of a kind in all accounts.
    pub fn all_pages(&self, kind: ChargeKind) -> u64 {
        let sum: i64 = self.stocks.iter().map(|(_, stock)| stock.kinds[kind as usize].load(Relaxed)).sum();
        sum.max(0) as u64
    }

    /// Counts an event of the account that a task's word names.
    #[inline]
    pub fn count_event(&self, word: &AtomicU64, event: Event) {
        self.accounts.count_event(self.account_of(word), cpu::current(), event);
    }
}

impl Stock {
    fn set(&self, pages: u64) {
        self.pages.store(pages, Relaxed);
        if pages < self.lowest.load(Relaxed) {
            self.lowest.store(pages, Relaxed);
        }
    }
}
