//! The rate of forks: how many a container may make in a period, by itself.

use super::level::Count;
use base::Errno;

/// The highest rate and interval, and the rate that refuses nothing.
pub(super) const HIGHEST: u64 = i32::MAX as u64;

/// The rate that holds for every container.
pub(super) struct Rate {
    /// Forks in a period.
    pub(super) forks: u64,
    /// The length of a period in seconds.
    pub(super) interval: u64,
    /// How often one of the two was written: a period that began under another number is over.
    writes: u64,
}

impl Rate {
    pub(super) const fn unlimited() -> Self {
        Self { forks: HIGHEST, interval: 1, writes: 0 }
    }

    pub(super) fn set_forks(&mut self, forks: u64) {
        self.forks = forks;
        self.writes += 1;
    }

    pub(super) fn set_interval(&mut self, seconds: u64) {
        self.interval = seconds;
        self.writes += 1;
    }
}

/// The period of one container. Guarded by the lock of the tree.
pub(super) struct Period {
    began: Count,
    writes: Count,
    forks: Count,
}

impl Period {
    pub(super) fn new() -> Self {
        Self { began: Count::new(0), writes: Count::new(0), forks: Count::new(0) }
    }

    /// Whether the period may have one more fork.
    pub(super) fn allows(&self, rate: &Rate) -> bool {
        if rate.forks == HIGHEST {
            // Nobody makes so many; the clock is not worth its price.
            return true;
        }
        let now = machine::time::now();
        let over = now.saturating_sub(self.began.get()) >= rate.interval * 1_000_000_000;
        if over || self.writes.get() != rate.writes {
            self.began.set(now);
            self.writes.set(rate.writes);
            self.forks.set(0);
        }
        self.forks.get() < rate.forks
    }

    /// One more fork was made.
    pub(super) fn count(&self) {
        self.forks.up();
    }

    /// The fork that was counted last was not made after all.
    pub(super) fn give_back(&self) {
        self.forks.down();
    }
}

/// A number from 1 to [`HIGHEST`]. Everything else is `EINVAL`.
pub(super) fn parse(text: &str) -> Result<u64, Errno> {
    let number = base::number::parse_unsigned(text).map_err(|_| Errno::EINVAL)?;
    if (1..=HIGHEST).contains(&number) { Ok(number) } else { Err(Errno::EINVAL) }
}
