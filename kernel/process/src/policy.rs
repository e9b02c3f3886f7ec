//! Scheduling policies as programs ask for them: sched(7), `sched_setscheduler(2)`, `sched_setattr(2)`.

use crate::{limits::Resource, task::Task};
use alloc::sync::Arc;
use base::{Capabilities, Errno};
use core::sync::atomic::Ordering::Relaxed;
use sched::{Nice, Policy, Priority, Reservation};

/// The number of a policy in system calls.
pub fn number(policy: Policy) -> i32 {
    match policy {
        Policy::Other => 0,
        Policy::Fifo(_) => 1,
        Policy::RoundRobin(_) => 2,
        Policy::Batch => 3,
        Policy::Idle => 5,
        Policy::Deadline(_) => 6,
    }
}

/// The policy of that number. `EINVAL` there is none, or it goes without a priority or reservation and one is given, or the
/// other way round; other policies than `SCHED_DEADLINE` take no notice of a reservation.
pub fn from_number(number: i32, priority: u32, reservation: Option<Reservation>) -> Result<Policy, Errno> {
    let policy = match (number, Priority::new(priority)) {
        (0, None) => Policy::Other,
        (1, Some(priority)) => Policy::Fifo(priority),
        (2, Some(priority)) => Policy::RoundRobin(priority),
        (3, None) => Policy::Batch,
        (5, None) => Policy::Idle,
        (6, None) => Policy::Deadline(reservation.ok_or(Errno::EINVAL)?),
        _ => return Err(Errno::EINVAL),
    };
    let is_whole = policy.priority().is_some() || priority == 0;
    if is_whole { Ok(policy) } else { Err(Errno::EINVAL) }
}

/// The reservation of those parameters, in nanoseconds; `None` they contradict each other, or the period is outside of
/// `sched_deadline_period_min_us` and `sched_deadline_period_max_us`.
pub fn reservation(runtime: u64, deadline: u64, period: u64) -> Option<Reservation> {
    const MICROSECOND: u64 = 1000;
    let (least, greatest) = sched::period_bounds();
    let bounds = u64::from(least) * MICROSECOND..=u64::from(greatest) * MICROSECOND;
    Reservation::new(runtime, deadline, period).filter(|reservation| bounds.contains(&reservation.period()))
}

/// What a call wants of a task's policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyWish {
    /// The policy's number, and whether children begin without it; `None` leaves both as they are.
    pub policy: Option<(i32, bool)>,
    /// The priority; `None` leaves it as it is.
    pub priority: Option<u32>,
    /// The nice value, for the policies that have one; `None` leaves it as it is.
    pub nice: Option<Nice>,
    /// The reservation, for `SCHED_DEADLINE`; `None` within leaves it as it is, without is none that could be had.
    pub reservation: Option<Option<Reservation>>,
}

/// How a task stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Standing {
    policy: Policy,
    nice: Nice,
    resets_on_fork: bool,
}

impl PolicyWish {
    /// What it comes to for a task that stands so. `EINVAL`.
    fn resolve(&self, now: Standing) -> Result<Standing, Errno> {
        let (number, resets_on_fork) = self.policy.unwrap_or((number(now.policy), now.resets_on_fork));
        let priority = self.priority.unwrap_or(now.policy.priority().map_or(0, Priority::raw));
        let kept = if let Policy::Deadline(reservation) = now.policy { Some(reservation) } else { None };
        let policy = from_number(number, priority, self.reservation.unwrap_or(kept))?;
        let is_fair = policy.priority().is_none() && !matches!(policy, Policy::Deadline(_));
        let nice = self.nice.filter(|_| is_fair).unwrap_or(now.nice);
        Ok(Standing { policy, nice, resets_on_fork })
    }
}

/// The least nice value that the limit lets a task have: `RLIMIT_NICE` counts from 1 (nice 19) to 40 (nice -20).
pub(crate) fn least_nice(limit: u64) -> i64 {
    20 - i64::try_from(limit).unwrap_or(40).min(40)
}

