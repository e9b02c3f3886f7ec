//! One counted resource of one container.

use base::{Errno, charge::Severity, number::parse_unsigned};
use core::fmt::{self, Write};
use machine::sync::{
    SpinLock,
    atomic::{AtomicU64, Ordering::Relaxed},
    rank,
};

/// What stands for "no bound", and the highest value that a barrier or a limit can have.
pub(super) const UNLIMITED: u64 = i64::MAX as u64;
/// `minheld` of a counter that was never charged.
const NEVER: u64 = u64::MAX;

/// What is held of a resource, and how much may be.
///
/// A charge is made in two steps, [`take`](Counter::take) on all levels and then [`keep`](Counter::keep) on all: what
/// another level refuses leaves no trace in the highest and lowest values.
pub(super) struct Counter {
    /// What is held, and what charges have taken that other levels have not agreed to yet: this is what bounds bind.
    taken: AtomicU64,
    held: AtomicU64,
    maxheld: AtomicU64,
    /// The lowest value held since the first charge, or [`NEVER`].
    minheld: AtomicU64,
    barrier: AtomicU64,
    limit: AtomicU64,
    failcnt: AtomicU64,
    /// Held by who changes barrier or limit, so that no two changes together put one over the other.
    bounds: SpinLock<()>,
}

/// What a counter shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    pub(super) held: u64,
    pub(super) maxheld: u64,
    pub(super) minheld: u64,
    pub(super) barrier: u64,
    pub(super) limit: u64,
    pub(super) failcnt: u64,
}

impl Reading {
    /// What a resource shows that nobody counts.
    pub(super) const UNCOUNTED: Self =
        Self { held: 0, maxheld: 0, minheld: 0, barrier: UNLIMITED, limit: UNLIMITED, failcnt: 0 };
}

impl Counter {
    /// Nothing held.
    pub(super) fn new(barrier: u64, limit: u64) -> Self {
        Self {
            taken: AtomicU64::new(0),
            held: AtomicU64::new(0),
            maxheld: AtomicU64::new(0),
            minheld: AtomicU64::new(NEVER),
            barrier: AtomicU64::new(barrier),
            limit: AtomicU64::new(limit),
            failcnt: AtomicU64::new(0),
            bounds: SpinLock::new(rank::CONTROLLER, ()),
        }
    }

    /// Adds `amount` if `severity` lets it. Check and count are one step: no number of parallel charges passes the bound.
    pub(super) fn take(&self, amount: u64, severity: Severity) -> bool {
        let bound = match severity {
            Severity::Barrier => self.barrier.load(Relaxed),
            Severity::Limit => self.limit.load(Relaxed),
            Severity::Force => UNLIMITED,
        };
        if bound == UNLIMITED {
            // Nothing that is counted comes near.
            self.taken.fetch_add(amount, Relaxed);
            return true;
        }
        let fits = |taken: u64| taken.checked_add(amount).filter(|&sum| sum <= bound);
        self.taken.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// Both steps of a charge that nobody refuses.
    pub(super) fn add(&self, amount: u64) {
        self.taken.fetch_add(amount, Relaxed);
        self.keep(amount);
    }

    /// Undoes a [`take`](Counter::take) that is not kept.
    pub(super) fn give_up(&self, amount: u64) {
        self.taken.fetch_sub(amount, Relaxed);
    }

    /// A charge that was taken here stays.
    pub(super) fn keep(&self, amount: u64) {
        let held = self.held.fetch_add(amount, Relaxed) + amount;
        if held > self.maxheld.load(Relaxed) {
            self.note_most(held);
        }
    }

    /// More is held than ever, as after the first charge.
    #[cold]
    fn note_most(&self, held: u64) {
        self.maxheld.fetch_max(held, Relaxed);
        if self.minheld.load(Relaxed) == NEVER {
            self.minheld.fetch_min(held, Relaxed);
        }
    }

    /// This level refused.
    pub(super) fn fail(&self) {
        self.failcnt.fetch_add(1, Relaxed);
    }

    /// Gives back what was charged.
    pub(super) fn give_back(&self, amount: u64) {
        let held = self.held.fetch_sub(amount, Relaxed).wrapping_sub(amount);
        self.taken.fetch_sub(amount, Relaxed);
        if held < self.minheld.load(Relaxed) {
            self.minheld.fetch_min(held, Relaxed);
        }
    }

    /// All values, `held` never above `maxheld`: a charge that is not in both yet is in neither.
    pub(super) fn read(&self) -> Reading {
        let (held, maxheld) = (self.held.load(Relaxed), self.maxheld.load(Relaxed));
        let minheld = match self.minheld.load(Relaxed) {
            NEVER => 0,
            least => least,
        };
        let _bounds = self.bounds.lock();
        Reading {
            held: held.min(maxheld),
            maxheld,
            minheld,
            barrier: self.barrier.load(Relaxed),
            limit: self.limit.load(Relaxed),
            failcnt: self.failcnt.load(Relaxed),
        }
    }

    /// Sets the barrier. `EINVAL` over the limit, or no number; `ERANGE` over 64 bits.
    pub(super) fn store_barrier(&self, text: &str) -> Result<(), Errno> {
        let barrier = parse_unsigned(text)?;
        let _bounds = self.bounds.lock();
        if barrier > self.limit.load(Relaxed) {
            return Err(Errno::EINVAL);
        }
        self.barrier.store(barrier, Relaxed);
        Ok(())
    }

    /// Sets the limit. `EINVAL` below the barrier, over 9223372036854775807, or no number; `ERANGE` over 64 bits.
    pub(super) fn store_limit(&self, text: &str) -> Result<(), Errno> {
        let limit = parse_unsigned(text)?;
        let _bounds = self.bounds.lock();
        if limit > UNLIMITED || limit < self.barrier.load(Relaxed) {
            return Err(Errno::EINVAL);
        }
        self.limit.store(limit, Relaxed);
        Ok(())
    }

    /// Writes one of the values as its file shows it.
    pub(super) fn show(&self, out: &mut dyn Write, value: fn(&Reading) -> u64) -> fmt::Result {
        writeln!(out, "{}", value(&self.read()))
    }
}
