//! The clock that the kernel shares with programs: what lies in its page, and how a time is made of it. Kernel and vDSO
//! compute with the same figures in the same way, so they never disagree by a nanosecond.
//!
//! Nothing here needs a sequence lock: of what is read together only one word, [`Clock::set_epoch`]'s, ever changes.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;
/// How far the page of the clock lies before the vDSO, bytes.
pub const PAGE_SIZE: usize = 4096;
/// The segment whose limit is [`place::encode`]'s; Linux has it there too.
pub const PLACE_SELECTOR: u16 = 15 << 3 | 3;

/// What turns the time stamp counter into time. It lies at the begin of its page.
#[repr(C)]
pub struct Clock {
    /// The counter when the kernel began.
    start: AtomicU64,
    /// Nanoseconds of one cycle, in units of 2^-32.
    factor: AtomicU64,
    /// Nanoseconds from 1970-01-01 00:00 UTC to the kernel's begin.
    epoch: AtomicU64,
}

impl Clock {
    /// A clock that stands still at zero.
    pub const fn new() -> Self {
        Self { start: AtomicU64::new(0), factor: AtomicU64::new(0), epoch: AtomicU64::new(0) }
    }

    /// The kernel began when the counter was `start`.
    pub fn set_start(&self, start: u64) {
        self.start.store(start, Relaxed);
    }

    /// The counter when the kernel began.
    #[inline]
    pub fn start(&self) -> u64 {
        self.start.load(Relaxed)
    }

    /// A cycle takes so many nanoseconds, in units of 2^-32.
    pub fn set_factor(&self, factor: u64) {
        self.factor.store(factor, Relaxed);
    }

    /// Nanoseconds of one cycle, in units of 2^-32.
    #[inline]
    pub fn factor(&self) -> u64 {
        self.factor.load(Relaxed)
    }

    /// The kernel began so many nanoseconds after 1970-01-01 00:00 UTC.
    pub fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Relaxed);
    }

    /// How many nanoseconds after 1970-01-01 00:00 UTC the kernel began.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Takes over the figures of another clock.
    pub fn copy_from(&self, other: &Self) {
        self.set_start(other.start());
        self.set_factor(other.factor());
        self.set_epoch(other.epoch.load(Relaxed));
    }

    /// Nanoseconds since the kernel began, when the counter is `cycles`.
    #[inline]
    pub fn monotonic(&self, cycles: u64) -> u64 {
        let passed = cycles.wrapping_sub(self.start());
        ((u128::from(passed) * u128::from(self.factor())) >> 32) as u64
    }

    /// Nanoseconds since 1970-01-01 00:00 UTC, when the counter is `cycles`.
    #[inline]
    pub fn realtime(&self, cycles: u64) -> u64 {
        self.epoch.load(Relaxed) + self.monotonic(cycles)
    }

    /// What the clock of this number (`clock_gettime(2)`) shows, when the counter is what `cycles` says; `None` for clocks
    /// that need more than the counter. Nothing sets the difference between atomic time and the civil one, so it is 0, as on
    /// Linux until somebody does; the coarse clocks are as fine as the others.
    #[inline]
    pub fn reading(&self, number: i32, cycles: impl FnOnce() -> u64) -> Option<u64> {
        const REALTIME: u32 = 1 << 0 | 1 << 5 | 1 << 11; // and COARSE, TAI
        const MONOTONIC: u32 = 1 << 1 | 1 << 4 | 1 << 6 | 1 << 7; // and RAW, COARSE, BOOTTIME
        let clock = if (0..32).contains(&number) { 1u32 << number } else { 0 };
        if clock & MONOTONIC != 0 {
            Some(self.monotonic(cycles()))
        } else if clock & REALTIME != 0 {
            Some(self.realtime(cycles()))
        } else {
            None
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// How a CPU and its node are told by the limit of a segment, which has 20 bits.
pub mod place {
    /// Bits of the CPU's number.
    const CPU_BITS: u32 = 12;

    /// The limit that says so: a CPU below 4096, a node below 256.
    pub const fn encode(cpu: u32, node: u32) -> u32 {
        node << CPU_BITS | cpu
    }

    /// CPU and node.
    pub const fn decode(limit: u32) -> (u32, u32) {
        (limit & ((1 << CPU_BITS) - 1), limit >> CPU_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clocks_that_need_more_than_the_counter_are_left_to_the_system_call() {
        let clock = Clock::new();
        clock.set_factor(1 << 32);
        clock.set_epoch(7);
        let shown = |number| clock.reading(number, || 5);
        for number in [1, 4, 6, 7] {
            assert_eq!(shown(number), Some(5), "clock {number}");
        }
        for number in [0, 5, 11] {
            assert_eq!(shown(number), Some(12), "clock {number}");
        }
        for number in [2, 3, 8, 9, 10, 12, 31, 32, 33, 64, i32::MAX, -1, -6, i32::MIN] {
            assert_eq!(shown(number), None, "clock {number}");
        }
    }

    proptest! {
        #[test]
        fn time_never_goes_back_with_the_counter(
            start: u64, factor in 1u64..1 << 34, first in 0u64..1 << 60, more in 0u64..1 << 40,
        ) {
            let clock = Clock::new();
            clock.set_start(start);
            clock.set_factor(factor);
            let at = |passed: u64| clock.monotonic(start.wrapping_add(passed));
            prop_assert_eq!(at(0), 0);
            prop_assert!(at(first) <= at(first + more));
        }

        #[test]
        fn a_place_is_read_as_it_was_written(cpu in 0u32..4096, node in 0u32..256) {
            let limit = place::encode(cpu, node);
            prop_assert!(limit < 1 << 20, "a limit has 20 bits");
            prop_assert_eq!(place::decode(limit), (cpu, node));
        }
    }
}