/// Whether the change is one for the privileged even on a task of one's own, whose limits are given.
fn wants_privilege(now: Standing, wanted: Standing, nice_limit: u64, priority_limit: u64) -> bool {
    if matches!(wanted.policy, Policy::Deadline(_)) {
        return true;
    }
    let is_allowed = |nice: Nice| i64::from(nice.raw()) >= least_nice(nice_limit);
    let rises = match wanted.policy.priority() {
        None => wanted.nice < now.nice && !is_allowed(wanted.nice),
        Some(priority) => {
            let changes = number(wanted.policy) != number(now.policy);
            let grows = Some(priority) > now.policy.priority() && u64::from(priority.raw()) > priority_limit;
            changes && priority_limit == 0 || grows
        }
    };
    // To leave SCHED_IDLE is to become less nice than anybody.
    let wakes = now.policy == Policy::Idle && wanted.policy != Policy::Idle && !is_allowed(now.nice);
    rises || wakes || now.resets_on_fork && !wanted.resets_on_fork
}

impl Task {
    fn standing(&self) -> Standing {
        let (policy, nice) = (self.entity().policy(), self.entity().nice());
        Standing { policy, nice, resets_on_fork: self.resets_on_fork() }
    }

    /// Whether its children begin with `SCHED_OTHER` and without a negative nice value.
    pub fn resets_on_fork(&self) -> bool {
        self.resets_on_fork.load(Relaxed)
    }

    /// Policy and nice value that a child begins with. `EAGAIN` it would need a reservation like its parent's.
    pub(crate) fn policy_of_child(&self) -> Result<(Policy, Nice), Errno> {
        let Standing { policy, nice, resets_on_fork } = self.standing();
        match (resets_on_fork, policy) {
            (false, Policy::Deadline(_)) => Err(Errno::EAGAIN),
            (false, _) => Ok((policy, nice)),
            (true, Policy::Deadline(_) | Policy::Fifo(_) | Policy::RoundRobin(_)) => {
                Ok((Policy::Other, Nice::default()))
            }
            (true, _) => Ok((policy, nice.max(Nice::default()))),
        }
    }

