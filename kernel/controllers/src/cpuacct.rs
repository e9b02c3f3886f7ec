//! cpuacct: the CPU time that the tasks of a container and everything below it have used, exact to the nanosecond.
//!
//! All files show nanoseconds unless said. `cpuacct.usage` (writing `0` starts all figures of this container anew),
//! `usage_user`, `usage_sys`; `usage_percpu`, `usage_percpu_user`, `usage_percpu_sys` with a figure for each possible
//! CPU; `usage_all`, a table of CPU, user and system time; `stat`, user and system time in 1/100 s; `load`, the CPU time
//! of the last complete 10 s in percent of one CPU, which a reset leaves alone.
//! Rule: interfaces.md, section 11.
//!
//! A charge touches only the task's own container, in a counter of the CPU that it ran on: depth and number of
//! hierarchies cost nothing. Whoever reads adds up what is below. A container that is removed hands its sums to its
//! parent, so that they stay in the figures of those above.

use alloc::{boxed::Box, vec::Vec};
use base::{CpuId, Errno, number};
use container::{Callbacks, ControlFile, Node, Subsystem};
use core::fmt::{self, Write};
use core::ops::{Add, Sub};
use machine::cpu::PerCpu;
use machine::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::sync::{Arc, CrowdLock, SpinLock, rank};
use machine::time;

/// The interval that `load` is about, in nanoseconds. Intervals start at multiples of it since boot.
const INTERVAL: u64 = 10_000_000_000;

/// Nanoseconds of 1/100 s.
const TICK: u64 = 10_000_000;

/// The account of one container.
pub struct Cpuacct {
    counters: Arc<Counters>,
    /// Where the sums go in the end; none for the root.
    parent: Option<Arc<Counters>>,
    /// The figures at the last reset, which are no longer shown.
    base: SpinLock<Option<Box<[Time]>>>,
    /// Held beside others while sums are handed on, alone while they are added up, so that a reader sees each exactly
    /// once. One for the whole tree.
    handing_on: Arc<CrowdLock>,
}

/// What was charged to a container itself, and what removed children handed to it.
type Counters = PerCpu<Counter>;

#[derive(Default)]
struct Counter {
    user: AtomicU64,
    system: AtomicU64,
    recent: [Recent; 4],
}

/// The time charged in one interval, which is told apart from those before by its number: 24 bits of that, 40 of the
/// time. Interval *n* is kept in place *n* mod 4, so that a reader of the last one has another two to look.
#[derive(Default)]
struct Recent(AtomicU64);

impl Recent {
    const TIME: u64 = (1 << 40) - 1;

    fn tag(interval: u64) -> u64 {
        interval << 40
    }

    /// Adds time of an interval, unless a later one has the place already.
    fn add(&self, interval: u64, time: u64) {
        let tag = Self::tag(interval);
        let add = |old: u64| {
            let before = match (old & !Self::TIME).cmp(&tag) {
                core::cmp::Ordering::Equal => old & Self::TIME,
                core::cmp::Ordering::Less => 0,
                core::cmp::Ordering::Greater => return None,
            };
            Some(tag | (before + time).min(Self::TIME))
        };
        // Refused is time of an interval that nobody asks for any more.
        let _ = self.0.fetch_update(Relaxed, Relaxed, add);
    }

    fn of(&self, interval: u64) -> u64 {
        let value = self.0.load(Relaxed);
        if value & !Self::TIME == Self::tag(interval) { value & Self::TIME } else { 0 }
    }
}

/// User and system time.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Time {
    user: u64,
    system: u64,
}

impl Time {
    fn both(self) -> u64 {
        self.user + self.system
    }
}

impl Add for Time {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }
}

impl Sub for Time {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { user: self.user - other.user, system: self.system - other.system }
    }
}

impl Counter {
    fn add(&self, time: Time) {
        self.user.fetch_add(time.user, Relaxed);
        self.system.fetch_add(time.system, Relaxed);
    }

    fn add_now(&self, time: Time) {
        self.add(time);
        let interval = time::now() / INTERVAL;
        self.recent[interval as usize % 4].add(interval, time.both());
    }

    /// Whether there is nothing to give.
    fn is_clear(&self) -> bool {
        self.get() == Time::default()
    }

    /// Gives everything to another counter.
    fn hand_to(&self, heir: &Self) {
        heir.add(self.take());
        for (own, other) in self.recent.iter().zip(&heir.recent) {
            let value = own.0.swap(0, Relaxed);
            if value & Recent::TIME != 0 {
                other.add(value >> 40, value & Recent::TIME);
            }
        }
    }

    fn get(&self) -> Time {
        Time { user: self.user.load(Relaxed), system: self.system.load(Relaxed) }
    }

