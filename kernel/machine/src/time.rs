//! Clocks: nanoseconds since boot, nanoseconds since the epoch, and cycles turned into nanoseconds.

pub use crate::arch::time::*;

/// Turns differences of a cycle counter into nanoseconds as [`now`] does, without losing the fractions: however often it is
/// asked, the sum of all results is what one question for all cycles would have given.
#[derive(Clone, Copy, Debug, Default)]
pub struct CycleClock {
    /// In units of 2^-32 ns.
    fraction: u32,
}

impl CycleClock {
    /// A clock with nothing carried.
    pub const fn new() -> Self {
        Self { fraction: 0 }
    }

    /// The whole nanoseconds of `cycles` and what earlier calls left over.
    #[inline]
    pub fn advance(&mut self, cycles: u64) -> u64 {
        self.advance_at(cycles, nanoseconds_per_cycle())
    }

    /// The same where a cycle takes `factor` nanoseconds, in units of 2^-32.
    #[inline]
    fn advance_at(&mut self, cycles: u64, factor: u64) -> u64 {
        let scaled = u128::from(cycles) * u128::from(factor) + u128::from(self.fraction);
        self.fraction = scaled as u32;
        (scaled >> 32) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_in_many_small_steps() {
        let mut clock = CycleClock::new();
        let third = (1 << 32) / 3;
        let total: u64 = (0..3_000_000).map(|_| clock.advance_at(1, third)).sum();
        assert_eq!(total, (3_000_000 * third) >> 32);
    }

    #[test]
    fn long_times_are_as_exact() {
        let mut clock = CycleClock::new();
        assert_eq!(clock.advance_at((7 << 40) + 1, 3 << 31), (7 << 39) * 3 + 1);
        assert_eq!(clock.advance_at(1, 3 << 31), 2);
    }
}
