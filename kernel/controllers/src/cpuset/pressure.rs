//! `memory_pressure`: how often tasks of a container had to look for memory themselves because there was none.
//!
//! Each time that a task inside has to have pages reclaimed before it gets one is an event. The number is the rate of
//! events in thousandths per second, with a half-life of ten seconds: each second the value is multiplied by 933/1000,
//! and 67/1000 of what was counted meanwhile is added. It is 0 while `memory_pressure_enabled` of the root is.

use super::Cpuset;
use container::{Framework, Lineage, Member, Node};
use core::fmt::{self, Write};
use machine::{sync::atomic::Ordering::Relaxed, time};

/// What an event counts.
const EVENT: u64 = 1000;
/// The most that is counted between two settlements.
const MOST: u64 = 1_000_000;
/// Seconds after which nothing of the old value is left.
const LONGEST: u64 = 99;
/// What is left after a second, thousandths.
const LEFT: u64 = 933;

/// The rate of the events in one container.
#[derive(Default)]
pub(super) struct Meter {
    /// Counted since `second`.
    count: u64,
    value: u64,
    /// When it was settled last, s since boot.
    second: u64,
}

impl Meter {
    /// Brings the value to this second.
    fn settle(&mut self, second: u64) {
        let passed = second.saturating_sub(self.second).min(LONGEST);
        if passed == 0 {
            return;
        }
        for _ in 0..passed {
            self.value = self.value * LEFT / 1000;
        }
        self.second = second;
        self.value += (1000 - LEFT) * self.count / 1000;
        self.count = 0;
    }

    /// Counts an event.
    fn count(&mut self, second: u64) {
        self.settle(second);
        self.count = (self.count + EVENT).min(MOST);
    }

    fn rate(&mut self, second: u64) -> u64 {
        self.settle(second);
        self.value
    }
}

fn second() -> u64 {
    time::now() / 1_000_000_000
}

pub(super) fn show(node: &Node<'_, Cpuset>, out: &mut dyn Write) -> fmt::Result {
    let enabled = is_enabled(node.clone());
    let rate = node.state().pressure.lock().rate(second());
    writeln!(out, "{}", if enabled { rate } else { 0 })
}

/// Whether the root says that pressure is measured.
fn is_enabled(node: Node<'_, Cpuset>) -> bool {
    let mut top = node;
    while let Some(parent) = top.parent() {
        top = parent;
    }
    top.state().pressure_enabled.load(Relaxed)
}

/// The task has to have pages reclaimed. Call with no lock held that comes after those of controllers.
pub fn note_reclaim(framework: &Framework, task: &dyn Member) {
    framework.with_states(task, |place: Lineage<'_, Cpuset>| {
        if place.upwards().last().is_some_and(|root| root.own().pressure_enabled.load(Relaxed)) {
            place.own().pressure.lock().count(second());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_steady_events_is_reached_and_halves_in_ten_seconds() {
        let mut meter = Meter::default();
        for second in 1..200 {
            (0..20).for_each(|_| meter.count(second));
        }
        // 20 a second are 20,000 thousandths, less what rounding takes.
        let steady = meter.rate(200);
        assert!((19_900..=20_000).contains(&steady), "{steady}");
        let later = meter.rate(210);
        assert!((steady * 49 / 100..=steady * 51 / 100).contains(&later), "{later}");
        assert!(meter.rate(400) < 25);
    }

    #[test]
    fn a_storm_counts_no_more_than_the_most() {
        let mut meter = Meter::default();
        (0..5000).for_each(|_| meter.count(0));
        assert_eq!(meter.rate(1), MOST * 67 / 1000);
        assert_eq!(meter.rate(0), MOST * 67 / 1000, "no time has passed");
        assert!(meter.rate(u64::MAX) < 100);
    }
}