    fn take(&self) -> Time {
        Time { user: self.user.swap(0, Relaxed), system: self.system.swap(0, Relaxed) }
    }
}

impl Subsystem for Cpuacct {
    const NAME: &'static str = "cpuacct";
    const INDEX: usize = 2;
    const CALLBACKS: Callbacks = Callbacks::CHARGE_TIME;
    const FILES: &'static [ControlFile<Self>] = &[
        ControlFile::read_write_node("usage", |node, out| show_total(node, out, Time::both), reset),
        ControlFile::read_node("usage_user", |node, out| show_total(node, out, |time| time.user)),
        ControlFile::read_node("usage_sys", |node, out| show_total(node, out, |time| time.system)),
        ControlFile::read_node("usage_percpu", |node, out| show_each(node, out, Time::both)),
        ControlFile::read_node("usage_percpu_user", |node, out| show_each(node, out, |time| time.user)),
        ControlFile::read_node("usage_percpu_sys", |node, out| show_each(node, out, |time| time.system)),
        ControlFile::read_node("usage_all", show_table),
        ControlFile::read_node("stat", show_stat),
        ControlFile::read_node("load", show_load),
    ];

    fn create(parent: &Self) -> Result<Self, Errno> {
        Ok(Self::new(Some(parent.counters.clone()), parent.handing_on.clone()))
    }

    fn offline(node: &Node<'_, Self>) {
        node.state().hand_on();
    }

    fn charge_time(&self, cpu: CpuId, user: u64, system: u64) {
        self.counters.get(cpu).add_now(Time { user, system });
    }
}

impl Cpuacct {
    /// The account of a root.
    pub fn root() -> Self {
        Self::new(None, Arc::new(CrowdLock::new(rank::CONTROLLER_RULE)))
    }

    fn new(parent: Option<Arc<Counters>>, handing_on: Arc<CrowdLock>) -> Self {
        let base = SpinLock::new(rank::CONTROLLER, None);
        Self { counters: Arc::new(PerCpu::default()), parent, base, handing_on }
    }

    fn hand_on(&self) {
        let Some(parent) = &self.parent else { return };
        let _nobody_reads = self.handing_on.read();
        for (cpu, counter) in self.counters.iter() {
            counter.hand_to(parent.get(cpu));
        }
    }
}

impl Drop for Cpuacct {
    /// A task that has left the container runs on for a moment until it is gone: what was charged after the removal.
    fn drop(&mut self) {
        if self.counters.iter().any(|(_, counter)| !counter.is_clear()) {
            self.hand_on();
        }
    }
}

/// The figures by CPU, without what was there at the last reset.
fn figures(node: &Node<'_, Cpuacct>) -> Vec<Time> {
    let state = node.state();
    let _alone = state.handing_on.write();
    let raw = raw_figures(node);
    match &*state.base.lock() {
        Some(base) => raw.into_iter().zip(base.iter()).map(|(now, &then)| now - then).collect(),
        None => raw,
    }
}

fn raw_figures(node: &Node<'_, Cpuacct>) -> Vec<Time> {
    let mut sums: Vec<Time> = node.state().counters.iter().map(|_| Time::default()).collect();
    node.for_each_below(|node| {
        let counters = node.state().counters.iter();
        sums.iter_mut().zip(counters).for_each(|(sum, (_, counter))| *sum = *sum + counter.get());
    });
    sums
}

/// The sum of [`figures`].
fn total(node: &Node<'_, Cpuacct>) -> Time {
    let state = node.state();
    let _alone = state.handing_on.write();
    let mut sum = Time::default();
    node.for_each_below(|node| {
        sum = node.state().counters.iter().fold(sum, |sum, (_, counter)| sum + counter.get());
    });
    let base = state.base.lock();
    sum - base.iter().flatten().copied().fold(Time::default(), Add::add)
}

fn show_total(node: &Node<'_, Cpuacct>, out: &mut dyn Write, figure: fn(Time) -> u64) -> fmt::Result {
    writeln!(out, "{}", figure(total(node)))
}

fn show_each(node: &Node<'_, Cpuacct>, out: &mut dyn Write, figure: fn(Time) -> u64) -> fmt::Result {
    figures(node).into_iter().try_for_each(|time| write!(out, "{} ", figure(time)))?;
    writeln!(out)
}

fn show_table(node: &Node<'_, Cpuacct>, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "cpu user system")?;
    let mut lines = figures(node).into_iter().enumerate();
    lines.try_for_each(|(cpu, Time { user, system })| writeln!(out, "{cpu} {user} {system}"))
}

fn show_stat(node: &Node<'_, Cpuacct>, out: &mut dyn Write) -> fmt::Result {
    let Time { user, system } = total(node);
    writeln!(out, "user {}\nsystem {}", user / TICK, system / TICK)
}