    /// Sets the policy of `target`. `EINVAL` no such policy or priority; `EPERM` not without `CAP_SYS_NICE`: another user's
    /// task, or more than `RLIMIT_RTPRIO` and `RLIMIT_NICE` of its process let it have, or `SCHED_DEADLINE`; for this also
    /// `EPERM` the task may not use all CPUs of its domain, and `EBUSY` these have not as much time left.
    pub fn set_policy_of(&self, target: &Arc<Task>, wish: &PolicyWish) -> Result<(), Errno> {
        let now = target.standing();
        let wanted = wish.resolve(now)?;
        let process = target.process();
        let limits = (process.limit(Resource::Nice), process.limit(Resource::RealTimePriority));
        let own = self.credentials();
        let privileged = own.has(Capabilities::SYS_NICE);
        if !privileged && (wants_privilege(now, wanted, limits.0, limits.1) || !self.may_schedule(target)) {
            return Err(Errno::EPERM);
        }
        let Some(task) = target.schedulable() else { return Ok(()) };
        if wanted.policy != now.policy {
            sched::set_policy(&task, wanted.policy)?;
            self.population().priority_futexes.reassess(target);
            if [now.policy, wanted.policy].iter().any(|policy| matches!(policy, Policy::Deadline(_))) {
                process.timers.watch();
            }
        }
        if wanted.nice != now.nice {
            sched::set_nice(&task, wanted.nice);
        }
        target.resets_on_fork.store(wanted.resets_on_fork, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(number: i32, priority: u32, nice: i32, resets_on_fork: bool) -> Standing {
        Standing {
            policy: from_number(number, priority, Reservation::new(2000, 4000, 0)).unwrap(),
            nice: Nice::new(nice),
            resets_on_fork,
        }
    }

    #[test]
    fn policies_and_priorities_go_together() {
        for (policy, priority) in [(0, 0), (1, 1), (1, 99), (2, 50), (3, 0), (5, 0), (6, 0)] {
            assert_eq!(from_number(policy, priority, Reservation::new(2000, 4000, 0)).map(number), Ok(policy));
        }
        for (policy, priority) in
            [(0, 1), (0, 100), (1, 0), (1, 100), (2, 0), (3, 7), (4, 0), (5, 1), (6, 0), (-1, 0), (7, 1)]
        {
            assert_eq!(from_number(policy, priority, None), Err(Errno::EINVAL), "{policy} {priority}");
        }
    }

    #[test]
    fn what_a_wish_leaves_out_stays() {
        let now = standing(2, 10, 5, true);
        let keep = PolicyWish { policy: None, priority: None, nice: None, reservation: None };
        assert_eq!(keep.resolve(now), Ok(now));
        assert_eq!(PolicyWish { priority: Some(20), ..keep }.resolve(now), Ok(standing(2, 20, 5, true)));
        assert_eq!(PolicyWish { priority: Some(0), ..keep }.resolve(now), Err(Errno::EINVAL));
        // A nice value given with a real-time policy does not count.
        let wish = PolicyWish { policy: Some((1, false)), priority: Some(3), nice: Some(Nice::new(-5)), ..keep };
        assert_eq!(wish.resolve(now), Ok(standing(1, 3, 5, false)));
        let wish = PolicyWish { policy: Some((3, false)), priority: Some(0), nice: Some(Nice::new(-5)), ..keep };
        assert_eq!(wish.resolve(now), Ok(standing(3, 0, -5, false)));
        // So it is with a reservation, which is kept like a priority.
        let wish = PolicyWish { policy: Some((6, false)), reservation: Some(Reservation::new(2000, 4000, 0)), ..wish };
        assert_eq!(wish.resolve(now), Ok(standing(6, 0, 5, false)));
        assert_eq!(PolicyWish { reservation: None, ..wish }.resolve(now), Err(Errno::EINVAL));
        assert_eq!(
            PolicyWish { priority: Some(0), ..keep }.resolve(standing(6, 0, 5, false)),
            Ok(standing(6, 0, 5, false))
        );
        assert_eq!(
            PolicyWish { reservation: Some(None), ..wish }.resolve(standing(6, 0, 5, false)),
            Err(Errno::EINVAL)
        );
    }

    #[test]
    fn more_than_the_limits_give_is_for_the_privileged() {
        let other = standing(0, 0, 0, false);
        for (now, wanted, nice_limit, priority_limit, expected) in [
            (other, standing(0, 0, 5, false), 0, 0, false),
            (other, standing(0, 0, -1, false), 20, 0, true),
            (other, standing(0, 0, -1, false), 21, 0, false),
            (other, standing(1, 1, 0, false), 40, 0, true),
            (other, standing(1, 1, 0, false), 0, 1, false),
            (other, standing(1, 2, 0, false), 0, 1, true),
            (standing(1, 50, 0, false), standing(1, 40, 0, false), 0, 0, false),
            (standing(1, 50, 0, false), standing(2, 40, 0, false), 0, 0, true),
            (standing(1, 50, 0, false), standing(0, 0, 0, false), 0, 0, false),
            (standing(5, 0, 0, false), standing(0, 0, 0, false), 0, 0, true),
            (standing(5, 0, 0, false), standing(0, 0, 0, false), 20, 0, false),
            (standing(5, 0, 0, false), standing(5, 0, 10, false), 0, 0, false),
            (standing(0, 0, 0, true), other, 40, 99, true),
            (other, standing(6, 0, 0, false), 40, 99, true),
            (standing(6, 0, 0, false), standing(6, 0, 0, false), 40, 99, true),
            (standing(6, 0, 0, false), other, 0, 0, false),
            (other, standing(0, 0, 0, true), 0, 0, false),
        ] {
            let result = wants_privilege(now, wanted, nice_limit, priority_limit);
            assert_eq!(result, expected, "{now:?} -> {wanted:?}, limits {nice_limit} {priority_limit}");
        }
    }
}
