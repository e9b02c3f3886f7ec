//! Reservations of `SCHED_DEADLINE`, and the server that keeps a task to its own: a constant-bandwidth server, as in
//! Linux's Documentation/scheduler/sched-deadline.rst.
//!
//! A task may run `runtime` nanoseconds before its absolute deadline. When these are used it waits for its next period;
//! when it wakes up it goes on with what it had left only if that is no more than its bandwidth until the deadline.

use super::class::Urgency;
use base::CpuId;
use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

/// One whole CPU, as bandwidths are counted.
pub const WHOLE_CPU: u64 = 1 << 20;

/// The least runtime, in nanoseconds: less would vanish in the unit of bandwidths.
const LEAST_RUNTIME: u64 = 1 << 10;

/// No CPU.
const NOWHERE: u32 = u32::MAX;

/// What a task has reserved: so much run time within so much of each period, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reservation {
    runtime: u64,
    deadline: u64,
    period: u64,
    /// Whether it has what others have reserved and do not use.
    pub reclaims: bool,
    /// Whether its process is told when it wants to run longer than it may.
    pub tells_overruns: bool,
}

impl Reservation {
    /// A period of 0 is the deadline. `None` if not `runtime` ≤ `deadline` ≤ `period`, the runtime is below 1024 ns or a
    /// time above 2^63 - 1.
    pub fn new(runtime: u64, deadline: u64, period: u64) -> Option<Self> {
        let period = if period == 0 { deadline } else { period };
        let is_ordered = LEAST_RUNTIME <= runtime && runtime <= deadline && deadline <= period;
        (is_ordered && i64::try_from(period).is_ok()).then_some(Self {
            runtime,
            deadline,
            period,
            reclaims: false,
            tells_overruns: false,
        })
    }

    /// Nanoseconds that it may run in each period.
    pub const fn runtime(&self) -> u64 {
        self.runtime
    }

    /// How soon after the beginning of a period it must have run these.
    pub const fn deadline(&self) -> u64 {
        self.deadline
    }

    /// The time between two periods' beginnings.
    pub const fn period(&self) -> u64 {
        self.period
    }

    /// Its part of a CPU, of [`WHOLE_CPU`].
    pub fn bandwidth(&self) -> u64 {
        portion(self.runtime, self.period)
    }
}

/// `part` of `whole` in units of [`WHOLE_CPU`], rounded down as Linux does.
pub fn portion(part: u64, whole: u64) -> u64 {
    scaled(WHOLE_CPU, part, whole)
}

/// `value` · `numerator` / `denominator`, where that fits.
fn scaled(value: u64, numerator: u64, denominator: u64) -> u64 {
    let wide = u128::from(value) * u128::from(numerator) / u128::from(denominator.max(1));
    u64::try_from(wide).unwrap_or(u64::MAX)
}

/// How a task stands with its reservation. It changes under the lock of the queue that the task is in; under that of the
/// task itself while it is in none.
#[derive(Debug)]
pub struct Server {
    reservation: Reservation,
    /// Nanoseconds that it may still run before the deadline; below 0 what it ran too much.
    left: AtomicI64,
    /// When these have to have been run.
    deadline: AtomicU64,
    overran: AtomicBool,
    /// The CPU where it runs or last ran: its bandwidth counts in that CPU's domain.
    home: AtomicU32,
    /// The CPU to which it is being moved, in whose domain the bandwidth counts already; [`NOWHERE`] mostly.
    bound_for: AtomicU32,
    /// Whether the bandwidth counts.
    counts: AtomicBool,
}

impl Server {
    /// Of a task that begins a period at `now` on `home`.
    pub fn new(reservation: Reservation, home: CpuId, now: u64) -> Self {
        Self {
            reservation,
            left: AtomicI64::new(reservation.runtime as i64),
            deadline: AtomicU64::new(now.saturating_add(reservation.deadline)),
            overran: AtomicBool::new(false),
            home: AtomicU32::new(home.raw()),
            bound_for: AtomicU32::new(NOWHERE),
            counts: AtomicBool::new(true),
        }
    }

    /// Goes on where the task's last one stood, if the deadline of that is still to come: other parameters hold from the next
    /// period on, and whoever leaves its reservation for a moment gains nothing.
    pub(crate) fn succeed(&self, (deadline, left): (u64, i64), now: u64) {
        if deadline > now {
            self.left.store(left, Relaxed);
            self.deadline.store(deadline, Relaxed);
        }
    }

    /// What it is for.
    pub fn reservation(&self) -> Reservation {
        self.reservation
    }

    /// Its absolute deadline, and the nanoseconds that are left until then.
    pub fn standing(&self) -> (u64, i64) {
        (self.deadline.load(Relaxed), self.left.load(Relaxed))
    }

    /// Before whom it goes.
    pub fn urgency(&self) -> Urgency {
        Urgency::of_deadline(self.deadline.load(Relaxed))
    }

