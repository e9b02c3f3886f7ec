//! The cgroup dialect's bandwidth: quota, period and burst, and what a tree of them may be.

use super::{Cpu, Limit, Settings};
use base::{Errno, number};
use container::Node;
use core::fmt::{self, Write};

/// The least quota and the least period, in microseconds.
const LEAST: u64 = 1000;
/// The longest period.
const LONGEST_PERIOD: u64 = 1_000_000;
/// The longest time: more is no number of nanoseconds.
const LONGEST: u64 = u64::MAX / 1000;
/// The largest quota and burst together.
const LARGEST: u64 = (1 << 44) - 1;

impl Settings {
    /// Whether more of a CPU is granted than by `other`; both have a quota.
    fn exceeds(&self, other: &Self) -> bool {
        let (own, other) = (self.quota.zip(Some(other.period)), other.quota.zip(Some(self.period)));
        match (own, other) {
            (Some((quota, period)), Some((most, own_period))) => {
                u128::from(quota) * u128::from(period) > u128::from(most) * u128::from(own_period)
            }
            _ => false,
        }
    }

    fn limit(&self) -> Option<Limit> {
        let quota = self.quota?;
        Some(Limit { quota: quota * 1000, period: self.period * 1000, burst: self.burst * 1000 })
    }
}

pub(super) fn show_quota(node: &Node<'_, Cpu>, out: &mut dyn Write) -> fmt::Result {
    match node.state().settings().quota {
        Some(quota) => writeln!(out, "{quota}"),
        None => writeln!(out, "-1"),
    }
}

pub(super) fn store_quota(node: &Node<'_, Cpu>, text: &str) -> Result<(), Errno> {
    let quota = u64::try_from(number::parse_signed(text)?).ok();
    change(node, |settings| settings.quota = quota)
}

pub(super) fn store_period(node: &Node<'_, Cpu>, text: &str) -> Result<(), Errno> {
    let period = number::parse_unsigned(text)?;
    change(node, |settings| settings.period = period)
}

pub(super) fn store_burst(node: &Node<'_, Cpu>, text: &str) -> Result<(), Errno> {
    let burst = number::parse_unsigned(text)?;
    // Without a quota nothing else bounds it.
    if burst > LONGEST {
        return Err(Errno::EINVAL);
    }
    change(node, |settings| settings.burst = burst)
}

/// Makes a change if what comes out is allowed. *manage* is held exclusively, so nobody else changes the tree.
fn change(node: &Node<'_, Cpu>, make: impl FnOnce(&mut Settings)) -> Result<(), Errno> {
    let mut settings = node.state().settings();
    make(&mut settings);
    let largest = LARGEST - settings.burst.min(LARGEST);
    let fits = |quota| (LEAST..=largest).contains(&quota) && settings.burst <= quota;
    let periods = LEAST..=LONGEST_PERIOD;
    if node.is_root() || !periods.contains(&settings.period) || !settings.quota.is_none_or(fits) {
        return Err(Errno::EINVAL);
    }
    if settings.quota.is_some() {
        let mut above = node.lineage().upwards().skip(1).map(|level| level.own().settings());
        if above.find(|above| above.quota.is_some()).is_some_and(|above| settings.exceeds(&above)) {
            return Err(Errno::EINVAL);
        }
        let mut any = false;
        node.for_each_below(|below| any |= !below.is(node) && below.state().settings().exceeds(&settings));
        if any {
            return Err(Errno::EINVAL);
        }
    }
    *node.state().settings.lock() = settings;
    if let Some(groups) = &node.state().groups {
        groups.outer.set_limit(settings.limit());
    }
    Ok(())
}
