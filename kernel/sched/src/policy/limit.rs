//! How much a group may run: a quota of CPU time per period over all CPUs, and what is left of it.
//!
//! CPUs take slices out of the pool while they run tasks of the group and give back what they did not use; what they
//! overran is a debt that later periods pay. Periods pass by the clock: whoever comes first after the end of one fills
//! the pool. So a group that does not run costs nothing. Rule: interfaces.md, section 15.1.

/// The most that a CPU takes at once.
const SLICE: u64 = 5_000_000;
/// The least that a CPU takes at once, if it is there.
const LEAST_SLICE: u64 = 200_000;

/// A quota of CPU time, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// What all CPUs together may run in a period.
    pub quota: u64,
    /// The length of a period; not 0.
    pub period: u64,
    /// How much of what was left of earlier periods may be used on top of the quota.
    pub burst: u64,
}

/// What limits have done to a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LimitStatistics {
    /// Periods in which the group asked for time.
    pub periods: u64,
    /// Periods in which it was refused.
    pub throttled: u64,
    /// Nanoseconds during which its tasks were kept from running, added up over the CPUs.
    pub throttled_time: u64,
    /// Periods in which it used more than the quota.
    pub bursts: u64,
    /// How much more, in nanoseconds.
    pub burst_time: u64,
}

/// The account of a group's limit.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    limit: Option<Limit>,
    /// What is left for the CPUs; below 0 is overrun.
    left: i64,
    /// What was left when the period began.
    left_at_start: i64,
    ends_at: u64,
    asked: bool,
    refused: bool,
    pub(crate) statistics: LimitStatistics,
}

impl Pool {
    pub(crate) fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// A new limit begins with a full pool and a new period.
    pub(crate) fn set(&mut self, limit: Option<Limit>, now: u64) {
        self.count_period();
        self.limit = limit;
        if let Some(limit) = limit {
            self.left = limit.quota as i64;
            self.left_at_start = self.left;
            self.ends_at = now + limit.period;
        }
    }

    /// Takes a slice and `debt` out of the pool, or what there is of it. 0: the group must wait until the period ends.
    pub(crate) fn take(&mut self, debt: u64, now: u64) -> u64 {
        let Some(limit) = self.limit else { return debt + SLICE };
        self.roll(limit, now);
        self.asked = true;
        if self.left <= 0 {
            self.refused = true;
            return 0;
        }
        let slice = (limit.quota / 8).clamp(LEAST_SLICE, SLICE);
        let taken = (debt + slice).min(self.left as u64);
        self.left -= taken as i64;
        taken
    }

    /// Takes back what a CPU has left of its slice, or its overrun.
    pub(crate) fn give_back(&mut self, left: i64) {
        if self.limit.is_some() {
            self.left += left;
        }
    }

    /// Whether there is time to take.
    pub(crate) fn has_time(&mut self, now: u64) -> bool {
        let Some(limit) = self.limit else { return true };
        self.roll(limit, now);
        self.asked = true;
        self.refused |= self.left <= 0;
        self.left > 0
    }

    /// When the period ends that `now` is in.
    pub(crate) fn next_refill(&mut self, now: u64) -> u64 {
        let Some(limit) = self.limit else { return now };
        self.roll(limit, now);
        self.ends_at
    }

    /// Fills the pool for each period that has begun since.
    fn roll(&mut self, limit: Limit, now: u64) {
        if now < self.ends_at {
            return;
        }
        let begun = (now - self.ends_at) / limit.period + 1;
        self.ends_at += begun * limit.period;
        // An overrun is no burst: it is paid for.
        let saved = self.left_at_start - limit.quota as i64;
        let more = saved.min(saved - self.left);
        if more > 0 && self.asked {
            self.statistics.bursts += 1;
            self.statistics.burst_time += more as u64;
        }
        self.count_period();
        // What is left of the quota is lost but for the burst; a debt is paid by as many periods as it takes.
        let filled = self.left.saturating_add_unsigned(limit.quota.saturating_mul(begun));
        self.left = filled.min((limit.quota + limit.burst) as i64);
        self.left_at_start = self.left;
    }

    fn count_period(&mut self) {
        self.statistics.periods += u64::from(core::mem::take(&mut self.asked));
        self.statistics.throttled += u64::from(core::mem::take(&mut self.refused));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn pool(quota: u64, burst: u64) -> Pool {
        let mut pool = Pool::default();
        pool.set(Some(Limit { quota: quota * MS, period: 100 * MS, burst: burst * MS }), 0);
        pool
    }

    fn drain(pool: &mut Pool, now: u64) -> u64 {
        core::iter::from_fn(|| Some(pool.take(0, now)).filter(|&taken| taken > 0)).sum()
    }

    #[test]
    fn a_period_gives_the_quota_and_no_more() {
        let mut pool = pool(20, 0);
        assert_eq!(drain(&mut pool, MS), 20 * MS);
        assert_eq!((pool.take(0, 99 * MS), pool.next_refill(99 * MS)), (0, 100 * MS));
        assert_eq!(drain(&mut pool, 100 * MS), 20 * MS);
        assert_eq!(drain(&mut pool, 999 * MS), 20 * MS, "periods without use leave nothing");
        assert_eq!(pool.statistics, LimitStatistics { periods: 2, throttled: 2, ..Default::default() });
    }

    #[test]
    fn what_was_left_can_be_used_as_a_burst() {
        let mut pool = pool(20, 15);
        pool.take(5 * MS - 2_500_000, MS);
        assert_eq!(drain(&mut pool, 150 * MS), 35 * MS);
        assert_eq!(drain(&mut pool, 250 * MS), 20 * MS);
        let LimitStatistics { bursts, burst_time, .. } = pool.statistics;
        assert_eq!((bursts, burst_time), (1, 15 * MS));
    }

    #[test]
    fn an_overrun_is_paid_by_the_next_periods() {
        let mut pool = pool(10, 0);
        drain(&mut pool, 0);
        pool.give_back(-15 * MS as i64);
        assert_eq!(drain(&mut pool, 100 * MS), 0);
        assert_eq!(drain(&mut pool, 200 * MS), 5 * MS);
        pool.next_refill(300 * MS);
        assert_eq!(pool.statistics.bursts, 0);
    }

    #[test]
    fn a_new_limit_begins_with_a_full_pool() {
        let mut pool = pool(10, 0);
        drain(&mut pool, 0);
        pool.set(Some(Limit { quota: 30 * MS, period: 50 * MS, burst: 0 }), 20 * MS);
        assert_eq!(drain(&mut pool, 69 * MS), 30 * MS);
        assert_eq!(drain(&mut pool, 70 * MS), 30 * MS);
        pool.set(None, 71 * MS);
        assert!(pool.take(0, 71 * MS) > 0);
    }
}