    /// The CPU in whose domain its bandwidth counts; `None` when it counts nowhere any more.
    pub(crate) fn home(&self) -> Option<CpuId> {
        self.counts.load(SeqCst).then(|| match self.bound_for.load(SeqCst) {
            NOWHERE => CpuId::new(self.home.load(SeqCst)),
            cpu => CpuId::new(cpu),
        })
    }

    /// It is to be moved to `cpu`: until that is [settled](Self::settle) it counts there, wherever it runs.
    pub(crate) fn set_out(&self, cpu: CpuId) {
        self.bound_for.store(cpu.raw(), SeqCst);
    }

    /// It has been moved, or will not be.
    pub(crate) fn settle(&self) {
        self.bound_for.store(NOWHERE, SeqCst);
    }

    pub(crate) fn set_home(&self, cpu: CpuId) {
        self.home.store(cpu.raw(), SeqCst);
    }

    /// The task ends: others may have its bandwidth.
    pub(crate) fn release(&self) {
        self.counts.store(false, SeqCst);
    }

    /// Whether it overran since this was last asked.
    pub(crate) fn take_overrun(&self) -> bool {
        self.overran.swap(false, SeqCst)
    }

    /// Whether the task has run all that it may before the next period.
    pub(super) fn is_exhausted(&self) -> bool {
        self.left.load(Relaxed) <= 0
    }

    /// When the next period begins.
    pub(super) fn renews_at(&self) -> u64 {
        let Reservation { deadline, period, .. } = self.reservation;
        self.deadline.load(Relaxed).saturating_sub(deadline).saturating_add(period)
    }

    /// When a task that sleeps with what it has left no longer counts: it could not have used that in time any more.
    pub(super) fn zero_lag(&self) -> u64 {
        let (deadline, left) = self.standing();
        let Reservation { runtime, period, .. } = self.reservation;
        deadline.saturating_sub(scaled(u64::try_from(left).unwrap_or(0), period, runtime))
    }

    /// The task has run, and that counts as so many nanoseconds.
    pub(super) fn charge(&self, ns: u64) {
        let before = self.left.load(Relaxed);
        let left = before.saturating_sub_unsigned(ns);
        self.left.store(left, Relaxed);
        if left <= 0 && before > 0 && self.reservation.tells_overruns {
            self.overran.store(true, SeqCst);
        }
    }

    /// The task does without the rest of this period.
    pub(super) fn forgo(&self) {
        self.left.fetch_min(0, Relaxed);
    }

    /// The next period begins, if it is time; then what was run too much is paid, over as many periods as that takes.
    pub(super) fn renew(&self, now: u64) {
        if now < self.renews_at() {
            return;
        }
        let Reservation { runtime, period, .. } = self.reservation;
        let (deadline, left) = self.standing();
        let periods = left.min(0).unsigned_abs() / runtime + 1;
        let deadline = deadline.saturating_add(periods.saturating_mul(period));
        self.left.store(left.saturating_add_unsigned(periods.saturating_mul(runtime)), Relaxed);
        self.deadline.store(deadline, Relaxed);
        if deadline < now {
            self.begin(now);
        }
    }

    /// A period begins out of turn.
    fn begin(&self, now: u64) {
        self.left.store(self.reservation.runtime as i64, Relaxed);
        self.deadline.store(now.saturating_add(self.reservation.deadline), Relaxed);
    }