/// What was charged in the last complete interval, here and below. If nothing was, the figure of an earlier one is gone.
fn show_load(node: &Node<'_, Cpuacct>, out: &mut dyn Write) -> fmt::Result {
    let _alone = node.state().handing_on.write();
    let mut sum = 0;
    if let Some(last) = (time::now() / INTERVAL).checked_sub(1) {
        node.for_each_below(|node| {
            let counters = node.state().counters.iter();
            sum += counters.map(|(_, counter)| counter.recent[last as usize % 4].of(last)).sum::<u64>();
        });
    }
    writeln!(out, "{}", sum * 100 / INTERVAL)
}

/// Only `0` can be written.
fn reset(node: &Node<'_, Cpuacct>, text: &str) -> Result<(), Errno> {
    if number::parse_unsigned(text)? != 0 {
        return Err(Errno::EINVAL);
    }
    let state = node.state();
    let _alone = state.handing_on.write();
    let base = raw_figures(node).into_boxed_slice();
    let before = state.base.lock().replace(base);
    drop(before);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::world::World;
    use base::Errno;
    use proptest::prelude::*;
    use std::{format, vec::Vec};

    #[test]
    fn time_shows_in_the_container_and_all_above_it() {
        let world = World::with("cpuacct").mkdir("/a").mkdir("/a/b").mkdir("/c");
        let task = world.spawn_in("/a/b");
        world.run(&task, 1, 30, 12);
        world.run(&task, 3, 0, 8);
        for path in ["/a/b", "/a", "/"] {
            assert_eq!(world.read(path, "cpuacct.usage"), "50\n", "{path}");
            assert_eq!(world.read(path, "cpuacct.usage_percpu"), "0 42 0 8 \n");
            assert_eq!(world.read(path, "cpuacct.usage_percpu_user"), "0 30 0 0 \n");
            assert_eq!(world.read(path, "cpuacct.usage_all"), "cpu user system\n0 0 0\n1 30 12\n2 0 0\n3 0 8\n");
        }
        assert_eq!(world.read("/c", "cpuacct.usage"), "0\n");
    }

    /// A thread is reaped by nobody and a process maybe before its last switch. Fails on a version in which
    /// `charge_time` forgets what a task without a set runs.
    #[test]
    fn what_a_task_runs_after_it_was_reaped_is_accounted_in_the_root() {
        let world = World::with("cpuacct").mkdir("/a");
        let task = world.spawn_in("/a");
        world.run(&task, 1, 0, 30);
        world.exit(&task);
        world.run(&task, 1, 0, 10);
        world.reap(&task);
        world.run(&task, 1, 0, 2);
        assert_eq!([world.read("/a", "cpuacct.usage"), world.read("/", "cpuacct.usage")], ["40\n", "42\n"]);
    }

    /// Fails on a version in which a state goes after the one above it.
    #[test]
    fn what_a_task_runs_after_its_container_and_the_one_above_were_removed_is_in_the_root() {
        let world = World::with("cpuacct").mkdir("/a").mkdir("/a/b");
        let task = world.spawn_in("/a/b");
        world.run(&task, 1, 0, 30);
        world.exit(&task);
        world.rmdir("/a/b").unwrap();
        world.rmdir("/a").unwrap();
        world.run(&task, 1, 0, 10);
        world.reap(&task);
        assert_eq!(world.read("/", "cpuacct.usage"), "40\n");
    }

    #[test]
    fn a_move_leaves_past_time_where_it_is() {
        let world = World::with("cpuacct").mkdir("/a").mkdir("/b");
        let task = world.spawn_in("/a");
        world.run(&task, 0, 5, 0);
        world.attach("/b", &task).unwrap();
        world.run(&task, 0, 7, 0);
        assert_eq!(
            (world.read("/a", "cpuacct.usage"), world.read("/b", "cpuacct.usage")),
            ("5\n".into(), "7\n".into())
        );
    }

    #[test]
    fn a_removed_container_leaves_its_time_to_those_above() {
        let world = World::with("cpuacct").mkdir("/a").mkdir("/a/b");
        let task = world.spawn_in("/a/b");
        world.run(&task, 2, 100, 1);
        world.exit(&task);
        world.rmdir("/a/b").unwrap();
        assert_eq!(world.read("/a", "cpuacct.usage"), "101\n");
        // a task that has left runs on until its last switch
        world.run(&task, 2, 0, 9);
        world.reap(&task);
        assert_eq!(world.read("/a", "cpuacct.usage"), "110\n");
        assert_eq!(world.read("/", "cpuacct.usage_sys"), "10\n");
    }

    #[test]
    fn a_reset_touches_neither_ancestors_nor_children() {
        let world = World::with("cpuacct").mkdir("/a").mkdir("/a/b");
        let task = world.spawn_in("/a/b");
        world.run(&task, 0, 10, 10);
        world.write("/a", "cpuacct.usage", "0").unwrap();
        world.run(&task, 0, 1, 2);
        assert_eq!(world.read("/a", "cpuacct.usage"), "3\n");
        assert_eq!(world.read("/a/b", "cpuacct.usage"), "23\n");
        assert_eq!(world.read("/", "cpuacct.usage"), "23\n");
        assert_eq!(world.write("/a", "cpuacct.usage", "7"), Err(Errno::EINVAL));
        assert_eq!(world.write("/a", "cpuacct.usage_user", "0"), Err(Errno::EINVAL));
    }

    #[test]
    fn stat_is_in_hundredths_rounded_down() {
        let world = World::with("cpuacct").mkdir("/a");
        let task = world.spawn_in("/a");
        world.run(&task, 0, 29_999_999, 10_000_000);
        assert_eq!(world.read("/a", "cpuacct.stat"), "user 2\nsystem 1\n");
    }

    const SECOND: u64 = 1_000_000_000;

    fn at(ns: u64) {
        machine::host::set_clock(Some(ns));
    }

    #[test]
    fn load_is_that_of_the_last_complete_interval() {
        let world = World::with("cpuacct").mkdir("/a").mkdir("/a/b");
        let task = world.spawn_in("/a/b");
        at(12 * SECOND);
        world.run(&task, 0, 6 * SECOND, SECOND);
        world.run(&task, 1, 5 * SECOND, 0);
        assert_eq!(world.read("/a", "cpuacct.load"), "0\n");
        at(20 * SECOND);
        world.write("/a", "cpuacct.usage", "0").unwrap();
        assert_eq!(
            (world.read("/a", "cpuacct.load"), world.read("/", "cpuacct.load")),
            ("120\n".into(), "120\n".into())
        );
        world.exit(&task);
        world.rmdir("/a/b").unwrap();
        assert_eq!(world.read("/a", "cpuacct.load"), "120\n");
        at(30 * SECOND);
        assert_eq!(world.read("/a", "cpuacct.load"), "0\n");
        machine::host::set_clock(None);
    }

    /// The rule as it is written: what is over is closed at each charge and each read.
    #[derive(Default)]
    struct Load {
        interval: u64,
        time: u64,
        value: u64,
    }

    impl Load {
        fn close(&mut self, now: u64) {
            match now / super::INTERVAL - self.interval {
                0 => return,
                1 => self.value = self.time * 100 / super::INTERVAL,
                _ => self.value = 0,
            }
            (self.interval, self.time) = (now / super::INTERVAL, 0);
        }
    }

    proptest! {
        #[test]
        fn load_follows_the_rule(steps in proptest::collection::vec((0..25 * SECOND, 0u32..4, 0..9 * SECOND, any::<bool>()), 1..40)) {
            let world = World::with("cpuacct").mkdir("/a");
            let task = world.spawn_in("/a");
            let (mut now, mut model) = (0, Load::default());
            for (later, cpu, time, read) in steps {
                now += later / 2;
                at(now);
                model.close(now);
                if read {
                    prop_assert_eq!(world.read("/a", "cpuacct.load"), format!("{}\n", model.value));
                } else {
                    model.time += time;
                    world.run(&task, cpu, time, 0);
                }
            }
            machine::host::set_clock(None);
        }

        /// Time is charged, containers come and go: nothing is lost or counted twice at the top.
        #[test]
        fn the_root_shows_all_time_ever_charged(
            steps in proptest::collection::vec((0u8..3, 0usize..3, 0u32..4, 1u64..1000), 1..50),
        ) {
            const PLACES: [&str; 3] = ["/a", "/a/b", "/c"];
            let world = World::with("cpuacct").mkdir("/a").mkdir("/a/b").mkdir("/c");
            let mut sum = 0;
            for (step, place, cpu, time) in steps {
                let path = PLACES[place];
                match step {
                    0 if world.rmdir(path).is_ok() => {}
                    1 => {
                        let _ = world.try_mkdir(path);
                    }
                    _ if world.exists(path) => {
                        let task = world.spawn_in(path);
                        world.run(&task, cpu, time, time / 2);
                        sum += time + time / 2;
                        world.exit(&task);
                        world.reap(&task);
                    }
                    _ => {}
                }
                prop_assert_eq!(world.read("/", "cpuacct.usage"), format!("{sum}\n"));
            }
            let parts = world.read("/", "cpuacct.usage_percpu");
            let parts: Vec<u64> = parts.split_whitespace().map(|part| part.parse().unwrap()).collect();
            prop_assert_eq!(parts.iter().sum::<u64>(), sum);
        }
    }
}