    /// The task wakes up.
    pub(crate) fn wake(&self, now: u64) {
        if self.is_exhausted() {
            self.renew(now);
        }
        let (ends, left) = self.standing();
        let Reservation { runtime, deadline, period, .. } = self.reservation;
        let Ok(left) = u64::try_from(left) else { return };
        if left == 0 {
            return;
        }
        let is_late = ends < now;
        let rest = ends.saturating_sub(now);
        if is_late && now < self.renews_at() {
            // Between its deadline and its next period it may not run, or it would have more than its part.
            return self.forgo();
        }
        let is_too_much = u128::from(left) * u128::from(deadline) > u128::from(runtime) * u128::from(rest);
        match is_late || is_too_much {
            // A deadline before the end of the period can't be moved: then it has what its density leaves.
            true if !is_late && deadline < period => {
                self.left.store(scaled(runtime, rest, deadline) as i64, Relaxed);
            }
            true => self.begin(now),
            false => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server(runtime: u64, deadline: u64, period: u64) -> Server {
        Server::new(Reservation::new(runtime, deadline, period).unwrap(), CpuId::new(0), 0)
    }

    #[test]
    fn parameters_are_checked_as_on_linux() {
        for (runtime, deadline, period, expected) in [
            (1024, 1024, 0, true),
            (1023, 2048, 0, false),
            (2000, 3000, 4000, true),
            (3001, 3000, 4000, false),
            (2000, 4001, 4000, false),
            (0, 0, 0, false),
            (2000, 0, 4000, false),
            (2000, 3000, 1 << 63, false),
            (2000, 1 << 63, 0, false),
            (u64::MAX, u64::MAX, u64::MAX, false),
            (1024, 1024, i64::MAX as u64, true),
        ] {
            let made = Reservation::new(runtime, deadline, period);
            assert_eq!(made.is_some(), expected, "{runtime} {deadline} {period}");
        }
        assert_eq!(Reservation::new(2000, 8000, 0).map(|own| (own.period(), own.bandwidth())), Some((8000, 1 << 18)));
    }

    #[test]
    fn what_was_used_comes_back_with_the_next_period() {
        let server = server(2_000, 10_000, 10_000);
        server.charge(2_500);
        assert!(server.is_exhausted());
        server.renew(9_999);
        assert_eq!(server.standing(), (10_000, -500));
        server.renew(10_000);
        assert_eq!(server.standing(), (20_000, 1_500));
        // Much too much is paid over several periods.
        server.charge(6_000);
        server.renew(20_000);
        assert_eq!(server.standing(), (50_000, 1_500));
        // Whoever comes much later begins anew.
        server.forgo();
        server.renew(1_000_000);
        assert_eq!(server.standing(), (1_010_000, 2_000));
    }

    #[test]
    fn a_sleeper_keeps_what_its_bandwidth_allows() {
        let server = server(4_000, 10_000, 10_000);
        server.charge(3_000);
        // 1,000 in the last 2,500 is its bandwidth; in less than that it would be more.
        server.wake(7_500);
        assert_eq!(server.standing(), (10_000, 1_000));
        server.wake(7_501);
        assert_eq!(server.standing(), (17_501, 4_000));
        server.charge(4_100);
        server.wake(17_000);
        assert_eq!(server.standing(), (17_501, -100), "its next period begins at 17,501");
        server.wake(17_600);
        assert_eq!(server.standing(), (27_501, 3_900));
        server.wake(90_000);
        assert_eq!(server.standing(), (100_000, 4_000));
    }

    #[test]
    fn a_deadline_before_the_end_of_the_period_stays_where_it_is() {
        let server = server(4_000, 8_000, 20_000);
        server.charge(1_000);
        server.wake(6_000);
        assert_eq!(server.standing(), (8_000, 1_000), "half of what is left until the deadline");
        server.wake(9_000);
        assert_eq!(server.standing(), (8_000, 0), "between deadline and period");
        assert!(server.is_exhausted());
        server.wake(20_000);
        assert_eq!(server.standing(), (28_000, 4_000));
    }

    #[test]
    fn a_new_server_goes_on_where_the_last_one_stood_until_its_deadline() {
        let last = server(4_000, 10_000, 10_000);
        last.charge(3_000);
        for (now, expected) in [(9_999, (10_000, 1_000)), (10_000, (30_000, 2_000))] {
            let next = Server::new(Reservation::new(2_000, 20_000, 0).unwrap(), CpuId::new(0), now);
            next.succeed(last.standing(), now);
            assert_eq!(next.standing(), expected);
        }
    }

    #[test]
    fn a_reservation_counts_where_its_task_is_moved_to_until_that_has_come_to_an_end() {
        let server = server(4_000, 10_000, 10_000);
        server.set_out(CpuId::new(3));
        server.set_home(CpuId::new(1));
        assert_eq!(server.home(), Some(CpuId::new(3)));
        server.settle();
        assert_eq!(server.home(), Some(CpuId::new(1)));
        server.release();
        assert_eq!(server.home(), None);
    }

    #[test]
    fn an_overrun_is_told_once_and_to_those_who_want_it() {
        let mut reservation = Reservation::new(2_000, 10_000, 0).unwrap();
        for tells in [false, true] {
            reservation.tells_overruns = tells;
            let server = Server::new(reservation, CpuId::new(0), 0);
            server.charge(1_999);
            assert!(!server.take_overrun());
            server.charge(1);
            server.charge(1);
            assert_eq!((server.take_overrun(), server.take_overrun()), (tells, false));
        }
    }

    proptest! {
        /// However it runs and sleeps, a task has no more than its bandwidth, and one runtime that it saved up.
        #[test]
        fn nobody_has_more_than_its_bandwidth(
            (runtime, deadline, period) in (1_024u64..50_000, 0u64..50_000, 0u64..50_000)
                .prop_map(|(runtime, more, rest)| (runtime, runtime + more, runtime + more + rest)),
            steps in proptest::collection::vec((0u64..40_000, 0u64..90_000), 1..200),
        ) {
            let server = server(runtime, deadline, period);
            let (mut now, mut ran) = (0u64, 0u64);
            for (wants, sleeps) in steps {
                server.wake(now);
                let runs = u64::try_from(server.standing().1).map_or(0, |left| left.min(wants));
                server.charge(runs);
                ran += runs;
                now += runs;
                let most = u128::from(now) * u128::from(runtime) / u128::from(period) + 2 * u128::from(runtime);
                prop_assert!(u128::from(ran) <= most, "{ran} of {now}");
                now += sleeps;
            }
        }
    }
}
